/* The kernels of one ISA: includes the bodies for float and for double, and defines the pair of tables FNN_TABLES.
   The ISA's file, which setup.py compiles with the ISA's flags, defines these macros first:
   FNN_VECTOR_BYTES: bytes of a vector.
   FNN_MR, FNN_MR_SINGLE: the most rows of a register tile that is two vectors wide, and of one that is one wide.
   FNN_EACH_DOUBLE(M), FNN_EACH_SINGLE(M): M(rows) for every such number of rows, from 1 up.
   FNN_CHUNK_BYTES: how many bytes of A may stay in the second cache.
   FNN_WHOLE_SUMS: 1, in forward and backward a tile sums all of its terms before the next tile starts; 0, it sums a
   block of terms, so that this part of B stays in the first cache.
   FNN_PACK_PANELS: with so many panels or more the product dW copies A first; 0: never.
   FNN_TABLES: the name of the pair of tables. */
#include <math.h>
#include <string.h>

#include "kernels.h"
#include "kernels_random.h"

#define FNN_1_TO_4(M) M(1) M(2) M(3) M(4)
#define FNN_1_TO_6(M) FNN_1_TO_4(M) M(5) M(6)
#define FNN_1_TO_12(M) FNN_1_TO_6(M) M(7) M(8) M(9) M(10) M(11) M(12)
#define FNN_1_TO_14(M) FNN_1_TO_12(M) M(13) M(14)

#define REAL float
#define INT int32_t
#define FNN_DOUBLE 0
#define FN(name) name##_f32
#include "kernels_bodies.h"
#undef REAL
#undef INT
#undef FNN_DOUBLE
#undef FN

#define REAL double
#define INT int64_t
#define FNN_DOUBLE 1
#define FN(name) name##_f64
#include "kernels_bodies.h"

extern const fnn_kernels *const FNN_TABLES[2];
const fnn_kernels *const FNN_TABLES[2] = {&table_f32, &table_f64};
