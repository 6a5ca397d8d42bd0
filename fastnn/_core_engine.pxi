# --- the network: the Engine and the Predictor of the compiled backend, over fnn_net of fastnn.h -----------

cdef enum:
    SLICE_WORK = 200_000_000  # FLOP: passes.py cuts longer predictions into slices, for Ctrl-C
    MOST_THREADS = 1 << 20
    MANY_NUMBERS = 1 << 15  # of a sparse X: to copy the places of fewer takes one thread less than 20 us
    FEW_EPOCHS = 8  # up to so many, the losses of epochs are kept on the stack
    MANY_BATCHES = 40  # batches from which a call is long enough (0.2 ms for small networks) to try a second thread


BATCH_FLOP = 5e3  # the fixed cost of a batch, in FLOP of a slow machine (1 ns): for the length of fit's first slice


# --- checks of data ----------------------------------------------------------------------------------

def quick_codes(y, n_out, m):
    """Class codes as int32 (m,), which engines take; None if y is not plain or holds invalid codes."""
    return _quick_codes(y, n_out, m)


def largest(X, ptrdiff_t columns):
    """The largest |x| of at most `columns` columns of X, evenly spaced; inf if one of their values is not finite."""
    cdef operand x
    cdef ptrdiff_t step = max(1, X.shape[1] // columns)
    if _type(X) >= 0 and _plain(X, _type(X), -1, -1, &x) and x.matrix.row_step == 1:
        x.matrix.column_step *= step
        return fnn_magnitude(_isa, &x.matrix, x.rows, min(columns, x.columns))
    X = X[:, ::step][:, :columns]
    if _type(X) < 0 or not _plain(X, _type(X), -1, -1, &x) or (x.matrix.row_step != 1 and x.matrix.column_step != 1):
        with np.errstate(all="ignore"):
            X = np.array(X, np.float64, order="C")
        _describe(X, &x)
    return fnn_magnitude(_isa, &x.matrix, x.rows, x.columns)


cdef inline int _bytes_of_index(x) noexcept:
    """Bytes of an integer of the array x, 4 or 8, if it is contiguous and its elements can be read in place; else 0."""
    if not cnp.PyArray_CheckExact(x) or cnp.PyArray_NDIM(<cnp.ndarray>x) != 1:
        return 0
    cdef cnp.ndarray a = <cnp.ndarray>x
    if not cnp.PyArray_ISCARRAY_RO(a) or not cnp.PyTypeNum_ISSIGNED(cnp.PyArray_TYPE(a)):
        return 0
    return <int>a.itemsize if a.itemsize == 4 or a.itemsize == 8 else 0


cdef fnn_matrix _input(X, fnn_sparse *lists) except *:
    """X of a network: an ndarray, or a Sparse, which `lists` then describes."""
    cdef fnn_matrix x
    if type(X) is not _Sparse:
        return _samples(X)
    lists.size, lists.m = sizeof(fnn_sparse), X.shape[1]
    cdef int number = cnp.PyArray_TYPE(<cnp.ndarray>X.values)
    lists.dtype = FNN_FLOAT64 if number == cnp.NPY_DOUBLE else FNN_FLOAT32 if number == cnp.NPY_FLOAT else FNN_UINT8
    lists.values = cnp.PyArray_DATA(<cnp.ndarray>X.values)
    lists.features = <const int32_t *>cnp.PyArray_DATA(<cnp.ndarray>X.features)
    lists.starts = <const int64_t *>cnp.PyArray_DATA(<cnp.ndarray>X.starts)
    lists.longest = X.longest()
    x.data, x.row_step, x.column_step, x.dtype = lists, 0, 0, FNN_SPARSE
    return x


# --- the network -----------------------------------------------------------------------------------

cdef object _changed_meanwhile = _guard.changed_meanwhile


cdef fnn_matrix *_room(Py_ssize_t layers) except NULL:
    """Memory for the matrices of so many layers; to be freed."""
    cdef fnn_matrix *all = <fnn_matrix *>malloc(4 * layers * sizeof(fnn_matrix))
    if all == NULL:
        raise MemoryError("fastnn: no memory for the gradients")
    return all


cdef fnn_matrix *_matrices(layers) except NULL:
    """The arrays of all layers, one after the other; to be freed."""
    cdef int count = 0
    cdef fnn_matrix *all = _room(len(layers))
    for layer in layers:
        for T in layer:
            all[count] = _matrix(T)
            count += 1
    return all


cdef double _sum_of_losses(cnp.ndarray losses, ptrdiff_t m) except? -1:
    """The sum of m losses of float32 or float64."""
    cdef double[FEW] few
    cdef const char *at = <const char *>cnp.PyArray_DATA(losses)
    cdef ptrdiff_t i, step = cnp.PyArray_STRIDE(losses, 0)
    cdef bint is_double = cnp.PyArray_TYPE(losses) == cnp.NPY_DOUBLE
    if m <= FEW:  # the arrays of the other way take longer than the sum
        for i in range(m):
            few[i] = (<const double *>(at + i * step))[0] if is_double else (<const float *>(at + i * step))[0]
        return fnn_shares(few, m, 1)
    losses = cnp.PyArray_GETCONTIGUOUS(losses)
    if not is_double:
        losses = cnp.PyArray_Cast(losses, cnp.NPY_DOUBLE)
    return fnn_shares(<const double *>cnp.PyArray_DATA(losses), m, 1)


cdef class Engine:
    """Weights, moments and step count of one network, and the computations with them."""

    cdef fnn_net *net
    cdef int isa, forced, type_num, loss_code
    cdef ptrdiff_t n_in, n_out, y_rows
    cdef double flop  # FLOP of the forward pass of one sample
    cdef readonly object sizes, dtype
    cdef public object optimizer, state_key  # the owner of the optimizer state; set by Trainable
    cdef public bint cautioned  # whether train_step has given its DataWarning; set by one_step.py
    cdef public bint plain  # fnn_fit.plain: whether gradients are stored before the update; tests compare both ways
    cdef public bint has_own_loss  # which quick_step does not know; set by Trainable
    cdef public double penalty, loss_factor, reported_factor  # of scikit-learn: see _numpy.py
    cdef public bint eps_with_v
    cdef bint is_frozen  # all layers are
    cdef uint64_t seed  # of dropout's masks
    cdef object settings, norm
    cdef readonly object standards  # the arguments of standardise(); None: it was not called
    cdef object begun_A, begun_X  # of begin_step: the outputs, and the samples
    cdef cnp.ndarray levels  # of the loss, or None
    # The settings of quick_step, with `_unchanged` of the optimizer and the state_key that they were read with.
    cdef fnn_optimizer step_settings
    cdef fnn_schedule step_schedule
    cdef object read_at, read_key

    def __cinit__(self, sizes, activations, loss, dtype, threads, dropout=None, uint64_t seed=0, norm=None, isa=None):
        cdef int count = len(activations), i
        cdef fnn_layer *layers = <fnn_layer *>malloc(count * sizeof(fnn_layer))
        cdef fnn_spec c_loss = _spec(loss, _LOSSES)
        self.sizes, self.dtype, self.settings, self.seed = sizes, dtype, (activations, loss), seed
        self.norm = norm or (None,) * count
        self.levels = _levels(loss, sizes[count])
        self.penalty, self.loss_factor, self.reported_factor, self.eps_with_v = 0.0, 1.0, 0.0, False
        self.isa, self.forced = _isa if isa is None else isa, threads or 0
        self.type_num, self.loss_code = dtype.num, c_loss.kind
        self.n_in, self.n_out = sizes[0], sizes[count]
        self.y_rows = _target_rows(c_loss.kind, self.n_out)
        self.flop = 2.0 * sum([sizes[i] * sizes[i + 1] for i in range(count)])
        try:
            if layers == NULL:
                raise MemoryError("fastnn: no memory for the network")
            for i in range(count):
                layers[i].size, layers[i].units = sizeof(fnn_layer), sizes[i + 1]
                layers[i].activation = _spec(activations[i], _ACTIVATIONS)
                layers[i].dropout, layers[i].frozen = 0.0 if dropout is None else dropout[i], False
                layers[i].norm = _NORMS.index(self.norm[i])
            self.net = fnn_net_new(self.isa, dtype.itemsize == 8, self.n_in, count, layers, &c_loss)
            if self.net == NULL:
                raise MemoryError(f"fastnn: no memory for the weights of {sizes}")
            fnn_net_force_threads(self.net, self.forced)
        finally:
            free(layers)

    def __dealloc__(self):
        fnn_net_free(self.net)

    cdef object _empty(self, int i, int parameter):
        """A new array for a parameter of layer i."""
        return np.empty((self.sizes[i + 1], self.sizes[i] if parameter == FNN_W else 1), self.dtype)

    def set_parameters(self, parameters):
        """Take copies of the (W, b) of every layer, or (W, b, gamma, beta) where it has a norm."""
        cdef int i, parameter
        cdef fnn_matrix x
        for i, layer in enumerate(parameters):
            for parameter, T in enumerate(layer):
                x = _matrix(T)
                _done(fnn_net_set(self.net, i, parameter, &x))

    def parameters(self):
        """Copies of the parameters of every layer, as set_parameters takes them."""
        return self._layers(-1)

    cdef list _layers(self, int slot):
        """Copies of the parameters of every layer (slot -1), of their average (-2), or of the moments of a slot."""
        cdef int i, parameter
        cdef fnn_matrix x
        layers = []
        for i in range(len(self.sizes) - 1):
            layer = []
            for parameter in range(fnn_net_parameters(self.net, i)):
                T = self._empty(i, parameter)
                x = _matrix(T)
                if slot == -2:
                    fnn_net_get_average(self.net, i, parameter, &x)
                elif slot < 0:
                    fnn_net_get(self.net, i, parameter, &x)
                else:
                    fnn_net_get_moment(self.net, slot, i, parameter, &x)
                layer.append(T)
            layers.append(tuple(layer))
        return layers

    def set_running_statistics(self, statistics):
        """Take copies of (mean, var) of every layer with batch norm; None for the others."""
        cdef int i
        cdef fnn_matrix mean, var
        for i, layer in enumerate(statistics):
            if layer is not None:
                mean, var = _matrix(layer[0]), _matrix(layer[1])
                _done(fnn_net_set(self.net, i, FNN_RUNNING_MEAN, &mean))
                _done(fnn_net_set(self.net, i, FNN_RUNNING_VAR, &var))

    def running_statistics(self):
        """Copies of (mean, var) of every layer with batch norm; None for the others."""
        cdef int i
        cdef fnn_matrix x, s
        statistics = []
        for i, kind in enumerate(self.norm):
            if kind != "batch":
                statistics.append(None)
                continue
            mean, var = self._empty(i, FNN_RUNNING_MEAN), self._empty(i, FNN_RUNNING_VAR)
            x, s = _matrix(mean), _matrix(var)
            fnn_net_get(self.net, i, FNN_RUNNING_MEAN, &x)
            fnn_net_get(self.net, i, FNN_RUNNING_VAR, &s)
            statistics.append((mean, var))
        return statistics

    def normalised(self, int layer, Z):
        """Y = gamma zhat + beta of a layer with a norm, in evaluation mode; the first layer is 0."""
        out = np.empty(Z.shape, self.dtype, order="F")
        cdef fnn_matrix x = _matrix(Z), o = _matrix(out)
        _done(fnn_net_normalise(self.net, layer, &o, &x, Z.shape[1]))
        return out

    def standardise(self, *standards):
        """Use (x_mean, x_scale, y_mean, y_scale, a_scale, a_shift) from now on.

        Each is a float64 array (n,) or None; see fnn_net_standardise.
        """
        x_mean, x_scale, y_mean, y_scale, a_scale, a_shift = standards
        cdef ptrdiff_t targets = 0 if y_mean is None else len(y_mean)
        _done(fnn_net_standardise(self.net, _doubles(x_mean), _doubles(x_scale), targets, _doubles(y_mean),
                                  _doubles(y_scale), _doubles(a_scale), _doubles(a_shift)))
        self.standards = None if x_mean is None else standards
        self.begun_A = self.begun_X = None

    def freeze(self, frozen):
        """Set for each layer whether training leaves it as it is."""
        cdef int i
        self.is_frozen = all(frozen)
        for i, each in enumerate(frozen):
            _done(fnn_net_freeze(self.net, i, each))

    def start_optimizer(self, slots, average=0.0):
        """Start a new optimizer state: `slots` moments of 0 for each parameter, no steps, perhaps an average."""
        _done(fnn_net_start_optimizer(self.net, slots))
        if average:
            _done(fnn_net_start_average(self.net, average))

    def average(self):
        """Copies of the averages of (W, b) of every layer; None if no average is kept."""
        return self._layers(-2) if fnn_net_average_share(self.net) else None

    def optimizer_state(self):
        """A copy of the optimizer's state for :meth:`set_optimizer_state`; None if there is no slot or no step yet."""
        cdef int slot, slots = fnn_net_slots(self.net)
        cdef double share = fnn_net_average_share(self.net)
        if not (slots or share) or not fnn_net_steps(self.net):
            return None
        state = {"steps": fnn_net_steps(self.net), "moments": [self._layers(slot) for slot in range(slots)]}
        return state | {"average": (share, self._layers(-2))} if share else state

    def set_optimizer_state(self, state):
        """Copy `state` into the engine; None: drop the state, so that there are no slots."""
        cdef int slot, i, parameter
        cdef fnn_matrix x
        moments = state["moments"] if state else []
        share, averages = state.get("average", (0.0, ())) if state else (0.0, ())
        self.start_optimizer(len(moments), share)
        for i, layer in enumerate(averages):
            for parameter, T in enumerate(layer):
                x = _matrix(T)
                fnn_net_set_average(self.net, i, parameter, &x)
        for slot, layers in enumerate(moments):
            for i, layer in enumerate(layers):
                for parameter, T in enumerate(layer):
                    x = _matrix(T)
                    fnn_net_set_moment(self.net, slot, i, parameter, &x)
        fnn_net_set_steps(self.net, state["steps"] if state else 0)

    def snapshot(self, spare=None):
        """A copy of everything that training changes, for :meth:`restore`; overwrites the snapshot `spare` if given.

        `spare` is reused only if it has the right size. It is a bytes object, so nothing else may refer to it.
        """
        cdef bytes data = spare
        cdef Py_ssize_t size = fnn_net_bytes(self.net)
        if data is None or len(data) != size:
            data = PyBytes_FromStringAndSize(NULL, size)
        fnn_net_snapshot(self.net, PyBytes_AS_STRING(data))
        return data

    def restore(self, snapshot):
        """Go back to a snapshot, also to one with another number of slots."""
        cdef bytes data = snapshot
        _done(fnn_net_restore(self.net, PyBytes_AS_STRING(data)))

    def steps(self):
        """Updates since the optimizer's state was started."""
        return fnn_net_steps(self.net)

    def updates(self):
        """Updates in the network's life, on which dropout depends."""
        return fnn_net_updates(self.net)

    def set_updates(self, uint64_t updates):
        """Set the count of :meth:`updates`."""
        fnn_net_set_updates(self.net, updates)

    def is_finite(self):
        """Whether all weights, biases, moments and running statistics are finite."""
        return bool(fnn_net_finite(self.net))

    def copy(self):
        """A new engine with copies of the parameters and without moments, for a predictor."""
        twin = Engine(self.sizes, *self.settings, self.dtype, self.forced or None, norm=self.norm, isa=self.isa)
        twin.set_parameters(self.parameters())
        twin.set_running_statistics(self.running_statistics())
        if self.standards is not None:
            twin.standardise(*self.standards)
        twin.penalty, twin.loss_factor, twin.eps_with_v = self.penalty, self.loss_factor, self.eps_with_v
        twin.reported_factor = self.reported_factor
        return twin

    cdef int _threads(self, int wanted):
        """The number of threads to use: `wanted`, but at most the limit, which is only read if it matters."""
        return wanted if self.forced or wanted == 1 else min(wanted, _limit())

    cdef int _predict(self, const operand *X, const operand *out) except -1:
        cdef ptrdiff_t m = X.columns
        cdef int threads = self._threads(fnn_net_forward_threads(self.net, m, MOST_THREADS)), status
        cdef PyThreadState *state = _release(m * self.flop)
        status = fnn_net_predict(self.net, &out.matrix, &X.matrix, m, threads)
        _acquire(state)
        return _done(status)

    def predict(self, X, out):
        """``out[...] = A[L]``, out (n_L, m)."""
        cdef operand x = _ABSENT, o = _operand(out)
        cdef fnn_sparse lists
        x.matrix, x.columns = _input(X, &lists), X.shape[1]
        self._predict(&x, &o)

    cpdef quick_predict(self, X, out, Guard guard):
        """A[L] of X in `out` or a new array; None if X or `out` is not plain. `guard` None: no lock needed."""
        cdef operand x, o
        if not _plain(X, self.type_num, self.n_in, -1, &x) or x.columns * self.flop > SLICE_WORK:
            return None
        if not (_fit(out, self.type_num, self.n_out, x.columns, &o) and _apart(&o, &x)):
            return None
        result = _new(self.type_num, self.n_out, x.columns, None, &o) if out is None else out
        if guard is None:
            self._predict(&x, &o)
            return result
        guard.enter(READ)
        try:
            self._predict(&x, &o)
        finally:
            guard.leave(READ)
        return result

    def loss(self, X, y, sample_weight):
        """Sum of w_i L_i and sum of w_i over the samples (w_i = 1 without weights)."""
        cdef fnn_sparse lists
        cdef fnn_matrix x = _input(X, &lists)
        cdef fnn_targets targets = _targets(y, sample_weight, self.levels)
        cdef ptrdiff_t m = X.shape[1]
        cdef double total
        cdef int threads = self._threads(fnn_net_forward_threads(self.net, m, MOST_THREADS)), status
        with nogil:
            status = fnn_net_loss(self.net, &total, &x, &targets, m, threads)
        _done(status)
        return total, float(m if sample_weight is None else sample_weight.sum())

    def gradients(self, X, y, sample_weight, bint training=False):
        """Mean loss, and the gradients of every layer's parameters; with `training` those of the next update."""
        cdef fnn_sparse lists
        cdef fnn_matrix x = _input(X, &lists)
        cdef fnn_targets targets = _targets(y, sample_weight, self.levels)
        cdef ptrdiff_t m = X.shape[1]
        cdef int status
        cdef int threads = self._threads(fnn_net_train_threads(self.net, m, MOST_THREADS))
        cdef double total
        layers = self._empty_layers()
        cdef fnn_matrix *outs = _matrices(layers)
        try:
            with nogil:
                if training:
                    status = fnn_net_training_gradients(self.net, &total, outs, &x, &targets, m, self.seed, threads)
                else:
                    status = fnn_net_gradients(self.net, &total, outs, &x, &targets, m, threads)
            _done(status)
        finally:
            free(outs)
        return total / float(m if sample_weight is None else sample_weight.sum()), layers

    cdef list _empty_layers(self):
        """New arrays for the parameters of every layer."""
        cdef int i, parameter
        return [tuple([self._empty(i, parameter) for parameter in range(fnn_net_parameters(self.net, i))])
                for i in range(len(self.norm))]

    # --- a loss of the caller's own: explained in _numpy.py ---

    cdef object _forward_part(self, X, bint begins, bint notes):
        """A[L] (n_L, m) of the next update; if it `begins` that, the network keeps what end_step needs."""
        cdef fnn_sparse lists
        cdef fnn_matrix x = _input(X, &lists)
        cdef operand a
        cdef ptrdiff_t m = X.shape[1]
        cdef int threads = self._threads(fnn_net_train_threads(self.net, m, MOST_THREADS)), status
        cdef PyThreadState *state
        A = _new(self.type_num, self.n_out, m, None, &a)
        state = _release(m * self.flop)
        if begins:
            status = fnn_net_begin_step(self.net, &a.matrix, &x, m, self.seed, threads, notes)
        else:
            status = fnn_net_training_outputs(self.net, &a.matrix, &x, m, self.seed, threads)
        _acquire(state)
        _done(status)
        return A if self.standards is None else _standardisation.in_units(self.standards, A)

    def training_outputs(self, X):
        """A[L] (n_L, m) as the next update would have it, with X as its batch."""
        return self._forward_part(X, False, False)

    def backward(self, X, dA, double weight, bint training=False, bint moves=False):
        """The gradients of every layer's parameters, and dX (n_0, m); with `moves` running statistics move, too."""
        dA = dA if self.standards is None else _standardisation.of_derivatives(self.standards, dA)
        cdef fnn_sparse lists
        cdef fnn_matrix x = _input(X, &lists), da = _matrix(dA)
        return self._backward(&x, X.shape[1], &da, weight, FNN_MOVES_RUNNING if moves else training)

    cdef tuple _backward(self, const fnn_matrix *x, ptrdiff_t m, const fnn_matrix *da, double weight, int how):
        cdef operand dx
        cdef int threads = self._threads(fnn_net_train_threads(self.net, m, MOST_THREADS)), status
        cdef PyThreadState *state
        cdef fnn_matrix *outs = _room(len(self.norm))
        try:
            layers, dX = self._new_gradients(outs), _new(self.type_num, self.n_in, m, None, &dx)
            state = _release(3 * m * self.flop)
            status = fnn_net_backward(self.net, outs, &dx.matrix, x, da, m, weight, how, self.seed, threads)
            _acquire(state)
            _done(status)
        finally:
            free(outs)
        return layers, dX if self.standards is None else _standardisation.derivatives_in_units(self.standards, dX)

    cdef list _new_gradients(self, fnn_matrix *outs):
        """New arrays for the gradients of every layer, in the order in which the products store dW. Fills `outs`."""
        cdef int i, parameter, count = 0
        cdef operand x
        cdef bint by_columns
        cdef list layers = [], layer
        for i in range(len(<tuple>self.norm)):
            layer = []
            by_columns = not fnn_net_gradient_by_rows(self.net, i)
            for parameter in range(fnn_net_parameters(self.net, i)):
                layer.append(_new_in_order(self.type_num, fnn_net_width(self.net, i + 1),
                                           fnn_net_width(self.net, i) if parameter == FNN_W else 1, by_columns, &x))
                outs[count] = x.matrix
                count += 1
            layers.append(tuple(layer))
        return layers

    def quick_backward(self, X, dA, bint training, Guard guard not None):
        """The result of backward if X and dA are plain, and not too many samples; else None."""
        cdef operand x, da
        if not _plain(X, self.type_num, self.n_in, -1, &x) or x.columns * self.flop > SLICE_WORK:
            return None
        if not _plain(dA, self.type_num, self.n_out, x.columns, &da):
            return None
        guard.enter(READ)
        try:
            if self.standards is not None:
                return self.backward(X, dA, <double>x.columns, training)
            return self._backward(&x.matrix, x.columns, &da.matrix, <double>x.columns, training)
        finally:
            guard.leave(READ)

    def quick_update(self, gradients, optimizer, Guard guard not None):
        """Whether an update was made: if all is plain, and it is certain that every number stays finite."""
        cdef fnn_fit fit
        cdef fnn_matrix *given
        cdef bint is_ours = type(gradients) is list and len(<list>gradients) == len(self.norm)
        if not is_ours:
            return False
        guard.enter(STEP)
        try:
            if not self._goes_on(optimizer):
                return False
            if self.step_settings.clip_value:
                return False  # it would make an infinite gradient a finite one
            given = _room(len(self.norm))
            try:
                if not self._take_plain(<list>gradients, given):
                    return False
                self._set_fit(&fit, &self.step_settings, None)
                self._one(None, NULL, 1, given, &fit)
            finally:
                free(given)
            return not (fit.failed or fit.unsafe)
        finally:
            guard.leave(STEP)

    cdef bint _take_plain(self, list gradients, fnn_matrix *given):
        """Whether these are the gradients of every layer as backward gives them; if so fill `given`."""
        cdef int i, parameter, count = 0
        cdef operand x
        for i in range(len(gradients)):
            layer = gradients[i]
            if type(layer) is not tuple or len(<tuple>layer) != fnn_net_parameters(self.net, i):
                return False
            for parameter in range(fnn_net_parameters(self.net, i)):
                if not _plain((<tuple>layer)[parameter], self.type_num, fnn_net_width(self.net, i + 1),
                              fnn_net_width(self.net, i) if parameter == FNN_W else 1, &x):
                    return False
                given[count] = x.matrix
                count += 1
        return True

    cpdef begin_step(self, X, bint notes=False):
        """The outputs A of :meth:`training_outputs`; what :meth:`end_step` needs is kept."""
        self.begun_A = self.begun_X = None
        A = self._forward_part(X, True, notes)
        self.begun_A, self.begun_X = A, X
        return A

    def quick_begin(self, X, optimizer, Guard guard not None):
        """begin_step where X is plain, and `optimizer` (None: the last one) continues the engine's state; else None."""
        cdef operand x
        if not self._goes_on(optimizer) or not _plain(X, self.type_num, self.n_in, -1, &x):
            return None
        guard.enter(WRITE)
        try:
            return self.begin_step(X)
        finally:
            guard.leave(WRITE)

    def quick_end(self, A, result, Guard guard not None):
        """end_step with what a loss returned, (losses, dA), if both are plain and finite, and the settings that
        quick_begin read; returns the mean loss. None: nothing was changed, and end_step can do it."""
        cdef operand da
        cdef fnn_fit fit
        cdef ptrdiff_t m
        cdef double total
        if type(result) is not tuple or len(<tuple>result) != 2 or A is not self.begun_A:
            return None
        if self.standards is not None:  # end_step brings dA to the network's units
            return None
        each, dA, m = (<tuple>result)[0], (<tuple>result)[1], (<cnp.ndarray>A).shape[1]
        if not _plain(dA, self.type_num, self.n_out, m, &da) or not (da.matrix.row_step == 1 or
                                                                     da.matrix.column_step == 1):
            return None
        if _type(each) < 0 or not _readable(each, _type(each), 1) or cnp.PyArray_DIM(<cnp.ndarray>each, 0) != m:
            return None
        total = _sum_of_losses(<cnp.ndarray>each, m)
        if total - total != 0 or not fnn_magnitude(_isa, &da.matrix, self.n_out, m) <= DBL_MAX:
            return None
        self._set_fit(&fit, &self.step_settings, None)
        guard.enter(WRITE)
        try:
            self._one(A, &da.matrix, <double>m, NULL, &fit)
        finally:
            guard.leave(WRITE)
        if fit.failed or fit.unsafe:
            return None
        self.begun_A = self.begun_X = None
        return total / m

    def end_step(self, A, dA, double weight, optimizer, state):
        """The update of a step that :meth:`begin_step` began; False if a number would not be finite."""
        cdef fnn_optimizer settings
        cdef fnn_schedule schedule
        dA = dA if self.standards is None else _standardisation.of_derivatives(self.standards, dA)
        cdef fnn_matrix da = _matrix(dA)
        _set_optimizer(&settings, &schedule, optimizer, fnn_net_slots(self.net))
        return self._safe_step(A, &da, weight, NULL, &settings, state)

    def update(self, gradients, optimizer, state):
        """One update from given gradients; False if a number would not be finite."""
        cdef fnn_optimizer settings
        cdef fnn_schedule schedule
        cdef fnn_matrix *given = _matrices(gradients)
        try:
            _set_optimizer(&settings, &schedule, optimizer, fnn_net_slots(self.net))
            return self._safe_step(None, NULL, 1, given, &settings, state)
        finally:
            free(given)

    cdef object _safe_step(self, A, fnn_matrix *dA, double weight, fnn_matrix *gradients, fnn_optimizer *settings,
                           state):
        """A step from dA, or from gradients. It is tried with bounds first, which need no copy of the numbers."""
        cdef fnn_fit fit
        self._set_fit(&fit, settings, state)
        self._one(A, dA, weight, gradients, &fit)
        if fit.unsafe:
            before = self.snapshot()
            fit.cautious = False
            self._one(A, dA, weight, gradients, &fit)
            if fit.failed or not fit.finite:
                self.restore(before)
                return False
        state.rate = fit.rate
        self.begun_A = self.begun_X = None
        return True

    cdef void _set_fit(self, fnn_fit *fit, const fnn_optimizer *settings, state):
        memset(fit, 0, sizeof(fnn_fit))
        fit.size, fit.optimizer, fit.batch, fit.cautious, fit.plain = sizeof(fnn_fit), settings, 1, True, self.plain
        if state is not None:
            fit.time, fit.rate, fit.before, fit.whole = state.time, state.rate, state.before, state.whole or 0
            if state.diagnostics is not None:
                fit.diagnostics = <double *>cnp.PyArray_DATA(<cnp.ndarray>state.diagnostics)

    cdef int _one(self, A, fnn_matrix *dA, double weight, fnn_matrix *gradients, fnn_fit *fit) except -1:
        cdef fnn_sparse lists
        cdef fnn_matrix x
        cdef ptrdiff_t m = 1
        cdef int status, threads
        cdef PyThreadState *state
        if gradients != NULL:
            threads = self._threads(fnn_net_train_threads(self.net, 0, MOST_THREADS))
            state = _release(10 * self.flop)
            status = fnn_net_update(self.net, gradients, fit, threads)
        else:
            if A is None or A is not self.begun_A:
                raise _changed_meanwhile()
            x = _input(self.begun_X, &lists)
            m = self.begun_X.shape[1]
            threads = self._threads(fnn_net_train_threads(self.net, m, MOST_THREADS))
            state = _release(2 * m * self.flop)
            status = fnn_net_end_step(self.net, &x, dA, m, weight, fit, threads)
        _acquire(state)
        if status == FNN_REFUSED:
            raise _changed_meanwhile()
        return _done(status)

    def sparse_lists(self, indices, indptr, ptrdiff_t n, ptrdiff_t count):
        """Checked copies of the index of a sparse X in CSC order: see _numpy.py."""
        cdef int of_features = _bytes_of_index(indices), of_starts = _bytes_of_index(indptr), ascends, status, threads
        cdef ptrdiff_t longest, m = len(indptr) - 1
        if not of_features:
            indices = np.array(indices, np.int64)
            of_features = 8
        if not of_starts:
            indptr = np.array(indptr, np.int64)
            of_starts = 8
        cdef cnp.ndarray features = np.empty(count, np.int32), starts = np.empty(m + 1, np.int64)
        cdef const void *from_features = cnp.PyArray_DATA(<cnp.ndarray>indices)
        cdef const void *from_starts = cnp.PyArray_DATA(<cnp.ndarray>indptr)
        threads = 1 if count < MANY_NUMBERS else self.forced or _limit()
        with nogil:
            status = fnn_sparse_lists(<int32_t *>cnp.PyArray_DATA(features), <int64_t *>cnp.PyArray_DATA(starts),
                                      &longest, &ascends, from_features, of_features, from_starts, of_starts, n, m,
                                      count, threads)
        if status == FNN_REFUSED:
            return None
        _done(status)
        return features, starts, longest, bool(ascends)

    def reads(self, X):
        """Whether X can be trained on in place, and has this dtype."""
        cdef operand x
        return bool(_plain(X, self.type_num, self.n_in, -1, &x))

    def quick_codes(self, X, y):
        """Class codes as int32 (m,); None if X is not read in place, or y is not plain or holds invalid codes."""
        cdef operand x
        return _quick_codes(y, self.n_out, x.columns) if _plain(X, self.type_num, self.n_in, -1, &x) else None

    def quick_step(self, X, y, optimizer, Guard guard not None):
        """One update with `optimizer` (None: the last one); returns the loss before the update.

        Returns None, with nothing changed, if `optimizer` is not the one whose state the engine has, if X or y is not
        plain or not valid, or if the step might make a number that is not finite.
        """
        guard.enter(STEP)
        try:
            return None if self.has_own_loss or not self._goes_on(optimizer) else self._step(X, y)
        finally:
            guard.leave(STEP)

    cdef bint _goes_on(self, optimizer) except -1:
        """Whether a step with `optimizer` (None: the last one) continues the engine's state; reads its settings."""
        if optimizer is None:
            optimizer = self.optimizer
        if optimizer is not self.optimizer or self.state_key is None or self.is_frozen:
            return False
        unchanged = getattr(optimizer, "_unchanged", None)
        if unchanged is None or unchanged is not self.read_at or self.state_key is not self.read_key:
            return self._read(optimizer, unchanged)
        return True

    cdef bint _read(self, optimizer, unchanged) except -1:
        """Read the settings for quick_step, where `unchanged` is what the optimizer had before.

        Returns whether the engine's state is for these settings, and careful_step has no error for them.
        """
        self.read_at = None
        if unchanged is None:  # before the settings are read: another thread that changes one replaces it afterwards
            unchanged = optimizer.unchanged()
        if optimizer.key() != self.state_key:
            return False
        if not _set_optimizer(&self.step_settings, &self.step_schedule, optimizer, fnn_net_slots(self.net)):
            return False  # the rate depends on epochs
        if self.type_num != cnp.NPY_DOUBLE and (
                max(self.step_settings.clip_norm, self.step_settings.clip_value, self.step_settings.l1) > FLT_MAX):
            return False
        self.read_at, self.read_key = unchanged, self.state_key
        return True

    cdef object _step(self, X, y):
        cdef operand x
        cdef fnn_sparse lists
        cdef ptrdiff_t m
        cdef fnn_targets to
        cdef int32_t[FEW] few
        cdef fnn_fit fit
        cdef double[2] ended
        cdef int threads, status
        cdef PyThreadState *state
        if type(X) is _Sparse:
            x.matrix, x.columns = _input(X, &lists), X.shape[1]
        elif not _plain(X, self.type_num, self.n_in, -1, &x):
            return None
        m = x.columns
        if self.y_rows == 1 and cnp.PyArray_CheckExact(y) and cnp.PyArray_TYPE(<cnp.ndarray>y) != self.type_num:
            if self.standards is not None and self.standards[2] is not None:
                return None  # careful_step casts to float64, because y is centred first
            y = _quick_values(<cnp.ndarray>y, self.type_num, m, _HIGHEST_TARGET[self.loss_code])
        targets = _quick_targets(y, self.loss_code, self.type_num, self.n_out, m, &to, few)
        if targets is None:
            return None
        if self.levels is not None:
            to.levels = <const double *>cnp.PyArray_DATA(self.levels)
        if self.n_out > 1 and not self.cautioned:
            # Targets of which cautions.of_targets may warn: return None, so that careful_step warns once.
            if _HIGHEST_TARGET[self.loss_code] == 1 if to.codes else m == self.n_out:
                return None
        fit.size, fit.optimizer = sizeof(fnn_fit), &self.step_settings
        fit.batch, fit.max_batches, fit.max_epochs, fit.cautious, fit.unchecked = m, 1, 1, True, False
        fit.samples, fit.mask_seed, fit.diagnostics = NULL, self.seed, NULL
        fit.samples_step, fit.rates, fit.ended_rates = 0, NULL, NULL
        fit.penalty, fit.eps_with_v = self.penalty, self.eps_with_v
        fit.loss_factor, fit.reported_factor = self.loss_factor, self.reported_factor
        fit.time = fit.rate = fit.before = fit.whole = 0
        fit.plain = self.plain
        fit.shuffle = fit.order_is_valid = 0
        fit.seed = fit.epoch = fit.position = 0
        fit.loss_sum = fit.weight_sum = 0
        fit.order, fit.ended, fit.ended_count = NULL, ended, 0
        threads = self._threads(fnn_net_train_threads(self.net, m, MOST_THREADS))
        state = _release(3 * m * self.flop)
        status = fnn_net_train(self.net, &x.matrix, &to, m, &fit, threads)
        _acquire(state)
        _done(status)
        return None if fit.failed or fit.unsafe else ended[0] / m

    def train(self, X, y, sample_weight, optimizer, batch_size, seed, state, max_batches, max_epochs, check=True,
              samples=None, rates=None, bint cautious=False):
        """Train until `max_batches` batches are done or `max_epochs` epochs have ended."""
        cdef fnn_sparse lists
        cdef fnn_matrix x = _input(X, &lists)
        cdef fnn_targets targets = _targets(y, sample_weight, self.levels)
        cdef ptrdiff_t m = X.shape[1] if samples is None else samples.shape[samples.ndim - 1]
        cdef cnp.ndarray chosen = samples, each_rate = rates, ended_rates = None
        cdef fnn_optimizer settings
        cdef fnn_schedule schedule
        cdef fnn_fit fit
        cdef cnp.ndarray order = None
        cdef double[2 * FEW_EPOCHS] few
        cdef double *ended = few
        cdef ptrdiff_t per_epoch
        cdef int status, threads, i
        fit.batch = batch_size
        fit.shuffle = seed is not None
        fit.seed = seed or 0
        fit.samples, fit.mask_seed, fit.diagnostics = NULL, self.seed, NULL
        fit.samples_step = 0
        if chosen is not None:
            fit.samples = <uint32_t *>cnp.PyArray_DATA(chosen)
            fit.samples_step = m if chosen.ndim == 2 else 0
        if state.diagnostics is not None:
            fit.diagnostics = <double *>cnp.PyArray_DATA(<cnp.ndarray>state.diagnostics)
        _set_optimizer(&settings, &schedule, optimizer, fnn_net_slots(self.net))
        fit.size, fit.optimizer = sizeof(fnn_fit), &settings
        fit.position, fit.epoch = state.position, state.epoch
        fit.loss_sum, fit.weight_sum, fit.failed = state.loss_sum, state.weight_sum, 0
        if fnn_net_slots(self.net) != optimizer.slots:
            raise RuntimeError("the optimizer's state was dropped in the middle of a training call")
        per_epoch = (m + fit.batch - 1) // fit.batch
        fit.max_batches, fit.cautious, fit.unchecked, fit.plain = max_batches, cautious, not check, self.plain
        fit.max_epochs = min(max_epochs, (fit.position // fit.batch + fit.max_batches) // per_epoch + 1)
        if fit.max_epochs > FEW_EPOCHS:
            many = PyBytes_FromStringAndSize(NULL, fit.max_epochs * 2 * sizeof(double))
            ended = <double *>PyBytes_AS_STRING(many)
        fit.ended, fit.ended_count = ended, 0
        fit.time, fit.rate, fit.before, fit.whole = state.time, state.rate, state.before, state.whole or 0
        fit.rates, fit.ended_rates = NULL, NULL
        fit.penalty, fit.eps_with_v = self.penalty, self.eps_with_v
        fit.loss_factor, fit.reported_factor = self.loss_factor, self.reported_factor
        if each_rate is not None:
            fit.rates = <const double *>cnp.PyArray_DATA(each_rate)
        if each_rate is not None or settings.schedule != NULL:
            ended_rates = np.empty(fit.max_epochs)
            fit.ended_rates = <double *>cnp.PyArray_DATA(ended_rates)
        fit.order, fit.order_is_valid = NULL, 0
        if fit.shuffle:
            order = np.empty(m, np.uint32) if state.order is None else state.order
            fit.order, fit.order_is_valid = <uint32_t *>cnp.PyArray_DATA(order), state.order is not None
        if min(fit.max_batches, per_epoch * fit.max_epochs) >= MANY_BATCHES:
            threads = self._threads(fnn_net_fit_threads(self.net, min(fit.batch, m), MOST_THREADS))
        else:
            threads = self._threads(fnn_net_train_threads(self.net, min(fit.batch, m), MOST_THREADS))
        with nogil:
            status = fnn_net_train(self.net, &x, &targets, m, &fit, threads)
        _done(status)
        state.epoch, state.position, state.rate = fit.epoch, fit.position, fit.rate
        state.time += fit.ended_count
        state.ended_rates = None if ended_rates is None else ended_rates[:fit.ended_count].tolist()
        state.loss_sum, state.weight_sum = fit.loss_sum, fit.weight_sum
        if state.first_loss is None:
            first_loss = fnn_net_first_loss(self.net)
            state.first_loss = first_loss if first_loss == first_loss else None
        state.failed, state.finite = bool(fit.failed), bool(fit.finite)
        if cautious:
            state.unsafe = bool(fit.unsafe)
        state.order = order if fit.order_is_valid else None
        state.ended = sums = [(ended[2 * i], ended[2 * i + 1]) for i in range(fit.ended_count)]
        return sums


cdef class Predictor:
    """A network with fixed weights that only predicts: :meth:`Network.predictor` returns its method ``predict``.

    The object itself is not callable: ``__call__`` would pack keyword arguments into a dict, which takes as long as
    the prediction of a small network.
    """

    cdef Engine engine
    cdef object long_way, reduced

    def __init__(self, engine, long_way, reduced):
        self.engine, self.long_way, self.reduced = engine, long_way, reduced

    def predict(self, X, out=None):
        """Outputs A[L] with the weights that the predictor has; arguments as for :meth:`Network.predict`."""
        result = self.engine.quick_predict(X, out, None)
        return self.long_way(self.engine, X, out) if result is None else result

    def __reduce__(self):
        return self.reduced()

    def __deepcopy__(self, memo):
        return self  # a predictor never changes
