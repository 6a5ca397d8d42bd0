"""The rule by which the second of two runs leaves out tests: those that passed in files of which nothing asked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import alike

FILES = {
    "conftest.py": """
import alike
def pytest_addoption(parser): alike.add_options(parser)
def pytest_configure(config): alike.configure(config)
""",
    "fastnn/__init__.py": "",
    "test_plain.py": """
import multiprocessing, sys
import pytest
@pytest.mark.parametrize("a", [1, 2])
def test_passes(a): pass
def test_is_skipped(): pytest.skip("no extension")
@pytest.mark.parametrize("isa", [])
def test_has_nothing_to_run(isa): pass
@pytest.mark.xfail(strict=True)
def test_fails(): assert False
def test_in_second_run_only(): pass
if not {second}: del test_in_second_run_only
""",
    "test_asks.py": """
import pytest
def test_passes(): pass
def test_asks():
    with pytest.raises(ImportError): import fastnn._core
""",
    "test_asks_in_a_fixture.py": """
import pytest
@pytest.fixture(scope="module")
def core():
    try: import fastnn._core
    except ImportError: return None
def test_passes(core): pass
def test_passes_too(core): pass
""",
    "test_asks_as_it_is_imported.py": """
try: import fastnn._core
except ImportError: pass
def test_passes(): pass
""",
    "test_starts.py": """
import subprocess, sys
def test_passes(): pass
def test_starts(): subprocess.run([sys.executable, "-c", ""], check=True)
""",
    "test_forks.py": """
import os
def test_forks():
    pid = os.fork()
    if not pid: os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
""",
    "test_spawns.py": """
import multiprocessing
def test_spawns():
    child = multiprocessing.get_context("spawn").Process()
    child.start()
    child.join()
    assert child.exitcode == 0
""",
}
LEFT_OUT = {"test_plain.py::test_passes[1]", "test_plain.py::test_passes[2]"}


def run(folder, *options, second=False):
    """Ids of the tests that pass or fail as they should, and what pytest says."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text.replace("{second}", str(second)))
    environment = os.environ | {"PYTHONPATH": str(Path(alike.__file__).parent), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    # Without the warning that a fork beside other threads is none to rely on.
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", folder, "-rA", "-W", "ignore", *options]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    words = (line.split() for line in done.stdout.splitlines())
    return {w[1] for w in words if len(w) > 1 and w[0] in ("PASSED", "XFAIL")}, done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")
def test_what_is_left_out(tmp_path):
    pytest.importorskip("xdist")
    first, _ = run(tmp_path, "--note-alike=noted", "-p", "xdist", "-n", "2", "--dist", "loadfile")
    assert set((tmp_path / "noted").read_text().split()) == LEFT_OUT
    second, told = run(tmp_path, "--but-for=noted", second=True)
    assert second == first - LEFT_OUT | {"test_plain.py::test_in_second_run_only"}
    assert "2 skipped" in told
    assert "2 deselected" in told
