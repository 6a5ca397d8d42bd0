"""adapt: what it measures, and predictions, losses, gradients, files and errors of a network that standardises."""

import copy
import pickle
import threading

import numpy as np
import pytest

import fastnn
import reference as ref
from case_helpers import bits, weights_unchanged
from conftest import COMPILED
from fastnn import SGD, Network, passes, standardisation, training

M = 50
NET = [5, 7, 3], ["tanh", "identity"], "mse"


def raw(rng, n=5, m=M):
    """Features of different units, (n, m)."""
    return rng.standard_normal((n, m)) * 10.0 ** np.arange(n)[:, np.newaxis] + 3.0


def adapted(rng, dtype="float64", with_y=True, backend="auto", sizes=NET[0], loss="mse", **more):
    """A network, its data in the user's units, and the same standardised in float64."""
    net = Network(list(sizes), ["tanh", "identity"], loss, dtype=dtype, seed=1, backend=backend, **more)
    X, Y = raw(rng, sizes[0]), 1000 + 30 * rng.standard_normal((sizes[-1], M))
    net.adapt(X, Y if with_y else None)
    x_mean, x_scale, y_mean, y_scale = net.standardisation
    return net, X, Y, (X - x_mean) / x_scale, (Y - y_mean) / y_scale if with_y else Y


def plain_twin(net):
    """A network with the same parameters that does not standardise."""
    return copy_without(net, "standardisation")


def copy_without(net, key):
    twin = object.__new__(Network)
    twin.__setstate__(net.__getstate__() | {key: None})
    return twin


@pytest.mark.parametrize("dtype_of_X", ["float64", "float32", "float16", "int64", "uint8", "bool"])
def test_it_measures_mean_and_standard_deviation(either_backend, rng, dtype_of_X):
    X = rng.integers(0, 2 if dtype_of_X == "bool" else 200, (4, 3001)).astype(dtype_of_X)
    net = Network([4, 2], ["identity"], "mse", backend=either_backend)
    assert net.standardisation is None
    net.adapt(X)
    mean, scale, y_mean, y_scale = net.standardisation
    np.testing.assert_allclose(mean, X.astype(np.float64).mean(axis=1, keepdims=True), rtol=1e-14)
    np.testing.assert_allclose(scale, X.astype(np.float64).std(axis=1, keepdims=True), rtol=1e-13)
    assert y_mean is y_scale is None
    with pytest.raises(ValueError, match="read-only"):
        mean[0] = 0


def test_many_blocks_are_one_measurement(rng):
    X = 1e6 + rng.standard_normal((300, 5000))
    mean, scale = standardisation._mean_and_scale(X, "X", "feature")
    np.testing.assert_allclose(mean, X.mean(axis=1, keepdims=True), rtol=1e-15)
    np.testing.assert_allclose(scale, (X - 1e6).std(axis=1, keepdims=True), rtol=1e-10)


def test_a_constant_feature_gets_scale_1(either_backend, rng):
    X = np.stack([np.full(M, 0.1), rng.standard_normal(M), np.full(M, -1e300), np.zeros(M)])
    net = Network([4, 2], ["identity"], "mse", backend=either_backend)
    net.adapt(X)
    mean, scale, *_ = net.standardisation
    assert scale[[0, 2, 3], 0].tolist() == [1, 1, 1]
    assert mean[[0, 2, 3], 0].tolist() == [0.1, -1e300, 0]
    assert scale[1] != 1


