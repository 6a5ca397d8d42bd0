/* Training (fnn_net_train runs step after step), and the gradients of one batch (fnn_net_gradients). */
#include <float.h>
#include <math.h>
#include <string.h>

#include "fpmode.h"
#include "network_step.h"
#include "optimizers.h"
#include "random.h"
#include "schedules.h"

static fnn_worker worker_of(fnn_train_job *job, fnn_member *member) {
  char *plans = job->work->plans + 2 * member->thread * job->work->plan_bytes;
  return (fnn_worker){.job = job,
                      .member = member,
                      .thread = member->thread,
                      .threads = member->size,
                      .plan = (fnn_plan *)plans,
                      .other_plan = (fnn_plan *)(plans + job->work->plan_bytes)};
}

/* How far training has come. Each thread has its own, and all of them count the same. */
typedef struct {
  ptrdiff_t position, batches, epochs;
  uint64_t epoch;
  int order_is_valid;
  double rate; /* the learning rate of the last step, if the caller wants to know it */
} progress;

/* Draws the order of this epoch, unless it is known already. */
static void draw_order(const fnn_worker *me, progress *at) {
  fnn_fit *fit = me->job->fit;
  if (!fit->shuffle || (at->order_is_valid && at->position)) return;
  if (me->thread == 0) {
    fnn_draw_order(me->job->net->K, fit->order, me->job->m, fit->seed, at->epoch);
    for (ptrdiff_t i = 0; fit->samples && i < me->job->m; i++) fit->order[i] = fit->samples[fit->order[i]];
  }
  at->order_is_valid = 1;
  fnn_unit_starts(me->member);
}

/* The learning rate of the next batch, if it changes. All threads compute the same. */
static double rate_of_batch(const fnn_worker *me, const progress *at) {
  const fnn_fit *fit = me->job->fit;
  const fnn_schedule *schedule = me->job->optimizer.schedule;
  const double samples = (double)(fit->whole ? fit->whole : me->job->m);
  if (fit->rates) return fit->rates[at->batches];
  if (schedule->per_step) return fnn_rate(schedule, (double)me->steps);
  return fnn_rate(schedule, fit->time + (double)at->epochs + (double)(fit->before + at->position) / samples);
}

static void end_epoch(const fnn_worker *me, progress *at) {
  fnn_fit *fit = me->job->fit;
  if (me->thread == 0) {
    fit->ended[2 * at->epochs] = fit->loss_sum;
    fit->ended[2 * at->epochs + 1] = fit->weight_sum;
    fit->loss_sum = fit->weight_sum = 0;
    if (fit->ended_rates) fit->ended_rates[at->epochs] = at->rate;
  }
  at->position = 0, at->epoch++, at->epochs++;
}

/* Whether the next batch, of so many rows, is the last one of this call. */
static int is_last(const fnn_worker *me, const progress *at, ptrdiff_t rows) {
  const fnn_fit *fit = me->job->fit;
  return at->batches + 1 == fit->max_batches ||
         (at->position + rows == me->job->m && at->epochs + 1 == fit->max_epochs);
}

/* Stores the network's bounds: those of a cautious training; else the largest numbers, which all threads measure now;
   or INFINITY if the caller wants no check. The wait in it is also for all to have read where to start, before thread 0
   changes that. */
static void note_bounds(const fnn_worker *me) {
  fnn_train_job *job = me->job;
  const fnn_fit *fit = job->fit;
  const int measures = !fit->cautious && !fit->unchecked;
  for (int i = 0; i <= FNN_SLOTS && measures; i++)
    job->work->reports[me->thread].largest[i] = fnn_largest_parameter(job->net, i, me->threads, me->thread);
  fnn_barrier(me->member);
  if (me->thread) return;
  for (int i = 0; i <= FNN_SLOTS; i++) {
    double *bound = &job->trained->bound[i];
    *bound = fit->cautious ? me->bound[i] : fit->unchecked ? INFINITY : 0;
    for (int t = 0; t < me->threads && measures; t++) *bound = fnn_larger(*bound, job->work->reports[t].largest[i]);
  }
}

