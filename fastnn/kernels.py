"""The operations of one layer, for other projects and for study.

Columns are samples: A_prev is (n_in, m), Z and A are (n_out, m). dA and dZ are per sample, without
the factor 1/m; dW and db contain it. Every function takes any real dtype and any strides. Results
have the dtype of W where there is a W, else that of the first argument: float32 stays float32,
float16 is computed in float32, all others in float64. ``out=`` may be in C or Fortran order, must
have the result's shape and dtype, and may overlap an input.

An object that shares its memory with NumPy (by DLPack, ``__array__`` or the buffer protocol: a torch tensor
on the CPU, a JAX array, an ``array.array``) is read in place, and as ``out=`` written in place; a read-only
``out=``, such as a JAX array, is refused. ``copy="never"`` refuses arguments that would have to be cast or
copied (class codes and sample weights are always accepted); the default is ``"if_needed"``.

The NumPy backend (``fastnn/_numpy.py``) is the readable definition; which backend runs is in
``fastnn.info()["backend"]``.
"""

from . import arrays, backend, optimizers, tables

__all__ = [
    "activation_backward",
    "activation_forward",
    "linear_backward",
    "linear_forward",
    "loss_backward",
    "loss_forward",
    "optimizer_update",
    "rowsum",
]


def _activation(kind):
    return tables.spec(kind, tables.ACTIVATIONS, "kind")


def _optional(activation):
    return tables.IDENTITY if activation is None else tables.spec(activation, tables.ACTIVATIONS, "activation")


def _may_copy(copy):
    if copy not in ("if_needed", "never"):
        raise ValueError(f"copy must be 'if_needed' or 'never', got {copy!r}")
    return copy == "if_needed"


def linear_forward(W, A_prev, b, activation=None, out=None, copy="if_needed"):
    """Output of a layer, ``A = g(W A_prev + b)``, in one pass.

    Parameters
    ----------
    W : array_like, (n_out, n_in)
    A_prev : array_like, (n_in, m)
        Columns are samples; data with samples as rows is passed as ``rows.T``, which copies nothing.
    b : array_like, (n_out, 1) or (n_out,)
    activation : str or (str, dict), optional
        As for :func:`activation_forward`; None: no activation, the result is Z.
    out : ndarray, optional
        (n_out, m), of W's dtype.
    copy : {"if_needed", "never"}
        "never": refuse, with a ValueError, what would have to be cast or copied.

    Returns
    -------
    ndarray, (n_out, m)

    Raises
    ------
    ValueError
        If shapes do not match; the message names the argument.
    TypeError
        If an argument does not hold real numbers.

    Notes
    -----
    M. Nielsen, "Neural Networks and Deep Learning", 2015, eq. (25): a' = sigma(w a + b).

    Examples
    --------
    >>> rows = np.array([[1, 2], [3, 4]], "f4")  # 2 samples of 2 features
    >>> linear_forward(np.array([[1, 2]], "f4"), rows.T, np.zeros((1, 1), "f4"))
    array([[ 5., 11.]], dtype=float32)
    """
    may_copy = _may_copy(copy)
    W = arrays.operand(W, "W", 2, None, may_copy)
    n_out, n_in = W.shape
    A_prev = arrays.operand(arrays.features(A_prev, n_in, "A_prev", may_copy), "A_prev", 2, W.dtype, may_copy)
    b = _column(b, n_out, W.dtype, may_copy)
    g = _optional(activation)
    result = arrays.output(out, (n_out, A_prev.shape[1]), W.dtype, (W, A_prev, b), "out", may_copy)
    if result.size:
        _backend.linear_forward(W, A_prev, b, g, result)
    return arrays.deliver(result, out)


def _column(b, n_out, dtype, may_copy):
    b = arrays.real_array(b, "b", may_copy)
    if b.shape not in ((n_out, 1), (n_out,)):
        raise ValueError(f"b has shape {b.shape}, wanted ({n_out}, 1) or ({n_out},)")
    return arrays.operand(b.reshape(n_out, 1), "b", 2, dtype, may_copy)


