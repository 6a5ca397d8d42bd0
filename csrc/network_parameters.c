/* The memory of a network: its parameters, the optimizer's moments, and the workspace of a batch; with the functions
   that create, set, get and save them. */
#include <math.h>
#include <string.h>

#include "network.h"

/* Activations are packed only for batches of at most so many samples: else a chunk would not fit the second cache. */
#define MOST_PACKED 1024
/* A workspace is kept for the next call if it takes at most about so much; else memory would stay in use for ever. */
#define MOST_SPARE_BYTES (16 << 20)

/* --- memory --- */

/* The next piece of a block; it begins on a cache line. If `block` is NULL, only the size is added to *used. */
static void *piece(char *block, ptrdiff_t *used, ptrdiff_t bytes) {
  void *p = block ? block + *used : NULL;
  *used = fnn_plus(*used, fnn_lines(bytes));
  return p;
}

static ptrdiff_t matrix_bytes(const fnn_kernels *K, ptrdiff_t rows, ptrdiff_t row) {
  return fnn_times(fnn_times(rows, row), K->size);
}

/* Whether layer l (not the first) is turned: if its last panel of W^T would not be full. dW then reads A_prev in
   whole vectors, and padding of A_prev need not be 0: so n_in must need no padding. */
static int is_turned(const fnn_kernels *K, const fnn_layer_state *y, int l) {
  return l && y->n_in % K->vl == 0 && y->n_out % K->nr;
}

/* The moments of a slot lie as the parameters do, one or two whole blocks behind them. So there is also room for
   moments of the second copy of each W, and of running statistics, which is never used. */
static ptrdiff_t lay_out_parameters(fnn_net *net, char *block) {
  const fnn_kernels *K = net->K;
  ptrdiff_t used = 0;
  for (int l = 0; l < net->layers; l++) {
    fnn_layer_state *y = &net->layer[l];
    y->WT = piece(block, &used, matrix_bytes(K, y->n_in, fnn_padded(K, y->n_out)));
    y->W = l ? piece(block, &used, matrix_bytes(K, y->n_out, fnn_padded(K, y->n_in))) : NULL;
    const ptrdiff_t column = fnn_padded(K, y->n_out) * K->size;
    y->b = piece(block, &used, column);
    if (y->norm) y->gamma = piece(block, &used, column), y->beta = piece(block, &used, column);
    if (y->norm == FNN_BATCH_NORM) {
      y->mean = piece(block, &used, column), y->var = piece(block, &used, column);
      y->rstd = piece(block, &used, column);
    }
    for (int slot = 0; block && slot < FNN_SLOTS; slot++) { /* without a block only its size is asked for */
      const ptrdiff_t behind = slot < net->slots ? (slot + 1) * (ptrdiff_t)net->parameter_bytes : 0;
      y->moment[slot] = (char *)fnn_updated_weights(y) + behind;
      y->moment_b[slot] = (char *)y->b + behind;
    }
  }
  return used;
}

static ptrdiff_t widest_layer(const fnn_net *net) {
  ptrdiff_t n = 0;
  for (int l = 0; l < net->layers; l++)
    if (net->layer[l].n_out > n) n = net->layer[l].n_out;
  return n;
}

static uint64_t kind_of(const fnn_net *net) {
  uint64_t kind = fnn_hash((uint64_t)net->K->size, (uint64_t)net->loss.kind);
  for (int l = 0; l < net->layers; l++) {
    kind = fnn_hash(fnn_hash(kind, (uint64_t)net->layer[l].n_in), (uint64_t)net->layer[l].n_out);
    kind = fnn_hash(kind, (uint64_t)net->layer[l].activation.kind + 256 * (uint64_t)net->layer[l].norm);
  }
  return kind;
}

/* After a change of the numbers; a step that has begun cannot go on. */
static void forget_bounds(fnn_net *net) {
  net->next_part = 0;
  for (int i = 0; i <= FNN_SLOTS; i++) net->bound[i] = INFINITY;
}

