/* The first layer where X is sparse: its samples are read as lists of the numbers that are not 0. The gradient is
   summed feature by feature, each by one thread and in the order of the samples: so it does not depend on the threads.
 */
#include "network_step.h"

#define FEATURES_AT_ONCE 32 /* of a block of gradients */

int fnn_is_input(const fnn_net *net, const fnn_matrix *X, ptrdiff_t m) {
  const int own = net->K->size == 8 ? FNN_FLOAT64 : FNN_FLOAT32;
  if (X->dtype != FNN_SPARSE) return fnn_is_dtype_of_X(X->dtype);
  const fnn_sparse *x = fnn_sparse_of(X);
  if (net->of_X.mean) return 0; /* the zeros would not stay zeros */
  return x->size >= sizeof *x && x->dtype == own && x->m >= m && x->longest >= 0;
}

/* How many numbers X has. */
static ptrdiff_t terms_of(const fnn_sparse *X) { return (ptrdiff_t)(X->starts[X->m] - X->starts[0]); }

double fnn_terms(const fnn_sparse *X, ptrdiff_t m) { return X->m ? (double)terms_of(X) / (double)X->m * (double)m : 0; }

int fnn_reserve_sparse(const fnn_net *net, fnn_workspace *work, const fnn_sparse *X, ptrdiff_t m, int repeats) {
  const ptrdiff_t most = fnn_times(m, X->longest), terms = repeats ? most : fnn_min(most, terms_of(X));
  const ptrdiff_t n = net->layer[0].n_in;
  if (terms >= INT32_MAX || n > INT32_MAX || m > INT32_MAX)
    return FNN_NO_MEMORY; /* a fnn_by_features counts in int32_t */
  if (work->sparse && work->terms_capacity >= terms) return FNN_OK;
  const ptrdiff_t list = fnn_lines(n * (ptrdiff_t)sizeof(int32_t));
  char *block = fnn_alloc(fnn_plus(2 * list, fnn_times(terms, FNN_TERM_BYTES)));
  if (!block) return FNN_NO_MEMORY;
  memset(block, 0, (size_t)list);
  fnn_free(work->sparse);
  work->sparse = block, work->terms_capacity = terms;
  return FNN_OK;
}

/* The lists of this batch: their memory may have moved since the plan was made. */
static fnn_by_features lists(const fnn_worker *me, const fnn_operation_of_step *o) {
  const ptrdiff_t list = fnn_lines(me->job->net->layer[0].n_in * (ptrdiff_t)sizeof(int32_t));
  fnn_by_features p = o->by_features;
  p.heads = me->job->work->sparse;
  p.found = (int32_t *)((char *)p.heads + list);
  p.terms = (char *)p.heads + 2 * list;
  return p;
}

/* Whether a step leaves a weight whose gradient is 0 as it is. */
static int spares_absent(const fnn_update *u) { return u->kind == FNN_SGD && u->keep == 1 && !u->mends; }

static void move_block(const fnn_worker *me, const fnn_by_features *p, ptrdiff_t k0, ptrdiff_t k1, void *room) {
  const fnn_net *net = me->job->net;
  const fnn_kernels *K = net->K;
  const fnn_layer_state *y = &net->layer[0];
  const int stores = me->plan->key.stores;
  for (ptrdiff_t panel = 0; panel < fnn_panels(K, y->n_out); panel++) {
    const ptrdiff_t width = fnn_min(K->nr, fnn_padded(K, y->n_out) - panel * K->nr);
    const ptrdiff_t at = panel * K->nr * y->n_in + k0 * width;
    if (stores) {
      K->feature_sums(p, fnn_at(K, me->job->work->dW[0], at), k0, k1, panel);
      continue;
    }
    K->feature_sums(p, room, k0, k1, panel);
    K->update(&me->plan->update, fnn_at(K, y->WT, at), fnn_at(K, y->moment[0], at), fnn_at(K, y->moment[1], at), room,
              (k1 - k0) * width);
  }
}

/* dW of the features k0..k1 out to the caller. */
static void give_block(const fnn_worker *me, const fnn_by_features *p, ptrdiff_t k0, ptrdiff_t k1, void *room) {
  const fnn_kernels *K = me->job->net->K;
  const ptrdiff_t n = me->job->net->layer[0].n_out;
  const fnn_matrix *dW = &me->job->gradients[FNN_W];
  for (ptrdiff_t panel = 0; panel < fnn_panels(K, n); panel++) {
    const ptrdiff_t first = panel * K->nr, width = fnn_min(K->nr, fnn_padded(K, n) - first);
    const fnn_matrix to = {fnn_at(K, dW->data, first * dW->row_step), dW->row_step, dW->column_step, dW->dtype};
    K->feature_sums(p, room, k0, k1, panel);
    K->rescale(room, me->plan->update.scale, (k1 - k0) * width);
    K->scatter(&to, k0, room, width, k1 - k0, fnn_min(width, n - first));
  }
}

void fnn_update_sparse(fnn_worker *me, const fnn_operation_of_step *o) {
  const fnn_kernels *K = me->job->net->K;
  const fnn_by_features p = lists(me, o);
  _Alignas(FNN_LINE) char room[FEATURES_AT_ONCE * 2 * 64]; /* two vectors of at most 64 bytes for each feature */
  const ptrdiff_t found = K->link(&p, o->i0, o->i1);
  const int gives = !me->plan->key.trains;
  if (!gives && !me->plan->key.stores && spares_absent(&me->plan->update)) {
    K->move_features(&p, &me->plan->update, me->job->net->layer[0].WT, p.found + o->i0, found);
  } else {
    for (ptrdiff_t k = o->i0; k < o->i1; k += FEATURES_AT_ONCE)
      (gives ? give_block : move_block)(me, &p, k, fnn_min(k + FEATURES_AT_ONCE, o->i1), room);
  }
  for (ptrdiff_t i = 0; i < found; i++) p.heads[p.found[o->i0 + i]] = 0;
}

double fnn_largest_sparse(const fnn_worker *me) {
  const fnn_kernels *K = me->job->net->K;
  const fnn_factors *f = me->plan->first_products[0];
  const fnn_sparse *X = f->A;
  double largest = 0;
  for (ptrdiff_t i = me->from; i < me->to; i++) {
    const ptrdiff_t j = f->order ? (ptrdiff_t)f->order[i] : i, from = (ptrdiff_t)X->starts[j];
    const ptrdiff_t n = (ptrdiff_t)X->starts[j + 1] - from;
    largest = fnn_larger(largest, K->magnitude(fnn_at(K, X->values, from), n, 1, n));
  }
  return largest;
}
