"""Losses of regressions: torch's values and derivatives, levels, large numbers, and what networks do with them."""

import copy
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fastnn
import reference as ref
from case_helpers import bits
from conftest import COMPILED, lesser_are_slow
from fastnn import SGD, Adam, Network, kernels

TORCH = np.load(Path(__file__).parent / "data" / "torch_losses.npz")
FUNCTIONS = json.loads(str(TORCH["functions"]))
RNG = np.random.default_rng(5)
M = 90
X = RNG.standard_normal((4, M))
LEVELS = ("quantile", {"levels": [0.1, 0.5, 0.9]})
NARROW = ("huber", {"delta": 0.5})
# loss, outputs: done by columns of samples, and row by row
CASES = [
    *(("huber", 3), (NARROW, 40), ("poisson", 2), ("poisson", 40)),
    *(("quantile", 1), (LEVELS, 3), ("quantile", 45), ("gaussian_nll", 2), ("gaussian_nll", 6), ("gaussian_nll", 70)),
]
QUIET = {"progress": False, "batch_size": 16}


def targets_of(loss, n, m=M):
    return ref.record_of_loss(loss)[0].some_targets(np.random.default_rng(n), n, m)


def net_of(backend, loss, n, dtype="float64", **more):
    return Network([4, 9, n], loss=loss, seed=2, backend=backend, dtype=dtype, **more)


@pytest.mark.parametrize("key", FUNCTIONS)
def test_they_are_torch_s(backend, key):
    name, given, rows = FUNCTIONS[key]
    kind, Z, Y = (name, given), TORCH["Z"], TORCH["Y"][:rows]
    for j, wanted in enumerate(TORCH[f"{key}: losses"]):
        assert kernels.loss_forward(Z[:, [j]], Y[:, [j]], kind) == pytest.approx(wanted, rel=1e-12, abs=1e-14)
    np.testing.assert_allclose(kernels.loss_backward(Z, Y, kind), TORCH[f"{key}: dZ"], rtol=1e-12, atol=1e-14)
    w = RNG.uniform(size=Z.shape[1])
    wanted = w @ TORCH[f"{key}: losses"] / w.sum()
    assert kernels.loss_forward(Z, Y, kind, sample_weight=w) == pytest.approx(wanted, rel=1e-12)


# --- levels -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3, 40])
def test_levels_are_evenly_spaced_unless_they_are_given(backend, dtype, n):
    Z, y = RNG.standard_normal((n, M)).astype(dtype), RNG.standard_normal(M).astype(dtype)
    even = [(i + 1) / (n + 1) for i in range(n)]
    for levels in (even, RNG.uniform(0.01, 0.99, n).tolist()):
        e, q = y - Z.astype(np.float64), np.array(levels)[:, np.newaxis]
        wanted = np.maximum(q * e, (q - 1) * e).sum(axis=0).mean()
        kinds = [("quantile", {"levels": given}) for given in (levels, tuple(levels), np.array(levels))]
        for kind in kinds + (["quantile", ("quantile", {"levels": None})] if levels is even else []):
            assert kernels.loss_forward(Z, y, kind) == pytest.approx(wanted, rel=1e-12)
            slope = np.where(e > 0, -q, 1 - q)
            np.testing.assert_allclose(kernels.loss_backward(Z, y[np.newaxis], kind), slope, rtol=1e-6)


def test_outputs_become_the_quantiles(backend):
    y = RNG.standard_normal(400)
    net = Network([1, 3], loss=LEVELS, seed=0, backend=backend, dtype="float64")
    net.fit(np.ones((1, 400)), y, 400, None, Adam(lr=0.05), progress=False)
    np.testing.assert_allclose(net.predict([[1.0]])[:, 0], np.quantile(y, [0.1, 0.5, 0.9]), atol=0.1)


def test_the_derivative_is_0_where_the_error_is(backend, dtype):
    for loss in ("huber", "quantile"):
        assert not kernels.loss_backward(np.ones((1, 5), dtype), np.ones(5), loss).any()


# --- large numbers ------------------------------------------------------------------------------------------------


