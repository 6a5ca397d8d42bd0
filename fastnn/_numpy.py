"""The NumPy backend: complete, and the readable definition of everything fastnn computes.

Columns are samples. Per layer: Z = W A_prev + b, A = g(Z). Backward: dZ = dA * g'(Z),
dW = dZ A_prev^T / m, db = rowsum(dZ) / m, dA_prev = W^T dZ. Arguments were checked before
(by arrays.py): they are float32 or float64 ndarrays of the right shape, codes are int32.
The compiled backend (_core.pyx) has the same names with the same signatures.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from . import _philox, guard, norms, optimizers, standardisation
from .arrays import FLOATS
from .guard import Guard  # noqa: F401 - a part of the backend
from .sparse import Sparse
from .tables import ACTIVATIONS, IDENTITY, default_levels

NAME = "numpy"
ORDER = "C"  # the layout in which W @ A_prev gives Z: BLAS rounds differently in another one
ISA = "numpy"
BUILD = {"compiler": None, "openmp": False}

permutation = _philox.permutation

_SUM_BLOCK = 128  # samples of a block that is summed in the network's dtype; block sums are added in float64
_BLOCK = 1024  # columns that predict and loss compute at a time, so that their memory does not grow with m


def _quiet(function):
    """Decorator: overflow, underflow and NaN raise no warning or error, whatever the caller's ``np.errstate`` is."""

    @functools.wraps(function)
    def quiet(*args, **kwargs):
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)

    return quiet


# --- activations: g, and dZ = dA * g'(Z) from A = g(Z); from Z where the table says so -------------


def _sigmoid(Z):
    t = np.exp(-np.abs(Z))  # at most 1, so that large |z| cannot overflow
    return np.where(Z >= 0, 1, t) / (1 + t)


def _softmax(Z):
    e = np.exp(Z - Z.max(axis=0, keepdims=True))
    return e / e.sum(axis=0, keepdims=True)


def _softmax_backward(dA, A):
    return A * (dA - (dA * A).sum(axis=0, keepdims=True))  # the whole Jacobian


def _relu_backward(dA, A):
    # relu'(0) = 0. NaN > 0 is false, so a NaN in A must be copied explicitly.
    return dA * np.where(np.isnan(A), A, A > 0)


def _leaky_relu(Z, slope):
    return np.where(Z > 0, Z, Z * slope)


def _leaky_relu_backward(dA, A, slope):
    return dA * np.where(np.isnan(A), A, np.where(A > 0, A.dtype.type(1), A.dtype.type(slope)))


def _elu(Z, alpha):
    return np.where(Z > 0, Z, Z.dtype.type(alpha) * np.expm1(np.minimum(Z, 0)))


def _elu_backward(dA, A, alpha):
    return dA * np.where(A > 0, A.dtype.type(1), A + A.dtype.type(alpha))


# With these a layer keeps mean 0 and variance 1. G. Klambauer et al., "Self-normalizing neural networks", NIPS 2017.
_SELU_SCALE, _SELU_FALL = 1.0507009873554804934, 1.7580993408473768599


def _selu(Z):
    scale, fall = Z.dtype.type(_SELU_SCALE), Z.dtype.type(_SELU_FALL)
    # The largest z do not overflow; only infinity gives infinity.
    limits = np.finfo(Z.dtype)
    up = np.where(np.isinf(Z), Z, np.minimum(Z, limits.max / scale * (1 - 4 * limits.eps)) * scale)
    return np.where(Z > 0, up, fall * np.expm1(np.minimum(Z, 0)))


def _selu_backward(dA, A):
    return dA * np.where(A > 0, A.dtype.type(_SELU_SCALE), A + A.dtype.type(_SELU_FALL))


_erfc = np.frompyfunc(math.erfc, 1, 1)
# sqrt(1 / 2) in two parts, of which the first has 24 bits: times 24 bits of x it is exact.
_HALF_ROOT, _REST = float(np.float32(0.70710678)), 1.2101617104478970e-08


def _normal_tail(x):
    """P(N(0, 1) > x) = erfc(x / sqrt(2)) / 2, in float64.

    Where x is large, the rounding of x / sqrt(2) would change the result by many digits. So the rounded part is added,
    by the derivative.
    """
    upper = x.astype(np.float32).astype(np.float64)
    exact, rest = upper * _HALF_ROOT, (x - upper) * _HALF_ROOT + x * _REST
    argument = exact + rest
    rest += exact - argument
    return 0.5 * _erfc(argument).astype(np.float64) - rest * np.exp(-0.5 * x**2) / math.sqrt(math.pi)


def _gelu_and_slope(Z, approximate):
    """Z Phi(z) and its derivative, in float64. D. Hendrycks, K. Gimpel, "Gaussian error linear units", 2016."""
    Z = Z.astype(np.float64)
    x = np.clip(Z, -40, 40)  # beyond, Phi is 0 or 1
    if approximate:
        v = math.sqrt(8 / math.pi) * (x + 0.044715 * x**3)
        phi = _sigmoid(v)
        density = phi * _sigmoid(-v) * math.sqrt(8 / math.pi) * (1 + 3 * 0.044715 * x**2)
    else:
        phi = _normal_tail(-x)
        density = np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
    return np.maximum(Z, -40) * phi, phi + x * density


def _silu_backward(dA, Z):
    s = _sigmoid(Z)
    return dA * (s + Z * s * _sigmoid(-Z))


# name -> (A from Z, dZ from dA and A or Z), with the parameters of the row in tables.py as keywords
_ACTIVATIONS = {
    "identity": (lambda Z: Z, lambda dA, A: dA),
    "sigmoid": (_sigmoid, lambda dA, A: dA * (A * (1 - A))),
    "tanh": (np.tanh, lambda dA, A: dA * ((1 - A) * (1 + A))),
    "relu": (lambda Z: np.maximum(Z, 0), _relu_backward),
    "softmax": (_softmax, _softmax_backward),
    "leaky_relu": (_leaky_relu, _leaky_relu_backward),
    "elu": (_elu, _elu_backward),
    "selu": (_selu, _selu_backward),
    "gelu": (
        lambda Z, approximate: _gelu_and_slope(Z, approximate)[0].astype(Z.dtype),
        lambda dA, Z, approximate: dA * _gelu_and_slope(Z, approximate)[1].astype(Z.dtype),
    ),
    "silu": (lambda Z: Z * _sigmoid(Z), _silu_backward),
    "softplus": (lambda Z: np.maximum(Z, 0) + np.log1p(np.exp(-np.abs(Z))), lambda dA, Z: dA * _sigmoid(Z)),
}


