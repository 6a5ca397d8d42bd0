/* One training step as data. A plan is a list of operations: it says what part of each operation this thread does, and
   before which ones all threads wait for one another. It is compiled for a network, a batch size and a thread of a
   team, and run for each batch of that size. network_plan.c compiles plans, network_step.c runs them, network_bounds.c
   makes sure that a step leaves all numbers finite.

   A product is split among the threads by rows, which are samples, or by panels of columns, which are units. Work by
   rows runs on from layer to layer without waiting: a thread needs its own samples only. A layer split by columns keeps
   its weights with the core that changes them. Either way an element is summed by one thread, in one order. */
#ifndef FNN_NETWORK_STEP_H
#define FNN_NETWORK_STEP_H
#include "network.h"

/* What the gradients of a step come from. */
enum fnn_source {
  FNN_TARGETS,        /* the loss of these */
  FNN_GIVEN_DA,       /* the caller's derivative by the outputs */
  FNN_GIVEN_GRADIENTS /* they are the caller's */
};

/* The part of a step that a call makes. With FNN_GIVEN_DA the caller may look at the outputs in the middle of a step: a
   call makes its forward pass, and another one the rest. */
enum fnn_part {
  FNN_WHOLE_STEP,
  FNN_FORWARD_PART,
  FNN_BACKWARD_PART, /* all that follows */
  FNN_UPDATE_PART,   /* what follows when dZ of all layers are there */
  FNN_PARTS
};

/* A training call, or gradients: what all threads work on. */
typedef struct {
  const fnn_net *net;
  fnn_workspace *work;
  fnn_net *trained; /* the same network; NULL, as is `fit`, if only gradients are wanted */
  fnn_fit *fit;
  fnn_optimizer optimizer;
  fnn_schedule schedule; /* what optimizer.schedule points to, unless it is NULL */
  ptrdiff_t m;
  const fnn_matrix *X;
  fnn_targets targets;
  /* For each layer those of its trained parameters: given, or wanted (if `fit` is NULL). */
  const fnn_matrix *gradients;
  enum fnn_source source;
  enum fnn_part part;
  const fnn_matrix *A;  /* FNN_FORWARD_PART: where the outputs go */
  const fnn_matrix *dA; /* FNN_GIVEN_DA: the derivative of each sample's w_i L_i by the outputs */
  double weight;        /* with it, the sum of w_i */
  const fnn_matrix *dX; /* NULL, or where the derivative of each sample's w_i L_i by X goes */
  void *first_W;        /* with it, room for panels of W of the first layer */
  void *dX_rows;        /* and dX as rows, `dX_step` apart: it may be where dX goes */
  ptrdiff_t dX_step;
  int in_training; /* dropout and the statistics of the batch are used */
  int notes;       /* FNN_FORWARD_PART: fnn_fit.diagnostics will be asked for */
  uint64_t mask_seed;
  double total;
  int interrupted;           /* the task stopped before its end, without error: another team, or one thread, goes on */
  ptrdiff_t batches, epochs; /* done in this call */
} fnn_train_job;

