"""The oracle: the lecture's mathematics once more, naive and in float64, with the scale of every result.

Shares nothing with fastnn. Products are in float64, functions of one number in long double.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

# Scales. A function here returns (T, S): the exact T, and S such that a sound computation in
# float32 or float64 gives |T_computed - T| <= BOUND * S. To first order, S is made of
#   rounding: for a sum of products, the same sum over absolute values; else |T| itself;
#   what came in: each inexact operand's own S, times the absolute derivative with respect to it.
# Operands are exact (S = 0) where a caller does not say otherwise: so for a single function S is
# the formula on absolute values, and for a network the errors are carried from layer to layer:
#   Z  = W A_prev + b             S = |W||A_prev| + |b|                  + |W| S(A_prev)
#   A  = sigmoid, tanh            S = |A|                                + |g'| S(Z)
#   A  = relu, identity           S = 0 (they do not round)              + |g'| S(Z), by the side that it is on
#   A  = softmax                  S = A (1 + |z - max z| + its mean)     + A (S(Z) + its mean)
#   dZ = dA * g'                  S = |dZ|                               + |g'| S(dA) + |dA g''/g'| S(A)
#     with g' from Z                                                         the last term: |dA g''| S(Z)
#   dZ = A (dA - sum(A dA))       S = A (|dA| + its mean)                + A (S(dA) + its mean)
#                                   + |dA - mean| S(A) + A sum(|dA| S(A))
#   dW = dZ A_prev^T / m          S = |dZ||A_prev|^T / m                 + (S(dZ)|A_prev|^T + |dZ|S(A_prev)^T) / m
#   dA_prev = W^T dZ              S = |W|^T |dZ|                         + |W|^T S(dZ)
#   W  - lr (dW + wd W)           S = |W| + lr (|dW| + wd |W|)           + lr S(dW)
# ("mean": over softmax's units, weighted by A.) The losses and their dZ say theirs where they stand.
# Where |Z| <= BOUND * S, an activation with a kink may round to either side: the side is then the tested result's, see
# `sides`.
BOUND = {np.dtype("float32"): 2e-6, np.dtype("float64"): 1e-13}


def exact(array, dtype):
    """The operand that a computation in `dtype` gets, in float64."""
    with np.errstate(over="ignore"):
        return np.asarray(array).astype(dtype).astype(np.float64)


# --- one layer ------------------------------------------------------------------------------------


def product(A, B):
    """A B; a long sum in blocks, for BLAS may run through it in float64 from end to end."""
    total = np.zeros((A.shape[0], B.shape[1]), np.longdouble)
    for k in range(0, A.shape[1], 256):
        total += A[:, k : k + 256] @ B[k : k + 256]
    return total.astype(np.float64)


def linear_forward(W, A_prev, b, S_A=0.0):
    """Z and its scale."""
    return product(W, A_prev) + b, np.abs(W) @ (np.abs(A_prev) + S_A) + np.abs(b)


# --- activations: one record each, the same names in the same order as in fastnn/tables.py -------------------------


def _sigmoid(Z):
    return np.exp(np.minimum(Z, 0)) / (1 + np.exp(-np.abs(Z)))  # no overflow: silu's A is Z times this


def _softmax(Z):
    e = np.exp(Z - Z.max(axis=0))
    return e / e.sum(axis=0)


SCALE, ALPHA = np.longdouble("1.0507009873554804934193349852946"), np.longdouble("1.6732632423543772848170429916717")


def _phi(Z, approximate):
    """Phi(Z), its derivative, and the derivative of that."""
    if approximate:
        Z, c = np.clip(Z, -60, 60), np.sqrt(8 / np.longdouble(np.pi))
        v, v1, v2 = c * (Z + 0.044715 * Z**3), c * (1 + 0.134145 * Z**2), c * 0.26829 * Z
        s, rest = _sigmoid(v), _sigmoid(-v)
        return s, s * rest * v1, s * rest * ((rest - s) * v1**2 + v2)
    Z = np.clip(Z, -60, 60)  # beyond, all of these are what they are at infinity
    x = -Z * np.sqrt(np.longdouble(0.5))
    near = x.astype(np.float64)
    erfc = np.vectorize(math.erfc, otypes=[np.float64])(near)
    density = np.exp(-(Z**2) / 2) / np.sqrt(2 * np.longdouble(np.pi))
    return erfc / 2 - np.sqrt(np.longdouble(2)) * density * (x - near), density, -Z * density


def _gelu(Z, approximate):
    return np.maximum(Z, -60) * _phi(Z, approximate)[0]


def _gelu_slope(Z, approximate):
    phi, density, bend = _phi(Z, approximate)
    Z = np.clip(Z, -60, 60)
    return phi + Z * density, 2 * density + Z * bend, (phi + np.abs(Z * density)) * _gelu_size(Z, approximate)


def _gelu_size(Z, approximate):
    """exp(v) has the rounding of v, times |v|; the exact one is computed without that."""
    return 1 + np.minimum(1.6 * np.abs(Z) + 0.08 * np.abs(Z) ** 3, 800) if approximate else 1


class Activation(NamedTuple):
    """What the tests know of an activation."""

    g: Callable  # A from Z, of long doubles; with its parameters as keywords
    slope: Callable | None  # g' and its derivative, from A; None: of all units, and written out where it is used
    parameters: Mapping = MappingProxyType({})  # their defaults
    others: Mapping = MappingProxyType({})  # values that differ from them; empty: any do
    within: tuple = (-np.inf, np.inf)  # all A
    is_odd: bool = False  # g(-z) = -g(z)
    rounds: bool = True
    has_kink: bool = False  # g' jumps where Z is 0; slope is asked with A of 1 and -1 for the two sides
    size: Callable | None = None  # the rounding of A over |A|, from Z; None: 1
    # "A" or "Z", from which slope gives g', its derivative and, if g' is a sum, the sum of the sizes of its terms.
    slope_from: str = "A"

    @property
    def whole(self):
        """Whether it is a function of all units of a sample."""
        return self.slope is None


ACTIVATIONS = {
    "identity": Activation(lambda Z: Z, lambda A: (np.ones_like(A), np.zeros_like(A)), is_odd=True, rounds=False),
    "sigmoid": Activation(_sigmoid, lambda A: (A * (1 - A), 1 - 2 * A), within=(0, 1)),
    "tanh": Activation(np.tanh, lambda A: ((1 - A) * (1 + A), -2 * A), within=(-1, 1), is_odd=True),
    "relu": Activation(
        lambda Z: np.where(Z <= 0, 0, Z),  # keeps NaN
        lambda A: (np.where(np.isnan(A), A, A > 0), np.zeros_like(A)),
        within=(0, np.inf),
        rounds=False,
        has_kink=True,
    ),
    "softmax": Activation(_softmax, None, within=(0, 1)),
    "leaky_relu": Activation(
        lambda Z, slope: np.where(Z > 0, Z, Z * slope),
        lambda A, slope: (np.where(np.isnan(A), A, np.where(A > 0, 1.0, slope)), np.zeros_like(A)),
        {"slope": 0.01},
        has_kink=True,
    ),
    "elu": Activation(
        lambda Z, alpha: np.where(Z > 0, Z, alpha * np.expm1(np.minimum(Z, 0))),
        lambda A, alpha: (np.where(A > 0, 1.0, A + alpha), np.where(A > 0, 0.0, 1.0), np.where(A > 0, 1.0, alpha - A)),
        {"alpha": 1.0},
    ),
    "selu": Activation(
        lambda Z: SCALE * np.where(Z > 0, Z, ALPHA * np.expm1(np.minimum(Z, 0))),
        lambda A: (
            np.where(A > 0, float(SCALE), A + float(SCALE * ALPHA)),
            np.where(A > 0, 0.0, 1.0),
            np.where(A > 0, float(SCALE), float(SCALE * ALPHA) - A),
        ),
    ),
    "gelu": Activation(_gelu, _gelu_slope, {"approximate": 0.0}, {"approximate": 1.0}, slope_from="Z", size=_gelu_size),
    "silu": Activation(
        lambda Z: Z * _sigmoid(Z),
        lambda Z: (
            _sigmoid(Z) * (1 + Z * _sigmoid(-Z)),
            _sigmoid(Z) * _sigmoid(-Z) * (2 + Z * (_sigmoid(-Z) - _sigmoid(Z))),
            _sigmoid(Z) * (1 + np.abs(Z) * _sigmoid(-Z)),
        ),
        slope_from="Z",
    ),
    "softplus": Activation(
        lambda Z: np.logaddexp(0, Z),
        lambda Z: (_sigmoid(Z), _sigmoid(Z) * _sigmoid(-Z), _sigmoid(Z)),
        slope_from="Z",
    ),
}


def with_other_parameters(table):
    """The names of a table of records; one that has parameters also with others than its defaults."""
    kinds = []
    for name, known in table.items():
        kinds.append(name)
        if known.parameters and None not in known.parameters.values():
            others = {key: 0.4 + 0.7 * value for key, value in known.parameters.items()}
            kinds.append((name, dict(getattr(known, "others", None) or others)))
    return kinds


ALL_ACTIVATIONS = with_other_parameters(ACTIVATIONS)


def record(kind):
    """The record of a name, or of (name, {parameter: value}), and all of its parameters."""
    name, given = (kind, {}) if isinstance(kind, str) else kind
    return ACTIVATIONS[name], {**ACTIVATIONS[name].parameters, **given}


@np.errstate(all="ignore")
def g(Z, kind):
    """A alone."""
    known, parameters = record(kind)
    return known.g(np.asarray(Z, np.longdouble), **parameters).astype(np.float64)


@np.errstate(all="ignore")
def activation_forward(Z, kind, S_Z=0.0):
    """A and its scale."""
    A = g(Z, kind)
    known, parameters = record(kind)
    if known.whole:
        below = np.where(np.isneginf(Z), 0.0, Z.max(axis=0) - Z)
        return A, A * (1 + _and_mean(A, below + S_Z))
    rounding = np.abs(A) * (known.size(Z, **parameters) if known.size else 1) if known.rounds else 0.0
    # On a kink's side that a computed Z may not have been on, the larger slope: see `forward`.
    x = Z if known.slope_from == "Z" else A
    slope = 1.0 if known.has_kink else np.abs(known.slope(x, **parameters)[0])
    return A, rounding + slope * S_Z


def _and_mean(A, T):
    return T + (A * T).sum(axis=0)


def activation_backward(dA, x, kind, S_dA=0.0, S_x=0.0, side=None):
    """dZ and its scale, from x: A, or Z if the record says so; where there is a kink by `side`, or the sign of x."""
    known, parameters = record(kind)
    if known.whole:
        mean = (x * dA).sum(axis=0)
        S = x * _and_mean(x, np.abs(dA) + S_dA) + np.abs(dA - mean) * S_x + x * (np.abs(dA) * S_x).sum(axis=0)
        return x * (dA - mean), S
    slope, bend, *terms = known.slope(x if side is None else np.where(side, 1.0, -1.0), **parameters)
    dZ = dA * slope
    rounding = np.abs(dA * (terms[0] if terms else slope)) if known.rounds else 0.0
    return dZ, rounding + np.abs(slope) * S_dA + np.abs(dA * bend) * S_x


def rowsum(dZ, S_dZ=0.0):
    """The sum of each row and its scale."""
    total = dZ.astype(np.longdouble, order="C").sum(axis=1, keepdims=True).astype(np.float64)
    return total, (np.abs(dZ) + S_dZ).sum(axis=1, keepdims=True)


def linear_backward(dZ, A_prev, W, S_dZ=0.0, S_A=0.0):
    """(dW, S), (db, S), (dA_prev, S)."""
    m = dZ.shape[1]
    S_dW = (np.abs(dZ) + S_dZ) @ np.abs(A_prev).T + np.abs(dZ) @ (S_A + np.zeros_like(A_prev)).T
    db, S_db = rowsum(dZ, S_dZ)
    return (
        (product(dZ, A_prev.T) / m, S_dW / m),
        (db / m, S_db / m),
        (product(W.T, dZ), np.abs(W).T @ (np.abs(dZ) + S_dZ)),
    )


# --- norms: Y = gamma zhat + beta from Z, and dZ from dY ------------------------------------------------------
# An operand x has the scale S(x); means over the units of a sample (axis 0), or over the samples of a batch (axis 1).
#   d = Z - mean                  S = |d| + S(Z) + mean(|Z| + S(Z))
#   r = 1 / sqrt(var + eps)       S = r (1 + r^2 mean(d^2 + 2 |d| S(d)) / 2)
#   zhat = d r                    S = |zhat| + r S(d) + |d| S(r)
# The running mean and variance of batch norm are exact operands.


def norm_forward(Z, gamma, beta, kind, running=None, S_Z=0.0, eps=1e-5):
    """(Y, S), and what the backward pass needs: (zhat, S), (r, S) and the axis; None with running statistics."""
    axis = {"layer": 0, "batch": 1}[kind]
    S_Z = S_Z + np.zeros_like(Z)
    if running is None:
        mean = Z.astype(np.longdouble).mean(axis=axis, keepdims=True)
        d = (Z - mean).astype(np.float64)
        S_d = np.abs(d) + S_Z + (np.abs(Z) + S_Z).mean(axis=axis, keepdims=True)
        var = (d**2).mean(axis=axis, keepdims=True)
        S_var = (d**2 + 2 * np.abs(d) * S_d).mean(axis=axis, keepdims=True)
    else:
        mean, var = running
        d, axis, S_var = Z - mean, None, var
        S_d = np.abs(d) + S_Z
    r = 1 / np.sqrt(var + eps)
    S_r = r * (1 + r**2 * S_var / 2)
    zhat = d * r
    S = np.abs(zhat) + S_d * r + np.abs(d) * S_r
    Y = gamma * zhat + beta, np.abs(gamma * zhat) + np.abs(beta) + np.abs(gamma) * S
    return *Y, ((zhat, S), (r, S_r), axis)


def batch_statistics(Z):
    """Mean and the unbiased variance of each unit: what running statistics move to, by a tenth of the way."""
    return Z.mean(axis=1, keepdims=True), Z.var(axis=1, ddof=1, keepdims=True)


def norm_backward(dY, gamma, kept, S_dY=0.0):
    """(dZ, S), (sum over samples of dY zhat, S), (sum over samples of dY, S)."""
    (zhat, S_zhat), (r, S_r), axis = kept
    products = rowsum(dY * zhat, np.abs(dY) * S_zhat + S_dY * np.abs(zhat))
    g, S_g = dY * gamma, np.abs(dY * gamma) + np.abs(gamma) * S_dY
    inner, S = g, S_g
    if axis is not None:
        along = {"axis": axis, "keepdims": True}
        slope = (g * zhat).mean(**along)
        S_slope = (np.abs(g) * np.abs(zhat) + S_g * np.abs(zhat) + np.abs(g) * S_zhat).mean(**along)
        inner = g - g.mean(**along) - zhat * slope
        S = S_g + (np.abs(g) + S_g).mean(**along) + np.abs(zhat) * S_slope + S_zhat * np.abs(slope)
    dZ = r * inner
    return (dZ, np.abs(dZ) + r * S + S_r * np.abs(inner)), products, rowsum(dY, S_dY)


# --- losses, from Z ---------------------------------------------------------------------------------


def target_matrix(y, n, dtype):
    """Targets as an (n, m) matrix in float64, where n are the rows of y: codes become one-hot columns."""
    y = np.asarray(y)
    if y.ndim == 2:
        return exact(y, dtype)
    if n == 1:
        return exact(y[np.newaxis], dtype)
    return (np.arange(n)[:, np.newaxis] == y).astype(np.float64)


def _smoothed(Y, label_smoothing, classes):
    return (1 - label_smoothing) * Y + label_smoothing / classes


def _binary_cross_entropy(z, Y, S_Z, label_smoothing, pos_weight):
    Y = _smoothed(Y, label_smoothing, 2)
    # The usual max(z, 0) - z y + ... subtracts what may be near: no harm for y of 0 or 1
    L = (1 - Y) * np.logaddexp(0, z) + pos_weight * Y * np.logaddexp(0, -z)
    soft = (Y > 0) & (Y < 1)
    d = (1 - Y) * _sigmoid(z) - pos_weight * Y * _sigmoid(-z)
    return L, L + soft * np.abs(z) * (1 + Y) + np.abs(d) * S_Z


def _cross_entropy(z, Y, S_Z, label_smoothing):
    Y = _smoothed(Y, label_smoothing, len(Y))
    below = z.max(axis=0) - z
    A, log_sum = _softmax(z), np.log(np.exp(-below).sum(axis=0))
    L = Y * (log_sum + below)
    # log_sum is the logarithm of a number near 1, whose rounding is absolute
    return L, L + Y * (1 + (A * below).sum(axis=0)) + np.abs(A * Y.sum(axis=0) - Y) * S_Z


def _mse(a, Y, S_A):
    return np.square(a - Y), np.square(a - Y) + 2 * np.abs(a - Y) * S_A


def _huber(a, Y, S_A, delta):
    e = np.abs(a - Y)
    L = np.where(e <= delta, e * e / 2, delta * (e - delta / 2))
    return L, np.where(e <= delta, L, delta * (e + delta / 2)) + np.minimum(e, delta) * S_A


def _huber_derivative(a, Y, S_A, delta):
    e = a - Y
    d = np.where(np.abs(e) <= delta, e, delta * np.sign(e))
    return d, np.abs(d) + S_A


def _levels(a, levels):
    return np.array(levels if levels is not None else [(i + 1) / (len(a) + 1) for i in range(len(a))])[:, np.newaxis]


def _quantile(a, Y, S_A, levels):
    q = _levels(a, levels)
    L = q * np.maximum(Y - a, 0) + (1 - q) * np.maximum(a - Y, 0)
    return L, L + np.maximum(q, 1 - q) * S_A


def _quantile_derivative(a, Y, S_A, levels):
    q = _levels(a, levels)
    d = (1 - q) * (a > Y) - q * (a < Y) + np.where(np.isnan(a), a, 0)
    return d, np.abs(d)


def _poisson(a, Y, S_A):
    rate = np.exp(a)
    return rate - Y * a, rate + np.abs(Y * a) + np.abs(rate - Y) * S_A


def _poisson_derivative(a, Y, S_A):
    rate = np.exp(a)
    return rate - Y, rate * (1 + S_A) + Y


def _of_gaussian(a, Y, S_A):
    k = len(Y)
    S_A = S_A + np.zeros_like(a)
    return a[:k] - Y, a[k:], np.exp(-a[k:]), S_A[:k], S_A[k:]


def _gaussian_nll(a, Y, S_A):
    e, s, inverse, S_mean, S_s = _of_gaussian(a, Y, S_A)
    square = e * e * inverse
    S = (np.abs(s) + square) / 2 + np.abs(e * inverse) * S_mean + np.abs(1 - square) / 2 * S_s
    return (s + square) / 2, S


def _gaussian_nll_derivative(a, Y, S_A):
    e, _, inverse, S_mean, S_s = _of_gaussian(a, Y, S_A)
    square = e * e * inverse
    S_of_mean = np.abs(e * inverse) * (1 + S_s) + inverse * S_mean
    S_of_s = (1 + square) / 2 + np.abs(e * inverse) * S_mean + square / 2 * S_s
    return np.concatenate([e * inverse, (1 - square) / 2]), np.concatenate([S_of_mean, S_of_s])


def _output_less_target(output, mass):
    """dZ of a cross-entropy: A times the mass of its targets, less these."""

    def dZ(Z, Y, S_Z, label_smoothing, pos_weight=1.0):
        A, S_A = activation_forward(Z, output, S_Z)
        Y = _smoothed(Y, label_smoothing, 2 if output == "sigmoid" else len(Y))
        if pos_weight != 1:
            d = (1 - Y) * A - pos_weight * Y * (1 - A)
            weight = 1 + (pos_weight - 1) * Y
            return d, np.abs(d) + weight * (A + S_A) + pos_weight * Y
        d = A * mass(Y) - Y
        return d, np.abs(d) + mass(Y) * (A + S_A)

    return dZ


class Loss(NamedTuple):
    """What the tests know of a loss; the same names in the same order as in fastnn/tables.py."""

    values: Callable  # each unit's L and its scale, of long doubles, from x, Y and S(x)
    derivative: Callable  # by x, and its scale, from x, Y and S(x)
    x: str  # "Z", or "A" of any output
    output: str | None  # the activation that it needs
    # "probabilities", "classes", "values", "counts" (of at least 0), "one_value" (for all units), or "means" (a value
    # for each of the first half of the units)
    targets: str
    parameters: Mapping = MappingProxyType({})

    @property
    def is_of_classes(self):
        return self.targets in ("probabilities", "classes")

    @property
    def takes_codes(self):
        return self.targets not in ("one_value", "means")

    def rows(self, n):
        """The rows of y for n units."""
        return 1 if self.targets == "one_value" else n // 2 if self.targets == "means" else n

    def fits(self, n):
        """Whether it can have n units."""
        return n >= {"classes": 2, "means": 2}.get(self.targets, 1) and (self.targets != "means" or n % 2 == 0)

    def some_targets(self, rng, n, m):
        """Legal values, soft where there are classes; columns that do not sum to 1."""
        if self.is_of_classes:
            return rng.uniform(size=(n, m)) * (2 if self.targets == "classes" else 1)
        if self.targets == "counts":
            return rng.uniform(size=(n, m)) * 3 * (rng.uniform(size=(n, m)) < 0.8)
        return rng.standard_normal((self.rows(n), m))


LOSSES = {
    "binary_cross_entropy": Loss(
        _binary_cross_entropy,
        _output_less_target("sigmoid", lambda Y: 1.0),
        "Z",
        "sigmoid",
        "probabilities",
        {"label_smoothing": 0.0, "pos_weight": 1.0},
    ),
    "cross_entropy": Loss(
        # columns need not sum to 1
        _cross_entropy,
        _output_less_target("softmax", lambda Y: Y.sum(axis=0)),
        "Z",
        "softmax",
        "classes",
        {"label_smoothing": 0.0},
    ),
    "mse": Loss(_mse, lambda a, Y, S_A: (2 * (a - Y), np.abs(2 * (a - Y)) + 2 * S_A), "A", None, "values"),
    "mae": Loss(
        lambda a, Y, S_A: (np.abs(a - Y), np.abs(a - Y) + S_A),
        lambda a, Y, S_A: (np.sign(a - Y), np.zeros_like(a)),
        "A",
        None,
        "values",
    ),
    "huber": Loss(_huber, _huber_derivative, "A", None, "values", {"delta": 1.0}),
    "quantile": Loss(_quantile, _quantile_derivative, "A", None, "one_value", {"levels": None}),
    "poisson": Loss(_poisson, _poisson_derivative, "A", "identity", "counts"),
    "gaussian_nll": Loss(_gaussian_nll, _gaussian_nll_derivative, "A", "identity", "means"),
}


ALL_LOSSES = with_other_parameters(LOSSES)


def record_of_loss(kind):
    """The record of a name, or of (name, {parameter: value}), and all of its parameters."""
    name, given = (kind, {}) if isinstance(kind, str) else kind
    return LOSSES[name], {**LOSSES[name].parameters, **given}


@np.errstate(all="ignore")
def losses(x, Y, kind, S_x=0.0):
    """Loss of each sample, (m,), and its scale, from what the record says; Y is a matrix."""
    known, parameters = record_of_loss(kind)
    L, S = known.values(np.asarray(x, np.longdouble), np.asarray(Y, np.longdouble), S_x, **parameters)
    return L.sum(axis=0).astype(np.float64), S.sum(axis=0).astype(np.float64)


def loss(x, Y, kind, w=None, S_x=0.0):
    """Weighted mean of the losses, and its scale."""
    L, S = losses(x, Y, kind, S_x)
    w = np.ones(len(L)) if w is None else np.asarray(w, np.float64)
    return w @ L / w.sum(), w @ S / w.sum()


def loss_backward(x, Y, kind, w=None, S_x=0.0):
    """The derivative by x per sample and its scale: with weights, m w_i / sum(w) times the sample's own."""
    known, parameters = record_of_loss(kind)
    d, S = known.derivative(x, Y, S_x, **parameters)
    if w is None:
        return d, S
    w = np.asarray(w, np.float64)
    w = w * (len(w) / w.sum())
    return d * w, (S + np.abs(d)) * w


