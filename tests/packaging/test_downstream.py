"""The packages in examples/downstream, built against an installed wheel in a fresh environment."""

import shutil
import subprocess

import pytest
from test_install import ROOT, install, source  # noqa: F401 - a fixture

pytestmark = pytest.mark.build


@pytest.mark.timeout(900)
def test_downstream_packages(source, tmp_path):  # noqa: F811
    python, done = install(source, tmp_path, FASTNN_EXT="require")
    assert done.returncode == 0, done.stderr
    pip = [python, "-m", "pip", "install", "-q", "--no-cache-dir"]
    subprocess.run([*pip, "setuptools>=77", "cython>=3.1"], check=True, timeout=600)
    for name in ("cython_simulator", "c_estimator"):
        folder = tmp_path / name
        shutil.copytree(ROOT / "examples" / "downstream" / name, folder)
        built = subprocess.run([*pip, "--no-build-isolation", folder], capture_output=True, text=True, timeout=600)
        assert built.returncode == 0, built.stderr
        checked = subprocess.run([python, "check.py"], cwd=folder, capture_output=True, text=True, timeout=120)
        assert checked.returncode == 0, checked.stderr