/* What each thread runs: one step after the other. Only thread 0 writes to `fit`. */
static void train_task(void *arg, fnn_member *member) {
  fnn_train_job *job = arg;
  fnn_net *net = job->trained;
  fnn_fit *fit = job->fit;
  fnn_worker me = worker_of(job, member);
  progress at = {fit->position, job->batches, job->epochs, fit->epoch, fit->order_is_valid, fit->rate};
  const int lr_changes = fit->rates || job->optimizer.schedule;
  enum fnn_step_result result = FNN_STEP_DONE;
  int interrupted = 0;
  me.steps = net->steps, me.updates = net->updates, me.lr = job->optimizer.lr;
  memcpy(me.bound, net->bound, sizeof me.bound);
  const fnn_mode mode = fnn_flush_subnormals();
  while (at.batches < fit->max_batches && at.epochs < fit->max_epochs && !interrupted) {
    draw_order(&me, &at);
    const ptrdiff_t rows = fnn_min(fit->batch, job->m - at.position);
    me.m = 0, me.diagnoses = fit->diagnostics && is_last(&me, &at, rows);
    if (lr_changes) me.lr = rate_of_batch(&me, &at);
    const uint32_t *samples = fit->samples ? fit->samples + at.epochs * fit->samples_step : NULL;
    result = fnn_step(&me, fit->shuffle ? fit->order : samples, at.position, rows);
    if (result != FNN_STEP_DONE) break;
    if (me.m) at.rate = me.lr; /* the batch was not skipped */
    at.batches++;
    at.position += rows;
    if (at.position == job->m) end_epoch(&me, &at);
    /* The time of a batch that is short, was skipped, or was looked at, does not count (0). */
    interrupted = fnn_unit_done(member, rows == fit->batch && me.m == rows && !me.diagnoses ? (double)rows : 0);
  }
  note_bounds(&me);
  if (me.thread == 0) {
    fit->failed = result == FNN_STEP_FAILED;
    fit->unsafe = result == FNN_STEP_UNSAFE;
    fit->finite = fit->unchecked || fnn_is_bounded(net);
    fit->position = at.position;
    fit->epoch = at.epoch;
    fit->ended_count = at.epochs;
    fit->rate = at.rate;
    fit->order_is_valid = at.order_is_valid && at.position;
    job->interrupted = interrupted;
    job->batches = at.batches;
    job->epochs = at.epochs;
    net->steps = me.steps, net->updates = me.updates;
  }
  fnn_restore_mode(mode);
}

double fnn_net_first_loss(const fnn_net *net) { return net->first_loss; }

/* What the time of a batch depends on, besides the network. */
static uint64_t size_of(const fnn_train_job *job, ptrdiff_t batch) {
  const fnn_matrix *X = job->X;
  const int is_standardised = job->net->of_X.mean != NULL;
  const int layout = X ? X->dtype + 4 * (X->row_step == 1) + 8 * is_standardised : 0;
  const int data_kind = layout + 16 * (job->targets.codes != NULL) + 32 * (int)job->source;
  return fnn_hash(fnn_hash((uint64_t)batch, (uint64_t)job->optimizer.kind),
                  fnn_hash((uint64_t)data_kind, fnn_exponent((double)job->m)));
}

