/* One ISA's kernels: includes the bodies for float and double and defines its pair of tables, FNN_TABLES.
   Given FNN_VECTOR_BYTES, FNN_MR, FNN_EACH_ROW_COUNT and FNN_TABLES by the ISA's file, which setup.py compiles with the
   ISA's flags. */
#include <math.h>
#include <string.h>

#include "kernels.h"

#define REAL float
#define INT int32_t
#define FNN_DOUBLE 0
#define FN(name) name##_f32
#include "kernels_impl.h"
#undef REAL
#undef INT
#undef FNN_DOUBLE
#undef FN

#define REAL double
#define INT int64_t
#define FNN_DOUBLE 1
#define FN(name) name##_f64
#include "kernels_impl.h"

extern const fnn_kernels *const FNN_TABLES[2];
const fnn_kernels *const FNN_TABLES[2] = {&table_f32, &table_f64};
