"""Each function of fastnn.kernels, on every instruction set of this machine, against the NumPy
expression that it replaces: the same inputs, outputs given where the function takes them, results
compared before anything is timed. README.md beside this file says how to run it.
"""

import numpy as np
import pytest

from fastnn import backend as backends
from fastnn import kernels

COMPILED = backends.default if backends.default.NAME == "compiled" else None
VARIANTS = ["expression", *(COMPILED.isas() if COMPILED else ["numpy"])]
SHAPES = [(32, 64, 32), (128, 784, 128), (10, 128, 128), (512, 512, 256), (256, 17, 1)]  # n_out, n_in, m
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}  # of the largest element


class Data:
    """Arguments of every function for one shape: N(0,1), samples in rows of memory."""

    def __init__(self, shape, dtype):
        rng = np.random.default_rng(0)
        self.n_out, self.n_in, self.m = shape

        def normal(rows, columns):
            return rng.standard_normal((columns, rows)).astype(dtype).T

        self.W = np.ascontiguousarray(normal(self.n_out, self.n_in))
        self.b = normal(self.n_out, 1)
        self.A_prev = normal(self.n_in, self.m)
        self.Z, self.dA = normal(self.n_out, self.m), normal(self.n_out, self.m)
        self.codes, self.samples = rng.integers(0, self.n_out, self.m), np.arange(self.m)
        self.bits = (normal(self.n_out, self.m) > 0).astype(dtype)
        # One set of outputs for each side.
        self.out, self.peer_out = np.empty_like(self.Z), np.empty_like(self.Z)
        self.sum, self.peer_sum = np.empty_like(self.b), np.empty_like(self.b)
        self.backward = (np.empty_like(self.W), np.empty_like(self.b), np.empty_like(self.A_prev))
        self.peer_backward = tuple(np.empty_like(a) for a in self.backward)


# --- the expressions: what one writes who has NumPy alone, in place where that is quicker -----------


def affine(W, A_prev, b, out):
    np.matmul(W, A_prev, out=out)
    out += b
    return out


def relu(Z, out):
    return np.maximum(Z, 0, out=out)


def sigmoid(Z, out):
    np.negative(Z, out=out)
    np.exp(out, out=out)
    out += 1
    return np.reciprocal(out, out=out)


def softmax(Z, out):
    np.subtract(Z, Z.max(axis=0), out=out)
    np.exp(out, out=out)
    out /= out.sum(axis=0)
    return out


def sigmoid_backward(dA, A, out):
    np.subtract(1, A, out=out)
    out *= A
    out *= dA
    return out


def tanh_backward(dA, A, out):
    np.square(A, out=out)
    np.subtract(1, out, out=out)
    out *= dA
    return out


def softmax_backward(dA, A, out):
    np.multiply(dA, A, out=out)
    np.subtract(dA, out.sum(axis=0), out=out)
    out *= A
    return out


def linear_backward(dZ, A_prev, W, out):
    dW, db, dA_prev = out
    np.matmul(dZ, A_prev.T, out=dW)
    dW /= dZ.shape[1]
    np.mean(dZ, axis=1, keepdims=True, out=db)
    np.matmul(W.T, dZ, out=dA_prev)
    return out


def cross_entropy(Z, codes, samples):
    top = Z.max(axis=0)
    return float((np.log(np.exp(Z - top).sum(axis=0)) + top - Z[codes, samples]).mean())


def cross_entropy_backward(Z, codes, samples):
    dZ = softmax(Z, np.empty_like(Z))
    dZ[codes, samples] -= 1
    return dZ


def binary_cross_entropy(Z, y):
    return float((np.maximum(Z, 0) - Z * y + np.log1p(np.exp(-np.abs(Z)))).sum(axis=0).mean())


def binary_cross_entropy_backward(Z, y):
    dZ = sigmoid(Z, np.empty_like(Z))
    dZ -= y
    return dZ


def mse_backward(Z, y):
    dZ = Z - y
    dZ *= 2
    return dZ