@tables.documented
def activation_forward(Z, kind, out=None, copy="if_needed"):
    """Activation ``A = g(Z)``, element by element, or softmax over each column.

    Parameters
    ----------
    Z : array_like, (n, m)
    kind : str or (str, dict)
        |activations|
    out : ndarray, optional
        (n, m), of Z's dtype; may be `Z` itself.
    copy : {"if_needed", "never"}
        "never": refuse, with a ValueError, what would have to be cast or copied.

    Returns
    -------
    ndarray, (n, m)
        NaN where Z is NaN (softmax: in the whole column of a NaN); a finite Z gives finite numbers.

    Raises
    ------
    ValueError, TypeError
        If `Z` is not a real 2-D array, `kind` is unknown, or `out` has a wrong shape or dtype.

    Notes
    -----
    softmax subtracts the largest z first: the result is the same, and exp cannot overflow. I. Goodfellow, Y. Bengio,
    A. Courville, "Deep Learning", 2016, sections 6.2-6.3.

    Errors, in units of the last place of A, far from subnormal numbers: at most 3 for elu and selu, 5 for silu and
    softplus, 10 for gelu. For gelu with approximate=1 they grow with the size of its exponential's argument v, as
    5 + 4 abs(v), for negative z.

    Examples
    --------
    >>> activation_forward(np.array([[-300.0], [0.0], [400.0]], "f4"), "softmax").T
    array([[0., 0., 1.]], dtype=float32)
    """
    may_copy = _may_copy(copy)
    Z = arrays.operand(Z, "Z", 2, None, may_copy)
    result = arrays.output(out, Z.shape, Z.dtype, (Z,), "out", may_copy)
    g = _activation(kind)
    if Z.size:
        _backend.activation_forward(Z, g, result)
    return arrays.deliver(result, out)


def activation_backward(dA, A, kind, Z=None, out=None, copy="if_needed"):
    """Backward pass of an activation: ``dZ = dA * g'(Z)``, with g' computed from A = g(Z), or from Z.

    Parameters
    ----------
    dA : array_like, (n, m)
    A : array_like, (n, m), or None
        The activations. None: computed from `Z`. Not used if g' of `kind` is computed from Z.
    kind : str or (str, dict)
        As for :func:`activation_forward`.
    Z : array_like, (n, m), optional
        The pre-activations. Needed only if `A` is None, or g' of `kind` is computed from Z.
    out : ndarray, optional
        (n, m), of dA's dtype; may be one of the inputs.
    copy : {"if_needed", "never"}
        "never": refuse, with a ValueError, what would have to be cast or copied.

    Returns
    -------
    ndarray, (n, m)
        Where A is NaN the result is NaN.

    Raises
    ------
    ValueError, TypeError
        If shapes differ, `kind` is unknown, both `A` and `Z` are None, or g' needs a Z that is None.

    Notes
    -----
    sigmoid' = a (1 - a), tanh' = 1 - a^2, relu' = [a > 0] (0 at 0), leaky_relu' = 1 where a > 0, else
    the slope; elu' = 1 where a > 0, else a + alpha; selu' = 1.0507 where a > 0, else a + 1.7581. From z:
    gelu' = Phi(z) + z Phi'(z), silu' = s + z s (1 - s) with s = sigmoid(z), softplus' = s. softmax
    applies its whole Jacobian, A * (dA - colsum(dA * A)). M. Nielsen, 2015, eq. (BP1).

    Examples
    --------
    >>> activation_backward([[1.0, 1.0, 1.0]], [[0.0, 0.0, 2.0]], "relu")
    array([[0., 0., 1.]])
    """
    may_copy, g = _may_copy(copy), _activation(kind)
    dA = arrays.operand(dA, "dA", 2, None, may_copy)
    if Z is not None:
        Z = _same_shape(arrays.operand(Z, "Z", 2, dA.dtype, may_copy), "Z", dA)
    if A is not None:
        A = _same_shape(arrays.operand(A, "A", 2, dA.dtype, may_copy), "A", dA)
    x = Z if _slope_from_Z(g) else A
    if x is None and Z is None:
        if _slope_from_Z(g):
            raise ValueError(f"Z is None; give Z: the derivative of {g.name} is computed from it")
        raise ValueError("A is None; give A = g(Z), or Z")
    x = activation_forward(Z, g) if x is None else x
    result = arrays.output(out, dA.shape, dA.dtype, (dA, x), "out", may_copy)
    if dA.size:
        _backend.activation_backward(dA, x, g, result)
    return arrays.deliver(result, out)


