/* The plain ISA: whatever the compiler targets by default, in vectors of 16 bytes. */
#define FNN_VECTOR_BYTES 16
#define FNN_MR 6
#define FNN_MR_SINGLE 12
#define FNN_EACH_DOUBLE(M) FNN_1_TO_6(M)
#define FNN_EACH_SINGLE(M) FNN_1_TO_12(M)
#define FNN_CHUNK_BYTES (1 << 18)
#define FNN_TABLES fnn_tables_generic
#include "kernels_isa.h"
