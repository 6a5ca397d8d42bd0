/* Runs the plan of one training step. */
#include "network_step.h"

#include <float.h>
#include <string.h>

#include "optimizers.h"
#include "random.h"

#define LOSS_SUMS 8
/* If the distance of samples is a multiple of so many bytes, they share few sets of the caches: a batch is copied. */
#define BAD_STRIDE 2048

/* --- what a plan is for --- */

static enum fnn_reading how_to_read(const fnn_net *net, const fnn_matrix *X) {
  if (!X) return FNN_COPIED; /* nothing is read */
  if (X->dtype == FNN_SPARSE) return net->of_sparse.of ? FNN_BY_STANDARDISED_LISTS : FNN_BY_LISTS;
  return fnn_is_readable(net, X) && X->column_step * net->K->size % BAD_STRIDE ? FNN_IN_PLACE : FNN_COPIED;
}

static void plan_step(fnn_worker *me) {
  const fnn_train_job *job = me->job;
  const fnn_net *net = job->net;
  const enum fnn_reading reading = how_to_read(net, job->X);
  const fnn_plan_key key = {
      .m = me->m,
      .freezes = net->freezes,
      .x_step = reading == FNN_COPIED ? fnn_ld(net->K, net->layer[0].n_in) : job->X->column_step,
      .threads = me->threads,
      .thread = me->thread,
      .reading = reading,
      .has_codes = job->targets.codes != NULL,
      .has_weights = job->targets.weights != NULL,
      .is_cautious = job->fit && job->fit->cautious,
      .trains = job->fit != NULL,
      .in_training = job->in_training,
      /* The forward part of a step does not know it. */
      .is_plain = job->source == FNN_TARGETS && job->fit && job->fit->plain,
      .stores = job->fit && fnn_stores(job->fit, &job->optimizer, job->source == FNN_GIVEN_GRADIENTS, me->diagnoses),
      .clips = job->fit && job->optimizer.clip_norm > 0,
      .averages = job->fit && net->average_share > 0,
      .diagnoses = me->diagnoses,
      .slots = net->slots,
      .source = (int)job->source,
      .is_forward = job->part == FNN_FORWARD_PART,
      .first_W = job->first_W,
      .zeros = net->of_sparse.zeros,
      .parameters = net->parameters,
      .block = job->work->block};
  if (!memcmp(&me->plan->key, &key, sizeof key)) return;
  fnn_plan *plan = me->other_plan; /* the one that was used longer ago */
  me->other_plan = me->plan, me->plan = plan;
  if (memcmp(&plan->key, &key, sizeof key)) fnn_compile_step(plan, job, &key);
}

/* Points the plan to the samples of this batch, if X is not copied. */
static void point_to_batch(fnn_worker *me) {
  const fnn_kernels *K = me->job->net->K;
  const fnn_matrix *X = me->job->X;
  const enum fnn_reading reading = (enum fnn_reading)me->plan->key.reading;
  if (reading == FNN_COPIED) return; /* perhaps there is no X */
  const int is_sparse = fnn_reads_lists(reading);
  const void *A = is_sparse ? (const void *)&me->plan->batch : X->data;
  if (is_sparse) {
    me->plan->batch = fnn_sparse_input_of(me->job->net, X);
    if (!me->order) me->plan->batch.lists.starts += me->first;
  } else if (!me->order) {
    A = fnn_at(K, X->data, me->first * X->column_step);
  }
  for (int i = 0; i < 2; i++) {
    me->plan->first_products[i]->A = A;
    me->plan->first_products[i]->order = me->order ? me->order + me->first : NULL;
  }
}

/* --- the operations, each for this thread's part --- */

