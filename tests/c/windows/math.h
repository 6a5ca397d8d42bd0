#ifndef STUB_MATH_H
#define STUB_MATH_H
double __cdecl pow(double x, double y);
double __cdecl sqrt(double x);
float __cdecl sqrtf(float x); /* inline in theirs */
double __cdecl fabs(double x);
double __cdecl floor(double x);
double __cdecl nearbyint(double x);
double __cdecl cos(double x);
double __cdecl fmin(double x, double y);
#define NAN (-(float)(1e300 * 1e300 * 0.0F))
#define INFINITY ((float)(1e300 * 1e300)) /* as theirs */
#endif