/* Sizes and kinds of the layers; 0 where one is not legal. */
static int set_layers(fnn_net *net, ptrdiff_t n_in, const fnn_layer *layers) {
  for (int l = 0; l < net->layers; l++) {
    fnn_layer given; /* the caller's struct may be a shorter one */
    if (!FNN_TAKE(given, (const char *)layers + (size_t)l * layers->size, activation)) return 0;
    if (!fnn_is_size(n_in) || !fnn_is_size(given.units) || !fnn_is_activation(&given.activation)) return 0;
    if (!(given.dropout >= 0 && given.dropout < 1) || (given.dropout > 0 && l == net->layers - 1)) return 0;
    if (given.norm < 0 || given.norm > FNN_BATCH_NORM || (given.norm && l == net->layers - 1)) return 0;
    net->layer[l] = (fnn_layer_state){.n_in = n_in,
                                      .n_out = given.units,
                                      .activation = given.activation,
                                      .norm = given.norm,
                                      .frozen = given.frozen != 0,
                                      .before = 2 * (l + net->norms)};
    net->norms += given.norm != FNN_NO_NORM;
    net->layer[l].dropped = (uint32_t)fmin(nearbyint(given.dropout * FNN_DROPS), FNN_DROPS - 1);
    net->layer[l].turned = is_turned(net->K, &net->layer[l], l);
    n_in = given.units;
  }
  const int output = fnn_output_of(&net->loss);
  if (!fnn_fits_units(&net->loss, fnn_last(net)->n_out)) return 0;
  return output == FNN_ANY || output == fnn_last(net)->activation.kind;
}

fnn_net *fnn_net_new(int isa, int dtype, ptrdiff_t n_in, int count, const fnn_layer *layers, const fnn_spec *loss) {
  if (count < 1 || !fnn_is_isa(isa) || !fnn_is_dtype(dtype) || !fnn_is_loss(loss)) return NULL;
  fnn_net *net = calloc(1, sizeof *net);
  if (!net) return NULL;
  net->K = fnn_isas[isa].kernels[dtype];
  net->layers = count;
  net->loss = *loss;
  net->layer = calloc((size_t)count, sizeof *net->layer);
  net->spare = calloc(1, sizeof *net->spare);
  if (net->layer && net->spare && set_layers(net, n_in, layers)) {
    net->parameter_bytes = (size_t)lay_out_parameters(net, NULL);
    net->parameters = fnn_alloc((ptrdiff_t)net->parameter_bytes);
  }
  if (!net->parameters) {
    fnn_net_free(net);
    return NULL;
  }
  memset(net->parameters, 0, net->parameter_bytes);
  lay_out_parameters(net, net->parameters);
  fnn_start_norms(net);
  forget_bounds(net);
  net->kind = kind_of(net);
  net->widest_layer = widest_layer(net);
  net->widest = n_in > net->widest_layer ? n_in : net->widest_layer;
  return net;
}

static void free_workspace(fnn_workspace *work) {
  if (work) fnn_release_workspace(work);
  free(work);
}

void fnn_net_free(fnn_net *net) {
  if (!net) return;
  fnn_release_workspace(&net->work);
  if (net->spare) free_workspace(net->spare->kept);
  free(net->spare);
  fnn_free(net->parameters);
  free(net->standards);
  free(net->layer);
  free(net);
}

ptrdiff_t fnn_net_width(const fnn_net *net, int l) {
  if (l < 0) l += net->layers + 1;
  return l ? net->layer[l - 1].n_out : net->layer[0].n_in;
}

/* --- the memory of a batch --- */

void fnn_release_workspace(fnn_workspace *work) {
  fnn_free(work->block);
  free(work->A);
  free(work->norm);
  fnn_free(work->sparse);
  if (work->dW) fnn_free(work->dW[0]);
  free(work->dW);
  fnn_free(work->of_dX);
  *work = (fnn_workspace){0};
}