static void read_batch(fnn_worker *me) {
  const fnn_train_job *job = me->job;
  const fnn_kernels *K = job->net->K;
  const fnn_workspace *w = job->work;
  const fnn_targets *targets = &job->targets;
  const uint32_t *order = me->order;
  const ptrdiff_t rows = me->to - me->from, at = me->first + me->from;
  const ptrdiff_t n_in = job->net->layer[0].n_in, n_out = fnn_last(job->net)->n_out, ld = fnn_ld(K, n_out);
  if (me->plan->key.reading == FNN_COPIED)
    fnn_read(K, fnn_at(K, w->X, me->from * fnn_ld(K, n_in)), fnn_ld(K, n_in), job->X, order, at, rows, n_in,
             &job->net->of_X);
  if (job->source != FNN_TARGETS) return;
  const ptrdiff_t n_y = fnn_target_rows(&job->net->loss, n_out);
  if (!targets->codes)
    fnn_read(K, fnn_at(K, w->Y, me->from * ld), ld, &targets->Y, order, at, rows, n_y, &job->net->of_Y);
  for (ptrdiff_t i = me->from; i < me->to; i++) {
    const ptrdiff_t j = order ? (ptrdiff_t)order[me->first + i] : me->first + i;
    if (targets->codes) w->codes[i] = targets->codes[j];
    if (targets->weights) w->weights[i] = targets->weights[j];
  }
}

static void go_through(const fnn_worker *me, int l) {
  const fnn_kernels *K = me->job->net->K;
  const fnn_layer_state *y = &me->job->net->layer[l];
  const ptrdiff_t ld = fnn_ld(K, y->n_out);
  void *A = fnn_at(K, me->job->work->A[l], me->from * ld);
  K->activation(A, ld, A, ld, &y->activation, me->to - me->from, y->n_out);
}

static void drop(const fnn_worker *me, const fnn_operation_of_step *o) {
  const fnn_train_job *job = me->job;
  const fnn_layer_state *y = &job->net->layer[o->layer];
  const uint32_t key[2] = {(uint32_t)job->mask_seed, (uint32_t)(job->mask_seed >> 32)};
  const uint32_t c2_and_c3[2] = {(uint32_t)me->updates,
                                 FNN_DROPOUT | (uint32_t)o->layer << 8 | (uint32_t)(me->updates >> 32) << 20};
  if (o->what == FNN_DROP && fnn_place_of(&y->activation) == FNN_WHOLE_ROWS &&
      o->i0 < o->i1) /* A, for its derivative */
    memcpy(fnn_at(job->net->K, job->work->S[o->layer], o->i0 * o->drop.row_step),
           fnn_at(job->net->K, o->drop.A, o->i0 * o->drop.row_step),
           (size_t)((o->i1 - o->i0) * o->drop.row_step * job->net->K->size));
  if (me->plan->key.diagnoses && o->what == FNN_DROP) fnn_note_loud(me, o);
  job->net->K->drop(&o->drop, c2_and_c3, key, o->i0, o->i1, o->p0, o->p1);
}

static void go_back_whole(const fnn_worker *me, int l) {
  const fnn_kernels *K = me->job->net->K;
  const fnn_layer_state *y = &me->job->net->layer[l];
  const ptrdiff_t ld = fnn_ld(K, y->n_out);
  void *dZ = fnn_at(K, me->job->work->dZ[l], me->from * ld);
  const int kept = me->plan->key.in_training && y->dropped; /* before the dropout */
  const void *A = fnn_at(K, kept ? me->job->work->S[l] : me->job->work->A[l], me->from * ld);
  K->derivative(dZ, ld, dZ, ld, A, ld, &y->activation, me->to - me->from, y->n_out);
}

/* A = g(Z) of the last layer, in its place or, if g' will need Z, in Y; and out to a caller who wants to see it. */
static void go_out(const fnn_worker *me, int l) {
  const fnn_train_job *job = me->job;
  const fnn_kernels *K = job->net->K;
  const fnn_layer_state *y = &job->net->layer[l];
  const ptrdiff_t ld = fnn_ld(K, y->n_out), rows = me->to - me->from;
  const int from_z = fnn_slope_of(&y->activation) == FNN_FROM_Z;
  void *Z = fnn_at(K, job->work->A[l], me->from * ld), *A = from_z ? fnn_at(K, job->work->Y, me->from * ld) : Z;
  if (job->part != FNN_FORWARD_PART && from_z) return;
  K->activation(A, ld, Z, ld, &y->activation, rows, y->n_out);
  if (job->part == FNN_FORWARD_PART) K->scatter(job->A, me->from, A, ld, rows, y->n_out);
}

