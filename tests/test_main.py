"""python -m fastnn: what a first user sees."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn
from fastnn import command_line
from fastnn.commands import info

ROOT = Path(fastnn.__file__).parents[1]


def run(*arguments, cwd, **environment):
    """The finished process, of the same copy of the package, from another working directory."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", **environment}
    return subprocess.run([sys.executable, "-m", "fastnn", *arguments], cwd=cwd, env=env, capture_output=True)


def rows(stdout):
    """The table's rows, as lists of cells."""
    lines = stdout.decode("ascii").splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("backend"))
    assert lines[head].split() == ["backend", "isa", "accuracy", "seconds", "speed"]
    body = lines[head + 1 :]
    return [line.split() for line in body[: body.index("")]]


def assert_row(row, name, isa):
    assert row[:2] == [name, isa]
    assert float(row[2].removesuffix("%")) >= 96  # of the held-out images
    assert 0 < float(row[3]) < 60


def test_demo(tmp_path):
    result = run(cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    table, facts = rows(result.stdout), fastnn.info()
    assert [row[0] for row in table] == list(dict.fromkeys([facts["backend"], "numpy"]))
    for row in table:
        assert_row(row, row[0], facts["isa"] if row[0] == facts["backend"] else "numpy")
    assert table[-1][4] == "1.0x"
    if facts["backend"] != "numpy":
        faster = float(table[1][3]) / float(table[0][3])
        assert float(table[0][4].removesuffix("x")) == pytest.approx(faster, rel=0.1)
        assert abs(float(table[0][2][:-1]) - float(table[1][2][:-1])) < 1
    assert list(tmp_path.iterdir()) == []


def test_demo_on_numpy_says_so(tmp_path):
    result = run(cwd=tmp_path, FASTNN_BACKEND="numpy")
    assert result.returncode == 0
    assert result.stderr == b""
    (row,) = rows(result.stdout)
    assert_row(row, "numpy", "numpy")
    assert b"default backend here is NumPy (FASTNN_BACKEND=numpy asks for it)" in result.stdout


def test_info(tmp_path):
    result = run("info", cwd=tmp_path, FASTNN_BACKEND="numpy", PYTHONIOENCODING="ascii")
    assert result.returncode == 0
    lines = result.stdout.decode("ascii").splitlines()
    found = dict(line.split(": ", 1) for line in lines)
    assert list(found) == list(fastnn.info())
    assert found["version"] == fastnn.__version__
    assert (found["backend"], found["isa"]) == ("numpy", "numpy")
    assert found["reason"] == "FASTNN_BACKEND=numpy asks for it"


def test_info_prints_one_line_each(monkeypatch, capsys):
    facts = {"reason": "Zürich:\nno such file", "nothing": "", "cpu": "Core™ \x1b[31m"}
    monkeypatch.setattr(info.information, "info", lambda: facts)
    assert command_line.main(["info"]) == 0
    assert capsys.readouterr().out == "reason: Zürich: no such file\ncpu: Core™ \\x1b[31m\n"


@pytest.mark.parametrize("arguments", [["run"], ["info", "more"], ["--fast"]])
def test_unknown_arguments(arguments, tmp_path):
    result = run(*arguments, cwd=tmp_path, FASTNN_BACKEND="numpy")
    assert result.returncode == 2
    assert result.stdout == b""
    assert re.match(rb"usage: python -m fastnn", result.stderr)


def test_help(tmp_path):
    result = run("--help", cwd=tmp_path, FASTNN_BACKEND="numpy")
    assert result.returncode == 0
    assert result.stderr == b""
    text = " ".join(result.stdout.decode("ascii").split())
    assert "train on the bundled digits (what happens without a command)" in text
    assert "info" in text
