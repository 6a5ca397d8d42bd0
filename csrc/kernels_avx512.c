/* The kernels for x86-64 with AVX-512 (F, BW, DQ, VL). Of the 32 vector registers a tile of sums uses 28. */
#if defined(__x86_64__) || defined(_M_X64)
#define FNN_VECTOR_BYTES 64
#define FNN_MR 14
#define FNN_MR_SINGLE 14
#define FNN_EACH_DOUBLE(M) FNN_1_TO_14(M)
#define FNN_EACH_SINGLE(M) FNN_1_TO_14(M)
#define FNN_CHUNK_BYTES (1 << 20)
#define FNN_WHOLE_SUMS 1
#define FNN_PACK_PANELS 0
#define FNN_TABLES fnn_tables_avx512
#include "kernels_isa.h"
#endif