@pytest.mark.parametrize("norm", [None, "layer"])
@pytest.mark.parametrize("with_y", [False, True])
@pytest.mark.parametrize("layout", ["C", "F", "float32 rows", "float32", "every second", "backwards"])
def test_predictions_are_those_of_standardised_samples(backend, dtype, rng, layout, with_y, norm):
    net, X, *_ = adapted(rng, dtype, with_y, backend, norm=norm)
    if "float32" in layout:
        X = X.astype(np.float32)
    X = {"C": X, "F": np.asfortranarray(X), "float32 rows": np.asfortranarray(X)}.get(layout, X)
    X = X[:, ::2] if "every" in layout else X[::-1][:, ::-1][::-1] if layout == "backwards" else X
    x_mean, x_scale, y_mean, y_scale = net.standardisation
    kinds = [(kind, None) for kind in (norm, None)]
    layers = ref.forward(net.parameters, net.activations, (X.astype(np.float64) - x_mean) / x_scale, norms=kinds)
    wanted, S = layers[-1]["A"], layers[-1]["S_A"]
    if with_y:
        wanted, S = wanted * y_scale + y_mean, S * y_scale + np.abs(y_mean)
    ref.assert_close(net.predict(X), (wanted, S), dtype, "A")
    assert net.predict(X).tobytes("F") == net.predictor()(X).tobytes("F") == net.forward(X).tobytes("F")
    A, caches = net.forward(X, cache=True)
    assert A.tobytes("F") == net.predict(X).tobytes("F")
    rounding = np.finfo(dtype).eps
    np.testing.assert_allclose(caches[0]["A_prev"], (X - x_mean) / x_scale, rtol=2 * rounding, atol=4 * rounding)


def test_both_backends_read_the_same_numbers(dtype, rng):
    """A layer that copies its input shows the standardised numbers, to the last bit."""
    X = raw(rng, 37, 300)
    for given in (X, X.astype(np.float32), np.asfortranarray(X), (20 * X[:3]).astype(np.uint8)):
        n = len(given)
        shown = []
        for backend in ("compiled", "numpy") if COMPILED else ():
            net = Network([n, n], ["identity"], "mse", dtype=dtype, seed=0, backend=backend)
            net.set_parameters([(np.eye(n), np.zeros(n))])
            net.adapt(given)
            shown.append(net.predict(given).tobytes("F"))
        assert len(set(shown)) <= 1


def test_loss_and_gradients_are_those_of_the_standardised_network(backend, dtype, rng):
    net, X, Y, Xs, Ys = adapted(rng, dtype, True, backend)
    w = rng.random(M)
    (J, S), wanted = ref.gradients(net.parameters, net.activations, "mse", Xs, Ys, w)
    for loss in (net.loss(X, Y, w), net.evaluate(X, Y, w)["loss"], net.gradients(X, Y, w)[0]):
        ref.assert_close(loss, (J, S), dtype, "loss")
    for got, layer in zip(net.gradients(X, Y, w)[1], wanted, strict=True):
        for T, pair in zip(got, layer, strict=True):
            ref.assert_close(T, pair, dtype, "gradient")
    assert net.gradient_check(X, Y) < (1e-7 if dtype == "float64" else 1e-3)


@pytest.mark.parametrize("cast", [False, True], ids=["in place", "cast"])
def test_it_trains_as_on_standardised_samples(backend, dtype, rng, cast):
    net, X, Y, Xs, Ys = adapted(rng, dtype, True, backend)
    twin = plain_twin(net)
    given = X.astype(np.int64) if cast else X
    if cast:
        net.adapt(given, Y)
        Xs = (given - net.standardisation[0]) / net.standardisation[1]
    # The same numbers in the network's dtype: so the same bits.
    Xs, Ys = (
        standardisation._centred(T, m.ravel(), s.ravel()).astype(dtype)
        for T, m, s in ((given, *net.standardisation[:2]), (Y, *net.standardisation[2:]))
    )
    optimizer = SGD(0.01, momentum=0.9)
    history = net.fit(given, Y, epochs=3, batch_size=8, optimizer=optimizer)
    other = twin.fit(Xs, Ys, epochs=3, batch_size=8, optimizer=SGD(0.01, momentum=0.9))
    assert bits(net) == bits(twin)
    assert history.loss == other.loss
    assert net.train_step(given, Y) == twin.train_step(Xs, Ys)
    assert bits(net) == bits(twin)


