/* Blocks of memory on cache lines. */
#ifndef FNN_MEMORY_H
#define FNN_MEMORY_H
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define FNN_LINE 64

/* Sizes of memory, of numbers that are not negative; what does not fit is PTRDIFF_MAX, which there is no memory for. */
static inline ptrdiff_t fnn_times(ptrdiff_t a, ptrdiff_t b) {
  ptrdiff_t product;
  return __builtin_mul_overflow(a, b, &product) ? PTRDIFF_MAX : product;
}
static inline ptrdiff_t fnn_plus(ptrdiff_t a, ptrdiff_t b) { return a > PTRDIFF_MAX - b ? PTRDIFF_MAX : a + b; }

/* What a caller gives as a number of units, samples or parameters. More than that no memory holds, and so many can be
   rounded up, or shared among threads, without a thought of overflow. */
#define FNN_MOST_ELEMENTS ((ptrdiff_t)1 << 48)
#define FNN_MOST_THREADS 256
static inline int fnn_is_size(ptrdiff_t n) { return n >= 0 && n <= FNN_MOST_ELEMENTS; }
static inline int fnn_are_sizes(ptrdiff_t a, ptrdiff_t b, ptrdiff_t c) {
  return fnn_is_size(a) && fnn_is_size(b) && fnn_is_size(c);
}
/* Threads that a caller allows: at least his own. */
static inline int fnn_threads(int threads) {
  return threads < 1 ? 1 : threads > FNN_MOST_THREADS ? FNN_MOST_THREADS : threads;
}

/* NULL where there is none; 0 bytes give a block, too. Freed by fnn_free. */
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

/* Scratch of one call: in FNN_STACK bytes of the caller's stack where it fits, else a block of its own. */
#define FNN_STACK 15360
static inline void *fnn_scratch(void *stack, ptrdiff_t bytes) { return bytes <= FNN_STACK ? stack : fnn_alloc(bytes); }
static inline void fnn_release(void *stack, void *scratch) {
  if (scratch != stack) fnn_free(scratch);
}
#endif
