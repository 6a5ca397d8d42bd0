/* Compiles the plan of one thread's step for a network, a batch size and a team of threads. This file alone decides
   which layer is split by rows or by columns, and which operation waits for the other threads. */
#include <string.h>

#include "network_step.h"

#define KEEP_WEIGHTS 4096 /* only larger layers are split by columns, so that their weights stay with a core */
/* Operations that are done together go through a thread's rows part by part, so that a part stays in the first cache.
 */
#define PART_ROWS 32          /* the rows of a part are a multiple of it, as whole blocks of a norm are */
#define PART_BYTES (1 << 15)  /* the most bytes of a part of one layer */
#define LIGHT_BYTES (1 << 19) /* the most bytes of all weights: each part reads them again */

/* The state of a compilation. */
typedef struct {
  const fnn_train_job *job;
  const fnn_net *net;
  const fnn_kernels *K;
  fnn_plan *plan;
  const fnn_plan_key *key;
  ptrdiff_t from, to;  /* this thread's rows of the batch */
  int count;           /* operations so far */
  int columns_pending; /* the last output was split by columns, and nobody has waited since */
} compiler;

/* A plan has at most thirteen operations for each layer, eleven more for each norm, and fourteen for the whole step. */
ptrdiff_t fnn_plan_bytes(const fnn_net *net) {
  const size_t most = 13 * (size_t)net->layers + 11 * (size_t)net->norms + 14;
  return (ptrdiff_t)(sizeof(fnn_plan) + most * sizeof(fnn_operation_of_step));
}

void fnn_clear_plan(void *plan) { ((fnn_plan *)plan)->key = (fnn_plan_key){0}; }

static fnn_operation_of_step *add(compiler *c, enum fnn_step_operation what, int layer, int waits) {
  fnn_operation_of_step *o = &c->plan->operations[c->count++];
  o->what = what, o->layer = layer, o->waits = waits && c->key->threads > 1, o->together = 0;
  o->i0 = c->from, o->i1 = c->to;
  if (waits) c->columns_pending = 0;
  return o;
}

/* The most of n columns that one thread gets, if each thread gets whole panels. */
static ptrdiff_t largest_share(const compiler *c, ptrdiff_t n) {
  return fnn_min((fnn_panels(c->K, n) + c->key->threads - 1) / c->key->threads * c->K->nr, n);
}

static int has_dropout(const compiler *c, int l) { return c->key->in_training && c->net->layer[l].dropped; }

/* Whether forward and update of layer l are split by columns: if there are many weights, and the split makes little
   more work or none. A norm and dropout have more work for each column than a product. */
static int by_columns(const compiler *c, int l) {
  const fnn_layer_state *y = &c->net->layer[l];
  const int threads = c->key->threads;
  if (threads == 1 || y->n_in * y->n_out <= KEEP_WEIGHTS) return 0;
  if (!l && fnn_reads_lists(c->key->reading)) return 0; /* each thread would read all lists */
  const ptrdiff_t n = fnn_padded(c->K, y->n_out), rows = (c->key->m + threads - 1) / threads, tall = c->K->mr;
  const ptrdiff_t columns_cost = largest_share(c, n) * ((c->key->m + tall - 1) / tall);
  const ptrdiff_t rows_cost = n * ((rows + tall - 1) / tall);
  const int weight = y->norm || has_dropout(c, l) ? 8 : 7;
  return fnn_panels(c->K, n) >= threads && weight * columns_cost <= 8 * rows_cost;
}

static void own_panels(const compiler *c, ptrdiff_t n, ptrdiff_t *p0, ptrdiff_t *p1) {
  fnn_share(fnn_panels(c->K, n), 1, c->key->threads, c->key->thread, p0, p1);
}

/* Whether layer l is normalised by the mean and variance of the batch. Of one sample they would make every zhat 0. A
   frozen layer uses its running statistics. */
static int has_batch_statistics(const compiler *c, int l) {
  const fnn_layer_state *y = &c->net->layer[l];
  return c->key->in_training && y->norm == FNN_BATCH_NORM && c->key->m > 1 && !y->frozen;
}