/* dZ = dA * g'(Z) of the last layer. */
static void take_dA(const fnn_worker *me, int l) {
  const fnn_train_job *job = me->job;
  const fnn_kernels *K = job->net->K;
  const fnn_layer_state *y = &job->net->layer[l];
  const ptrdiff_t n = y->n_out, ld = fnn_ld(K, n);
  void *dA = fnn_at(K, job->work->Y, me->from * ld), *dZ = fnn_at(K, job->work->A[l], me->from * ld);
  K->gather(dA, ld, job->dA, NULL, me->from, me->to - me->from, n);
  K->derivative(dZ, ld, dA, ld, dZ, ld, &y->activation, me->to - me->from, n);
  const size_t rest = (size_t)((fnn_padded(K, n) - n) * K->size); /* g' of padding may be NaN */
  for (ptrdiff_t i = 0; rest && y->activation.kind != FNN_IDENTITY && i < me->to - me->from; i++)
    memset(fnn_at(K, dZ, i * ld + n), 0, rest);
}

/* Begins this thread's report of the caller's gradients, with those that are columns of numbers: whole layers. */
static void take_gradients(const fnn_worker *me) {
  const fnn_train_job *job = me->job;
  const fnn_kernels *K = job->net->K;
  const fnn_workspace *w = job->work;
  double largest = 0;
  for (int l = me->thread; l < job->net->layers; l += me->threads) {
    const fnn_layer_state *y = &job->net->layer[l];
    const fnn_matrix *given = &job->gradients[y->before];
    void *const to[] = {NULL, w->db[l], y->norm ? w->norm[l].dgamma : NULL, y->norm ? w->norm[l].dbeta : NULL};
    for (int i = FNN_B; i < fnn_net_parameters(job->net, l) && !y->frozen; i++) {
      K->gather(to[i], 0, &given[i], NULL, 0, 1, y->n_out);
      largest = fnn_larger(largest, K->magnitude(to[i], 0, 1, y->n_out));
    }
  }
  w->reports[me->thread] = (fnn_report){.largest_A = 1, .largest_dZ = largest};
}

/* The caller's dW of a layer, from row i and panel p on, as the weights that the update changes. */
static fnn_matrix given_from(const fnn_worker *me, int l, ptrdiff_t i, ptrdiff_t p) {
  const fnn_kernels *K = me->job->net->K;
  const fnn_layer_state *y = &me->job->net->layer[l];
  const fnn_matrix x = me->job->gradients[y->before + FNN_W];
  const ptrdiff_t row_step = y->turned ? x.row_step : x.column_step, step = y->turned ? x.column_step : x.row_step;
  return (fnn_matrix){fnn_at(K, x.data, i * row_step + p * K->nr * step), row_step, step, x.dtype};
}

/* The largest number of a matrix. */
static double magnitude(const fnn_kernels *K, const fnn_matrix *x, ptrdiff_t rows, ptrdiff_t columns) {
  double largest = 0;
  if (x->column_step == 1) return K->magnitude(x->data, x->row_step, rows, columns);
  if (x->row_step == 1) return K->magnitude(x->data, x->column_step, columns, rows);
  for (ptrdiff_t i = 0; i < rows; i++)
    largest = fnn_larger(largest, K->magnitude(fnn_at(K, x->data, i * x->row_step), x->column_step, columns, 1));
  return largest;
}

/* An update of numbers laid out as the weights that the update changes with this thread's part of the caller's dW,
   block by block; and of the copy of the weights, unless it is NULL. Blocks of the same rows follow each other: a line
   of memory holds a row of dW, or several. */
