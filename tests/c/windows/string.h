#ifndef STUB_STRING_H
#define STUB_STRING_H
#include <stddef.h>
void *__cdecl memcpy(void *to, const void *from, size_t n);
void *__cdecl memmove(void *to, const void *from, size_t n);
int __cdecl memcmp(const void *a, const void *b, size_t n);
void *__cdecl memset(void *to, int byte, size_t n);
int __cdecl strcmp(const char *a, const char *b);
#endif
