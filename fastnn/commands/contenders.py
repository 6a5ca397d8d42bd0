"""One library's training steps, timed: ``python -m fastnn.commands.contenders LIBRARY SECONDS NET ...`` prints JSON.

In a process of its own for each library, because waiting threads of one slow another down. Every library trains the
same network from the same weights on the same batches, by plain SGD in float32: relu, softmax, cross-entropy; and
its weights are compared with those of NumPy in float64 before it is timed.
"""

import itertools
import json
import statistics
import sys
import time
import warnings

import numpy as np

from .. import SGD, Network, get_threads, kernels

BATCHES, LR = 50, 1e-3  # so small a rate that nothing saturates, however many steps are timed
_LARGE = 1024  # side of the product whose rate is the machine's


def net_of(text):
    """Sizes and batch of a text such as 64-32-10x32."""
    sizes, _, m = text.partition("x")
    try:
        sizes, m = tuple(map(int, sizes.split("-"))), int(m)
    except ValueError:
        sizes, m = (), 0
    if len(sizes) < 2 or min(sizes) < 1 or sizes[-1] < 2 or m < 1:
        raise ValueError(f"a net is sizes and batch such as 64-32-10x32, with two outputs or more; got {text!r}")
    return sizes, m


def flops(sizes, m):
    """Additions and multiplications in the products of a step: forward, dW, and dA of all layers but the first."""
    products = [n_in * n_out for n_in, n_out in itertools.pairwise(sizes)]
    return 2 * m * (3 * sum(products) - products[0])


def _data(sizes, m):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((BATCHES * m, sizes[0]), np.float32).T
    return X, rng.integers(0, sizes[-1], BATCHES * m)


def _start(sizes):
    return [(W.copy(), b.ravel().copy()) for W, b in Network(sizes, seed=0, backend="numpy").parameters]


# Each: a function that makes one step with each batch, and one that returns [(W, b), ...], W (n_out, n_in).


def _fastnn(sizes, m, X, y):
    net, optimizer = Network(sizes), SGD(LR)
    net.set_parameters(_start(sizes))

    def fit():
        net.fit(X, y, batch_size=m, optimizer=optimizer, shuffle=False, progress=False)

    return fit, lambda: net.parameters


def _numpy(sizes, m, X, y, dtype=np.float32):
    W, b = ([p.astype(dtype) for p in layer] for layer in zip(*_start(sizes), strict=True))
    rows, samples = X.T.astype(dtype), np.arange(m)
    A = [np.empty((m, n), dtype) for n in sizes[1:]]  # outputs of each layer; then their derivatives, in place
    dW, last = [np.empty_like(T) for T in W], len(W) - 1

    def step(A_0, y):
        for i, Z in enumerate(A):
            np.matmul(A[i - 1] if i else A_0, W[i].T, out=Z)
            Z += b[i]
            if i < last:
                np.maximum(Z, 0, out=Z)
        dZ = A[last]
        dZ -= dZ.max(axis=1, keepdims=True)
        np.exp(dZ, out=dZ)
        dZ /= dZ.sum(axis=1, keepdims=True)
        dZ[samples, y] -= 1
        dZ *= LR / m
        for i in range(last, -1, -1):
            A_prev = A[i - 1] if i else A_0
            np.matmul(dZ.T, A_prev, out=dW[i])
            db = dZ.sum(axis=0)
            if i:
                is_on = A_prev > 0
                dZ = np.matmul(dZ, W[i], out=A_prev)
                dZ *= is_on
            W[i] -= dW[i]
            b[i] -= db

    def fit():
        for first in range(0, len(rows), m):
            step(rows[first : first + m], y[first : first + m])

    return fit, lambda: list(zip(W, b, strict=True))


def _torch(sizes, m, X, y):
    import torch

    torch.set_num_threads(get_threads())
    layers = [torch.nn.Linear(*pair) for pair in itertools.pairwise(sizes)]
    with torch.no_grad():
        for layer, (W, b) in zip(layers, _start(sizes), strict=True):
            layer.weight.copy_(torch.from_numpy(W))
            layer.bias.copy_(torch.from_numpy(b))
    net = torch.nn.Sequential(*[part for layer in layers for part in (layer, torch.nn.ReLU())][:-1])
    loss_of, optimizer = torch.nn.CrossEntropyLoss(), torch.optim.SGD(net.parameters(), LR, fused=True)
    batches = list(zip(torch.from_numpy(X.T).split(m), torch.from_numpy(y).split(m), strict=True))

    def fit():
        for rows, codes in batches:
            optimizer.zero_grad(set_to_none=True)
            loss_of(net(rows), codes).backward()
            optimizer.step()

    return fit, lambda: [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in layers]