def _slope_from_Z(g):
    return tables.ACTIVATIONS[g.name].slope_from == "Z"


def _same_shape(array, name, dA):
    if array.shape != dA.shape:
        raise ValueError(f"{name} has shape {array.shape}, wanted {dA.shape}, the shape of dA")
    return array


def rowsum(dZ, out=None, copy="if_needed"):
    """The sum of each row, (n, 1).

    Parameters
    ----------
    dZ : array_like, (n, m)
    out : ndarray, optional
        (n, 1), of dZ's dtype.
    copy : {"if_needed", "never"}
        "never": refuse, with a ValueError, what would have to be cast or copied.

    Returns
    -------
    ndarray, (n, 1)

    Raises
    ------
    ValueError, TypeError
        If `dZ` is not a real 2-D array, or `out` has a wrong shape or dtype.

    Examples
    --------
    >>> rowsum([[1.0, 2.0], [3.0, 4.0]])
    array([[3.],
           [7.]])
    """
    may_copy = _may_copy(copy)
    dZ = arrays.operand(dZ, "dZ", 2, None, may_copy)
    result = arrays.output(out, (dZ.shape[0], 1), dZ.dtype, (dZ,), "out", may_copy)
    _backend.rowsum(dZ, result)
    return arrays.deliver(result, out)


