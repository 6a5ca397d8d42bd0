# --- for other packages: the table of C functions, their addresses, and the address of a predictor -------

C_API = PyCapsule_New(<void *>fnn_get_api(), "fastnn._core.C_API", NULL)


def c_function(name):
    """Address of the C function fnn_<name>, or None where there is no such function."""
    cdef void *function = fnn_function(name.encode())
    return <size_t>function if function != NULL else None


def predictor_address(predictor):
    """Address of a predictor's fnn_net, valid as long as the predictor lives, and its n_0, n_L and dtype."""
    cdef Engine engine = _engine_of(predictor)
    return <size_t>engine.net, engine.n_in, engine.n_out, engine.dtype


cdef Engine _engine_of(predictor):
    owner = getattr(predictor, "__self__", None)
    if not isinstance(owner, Predictor):
        wanted = "what Network.predictor() of the compiled backend returned"
        raise TypeError(f"predictor must be {wanted}; got {predictor!r:.80}")
    return (<Predictor>owner).engine


# --- for other Cython modules: _core.pxd says what each function does -------------------------------

cdef inline fnn_matrix _samples_of(const void *data, ptrdiff_t n, int dtype) noexcept nogil:
    """A matrix (n, m) whose samples each have their n units next to each other in memory."""
    cdef fnn_matrix x
    x.data, x.row_step, x.column_step, x.dtype = <void *>data, 1, n, dtype
    return x


cdef inline fnn_matrix _weights_of(const void *data, ptrdiff_t n_in, int dtype) noexcept nogil:
    """A matrix with n_in columns in C order, such as W; with n_in = 1 a column, such as b."""
    cdef fnn_matrix x
    x.data, x.row_step, x.column_step, x.dtype = <void *>data, n_in, 1, dtype
    return x


cdef inline int _least_one(int threads) noexcept nogil:
    return threads if threads > 1 else 1


# The spec of an activation or a loss with the code `kind`, with default parameters. An invalid code is passed on, and
# the C core refuses it.
cdef inline fnn_spec _kind_of(const fnn_spec *plain, int kinds, int kind) noexcept nogil:
    cdef fnn_spec spec = plain[kind if 0 <= kind < kinds else 0]
    spec.kind = kind
    return spec


cdef inline int _ok(int status) noexcept nogil:
    return 0 if status == FNN_OK else -1


cdef int c_linear_forward(real *out, const real *W, const real *A_prev, const real *b, int activation,
                          ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t m, int threads) noexcept nogil:
    cdef int dtype = sizeof(real) == 8
    cdef fnn_matrix o = _samples_of(out, n_out, dtype), w = _weights_of(W, n_in, dtype)
    cdef fnn_matrix a = _samples_of(A_prev, n_in, dtype), c = _weights_of(b, 1, dtype)
    cdef fnn_spec g = _kind_of(_PLAIN_ACTIVATIONS, FNN_ACTIVATIONS, activation)
    if n_out == 0 or m == 0:
        return 0
    return _ok(fnn_linear_forward(_isa, &o, &w, &a, &c, &g, n_out, n_in, m, False, _least_one(threads)))


cdef int c_linear_backward(real *dW, real *db, real *dA_prev, const real *dZ, const real *A_prev, const real *W,
                           int activation, ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t m, int threads) noexcept nogil:
    cdef int dtype = sizeof(real) == 8
    cdef fnn_matrix ow = _weights_of(dW, n_in, dtype), ob = _weights_of(db, 1, dtype)
    cdef fnn_matrix oa = _samples_of(dA_prev, n_in, dtype), z = _samples_of(dZ, n_out, dtype)
    cdef fnn_matrix a = _samples_of(A_prev, n_in, dtype), w = _weights_of(W, n_in, dtype)
    cdef fnn_spec g = _kind_of(_PLAIN_ACTIVATIONS, FNN_ACTIVATIONS, activation)
    return _ok(fnn_linear_backward(_isa, &ow, &ob, &oa, &z, &a, &w if W != NULL else NULL, &g, n_out, n_in, m,
                                   _least_one(threads)))


cdef int c_activation_forward(real *out, const real *Z, int activation, ptrdiff_t n, ptrdiff_t m,
                              int threads) noexcept nogil:
    cdef int dtype = sizeof(real) == 8
    cdef fnn_matrix o = _samples_of(out, n, dtype), z = _samples_of(Z, n, dtype)
    cdef fnn_spec g = _kind_of(_PLAIN_ACTIVATIONS, FNN_ACTIVATIONS, activation)
    return _ok(fnn_activation_forward(_isa, &o, &z, &g, n, m, _least_one(threads)))