enum fnn_step_operation {
  FNN_READ_BATCH,     /* copies this thread's rows of the batch to buffers (X only if it cannot be read in place) */
  FNN_GO_FORWARD,     /* a layer's product with its activation */
  FNN_GO_SPARSE,      /* the same of the first layer where X is sparse */
  FNN_NORM_BLOCKS,    /* batch norm: the statistics of blocks of rows of Z */
  FNN_NORM_SUMS,      /* those of the batch, of all blocks */
  FNN_NORM,           /* a norm, and the activation after it */
  FNN_GO_THROUGH,     /* an activation of whole rows */
  FNN_DROP,           /* dropout of a layer's outputs */
  FNN_TAKE_LOSS,      /* losses, and dZ of the last layer */
  FNN_GO_OUT,         /* the last layer's activation, and its A out to the caller */
  FNN_TAKE_DA,        /* dZ of the last layer from the caller's dA */
  FNN_TAKE_GRADIENTS, /* the caller's gradients: those that are columns into the memory where they are stored; */
  FNN_TAKE_DW,        /* and dW: its largest number; into that memory, too, if all of it must be known first; */
  FNN_MOVE_GIVEN,     /* else the update of W with it, and the other copy of W */
  FNN_GO_BACK,        /* dZ of the layer before, by a product */
  FNN_DROP_BACK,      /* after it, dropout's factors, where the derivative is one of whole rows */
  FNN_GO_BACK_WHOLE,  /* after it, the derivative of an activation of whole rows */
  FNN_BACK_BLOCKS,    /* after these, batch norm: sums of blocks of rows for dgamma and dbeta */
  FNN_BACK_SUMS,      /* these of all blocks */
  FNN_NORM_BACK,      /* dZ from the derivative by gamma zhat + beta */
  FNN_MEASURE,        /* the largest numbers, for the bounds */
  FNN_DECIDE,         /* whether the update is made; all threads decide alike */
  FNN_SUM_B,          /* the sum over samples of db */
  FNN_CLEAR_B,        /* db = 0: what b adds to all samples of a batch, its mean takes out */
  FNN_MOVE_B,         /* the update of b with this sum */
  FNN_GIVE_DB,        /* db into the caller's matrix */
  FNN_SQUARE_B,       /* the sums of squares of stored gradients */
  FNN_SQUARE_W,
  FNN_SQUARE_GAMMA,
  FNN_SQUARE_BETA,
  FNN_CLIP,          /* the norm of the gradient, and by how much it is too large; all threads compute it alike */
  FNN_DIAGNOSE,      /* what fnn_fit.diagnostics asks for; thread 0 alone */
  FNN_AVERAGE,       /* the average of all parameters */
  FNN_SUM_NORM,      /* dgamma and dbeta from the sums of blocks */
  FNN_MOVE_NORM,     /* the update of gamma and beta with them */
  FNN_GIVE_NORM,     /* both into the caller's matrices */
  FNN_MOVE_RUNNING,  /* running statistics */
  FNN_UPDATE_W,      /* the product dW; its tiles update W, or (plain) store dW */
  FNN_MOVE_W,        /* the update of W with a stored dW */
  FNN_COPY_W,        /* the other copy of W */
  FNN_GIVE_DW,       /* dW into the caller's matrix */
  FNN_UPDATE_SPARSE, /* where X is sparse, all three: update W of the first layer, or store dW, or give it */
  FNN_COPY_FIRST_W,  /* W of the first layer, which has no other copy, for dX */
  FNN_GO_BACK_TO_X,  /* dX by a product */
  FNN_GIVE_DX,       /* dX into the caller's matrix */
  FNN_END            /* of the step */
};

typedef struct {
  enum fnn_step_operation what;
  int layer;
  int waits;    /* all threads wait for one another before it */
  int together; /* so many operations from this one on do some rows after the other, which stay in the cache */
  ptrdiff_t i0, i1, p0, p1; /* this thread's rows, and panels or columns */
  union {
    fnn_forward forward;
    fnn_backward backward;
    fnn_weights weights;
    fnn_by_features by_features;
    fnn_dense gradient;
    fnn_head head;
    fnn_drop drop;
    fnn_norm norm;
  };
} fnn_operation_of_step;

enum fnn_reading {
  FNN_COPIED, /* X is copied batch by batch */
  FNN_IN_PLACE,
  FNN_BY_LISTS,             /* X is sparse */
  FNN_BY_STANDARDISED_LISTS /* and standardised */
};

static inline int fnn_reads_lists(int reading) { return reading >= FNN_BY_LISTS; }

/* What a plan is compiled for: the plan is used again as long as its key is the same. Keys are compared as bytes. */
typedef struct {
  ptrdiff_t m, x_step, freezes;
  int threads, thread, reading, has_codes, has_weights, is_cautious, trains, is_plain, slots;
  int stores, clips, averages; /* gradients are stored before the update; clip_norm; there is an average */
  int diagnoses, in_training;
  int source, is_forward;         /* only the forward part */
  const void *parameters, *block; /* the memory that the plan points into */
  const void *first_W, *zeros;
} fnn_plan_key;
_Static_assert(sizeof(fnn_plan_key) == 3 * sizeof(ptrdiff_t) + 16 * sizeof(int) + 4 * sizeof(void *), "it has gaps");

