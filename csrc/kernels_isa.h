/* One ISA's kernels: includes the bodies for float and double and defines its pair of tables, FNN_TABLES.
   Given by the ISA's file, which setup.py compiles with the ISA's flags: FNN_VECTOR_BYTES; FNN_MR and FNN_MR_SINGLE,
   the most rows of a register tile of two vectors and of one; FNN_EACH_DOUBLE and FNN_EACH_SINGLE, a macro for each
   number of rows; FNN_CHUNK_BYTES, what of A may stay in the second cache; FNN_WHOLE_SUMS, whether a
   network's tile by rows sums all of its terms before the next tile, or a block of them, whose part of B then stays in
   the first cache;
   FNN_PACK_PANELS, from how many panels on dW copies A first, or 0; FNN_TABLES. */
#include <math.h>
#include <string.h>

#include "kernels.h"

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