cdef int c_activation_backward(real *out, const real *dA, const real *x, int activation, ptrdiff_t n, ptrdiff_t m,
                               int threads) noexcept nogil:
    cdef int dtype = sizeof(real) == 8
    cdef fnn_matrix o = _samples_of(out, n, dtype), d = _samples_of(dA, n, dtype), a = _samples_of(x, n, dtype)
    cdef fnn_spec g = _kind_of(_PLAIN_ACTIVATIONS, FNN_ACTIVATIONS, activation)
    return _ok(fnn_activation_backward(_isa, &o, &d, &a, &g, n, m, _least_one(threads)))


cdef int c_rowsum(real *out, const real *dZ, ptrdiff_t n, ptrdiff_t m, int threads) noexcept nogil:
    cdef int dtype = sizeof(real) == 8
    cdef fnn_matrix o = _weights_of(out, 1, dtype), z = _samples_of(dZ, n, dtype)
    return _ok(fnn_rowsum(_isa, &o, &z, n, m, _least_one(threads)))


cdef int c_loss_and_gradient(double *losses, real *dZ, const real *Z, const int *codes, const real *Y, int loss,
                             ptrdiff_t n, ptrdiff_t m, int threads) noexcept nogil:
    cdef int dtype = sizeof(real) == 8
    cdef fnn_matrix o = _samples_of(dZ, n, dtype), z = _samples_of(Z, n, dtype)
    cdef fnn_spec kind = _kind_of(_PLAIN_LOSSES, FNN_LOSSES, loss)
    cdef fnn_targets targets
    targets.size, targets.Y = sizeof(fnn_targets), _samples_of(Y, _target_rows(loss, n), dtype)
    targets.codes, targets.weights, targets.levels = <const int32_t *>codes, NULL, NULL
    return _ok(fnn_loss(_isa, losses, &o if dZ != NULL else NULL, &z, &targets, &kind, n, m, _least_one(threads)))


cdef void c_sgd_update(real *w, real *buf, const real *dw, ptrdiff_t size, double lr, double momentum, bint nesterov,
                       double weight_decay, int threads) noexcept nogil:
    cdef int dtype = sizeof(real) == 8
    cdef fnn_matrix x = _samples_of(w, size, dtype), b = _samples_of(buf, size, dtype)
    cdef fnn_matrix d = _samples_of(dw, size, dtype)
    cdef fnn_optimizer o
    memset(&o, 0, sizeof(fnn_optimizer))
    o.size = sizeof(fnn_optimizer)
    o.kind = (FNN_NESTEROV if nesterov else FNN_MOMENTUM) if buf != NULL else FNN_SGD
    o.lr, o.momentum, o.weight_decay = lr, momentum, weight_decay
    fnn_optimizer_update(_isa, &o, 1, &x, &b if buf != NULL else NULL, NULL, &d, size, 1, _least_one(threads))


cdef void c_adam_update(real *w, real *m, real *v, const real *dw, ptrdiff_t size, long long t, double lr, double beta1,
                        double beta2, double eps, double weight_decay, bint decoupled, int threads) noexcept nogil:
    cdef int dtype = sizeof(real) == 8
    cdef fnn_matrix x = _samples_of(w, size, dtype), m1 = _samples_of(m, size, dtype)
    cdef fnn_matrix m2 = _samples_of(v, size, dtype), d = _samples_of(dw, size, dtype)
    cdef fnn_optimizer o
    memset(&o, 0, sizeof(fnn_optimizer))
    o.size = sizeof(fnn_optimizer)
    o.kind, o.lr, o.weight_decay = FNN_ADAMW if decoupled else FNN_ADAM, lr, weight_decay
    o.beta1, o.beta2, o.eps = beta1, beta2, eps
    fnn_optimizer_update(_isa, &o, t, &x, &m1, &m2, &d, size, 1, _least_one(threads))


cdef const void *c_predictor_handle(object predictor, bint is_double) except NULL:
    cdef Engine engine = _engine_of(predictor)
    if (engine.type_num == cnp.NPY_DOUBLE) != is_double:
        raise TypeError(f"the predictor computes in {engine.dtype}, wanted {'float64' if is_double else 'float32'}")
    return engine.net


cdef int c_predict(const void *handle, real *out, const real *X, ptrdiff_t m, int threads) noexcept nogil:
    cdef const fnn_net *net = <const fnn_net *>handle
    cdef int dtype = sizeof(real) == 8, wanted = fnn_net_forward_threads(net, m, threads)
    cdef fnn_matrix x = _samples_of(X, fnn_net_width(net, 0), dtype)
    cdef fnn_matrix o = _samples_of(out, fnn_net_width(net, -1), dtype)
    return _ok(fnn_net_predict(net, &o, &x, m, wanted))