/* Trains as `job` says, whose other members this sets. */
static int run_training(fnn_net *net, fnn_train_job job, fnn_fit *given, int threads) {
  fnn_fit fit;
  const ptrdiff_t m = job.m;
  if (!FNN_TAKE(fit, given, ended_count)) return FNN_REFUSED;
  if (!fnn_is_size(m) || !fnn_is_size(fit.batch)) return FNN_NO_MEMORY;
  double sums[2];
  if (job.source != FNN_TARGETS) { /* a single step */
    fit.batch = m, fit.max_batches = fit.max_epochs = 1, fit.position = fit.shuffle = 0;
    fit.samples = NULL, fit.rates = NULL, fit.ended = sums, fit.ended_rates = NULL;
    if (job.source == FNN_GIVEN_GRADIENTS) fit.diagnostics = NULL; /* there is no batch */
  }
  if (fit.batch < 1 || fit.position < 0 || fit.position > m) return FNN_REFUSED;
  if (job.X && !fnn_is_input(job.X, fit.samples ? 0 : m)) return FNN_REFUSED;
  const int is_sparse = job.X && job.X->dtype == FNN_SPARSE;
  const ptrdiff_t batch = fnn_min(fit.batch, m);
  /* A call of a single step is another kind of work than a long call: it pays for the start of its team. */
  const int single = fit.max_batches == 1;
  const enum fnn_use use = single ? FNN_ONE_STEP : FNN_MANY_STEPS;
  threads = fnn_threads(threads);
  if (is_sparse) threads = fnn_sparse_threads(net, use, job.X, batch, threads);
  job.net = net, job.work = &net->work, job.trained = net, job.fit = &fit;
  job.in_training = 1, job.mask_seed = job.part == FNN_WHOLE_STEP ? fit.mask_seed : net->begun_seed;
  if (!FNN_TAKE(job.optimizer, fit.optimizer, eps)) return FNN_REFUSED;
  if (!fnn_is_optimizer(job.optimizer.kind) || fnn_slots_of(job.optimizer.kind) > net->slots) return FNN_REFUSED;
  if (job.optimizer.schedule) {
    if (!FNN_TAKE(job.schedule, job.optimizer.schedule, parameters) || !fnn_is_schedule(&job.schedule))
      return FNN_REFUSED;
    job.optimizer.schedule = &job.schedule;
  }
  if (fit.before < 0 || fit.whole < 0 || fit.samples_step < 0) return FNN_REFUSED;
  const double factors[] = {fit.penalty, fit.loss_factor, fit.reported_factor};
  for (int i = 0; i < 3; i++)
    if (!(factors[i] >= 0 && factors[i] <= DBL_MAX)) return FNN_REFUSED;
  if (job.part != FNN_WHOLE_STEP) /* the memory has what the first part left there */
    threads = threads < job.work->threads ? threads : job.work->threads;
  else if (fnn_reserve(net, job.work, batch, threads, fit.plain, job.X && !is_sparse))
    return FNN_NO_MEMORY;
  if (is_sparse && fnn_reserve_sparse(net, job.work, fnn_sparse_of(job.X), batch, fit.samples != NULL))
    return FNN_NO_MEMORY;
  const int stores = fnn_stores(&fit, &job.optimizer, job.source == FNN_GIVEN_GRADIENTS, fit.diagnostics != NULL);
  if (stores && fnn_reserve_gradients(net, job.work)) return FNN_NO_MEMORY;
  net->first_loss = NAN;
  const uint64_t size = threads > 1 ? size_of(&job, batch) : 0;
  const int known = net->bound[0] < INFINITY;
  if (fit.cautious && !known) fnn_measure_parameters(net);
  do fnn_run(net, use, size, single ? (double)batch : 0, threads, train_task, &job);
  while (job.interrupted);
  if (fit.unsafe && known) { /* perhaps only because the bounds grew with each step: measure them, and try again */
    fnn_measure_parameters(net);
    if (job.source == FNN_GIVEN_DA) job.part = FNN_UPDATE_PART;
    fnn_run(net, FNN_ONE_STEP, 0, 0, 1, train_task, &job);
  }
  if (job.source != FNN_TARGETS) {
    given->failed = fit.failed, given->unsafe = fit.unsafe, given->finite = fit.finite;
    if (given->size >= offsetof(fnn_fit, rate) + sizeof fit.rate) given->rate = fit.rate;
    return FNN_OK;
  }
  memcpy(given, &fit, given->size < sizeof fit ? given->size : sizeof fit);
  return FNN_OK;
}