# --- a whole network: parameters [(W, b), ...], activations one per layer ------------------------------
# A layer with a norm has (W, b, gamma, beta); `norms` says for each layer None or (kind, running statistics or None).


def forward(parameters, activations, X, bound=0.0, active=None, norms=None):
    """Per layer dict(Z, A, their scales S_Z and S_A, and where there is a kink: near it, and the side).

    `active` are masks of the sides that were taken, one per layer, believed where Z is near the kink. With a norm Z is
    what comes out of it, "norm" is for its backward pass, and "before" what went in.
    """
    layers, A, S_A = [], X, 0.0
    for i, ((W, b, *of_norm), kind) in enumerate(zip(parameters, activations, strict=True)):
        Z, S_Z = linear_forward(W, A, b, S_A)
        before, kept = Z, None
        if of_norm:
            Z, S_Z, kept = norm_forward(Z, *of_norm, *norms[i], S_Z)
        A, S_A = activation_forward(Z, kind, S_Z)
        near, side = np.zeros(Z.shape, bool), None
        known, parameters = record(kind)
        if known.has_kink:
            near, side = np.abs(Z) <= bound * S_Z, Z > 0
            if active is not None:
                side = np.where(near, active[i], side)
            slope = known.slope(np.where(side, 1.0, -1.0), **parameters)[0]
            A = np.where(np.isnan(Z) | (slope != 0), Z * slope, 0.0)
            S_A = np.where(near, 1.0, slope) * S_Z + (np.abs(A) if known.rounds else 0.0)
        layers.append({"Z": Z, "A": A, "S_Z": S_Z, "S_A": S_A, "near": near, "side": side})
        layers[-1] |= {"before": before, "norm": kept}
    return layers