static int is_of_whole_rows(const compiler *c, int l) {
  return fnn_place_of(&c->net->layer[l].activation) == FNN_WHOLE_ROWS;
}

/* The memory of the slopes of layer l, if this step stores and uses them; else NULL. With dropout A times its factor
   has lost the slope, but not that of relu. */
static void *slopes(const compiler *c, int l) {
  const fnn_spec *g = &c->net->layer[l].activation;
  const int goes_by_them = c->key->is_plain || fnn_slope_of(g) == FNN_FROM_Z;
  if (is_of_whole_rows(c, l)) return NULL;
  return goes_by_them || (has_dropout(c, l) && g->kind != FNN_RELU) ? c->job->work->S[l] : NULL;
}

/* Whether dropout applies the activation of layer l, too: row after row, so that A stays in the cache. Diagnostics need
   A before dropout. */
static int activates_in_dropout(const compiler *c, int l) {
  return has_dropout(c, l) && slopes(c, l) && !c->net->layer[l].norm && !c->key->diagnoses;
}

/* Dropout in rows (samples) of `A` and of the slopes S, both of layer l; S may be NULL. */
static fnn_operation_of_step *drop(compiler *c, enum fnn_step_operation what, int l, void *A, void *S, int waits) {
  const fnn_layer_state *y = &c->net->layer[l];
  fnn_operation_of_step *o = add(c, what, l, waits);
  o->drop = (fnn_drop){.A = A, .S = S, .row_step = fnn_ld(c->K, y->n_out), .n = y->n_out, .dropped = y->dropped};
  o->drop.g = y->activation, o->drop.activates = what == FNN_DROP && activates_in_dropout(c, l);
  o->p0 = 0, o->p1 = fnn_padded(c->K, y->n_out);
  return o;
}

/* The norm of layer l, as this thread computes it. */
static fnn_norm norm_of(const compiler *c, int l) {
  const fnn_workspace *w = c->job->work;
  const fnn_norm_room *room = &w->norm[l];
  fnn_norm p = fnn_norm_of(c->net, l);
  p.m = c->key->m;
  p.block = fnn_norm_block(p.m);
  p.Z = p.zhat = room->zhat;
  p.A = w->A[l], p.S = slopes(c, l), p.dZ = w->dZ[l];
  p.back = room->back, p.row_rstd = room->rstd;
  if (!has_batch_statistics(c, l)) return p;
  p.blocks = room->blocks;
  char *own = (char *)w->norm_rows + c->key->thread * w->norm_bytes + room->rows;
  /* After a split by columns each thread has the statistics of its own columns, but backward needs those of all. */
  p.mean = by_columns(c, l) ? (char *)w->norm_rows + room->rows : own;
  p.var = fnn_at(c->K, p.mean, p.padded), p.rstd = fnn_at(c->K, p.var, p.padded);
  p.sums = fnn_at(c->K, own, 3 * p.padded);
  return p;
}

/* The norm of layer l and its activation, after the product that computed Z: this returns the operation whose rows and
   columns of A this thread computes. A split by columns suits batch norm, which needs whole columns. */
static fnn_operation_of_step *compile_norm(compiler *c, int l, const fnn_operation_of_step *product) {
  const int batch = c->net->layer[l].norm == FNN_BATCH_NORM, of_batch = has_batch_statistics(c, l);
  const int columns = by_columns(c, l);
  const ptrdiff_t padded = fnn_padded(c->K, c->net->layer[l].n_out);
  const ptrdiff_t j0 = fnn_min(product->p0 * c->K->nr, padded), j1 = fnn_min(product->p1 * c->K->nr, padded);
  if (of_batch) {
    fnn_operation_of_step *o = add(c, FNN_NORM_BLOCKS, l, 0);
    o->norm = norm_of(c, l);
    o->i0 = product->i0, o->i1 = product->i1, o->p0 = j0, o->p1 = j1;
    /* Each thread makes the sums for the columns that it needs: that is less than to wait for one another. */
    o = add(c, FNN_NORM_SUMS, l, !columns);
    o->norm = norm_of(c, l);
    o->p0 = j0, o->p1 = j1;
  }
  fnn_operation_of_step *o = add(c, FNN_NORM, l, !batch && c->columns_pending);
  o->norm = norm_of(c, l);
  o->p0 = 0, o->p1 = padded;
  if (batch) o->i0 = product->i0, o->i1 = product->i1, o->p0 = j0, o->p1 = j1;
  return o;
}