static void move_by_given(const fnn_worker *me, const fnn_operation_of_step *o, const fnn_update *u, void *W, void *m1,
                          void *m2, void *copy) {
  enum {
    BYTES = 2048 /* of a block: whole vectors of rows */
  };
  _Alignas(FNN_LINE) char room[BYTES];
  const fnn_kernels *K = me->job->net->K;
  const fnn_layer_state *y = &me->job->net->layer[o->layer];
  const ptrdiff_t m = fnn_updated_rows(y), n = fnn_updated_columns(y), most = BYTES / (K->nr * K->size);
  for (ptrdiff_t i = o->i0, rows; i < o->i1; i += rows) {
    rows = fnn_min(most, o->i1 - i);
    for (ptrdiff_t p = o->p0; p < o->p1; p++) {
      const ptrdiff_t columns = fnn_min(n - p * K->nr, K->nr), width = fnn_round_up(columns, K->vl);
      const ptrdiff_t at = p * K->nr * m + i * width;
      const fnn_matrix given = given_from(me, o->layer, i, p);
      const int is_panel = given.column_step == 1 && given.row_step == width && columns == width;
      if (!is_panel) K->pack(room, &given, rows, columns);
      K->update(u, fnn_at(K, W, at), fnn_at(K, m1, at), fnn_at(K, m2, at), is_panel ? given.data : room, rows * width);
      if (copy) K->turn(copy, W, m, n, i, i + rows, p, p + 1);
    }
  }
}

/* This thread's part of the caller's dW: its largest number for the bounds; stored if that is wanted. */
static void take_dW(const fnn_worker *me, const fnn_operation_of_step *o) {
  const fnn_kernels *K = me->job->net->K;
  const fnn_matrix given = given_from(me, o->layer, o->i0, o->p0);
  const ptrdiff_t n = fnn_updated_columns(&me->job->net->layer[o->layer]);
  double *largest = &me->job->work->reports[me->thread].largest_dZ;
  const ptrdiff_t columns = fnn_min(o->p1 * K->nr, n) - o->p0 * K->nr;
  if (o->i0 >= o->i1 || columns <= 0) return;
  *largest = fnn_larger(*largest, magnitude(K, &given, o->i1 - o->i0, columns));
  void *dW = me->job->work->dW ? me->job->work->dW[o->layer] : NULL;
  if (me->plan->key.stores) move_by_given(me, o, &me->plan->store, dW, dW, dW, NULL);
}

static void move_given(const fnn_worker *me, const fnn_operation_of_step *o) {
  const fnn_layer_state *y = &me->job->net->layer[o->layer];
  move_by_given(me, o, &me->plan->update, fnn_updated_weights(y), y->moment[0], y->moment[1], y->turned ? y->WT : y->W);
}

static void copy_first_W(const fnn_worker *me, const fnn_operation_of_step *o) {
  const fnn_layer_state *y = &me->job->net->layer[0];
  me->job->net->K->turn(me->job->first_W, y->WT, y->n_in, y->n_out, o->i0, o->i1, o->p0, o->p1);
}

static void go_back_to_X(const fnn_worker *me, fnn_operation_of_step *o) {
  fnn_backward *p = &o->backward;
  p->dZ = me->job->dX_rows, p->A = p->dZ, p->row_step = me->job->dX_step;
  me->job->net->K->backward(p, o->i0, o->i1, o->p0, o->p1);
}

static void give_dX(const fnn_worker *me, const fnn_operation_of_step *o) {
  const fnn_train_job *job = me->job;
  const fnn_kernels *K = job->net->K;
  fnn_matrix dX = *job->dX;
  dX.data = fnn_at(K, dX.data, o->p0 * dX.row_step);
  if (job->dX_rows != job->dX->data)
    K->scatter(&dX, o->i0, fnn_at(K, job->dX_rows, o->p0), job->dX_step, o->i1 - o->i0, o->p1 - o->p0);
}

