"""X as one of SciPy's sparse matrices or arrays: the numbers of the same X as an array, and no such array is made."""

import itertools
import re
import sys

import numpy as np
import pytest

import reference as ref
from case_helpers import bits, python, state_of
from conftest import COMPILED, each_isa_slowly
from fastnn import SGD, Adagrad, Adam, AdamW, DataWarning, Network, RMSprop, schedules, sparse

scipy_sparse = pytest.importorskip("scipy.sparse")
scipy = sys.modules["scipy"]

N, M = 40, 70
QUIET = {"progress": False}
FORMATS = [
    getattr(scipy_sparse, f"{name}_{kind}")
    for name in ("csr", "csc", "coo", "lil", "dok", "bsr", "dia")
    for kind in ("matrix", "array")
]


def some_numbers(n=N, m=M, share=0.2, seed=0):
    """A dense X with few numbers that are not 0; one feature and one sample have none."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, m)) * (rng.uniform(size=(n, m)) < share)
    X[n // 2] = 0
    X[:, m // 3] = 0
    return X


X, CODES = some_numbers(), np.random.default_rng(1).integers(0, 3, M)
Y, W = np.random.default_rng(2).standard_normal((2, M)), np.random.default_rng(3).uniform(size=M)
CSC = scipy_sparse.csc_array(X)


def tolerance(dtype):
    return {"rtol": 2e-5, "atol": 2e-6} if np.dtype(dtype) == np.float32 else {"rtol": 1e-12, "atol": 1e-13}


def assert_alike(net, other, dtype):
    for layer, wanted in zip(net.parameters, other.parameters, strict=True):
        for T, U in zip(layer, wanted, strict=True):
            np.testing.assert_allclose(T, U, **tolerance(dtype))


def results(net, X):
    """What the calls that only read a network return."""
    A = net.predict(X)
    yield from (A, net.predict_classes(X), net.forward(X), net.predictor()(X), net.predict(X, out=np.empty_like(A)))
    yield from (net.loss(X, CODES), net.loss(X, CODES, W))
    yield from net.evaluate(X, CODES, W, metrics=["auc"]).values()
    for how in ({}, {"sample_weight": W}, {"training": True}):
        loss, gradients = net.gradients(X, CODES, **how)
        yield loss
        for layer in gradients:
            yield from layer


@pytest.mark.parametrize("format", FORMATS, ids=lambda kind: kind.__name__)
def test_each_format_gives_the_bits_of_csc(backend, dtype, format):
    net = Network([N, 9, 3], dtype=dtype, seed=0, backend=backend)
    for got, wanted in zip(results(net, format(X)), results(net, CSC), strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("sizes", [[N, 3], [N, 1, 3], [N, 9, 3], [N, 70, 3], [N, 150, 3]])
def test_calls_give_the_numbers_of_the_array(backend, dtype, sizes):
    net = Network(sizes, dtype=dtype, seed=0, backend=backend)
    for got, wanted in zip(results(net, CSC), results(net, X), strict=True):
        np.testing.assert_allclose(got, wanted, **tolerance(dtype))


@pytest.mark.parametrize(("n", "m", "units"), [(1, 1, 1), (3, 5, 17), (300, 2, 33), (2, 300, 64), (700, 300, 129)])
def test_numbers_are_those_of_the_reference(backend, dtype, n, m, units):
    X = some_numbers(n, m, 0.5, seed=n).astype(dtype)
    y = np.random.default_rng(m).standard_normal((2, m)).astype(dtype)
    kinds, given = ["tanh", "identity"], scipy_sparse.csr_matrix(X)
    net = Network([n, units, 2], kinds, dtype=dtype, seed=1, backend=backend)
    parameters = [tuple(T.astype(np.float64) for T in layer) for layer in net.parameters]
    exact = X.astype(np.float64), y.astype(np.float64)
    last = ref.forward(parameters, kinds, exact[0])[-1]
    ref.assert_close(net.predict(given), (last["A"], last["S_A"]), dtype, "predict")
    ref.assert_close(net.loss(given, y), ref.network_loss(last, "mse", exact[1]), dtype, "loss")
    loss, gradients = net.gradients(given, y)
    wanted, exact = ref.gradients(parameters, kinds, "mse", *exact)
    ref.assert_close(loss, wanted, dtype, "loss of gradients")
    for layer, pairs in zip(gradients, exact, strict=True):
        for T, pair, name in zip(layer, pairs, ("dW", "db"), strict=True):
            ref.assert_close(T, pair, dtype, name)


# --- training -------------------------------------------------------------------------------------------------

TRAINED = {
    "SGD": ({}, SGD(lr=0.1)),
    "momentum": ({}, SGD(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)),
    "weight decay": ({}, SGD(lr=0.1, weight_decay=0.1)),
    "Adam": ({}, Adam(lr=0.01)),
    "AdamW": ({}, AdamW(lr=0.01)),
    "RMSprop": ({}, RMSprop(lr=0.001, momentum=0.5)),
    "Adagrad": ({}, Adagrad(lr=0.01)),
    "clip_norm": ({}, SGD(lr=0.1, clip_norm=0.05)),
    "clip_value and l1": ({}, SGD(lr=0.1, clip_value=0.01, l1=1e-3)),
    "average": ({}, SGD(lr=0.1, average=0.9)),
    "schedule": ({}, SGD(lr=schedules.Cosine(0.1, 3))),
    "dropout": ({"dropout": 0.3}, SGD(lr=0.1)),
    "layer norm": ({"norm": "layer"}, SGD(lr=0.1)),
    "batch norm": ({"norm": "batch"}, SGD(lr=0.1)),
    "softmax": ({"activations": ["softmax", "softmax"]}, SGD(lr=0.1)),
    "gelu": ({"activations": ["gelu", "softmax"]}, SGD(lr=0.1)),
}


@pytest.mark.parametrize("case", TRAINED)
@pytest.mark.parametrize("units", [9, 70])
def test_training_is_that_on_the_array(backend, dtype, case, units):
    settings, optimizer = TRAINED[case]
    one, other = (Network([N, units, 3], dtype=dtype, seed=2, backend=backend, **settings) for _ in range(2))
    losses = []
    for net, given in ((one, CSC), (other, X)):
        history = net.fit(given, CODES, 2, 16, optimizer, sample_weight=W, diagnostics=case == "SGD", **QUIET)
        losses.append(history.loss + net.fit(given, CODES, 1, None, optimizer, shuffle=False, **QUIET).loss)
        losses[-1] += [net.train_step(given, CODES, optimizer) for _ in range(2 * (case != "schedule"))]
    np.testing.assert_allclose(*losses, rtol=1e-4 if dtype == np.float32 else 1e-10)
    wanted = {"rtol": 1e-3, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-8, "atol": 1e-10}
    for layer, of_array in zip(one.parameters, other.parameters, strict=True):
        for T, U in zip(layer, of_array, strict=True):
            np.testing.assert_allclose(T, U, **wanted)


@pytest.mark.skipif(COMPILED is None, reason="the number of threads is the compiled backend's")
@pytest.mark.parametrize("case", TRAINED)
@each_isa_slowly
def test_any_number_of_threads_gives_the_same_bits(dtype, case, isa):
    settings, optimizer = TRAINED[case]
    found = set()
    for threads in (1, 2, 3, 7):
        net = Network([N, 70, 3], dtype=dtype, seed=2, threads=threads, **settings)
        history = net.fit(CSC, CODES, 2, 16, optimizer, **QUIET)
        some = [np.asarray(T).tobytes() for T in results(net, CSC)]
        found.add((*history.loss, *state_of(net), *some))
    assert len(found) == 1


@pytest.mark.filterwarnings("ignore:adapt came after training")
@pytest.mark.skipif(COMPILED is None, reason="the number of threads is the compiled backend's")
@pytest.mark.parametrize("optimizer", [SGD(lr=1e-3), Adam(lr=1e-3)])
@pytest.mark.parametrize("units", [64, 70])
@each_isa_slowly
def test_few_and_most_features_in_a_batch_give_the_same_bits(dtype, units, optimizer, isa):
    """Where most features occur in a batch, they are walked in another order; then the same after adapt."""
    many = [scipy_sparse.csc_array(some_numbers(120, M, share, seed=units)) for share in (0.005, 0.1)]
    found = set()
    for threads in (1, 2, 3, 4):
        net = Network([120, units, 3], dtype=dtype, seed=2, threads=threads)
        for adapts, given in itertools.product((False, True), many):
            if adapts:
                net.adapt(given)
            net.fit(given, CODES, 1, 16, optimizer, **QUIET)
        gradients = net.gradients(given, CODES)[1][0]
        found.add((*state_of(net), *(T.tobytes("F") for T in gradients)))
    assert len(found) == 1


@pytest.mark.skipif(COMPILED is None, reason="the way that stores gradients is the compiled backend's")
@pytest.mark.parametrize("optimizer", [SGD(lr=0.1), SGD(lr=0.1, weight_decay=0.1), Adam(lr=0.01)])
def test_stored_gradients_give_the_same_bits(dtype, optimizer, isa):
    found = set()
    for plain in (False, True):
        net = Network([N, 70, 3], dtype=dtype, seed=2)
        net._engine.plain = plain
        net.fit(CSC, CODES, 3, 16, optimizer, **QUIET)
        found.add(state_of(net))
    assert len(found) == 1


@pytest.mark.parametrize("shuffle", [True, False])
def test_slices_of_fit_and_steps_give_the_same_bits(backend, dtype, shuffle):
    one, other = (Network([N, 9, 3], dtype=dtype, seed=2, backend=backend) for _ in range(2))
    optimizer = Adam(lr=0.01)
    one.fit(CSC, CODES, 2, 16, optimizer, shuffle, callbacks=[lambda *_: None], **QUIET)
    other.fit(scipy_sparse.coo_matrix(X), CODES, 2, 16, optimizer, shuffle, **QUIET)
    assert bits(one) == bits(other)
    if not shuffle:
        steps = Network([N, 9, 3], dtype=dtype, seed=2, backend=backend)
        csr = scipy_sparse.csr_array(X)
        for i in [*range(0, M, 16)] * 2:
            steps.train_step(csr[:, i : i + 16], CODES[i : i + 16], optimizer)
        assert bits(steps) == bits(one)


def test_samples_and_splits_are_those_of_copies(backend, dtype):
    some = np.random.default_rng(4).integers(0, M, 90)  # some are there twice
    one, other = (Network([N, 9, 3], dtype=dtype, seed=2, backend=backend) for _ in range(2))
    how = {"epochs": 2, "batch_size": 16, **QUIET}
    one.fit(CSC, CODES, samples=some, **how)
    other.fit(CSC[:, some], CODES[some], **how)
    assert bits(one) == bits(other)
    histories = [
        net.fit(given, CODES, validation_split=0.2, metrics=["accuracy"], early_stopping=3, **how)
        for net, given in ((one, CSC), (other, scipy_sparse.lil_array(X)))
    ]
    assert bits(one) == bits(other)
    kept = histories[0].validation_samples
    assert histories[0].val_loss[-1] == pytest.approx(one.loss(CSC[:, kept], CODES[kept]), rel=1e-6)
    history = one.fit(CSC, CODES, validation_data=(CSC, CODES), **how)
    assert history.val_loss[-1] == pytest.approx(one.loss(X, CODES), rel=1e-6)


def test_a_frozen_first_layer_stays(backend, dtype):
    net = Network([N, 9, 3], dtype=dtype, seed=2, backend=backend)
    net.trainable = [False, True]
    before = net.parameters
    net.fit(CSC, CODES, 2, optimizer=Adam(), **QUIET)
    np.testing.assert_array_equal(before[0][0], net.parameters[0][0])
    assert (before[1][0] != net.parameters[1][0]).any()


def test_gradient_check_takes_it(backend):
    net = Network([N, 3, 2], ["tanh", "identity"], dtype="float64", seed=0, backend=backend)
    assert net.gradient_check(CSC[:, :5], Y[:, :5]) < 1e-7


def test_dense_and_sparse_steps_may_alternate(backend, dtype):
    one, other = (Network([N, 9, 3], dtype=dtype, seed=2, backend=backend) for _ in range(2))
    for _ in range(3):
        for given in (CSC, X):
            one.train_step(given, CODES, SGD(lr=0.1))
            other.train_step(X, CODES, SGD(lr=0.1))
    assert_alike(one, other, dtype)


# --- what X holds ---------------------------------------------------------------------------------------------


def test_nothing_but_zeros(backend, dtype):
    empty = scipy_sparse.csr_matrix((N, M))
    net = Network([N, 9, 3], ["tanh", "softmax"], dtype=dtype, seed=2, backend=backend)
    np.testing.assert_array_equal(net.predict(empty), net.predict(np.zeros((N, M))))
    dW = net.gradients(empty, CODES)[1][0][0]
    assert not dW.any()
    W, b = net.parameters[0]
    net.fit(empty, CODES, 2, optimizer=SGD(lr=0.1), **QUIET)
    np.testing.assert_array_equal(net.parameters[0][0], W)
    assert (net.parameters[0][1] != b).any()


def test_no_sample(backend, dtype):
    net = Network([N, 9, 3], dtype=dtype, seed=2, backend=backend)
    assert net.predict(scipy_sparse.csc_array((N, 0))).shape == (3, 0)
    with pytest.raises(ValueError, match="X"):
        net.loss(scipy_sparse.csc_array((N, 0)), np.zeros(0, int))
    for _ in range(2):  # a step after one that was made takes a quicker way
        with pytest.raises(ValueError, match="X has 0 samples"):
            net.train_step(scipy_sparse.csc_array((N, 0)), np.zeros(0, np.int32))
        net.train_step(CSC, CODES)


@pytest.mark.parametrize("kind", ["?", "i1", "u8", "f4", "f8", "g"])
def test_any_dtype_is_as_the_array(backend, dtype, kind):
    values = (np.abs(X) * 4).astype(kind)
    net = Network([N, 9, 3], dtype=dtype, seed=2, backend=backend)
    given = scipy_sparse.csr_array(values)
    np.testing.assert_allclose(net.predict(given), net.predict(values.astype(dtype)), **tolerance(dtype))


def test_duplicates_zeros_and_disorder_are_put_in_order(backend, dtype):
    starts, features = np.array([0, 5, 5, 7], np.int64), np.array([3, 1, 3, 0, 2, 4, 1], np.int64)
    values = np.array([1.0, 2, 3, 0, -1, 5, 6])
    messy = scipy_sparse.csc_matrix((values, features, starts), shape=(5, 3))
    array = np.array([[0, 0, 0], [2, 0, 6], [-1, 0, 0], [4, 0, 0], [0, 0, 5.0]])
    tidy = scipy_sparse.csc_matrix(array)
    messy.has_sorted_indices = messy.has_canonical_format = True  # which is wrong
    net = Network([5, 6, 2], dtype=dtype, seed=2, backend=backend)
    np.testing.assert_array_equal(net.predict(messy), net.predict(tidy))
    for one, other in zip(*(net.gradients(given, [0, 1, 1])[1] for given in (messy, tidy)), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(messy.data, values)  # the caller's is as it was
    np.testing.assert_array_equal(messy.indices, features)


def test_a_plain_csc_is_not_copied_but_for_its_index():
    given = scipy_sparse.csc_array(X)
    read = sparse.read(given, Network([N, 2])._engine, "X")
    assert np.shares_memory(read.values, given.data)
    assert not np.shares_memory(read.features, given.indices)
    assert (read.features.dtype, read.starts.dtype) == (np.int32, np.int64)
    part = read.columns(slice(5, 20))
    assert np.shares_memory(part.values, given.data)
    np.testing.assert_array_equal(part.matrix().toarray(), X[:, 5:20])
    np.testing.assert_array_equal(read.columns(slice(60, 2, -7)).matrix().toarray(), X[:, 60:2:-7])
    np.testing.assert_array_equal(read.columns(np.array([7, 7, 0])).matrix().toarray(), X[:, [7, 7, 0]])


def test_strided_values_and_other_byte_orders(backend):
    given = scipy_sparse.csc_array(X)
    given.data = np.repeat(given.data, 2)[::2].astype(">f8")
    given.indices = given.indices.astype(np.int64)
    net = Network([N, 9, 3], dtype="float64", seed=2, backend=backend)
    np.testing.assert_array_equal(net.predict(given), net.predict(CSC))


def test_many_numbers_a_sample_are_summed_as_exactly(backend):
    rng = np.random.default_rng(0)
    X = rng.uniform(0.5, 1, (20_000, 3)).astype("f4")
    net = Network([20_000, 2], ["identity"], loss="mse", dtype="float32", init="zeros", seed=0, backend=backend)
    net.set_parameters([(rng.uniform(0.5, 1, (2, 20_000)), [0, 0])])
    given, wanted = scipy_sparse.csc_array(X), net.parameters[0][0].astype("f8") @ X
    np.testing.assert_allclose(net.predict(given), wanted, rtol=2e-6)
    many = Network([3, 2], ["identity"], loss="mse", dtype="float32", init="zeros", seed=0, backend=backend)
    y = rng.uniform(0.5, 1, (2, 20_000)).astype("f4")
    dW = many.gradients(scipy_sparse.csc_array(X.T), y)[1][0][0]
    np.testing.assert_allclose(dW, -2 * (y.astype("f8") @ X) / 20_000, rtol=2e-6)


# --- mistakes -------------------------------------------------------------------------------------------------


def test_wrong_shapes_say_what_to_write(backend):
    net = Network([N, 9, 3], seed=2, backend=backend)
    for call in (net.predict, lambda given: net.fit(given, CODES), lambda given: net.train_step(given, CODES)):
        with pytest.raises(ValueError, match=rf"X has shape \({M}, {N}\).*did you mean X\.T\?"):
            call(CSC.T)
    with pytest.raises(ValueError, match=r"validation_data\[0\] has shape"):
        net.fit(CSC, CODES, validation_data=(CSC.T, CODES))
    with pytest.raises(ValueError, match=r"X has shape .*write X\.toarray\(\)\[:, None\]"):
        net.predict(scipy_sparse.coo_array(X[:, 0]))
    with pytest.raises(TypeError, match="complex"):
        net.predict(CSC.astype(complex))


def test_what_takes_arrays_only_says_so(backend):
    net = Network([N, 9, 3], seed=2, backend=backend)
    with pytest.raises(TypeError, match=r"X\.toarray\(\)"):
        net.forward(CSC, cache=True)
    with pytest.raises(TypeError, match=r"y, a scipy\.sparse.* is sparse; .* write y\.toarray\(\)"):
        net.loss(X, scipy_sparse.csr_matrix(np.eye(3)[CODES].T))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_values_that_are_not_finite_are_named(backend, bad):
    given = scipy_sparse.csc_array(X)
    feature, sample = 7, int(np.flatnonzero(X[7])[2])
    given[feature, sample] = bad
    net = Network([N, 9, 3], dtype="float32", seed=2, backend=backend)
    where = rf"X has 1 non-finite value, first at column {sample} \(sample {sample}, feature {feature}\)"
    before = state_of(net)
    for call in (net.fit, net.train_step, lambda given, y: net.fit(given, y, samples=np.arange(sample, M))):
        with pytest.raises(ValueError, match=where):
            call(given, CODES)
        assert state_of(net) == before
    others = np.arange(M) != sample
    assert np.isfinite(net.predict(given)[:, others]).all()
    if np.isnan(bad):
        assert np.isnan(net.predict(given)[:, sample]).all()


@pytest.mark.parametrize("format", ["csc_array", "csr_matrix", "coo_array"])
def test_a_list_of_sparse_samples_is_told_how_to_be_one(either_backend, format):
    net = Network([N, 9, 3], seed=2, backend=either_backend)
    make, wanted = getattr(scipy_sparse, format), net.predict(CSC)
    columns = [make(X[:, j : j + 1]) for j in range(M)]
    rows = [make(X[:, j : j + 1].T) for j in range(M)]
    flat = [scipy_sparse.coo_array(X[:, j]) for j in range(M)]
    for given, words in (
        (columns, "scipy.sparse.hstack(X)"),
        (tuple(columns), "scipy.sparse.hstack(X)"),
        (rows, "scipy.sparse.vstack(X).T"),
        (flat, "scipy.sparse.vstack(X).T"),
    ):
        for call in (net.predict, lambda X: net.fit(X, CODES), net.adapt, lambda X: net.train_step(X, CODES)):
            with pytest.raises(TypeError, match=f"X .*write {re.escape(words)}$") as caught:
                call(given)
            assert "\n" not in str(caught.value)
        advised = eval(words, {"scipy": scipy, "X": given})
        np.testing.assert_array_equal(net.predict(advised), wanted)


def damaged(format):
    """Matrices of that format whose lists do not fit their shape, as a mistake in making them leaves them."""
    for place, value in ((3, max(N, M)), (3, -1), (-1, 2**30)):
        given = format(X)
        if given.format in ("csc", "csr", "bsr"):
            given.indices[place] = value
        elif given.format == "coo":
            (given.row if place == 3 else given.col)[place] = value
        elif given.format == "lil":
            given.rows[0][place % len(given.rows[0])] = value
        elif given.format == "dok":
            given._dict[value, 0] = 1.0
        else:
            given.offsets = given.offsets[:-1]
        yield given
    if format(X).format in ("csc", "csr", "bsr"):
        for change in (lambda p: p + 1, lambda p: p[:-1], lambda p: p[::-1], lambda p: np.append(p[:-1], p[-1] + 100)):
            given = format(X)
            given.indptr = np.ascontiguousarray(change(given.indptr))
            yield given
        given = format(X)
        given.indptr[5] = given.indptr[-1]
        yield given
        for change in (lambda p: p[:, np.newaxis][:, :0], lambda p: p + 0.5):
            given = format(X)
            given.indices = change(given.indices)
            yield given
        given = format(X)
        given.indptr = given.indptr[:, np.newaxis]
        yield given
    if format(X).format in ("csc", "csr", "coo"):
        for width in (0, 2):
            given = format(X)
            given.data = np.ones((len(given.data), width))
            yield given
    if format(X).format == "lil":
        for times in (0, 100):
            given = format(X)
            given.data[0] = given.data[0] * times
            yield given


@pytest.mark.parametrize("format", FORMATS, ids=lambda kind: kind.__name__)
def test_damaged_lists_are_refused(backend, format):
    """SciPy's own conversions would write by them, wherever they point to."""
    net = Network([N, 9, 3], seed=2, backend=backend)
    for given in damaged(format):
        with pytest.raises(ValueError, match=r"X has lists of indices that do not fit its shape"):
            net.predict(given)
        with pytest.raises(ValueError, match=r"X has lists of indices that do not fit its shape"):
            net.train_step(given, CODES)


