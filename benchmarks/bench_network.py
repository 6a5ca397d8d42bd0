"""A network's step and 50 batches of fit, by SGD and by Adam, and predictions, against NumPy by hand
and against torch and jax where they are installed. Each library does the same work from the same
weights, at its best setting: all threads, outputs reused, torch's fused optimizers and
inference_mode, one jax scan over the 50 batches with donated weights and moments. Results are
compared with NumPy in float64 before anything is timed. README.md beside this file says how to run it.
"""

import functools
import itertools
import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

import fastnn
from roofline import BATCHES, LR, NETS, data, name

OPERATIONS = [
    ("train_step", "sgd"),
    ("train_step", "adam"),
    ("fit", "sgd"),
    ("fit", "adam"),
    ("predict", None),
    ("predict_one", None),
]
RATES = {"sgd": LR, "adam": 1e-5}  # Adam's step is about its rate, whatever the gradient
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8  # of every library


class Work(NamedTuple):
    """What one library does, its data already in its own form."""

    predict: Callable  # class probabilities of the first batch
    predict_one: Callable  # of the first sample
    train_step: Callable | None = None  # one batch, the first: its loss
    fit: Callable | None = None  # all batches, in order
    parameters: Callable | None = None  # [(W, b), ...] now, W (n_out, n_in)


def start(sizes):
    """Weights that every library starts from."""
    return [(W.copy(), b.ravel().copy()) for W, b in fastnn.Network(sizes, seed=0, backend="numpy").parameters]


def fastnn_work(sizes, m, X, y, kind):
    net = fastnn.Network(sizes)
    optimizer = fastnn.Adam(RATES[kind], (BETA1, BETA2), EPS) if kind == "adam" else fastnn.SGD(RATES["sgd"])
    net.set_parameters(start(sizes))
    batch, codes, one = X[:, :m], y[:m], X[:, :1]

    def fit():
        net.fit(X, y, batch_size=m, optimizer=optimizer, shuffle=False, progress=False)

    return Work(
        predict=lambda: net.predict(batch),
        predict_one=lambda: net.predict(one),
        train_step=lambda: net.train_step(batch, codes, optimizer),
        fit=fit,
        parameters=lambda: net.parameters,
    )


def predictor_work(sizes, m, X, y, kind):
    """fastnn's quickest way to predict: bound weights, outputs reused."""
    net = fastnn.Network(sizes)
    net.set_parameters(start(sizes))
    predictor, batch, one = net.predictor(), X[:, :m], X[:, :1]
    out, out_one = (np.empty((sizes[-1], n), np.float32, order="F") for n in (m, 1))
    return Work(lambda: predictor(batch, out=out), lambda: predictor(one, out=out_one))


def numpy_sgd(parameters, gradients):
    def update():
        for p, g in zip(parameters, gradients, strict=True):
            g *= RATES["sgd"]
            p -= g

    return update


def numpy_adam(parameters, gradients):
    M, V = ([np.zeros_like(p) for p in parameters] for _ in range(2))
    steps = itertools.count(1)

    def update():
        t = next(steps)
        rate, root = RATES["adam"] / (1 - BETA1**t), (1 - BETA2**t) ** -0.5
        for p, g, m, v in zip(parameters, gradients, M, V, strict=True):
            m -= g
            m *= BETA1
            m += g
            np.square(g, out=g)
            v -= g
            v *= BETA2
            v += g
            np.sqrt(v, out=g)
            g *= root
            g += EPS
            np.divide(m, g, out=g)
            g *= rate
            p -= g

    return update


