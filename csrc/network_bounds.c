/* Checks that no update makes a weight or a moment infinite or NaN. Before its update, a cautious step computes bounds
   of the new weights and moments from the largest numbers that go into the step. So a call of one step need not keep a
   copy of all weights and moments to go back to. */
#include <math.h>

#include "network_step.h"

void fnn_measure_rows(fnn_worker *me) {
  const fnn_net *net = me->job->net;
  const fnn_kernels *K = net->K;
  const fnn_workspace *w = me->job->work;
  const fnn_factors *first = me->plan->first_products[0];
  const ptrdiff_t rows = me->to - me->from, n_in = net->layer[0].n_in;
  fnn_report *mine = &w->reports[me->thread];
  double A = 1, dZ = 0; /* A is at least 1: db is computed like dW with A = 1 */
  const int is_sparse = fnn_reads_lists(me->plan->key.reading);
  if (is_sparse) A = fnn_larger(A, fnn_largest_sparse(me));
  for (ptrdiff_t i = me->from; !is_sparse && first->order && i < me->to; i++)
    A = fnn_larger(A, K->magnitude(fnn_at(K, first->A, first->order[i] * first->a_step), 0, 1, n_in));
  if (!is_sparse && !first->order)
    A = fnn_larger(A, K->magnitude(fnn_at(K, first->A, me->from * first->a_step), first->a_step, rows, n_in));
  for (int l = 0; l < net->layers; l++) {
    const ptrdiff_t n = net->layer[l].n_out, ld = fnn_ld(K, n);
    if (l >= me->plan->lowest)
      dZ = fnn_larger(dZ, K->magnitude(fnn_at(K, w->dZ[l], me->from * ld), ld, rows, fnn_padded(K, n)));
    if (l < net->layers - 1) A = fnn_larger(A, K->magnitude(fnn_at(K, w->A[l], me->from * ld), ld, rows, n));
  }
  if (net->norms) fnn_measure_norms(me);
  mine->largest_A = A;
  mine->largest_dZ = dZ;
}

int fnn_is_safe(fnn_worker *me, const fnn_update *u) {
  const double limit = me->job->net->K->size == 4 ? 1e30 : 1e290; /* sums of such numbers cannot overflow */
  double A = 0, dZ = 0, of_norms = 0, statistic = 0;
  for (int t = 0; t < me->threads; t++) {
    if (me->job->net->norms) {
      of_norms = fnn_larger(of_norms, me->job->work->reports[t].largest_sum);
      statistic = fnn_larger(statistic, me->job->work->reports[t].largest_statistic);
    }
    A = fnn_larger(A, me->job->work->reports[t].largest_A);
    dZ = fnn_larger(dZ, me->job->work->reports[t].largest_dZ);
  }
  const double sum = fnn_larger((double)me->m * A * dZ, of_norms), *bound = me->bound;
  const int slots = fnn_slots_of(u->kind); /* moments of an earlier kind stay as they are, and do not matter */
  double g = fnn_loss_factor(me->job->fit) * sum / me->weight, w = bound[0], m = bound[1], v = bound[2], step = 0;
  /* These are cast to the network's dtype. If one became inf there, a weight that is 0 would become NaN. */
  if (!(u->rate < limit && fabs(u->keep) < limit && u->decay < limit && u->eps < limit && u->root < limit)) return 0;
  if (u->kind != FNN_SGD && u->kind != FNN_ADAMW) g += u->decay * w;
  g += u->l1;
  switch (fnn_step_of(u->kind)) {
  case FNN_BY_QUOTIENT:
    if (!(u->eps > 1 / limit)) return 0;
    m = u->beta1 * m + (1 - u->beta1) * g;
    v = u->beta2 * v + (1 - u->beta2) * g * g;
    step = u->kind == FNN_NADAM ? (u->of_moment * m + u->of_gradient * g) / u->eps : m / u->eps;
    if (!(sqrt(v) * u->root + u->eps < limit)) return 0;
    break;
  case FNN_BY_ROOT: /* m is of the sums of squares, v of the quotients */
    if (!(u->eps > 1 / limit)) return 0;
    m += g * g;
    step = g / u->eps;
    if (slots > 1) step = v = u->momentum * v + step;
    if (!(sqrt(m) + u->eps < limit)) return 0;
    break;
  case FNN_BY_SUM:
    step = g;
    if (!slots) break;
    m = u->momentum * m + g;
    step += m;
    break;
  }
  w = fnn_larger(1, fabs(u->keep)) * w + u->rate * step;
  w = fnn_larger(w, statistic);
  if (!(sum < limit && g * g < limit && step < limit && w < limit)) return 0;
  if ((slots > 0 && !(m < limit)) || (slots > 1 && !(v < limit))) return 0;
  me->bound[0] = w, me->bound[1] = m, me->bound[2] = v;
  return 1;
}

double fnn_largest_parameter(const fnn_net *net, int i, int threads, int thread) {
  const ptrdiff_t all = (ptrdiff_t)net->parameter_bytes / net->K->size;
  ptrdiff_t from, to;
  fnn_share(all, 16, threads, thread, &from, &to);
  return i > net->slots ? 0 : net->K->magnitude(fnn_at(net->K, net->parameters, i * all + from), 0, 1, to - from);
}

void fnn_measure_parameters(fnn_net *net) {
  for (int i = 0; i <= FNN_SLOTS; i++) net->bound[i] = fnn_largest_parameter(net, i, 1, 0);
}

int fnn_is_bounded(const fnn_net *net) {
  return net->bound[0] < INFINITY && net->bound[1] < INFINITY && net->bound[2] < INFINITY;
}

int fnn_net_finite(fnn_net *net) {
  if (!fnn_is_bounded(net)) fnn_measure_parameters(net);
  return fnn_is_bounded(net);
}