@pytest.mark.filterwarnings("ignore:adapt came after training")
@pytest.mark.parametrize("of_X", ["int64", "float16"])
def test_what_is_cast_at_once_is_bounded(either_backend, rng, of_X, monkeypatch):
    """A float32 network that standardises reads float64."""
    X, Y = rng.integers(0, 9, (200, 3000)).astype(of_X), rng.integers(0, 9, (3, 3000))
    net, seen, cast, most = Network([200, 3], ["identity"], seed=0, backend=either_backend), [], passes.cast, 10**6

    def look(*given):
        seen.append(cast(*given))
        return seen[-1]

    monkeypatch.setattr(passes, "cast", look)
    monkeypatch.setattr(training, "_CAST_BYTES", most)
    for adapts in (False, True):
        if adapts:
            net.adapt(X, Y)
        seen.clear()
        net.fit(X, Y, 2, 10, SGD(1e-9), progress=False)
        bytes_of = [sum(A.nbytes + A.size * given.itemsize for A, given in zip(block, (X, Y))) for block in seen]
        assert max(bytes_of) <= most


def test_metrics_are_of_the_user_s_units(either_backend, rng):
    net, X, Y, *_ = adapted(rng, "float64", True, either_backend)
    A = net.predict(X)
    found = net.evaluate(X, Y, metrics=["rmse", lambda y, A: float(np.abs(y - A).max())])
    assert found["rmse"] == pytest.approx(np.sqrt(np.square(A - Y).mean(axis=1)).mean(), rel=1e-12)
    assert list(found.values())[-1] == np.abs(Y - A).max()
    history = net.fit(X, Y, epochs=1, optimizer=SGD(0.0), metrics=["mae"])
    assert history.metrics["mae"] == [pytest.approx(np.abs(A - Y).mean(), rel=1e-12)]


def test_collapse_is_in_the_user_s_units(either_backend, rng):
    net = Network([5, 4, 3], ["identity", "identity"], "mse", dtype="float64", seed=0, backend=either_backend)
    X, Y = raw(rng), 100 + rng.standard_normal((3, M))
    net.adapt(X, Y)
    W, b = net.collapse()
    np.testing.assert_allclose(W @ X + b, net.predict(X), rtol=1e-12)


def test_exact_where_scaled_weights_would_not_be(backend, rng):
    """Mean 1e6, spread 1: in float32 weights for X itself would lose all digits."""
    X = (1e6 + rng.standard_normal((3, 200))).astype(np.float64)
    net = Network([3, 16, 1], ["tanh", "identity"], "mse", seed=0, backend=backend)
    net.adapt(X)
    layers = ref.forward(
        net.parameters, net.activations, (X - X.mean(axis=1, keepdims=True)) / X.std(axis=1, keepdims=True)
    )
    ref.assert_close(net.predict(X), (layers[-1]["A"], layers[-1]["S_A"]), "float32", "A")


def test_images_of_uint8_need_no_cast(backend, dtype, rng, monkeypatch):
    X, y = rng.integers(0, 256, (64, 300)).astype(np.uint8), rng.integers(0, 4, 300)
    net, twin = (Network([64, 9, 4], dtype=dtype, seed=2, backend=backend) for _ in range(2))
    net.adapt(X)
    twin.adapt(X.astype(np.float64))
    monkeypatch.setattr(passes.arrays, "columns_as", None)  # no cast
    for given in (X, np.asfortranarray(X), X[:, ::-1][:, ::-1]):
        assert net.predict(given).tobytes("F") == twin.predict(X.astype(np.float64)).tobytes("F")
    for shuffle in (False, True):
        for each, given in ((net, X), (twin, X.astype(np.float64))):
            each.fit(given, y, epochs=2, batch_size=32, optimizer=SGD(0.1), shuffle=shuffle)
        assert bits(net) == bits(twin)
    assert net.loss(X, y) == twin.loss(X.astype(np.float64), y)


