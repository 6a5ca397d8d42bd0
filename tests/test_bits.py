"""The compiled network gives the same bits for any number of threads, any batch, and after a break."""

import numpy as np
import pytest

import fastnn
from case_helpers import bits, state_of
from conftest import COMPILED, each_isa_slowly
from roofline import NETS as TABLE

pytestmark = pytest.mark.skipif(COMPILED is None, reason="a promise of the compiled backend")

NETS = [
    ([4, 64, 64, 2], None, 64),
    ([30, 16, 2], None, 64),
    ([64, 32, 10], None, 32),
    ([64, 100, 10], ["tanh", "softmax"], 200),
    ([200, 128, 10], ["softmax", "sigmoid"], 33),
    ([256, 35, 3], ["tanh", "softmax"], 150),
    ([70, 65, 33, 1], ["sigmoid", "relu", "identity"], 50),
    ([3, 1], None, 7),
]
# The table's largest in slow runs only; its place is taken by one like it.
TABLE = [*TABLE[:-1], ((784, 160, 160, 160, 10), 96), pytest.param(*TABLE[-1], marks=pytest.mark.slow)]
THREADS = (1, 2, 3, 7)
OPTIMIZERS = [fastnn.SGD(lr=0.05), fastnn.SGD(lr=0.01, momentum=0.9), fastnn.Adam(lr=0.01)]
of_the_table = pytest.mark.parametrize(
    ("sizes", "batch"), TABLE, ids=lambda v: "-".join(map(str, v)) if isinstance(v, tuple) else f"x{v}"
)
longer = pytest.param(10, marks=pytest.mark.slow)
with_each = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["SGD", "momentum", "Adam"])


def data(sizes, m, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, max(2, sizes[-1]), m)
    return rng.standard_normal((m, sizes[0])).astype("f4").T, y


def assert_threads_do_not_change_bits(sizes, activations, batch, dtype, optimizer, batches, numbers=THREADS):
    """Not after two epochs, the last step of each a short one; nor in what is computed without a step."""
    X, y = data(sizes, batches * batch - 3)
    trained, computed = set(), set()
    for threads in numbers:
        net = fastnn.Network(sizes, activations, dtype=dtype, seed=1, backend="compiled", threads=threads)
        history = net.fit(X, y, epochs=2, batch_size=batch, optimizer=optimizer)
        trained.add((tuple(history.loss), *state_of(net)))
        some = X[:, :300], y[:300]
        loss, gradients = net.gradients(*some)
        arrays = [net.predict(some[0]), *(a for pair in gradients for a in pair)]
        computed.add((loss, net.loss(*some), *(a.tobytes() for a in arrays)))
    assert len(trained) == len(computed) == 1


@of_the_table
@pytest.mark.parametrize("optimizer", OPTIMIZERS[::2], ids=["SGD", "Adam"])
@pytest.mark.parametrize("batches", [3, longer])
def test_threads_do_not_change_bits_in_the_table(sizes, batch, dtype, optimizer, batches):
    few = THREADS[:3] if batches == 3 else THREADS  # more threads than cores wait long for one another
    assert_threads_do_not_change_bits(sizes, None, batch, dtype, optimizer, batches, few)


@pytest.mark.parametrize(("sizes", "activations", "batch"), NETS)
@with_each
@pytest.mark.parametrize("batches", [5, longer])
@pytest.mark.usefixtures("isa")
@each_isa_slowly
def test_threads_do_not_change_bits(sizes, activations, batch, dtype, optimizer, batches):
    assert_threads_do_not_change_bits(sizes, activations, batch, dtype, optimizer, batches)


@pytest.mark.parametrize(("sizes", "activations", "batch"), NETS)
def test_fma_isas_agree_in_bits(sizes, activations, batch, dtype):
    fma = [isa for isa in COMPILED.isas() if isa in ("avx2", "avx512")]
    if len(fma) < 2:
        pytest.skip("one ISA with FMA here")
    before, X_y = COMPILED.current_isa(), data(sizes, 3 * batch)
    try:
        seen = set()
        for isa in fma:
            COMPILED.force_isa(isa)
            net = fastnn.Network(sizes, activations, dtype=dtype, seed=1, backend="compiled")
            net.fit(*X_y, epochs=3, batch_size=batch)
            seen.add((bits(net), net.predict(X_y[0]).tobytes()))
        assert len(seen) == 1
    finally:
        COMPILED.force_isa(before)


def assert_batches_do_not_change_bits(sizes, activations, batch, dtype):
    X, _ = data(sizes, 70 + 2 * batch)
    net = fastnn.Network(sizes, activations, dtype=dtype, seed=1, backend="compiled", threads=1)
    whole, p = net.predict(X), net.predictor()
    for m in range(1, 71):
        assert (net.predict(X[:, :m]) == whole[:, :m]).all()
    for j in range(70):
        assert (p(X[:, j : j + 1]) == whole[:, j : j + 1]).all()
    assert (net.forward(X, cache=True)[0] == whole).all()
    for threads in THREADS[1:]:
        net = fastnn.Network(sizes, activations, dtype=dtype, seed=1, backend="compiled", threads=threads)
        for m in (1, 2, 33, 70, batch, X.shape[1]):
            assert (net.predict(X[:, :m]) == whole[:, :m]).all()


