/* Memory blocks that begin on a cache line, and sizes that do not overflow. */
#ifndef FNN_MEMORY_H
#define FNN_MEMORY_H
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define FNN_LINE 64

/* The product and the sum of sizes that are not negative. A result that does not fit is PTRDIFF_MAX: no block is that
   large, so fnn_alloc returns NULL. */
static inline ptrdiff_t fnn_times(ptrdiff_t a, ptrdiff_t b) {
  ptrdiff_t product;
  return __builtin_mul_overflow(a, b, &product) ? PTRDIFF_MAX : product;
}
static inline ptrdiff_t fnn_plus(ptrdiff_t a, ptrdiff_t b) { return a > PTRDIFF_MAX - b ? PTRDIFF_MAX : a + b; }

/* The most units, samples or parameters that a caller may ask for. No memory holds more, and such a number can be
   rounded up, or shared among threads, without overflow. */
#define FNN_MOST_ELEMENTS ((ptrdiff_t)1 << 48)
#define FNN_MOST_THREADS 256
static inline int fnn_is_size(ptrdiff_t n) { return n >= 0 && n <= FNN_MOST_ELEMENTS; }
static inline int fnn_are_sizes(ptrdiff_t a, ptrdiff_t b, ptrdiff_t c) {
  return fnn_is_size(a) && fnn_is_size(b) && fnn_is_size(c);
}
/* How many threads a caller allows: at least 1, the calling one. */
static inline int fnn_threads(int threads) {
  return threads < 1 ? 1 : threads > FNN_MOST_THREADS ? FNN_MOST_THREADS : threads;
}

/* Returns a block, also for 0 bytes, or NULL if there is no memory. fnn_free frees it. */
static inline void *fnn_alloc(ptrdiff_t bytes) {
  if (bytes < 0 || bytes > PTRDIFF_MAX - 4 * FNN_LINE) return NULL;
  char *block = malloc((size_t)bytes + FNN_LINE + sizeof(void *));
  if (!block) return NULL;
  char *aligned = block + sizeof(void *);
  aligned += (FNN_LINE - (uintptr_t)aligned % FNN_LINE) % FNN_LINE;
  ((void **)aligned)[-1] = block;
  return aligned;
}

static inline void fnn_free(void *aligned) {
  if (aligned) free(((void **)aligned)[-1]);
}

/* Scratch memory of one call: in `stack`, FNN_STACK bytes of the caller, if it fits there; else a new block. */
#define FNN_STACK 15360
static inline void *fnn_scratch(void *stack, ptrdiff_t bytes) { return bytes <= FNN_STACK ? stack : fnn_alloc(bytes); }
static inline void fnn_release(void *stack, void *scratch) {
  if (scratch != stack) fnn_free(scratch);
}
#endif
