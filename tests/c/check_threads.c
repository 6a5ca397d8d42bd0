/* Everything that threads share, for ThreadSanitizer: teams of several sizes train and predict with the same bits,
   alone and in calls from several threads at once. tests/sanitize.sh threads builds and runs it. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/fastnn.h"
#include "../../csrc/parallel.h"

enum {
  LAYERS = 3,
  SAMPLES = 150,
  CALLERS = 4,
  ROUNDS = 3,
  SHARED = 3 /* the kind of the network that all callers use */
};

typedef struct {
  ptrdiff_t sizes[LAYERS + 1];
  int dtype, optimizer;
  int norm[LAYERS];
} kind;
static const kind kinds[] = {
    {{20, 40, 30, 5}, FNN_FLOAT32, FNN_ADAM},
    {{3, 17, 70, 2}, FNN_FLOAT64, FNN_SGD},
    {{90, 129, 33, 10}, FNN_FLOAT32, FNN_MOMENTUM},
    {{90, 129, 33, 10}, FNN_FLOAT32, FNN_ADAM, {FNN_BATCH_NORM, FNN_LAYER_NORM}},
    {{20, 40, 129, 5}, FNN_FLOAT64, FNN_SGD, {FNN_LAYER_NORM, FNN_BATCH_NORM}},
};

static float X[90 * SAMPLES];
static int32_t codes[SAMPLES];

static double number(unsigned i) { return (double)(i * 2654435761u % 2001u) / 1000 - 1; }

static fnn_net *make(const kind *k) {
  const fnn_layer layers[LAYERS] = {{sizeof *layers, k->sizes[1], {FNN_RELU, {0}}, 0, k->norm[0]},
                                    {sizeof *layers, k->sizes[2], {FNN_TANH, {0}}, 0, k->norm[1]},
                                    {sizeof *layers, k->sizes[3], {FNN_SOFTMAX, {0}}}};
  const fnn_spec cross_entropy = {FNN_CROSS_ENTROPY, {0}};
  fnn_net *net = fnn_net_new(0, k->dtype, k->sizes[0], LAYERS, layers, &cross_entropy);
  if (!net || fnn_net_start_optimizer(net, k->optimizer == FNN_SGD ? 0 : k->optimizer == FNN_ADAM ? 2 : 1)) abort();
  for (int l = 0; l < LAYERS; l++) {
    const ptrdiff_t n_out = k->sizes[l + 1], n_in = k->sizes[l], total = n_out * (n_in + 1);
    double *w = malloc((size_t)total * sizeof *w);
    for (ptrdiff_t i = 0; i < total; i++) {
      const double value = number((unsigned)i + 7) / (double)n_in;
      if (k->dtype)
        w[i] = value;
      else
        ((float *)w)[i] = (float)value;
    }
    const fnn_matrix W = {w, n_in, 1, k->dtype};
    const fnn_matrix b = {(char *)w + n_out * n_in * (k->dtype ? 8 : 4), 1, 1, k->dtype};
    fnn_net_set(net, l, FNN_W, &W);
    fnn_net_set(net, l, FNN_B, &b);
    free(w);
  }
  return net;
}

static uint64_t checksum(const void *data, size_t size) {
  uint64_t sum = 14695981039346656037u;
  for (size_t i = 0; i < size; i++) sum = (sum ^ ((const unsigned char *)data)[i]) * 1099511628211u;
  return sum;
}

static uint64_t predicted(const fnn_net *net, const kind *k, int threads) {
  double out[10 * SAMPLES];
  memset(out, 0, sizeof out);
  const fnn_matrix A = {out, 1, k->sizes[LAYERS], k->dtype}, x = {X, 1, k->sizes[0], FNN_FLOAT32};
  if (fnn_net_predict(net, &A, &x, SAMPLES, threads)) abort();
  return checksum(out, sizeof out);
}

/* Its loss and gradients. */
static uint64_t graded(const fnn_net *net, const kind *k, int threads) {
  enum {
    MOST = 129 * 90
  };
  double *room = calloc(4 * LAYERS * MOST, sizeof *room), total;
  fnn_matrix gradients[4 * LAYERS];
  int count = 0;
  for (int l = 0; l < LAYERS; l++)
    for (int i = 0; i < fnn_net_parameters(net, l); i++, count++)
      gradients[count] = (fnn_matrix){room + count * MOST, i == FNN_W ? k->sizes[l] : 1, 1, k->dtype};
  int32_t own[SAMPLES];
  for (int j = 0; j < SAMPLES; j++) own[j] = codes[j] % (int32_t)k->sizes[LAYERS];
  const fnn_matrix x = {X, 1, k->sizes[0], FNN_FLOAT32};
  const fnn_targets targets = {.size = sizeof targets, .codes = own};
  if (fnn_net_gradients(net, &total, gradients, &x, &targets, SAMPLES, threads)) abort();
  uint64_t sum = checksum(room, 4 * LAYERS * MOST * sizeof *room) ^ checksum(&total, sizeof total);
  if (fnn_net_training_gradients(net, &total, gradients, &x, &targets, SAMPLES, 1, threads)) abort();
  sum = 3 * sum + (checksum(room, 4 * LAYERS * MOST * sizeof *room) ^ checksum(&total, sizeof total));
  free(room);
  return sum;
}

