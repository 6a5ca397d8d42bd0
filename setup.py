"""Build of the one extension, fastnn._core. The only place with compiler flags.

FASTNN_EXT=auto (default): build it, or fall back to a pure-Python wheel if that fails.
FASTNN_EXT=require: fail if it cannot be built. FASTNN_EXT=skip: do not try.
The rest of the metadata is in pyproject.toml.
"""

import os
import platform
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

import numpy
from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import CompileError

MODE = os.environ.get("FASTNN_EXT", "auto")
if MODE not in ("auto", "require", "skip"):
    sys.exit(f"FASTNN_EXT must be auto, require or skip, got {MODE!r}")

# No -ffast-math, ever: it would change subnormals for the whole process and break tests for NaN. What a distributor has
# in CFLAGS, CPPFLAGS, CC or LDFLAGS comes before our flags, so here all of that is taken back. Nothing is compiled at
# the time of linking: each file has its own instructions. Contraction is off because FMA is written where it is meant
# (csrc/simd.h).
STRICT = [
    "-fno-fast-math",  # takes -funsafe-math-optimizations back, too; by its own name clang would keep to the traps
    "-fno-finite-math-only",
    "-fno-associative-math",
    "-fno-reciprocal-math",
    "-fsigned-zeros",
    "-ffp-contract=off",
    "-fno-lto",
]
# -g0: a fifth of the size. No unwind tables: nothing is thrown through C.
SMALL = ["-fvisibility=hidden", "-fno-asynchronous-unwind-tables", "-g0"]
# A case that is left out of a switch is an error: switches are made from the lists of fastnn.h, and have no default.
FLAGS = ["-std=gnu11", "-O3", "-Werror=switch", *STRICT, "-fno-math-errno", "-fno-trapping-math", *SMALL]
# Of Cython's C: calls are as quick as with -O2, within 3%, and the wheel is 20 kB smaller.
CYTHON_FLAGS = ["-std=gnu11", "-O1", *STRICT, *SMALL]
# Linking by -Ofast or -ffast-math would add code that flushes the process's subnormals when it is loaded.
LINK = ["-O3", "-fno-fast-math", "-fno-unsafe-math-optimizations", "-fno-lto"]
X86_64 = platform.machine().lower() in ("x86_64", "amd64")
# The test build that runs AVX-512's tiles on a CPU with AVX2 only.
EMULATE = os.environ.get("FASTNN_EMULATE_AVX512") == "1"
AVX2 = ["-mavx2", "-mfma"]
# The tuning: gcc's usual one spills row pointers into vector registers, whose moves back take turns with the FMAs.
TUNING = ["-mtune=skylake-avx512", "-mprefer-vector-width=512"]
AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", *TUNING]
# One row per ISA: csrc/kernels_<isa>.c and the flags that only it may have. All other files: -O2, which is 4 kB less.
# Of the plain one, for CPUs without AVX2, the size counts more: with -Os small networks take 3% longer there, and the
# wheel is 18 kB smaller.
ISA_FLAGS = {"generic": ["-Os"] if X86_64 else [], "neon": []}
if X86_64:
    ISA_FLAGS |= {"avx2": AVX2, "avx512": AVX2 if EMULATE else AVX512}
THREADED = ("parallel", "regions", "runtimes")  # the files that are compiled with OpenMP


def put_clang_cl_into(compiler):
    """Of setuptools' class for Windows, which takes cl.exe whatever CC says: the C is GNU's."""
    if not compiler.initialized:
        compiler.initialize()
    studio = [os.environ.get("VCINSTALLDIR", ""), *map(str, Path(compiler.cc).parents)]
    folders = [os.path.join(folder, "Tools", "Llvm", "x64", "bin") for folder in studio if folder]
    found = shutil.which("clang-cl") or shutil.which("clang-cl", path=os.pathsep.join(folders))
    if not found:
        raise CompileError(
            "clang-cl is neither on the PATH nor in Visual Studio, and cl.exe cannot compile csrc: "
            "add the component 'C++ Clang Compiler for Windows' to Visual Studio, or install LLVM"
        )
    compiler.cc = found
    compiler.compile_options = [option for option in compiler.compile_options if option != "/GL"]  # cl.exe's own format


def spelled(flags, compiler):
    """GNU's flags as this compiler takes them: clang-cl has a clang inside, for which is what follows /clang:."""
    if compiler.compiler_type != "msvc":
        return flags
    return [f"/clang:{flag}" for flag in flags if flag not in SMALL]  # all as it is there; Windows needs the tables


