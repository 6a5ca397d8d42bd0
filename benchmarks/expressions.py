"""Each function of fastnn.kernels beside the NumPy expression that it replaces, and arguments for both."""

import numpy as np

from fastnn import kernels

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}  # of the largest element


class Data:
    """Arguments of every function for one shape, N(0,1).

    Parameters
    ----------
    shape : (n_out, n_in, m)
    dtype : str
    order : str
        Of what has a column per sample: F has samples in rows of memory (``rows.T``), C has units there.
    out : bool
        Whether results go into given arrays, one set for each side; else each call makes its own.
    """

    def __init__(self, shape, dtype, order="F", out=True):
        rng = np.random.default_rng(0)
        self.n_out, self.n_in, self.m = shape

        def normal(rows, columns):
            return np.asarray(rng.standard_normal((columns, rows), dtype).T, order=order)

        self.W = np.ascontiguousarray(normal(self.n_out, self.n_in))
        self.b = normal(self.n_out, 1)
        self.A_prev = normal(self.n_in, self.m)
        self.Z, self.dA = normal(self.n_out, self.m), normal(self.n_out, self.m)
        self.codes, self.samples = rng.integers(0, self.n_out, self.m), np.arange(self.m)
        self.bits = np.asarray(self.dA > 0, dtype)

        def given(like):
            return np.empty_like(like) if out else None

        self.out, self.peer_out = given(self.Z), given(self.Z)
        self.sum, self.peer_sum = given(self.b), given(self.b)
        self.backward = tuple(given(a) for a in (self.W, self.b, self.A_prev))
        self.peer_backward = tuple(given(a) for a in (self.W, self.b, self.A_prev))


# --- the expressions: what one writes who has NumPy alone, in place where that is quicker -----------


def affine(W, A_prev, b, out):
    out = np.matmul(W, A_prev, out=out)
    out += b
    return out


def affine_relu(W, A_prev, b, out):
    out = affine(W, A_prev, b, out)
    return np.maximum(out, 0, out=out)


def sigmoid(Z, out):
    out = np.negative(Z, out=out)
    np.exp(out, out=out)
    out += 1
    return np.reciprocal(out, out=out)


def softmax(Z, out):
    out = np.subtract(Z, Z.max(axis=0), out=out)
    np.exp(out, out=out)
    out /= out.sum(axis=0)
    return out


def sigmoid_backward(dA, A, out):
    out = np.subtract(1, A, out=out)
    out *= A
    out *= dA
    return out


def tanh_backward(dA, A, out):
    out = np.square(A, out=out)
    np.subtract(1, out, out=out)
    out *= dA
    return out


def softmax_backward(dA, A, out):
    out = np.multiply(dA, A, out=out)
    np.subtract(dA, out.sum(axis=0), out=out)
    out *= A
    return out


def linear_backward(dZ, A_prev, W, out):
    dW = np.matmul(dZ, A_prev.T, out=out[0])
    dW /= dZ.shape[1]
    db = np.mean(dZ, axis=1, keepdims=True, out=out[1])
    return dW, db, np.matmul(W.T, dZ, out=out[2])


def cross_entropy(Z, codes, samples):
    top = Z.max(axis=0)
    return float((np.log(np.exp(Z - top).sum(axis=0)) + top - Z[codes, samples]).mean())


def cross_entropy_backward(Z, codes, samples):
    dZ = softmax(Z, None)
    dZ[codes, samples] -= 1
    return dZ


def binary_cross_entropy(Z, y):
    return float((np.maximum(Z, 0) - Z * y + np.log1p(np.exp(-np.abs(Z)))).sum(axis=0).mean())


def binary_cross_entropy_backward(Z, y):
    dZ = sigmoid(Z, None)
    dZ -= y
    return dZ


def mse_backward(Z, y):
    dZ = Z - y
    dZ *= 2
    return dZ


