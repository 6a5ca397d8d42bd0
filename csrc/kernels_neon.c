/* The kernels for aarch64. There are 32 vector registers of 16 bytes; a tile of sums uses 28 of them. */
#if defined(__aarch64__)
#define FNN_VECTOR_BYTES 16
#define FNN_MR 14
#define FNN_MR_SINGLE 14
#define FNN_EACH_DOUBLE(M) FNN_1_TO_14(M)
#define FNN_EACH_SINGLE(M) FNN_1_TO_14(M)
#define FNN_CHUNK_BYTES (1 << 18)
#define FNN_WHOLE_SUMS 0
#define FNN_PACK_PANELS 8
#define FNN_TABLES fnn_tables_neon
#include "kernels_isa.h"
#endif
