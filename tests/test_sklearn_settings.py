"""What the engines do in scikit-learn's way where that is not PyTorch's: alpha, the 1/2 of its mse, Adam's eps."""

import numpy as np
import pytest

from case_helpers import bits
from fastnn import SGD, Adam, Network

RNG = np.random.default_rng(5)
X, Y, W = RNG.standard_normal((4, 26)), RNG.standard_normal((2, 26)), RNG.uniform(0.5, 2, 26)
SIZES, BATCH, ALPHA = [4, 7, 2], 10, 0.3

OPTIMIZERS = {
    "sgd": lambda: SGD(lr=0.05),
    "momentum": lambda: SGD(lr=0.05, momentum=0.9),
    "nesterov": lambda: SGD(lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda: Adam(lr=0.05, eps=1e-2),
}


SETTINGS = ("penalty", "loss_factor", "eps_with_v")


def engine_of(net, alpha, scale=1.0):
    net._engine.penalty, net._engine.loss_factor, net._engine.eps_with_v = alpha * scale, 0.5, True
    return net


def as_scikit_learn(parameters, kind, weights, alpha, epochs):
    """MLPRegressor.fit with shuffle=False, tanh, in float64: its _backprop and _stochastic_optimizers, written out."""
    parameters = [np.array(T, np.float64) for pair in parameters for T in pair]
    m1, m2 = ([np.zeros_like(T) for T in parameters] for _ in range(2))
    losses, t = [], 0
    for _ in range(epochs):
        accumulated = 0.0
        for start in range(0, X.shape[1], BATCH):
            W1, b1, W2, b2 = parameters
            x, y = X[:, start : start + BATCH], Y[:, start : start + BATCH]
            w = np.ones(x.shape[1]) if weights is None else weights[start : start + BATCH]
            sw_sum = w.sum()
            A = np.tanh(W1 @ x + b1)
            delta = (W2 @ A + b2 - y) * w
            loss = 0.5 * (((W2 @ A + b2 - y) ** 2).sum(axis=0) @ w) / sw_sum
            loss += 0.5 * alpha * ((W1**2).sum() + (W2**2).sum()) / sw_sum
            accumulated += loss * sw_sum
            hidden = (W2.T @ delta) * (1 - A**2)
            gradients = [(hidden @ x.T + alpha * W1) / sw_sum, hidden.sum(axis=1, keepdims=True) / sw_sum]
            gradients += [(delta @ A.T + alpha * W2) / sw_sum, delta.sum(axis=1, keepdims=True) / sw_sum]
            t += 1
            for i, g in enumerate(gradients):
                if kind == "adam":
                    m1[i], m2[i] = 0.9 * m1[i] + 0.1 * g, 0.999 * m2[i] + 0.001 * g**2
                    rate = 0.05 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
                    parameters[i] = parameters[i] - rate * m1[i] / (np.sqrt(m2[i]) + 1e-2)
                    continue
                momentum = 0.0 if kind == "sgd" else 0.9
                m1[i] = momentum * m1[i] - 0.05 * g
                step = momentum * m1[i] - 0.05 * g if kind == "nesterov" else m1[i]
                parameters[i] = parameters[i] + step
        losses.append(accumulated / (X.shape[1] if weights is None else weights.sum()))
    return parameters, losses


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [0.0, ALPHA])
def test_training_is_scikit_learn_s(backend, dtype, kind, weighted, alpha):
    net = Network(SIZES, ["tanh", "identity"], dtype=dtype, seed=2, backend=backend)
    w = W if weighted else None
    want, losses = as_scikit_learn(net.parameters, kind, w, alpha, 6)
    # fit scales the weights by a power of two; alpha has to be in the same unit
    scale = 2.0 ** -np.floor(np.log2(W.max())) if weighted else 1.0
    history = engine_of(net, alpha, scale).fit(X, Y, 6, BATCH, OPTIMIZERS[kind](), shuffle=False, sample_weight=w)
    tolerance = 1e-12 if dtype == np.float64 else 2e-5
    for got, T in zip([T for pair in net.parameters for T in pair], want, strict=True):
        np.testing.assert_allclose(got, T, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(history.loss, losses, rtol=tolerance)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_steps_and_threads_give_the_same_bits(backend, dtype, kind):
    def made(threads, plain=False):
        net = engine_of(Network([40, 60, 9], dtype=dtype, seed=2, backend=backend, threads=threads), ALPHA)
        if backend == "compiled":
            net._engine.plain = plain
        return net

    x, y = RNG.standard_normal((40, 130)).astype(dtype), RNG.integers(0, 9, 130)
    first = made(1)
    losses = first.fit(x, y, 2, 50, OPTIMIZERS[kind](), shuffle=False).loss
    if backend == "compiled":
        for other in (made(2), made(3), made(2, plain=True)):
            assert other.fit(x, y, 2, 50, OPTIMIZERS[kind](), shuffle=False).loss == losses
            assert bits(other) == bits(first)
    steps, optimizer = made(2), OPTIMIZERS[kind]()
    total = [
        steps.train_step(x[:, i : i + 50], y[i : i + 50], optimizer) * len(y[i : i + 50]) for i in (0, 50, 100) * 2
    ]
    assert bits(steps) == bits(first)
    np.testing.assert_allclose([sum(total[:3]) / 130, sum(total[3:]) / 130], losses, rtol=1e-12)


def test_a_copy_of_the_engine_has_them(backend):
    net = Network(SIZES, ["tanh", "identity"], seed=2, backend=backend)
    assert [getattr(net._engine.copy(), name) for name in SETTINGS] == [0.0, 1.0, False]
    engine = engine_of(net, ALPHA)._engine.copy()
    assert [getattr(engine, name) for name in SETTINGS] == [ALPHA, 0.5, True]


def test_they_act_in_training_alone(backend, dtype):
    net, twin = (Network(SIZES, ["tanh", "identity"], dtype=dtype, seed=2, backend=backend) for _ in range(2))
    engine_of(net, ALPHA)
    assert net.loss(X, Y) == twin.loss(X, Y)
    for got, want in zip(net.gradients(X, Y)[1], twin.gradients(X, Y)[1], strict=True):
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)
    assert net.train_step(X, Y) < twin.train_step(X, Y)  # half of the loss, and a small penalty
    assert bits(net) != bits(twin)
