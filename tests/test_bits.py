"""The compiled network gives the same bits for any number of threads, any batch, and after a break."""

import numpy as np
import pytest

import fastnn
from conftest import COMPILED

pytestmark = pytest.mark.skipif(COMPILED is None, reason="a promise of the compiled backend")

NETS = [
    ([4, 64, 64, 2], None, 64),
    ([30, 16, 2], None, 64),
    ([64, 32, 10], None, 32),
    ([64, 100, 10], ["tanh", "softmax"], 200),
    ([200, 128, 10], ["softmax", "sigmoid"], 33),
    ([70, 65, 33, 1], ["sigmoid", "relu", "identity"], 50),
    ([3, 1], None, 7),
]


def bits(net):
    return b"".join(a.tobytes() for pair in net.parameters for a in pair)


def data(sizes, m, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, max(2, sizes[-1]), m)
    return rng.standard_normal((m, sizes[0])).astype("f4").T, y


@pytest.mark.parametrize("isa", COMPILED.isas() if COMPILED else [])
@pytest.mark.parametrize(("sizes", "activations", "batch"), NETS)
def test_threads_do_not_change_bits(isa, sizes, activations, batch, dtype, monkeypatch):
    before = COMPILED.current_isa()
    COMPILED.force_isa(isa)
    try:
        X, y = data(sizes, 5 * batch - 3)
        seen, losses = set(), set()
        for threads in (1, 2, 3, 7):
            net = fastnn.Network(sizes, activations, dtype=dtype, seed=1, backend="compiled", threads=threads)
            history = net.fit(X, y, epochs=4, batch_size=batch, optimizer=fastnn.SGD(lr=0.05))
            seen.add(bits(net))
            loss, gradients = net.gradients(X, y)
            losses.add((tuple(history.loss), loss, net.loss(X, y), *(a.tobytes() for g in gradients for a in g)))
        assert len(seen) == len(losses) == 1
    finally:
        COMPILED.force_isa(before)


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


@pytest.mark.parametrize(("sizes", "activations", "batch"), NETS)
def test_a_sample_alone_and_in_a_batch(sizes, activations, batch, dtype):
    net = fastnn.Network(sizes, activations, dtype=dtype, seed=1, backend="compiled")
    X, _ = data(sizes, 70)
    whole = net.predict(X)
    p = net.predictor()
    for m in range(1, 71):
        assert (net.predict(X[:, :m]) == whole[:, :m]).all()
    for j in range(70):
        assert (p(X[:, j : j + 1]) == whole[:, j : j + 1]).all()
    assert (net.forward(X, cache=True)[0] == whole).all()


def test_a_resumed_run_equals_an_unbroken_one(tmp_path, backend):
    X, y = data([20, 30, 5], 300)
    nets = [fastnn.Network([20, 30, 5], seed=4, backend=backend) for _ in range(3)]
    nets[0].fit(X, y, epochs=6)
    nets[1].fit(X, y, epochs=2)
    nets[1].fit(X, y, epochs=4)
    nets[2].fit(X, y, epochs=2)
    nets[2].save(tmp_path / "half")
    loaded = fastnn.load(tmp_path / "half", backend=backend)
    loaded.fit(X, y, epochs=4)
    assert bits(nets[0]) == bits(nets[1]) == bits(loaded)


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