/* Of a standardised sparse X: what the first layer makes of its zeros, each thread some units. */
static void compile_zeros(compiler *c) {
  ptrdiff_t p0, p1;
  own_panels(c, c->net->layer[0].n_out, &p0, &p1);
  if (p0 == p1) return;
  fnn_operation_of_step *o = add(c, FNN_GO_FORWARD, 0, 0);
  o->forward = fnn_zeros_product(c->net, c->job->work->of_zeros);
  o->i0 = 0, o->i1 = 1, o->p0 = p0, o->p1 = p1;
}

/* Forward of layer l: Z of the last layer, A of the other layers. */
static void compile_forward(compiler *c, int l) {
  const fnn_workspace *w = c->job->work;
  const fnn_layer_state *y = &c->net->layer[l];
  const int columns = by_columns(c, l);
  /* A split by columns needs all rows of A_prev, so it waits. A split by rows needs all columns of its own rows. */
  const int is_sparse = !l && fnn_reads_lists(c->key->reading);
  const int has_zeros = !l && c->key->reading == FNN_BY_STANDARDISED_LISTS;
  if (has_zeros) compile_zeros(c);
  fnn_operation_of_step *o = add(c, is_sparse ? FNN_GO_SPARSE : FNN_GO_FORWARD, l,
                                 has_zeros || (columns ? l || c->columns_pending : c->columns_pending));
  o->forward = fnn_forward_product(c->net, l, l ? w->A[l - 1] : w->X, l ? fnn_ld(c->K, y->n_in) : c->key->x_step,
                                   w->A[l], c->key->m);
  if (has_zeros) o->forward.bias = w->of_zeros;
  const int is_last = l == c->net->layers - 1;
  const int later = activates_in_dropout(c, l);
  if (is_last || y->norm || later) o->forward.g = fnn_identity; /* the loss is taken from Z */
  if (y->norm)
    o->forward.A = w->norm[l].zhat;
  else if (!later)
    o->forward.S = slopes(c, l);
  o->p0 = 0, o->p1 = fnn_panels(c->K, y->n_out);
  if (columns) {
    o->i0 = 0, o->i1 = c->key->m;
    own_panels(c, y->n_out, &o->p0, &o->p1);
    c->columns_pending = 1;
  }
  if (!l) c->plan->first_products[0] = &o->forward.factors;
  ptrdiff_t j0 = o->p0 * c->K->nr, j1 = o->p1 * c->K->nr;
  if (y->norm) o = compile_norm(c, l, o), j0 = o->p0, j1 = o->p1;
  const int whole_rows = !is_last && is_of_whole_rows(c, l);
  if (whole_rows) add(c, FNN_GO_THROUGH, l, c->columns_pending);
  if (!has_dropout(c, l)) return;
  /* If the next layer waits for whole rows, dropout does: two threads would draw the random numbers of a row twice. */
  const int waits = c->columns_pending && !by_columns(c, l + 1);
  fnn_operation_of_step *d = drop(c, FNN_DROP, l, w->A[l], slopes(c, l), waits);
  if (!whole_rows && !waits) /* the part that this thread has just computed */
    d->i0 = o->i0, d->i1 = o->i1, d->p0 = j0, d->p1 = j1;
}

