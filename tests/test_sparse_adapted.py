"""A sparse X of a network that standardises: the numbers of the same X as an array, which is never made."""

import copy

import numpy as np
import pytest

import fastnn
import reference as ref
from case_helpers import bits, state_of
from conftest import COMPILED, each_isa_slowly
from fastnn import SGD, Adam, Network

scipy_sparse = pytest.importorskip("scipy.sparse")

N, M = 31, 60
QUIET = {"progress": False}


def mixed(m=M, seed=0):
    """(N, m): features with few numbers, others with many; of one mean is 1e6 and the deviation 1."""
    rng = np.random.default_rng(seed)
    share = np.linspace(0.02, 1, N)[:, np.newaxis]
    X = (rng.standard_normal((N, m)) + 1.5) * 10.0 ** rng.integers(-2, 3, (N, 1))
    X *= rng.uniform(size=(N, m)) < share
    X[3] = 1e6 + rng.standard_normal(m)
    X[7], X[8], X[9] = 0, 2.5, 0  # constant, and nothing in it
    X[9, 1] = 4  # a single number
    X[10, : m // 2] = -1e6 + rng.standard_normal(m // 2)  # two groups far apart
    X[:, 5] = 0
    X[8, 5] = 2.5
    return X


X, CODES = mixed(), np.random.default_rng(1).integers(0, 3, M)
Y, W = np.random.default_rng(2).standard_normal((3, M)), np.random.default_rng(3).uniform(size=M)
CSC = scipy_sparse.csc_array(X)
FEW = scipy_sparse.csc_array(X * (np.arange(N) < 12)[:, np.newaxis])  # features that adapt saw full are empty here


def adapted(dtype="float64", backend="auto", sizes=(N, 9, 3), activations=("tanh", "identity"), loss="mse", **more):
    net = Network(list(sizes), list(activations), loss, dtype=dtype, seed=4, backend=backend, **more)
    net.adapt(CSC)
    return net


def standardised(net, given):
    mean, scale = net.standardisation[:2]
    return (given.toarray() - mean) / scale


# --- what adapt measures --------------------------------------------------------------------------------------

KINDS = ["csr_matrix", "csc_array", "coo_matrix", "lil_array", "dok_matrix", "bsr_array", "dia_matrix"]


@pytest.mark.parametrize("kind", KINDS)
def test_adapt_measures_what_the_array_has(either_backend, kind):
    one, other = (Network([N, 2], ["identity"], "mse", backend=either_backend) for _ in range(2))
    one.adapt(getattr(scipy_sparse, kind)(X), Y[:2])
    other.adapt(X, Y[:2])
    for found, wanted in zip(one.standardisation, other.standardisation, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-300)
    assert one.standardisation[1][[7, 8]].ravel().tolist() == [1, 1]


@pytest.mark.parametrize("kind", ["?", "u1", "i8", "f2", "f4", "g"])
def test_adapt_takes_any_dtype(either_backend, kind):
    values = np.abs(np.clip(X, -9, 9) * 8).astype(kind)
    one, other = (Network([N, 2], ["identity"], "mse", backend=either_backend) for _ in range(2))
    one.adapt(scipy_sparse.csr_array(values if kind != "f2" else values.astype("f4")))
    other.adapt(values)
    for found, wanted in zip(one.standardisation[:2], other.standardisation[:2], strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-13)


def test_many_blocks_are_one_measurement(monkeypatch):
    monkeypatch.setattr(fastnn.sparse, "_BLOCK", 10)
    net = Network([N, 2], ["identity"], "mse")
    net.adapt(scipy_sparse.csr_array(X))
    read = fastnn.sparse.read(CSC, net._engine, "X")
    assert len(read.blocks()) > 10
    assert sum(block.stop - block.start for block in read.blocks()) == M
    np.testing.assert_allclose(net.standardisation[0], X.mean(axis=1, keepdims=True), rtol=1e-13)
    np.testing.assert_allclose(net.standardisation[1][[3, 20, 30], 0], X.std(axis=1)[[3, 20, 30]], rtol=1e-9)


@pytest.mark.parametrize("given", [scipy_sparse.csr_array((N, 1)), scipy_sparse.csc_matrix((N, 40))])
def test_adapt_on_nothing_but_zeros(backend, dtype, given):
    net = adapted(dtype, backend)
    net.adapt(given)
    assert not net.standardisation[0].any()
    assert (net.standardisation[1] == 1).all()
    np.testing.assert_allclose(net.predict(CSC), net.predict(X), rtol=1e-4 if dtype == np.float32 else 1e-10)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_adapt_refuses_what_is_not_finite(either_backend, bad):
    given = scipy_sparse.lil_array(X)
    given[12, 30] = bad
    net = Network([N, 2], ["identity"], "mse", backend=either_backend)
    with pytest.raises(ValueError, match=r"X has 1 non-finite value, first at column 30 \(sample 30, feature 12\)"):
        net.adapt(given)
    assert net.standardisation is None


# --- the numbers of the standardised array ----------------------------------------------------------------------


@pytest.mark.parametrize("given", ["as measured", "emptier", "one sample", "no number"])
@pytest.mark.parametrize("sizes", [(N, 3), (N, 9, 3), (N, 70, 3)])
def test_predictions_and_gradients_are_those_of_standardised_samples(backend, dtype, sizes, given):
    many = {"as measured": CSC, "emptier": FEW, "one sample": CSC[:, 20:21], "no number": FEW[:, 5:6] * 0}[given]
    kinds = ["tanh", "identity"][-len(sizes) + 1 :]
    net = adapted(dtype, backend, sizes, kinds)
    parameters = [tuple(T.astype(np.float64) for T in layer) for layer in net.parameters]
    exact, y = standardised(net, many), Y[:, : many.shape[1]]
    last = ref.forward(parameters, kinds, exact)[-1]
    ref.assert_close(net.predict(many), (last["A"], last["S_A"]), dtype, "predict")
    ref.assert_close(net.loss(many, y), ref.network_loss(last, "mse", y), dtype, "loss")
    loss, gradients = net.gradients(many, y)
    wanted, of_layers = ref.gradients(parameters, kinds, "mse", exact, y)
    ref.assert_close(loss, wanted, dtype, "loss of gradients")
    for layer, pairs in zip(gradients, of_layers, strict=True):
        for T, pair, name in zip(layer, pairs, ("dW", "db"), strict=True):
            ref.assert_close(T, pair, dtype, name)


TRAINED = {
    "SGD": ({}, SGD(lr=0.05)),
    "weight decay": ({}, SGD(lr=0.05, weight_decay=0.1)),
    "momentum": ({}, SGD(lr=0.02, momentum=0.9)),
    "Adam": ({}, Adam(lr=0.01)),
    "clip_norm": ({}, SGD(lr=0.1, clip_norm=0.05)),
    "dropout": ({"dropout": 0.3}, SGD(lr=0.05)),
    "layer norm": ({"norm": "layer"}, SGD(lr=0.05)),
    "batch norm": ({"norm": "batch"}, SGD(lr=0.05)),
}


@pytest.mark.parametrize("case", TRAINED)
def test_training_is_that_on_the_array(backend, dtype, case):
    settings, optimizer = TRAINED[case]
    one, other = (adapted(dtype, backend, (N, 40, 3), **settings) for _ in range(2))
    losses = []
    for net, given in ((one, CSC), (other, X)):
        net.adapt(given, Y)
        found = net.fit(given, Y, 2, 16, optimizer, sample_weight=W, diagnostics=case == "SGD", **QUIET).loss
        found += net.fit(given, Y, 1, None, optimizer, shuffle=False, **QUIET).loss
        losses.append(found + [net.train_step(given, Y, optimizer) for _ in range(2)])
    np.testing.assert_allclose(*losses, rtol=1e-4 if dtype == np.float32 else 1e-10)
    wanted = {"rtol": 1e-3, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-8, "atol": 1e-10}
    for layer, of_array in zip(one.parameters, other.parameters, strict=True):
        for T, U in zip(layer, of_array, strict=True):
            np.testing.assert_allclose(T, U, **wanted)


@pytest.mark.skipif(COMPILED is None, reason="the number of threads is the compiled backend's")
@pytest.mark.parametrize("case", ["SGD", "Adam", "clip_norm", "batch norm"])
@each_isa_slowly
def test_any_number_of_threads_gives_the_same_bits(dtype, case, isa):
    settings, optimizer = TRAINED[case]
    found = set()
    for threads in (1, 2, 3, 7):
        net = adapted(dtype, "compiled", (N, 70, 3), threads=threads, **settings)
        history = net.fit(CSC, Y, 2, 16, optimizer, **QUIET)
        some = [net.predict(CSC), net.loss(CSC, Y), *net.gradients(CSC, Y)[1][0], *net.backward(CSC, Y)[1:]]
        found.add((*history.loss, *state_of(net), *(np.asarray(T).tobytes("F") for T in some)))
    assert len(found) == 1


@pytest.mark.skipif(COMPILED is None, reason="bits are the compiled backend's")
def test_a_sample_alone_has_the_bits_of_its_batch(dtype, isa):
    net = adapted(dtype, "compiled", (N, 70, 3))
    A = net.predict(CSC)
    p = net.predictor()
    for j in (0, 5, 33, M - 1):
        assert net.predict(CSC[:, [j]]).tobytes() == A[:, j].tobytes() == p(CSC[:, [j]]).tobytes()
    assert copy.deepcopy(net).predict(CSC).tobytes() == A.tobytes()


@pytest.mark.skipif(COMPILED is None, reason="the way that stores gradients is the compiled backend's")
@pytest.mark.parametrize("optimizer", [SGD(lr=0.1), Adam(lr=0.01)])
def test_stored_gradients_give_the_same_bits(dtype, optimizer, isa):
    found = set()
    for plain in (False, True):
        net = adapted(dtype, "compiled", (N, 70, 3))
        net._engine.plain = plain
        net.fit(CSC, Y, 3, 16, optimizer, **QUIET)
        found.add(state_of(net))
    assert len(found) == 1


def test_adapt_and_another_x_in_between(backend, dtype):
    """A plan of a step, or memory of its lists, must not be used for another kind of X."""
    one, other = (Network([N, 9, 3], ["tanh", "identity"], "mse", dtype=dtype, seed=4, backend=backend) for _ in "ab")
    small = scipy_sparse.csc_array(X / 1e7)
    for net, kinds in ((one, (small, CSC, FEW)), (other, tuple(S.toarray() for S in (small, CSC, FEW)))):
        net.train_step(kinds[0], Y, SGD(lr=0.01))
        net.adapt(kinds[1])
        for given in (kinds[1], kinds[2], X, kinds[1]):
            net.train_step(given, Y, SGD(lr=1e-4))
        net.adapt(kinds[2])
        net.fit(kinds[2], Y, 1, 16, **QUIET)
    for layer, wanted in zip(one.parameters, other.parameters, strict=True):
        for T, U in zip(layer, wanted, strict=True):
            np.testing.assert_allclose(T, U, rtol=1e-3, atol=1e-4 if dtype == np.float32 else 1e-9)


def test_a_step_after_another_adapt_is_that_of_the_array(backend):
    rng = np.random.default_rng(0)
    some = [rng.standard_normal((900, M)) * (rng.uniform(size=(900, M)) < share) for share in (0.01, 0.1)]
    kinds = ["tanh", "identity"]
    one, other = (Network([900, 9, 3], kinds, "mse", dtype="float64", seed=4, backend=backend) for _ in "ab")
    for given in some * 2:
        lists = scipy_sparse.csr_array(given)
        one.adapt(lists)
        other.adapt(given)
        loss = other.train_step(given, Y, SGD(lr=1e-3))
        assert one.train_step(lists, Y, SGD(lr=1e-3)) == pytest.approx(loss, rel=1e-9)
    np.testing.assert_allclose(one.parameters[0][0], other.parameters[0][0], rtol=1e-8, atol=1e-10)


@pytest.mark.filterwarnings("ignore:adapt came after training")
def test_adapt_in_a_callback_acts_from_the_next_epoch_on(backend):
    one, other = (
        Network([N, 9, 3], ["tanh", "identity"], "mse", dtype="float64", seed=4, backend=backend) for _ in "ab"
    )
    values = np.clip(X, -2, 2)

    def fit(net, given):
        def begin(epoch, history):
            if epoch == 0:
                net.adapt(given)

        net.fit(given, Y, 3, 16, SGD(lr=0.01), callbacks=[begin], validation_data=(given, Y), **QUIET)

    fit(one, scipy_sparse.csr_array(values))
    fit(other, values)
    for layer, wanted in zip(one.parameters, other.parameters, strict=True):
        np.testing.assert_allclose(layer[0], wanted[0], rtol=1e-8, atol=1e-10)


# --- what the lists hold ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["f4", "f8", "u1", "?", "i8"])
def test_values_of_any_dtype_are_standardised_in_float64(backend, dtype, kind):
    values = np.abs(np.clip(X, -30, 30) * 8).astype(kind)
    net = Network([N, 9, 3], ["tanh", "identity"], "mse", dtype=dtype, seed=4, backend=backend)
    net.adapt(values)
    given = scipy_sparse.csr_array(values)
    given.indices = given.indices.astype(np.int64)
    exact = standardised(net, scipy_sparse.csc_array(values.astype("f8")))
    parameters = [tuple(T.astype(np.float64) for T in layer) for layer in net.parameters]
    last = ref.forward(parameters, ["tanh", "identity"], exact)[-1]
    ref.assert_close(net.predict(given), (last["A"], last["S_A"]), dtype, "predict")


def test_duplicates_and_zeros_that_are_stored(backend, dtype):
    values, starts = np.array([1.0, 2, 3, 0, -1, 5, 6]), np.array([0, 5, 5, 7])
    messy = scipy_sparse.csc_matrix((values, np.array([3, 1, 3, 0, 2, 4, 1]), starts), shape=(5, 3))
    stored = scipy_sparse.csc_array((values, np.array([0, 1, 2, 3, 4, 0, 4]), starts), shape=(5, 3))
    for given in (messy, stored):
        net = Network([5, 6, 2], ["tanh", "identity"], "mse", dtype=dtype, seed=2, backend=backend)
        net.adapt(given)
        twin = Network([5, 6, 2], ["tanh", "identity"], "mse", dtype=dtype, seed=2, backend=backend)
        twin.adapt(given.toarray())
        np.testing.assert_allclose(net.standardisation[1], twin.standardisation[1], rtol=1e-13)
        tolerance = {"rtol": 2e-5, "atol": 2e-6} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-13}
        np.testing.assert_allclose(net.predict(given), twin.predict(given.toarray()), **tolerance)
        np.testing.assert_allclose(
            net.gradients(given, np.ones((2, 3)))[1][0][0],
            twin.gradients(given.toarray(), np.ones((2, 3)))[1][0][0],
            **tolerance,
        )