static void give_dW(const fnn_worker *me, fnn_operation_of_step *o) {
  const fnn_layer_state *y = &me->job->net->layer[o->layer];
  const fnn_matrix *dW = &me->job->gradients[y->before + FNN_W];
  fnn_dense *p = &o->gradient;
  p->C = dW->data, p->scale = me->plan->update.scale;
  p->row_step = y->turned ? dW->row_step : dW->column_step;
  p->column_step = y->turned ? dW->column_step : dW->row_step;
  me->job->net->K->dense_columns(p, o->i0, o->i1, o->p0, o->p1);
}

/* The sum of the losses of a batch, in a fixed order: sample i belongs to partial sum i % LOSS_SUMS. */
static double sum_of_losses(const double *losses, ptrdiff_t m) {
  double sums[LOSS_SUMS] = {0}, total = 0;
  ptrdiff_t i = 0;
  for (; i + LOSS_SUMS <= m; i += LOSS_SUMS)
    for (int j = 0; j < LOSS_SUMS; j++) sums[j] += losses[i + j];
  for (; i < m; i++) sums[i % LOSS_SUMS] += losses[i];
  for (int j = 0; j < LOSS_SUMS; j++) total += sums[j];
  return total;
}

/* Adds the loss of this batch to the totals. Only thread 0 calls it. */
static void note_loss(const fnn_worker *me) {
  fnn_train_job *job = me->job;
  job->total = me->loss;
  if (!job->fit) return;
  job->fit->loss_sum += me->loss;
  job->fit->weight_sum += me->weight;
  if (job->trained->first_loss != job->trained->first_loss) job->trained->first_loss = me->loss / me->weight;
}

/* The factor that makes a mean of a sum over the samples: 1 / weight, but never inf. With a weight that small the sum
   may be 0 in the network's dtype, and 0 times inf would be NaN. */
static double scale_of(const fnn_worker *me) {
  const double most = me->job->net->K->size == 4 ? FLT_MAX : DBL_MAX;
  return 1.0 / me->weight < most ? 1.0 / me->weight : most;
}

/* The sums of the squares of all W. Each thread makes a part of them, as it makes a part of the updates: these numbers
   are in its cache. */
static void square_weights(const fnn_worker *me) {
  const fnn_net *net = me->job->net;
  double *squares = me->job->work->of_weights;
  for (int l = 0; l < net->layers; l++) {
    const fnn_layer_state *y = &net->layer[l];
    const ptrdiff_t n = fnn_updated_rows(y) * fnn_updated_padded(net->K, y); /* the padding is 0 */
    ptrdiff_t from, to;
    fnn_share(n, FNN_SQUARES, me->threads, me->thread, &from, &to);
    const void *W = fnn_at(net->K, fnn_updated_weights(y), from);
    if (from < to) net->K->squares(FNN_AS_THEY_ARE, squares + from / FNN_SQUARES, W, to - from);
    squares += fnn_squares(n);
  }
}

/* What the squares of all W add to the loss, in a fixed order. */
static double penalty_of(const fnn_train_job *job) {
  double total = 0;
  for (ptrdiff_t i = 0; i < job->work->of_weights_count; i++) total += job->work->of_weights[i];
  return job->fit->penalty / 2 * total;
}

static enum fnn_step_result decide(fnn_worker *me) {
  const fnn_train_job *job = me->job;
  me->loss = job->source == FNN_TARGETS ? sum_of_losses(job->work->losses, me->m) : 0;
  if (!job->fit) {
    me->plan->update = (fnn_update){.scale = scale_of(me)};
    return FNN_STEP_DONE;
  }
  const double factor = fnn_loss_factor(job->fit);
  me->loss *= job->fit->reported_factor > 0 ? job->fit->reported_factor : factor;
  if (job->fit->penalty > 0) me->loss += penalty_of(job);
  if (me->loss - me->loss != 0) return FNN_STEP_FAILED; /* a loss, or their sum, is inf or NaN */
  const fnn_optimizer *o = &job->optimizer;
  fnn_optimizer with_penalty;
  if (job->fit->penalty > 0) {
    with_penalty = *o, o = &with_penalty;
    with_penalty.weight_decay = job->fit->penalty / me->weight, with_penalty.spares_b = 1;
  }
  fnn_set_update(&me->plan->update, job->net->K, o, me->lr, me->steps + 1, factor * scale_of(me));
  if (job->fit->eps_with_v) me->plan->update.eps *= me->plan->update.root;
  me->plan->for_b = &me->plan->update;
  if (o->spares_b || o->l1 > 0) {
    me->plan->update_of_b = fnn_update_of_b(&me->plan->update, o);
    me->plan->for_b = &me->plan->update_of_b;
  }
  if (job->fit->cautious && !fnn_is_safe(me, &me->plan->update)) return FNN_STEP_UNSAFE;
  me->steps++;
  me->updates++;
  return FNN_STEP_DONE;
}

