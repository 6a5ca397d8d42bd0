"""Runs the examples of the pages: lines that begin with >>>, as doctest does. An example that fails is a warning."""

import doctest
import os
import tempfile
from pathlib import Path

from sphinx.util import logging

_FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS | doctest.REPORT_ONLY_FIRST_FAILURE


def run(page, report):
    """Run the examples of one page, in an empty folder; `report` gets the text of each failure. How many ran."""
    page = Path(page).resolve()
    test = doctest.DocTestParser().get_doctest(page.read_text(encoding="utf-8"), {}, page.name, str(page), 0)
    runner = doctest.DocTestRunner(verbose=False, optionflags=_FLAGS)
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            runner.run(test, out=report)
        finally:
            os.chdir(here)
    return len(test.examples)


def _run_all(app):
    log = logging.getLogger(__name__)
    for page in sorted(Path(app.srcdir).glob("*.rst")):
        run(page, lambda text, page=page: log.warning("%s: %s", page.name, text))


def setup(app):
    """Called by Sphinx."""
    app.connect("builder-inited", _run_all)
    return {"parallel_read_safe": True}