def test_the_bits_do_not_depend_on_threads(dtype, rng):
    if not COMPILED:
        pytest.skip("NumPy chooses its own threads")
    X, Y = raw(rng, 40, 900), rng.standard_normal((3, 900))
    found = set()
    for threads in (1, 2, 3, 5):
        net = Network([40, 33, 3], ["gelu", "identity"], "mse", dtype=dtype, seed=0, threads=threads)
        net.adapt(X, Y)
        net.fit(X, Y, epochs=2, batch_size=100, optimizer=SGD(0.01))
        found.add(bits(net) + net.predict(X).tobytes("F"))
    assert len(found) == 1


@pytest.mark.parametrize("how", ["file", "pickle", "deepcopy", "copy", "averaged", "predictor"])
@pytest.mark.parametrize("with_y", [False, True])
def test_copies_and_files_standardise(either_backend, rng, tmp_path, how, with_y):
    net, X, Y, *_ = adapted(rng, "float32", with_y, either_backend)
    net.train_step(X, Y, SGD(1e-9, average=0.5))
    wanted = net.predict(X)
    if how == "file":
        net.save(tmp_path / "net.npz", optimizer=True)
        twin = fastnn.load(tmp_path / "net.npz", backend=either_backend)
    elif how == "averaged":
        twin, wanted = net.averaged(), None
    elif how == "predictor":
        assert pickle.loads(pickle.dumps(net.predictor()))(X).tobytes("F") == wanted.tobytes("F")
        return
    else:
        twin = {"pickle": lambda n: pickle.loads(pickle.dumps(n))}.get(how, getattr(copy, how, None))(net)
    for a, b in zip(net.standardisation, twin.standardisation, strict=True):
        assert (a is None and b is None) or a.tobytes() == b.tobytes()
    assert wanted is None or twin.predict(X).tobytes("F") == wanted.tobytes("F")
    if how == "copy":
        twin.adapt(2 * X)
        assert net.predict(X).tobytes("F") == wanted.tobytes("F")


def test_a_file_says_what_release_0_1_cannot_read(rng, tmp_path):
    from fastnn import files

    net, *_ = adapted(rng)
    net.save(tmp_path / "net.npz")
    assert files.load(tmp_path / "net.npz")[0]["format"] == 2


@pytest.mark.parametrize(
    "wrong",
    [
        (1, 2),
        (np.zeros((5, 1)), np.zeros((5, 1)), None, None),
        (np.zeros((4, 1)), np.ones((4, 1)), None, None),
        (np.full((5, 1), np.nan), np.ones((5, 1)), None, None),
        (np.zeros((5, 1)), np.ones((5, 1)), np.zeros((3, 1)), None),
        "text",
    ],
    ids=str,
)
def test_a_wrong_state_is_refused(rng, wrong):
    net, *_ = adapted(rng)
    with pytest.raises(ValueError, match=r"standardisation|mean|scale"):
        object.__new__(Network).__setstate__(net.__getstate__() | {"standardisation": wrong})


def test_another_call_replaces_and_training_goes_on(backend, rng):
    net, X, Y, *_ = adapted(rng, "float64", True, backend)
    net.fit(X, Y, epochs=2, optimizer=SGD(0.01, momentum=0.5))
    net.adapt(X * 3)
    assert net.standardisation[2] is None
    history = net.fit(3 * X, (Y - 1000) / 30, epochs=2)
    assert np.isfinite(history.loss).all()
    assert net.epochs_done == 4


def test_a_callback_may_adapt(backend, rng):
    net, X, Y, *_ = adapted(rng, "float64", True, backend)
    history = net.fit(
        X, Y, epochs=3, optimizer=SGD(0.01), callbacks=lambda epoch, history: net.adapt(X[:, :20], Y[:, :20])
    )
    assert len(history.loss) == 3
    np.testing.assert_allclose(net.standardisation[0], X[:, :20].mean(axis=1, keepdims=True))