static void sum_b(fnn_worker *me, const fnn_operation_of_step *o) {
  const fnn_train_job *job = me->job;
  const fnn_kernels *K = job->net->K;
  const fnn_workspace *w = job->work;
  void *room = w->sums_bytes ? (char *)w->sums + me->thread * w->sums_bytes : NULL;
  K->rowsum(fnn_at(K, w->db[o->layer], o->i0), fnn_at(K, w->dZ[o->layer], o->i0),
            fnn_ld(K, job->net->layer[o->layer].n_out), me->m, o->i1 - o->i0, job->fit ? 1 : me->plan->update.scale,
            room);
}

static void move_b(fnn_worker *me, const fnn_operation_of_step *o) {
  const fnn_kernels *K = me->job->net->K;
  const fnn_layer_state *y = &me->job->net->layer[o->layer];
  K->update(me->plan->for_b, fnn_at(K, y->b, o->i0), fnn_at(K, y->moment_b[0], o->i0), fnn_at(K, y->moment_b[1], o->i0),
            fnn_at(K, me->job->work->db[o->layer], o->i0), o->i1 - o->i0);
}

/* PyTorch's clip_grad_norm_. */
static void clip(fnn_worker *me) {
  fnn_plan *plan = me->plan;
  const double most = me->job->optimizer.clip_norm, *squares = me->job->work->squares;
  double sum = 0;
  for (ptrdiff_t i = 0; i < plan->squares; i++) sum += squares[i];
  const double factor = most / (sqrt(sum) + 1e-6);
  if (factor >= 1) return;
  fnn_shrink(&plan->update, factor);
  if (plan->for_b != &plan->update) fnn_shrink(&plan->update_of_b, factor);
}

static void square(const fnn_worker *me, const fnn_operation_of_step *o, const void *gradients) {
  const fnn_kernels *K = me->job->net->K;
  if (o->i0 < o->i1)
    K->squares(&me->plan->update, me->job->work->squares + o->p0, fnn_at(K, gradients, o->i0), o->i1 - o->i0);
}

static void move_average(const fnn_worker *me, const fnn_operation_of_step *o) {
  const fnn_net *net = me->job->net;
  if (o->i0 < o->i1)
    net->K->average(fnn_at(net->K, (char *)net->parameters + fnn_average_at(net), o->i0),
                    fnn_at(net->K, net->parameters, o->i0), net->average_share, o->i1 - o->i0);
}

static void clear_b(fnn_worker *me, const fnn_operation_of_step *o) {
  const fnn_kernels *K = me->job->net->K;
  memset(fnn_at(K, me->job->work->db[o->layer], o->i0), 0, (size_t)((o->i1 - o->i0) * K->size));
}

static void give_db(fnn_worker *me, const fnn_operation_of_step *o) {
  const fnn_kernels *K = me->job->net->K;
  const fnn_matrix *all = &me->job->gradients[me->job->net->layer[o->layer].before + FNN_B];
  const fnn_matrix out = {fnn_at(K, all->data, o->i0 * all->row_step), all->row_step, 0, all->dtype};
  const ptrdiff_t n = fnn_min(o->i1, me->job->net->layer[o->layer].n_out) - o->i0;
  if (n > 0) K->scatter(&out, 0, fnn_at(K, me->job->work->db[o->layer], o->i0), 0, 1, n);
}

