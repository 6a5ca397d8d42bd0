# --- fast versions of the functions of fastnn.kernels, for plain arguments ----------------------------------
#
# kernels.py passes each of its functions to direct() and gets the version here. It computes at once if all arguments
# are plain, and otherwise calls the function of kernels.py: for arrays that need a cast, names with parameters,
# an `out` that overlaps an operand, and errors.

cdef dict _careful = {}  # the functions of kernels.py, by name

cdef str _IF_NEEDED = "if_needed", _NEVER = "never"


cdef inline bint _known(copy) noexcept:
    """Whether `copy` is one of the two literals, compared by identity. Plain arguments are never copied in either case.

    An equal string that is another object returns False, and kernels.py handles it.
    """
    return copy is _IF_NEEDED or copy is _NEVER


cdef inline int _activation_code(name) except -2:
    return _code(name, _ACTIVATIONS, _ACTIVATION_NAMES)


cdef inline int _optional_activation(name) except -2:
    return FNN_IDENTITY if name is None else _activation_code(name)


def _linear_forward_entry(W, A_prev, b, activation=None, out=None, copy="if_needed"):
    cdef int dtype = _type(W), g = _optional_activation(activation)
    cdef operand w, a, c, o
    if (dtype >= 0 and g >= 0 and _known(copy) and _plain(W, dtype, -1, -1, &w)
            and _plain(A_prev, dtype, w.columns, -1, &a) and _plain_column(b, dtype, w.rows, &c)
            and _fit(out, dtype, w.rows, a.columns, &o) and _apart(&o, &w) and _apart(&o, &a) and _apart(&o, &c)):
        result = _new(dtype, w.rows, a.columns, A_prev, &o) if out is None else out
        _linear_forward(&w, &a, &c, &_PLAIN_ACTIVATIONS[g], False, &o)
        return result
    return _careful["linear_forward"](W, A_prev, b, activation, out, copy)


def _activation_forward_entry(Z, kind, out=None, copy="if_needed"):
    cdef int dtype = _type(Z), g = _activation_code(kind)
    cdef operand z, o
    if (dtype >= 0 and g >= 0 and _known(copy) and _plain(Z, dtype, -1, -1, &z)
            and _fit(out, dtype, z.rows, z.columns, &o) and (out is Z or _apart(&o, &z))):
        result = _new(dtype, z.rows, z.columns, Z, &o) if out is None else out
        _activation(&_ABSENT, &z, &_PLAIN_ACTIVATIONS[g], &o)
        return result
    return _careful["activation_forward"](Z, kind, out, copy)


def _activation_backward_entry(dA, A, kind, Z=None, out=None, copy="if_needed"):
    cdef int dtype = _type(dA), g = _activation_code(kind)
    cdef bint from_z = g >= 0 and _SLOPE_FROM_Z[g]
    cdef operand d, x, o
    slope_from = Z if from_z else A
    if (dtype >= 0 and g >= 0 and (A if from_z else Z) is None and _known(copy) and _plain(dA, dtype, -1, -1, &d)
            and _plain(slope_from, dtype, d.rows, d.columns, &x) and _fit(out, dtype, d.rows, d.columns, &o)
            and (out is slope_from or _apart(&o, &x)) and (out is dA or _apart(&o, &d))):
        result = _new(dtype, d.rows, d.columns, dA, &o) if out is None else out
        _activation(&d, &x, &_PLAIN_ACTIVATIONS[g], &o)
        return result
    return _careful["activation_backward"](dA, A, kind, Z, out, copy)


def _rowsum_entry(dZ, out=None, copy="if_needed"):
    cdef int dtype = _type(dZ)
    cdef operand z, o
    if (dtype >= 0 and _known(copy) and _plain(dZ, dtype, -1, -1, &z) and _fit(out, dtype, z.rows, 1, &o)
            and _apart(&o, &z)):
        result = _new(dtype, z.rows, 1, dZ, &o) if out is None else out
        _rowsum(&z, &o)
        return result
    return _careful["rowsum"](dZ, out, copy)


def _linear_backward_entry(dZ, A_prev, W=None, out=None, activation=None, copy="if_needed"):
    cdef int g = _optional_activation(activation)
    cdef tuple results = _three(out)
    if (W is None and activation is not None) or (g >= 0 and _SLOPE_FROM_Z[g]):
        g = -1  # kernels.py refuses these
    if g >= 0 and results is not None and _known(copy):
        results = _quick_linear_backward(dZ, A_prev, W, results, g)
        if results is not None:
            return results
    return _careful["linear_backward"](dZ, A_prev, W, out, activation, copy)


cdef tuple _NOTHING = (None, None, None)


cdef tuple _three(out):
    """`out` as a tuple of three arrays or None; None if `out` is something else."""
    if out is None:
        return _NOTHING
    return out if type(out) is tuple and len(<tuple>out) == 3 else None


cdef inline bint _apart_from(const operand *o, const operand *a, const operand *b, const operand *c) noexcept:
    return _apart(o, a) and _apart(o, b) and _apart(o, c)