def test_mistakes(either_backend, rng):
    net, X, Y, *_ = adapted(rng, "float32", True, either_backend)
    before = net.predict(X).tobytes()
    broken, late = X.copy(), Y.copy()
    broken[2, 7], late[1, 3] = np.nan, np.inf
    for given, words in (
        ((X.T, None), "did you mean|columns are samples"),
        ((broken, None), "X has 1 non-finite value, first at column 7.*feature 2"),
        ((X, late), "y has 1 non-finite value, first at column 3.*output 1"),
        ((X, Y[:, :-1]), "y has shape"),
        ((X, np.zeros(M, int)), "y holds class codes"),
        ((X[:, :0], None), "X has"),
        ((np.full((5, 3), 1e300) * [1, -1, 1], None), "too large"),
    ):
        with weights_unchanged(net), pytest.raises((ValueError, TypeError), match=words):
            net.adapt(*given)
        assert net.predict(X).tobytes() == before
    for classifier in (Network([5, 3], seed=0), Network([5, 1], seed=0), Network([5, 3], ["tanh"], "mse", seed=0)):
        with pytest.raises(ValueError, match="y cannot be standardised"):
            classifier.adapt(X, np.zeros((classifier.sizes[-1], M)))
        classifier.adapt(X)


def test_targets_that_predictions_cannot_be_are_refused(either_backend, dtype, rng):
    """They would be infinite, or 0, after a training that seems to succeed."""
    net, X, Y, *_ = adapted(rng, dtype, True, either_backend)
    tiny, is_double = float(np.finfo(dtype).tiny), dtype == "float64"
    with (
        weights_unchanged(net),
        pytest.raises(ValueError, match=r"y holds .* \(in output 1\), too small for.*scale y") as found,
    ):
        net.adapt(X, Y / np.abs(Y).max(axis=1, keepdims=True) * [[1.0], [tiny / 2], [1.0]])
    assert ("dtype='float64'" in str(found.value)) == (not is_double)
    if not is_double:
        with weights_unchanged(net), pytest.raises(ValueError, match=r"too large for .*dtype='float64'"):
            net.adapt(X, Y * 1e300)
    some = np.zeros_like(Y)  # 0 is no small number
    some[0] = 4 * tiny
    net.adapt(X, some)
    np.testing.assert_allclose(net.standardisation[2], some[:, :1])
    net.adapt(X * tiny)  # X is read in float64


@pytest.mark.parametrize("training", [False, True])
def test_backward_takes_and_gives_the_user_s_units(backend, dtype, rng, training):
    """dX and the gradients are those of sum(dA * predict(X)), which differences show."""
    net, X, *_ = adapted(rng, "float64", True, backend)
    dA = rng.standard_normal((3, M))
    gradients, dX = net.backward(X, dA, training=training)
    for i in range(5):
        step = np.zeros((5, 1))
        step[i] = 1e-5 * net.standardisation[1][i]
        difference = (dA * (net.predict(X + step) - net.predict(X - step))).sum(axis=0) / (2 * step[i])
        np.testing.assert_allclose(dX[i], difference, rtol=1e-6, atol=1e-7 * np.abs(dX[i]).max())
    plain, dX_plain = plain_twin(net).backward(
        (X - net.standardisation[0]) / net.standardisation[1], dA * net.standardisation[3], training=training
    )
    for got, wanted in zip(gradients, plain, strict=True):
        for T, wanted_T in zip(got, wanted, strict=True):
            np.testing.assert_allclose(T, wanted_T, rtol=1e-11, atol=1e-12 * np.abs(wanted_T).max())
    np.testing.assert_allclose(dX * net.standardisation[1], dX_plain, rtol=1e-11, atol=1e-12)