static void compile_loss(compiler *c) {
  const fnn_workspace *w = c->job->work;
  const fnn_layer_state *last = fnn_last(c->net);
  const ptrdiff_t ld = fnn_ld(c->K, last->n_out);
  fnn_operation_of_step *o = add(c, FNN_TAKE_LOSS, c->net->layers - 1, c->columns_pending);
  o->head = (fnn_head){.loss = c->net->loss,
                       .activation = last->activation,
                       .n = last->n_out,
                       .Z = w->A[c->net->layers - 1],
                       .ld = ld,
                       .codes = c->key->has_codes ? w->codes : NULL,
                       .Y = w->Y,
                       .weights = c->key->has_weights ? w->weights : NULL,
                       .losses = w->losses,
                       .scratch = (char *)w->heads + c->key->thread * fnn_head_bytes(c->net)};
}

/* In the place of a loss: A of the last layer out to the caller, and dZ from the caller's dA. */
static void compile_output(compiler *c) {
  const int last = c->net->layers - 1;
  add(c, FNN_GO_OUT, last, c->columns_pending);
  c->plan->begins[FNN_BACKWARD_PART] = c->count;
  if (!c->key->is_forward) add(c, FNN_TAKE_DA, last, 0);
}

/* dZ of layer l from the derivative by gamma zhat + beta, for this thread's rows. */
static void compile_norm_back(compiler *c, int l) {
  const int batch = c->net->layer[l].norm == FNN_BATCH_NORM;
  if (batch) add(c, FNN_BACK_BLOCKS, l, 0)->norm = norm_of(c, l);
  if (has_batch_statistics(c, l)) add(c, FNN_BACK_SUMS, l, 1)->norm = norm_of(c, l);
  add(c, FNN_NORM_BACK, l, 0)->norm = norm_of(c, l);
}

/* dZ of layer l - 1 from that of layer l, for this thread's rows. */
static void compile_backward(compiler *c, int l) {
  const fnn_workspace *w = c->job->work;
  const fnn_layer_state *y = &c->net->layer[l];
  const fnn_spec g = c->net->layer[l - 1].activation;
  const int whole_rows = fnn_place_of(&g) == FNN_WHOLE_ROWS;
  fnn_operation_of_step *o = add(c, FNN_GO_BACK, l, 0);
  o->backward = (fnn_backward){.factors = {.m = c->key->m,
                                           .n = y->n_in,
                                           .k = y->n_out,
                                           .A = w->dZ[l],
                                           .a_step = fnn_ld(c->K, y->n_out),
                                           .B = y->W,
                                           .b_in_panels = 1},
                               .dZ = w->dZ[l - 1],
                               .row_step = fnn_ld(c->K, y->n_in),
                               .A = w->A[l - 1],
                               .S = slopes(c, l - 1),
                               .g = whole_rows ? fnn_identity : g};
  if (g.kind == FNN_RELU)
    o->backward.g.parameters[0] = has_dropout(c, l - 1) ? fnn_kept_factor(c->net->layer[l - 1].dropped) : 1;
  o->p0 = 0, o->p1 = fnn_panels(c->K, y->n_in);
  if (whole_rows && has_dropout(c, l - 1)) drop(c, FNN_DROP_BACK, l - 1, w->dZ[l - 1], NULL, 0);
  if (whole_rows) add(c, FNN_GO_BACK_WHOLE, l - 1, 0);
  if (c->net->layer[l - 1].norm) compile_norm_back(c, l - 1);
}

/* Sets this thread's part (rows and panels) of dW^T of a layer (m x n), or of dW if the layer is turned. */
static void share_update(const compiler *c, fnn_operation_of_step *o, ptrdiff_t m, ptrdiff_t n) {
  const ptrdiff_t by_rows_cost = largest_share(c, m) * n, by_panels_cost = largest_share(c, n) * m;
  o->i0 = 0, o->i1 = m, o->p0 = 0, o->p1 = fnn_panels(c->K, n);
  if (by_columns(c, o->layer) ? !c->net->layer[o->layer].turned : by_panels_cost < by_rows_cost)
    own_panels(c, n, &o->p0, &o->p1);
  else
    fnn_share(m, c->K->nr, c->key->threads, c->key->thread, &o->i0, &o->i1);
}