@np.errstate(over="ignore")
def test_a_large_log_rate_is_infinite_only_where_the_rate_is(backend, dtype):
    """A float32 cannot hold exp(100), but the loss is in float64."""
    for a in (-1e30, -800.0, -100.0, 50.0, 88.0, 89.0, 100.0, 300.0, 709.0, 710.0, 1e4, 1e30):
        for y in (0.0, 3.0):
            Z = np.full((1, 3), a, dtype)
            wanted = float(np.exp(np.longdouble(a)) - np.longdouble(y) * np.longdouble(Z[0, 0]))
            assert kernels.loss_forward(Z, [y] * 3, "poisson") == pytest.approx(wanted, rel=1e-6)
            slope = np.full((1, 3), float(np.exp(np.longdouble(a)) - y)).astype(dtype)
            dZ = kernels.loss_backward(Z, [y] * 3, "poisson")
            np.testing.assert_allclose(dZ, slope, rtol=1e-6, atol=np.finfo(dtype).tiny)


@np.errstate(all="ignore")
def test_a_gaussian_s_factors_do_not_overflow(backend, dtype):
    """0 times exp(800) is 0, and a square that is too large times exp(-s) need not be."""
    large = 1e25 if dtype == "float32" else 1e200
    s_large = float(np.float32(np.log(large) * 2)) if dtype == "float32" else float(np.log(large) * 2)
    for e, s in ((0.0, -800.0), (0.0, -1e30), (0.0, 1e30), (large, s_large), (1e-20, -80.0), (1.0, 1e5), (3.0, -4.0)):
        Z, y = np.array([[e], [s]], dtype), [0.0]
        e_long, s_long = np.longdouble(Z[0, 0]), np.longdouble(Z[1, 0])
        u = e_long * np.exp(-s_long / 2) if e else np.longdouble(0)
        J = kernels.loss_forward(Z, y, "gaussian_nll")
        assert np.isfinite(J)
        assert pytest.approx(float((s_long + u * u) / 2), rel=1e-5) == J
        slope = np.array([[float(u * np.exp(-s_long / 2) if e else 0)], [float((1 - u * u) / 2)]]).astype(dtype)
        np.testing.assert_allclose(kernels.loss_backward(Z, y, "gaussian_nll"), slope, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("loss", ["huber", "quantile", LEVELS])
def test_far_errors_stay_finite(backend, dtype, loss):
    n = 3 if loss is LEVELS else 1
    Z = np.full((n, 2), 1e30, dtype)
    for y in ([1.0, 2.0], [-1e30, -1e30]):
        assert np.isfinite(kernels.loss_forward(Z, y, loss))
        assert np.isfinite(kernels.loss_backward(Z, y, loss)).all()


def test_a_log_rate_that_is_too_large_is_a_divergence(backend):
    net = Network([1, 1], loss="poisson", init="zeros", seed=0, backend=backend)
    net.set_parameters([([[1.0]], [0.0])])
    before = bits(net)
    with pytest.raises(FloatingPointError):
        net.train_step([[1000.0]], [1.0])
    with pytest.raises(FloatingPointError):
        net.train_step([[100.0]], [1.0])  # the loss is finite, the new weight is not
    assert bits(net) == before


# --- networks -----------------------------------------------------------------------------------------------------


@lesser_are_slow
@pytest.mark.parametrize(("loss", "n"), CASES, ids=str)
def test_training_lowers_the_loss_and_gradients_are_derivatives(backend, loss, n):
    y, w = targets_of(loss, n), RNG.uniform(size=M)
    net = net_of(backend, loss, n)
    assert net.gradient_check(X, y) < 1e-6
    before = net.evaluate(X, y, sample_weight=w)
    assert before.keys() == {"loss"}
    history = net.fit(X, y, 6, optimizer=Adam(lr=0.01), sample_weight=w, validation_data=(X[:, :9], y[:, :9]), **QUIET)
    assert len(history.val_loss) == 6
    assert net.loss(X, y, sample_weight=w) < before["loss"]


@pytest.mark.skipif(COMPILED is None, reason="NumPy makes no promise of bits")
@pytest.mark.parametrize(("loss", "n"), CASES, ids=str)
def test_bits_do_not_depend_on_threads_or_on_the_way_in(dtype, loss, n):
    y, found, way = targets_of(loss, n), set(), {}
    for threads in (1, 2, 3):
        net = net_of("compiled", loss, n, dtype, threads=threads)
        net.fit(X.astype(dtype), y.astype(dtype), 2, **QUIET)
        found.add((bits(net), net.loss(X.astype(dtype), y.astype(dtype))))
    assert len(found) == 1
    # In place, cast, in another layout, and as single steps.
    for name, (X_given, y_given) in {
        "plain": (X.astype(dtype), y.astype(dtype)),
        "foreign": (X.astype(dtype).astype("longdouble"), y.astype(dtype).astype("longdouble")),
        "layout": (np.asfortranarray(X.astype(dtype)), np.repeat(y.astype(dtype), 2, axis=1)[:, ::2]),
        "row": (X.astype(dtype), y[0].astype(dtype) if len(y) == 1 else y.astype(dtype)),
    }.items():
        net = net_of("compiled", loss, n, dtype)
        net.fit(X_given, y_given, 1, shuffle=False, **QUIET)
        way[name] = bits(net)
    steps = net_of("compiled", loss, n, dtype)
    for i in range(0, M, 16):
        steps.train_step(X[:, i : i + 16].astype(dtype), y[:, i : i + 16].astype(dtype), SGD())
    assert set(way.values()) == {bits(steps)}


@pytest.mark.parametrize(("loss", "n"), [(NARROW, 1), ("poisson", 1), *CASES], ids=str)
def test_quick_steps_are_the_careful_ones(backend, dtype, loss, n):
    y = np.floor(3 * np.abs(targets_of(loss, n, 8)))
    forms = [y, y.astype(dtype), y.astype(int)]
    if len(y) == 1:
        forms += [y[0], y[0].astype(dtype), y[0].astype(int), y[0].astype("u1")]
    found = set()
    for form in forms:
        quick, careful = net_of(backend, loss, n, dtype), net_of(backend, loss, n, dtype)
        some = X[:, :8].astype(dtype)
        losses = [
            net.train_step(some, form, SGD(), **w) for net, w in ((quick, {}), (careful, {"sample_weight": [1] * 8}))
        ]
        assert losses[0] == losses[1]
        assert bits(quick) == bits(careful)
        for net in (quick, careful):
            net.train_step(some, form)
        found |= {bits(quick), bits(careful)}
    assert len(found) == 1


@pytest.mark.skipif(COMPILED is None, reason="NumPy has no quick steps")
@pytest.mark.parametrize(("loss", "n"), CASES, ids=str)
def test_steps_are_quick(dtype, loss, n):
    net, y, some = net_of("compiled", loss, n, dtype), targets_of(loss, n).astype(dtype), X.astype(dtype)
    net.train_step(some, y)
    for form in [y] + ([y[0]] if len(y) == 1 else []):
        twin = copy.deepcopy(net)
        twin.train_step(some, form)
        assert net._engine.quick_step(some, form, None, net._guard) is not None
        assert bits(net) == bits(twin)


@pytest.mark.parametrize(("loss", "n"), CASES, ids=str)
def test_weights_count_as_repetitions(backend, loss, n):
    y, counts = targets_of(loss, n), np.random.default_rng(1).integers(0, 4, M)
    net, places = net_of(backend, loss, n), np.repeat(np.arange(M), counts)
    J, gradients = net.gradients(X, y, sample_weight=counts)
    J_of, gradients_of = net.gradients(X[:, places], y[:, places])
    assert pytest.approx(J_of, rel=1e-12) == J
    for pair, wanted in zip(gradients, gradients_of, strict=True):
        for T, want in zip(pair, wanted, strict=True):
            np.testing.assert_allclose(T, want, rtol=1e-9, atol=1e-12)


def test_integers_are_values_and_no_codes(backend):
    """For other losses a 1-D y of integers would be class codes."""
    for loss, n in (("quantile", 3), (LEVELS, 3), ("gaussian_nll", 2)):
        net, y = net_of(backend, loss, n), np.arange(M) % 7 - 3
        calls = [lambda y, net=net: net.loss(X, y), lambda y, net=net: net.gradients(X, y)[0]]
        for call in calls:
            assert call(y) == call(y.astype(float)) == call(y[np.newaxis]) == call(y.astype("i1").tolist())
        twin = net_of(backend, loss, n)
        assert net.train_step(X, y) == twin.train_step(X, y[np.newaxis].astype(float))
        assert bits(net) == bits(twin)


@pytest.mark.parametrize(("loss", "n"), CASES, ids=str)
def test_they_are_part_of_the_network(backend, tmp_path, loss, n):
    path, net, y = tmp_path / "net.npz", net_of(backend, loss, n), targets_of(loss, n)
    assert net.loss_name == loss
    net.train_step(X, y, SGD(lr=1e-3, momentum=0.5))
    net.save(path, optimizer=True)
    with zipfile.ZipFile(path) as file:
        assert json.loads(file.read("header.json"))["format"] == 2
    twins = [fastnn.load(path, backend=backend), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)]
    for twin in twins:
        assert twin.loss_name == loss
        assert twin.loss(X, y) == net.loss(X, y)
        twin.train_step(X, y)
    net.train_step(X, y)
    assert all(bits(twin) == bits(net) for twin in twins)
    assert str(net.loss_name if isinstance(loss, str) else loss[0]) in net.summary()


