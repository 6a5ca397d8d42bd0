"""Scripts that need packages or data say so in a line `# Needs: torch, gymnasium`. Where one is missing, the page has a
note and the script, and the script is not run.
"""

import importlib.util
import re
from pathlib import Path

from fastnn import datasets

MAY_BE_ABSENT = {"generated/gallery/index": "gallery", "how_fast": "how_fast.rst"}  # page: what it is made of
_LINE = re.compile(r"^# Needs: (.+)$", re.MULTILINE)
_FASHION = "dataset-fashion-mnist"  # Debian's package, not Python's


def missing(script):
    """What a script needs and is not here, a list of names."""
    found = _LINE.search(Path(script).read_text(encoding="utf-8"))
    names = [name.strip() for name in found.group(1).split(",")] if found else []
    return [name for name in names if not _is_here(name)]


def _is_here(name):
    if name == _FASHION:
        return Path(datasets._FASHION_FOLDER).is_dir()
    return importlib.util.find_spec(name) is not None


def pattern_of_those_that_run(folders):
    """A regular expression for the paths of all scripts in `folders` that have what they need."""
    left_out = [path.name for folder in folders for path in sorted(folder.glob("*.py")) if missing(path)]
    names = "|".join(map(re.escape, left_out))
    return rf"[\\/](?!(?:{names})$)[^\\/]+\.py$" if left_out else r"\.py$"


def _leave_out(app, docname, source):
    """Take pages that are absent out of the toctrees of the first page."""
    for page, path in MAY_BE_ABSENT.items():
        if docname == "index" and not Path(app.srcdir, path).exists():
            source[0] = source[0].replace(f"   {page}\n", "")


def _tell(app, docname, source):
    """Write what is missing under the title of the page that is made of a script."""
    script = Path(app.srcdir, docname.removeprefix("generated/")).with_suffix(".py")
    if not docname.startswith("generated/") or not script.exists():
        return
    names = missing(script)
    if names:
        note = (
            f"\n\n.. note:: This copy of the documentation was built without {' and '.join(names)}. So the code of "
            "this page was not run, and its results and pictures are missing.\n\n"
        )
        source[0] = re.sub(r"(\n=+\n)", lambda found: found.group(1) + note, source[0], count=1)


def setup(app):
    """Called by Sphinx."""
    app.connect("source-read", _leave_out)
    app.connect("source-read", _tell)
    return {"parallel_read_safe": True}