def network_loss(layer, kind, Y, w=None):
    """J and its scale, from the last of `forward`'s layers."""
    at = record_of_loss(kind)[0].x
    return loss(layer[at], Y, kind, w, layer["S_" + at])


def gradients(parameters, activations, kind, X, Y, w=None, bound=0.0, active=None, norms=None):
    """(J, S), [((dW, S), (db, S)), ...] of the weighted mean loss; with a norm those of gamma and beta, too."""
    layers = forward(parameters, activations, X, bound, active, norms)
    x = record_of_loss(kind)[0].x
    dZ, S_dZ = loss_backward(layers[-1][x], Y, kind, w, layers[-1][f"S_{x}"])
    if x == "A":
        dZ, S_dZ = _through(layers[-1], activations[-1], dZ, S_dZ)
    return network_loss(layers[-1], kind, Y, w), _down(parameters, activations, X, layers, dZ, S_dZ)[0]


def backward(parameters, activations, X, dA, norms=None):
    """([((dW, S), (db, S)), ...], (dX, S)) from the derivative by the outputs, which is exact."""
    layers = forward(parameters, activations, X, norms=norms)
    return _down(parameters, activations, X, layers, *_through(layers[-1], activations[-1], dA, 0.0))


def _down(parameters, activations, X, layers, dZ, S_dZ):
    result = []
    for i in reversed(range(len(layers))):
        A_prev, S_A = (layers[i - 1]["A"], layers[i - 1]["S_A"]) if i else (X, 0.0)
        of_norm = ()
        if layers[i]["norm"]:
            (dZ, S_dZ), *of_norm = norm_backward(dZ, parameters[i][2], layers[i]["norm"], S_dZ)
            of_norm = [(T / X.shape[1], S / X.shape[1]) for T, S in of_norm]
        dW, db, (dA, S_dA) = linear_backward(dZ, A_prev, parameters[i][0], S_dZ, S_A)
        result.insert(0, (dW, db, *of_norm))
        if i:
            dZ, S_dZ = _through(layers[i - 1], activations[i - 1], dA, S_dA)
    return result, (dA, S_dA)


