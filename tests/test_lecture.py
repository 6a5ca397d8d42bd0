"""The published results of the exercises that go with the lecture: float64, eight decimals."""

import json
from pathlib import Path

import numpy as np
import pytest

from fastnn import SGD, Network, kernels

CASES = {
    case["name"]: case for case in json.loads(Path(__file__).with_name("lecture_values.json").read_text())["cases"]
}


def case(name):
    """(inputs, expected), arrays by name."""
    arrays = lambda group: {key: np.array(value) for key, value in CASES[name][group].items()}  # noqa: E731
    return arrays("inputs"), arrays("expected")


def assert_published(got, expected):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert np.shape(got[name]) == value.shape, name
        np.testing.assert_allclose(got[name], value, rtol=0, atol=1e-8, err_msg=name)


def test_linear_forward(backend):
    given, expected = case("linear_forward")
    assert_published({"Z": kernels.linear_forward(given["W"], given["A_prev"], given["b"])}, expected)


@pytest.mark.parametrize("kind", ["sigmoid", "relu"])
def test_linear_activation_forward(backend, kind):
    given, expected = case(f"linear_activation_forward_{kind}")
    assert_published({"A": kernels.linear_forward(given["W"], given["A_prev"], given["b"], kind)}, expected)
    Z = kernels.linear_forward(given["W"], given["A_prev"], given["b"])
    assert_published({"A": kernels.activation_forward(Z, kind)}, expected)


def test_network_forward(backend):
    given, expected = case("network_forward")
    net = Network([5, 4, 3, 1], CASES["network_forward"]["activations"], dtype="float64", seed=0, backend=backend)
    net.set_parameters([(given[f"W{i}"], given[f"b{i}"]) for i in (1, 2, 3)])
    assert_published({"AL": net.forward(given["X"])}, expected)
    assert_published({"AL": net.forward(given["X"], cache=True)[0]}, expected)
    assert_published({"AL": net.predictor()(given["X"])}, expected)


def test_binary_cross_entropy(backend):
    given, expected = case("binary_cross_entropy")
    a = given["AL"]
    Z = np.log(a / (1 - a))  # the loss is computed from Z
    assert_published({"cost": kernels.loss_forward(Z, given["Y"], "binary_cross_entropy")}, expected)
    net = Network([1, 1], ["sigmoid"], dtype="float64", seed=0, backend=backend)
    net.set_parameters([([[1.0]], [0.0])])
    assert_published({"cost": net.loss(Z, given["Y"])}, expected)


def named(dW, db, dA_prev):
    return {"dW": dW, "db": db, "dA_prev": dA_prev}


def test_linear_backward(backend):
    given, expected = case("linear_backward")
    assert_published(named(*kernels.linear_backward(given["dZ"], given["A_prev"], given["W"])), expected)


@pytest.mark.parametrize("kind", ["sigmoid", "relu"])
def test_linear_activation_backward(backend, kind):
    given, expected = case(f"linear_activation_backward_{kind}")
    for A in (kernels.activation_forward(given["Z"], kind), None):
        dZ = kernels.activation_backward(given["dA"], A, kind, Z=given["Z"])
        assert_published(named(*kernels.linear_backward(dZ, given["A_prev"], given["W"])), expected)


def test_network_backward(backend):
    given, expected = case("network_backward")
    Y, AL = given["Y"], given["AL"]
    # The given A1 and AL are not g(Z1) and g(Z2): they go where the formulas name them, and the
    # derivatives are taken at Z.
    dA2 = -(Y / AL - (1 - Y) / (1 - AL))
    dZ2 = kernels.activation_backward(dA2, kernels.activation_forward(given["Z2"], "sigmoid"), "sigmoid")
    _, _, dA1 = kernels.linear_backward(dZ2, given["A1"], given["W2"])
    dZ1 = kernels.activation_backward(dA1, kernels.activation_forward(given["Z1"], "relu"), "relu")
    dW1, db1, _ = kernels.linear_backward(dZ1, given["A0"], given["W1"])
    assert_published({"dW1": dW1, "db1": db1, "dA1": dA1}, expected)


def test_gradient_descent(backend):
    given, expected = case("gradient_descent")
    updated = {}
    for i in (1, 2):
        W, b, dW, db = (given[name + str(i)] for name in ("W", "b", "dW", "db"))
        n_out, n_in = W.shape
        net = Network([n_in, n_out], ["identity"], dtype="float64", seed=0, backend=backend)
        net.set_parameters([(W, b)])
        # Samples and targets that make mse's gradients the given ones: a unit vector for each
        # column of W, and a zero vector for what is left of b.
        X, m = np.eye(n_in, n_in + 1), n_in + 1
        dZ = m * np.hstack([dW, db - dW.sum(axis=1, keepdims=True)])
        Y = W @ X + b - dZ / 2
        _, [gradients] = net.gradients(X, Y)
        for got, want in zip(gradients, (dW, db), strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)
        net.train_step(X, Y, SGD(lr=CASES["gradient_descent"]["learning_rate"]))
        updated[f"W{i}"], updated[f"b{i}"] = net.parameters[0]
    assert_published(updated, expected)


def test_every_published_result_is_tested():
    named_here = Path(__file__).read_text()
    for name in CASES:
        assert f'"{name}"' in named_here or f'"{name.rsplit("_", 1)[0]}_{{kind}}"' in named_here, name
    assert len(CASES) == 10
