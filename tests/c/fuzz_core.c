/* A fuzz target over the C interface: shapes, strides, alignments, dtype, instruction set, threads, values and settings
   come from the fuzzer. Every array is a block of its own that ends where its last element does, so that the address
   sanitizer sees each step beside it. tests/fuzz.sh builds it with clang's libFuzzer and runs it. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/fastnn.h"

/* --- numbers from the fuzzer's bytes; 0 when they are used up --- */

static const uint8_t *bytes;
static size_t left;

static unsigned byte(void) {
  if (!left) return 0;
  left--;
  return *bytes++;
}
static int below(int n) { return (int)(byte() % (unsigned)n); }
/* Mostly few, with the edges of vectors and tiles among them; rarely more than a block of terms. */
static ptrdiff_t extent(void) {
  const unsigned b = byte();
  return b < 224 ? 1 + b % 40 : b < 250 ? 60 + b % 10 : 125 + (b - 250) * 3;
}
static double value(void) {
  static const double special[] = {0, -0.0, 1e-40, 1e30, -1e30, INFINITY, NAN, 1};
  const unsigned b = byte();
  return b < 8 ? special[b] : ((double)b - 128) / 32;
}

/* --- memory --- */

enum {
  MOST_BLOCKS = 64
};
static void *blocks[MOST_BLOCKS];
static int block_total;

static void *block(size_t wanted) {
  void *p = malloc(wanted ? wanted : 1);
  if (!p || block_total == MOST_BLOCKS) abort();
  return blocks[block_total++] = p;
}
static void free_blocks(void) {
  while (block_total) free(blocks[--block_total]);
}

static int isa, dtype, threads;

/* A matrix by rows, by columns, or with gaps, backwards in one direction now and then; filled. */
static fnn_matrix matrix(ptrdiff_t rows, ptrdiff_t columns, int type) {
  const size_t size = type ? 8 : 4;
  const int layout = below(8);
  const ptrdiff_t gap = layout >= 4 ? 1 + below(3) : 1, pad = layout >= 6 ? below(5) : 0;
  const int by_columns = layout & 1;
  ptrdiff_t row = by_columns ? gap : columns * gap + pad, column = by_columns ? rows * gap + pad : gap;
  const ptrdiff_t reach = (rows - 1) * row + (columns - 1) * column + 1;
  const size_t offset = (size_t)below(4) * size; /* from a boundary of 16 bytes */
  char *start = (char *)block(offset + (size_t)reach * size) + offset;
  double pattern[8];
  for (int i = 0; i < 8; i++) pattern[i] = value();
  for (ptrdiff_t i = 0; i < reach; i++) {
    if (type)
      ((double *)start)[i] = pattern[i % 8];
    else
      ((float *)start)[i] = (float)pattern[i % 8];
  }
  fnn_matrix x = {start, row, column, type};
  if (layout == 5) x.data = start + (size_t)((rows - 1) * row) * size, x.row_step = -row;
  return x;
}

/* A row of a list, by its columns. */
#define ACTIVATION(NAME, name, PLACE, SLOPE, PARAMETERS) {FNN_##NAME, {0.01}},
static const fnn_spec activations[] = {FNN_EACH_ACTIVATION(ACTIVATION)};
#define LOSS(NAME, name, OUTPUT, TARGETS, FORM, PARAMETERS) {FNN_##NAME, {0.1}},
static const fnn_spec losses[] = {FNN_EACH_LOSS(LOSS)};
enum {
  FNN_ANY = -1,
  PROBABILITIES,
  CLASSES,
  VALUES,
  COUNTS,
  ONE_VALUE,
  MEANS
};
#define OUTPUT(NAME, name, OUTPUT, TARGETS, FORM, PARAMETERS) FNN_##OUTPUT,
static const int outputs[] = {FNN_EACH_LOSS(OUTPUT)};
#define TARGETS(NAME, name, OUTPUT, TARGETS, FORM, PARAMETERS) TARGETS,
static const int kinds_of_targets[] = {FNN_EACH_LOSS(TARGETS)};
#define SLOTS(NAME, name, SLOTS, STEP) SLOTS,
static const int slots[] = {FNN_EACH_OPTIMIZER(SLOTS)};