def test_the_name_is_a_copy():
    net = net_of("numpy", LEVELS, 3)
    net.loss_name[1]["levels"][0] = 0.3
    assert net.loss_name == LEVELS


# --- metrics ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("w", [None, RNG.uniform(size=M)], ids=["plain", "weighted"])
def test_metrics_use_what_the_outputs_estimate(backend, w):
    plain = Network([2, 2], ["identity"], "mse", dtype="float64", seed=0, backend=backend)
    for loss, n, estimate in (
        ("huber", 2, lambda A: A),
        ("poisson", 2, np.exp),
        ("gaussian_nll", 4, lambda A: A[:2]),
        (LEVELS, 3, lambda A: A[1:2]),
        (("quantile", {"levels": [0.9, 0.2, 0.3]}), 3, lambda A: A[2:]),
        ("quantile", 2, lambda A: A[:1]),
    ):
        net, y = net_of(backend, loss, n), targets_of(loss, n)
        wanted = estimate(net.predict(X))
        plain = Network([len(wanted)] * 2, ["identity"], "mse", dtype="float64", seed=0, backend=backend)
        plain.set_parameters([(np.eye(len(wanted)), np.zeros(len(wanted)))])
        names = ["r2", "rmse", "mae"]
        got, want = net.evaluate(X, y, w, metrics=names), plain.evaluate(wanted, y, w, metrics=names)
        assert {name: got[name] for name in names} == pytest.approx({name: want[name] for name in names}, rel=1e-12)
        history = net.fit(X, y, 1, metrics=names, sample_weight=w, **QUIET)
        assert set(history.metrics) == set(names)
        with pytest.raises(ValueError, match=r"metrics\[0\]: accuracy is for classes"):
            net.evaluate(X, y, metrics=["accuracy"])