def test_a_loss_of_one_s_own_sees_the_user_s_units(backend, rng):
    net, X, Y, *_ = adapted(rng, "float64", True, backend)
    scale = net.standardisation[3]

    def loss(A, y):  # mse of the standardised numbers, in the user's units
        np.testing.assert_allclose(A, twin.predict(X), rtol=1e-12)
        assert y is Y
        return np.square((A - y) / scale).sum(axis=0), 2 * (A - y) / scale**2

    twin = copy.deepcopy(net)
    before = net.train_step(X, Y, SGD(0.1), loss=loss)
    assert before == pytest.approx(twin.train_step(X, Y, SGD(0.1)), rel=1e-12)
    for layer, other in zip(net.parameters, twin.parameters, strict=True):
        for T, U in zip(layer, other, strict=True):
            np.testing.assert_allclose(T, U, rtol=1e-10, atol=1e-12)


def test_another_adapt_within_a_step_of_one_s_own_is_an_error(backend, rng):
    net, X, Y, *_ = adapted(rng, "float64", True, backend)

    def loss(A, y):
        net.adapt(2 * X)
        return np.square(A - y).sum(axis=0), 2 * (A - y)

    with weights_unchanged(net), pytest.raises(RuntimeError, match="changed"):
        net.train_step(X, Y, SGD(0.1), loss=loss)


def test_a_network_with_its_own_loss_adapts_to_X(backend, rng):
    def loss(A, y):
        return np.square(A - y).sum(axis=0), 2 * (A - y)

    X, Y = raw(rng), rng.standard_normal((3, M))
    net = Network(NET[0], NET[1], loss, dtype="float64", seed=0, backend=backend)
    twin = Network(*NET, dtype="float64", seed=0, backend=backend)
    with pytest.raises(ValueError, match="y cannot be standardised for loss 'custom'"):
        net.adapt(X, Y)
    net.adapt(X)
    twin.adapt(X)
    for each in (net, twin):
        each.fit(X, Y, epochs=3, batch_size=16, optimizer=SGD(0.01))
    for layer, other in zip(net.parameters, twin.parameters, strict=True):
        for T, U in zip(layer, other, strict=True):
            np.testing.assert_allclose(T, U, rtol=1e-10, atol=1e-12)


def test_the_flat_view_is_the_standardised_network_s(backend, rng):
    net, X, Y, Xs, Ys = adapted(rng, "float64", True, backend)
    loss, gradient = net.loss_and_gradient(net.flat_parameters, X, Y)
    other, wanted = plain_twin(net).loss_and_gradient(net.flat_parameters, Xs, Ys)
    assert loss == pytest.approx(other, rel=1e-12)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("loss", ["mae", ("huber", {"delta": 0.5}), "quantile", "gaussian_nll"], ids=str)
def test_other_losses_of_values(backend, dtype, rng, loss):
    outputs = 3 if loss == "quantile" else 4 if loss == "gaussian_nll" else 2
    targets = 1 if loss == "quantile" else 2
    X, Y = raw(rng), 1e4 + 70 * rng.standard_normal((targets, M))
    net = Network([5, 7, outputs], ["tanh", "identity"], loss, dtype=dtype, seed=1, backend=backend)
    net.adapt(X, Y[0] if loss == "quantile" else Y)
    x_mean, x_scale, y_mean, y_scale = net.standardisation
    assert y_mean.shape == y_scale.shape == (targets, 1)
    twin = plain_twin(net)
    Xs, Ys = ((X - x_mean) / x_scale).astype(dtype), ((Y - y_mean) / y_scale).astype(dtype)
    close = {"rtol": 1e-11 if dtype == "float64" else 1e-4}
    np.testing.assert_allclose(net.loss(X, Y), twin.loss(Xs, Ys), **close)
    wanted = twin.predict(Xs).astype(np.float64)
    if loss == "gaussian_nll":  # means, then log-variances
        wanted = np.concatenate([wanted[:2] * y_scale + y_mean, wanted[2:] + 2 * np.log(y_scale)])
    else:
        wanted = wanted * y_scale + y_mean
    np.testing.assert_allclose(net.predict(X), wanted, **close)
    for each, given in ((net, (X, Y)), (twin, (Xs, Ys))):
        each.fit(*given, epochs=2, batch_size=16, optimizer=SGD(0.01))
        each.train_step(*given)
    for layer, other in zip(net.parameters, twin.parameters, strict=True):
        for T, U in zip(layer, other, strict=True):
            np.testing.assert_allclose(T, U, rtol=close["rtol"], atol=close["rtol"])
    assert net.evaluate(X, Y, metrics=["rmse"])["rmse"] < 1000


