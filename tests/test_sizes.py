"""Sizes that no memory holds, and nonsense through the C interface: a clean MemoryError, or as if it were the least."""

import ctypes
import os

import numpy as np
import pytest

from case_helpers import python
from conftest import COMPILED
from fastnn import Network, kernels

if COMPILED is not None:
    from c_interface import (
        ADAM,
        MSE,
        NO_MEMORY,
        REFUSED,
        SGD,
        SOFTMAX,
        Fit,
        Matrix,
        Optimizer,
        Spec,
        Targets,
        in_c,
        matrix,
        new_net,
    )

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


# --- the C interface -------------------------------------------------------------------------------


ISA = (0,)
SMALL_STEP = Optimizer(kind=SGD, lr=0.1) if COMPILED is not None else None


def entries(n, k, m, threads, arrays, net):
    """Every entry that takes sizes, with these; results are in arrays."""
    W, X, b, Z, dW, db, dX, out, losses, total = arrays
    w, x, c, z, o = map(matrix, (W, X, b, Z, out))
    ow, ob, ox = map(matrix, (dW, db, dX))
    targets, t, softmax, mse = Targets(Y=z), (threads,), Spec(SOFTMAX), Spec(MSE)
    gradients = (Matrix * 2)(ow, ob)
    doubles, sum_of = losses.ctypes.data_as(ctypes.c_void_p), total.ctypes.data_as(ctypes.c_void_p)
    return {
        "forward": lambda: in_c("linear_forward", ISA, o, w, x, c, softmax, n, k, m, (0,), t),
        "backward": lambda: in_c("linear_backward", ISA, ow, ob, ox, z, x, w, softmax, n, k, m, t),
        "activation": lambda: in_c("activation_forward", ISA, o, z, softmax, n, m, t),
        "derivative": lambda: in_c("activation_backward", ISA, o, z, z, softmax, n, m, t),
        "rowsum": lambda: in_c("rowsum", ISA, ob, z, n, m, t),
        "loss": lambda: in_c("loss", ISA, doubles, o, z, targets, mse, n, m, t),
        "predict": lambda: in_c("net_predict", net, o, x, m, t),
        "loss of a net": lambda: in_c("net_loss", net, sum_of, x, targets, m, t),
        "gradients": lambda: in_c("net_gradients", net, sum_of, gradients, x, targets, m, t),
    }


@pytest.fixture
def small():
    rng = np.random.default_rng(0)
    # Room around what is given: 3 units of 5 samples, from 4.
    shapes = [(3, 4), (4, 5), (3, 1), (3, 5), (3, 4), (3, 1), (4, 5), (3, 5), (5,), (1,)]
    arrays = [rng.standard_normal(shape) for shape in shapes]
    net = ctypes.c_void_p(new_net(4, 3, SOFTMAX))
    yield arrays, net
    in_c("net_free", net, result=None)


@needs_core
@pytest.mark.parametrize("threads", [0, -1, -(2**31)])
def test_no_threads_are_one(small, threads):
    arrays, net = small
    for name, call in entries(3, 4, 5, threads, arrays, net).items():
        assert call() == 0, name
        got = [np.copy(a) for a in arrays]
        assert entries(3, 4, 5, 1, arrays, net)[name]() == 0
        for a, b in zip(got, arrays, strict=True):
            assert a.tobytes() == b.tobytes(), name
    w, g = matrix(arrays[0]), matrix(arrays[4])
    before, t = np.copy(arrays[0]), ctypes.c_uint64(1)
    in_c("optimizer_update", ISA, SMALL_STEP, t, w, None, None, g, 3, 4, (threads,))
    np.testing.assert_allclose(arrays[0], before - 0.1 * arrays[4], rtol=1e-12)
    in_c("net_force_threads", net, (threads,), result=None)
    assert in_c("net_train_threads", net, 5, (1,)) == 1
    fit, room = step(1), np.empty(2)
    fit.ended = room.ctypes.data
    assert in_c("net_train", net, *samples(arrays), fit, (threads,)) == 0
    assert fit.ended_count == 1


def step(batch):
    return Fit(batch=batch, optimizer=ctypes.pointer(SMALL_STEP), max_batches=10, max_epochs=1)


def samples(arrays, m=5):
    return matrix(arrays[1]), Targets(Y=matrix(arrays[3])), m


@needs_core
@pytest.mark.parametrize("size", [-1, -5, -(2**40), -(2**63), 2**49, 2**58, 2**62, 2**63 - 1])
def test_sizes_that_are_none_are_refused(small, size):
    arrays, net = small
    before = [a.tobytes() for a in arrays]
    for n, k, m in ((size, 4, 5), (3, size, 5), (3, 4, size), (size, size, size)):
        for name, call in entries(n, k, m, 1, arrays, net).items():
            if (n, m) == (3, 5) and not name.endswith("ward"):
                continue  # knows no k
            if m == 5 and name in ("predict", "loss of a net", "gradients"):
                continue  # nor n
            assert call() == NO_MEMORY, (name, n, k, m)
    assert in_c("net_train", net, *samples(arrays, size), step(1), (1,)) == NO_MEMORY
    for sizes in ((4, size), (size, 3), (size, size)):
        assert new_net(*sizes) is None, sizes
    if size < 0:
        w = matrix(arrays[0])
        in_c("optimizer_update", ISA, SMALL_STEP, ctypes.c_uint64(1), w, None, None, w, size, 4, (1,))
        assert in_c("net_train", net, *samples(arrays), step(size), (1,)) == NO_MEMORY
    assert before == [a.tobytes() for a in arrays]


