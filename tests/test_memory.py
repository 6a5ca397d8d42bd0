"""Memory: bounded by a constant beyond inputs, outputs and weights, and not growing with calls. Time: in benchmarks."""

import os
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from case_helpers import affine, python
from conftest import DEFAULT, SANITIZED, alone, drawn
from fastnn import SGD, Network, kernels

VARIANTS = DEFAULT  # what is tested here is around the kernels

pytestmark = alone

needs_proc = pytest.mark.skipif(
    not os.path.exists("/proc/self/clear_refs") or SANITIZED,
    reason="reads memory from Linux's /proc; a sanitizer keeps what is freed",
)

# --- the rule: beyond inputs, outputs and weights a constant, not m -----------------------------------------------


BLOCK = (1_000_000, 6_000_000)  # of what is cast at a time: constant, but a short run does not reach it


def wide(shape, dtype):
    """Many equal columns that take no memory."""
    column = np.linspace(0, 1, shape[0]).astype(dtype)[:, np.newaxis]
    return np.broadcast_to(column, shape)


def peak(call):
    """Bytes that a call had at most, beyond what it gave back."""
    tracemalloc.start()
    try:
        result = call()
        kept = result.nbytes if isinstance(result, np.ndarray) else 0
        return tracemalloc.get_traced_memory()[1] - kept
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("x_dtype", ["f4", "f8", "u1"])
@pytest.mark.parametrize("what", ["predict", "predictor", "predict into out", "loss", "evaluate", "fit"])
def test_memory_does_not_grow_with_samples(backend, what, x_dtype):
    net = Network([20, 6, 10], seed=0, backend=backend)

    def call(m):
        X, y = wide((20, m), x_dtype), np.zeros(m, np.int32)
        p, out = net.predictor(), np.empty((10, m), "f4")
        return {
            "predict": lambda: net.predict(X),
            "predictor": lambda: p(X),
            "predict into out": lambda: net.predict(X, out=out),
            "loss": lambda: net.loss(X, y),
            "evaluate": lambda: net.evaluate(X, y),
            "fit": lambda: net.fit(X, y, batch_size=1000, shuffle=False, progress=False),
        }[what]

    small, large = 50_000, 150_000
    extra = peak(call(large)) - peak(call(small))
    assert extra <= 0.1 * (large - small) * 20 * 4 + BLOCK[what == "fit"]


@pytest.mark.parametrize("y_dtype", ["f4", "f8", "u1", "i4", "i8"])
@pytest.mark.parametrize("what", ["loss", "fit"])
def test_memory_does_not_grow_with_targets(backend, what, y_dtype):
    # as in an autoencoder: targets are as many as the inputs, and may be of another dtype
    net = Network([4, 3, 40], ["tanh", "sigmoid"], "mse", seed=0, backend=backend)

    def call(m):
        X, y = wide((4, m), "f4"), wide((40, m), y_dtype)
        if what == "loss":
            return lambda: net.loss(X, y)
        return lambda: net.fit(X, y, batch_size=1000, shuffle=False, progress=False)

    small, large = 25_000, 75_000
    extra = peak(call(large)) - peak(call(small))
    assert extra <= 0.1 * (large - small) * 40 * 4 + BLOCK[what == "fit"]


def test_a_large_answer_is_made_once(backend):
    net = Network([2, 100], ["identity"], seed=0, backend=backend)
    X, out = wide((2, 100_000), "f4"), np.empty((100, 100_000), "f4")
    assert peak(lambda: net.predict(X)) < 0.2 * out.nbytes
    assert peak(lambda: net.predict(X, out=out)) < 0.2 * out.nbytes
    W, Z = np.ones((100, 2), "f4"), np.ones((100, 100_000), "f4")
    for call in (
        lambda out: kernels.linear_forward(W, np.ascontiguousarray(X), [0] * 100, out=out),
        lambda out: kernels.activation_forward(Z, "identity", out=out),
        lambda out: kernels.activation_forward(Z, "relu", out=out),
    ):
        assert peak(lambda c=call: c(out)) < 1.2 * out.nbytes  # in NumPy, one intermediate result


@drawn(12, 250)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=2, max_size=4),
    m=st.integers(1, 60_000),
    x_dtype=st.sampled_from(["f4", "f8", "u1", "i8"]),
    layout=st.sampled_from(["wide", "C", "F", "reversed"]),
    what=st.sampled_from(["predict", "predictor", "loss", "evaluate", "train_step"]),
)
def test_any_call_keeps_nothing_and_takes_little(backend, sizes, m, x_dtype, layout, what):
    net = Network([*sizes[:-1], sizes[-1] + 1], seed=0, backend=backend)
    X, y = wide((sizes[0], m), x_dtype), np.zeros(m, np.int32)
    if layout != "wide":
        X = np.array(X, order=layout[0] if layout in "CF" else "C")
    if layout == "reversed":
        X = X[:, ::-1]
    predictor, sgd = net.predictor(), SGD(lr=1e-9)
    call = {
        "predict": lambda: net.predict(X),
        "predictor": lambda: predictor(X),
        "loss": lambda: net.loss(X, y),
        "evaluate": lambda: net.evaluate(X, y),
        "train_step": lambda: net.train_step(X, y, sgd),
    }[what]
    call()
    held = sys.getrefcount(X), sys.getrefcount(y)
    batch = 20 * sum(net.sizes) * m  # all of it at once: X cast, activations, and in NumPy their gradients
    allowed = sum(BLOCK) + (batch if what == "train_step" else 0)
    assert peak(call) <= allowed
    assert (sys.getrefcount(X), sys.getrefcount(y)) == held


