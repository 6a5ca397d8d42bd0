# --- the functions of fastnn.kernels, whole, for plain arguments --------------------------------------------
#
# kernels.py hands over each of its functions and gets back the one here, which does at once what is plain and calls
# that of kernels.py for all else: other arrays, strides, names with parameters, results over operands, and errors.

cdef dict _careful = {}  # the functions of kernels.py, by name

cdef str _IF_NEEDED = "if_needed", _NEVER = "never"


cdef inline bint _known(copy) noexcept:
    """Whether `copy` is legal: nothing plain is ever copied. Literals are one object each; others go the long way."""
    return copy is _IF_NEEDED or copy is _NEVER


cdef inline int _activation_code(name) except -2:
    return _code(name, _ACTIVATIONS, _ACTIVATION_NAMES)


cdef inline int _optional_activation(name) except -2:
    return FNN_IDENTITY if name is None else _activation_code(name)


def _linear_forward_entry(W, A_prev, b, activation=None, out=None, copy="if_needed"):
    cdef int dtype = _type(W), g = _optional_activation(activation)
    cdef ptrdiff_t n_out, m
    if dtype >= 0 and g >= 0 and _known(copy) and _plain(W, dtype, -1, -1):
        n_out = cnp.PyArray_DIM(W, 0)
        if _plain(A_prev, dtype, cnp.PyArray_DIM(W, 1), -1) and _plain_column(b, dtype, n_out):
            m = cnp.PyArray_DIM(A_prev, 1)
            if _fit(out, dtype, n_out, m) and _apart(out, W) and _apart(out, A_prev) and _apart(out, b):
                result = _new(dtype, n_out, m, A_prev) if out is None else out
                _linear_forward(W, A_prev, b, g, False, result)
                return result
    return _careful["linear_forward"](W, A_prev, b, activation, out, copy)


def _activation_forward_entry(Z, kind, out=None, copy="if_needed"):
    cdef int dtype = _type(Z), g = _activation_code(kind)
    cdef ptrdiff_t n, m
    if dtype >= 0 and g >= 0 and _known(copy) and _plain(Z, dtype, -1, -1):
        n, m = cnp.PyArray_DIM(Z, 0), cnp.PyArray_DIM(Z, 1)
        if _fit(out, dtype, n, m) and (out is Z or _apart(out, Z)):
            result = _new(dtype, n, m, Z) if out is None else out
            _activation(None, Z, g, result)
            return result
    return _careful["activation_forward"](Z, kind, out, copy)


def _activation_backward_entry(dA, A, kind, Z=None, out=None, copy="if_needed"):
    cdef int dtype = _type(dA), g = _activation_code(kind)
    cdef ptrdiff_t n, m
    if dtype >= 0 and g >= 0 and Z is None and _known(copy) and _plain(dA, dtype, -1, -1):
        n, m = cnp.PyArray_DIM(dA, 0), cnp.PyArray_DIM(dA, 1)
        if _plain(A, dtype, n, m):
            if _fit(out, dtype, n, m) and (out is A or _apart(out, A)) and (out is dA or _apart(out, dA)):
                result = _new(dtype, n, m, dA) if out is None else out
                _activation(dA, A, g, result)
                return result
    return _careful["activation_backward"](dA, A, kind, Z, out, copy)


def _rowsum_entry(dZ, out=None, copy="if_needed"):
    cdef int dtype = _type(dZ)
    cdef ptrdiff_t n
    if dtype >= 0 and _known(copy) and _plain(dZ, dtype, -1, -1):
        n = cnp.PyArray_DIM(dZ, 0)
        if _fit(out, dtype, n, 1) and _apart(out, dZ):
            result = _new(dtype, n, 1, dZ) if out is None else out
            _rowsum(dZ, result)
            return result
    return _careful["rowsum"](dZ, out, copy)


def _linear_backward_entry(dZ, A_prev, W=None, out=None, activation=None, copy="if_needed"):
    cdef int dtype = _type(dZ), g = _optional_activation(activation)
    cdef tuple results = _three(out)
    if W is None and activation is not None:
        g = -1
    if dtype >= 0 and g >= 0 and results is not None and _known(copy) and _plain(dZ, dtype, -1, -1):
        results = _quick_linear_backward(dZ, A_prev, W, results, g, dtype)
        if results is not None:
            return results
    return _careful["linear_backward"](dZ, A_prev, W, out, activation, copy)


cdef tuple _NOTHING = (None, None, None)


cdef tuple _three(out):
    """The three results asked for, or None if that is something else."""
    if out is None:
        return _NOTHING
    return out if type(out) is tuple and len(<tuple>out) == 3 else None