/* The factors of dW^T = A_prev^T dZ; if the layer is turned, of dW = dZ^T A_prev. */
static fnn_factors gradient_factors(const compiler *c, int l) {
  const fnn_workspace *w = c->job->work;
  const fnn_layer_state *y = &c->net->layer[l];
  const void *A_prev = l ? w->A[l - 1] : w->X, *dZ = w->dZ[l];
  const ptrdiff_t A_step = l ? fnn_ld(c->K, y->n_in) : c->key->x_step, dZ_step = fnn_ld(c->K, y->n_out);
  if (y->turned)
    return (fnn_factors){
        .m = y->n_out, .n = y->n_in, .k = c->key->m, .A = dZ, .a_step = dZ_step, .B = A_prev, .b_step = A_step};
  return (fnn_factors){
      .m = y->n_in, .n = y->n_out, .k = c->key->m, .A = A_prev, .a_step = A_step, .B = dZ, .b_step = dZ_step};
}

static fnn_operation_of_step *add_columns(compiler *c, enum fnn_step_operation what, int l, ptrdiff_t from,
                                          ptrdiff_t to) {
  fnn_operation_of_step *o = add(c, what, l, 0);
  o->i0 = from, o->i1 = to;
  return o;
}

/* The running statistics of layer l, by those of the columns that this thread has computed. */
static void compile_running(compiler *c, int l, ptrdiff_t from, ptrdiff_t to) {
  const ptrdiff_t padded = fnn_padded(c->K, c->net->layer[l].n_out);
  if (by_columns(c, l)) {
    own_panels(c, c->net->layer[l].n_out, &from, &to);
    from = fnn_min(from * c->K->nr, padded), to = fnn_min(to * c->K->nr, padded);
  }
  add_columns(c, FNN_MOVE_RUNNING, l, from, to)->norm = norm_of(c, l);
}

/* The updates of b of layer l, and with a norm of gamma and beta; or these gradients out to the caller. */
static void compile_moves_of_b(compiler *c, int l) {
  const int trains = c->key->trains;
  ptrdiff_t from, to;
  fnn_share(fnn_padded(c->K, c->net->layer[l].n_out), c->K->vl, c->key->threads, c->key->thread, &from, &to);
  if (from >= to) return;
  add_columns(c, trains ? FNN_MOVE_B : FNN_GIVE_DB, l, from, to);
  if (c->net->layer[l].norm) add_columns(c, trains ? FNN_MOVE_NORM : FNN_GIVE_NORM, l, from, to);
}

/* db of layer l, with a norm dgamma and dbeta, too. */
static void compile_b(compiler *c, int l) {
  const int trains = c->key->trains;
  ptrdiff_t from, to;
  fnn_share(fnn_padded(c->K, c->net->layer[l].n_out), c->K->vl, c->key->threads, c->key->thread, &from, &to);
  const int moves = trains || c->key->in_training == FNN_MOVES_RUNNING;
  if (moves && has_batch_statistics(c, l)) compile_running(c, l, from, to);
  if (from >= to) return;
  add_columns(c, has_batch_statistics(c, l) ? FNN_CLEAR_B : FNN_SUM_B, l, from, to);
  if (c->net->layer[l].norm) add_columns(c, FNN_SUM_NORM, l, from, to)->norm = norm_of(c, l);
}

/* The product dW of layer l: its tiles update W, or (if the step is plain) store dW. */
static void compile_update(compiler *c, int l) {
  const fnn_workspace *w = c->job->work;
  const fnn_layer_state *y = &c->net->layer[l];
  fnn_operation_of_step *o = add(c, FNN_UPDATE_W, l, 0);
  o->weights =
      (fnn_weights){.factors = gradient_factors(c, l),
                    .room = w->packed ? fnn_at(c->K, w->packed, c->key->thread * c->K->chunk * c->key->m) : NULL};
  share_update(c, o, o->weights.factors.m, o->weights.factors.n);
  if (c->key->stores) {
    o->weights.W = o->weights.moment[0] = o->weights.moment[1] = w->dW[l];
    o->weights.update = &c->plan->store;
  } else {
    o->weights.W = fnn_updated_weights(y);
    o->weights.moment[0] = y->moment[0], o->weights.moment[1] = y->moment[1];
    o->weights.copy = y->turned ? y->WT : y->W;
    o->weights.update = &c->plan->update;
  }
  if (!l) c->plan->first_products[1] = &o->weights.factors;
}