cdef tuple _quick_linear_backward(dZ, A_prev, W, tuple results, int g):
    """(dW, db, dA_prev); None if an argument is not plain."""
    cdef int dtype = _type(dZ)
    cdef operand z, a, w, o, o_b, o_a
    dW, db, dA_prev = results
    if dtype < 0 or not (_plain(dZ, dtype, -1, -1, &z) and _plain(A_prev, dtype, -1, z.columns, &a)):
        return None
    if W is None:
        if dA_prev is not None:
            return None
        w = _ABSENT
    elif not _plain(W, dtype, z.rows, a.rows, &w):
        return None
    if not (_fit(dW, dtype, z.rows, a.rows, &o) and _fit(db, dtype, z.rows, 1, &o_b)
            and _fit(dA_prev, dtype, a.rows, z.columns, &o_a)):
        return None
    if not (_apart(&o, &o_b) and _apart(&o, &o_a) and _apart(&o_b, &o_a) and _apart_from(&o, &z, &a, &w)
            and _apart_from(&o_b, &z, &a, &w) and _apart_from(&o_a, &z, &a, &w)):
        return None
    if dW is None or db is None or (dA_prev is None and W is not None):
        dW = _new(dtype, z.rows, a.rows, dZ if W is None else W, &o) if dW is None else dW
        db = _new(dtype, z.rows, 1, dZ, &o_b) if db is None else db
        dA_prev = _new(dtype, a.rows, z.columns, dZ, &o_a) if dA_prev is None and W is not None else dA_prev
        results = (dW, db, dA_prev)
    _linear_backward(&z, &a, &w, &o, &o_b, &o_a, &_PLAIN_ACTIVATIONS[g])
    return results


cdef cnp.ndarray _quick_loss(Z, y, int loss, sample_weight, copy, operand *z, fnn_targets *to, int32_t *few):
    """Fill `z` and `to` from plain Z and y; return the array that owns the targets' memory, or None if not plain."""
    cdef int dtype = _type(Z)
    if sample_weight is not None or dtype < 0 or not _known(copy) or not _plain(Z, dtype, -1, -1, z):
        return None
    return _quick_targets(y, loss, dtype, z.rows, z.columns, to, few)


def _loss_forward_entry(Z, y, kind, sample_weight=None, copy="if_needed"):
    cdef int loss = _code(kind, _LOSSES, _LOSS_NAMES)
    cdef operand z
    cdef fnn_targets to
    cdef int32_t[FEW] few
    cdef cnp.ndarray targets = _quick_loss(Z, y, loss, sample_weight, copy, &z, &to, few)
    if targets is None:
        return _careful["loss_forward"](Z, y, kind, sample_weight, copy)
    return _mean_loss(&z, &to, &_PLAIN_LOSSES[loss], z.columns)


def _loss_backward_entry(Z, y, kind, sample_weight=None, out=None, copy="if_needed"):
    cdef int loss = _code(kind, _LOSSES, _LOSS_NAMES)
    cdef operand z, o, t
    cdef fnn_targets to
    cdef int32_t[FEW] few
    cdef cnp.ndarray targets = _quick_loss(Z, y, loss, sample_weight, copy, &z, &to, few)
    if targets is not None and _fit(out, _type(Z), z.rows, z.columns, &o) and _apart(&o, &z):
        t = _ABSENT if to.codes else _operand(targets)
        if _apart(&o, &t):
            result = _new(_type(Z), z.rows, z.columns, Z, &o) if out is None else out
            _losses(&z, &to, &_PLAIN_LOSSES[loss], NULL, &o.matrix)
            return result
    return _careful["loss_backward"](Z, y, kind, sample_weight, out, copy)


def _optimizer_update_entry(optimizer, W, dW, moments=(), step=1, out=None, copy="if_needed"):
    if type(moments) is tuple and type(out) is tuple and type(step) is int and _known(copy):
        if _quick_optimizer_update(optimizer, W, dW, moments, step, out):
            return out
    return _careful["optimizer_update"](optimizer, W, dW, moments, step, out, copy)


cdef int _moments_of(optimizer) except -2:
    """The optimizer's `slots`; -1 for a subclass, which may have other settings, and for any other object."""
    kind = type(optimizer)
    if kind is _SGD:
        return optimizer._momentum != 0.0
    if kind is _ADAM or kind is _ADAMW or kind is _NADAM:
        return 2
    if kind is _RMSPROP:
        return 1 + (optimizer._momentum != 0.0)
    return 1 if kind is _ADAGRAD else -1


cdef bint _quick_optimizer_update(optimizer, W, dW, tuple moments, step, tuple out) except -1:
    """Update W and the moments if `out` is (W, *moments) and all are plain; return whether that was done."""
    cdef int i, slots = <int>len(moments), overflow
    cdef int64_t t = PyLong_AsLongLongAndOverflow(step, &overflow)
    cdef operand w, g
    cdef operand[2] m
    cdef fnn_optimizer settings
    cdef fnn_schedule schedule
    if slots != _moments_of(optimizer) or optimizer._extras is not None or optimizer._average:
        return False
    if len(out) != slots + 1 or not 0 < t < 1LL << 53 or _type(W) < 0:
        return False
    if cnp.PyArray_NDIM(W) not in (1, 2) or not _in_one_piece(W):
        return False
    if not (_alike(W, W, &w) and _alike(dW, W, &g) and out[0] is W and cnp.PyArray_ISWRITEABLE(W) and _apart(&w, &g)):
        return False
    for i in range(slots):
        moment = moments[i]
        if out[i + 1] is not moment or not _alike(moment, W, &m[i]) or not cnp.PyArray_ISWRITEABLE(moment):
            return False
        if not (_apart(&m[i], &w) and _apart(&m[i], &g) and (i == 0 or _apart(&m[1], &m[0]))):
            return False
    if not _set_optimizer(&settings, &schedule, optimizer, slots) or settings.schedule != NULL:
        return False
    if not _held(&settings, _type(W)):
        return False
    _update(&settings, &w, &g, m, slots, t)
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
    """Return the function that callers of ``fastnn.kernels`` get: the fast version of `function` in this file."""
    entry = _ENTRIES[function.__name__]
    _careful[function.__name__] = function
    return functools.update_wrapper(entry, function)
