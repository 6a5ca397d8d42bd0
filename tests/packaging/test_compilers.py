"""Other compilers and other flags: Windows, who includes the header, warnings, what a distributor has in CFLAGS."""

import json
import platform
import re
import shutil

import pytest
from wheelhouse import HERE, ROOT, needs, run

pytestmark = [pytest.mark.build, pytest.mark.timeout(1800)]

on_x86_64 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86-64 only")
CSRC = ROOT / "csrc"

# --- Windows ------------------------------------------------------------------------------------------------------

# Runs setup.py with setuptools' own class for Windows, of which only what asks the machine and what starts a program
# are replaced: programs are written down.
RECORD = """
import json, os, pathlib, runpy, sys
import setuptools  # first: it brings this distutils
from distutils.ccompiler import new_compiler

studio, fails, *arguments = sys.argv[1:]
msvc = type(new_compiler(compiler="msvc"))
module = sys.modules[msvc.__module__]
module.get_platform = module.get_host_platform = lambda: "win-amd64"
module._get_vc_env = lambda spec: {"path": "", "include": "", "lib": ""}
module._find_exe = lambda name, paths=None: os.path.join(studio, "VC/Tools/MSVC/14.44/bin/HostX64/x64", name)
commands = []

def start(self, command, **rest):
    commands.append(list(command))
    if fails and any(fails in word for word in command):
        raise OSError("as it is asked to")
    for word in command:
        if word.startswith(("/Fo", "/OUT:")):
            path = pathlib.Path(word.removeprefix("/Fo").removeprefix("/OUT:"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")

msvc.spawn = msvc.call = start
sys.argv = ["setup.py", "build_ext", "--compiler=msvc", *arguments]
try:
    runpy.run_path("setup.py", run_name="__main__")
finally:
    print("\\n" + json.dumps(commands))
"""


def windows_commands(wheels, folder, path="", fails="", llvm=True, check=True):
    """What setup.py starts there: ([commands that compile], [those that link], the finished process)."""
    clang_cl = folder / ("Visual Studio/VC/Tools/Llvm/x64/bin" if llvm else "none") / "clang-cl"
    clang_cl.parent.mkdir(parents=True)
    clang_cl.write_text("#!/bin/sh\nexit 1\n")
    clang_cl.chmod(0o755)
    out = ["--build-lib", folder / "lib", "--build-temp", folder / "temp"]
    python, where = wheels.builder(HERE), wheels.sources()
    environment = {"FASTNN_EXT": "require", "PATH": f"{path}/usr/bin:/bin", "VCINSTALLDIR": None, "CC": "cl"}
    studio = folder / "Visual Studio"
    done = run(python, "-c", RECORD, studio, fails, *out, cwd=where, check=check, **environment)
    commands = json.loads(done.stdout.splitlines()[-1])
    return [c for c in commands if "/c" in c], [c for c in commands if "/c" not in c], done


def source_of(command):
    (name,) = [word.removeprefix("/Tc").rpartition("/")[2] for word in command if word.startswith("/Tc")]
    return name