def _through(layer, kind, dA, S_dA):
    x = record(kind)[0].slope_from
    return activation_backward(dA, layer[x], kind, S_dA, layer[f"S_{x}"], layer["side"])


def step(parameters, grads, lr, weight_decay=0.0):
    """[((W, S), (b, S)), ...] after one step of gradient descent with coupled weight decay."""
    return [
        tuple(
            (T - lr * (dT + weight_decay * T), np.abs(T) * (1 + lr * weight_decay) + lr * (np.abs(dT) + S))
            for T, (dT, S) in zip(layer, gradient, strict=True)
        )
        for layer, gradient in zip(parameters, grads, strict=True)
    ]


def train(parameters, activations, kind, X, Y, batches, lr, weight_decay=0.0, w=None):
    """(parameters, mean loss of the samples before each step) after one epoch of these index arrays."""
    total = weight = 0.0
    for batch in batches:
        w_batch = np.ones(len(batch)) if w is None else w[batch]
        (J, _), grads = gradients(parameters, activations, kind, X[:, batch], Y[:, batch], w_batch)
        parameters = [tuple(T for T, _ in layer) for layer in step(parameters, grads, lr, weight_decay)]
        total, weight = total + J * w_batch.sum(), weight + w_batch.sum()
    return parameters, total / weight


