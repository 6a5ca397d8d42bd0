"""Networks of all kinds for the tests of fastnn.exchange: many settings, square layers among them."""

import numpy as np

import reference as ref
from fastnn import Network

OTHERS = [name for name in ref.ALL_ACTIVATIONS if name != "softmax"]


def changed(net, rng):
    """The same network with other biases, norms and running statistics."""
    net.set_parameters([tuple(T + 0.3 * rng.standard_normal(T.shape) for T in layer) for layer in net.parameters])
    running = [
        pair and (pair[0] + rng.standard_normal(pair[0].shape), pair[1] + rng.random(pair[1].shape))
        for pair in net.running_statistics
    ]
    net.set_running_statistics(running)
    return net


def drawn_network(rng, i, dtype, activations=OTHERS, outputs=ref.ALL_ACTIVATIONS, norms=(None, "layer", "batch")):
    """A network with random settings, and samples; as i counts up, all activations and outputs come."""
    depth = rng.integers(1, 5)
    square = rng.integers(2, 20)
    sizes = [int(square if rng.random() < 0.5 else rng.integers(1, 150)) for _ in range(depth + 1)]
    hidden = [activations[(i + k) % len(activations)] for k in range(depth - 1)]
    output = outputs[i % len(outputs)]
    if output == "softmax":
        sizes[-1] += sizes[-1] == 1
    norm = [norms[rng.integers(len(norms))] for _ in hidden]
    dropout = [float(rate) for rate in rng.integers(0, 2, len(hidden)) / 4]
    more = {"norm": norm or None, "dropout": dropout or 0.0}
    net = Network(sizes, [*hidden, output], None, ("normal", {"sd": 0.5}), dtype, seed=i, **more)
    return changed(net, rng), rng.standard_normal((sizes[0], 12))


def adapted_network(rng, dtype, mean, with_y=True, loss="mse"):
    """A network that standardises features of different units, and samples in its dtype."""
    net = Network([6, 6, 2], ["tanh", "identity"], loss, dtype=dtype, seed=3)
    X = (mean + rng.standard_normal((6, 40))) * 10.0 ** np.arange(-3, 3)[:, np.newaxis]
    X = ref.exact(X, dtype)
    Y = 5000 + 30 * rng.standard_normal((2 if loss == "mse" else 1, 40))
    net.adapt(X, Y if with_y else None)
    return net, X


def check_parity(net, X, got, *, has_plain_gelu=False):
    """Within the bound of parity from the reference.

    `has_plain_gelu`: whoever computed it has z / 2 (1 + erf) for gelu, which loses its digits where it is small.
    """
    X = ref.exact(X, net.dtype)
    norms = [(kind, running) for kind, running in zip((*net.norm, None), net.running_statistics, strict=True)]
    if net.standardisation is not None:
        X = (X - net.standardisation[0]) / net.standardisation[1]
    last = ref.forward(net.parameters, net.activations, X, norms=norms)[-1]
    A, S = last["A"], last["S_A"]
    if has_plain_gelu and "gelu" in net.activations[-1]:
        S = S + np.abs(last["Z"])
    if net.standardisation is not None and net.standardisation[2] is not None:
        _, _, y_mean, y_scale = net.standardisation
        A, S = A * y_scale + y_mean, S * y_scale + np.abs(y_mean)
    ref.assert_close(got, (A, S), net.dtype, f"{net!r}")