fnn_workspace *fnn_borrow_workspace(const fnn_net *net) {
  fnn_workspace *work = atomic_exchange(&net->spare->kept, NULL);
  return work ? work : calloc(1, sizeof *work);
}

void fnn_give_back_workspace(const fnn_net *net, fnn_workspace *work) {
  if (fnn_times(work->capacity, net->widest * net->K->size) > MOST_SPARE_BYTES / (4 * (net->layers + 1)))
    free_workspace(work);
  else
    free_workspace(atomic_exchange(&net->spare->kept, work));
}

ptrdiff_t fnn_head_bytes(const fnn_net *net) {
  return FNN_HEAD_ROWS * fnn_ld(net->K, fnn_last(net)->n_out) * net->K->size;
}

/* Bytes of room that one thread needs for the row sums of any layer. */
static ptrdiff_t sums_bytes(const fnn_net *net, ptrdiff_t m) {
  ptrdiff_t most = 0;
  for (int l = 0; l < net->layers; l++) {
    const ptrdiff_t bytes = net->K->rowsum_room(m, fnn_padded(net->K, net->layer[l].n_out));
    if (bytes > most) most = bytes;
  }
  return most;
}

/* The memory of the norm of layer l. */
static void lay_out_norm(const fnn_net *net, fnn_workspace *w, int l, char *block, ptrdiff_t *used) {
  const fnn_kernels *K = net->K;
  const fnn_layer_state *y = &net->layer[l];
  const ptrdiff_t padded = fnn_padded(K, y->n_out), sums = matrix_bytes(K, 2 * fnn_norm_blocks(w->capacity), padded);
  const int batch = y->norm == FNN_BATCH_NORM;
  fnn_norm_room *room = &w->norm[l];
  room->zhat = piece(block, used, matrix_bytes(K, w->capacity, fnn_ld(K, y->n_out)));
  room->rstd = batch ? NULL : piece(block, used, matrix_bytes(K, w->capacity, 1));
  room->blocks = batch ? piece(block, used, sums) : NULL;
  room->back = piece(block, used, sums);
  room->dgamma = piece(block, used, padded * K->size);
  room->dbeta = piece(block, used, padded * K->size);
  room->rows = w->norm_bytes;
  if (batch) w->norm_bytes += fnn_lines(5 * padded * K->size);
}