/* What a network is after some epochs of shuffled batches, by a forced number of threads or with 0 by its own; by the
   fused steps or by the plain ones. */
static uint64_t trained(const kind *k, int forced, int plain) {
  fnn_net *net = make(k);
  fnn_net_force_threads(net, forced);
  int32_t own[SAMPLES];
  for (int j = 0; j < SAMPLES; j++) own[j] = codes[j] % (int32_t)k->sizes[LAYERS];
  const fnn_matrix x = {X, 1, k->sizes[0], FNN_FLOAT32};
  const fnn_targets targets = {.size = sizeof targets, .codes = own};
  uint32_t order[SAMPLES];
  double ended[2 * 4], total;
  const fnn_optimizer optimizer = {sizeof optimizer, k->optimizer, 0.01, 0.001, 0.9, 0.9, 0.999, 1e-8};
  fnn_fit fit = {.size = sizeof fit,
                 .optimizer = &optimizer,
                 .batch = 16,
                 .shuffle = 1,
                 .seed = 3,
                 .max_batches = 1000,
                 .max_epochs = 4,
                 .plain = plain,
                 .order = order,
                 .ended = ended};
  if (fnn_net_train(net, &x, &targets, SAMPLES, &fit, forced ? forced : 3) || fit.failed) abort();
  if (fnn_net_loss(net, &total, &x, &targets, SAMPLES, forced ? forced : 3)) abort();
  const size_t size = fnn_net_bytes(net);
  void *state = malloc(size);
  fnn_net_snapshot(net, state);
  const uint64_t sum = checksum(state, size) ^ predicted(net, k, 2);
  free(state);
  fnn_net_free(net);
  return sum;
}

static const fnn_net *shared;
static uint64_t wanted[sizeof kinds / sizeof *kinds], wanted_shared, wanted_gradients;

static void *call(void *arg) {
  const kind *k = arg;
  for (int round = 0; round < ROUNDS; round++) {
    if (trained(k, 0, round & 1) != wanted[k - kinds]) return arg;
    if (predicted(shared, &kinds[SHARED], 2) != wanted_shared) return arg;
    if (graded(shared, &kinds[SHARED], 2) != wanted_gradients) return arg;
  }
  return NULL;
}

/* A team in parts, whose threads wait for one another and for nobody else; and whole again. */
enum {
  TEAM = 5,
  TURNS = 200
};
static int turns[TEAM], out_of_step, wrong_parts;

static void work_in_parts(void *arg, fnn_member *me) {
  (void)arg;
  for (int parts = 1; parts <= me->size + 1; parts++) {
    fnn_member mine;
    const int part = fnn_split(me, parts, &mine), all = parts < me->size ? parts : me->size;
    if (part < 0 || part >= all || mine.offset + mine.thread != me->thread || mine.size > me->size / all + 1)
      __atomic_fetch_add(&wrong_parts, 1, __ATOMIC_RELAXED);
    for (int turn = 0; turn < TURNS + 7 * part; turn++) { /* not all parts have as many turns */
      turns[me->thread] = turn;
      fnn_barrier(&mine);
      for (int t = mine.offset; t < mine.offset + mine.size; t++)
        if (turns[t] != turn) __atomic_fetch_add(&out_of_step, 1, __ATOMIC_RELAXED);
      fnn_barrier(&mine);
    }
    fnn_barrier(me);
    turns[me->thread] = -1;
    fnn_barrier(me);
    for (int t = 0; t < me->size; t++)
      if (turns[t] != -1) __atomic_fetch_add(&out_of_step, 1, __ATOMIC_RELAXED);
    fnn_barrier(me);
  }
}

int main(void) {
  const int kind_total = (int)(sizeof kinds / sizeof *kinds);
  int failed = 0;
  for (int i = 0; i < 90 * SAMPLES; i++) X[i] = (float)number((unsigned)i);
  for (int j = 0; j < SAMPLES; j++) codes[j] = j * 7 % 10;
  for (int i = 0; i < kind_total; i++) {
    wanted[i] = trained(&kinds[i], 1, 0);
    for (int threads = 2; threads <= 4; threads++)
      if (trained(&kinds[i], threads, 0) != wanted[i] || trained(&kinds[i], threads, 1) != wanted[i]) failed = 1;
  }
  fnn_net *net = make(&kinds[SHARED]);
  shared = net, wanted_shared = predicted(net, &kinds[SHARED], 1), wanted_gradients = graded(net, &kinds[SHARED], 1);
  pthread_t callers[CALLERS];
  for (int i = 0; i < CALLERS; i++)
    if (pthread_create(&callers[i], NULL, call, (void *)&kinds[i % kind_total])) abort();
  for (int i = 0; i < CALLERS; i++) {
    void *wrong;
    pthread_join(callers[i], &wrong);
    if (wrong) failed = 1;
  }
  fnn_net_free(net);
  puts(failed ? "the bits differ" : "the same bits");
  for (int threads = 1; threads <= TEAM; threads++) fnn_parallel_forced(threads, work_in_parts, NULL);
  printf("teams in parts: %d out of step, %d wrong\n", out_of_step, wrong_parts);
  return failed || out_of_step || wrong_parts;
}
