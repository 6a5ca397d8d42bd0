/* The first layer where X is sparse: its samples are read as lists of the numbers that are stored. The gradient is
   summed feature by feature, each by one thread and in the order of the samples: so it does not depend on the threads.
 */
#include <math.h>

#include "network_step.h"

#define FEATURES_AT_ONCE 32 /* of a block of gradients */

/* Features with |mean| / scale above this are dense. At least a fifth of the numbers that were measured was then not 0,
   because the square of mean / scale is at most share / (1 - share). */
#define MOST_OF_ZERO 0.5

int fnn_is_input(const fnn_matrix *X, ptrdiff_t m) {
  if (X->dtype != FNN_SPARSE) return fnn_is_dtype_of_X(X->dtype);
  const fnn_sparse *x = fnn_sparse_of(X);
  return x->size >= sizeof *x && fnn_is_dtype_of_X(x->dtype) && x->m >= m && x->longest >= 0;
}

void fnn_standardise_sparse(fnn_net *net, double *room) {
  const ptrdiff_t n = net->layer[0].n_in;
  const fnn_standard *s = &net->of_X;
  double (*of)[2] = (double (*)[2])room;
  void *zeros = room + 2 * n;
  int32_t *dense = (int32_t *)(room + 3 * n);
  net->of_sparse = (fnn_sparse_standard){0};
  if (!s->mean) return;
  ptrdiff_t count = 0;
  for (ptrdiff_t k = 0; k < n; k++) {
    const double zero = (0 - s->mean[k]) * s->inverse[k];
    const int is_dense = !(fabs(zero) <= MOST_OF_ZERO);
    if (is_dense) dense[count++] = (int32_t)k;
    of[k][0] = is_dense ? s->mean[k] : 0, of[k][1] = s->inverse[k];
    if (net->K->size == 8)
      ((double *)zeros)[k] = is_dense ? 0 : zero;
    else
      ((float *)zeros)[k] = is_dense ? 0 : (float)zero;
  }
  net->of_sparse = (fnn_sparse_standard){(const double (*)[2])of, zeros, dense, count};
}

fnn_forward fnn_zeros_product(const fnn_net *net, void *of_zeros) {
  const ptrdiff_t n_in = net->layer[0].n_in;
  fnn_forward p = fnn_forward_product(net, 0, net->of_sparse.zeros, fnn_ld(net->K, n_in), of_zeros, 1);
  p.g = fnn_identity;
  return p;
}

/* How many numbers X has. */
static ptrdiff_t terms_of(const fnn_sparse *X) { return (ptrdiff_t)(X->starts[X->m] - X->starts[0]); }

double fnn_terms(const fnn_sparse *X, ptrdiff_t m) { return X->m ? (double)terms_of(X) / (double)X->m * (double)m : 0; }

int fnn_reserve_sparse(const fnn_net *net, fnn_workspace *work, const fnn_sparse *X, ptrdiff_t m, int repeats) {
  const ptrdiff_t dense = net->of_sparse.dense_count, most = fnn_times(m, X->longest + dense);
  const ptrdiff_t terms = repeats ? most : fnn_min(most, terms_of(X) + fnn_times(X->m, dense));
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

/* Whether a step leaves the weights of a feature that does not occur in the batch as they are. */
static int spares_absent(const fnn_worker *me) {
  const fnn_update *u = &me->plan->update;
  return u->kind == FNN_SGD && u->keep == 1 && !u->mends && !me->job->net->of_sparse.of;
}

/* Adds to the sums of features from k0 on what a standardised X's zeros make. */
static void add_zeros(const fnn_worker *me, void *sums, ptrdiff_t k0, ptrdiff_t k1, ptrdiff_t panel, ptrdiff_t width) {
  const fnn_net *net = me->job->net;
  const fnn_kernels *K = net->K;
  if (net->of_sparse.of)
    K->add_zeros(sums, fnn_at(K, net->of_sparse.zeros, k0), fnn_at(K, me->job->work->db[0], panel * K->nr), k1 - k0,
                 width);
}

static void move_block(const fnn_worker *me, const fnn_by_features *p, ptrdiff_t k0, ptrdiff_t k1, void *room) {
  const fnn_net *net = me->job->net;
  const fnn_kernels *K = net->K;
  const fnn_layer_state *y = &net->layer[0];
  const int stores = me->plan->key.stores;
  for (ptrdiff_t panel = 0; panel < fnn_panels(K, y->n_out); panel++) {
    const ptrdiff_t width = fnn_min(K->nr, fnn_padded(K, y->n_out) - panel * K->nr);
    const ptrdiff_t at = panel * K->nr * y->n_in + k0 * width;
    void *sums = stores ? fnn_at(K, me->job->work->dW[0], at) : room;
    K->feature_sums(p, sums, k0, k1, panel);
    add_zeros(me, sums, k0, k1, panel, width);
    if (!stores)
      K->update(&me->plan->update, fnn_at(K, y->WT, at), fnn_at(K, y->moment[0], at), fnn_at(K, y->moment[1], at), sums,
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
    add_zeros(me, room, k0, k1, panel, width); /* db is rescaled already */
    K->scatter(&to, k0, room, width, k1 - k0, fnn_min(width, n - first));
  }
}

void fnn_update_sparse(fnn_worker *me, const fnn_operation_of_step *o) {
  const fnn_kernels *K = me->job->net->K;
  const fnn_by_features p = lists(me, o);
  _Alignas(FNN_LINE) char room[FEATURES_AT_ONCE * 2 * 64]; /* two vectors of at most 64 bytes for each feature */
  const ptrdiff_t found = K->link(&p, o->i0, o->i1);
  const int gives = !me->plan->key.trains;
  if (!gives && !me->plan->key.stores && spares_absent(me)) {
    K->move_features(&p, &me->plan->update, me->job->net->layer[0].WT, p.found + o->i0, found);
  } else {
    for (ptrdiff_t k = o->i0; k < o->i1; k += FEATURES_AT_ONCE)
      (gives ? give_block : move_block)(me, &p, k, fnn_min(k + FEATURES_AT_ONCE, o->i1), room);
  }
  for (ptrdiff_t i = 0; i < found; i++) p.heads[p.found[o->i0 + i]] = 0;
}

double fnn_largest_sparse(const fnn_worker *me) {
  const fnn_net *net = me->job->net;
  double largest = 0;
  for (ptrdiff_t i = me->from; i < me->to; i++)
    largest = fnn_larger(largest, net->K->sparse_magnitude(me->plan->first_products[0], i));
  return net->of_sparse.of ? largest + MOST_OF_ZERO : largest;
}