# name -> (the call of fastnn.kernels, the expression), both of Data
K = kernels
CASES = {
    "linear_forward": (
        lambda d: K.linear_forward(d.W, d.A_prev, d.b, out=d.out),
        lambda d: affine(d.W, d.A_prev, d.b, d.peer_out),
    ),
    "linear_forward-relu": (
        lambda d: K.linear_forward(d.W, d.A_prev, d.b, "relu", out=d.out),
        lambda d: relu(affine(d.W, d.A_prev, d.b, d.peer_out), d.peer_out),
    ),
    "linear_backward": (
        lambda d: K.linear_backward(d.dA, d.A_prev, d.W, out=d.backward),
        lambda d: linear_backward(d.dA, d.A_prev, d.W, d.peer_backward),
    ),
    "rowsum": (
        lambda d: K.rowsum(d.dA, out=d.sum),
        lambda d: np.sum(d.dA, axis=1, keepdims=True, out=d.peer_sum),
    ),
    "activation_forward-relu": (
        lambda d: K.activation_forward(d.Z, "relu", out=d.out),
        lambda d: relu(d.Z, d.peer_out),
    ),
    "activation_forward-sigmoid": (
        lambda d: K.activation_forward(d.Z, "sigmoid", out=d.out),
        lambda d: sigmoid(d.Z, d.peer_out),
    ),
    "activation_forward-tanh": (
        lambda d: K.activation_forward(d.Z, "tanh", out=d.out),
        lambda d: np.tanh(d.Z, out=d.peer_out),
    ),
    "activation_forward-softmax": (
        lambda d: K.activation_forward(d.Z, "softmax", out=d.out),
        lambda d: softmax(d.Z, d.peer_out),
    ),
    # Z stands in for A here: the derivatives are formulas in A, whatever its range.
    "activation_backward-relu": (
        lambda d: K.activation_backward(d.dA, d.Z, "relu", out=d.out),
        lambda d: np.multiply(d.dA, d.Z > 0, out=d.peer_out),
    ),
    "activation_backward-sigmoid": (
        lambda d: K.activation_backward(d.dA, d.Z, "sigmoid", out=d.out),
        lambda d: sigmoid_backward(d.dA, d.Z, d.peer_out),
    ),
    "activation_backward-tanh": (
        lambda d: K.activation_backward(d.dA, d.Z, "tanh", out=d.out),
        lambda d: tanh_backward(d.dA, d.Z, d.peer_out),
    ),
    "activation_backward-softmax": (
        lambda d: K.activation_backward(d.dA, d.Z, "softmax", out=d.out),
        lambda d: softmax_backward(d.dA, d.Z, d.peer_out),
    ),
    "loss_forward-binary_cross_entropy": (
        lambda d: K.loss_forward(d.Z, d.bits, "binary_cross_entropy"),
        lambda d: binary_cross_entropy(d.Z, d.bits),
    ),
    "loss_forward-cross_entropy": (
        lambda d: K.loss_forward(d.Z, d.codes, "cross_entropy"),
        lambda d: cross_entropy(d.Z, d.codes, d.samples),
    ),
    "loss_forward-mse": (
        lambda d: K.loss_forward(d.Z, d.dA, "mse"),
        lambda d: float(np.square(d.Z - d.dA).sum(axis=0).mean()),
    ),
    "loss_backward-binary_cross_entropy": (
        lambda d: K.loss_backward(d.Z, d.bits, "binary_cross_entropy"),
        lambda d: binary_cross_entropy_backward(d.Z, d.bits),
    ),
    "loss_backward-cross_entropy": (
        lambda d: K.loss_backward(d.Z, d.codes, "cross_entropy"),
        lambda d: cross_entropy_backward(d.Z, d.codes, d.samples),
    ),
    "loss_backward-mse": (
        lambda d: K.loss_backward(d.Z, d.dA, "mse"),
        lambda d: mse_backward(d.Z, d.dA),
    ),
}


@pytest.fixture(params=VARIANTS)
def variant(request, monkeypatch):
    """The NumPy expression, or fastnn.kernels with one instruction set forced."""
    if COMPILED is None or request.param == "expression":
        yield request.param
        return
    monkeypatch.setattr(kernels, "_backend", COMPILED)
    before = COMPILED.current_isa()
    COMPILED.force_isa(request.param)
    yield request.param
    COMPILED.force_isa(before)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernel(benchmark, variant, case, shape, dtype):
    benchmark.group = f"{case} {'x'.join(map(str, shape))} {dtype}"
    data, (call, expression) = Data(shape, dtype), CASES[case]
    results, expected = call(data), expression(data)
    if not isinstance(results, tuple):
        results, expected = (results,), (expected,)
    for result, wanted in zip(results, expected, strict=True):
        scale = TOLERANCE[dtype] * np.abs(wanted).max()
        np.testing.assert_allclose(result, wanted, rtol=TOLERANCE[dtype], atol=scale)
    benchmark(expression if variant == "expression" else call, data)