def sides(parameters, activations, X, bound, tested):
    """The sides of relu that a computation within the bound may have taken, one list of masks each.

    First those of `tested`, the tested A of each layer. A later pass of the tested code may sum in
    another order and so fall to the other side of a near 0: up to two such are turned over.
    """
    active = [A > 0 for A in tested]
    yield active
    near = [layer["near"] for layer in forward(parameters, activations, X, bound, active)]
    places = [(i, *at) for i, mask in enumerate(near) for at in np.argwhere(mask)]
    for turned in itertools.chain(itertools.combinations(places, 1), itertools.combinations(places, 2)):
        masks = [mask.copy() for mask in active]
        for i, *at in turned:
            masks[i][tuple(at)] ^= True
        yield masks


class Optimizer:
    """torch.optim's rules for one array w, in float64, by the formulas of their papers."""

    def __init__(
        self,
        kind,
        lr,
        momentum=0.0,
        nesterov=False,
        betas=(0.9, 0.999),
        eps=None,
        weight_decay=0.0,
        alpha=0.99,
        lr_decay=0.0,
        momentum_decay=4e-3,
    ):
        self.rule = {
            "SGD": self._sgd,
            "Adam": self._adam,
            "AdamW": self._adamw,
            "NAdam": self._nadam,
            "RMSprop": self._rmsprop,
            "Adagrad": self._adagrad,
        }[kind]
        self.alpha, self.lr_decay, self.momentum_decay = alpha, lr_decay, momentum_decay
        self.lr, self.momentum, self.nesterov, self.weight_decay = lr, momentum, nesterov, weight_decay
        self.betas, self.eps = betas, (1e-10 if kind == "Adagrad" else 1e-8) if eps is None else eps
        self.t, self.buf, self.m, self.v = 0, 0.0, 0.0, 0.0

    def step(self, w, g):
        """w after one step with the gradient g."""
        self.t += 1
        return self.rule(np.asarray(w, np.float64), np.asarray(g, np.float64))

    def _sgd(self, w, g):
        g = g + self.weight_decay * w
        self.buf = self.momentum * self.buf + g
        return w - self.lr * (g + self.momentum * self.buf if self.nesterov else self.buf)

    def _adam(self, w, g):
        return w - self._adaptive(g + self.weight_decay * w)

    def _adamw(self, w, g):
        return w - self.lr * self.weight_decay * w - self._adaptive(g)

    def _nadam(self, w, g):
        g = g + self.weight_decay * w
        beta1, beta2 = self.betas
        mu = [beta1 * (1 - 0.5 * 0.96 ** (i * self.momentum_decay)) for i in range(1, self.t + 2)]
        self.m = beta1 * self.m + (1 - beta1) * g
        self.v = beta2 * self.v + (1 - beta2) * np.square(g)
        denominator = np.sqrt(self.v / (1 - beta2**self.t)) + self.eps
        w = w - self.lr * (1 - mu[-2]) / (1 - np.prod(mu[:-1])) * g / denominator
        return w - self.lr * mu[-1] / (1 - np.prod(mu)) * self.m / denominator

    def _rmsprop(self, w, g):
        g = g + self.weight_decay * w
        self.v = self.alpha * self.v + (1 - self.alpha) * np.square(g)
        self.buf = self.momentum * self.buf + g / (np.sqrt(self.v) + self.eps)
        return w - self.lr * self.buf

    def _adagrad(self, w, g):
        g = g + self.weight_decay * w
        self.v = self.v + np.square(g)
        return w - self.lr / (1 + (self.t - 1) * self.lr_decay) * g / (np.sqrt(self.v) + self.eps)

    def _adaptive(self, g):
        beta1, beta2 = self.betas
        self.m = beta1 * self.m + (1 - beta1) * g
        self.v = beta2 * self.v + (1 - beta2) * np.square(g)
        m_hat, v_hat = self.m / (1 - beta1**self.t), self.v / (1 - beta2**self.t)
        return self.lr * m_hat / (np.sqrt(v_hat) + self.eps)


