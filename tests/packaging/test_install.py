"""Install, import and CPU: what the wheel's tag claims holds, and which backend is live can always be seen."""

import os
import platform
import re
import shutil
import signal
import sys
import tomllib
import zipfile

import pytest
from wheelhouse import BEST, HERE, ROOT, interpreter, needs, run

pytestmark = [pytest.mark.build, pytest.mark.timeout(1800)]

on_x86_64 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86-64 only")

SHOW = """
import fastnn, numpy as np
i = fastnn.info()
net = fastnn.Network([2, 8, 2], ["tanh", "softmax"], seed=0)
net.fit(np.eye(2), [0, 1], epochs=200, optimizer=fastnn.SGD(lr=0.5), progress=False)
print(i["backend"], i["isa"], *net.predict_classes(np.eye(2)))
print(i["reason"])
"""


def show(python, cwd, *before, **environment):
    """(what runs and what it predicts, the reason, warnings) of a small training, started from the folder `cwd`."""
    done = run(*before, python, "-c", SHOW, cwd=cwd, timeout=300, **environment)
    runs, reason = done.stdout.splitlines()
    return runs, reason, done.stderr


def assert_falls_back(python, cwd, *words):
    """One warning says why, info() too, and who demands the compiled backend gets an ImportError."""
    runs, reason, err = show(python, cwd)
    assert runs.split() == ["numpy", "numpy", "0", "1"]
    assert err.count("RuntimeWarning") == 1
    assert reason in err
    refused = run(python, "-c", "import fastnn", check=False, cwd=cwd, FASTNN_BACKEND="compiled")
    assert refused.returncode == 1
    last = refused.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    for word in words:
        assert word in reason
        assert word in last


# --- instructions -------------------------------------------------------------------------------------------------

# Sets of instructions beyond x86-64's baseline, the first that fits, as objdump writes them. `tzcnt` is not among
# them: older CPUs take it for the bsf that gcc means by it.
BEYOND = {
    "AVX-512": r".*(%zmm|%[xy]mm(1[6-9]|2\d|3[01])|%k[0-7]|\{[zk%])|k(mov|or|and|not|x|unpck|test|shift|add)",
    "F16C": r"vcvtp[hs]2p[hs] ",
    "AVX, AVX2, FMA": r"v(?!er[rw] )",
    "BMI": r"(andn|bextr|bls(i|r|msk)|bzhi|mulx|p(dep|ext)|rorx|s(ar|hl|hr)x|lzcnt)[lq]? ",
    "others": r"(aes|pclmul|sha(1|256)|ad[co]x|movbe|rd(rand|seed)|cmpxchg16b)",
    "XSAVE": r"(xgetbv|xsave|xrstor)",
    "SSE3 to SSE4.2": (
        r"(addsubp|h(add|sub)p|lddqu|mov(ddup|s[hl]dup)|fisttp|pabs[bwd]|palignr|ph(add|sub)|pmaddubsw|pmulhrsw|pshufb"
        r"|psign|p?blend|dpp[sd]|(ext|ins)(e?r)t?(act)?ps|movntdqa|mpsadbw|packusdw|pcmpeqq|pcmpgtq|pcmp[ei]str"
        r"|pextr[bdq]|pinsr[bdq]|phminposuw|p(max|min)(s[bd]|u[dw])|pmov[sz]x|pmul(dq|ld)|ptest|round[ps][sd]"
        r"|crc32|popcnt)"
    ),
}
AVX2 = {"SSE3 to SSE4.2", "AVX, AVX2, FMA"}
# What a file's code may use beyond the baseline. Nothing, if it is not here.
ALLOWED = {"kernels_avx2": AVX2, "kernels_avx512": AVX2 | {"AVX-512"}, "dispatch": {"XSAVE"}}

_PREFIX = re.compile(r"(?:(?:rep\w*|lock|bnd|notrack|data16|[cdefgs]s) +)+")


def instructions(path):
    """{set of BEYOND: number of its instructions} of an object or a library."""
    found = dict.fromkeys(BEYOND, 0)
    text = run("objdump", "--disassemble", "--no-show-raw-insn", "--wide", path).stdout
    for line in text.splitlines():
        _, tab, instruction = line.partition(":\t")
        instruction = _PREFIX.sub("", re.sub(r"[<#].*", "", instruction)) + " "
        name = next((name for name, form in BEYOND.items() if re.match(form, instruction)), None)
        if tab and name:
            found[name] += 1
    return {name: count for name, count in found.items() if count}


def symbols(path, *options):
    """Names of an object's symbols that other objects see."""
    lines = run("nm", "--extern-only", "--format=posix", *options, path).stdout.splitlines()
    return {line.split()[0] for line in lines}


