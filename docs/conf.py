"""Settings of the documentation. `python -m sphinx -W -b html docs OUT` builds it, without network access.

Pages of modules that cannot be imported are left out. Scripts whose packages or data are missing are shown, but not
run.
"""

import atexit
import doctest
import importlib
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

import requirements  # noqa: E402  (in docs/extensions)

import fastnn  # noqa: E402


def _can_import(module):
    try:
        importlib.import_module(module)
    except ImportError:  # it is absent, or the package that it is for
        return False
    return True


project = "fastnn"
author = "the authors of fastnn"
copyright = "the authors of fastnn, BSD-3-Clause"
version = release = fastnn.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
extensions += sorted(path.stem for path in (HERE / "extensions").glob("*.py"))
nitpicky = True  # a link inside the documentation that leads nowhere is a warning
smartquotes = False  # texts hold code
default_role = "literal"  # docstrings write `X` for an argument
exclude_patterns = ["gallery", "lecture"]  # their pages are generated, see below
exclude_patterns += [
    f"reference/{name}.rst" for name in ("plots", "sklearn", "exchange", "tabular") if not _can_import(f"fastnn.{name}")
]

# --- the reference: docstrings ------------------------------------------------------------------

autosummary_generate = False  # each page of the reference holds its names itself
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # autodoc shows them
numpydoc_xref_param_type = False
doctest_default_flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
_FILES_OF_EXAMPLES = tempfile.mkdtemp()
atexit.register(shutil.rmtree, _FILES_OF_EXAMPLES, ignore_errors=True)
doctest_global_setup = f"""
import os
os.chdir({_FILES_OF_EXAMPLES!r})
import numpy as np
import fastnn
from fastnn import *
from fastnn.kernels import *
from fastnn.schedules import *
from fastnn.exchange import *
from fastnn.tabular import TabularModel, read_table
"""  # for `-b doctest`: the examples in docstrings use the names of their module

# --- pages that are scripts ---------------------------------------------------------------------

_SCRIPTS = [name for name in ("lecture", "gallery") if (HERE / name).is_dir()]
sphinx_gallery_conf = {
    "examples_dirs": _SCRIPTS,
    "gallery_dirs": [f"generated/{name}" for name in _SCRIPTS],
    "filename_pattern": requirements.pattern_of_those_that_run([HERE / name for name in _SCRIPTS]),
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "ignore_repr_types": r"matplotlib\.",
    "image_srcset": ["2x"],  # sharp on screens of high density
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e9,  # the time depends on the machine
    "write_computation_times": False,
    "remove_config_comments": True,
    "backreferences_dir": None,
    "plot_gallery": "True",
}

# --- what people see ----------------------------------------------------------------------------

html_theme = "furo"
html_math_renderer = "mathml"
html_js_files = [("fastnn.js", {"defer": "defer"})]
html_title = f"fastnn {version}"
html_static_path = ["_static"]
html_css_files = ["fastnn.css"]
html_favicon = "_static/icon.svg"
html_copy_source = False
html_show_sourcelink = False


def _from_the_top(app, env, node, contnode):
    """Docstrings of all modules write `Network.fit` for `fastnn.Network.fit`."""
    if node.get("refdomain") != "py" or node["reftarget"].startswith("fastnn."):
        return None
    where = env.get_domain("py"), f"fastnn.{node['reftarget']}"
    return where[0].resolve_xref(env, node["refdoc"], app.builder, node["reftype"], where[1], node, contnode)


def setup(app):
    """Called by Sphinx."""
    app.connect("missing-reference", _from_the_top)
