"""RESULTS.md as data: what is read from it, what is drawn of it, and that files which name the same thing agree."""

import json
import re
import subprocess
from pathlib import Path

import pytest

import draw_results
import fastnn
import footprint
import peers
import results

ROOT = Path(__file__).parents[1]

TEXT = """
| date | commit | CPU, threads, backend, dtype | command | figures |
|---|---|---|---|---|
| 2026-01-01 | aaa | One CPU | `python benchmarks/x.py` | 6-5-3x4 1.5 us 30%; fit: worst 1.2 |
| 2026-01-02 | bbb | One CPU | `python benchmarks/x.py` | SGD fit 4.2; call +1.00 us |
| 2026-01-03 | ccc | One CPU | `python benchmarks/x.py`, in a fork | SGD fit 9 |
| 2026-01-04 | ddd | Two CPU | `python benchmarks/x.py` | SGD fit 5 |
| 2026-01-05 | eee | One CPU | `python benchmarks/x.py --y` | SGD fit 8 |
"""
MEASURED = {  # as `fastnn bench --json` prints it
    "cpu": "One CPU",
    "threads": 2,
    "backend": "compiled",
    "isa": "avx2",
    "rows": [
        {"net": net, "library": library, "version": version, "seconds": seconds}
        for library, version, times in (("fastnn", "1.0", (5e-6, 2.5e-7)), ("torch", "2.0", (8e-5, 1e-4)))
        for net, seconds in zip(("64-32-10x32", "6-5-3x4"), times, strict=True)
    ],
    "left_out": {"jax": "not installed"},
}


def test_every_row_of_the_results_is_read():
    found, lines = results.rows(), results.RESULTS.read_text().splitlines()
    assert len(found) == sum(line.startswith("| 2") for line in lines)
    for row in found:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", row.date)
        assert row.command.startswith("python benchmarks/")
        assert (ROOT / row.command.split()[1]).exists()
        assert row.items()


def test_the_newest_row_of_each_machine():
    found = results.newest("python benchmarks/x.py", TEXT)
    assert [(row.commit, row.machine[:3]) for row in found] == [("ddd", "Two"), ("bbb", "One")]
    assert [row.commit for row in results.newest("python benchmarks/x.py --y", TEXT)] == ["eee"]
    assert results.newest("python benchmarks/z.py", TEXT) == []


def test_figures_are_split_into_what_and_how_much():
    assert results.rows(TEXT)[0].items() == [("6-5-3x4", "1.5 us 30%"), ("fit", "worst 1.2")]
    assert results.rows(TEXT)[1].items() == [("SGD fit", "4.2"), ("call", "+1.00 us")]


def test_figures_of_peers_can_be_read_again():
    figures = peers.figures(MEASURED)
    assert figures == [
        "64-32-10x32: fastnn 5, torch 80 us",
        "6-5-3x4: fastnn 0.25, torch 100 us",
        "versions: fastnn 1.0, torch 2.0",
    ]
    row = results.Row("2026-01-01", "aaa", "One CPU", "python benchmarks/peers.py", "", "; ".join(figures))
    assert draw_results.times_of(row) == {
        "64-32-10x32": {"fastnn": 5.0, "torch": 80.0},
        "6-5-3x4": {"fastnn": 0.25, "torch": 100.0},
    }


def test_peers_ends_with_a_row_for_the_results(monkeypatch, capsys):
    asked = []

    def run(command, **_):
        if "bench" not in command:  # git, for the commit
            return subprocess.CompletedProcess(command, 1)
        asked.extend(command)
        return subprocess.CompletedProcess(command, 0, json.dumps(MEASURED))

    monkeypatch.setattr(subprocess, "run", run)
    assert peers.main(["--nets", "64-32-10x32", "6-5-3x4", "--libraries", "torch"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert asked[asked.index("--nets") + 1] == "64-32-10x32,6-5-3x4"
    assert asked[asked.index("--libraries") + 1] == "torch"
    assert lines[0] == "without jax: not installed"
    (row,) = results.rows(lines[-1])
    assert row.command == "python benchmarks/peers.py --nets 64-32-10x32 6-5-3x4 --libraries torch"
    assert dict(row.items())["6-5-3x4"] == "fastnn 0.25, torch 100 us"


def test_footprint_ends_with_a_row_for_the_results(capsys):
    assert footprint.main(["--processes", "1"]) == 0
    (row,) = results.rows(capsys.readouterr().out.splitlines()[-1])
    installed, wheel = (float(figure.split()[0]) for _, figure in row.items()[:2])
    assert 0.1 < wheel < installed < 20


def test_pictures_show_the_rows():
    plt = pytest.importorskip("matplotlib.pyplot")
    figure, (left, right) = plt.subplots(1, 2)
    figures = "; ".join(peers.figures(MEASURED))
    draw_results.draw_times(left, results.Row("2026-01-01", "aaa", "One CPU", "", "", figures))
    drawn = {line.get_label(): list(line.get_xdata()) for line in left.lines if line.get_label()[0] != "_"}
    assert drawn == {"fastnn": [0.25, 5.0], "torch": [100.0, 80.0]}
    assert left.get_xscale() == "log"
    rows = results.newest("python benchmarks/kernels_vs_numpy.py --threads 1")[:2]
    draw_results.draw_ratios(right, rows)
    widths = [[bar.get_width() for bar in bars] for bars in right.containers]
    for row, found in zip(rows, widths, strict=True):
        assert [1 + width for width in found] == pytest.approx(list(draw_results.ratios_of(row).values()))
    plt.close(figure)


def test_the_picture_in_the_repository_is_of_the_newest_rows():
    """The texts in an SVG are outlines: so the dates are looked for in what the drawing script wrote beside them."""
    folder = ROOT / "docs" / "_static"
    shown = (folder / "kernels_vs_numpy.svg").read_text()
    for row in results.newest("python benchmarks/kernels_vs_numpy.py --threads 1")[:2]:
        assert f"<!-- {draw_results.short(row)} -->" in shown
    row = results.newest("python benchmarks/peers.py")[0]
    assert f"<!-- {row.machine}, {row.date} -->" in (folder / "time_per_step.svg").read_text()


@pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="a checkout has them, an sdist has not")
def test_one_version_of_each_tool_and_of_the_package():
    run, hooks = ((ROOT / name).read_text() for name in (".ci/run", ".pre-commit-config.yaml"))
    tools = set(re.findall(r"(?:ruff|cython-lint|clang-format)==[\d.]+", run))
    assert len(tools) == 3
    assert set(re.findall(r"\[(\S+==\S+)\]", hooks)) == tools
    assert f"\nversion: {fastnn.__version__}\n" in (ROOT / "CITATION.cff").read_text()