def numpy_work(sizes, m, X, y, kind, dtype=np.float32):
    """By hand; rows are samples here, which is the same memory."""
    rows, samples = X.T.astype(dtype), np.arange(m)
    W, b = ([p.astype(dtype) for p in ps] for ps in zip(*start(sizes), strict=True))
    last = len(W) - 1

    def buffers(m):
        return [np.empty((m, n), dtype) for n in sizes[1:]]

    A_batch, A_one, D = buffers(m), buffers(1), buffers(m)
    dW, db = ([np.empty_like(p) for p in ps] for ps in (W, b))
    update = numpy_adam([*W, *b], [*dW, *db]) if kind == "adam" else numpy_sgd([*W, *b], [*dW, *db])

    def forward(A_prev, outputs):
        """Scores of the last layer less their largest, in place."""
        for layer, Z in enumerate(outputs):
            np.matmul(A_prev, W[layer].T, out=Z)
            Z += b[layer]
            if layer < last:
                np.maximum(Z, 0, out=Z)
            A_prev = Z
        Z -= Z.max(axis=1, keepdims=True)
        return Z

    def predict(X, outputs):
        A = forward(X, outputs)
        np.exp(A, out=A)
        A /= A.sum(axis=1, keepdims=True)
        return A.T

    def step(X, y):
        Z, dZ = forward(X, A_batch), D[last]
        np.exp(Z, out=dZ)
        sums = dZ.sum(axis=1, keepdims=True)
        loss = float((np.log(sums[:, 0]) - Z[samples, y]).mean())
        dZ /= sums
        dZ[samples, y] -= 1
        dZ /= m
        for layer in range(last, -1, -1):
            np.matmul(D[layer].T, A_batch[layer - 1] if layer else X, out=dW[layer])
            np.sum(D[layer], axis=0, out=db[layer])
            if layer:
                np.matmul(D[layer], W[layer], out=D[layer - 1])
                D[layer - 1] *= A_batch[layer - 1] > 0
        update()
        return loss

    batches = [(rows[i : i + m], y[i : i + m]) for i in range(0, len(rows), m)]

    def fit():
        return [step(*batch) for batch in batches]

    return Work(
        predict=lambda: predict(batches[0][0], A_batch),
        predict_one=lambda: predict(rows[:1], A_one),
        train_step=lambda: step(*batches[0]),
        fit=fit,
        parameters=lambda: list(zip(W, b, strict=True)),
    )


def torch_work(sizes, m, X, y, kind):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(fastnn.get_threads())
    layers = [torch.nn.Linear(*pair) for pair in itertools.pairwise(sizes)]
    with torch.no_grad():
        for layer, (W, b) in zip(layers, start(sizes), strict=True):
            layer.weight.copy_(torch.from_numpy(W))
            layer.bias.copy_(torch.from_numpy(b))
    parts = [part for layer in layers for part in (layer, torch.nn.ReLU())][:-1]
    net, loss_of = torch.nn.Sequential(*parts), torch.nn.CrossEntropyLoss()
    if kind == "adam":
        optimizer = torch.optim.Adam(net.parameters(), RATES["adam"], (BETA1, BETA2), EPS, fused=True)
    else:
        optimizer = torch.optim.SGD(net.parameters(), RATES["sgd"], fused=True)
    rows, y = torch.from_numpy(X.T), torch.from_numpy(y)
    batches = list(zip(rows.split(m), y.split(m), strict=True))

    def step(X, y):
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(net(X), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def fit():  # the losses leave torch together
        return torch.stack([step(*batch) for batch in batches]).tolist()

    @torch.inference_mode()
    def predict(X):
        return torch.softmax(net(X), 1).numpy().T

    return Work(
        predict=lambda: predict(batches[0][0]),
        predict_one=lambda: predict(rows[:1]),
        train_step=lambda: step(*batches[0]).item(),
        fit=fit,
        parameters=lambda: [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in layers],
    )


def jax_work(sizes, m, X, y, kind):
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    rows = jnp.asarray(X.T)
    xs, ys = rows.reshape(BATCHES, m, -1), jnp.asarray(y).reshape(BATCHES, m)
    weights = [(jnp.asarray(W.T), jnp.asarray(b)) for W, b in start(sizes)]
    moments = [jax.tree.map(jnp.zeros_like, weights) for _ in range(2)] if kind == "adam" else []
    state = [(weights, moments, jnp.zeros(()))]  # and the steps so far

    def scores(P, A):
        for W, b in P[:-1]:
            A = jax.nn.relu(A @ W + b)
        W, b = P[-1]
        return A @ W + b

    def loss_of(P, X, y):
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(scores(P, X)), y[:, None], 1))

    def sgd(P, G, moments, t):
        return jax.tree.map(lambda p, g: p - RATES["sgd"] * g, P, G), moments

    def adam(P, G, moments, t):
        M = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, moments[0], G)
        V = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, moments[1], G)
        rate, root = RATES["adam"] / (1 - BETA1**t), (1 - BETA2**t) ** -0.5
        return jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) * root + EPS), P, M, V), [M, V]

    update = adam if kind == "adam" else sgd

    def one_step(state, batch):
        P, moments, t = state
        loss, G = jax.value_and_grad(loss_of)(P, *batch)
        return (*update(P, G, moments, t + 1), t + 1), loss

    one = jax.jit(one_step, donate_argnums=0)
    many = jax.jit(lambda state, xs, ys: jax.lax.scan(one_step, state, (xs, ys)), donate_argnums=0)
    outputs = jax.jit(lambda P, X: jax.nn.softmax(scores(P, X)))
    first, first_codes, single = xs[0], ys[0], rows[:1]

    def step():
        state[0], loss = one(state[0], (first, first_codes))
        return float(loss)

    def fit():
        state[0], losses = many(state[0], xs, ys)
        return np.asarray(losses)

    return Work(
        predict=lambda: np.asarray(outputs(state[0][0], first)).T,
        predict_one=lambda: np.asarray(outputs(state[0][0], single)).T,
        train_step=step,
        fit=fit,
        parameters=lambda: [(np.asarray(W).T, np.asarray(b)) for W, b in state[0][0]],
    )