def _warmed(lr, length, warmup, final, t):
    share = (min(t, length) - warmup) / (length - warmup)
    return lr * t / warmup if t < warmup else final + (lr - final) * math.cos(math.pi / 2 * share) ** 2


def _cycle(lr, length, t):
    """torch's OneCycleLR: initial_lr = max_lr / div_factor, min_lr = initial_lr / final_div_factor, in two phases."""
    ends, rates = [0.0, 0.3 * length, length], [lr / 25, lr, lr / 25 / 1e4]
    i = 0 if t < ends[1] else 1
    share = (min(t, length) - ends[i]) / (ends[i + 1] - ends[i])
    return rates[i] * math.cos(math.pi / 2 * share) ** 2 + rates[i + 1] * math.sin(math.pi / 2 * share) ** 2


# name -> the learning rate from the settings in the order of the tables, and the time
SCHEDULES = {
    "step": lambda lr, every, factor, t: lr * np.prod([factor] * int(t / every)),
    "exponential": lambda lr, factor, t: lr * math.exp(t * math.log(factor)),
    "inverse_scaling": lambda lr, power, t: lr * math.exp(-power * math.log1p(t)),
    "cosine": _warmed,
    "one_cycle": _cycle,
}


class Plateau:
    """torch's ReduceLROnPlateau, with threshold 1e-4 in relative mode and without its eps, for numbers of one sign."""

    def __init__(self, lr, factor, patience, mode):
        self.lr, self.factor, self.patience, self.mode = lr, factor, patience, mode
        self.best, self.bad_epochs = (math.inf if mode == "min" else -math.inf), 0

    def step(self, number):
        """The learning rate after an epoch with this number."""
        better = number < self.best * (1 - 1e-4) if self.mode == "min" else number > self.best * (1 + 1e-4)
        self.best, self.bad_epochs = (number, 0) if better else (self.best, self.bad_epochs + 1)
        if self.bad_epochs > self.patience:
            self.lr, self.bad_epochs = self.lr * self.factor, 0
        return self.lr