@needs_core
def test_other_numbers_that_are_none_are_refused(small):
    arrays, net = small
    for slots in (-1, 3, -(2**31)):
        assert in_c("net_start_optimizer", net, (slots,)) == REFUSED
    for position in (-1, 6):
        fit = step(2)
        fit.position = position
        assert in_c("net_train", net, *samples(arrays), fit, (1,)) == NO_MEMORY
    for layers in (0, -1):
        assert new_net(4, 3, count=layers) is None
    assert in_c("net_start_optimizer", net, (2,)) == 0


@needs_core
@pytest.mark.parametrize("kind", [-1, 99, 2**31 - 1, -(2**31)])
def test_kinds_that_there_are_none_of_are_refused(small, kind):
    arrays, net = small
    before = [a.tobytes() for a in arrays]
    w, x, c, z, o = map(matrix, (*arrays[:4], arrays[7]))
    none, targets, few = Spec(kind), Targets(Y=z), (1,)
    assert in_c("linear_forward", ISA, o, w, x, c, none, 3, 4, 5, (0,), few) == REFUSED
    assert in_c("linear_backward", ISA, w, c, x, z, x, w, none, 3, 4, 5, few) == REFUSED
    assert in_c("activation_forward", ISA, o, z, none, 3, 5, few) == REFUSED
    assert in_c("activation_backward", ISA, o, z, z, none, 3, 5, few) == REFUSED
    assert in_c("loss", ISA, None, o, z, targets, none, 3, 5, few) == REFUSED
    assert in_c("rowsum", (kind,), c, z, 3, 5, few) == REFUSED
    optimizer, t = Optimizer(kind=kind, lr=0.1), ctypes.c_uint64(1)
    assert in_c("optimizer_update", ISA, optimizer, t, w, None, None, w, 3, 4, few) == REFUSED
    fit = step(1)
    fit.optimizer = ctypes.pointer(optimizer)
    assert in_c("net_train", net, *samples(arrays), fit, few) == REFUSED
    assert new_net(4, 3, activation=kind) is None
    assert new_net(4, 3, loss=kind) is None
    assert new_net(4, 3, dtype=kind) is None
    assert before == [a.tobytes() for a in arrays]


@needs_core
def test_an_optimizer_for_which_the_network_has_too_few_moments_is_refused(small):
    arrays, net = small
    fit = step(1)
    fit.optimizer = ctypes.pointer(Optimizer(kind=ADAM, lr=0.1, eps=1e-8))
    assert in_c("net_train", net, *samples(arrays), fit, (1,)) == REFUSED


@needs_core
def test_a_shorter_struct_of_an_older_caller_is_filled_up_with_0(small):
    # He knows no weights of samples: what lies behind his struct is none of our business.
    arrays, net = small
    targets, whole = Targets(Y=matrix(arrays[3])), np.zeros(1)
    assert in_c("net_loss", net, whole.ctypes.data_as(ctypes.c_void_p), matrix(arrays[1]), targets, 5, (1,)) == 0
    targets.weights, targets.size = 1, Targets.weights.offset
    part = np.zeros(1)
    assert in_c("net_loss", net, part.ctypes.data_as(ctypes.c_void_p), matrix(arrays[1]), targets, 5, (1,)) == 0
    assert part == whole


@needs_core
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a writer beside us needs a core")
def test_codes_that_somebody_writes_to_stay_legal_or_are_refused():
    # int64 and int32, of which a writer makes some illegal while they are taken: what was taken is legal, or refused.
    code = """
import threading, time, numpy as np
from fastnn import _core, arrays
m = 3000
for dtype in ("i8", "i4"):
    y = np.zeros(m, dtype)
    over = True
    def write():
        while over:
            y[::7] = 1000
            y[::7] = 0
    writer = threading.Thread(target=write)
    writer.start()
    end, taken, refused = time.time() + 0.3, 0, 0
    while time.time() < end:
        codes = _core.quick_codes(y, 10, m)
        if codes is None:
            refused += 1
        else:
            taken += 1
            assert 0 <= codes.min() and codes.max() < 10
    over = False
    writer.join()
y = np.zeros(m, "i4")
assert not np.shares_memory(arrays.targets(y, 10, m, "cross_entropy"), y)
print("legal")
"""
    assert python(code, "compiled").split() == ["legal"]


@needs_core
def test_networks_that_fit_no_memory():
    for sizes in ([3, 2**44], [2**44, 3], [2**30, 2**31]):
        with pytest.raises((MemoryError, ValueError)):
            Network(sizes)