/* Elements of the weights of layer l that the update changes, with their padding. */
static ptrdiff_t elements(const compiler *c, int l) {
  return fnn_updated_rows(&c->net->layer[l]) * fnn_updated_padded(c->K, &c->net->layer[l]);
}

/* The sums of squares of n gradients of layer l, of which each thread computes whole blocks. */
static void compile_squares(compiler *c, enum fnn_step_operation what, int l, ptrdiff_t n, int waits) {
  fnn_operation_of_step *o = add(c, what, l, waits);
  fnn_share(n, FNN_SQUARES, c->key->threads, c->key->thread, &o->i0, &o->i1);
  o->p0 = c->plan->squares + o->i0 / FNN_SQUARES;
  c->plan->squares += fnn_squares(n);
}

/* The sums of squares of all stored gradients. */
static void compile_norms(compiler *c) {
  int waits = 1; /* for the gradients */
  for (int l = 0; l < c->net->layers; l++) {
    if (c->net->layer[l].frozen) continue;
    compile_squares(c, FNN_SQUARE_W, l, elements(c, l), waits);
    const ptrdiff_t n = fnn_padded(c->K, c->net->layer[l].n_out);
    compile_squares(c, FNN_SQUARE_B, l, n, 0);
    if (c->net->layer[l].norm)
      compile_squares(c, FNN_SQUARE_GAMMA, l, n, 0), compile_squares(c, FNN_SQUARE_BETA, l, n, 0);
    waits = 0;
  }
  if (c->key->clips) add(c, FNN_CLIP, 0, 1);
}

/* The updates of all parameters with stored gradients, and then the copies of the weights. */
static void compile_moves(compiler *c) {
  int waits = 1;
  ptrdiff_t block = 0;
  for (int l = 0; l < c->net->layers; l++) {
    if (c->net->layer[l].frozen) continue;
    fnn_operation_of_step *o = add(c, FNN_MOVE_W, l, waits);
    fnn_share(elements(c, l), FNN_SQUARES, c->key->threads, c->key->thread, &o->i0, &o->i1);
    o->p0 = block + o->i0 / FNN_SQUARES;
    block += fnn_squares(elements(c, l));
    compile_moves_of_b(c, l);
    waits = 0;
  }
  waits = 1;
  for (int l = 1; l < c->net->layers; l++) {
    const fnn_layer_state *y = &c->net->layer[l];
    if (y->frozen) continue;
    fnn_operation_of_step *o = add(c, FNN_COPY_W, l, waits);
    share_update(c, o, fnn_updated_rows(y), fnn_updated_columns(y));
    waits = 0;
  }
}

/* An operation on each layer's given dW, split as the product dW is: those that `backward` gave are in the same caches.
   And the updates of the other parameters, if it is an update. */
static void compile_given(compiler *c, enum fnn_step_operation what) {
  for (int l = 0; l < c->net->layers; l++) {
    const fnn_layer_state *y = &c->net->layer[l];
    if (y->frozen) continue;
    fnn_operation_of_step *o = add(c, what, l, 0);
    share_update(c, o, fnn_updated_rows(y), fnn_updated_columns(y));
    if (what == FNN_MOVE_GIVEN) compile_moves_of_b(c, l);
  }
}