static ptrdiff_t lay_out_workspace(const fnn_net *net, fnn_workspace *w, char *block) {
  const fnn_kernels *K = net->K;
  const fnn_layer_state *last = fnn_last(net);
  const ptrdiff_t m = w->capacity;
  ptrdiff_t used = 0;
  w->X = piece(block, &used, w->copies_X ? matrix_bytes(K, m, fnn_ld(K, net->layer[0].n_in)) : 0);
  w->Y = piece(block, &used, matrix_bytes(K, m, fnn_ld(K, last->n_out)));
  for (int l = 0; l < net->layers; l++) {
    const fnn_layer_state *y = &net->layer[l];
    w->A[l] = piece(block, &used, matrix_bytes(K, m, fnn_ld(K, y->n_out)));
    /* The last layer's dZ is computed over its Z. */
    w->dZ[l] = y == last ? w->A[l] : piece(block, &used, matrix_bytes(K, m, fnn_ld(K, y->n_out)));
    w->db[l] = piece(block, &used, fnn_padded(K, y->n_out) * K->size);
    const int has_slopes = fnn_place_of(&y->activation) != FNN_WHOLE_ROWS;
    const int by_factors = y->dropped && y->activation.kind != FNN_RELU;
    const int kept =
        y != last && (by_factors || (has_slopes && (fnn_slope_of(&y->activation) == FNN_FROM_Z || w->keeps_slopes)));
    w->S[l] = kept ? piece(block, &used, matrix_bytes(K, m, fnn_ld(K, y->n_out))) : NULL;
  }
  w->of_zeros = piece(block, &used, fnn_ld(K, net->layer[0].n_out) * K->size);
  w->norm_bytes = 0;
  for (int l = 0; w->norm && l < net->layers; l++)
    if (net->layer[l].norm) lay_out_norm(net, w, l, block, &used);
  w->norm_rows = piece(block, &used, fnn_times(w->threads, w->norm_bytes));
  w->codes = piece(block, &used, fnn_times(m, sizeof *w->codes));
  w->weights = piece(block, &used, fnn_times(m, sizeof *w->weights));
  w->losses = piece(block, &used, fnn_times(m, sizeof *w->losses));
  w->of_weights_count = 0;
  for (int l = 0; l < net->layers; l++)
    w->of_weights_count += fnn_squares(fnn_updated_rows(&net->layer[l]) * fnn_updated_padded(K, &net->layer[l]));
  w->of_weights = piece(block, &used, fnn_times(w->of_weights_count, sizeof *w->of_weights));
  w->heads = piece(block, &used, fnn_times(w->threads, fnn_head_bytes(net)));
  w->packed = NULL;
  if (K->packs && m <= MOST_PACKED) w->packed = piece(block, &used, matrix_bytes(K, w->threads * K->chunk, m));
  w->sums_bytes = sums_bytes(net, m);
  w->sums = piece(block, &used, fnn_times(w->threads, w->sums_bytes));
  w->reports = piece(block, &used, fnn_times(w->threads, sizeof *w->reports));
  w->plan_bytes = fnn_lines(fnn_plan_bytes(net));
  w->plans = piece(block, &used, fnn_times(w->threads, 2 * w->plan_bytes));
  for (int t = 0; block && t < 2 * w->threads; t++) fnn_clear_plan(w->plans + t * w->plan_bytes);
  return used;
}

int fnn_reserve(const fnn_net *net, fnn_workspace *old, ptrdiff_t m, int threads, int keeps_slopes, int copies_X) {
  const int has_all = old->keeps_slopes >= keeps_slopes && old->copies_X >= copies_X;
  if (old->capacity >= m && old->threads >= threads && has_all) return FNN_OK;
  fnn_workspace w = {.capacity = m > old->capacity ? m : old->capacity,
                     .threads = threads > old->threads ? threads : old->threads,
                     .keeps_slopes = keeps_slopes || old->keeps_slopes,
                     .copies_X = copies_X || old->copies_X};
  w.A = calloc(4 * (size_t)net->layers, sizeof *w.A);
  if (w.A && net->norms) w.norm = calloc((size_t)net->layers, sizeof *w.norm);
  if (!w.A || (net->norms && !w.norm)) {
    fnn_release_workspace(&w);
    return FNN_NO_MEMORY;
  }
  w.dZ = w.A + net->layers, w.db = w.dZ + net->layers, w.S = w.db + net->layers;
  const ptrdiff_t bytes = lay_out_workspace(net, &w, NULL);
  w.block = fnn_alloc(bytes);
  w.dW = old->dW, w.loud = old->loud, w.squares = old->squares, w.blocks = old->blocks, old->dW = NULL;
  w.sparse = old->sparse, w.terms_capacity = old->terms_capacity, old->sparse = NULL;
  fnn_release_workspace(old);
  if (!w.block) {
    fnn_release_workspace(&w);
    return FNN_NO_MEMORY;
  }
  lay_out_workspace(net, &w, w.block);
  *old = w;
  return FNN_OK;
}

