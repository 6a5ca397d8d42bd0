/* Blocks of memory on cache lines. */
#ifndef FNN_MEMORY_H
#define FNN_MEMORY_H
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define FNN_LINE 64

/* NULL where there is none; 0 bytes give a block, too. Freed by fnn_free. */
static inline void *fnn_alloc(ptrdiff_t bytes) {
  if (bytes < 0 || (size_t)bytes > SIZE_MAX / 2) return NULL;
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
#define FNN_STACK 16384
static inline void *fnn_scratch(void *stack, ptrdiff_t bytes) { return bytes <= FNN_STACK ? stack : fnn_alloc(bytes); }
static inline void fnn_release(void *stack, void *scratch) {
  if (scratch != stack) fnn_free(scratch);
}
#endif
