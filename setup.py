"""Builds the extension module fastnn._core. All compiler flags are in this file.

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

# Never -ffast-math: it would flush subnormals in the whole process and break tests for NaN. A distributor's flags in
# CFLAGS, CPPFLAGS, CC or LDFLAGS come before ours, so these undo them. No link-time optimization: each file is compiled
# for its own instruction set. Contraction is off because FMA is written explicitly where it is intended (csrc/simd.h).
STRICT = [
    "-fno-fast-math",  # also undoes -funsafe-math-optimizations; its own -fno- form would make clang honour traps
    "-fno-finite-math-only",
    "-fno-associative-math",
    "-fno-reciprocal-math",
    "-fsigned-zeros",
    "-ffp-contract=off",
    "-fno-lto",
]
# -g0 makes the file five times smaller. No unwind tables: no exception passes through C.
SMALL = ["-fvisibility=hidden", "-fno-asynchronous-unwind-tables", "-g0"]
# A case that is left out of a switch is an error: switches are made from the lists of fastnn.h, and have no default.
# So is a call of a function that is not declared, such as one that is left out beside a new row of a list.
ERRORS = ["-Werror=switch", "-Werror=implicit-function-declaration"]
# They turn off parts of -O3 that only make the kernels larger: the wheel is 20 kB smaller, and no step is slower.
# (-O2 would make it 126 kB smaller, but steps take 8% longer; -fvect-cost-model=very-cheap 36 kB smaller, but then gcc
# leaves 28 plain loops as they are, and a step with batch norm takes 12% longer.)
LEAN = ["-fno-version-loops-for-strides", "-fno-split-loops", "-fno-loop-unroll-and-jam"]
FLAGS = ["-std=gnu11", "-O3", *ERRORS, *STRICT, "-fno-math-errno", "-fno-trapping-math", *SMALL]
# For the C that Cython writes: with -O1 calls of fastnn.kernels take 10 to 50 ns longer. It has few loops to align.
UNALIGNED = ["-fno-align-functions", "-fno-align-jumps", "-fno-align-loops", "-fno-align-labels"]
CYTHON_FLAGS = ["-std=gnu11", "-O2", *STRICT, *SMALL]
# Linking with -Ofast or -ffast-math would add code that makes the process flush subnormals once it is loaded.
LINK = ["-O3", "-fno-fast-math", "-fno-unsafe-math-optimizations", "-fno-lto"]
X86_64 = platform.machine().lower() in ("x86_64", "amd64")
# The test build that runs AVX-512's tiles on a CPU with AVX2 only.
EMULATE = os.environ.get("FASTNN_EMULATE_AVX512") == "1"
AVX2 = ["-mavx2", "-mfma"]
# gcc's default tuning spills row pointers into vector registers; moving them back uses the ports that the FMAs need.
TUNING = ["-mtune=skylake-avx512", "-mprefer-vector-width=512"]
AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", *TUNING]
# The flags of single files beside FLAGS. An instruction set may be used in its kernels_<isa>.c only. For the generic
# kernels, for CPUs without AVX2, size is more important: with -Os small networks take 3% longer, and the wheel is 18 kB
# smaller. Small structs are copied member by member (fnn_same in kernels.h): a copy by vectors would wait for members
# that were stored one by one.
FILE_FLAGS = {"kernels_generic": ["-Os"] if X86_64 else [], "kernels_neon": []}
# What is done once per call, per step or per plan, and has no loops over numbers: 13 kB smaller.
PER_CALL = ("dispatch", "lists", "pace", "regions", "runtimes")
PER_CALL += tuple(f"network_{part}" for part in ("bounds", "parameters", "plan", "standard", "threads"))
FILE_FLAGS |= {name: ["-Os"] for name in PER_CALL} | {"checks": ["-O2"]}
if X86_64:
    FILE_FLAGS |= {"kernels_avx2": AVX2, "kernels_avx512": AVX2 if EMULATE else AVX512}
THREADED = ("parallel", "regions", "runtimes")  # the files that are compiled with OpenMP


def put_clang_cl_into(compiler):
    """Make setuptools' compiler class for Windows use clang-cl instead of cl.exe: csrc is written in GNU C."""
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
    """GCC-style flags in the form that this compiler accepts: clang-cl takes them with the prefix /clang:."""
    if compiler.compiler_type != "msvc":
        return flags
    # Without SMALL: visibility and -g0 are the default on Windows, which also needs the unwind tables.
    return [f"/clang:{flag}" for flag in flags if flag not in SMALL]