int fnn_net_train(fnn_net *net, const fnn_matrix *X, const fnn_targets *targets, ptrdiff_t m, fnn_fit *fit,
                  int threads) {
  fnn_train_job job = {.m = m, .X = X};
  if (!FNN_TAKE(job.targets, targets, weights) || !fnn_are_targets(&job.targets, &net->loss)) return FNN_REFUSED;
  net->next_part = FNN_WHOLE_STEP;
  return run_training(net, job, fit, threads);
}

/* --- a step whose derivatives are the caller's --- */

/* A step that makes no update. */
static void part_task(void *arg, fnn_member *member) {
  fnn_train_job *job = arg;
  fnn_worker me = worker_of(job, member);
  me.updates = job->net->updates, me.diagnoses = job->notes;
  const fnn_mode mode = fnn_flush_subnormals();
  fnn_step(&me, NULL, 0, job->m);
  fnn_restore_mode(mode);
}

/* The forward part of a step, in `work`. */
static int run_forward_part(const fnn_net *net, fnn_workspace *work, const fnn_matrix *A, const fnn_matrix *X,
                            ptrdiff_t m, uint64_t mask_seed, int threads, int notes) {
  if (!fnn_is_size(m)) return FNN_NO_MEMORY;
  if (m < 1 || !fnn_is_input(X, m) || !fnn_is_own_dtype(net, A)) return FNN_REFUSED;
  fnn_train_job job = {.net = net,
                       .work = work,
                       .m = m,
                       .X = X,
                       .A = A,
                       .weight = 1,
                       .source = FNN_GIVEN_DA,
                       .part = FNN_FORWARD_PART,
                       .in_training = 1,
                       .notes = notes,
                       .mask_seed = mask_seed};
  const int is_sparse = X->dtype == FNN_SPARSE;
  threads = fnn_sparse_threads(net, FNN_FORWARD_OF_STEP, X, m, fnn_threads(threads));
  if (fnn_reserve(net, work, m, threads, 0, !is_sparse) || (notes && fnn_reserve_gradients(net, work)))
    return FNN_NO_MEMORY;
  if (notes) fnn_forget_loud(net, work);
  fnn_run(net, FNN_FORWARD_OF_STEP, fnn_kind_of_X(X, (double)m), (double)m, threads, part_task, &job);
  return FNN_OK;
}

int fnn_net_training_outputs(const fnn_net *net, const fnn_matrix *A, const fnn_matrix *X, ptrdiff_t m,
                             uint64_t mask_seed, int threads) {
  fnn_workspace work = {0};
  const int status = run_forward_part(net, &work, A, X, m, mask_seed, threads, 0);
  fnn_release_workspace(&work);
  return status;
}

int fnn_net_begin_step(fnn_net *net, const fnn_matrix *A, const fnn_matrix *X, ptrdiff_t m, uint64_t mask_seed,
                       int threads, int notes) {
  net->next_part = FNN_WHOLE_STEP;
  const int status = run_forward_part(net, &net->work, A, X, m, mask_seed, threads, notes);
  if (status == FNN_OK)
    net->next_part = FNN_BACKWARD_PART, net->begun = m, net->begun_with_lists = X->dtype == FNN_SPARSE,
    net->begun_seed = mask_seed;
  return status;
}