# --- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "sizes", "words"),
    [
        ("gaussian_nll", [2, 3], ["gaussian_nll has 3 outputs", "even number"]),
        ("gaussian_nll", [2, 1], ["gaussian_nll has 1 output,", "even number"]),
        (LEVELS, [2, 2], ["levels has 3", "one for each output (2)"]),
        (("quantile", {"levels": [0.5, 1.0]}), [2, 2], ["levels[1]", "below 1", "got 1.0"]),
        (("quantile", {"levels": [0.0]}), [2, 1], ["levels[0]", "above 0", "got 0.0"]),
        (("quantile", {"levels": [-0.5]}), [2, 1], ["levels[0]", "got -0.5"]),
        (("quantile", {"levels": [np.nan]}), [2, 1], ["levels[0]", "got nan"]),
        (("quantile", {"levels": []}), [2, 1], ["levels", "got none"]),
        (("quantile", {"level": [0.5]}), [2, 1], ["no parameter 'level'", "levels"]),
        (("huber", {"delta": 0}), [2, 1], ["delta must be", "at least 1.17549e-38", "got 0"]),
        (("huber", {"delta": np.inf}), [2, 1], ["delta must be finite"]),
        ("pinball", [2, 1], ["did you mean 'quantile'"]),
        ("smooth_l1", [2, 1], ["did you mean 'huber'"]),
    ],
)
def test_wrong_losses_are_refused(loss, sizes, words):
    with pytest.raises(ValueError, match="loss") as caught:
        Network(sizes, loss=loss)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("levels", [0.5, "0.5", {0.5}, np.array(0.5), [[0.5]], ["0.5"], [None], [True]], ids=str)
def test_levels_that_are_no_list_of_numbers_are_refused(levels):
    with pytest.raises(TypeError, match=r"loss: quantile's levels(\[0\])? must be a"):
        Network([2, 1], loss=("quantile", {"levels": levels}))


