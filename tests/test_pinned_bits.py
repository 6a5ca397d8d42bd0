"""The bits of trained networks: what they were when this file was written, for each dtype and instruction set.

Sums have one order, and functions one way of computing them, so a network trains to the same bits on every CPU with
FMA (AVX2, AVX-512, all of aarch64), and to others where there is none ("generic" on x86-64). A change of these numbers
is a change of what users get: it belongs into CHANGELOG.md. Weights and data are small fractions, so that nothing here
depends on NumPy.
"""

import hashlib
import itertools
import platform

import numpy as np
import pytest

import fastnn
from conftest import COMPILED

pytestmark = pytest.mark.skipif(COMPILED is None, reason="a promise of the compiled backend")

# sizes, activations, loss, batch, optimizer
NETS = {
    "relu, softmax, SGD": ([20, 40, 17, 5], ["relu", "relu", "softmax"], None, 32, fastnn.SGD(0.1)),
    "tanh, sigmoid, Adam": ([30, 16, 1], ["tanh", "sigmoid"], None, 24, fastnn.Adam(0.01)),
    "leaky_relu, mse, momentum": (
        [7, 33, 3],
        [("leaky_relu", {"slope": 0.25}), "identity"],
        "mse",
        19,
        fastnn.SGD(0.01, momentum=0.9, weight_decay=0.001),
    ),
    "softmax inside, mae, nesterov": (
        [9, 18, 8, 2],
        ["softmax", "sigmoid", "tanh"],
        "mae",
        50,
        fastnn.SGD(0.05, momentum=0.9, nesterov=True),
    ),
    "wide, AdamW": ([70, 130, 65, 10], ["sigmoid", "relu", "softmax"], None, 64, fastnn.AdamW(0.003)),
}

PINNED = {
    "relu, softmax, SGD": {
        ("float32", "generic"): "e3f254351bcfe507",
        ("float32", "FMA"): "c65ac076aefbbdb1",
        ("float64", "generic"): "0c63a6a6adf16f78",
        ("float64", "FMA"): "d4a53745731a334b",
    },
    "tanh, sigmoid, Adam": {
        ("float32", "generic"): "f002d7f37e1b25b6",
        ("float32", "FMA"): "af57a98673d3f3fe",
        ("float64", "generic"): "2d77b70b17717bff",
        ("float64", "FMA"): "97cff01ff9fe1bd5",
    },
    "leaky_relu, mse, momentum": {
        ("float32", "generic"): "b862002724c0c726",
        ("float32", "FMA"): "f335a218233134a4",
        ("float64", "generic"): "f81311f779ab208c",
        ("float64", "FMA"): "bd2a3c49d7df0fa8",
    },
    "softmax inside, mae, nesterov": {
        ("float32", "generic"): "73ae48c32b2672a8",
        ("float32", "FMA"): "946390c1332e9588",
        ("float64", "generic"): "216d88f428cc3c0c",
        ("float64", "FMA"): "2eef9c412e0f585d",
    },
    "wide, AdamW": {
        ("float32", "generic"): "160f343c40286b20",
        ("float32", "FMA"): "30d4616c891e5586",
        ("float64", "generic"): "01b978696cdfab2b",
        ("float64", "FMA"): "f38f5b07aadf730a",
    },
}


def fractions(*shape, step):
    """Numbers in [-1, 1], some 60 different ones, the same everywhere."""
    return ((np.arange(np.prod(shape)) * step % 61 - 30) / 30.5).reshape(shape)


def trained(name, dtype):
    """A hash of what the network has learnt, of its losses and of its predictions."""
    sizes, activations, loss, batch, optimizer = NETS[name]
    net = fastnn.Network(sizes, activations, loss, dtype=dtype, seed=5, backend="compiled")
    net.set_parameters(
        [
            (fractions(n_out, n_in, step=17) / np.sqrt(n_in), fractions(n_out, 1, step=7) / 8)
            for n_in, n_out in itertools.pairwise(sizes)
        ]
    )
    X, Y = fractions(sizes[0], 150, step=37), np.abs(fractions(sizes[-1], 150, step=23))
    y = Y if activations[-1] != "softmax" else np.arange(150) * 7 % sizes[-1]
    history = net.fit(X, y, epochs=3, batch_size=batch, optimizer=optimizer, progress=False)
    seen = hashlib.sha256(np.array(history.loss).tobytes())
    for array in (net.predict(X), *(T for pair in net.parameters for T in pair)):
        seen.update(np.ascontiguousarray(array).tobytes())
    return seen.hexdigest()[:16]


@pytest.mark.parametrize("name", NETS)
def test_trained_networks_have_the_bits_that_they_had(isa, dtype, name):
    kind = "generic" if isa == "generic" and platform.machine() not in ("aarch64", "arm64") else "FMA"
    assert trained(name, dtype) == PINNED[name][np.dtype(dtype).name, kind]