def linear_backward(dZ, A_prev, W=None, out=None, activation=None, copy="if_needed"):
    """Gradients of a layer: ``dW = dZ A_prev^T / m; db = rowsum(dZ) / m; dA_prev = W^T dZ``.

    With `activation`, the activation g of the previous layer, the same call continues back through g: the third
    result is then the previous layer's ``dZ = (W^T dZ) * g'(Z_prev)``, where A_prev = g(Z_prev).

    Parameters
    ----------
    dZ : array_like, (n_out, m)
        Per sample, without the 1/m.
    A_prev : array_like, (n_in, m)
    W : array_like, (n_out, n_in), optional
        Without it, dA_prev is not computed.
    out : tuple of 3, optional
        Arrays for dW (n_out, n_in), db (n_out, 1) and dA_prev (n_in, m); for a None a new array
        is allocated. Without `W` the third must be None.
    activation : str or (str, dict), optional
        The activation that computed A_prev; needs `W`. None: return dA_prev itself. An activation whose derivative
        is computed from Z is refused: call :func:`activation_backward` with Z instead.
    copy : {"if_needed", "never"}
        "never": refuse, with a ValueError, what would have to be cast or copied.

    Returns
    -------
    dW, db, dA_prev : ndarray
        In the dtype of `W`, or of `dZ` without `W`. dA_prev is per sample (without 1/m), and None
        without `W`.

    Raises
    ------
    ValueError
        If shapes do not match, or m is 0 (the mean is undefined).
    TypeError
        If an argument does not hold real numbers.

    Notes
    -----
    M. Nielsen, 2015, eqs. (BP2)-(BP4), averaged over the samples.

    Examples
    --------
    >>> dW, db, dA_prev = linear_backward([[1.0, 3.0]], [[1.0, 2.0]], W=[[2.0]])
    >>> dW, db, dA_prev
    (array([[3.5]]), array([[2.]]), array([[2., 6.]]))
    """
    may_copy = _may_copy(copy)
    g = _optional(activation)
    if W is not None:
        W = arrays.operand(W, "W", 2, None, may_copy)
    elif activation is not None:
        raise ValueError("activation is for dA_prev, which needs W")
    if _slope_from_Z(g):
        raise ValueError(
            f"activation: the derivative of {g.name} is computed from Z, not from A_prev; leave it out, and call "
            f"activation_backward(dA_prev, None, {g.public()!r}, Z)"
        )
    dZ = arrays.operand(dZ, "dZ", 2, None if W is None else W.dtype, may_copy)
    n_out, m = dZ.shape
    arrays.samples(m, "dZ")
    A_prev = arrays.operand(A_prev, "A_prev", 2, dZ.dtype, may_copy)
    n_in = A_prev.shape[0]
    if A_prev.shape[1] != m:
        raise ValueError(f"A_prev has shape {A_prev.shape}, wanted (n_in, {m}): dZ has {m} samples (columns)")
    if W is not None and W.shape != (n_out, n_in):
        raise ValueError(f"W has shape {W.shape}, wanted ({n_out}, {n_in})")
    if out is None:
        out = (None, None, None)
    elif not isinstance(out, (tuple, list)) or len(out) != 3:
        raise TypeError("out must be a tuple of 3: arrays (or None) for dW, db and dA_prev")
    if W is None and out[2] is not None:
        raise ValueError("out[2] is for dA_prev, which needs W")
    shapes, inputs = ((n_out, n_in), (n_out, 1), (n_in, m)), (dZ, A_prev, W)
    results = []
    for i in range(2 if W is None else 3):
        results.append(arrays.output(out[i], shapes[i], dZ.dtype, inputs, f"out[{i}]", may_copy))
    arrays.refuse_shared([None if o is None else arrays.writable(o) for o in out])
    dW, db, dA_prev = results if W is not None else (*results, None)
    _backend.linear_backward(dZ, A_prev, W, dW, db, dA_prev, g)
    delivered = [arrays.deliver(r, o) for r, o in zip(results, out, strict=False)]
    return tuple(delivered) if W is not None else (*delivered, None)


@tables.documented
def loss_forward(Z, y, kind, sample_weight=None, copy="if_needed"):
    """Mean loss over the samples, computed from the pre-activations Z in a numerically stable form.

    Parameters
    ----------
    Z : array_like, (n, m)
        Pre-activations of the output layer. Its activation is sigmoid for binary_cross_entropy,
        softmax for cross_entropy, and the identity for the other losses.
    y : array_like, (m,) or (n, m)
        Class codes 0..n-1 (m,), or values (n, m); with n = 1 also values (m,). For quantile (1, m) or
        (m,); for gaussian_nll (n / 2, m), or with n = 2 (m,).
    kind : str or (str, dict)
        Summed over the n outputs; cross_entropy needs at least 2 outputs.

        |losses|
    sample_weight : array_like, (m,), optional
        Weights w_i of the samples; the mean is then sum(w_i L_i) / sum(w_i).
    copy : {"if_needed", "never"}
        "never": refuse, with a ValueError, what would have to be cast or copied.

    Returns
    -------
    float
        The terms of a float32 Z may be computed in float32; they are summed in float64.

    Raises
    ------
    ValueError
        If shapes do not match, codes or values are out of range, or there are no samples.
    TypeError
        If an argument does not hold real numbers.

    Notes
    -----
    Goodfellow, Bengio, Courville, "Deep Learning", 2016, section 6.2.2.

    Examples
    --------
    >>> round(loss_forward(np.array([[1e8], [1e8]], "f4"), [1], "cross_entropy"), 7)
    0.6931472
    """
    Z, y, loss, weights = _loss_arguments(Z, y, kind, sample_weight, _may_copy(copy))
    return _backend.loss_forward(Z, y, loss, weights)


