/* Norms of layers in a network: in predictions, and as operations of a training step. */
#include <string.h>

#include "fpmode.h"
#include "network_step.h"

fnn_norm fnn_norm_of(const fnn_net *net, int l) {
  const fnn_layer_state *y = &net->layer[l];
  return (fnn_norm){.n = y->n_out,
                    .padded = fnn_padded(net->K, y->n_out),
                    .row_step = fnn_ld(net->K, y->n_out),
                    .g = y->activation,
                    .gamma = y->gamma,
                    .beta = y->beta,
                    .mean = y->mean,
                    .var = y->var,
                    .rstd = y->rstd};
}

/* The forward pass of rows i0..i1 and columns j0..j1. */
static void normalise(const fnn_net *net, int l, const fnn_norm *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0,
                      ptrdiff_t j1) {
  if (net->layer[l].norm == FNN_LAYER_NORM)
    net->K->layer_norm(p, i0, i1);
  else
    net->K->batch_norm(p, i0, i1, j0, j1);
}

void fnn_normalise(const fnn_net *net, int l, void *Z, ptrdiff_t rows, const fnn_spec *g) {
  fnn_norm p = fnn_norm_of(net, l);
  p.Z = p.A = Z;
  p.g = *g;
  normalise(net, l, &p, 0, rows, 0, p.padded);
}

int fnn_net_normalise(const fnn_net *net, int l, const fnn_matrix *out, const fnn_matrix *Z, ptrdiff_t m) {
  if (!fnn_is_size(m)) return FNN_NO_MEMORY;
  if (l < 0 || l >= net->layers || !net->layer[l].norm) return FNN_REFUSED;
  if (!fnn_is_dtype(Z->dtype) || !fnn_is_own_dtype(net, out)) return FNN_REFUSED;
  const fnn_kernels *K = net->K;
  const ptrdiff_t n = net->layer[l].n_out, ld = fnn_ld(K, n), most = 16;
  _Alignas(FNN_LINE) char stack[FNN_STACK];
  void *room = fnn_scratch(stack, fnn_times(most * ld, K->size));
  if (!room) return FNN_NO_MEMORY;
  const fnn_mode mode = fnn_flush_subnormals();
  for (ptrdiff_t first = 0, rows; first < m; first += rows) {
    rows = fnn_min(most, m - first);
    K->gather(room, ld, Z, NULL, first, rows, n);
    fnn_normalise(net, l, room, rows, &fnn_identity);
    K->scatter(out, first, room, ld, rows, n);
  }
  fnn_restore_mode(mode);
  fnn_release(stack, room);
  return FNN_OK;
}

void fnn_derive_rstd(const fnn_net *net, int l) {
  const fnn_layer_state *y = &net->layer[l];
  net->K->move_running(y->mean, y->var, y->rstd, NULL, NULL, 2, fnn_padded(net->K, y->n_out));
}

void fnn_start_norms(const fnn_net *net) {
  double one = 1;
  const fnn_matrix ones = {&one, 0, 0, FNN_FLOAT64};
  for (int l = 0; l < net->layers; l++) {
    const fnn_layer_state *y = &net->layer[l];
    if (y->norm) net->K->gather(y->gamma, 0, &ones, NULL, 0, 1, y->n_out);
    if (y->norm != FNN_BATCH_NORM) continue;
    net->K->gather(y->var, 0, &ones, NULL, 0, 1, y->n_out);
    fnn_derive_rstd(net, l);
  }
}

/* --- in a training step --- */

static void go_back(const fnn_worker *me, const fnn_operation_of_step *o) {
  const fnn_kernels *K = me->job->net->K;
  if (me->job->net->layer[o->layer].norm == FNN_LAYER_NORM)
    K->layer_norm_back(&o->norm, o->i0, o->i1);
  else
    K->batch_norm_back(&o->norm, o->i0, o->i1);
}

static void sum(const fnn_worker *me, const fnn_operation_of_step *o) {
  const fnn_norm_room *room = &me->job->work->norm[o->layer];
  const double scale = me->job->fit ? 1 : me->plan->update.scale;
  me->job->net->K->norm_back_sums(&o->norm, room->dgamma, room->dbeta, scale, o->i0, o->i1);
}

/* The update of gamma or beta, n of them from w on. The moments are as far behind as those of b. */
static void move(const fnn_worker *me, const fnn_operation_of_step *o, void *parameter, const void *sums) {
  const fnn_kernels *K = me->job->net->K;
  const fnn_layer_state *y = &me->job->net->layer[o->layer];
  char *w = fnn_at(K, parameter, o->i0);
  K->update(me->plan->for_b, w, w + ((char *)y->moment_b[0] - (char *)y->b),
            w + ((char *)y->moment_b[1] - (char *)y->b), fnn_at(K, sums, o->i0), o->i1 - o->i0);
}