# --- the comparison -------------------------------------------------------------------------------------


def assert_close(got, pair, dtype, what):
    """Assert max |got - T| / S <= BOUND[dtype] for `pair` (T, S); NaN and inf must be where T has them."""
    with np.errstate(under="ignore"):  # a long double may be below the numbers of float64
        T, S = (np.asarray(part, np.float64) for part in pair)
    S = np.broadcast_to(S, T.shape)
    dtype = np.dtype(dtype)
    if isinstance(got, np.ndarray):
        assert (got.shape, got.dtype) == (T.shape, dtype), f"{what}: {got.shape} {got.dtype}, not {T.shape} {dtype}"
    bound, got = BOUND[dtype], np.asarray(got, np.float64)
    with np.errstate(all="ignore"):
        error = np.abs(got - T)
        if (error <= 0.99 * bound * S).all() and np.isfinite(error).all():
            return  # nearly always; of all else, the rest decides
    finite = np.isfinite(T)
    odd = ~finite & ~((got == T) | (np.isnan(got) & np.isnan(T)))
    if odd.any():
        at = tuple(np.argwhere(odd)[0])
        raise AssertionError(f"{what}: {got[at]} at {_place(at)}, wanted {T[at]}; {odd.sum()} such")
    with np.errstate(all="ignore"):
        error = np.where(finite, np.abs(got - T), 0.0)
        tiny = 8 * float(np.finfo(dtype).tiny)  # an underflow may be gradual or to 0
        error = np.where((np.abs(T) < tiny) & (error < tiny), 0.0, error)
        ratio = np.where(error == 0, 0.0, error / S)
        ratio = np.where(np.isnan(ratio), np.inf, ratio)
    if ratio.size and ratio.max() > bound:
        at = np.unravel_index(ratio.argmax(), ratio.shape)
        raise AssertionError(
            f"{what} ({dtype}, shape {T.shape}): error/scale {ratio[at]:.3g} at {_place(at)}, allowed {bound:g}; "
            f"got {got[at]!r}, wanted {T[at]!r}, scale {S[at]:.3g}; {(ratio > bound).sum()} of {ratio.size} are beyond"
        )


def _place(at):
    return "[" + ", ".join(str(int(i)) for i in at) + "]"