static ptrdiff_t lay_out_gradients(const fnn_net *net, fnn_workspace *work, void **dW, char *block) {
  ptrdiff_t used = 0, squares = 0;
  for (int l = 0; l < net->layers; l++) {
    const fnn_layer_state *y = &net->layer[l];
    dW[l] = piece(block, &used, matrix_bytes(net->K, fnn_updated_rows(y), fnn_updated_padded(net->K, y)));
    squares += fnn_squares(fnn_updated_rows(y) * fnn_updated_padded(net->K, y)) +
               (y->norm ? 3 : 1) * fnn_squares(fnn_padded(net->K, y->n_out));
  }
  ptrdiff_t units = 0;
  for (int l = 0; l < net->layers; l++) units += net->layer[l].n_out;
  work->loud = piece(block, &used, units);
  if (block) memset(work->loud, 0, (size_t)units);
  work->blocks = squares;
  work->squares = piece(block, &used, fnn_times(3 * squares, sizeof *work->squares));
  return used;
}

int fnn_reserve_gradients(const fnn_net *net, fnn_workspace *work) {
  if (work->dW) return FNN_OK;
  void **dW = calloc((size_t)net->layers, sizeof *dW);
  char *block = dW ? fnn_alloc(lay_out_gradients(net, work, dW, NULL)) : NULL;
  if (!block) {
    free(dW);
    return FNN_NO_MEMORY;
  }
  lay_out_gradients(net, work, dW, block);
  work->dW = dW;
  return FNN_OK;
}

/* --- parameters, and moments that are laid out like them: in the caller's matrices, and in panels --- */

static fnn_matrix transposed(const fnn_matrix *x) {
  return (fnn_matrix){x->data, x->column_step, x->row_step, x->dtype};
}

/* Copies W of a layer, or a matrix of its shape, to panels of W (turned) or of W^T; take_panels copies back. */
static void put_panels(const fnn_kernels *K, const fnn_layer_state *y, void *panels, int turned, const fnn_matrix *W) {
  const fnn_matrix WT = transposed(W);
  if (turned)
    K->pack(panels, W, y->n_out, y->n_in);
  else
    K->pack(panels, &WT, y->n_in, y->n_out);
}

static void take_panels(const fnn_kernels *K, const fnn_layer_state *y, const void *panels, int turned,
                        const fnn_matrix *W) {
  const fnn_matrix WT = transposed(W);
  if (turned)
    K->unpack(W, panels, y->n_out, y->n_in);
  else
    K->unpack(&WT, panels, y->n_in, y->n_out);
}

int fnn_net_gradient_by_rows(const fnn_net *net, int layer) {
  return layer >= 0 && layer < net->layers && net->layer[layer].turned;
}

int fnn_net_parameters(const fnn_net *net, int layer) {
  return layer >= 0 && layer < net->layers && net->layer[layer].norm ? FNN_BETA + 1 : FNN_B + 1;
}

/* The memory of a parameter that is a column; NULL: the layer has no such parameter. */
static void *column_of(const fnn_layer_state *y, int parameter) {
  switch (parameter) {
  case FNN_B: return y->b;
  case FNN_GAMMA: return y->gamma;
  case FNN_BETA: return y->beta;
  case FNN_RUNNING_MEAN: return y->mean;
  case FNN_RUNNING_VAR: return y->var;
  default: return NULL;
  }
}

/* The moment of a trained parameter that is a column. */
static void *moment_of(const fnn_layer_state *y, int slot, int parameter) {
  return (char *)column_of(y, parameter) + ((char *)y->moment_b[slot] - (char *)y->b);
}

/* Whether a parameter of layer l, 0.., and a matrix for it are what the functions below take. */
static int is_parameter(const fnn_net *net, int l, int parameter, const fnn_matrix *x) {
  return l >= 0 && l < net->layers && fnn_is_own_dtype(net, x) &&
         (parameter == FNN_W || column_of(&net->layer[l], parameter) != NULL);
}