def _jax(sizes, m, X, y):
    import jax

    jnp = jax.numpy
    batches = jnp.asarray(X.T).reshape(BATCHES, m, -1), jnp.asarray(y).reshape(BATCHES, m)
    state = [[(jnp.asarray(W.T), jnp.asarray(b)) for W, b in _start(sizes)]]

    def loss(parameters, rows, codes):
        for W, b in parameters[:-1]:
            rows = jax.nn.relu(rows @ W + b)
        W, b = parameters[-1]
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(rows @ W + b), codes[:, None], 1))

    def step(parameters, batch):
        gradients = jax.grad(loss)(parameters, *batch)
        return jax.tree.map(lambda p, g: p - LR * g, parameters, gradients), None

    steps = jax.jit(lambda parameters, batches: jax.lax.scan(step, parameters, batches)[0], donate_argnums=0)

    def fit():
        state[0] = jax.block_until_ready(steps(state[0], batches))

    return fit, lambda: [(np.asarray(W).T, np.asarray(b)) for W, b in state[0]]


def _sklearn(sizes, m, X, y):
    from sklearn.neural_network import MLPClassifier

    settings = {"solver": "sgd", "momentum": 0.0, "alpha": 0.0, "learning_rate_init": LR, "batch_size": m}
    net = MLPClassifier(sizes[1:-1], **settings, shuffle=False, random_state=0)
    rows = X.T
    net.partial_fit(rows, y, classes=np.arange(sizes[-1]))  # which makes its arrays
    if sizes[-1] > 2:  # with two classes it has one output
        for place, (W, b) in enumerate(_start(sizes)):
            net.coefs_[place][:], net.intercepts_[place][:] = W.T, b

    return lambda: net.partial_fit(rows, y), lambda: [
        (W.T, b) for W, b in zip(net.coefs_, net.intercepts_, strict=True)
    ]


LIBRARIES = {"fastnn": _fastnn, "numpy": _numpy, "torch": _torch, "jax": _jax, "sklearn": _sklearn}


def _check(library, sizes, start, found, right):
    """Raise AssertionError if the weights moved otherwise than in float64."""
    for before, layer, wanted in zip(start, found, right, strict=True):
        for p, q, r in zip(before, layer, wanted, strict=True):
            change, error = np.linalg.norm(r.ravel() - p.ravel()), np.linalg.norm(q.ravel() - r.ravel())
            if not error <= 1e-2 * change + 1e-5 * np.linalg.norm(r):
                raise AssertionError(f"{library} trains {sizes} otherwise than NumPy: {error:g} of {change:g}")


def seconds_of_a_step(library, sizes, m, seconds):
    """The lower quartile over calls of 50 steps, `seconds` long or more: other processes may interrupt some."""
    X, y = _data(sizes, m)
    fit, parameters = LIBRARIES[library](sizes, m, X, y)
    fit()
    if library != "sklearn" or sizes[-1] > 2:
        exact, right = _numpy(sizes, m, X, y, np.float64)
        exact()
        _check(library, sizes, _start(sizes), parameters(), right())
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        fit()
        times.append((time.perf_counter() - start) / BATCHES)
    return statistics.quantiles(times, n=4)[0]


def flops_a_second(seconds):
    """The rate of the fastest large product, of fastnn's and NumPy's: the limit that a step is compared with."""
    A, b = np.random.default_rng(0).standard_normal((_LARGE, _LARGE), np.float32), np.zeros(_LARGE, np.float32)
    out, best = np.empty_like(A), np.inf
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for product in (lambda: kernels.linear_forward(A, A, b, out=out), lambda: np.matmul(A, A, out=out)):
            start = time.perf_counter()
            product()
            best = min(best, time.perf_counter() - start)
    return 2 * _LARGE**3 / best


def main(library, seconds, *nets):
    """Print the version and the seconds of a step of each net, as JSON."""
    warnings.simplefilter("ignore")  # the library's own
    seconds = float(seconds)
    found = {"seconds": {}}
    rates = [flops_a_second(seconds)] if library == "fastnn" else []
    for net in nets:
        found["seconds"][net] = seconds_of_a_step(library, *net_of(net), seconds)
    if rates:
        found["flops_a_second"] = max(*rates, flops_a_second(seconds))  # other processes may have taken a core before
    found["version"] = sys.modules[library].__version__
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
