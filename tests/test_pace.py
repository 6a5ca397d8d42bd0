"""A team or one thread: what was measured decides, and finding out costs little, whatever the pattern of times."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("patterns", [100, pytest.param(300, marks=pytest.mark.slow)])
def test_regret_is_bounded(tmp_path, patterns):
    if not (ROOT / "csrc").is_dir() or not shutil.which("gcc"):
        pytest.skip("no source tree, or no gcc here")
    check = tmp_path / "check"
    sources = [ROOT / "tests/c/check_pace.c", ROOT / "csrc/pace.c"]
    subprocess.run(["gcc", "-std=gnu11", "-O2", "-Wall", "-Werror", *sources, "-o", check], check=True)
    done = subprocess.run([check, str(patterns)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
