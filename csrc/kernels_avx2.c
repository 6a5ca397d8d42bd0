/* The kernels for x86-64 with AVX2 and FMA. There are 16 vector registers; a tile of sums uses 12 of them. */
#if defined(__x86_64__) || defined(_M_X64)
#define FNN_VECTOR_BYTES 32
#define FNN_MR 6
#define FNN_MR_SINGLE 12
#define FNN_EACH_DOUBLE(M) FNN_1_TO_6(M)
#define FNN_EACH_SINGLE(M) FNN_1_TO_12(M)
#define FNN_CHUNK_BYTES (1 << 18)
#define FNN_WHOLE_SUMS 0
#define FNN_PACK_PANELS 16
#define FNN_TABLES fnn_tables_avx2
#include "kernels_isa.h"
#endif
