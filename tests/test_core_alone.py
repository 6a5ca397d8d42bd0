"""The C core without Python: built by hand for this machine, and for aarch64 where its compiler and qemu are here."""

import platform
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytestmark = [pytest.mark.build, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[1]
X86_FLAGS = {"avx2": ["-mavx2", "-mfma"], "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"]}


def run_checks(folder, compiler, flags_of, emulator, *extra, openmp=("-fopenmp",)):
    """Build csrc/ and the check, run it; returns {(isa, dtype): (worst error over bound, bits)}."""
    if not (ROOT / "csrc").is_dir():
        pytest.skip("no source tree here")
    for tool in [compiler, *emulator]:
        if not shutil.which(tool):
            pytest.skip(f"no {tool} here")
    common = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-psabi", "-ffp-contract=off", *openmp]

    def build(source):
        target = folder / f"{source.stem}.o"
        flags = flags_of.get(source.stem.removeprefix("kernels_"), [])
        subprocess.run([compiler, *common, *extra, *flags, "-c", source, "-o", target], check=True)
        return target

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(build, sorted((ROOT / "csrc").glob("*.c"))))
    check = folder / "check"
    source = ROOT / "tests" / "c" / "check_core.c"
    command = [compiler, "-std=gnu11", "-O1", "-Wall", source, *objects, "-o", check, *openmp, "-lm", "-ldl"]
    subprocess.run([*command, *(["-static"] if emulator else [])], check=True)
    done = subprocess.run([*emulator, check], capture_output=True, text=True, timeout=600)
    found = re.findall(r"(\w+) (float\d+) worst (\S+) bits (\w+)", done.stdout)
    results = {(isa, dtype): (float(worst), bits) for isa, dtype, worst, bits in found}
    assert results
    assert all(worst <= 1 for worst, _ in results.values()), results
    assert done.returncode == 0
    return results


def test_core_alone(tmp_path):
    flags = X86_FLAGS if platform.machine() in ("x86_64", "AMD64") else {}
    results = run_checks(tmp_path, "gcc", flags, [])
    assert ("generic", "float64") in results


def test_from_one_openmp_to_another(tmp_path):
    if platform.system() != "Linux" or not shutil.which("gcc") or not (ROOT / "csrc").is_dir():
        pytest.skip("no Linux, no gcc or no source tree here")
    find = ["gcc", "-print-file-name=libgomp.so.1"]
    library = subprocess.run(find, check=True, capture_output=True, text=True).stdout.strip()
    if not Path(library).is_absolute():
        pytest.skip("no libgomp here")
    copy = shutil.copy(library, tmp_path / "libgomp-copy.so.1")
    core = [ROOT / "csrc" / f"{name}.c" for name in ("parallel", "pace", "regions", "runtimes")]
    sources = [ROOT / "tests/c/check_runtimes.c", *core]
    check = tmp_path / "check"
    subprocess.run(["gcc", "-std=gnu11", "-O1", "-Wall", "-fopenmp", *sources, "-o", check, "-ldl"], check=True)
    done = subprocess.run([check, copy], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_avx512_tiles_on_avx2(tmp_path):
    # Where there is no AVX-512 its tiles run in AVX2's registers; the bits must be AVX2's own.
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("x86-64 only")
    flags = X86_FLAGS | {"avx512": X86_FLAGS["avx2"]}
    results = run_checks(tmp_path, "gcc", flags, [], "-DFNN_EMULATE_AVX512")
    if ("avx2", "float32") not in results:
        pytest.skip("no AVX2 here")
    for dtype in ("float32", "float64"):
        assert results["avx512", dtype][1] == results["avx2", dtype][1]


def test_core_on_musl(tmp_path):
    # Alpine's C library, with no OpenMP beside it.
    flags = X86_FLAGS if platform.machine() in ("x86_64", "AMD64") else {}
    results = run_checks(tmp_path, "musl-gcc", flags, [], openmp=())
    assert ("generic", "float64") in results


def test_threads_compile_for_windows():
    compiler = "x86_64-w64-mingw32-gcc-posix"
    if not shutil.which(compiler) or not (ROOT / "csrc").is_dir():
        pytest.skip(f"no {compiler}, or no source tree here")
    for name in ("parallel", "pace", "regions", "runtimes", "network_step", "network_train"):
        flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fopenmp", "-fsyntax-only"]
        subprocess.run([compiler, *flags, ROOT / "csrc" / f"{name}.c"], check=True)


def test_neon_under_qemu(tmp_path):
    results = run_checks(tmp_path, "aarch64-linux-gnu-gcc", {}, ["qemu-aarch64"])
    assert {("neon", "float32"), ("neon", "float64")} <= set(results)