@pytest.mark.parametrize("loss", ["poisson", "gaussian_nll"])
@pytest.mark.parametrize("output", ["relu", "sigmoid", "softmax"])
def test_losses_of_an_identity_need_it(loss, output):
    with pytest.raises(ValueError, match=f"loss '{loss}' needs an identity output, got '{output}'"):
        Network([2, 2], [output], loss)
    assert Network([2, 3, 2], loss=loss).activations[-1] == "identity"


def test_an_identity_output_alone_means_mse():
    assert Network([2, 2], ["identity"]).loss_name == "mse"


def test_wrong_targets_are_refused(backend):
    def refused(loss, n, y, *words):
        for dtype in ("float32", "float64"):
            net, some = net_of(backend, loss, n, dtype), X.astype(dtype)
            net.train_step(some, targets_of(loss, n))  # so that the next one can be a quick one
            before = bits(net)
            for call in (net.loss, net.gradients, net.train_step, net.evaluate, net.fit):
                with pytest.raises(ValueError, match=r"^y ") as caught:
                    call(some, y)
                assert all(word in str(caught.value) for word in words), str(caught.value)
            assert bits(net) == before

    refused("quantile", 3, np.ones((3, M)), "(3, 90)", "wanted (1, m) = (1, 90) or (90,)", "levels of one target")
    refused("quantile", 3, np.ones((M, 1)), "(90, 1)", "did you mean y.T")
    refused("quantile", 3, np.ones(M - 1), "(89,)", "X has 90 samples")
    refused("gaussian_nll", 4, np.ones((4, M)), "(4, 90)", "wanted (2, m) = (2, 90)", "half of the outputs are means")
    refused("gaussian_nll", 4, np.ones(M), "(90,)", "wanted (2, m) = (2, 90)", "half of the outputs are means")
    refused("gaussian_nll", 4, np.ones((M, 2)), "(90, 2)", "did you mean y.T")
    for y in (np.full((2, M), -1.0), np.full((2, M), -1)):
        refused("poisson", 2, y, "holds -1", "at column 0", "poisson needs values at least 0", "counts")
    y = np.ones((2, M))
    y[1, 7] = np.nan
    refused("poisson", 2, y, "1 missing value", "first at column 7, row 1")
    y[1, 7] = np.inf
    refused("poisson", 2, y, "holds inf at column 7")
    for loss in ("huber", "poisson"):  # one target, where the network has two
        both = "for one target write Network([..., 1])", "for 2 give (2, m)"
        refused(loss, 2, np.arange(M) % 7, "codes from 0 to 6", "0..1 for 2 outputs", *both)
        refused(loss, 2, (np.arange(M) % 2).astype("f4"), "1-D of dtype float32", "astype(int)", *both)
        refused(loss, 2, np.full(M, 0.5), "1-D of dtype float64 and holds 0.5", *both)
    refused("poisson", 1, np.where(np.arange(M) == 3, -1e-300, 1.0), "holds -1e-300 at column 3")


def test_wrong_arguments_of_kernels_are_refused(backend):
    for loss, Z, y, words in (
        ("gaussian_nll", np.ones((3, 4)), np.ones((1, 4)), ["kind", "gaussian_nll has 3 outputs"]),
        (LEVELS, np.ones((2, 4)), np.ones(4), ["kind", "levels has 3"]),
        ("quantile", np.ones((2, 4)), np.ones((2, 4)), ["y has shape (2, 4)", "(1, 4)"]),
        ("poisson", np.ones((2, 4)), -np.ones((2, 4)), ["y holds -1.0"]),
    ):
        for call in (kernels.loss_forward, kernels.loss_backward):
            with pytest.raises(ValueError, match=r"^(kind|y)") as caught:
                call(Z, y, loss)
            assert all(word in str(caught.value) for word in words), str(caught.value)


def test_class_weights_are_refused(backend):
    for loss, n in (("quantile", 1), ("poisson", 1), ("gaussian_nll", 2), ("huber", 1)):
        with pytest.raises(ValueError, match=f"the targets of {loss} are values"):
            net_of(backend, loss, n).fit(X, np.ones((1, M)), class_weight="balanced", progress=False)


@pytest.mark.parametrize("loss", ["quantile", "gaussian_nll"])
def test_outputs_that_determine_no_class(either_backend, loss):
    net = Network([2, 4], loss=loss, seed=0, backend=either_backend)
    with pytest.raises(ValueError, match=f"loss '{loss}' determine no class; use predict"):
        net.predict_classes(np.ones((2, 3)))
