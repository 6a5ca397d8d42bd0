/* An allocator that fails when it is told to, for the calls of one library alone: preloaded into Python, it makes the
   core run out of memory at each of its allocations in turn. By glibc's own names of its allocator. */
#define _GNU_SOURCE
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

static uintptr_t from, to; /* where the watched library's code and data are */
static atomic_long calls, failing, blocks;

static int find(struct dl_phdr_info *library, size_t size, void *name) {
  (void)size;
  if (!strstr(library->dlpi_name, name)) return 0;
  from = UINTPTR_MAX, to = 0;
  for (int i = 0; i < library->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &library->dlpi_phdr[i];
    if (p->p_type != PT_LOAD) continue;
    const uintptr_t start = library->dlpi_addr + p->p_vaddr, end = start + p->p_memsz;
    if (start < from) from = start;
    if (end > to) to = end;
  }
  return 1;
}

/* Whether there is a library with this in its path. */
int watch_library(char *name) {
  from = to = 0;
  return dl_iterate_phdr(find, name);
}
/* The n-th call from now on fails, with 0 none; returns how many there have been since the last time. */
long fail_at(long n) {
  failing = 0;
  const long seen = atomic_exchange(&calls, 0);
  failing = n;
  return seen;
}
/* How many the library has taken and not given back. */
long blocks_in_use(void) { return blocks; }

static int watched(const void *caller) { return (uintptr_t)caller - from < to - from; }

static int fails(const void *caller) {
  if (!watched(caller)) return 0;
  if (atomic_fetch_add(&calls, 1) + 1 != failing) return atomic_fetch_add(&blocks, 1), 0;
  errno = ENOMEM;
  return 1;
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t size) { return fails(CALLER) ? NULL : __libc_malloc(size); }
void *calloc(size_t n, size_t size) { return fails(CALLER) ? NULL : __libc_calloc(n, size); }
void *aligned_alloc(size_t boundary, size_t size) { return fails(CALLER) ? NULL : __libc_memalign(boundary, size); }
void *memalign(size_t boundary, size_t size) { return fails(CALLER) ? NULL : __libc_memalign(boundary, size); }
int posix_memalign(void **block, size_t boundary, size_t size) {
  if (fails(CALLER)) return ENOMEM;
  *block = __libc_memalign(boundary, size);
  return *block ? 0 : ENOMEM;
}
void *realloc(void *block, size_t size) {
  if (fails(CALLER)) return NULL;
  if (block && watched(CALLER)) atomic_fetch_sub(&blocks, 1);
  return __libc_realloc(block, size);
}
void free(void *block) {
  if (block && watched(CALLER)) atomic_fetch_sub(&blocks, 1);
  __libc_free(block);
}