@on_x86_64
def test_g01_no_illegal_instruction_on_older_cpus(wheels):
    needs("objdump", "nm")
    wheels.raw()
    objects = {path.stem: path for path in (wheels.sources() / "build").rglob("*.o")}
    assert {"_core", "dispatch", "network_step", "parallel", *ALLOWED} <= objects.keys()
    used = {name: instructions(path) for name, path in objects.items()}
    for name, sets in used.items():
        assert sets.keys() <= ALLOWED.get(name, set()), f"{name}.c: {sets}"
    assert used["kernels_avx2"]["AVX, AVX2, FMA"] > 1000  # or the search is blind
    assert used["kernels_avx512"]["AVX-512"] > 1000
    # What is linked is that, and nothing else.
    extension, *vendored = wheels.libraries()
    linked = instructions(extension)
    assert linked == {name: sum(sets.get(name, 0) for sets in used.values()) for name in linked}
    for library in vendored:
        assert instructions(library).keys() <= {"XSAVE"}, library.name
    # The linker may take any copy of a shared function for all callers: so there is none, only a table, and the
    # dispatcher alone knows it.
    for isa in ("kernels_generic", "kernels_avx2", "kernels_avx512"):
        table = isa.replace("kernels", "fnn_tables")
        assert symbols(objects[isa], "--defined-only") == {table}
        assert [name for name, path in objects.items() if table in symbols(path, "--undefined-only")] == ["dispatch"]


USE_AVX2 = """
import ctypes, fastnn, numpy as np
number, size = ctypes.c_int, ctypes.c_ssize_t
class Matrix(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("row", size), ("col", size), ("dtype", number)]
a = np.ones((64, 64), "f4")
m = Matrix(a.ctypes.data, 64, 1, 0)
f = ctypes.CFUNCTYPE(number, number, ctypes.POINTER(Matrix), ctypes.POINTER(Matrix), size, size, number)(
    fastnn.c_function("fnn_rowsum"))
f(1, m, m, 64, 64, 1)
"""


@on_x86_64
def test_g01_runs_on_a_cpu_of_2008(wheels, tmp_path):
    needs("qemu-x86_64")
    nehalem = ["qemu-x86_64", "-cpu", "Nehalem"]
    # NumPy's OpenBLAS picks its own kernels, unless the environment does.
    plain = {"OPENBLAS_CORETYPE": None, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "2"}
    runs, reason, err = show(wheels.python, tmp_path, *nehalem, **plain)
    assert (runs.split(), reason, err) == (["compiled", "generic", "0", "1"], "", "")
    for isa in ("avx2", "avx512"):
        start = [*nehalem, wheels.python, "-c", "import fastnn"]
        refused = run(*start, check=False, cwd=tmp_path, FASTNN_ISA=isa, **plain)
        assert refused.returncode == 1
        assert refused.stderr.strip().splitlines()[-1].startswith(f"ValueError: FASTNN_ISA: no '{isa}' on this CPU")
    # The emulated CPU would have told: behind the dispatcher's back AVX2 dies there.
    killed = run(*nehalem, wheels.python, "-c", USE_AVX2, check=False, cwd=tmp_path, **plain)
    assert killed.returncode in (-signal.SIGILL, 128 + signal.SIGILL)


# --- libraries ----------------------------------------------------------------------------------------------------

# What every image of the wheel's tag has.
EVERYWHERE = {
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
}

MAPPED = """
import fastnn
with open("/proc/self/maps") as file:
    print(*{line.split(maxsplit=5)[-1].strip() for line in file if "libgomp" in line}, sep="\\n")
"""


def dynamic(library, kind):
    """Values of the entries of that kind in the library's dynamic section."""
    text = run("readelf", "--dynamic", "--wide", library).stdout
    return re.findall(rf"\((?:{kind})\).*\[(.*)\]", text)


def test_g02_slim_images_have_no_libgomp(wheels, tmp_path):
    needs("readelf")
    extension, *vendored = wheels.libraries()
    assert [path.name.partition("-")[0] for path in vendored] == ["libgomp"]
    for library in (extension, *vendored):
        needed = set(dynamic(library, "NEEDED"))
        assert needed <= EVERYWHERE | {path.name for path in vendored}
    mapped = run(wheels.python, "-c", MAPPED, cwd=tmp_path).stdout.splitlines()
    assert [os.path.realpath(path) for path in mapped] == [os.path.realpath(vendored[0])]
    # The same extension where its libgomp is missing, as it is there without auditwheel.
    shutil.copytree(wheels.site_packages / "fastnn", tmp_path / "fastnn")
    assert_falls_back(wheels.python, tmp_path, "libgomp", "cannot open shared object file")


