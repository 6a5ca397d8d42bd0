"""The benchmarks run and agree with their peers. Nothing is timed here."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


@pytest.fixture(scope="module")
def roofline():
    spec = importlib.util.spec_from_file_location("roofline", BENCHMARKS / "roofline.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kernels_vs_numpy():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)  # it imports from beside itself
        yield importlib.import_module("kernels_vs_numpy")


@pytest.mark.parametrize(
    ("file", "selection", "passed"),
    [
        ("bench_kernels.py", "32x64x32", 18 * 2 * 2),  # cases, dtypes, and at least two variants
        ("bench_network.py", "30-16-2x64 and (fastnn or numpy)", 4 + 4 + 2),
    ],
)
def test_benchmarks_run(file, selection, passed):
    pytest.importorskip("pytest_benchmark")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env["PYTHONPATH"] = f"{Path(fastnn.__file__).parents[1]}{os.pathsep}{env.get('PYTHONPATH', '')}"
    command = [sys.executable, "-m", "pytest", f"benchmarks/{file}", "-k", selection]
    command += ["--benchmark-disable", "-p", "no:cacheprovider"]
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(re.search(r"(\d+) passed", result.stdout)[1]) >= passed


def test_flops_are_those_counted_by_hand(roofline):
    # Forward 2*3 + 3*4 = 18 products a sample, as many for dW, 12 for dA_prev of layer 2: 48, two FLOP each.
    assert roofline.flops((2, 3, 4), 5) == 2 * 48 * 5
    assert roofline.flops((7, 3), 2) == 2 * 42 * 2


def test_nets_are_read_as_they_are_printed(roofline):
    assert roofline.net("784-128-10x32") == ((784, 128, 10), 32)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_roofline_checks_what_it_times(roofline, dtype):
    roofline.check((6, 5, 3), 4, dtype)
    assert roofline.step_seconds((6, 5, 3), 4, dtype, seconds=0) > 0


@needs_gcc
@pytest.mark.usefixtures("threads")
def test_roofline_ends_with_a_row_for_the_results(roofline, capsys):
    arguments = ["--threads", "1", "--seconds", "0", "--nets", "6-5-3x4"]
    assert roofline.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.search(r"FMA limit \d+\.\d GFLOP/s$", lines[0])
    assert re.fullmatch(r"6-5-3x4 +[\d.]+ +[\d.]+ +[\d.]+%", lines[2])
    header = (BENCHMARKS / "RESULTS.md").read_text().partition("| date ")[2].splitlines()[0]
    assert lines[-1].count("|") == header.count("|") + 1
    assert f"`python benchmarks/roofline.py {' '.join(arguments)}`" in lines[-1]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_vs_numpy_ends_with_a_row_for_the_results(kernels_vs_numpy, dtype, capsys):
    arguments = ["--threads", "1", "--dtype", dtype, "--seconds", "0", "--shapes", "3x5x2", "1x20x9"]
    assert kernels_vs_numpy.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    # 12 cases with out given or not, 6 losses; one output unit has no cross-entropy over units; two orders.
    assert sum(re.search(r"(3x5x2|1x20x9) [FC]( out)? +\d+ +[\d.]+$", line) is not None for line in lines) == 116
    header = (BENCHMARKS / "RESULTS.md").read_text().partition("| date ")[2].splitlines()[0]
    assert lines[-1].count("|") == header.count("|") + 1
    assert f"`python benchmarks/kernels_vs_numpy.py {' '.join(arguments)}`" in lines[-1]


def test_kernels_vs_numpy_has_sixty_shapes(kernels_vs_numpy):
    assert len(set(kernels_vs_numpy.SHAPES)) == len(kernels_vs_numpy.SHAPES) == 60


@needs_gcc
def test_the_limit_counts_what_the_loop_does(roofline, tmp_path):
    roofline.build_peak(tmp_path / "peak.s", "float32", "-S")
    code = (tmp_path / "peak.s").read_text()
    fused = re.findall(r"vfmadd\w*ps\s+%.mm\d+, %.mm\d+, %.mm\d+|fmla\s+v\d+\.4s", code)
    if not fused:
        pytest.skip("no fused multiply-add on this machine")
    assert len(fused) == 12  # in registers, none folded or hoisted