cdef tuple _quick_linear_backward(cnp.ndarray dZ, A_prev, W, tuple results, int g, int dtype):
    """The three results, or None."""
    cdef ptrdiff_t n_out = cnp.PyArray_DIM(dZ, 0), m = cnp.PyArray_DIM(dZ, 1), n_in
    dW, db, dA_prev = results
    if not _plain(A_prev, dtype, -1, m):
        return None
    n_in = cnp.PyArray_DIM(A_prev, 0)
    if W is None:
        if dA_prev is not None:
            return None
    elif not _plain(W, dtype, n_out, n_in):
        return None
    if not (_fit(dW, dtype, n_out, n_in) and _fit(db, dtype, n_out, 1) and _fit(dA_prev, dtype, n_in, m)):
        return None
    if not (_apart(dW, db) and _apart(dW, dA_prev) and _apart(db, dA_prev)):
        return None
    for result in results:
        if not (_apart(result, dZ) and _apart(result, A_prev) and _apart(result, W)):
            return None
    if dW is None or db is None or (dA_prev is None and W is not None):
        dW = _new(dtype, n_out, n_in, dZ if W is None else W) if dW is None else dW
        db = _new(dtype, n_out, 1, dZ) if db is None else db
        dA_prev = _new(dtype, n_in, m, dZ) if dA_prev is None and W is not None else dA_prev
        results = (dW, db, dA_prev)
    _linear_backward(dZ, A_prev, W, dW, db, dA_prev, g)
    return results


cdef cnp.ndarray _targets_of(Z, y, int loss, sample_weight, copy):
    """Targets of a quick loss of Z, or None."""
    cdef int dtype = _type(Z)
    if sample_weight is not None or dtype < 0 or not _known(copy) or not _plain(Z, dtype, -1, -1):
        return None
    return _quick_targets(y, loss, dtype, cnp.PyArray_DIM(Z, 0), cnp.PyArray_DIM(Z, 1))


def _loss_forward_entry(Z, y, kind, sample_weight=None, copy="if_needed"):
    cdef int loss = _code(kind, _LOSSES, _LOSS_NAMES)
    cdef cnp.ndarray targets = _targets_of(Z, y, loss, sample_weight, copy)
    if targets is None:
        return _careful["loss_forward"](Z, y, kind, sample_weight, copy)
    return _mean_loss(Z, targets, loss, None)


def _loss_backward_entry(Z, y, kind, sample_weight=None, out=None, copy="if_needed"):
    cdef int loss = _code(kind, _LOSSES, _LOSS_NAMES)
    cdef cnp.ndarray targets = _targets_of(Z, y, loss, sample_weight, copy)
    cdef ptrdiff_t n, m
    if targets is not None:
        n, m = cnp.PyArray_DIM(Z, 0), cnp.PyArray_DIM(Z, 1)
        if _fit(out, _type(Z), n, m) and _apart(out, Z) and _apart(out, targets):
            result = _new(_type(Z), n, m, Z) if out is None else out
            _losses(Z, targets, loss, None, NULL, result)
            return result
    return _careful["loss_backward"](Z, y, kind, sample_weight, out, copy)


def _optimizer_update_entry(optimizer, W, dW, moments=(), step=1, out=None, copy="if_needed"):
    if type(moments) is tuple and type(out) is tuple and type(step) is int and _known(copy):
        if _quick_optimizer_update(optimizer, W, dW, moments, step, out):
            return out
    return _careful["optimizer_update"](optimizer, W, dW, moments, step, out, copy)


cdef tuple _RULES = OPTIMIZERS  # a subclass may have settings of its own


cdef bint _quick_optimizer_update(optimizer, W, dW, tuple moments, step, tuple out) except -1:
    """Whether it was in place, and is done."""
    cdef Py_ssize_t i, slots = len(moments)
    if type(optimizer) not in _RULES or optimizer.slots != slots or len(out) != slots + 1 or not 0 < step < 1 << 53:
        return False
    if _type(W) < 0:
        return False
    if cnp.PyArray_NDIM(W) not in (1, 2) or not (cnp.PyArray_IS_C_CONTIGUOUS(W) or cnp.PyArray_IS_F_CONTIGUOUS(W)):
        return False
    if not (_alike(W, W) and _alike(dW, W) and out[0] is W and cnp.PyArray_ISWRITEABLE(W) and _apart(W, dW)):
        return False
    for i in range(slots):
        moment = moments[i]
        if out[i + 1] is not moment or not _alike(moment, W) or not cnp.PyArray_ISWRITEABLE(moment):
            return False
        if not (_apart(moment, W) and _apart(moment, dW) and (i == 0 or _apart(moment, moments[0]))):
            return False
    _update(optimizer, W, dW, moments, step)
    return True


cdef dict _ENTRIES = {
    "linear_forward": _linear_forward_entry,
    "linear_backward": _linear_backward_entry,
    "activation_forward": _activation_forward_entry,
    "activation_backward": _activation_backward_entry,
    "rowsum": _rowsum_entry,
    "loss_forward": _loss_forward_entry,
    "loss_backward": _loss_backward_entry,
    "optimizer_update": _optimizer_update_entry,
}


def direct(function):
    """The way into a function of ``kernels.py`` that its callers take."""
    entry = _ENTRIES[function.__name__]
    _careful[function.__name__] = function
    return functools.update_wrapper(entry, function)
