/* How many threads the work of a network gets, by a model of its time; and fnn_run, which runs that work. */
#include "network.h"

#define US_PER_THREAD 12 /* microseconds of work that each thread of a prediction must have, by the model below */
#define US_PER_PHASE 6   /* the same for a training step: for each layer, and once more */

void fnn_run(const fnn_net *net, enum fnn_use use, uint64_t size, double work, int threads, fnn_task *task, void *job) {
  if (net->forced || threads == 1)
    fnn_parallel_forced(threads, task, job);
  else
    fnn_parallel(fnn_hash(fnn_hash(net->kind, use), size), work, threads, task, job);
}

void fnn_net_force_threads(fnn_net *net, int threads) { net->forced = threads < 0 ? 0 : threads; }

static int threads_for(const fnn_net *net, double threads, int limit) {
  if (net->forced > 0) threads = net->forced;
  /* A branch that the CPU predicts: without it, what follows would have to wait until `threads` is computed. */
  if (__builtin_expect(threads < 2 || limit < 2, 1)) return 1;
  return threads < limit ? (int)threads : limit;
}

/* The model: about how many microseconds one thread needs. It was fitted to 239 shapes of 4 us to 2 ms (depth 1 to 4,
   width 8 to 512, batches of 8 to 1024) on one core of Zen 3 with AVX2; for half of them the error is below 9%.
   `products` is 1 for forward, 3 with both gradients. In fit a second thread paid for steps longer than 14 to 20 us.
   In train_step, where the team must start each time, it paid above 24 us with one layer, and above 60 us with four: so
   each thread must have a least share for each layer, and one more. With vectors of 64 bytes (Emerald Rapids) products
   take about half the time, and the rest the same. benchmarks/threads.py checks the choice. `terms`: the numbers of X,
   m n_0 if it is dense. */
static double microseconds(const fnn_net *net, ptrdiff_t m, int products, double terms) {
  const fnn_kernels *K = net->K;
  const double wide = K->size == 8 ? 2 : 1, term = K->vl * K->size == 64 ? 1.25e-5 : 2.3e-5;
  double us = 0.014 * (double)m; /* the loss */
  for (int l = 0; l < net->layers; l++) {
    const double n_in = (double)net->layer[l].n_in, n_out = (double)fnn_padded(K, net->layer[l].n_out);
    const int done = l || products == 1 ? products : 2; /* no dX */
    const double inputs = l ? (double)m * n_in : terms;
    us += wide * (term * done * inputs * n_out + 1.8e-4 * products * (double)m * n_out);
    if (products > 1) us += wide * 2e-4 * n_in * n_out; /* the update */
  }
  return us;
}

static double all_terms(const fnn_net *net, ptrdiff_t m) { return (double)m * (double)net->layer[0].n_in; }

static double forward_threads(const fnn_net *net, ptrdiff_t m, double terms) {
  return microseconds(net, m, 1, terms) / US_PER_THREAD;
}

static double training_threads(const fnn_net *net, ptrdiff_t batch, double terms) {
  return microseconds(net, batch, 3, terms) / (US_PER_PHASE * (batch ? net->layers + 1 : 1));
}

static double fit_threads(double threads) { return threads < 2 && threads > 0.35 ? 2 : threads; }

int fnn_net_forward_threads(const fnn_net *net, ptrdiff_t m, int limit) {
  return threads_for(net, forward_threads(net, m, all_terms(net, m)), limit);
}

/* In a call of many batches a second thread is tried even if it is not certain to pay: the call measures it and decides
   then. */
int fnn_net_fit_threads(const fnn_net *net, ptrdiff_t batch, int limit) {
  return threads_for(net, fit_threads(training_threads(net, batch, all_terms(net, batch))), limit);
}

int fnn_net_train_threads(const fnn_net *net, ptrdiff_t batch, int limit) {
  return threads_for(net, training_threads(net, batch, all_terms(net, batch)), limit);
}

#define SPARSE_COST 8 /* a number of a sparse X takes about the time of so many of a dense one */

int fnn_sparse_threads(const fnn_net *net, enum fnn_use use, const fnn_matrix *X, ptrdiff_t m, int threads) {
  if (X->dtype != FNN_SPARSE || threads == 1) return threads;
  const double terms = SPARSE_COST * fnn_terms(fnn_sparse_of(X), m);
  if (use == FNN_PREDICTION || use == FNN_LOSSES_ONLY) return threads_for(net, forward_threads(net, m, terms), threads);
  const double wanted = training_threads(net, m, terms);
  return threads_for(net, use == FNN_MANY_STEPS ? fit_threads(wanted) : wanted, threads);
}