/* The first layer's gradient and what becomes of it, where X is sparse: each thread has its own features. */
static void compile_sparse(compiler *c) {
  /* The zeros of a standardised X need db, whose columns the threads have summed. */
  fnn_operation_of_step *o = add(c, FNN_UPDATE_SPARSE, 0, c->key->reading == FNN_BY_STANDARDISED_LISTS);
  o->by_features = (fnn_by_features){.factors = gradient_factors(c, 0)};
  fnn_share(c->net->layer[0].n_in, 1, c->key->threads, c->key->thread, &o->i0, &o->i1);
  c->plan->first_products[1] = &o->by_features.factors;
}

/* dW of layer l out to the caller. */
static void compile_gradient(compiler *c, int l) {
  fnn_operation_of_step *o = add(c, FNN_GIVE_DW, l, 0);
  o->gradient = (fnn_dense){.factors = gradient_factors(c, l), .g = fnn_identity};
  share_update(c, o, o->gradient.factors.m, o->gradient.factors.n);
  if (!l) c->plan->first_products[1] = &o->gradient.factors;
}

/* dX out to the caller. Each thread has some features of all samples, and copies their weights for itself: what another
   core has just written would take longer to read than to copy. */
static void compile_dX(compiler *c) {
  const fnn_layer_state *y = &c->net->layer[0];
  ptrdiff_t p0, p1;
  own_panels(c, y->n_in, &p0, &p1);
  if (p0 == p1) return;
  fnn_operation_of_step *o = add(c, FNN_COPY_FIRST_W, 0, 0);
  o->i0 = p0 * c->K->nr, o->i1 = fnn_min(p1 * c->K->nr, y->n_in);
  o->p0 = 0, o->p1 = fnn_panels(c->K, y->n_out);
  o = add(c, FNN_GO_BACK_TO_X, 0, 0);
  o->backward = (fnn_backward){.factors = {.m = c->key->m,
                                           .n = y->n_in,
                                           .k = y->n_out,
                                           .A = c->job->work->dZ[0],
                                           .a_step = fnn_ld(c->K, y->n_out),
                                           .B = c->job->first_W,
                                           .b_in_panels = 1},
                               .g = fnn_identity};
  o->i0 = 0, o->i1 = c->key->m, o->p0 = p0, o->p1 = p1;
  o = add(c, FNN_GIVE_DX, 0, 0);
  o->i0 = 0, o->i1 = c->key->m, o->p0 = p0 * c->K->nr, o->p1 = fnn_min(p1 * c->K->nr, y->n_in);
}

/* The first layer that is not frozen; the last layer if all are. */
static int lowest_trained(const compiler *c) {
  int l = 0;
  while (l < c->net->layers - 1 && c->net->layer[l].frozen) l++;
  return l;
}

/* The gradients of all layers from their dZ: used for the update, stored for it, or given to the caller. */
static void compile_gradients(compiler *c) {
  if (c->key->first_W) compile_dX(c); /* first: so an update finds dW in the caches */
  for (int l = c->net->layers - 1; l >= 0; l--) {
    if (c->key->trains && c->net->layer[l].frozen) continue;
    compile_b(c, l);
    if (!c->key->stores) compile_moves_of_b(c, l);
    if (!l && fnn_reads_lists(c->key->reading))
      compile_sparse(c);
    else if (c->key->trains)
      compile_update(c, l);
    else
      compile_gradient(c, l);
  }
}

/* Forward and backward: dZ of all layers. */
static void compile_passes(compiler *c) {
  const int layers = c->net->layers;
  add(c, FNN_READ_BATCH, 0, 0);
  c->columns_pending = c->key->reading == FNN_COPIED &&
                       c->key->threads > 1; /* a first layer that is split by columns needs all rows of the copy of X */
  for (int l = 0; l < layers; l++) compile_forward(c, l);
  if (c->key->source == FNN_GIVEN_DA)
    compile_output(c);
  else
    compile_loss(c);
  if (c->key->is_forward) return;
  c->plan->lowest = c->key->trains ? lowest_trained(c) : 0;
  for (int l = layers - 1; l > c->plan->lowest; l--) compile_backward(c, l);
  c->plan->begins[FNN_UPDATE_PART] = c->count;
  if (c->key->is_cautious) add(c, FNN_MEASURE, 0, 0);
}

