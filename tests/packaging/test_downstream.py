"""The packages in examples/downstream, built against an installed wheel in a fresh environment."""

import shutil

import pytest
from wheelhouse import HERE, ROOT, run

pytestmark = [pytest.mark.build, pytest.mark.timeout(1800)]


def test_downstream_packages(wheels, tmp_path):
    python = wheels.environment(HERE, wheels.wheel(), "pip", "setuptools>=77", "cython>=3.1")
    for name in ("cython_simulator", "c_estimator"):
        folder = tmp_path / name
        shutil.copytree(ROOT / "examples" / "downstream" / name, folder)
        run(python, "-m", "pip", "install", "-q", "--no-cache-dir", "--no-build-isolation", folder)
        run(python, "check.py", cwd=folder, timeout=120)