def _forward(activation, Z):
    return _ACTIVATIONS[activation.name][0](Z, **activation.params)


def _backward(activation, dA, A, Z):
    x = Z if ACTIVATIONS[activation.name].slope_from == "Z" else A
    return _ACTIVATIONS[activation.name][1](dA, x, **activation.params)


# --- losses: per-sample loss in float64, and dZ, both from Z -----------------------------------


def _values(y, Z):
    """Targets as values in Z's dtype: codes become one-hot columns."""
    if y.ndim == 2:
        return np.asfortranarray(y, Z.dtype)
    Y = np.zeros_like(Z)
    Y[y, np.arange(len(y))] = 1
    return Y


def _smoothed(Y, label_smoothing, classes):
    return Y * (1 - label_smoothing) + label_smoothing / classes


def _binary_cross_entropy(Z, y, activation, label_smoothing, pos_weight):
    Y, Z64 = _values(y, Z), Z.astype(np.float64)
    if label_smoothing:
        Y = _smoothed(Y, label_smoothing, 2)
    # -y log a - (1-y) log(1-a) with a = sigmoid(z), for z of any size
    log_sum = np.log1p(np.exp(-np.abs(Z64)))
    losses = np.maximum(Z64, 0) - Z64 * Y + log_sum
    if pos_weight == 1:
        return losses.sum(axis=0), _sigmoid(Z) - Y
    losses += (pos_weight - 1) * Y * (log_sum + np.maximum(-Z64, 0))  # -log a
    return losses.sum(axis=0), _sigmoid(Z) * (1 + (pos_weight - 1) * Y) - pos_weight * Y


def _cross_entropy(Z, y, activation, label_smoothing):
    A, Z64 = _softmax(Z), Z.astype(np.float64)
    if label_smoothing:
        y = _smoothed(_values(y, Z), label_smoothing, len(Z))
    shifted = Z64 - Z64.max(axis=0)
    log_sum = np.log(np.exp(shifted).sum(axis=0))
    if y.ndim == 1:  # only the true class's entry, instead of 0 * shifted + ... with a one-hot Y, which rounds
        losses = log_sum - shifted[y, np.arange(len(y))]
        return losses, A - _values(y, Z)
    Y = _values(y, Z)
    losses = np.where(Y == 0, 0, Y * (log_sum - shifted)).sum(axis=0)  # 0 where Y is 0, even if shifted is infinite
    return losses, A * Y.sum(axis=0) - Y  # columns need not sum to 1


def _of_outputs(unit):
    """A loss that is a sum over units, or targets. `unit(A, Y)` returns each one's loss in float64, and dA."""

    def loss(Z, y, activation, **params):
        A = _forward(activation, Z)
        losses, dA = unit(A, _values(y, Z), **params)
        return losses.sum(axis=0), _backward(activation, dA, A, Z)

    return loss


def _mse(A, Y):
    return np.square(A.astype(np.float64) - Y), 2 * (A - Y)


def _mae(A, Y):
    return np.abs(A.astype(np.float64) - Y), np.sign(A - Y)


def _huber(A, Y, delta):
    e = np.abs(A.astype(np.float64) - Y)
    inner = np.minimum(e, delta)
    return inner * (e - inner / 2), np.clip(A - Y, -delta, delta)


def _quantile(A, Y, levels):
    q = np.array(levels or default_levels(len(A)))[:, np.newaxis]
    e = Y - A.astype(np.float64)  # of all levels with the one row of Y
    slope = np.where(e > 0, -q, np.where(e < 0, 1 - q, e))  # 0 where e is 0; NaN stays NaN
    return np.where(e > 0, q, q - 1) * e, slope.astype(A.dtype)


def _poisson(A, Y):
    rate, A64 = np.exp(A.astype(np.float64)), A.astype(np.float64)
    return rate - np.where(Y == 0, 0, Y * A64), (rate - Y).astype(A.dtype)


def _gaussian_nll(A, Y):
    mean, s = np.split(A.astype(np.float64), 2)
    # exp(-s) as four finite factors: no factor overflows before the product does, and 0 times it is 0
    factor = np.exp(np.clip(s / -4, -709, 709))
    u = (mean - Y) * factor * factor
    half = 0.5 * u * u
    return 0.5 * s + half, np.concatenate([u * factor * factor, 0.5 - half]).astype(A.dtype)


# name -> function of (Z, y, output activation, **parameters of the row) that returns losses (m,) in float64, and dZ per
# sample
_LOSSES = {
    "binary_cross_entropy": _binary_cross_entropy,
    "cross_entropy": _cross_entropy,
    "mse": _of_outputs(_mse),
    "mae": _of_outputs(_mae),
    "huber": _of_outputs(_huber),
    "quantile": _of_outputs(_quantile),
    "poisson": _of_outputs(_poisson),
    "gaussian_nll": _of_outputs(_gaussian_nll),
}


def _losses_and_gradient(loss, Z, y, activation):
    return _LOSSES[loss.name](Z, y, activation, **loss.params)


# --- normalisation: zhat from Z, and dZ from dY, the derivative by Y = gamma zhat + beta; in float64 -----------


class _Norm(NamedTuple):
    """What a layer's norm has computed, for the backward pass."""

    kind: str
    zhat: np.ndarray
    rstd: np.ndarray  # 1 / sqrt(var + eps), in float64: of each sample (1, m), or of each unit (n, 1)
    statistics: tuple | None  # mean and variance of the batch, if these were used


def _normalised(kind, Z, running, from_batch):
    """The _Norm of Z: with the batch's statistics, or the running ones."""
    Z = np.asfortranarray(Z)  # in one layout, because NumPy sums in another order in another layout
    if kind == "layer" or from_batch:
        axis = 0 if kind == "layer" else 1
        mean = Z.mean(axis=axis, keepdims=True, dtype=np.float64)
        var = np.square(Z - mean).mean(axis=axis, keepdims=True)  # two passes: exact for a mean of any size
    else:
        mean, var = (T.astype(np.float64) for T in running)
    rstd = 1 / np.sqrt(var + norms.EPS)
    zhat = ((Z - mean) * rstd).astype(Z.dtype)
    return _Norm(kind, zhat, rstd, (mean, var) if kind == "batch" and from_batch else None)


def _norm_backward(norm, dY, gamma):
    """dZ, and the sums over samples dgamma and dbeta. J. L. Ba et al., 2016; S. Ioffe, C. Szegedy, 2015."""
    dY, zhat = dY.astype(np.float64), norm.zhat.astype(np.float64)
    dgamma, dbeta = _rowsum(dY * zhat), _rowsum(dY)
    d = dY * gamma
    if norm.kind == "layer":
        d = d - d.mean(axis=0) - zhat * (d * zhat).mean(axis=0)
    elif norm.statistics:
        m = dY.shape[1]
        d = d - gamma * (dbeta / m) - zhat * (gamma * (dgamma / m))
    return (norm.rstd * d).astype(norm.zhat.dtype), dgamma, dbeta