/* All that follows when dZ of all layers are there, or given gradients are stored. */
static void compile_rest(compiler *c) {
  const fnn_plan_key *key = c->key;
  add(c, FNN_DECIDE, 0, 1); /* after this wait all of them are complete */
  if (key->source != FNN_GIVEN_GRADIENTS) compile_gradients(c);
  if (key->clips || key->diagnoses) compile_norms(c);
  if (key->stores)
    compile_moves(c);
  else if (key->source == FNN_GIVEN_GRADIENTS)
    compile_given(c, FNN_MOVE_GIVEN);
  if (key->averages) {
    fnn_operation_of_step *o = add(c, FNN_AVERAGE, 0, 1);
    fnn_share((ptrdiff_t)c->net->parameter_bytes / c->K->size, FNN_LINE, key->threads, key->thread, &o->i0, &o->i1);
  }
  if (key->diagnoses) add(c, FNN_DIAGNOSE, 0, 1);
}

/* Whether an operation does this thread's rows one by one: for some of them it needs nothing of the others. Sums of
   blocks are made of whole blocks, which have at most PART_ROWS rows. */
static int is_by_rows(const compiler *c, const fnn_operation_of_step *o) {
  if (o->i0 != c->from || o->i1 != c->to) return 0;
  switch ((int)o->what) {
  case FNN_GO_FORWARD:
  case FNN_NORM_BLOCKS:
  case FNN_NORM:
  case FNN_DROP:
  case FNN_TAKE_LOSS:
  case FNN_GO_BACK:
  case FNN_BACK_BLOCKS:
  case FNN_NORM_BACK: return 1;
  default: return 0;
  }
}

/* How many operations from o on, at least one, can be done for some rows after the other. Where there is no norm and no
   dropout it does not pay: products alone read and write the rows only once. */
static int count_together(const compiler *c, const fnn_operation_of_step *o) {
  const fnn_operation_of_step *end = c->plan->operations + c->count;
  int count = 0, pays = 0;
  for (; o + count < end && is_by_rows(c, o + count) && (!count || !o[count].waits); count++)
    pays |= c->net->layer[o[count].layer].norm || has_dropout(c, o[count].layer);
  return pays ? count : 1;
}

/* Joins operations that can do some rows after the other, if these rows and all weights are small. */
static void join(compiler *c) {
  ptrdiff_t widest = 1, weights = 0;
  for (int l = 0; l < c->net->layers; l++) {
    const ptrdiff_t n = fnn_ld(c->K, c->net->layer[l].n_out);
    widest = n > widest ? n : widest;
    weights += c->net->layer[l].n_in * n;
  }
  c->plan->rows_together = PART_BYTES / (widest * c->K->size) & -PART_ROWS;
  if (!c->plan->rows_together || weights * c->K->size > LIGHT_BYTES) return;
  for (int i = 0, count; i < c->count; i += count) {
    fnn_operation_of_step *o = &c->plan->operations[i];
    o->together = count = count_together(c, o);
  }
}

void fnn_compile_step(fnn_plan *plan, const fnn_train_job *job, const fnn_plan_key *key) {
  compiler c = {.job = job, .net = job->net, .K = job->net->K, .plan = plan, .key = key};
  plan->squares = 0;
  memset(plan->begins, 0, sizeof plan->begins);
  plan->first_products[0] = plan->first_products[1] = &plan->no_product;
  fnn_share_rows(c.net, key->m, key->threads, key->thread, &c.from, &c.to);
  if (key->source == FNN_GIVEN_GRADIENTS)
    add(&c, FNN_TAKE_GRADIENTS, 0, 0), compile_given(&c, FNN_TAKE_DW);
  else
    compile_passes(&c);
  if (!key->is_forward) compile_rest(&c);
  /* Wait: the next step writes to memory that other threads may still read in this one. */
  add(&c, FNN_END, 0, key->trains);
  join(&c);
  plan->store = (fnn_update){.kind = FNN_STORE};
  plan->key = *key;
}
