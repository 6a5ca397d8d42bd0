"""Runs the examples of the pages: lines that begin with >>>, as doctest does. One that fails is a warning.

A page with the comment `.. Needs: compiled` is left out where only the NumPy backend is here.
"""

import doctest
import os
import tempfile
from pathlib import Path

import fastnn

_COMPILED = ".. Needs: compiled"


def can_run(page):
    """Whether the backend that the examples of a page need is in use."""
    return _COMPILED not in Path(page).read_text(encoding="utf-8") or fastnn.info()["backend"] == "compiled"


def run(page):
    """Run the examples of one page, in an empty folder. Returns how many there are, and the text of each failure."""
    page, failures, here = Path(page).resolve(), [], os.getcwd()
    test = doctest.DocTestParser().get_doctest(page.read_text(encoding="utf-8"), {}, page.name, str(page), 0)
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            runner.run(test, out=failures.append)
        finally:
            os.chdir(here)
    return len(test.examples), failures


def _run_all(app):
    from sphinx.util import logging  # not needed for run

    log = logging.getLogger(__name__)
    for page in filter(can_run, sorted(Path(app.srcdir).glob("*.rst"))):
        for failure in run(page)[1]:
            log.warning("%s: %s", page.name, failure)


def setup(app):
    """Called by Sphinx."""
    app.connect("builder-inited", _run_all)
    return {"parallel_read_safe": True}