def test_g08_no_build_machine_paths_in_the_wheel(wheels, tmp_path):
    needs("readelf")
    for library in wheels.libraries():
        for path in dynamic(library, "RPATH|RUNPATH"):
            assert all(part.startswith("$ORIGIN") for part in path.split(":")), path
    ours = [str(path).encode() for path in (ROOT, wheels.folder, sys.base_prefix)]
    with zipfile.ZipFile(wheels.wheel()) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            assert not [path for path in ours if path in data], name
            if ".so" in name:
                assert not re.findall(rb"/(?:home|root|Users|tmp|build|usr/local|opt)/[ -~]*", data), name
    # And it runs from a folder such as a user may have.
    assert " " in str(wheels.python)
    assert not str(wheels.python).isascii()
    runs, reason, err = show(wheels.python, tmp_path)
    assert (runs.split()[0], runs.split()[2:], reason, err) == ("compiled", ["0", "1"], "", "")


# --- other machines -----------------------------------------------------------------------------------------------


def test_g03_musl_and_no_compiler(wheels, tmp_path):
    # Alpine is not here: what pip does there without a wheel is this. musl itself: tests/test_core_alone.py.
    python = wheels.environment(HERE, "pip")
    done = run(python, "-m", "pip", "install", "--no-cache-dir", wheels.sdist, CC="/bin/false")
    assert "Traceback" not in done.stdout + done.stderr
    (info,) = python.parents[1].glob("lib/python*/site-packages/fastnn_kernels*.dist-info")
    assert "Tag: py3-none-any" in (info / "WHEEL").read_text()
    assert not list(info.parent.glob("fastnn/*.so"))
    assert_falls_back(python, tmp_path, "did not load", "_core")


PART = ["parity", "lecture", "sharing", "steps", "backend"]
THEY_NEED = ["pytest>=8", "pytest-timeout", "hypothesis", "pandas", "threadpoolctl"]  # of the extra `test`


@pytest.mark.parametrize(
    ("python", "numpy"),
    [("3.11", "1.26"), ("3.11", "2.0"), ("3.12", "1.26"), ("3.13", "2.1"), ("3.14", "newest")],
)
def test_g04_numpy_1_x_and_2_x(wheels, tmp_path, python, numpy):
    # The newest with the Python of the tests: test_wheel.py, where the whole suite runs.
    if not interpreter(python):
        pytest.skip(f"no Python {python} here")
    asked = "numpy" if numpy == "newest" else f"numpy=={numpy}.*"
    environment = wheels.environment(python, wheels.wheel(python), *THEY_NEED, asked)
    if numpy != "newest":
        version = run(environment, "-c", "import numpy; print(numpy.__version__)", cwd=tmp_path).stdout
        assert version.startswith(f"{numpy}.")
    tests = [wheels.sources() / "tests" / f"test_{name}.py" for name in PART]
    run(environment, "-m", "pytest", *tests, "-p", "no:cacheprovider", cwd=tmp_path, **BEST)


def test_g05_free_threaded_python(wheels, tmp_path):
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]["build"].split()
    versions = [f"3.{name[3:5]}t" for name in wanted if re.match(r"cp3\d+t-", name)]
    if not re.search(r"^# cython:.*freethreading_compatible *= *True", (ROOT / "fastnn/_core.pyx").read_text(), re.M):
        assert not versions, "importing this wheel would switch the GIL back on"
        return
    assert versions
    here = [version for version in versions if interpreter(version)]
    if not here:
        pytest.skip(f"no Python {' or '.join(versions)} here")
    for version in here:
        python = wheels.environment(version, f"{wheels.wheel(version)}[test]")
        run(python, "-W", "error", "-c", "import sys, fastnn; assert not sys._is_gil_enabled()", cwd=tmp_path)
        tests = [wheels.sources() / "tests" / f"test_{name}.py" for name in ("threads", "parity", "bits")]
        run(python, "-m", "pytest", *tests, "-p", "no:cacheprovider", cwd=tmp_path, FASTNN_BACKEND="compiled")


# --- the fallback -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (lambda extension: extension.unlink(), "_core"),
        (lambda extension: extension.write_bytes(b""), "too short"),
        (lambda extension: extension.write_text("<html>not found</html>" * 99), "invalid ELF header"),
        (lambda extension: extension.rename(extension.with_name("_core.cpython-310-x86_64-linux-gnu.so")), "_core"),
    ],
    ids=["removed", "empty", "not a library", "of another Python"],
)
def test_g07_the_fallback_is_never_silent(wheels, tmp_path, harm, word):
    shutil.copytree(wheels.site_packages / "fastnn", tmp_path / "fastnn")
    (extension,) = (tmp_path / "fastnn").glob("*.so")
    harm(extension)
    assert_falls_back(wheels.python, tmp_path, word)