# --- one layer: the functions behind fastnn.kernels ---------------------------------------------


@_quiet
def linear_forward(W, A_prev, b, activation, out):
    """``out[...] = g(W A_prev + b)``; b is (n_out, 1)."""
    np.matmul(W, A_prev, out=out)
    out += b
    if activation.name != "identity":
        out[...] = _forward(activation, out)


@_quiet
def activation_forward(Z, activation, out):
    """``out[...] = g(Z)``."""
    out[...] = _forward(activation, Z)


@_quiet
def activation_backward(dA, x, activation, out):
    """``out[...] = dA * g'(Z)``, where x is A = g(Z), or Z if the table says so."""
    out[...] = _backward(activation, dA, x, x)


@_quiet
def rowsum(dZ, out):
    """``out[...] = `` the sum of each row, (n, 1)."""
    out[...] = _rowsum(dZ)


# A float32 running sum over a whole data set would lose half its digits. How far BLAS and NumPy avoid that depends on
# shape and layout. So long sums over samples are completed in float64 here.


def _rowsum(dZ):
    return dZ.sum(axis=1, keepdims=True, dtype=np.float64)


class _WithZeros(NamedTuple):
    """A sparse X that is standardised, S + zeros 1^T: S is one of SciPy's arrays, zeros is (n_0, 1) in float64."""

    S: object
    zeros: np.ndarray

    @property
    def shape(self):
        return self.S.shape


# Features with |mean| / scale above this lose digits where a number and a zero of theirs are added up. At least a fifth
# of the numbers that were measured was not 0 then: the square of mean / scale is at most share / (1 - share).
_MOST_OF_ZERO = 0.5


def _standardised(X, mean, scale, dtype):
    """A Sparse as _WithZeros; S has all numbers of the features whose mean is large beside their scale."""
    inverse = 1 / scale
    zeros = -mean * inverse
    dense = ~(np.abs(zeros) <= _MOST_OF_ZERO)
    zeros[dense] = 0
    S = X.matrix(dtype, lambda values, k: np.where(dense[k], 0, values.astype(np.float64) * inverse[k]))
    if dense.any():
        places = np.flatnonzero(dense)
        rows = X.matrix(np.float64, lambda values, k: np.where(dense[k], values, 0)).tocsr()[places].toarray()
        full = standardisation.of_samples((mean[places], scale[places]), rows).astype(dtype)
        S = S + _with_rows(full, places, X.shape[0])
    return _WithZeros(S, zeros[:, np.newaxis])


def _with_rows(rows, places, n):
    """One of SciPy's arrays with n rows: these, and 0 elsewhere."""
    from scipy.sparse import csc_array  # optional, as in Sparse.matrix

    k, m = rows.shape
    index = np.tile(places, m), np.arange(0, k * m + 1, k)
    return csc_array((rows.T.ravel(), *index), shape=(n, m))


def _outer_sum(dZ, A_prev):
    """The product dZ A_prev^T, a sum over the samples; a sparse A_prev is one of SciPy's arrays, or _WithZeros."""
    if type(A_prev) is _WithZeros:
        return _outer_sum(dZ, A_prev.S) + _rowsum(dZ) * A_prev.zeros.T
    if dZ.shape[1] <= _SUM_BLOCK or dZ.dtype == np.float64:
        return (A_prev @ dZ.T).T if not isinstance(A_prev, np.ndarray) else dZ @ A_prev.T
    blocks = (slice(i, i + _SUM_BLOCK) for i in range(0, dZ.shape[1], _SUM_BLOCK))
    return sum(_outer_sum(dZ[:, block], A_prev[:, block]).astype(np.float64) for block in blocks)


def _product(W, A_prev):
    """W A_prev; a sparse A_prev is one of SciPy's arrays, whose products are plain running sums, or _WithZeros."""
    if type(A_prev) is _WithZeros:
        return _product(W, A_prev.S) + W @ A_prev.zeros.astype(W.dtype)
    if isinstance(A_prev, np.ndarray):
        return W @ A_prev
    exact = W if W.shape[1] <= _SUM_BLOCK else W.astype(np.float64)
    return (A_prev.T @ exact.T).T.astype(W.dtype, copy=False)


@_quiet
def linear_backward(dZ, A_prev, W, dW, db, dA_prev, activation):
    """Fill dW, db and, if W is given, dA_prev times g' of the activation that made A_prev."""
    m = dZ.shape[1]
    dW[...] = _outer_sum(dZ, A_prev) / m
    db[...] = _rowsum(dZ) / m
    if W is not None:
        np.matmul(W.T, dZ, out=dA_prev)
        if activation.name != "identity":
            dA_prev[...] = _backward(activation, dA_prev, A_prev, None)


@_quiet
def loss_forward(Z, y, loss, sample_weight):
    """Mean loss over the samples, from pre-activations."""
    losses, _ = _losses_and_gradient(loss, Z, y, IDENTITY)
    shares = 1 / len(losses) if sample_weight is None else sample_weight / sample_weight.sum()
    return float((losses * shares).sum())  # multiplied first: the sum of the losses alone could overflow


@_quiet
def loss_backward(Z, y, loss, sample_weight, out):
    """``out[...] = dZ`` per sample; with weights, column i is multiplied by m w_i / sum(w)."""
    _, dZ = _losses_and_gradient(loss, Z, y, IDENTITY)
    if sample_weight is None:
        out[...] = dZ
    else:
        np.multiply(dZ, sample_weight * (len(sample_weight) / sample_weight.sum()), out=out, casting="same_kind")


def direct(function):
    """Return the function that callers of ``fastnn.kernels`` get: here `function` itself, unlike in _core.pyx."""
    return function


# --- optimizers: one update of w, in place; g may be written over, t counts from 1 ----------------


# Numbers computed from settings are cast to the dtype of w explicitly: some become infinite, and without the cast some
# releases of NumPy would then compute in float64.


def _sgd(w, g, moments, t, sgd):
    if sgd.weight_decay and not moments:
        w *= w.dtype.type(1 - sgd.lr * sgd.weight_decay)  # equivalent to adding weight_decay * w to g
    elif sgd.weight_decay:
        g += sgd.weight_decay * w
    for buf in moments:  # one, or none without momentum
        buf *= sgd.momentum
        buf += g
        g = g + sgd.momentum * buf if sgd.nesterov else buf
    w -= sgd.lr * g