# --- the cases ------------------------------------------------------------------------------------------------

LEAKS = """
import gc, os, pickle, sys
import numpy as np, fastnn
from fastnn import Network, SGD, kernels
B = {backend!r}
net = Network([64, 64, 8], seed=0, backend=B)
x, y = np.ones((64, 1), "f4"), np.zeros(1, int)
X, Y, w = np.ones((64, 16), "f4"), np.zeros(16, int), np.ones(16)
bad, text, X64, out = np.ones((63, 1), "f4"), np.full((64, 1), "a"), np.ones((64, 16)), np.empty((8, 1), "f4")
nan, p = np.full((64, 16), np.nan, "f4"), net.predictor()
W, b, dZ = np.ones((8, 64), "f4"), np.ones((8, 1), "f4"), np.ones((8, 16), "f4")
named = [x, y, X, Y, w, bad, text, X64, out, nan, W, b, dZ]

def refused(call, *kinds):
    try:
        call()
    except kinds:
        return
    raise AssertionError("not refused")

def rss():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def blocks():
    gc.collect()  # empties the free lists, too
    # The interpreter keeps the names of up to 4096 attributes that were looked up: dtype.name makes a new one a call.
    getattr(sys, "_clear_internal_caches", getattr(sys, "_clear_type_cache", None))()
    return sys.getallocatedblocks()

def stop(epoch, history):
    return True

def fail(epoch, history):
    raise KeyError

def small():
    other = Network([64, 64, 8], seed=0, backend=B)
    other.fit(x, y, epochs=1, optimizer=SGD(lr=0.1))

def steps():
    net.train_step(X, Y, optimizer=SGD(lr=1e-6))
    net.fit(X, Y, epochs=2, batch_size=4, sample_weight=w, optimizer=SGD(lr=1e-6), callbacks=stop)
    net.fit(X64, Y, epochs=1, batch_size=4)
    net.gradients(X, Y, w)
    net.loss(X64, Y)
    net.evaluate(X, Y)
    net.predictor()(X)
    net.set_parameters(net.parameters)
    pickle.loads(pickle.dumps(net))
    kernels.linear_backward(dZ, X, W)
    kernels.linear_forward(W, X, b, "softmax")
    kernels.loss_backward(dZ, Y, "cross_entropy")

def failing_steps():
    refused(lambda: net.fit(nan, Y), ValueError)
    refused(lambda: net.train_step(nan, Y), ValueError)
    refused(lambda: net.fit(X, Y, callbacks=fail), KeyError)
    refused(lambda: net.fit(X, Y[:3]), ValueError)
    refused(lambda: net.set_parameters([(W, b)]), ValueError)
    refused(lambda: kernels.linear_backward(dZ, x, W), ValueError)

LOOPS = {{
    "forward": (100_000, lambda: net.forward(x)),
    "predict into out": (20_000, lambda: p(x, out=out)),
    "of another dtype": (2_000, lambda: net.forward(X64)),
    "bad shape": (10_000, lambda: refused(lambda: net.forward(bad), ValueError)),
    "bad dtype": (2_000, lambda: refused(lambda: net.forward(text), TypeError)),
    "bad out": (2_000, lambda: refused(lambda: net.predict(X, out=out), ValueError)),
    "new networks": (1_000, small),
    "steps": (100, steps),
    "failing steps": (100, failing_steps),
}}
for what, (times, call) in LOOPS.items():
    times = max(100, times // {shorter})
    for _ in range(min(1_000, times // 5)):
        call()
    before, counts, objects = rss(), [sys.getrefcount(a) for a in named], blocks()
    for _ in range(times):
        call()
    grown, objects = rss() - before, blocks() - objects
    assert grown < 4 * 2**20, f"{{what}}: {{grown / 2**20:.1f}} MB"
    assert objects < max(50, times // 20), f"{{what}}: {{objects}} objects in {{times}} calls"
    assert [sys.getrefcount(a) for a in named] == counts, what
print("even")
"""


@needs_proc
@pytest.mark.parametrize("shorter", [10, pytest.param(1, marks=pytest.mark.slow)])
def test_i02_nothing_leaks_per_call(backend, shorter):
    if backend == "compiled" and shorter > 1:
        shorter = 2  # there a call takes little time, and what leaks may be no object of Python's
    assert python(LEAKS.format(backend=backend, shorter=shorter), backend) == "even"


@pytest.mark.skip(reason="measured in benchmarks")
def test_i03_call_overhead_on_tiny_networks():
    pass