static void move_W(fnn_worker *me, const fnn_operation_of_step *o) {
  const fnn_kernels *K = me->job->net->K;
  const fnn_layer_state *y = &me->job->net->layer[o->layer];
  if (me->plan->key.diagnoses)
    fnn_move_and_note(me, &me->plan->update, o, fnn_updated_weights(y), y->moment[0], y->moment[1],
                      me->job->work->dW[o->layer]);
  else if (o->i0 < o->i1)
    K->update(&me->plan->update, fnn_at(K, fnn_updated_weights(y), o->i0), fnn_at(K, y->moment[0], o->i0),
              fnn_at(K, y->moment[1], o->i0), fnn_at(K, me->job->work->dW[o->layer], o->i0), o->i1 - o->i0);
}

static void copy_W(fnn_worker *me, const fnn_operation_of_step *o) {
  const fnn_layer_state *y = &me->job->net->layer[o->layer];
  me->job->net->K->turn(y->turned ? y->WT : y->W, fnn_updated_weights(y), fnn_updated_rows(y), fnn_updated_columns(y),
                        o->i0, o->i1, o->p0, o->p1);
}

/* --- the step --- */

static double weight_of(const fnn_train_job *job, const uint32_t *order, ptrdiff_t first, ptrdiff_t m) {
  const fnn_targets *targets = &job->targets;
  double weight = 0;
  if (job->source != FNN_TARGETS) return job->weight;
  if (!targets->weights) return (double)m;
  for (ptrdiff_t i = 0; i < m; i++) weight += targets->weights[order ? (ptrdiff_t)order[first + i] : first + i];
  return weight;
}

/* In each of its two places by itself: a call for each operation makes steps of small networks 1% longer. */
FNN_INLINE void run(fnn_worker *me, fnn_operation_of_step *o) {
  const fnn_kernels *K = me->job->net->K;
  switch (o->what) {
  case FNN_READ_BATCH: read_batch(me); break;
  case FNN_GO_FORWARD: K->forward(&o->forward, o->i0, o->i1, o->p0, o->p1); break;
  case FNN_GO_SPARSE: K->sparse_forward(&o->forward, o->i0, o->i1, o->p0, o->p1); break;
  case FNN_GO_THROUGH: go_through(me, o->layer); break;
  case FNN_DROP:
  case FNN_DROP_BACK: drop(me, o); break;
  case FNN_TAKE_LOSS:
    o->head.levels = me->job->targets.levels; /* of this call; the plan may be of an earlier one */
    K->head(&o->head, o->i0, o->i1);
    break;
  case FNN_GO_OUT: go_out(me, o->layer); break;
  case FNN_TAKE_DA: take_dA(me, o->layer); break;
  case FNN_TAKE_GRADIENTS: take_gradients(me); break;
  case FNN_TAKE_DW: take_dW(me, o); break;
  case FNN_MOVE_GIVEN: move_given(me, o); break;
  case FNN_GO_BACK: K->backward(&o->backward, o->i0, o->i1, o->p0, o->p1); break;
  case FNN_GO_BACK_WHOLE: go_back_whole(me, o->layer); break;
  case FNN_MEASURE: fnn_measure_rows(me); break;
  case FNN_SUM_B: sum_b(me, o); break;
  case FNN_SQUARE_B: square(me, o, me->job->work->db[o->layer]); break;
  case FNN_SQUARE_W: square(me, o, me->job->work->dW[o->layer]); break;
  case FNN_SQUARE_GAMMA: square(me, o, me->job->work->norm[o->layer].dgamma); break;
  case FNN_SQUARE_BETA: square(me, o, me->job->work->norm[o->layer].dbeta); break;
  case FNN_CLIP: clip(me); break;
  case FNN_DIAGNOSE: fnn_diagnose(me); break;
  case FNN_AVERAGE: move_average(me, o); break;
  case FNN_CLEAR_B: clear_b(me, o); break;
  case FNN_MOVE_B: move_b(me, o); break;
  case FNN_GIVE_DB: give_db(me, o); break;
  case FNN_NORM_BLOCKS:
  case FNN_NORM_SUMS:
  case FNN_NORM:
  case FNN_BACK_BLOCKS:
  case FNN_BACK_SUMS:
  case FNN_NORM_BACK:
  case FNN_SUM_NORM:
  case FNN_MOVE_NORM:
  case FNN_GIVE_NORM:
  case FNN_MOVE_RUNNING: fnn_run_norm(me, o); break;
  case FNN_UPDATE_W: K->update_weights(&o->weights, o->i0, o->i1, o->p0, o->p1); break;
  case FNN_MOVE_W: move_W(me, o); break;
  case FNN_COPY_W: copy_W(me, o); break;
  case FNN_GIVE_DW: give_dW(me, o); break;
  case FNN_UPDATE_SPARSE: fnn_update_sparse(me, o); break;
  case FNN_COPY_FIRST_W: copy_first_W(me, o); break;
  case FNN_GO_BACK_TO_X: go_back_to_X(me, o); break;
  case FNN_GIVE_DX: give_dX(me, o); break;
  case FNN_DECIDE:
  case FNN_END: break;
  }
}