def _adam(w, g, moments, t, adam):
    if adam.weight_decay:
        g += adam.weight_decay * w
    _adam_step(w, g, moments, t, adam)


def _adamw(w, g, moments, t, adamw):
    w *= w.dtype.type(1 - adamw.lr * adamw.weight_decay)
    _adam_step(w, g, moments, t, adamw)


# A subnormal eps could be flushed to 0, and then m / (sqrt(v) + eps) could be 0/0.
_SMALLEST = {dtype: float(np.finfo(dtype).tiny) for dtype in FLOATS}


def _move_moments(g, moments, betas):
    (m, v), (beta1, beta2) = moments, betas
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g * g  # evaluated from the left: g * g first could overflow
    return m, v


def _adam_step(w, g, moments, t, adam):
    (m, v), (beta1, beta2) = _move_moments(g, moments, adam.betas), adam.betas
    # w -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
    step = np.sqrt(v)
    step /= math.sqrt(1 - beta2**t)
    step += max(adam.eps, _SMALLEST[w.dtype])
    np.divide(m, step, out=step)
    step *= w.dtype.type(adam.lr / (1 - beta1**t))
    w -= step


def _nadam(w, g, moments, t, nadam):
    if nadam.weight_decay:
        g += nadam.weight_decay * w
    (m, v), (beta1, beta2) = _move_moments(g, moments, nadam.betas), nadam.betas
    of_gradient, of_moment = _nadam_shares(beta1, nadam.momentum_decay, t)
    # w -= lr (of_gradient g + of_moment m) / (sqrt(v) / sqrt(1 - beta2^t) + eps)
    step = of_gradient * g + of_moment * m
    step /= np.sqrt(v) / math.sqrt(1 - beta2**t) + max(nadam.eps, _SMALLEST[w.dtype])
    w -= nadam.lr * step


@functools.lru_cache(16)  # the same for all arrays of a step
def _nadam_shares(beta1, momentum_decay, t):
    """(1 - mu_t) / (1 - mu_1 .. mu_t) and mu_(t+1) / (1 - mu_1 .. mu_(t+1))."""
    now, following = (beta1 * (1 - 0.96 ** (i * momentum_decay) / 2) for i in (t, t + 1))
    base = 0.96**momentum_decay
    product, power, i = beta1**t, base, 1  # the product of mu_1 .. mu_t
    # Ends where the product is nothing beside 1, or where the remaining factors are 1: after at most 2700 of them.
    while i <= t and product > 1e-18 and power > 1e-16:
        product, power, i = product * (1 - power / 2), power * base, i + 1
    return (1 - now) / (1 - product), following / (1 - product * following)


def _rmsprop(w, g, moments, t, rmsprop):
    if rmsprop.weight_decay:
        g += rmsprop.weight_decay * w
    v = moments[0]
    v *= rmsprop.alpha
    v += (1 - rmsprop.alpha) * g * g
    step = g / (np.sqrt(v) + max(rmsprop.eps, _SMALLEST[w.dtype]))
    for buf in moments[1:]:  # with momentum
        buf *= rmsprop.momentum
        buf += step
        step = buf
    w -= rmsprop.lr * step


def _adagrad(w, g, moments, t, adagrad):
    if adagrad.weight_decay:
        g += adagrad.weight_decay * w
    (v,) = moments
    v += g * g
    w -= adagrad.lr / (1 + (t - 1) * adagrad.lr_decay) * (g / (np.sqrt(v) + max(adagrad.eps, _SMALLEST[w.dtype])))


# kind -> function of (w, g, moments of w, t, optimizer)
_UPDATES = {"SGD": _sgd, "Adam": _adam, "AdamW": _adamw, "NAdam": _nadam, "RMSprop": _rmsprop, "Adagrad": _adagrad}


def _mended(gradients, parameters, optimizer):
    """The (dW, db) of the layers with clip_value, clip_norm and l1."""
    if optimizer.clip_value:
        gradients = [tuple(np.clip(g, -optimizer.clip_value, optimizer.clip_value) for g in pair) for pair in gradients]
    if optimizer.clip_norm:
        norm = math.sqrt(sum(np.square(g, dtype=np.float64).sum() for pair in gradients for g in pair))
        shrink = min(1.0, optimizer.clip_norm / (norm + 1e-6))
        gradients = [tuple(g * shrink for g in pair) for pair in gradients]
    if optimizer.l1:
        pairs = zip(gradients, parameters, strict=True)
        gradients = [(dW + optimizer.l1 * np.sign(W), *rest) for (dW, *rest), (W, *_) in pairs]
    return gradients


BATCH_FLOP = 1e5  # the fixed cost of a batch, in FLOP of a slow machine (1 ns): for the length of fit's first slice


@_quiet
def optimizer_update(optimizer, w, g, moments, t):
    """One update of w and its moments, in place."""
    most = optimizer.clip_value
    _UPDATES[optimizer.kind](w, np.clip(g, -most, most) if most else g.copy(), moments, t, optimizer)


def quick_codes(y, n_out, m):
    """Class codes as int32 if y can be checked quickly. Here always None, so that arrays.targets() checks y."""