int fnn_net_end_step(fnn_net *net, const fnn_matrix *X, const fnn_matrix *dA, ptrdiff_t m, double weight, fnn_fit *fit,
                     int threads) {
  if (net->next_part == FNN_WHOLE_STEP || m != net->begun || !(weight > 0)) return FNN_REFUSED;
  if (!fnn_is_input(X, m) || !fnn_is_dtype(dA->dtype)) return FNN_REFUSED;
  if ((X->dtype == FNN_SPARSE) != net->begun_with_lists) return FNN_REFUSED; /* it may need memory for a copy */
  const fnn_train_job job = {
      .m = m, .X = X, .dA = dA, .weight = weight, .source = FNN_GIVEN_DA, .part = (enum fnn_part)net->next_part};
  const int status = run_training(net, job, fit, threads);
  if (status == FNN_OK) net->next_part = fit->unsafe ? FNN_UPDATE_PART : FNN_WHOLE_STEP;
  return status;
}

int fnn_net_update(fnn_net *net, const fnn_matrix *gradients, fnn_fit *fit, int threads) {
  for (int i = 0; i < 2 * (net->layers + net->norms); i++)
    if (!fnn_is_own_dtype(net, &gradients[i])) return FNN_REFUSED;
  const fnn_train_job job = {.m = 1, .weight = 1, .gradients = gradients, .source = FNN_GIVEN_GRADIENTS};
  net->next_part = FNN_WHOLE_STEP;
  return run_training(net, job, fit, threads);
}

/* --- gradients --- */

/* Whether there is no sample, or the weights of all are 0; a subnormal weight counts as 0. */
static int weigh_nothing(const fnn_targets *targets, ptrdiff_t m) {
  ptrdiff_t i = 0;
  while (targets->weights && i < m && !(targets->weights[i] >= DBL_MIN)) i++;
  return !m || (targets->weights && i == m);
}

static void fill_with_0(const fnn_matrix *x, ptrdiff_t n, ptrdiff_t m) {
  for (ptrdiff_t i = 0; i < n; i++)
    for (ptrdiff_t j = 0; j < m; j++)
      if (x->dtype == FNN_FLOAT64)
        ((double *)x->data)[i * x->row_step + j * x->column_step] = 0;
      else
        ((float *)x->data)[i * x->row_step + j * x->column_step] = 0;
}

static int run_gradients(fnn_train_job job, double *total, const fnn_targets *targets, int threads) {
  const fnn_net *net = job.net;
  const fnn_matrix *X = job.X, *gradients = job.gradients;
  const ptrdiff_t m = job.m;
  fnn_workspace work = {0};
  job.work = &work;
  if (!fnn_is_size(m)) return FNN_NO_MEMORY;
  if (!FNN_TAKE(job.targets, targets, weights) || !fnn_are_targets(&job.targets, &net->loss)) return FNN_REFUSED;
  if (!fnn_is_input(X, m)) return FNN_REFUSED;
  for (int i = 0; i < 2 * (net->layers + net->norms); i++)
    if (!fnn_is_own_dtype(net, &gradients[i])) return FNN_REFUSED;
  threads = fnn_sparse_threads(net, FNN_GRADIENTS, X, m, fnn_threads(threads));
  if (weigh_nothing(&job.targets, m)) {
    for (int l = 0; l < net->layers; l++) {
      const fnn_layer_state *y = &net->layer[l];
      fill_with_0(&gradients[y->before + FNN_W], y->n_out, y->n_in);
      for (int i = FNN_B; i < fnn_net_parameters(net, l); i++) fill_with_0(&gradients[y->before + i], y->n_out, 1);
    }
    *total = 0;
    return FNN_OK;
  }
  const int is_sparse = X->dtype == FNN_SPARSE;
  if (fnn_reserve(net, &work, m, threads, 0, !is_sparse)) return FNN_NO_MEMORY;
  if (is_sparse && fnn_reserve_sparse(net, &work, fnn_sparse_of(X), m, 0)) {
    fnn_release_workspace(&work);
    return FNN_NO_MEMORY;
  }
  fnn_run(net, FNN_GRADIENTS, fnn_kind_of_X(X, (double)m), (double)m, threads, part_task, &job);
  *total = job.total;
  fnn_release_workspace(&work);
  return FNN_OK;
}

