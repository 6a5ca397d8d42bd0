"""Build of the one extension, fastnn._core. The only place with compiler flags.

FASTNN_EXT=auto (default): build it, or fall back to a pure-Python wheel if that fails.
FASTNN_EXT=require: fail if it cannot be built. FASTNN_EXT=skip: do not try.
The rest of the metadata is in pyproject.toml.
"""

import os
import platform
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from glob import glob

import numpy
from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

MODE = os.environ.get("FASTNN_EXT", "auto")
if MODE not in ("auto", "require", "skip"):
    sys.exit(f"FASTNN_EXT must be auto, require or skip, got {MODE!r}")

# No -ffast-math, ever: it would change subnormals for the whole process and break tests for NaN.
# Contraction is off because FMA is written where it is meant (csrc/simd.h). -g0: a fifth of the size. No unwind tables:
# nothing is thrown through C.
FLAGS = [
    "-std=gnu11",
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    "-fno-asynchronous-unwind-tables",
    "-g0",
]
X86_64 = platform.machine().lower() in ("x86_64", "amd64")
# The test build that runs AVX-512's tiles on a CPU with AVX2 only.
EMULATE = os.environ.get("FASTNN_EMULATE_AVX512") == "1"
AVX2 = ["-mavx2", "-mfma"]
# The tuning: gcc's usual one spills row pointers into vector registers, whose moves back take turns with the FMAs.
TUNING = ["-mtune=skylake-avx512", "-mprefer-vector-width=512"]
AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", *TUNING]
# One row per ISA: csrc/kernels_<isa>.c and the flags that only it may have. All other files: -O2, which is 4 kB less.
# Of the plain one the size counts more: its tiles are the same with -O2, and what is around them half as long.
ISA_FLAGS = {"generic": ["-O2"] if X86_64 else [], "neon": []}
if X86_64:
    ISA_FLAGS |= {"avx2": AVX2, "avx512": AVX2 if EMULATE else AVX512}
THREADED = ("parallel", "regions", "runtimes")  # the files that are compiled with OpenMP


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
        openmp = self.openmp_flags()
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
                extra_postargs=FLAGS + ISA_FLAGS.get(isa, ["-O2"]) + (openmp if isa in THREADED else []),
                depends=ext.depends,
            )

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # a few of them take most of the time
            ext.extra_objects = [name for names in pool.map(compiled, sorted(glob("csrc/*.c"))) for name in names]
        ext.extra_link_args = [*openmp, "-Wl,-s", "-lm", "-ldl"] if sys.platform.startswith("linux") else openmp
        super().build_extension(ext)

    def openmp_flags(self):
        """-fopenmp where a program with it compiles and links, else nothing: the core then has one thread."""
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "probe.c")
            with open(source, "w") as file:
                file.write("#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n")
            try:
                objects = self.compiler.compile([source], output_dir=folder, extra_postargs=["-fopenmp"])
                self.compiler.link_executable(objects, "probe", output_dir=folder, extra_postargs=["-fopenmp"])
            except Exception:
                return []
        return ["-fopenmp"]


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
    # Calls are as quick as with -O2, within 3%, and the wheel is 20 kB smaller.
    extra_compile_args=["-O1", "-fno-asynchronous-unwind-tables", "-fvisibility=hidden", "-g0"],
)

setup(
    ext_modules=[] if MODE == "skip" else [core],
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy, "bdist_wheel": BdistWheel},
)