def test_a_nan_stays_in_its_sample(backend, dtype):
    net = adapted(dtype, backend)
    for feature in (3, 4):  # one with a large mean, and one without
        values = X.copy()
        values[feature, 20] = np.nan
        given = scipy_sparse.csc_array(values)
        A = net.predict(given)
        assert np.isnan(A[:, 20]).all()
        assert np.isfinite(np.delete(A, 20, axis=1)).all()
        before = bits(net)
        with pytest.raises(ValueError, match=rf"X has 1 non-finite value.*sample 20, feature {feature}"):
            net.train_step(given, Y)
        assert bits(net) == before


def test_all_features_may_have_large_means(backend, dtype):
    rng = np.random.default_rng(5)
    full = 100 + rng.standard_normal((200, 40))
    net = Network([200, 5, 2], ["tanh", "identity"], "mse", dtype=dtype, seed=0, backend=backend)
    net.adapt(full)
    few = scipy_sparse.random_array((200, 40), density=0.1, rng=rng)
    parameters = [tuple(T.astype(np.float64) for T in layer) for layer in net.parameters]
    last = ref.forward(parameters, ["tanh", "identity"], standardised(net, few))[-1]
    ref.assert_close(net.predict(few), (last["A"], last["S_A"]), dtype, "predict")