def test_i03_no_array_is_made_beyond_the_output(backend):
    # objects that stay per call: none
    net = Network([2, 3, 1], seed=0, backend=backend)
    x1, out = np.ones((2, 1), "f4"), np.empty((1, 1), "f4")
    p = net.predictor()
    for call in (lambda: net.forward(x1), lambda: net.predict(x1, out=out), lambda: p(x1, out=out)):
        for _ in range(50):
            call()
        before = sys.getallocatedblocks()
        for _ in range(1000):
            call()
        assert sys.getallocatedblocks() - before < 50


HIDDEN_COPY = """
import gc, os
import numpy as np, fastnn
net = fastnn.Network([784, 8, 1], seed=0, backend={backend!r})
X, y = np.ones((784, {m}), "f4"), np.zeros({m})
page = os.sysconf("SC_PAGE_SIZE")

def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * page

def reset():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")

def highest():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024

net.fit(X[:, :1000], y[:1000])
for kw in ({{"shuffle": True}}, {{"shuffle": False}}):
    gc.collect()
    reset()
    before = rss()
    history = net.fit(X, y, epochs=1, optimizer=fastnn.SGD(lr=1e-6), batch_size=256, **kw)
    extra = highest() - before
    assert extra <= 0.1 * X.nbytes + 100e6, f"{{kw}}: {{extra / 1e6:.0f}} MB"
    assert np.isfinite(history.loss).all()
assert all(a.dtype == np.float32 for pair in net.parameters for a in pair)
print("lean")
"""


@needs_proc
@pytest.mark.parametrize("m", [40_000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_i04_no_hidden_copies(backend, m):
    assert python(HIDDEN_COPY.format(backend=backend, m=m), backend) == "lean"


def test_i04_float32_stays_float32(backend, rng):
    net = Network([5, 4, 3], ["tanh", "softmax"], seed=0, backend=backend)
    X, y = rng.standard_normal((5, 9)), np.arange(9) % 3
    net.fit(X, y, epochs=2, optimizer=SGD(lr=np.float64(0.1), weight_decay=np.float64(0.1)), sample_weight=np.ones(9))
    net.train_step(X, y)
    arrays = [a for pair in net.parameters + net.gradients(X, y, np.ones(9))[1] for a in pair]
    A, caches = net.forward(X, cache=True)
    arrays += [A, net.predict(X), net.predictor()(X), *(a for cache in caches for a in cache.values())]
    assert {a.dtype for a in arrays} == {np.dtype("f4")}
    x, w, b = (rng.standard_normal(s).astype("f4") for s in ((5, 9), (3, 5), (3, 1)))
    Z = kernels.linear_forward(w, x, b)
    results = [
        Z,
        kernels.linear_forward(w, x.astype("f8"), b.astype("f8"), "softmax"),
        *kernels.linear_backward(Z, x, w),
    ]
    results += [kernels.activation_forward(Z, "tanh"), kernels.activation_backward(Z, Z, "tanh"), kernels.rowsum(Z)]
    results += [kernels.loss_backward(Z, y, "cross_entropy"), kernels.loss_backward(Z, y, "cross_entropy", np.ones(9))]
    results += [kernels.activation_forward(Z.astype("f2"), "tanh")]
    assert {a.dtype for a in results} == {np.dtype("f4")}
    assert all(type(loss) is float for loss in net.fit(X, y).loss)
    for number in (net.train_step(X, y), net.loss(X, y), net.gradients(X, y)[0], *net.evaluate(X, y).values()):
        assert type(number) is float


THIN = [(4000, 2000, 1), (1, 4000, 64), (4000, 1, 64), (3, 3, 100_000), (1, 1, 1), (2, 100_000, 1), (100_000, 2, 1)]


@pytest.mark.parametrize(("n_out", "n_in", "m"), THIN)
def test_i05_thin_shapes(backend, rng, n_out, n_in, m):
    W, X, b = (rng.standard_normal(s, "f4") for s in ((n_out, n_in), (n_in, m), (n_out, 1)))
    want = ref.linear_forward(*(a.astype("f8") for a in (W, X, b)))
    ref.assert_close(kernels.linear_forward(W, X, b), want, "float32", "linear_forward")
    net = affine(W, b, "float32", backend=backend)
    ref.assert_close(net.predict(X), want, "float32", "predict")
    np.testing.assert_allclose(net.predict(X), want[0], atol=1e-5 * np.sqrt(n_in))


@pytest.mark.parametrize("place", range(3))
def test_i05_odd_sizes(backend, rng, place):
    for size in range(1, 34, 2):
        for rest in (1, 5, 33):
            n_out, n_in, m = (size if i == place else rest for i in range(3))
            W, X, b = (rng.standard_normal(s).astype("f4") for s in ((n_out, n_in), (n_in, m), (n_out, 1)))
            want = ref.linear_forward(*(a.astype("f8") for a in (W, X, b)))
            ref.assert_close(kernels.linear_forward(W, X, b), want, "float32", "linear_forward")
            ref.assert_close(affine(W, b, "float32", backend=backend).predict(X), want, "float32", "predict")