static void give(const fnn_worker *me, const fnn_operation_of_step *o, int parameter, const void *sums) {
  const fnn_kernels *K = me->job->net->K;
  const fnn_layer_state *y = &me->job->net->layer[o->layer];
  const fnn_matrix *all = &me->job->gradients[y->before + parameter];
  const fnn_matrix out = {fnn_at(K, all->data, o->i0 * all->row_step), all->row_step, 0, all->dtype};
  const ptrdiff_t n = fnn_min(o->i1, y->n_out) - o->i0;
  if (n > 0) K->scatter(&out, 0, fnn_at(K, sums, o->i0), 0, 1, n);
}

static void move_running(const fnn_worker *me, const fnn_operation_of_step *o) {
  const fnn_kernels *K = me->job->net->K;
  const fnn_layer_state *y = &me->job->net->layer[o->layer];
  if (o->i0 < o->i1)
    K->move_running(fnn_at(K, y->mean, o->i0), fnn_at(K, y->var, o->i0), fnn_at(K, y->rstd, o->i0),
                    fnn_at(K, o->norm.mean, o->i0), fnn_at(K, o->norm.var, o->i0), me->m, o->i1 - o->i0);
}

void fnn_run_norm(fnn_worker *me, const fnn_operation_of_step *o) {
  const fnn_net *net = me->job->net;
  const fnn_layer_state *y = &net->layer[o->layer];
  const fnn_norm_room *room = &me->job->work->norm[o->layer];
  const fnn_norm *p = &o->norm;
  switch ((int)o->what) {
  case FNN_NORM_BLOCKS: net->K->norm_blocks(p, o->i0, o->i1, o->p0, o->p1); break;
  case FNN_NORM_SUMS: net->K->norm_statistics(p, o->p0, o->p1); break;
  case FNN_NORM: normalise(net, o->layer, p, o->i0, o->i1, o->p0, o->p1); break;
  case FNN_BACK_BLOCKS: net->K->norm_back_blocks(p, o->i0, o->i1); break;
  case FNN_BACK_SUMS:
    net->K->norm_back_sums(p, p->sums, fnn_at(net->K, p->sums, p->padded), 1 / (double)p->m, 0, p->padded);
    break;
  case FNN_NORM_BACK: go_back(me, o); break;
  case FNN_SUM_NORM: sum(me, o); break;
  case FNN_MOVE_NORM:
    move(me, o, y->gamma, room->dgamma);
    move(me, o, y->beta, room->dbeta);
    break;
  case FNN_GIVE_NORM:
    give(me, o, FNN_GAMMA, room->dgamma);
    give(me, o, FNN_BETA, room->dbeta);
    break;
  case FNN_MOVE_RUNNING: move_running(me, o); break;
  default: break;
  }
}

/* A sum is at most as many blocks times the largest sum of a block; the unbiased variance of two samples or more at
   most twice the biased one. rstd is at most 1 / sqrt(eps). */
void fnn_measure_norms(fnn_worker *me) {
  const fnn_kernels *K = me->job->net->K;
  fnn_report *mine = &me->job->work->reports[me->thread];
  double sum = 0, statistic = 0;
  for (const fnn_operation_of_step *o = me->plan->operations; o->what != FNN_END; o++) {
    const fnn_norm *p = &o->norm;
    if (o->what == FNN_NORM_BACK && o->i0 < o->i1) {
      const ptrdiff_t from = o->i0 / p->block, to = (o->i1 + p->block - 1) / p->block;
      const double largest = K->magnitude(fnn_at(K, p->back, 2 * from * p->padded), 0, 1, 2 * (to - from) * p->padded);
      sum = fnn_larger(sum, largest * (double)((p->m + p->block - 1) / p->block));
    }
    if (o->what == FNN_MOVE_RUNNING && o->i0 < o->i1) {
      statistic = fnn_larger(fnn_larger(statistic, 320), K->magnitude(fnn_at(K, p->mean, o->i0), 0, 1, o->i1 - o->i0));
      statistic = fnn_larger(statistic, 2 * K->magnitude(fnn_at(K, p->var, o->i0), 0, 1, o->i1 - o->i0));
    }
  }
  mine->largest_sum = sum;
  mine->largest_statistic = statistic;
}
