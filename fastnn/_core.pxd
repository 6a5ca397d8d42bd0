# The functions for other Cython modules, which cimport them as fastnn.ckernels. Implemented in _core_ckernels.pxi.
#
# The functions take raw pointers and need no GIL. All matrices are contiguous, with the units of a sample next to
# each other: A_prev, Z, dZ of m samples are m rows of n numbers (an (n, m) matrix in Fortran order), W and dW
# are (n_out, n_in) in C order, b and db have n_out numbers. A result may overlap an operand only where this is stated.
# `threads` is the most threads that a call may use, also for a network made with threads=n; 1 or less: only the calling
# thread. Functions that return an int return 0, or -1 if there is no memory for scratch space or the kind is invalid.
# Activations and losses have their default parameters (LEAKY_RELU: slope 0.01; ELU: alpha 1; GELU: not approximate;
# HUBER: delta 1; QUANTILE: levels 1 / (n + 1), 2 / (n + 1), ...).

ctypedef fused real:
    float
    double

# In the order of the tables in fastnn/tables.py.
cdef enum activation_kind:
    IDENTITY
    SIGMOID
    TANH
    RELU
    SOFTMAX
    LEAKY_RELU
    ELU
    SELU
    GELU
    SILU
    SOFTPLUS

cdef enum loss_kind:
    BINARY_CROSS_ENTROPY
    CROSS_ENTROPY
    MSE
    MAE
    HUBER
    QUANTILE
    POISSON
    GAUSSIAN_NLL

# out = g(W A_prev + b)
cdef int c_linear_forward(real *out, const real *W, const real *A_prev, const real *b, int activation,
                          ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t m, int threads) noexcept nogil
# dW = dZ A_prev^T / m; db = rowsum(dZ) / m; dA_prev = W^T dZ times g' of `activation`, which computed A_prev (IDENTITY:
# W^T dZ itself; one whose g' is computed from Z is refused). W and dA_prev may both be NULL: then dA_prev is not
# computed.
cdef int c_linear_backward(real *dW, real *db, real *dA_prev, const real *dZ, const real *A_prev, const real *W,
                           int activation, ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t m, int threads) noexcept nogil
# out = g(Z); out may be Z.
cdef int c_activation_forward(real *out, const real *Z, int activation, ptrdiff_t n, ptrdiff_t m,
                              int threads) noexcept nogil
# out = dA * g'(Z); x is A = g(Z), or Z for an activation whose row in tables.py says slope_from="Z"; out may be dA
# or x.
cdef int c_activation_backward(real *out, const real *dA, const real *x, int activation, ptrdiff_t n, ptrdiff_t m,
                               int threads) noexcept nogil
# out (n) = the sum over the samples of dZ.
cdef int c_rowsum(real *out, const real *dZ, ptrdiff_t n, ptrdiff_t m, int threads) noexcept nogil
# losses (m numbers, one per sample) and dZ per sample, from Z; either may be NULL. The targets are class codes 0..n-1,
# or, if codes is NULL, Y, in the same layout as Z: m rows of n numbers, for QUANTILE of 1, for GAUSSIAN_NLL of n / 2.
# The values of codes and Y are not checked.
cdef int c_loss_and_gradient(double *losses, real *dZ, const real *Z, const int *codes, const real *Y, int loss,
                             ptrdiff_t n, ptrdiff_t m, int threads) noexcept nogil
# One update, in place, of `size` parameters w with the gradient dw; t counts the updates from 1. For SGD without
# momentum buf is NULL.
cdef void c_sgd_update(real *w, real *buf, const real *dw, ptrdiff_t size, double lr, double momentum, bint nesterov,
                       double weight_decay, int threads) noexcept nogil
cdef void c_adam_update(real *w, real *m, real *v, const real *dw, ptrdiff_t size, long long t, double lr, double beta1,
                        double beta2, double eps, double weight_decay, bint decoupled, int threads) noexcept nogil

# The handle of a predictor, which any number of threads may use at once without the GIL. The caller must keep the
# Python object (from Network.predictor()) alive. NULL with an exception set if it is not a predictor of the compiled
# backend, or has another dtype.
cdef const void *c_predictor_handle(object predictor, bint is_double) except NULL
# out (m rows of n_L) = A[L] of X (m rows of n_0).
cdef int c_predict(const void *handle, real *out, const real *X, ptrdiff_t m, int threads) noexcept nogil