/* The functions below set and get parameters, and the numbers of the average, which lie `behind` bytes behind them. */
static int set_numbers(const fnn_net *net, size_t behind, int l, int parameter, const fnn_matrix *from) {
  const fnn_layer_state *y = &net->layer[l];
  if (parameter != FNN_W) {
    net->K->gather((char *)column_of(y, parameter) + behind, 0, from, NULL, 0, 1, y->n_out);
    return FNN_OK;
  }
  put_panels(net->K, y, (char *)y->WT + behind, 0, from);
  if (y->W) put_panels(net->K, y, (char *)y->W + behind, 1, from);
  return FNN_OK;
}

static int get_numbers(const fnn_net *net, size_t behind, int l, int parameter, const fnn_matrix *to) {
  const fnn_layer_state *y = &net->layer[l];
  if (parameter != FNN_W)
    net->K->scatter(to, 0, (char *)column_of(y, parameter) + behind, 0, 1, y->n_out);
  else
    take_panels(net->K, y, (char *)y->WT + behind, 0, to);
  return FNN_OK;
}

int fnn_net_set(fnn_net *net, int l, int parameter, const fnn_matrix *from) {
  if (!is_parameter(net, l, parameter, from)) return FNN_REFUSED;
  forget_bounds(net);
  set_numbers(net, 0, l, parameter, from);
  if (parameter == FNN_RUNNING_VAR) fnn_derive_rstd(net, l);
  return FNN_OK;
}

int fnn_net_get(const fnn_net *net, int l, int parameter, const fnn_matrix *to) {
  return is_parameter(net, l, parameter, to) ? get_numbers(net, 0, l, parameter, to) : FNN_REFUSED;
}

int fnn_net_freeze(fnn_net *net, int l, int frozen) {
  if (l < 0 || l >= net->layers) return FNN_REFUSED;
  net->layer[l].frozen = frozen != 0;
  net->freezes++, net->next_part = 0;
  return FNN_OK;
}

/* --- the optimizer's state: moments and a count of steps, which follow the weights in a snapshot --- */

/* Gives the block of parameters so many slots of moments, and room for an average or none. The parameters stay; the
   moments become 0 and the average becomes the parameters. */
static int resize(fnn_net *net, int slots, double average_share) {
  const size_t each = net->parameter_bytes;
  const int parts = slots + (average_share > 0), now = net->slots + (net->average_share > 0);
  if (parts != now) {
    void *block = fnn_alloc(fnn_times(1 + parts, (ptrdiff_t)each));
    if (!block) return FNN_NO_MEMORY;
    memcpy(block, net->parameters, each);
    fnn_free(net->parameters);
    net->parameters = block;
  }
  net->slots = slots, net->average_share = average_share;
  lay_out_parameters(net, net->parameters);
  memset((char *)net->parameters + each, 0, (size_t)slots * each);
  if (average_share > 0) memcpy((char *)net->parameters + fnn_average_at(net), net->parameters, each);
  forget_bounds(net);
  return FNN_OK;
}

int fnn_net_start_optimizer(fnn_net *net, int slots) {
  if (slots < 0 || slots > FNN_SLOTS) return FNN_REFUSED;
  const int next = net->next_part; /* no weight changes */
  const int status = resize(net, slots, 0);
  if (status == FNN_OK) net->steps = 0;
  net->next_part = next;
  return status;
}

int fnn_net_slots(const fnn_net *net) { return net->slots; }
uint64_t fnn_net_steps(const fnn_net *net) { return net->steps; }
void fnn_net_set_steps(fnn_net *net, uint64_t steps) { net->steps = steps; }
uint64_t fnn_net_updates(const fnn_net *net) { return net->updates; }
void fnn_net_set_updates(fnn_net *net, uint64_t updates) { net->updates = updates; }

/* Whether the network has this slot of moments. */
static int is_slot(const fnn_net *net, int slot) { return slot >= 0 && slot < net->slots; }

