/* The linear layer, forward and backward: products, row sums and activations run one after another, and use the same
   scratch memory. */
#include "layer.h"

static ptrdiff_t more(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

/* How the activation, or its slope, is applied after the tiles of a product. */
enum part {
  NONE,     /* not at all: the tiles have done it, or there is none */
  FOLLOWS,  /* by the product, to each part that it has stored */
  SEPARATE, /* by a pass of its own after the product */
};

int fnn_linear_forward(int isa, const fnn_matrix *out, const fnn_matrix *W, const fnn_matrix *A_prev,
                       const fnn_matrix *b, const fnn_spec *activation, ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t m,
                       int in_order, int threads) {
  if (!fnn_are_sizes(n_out, n_in, m)) return FNN_NO_MEMORY;
  if (!fnn_is_isa(isa) || !fnn_is_activation(activation) || !FNN_HAVE_ONE_DTYPE(out, W, A_prev, b)) return FNN_REFUSED;
  threads = fnn_threads(threads);
  const enum fnn_place place = fnn_place_of(activation);
  fnn_multiplication x;
  fnn_set_product(&x, fnn_isas[isa].kernels[W->dtype], W, A_prev, out, n_out, n_in, m, 1);
  x.bias = b->data, x.bias_step = b->row_step, x.in_order = in_order;
  enum part part = place == FNN_IN_TILE ? NONE : SEPARATE;
  if (place == FNN_AFTER_TILE && fnn_can_follow(&x.C, &x.G)) part = FOLLOWS;
  if (part == NONE) x.activation = *activation;
  if (part == FOLLOWS) x.next = FNN_ACTIVATE, x.next_function = *activation;
  ptrdiff_t bytes = fnn_plan_product(&x, threads);
  fnn_elements g;
  if (part == SEPARATE) {
    fnn_set_elements(&g, x.K, FNN_ACTIVATE, activation, out, out, NULL, n_out, m);
    bytes = more(bytes, fnn_plan_elements(&g, threads));
  }
  _Alignas(FNN_LINE) char stack[FNN_STACK];
  void *room = fnn_scratch(stack, bytes);
  if (!room) return FNN_NO_MEMORY;
  fnn_run_product(&x, room);
  if (part == SEPARATE) fnn_run_elements(&g, room);
  fnn_release(stack, room);
  return FNN_OK;
}

int fnn_linear_backward(int isa, const fnn_matrix *dW, const fnn_matrix *db, const fnn_matrix *dA_prev,
                        const fnn_matrix *dZ, const fnn_matrix *A_prev, const fnn_matrix *W, const fnn_spec *activation,
                        ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t m, int threads) {
  if (!fnn_are_sizes(n_out, n_in, m)) return FNN_NO_MEMORY;
  if (!fnn_is_isa(isa) || !FNN_HAVE_ONE_DTYPE(dW, db, dZ, A_prev)) return FNN_REFUSED;
  if (W && (!fnn_is_activation(activation) || !FNN_HAVE_ONE_DTYPE(dZ, W, dA_prev))) return FNN_REFUSED;
  if (W && fnn_slope_of(activation) == FNN_FROM_Z) return FNN_REFUSED; /* Z_prev is not given */
  threads = fnn_threads(threads);
  const fnn_kernels *K = fnn_isas[isa].kernels[dZ->dtype];
  const double share = 1.0 / (double)m;
  fnn_multiplication of_W, of_A;
  const fnn_matrix A_T = fnn_transposed(fnn_same(A_prev));
  fnn_set_product(&of_W, K, dZ, &A_T, dW, n_out, m, n_in, share);
  fnn_row_sums of_b = {K, fnn_same(db), fnn_same(dZ), n_out, m, share, 0, 0, NULL, 0};
  ptrdiff_t bytes = more(fnn_plan_product(&of_W, threads), fnn_plan_row_sums(&of_b, threads));
  fnn_elements slope;
  enum part part = W && activation->kind != FNN_IDENTITY ? SEPARATE : NONE;
  if (W) {
    const fnn_matrix W_T = fnn_transposed(fnn_same(W));
    fnn_set_product(&of_A, K, &W_T, dZ, dA_prev, n_in, n_out, m, 1);
    if (part == SEPARATE && fnn_place_of(activation) != FNN_WHOLE_ROWS && fnn_can_follow(dA_prev, A_prev)) {
      part = FOLLOWS;
      of_A.next = FNN_DERIVE, of_A.next_function = *activation, of_A.G = *A_prev;
    }
    bytes = more(bytes, fnn_plan_product(&of_A, threads));
  }
  if (part == SEPARATE) {
    fnn_set_elements(&slope, K, FNN_DERIVE, activation, dA_prev, dA_prev, A_prev, n_in, m);
    bytes = more(bytes, fnn_plan_elements(&slope, threads));
  }
  _Alignas(FNN_LINE) char stack[FNN_STACK];
  void *room = fnn_scratch(stack, bytes);
  if (!room) return FNN_NO_MEMORY;
  fnn_run_product(&of_W, room);
  fnn_run_row_sums(&of_b, room);
  if (W) fnn_run_product(&of_A, room);
  if (part == SEPARATE) fnn_run_elements(&slope, room);
  fnn_release(stack, room);
  return FNN_OK;
}
