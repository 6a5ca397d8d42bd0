/* The plain ISA: whatever the compiler targets by default, in vectors of 16 bytes. */
#define FNN_VECTOR_BYTES 16
#define FNN_MR 6
#define FNN_EACH_ROW_COUNT(M) M(1) M(2) M(3) M(4) M(5) M(6)
#define FNN_TABLES fnn_tables_generic
#include "kernels_isa.h"
