"""What the engines do in scikit-learn's way where that is not PyTorch's: alpha, the 1/2 of its mse, Adam's eps."""

import numpy as np
import pytest

from case_helpers import bits
from conftest import around_the_kernels
from fastnn import SGD, Adam, Network
from fastnn.terms import Orders, Terms

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
    net._engine.reported_factor = 0.25
    assert net._engine.copy().reported_factor == 0.25


def test_they_act_in_training_alone(backend, dtype):
    net, twin = (Network(SIZES, ["tanh", "identity"], dtype=dtype, seed=2, backend=backend) for _ in range(2))
    engine_of(net, ALPHA)
    assert net.loss(X, Y) == twin.loss(X, Y)
    for got, want in zip(net.gradients(X, Y)[1], twin.gradients(X, Y)[1], strict=True):
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)
    assert net.train_step(X, Y) < twin.train_step(X, Y)  # half of the loss, and a small penalty
    assert bits(net) != bits(twin)


def test_what_is_reported_has_a_factor_of_its_own(backend, dtype):
    nets = [Network(SIZES, ["tanh", "identity"], dtype=dtype, seed=2, backend=backend) for _ in range(2)]
    for net in nets:
        engine_of(net, ALPHA)
    nets[1]._engine.reported_factor = 0.125
    penalty = ALPHA / 2 * sum(np.square(W).sum() for W, b in nets[0].parameters) / X.shape[1]
    want = [factor * nets[0].loss(X, Y) + penalty for factor in (0.5, 0.125)]
    found = [net.fit(X, Y, 3, None, SGD(lr=0.05), shuffle=False).loss[0] for net in nets]
    np.testing.assert_allclose(found, want, rtol=2e-6)
    assert bits(nets[0]) == bits(nets[1])


def fit_in_order(net, x, optimizer, seed, places=None, epochs=6):
    """With half of the loss, and the orders of a generator of NumPy."""
    every = np.arange(X.shape[1], dtype=np.uint32) if places is None else places
    terms = Terms(0.0, 0.5, 0.0, True, Orders(np.random.RandomState(seed), every, net.epochs_done))
    rest = {"sample_weight": None, "callbacks": (), "samples": places, "validation": None}
    return terms.fit(net, x, Y, epochs, BATCH, optimizer, True, **rest)


def step_by_step(net, x, optimizer, seed, places=None):
    """The same training as steps; each epoch's order is that of the epoch before, shuffled once more."""
    random, order = np.random.RandomState(seed), np.arange(X.shape[1]) if places is None else places.copy()
    engine_of(net, 0.0)
    while True:
        random.shuffle(order)
        for start in range(0, len(order), BATCH):
            some = order[start : start + BATCH]
            yield net.train_step(x[:, some], Y[:, some], optimizer)


@around_the_kernels
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])  # the last cannot be read in place
def test_the_order_of_each_epoch_is_given(backend, kind):
    x, places = X.astype(kind), np.arange(3, 23, dtype=np.uint32)
    for some in (None, places):
        net, twin = (Network(SIZES, ["tanh", "identity"], dtype="float64", seed=2, backend=backend) for _ in range(2))
        count = X.shape[1] if some is None else len(some)
        history = fit_in_order(net, x, SGD(lr=0.05), 4, some)
        steps = step_by_step(twin, x, SGD(lr=0.05), 4, some)
        for _ in range(6 * -(-count // BATCH)):
            next(steps)
        assert bits(net) == bits(twin)
        assert len(history.loss) == 6
        assert net._engine.loss_factor == 1.0


@around_the_kernels
def test_a_divergence_is_repeated_in_the_same_orders(backend):
    net, twin = (Network(SIZES, ["identity"] * 2, dtype="float32", seed=2, backend=backend) for _ in range(2))
    with pytest.raises(FloatingPointError, match=r"epoch [1-9]"):
        fit_in_order(net, X, SGD(lr=1.0), 4, epochs=200)
    with pytest.raises(FloatingPointError):
        for _ in step_by_step(twin, X.astype("f4"), SGD(lr=1.0), 4):
            pass
    assert bits(net) == bits(twin)
    assert net._engine.loss_factor == 1.0


def test_orders_go_back_to_the_mark():
    def orders():
        return Orders(np.random.RandomState(0), np.arange(9, dtype=np.uint32), 5)

    first = orders()
    rows = [first.of(epoch)[0].tolist() for epoch in range(5, 11)]
    assert first.of(5).tolist() == rows[:1]
    other = orders()
    assert other.of(5, 3).tolist() == rows[:3]
    assert other.of(6, 2).tolist() == rows[1:3]
    other.mark()
    assert other.of(8, 3).tolist() == rows[3:]
    assert other.of(6, 5).tolist() == rows[1:]


@around_the_kernels
def test_the_orders_of_several_epochs_in_one_call_are_those_of_a_call_each(backend):
    def trained(most):
        net = Network(SIZES, ["tanh", "identity"], dtype="float64", seed=2, backend=backend)
        looks = [] if most is None else [lambda epoch, history: None]
        places = np.arange(26, dtype=np.uint32)
        terms = Terms(0.0, 0.5, 0.0, True, Orders(np.random.RandomState(1), places, 0))
        rest = {"sample_weight": None, "callbacks": looks, "samples": None, "validation": None}
        return net, terms.fit(net, X, Y, 30, BATCH, SGD(lr=0.05), True, **rest).loss

    (net, losses), (twin, others) = trained(None), trained(1)
    assert losses == others
    assert bits(net) == bits(twin)