int fnn_net_set_moment(fnn_net *net, int slot, int l, int parameter, const fnn_matrix *from) {
  if (!is_slot(net, slot) || parameter > FNN_BETA || !is_parameter(net, l, parameter, from)) return FNN_REFUSED;
  const fnn_layer_state *y = &net->layer[l];
  forget_bounds(net);
  if (parameter != FNN_W)
    net->K->gather(moment_of(y, slot, parameter), 0, from, NULL, 0, 1, y->n_out);
  else
    put_panels(net->K, y, y->moment[slot], y->turned, from);
  return FNN_OK;
}

int fnn_net_get_moment(const fnn_net *net, int slot, int l, int parameter, const fnn_matrix *to) {
  if (!is_slot(net, slot) || parameter > FNN_BETA || !is_parameter(net, l, parameter, to)) return FNN_REFUSED;
  const fnn_layer_state *y = &net->layer[l];
  if (parameter != FNN_W)
    net->K->scatter(to, 0, moment_of(y, slot, parameter), 0, 1, y->n_out);
  else
    take_panels(net->K, y, y->moment[slot], y->turned, to);
  return FNN_OK;
}

/* --- the average of the parameters --- */

int fnn_net_start_average(fnn_net *net, double share) {
  if (!(share > 0 && share < 1)) return FNN_REFUSED;
  if (net->average_share > 0) {
    net->average_share = share;
    memcpy((char *)net->parameters + fnn_average_at(net), net->parameters, net->parameter_bytes);
    return FNN_OK;
  }
  const size_t bytes = fnn_average_at(net);
  void *block = fnn_alloc(fnn_times(2 + net->slots, (ptrdiff_t)net->parameter_bytes));
  if (!block) return FNN_NO_MEMORY;
  memcpy(block, net->parameters, bytes);
  memcpy((char *)block + bytes, net->parameters, net->parameter_bytes);
  fnn_free(net->parameters);
  net->parameters = block, net->average_share = share;
  lay_out_parameters(net, block);
  return FNN_OK;
}

double fnn_net_average_share(const fnn_net *net) { return net->average_share; }

/* Running statistics have no average. */
static int is_averaged(const fnn_net *net, int l, int parameter, const fnn_matrix *x) {
  return is_parameter(net, l, parameter, x) && parameter < fnn_net_parameters(net, l);
}

int fnn_net_set_average(fnn_net *net, int l, int parameter, const fnn_matrix *from) {
  if (!net->average_share || !is_averaged(net, l, parameter, from)) return FNN_REFUSED;
  return set_numbers(net, fnn_average_at(net), l, parameter, from);
}

int fnn_net_get_average(const fnn_net *net, int l, int parameter, const fnn_matrix *to) {
  if (!net->average_share || !is_averaged(net, l, parameter, to)) return FNN_REFUSED;
  return get_numbers(net, fnn_average_at(net), l, parameter, to);
}

/* --- snapshots --- */

static size_t numbers_bytes(const fnn_net *net) {
  return fnn_average_at(net) + (net->average_share > 0 ? net->parameter_bytes : 0);
}

/* The first bytes of a snapshot. */
typedef struct {
  uint64_t steps, updates, slots;
  double average_share;
} snapshot_head;

size_t fnn_net_bytes(const fnn_net *net) { return sizeof(snapshot_head) + numbers_bytes(net); }

void fnn_net_snapshot(const fnn_net *net, void *to) {
  const snapshot_head head = {net->steps, net->updates, (uint64_t)net->slots, net->average_share};
  memcpy(to, &head, sizeof head);
  memcpy((char *)to + sizeof head, net->parameters, numbers_bytes(net));
}

int fnn_net_restore(fnn_net *net, const void *from) {
  snapshot_head head;
  memcpy(&head, from, sizeof head);
  if (((int)head.slots != net->slots || head.average_share != net->average_share) &&
      resize(net, (int)head.slots, head.average_share))
    return FNN_NO_MEMORY;
  memcpy(net->parameters, (const char *)from + sizeof head, numbers_bytes(net));
  net->steps = head.steps;
  net->updates = head.updates;
  forget_bounds(net);
  return FNN_OK;
}