def test_large_values_are_warned_of():
    net = Network([N, 9, 3], seed=2)
    with pytest.warns(DataWarning, match=r"X holds values of up to .*X = X / abs\(X\)\.max\(\); or call net\.adapt"):
        net.fit(CSC * 1000, CODES, optimizer=SGD(lr=1e-9), **QUIET)
    with pytest.warns(DataWarning, match=r"X holds values .*net\.adapt\(X\)") as caught:
        Network([N, 9, 3], seed=2).fit([(CSC * 1000, CODES)], optimizer=SGD(lr=1e-9), **QUIET)
    assert "max()" not in str(caught[0].message)  # it would scale each batch by another number


def test_a_divergence_says_so(backend):
    def new():
        return Network([N, 9, 2], ["relu", "identity"], loss="mse", seed=2, backend=backend)

    with pytest.raises(FloatingPointError, match="diverged"):
        new().fit(CSC, Y, 50, optimizer=SGD(lr=1e6), **QUIET)
    net = new()
    before = state_of(net)
    with pytest.raises(FloatingPointError, match="diverged"):
        net.train_step(CSC, Y * 1e10, SGD(lr=1e30))
    assert state_of(net) == before
    # A mean of 0 would make an array of it.
    advice = r"call net\.adapt\(X\) before training, or divide it by its largest number, or try a smaller"
    with pytest.raises(FloatingPointError, match=advice):
        net.train_step(CSC * 1e10, Y, SGD(lr=1e30))


