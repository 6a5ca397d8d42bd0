#!/usr/bin/env bash
# What only instrumented builds can see: reads and writes beside arrays, undefined behaviour, races.
#   tests/sanitize.sh            the core's check and the whole default suite, gcc's ASan and UBSan
#   tests/sanitize.sh smoke      the same, of the suite what touches memory most
#   tests/sanitize.sh threads    the core's teams, barriers and concurrent calls, any two calls from Python, and
#                                settings at their ends, clang's ThreadSanitizer
#   tests/sanitize.sh valgrind   the core's check and a training run from Python, memcheck
# Works on a copy of the tree. PYTHON names the interpreter, which needs the suite's packages, cython and setuptools.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=${1-all}
python=$(command -v "${PYTHON:-python3}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tree"
cp -r csrc fastnn tests benchmarks examples setup.py pyproject.toml MANIFEST.in README.md CONTRIBUTING.md LICENSE "$work/tree"
cd "$work/tree"
rm -f fastnn/_core.*.so

# extension COMPILER [VECTOR_COMPILER]: builds it in place; the other one is for AVX kernels. The objects stay: the checks
# are linked from them. A compiler is a program here, or the one that looks for OpenMP would not link.
extension() {
  sed -i 's/"-O[23]"/"-O1"/; s/"-g0"/"-g1"/' setup.py # instrumented, the kernels take minutes to optimise further
  printf '#!/bin/sh\ncase "$*" in *"-c csrc/kernels_avx"*) exec %s "$@";; *) exec %s "$@";; esac\n' "${2-$1}" "$1" > "$work/cc"
  chmod +x "$work/cc"
  CC=$work/cc FASTNN_EXT=require "$python" setup.py -q build_ext --inplace > "$work/build.log" 2>&1 || {
    tail -20 "$work/build.log"
    exit 1
  }
}

case $mode in
  all | smoke)
    flags="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1 -O1"
    # Python itself keeps what it allocates; leaks are counted in tests/test_memory.py and test_out_of_memory.py.
    export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
    extension "gcc $flags"
    [ -z "${FASTNN_KERNELS-}" ] || cp build/temp.*/csrc/kernels_*.o "$FASTNN_KERNELS" # for fuzz.sh
    echo "the core's check"
    gcc -std=gnu11 $flags tests/c/check_core.c build/temp.*/csrc/*.o -o "$work/check" -fopenmp -lm -ldl
    ASAN_OPTIONS=detect_leaks=1 "$work/check"
    echo "the suite"
    chosen=(tests)
    if [ "$mode" = smoke ]; then
      export HYPOTHESIS_PROFILE=few
      chosen=(tests/test_{parity,steps,arrays_at_the_border,threads,pairs,extreme_settings,sizes,c_interface,pickles}.py)
    fi
    # What they find goes to a file: pytest keeps what is printed, and dies with it.
    ASAN_OPTIONS+=:log_path=$work/found UBSAN_OPTIONS+=:log_path=$work/found
    trap 'cat "$work"/found* 2> /dev/null || true; rm -rf "$work"' EXIT
    # FASTNN_SANITIZED leaves out what the sanitizer's own memory and threads would fail.
    LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" PYTHONPATH=$PWD \
      FASTNN_SANITIZED=1 PYTHONMALLOC=malloc "$python" -m pytest -n 2 --dist loadfile -p no:cacheprovider -k "not numpy" "${chosen[@]}"
    ;;
  threads)
    flags="-fsanitize=thread -g1 -O1"
    # OpenMP's own locks are not instrumented. With this tool it tells the sanitizer when a team starts and ends; its own
    # code is left alone. Nothing else is suppressed.
    archer=$(find /usr/lib/llvm* -name libarcher.so 2> /dev/null | head -1)
    [ -n "$archer" ] || { echo "needs clang, and libarcher.so of libomp-dev" && exit 3; }
    # What threads share is decided above the kernels, so the plain ones do; of the others clang has for minutes.
    extension "clang $flags" gcc
    clang -std=gnu11 $flags tests/c/check_threads.c build/temp.*/csrc/*.o -o "$work/check" -fopenmp -lm -ldl
    export OMP_TOOL_LIBRARIES=$archer TSAN_OPTIONS="ignore_noninstrumented_modules=1 halt_on_error=1 exitcode=66"
    "$work/check"
    echo "any two calls at once, and settings at their ends, from Python"
    # The tool has to be there before all else: in an interpreter of our own, which is Python's library and this line.
    echo '#include <Python.h>
      int main(int argc, char **argv) { return Py_BytesMain(argc, argv); }' > "$work/python.c"
    read -r include folder name packages <<< "$("$python" -c 'import sysconfig as s
print(s.get_path("include"), s.get_config_var("LIBDIR"), "python" + s.get_config_var("LDVERSION"), s.get_path("purelib"))')"
    clang $flags "-I$include" "$work/python.c" -o "$work/python" "-L$folder" "-Wl,-rpath,$folder" "-l$name" -rdynamic || {
      echo "needs Python as a library to link with" && exit 3
    }
    # What it finds goes to a file: pytest keeps what is printed, and dies with it.
    TSAN_OPTIONS+=" log_path=$work/found"
    trap 'cat "$work"/found* 2> /dev/null || true; rm -rf "$work"' EXIT
    PYTHONPATH=$PWD:$packages FASTNN_ISA=generic FASTNN_SANITIZED=1 OPENBLAS_NUM_THREADS=1 HYPOTHESIS_PROFILE=few \
      "$work/python" -m pytest -p no:cacheprovider -k "not numpy" tests/test_pairs.py tests/test_extreme_settings.py
    ;;
  valgrind)
    command -v valgrind > /dev/null || { echo "needs valgrind" && exit 3; }
    memcheck="valgrind -q --num-callers=60"
    extension gcc
    gcc -std=gnu11 -g1 -O1 tests/c/check_core.c build/temp.*/csrc/*.o -o "$work/check" -fopenmp -lm -ldl
    # It tells the program of no AVX-512.
    $memcheck --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
      "$work/check"
    PYTHONPATH=$PWD FASTNN_ISA=avx2 PYTHONMALLOC=malloc OPENBLAS_NUM_THREADS=1 $memcheck --log-file="$work/memcheck" \
      "$python" -m fastnn
    # Python and NumPy have findings of their own: ours are those that our code has part in.
    awk -v RS='==[0-9]+== \n' '/_core\.|fnn_/ { print; found = 1 } END { exit found }' "$work/memcheck"
    ;;
  *)
    echo "usage: $0 [all|smoke|threads|valgrind]"
    exit 2
    ;;
esac
