/* The bodies of the kernels, written once: kernels_isa.h includes this file once for float and once for double, and
   defines REAL, INT, FNN_DOUBLE and FN(name). The ISA's file defines FNN_VECTOR_BYTES, FNN_MR, FNN_MR_SINGLE,
   FNN_CHUNK_BYTES, FNN_WHOLE_SUMS and FNN_PACK_PANELS; kernels_isa.h says what they mean. */
#include <float.h>

#include "simd.h"

/* clang-format off: the order matters, each header uses the headers above it */
#include "kernels_functions.h"
#include "kernels_moving.h"
#include "kernels_checks.h"
#include "kernels_sums.h"
#include "kernels_activations.h"
#include "kernels_dropout.h"
#include "kernels_norm.h"
#include "kernels_losses.h"
#include "kernels_optimizers.h"
#include "kernels_products.h"
#include "kernels_matvec.h"
#include "kernels_sparse.h"
/* clang-format on */

static const fnn_kernels FN(table) = {
    .size = sizeof(REAL),
    .vl = VL,
    .mr = FNN_MR,
    .nr = NR,
    .chunk = MOST_ROWS,
    .packs = FNN_PACK_PANELS > 0,
    .forward = FN(forward),
    .backward = FN(backward),
    .update_weights = FN(update_weights),
    .turn = FN(turn),
    .sparse_forward = FN(sparse_forward),
    .link = FN(link),
    .feature_sums = FN(feature_sums),
    .add_zeros = FN(add_zeros),
    .sparse_magnitude = FN(sparse_magnitude),
    .rescale = FN(rescale),
    .move_features = FN(move_features),
    .dense_rows = FN(dense_rows),
    .dense_columns = FN(dense_columns),
    .matvec_rows = FN(matvec_rows),
    .matvec_columns = FN(matvec_columns),
    .rowsum = FN(rowsum),
    .rowsum_room = FN(rowsum_room),
    .sums_along = FN(sums_along),
    .update = FN(update),
    .squares = FN(squares),
    .average = FN(average),
    .activation = FN(activation),
    .derivative = FN(derivative),
    .softmax_of_columns = FN(softmax_of_columns),
    .softmax_slope_of_columns = FN(softmax_slope_of_columns),
    .head = FN(head),
    .loss_derivatives = FN(loss_derivatives),
    .loss_values = FN(loss_values),
    .within = FN(within),
    .gather = FN(gather),
    .standardise = FN(standardise),
    .to_units = FN(to_units),
    .scatter = FN(scatter),
    .pack = FN(pack),
    .unpack = FN(unpack),
    .draw = draw,
    .drop = FN(drop),
    .layer_norm = FN(layer_norm),
    .batch_norm = FN(batch_norm),
    .norm_blocks = FN(norm_blocks),
    .norm_statistics = FN(norm_statistics),
    .norm_back_blocks = FN(norm_back_blocks),
    .norm_back_sums = FN(norm_back_sums),
    .layer_norm_back = FN(layer_norm_back),
    .batch_norm_back = FN(batch_norm_back),
    .move_running = FN(move_running),
    .magnitude = FN(magnitude),
};

/* These macros differ between float and double, so they are removed here; all others have the same text both times. */
#undef HAS_ROWS_OF_FOUR
#undef SIGN
#undef MANTISSA
#undef BIAS
#undef EXP_TERMS
#undef LOG_TERMS
#undef EXP_LOW
#undef EXPM1_LOW
#undef TANH_HIGH
#undef NORMAL_HIGH
#undef TANH_GELU_HIGH
#undef LARGEST
#undef EPSILON
#undef TAIL_MIDDLE
#undef TAIL_TERMS
#undef LN2_HIGH
#undef LN2_LOW