def loss_backward(Z, y, kind, sample_weight=None, out=None, copy="if_needed"):
    """Gradient dZ of each sample's loss with respect to Z (linear_backward divides by m).

    Parameters
    ----------
    Z, y, kind, sample_weight
        As for :func:`loss_forward`.
    out : ndarray, optional
        (n, m), of Z's dtype; may be `Z` itself.
    copy : {"if_needed", "never"}
        "never": refuse, with a ValueError, what would have to be cast or copied.

    Returns
    -------
    ndarray, (n, m)
        A - Y for the cross-entropies, 2 (Z - Y) for mse, sign(Z - Y) for mae, and for the others the
        derivative of their formula, with Y the targets (codes as one-hot columns). With weights column
        i is multiplied by m w_i / sum(w), so that ``linear_backward`` gives the gradient of the
        weighted mean.

    Raises
    ------
    ValueError, TypeError
        As for :func:`loss_forward`.

    Examples
    --------
    >>> loss_backward(np.array([[-400.0], [300.0], [400.0]], "f4"), [0], "cross_entropy").T.round(6)
    array([[-1.,  0.,  1.]], dtype=float32)
    """
    may_copy = _may_copy(copy)
    Z, y, loss, weights = _loss_arguments(Z, y, kind, sample_weight, may_copy)
    result = arrays.output(out, Z.shape, Z.dtype, (Z, y), "out", may_copy)
    _backend.loss_backward(Z, y, loss, weights, result)
    return arrays.deliver(result, out)


def _loss_arguments(Z, y, kind, sample_weight, may_copy):
    loss = tables.spec(kind, tables.LOSSES, "kind")
    Z = arrays.operand(Z, "Z", 2, None, may_copy)
    n, m = Z.shape
    arrays.samples(m, "Z")
    if n == 0:
        raise ValueError(f"Z has shape {Z.shape}, wanted (n, m) with n at least 1")
    if tables.LOSSES[loss.name].targets == "classes" and n < 2:
        raise ValueError(f"Z has shape {Z.shape}; cross_entropy needs two or more rows: use binary_cross_entropy")
    tables.check_outputs(loss, n, "kind")
    y = arrays.targets(y, n, m, loss.name)
    if y.ndim == 2:
        y = arrays.operand(y, "y", 2, Z.dtype, may_copy)
    return Z, y, loss, arrays.weights_of_samples(sample_weight, m)