@pytest.fixture(scope="module")
def windows(wheels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("windows")
    compiling, linking, _ = windows_commands(wheels, folder)
    return folder, compiling, linking


@on_x86_64
def test_windows_is_compiled_by_clang_cl(windows):
    folder, compiling, linking = windows
    assert {c[0] for c in compiling} == {str(folder / "Visual Studio/VC/Tools/Llvm/x64/bin/clang-cl")}
    by_name = {source_of(c): c for c in compiling}
    assert by_name.keys() == {"probe.c", "_core.c", *(path.name for path in CSRC.glob("*.c"))}
    instructions = {
        "kernels_avx2.c": ["avx2", "fma"],
        "kernels_avx512.c": ["avx512f", "avx512bw", "avx512dq", "avx512vl", "fma"],
    }
    for name, command in by_name.items():
        # clang-cl knows cl.exe's words, and hands on what follows /clang:; of GNU's own it takes a few by accident.
        assert not [word for word in command[1:] if not word.startswith(("/", "-I", "-D", "-U"))], name
        assert "/GL" not in command
        given = [word.removeprefix("/clang:") for word in command if word.startswith("/clang:")]
        machine = [flag[2:] for flag in given if flag.startswith("-m") and "=" not in flag]
        assert machine == instructions.get(name, [])
        assert ("-fopenmp" in given) == (name in ("probe.c", "parallel.c", "regions.c", "runtimes.c"))
        if name != "probe.c":
            assert {"-std=gnu11", "-ffp-contract=off", "-fno-fast-math"} <= set(given)
            # What there is no such thing as, or a need of, in its format.
            assert not {"-fPIC", "-fvisibility=hidden", "-fno-asynchronous-unwind-tables"} & set(given)
    _, extension = linking  # after the probe
    assert extension[0].endswith("link.exe")
    assert not [word for word in extension if word.startswith(("-", "/clang:"))]
    assert "/EXPORT:PyInit__core" in extension
    assert "libomp.lib" in extension
    assert f"/LIBPATH:{folder / 'Visual Studio/VC/Tools/Llvm/x64/lib'}" in extension


@on_x86_64
def test_windows_without_openmp(wheels, tmp_path):
    compiling, linking, _ = windows_commands(wheels, tmp_path, fails="libomp.lib")
    assert [source_of(c) for c in compiling if "/clang:-fopenmp" in c] == ["probe.c"]
    assert "libomp.lib" not in linking[-1]


@on_x86_64
def test_windows_takes_the_clang_cl_of_the_path(wheels, tmp_path):
    here = tmp_path / "LLVM" / "bin" / "clang-cl"
    here.parent.mkdir(parents=True)
    here.write_text("#!/bin/sh\nexit 1\n")
    here.chmod(0o755)
    compiling, *_ = windows_commands(wheels, tmp_path, path=f"{here.parent}:")
    assert {c[0] for c in compiling} == {str(here)}


@on_x86_64
def test_windows_without_clang_cl_is_told_so(wheels, tmp_path):
    if shutil.which("clang-cl", path="/usr/bin:/bin"):
        pytest.skip("clang-cl is here")
    compiling, linking, done = windows_commands(wheels, tmp_path, llvm=False, check=False)
    assert done.returncode
    assert not compiling + linking
    assert "clang-cl is neither on the PATH nor in Visual Studio" in done.stderr


# What the C library, the system and the OpenMP of Windows have, of what objects refer to there.
OF_WINDOWS = (
    {"QueryPerformanceCounter", "QueryPerformanceFrequency", "SwitchToThread"}
    | {"__chkstk", "__security_check_cookie", "__security_cookie", "_fltused", "_tls_index"}
    | {"calloc", "free", "malloc", "memcmp", "memcpy", "memmove", "memset", "strcmp"}
    | {"cos", "fabs", "floor", "nearbyint", "pow", "sqrt"}
)


@on_x86_64
def test_windows_csrc_compiles(windows, wheels, tmp_path):
    # By the commands of setup.py, against headers of our own.
    needs("clang", "nm")
    _, compiling, _ = windows
    sources = wheels.sources()
    stubs = sources / "tests" / "c" / "windows"
    start = ["clang", "--driver-mode=cl", "--target=x86_64-pc-windows-msvc"]
    # Of the others one needs Python's header for Windows, and one is no C of ours.
    ours = [c for c in compiling if source_of(c) not in ("_core.c", "probe.c")]
    defined, undefined = {}, {}

    def compiled(command, left_out=()):
        name = source_of(command)
        target = tmp_path / f"{name}bj"
        words = [f"/Fo{target}" if word.startswith("/Fo") else word for word in command[1:] if word not in left_out]
        done = run(*start, *words, f"/clang:-isystem{stubs}", "/clang:-Werror", cwd=sources)
        assert "warning:" not in done.stderr
        symbols = [line.split() for line in run("nm", "--format=posix", target).stdout.splitlines()]
        undefined[name] = {symbol for symbol, kind, *_ in symbols if kind == "U"}
        defined[name] = {symbol for symbol, kind, *_ in symbols if kind.isupper() and kind != "U"}

    def assert_complete():
        known = OF_WINDOWS.union(*defined.values())
        missing = {
            (name, symbol)
            for name, symbols in undefined.items()
            for symbol in symbols - known
            if not symbol.startswith(("omp_", "__kmpc_"))
        }
        assert not missing

    for command in ours:
        compiled(command)
    assert undefined.keys() == {path.name for path in CSRC.glob("*.c")}
    assert_complete()
    assert "__kmpc_fork_call" in undefined["runtimes.c"]
    # And where there is no OpenMP.
    for command in ours:
        if "/clang:-fopenmp" in command:
            compiled(command, ["/clang:-fopenmp"])
    assert_complete()
    assert not [symbol for symbols in undefined.values() for symbol in symbols if "omp_" in symbol or "kmp" in symbol]


# --- the header ---------------------------------------------------------------------------------------------------

USES_HEADER = """
/* The macros of windows.h that are in the way of innocent names. */
#define interface struct
#define small char
#define near
#define far
#define IN
#define OUT
#define CONST const
#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))
#ifdef __cplusplus
extern "C" {
#endif
/* Of Python.h what the header uses, without Python. */
#define Py_PYTHON_H
void *PyCapsule_Import(const char *name, int no_block);
void *PyErr_Format(void *exception, const char *format, ...);
extern void *PyExc_ImportError;
#ifdef __cplusplus
}
#endif
#include "fastnn.h"
#include "fastnn.h"
int predict(const fnn_net *net, const fnn_matrix *out, const fnn_matrix *X);
int predict(const fnn_net *net, const fnn_matrix *out, const fnn_matrix *X) {
  const fnn_api *api = fastnn_import();
  return api && api->isa_total() > 0 ? api->net_predict(net, out, X, 1, 1) : (int)FNN_NO_MEMORY;
}
"""


@pytest.mark.parametrize("language", ["c -std=c99", "c -std=c11", "c++ -std=c++17"])
@pytest.mark.parametrize("compiler", ["gcc", "clang", "clang --target=x86_64-pc-windows-msvc"])
def test_the_header_is_standard_c_and_cxx(tmp_path, compiler, language):
    # Other packages include it, and have MSVC's cl.exe or -pedantic-errors.
    compiler = compiler.split()
    needs(compiler[0])
    source = tmp_path / "uses.c"
    source.write_text(USES_HEADER)
    strict = ["-pedantic-errors", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", CSRC, "-x", *language.split()]
    run(*compiler, *strict, source)
    assert "__" not in (CSRC / "fastnn.h").read_text().replace("__cplusplus", "").replace("fnn_##", "")


# --- flags --------------------------------------------------------------------------------------------------------

FAST = "-ffast-math -funsafe-math-optimizations -ffinite-math-only -fassociative-math -freciprocal-math"
FAST_TOO = f"{FAST} -fno-signed-zeros -fno-trapping-math -ffp-contract=fast"


def build(wheels, folder, **environment):
    """setup.py's own messages and the compilers', and the folder to import from."""
    out = ["--build-lib", folder / "lib", "--build-temp", folder / "temp"]
    python, sources = wheels.builder(HERE), wheels.sources()
    shutil.copytree(sources / "fastnn", folder / "lib" / "fastnn")
    plain = dict.fromkeys(("CC", "CFLAGS", "CPPFLAGS", "LDFLAGS", "LDSHARED"))
    environment = plain | {"FASTNN_EXT": "require"} | environment
    done = run(python, "setup.py", "build_ext", *out, cwd=sources, check=False, **environment)
    return done, folder / "lib"


@pytest.fixture(scope="module")
def as_usual(wheels, tmp_path_factory):
    needs("gcc")
    return build(wheels, tmp_path_factory.mktemp("usual"), CC="gcc", CFLAGS="-Wall -fstack-usage")


@pytest.fixture(scope="module")
def by_clang(wheels, tmp_path_factory):
    """With flags that a distributor may have; whether they change numbers is asked below."""
    needs("clang")
    flags = {"CC": f"clang {FAST_TOO}", "CFLAGS": "-Wall", "LDFLAGS": f"-Ofast {FAST}"}
    return build(wheels, tmp_path_factory.mktemp("clang"), **flags)


@pytest.mark.parametrize("build_of", ["as_usual", "by_clang"])
def test_a_build_prints_no_warning(request, build_of):
    # A thousand of them hide the next.
    done, _ = request.getfixturevalue(build_of)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-4000:]
    assert "csrc/kernels_generic.c" in text  # else nothing was said at all
    ours = "clang: warning: overriding '-ffp-contract=fast' option"  # by what is in LDFLAGS here: no flags of setup.py
    assert [line for line in text.splitlines() if "warning:" in line and not line.startswith(ours)] == []


# Of the deepest way from an entry through a task into a kernel: 16 kB of scratch, a kernel's sums, a tile.
LARGEST_FRAME = 18_000


def test_no_frame_is_large(as_usual):
    # Threads may have 64 kB of stack: tests/test_small_stacks.py.
    told = sorted((as_usual[1].parent / "temp" / "csrc").glob("*.su"))
    assert {path.stem for path in told} == {path.stem for path in CSRC.glob("*.c")}
    frames = re.findall(r":(\w+)\t(\d+)\t(\S+)", "".join(path.read_text() for path in told))
    assert len(frames) > 100
    assert [f for f in frames if int(f[1]) > LARGEST_FRAME] == []
    assert {how for _, _, how in frames} <= {"static", "dynamic,bounded"}


# Fingerprints of predictions and of training for each instruction set, and what fast math would break.
PROBE = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
tiny = np.float64(5e-324)
import fastnn
from fastnn import _core, kernels
assert fastnn.info()["backend"] == "compiled", fastnn.info()
assert _core.__file__.startswith(sys.argv[1]), _core.__file__
assert tiny * np.float64(1) > 0 and np.float32(1e-45) * np.float32(1) > 0, "subnormals are flushed"
rng = np.random.default_rng(0)
for isa in _core.isas():
    _core.force_isa(isa)
    told = hashlib.sha256()
    for dtype in ("float32", "float64"):
        for g in ("sigmoid", "tanh", "relu", "identity"):
            bad = kernels.activation_forward(np.array([[np.nan, 1.0] * 20], dtype), g)
            assert np.isnan(bad[0, ::2]).all() and not np.isnan(bad[0, 1::2]).any(), (isa, dtype, g)
        least = np.full((1, 1), 1e-310 if dtype == "float64" else 1e-40, dtype)
        small = kernels.linear_forward(np.ones((1, 1), dtype), least, np.zeros((1, 1), dtype))
        told.update(small.tobytes())
        X, y = rng.standard_normal((20, 300)).astype(dtype), np.arange(300) % 3
        for optimizer in (fastnn.SGD(lr=0.1, momentum=0.9), fastnn.Adam(lr=0.01)):
            for inner in ("tanh", "sigmoid", "relu"):
                net = fastnn.Network([20, 33, 3], [inner, "softmax"], dtype=dtype, seed=0)
                net.fit(X, y, epochs=3, batch_size=32, optimizer=optimizer, progress=False)
                told.update(net.predict(X).tobytes())
                told.update(np.float64(net.loss(X, y)).tobytes())
    rng = np.random.default_rng(0)
    print(isa, told.hexdigest())
"""


def probe(wheels, library):
    done = run(wheels.builder(HERE), "-c", PROBE, library, cwd=library)
    return done.stdout


@on_x86_64
@pytest.mark.parametrize(
    "flags",
    [
        {"CFLAGS": f"-Ofast {FAST_TOO}", "LDFLAGS": f"-Ofast {FAST}"},
        {
            "CC": f"gcc -Ofast {FAST_TOO}",
            "CPPFLAGS": FAST_TOO,
            "CFLAGS": "-O0 -std=c99 -fopenmp -flto",
            "LDFLAGS": "-flto",
        },
        {"CFLAGS": "-O2 -D_FORTIFY_SOURCE=3 -Wall -Werror -march=native -mavx2 -mfma -ffp-contract=fast"},
        None,
    ],
    ids=["CFLAGS and LDFLAGS", "CC and CPPFLAGS, -O0, -std=c99, -flto", "-Werror, -march=native", "clang"],
)
def test_a_distributors_flags_change_no_number(request, wheels, tmp_path, as_usual, flags):
    done, library = build(wheels, tmp_path, **flags) if flags else request.getfixturevalue("by_clang")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert probe(wheels, library) == probe(wheels, as_usual[1])


# A flag, and what takes it back. clang has macros for the first three only.
PARTS = {
    "-Ofast": "-O2",
    "-ffast-math": "-fno-fast-math",
    "-ffinite-math-only": "-fno-finite-math-only",
    "-funsafe-math-optimizations": "-fno-unsafe-math-optimizations",
    "-freciprocal-math": "-fno-reciprocal-math",
    "-fno-signed-zeros": "-fsigned-zeros",
}


@pytest.mark.parametrize(
    ("compiler", "flag"), [*(("gcc", flag) for flag in PARTS), *(("clang", flag) for flag in list(PARTS)[:3])]
)
def test_by_hand_fast_math_is_refused(compiler, flag):
    needs(compiler)
    command = [compiler, "-std=gnu11", "-fsyntax-only", flag, CSRC / "kernels_generic.c"]
    refused = run(*command, check=False)
    assert refused.returncode
    assert "fastnn cannot be compiled with -ffast-math" in refused.stderr
    run(*command, PARTS[flag])