/* Some rows at a time, all operations that belong together. */
static void run_together(fnn_worker *me, fnn_operation_of_step *o) {
  const ptrdiff_t i0 = o->i0, i1 = o->i1;
  const fnn_operation_of_step *end = o + o->together;
  for (ptrdiff_t i = i0, next; i < i1; i = next) {
    next = fnn_min(i + me->plan->rows_together, i1);
    for (fnn_operation_of_step *part = o; part < end; part++) {
      part->i0 = i, part->i1 = next;
      run(me, part);
    }
  }
  for (fnn_operation_of_step *part = o; part < end; part++) part->i0 = i0, part->i1 = i1;
}

static enum fnn_step_result run_plan(fnn_worker *me) {
  for (fnn_operation_of_step *o = me->plan->operations + me->plan->begins[me->job->part];; o++) {
    if (o->waits) fnn_barrier(me->member);
    if (o->what == FNN_END) return FNN_STEP_DONE;
    if (o->what == FNN_DECIDE) {
      const enum fnn_step_result result = decide(me);
      if (result != FNN_STEP_DONE) {
        fnn_barrier(me->member); /* what follows writes to memory that other threads may still read here */
        return result;
      }
      if (me->thread == 0) note_loss(me);
    } else if (o->together > 1) {
      run_together(me, o);
      o += o->together - 1;
    } else {
      run(me, o);
    }
  }
}

/* Batch statistics of the forward part, which thread 0 has in any team, for each thread of a team that goes on. */
static void take_statistics(const fnn_worker *me) {
  const fnn_workspace *w = me->job->work;
  char *rows = w->norm_rows;
  if (me->threads == 1 || !w->norm_bytes) return;
  if (me->thread) memcpy(rows + me->thread * w->norm_bytes, rows, (size_t)w->norm_bytes);
  fnn_barrier(me->member);
}

enum fnn_step_result fnn_step(fnn_worker *me, const uint32_t *order, ptrdiff_t first, ptrdiff_t m) {
  me->weight = weight_of(me->job, order, first, m);
  if (me->weight == 0) { /* a batch whose samples all have weight 0 is skipped */
    fnn_barrier(me->member);
    return FNN_STEP_DONE;
  }
  me->m = m, me->order = order, me->first = first;
  if (me->job->fit && me->job->fit->penalty > 0) {
    fnn_barrier(me->member); /* the last step's update is done; the next one is made after FNN_DECIDE */
    square_weights(me);
  }
  fnn_share_rows(me->job->net, m, me->threads, me->thread, &me->from, &me->to);
  plan_step(me);
  point_to_batch(me);
  if (me->job->part >= FNN_BACKWARD_PART) take_statistics(me);
  return run_plan(me);
}