class BuildExt(build_ext):
    """Compiles each C file with its own flags and links all into the extension."""

    def initialize_options(self):
        """Keep the C that Cython writes out of the source tree."""
        super().initialize_options()
        self.cython_c_in_temp = True

    def run(self):
        """Build, or in auto mode say why not and go on without."""
        try:
            super().run()
        except Exception as error:
            if MODE == "require":
                raise
            print(
                f"\nfastnn: the C extension could not be built ({type(error).__name__}: {error}).\n"
                "fastnn: installing the NumPy backend only; FASTNN_EXT=require makes this an error.\n",
                file=sys.stderr,
            )
            self.extensions = []
            self.distribution.ext_modules = []

    def build_extension(self, ext):
        """Compile csrc/ first; its objects go into the link."""
        if self.compiler.compiler_type == "msvc":
            put_clang_cl_into(self.compiler)
        openmp, openmp_link = self.openmp_flags()
        macros = [("FNN_EMULATE_AVX512", "1")] if EMULATE else []
        self.mkpath(os.path.join(self.build_temp, "csrc"))  # here, or two threads would

        def compiled(source):
            isa = os.path.basename(source).removesuffix(".c").removeprefix("kernels_")
            return self.compiler.compile(
                [source],
                output_dir=self.build_temp,
                macros=macros,
                include_dirs=["csrc"],
                # Kernels are serial: threads live in parallel.c, which regions.c and runtimes.c get them for.
                extra_postargs=spelled(FLAGS + ISA_FLAGS.get(isa, ["-O2"]), self.compiler)
                + (openmp if isa in THREADED else []),
                depends=ext.depends,
            )

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # a few of them take most of the time
            ext.extra_objects = [name for names in pool.map(compiled, sorted(glob("csrc/*.c"))) for name in names]
        ext.extra_compile_args = spelled(CYTHON_FLAGS, self.compiler)
        ext.extra_link_args = openmp_link
        if self.compiler.compiler_type != "msvc":
            on_linux = ["-Wl,-s", "-lm", "-ldl"] if sys.platform.startswith("linux") else []
            ext.extra_link_args = [*openmp_link, *LINK, *on_linux]
        super().build_extension(ext)

    def openmp_flags(self):
        """For compiling and for linking, where a program with OpenMP does both; else none: the core has one thread."""
        flags = spelled(["-fopenmp"], self.compiler)
        link = flags
        if self.compiler.compiler_type == "msvc":  # link.exe takes none of these; the library lies beside clang-cl
            link = [f"/LIBPATH:{Path(self.compiler.cc).parents[1] / 'lib'}", "libomp.lib"]
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "probe.c")
            with open(source, "w") as file:
                file.write("#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n")
            try:
                objects = self.compiler.compile([source], output_dir=folder, extra_postargs=flags)
                self.compiler.link_executable(objects, "probe", output_dir=folder, extra_postargs=link)
            except Exception:
                return [], []
        return flags, link


class BuildPy(build_py):
    """Puts the C header beside the modules; as a package of its own it would keep editable installs off the path."""

    def run(self):
        """Copy the modules, then the header."""
        super().run()
        if not self.editable_mode:
            self.mkpath(os.path.join(self.build_lib, "fastnn", "include"))
            self.copy_file("csrc/fastnn.h", self._header())

    def get_outputs(self, *args, **kwargs):
        """The files that are installed."""
        return [*super().get_outputs(*args, **kwargs), *([] if self.editable_mode else [self._header()])]

    def _header(self):
        return os.path.join(self.build_lib, "fastnn", "include", "fastnn.h")


class BdistWheel(bdist_wheel):
    """Tags the wheel for what is in it: py3-none-any if there is no extension."""

    def run(self):
        """Build the extension before the tag is chosen."""
        self.run_command("build_ext")
        self.root_is_pure = not self.distribution.has_ext_modules()
        super().run()


core = Extension(
    "fastnn._core",
    ["fastnn/_core.pyx"],
    include_dirs=["csrc", numpy.get_include()],
    # All that is included or linked, or an edit there would have no effect.
    depends=[*glob("csrc/*"), *glob("fastnn/*.pxi"), "setup.py"],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
)

setup(
    ext_modules=[] if MODE == "skip" else [core],
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy, "bdist_wheel": BdistWheel},
)