static fnn_targets targets_of(int loss, ptrdiff_t n_out, ptrdiff_t m, int y_dtype) {
  fnn_targets targets = {.size = sizeof targets};
  const int kind = kinds_of_targets[loss];
  if (kind == ONE_VALUE || kind == MEANS) {
    targets.Y = matrix(kind == MEANS && n_out > 1 ? n_out / 2 : 1, m, y_dtype);
  } else if (n_out > 1 && below(2)) {
    int32_t *codes = block((size_t)m * sizeof *codes);
    for (ptrdiff_t j = 0; j < m; j++) codes[j] = (int32_t)((ptrdiff_t)byte() % n_out);
    targets.codes = codes;
  } else {
    targets.Y = matrix(n_out, m, y_dtype);
  }
  if (below(2)) {
    double *weights = block((size_t)m * sizeof *weights);
    for (ptrdiff_t j = 0; j < m; j++) weights[j] = below(4) / 2.0;
    targets.weights = weights;
  }
  if (below(2)) {
    double *levels = block((size_t)n_out * sizeof *levels);
    for (ptrdiff_t i = 0; i < n_out; i++) levels[i] = (1 + below(9)) / 10.0;
    targets.levels = levels;
  }
  return targets;
}

static fnn_optimizer optimizer(void) {
  const fnn_optimizer o = {.size = sizeof o,
                           .kind = below(FNN_OPTIMIZERS),
                           .lr = 0.1 * below(4),
                           .weight_decay = 0.01 * below(3),
                           .momentum = 0.5,
                           .beta1 = 0.25 * below(4),
                           .beta2 = 0.999,
                           .eps = below(2) ? 1e-8 : 1e-35,
                           .lr_decay = 0.5,
                           .momentum_decay = 0.25};
  return o;
}

/* --- what is tried --- */

static void layer(void) {
  const ptrdiff_t n_out = extent(), n_in = extent(), m = extent();
  const fnn_spec *g = &activations[below(FNN_ACTIVATIONS)];
  const fnn_matrix W = matrix(n_out, n_in, dtype), A_prev = matrix(n_in, m, dtype), b = matrix(n_out, 1, dtype);
  const fnn_matrix out = matrix(n_out, m, dtype), dW = matrix(n_out, n_in, dtype), db = matrix(n_out, 1, dtype);
  const fnn_matrix dA_prev = matrix(n_in, m, dtype), sums = matrix(n_out, 1, dtype);
  fnn_linear_forward(isa, &out, &W, &A_prev, &b, g, n_out, n_in, m, below(2), threads);
  fnn_linear_backward(isa, &dW, &db, &dA_prev, &out, &A_prev, below(4) ? &W : NULL, g, n_out, n_in, m, threads);
  fnn_rowsum(isa, &sums, &out, n_out, m, threads);
}

static void elements(void) {
  const ptrdiff_t n = extent(), m = extent();
  const fnn_spec *g = &activations[below(FNN_ACTIVATIONS)];
  const fnn_matrix Z = matrix(n, m, dtype), A = matrix(n, m, dtype), dA = matrix(n, m, dtype);
  fnn_activation_forward(isa, &A, below(3) ? &Z : &A, g, n, m, threads);
  fnn_activation_backward(isa, below(3) ? &Z : &dA, &dA, &A, g, n, m, threads);
  int loss = below(FNN_LOSSES);
  if (n == 1 && kinds_of_targets[loss] == CLASSES) loss = FNN_MSE;
  const fnn_matrix scores = matrix(n, m, dtype);
  const fnn_targets targets = targets_of(loss, n, m, dtype);
  double *of_samples = below(3) ? block((size_t)m * sizeof *of_samples) : NULL;
  fnn_loss(isa, of_samples, !of_samples || below(3) ? &A : NULL, &scores, &targets, &losses[loss], n, m, threads);
  const fnn_optimizer o = optimizer();
  const fnn_matrix moment_1 = matrix(n, m, dtype), moment_2 = matrix(n, m, dtype);
  const int used = slots[o.kind];
  fnn_optimizer_update(isa, &o, 1 + byte(), &Z, used > 0 ? &moment_1 : NULL, used > 1 ? &moment_2 : NULL, &dA, n, m,
                       threads);
}

