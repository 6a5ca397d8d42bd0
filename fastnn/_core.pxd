# What other Cython modules may call: cimported as fastnn.ckernels. Implemented in _core_ckernels.pxi.
#
# Functions over raw pointers, without the GIL. All matrices are in one piece with the units of a sample
# adjacent: A_prev, Z, dZ of m samples are m rows of n numbers (the Fortran order of the lecture's (n, m)), W and dW
# (n_out, n_in) in C order, b and db n_out numbers. No result may overlap an operand, but where that is said.
# `threads` is the most that a call may use, also of a network with a number of its own; 1 and less stay on the calling
# thread. What returns an int gives 0, or -1 where there is no memory for scratch space or no such kind; a kind has the
# parameters that its name alone stands for (LEAKY_RELU: slope 0.01).

ctypedef fused real:
    float
    double

# The order of fastnn.tables.
cdef enum activation_kind:
    IDENTITY
    SIGMOID
    TANH
    RELU
    SOFTMAX
    LEAKY_RELU

cdef enum loss_kind:
    BINARY_CROSS_ENTROPY
    CROSS_ENTROPY
    MSE
    MAE

# out = g(W A_prev + b)
cdef int c_linear_forward(real *out, const real *W, const real *A_prev, const real *b, int activation,
                          ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t m, int threads) noexcept nogil
# dW = dZ A_prev^T / m; db = rowsum(dZ) / m; with W (else NULL, and dA_prev too) dA_prev = W^T dZ times g' of the
# activation that made A_prev.
cdef int c_linear_backward(real *dW, real *db, real *dA_prev, const real *dZ, const real *A_prev, const real *W,
                           int activation, ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t m, int threads) noexcept nogil
# out = g(Z); out may be Z.
cdef int c_activation_forward(real *out, const real *Z, int activation, ptrdiff_t n, ptrdiff_t m,
                              int threads) noexcept nogil
# out = dA * g'(Z), from A = g(Z); out may be dA or A.
cdef int c_activation_backward(real *out, const real *dA, const real *A, int activation, ptrdiff_t n, ptrdiff_t m,
                               int threads) noexcept nogil
# out (n) = the sum over the samples of dZ.
cdef int c_rowsum(real *out, const real *dZ, ptrdiff_t n, ptrdiff_t m, int threads) noexcept nogil
# losses (m) of each sample from Z, and dZ per sample; either may be NULL. Targets: class codes 0..n-1, or, where codes
# is NULL, Y as Z lies. Neither is checked.
cdef int c_loss_and_gradient(double *losses, real *dZ, const real *Z, const int *codes, const real *Y, int loss,
                             ptrdiff_t n, ptrdiff_t m, int threads) noexcept nogil
# Step t, from 1, of `size` parameters w with the gradient dw, in place; of the moments what there is none of is NULL.
cdef void c_sgd_update(real *w, real *buf, const real *dw, ptrdiff_t size, double lr, double momentum, bint nesterov,
                       double weight_decay, int threads) noexcept nogil
cdef void c_adam_update(real *w, real *m, real *v, const real *dw, ptrdiff_t size, long long t, double lr, double beta1,
                        double beta2, double eps, double weight_decay, bint decoupled, int threads) noexcept nogil

# A predictor for any number of threads at once, none of which needs the GIL. It is the caller's to keep the Python
# object (of Network.predictor()) alive. NULL with an exception set: not one of ours, or of the other dtype's.
cdef const void *c_predictor_handle(object predictor, bint is_double) except NULL
# out (m rows of n_L) = A[L] of X (m rows of n_0).
cdef int c_predict(const void *handle, real *out, const real *X, ptrdiff_t m, int threads) noexcept nogil
