/* Of the C library of Windows what csrc uses: tests/packaging/test_compilers.py compiles against these, for nobody has
   Microsoft's own on Linux. */
#ifndef STUB_STDLIB_H
#define STUB_STDLIB_H
#include <stddef.h>
void *__cdecl malloc(size_t size);
void *__cdecl calloc(size_t n, size_t size);
void __cdecl free(void *block);
#endif
