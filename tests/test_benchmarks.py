"""The benchmarks run and agree with their peers. Nothing is timed here."""

import argparse
import importlib.util
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import calls
import estimators
import fastnn
import kernels_vs_numpy
import neighbours
import overheads
import own_steps
import regret
import roofline
import scale
import sparse
import threads as threads_script
import training_options
import two_trees
from conftest import COMPILED
from fastnn import optimizers

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="affinity and /proc are Linux's")
may_fork = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only"),
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),
]
needs_compiled = pytest.mark.skipif(COMPILED is None, reason="no compiled backend here")
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
needs_scipy = pytest.mark.skipif(importlib.util.find_spec("scipy") is None, reason="SciPy is not installed")
needs_sklearn = pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="scikit-learn is not installed")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


@pytest.mark.parametrize(
    ("file", "selection", "passed"),
    [
        ("bench_kernels.py", "32x64x32", 18 * 2 * 2),  # cases, dtypes, and at least two variants
        ("bench_network.py", "30-16-2x64 and (fastnn or numpy)", 6 + 6 + 2),
    ],
)
def test_benchmarks_run(file, selection, passed):
    pytest.importorskip("pytest_benchmark")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env["PYTHONPATH"] = f"{Path(fastnn.__file__).parents[1]}{os.pathsep}{env.get('PYTHONPATH', '')}"
    # -P: the package of these tests, not what lies in the working directory.
    command = [sys.executable, "-P", "-m", "pytest", f"benchmarks/{file}", "-k", selection]
    command += ["--benchmark-disable", "-p", "no:cacheprovider"]
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(re.search(r"(\d+) passed", result.stdout)[1]) >= passed


def test_flops_are_those_counted_by_hand():
    # Forward 2*3 + 3*4 = 18 products a sample, as many for dW, 12 for dA_prev of layer 2: 48, two FLOP each.
    assert roofline.flops((2, 3, 4), 5) == 2 * 48 * 5
    assert roofline.flops((7, 3), 2) == 2 * 42 * 2


def test_nets_are_read_as_they_are_printed():
    assert roofline.net("784-128-10x32") == ((784, 128, 10), 32)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_roofline_checks_what_it_times(dtype):
    roofline.check((6, 5, 3), 4, dtype)
    assert roofline.step_seconds((6, 5, 3), 4, dtype, seconds=0) > 0


# With NumPy all of them take a minute: the test of how many batches they train on has each of them once.
FEW_OPTIONS = "" if COMPILED else " --options momentum Adam"


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        pytest.param(calls, "--size 3 --rounds 1", marks=[needs_gcc, needs_compiled, pytest.mark.slow]),
        pytest.param(calls, "--rounds 1 --dtype float64", marks=[needs_gcc, needs_compiled, pytest.mark.slow]),
        pytest.param(neighbours, "--rounds 1", marks=needs_torch),
        (threads_script, "--shapes 2"),
        pytest.param(threads_script, "--busy --batches 2", marks=on_linux),
        pytest.param(
            regret,
            "--processes 1 --conditions quiet hiccups busy --nets 6-5-3x4 64-100-10x200 --seconds 0.05 --rounds 1",
            marks=[on_linux, pytest.mark.slow],
        ),
        pytest.param(regret, "--processes 1 --conditions hiccups --nets 6-5-3x4 --rounds 1", marks=on_linux),
        (overheads, "shuffle --nets 6-5-3x4"),
        (overheads, "call --nets 6-5-3x4"),
        (overheads, "subnormal --nets 6-5-3x4"),
        (overheads, "subnormal --nets 6-5-3x4 --dtype float64"),
        pytest.param(overheads, "fork --nets 6-5-3x4", marks=may_fork),
        (own_steps, "--nets 6-5-3x4"),
        (training_options, f"--nets 6-5-3x4{FEW_OPTIONS}"),
        pytest.param(sparse, "--features 50 --units 3 --share 0.3", marks=needs_scipy),
        pytest.param(estimators, "--data rows --epochs 2", marks=needs_sklearn),
        (scale, "--curves width depth --points 4 --passes 1"),
        pytest.param(scale, "--curves memory --points 1", marks=on_linux),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
@pytest.mark.usefixtures("threads")
def test_a_script_ends_with_a_row_for_the_results(script, arguments, capsys):
    lines_of(script, arguments, capsys)


def lines_of(script, arguments, capsys):
    """What a script prints, of which the last line is a row for the results."""
    arguments += " --threads 1 --seconds 0"
    assert script.main(arguments.split()) == 0
    lines = capsys.readouterr().out.splitlines()
    row = lines[-1]
    header = (BENCHMARKS / "RESULTS.md").read_text().partition("| date ")[2].splitlines()[0]
    assert row.count("|") == header.count("|") + 1
    assert f"`python benchmarks/{script.__name__}.py {arguments}`" in row
    assert re.search(r"\d", row.split("|")[-2])
    return lines


@needs_gcc
@pytest.mark.usefixtures("threads")
def test_roofline_prints_shares(capsys):
    lines = lines_of(roofline, "--nets 6-5-3x4", capsys)
    assert re.search(r"FMA limit \d+\.\d GFLOP/s$", lines[0])
    assert re.fullmatch(r"6-5-3x4 +[\d.]+ +[\d.]+ +[\d.]+%", lines[2])


