/* A mode of the CPU that treats subnormal numbers as 0, on while a network computes: many CPUs need a hundred times
   longer for them. Each thread has its own mode. fnn_restore_mode sets it back (on x86 also the exception flags). */
#ifndef FNN_FPMODE_H
#define FNN_FPMODE_H
#include <stdint.h>

#if defined(__SSE__)
typedef unsigned fnn_mode;
#define FNN_FLUSH 0x8040u /* subnormal results become 0 (FTZ), subnormal operands count as 0 (DAZ) */
static inline fnn_mode fnn_flush_subnormals(void) {
  const fnn_mode mode = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(mode | FNN_FLUSH);
  return mode;
}
static inline void fnn_restore_mode(fnn_mode mode) { __builtin_ia32_ldmxcsr(mode); }
#elif defined(__aarch64__)
typedef uint64_t fnn_mode;
static inline fnn_mode fnn_flush_subnormals(void) {
  fnn_mode mode;
  __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
  __asm__ volatile("msr fpcr, %0" : : "r"(mode | (UINT64_C(1) << 24)));
  return mode;
}
static inline void fnn_restore_mode(fnn_mode mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
#else
typedef int fnn_mode;
static inline fnn_mode fnn_flush_subnormals(void) { return 0; }
static inline void fnn_restore_mode(fnn_mode mode) { (void)mode; }
#endif
#endif