# name -> (the call of fastnn.kernels, the expression), both of Data
CASES = {
    "linear_forward": (
        lambda d: kernels.linear_forward(d.W, d.A_prev, d.b, out=d.out),
        lambda d: affine(d.W, d.A_prev, d.b, d.peer_out),
    ),
    "linear_forward-relu": (
        lambda d: kernels.linear_forward(d.W, d.A_prev, d.b, "relu", out=d.out),
        lambda d: affine_relu(d.W, d.A_prev, d.b, d.peer_out),
    ),
    "linear_backward": (
        lambda d: kernels.linear_backward(d.dA, d.A_prev, d.W, out=d.backward),
        lambda d: linear_backward(d.dA, d.A_prev, d.W, d.peer_backward),
    ),
    "rowsum": (
        lambda d: kernels.rowsum(d.dA, out=d.sum),
        lambda d: np.sum(d.dA, axis=1, keepdims=True, out=d.peer_sum),
    ),
    "activation_forward-relu": (
        lambda d: kernels.activation_forward(d.Z, "relu", out=d.out),
        lambda d: np.maximum(d.Z, 0, out=d.peer_out),
    ),
    "activation_forward-sigmoid": (
        lambda d: kernels.activation_forward(d.Z, "sigmoid", out=d.out),
        lambda d: sigmoid(d.Z, d.peer_out),
    ),
    "activation_forward-tanh": (
        lambda d: kernels.activation_forward(d.Z, "tanh", out=d.out),
        lambda d: np.tanh(d.Z, out=d.peer_out),
    ),
    "activation_forward-softmax": (
        lambda d: kernels.activation_forward(d.Z, "softmax", out=d.out),
        lambda d: softmax(d.Z, d.peer_out),
    ),
    # Z stands in for A here: the derivatives are formulas in A, whatever its range.
    "activation_backward-relu": (
        lambda d: kernels.activation_backward(d.dA, d.Z, "relu", out=d.out),
        lambda d: np.multiply(d.dA, d.Z > 0, out=d.peer_out),
    ),
    "activation_backward-sigmoid": (
        lambda d: kernels.activation_backward(d.dA, d.Z, "sigmoid", out=d.out),
        lambda d: sigmoid_backward(d.dA, d.Z, d.peer_out),
    ),
    "activation_backward-tanh": (
        lambda d: kernels.activation_backward(d.dA, d.Z, "tanh", out=d.out),
        lambda d: tanh_backward(d.dA, d.Z, d.peer_out),
    ),
    "activation_backward-softmax": (
        lambda d: kernels.activation_backward(d.dA, d.Z, "softmax", out=d.out),
        lambda d: softmax_backward(d.dA, d.Z, d.peer_out),
    ),
    "loss_forward-binary_cross_entropy": (
        lambda d: kernels.loss_forward(d.Z, d.bits, "binary_cross_entropy"),
        lambda d: binary_cross_entropy(d.Z, d.bits),
    ),
    "loss_forward-cross_entropy": (
        lambda d: kernels.loss_forward(d.Z, d.codes, "cross_entropy"),
        lambda d: cross_entropy(d.Z, d.codes, d.samples),
    ),
    "loss_forward-mse": (
        lambda d: kernels.loss_forward(d.Z, d.dA, "mse"),
        lambda d: float(np.square(d.Z - d.dA).sum(axis=0).mean()),
    ),
    "loss_backward-binary_cross_entropy": (
        lambda d: kernels.loss_backward(d.Z, d.bits, "binary_cross_entropy"),
        lambda d: binary_cross_entropy_backward(d.Z, d.bits),
    ),
    "loss_backward-cross_entropy": (
        lambda d: kernels.loss_backward(d.Z, d.codes, "cross_entropy"),
        lambda d: cross_entropy_backward(d.Z, d.codes, d.samples),
    ),
    "loss_backward-mse": (
        lambda d: kernels.loss_backward(d.Z, d.dA, "mse"),
        lambda d: mse_backward(d.Z, d.dA),
    ),
}


def check(case, data, dtype):
    """The two sides of a case give the same numbers."""
    results, expected = (side(data) for side in CASES[case])
    if not isinstance(results, tuple):
        results, expected = (results,), (expected,)
    for result, wanted in zip(results, expected, strict=True):
        scale = TOLERANCE[dtype] * np.abs(wanted).max()
        np.testing.assert_allclose(result, wanted, rtol=TOLERANCE[dtype], atol=scale)
