/* x86-64 with AVX2 and FMA: 16 registers, 12 of them sums. */
#if defined(__x86_64__) || defined(_M_X64)
#define FNN_VECTOR_BYTES 32
#define FNN_MR 6
#define FNN_EACH_ROW_COUNT(M) M(1) M(2) M(3) M(4) M(5) M(6)
#define FNN_TABLES fnn_tables_avx2
#include "kernels_isa.h"
#endif
