/* How many threads a network's work gets, and how that work is run. */
#include "network.h"

#define US_PER_THREAD 12 /* work that each thread of a prediction has at least: see the model */
#define US_PER_PHASE 6   /* and of a step, between two of its layers */

void fnn_run(const fnn_net *net, enum fnn_use use, uint64_t size, double work, int threads, fnn_task *task, void *job) {
  if (net->forced || threads == 1)
    fnn_parallel_forced(threads, task, job);
  else
    fnn_parallel(fnn_kind(fnn_kind(net->kind, use), size), work, threads, task, job);
}

void fnn_net_force_threads(fnn_net *net, int threads) { net->forced = threads < 0 ? 0 : threads; }

static int threads_for(const fnn_net *net, double threads, int limit) {
  if (net->forced > 0) threads = net->forced;
  /* A jump that is foreseen: what follows a number that is picked waits until that is computed. */
  if (__builtin_expect(threads < 2 || limit < 2, 1)) return 1;
  return threads < limit ? (int)threads : limit;
}

/* The model. What one thread needs in microseconds, about: fitted to 239 shapes of 4 us to 2 ms (depth 1 to 4, width 8
   to 512, batches of 8 to 1024) on one core of Zen 3 with AVX2; half of them are within 9%. `products` is 1 for
   forward, 3 with both gradients. A second thread began to pay within fit from 14 to 20 us on, in train_step, where
   the team has to gather, from 24 us with one layer to 60 us with four: so there is a least share for each layer and
   one more. Vectors of 64 bytes multiply in about half the time (Emerald Rapids), and the rest stays.
   benchmarks/threads.py checks the choice. */
static double microseconds(const fnn_net *net, ptrdiff_t m, int products) {
  const fnn_kernels *K = net->K;
  const double wide = K->size == 8 ? 2 : 1, term = K->vl * K->size == 64 ? 1.25e-5 : 2.3e-5;
  double us = 0.014 * (double)m; /* the loss */
  for (int l = 0; l < net->layers; l++) {
    const double n_in = (double)net->layer[l].n_in, n_out = (double)fnn_padded(K, net->layer[l].n_out);
    const int done = l || products == 1 ? products : 2; /* no dX */
    us += wide * (term * done * (double)m * n_in * n_out + 1.8e-4 * products * (double)m * n_out);
    if (products > 1) us += wide * 2e-4 * n_in * n_out; /* the update */
  }
  return us;
}

int fnn_net_forward_threads(const fnn_net *net, ptrdiff_t m, int limit) {
  return threads_for(net, microseconds(net, m, 1) / US_PER_THREAD, limit);
}

static double training_threads(const fnn_net *net, ptrdiff_t batch) {
  return microseconds(net, batch, 3) / (US_PER_PHASE * (net->layers + 1));
}

/* In a call of many batches a second thread is tried where it may just pay: what was measured decides then, in time. */
int fnn_net_fit_threads(const fnn_net *net, ptrdiff_t batch, int limit) {
  const double threads = training_threads(net, batch);
  return threads_for(net, threads < 2 && threads > 0.35 ? 2 : threads, limit);
}

int fnn_net_train_threads(const fnn_net *net, ptrdiff_t batch, int limit) {
  return threads_for(net, training_threads(net, batch), limit);
}