@pytest.mark.parametrize("loss", ["mse", "gaussian_nll"])
def test_targets_that_no_prediction_can_hold(either_backend, rng, loss):
    """In float32 a prediction of 1e39 would be inf."""
    X, y = raw(rng), rng.standard_normal(M)
    sizes, output = ([5, 1] if loss == "mse" else [5, 2]), ["identity"]
    for large in (1e39 * y, y + np.where(np.arange(M) == 7, -1e150, 0), 1e39 + 0 * y, 10**39 * np.ones(M, object)):
        net = Network(sizes, output, loss, "zeros", seed=0, backend=either_backend)
        with pytest.raises(ValueError, match=r"y holds values of up to 1?.*output 0.*float32.*scale y.*float64"):
            net.adapt(X, large)
        assert net.standardisation is None
        wide = Network(sizes, output, loss, dtype="float64", seed=0, backend=either_backend)
        wide.adapt(X, large)
        assert np.isfinite(wide.predict(X)).all()
        with pytest.raises(ValueError, match=r"y_(mean|scale) must hold numbers of float32"):
            net.__setstate__(net.__getstate__() | {"standardisation": tuple(wide.standardisation)})
    net.adapt(1e100 * X, 3e38 * np.sign(y))  # as float32 has it
    assert np.isfinite(net.predict(1e100 * X)).all()


def test_counts_are_not_standardised(either_backend, rng):
    net = Network([5, 2], loss="poisson", seed=0, backend=either_backend)
    with pytest.raises(ValueError, match="y cannot be standardised for loss 'poisson'"):
        net.adapt(raw(rng), np.ones((2, M)))


def test_a_prediction_is_of_one_state_while_another_thread_adapts(backend, rng):
    net, X, Y, *_ = adapted(rng, "float32", True, backend)
    states = [(X, Y), (3 * X + 1, 5 * Y)]
    wanted = set()
    for state in states:
        net.adapt(*state)
        wanted.add(net.predict(X).tobytes("F"))
    assert len(wanted) == 2
    found, stop = set(), threading.Event()

    def predict():
        while not stop.is_set():
            found.add(net.predict(X).tobytes("F"))

    threads = [threading.Thread(target=predict) for _ in range(2)]
    for thread in threads:
        thread.start()
    for i in range(60):
        net.adapt(*states[i % 2])
    stop.set()
    for thread in threads:
        thread.join()
    assert found <= wanted


def test_a_spread_of_roundings_is_none(either_backend, rng):
    price = rng.uniform(1, 1000, 200)
    X = np.stack([price, price * 1.19 / price, 1e9 + 1e-7 * rng.standard_normal(200), 1e6 + rng.standard_normal(200)])
    assert (X.std(axis=1) > 0).all()
    net = Network([4, 1], ["identity"], "mse", backend=either_backend)
    net.adapt(X)
    assert (net.standardisation[1][:, 0] == 1).tolist() == [False, True, True, False]


@pytest.mark.parametrize("how", ["file", "pickle", "deepcopy", "averaged"])
def test_copies_of_a_network_with_its_own_loss(either_backend, rng, tmp_path, how):
    X, Y = raw(rng), rng.standard_normal((3, M))
    net = Network(NET[0], NET[1], squared, seed=0, backend=either_backend)
    net.adapt(X)
    net.train_step(X, Y, SGD(1e-9, average=0.5))
    if how == "file":
        net.save(tmp_path / "net.npz")
        twin = fastnn.load(tmp_path / "net.npz", loss=squared, backend=either_backend)
    else:
        twin = {"pickle": lambda: pickle.loads(pickle.dumps(net)), "averaged": net.averaged}.get(
            how, lambda: copy.deepcopy(net)
        )()
    np.testing.assert_allclose(twin.predict(X), net.predict(X), rtol=1e-5, atol=1e-6)


