/* The kernels for any CPU: what the compiler targets by default, in vectors of 16 bytes. The CPUs that need them start
   one vector addition per cycle, and it takes three or four cycles: a few sums at once keep them busy. Larger tiles
   would make the Python package (the wheel) a tenth larger. */
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