TURNS = ["step 30-16-2x64 Adam", "predict 4-64-64-2x8", "kernels rowsum 2x4x1 F out"]


@needs_compiled
def test_two_trees_take_turns(capsys):
    tree, chosen = str(Path(fastnn.__file__).parents[1]), TURNS
    how = ["--this", tree, "--only", *chosen, "--pairs", "2", "--rounds", "2", "--seconds", "0"]
    assert two_trees.main([tree, *how]) == 0
    lines = capsys.readouterr().out.splitlines()
    for case, line in zip(chosen, lines, strict=False):  # after those come the means
        assert re.fullmatch(re.escape(case) + r" +[\d.]+ us +[\d.]+  [\d.]+-[\d.]+", line)
    assert float(re.search(r"all ([\d.]+)", lines[-1])[1]) > 0
    with pytest.raises(SystemExit):
        two_trees.main([tree, "--only", "no such case"])


def test_pairs_keep_their_sides(monkeypatch):
    monkeypatch.setattr(roofline, "timed", lambda call: call())
    prepared = []
    assert roofline.pairs(lambda: 2, lambda: 1, 0, lambda: prepared.append(1)) == [[2, 1]] * 5
    assert len(prepared) == 6
    assert roofline.ratio(lambda: 2, lambda: 1, 0) == 2


def test_options_train_on_as_many_batches_as_plain_training(monkeypatch):
    monkeypatch.setattr(training_options, "CALL_FLOP", 0)  # so that they are few
    ended = {}
    for what, option in training_options.OPTIONS.items():
        for which, share in ((option, 1.0), (training_options.Option(), option.trained)):
            history = training_options.call_of(which, (6, 5, 10), 20, "float32", share)()
            kept_back = 0 if history.validation_samples is None else len(history.validation_samples)
            ended.setdefault(what, []).append((len(history.loss), round(share * 1000) - kept_back))
    assert all(with_it == plain for with_it, plain in ended.values()), ended
    assert {type(option.optimizer()) for option in training_options.OPTIONS.values()} == set(optimizers.OPTIMIZERS)


def test_shapes_are_from_tiny_to_large():
    shapes = list(itertools.islice(threads_script.shapes(), 100))
    sizes, batches = zip(*shapes, strict=True)
    assert len(set(shapes)) == 100
    assert {len(s) - 1 for s in sizes} == {1, 2, 3, 4}
    for values, low, high in (([s[0] for s in sizes], 4, 1024), (batches, 1, 2048)):
        assert low <= min(values) <= 1.2 * low
        assert high / 1.2 <= max(values) <= high


@pytest.mark.parametrize("label", scale.CURVES)
def test_a_curve_tells_its_law_and_its_steps(monkeypatch, label):
    points, slow = scale.CURVES[label], {}
    args = argparse.Namespace(dtype="float32", seconds=0, passes=2)

    def seconds(sizes, m, dtype, seconds, batches):
        return slow.get((sizes, m), 1) * scale.arithmetic(sizes, m, dtype) * 1e-12

    monkeypatch.setattr(scale, "step_seconds", seconds)
    figures = scale.curve(label, points, args)
    assert figures.startswith(f"{label}: exponent 1.000, R2 1.0000, largest step 1.00 ")
    assert ("below 64 units 1.00 (" in figures) == (label == "width")
    slow[points[-1][1:]] = 1.5
    assert f"largest step 1.50 ({points[-2][0]} to {points[-1][0]})" in scale.curve(label, points, args)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_vs_numpy_ends_with_a_row_for_the_results(dtype, capsys):
    arguments = ["--threads", "1", "--dtype", dtype, "--seconds", "0", "--shapes", "3x5x2", "1x20x9"]
    assert kernels_vs_numpy.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    # 12 cases with out given or not, 6 losses; one output unit has no cross-entropy over units; two orders.
    assert sum(re.search(r"(3x5x2|1x20x9) [FC]( out)? +\d+ +[\d.]+$", line) is not None for line in lines) == 116
    header = (BENCHMARKS / "RESULTS.md").read_text().partition("| date ")[2].splitlines()[0]
    assert lines[-1].count("|") == header.count("|") + 1
    assert f"`python benchmarks/kernels_vs_numpy.py {' '.join(arguments)}`" in lines[-1]


def test_kernels_vs_numpy_has_sixty_shapes():
    assert len(set(kernels_vs_numpy.SHAPES)) == len(kernels_vs_numpy.SHAPES) == 60


@needs_gcc
def test_the_limit_counts_what_the_loop_does(tmp_path):
    roofline.build_peak(tmp_path / "peak.s", "float32", "-S")
    code = (tmp_path / "peak.s").read_text()
    fused = re.findall(r"vfmadd\w*ps\s+%.mm\d+, %.mm\d+, %.mm\d+|fmla\s+v\d+\.4s", code)
    if not fused:
        pytest.skip("no fused multiply-add on this machine")
    assert len(fused) == 12  # in registers, none folded or hoisted
