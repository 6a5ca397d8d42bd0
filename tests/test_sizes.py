"""Sizes that no memory holds, and nonsense through the C interface: a clean MemoryError, or as if it were the least."""

import ctypes
import os

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


# --- the C interface -------------------------------------------------------------------------------


class Matrix(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("row", ctypes.c_ssize_t),
        ("col", ctypes.c_ssize_t),
        ("dtype", ctypes.c_int),
    ]


class Data(ctypes.Structure):
    _fields_ = [
        ("m", ctypes.c_ssize_t),
        ("X", Matrix),
        ("codes", ctypes.c_void_p),
        ("Y", Matrix),
        ("weights", ctypes.c_void_p),
    ]


class Optimizer(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_int),
        *[(name, ctypes.c_double) for name in ("lr", "decay", "momentum", "b1", "b2", "eps")],
    ]


class Fit(ctypes.Structure):
    _fields_ = [
        ("batch", ctypes.c_ssize_t),
        ("shuffle", ctypes.c_int),
        ("seed", ctypes.c_uint64),
        ("optimizer", Optimizer),
        ("max_batches", ctypes.c_ssize_t),
        ("max_epochs", ctypes.c_ssize_t),
        ("cautious", ctypes.c_int),
        ("unchecked", ctypes.c_int),
        ("order", ctypes.c_void_p),
        ("order_is_valid", ctypes.c_int),
        ("epoch", ctypes.c_uint64),
        ("position", ctypes.c_ssize_t),
        ("loss_sum", ctypes.c_double),
        ("weight_sum", ctypes.c_double),
        ("failed", ctypes.c_int),
        ("unsafe", ctypes.c_int),
        ("finite", ctypes.c_int),
        ("ended", ctypes.c_void_p),
        ("ended_count", ctypes.c_ssize_t),
    ]


def in_c(name, *arguments, result=ctypes.c_int):
    """The C function's result. Integers are ptrdiff_t, numbers in a tuple int."""
    kinds = {int: ctypes.c_ssize_t, tuple: ctypes.c_int}
    given = [
        ctypes.byref(a)
        if isinstance(a, ctypes.Structure)
        else kinds[type(a)](*(a if isinstance(a, tuple) else (a,)))
        if type(a) in kinds
        else a
        for a in arguments
    ]
    return ctypes.CFUNCTYPE(result)(COMPILED.c_function(name))(*given)


def matrix(a):
    return Matrix(a.ctypes.data, a.strides[0] // a.itemsize, a.strides[1] // a.itemsize, a.itemsize == 8)


ISA = (0,)
ADAM = Optimizer(3, 0.01, 0, 0, 0.9, 0.999, 1e-8)


def entries(n, k, m, threads, arrays, net):
    """Every entry that takes sizes, with these; results are in arrays."""
    W, X, b, Z, dW, db, dX, out, losses, total = arrays
    w, x, c, z, o = map(matrix, (W, X, b, Z, out))
    ow, ob, ox = map(matrix, (dW, db, dX))
    data, t = Data(m, x, None, z, None), (threads,)
    scores = Data(m, z, None, z, None)
    gradients, slopes = (Matrix * 1)(ow), (Matrix * 1)(ob)
    doubles, sum_of = losses.ctypes.data_as(ctypes.c_void_p), total.ctypes.data_as(ctypes.c_void_p)
    return {
        "forward": lambda: in_c("linear_forward", ISA, o, w, x, c, (4,), n, k, m, (0,), t),
        "backward": lambda: in_c("linear_backward", ISA, ow, ob, ox, z, x, w, (4,), n, k, m, t),
        "activation": lambda: in_c("activation_forward", ISA, o, z, (4,), n, m, t),
        "derivative": lambda: in_c("activation_backward", ISA, o, z, z, (4,), n, m, t),
        "rowsum": lambda: in_c("rowsum", ISA, ob, z, n, m, t),
        "loss": lambda: in_c("loss", ISA, doubles, o, scores, (2,), n, t),
        "predict": lambda: in_c("net_predict", net, o, x, m, t),
        "loss of a net": lambda: in_c("net_loss", net, sum_of, data, t),
        "gradients": lambda: in_c("net_gradients", net, sum_of, gradients, slopes, data, t),
    }


@pytest.fixture
def small():
    rng = np.random.default_rng(0)
    # Room around what is given: 3 units of 5 samples, from 4.
    shapes = [(3, 4), (4, 5), (3, 1), (3, 5), (3, 4), (3, 1), (4, 5), (3, 5), (5,), (1,)]
    arrays = [rng.standard_normal(shape) for shape in shapes]
    sizes, g = (ctypes.c_ssize_t * 2)(4, 3), (ctypes.c_int * 1)(4)
    net = ctypes.c_void_p(in_c("net_new", ISA, (1,), (1,), sizes, g, (2,), result=ctypes.c_void_p))
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
    in_c("optimizer_update", ISA, Optimizer(0, 0.1), t, w, None, None, g, 3, 4, (threads,), result=None)
    np.testing.assert_allclose(arrays[0], before - 0.1 * arrays[4], rtol=1e-12)
    in_c("net_force_threads", net, (threads,), result=None)
    assert in_c("net_train_threads", net, 5, (1,)) == 1
    fit, data, room = step(1), samples(arrays), np.empty(2)
    fit.ended = room.ctypes.data
    assert in_c("net_train", net, data, fit, (threads,)) == 0
    assert fit.ended_count == 1


def step(batch):
    return Fit(batch=batch, optimizer=Optimizer(0, 0.1), max_batches=10, max_epochs=1)


def samples(arrays, m=5):
    return Data(m, matrix(arrays[1]), None, matrix(arrays[3]), None)


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
            assert call() == 1, (name, n, k, m)
    assert in_c("net_train", net, samples(arrays, size), step(1), (1,)) == 1
    sizes, g = (ctypes.c_ssize_t * 2)(4, size), (ctypes.c_int * 1)(0)
    for sizes in ((4, size), (size, 3), (size, size)):
        given = (ctypes.c_ssize_t * 2)(*sizes)
        assert in_c("net_new", ISA, (1,), (1,), given, g, (2,), result=ctypes.c_void_p) is None, sizes
    if size < 0:
        w, o = matrix(arrays[0]), Optimizer(0, 0.1)
        in_c("optimizer_update", ISA, o, ctypes.c_uint64(1), w, None, None, w, size, 4, (1,), result=None)
        assert in_c("net_train", net, samples(arrays), step(size), (1,)) == 1
    assert before == [a.tobytes() for a in arrays]


@needs_core
def test_other_numbers_that_are_none_are_refused(small):
    arrays, net = small
    for slots in (-1, 3, -(2**31)):
        assert in_c("net_start_optimizer", net, (slots,)) == 1
    for position in (-1, 6):
        fit = step(2)
        fit.position = position
        assert in_c("net_train", net, samples(arrays), fit, (1,)) == 1
    given = (ctypes.c_ssize_t * 2)(4, 3)
    for layers in (0, -1):
        assert in_c("net_new", ISA, (1,), (layers,), given, None, (2,), result=ctypes.c_void_p) is None
    assert in_c("net_start_optimizer", net, (2,)) == 0


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
