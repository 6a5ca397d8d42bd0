/* With the macros of the real one that are in the way of innocent names. */
#ifndef STUB_WINDOWS_H
#define STUB_WINDOWS_H
#ifndef WIN32_LEAN_AND_MEAN
#define small char
#define interface struct
#endif
#define near
#define far
#define pascal __stdcall
#define IN
#define OUT
#define CONST const
#define Yield()
#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))
typedef union _LARGE_INTEGER {
  struct {
    unsigned long LowPart;
    long HighPart;
  } u;
  long long QuadPart;
} LARGE_INTEGER;
int __stdcall QueryPerformanceCounter(LARGE_INTEGER *ticks);
int __stdcall QueryPerformanceFrequency(LARGE_INTEGER *ticks);
int __stdcall SwitchToThread(void);
#endif
