"""Sizes that no memory holds end in a clean MemoryError."""

import numpy as np
import pytest

from case_helpers import python
from conftest import COMPILED
from fastnn import Network, kernels

needs_core = pytest.mark.skipif(COMPILED is None, reason="the extension is not here")

# Arrays whose many elements are all one number in memory; products of their sizes wrap around at 2^63, or 2^64.
BROADCAST = """
import numpy as np
from fastnn import Adam, Network, kernels
def B(*shape, dtype="f4"):
    return np.broadcast_to(np.ones((), dtype), shape)

for dtype in ("f4", "f8"):
    for power in (41, 47, 48, 49, 55, 56, 57, 58, 59):
        M = 2**power
        for n in (1, 2, 3):
            w, b = np.ones((n, n), dtype), np.ones((n, 1), dtype)
            if n * M * w.itemsize >= 2**63:
                continue  # NumPy makes no such array
            X, net = B(n, M, dtype=dtype), Network([n, 4, n], ["relu", "identity"], "mse", dtype=dtype, seed=0)
            before = net.parameters[0][0].tobytes()
            calls = {
                "linear_backward": lambda: kernels.linear_backward(X, X),
                "linear_backward with W": lambda: kernels.linear_backward(X, X, w),
                "linear_forward, long sums": lambda: kernels.linear_forward(X, B(M, n, dtype=dtype), b),
                "linear_forward, many samples": lambda: kernels.linear_forward(w, X, b),
                "rowsum": lambda: kernels.rowsum(X),
                "softmax": lambda: kernels.activation_forward(X, "softmax"),
                "softmax back": lambda: kernels.activation_backward(X, X, "softmax"),
                "loss_backward": lambda: kernels.loss_backward(X, X, "mse"),
                "predict": lambda: net.predict(X),
                "train_step": lambda: net.train_step(X, X),
                "fit": lambda: net.fit(X, X, 1, None, Adam(), shuffle=False, progress=False),
            }
            for name, call in calls.items():
                try:
                    call()
                except MemoryError:
                    assert net.parameters[0][0].tobytes() == before
                else:
                    raise AssertionError(f"{name}, {dtype}, n = {n}, m = 2^{power}")
print("all refused")
"""


@needs_core
def test_sizes_beyond_all_memory_are_refused():
    assert python(BROADCAST, "compiled").split() == ["all", "refused"]


@needs_core
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_smallest_product_of_sizes_that_wraps_around(dtype):
    B = np.broadcast_to(np.ones((), dtype), (1, 2**59))  # two copies of it in float64 are 2^63 bytes
    with pytest.raises(MemoryError):
        kernels.linear_backward(B, B)


def test_networks_that_fit_no_memory():
    for sizes in ([3, 2**44], [2**44, 3], [2**30, 2**31]):
        with pytest.raises((MemoryError, ValueError)):
            Network(sizes)