int fnn_net_gradients(const fnn_net *net, double *total, const fnn_matrix *gradients, const fnn_matrix *X,
                      const fnn_targets *targets, ptrdiff_t m, int threads) {
  const fnn_train_job job = {.net = net, .m = m, .X = X, .gradients = gradients};
  return run_gradients(job, total, targets, threads);
}

int fnn_net_training_gradients(const fnn_net *net, double *total, const fnn_matrix *gradients, const fnn_matrix *X,
                               const fnn_targets *targets, ptrdiff_t m, uint64_t mask_seed, int threads) {
  const fnn_train_job job = {
      .net = net, .m = m, .X = X, .gradients = gradients, .in_training = 1, .mask_seed = mask_seed};
  return run_gradients(job, total, targets, threads);
}

static int run_backward(fnn_train_job job, fnn_workspace *work, int threads) {
  const fnn_net *net = job.net;
  const fnn_kernels *K = net->K;
  const fnn_layer_state *first = &net->layer[0];
  const int is_sparse = job.X->dtype == FNN_SPARSE;
  threads = fnn_sparse_threads(net, FNN_BACKWARD, job.X, job.m, threads);
  if (fnn_reserve(net, work, job.m, threads, 0, !is_sparse)) return FNN_NO_MEMORY;
  if (is_sparse && fnn_reserve_sparse(net, work, fnn_sparse_of(job.X), job.m, 0)) return FNN_NO_MEMORY;
  if (job.dX) {
    const ptrdiff_t W_bytes = fnn_lines(fnn_times(fnn_times(first->n_out, fnn_padded(K, first->n_in)), K->size));
    const ptrdiff_t dX_bytes = fnn_times(fnn_times(work->capacity, fnn_ld(K, first->n_in)), K->size);
    if (!work->of_dX) work->of_dX = fnn_alloc(fnn_plus(W_bytes, dX_bytes));
    if (!work->of_dX) return FNN_NO_MEMORY;
    job.first_W = work->of_dX;
    /* The product writes whole vectors. */
    const int in_place = job.dX->row_step == 1 && job.dX->column_step >= first->n_in && first->n_in % K->vl == 0;
    job.dX_rows = in_place ? job.dX->data : (char *)work->of_dX + W_bytes;
    job.dX_step = in_place ? job.dX->column_step : fnn_ld(K, first->n_in);
  }
  job.work = work;
  fnn_run(net, FNN_BACKWARD, fnn_kind_of_X(job.X, (double)job.m), (double)job.m, threads, part_task, &job);
  return FNN_OK;
}

int fnn_net_backward(const fnn_net *net, const fnn_matrix *gradients, const fnn_matrix *dX, const fnn_matrix *X,
                     const fnn_matrix *dA, ptrdiff_t m, double weight, int in_training, uint64_t mask_seed,
                     int threads) {
  if (!fnn_is_size(m)) return FNN_NO_MEMORY;
  if (m < 1 || !(weight > 0) || !fnn_is_input(X, m) || !fnn_is_dtype(dA->dtype)) return FNN_REFUSED;
  for (int i = 0; i < 2 * (net->layers + net->norms); i++)
    if (!fnn_is_own_dtype(net, &gradients[i])) return FNN_REFUSED;
  if (dX && !fnn_is_own_dtype(net, dX)) return FNN_REFUSED;
  const fnn_train_job job = {.net = net,
                             .m = m,
                             .X = X,
                             .gradients = gradients,
                             .dA = dA,
                             .weight = weight,
                             .dX = dX,
                             .source = FNN_GIVEN_DA,
                             .in_training = in_training,
                             .mask_seed = mask_seed};
  fnn_workspace *work = fnn_borrow_workspace(net);
  if (!work) return FNN_NO_MEMORY;
  const int status = run_backward(job, work, fnn_threads(threads));
  fnn_give_back_workspace(net, work);
  return status;
}
