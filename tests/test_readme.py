"""README.md shows what its first example prints, and its first screen has what a newcomer asks for."""

import re
from pathlib import Path

import pytest

import fastnn
from conftest import alone

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
FIRST_SCREEN = README.partition("\n## ")[0]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", FIRST_SCREEN, re.DOTALL | re.MULTILINE)


@alone  # the working directory changes
def test_the_first_example_prints_what_is_shown(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib").use("agg")
    if fastnn.info()["backend"] != "compiled":
        pytest.skip("the figures are of the compiled backend")
    monkeypatch.chdir(tmp_path)
    (example,), (shown,) = blocks("python"), blocks("text")
    exec(compile(example, "README.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out == shown
    assert (tmp_path / "loss.png").stat().st_size > 1000


def test_the_first_screen_has_what_a_newcomer_asks_for():
    assert len(FIRST_SCREEN.splitlines()) < 65
    (example,) = blocks("python")
    assert len(example.splitlines()) <= 12
    (commands,) = blocks("sh")
    assert len(commands.splitlines()) == 2
    for path in re.findall(r'\]\(([^)#]+)\)|src="([^"]+)"', README):
        assert (Path(__file__).parents[1] / "".join(path)).exists(), path
