"""Which backend and ISA run: the choice, the fall-back, and that both backends have one interface."""

import inspect
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn
from conftest import COMPILED
from fastnn import _numpy, kernels

needs_compiled = pytest.mark.skipif(COMPILED is None, reason="no compiled backend here")
PACKAGE = Path(fastnn.__file__).parent


def python(code, path=None, **environment):
    """Run code in a fresh interpreter; returns (exit code, output, errors)."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("FASTNN_")} | environment
    # -c puts the working directory first on the path, so that is where the package has to be.
    cwd = path or PACKAGE.parent
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=cwd, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout.strip(), done.stderr


@needs_compiled
def test_interface_is_one():
    functions = [n for n, f in vars(_numpy).items() if inspect.isfunction(f) and f.__module__ == _numpy.__name__]
    for name in [n for n in functions if not n.startswith("_")] + ["permutation"]:
        assert inspect.signature(getattr(COMPILED, name)) == inspect.signature(getattr(_numpy, name)), name
    methods = [n for n in vars(_numpy.Engine) if not n.startswith("_")]
    assert len(methods) >= 9
    for name in methods:
        ours, theirs = getattr(COMPILED.Engine, name), getattr(_numpy.Engine, name)
        assert inspect.signature(ours) == inspect.signature(theirs), name
    for name in ("NAME", "ORDER", "ISA", "BUILD"):
        assert hasattr(COMPILED, name)
        assert hasattr(_numpy, name)


@needs_compiled
def test_the_ways_in_take_what_their_functions_take():
    for name in kernels.__all__:
        way_in, function = getattr(kernels, name), kernels._careful[name]
        assert inspect.unwrap(way_in) is function, name
        assert inspect.signature(way_in, follow_wrapped=False) == inspect.signature(function), name
        assert pickle.loads(pickle.dumps(way_in)) is way_in


def test_info_has_what_is_promised():
    assert list(fastnn.info()) == ["version", "backend", "reason", "isa", "cpu", "threads", "compiler", "openmp"]
    assert fastnn.info()["version"] == fastnn.__version__


@needs_compiled
def test_isa_is_forced_by_the_environment():
    for isa in COMPILED.isas():
        code, out, err = python("import fastnn; print(fastnn.info()['isa'])", FASTNN_ISA=isa)
        assert (code, out) == (0, isa), err


@needs_compiled
def test_isa_that_is_not_here_is_refused():
    code, _, err = python("import fastnn", FASTNN_ISA="sse9")
    assert code == 1
    assert "FASTNN_ISA" in err
    assert "generic" in err


def test_backend_is_forced_by_the_environment():
    code, out, err = python("import fastnn; print(fastnn.info()['backend'])", FASTNN_BACKEND="numpy")
    assert (code, out, err) == (0, "numpy", "")
    code, _, err = python("import fastnn", FASTNN_BACKEND="fortran")
    assert code == 1
    assert "FASTNN_BACKEND" in err


def test_fall_back_is_never_silent(tmp_path):
    # A copy of the package without its extension: what an install without a compiler leaves.
    shutil.copytree(PACKAGE, tmp_path / "fastnn", ignore=shutil.ignore_patterns("_core*", "__pycache__"))
    show = "import fastnn; i = fastnn.info(); print(i['backend'], bool(i['reason']), fastnn.Network([2, 1]).n_params)"
    code, out, err = python(show, tmp_path)
    assert (code, out) == (0, "numpy True 3")
    assert err.count("RuntimeWarning") == 1
    assert "_core" in err
    code, _, err = python("import fastnn", tmp_path, FASTNN_BACKEND="compiled")
    assert code == 1
    assert "ImportError" in err
    assert "_core" in err
    code, out, err = python(show, tmp_path, FASTNN_BACKEND="numpy")
    assert (code, out, err) == (0, "numpy True 3", "")
    code, _, err = python("import fastnn; fastnn.Network([2, 1], backend='compiled')", tmp_path, FASTNN_BACKEND="numpy")
    assert code == 1
    assert "not available" in err


def test_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="backend"):
        fastnn.Network([2, 1], backend="cuda")


IMPORT = """
import os, sys, numpy
def threads(): return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
before, n = set(sys.modules), threads()
import fastnn
heavy = {"tqdm", "pandas", "scipy", "sklearn", "importlib.metadata", "zipfile", "hashlib"} & (set(sys.modules) - before)
print(threads() - n, sorted(heavy))
"""


def test_import_makes_no_thread_and_loads_little():
    code, out, err = python(IMPORT)
    assert (code, out) == (0, "0 []"), err
