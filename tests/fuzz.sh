#!/usr/bin/env bash
# Fuzz the C interface with clang's libFuzzer, under the address and undefined-behaviour sanitizers.
#   tests/fuzz.sh [SECONDS]    600 unless told
# What is found stays in fuzz-found/. The kernels are instrumented by gcc, which takes a tenth of clang's time for them, and
# need no coverage: what they do follows from shapes. Where FASTNN_KERNELS names a folder, they are those that sanitize.sh
# left in it.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v clang > /dev/null || { echo "needs clang" && exit 3; }
echo 'int main(void) { return 0; }' > "$work/probe.c"
openmp=
clang -fopenmp "$work/probe.c" -o "$work/probe" 2> /dev/null && openmp=-fopenmp # libomp-dev: the teams are fuzzed, too
sanitize="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -std=gnu11 -O1 -g1"
kernels=${FASTNN_KERNELS-}
[ -z "$kernels" ] || cp "$kernels"/kernels_*.o "$work"
for f in csrc/*.c tests/c/fuzz_core.c; do
  case $f in
    *kernels*) [ -z "$kernels" ] || continue ;;
  esac
  case $f in
    *avx2*) how="gcc -mavx2 -mfma" ;;
    *avx512*) how="gcc -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma" ;;
    *kernels*) how=gcc ;;
    *) how="clang -fsanitize=fuzzer-no-link $openmp" ;;
  esac
  echo "$how $sanitize -ffp-contract=off -c $f -o $work/$(basename "$f" .c).o"
done | xargs -P 2 -d '\n' -I{} sh -c '{}'
clang -fsanitize=fuzzer,address,undefined "$work"/*.o -o "$work/fuzz" $openmp -lm -ldl
mkdir -p "$work/corpus" fuzz-found
set +e
"$work/fuzz" -max_total_time="${1-600}" -max_len=600 -timeout=60 -rss_limit_mb=4096 -artifact_prefix=fuzz-found/ \
  -print_final_stats=1 "$work/corpus" > "$work/log" 2>&1
status=$?
grep -v '^#' "$work/log" | tail -$((status ? 200 : 20))
rmdir fuzz-found 2> /dev/null
exit "$status"