def squared(A, y):
    return np.square(A - y).sum(axis=0), 2 * (A - y)


@pytest.mark.parametrize("outputs", [2, 4])
def test_collapse_of_means_and_variances(either_backend, rng, outputs):
    net = Network([5, outputs], ["identity"], "gaussian_nll", dtype="float64", seed=0, backend=either_backend)
    X, Y = raw(rng), 100 + 30 * rng.standard_normal((outputs // 2, M))
    net.adapt(X, Y)
    W, b = net.collapse()
    np.testing.assert_allclose(W @ X + b, net.predict(X), rtol=1e-11)


@pytest.mark.parametrize("of_X", ["float32", "float64", "int64"])
@pytest.mark.parametrize("of_y", ["int64", "float64"])
def test_targets_are_centred_before_they_are_rounded(backend, rng, of_X, of_y):
    X = (10 * raw(rng)).astype(of_X)
    y = (10**9 + rng.integers(-5, 6, M)).astype(of_y)
    net = Network([5, 1], ["identity"], "mse", seed=0, backend=backend)
    net.adapt(X, y)
    ys = (y - net.standardisation[2][0]) / net.standardisation[3][0]
    Xs = (X - net.standardisation[0]) / net.standardisation[1]
    wanted = plain_twin(net).loss(Xs, ys)
    assert net.loss(X, y) == pytest.approx(wanted, rel=1e-5)
    assert net.gradients(X, y)[0] == pytest.approx(wanted, rel=1e-5)
    assert net.fit(X, y, 1, None, SGD(0.0), progress=False).loss[0] == pytest.approx(wanted, rel=1e-5)
    net.train_step(X, y)
    assert net.train_step(X, y) == pytest.approx(wanted, rel=1e-5)


def test_divergence_is_not_taken_for_bad_data(backend, rng):
    X, Y = 1e39 * raw(rng), rng.standard_normal((3, M))
    for train in ("fit", "train_step"):
        net = Network(*NET, seed=0, backend=backend)
        net.adapt(X)
        optimizer = SGD(1e38)

        def six(net=net, train=train, optimizer=optimizer):
            for _ in range(6):
                getattr(net, train)(X, Y, optimizer=optimizer)

        with pytest.raises(FloatingPointError, match=r"diverged|not finite before"):
            six()


def test_the_summary_says_it(either_backend, rng):
    net, X, *_ = adapted(rng, "float32", True, either_backend)
    assert net.summary().endswith(", standardises X and y")
    net.adapt(X)
    assert net.summary().endswith(", standardises X")
    assert "standardises" not in plain_twin(net).summary()


def test_early_stopping_brings_the_standardisation_back(backend, rng):
    net, X, Y, *_ = adapted(rng, "float64", True, backend)
    seen = []

    def worse(y, A):
        return float(len(seen))

    def callback(epoch, history):
        seen.append(net.predict(X))
        if epoch == 1:
            net.adapt(3 * X, 5 * Y)

    how = {"optimizer": SGD(1e-3), "metrics": [worse], "progress": False}
    net.fit(X, Y, 4, callbacks=callback, early_stopping=fastnn.EarlyStopping("worse", patience=9), **how)
    assert len(seen) == 4
    assert net.predict(X).tobytes("F") == seen[0].tobytes("F")
    assert net.predict(X).tobytes("F") == pickle.loads(pickle.dumps(net)).predict(X).tobytes("F")
    net.fit(X, Y, 1, optimizer=SGD(1e-3), progress=False)


def test_a_state_without_activations_is_refused(rng):
    net, *_ = adapted(rng)
    for wrong in ([], (), [None, None], ["tanh"]):
        with pytest.raises((ValueError, TypeError), match="activations"):
            object.__new__(Network).__setstate__(net.__getstate__() | {"activations": wrong})
