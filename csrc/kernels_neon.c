/* aarch64: 32 registers of 16 bytes, 28 of them sums. */
#if defined(__aarch64__)
#define FNN_VECTOR_BYTES 16
#define FNN_MR 14
#define FNN_EACH_ROW_COUNT(M) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14)
#define FNN_TABLES fnn_tables_neon
#include "kernels_isa.h"
#endif