def optimizer_update(optimizer, W, dW, moments=(), step=1, out=None, copy="if_needed"):
    """One update of a weight or a bias, and of its moments, by the optimizer's rule.

    Parameters
    ----------
    optimizer : SGD, Adam, AdamW, NAdam, RMSprop or Adagrad
    W : array_like, (n,) or (n, k)
    dW : array_like, of W's shape
        The gradient.
    moments : sequence of array_like, of W's shape
        The optimizer's state, ``optimizer.slots`` arrays, all zeros before the first step: none for
        plain SGD, one (buf) with momentum, two (m and v) for Adam, AdamW and NAdam, one (v) for
        Adagrad and RMSprop, which has a second (buf) with momentum.
    step : int
        t of the rule: 1 for the first update. SGD and RMSprop do not use it.
    out : tuple, optional
        Arrays for the new W and for each new moment; for a None a new array is allocated. They
        may be W and the moments themselves: ``out=(W, *moments)`` updates in place.
    copy : {"if_needed", "never"}
        "never": refuse, with a ValueError, what would have to be cast or copied.

    Returns
    -------
    tuple of ndarray
        The new W and the new moments, of W's dtype.

    Raises
    ------
    ValueError
        If shapes or the number of moments do not match, a setting is too large for W's dtype, lr is no number, or a
        setting needs more than this array: clip_norm, average, l1, decay_b=False.
    TypeError
        If `optimizer` is not an optimizer of fastnn, or an argument does not hold real numbers.

    Notes
    -----
    The rules are given in :class:`fastnn.SGD`, :class:`fastnn.Adam`, :class:`fastnn.AdamW`,
    :class:`fastnn.NAdam`, :class:`fastnn.RMSprop` and :class:`fastnn.Adagrad`.

    Examples
    --------
    >>> from fastnn import SGD
    >>> W, buf = np.ones((1, 2)), np.zeros((1, 2))
    >>> W, buf = optimizer_update(SGD(lr=0.5, momentum=0.9), W, [[1.0, 2.0]], [buf], out=(W, buf))
    >>> W
    array([[0.5, 0. ]])
    """
    may_copy, optimizer = _may_copy(copy), optimizers.check_optimizer(optimizer)
    optimizers.refuse_in_kernels(optimizer)
    step = arrays.whole_number(step, "step", 1, 2**53)
    W = arrays.real_array(W, "W", may_copy)
    shape = W.shape
    W = _parameter(W, "W", None, may_copy, None)
    optimizer = optimizer.frozen(W.dtype)  # or an error: a setting is infinite in this dtype
    if type(optimizer.lr) is not float:
        raise ValueError(
            f"optimizer: lr={optimizer.lr!r:.100} must be a number here; give one of the same settings with "
            f"the number of this step, such as lr=schedule.at(t)"
        )
    dW = _parameter(dW, "dW", W.dtype, may_copy, shape)
    if not isinstance(moments, (tuple, list)) or len(moments) != optimizer.slots:
        raise ValueError(f"moments must be a tuple of {optimizer.slots} for {optimizer!r}, got {moments!r:.80}")
    old = [W, *(_parameter(a, f"moments[{i}]", W.dtype, may_copy, shape) for i, a in enumerate(moments))]
    if out is None:
        out = (None,) * len(old)
    elif not isinstance(out, (tuple, list)) or len(out) != len(old):
        raise TypeError(f"out must be a tuple of {len(old)}: arrays (or None) for W and each moment")
    written = [None if o is None else _as_matrix(arrays.writable(o, f"out[{i}]")) for i, o in enumerate(out)]
    arrays.refuse_shared(written)
    new = []
    for i, (array, o) in enumerate(zip(old, written, strict=True)):
        # Updating in place is safe: each element of a result depends only on the same element of the operands.
        in_place = o is not None and arrays.is_same(array, o)
        others = (a for a in (dW, *old) if not (in_place and a is array))
        result = arrays.output(o, W.shape, W.dtype, others, f"out[{i}]", may_copy)
        if not arrays.is_same(array, result):
            result[...] = array
        new.append(result)
    if W.size:
        _backend.optimizer_update(optimizer, new[0], dW, new[1:], step)
    for result, o in zip(new, written, strict=True):
        arrays.deliver(result, o)
    return tuple(r.reshape(shape) if o is None else o for r, o in zip(new, out, strict=True))


def _as_matrix(array):
    return array.reshape(-1, 1) if array.ndim == 1 else array


def _parameter(value, name, dtype, may_copy, shape):
    """A weight, a bias, its gradient or a moment, as a matrix."""
    array = arrays.real_array(value, name, may_copy)
    if array.ndim not in (1, 2) or shape not in (None, array.shape):
        raise ValueError(f"{name} has shape {array.shape}, wanted {shape or '(n,) or (n, k)'}")
    return arrays.operand(_as_matrix(array), name, 2, dtype, may_copy)


_careful = {name: globals()[name] for name in __all__}


def _run_on(chosen):
    """Let the public functions run on the backend `chosen`: the default one at import, others in tests.

    Callers get what the backend's ``direct`` returns. In the compiled backend that is a function which handles
    plain arguments itself, and calls the function above if an argument needs a cast or a copy, or is invalid.
    """
    global _backend
    _backend = chosen
    globals().update({name: chosen.direct(function) for name, function in _careful.items()})


_run_on(backend.default)