/* The plan of one thread, kept in the workspace from call to call. Each thread has two: the last batch may be short. */
typedef struct {
  fnn_plan_key key;               /* m is 0 where nothing was compiled yet */
  fnn_factors *first_products[2]; /* of layer 0, forward and gradient: A is X of the batch, in its order */
  fnn_sparse_input batch;         /* A, if X is sparse */
  int lowest;                     /* dZ is computed from this layer on: the first one that is not frozen */
  fnn_factors no_product;         /* in the place of the gradient's, if layer 0 is frozen */
  fnn_update update, update_of_b, store;
  const fnn_update *for_b; /* one of the first two */
  ptrdiff_t squares;       /* how many sums of squares FNN_CLIP adds */
  ptrdiff_t rows_together; /* as many rows of operations that belong together are done at a time */
  int begins[FNN_PARTS];   /* the first operation of each part */
  fnn_operation_of_step operations[];
} fnn_plan;

/* One thread, and where it stands. */
typedef struct {
  fnn_train_job *job;
  fnn_member *member; /* of the team, for its barriers */
  int thread, threads;
  fnn_plan *plan, *other_plan;
  ptrdiff_t m, from, to; /* the batch, and this thread's rows of it */
  ptrdiff_t first;       /* place of its first sample in the epoch */
  const uint32_t *order; /* of the epoch; NULL: samples as they stand */
  double weight, loss;   /* of the batch: sum of w_i, sum of w_i L_i */
  int diagnoses;         /* what fnn_fit.diagnostics asks for is measured in this batch */
  uint64_t steps;        /* of the optimizer */
  uint64_t updates;      /* of the network */
  double lr;             /* the learning rate of the batch */
  double bound[1 + FNN_SLOTS];
} fnn_worker;

static inline double fnn_loss_factor(const fnn_fit *fit) { return fit->loss_factor > 0 ? fit->loss_factor : 1; }

enum fnn_step_result {
  FNN_STEP_DONE,
  FNN_STEP_FAILED, /* the loss of the batch is not finite */
  FNN_STEP_UNSAFE  /* cautious: the update might make a weight or a moment not finite */
};

/* --- network_plan.c --- */
void fnn_compile_step(fnn_plan *plan, const fnn_train_job *job, const fnn_plan_key *key);

/* --- network_step.c --- */
/* One batch, `m` samples from place `first` of the epoch on. Every thread returns the same; only FNN_STEP_DONE has made
   the update. */
enum fnn_step_result fnn_step(fnn_worker *me, const uint32_t *order, ptrdiff_t first, ptrdiff_t m);

/* --- network_diagnostics.c --- */
/* An update with stored gradients of n parameters w, block by block; notes the squares of the change, and of w. */
void fnn_move_and_note(const fnn_worker *me, const fnn_update *u, const fnn_operation_of_step *o, void *w, void *m1,
                       void *m2, const void *gradients);
/* Notes which units are not quiet, in this thread's part of A of layer l before its dropout. */
void fnn_note_loud(const fnn_worker *me, const fnn_operation_of_step *o);
/* Begins the notes of which units are not quiet. */
void fnn_forget_loud(const fnn_net *net, fnn_workspace *work);
/* Stores the numbers of fnn_fit.diagnostics. */
void fnn_diagnose(const fnn_worker *me);
/* --- network_norm.c --- */
/* Runs an operation of a norm, FNN_NORM_BLOCKS to FNN_MOVE_RUNNING. */
void fnn_run_norm(fnn_worker *me, const fnn_operation_of_step *o);
/* Tells the other threads of the largest sums and statistics of this one's norms. */
void fnn_measure_norms(fnn_worker *me);

/* --- network_sparse.c --- */
/* The update of the first layer's W, or its gradient. */
void fnn_update_sparse(fnn_worker *me, const fnn_operation_of_step *o);
/* The largest |x| of this thread's rows of a sparse X. */
double fnn_largest_sparse(const fnn_worker *me);

/* --- network_bounds.c --- */
/* Tells the other threads of the largest numbers in this one's rows. */
void fnn_measure_rows(fnn_worker *me);
/* Whether it is certain that an update with this batch leaves all weights and moments finite. If so, me->bound becomes
   their bounds after the update. */
int fnn_is_safe(fnn_worker *me, const fnn_update *u);
/* The largest number in a thread's share of the parameters (i = 0), or of moment slot i - 1. */
double fnn_largest_parameter(const fnn_net *net, int i, int threads, int thread);
void fnn_measure_parameters(fnn_net *net);
int fnn_is_bounded(const fnn_net *net);
#endif
