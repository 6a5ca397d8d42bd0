"""Installs into fresh environments: compiled, without a compiler, and the refusal of FASTNN_EXT=require."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.build

ROOT = Path(__file__).parents[2]
SHOW = "import fastnn, numpy as np; i = fastnn.info(); print(i['backend'], i['reason']); " + (
    "net = fastnn.Network([2, 8, 2], ['tanh', 'softmax'], seed=0); "
    "net.fit(np.eye(2), [0, 1], epochs=200, optimizer=fastnn.SGD(lr=0.5)); print(net.predict_classes(np.eye(2)))"
)


@pytest.fixture
def source(tmp_path):
    """A copy of the sources alone, in a folder whose name has a space and an umlaut."""
    if not (ROOT / "setup.py").exists():
        pytest.skip("no source tree here")
    target = tmp_path / "quëll code"
    target.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, target)
    for name in ("fastnn", "csrc"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    return target


def install(source, folder, **environment):
    """pip install into a new environment; returns its python and the finished process."""
    subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
    python = folder / "env" / "bin" / "python"
    env = {k: v for k, v in os.environ.items() if not k.startswith("FASTNN_")} | environment
    command = [python, "-m", "pip", "install", "--no-cache-dir", source]
    return python, subprocess.run(command, env=env, capture_output=True, text=True, timeout=900)


def show(python, folder):
    env = {k: v for k, v in os.environ.items() if not k.startswith("FASTNN_")}
    done = subprocess.run([python, "-c", SHOW], cwd=folder, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


@pytest.mark.timeout(900)
def test_compiled(source, tmp_path):
    python, done = install(source, tmp_path, FASTNN_EXT="require")
    assert done.returncode == 0, done.stderr
    out, err = show(python, tmp_path)
    assert out == ["compiled ", "[0 1]"]
    assert err == ""
    (installed,) = (tmp_path / "env" / "lib").glob("python*/site-packages/fastnn/_core*.so")
    data = installed.read_bytes()
    assert len(data) < 3 << 20
    assert str(ROOT).encode() not in data
    assert str(source).encode() not in data


@pytest.mark.timeout(900)
def test_without_a_compiler(source, tmp_path):
    python, done = install(source, tmp_path, CC="/bin/false")
    assert done.returncode == 0, done.stderr
    out, err = show(python, tmp_path)
    assert out[0].startswith("numpy ")
    assert "_core" in out[0]
    assert out[1] == "[0 1]"
    assert err.count("RuntimeWarning") == 1
    wheel = next((tmp_path / "env" / "lib").glob("python*/site-packages/fastnn_kernels*.dist-info/WHEEL"))
    assert "Tag: py3-none-any" in wheel.read_text()


@pytest.mark.timeout(900)
def test_required_without_a_compiler(source, tmp_path):
    _, done = install(source, tmp_path, CC="/bin/false", FASTNN_EXT="require")
    assert done.returncode != 0