static void network(void) {
  ptrdiff_t n_in = extent(), n = n_in;
  fnn_layer layers[4];
  const int count = 1 + below(4), loss = below(FNN_LOSSES), x_dtype = below(2);
  for (int l = 0; l < count; l++)
    layers[l] = (fnn_layer){.size = sizeof *layers,
                            .units = extent(),
                            .activation = activations[below(FNN_ACTIVATIONS)],
                            .norm = l < count - 1 ? below(FNN_BATCH_NORM + 1) : FNN_NO_NORM};
  fnn_layer *last = &layers[count - 1];
  if (kinds_of_targets[loss] == CLASSES && last->units < 2) last->units = 2;
  if (kinds_of_targets[loss] == MEANS) last->units += last->units % 2;
  last->activation = activations[outputs[loss] == FNN_ANY ? below(FNN_ACTIVATIONS) : outputs[loss]];
  fnn_net *net = fnn_net_new(isa, dtype, n_in, count, layers, &losses[loss]);
  if (!net) abort();
  const fnn_optimizer o = optimizer();
  fnn_matrix gradients[16];
  int parameters = 0;
  for (int l = 0; l < count; n = layers[l++].units) {
    const fnn_matrix W = matrix(layers[l].units, n, dtype), b = matrix(layers[l].units, 1, dtype);
    fnn_net_set(net, l, FNN_W, &W);
    fnn_net_set(net, l, FNN_B, &b);
    for (int i = 0; i < fnn_net_parameters(net, l); i++)
      gradients[parameters++] = matrix(layers[l].units, i == FNN_W ? n : 1, dtype);
    for (int i = FNN_GAMMA; i <= FNN_RUNNING_VAR; i++) fnn_net_set(net, l, i, &b); /* refused without a norm */
  }
  if (fnn_net_start_optimizer(net, slots[o.kind]) != 0) abort();
  if (below(2)) fnn_net_force_threads(net, threads);
  const ptrdiff_t m = extent();
  const fnn_matrix X = matrix(n_in, m, x_dtype), out = matrix(last->units, m, dtype);
  const fnn_targets targets = targets_of(loss, last->units, m, x_dtype);
  void *before = block(fnn_net_bytes(net));
  double total, ended[2 * 4];
  fnn_net_predict(net, &out, &X, m, threads);
  fnn_net_loss(net, &total, &X, &targets, m, threads);
  fnn_net_snapshot(net, before);
  fnn_fit fit = {.size = sizeof fit,
                 .optimizer = &o,
                 .batch = 1 + below(64),
                 .shuffle = below(2),
                 .seed = byte(),
                 .max_batches = 1 + below(8),
                 .max_epochs = 1 + below(4),
                 .cautious = below(2),
                 .plain = below(2),
                 .ended = ended};
  if (fit.batch > m) fit.batch = m;
  if (fit.shuffle) fit.order = block((size_t)m * sizeof *fit.order);
  fnn_net_train(net, &X, &targets, m, &fit, threads);
  fnn_net_gradients(net, &total, gradients, &X, &targets, m, threads);
  fnn_net_training_gradients(net, &total, gradients, &X, &targets, m, byte(), threads);
  fnn_net_restore(net, before);
  parameters = 0;
  for (int l = 0; l < count; l++)
    for (int i = 0; i < fnn_net_parameters(net, l); i++) fnn_net_get(net, l, i, &gradients[parameters++]);
  fnn_net_free(net);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  bytes = data, left = size;
  do isa = below(fnn_isa_total());
  while (!fnn_isa_available(isa) && left);
  if (!fnn_isa_available(isa)) isa = fnn_isa_best();
  dtype = below(2), threads = 1 + below(3);
  const int what = below(3);
  if (what == 0) layer();
  if (what == 1) elements();
  if (what == 2) network();
  free_blocks();
  return 0;
}