LIBRARIES = {
    "fastnn": fastnn_work,
    "fastnn_predictor": predictor_work,
    "numpy": numpy_work,
    "torch": torch_work,
    "jax": jax_work,
}


@functools.cache
def expected(sizes, m, operation, kind):
    """The result of the operation in float64, and the weights after it."""
    work = numpy_work(sizes, m, *data(sizes, m, "float32"), kind, np.float64)
    result = getattr(work, operation)()
    return result, work.parameters()


def check(work, sizes, m, operation, kind):
    """Run the operation once and compare: the result, and what it changed in the weights."""
    result = getattr(work, operation)()
    wanted, wanted_after = expected(sizes, m, operation, kind)
    if operation != "fit":
        np.testing.assert_allclose(result, wanted, rtol=1e-4, atol=1e-6)
    if kind:
        for before, after, right in zip(start(sizes), work.parameters(), wanted_after, strict=True):
            for p, q, r in zip(before, after, right, strict=True):
                change, error = r.ravel() - p.ravel(), q.ravel() - r.ravel()
                # By the norm: now and then a relu at its kink falls on the other side in float32.
                rounding = 1e-6 * np.linalg.norm(r)
                assert np.linalg.norm(error) <= 1e-3 * np.linalg.norm(change) + rounding


# The library varies slowest: a peer is imported, and its threads started, when the ones before are done.
@pytest.mark.filterwarnings("ignore")  # the peers' own
@pytest.mark.parametrize("net", NETS, ids=lambda net: name(*net))
@pytest.mark.parametrize(("operation", "kind"), OPERATIONS, ids=["-".join(filter(None, o)) for o in OPERATIONS])
@pytest.mark.parametrize("library", LIBRARIES)
def test_network(benchmark, library, operation, kind, net):
    sizes, m = net
    work = LIBRARIES[library](sizes, m, *data(sizes, m, "float32"), kind)
    call = getattr(work, operation)
    if call is None:
        pytest.skip("a predictor only predicts")
    benchmark.group = " ".join(filter(None, [operation, kind, name(*net)]))
    benchmark.extra_info.update(steps=BATCHES if operation == "fit" else 1, threads=fastnn.get_threads())
    check(work, sizes, m, operation, kind)
    benchmark(call)