@of_the_table
def test_a_sample_alone_and_in_a_batch_in_the_table(sizes, batch, dtype):
    assert_batches_do_not_change_bits(sizes, None, batch, dtype)


@pytest.mark.parametrize(("sizes", "activations", "batch"), NETS)
@pytest.mark.usefixtures("isa")
def test_a_sample_alone_and_in_a_batch(sizes, activations, batch, dtype):
    assert_batches_do_not_change_bits(sizes, activations, batch, dtype)


@with_each
def test_a_resumed_run_equals_an_unbroken_one(tmp_path, backend, optimizer):
    X, y = data([20, 30, 5], 300)
    nets = [fastnn.Network([20, 30, 5], seed=4, backend=backend) for _ in range(3)]
    nets[0].fit(X, y, epochs=6, optimizer=optimizer)
    nets[1].fit(X, y, epochs=2, optimizer=optimizer)
    nets[1].fit(X, y, epochs=4, optimizer=optimizer)
    nets[2].fit(X, y, epochs=2, optimizer=optimizer)
    nets[2].save(tmp_path / "half", optimizer=True)
    loaded = fastnn.load(tmp_path / "half", backend=backend)
    loaded.fit(X, y, epochs=4)
    assert state_of(nets[0]) == state_of(nets[1]) == state_of(loaded)


def test_slices_do_not_change_bits(monkeypatch, backend):
    X, y = data([20, 30, 5], 301)
    one = fastnn.Network([20, 30, 5], seed=4, backend=backend)
    one.fit(X, y, epochs=3)
    monkeypatch.setattr(fastnn.training, "_SLICE_SECONDS", 0.0)
    monkeypatch.setattr(fastnn.training, "_FIRST_SLICE_FLOP", 0.0)
    other = fastnn.Network([20, 30, 5], seed=4, backend=backend)
    other.fit(X, y, epochs=3)
    assert bits(one) == bits(other)


@pytest.mark.parametrize("make", [lambda X: X.astype("f8"), np.ascontiguousarray, lambda X: X[::-1][::-1]])
def test_layout_and_dtype_of_X_do_not_change_bits(make, backend):
    X, y = data([20, 30, 5], 100)
    nets = [fastnn.Network([20, 30, 5], seed=4, backend=backend) for _ in range(2)]
    nets[0].fit(X, y, epochs=2)
    nets[1].fit(make(X), y, epochs=2)
    if backend == "compiled":
        assert bits(nets[0]) == bits(nets[1])
    else:  # BLAS rounds by layout
        for (W, b), (W2, b2) in zip(nets[0].parameters, nets[1].parameters, strict=True):
            np.testing.assert_allclose(W, W2, atol=1e-6)
            np.testing.assert_allclose(b, b2, atol=1e-6)


# --- two ways of one step: updates in the tiles of dW, and gradients that are stored first ------------------

EACH_OPTIMIZER = [
    fastnn.SGD(0.05),
    fastnn.SGD(0.05, weight_decay=0.01),
    fastnn.SGD(0.05, momentum=0.9, weight_decay=0.01),
    fastnn.SGD(0.05, momentum=0.9, nesterov=True),
    fastnn.Adam(0.01, weight_decay=0.01),
    fastnn.AdamW(0.01),
    fastnn.NAdam(0.01, weight_decay=0.01),
    fastnn.RMSprop(0.01, weight_decay=0.01),
    fastnn.RMSprop(0.01, momentum=0.9),
    fastnn.Adagrad(0.1, lr_decay=0.1, weight_decay=0.01),
]


@pytest.mark.parametrize("optimizer", EACH_OPTIMIZER, ids=repr)
@each_isa_slowly
@pytest.mark.parametrize("threads", [1, 3])
def test_stored_gradients_give_the_same_bits(isa, dtype, optimizer, threads):
    rng = np.random.default_rng(3)
    X, y, w = rng.standard_normal((20, 77)), rng.integers(0, 5, 77), rng.random(77)
    for sizes, activations in (
        ([20, 5], None),
        ([20, 32, 17, 5], ["tanh", "leaky_relu", "softmax"]),
        ([20, 64, 33, 5], ["softmax", "identity", "softmax"]),
        ([20, 130, 70, 5], ["relu", "sigmoid", "softmax"]),
    ):
        nets = []
        for plain in (False, True):
            net = fastnn.Network(sizes, activations, seed=1, dtype=dtype, backend="compiled", threads=threads)
            net._engine.plain = plain
            net.fit(X, y, epochs=2, batch_size=30, optimizer=optimizer, sample_weight=w, progress=False)
            net.train_step(X, y, optimizer)
            nets.append(net)
        fused, plain = map(state_of, nets)
        assert fused == plain, sizes
