/* What fnn_fit.diagnostics asks for: norms of gradients, updates and weights, and units that do not learn. It is
   measured in one step of an epoch, so plain loops do. */
#include <math.h>
#include <string.h>

#include "network_step.h"

/* The root of `count` sums of squares, from number `first` on. */
static double norm(const double *squares, ptrdiff_t first, ptrdiff_t count) {
  double sum = 0;
  for (ptrdiff_t i = 0; i < count; i++) sum += squares[first + i];
  return sqrt(sum);
}

static double number(const fnn_kernels *K, const void *x, ptrdiff_t i) {
  return K->size == 4 ? (double)((const float *)x)[i] : ((const double *)x)[i];
}

/* old = w - old, for n numbers. */
static void subtract(const fnn_kernels *K, void *old, const void *w, ptrdiff_t n) {
  if (K->size == 4)
    for (ptrdiff_t i = 0; i < n; i++) ((float *)old)[i] = ((const float *)w)[i] - ((float *)old)[i];
  else
    for (ptrdiff_t i = 0; i < n; i++) ((double *)old)[i] = ((const double *)w)[i] - ((double *)old)[i];
}

void fnn_move_and_note(const fnn_worker *me, const fnn_update *u, const fnn_operation_of_step *o, void *w, void *m1,
                       void *m2, const void *gradients) {
  const fnn_kernels *K = me->job->net->K;
  double old[FNN_SQUARES], *changes = me->job->work->squares + me->job->work->blocks + o->p0;
  for (ptrdiff_t i = o->i0; i < o->i1; i += FNN_SQUARES, changes++) {
    const ptrdiff_t n = fnn_min(FNN_SQUARES, o->i1 - i);
    void *now = fnn_at(K, w, i);
    memcpy(old, now, (size_t)(n * K->size));
    K->update(u, now, fnn_at(K, m1, i), fnn_at(K, m2, i), fnn_at(K, gradients, i), n);
    subtract(K, old, now, n);
    K->squares(FNN_AS_THEY_ARE, changes, old, n);
    K->squares(FNN_AS_THEY_ARE, changes + me->job->work->blocks, now, n);
  }
}

/* Whether it is asked which units of layer l are quiet. */
static int is_looked_at(const fnn_net *net, int l) {
  const int kind = net->layer[l].activation.kind;
  return l < net->layers - 1 && (kind == FNN_RELU || kind == FNN_TANH || kind == FNN_SIGMOID);
}

/* Whether the slope at this output is 0 or nearly so. */
static int is_quiet(int kind, double a) {
  return kind == FNN_RELU ? a == 0 : kind == FNN_TANH ? 1 - a * a < 0.01 : 4 * a * (1 - a) < 0.01;
}

static unsigned char *loud_units(const fnn_worker *me, int l) {
  unsigned char *loud = me->job->work->loud;
  for (int i = 0; i < l; i++) loud += me->job->net->layer[i].n_out;
  return loud;
}

void fnn_forget_loud(const fnn_net *net, fnn_workspace *work) {
  unsigned char *loud = work->loud;
  for (int l = 0; l < net->layers; loud += net->layer[l++].n_out) memset(loud, 0, (size_t)net->layer[l].n_out);
}

void fnn_note_loud(const fnn_worker *me, const fnn_operation_of_step *o) {
  const fnn_net *net = me->job->net;
  const fnn_layer_state *y = &net->layer[o->layer];
  unsigned char *loud = loud_units(me, o->layer);
  if (!is_looked_at(net, o->layer)) return;
  for (ptrdiff_t i = o->i0; i < o->i1; i++)
    for (ptrdiff_t unit = o->p0; unit < fnn_min(o->p1, y->n_out); unit++)
      if (!is_quiet(y->activation.kind, number(net->K, o->drop.A, i * o->drop.row_step + unit)))
        __atomic_store_n(&loud[unit], 1, __ATOMIC_RELAXED); /* another thread may store it for other samples */
}

/* The share of units of a hidden layer that are quiet for all samples of the batch. */
static double quiet_units(const fnn_worker *me, int l) {
  const fnn_kernels *K = me->job->net->K;
  const fnn_layer_state *y = &me->job->net->layer[l];
  unsigned char *loud = loud_units(me, l);
  ptrdiff_t count = 0;
  if (!is_looked_at(me->job->net, l)) return NAN;
  for (ptrdiff_t unit = 0; unit < y->n_out; unit++) {
    int quiet = !loud[unit];
    for (ptrdiff_t i = 0; i < me->m && quiet && !y->dropped; i++)
      quiet = is_quiet(y->activation.kind, number(K, me->job->work->A[l], i * fnn_ld(K, y->n_out) + unit));
    loud[unit] = 0, count += quiet;
  }
  return (double)count / (double)y->n_out;
}

void fnn_diagnose(const fnn_worker *me) {
  const fnn_net *net = me->job->net;
  const double *gradients = me->job->work->squares, *updates = gradients + me->job->work->blocks;
  const double *weights = updates + me->job->work->blocks;
  ptrdiff_t of_gradients = 0, of_weights = 0;
  if (me->thread) return;
  for (int l = 0; l < net->layers; l++) {
    const fnn_layer_state *y = &net->layer[l];
    double *out = me->job->fit->diagnostics + FNN_DIAGNOSTICS * l;
    const ptrdiff_t n = fnn_updated_rows(y) * fnn_updated_padded(net->K, y), n_b = fnn_padded(net->K, y->n_out);
    out[FNN_QUIET_UNITS] = quiet_units(me, l);
    if (y->frozen) {
      out[FNN_GRADIENT_NORM] = NAN, out[FNN_UPDATE_NORM] = 0, out[FNN_WEIGHT_NORM] = 1;
      continue;
    }
    const ptrdiff_t blocks = fnn_squares(n) + (y->norm ? 3 : 1) * fnn_squares(n_b);
    out[FNN_GRADIENT_NORM] = norm(gradients, of_gradients, blocks);
    out[FNN_UPDATE_NORM] = norm(updates, of_weights, fnn_squares(n));
    out[FNN_WEIGHT_NORM] = norm(weights, of_weights, fnn_squares(n));
    of_gradients += blocks, of_weights += fnn_squares(n);
  }
}
