/* clang's own headers ask for it on Windows. */
#ifndef STUB_MALLOC_H
#define STUB_MALLOC_H
#include <stdlib.h>
void *__cdecl _aligned_malloc(size_t size, size_t alignment);
void __cdecl _aligned_free(void *block);
#endif
