/* The plain ISA: whatever the compiler targets by default, in vectors of 16 bytes. CPUs that need it add one vector a
   cycle, in three or four cycles: a few sums keep them busy, and more would be a tenth of the wheel. */
#define FNN_VECTOR_BYTES 16
#define FNN_MR 4
#define FNN_MR_SINGLE 6
#define FNN_EACH_DOUBLE(M) FNN_1_TO_4(M)
#define FNN_EACH_SINGLE(M) FNN_1_TO_6(M)
#define FNN_CHUNK_BYTES (1 << 18)
#define FNN_WHOLE_SUMS 0
#define FNN_PACK_PANELS 8
#define FNN_TABLES fnn_tables_generic
#include "kernels_isa.h"