def largest(X, columns):
    """The largest |x| of at most `columns` columns of X, evenly spaced; inf if one of their values is not finite."""
    X = X[:, :: max(1, X.shape[1] // columns)][:, :columns]
    if X.dtype.kind == "f":
        size = float(np.abs(X).max(initial=0))
    else:  # not np.abs: -x of the lowest integer overflows
        size = float(max(X.max(initial=0), -float(X.min(initial=0))))
    return size if size < np.inf else np.inf


# --- the network ---------------------------------------------------------------------------------


class Engine:
    """Weights, moments and step count of one network, and the computations with them.

    Parameters
    ----------
    sizes : tuple of int
    activations : tuple of Spec
    loss : Spec
    dtype : dtype
        float32 or float64.
    threads : int or None
        Used by the compiled backend only; NumPy chooses its own number of threads.
    dropout : tuple of float, or None
        For each layer the share of outputs that training makes 0.
    seed : int
        Of dropout's masks.
    norm : tuple of str or None, or None
        For each layer None, "layer" or "batch".
    """

    def __init__(self, sizes, activations, loss, dtype, threads, dropout=None, seed=0, norm=None):
        self.sizes, self.dtype = sizes, dtype
        self._dropped = [min(round(rate * 65536), 65535) for rate in dropout or [0] * len(activations)]
        self._seed, self._updates, self._no_masks = seed, 0, [None] * len(activations)
        self._activations, self._loss = activations, loss
        self._norm = norm or (None,) * len(activations)
        self._parameters, self._frozen = [], [False] * len(activations)
        self._running = [  # of each layer with batch norm (mean, var), else None
            (np.zeros((n, 1), dtype), np.ones((n, 1), dtype)) if kind == "batch" else None
            for n, kind in zip(sizes[1:], self._norm, strict=True)
        ]
        self.standards = None  # the arguments of standardise(); None: it was not called
        self.optimizer = self.state_key = None  # the owner of the optimizer state; set by Trainable
        self.cautioned = False  # whether train_step has given its DataWarning; set by one_step.py
        self.has_own_loss = False  # set by Trainable, for the other backend's quick_step
        self._begun = None  # of begin_step: A, X, the layers, the masks, and the numbers that they were computed with
        # What scikit-learn defines in another way than PyTorch: its alpha, a factor of all losses, and whether Adam's
        # eps is added to sqrt(v) before that is divided by sqrt(1 - beta2^t). They act in train() alone. With a penalty
        # the optimizer has no weight_decay, and is not AdamW; it is in the unit of the weights that train() is given.
        # A reported_factor other than 0 is that of the losses that train() returns, instead of loss_factor.
        self.penalty, self.loss_factor, self.reported_factor, self.eps_with_v = 0.0, 1.0, 0.0, False
        self.start_optimizer(0)

    def set_parameters(self, parameters):
        """Take copies of the (W, b) of every layer, or (W, b, gamma, beta) where it has a norm."""
        self._parameters = [tuple(T.astype(self.dtype) for T in layer) for layer in parameters]

    def parameters(self):
        """Copies of the parameters of every layer, as :meth:`set_parameters` takes them."""
        return [tuple(T.copy() for T in layer) for layer in self._parameters]

    def set_running_statistics(self, statistics):
        """Take copies of (mean, var) of every layer with batch norm; None for the others."""
        self._running = [pair and tuple(np.array(T, self.dtype) for T in pair) for pair in statistics]

    def running_statistics(self):
        """Copies of (mean, var) of every layer with batch norm; None for the others."""
        return [pair and tuple(T.copy() for T in pair) for pair in self._running]

    def standardise(self, *standards):
        """Use (x_mean, x_scale, y_mean, y_scale, a_scale, a_shift) from now on.

        Each is a float64 array (n,), or None: (x - x_mean) / x_scale of each feature, the same of targets, and of
        predictions a * a_scale + a_shift. Losses and gradients are those of the standardised numbers.
        """
        self.standards = None if standards[0] is None else standards

    def freeze(self, frozen):
        """Set for each layer whether training leaves it as it is."""
        self._frozen = list(frozen)

    def start_optimizer(self, slots, average=0.0):
        """Start a new optimizer state: `slots` moments of 0 for each parameter, no steps, perhaps an average."""
        self._share, self._average = average, self.parameters() if average else None
        shapes = norms.shapes(self.sizes, self._norm)
        moments = [[tuple(np.zeros(s, self.dtype) for s in layer) for layer in shapes] for _ in range(slots)]
        self._moments, self._steps = moments, 0

    def optimizer_state(self):
        """A copy of the optimizer's state, in the form that :meth:`set_optimizer_state` takes.

        Returns
        -------
        dict or None
            "steps": the step count; "moments": for each slot a list of (mW, mb), one per layer; with a norm
            these are (mW, mb, mgamma, mbeta). With an average "average": the share of the old average in
            the new one, and the averages of all parameters.
            None if there is neither a slot nor an average, or no step was made yet.
        """
        if not (self._moments or self._share) or not self._steps:
            return None
        state = {"steps": self._steps, "moments": [_copies(slot, self.dtype) for slot in self._moments]}
        return state | {"average": (self._share, self.average())} if self._share else state

    def average(self):
        """Copies of the averages of (W, b) of every layer; None if no average is kept."""
        return _copies(self._average, self.dtype) if self._share else None

    def set_optimizer_state(self, state):
        """Copy `state` into the engine; None: drop the state, so that there are no slots."""
        self._steps = state["steps"] if state else 0
        self._moments = [_copies(slot, self.dtype) for slot in state["moments"]] if state else []
        self._share, averages = state.get("average", (0.0, None)) if state else (0.0, None)
        self._average = _copies(averages, self.dtype) if self._share else None

    def snapshot(self, spare=None):
        """A copy of everything that training changes, for :meth:`restore`; `spare` is ignored here."""
        state = {"steps": self._steps, "moments": [_copies(slot, self.dtype) for slot in self._moments]}
        return (
            self.parameters(),
            state | {"average": (self._share, self.average())},
            self._updates,
            self.running_statistics(),
        )

    def quick_predict(self, X, out, guard):
        """A[L] of X if X and `out` can be checked quickly. Here always None, so that passes.predict() does the work."""

    def sparse_lists(self, indices, indptr, n, count):
        """Checked copies of the index of a sparse X in CSC order.

        Parameters
        ----------
        indices, indptr : ndarray of int
            The features of `count` numbers, and where each sample starts.
        n, count : int

        Returns
        -------
        (ndarray of int32, ndarray of int64, int, bool), or None
            Both, the most numbers of a sample, and whether the features of each sample ascend; None if they do not fit.
        """
        starts, features = np.array(indptr, np.int64), np.array(indices)
        steps = np.diff(starts)
        is_legal = starts[0] == 0 and starts[-1] == count and (steps >= 0).all()
        if not is_legal or (count and not 0 <= features.min() <= features.max() < n):
            return None
        rises, firsts = features[1:] > features[:-1], starts[1:-1]
        rises[firsts[(firsts > 0) & (firsts < count)] - 1] = True
        return features.astype(np.int32, copy=False), starts, int(steps.max(initial=0)), bool(rises.all())

    def reads(self, X):
        """Whether X is known to be readable in place without a look at it. Here never."""
        return False

    def quick_codes(self, X, y):
        """Class codes, if X and y can be checked quickly. Here always None, so that both are checked slowly."""

    def quick_step(self, X, y, optimizer, guard):
        """One update if it can be checked quickly; returns its loss. Here always None: careful_step() does the work."""

    def restore(self, snapshot):
        """Go back to a snapshot, also to one with another number of slots."""
        parameters, state, self._updates, running = snapshot
        self.set_parameters(parameters)
        self.set_running_statistics(running)
        self.set_optimizer_state(state)

    def steps(self):
        """Updates since the optimizer's state was started."""
        return self._steps

    def updates(self):
        """Updates in the network's life, on which dropout depends."""
        return self._updates

    def set_updates(self, updates):
        """Set the count of :meth:`updates`."""
        self._updates = updates

    def is_finite(self):
        """Whether all weights, biases, moments and running statistics are finite.

        An infinite v alone would stop its weight's updates.
        """
        return _are_finite(self._parameters, *self._moments, filter(None, self._running))

    def copy(self):
        """A new engine with copies of the parameters and without moments, for a predictor."""
        twin = Engine(self.sizes, self._activations, self._loss, self.dtype, None, norm=self._norm)
        twin.set_parameters(self._parameters)
        twin.set_running_statistics(self._running)
        twin.standards = self.standards
        twin.penalty, twin.loss_factor, twin.eps_with_v = self.penalty, self.loss_factor, self.eps_with_v
        twin.reported_factor = self.reported_factor
        return twin

    @_quiet
    def normalised(self, layer, Z):
        """Y = gamma zhat + beta of a layer with a norm, in evaluation mode; the first layer is 0."""
        return self._norm_forward(layer, Z, False)[0]

    @_quiet
    def predict(self, X, out):
        """``out[...] = A[L]``, out (n_L, m)."""
        for block in _blocks(X.shape[1]):
            out[:, block] = standardisation.in_units(self.standards, self._forward(self._cast(X[:, block]))[-1].A)

    @_quiet
    def loss(self, X, y, sample_weight):
        """The sum of w_i L_i and the sum of w_i over the samples (w_i = 1 without sample weights)."""
        total = 0.0
        for block in _blocks(X.shape[1]):
            Z = self._forward(self._cast(X[:, block]))[-1].Y
            losses, _ = _losses_and_gradient(self._loss, Z, self._targets(y[..., block]), self._activations[-1])
            total += float(losses.sum() if sample_weight is None else (losses * sample_weight[block]).sum())
        return total, float(X.shape[1] if sample_weight is None else sample_weight.sum())

    @_quiet
    def gradients(self, X, y, sample_weight, training=False):
        """Mean loss, and the gradients of every layer's parameters.

        With `training` they are those of the next update, with X as its batch: with its dropout masks, and with
        the statistics of X in batch norm.
        """
        masks = self._masks(X.shape[1]) if training else None
        total, weight, gradients, _ = self._backward(self._cast(X), y, sample_weight, masks, training)
        return total / weight, gradients

    # --- a loss of the caller's own ----------------------------------------------------------------

    @_quiet
    def training_outputs(self, X):
        """A[L] (n_L, m) as the next update would have it, with X as its batch."""
        A = self._forward(self._cast(X), self._masks(X.shape[1]), True)[-1].A_out
        return standardisation.in_units(self.standards, A)

    @_quiet
    def backward(self, X, dA, weight, training=False, moves=False):
        """The gradients of every layer's parameters, and dX (n_0, m).

        Parameters
        ----------
        X, dA : ndarray
            dA (n_L, m): the derivative of w_i L_i by the outputs, for each sample.
        weight : float
            The sum of w_i, by which the gradients are divided.
        training : bool
            As for :meth:`gradients`.
        moves : bool
            With `training`: the running statistics move as in the next update.
        """
        X, masks = self._cast(X), self._masks(X.shape[1]) if training else None
        layers = self._forward(X, masks, training)
        gradients, dZ = self._backward_from(X, layers, self._output_dZ(layers[-1], dA), weight, masks)
        if moves:
            self._running = [self._moved(pair, layer.norm) for pair, layer in zip(self._running, layers, strict=True)]
        return gradients, standardisation.derivatives_in_units(self.standards, self._parameters[0][0].T @ dZ)

    def quick_backward(self, X, dA, training, guard):
        """As backward if it can be checked quickly. Here always None, so that given_gradients.backward() does it."""

    def quick_update(self, gradients, optimizer, guard):
        """As update if it can be checked quickly. Here never."""
        return False

    @_quiet
    def begin_step(self, X, notes=False):
        """The outputs A of :meth:`training_outputs`; what :meth:`end_step` needs is kept.

        `notes`: whether its state will have diagnostics, which the other backend prepares here.
        """
        X, masks = self._cast(X), self._masks(X.shape[1])
        layers = self._forward(X, masks, True)
        A = standardisation.in_units(self.standards, layers[-1].A_out.copy())
        self._begun = A, X, layers, masks, self._numbers()
        return A

    def quick_begin(self, X, optimizer, guard):
        """As begin_step if it can be checked quickly. Here always None, so that own_loss.step() does the work."""

    def quick_end(self, A, result, guard):
        """The end of a step that quick_begin began."""

    @_quiet
    def end_step(self, A, dA, weight, optimizer, state):
        """The update of a step that :meth:`begin_step` began, whose result was A; dA and weight as for backward.

        Returns
        -------
        bool
            False: a weight or a moment would not be finite; nothing was changed.

        Raises
        ------
        RuntimeError
            If the network was changed in between.
        """
        if self._begun is None or self._begun[0] is not A or not _are_same(self._begun[4], self._numbers()):
            raise guard.changed_meanwhile()
        _, X, layers, masks, _ = self._begun
        gradients, _ = self._backward_from(X, layers, self._output_dZ(layers[-1], dA), weight, masks)
        self._begun = None
        return self._finite_step(gradients, layers, optimizer, state)

    @_quiet
    def update(self, gradients, optimizer, state):
        """One update from given gradients of every layer's parameters; returns as :meth:`end_step`."""
        return self._finite_step(_copies(gradients, self.dtype), None, optimizer, state)

    def _numbers(self):
        return self._parameters, self._running, self._frozen, self._updates, self.standards

    def _output_dZ(self, last, dA):
        dA = np.asfortranarray(standardisation.of_derivatives(self.standards, dA), self.dtype)
        return _backward(self._activations[-1], dA, last.A, last.Y)

    def _finite_step(self, gradients, layers, optimizer, state):
        optimizer = self._with_rate(optimizer, state, 1, None)
        moved = self._moved_by(gradients, layers, optimizer, state.diagnostics)
        if not _is_finite_after(moved):
            return False
        self._take(moved)
        state.rate = optimizer.lr
        return True

    @_quiet
    def train(
        self,
        X,
        y,
        sample_weight,
        optimizer,
        batch_size,
        seed,
        state,
        max_batches,
        max_epochs,
        check=True,
        samples=None,
        rates=None,
        cautious=False,
    ):
        """Train until `max_batches` batches are done or `max_epochs` epochs have ended.

        Parameters
        ----------
        X, y, sample_weight : ndarray, ndarray, ndarray or None
        optimizer : Optimizer
            It must have the number of slots that :meth:`start_optimizer` was called with. The step
            count increases with each update, but not for a batch that is skipped or not finite.
        batch_size : int
        seed : int or None
            Seed of the order of the samples; None: the given order.
        state : TrainState
            The position of training, which is updated. If a loss is not finite, `state.failed` is
            True, that batch made no update, and the state has its epoch and position.
            `state.finite`: whether all weights and moments are finite at the end.
        max_batches, max_epochs : int
        check : bool
            False: do not check whether they are finite; `state.finite` is then True.
        samples : ndarray of uint32 or None
            The samples that an epoch visits; None: all. Without a seed it may be 2-D, a row for each epoch of the call.
        rates : ndarray of float64 or None
            The learning rate of each batch of this call, instead of the optimizer's lr.
        cautious : bool
            True: stop before a step that might make a weight or a moment non-finite; `state.unsafe` says whether it
            was so. That batch is not done, but its loss may be in the state's sums.

        Returns
        -------
        list of (float, float)
            For each epoch that ended: sum of w_i L_i and sum of w_i.
        """
        m = X.shape[1] if samples is None else samples.shape[-1]
        state.ended, state.ended_rates = ended, ended_rates = [], []
        if cautious:
            state.unsafe = False
        if len(self._moments) != optimizer.slots:
            raise RuntimeError("the optimizer's state was dropped in the middle of a training call")
        for i in range(max_batches):
            if seed is not None and state.order is None:
                state.order = _chosen(permutation(m, seed, state.epoch), samples)
            batch = slice(state.position, min(state.position + batch_size, m))
            order = state.order
            if seed is None:
                order = samples if samples is None or samples.ndim == 1 else samples[len(ended)]
            now, steps = self._with_rate(optimizer, state, m, None if rates is None else rates[i]), self._steps
            is_last = i + 1 == max_batches or (batch.stop == m and len(ended) + 1 == max_epochs)
            columns, noted = batch if order is None else order[batch], state.diagnostics if is_last else None
            if not self._step(X, y, sample_weight, now, columns, state, cautious, noted):
                break
            if self._steps > steps:
                state.rate = now.lr
            state.position = batch.stop
            if state.position == m:
                ended.append((state.loss_sum, state.weight_sum))
                ended_rates.append(state.rate)
                state.next_epoch()
                if len(ended) == max_epochs:
                    break
        state.finite = not check or self.is_finite()
        return ended

    def _with_rate(self, optimizer, state, m, rate):
        """The optimizer with the learning rate of the next batch: `rate`, or where that is None, its schedule's."""
        lr = optimizer.lr
        if rate is None and type(lr) is float:
            return optimizer
        if rate is None and lr.per == "step":
            rate = lr.at(self._steps)
        elif rate is None:
            rate = lr.at(state.time + (state.before + state.position) / (state.whole or m))
        return optimizer.with_lr(float(rate))

    def _step(self, X, y, sample_weight, optimizer, columns, state, cautious, diagnostics):
        weights = None if sample_weight is None else sample_weight[columns]
        if weights is not None and not weights.any():
            return True  # a batch that counts for nothing is skipped
        X = self._cast(X[:, columns])
        masks = self._masks(X.shape[1])
        total, weight, gradients, layers = self._backward(X, y[..., columns], weights, masks, True)
        total, gradients = self._of_sklearn(total, gradients)
        if not np.isfinite(total):
            state.failed = True
            return False
        state.loss_sum += total
        state.weight_sum += weight
        if state.first_loss is None:
            state.first_loss = total / weight
        moved = self._moved_by(gradients, layers, optimizer, diagnostics, weight)
        if cautious and not _is_finite_after(moved):
            state.unsafe = True
            return False
        self._take(moved)
        return True

    def _moved_by(self, gradients, layers, optimizer, diagnostics, weight=math.inf):
        """What an update makes of everything that training changes, in the order of :meth:`_take`.

        `layers` are those of the forward pass, for running statistics; None: these stay. `weight` of the batch: that
        of the penalty is 1 / weight.
        """
        # Update copies, and replace all arrays at the end: so Ctrl-C or a MemoryError leaves no half-made step.
        parameters = _copies(self._parameters, self.dtype)
        moments = [_copies(slot, self.dtype) for slot in self._moments]
        steps, update = self._steps + 1, _UPDATES[optimizer.kind]
        trained = [layer for layer, frozen in enumerate(self._frozen) if not frozen]
        if diagnostics is not None:
            diagnostics[:] = self._diagnostics(gradients, layers, trained, optimizer.clip_value)
        mended = _mended([gradients[layer] for layer in trained], [parameters[layer] for layer in trained], optimizer)
        if self.eps_with_v and hasattr(optimizer, "betas"):
            optimizer = optimizer.with_eps(optimizer.eps / math.sqrt(1 - optimizer.betas[1] ** steps))
        of_W, of_b = optimizer, optimizers.for_b(optimizer)
        decay = self.dtype.type(self.penalty / weight)
        for layer, pair in zip(trained, mended, strict=True):
            for i, (parameter, gradient) in enumerate(zip(parameters[layer], pair, strict=True)):
                if decay and not i:
                    gradient = gradient + decay * parameter
                update(parameter, gradient, [slot[layer][i] for slot in moments], steps, of_b if i else of_W)
        for layer in trained if diagnostics is not None else ():
            W, old = parameters[layer][0].astype(np.float64), self._parameters[layer][0]
            diagnostics[layer, 1:3] = np.linalg.norm(W - old), np.linalg.norm(W)
        average = self._average
        if self._share:
            both = zip(average, parameters, strict=True)
            rest = self.dtype.type(1 - self._share)
            average = [tuple(a + rest * (w - a) for a, w in zip(*pairs, strict=True)) for pairs in both]
        running = self._running
        if layers is not None:
            running = [self._moved(pair, layer.norm) for pair, layer in zip(running, layers, strict=True)]
        return parameters, moments, steps, average, running

    def _take(self, moved):
        self._parameters, self._moments, self._steps, self._average, self._running = moved
        self._updates += 1

    def _of_sklearn(self, total, gradients):
        """The sum of w_i L_i of a batch with factor and penalty, and the gradients with the factor."""
        total *= self.reported_factor or self.loss_factor
        if self.penalty:
            squares = sum(float(np.square(layer[0], dtype=np.float64).sum()) for layer in self._parameters)
            total += self.penalty / 2 * squares
        if self.loss_factor != 1:
            gradients = [tuple(g * self.dtype.type(self.loss_factor) for g in layer) for layer in gradients]
        return total, gradients

    def _diagnostics(self, gradients, layers, trained, clip_value):
        """For each layer: norm of its gradients, norm of the change of W and of W (set later), share of quiet units."""
        numbers = np.array([[np.nan, 0.0, 1.0, np.nan]] * len(gradients))
        for layer in trained:
            most = clip_value or np.inf
            flat = [np.clip(g, -most, most).astype(np.float64).ravel() for g in gradients[layer]]
            numbers[layer, 0] = np.linalg.norm(np.concatenate(flat))
        for layer, g in enumerate(self._activations[:-1]):
            if g.name in _QUIET:
                numbers[layer, 3] = _QUIET[g.name](layers[layer].A.astype(np.float64)).all(axis=1).mean()
        return numbers

    def _masks(self, m):
        """Dropout's factors of each layer in the next update, (n_l, m): 0, or 1 / the share that is kept; or None."""
        masks = []
        for layer, dropped in enumerate(self._dropped):
            mask = None
            if dropped:
                kept = _philox.kept(dropped, self.sizes[layer + 1], m, self._seed, layer, self._updates)
                mask = np.where(kept, self.dtype.type(65536 / (65536 - dropped)), self.dtype.type(0))
            masks.append(mask)
        return masks

    def _cast(self, X):
        if type(X) is Sparse:
            standards = self.standards
            return X.matrix(self.dtype) if standards is None else _standardised(X, *standards[:2], self.dtype)
        # Always in the same layout: BLAS rounds differently by layout, but the same samples must give the same numbers.
        return np.asfortranarray(standardisation.of_samples(self.standards, X), self.dtype)

    def _targets(self, y):
        return y if self.standards is None else standardisation.of_targets(self.standards, y)

    def _moved(self, running, norm):
        """The running statistics after a batch; its variance is the unbiased one, as PyTorch's."""
        if norm is None or norm.statistics is None:
            return running
        mean, var = norm.statistics
        m, rest = norm.zhat.shape[1], 1 - norms.MOMENTUM
        new = mean, var * (m / (m - 1))
        return tuple((rest * a + norms.MOMENTUM * b).astype(self.dtype) for a, b in zip(running, new, strict=True))

    def _norm_forward(self, layer, Z, training):
        """Y = gamma zhat + beta, and its _Norm. The statistics of a single sample would make every zhat 0."""
        gamma, beta = self._parameters[layer][2:]
        norm = _normalised(
            self._norm[layer], Z, self._running[layer], training and Z.shape[1] > 1 and not self._frozen[layer]
        )
        return gamma * norm.zhat + beta, norm

    def _forward(self, X, masks=None, training=False):
        """The _Layer of every layer."""
        layers, A_out = [], X
        each = zip(self._parameters, self._activations, masks or self._no_masks, strict=True)
        for i, (parameters, g, mask) in enumerate(each):
            Y, norm = _product(parameters[0], A_out) + parameters[1], None
            if self._norm[i]:
                Y, norm = self._norm_forward(i, Y, training)
            A = _forward(g, Y)
            A_out = A if mask is None else A * mask
            layers.append(_Layer(Y, A, A_out, norm))
        return layers

    def _backward(self, X, y, sample_weight, masks=None, training=False):
        """Sum of w_i L_i, sum of w_i, the gradients of every layer's parameters, and the layers of the forward pass."""
        layers = self._forward(X, masks, training)
        losses, dZ = _losses_and_gradient(self._loss, layers[-1].Y, self._targets(y), self._activations[-1])
        if sample_weight is None:
            total, weight = losses.sum(), float(len(losses))
        else:
            total, weight = (losses * sample_weight).sum(), sample_weight.sum()
            dZ = dZ * sample_weight.astype(self.dtype)
        gradients, _ = self._backward_from(X, layers, dZ, weight, masks)
        return float(total), float(weight), gradients, layers

    def _backward_from(self, X, layers, dZ, weight, masks=None):
        """From dZ of the last layer the gradients of every layer's parameters, and dZ of the first layer."""
        gradients, masks = [None] * len(layers), masks or self._no_masks
        for layer in reversed(range(len(layers))):
            A_prev, norm, of_norm = layers[layer - 1].A_out if layer else X, layers[layer].norm, ()
            if norm:
                dZ, *of_norm = _norm_backward(norm, dZ, self._parameters[layer][2])
            # The mean of a batch takes out what b adds to all of its samples.
            db = np.zeros((len(dZ), 1)) if norm and norm.statistics else _rowsum(dZ)
            sums = (_outer_sum(dZ, A_prev), db, *of_norm)
            gradients[layer] = tuple((T / weight).astype(self.dtype, copy=False) for T in sums)
            if layer:
                dA, before, mask = self._parameters[layer][0].T @ dZ, layers[layer - 1], masks[layer - 1]
                dA = dA if mask is None else dA * mask
                dZ = _backward(self._activations[layer - 1], dA, before.A, before.Y)
        return gradients, dZ


class _Layer(NamedTuple):
    """What the forward pass computes of a layer; Y is Z, or gamma zhat + beta with a norm."""

    Y: np.ndarray
    A: np.ndarray
    A_out: np.ndarray  # after dropout
    norm: _Norm | None


class Predictor:
    """A network with fixed weights that only predicts: :meth:`Network.predictor` returns its method ``predict``.

    Parameters
    ----------
    engine : Engine
    long_way : callable
        ``passes.predict``, used if the engine's ``quick_predict`` returns None.
    reduced : callable
        Returns the result of ``__reduce__``.
    """

    def __init__(self, engine, long_way, reduced):
        self._engine, self._long_way, self._reduced = engine, long_way, reduced

    def predict(self, X, out=None):
        """Outputs A[L] with the weights that the predictor has; arguments as for :meth:`Network.predict`."""
        return self._long_way(self._engine, X, out)

    def __reduce__(self):
        return self._reduced()

    def __deepcopy__(self, memo):
        return self  # a predictor never changes


# name -> whether the slope at A is 0, or below 1% of the largest slope
_QUIET = {
    "relu": lambda A: A == 0,
    "tanh": lambda A: 1 - A * A < 0.01,
    "sigmoid": lambda A: 4 * A * (1 - A) < 0.01,
}


def _chosen(order, samples):
    return order if samples is None else samples[order]


def _are_finite(*slots):
    return all(np.isfinite(T).all() for slot in slots for layer in slot for T in layer)


def _is_finite_after(moved):
    parameters, moments, _, _, running = moved
    return _are_finite(parameters, *moments, filter(None, running))


def _are_same(some, others):
    return all(a is b for a, b in zip(some, others, strict=True))


def _copies(layers, dtype):
    return [tuple(np.array(T, dtype, order="C") for T in layer) for layer in layers]


def _blocks(m):
    return (slice(start, min(start + _BLOCK, m)) for start in range(0, m, _BLOCK))
