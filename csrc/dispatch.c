/* The list of the instruction sets (ISAs) that were compiled, and the tests whether this CPU can run them. */
#include <stdatomic.h>

#include "kernels.h"

#define TABLES(isa) extern const fnn_kernels *const fnn_tables_##isa[2]
static int always(void) { return 1; }

#if defined(__x86_64__) || defined(_M_X64)
#include <cpuid.h>

TABLES(avx2);
TABLES(avx512);

/* The register sets that the operating system saves, as bits (XCR0); 0 without OSXSAVE: then only SSE can be used. */
static unsigned saved_state(void) {
  unsigned a, b, c, d, low, high;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

static int has_avx2(void) {
  unsigned a, b, c, d;
  const unsigned ymm = 0x6;
  if ((saved_state() & ymm) != ymm) return 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_FMA)) return 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
}

static int has_avx512(void) {
#ifdef FNN_EMULATE_AVX512 /* a test build: the AVX-512 tiles are compiled with AVX2 instructions */
  return has_avx2();
#else
  unsigned a, b, c, d;
  const unsigned zmm = 0xe6, wanted = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
  if (!has_avx2() || (saved_state() & zmm) != zmm) return 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & wanted) == wanted;
#endif
}
#elif defined(__aarch64__)
TABLES(neon);
#endif

TABLES(generic);

#define ISA(name, here) {#name, here, fnn_tables_##name}
/* clang-format off */
const fnn_isa fnn_isas[] = {
    ISA(generic, always),
#if defined(__x86_64__) || defined(_M_X64)
    ISA(avx2, has_avx2),
    ISA(avx512, has_avx512),
#elif defined(__aarch64__)
    ISA(neon, always),
#endif
};
/* clang-format on */
const int fnn_isa_count = sizeof fnn_isas / sizeof *fnn_isas;

int fnn_isa_total(void) { return fnn_isa_count; }
const char *fnn_isa_name(int isa) { return fnn_is_isa(isa) ? fnn_isas[isa].name : NULL; }
int fnn_isa_available(int isa) { return fnn_is_isa(isa) && fnn_isas[isa].here(); }

/* Asks the CPU once: cpuid takes 70 us where a hypervisor answers it. */
int fnn_isa_best(void) {
  static atomic_int known; /* 1 + the answer, the same in every thread; 0: not yet */
  int isa = atomic_load(&known) - 1;
  if (isa >= 0) return isa;
  isa = fnn_isa_count - 1;
  while (!fnn_isas[isa].here()) isa--;
  atomic_store(&known, isa + 1);
  return isa;
}

const char *fnn_compiler(void) {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "gcc " __VERSION__;
#else
  return "unknown";
#endif
}