class BuildExt(build_ext):
    """Compiles each C file with its own flags and links all into the extension."""

    def initialize_options(self):
        """Keep the C that Cython writes out of the source tree."""
        super().initialize_options()
        self.cython_c_in_temp = True

    def run(self):
        """Build the extension; if that fails in auto mode, print the reason and continue without it."""
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
        """Compile csrc/ first, and link its object files into the extension."""
        if self.compiler.compiler_type == "msvc":
            put_clang_cl_into(self.compiler)
        openmp, openmp_link = self.openmp_flags()
        lean = LEAN if self.takes(LEAN) else []
        macros = [("FNN_EMULATE_AVX512", "1")] if EMULATE else []
        self.mkpath(os.path.join(self.build_temp, "csrc"))  # before the threads start: two might create it at once

        def compiled(source):
            name = os.path.basename(source).removesuffix(".c")
            return self.compiler.compile(
                [source],
                output_dir=self.build_temp,
                macros=macros,
                include_dirs=["csrc"],
                # Kernels are serial: only parallel.c, regions.c and runtimes.c use threads.
                extra_postargs=spelled(FLAGS + lean + FILE_FLAGS.get(name, []), self.compiler)
                + (openmp if name in THREADED else []),
                depends=ext.depends,
            )

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # a few of them take most of the time
            ext.extra_objects = [name for names in pool.map(compiled, sorted(glob("csrc/*.c"))) for name in names]
        unaligned = UNALIGNED if self.takes(UNALIGNED) else []
        ext.extra_compile_args = spelled(CYTHON_FLAGS + unaligned, self.compiler)
        ext.extra_link_args = openmp_link
        if self.compiler.compiler_type != "msvc":
            on_linux = ["-Wl,-s", "-lm", "-ldl"] if sys.platform.startswith("linux") else []
            ext.extra_link_args = [*openmp_link, *LINK, *on_linux]
        super().build_extension(ext)

    def takes(self, flags):
        """Whether the compiler knows these flags, which are gcc's: clang warns of them, or ends with an error."""
        is_msvc = self.compiler.compiler_type == "msvc"
        return not is_msvc and self._compiles("int main(void) { return 0; }\n", ["-Werror", *flags])

    def openmp_flags(self):
        """OpenMP flags for compiling and linking; none if a test program fails, and then the core has one thread."""
        flags = spelled(["-fopenmp"], self.compiler)
        link = flags
        if self.compiler.compiler_type == "msvc":  # link.exe has no such flag; the library is in clang-cl's folder tree
            link = [f"/LIBPATH:{Path(self.compiler.cc).parents[1] / 'lib'}", "libomp.lib"]
        text = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
        return (flags, link) if self._compiles(text, flags, link) else ([], [])

    def _compiles(self, text, flags, link=None):
        """Whether a program can be compiled with these flags, and linked with those of `link` unless it is None."""
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "probe.c")
            with open(source, "w") as file:
                file.write(text)
            try:
                objects = self.compiler.compile([source], output_dir=folder, extra_postargs=flags)
                if link is not None:
                    self.compiler.link_executable(objects, "probe", output_dir=folder, extra_postargs=link)
            except Exception:
                return False
        return True


class BuildPy(build_py):
    """Copies the C header next to the modules. As a separate package it would make editable installs use a finder."""

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
    """Gives the wheel the tag that fits its content: py3-none-any if there is no extension."""

    def run(self):
        """Build the extension before the tag is chosen."""
        self.run_command("build_ext")
        self.root_is_pure = not self.distribution.has_ext_modules()
        super().run()


core = Extension(
    "fastnn._core",
    ["fastnn/_core.pyx"],
    include_dirs=["csrc", numpy.get_include()],
    # All included and linked files: without them here an edit would not start a rebuild.
    depends=[*glob("csrc/*"), *glob("fastnn/*.pxi"), "setup.py"],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
)

setup(
    ext_modules=[] if MODE == "skip" else [core],
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy, "bdist_wheel": BdistWheel},
)