def test_a_divergence_of_large_values_says_what_helps(backend):
    def new():
        return Network([N, 9, 2], ["relu", "identity"], loss="mse", seed=2, backend=backend)

    large, says = CSC * 1e15, r"net\.adapt\(X\) before training, or divide it by its largest number"
    with pytest.warns(DataWarning), pytest.raises(FloatingPointError, match=says):
        new().fit(large, Y, 50, optimizer=SGD(lr=1.0), **QUIET)
    net = new()
    net.set_parameters([(1e30 * W, b) for W, b in net.parameters])
    with pytest.raises(FloatingPointError, match=says):
        net.train_step(large, Y, SGD(lr=1.0))
    net = new()
    net.adapt(large)
    assert np.isfinite(net.fit(large, Y, 3, optimizer=SGD(lr=0.01), **QUIET).loss[-1])


# --- memory, and SciPy ----------------------------------------------------------------------------------------

LARGE = """
import resource, numpy as np, scipy.sparse, fastnn
rng = np.random.default_rng(0)
n, m, each = 200_000, 20_000, 5
features = rng.integers(0, n, m * each)
X = scipy.sparse.csc_array((rng.standard_normal(m * each, "f4"), features, np.arange(0, m * each + 1, each)), (n, m))
y = rng.integers(0, 2, m)
net = fastnn.Network([n, 4, 1], seed=0, backend=BACKEND)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
net.predict(X), net.loss(X, y), net.gradients(X[:, :500], y[:500])
net.fit(X, y, 1, 2000, validation_split=0.1, progress=False)
net.adapt(X)
net.predict(X), net.fit(X, y, 1, 5000, progress=False)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux")
def test_x_is_never_an_array(either_backend):
    """It would take 16 GB."""
    said = python(LARGE.replace("BACKEND", repr(either_backend)), either_backend)
    assert int(said) < 200


THREADS = """
import os, numpy, scipy.sparse, fastnn
X = scipy.sparse.csc_array(numpy.ones((200, 2000)))
net = fastnn.Network([200, 3], seed=0, threads=FORCED)
before = len(os.listdir("/proc/self/task"))
net.predict(X)
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(sys.platform != "linux" or COMPILED is None, reason="/proc and the compiled backend")
@pytest.mark.parametrize("forced", [1, 2])
def test_many_numbers_take_no_more_threads_than_the_network(forced):
    assert int(python(THREADS.replace("FORCED", str(forced)), "compiled")) < forced


def test_scipy_is_not_imported():
    code = """
import sys, numpy as np, fastnn
net = fastnn.Network([3, 2], seed=0)
net.fit(np.ones((3, 4)), [0, 1, 1, 0], progress=False)
net.predict(np.ones((3, 4)))
assert not any(name.partition(".")[0] == "scipy" for name in sys.modules)
print("not imported")
"""
    assert python(code, "auto").strip() == "not imported"
