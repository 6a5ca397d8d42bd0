"""fastnn.sklearn's estimators: scikit-learn's numbers, what goes beyond them, and life inside its tools."""

import copy
import inspect
import itertools
import pickle
import re
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

import fastnn
from case_helpers import bits
from conftest import COMPILED, alone

sklearn = pytest.importorskip("sklearn", "1.5")

import sklearn.neural_network as theirs  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import ConvergenceWarning, NotFittedError  # noqa: E402

import fastnn.sklearn as ours  # noqa: E402
from fastnn.sklearn import MLPClassifier, MLPRegressor, lbfgs  # noqa: E402
from fastnn.sklearn.data import Data  # noqa: E402

threadpoolctl.threadpool_limits(1, user_api="blas")  # as in conftest.py, of the BLAS that SciPy brings

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RELEASE = tuple(int(part) for part in sklearn.__version__.split(".")[:2])
RNG = np.random.default_rng(11)
X = RNG.standard_normal((150, 6))
VALUE = np.sin(X[:, 0]) + X[:, 1] * X[:, 2]
LABELS = np.stack([VALUE > 0, X[:, 3] > 0.2, X[:, 4] < 0], axis=1).astype(int)
Y = {
    "one output": VALUE,
    "several outputs": np.stack([VALUE, X[:, 3], np.cos(X[:, 4])], axis=1),
    "binary": np.where(VALUE > 0, "yes", "no"),
    "multiclass": np.digitize(VALUE, [-1, 0, 1]),
    "multilabel": LABELS,
}
QUICK = {"hidden_layer_sizes": (5,), "max_iter": 5, "random_state": 0}
SMALL = {"hidden_layer_sizes": (7, 5), "max_iter": 10, "random_state": 3, "learning_rate_init": 0.01, "batch_size": 40}


def kind_of(y, package=ours):
    """The class for targets of this name."""
    return package.MLPRegressor if "output" in y else package.MLPClassifier


def both(y, dtype=np.float64, **settings):
    """scikit-learn's estimator and ours of the same settings, fitted."""
    settings = SMALL | {"alpha": 0.01} | settings
    return [kind_of(y, package)(**settings).fit(X.astype(dtype), Y[y]) for package in (theirs, ours)]


def assert_same_course(a, b, tolerance):
    np.testing.assert_allclose(b.loss_curve_, a.loss_curve_, rtol=tolerance)
    for name in ("coefs_", "intercepts_"):
        for T, U in zip(getattr(a, name), getattr(b, name), strict=True):
            np.testing.assert_allclose(U, T, rtol=100 * tolerance, atol=100 * tolerance)


# --- scikit-learn's numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("y", Y)
def test_follows_scikit_learn(y, solver):
    a, b = both(y, solver=solver, activation="logistic" if solver == "sgd" else "tanh", shuffle=False)
    assert_same_course(a, b, 1e-8)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_", "validation_scores_"):
        assert getattr(a, name) == getattr(b, name), name
    for name in ("loss_", "best_loss_"):
        assert getattr(b, name) == pytest.approx(getattr(a, name), rel=1e-8)
    if "output" in y:
        np.testing.assert_allclose(b.predict(X), a.predict(X), atol=1e-8)
    else:
        np.testing.assert_array_equal(b.predict(X), a.predict(X))
        np.testing.assert_array_equal(b.classes_, a.classes_)
        np.testing.assert_allclose(b.predict_proba(X), a.predict_proba(X), atol=1e-8)


@pytest.mark.parametrize("activation", ["identity", "logistic", "relu"])
def test_without_hidden_layers_it_starts_as_scikit_learn_does(activation):
    assert_same_course(*both("multiclass", hidden_layer_sizes=(), activation=activation), 1e-8)
    MLPClassifier(hidden_layer_sizes=(), activation=[], max_iter=1).fit(X, Y["multiclass"])


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("y", Y)
def test_follows_scikit_learn_everywhere(y, solver, activation, dtype):
    for shuffle, early_stopping in itertools.product([False, True], repeat=2):
        how = {"solver": solver, "activation": activation, "shuffle": shuffle, "early_stopping": early_stopping}
        a, b = both(y, dtype, **how)
        if dtype == np.float64:
            assert_same_course(a, b, 1e-8)
            if early_stopping:
                np.testing.assert_allclose(b.validation_scores_, a.validation_scores_, rtol=1e-7)
                assert b.best_validation_score_ == pytest.approx(a.best_validation_score_, rel=1e-7)
        else:
            np.testing.assert_allclose(b.loss_curve_, a.loss_curve_, rtol=1e-4)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("learning_rate", ["invscaling", "adaptive"])
def test_learning_rates_that_change(learning_rate, momentum):
    how = {"learning_rate": learning_rate, "momentum": momentum, "power_t": 0.3, "max_iter": 40, "solver": "sgd"}
    a, b = both("several outputs", tol=0.02, n_iter_no_change=2, **how)
    assert_same_course(a, b, 1e-8)


def test_a_learning_rate_that_becomes_zero():
    how = {"learning_rate": "invscaling", "solver": "sgd"}
    a, b = both("one output", power_t=90.0, **how)
    assert_same_course(a, b, 1e-8)
    c = MLPRegressor(**SMALL | how, alpha=0.01, power_t=200.0).fit(X, VALUE)  # an OverflowError of scikit-learn's
    np.testing.assert_allclose(c.loss_curve_, b.loss_curve_, rtol=1e-12)


@pytest.mark.parametrize("y", ["one output", "binary", "multilabel"])
def test_partial_fit_follows_scikit_learn(y):
    pair = [kind_of(y, package)(**SMALL | {"batch_size": 10}, solver="sgd") for package in (theirs, ours)]
    classes = {} if "output" in y else {"classes": [0, 1, 2] if y == "multilabel" else np.unique(Y[y])}
    for part in np.array_split(np.arange(150), 5):
        for model in pair:
            model.partial_fit(X[part], Y[y][part], **classes)
    assert_same_course(*pair, 1e-8)
    assert pair[0].t_ == pair[1].t_ == 150


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("y", ["one output", "binary", "multiclass", "multilabel"])
def test_early_stopping_is_scikit_learn_s(y, shuffle):
    how = {
        "early_stopping": True,
        "n_iter_no_change": 2,
        "max_iter": 60,
        "learning_rate_init": 0.05,
        "shuffle": shuffle,
    }
    a, b = both(y, **how)
    assert_same_course(a, b, 1e-8)
    assert a.n_iter_ == b.n_iter_ < 60
    np.testing.assert_allclose(b.validation_scores_, a.validation_scores_, rtol=1e-7)
    assert b.best_loss_ is None
    assert b.best_validation_score_ == pytest.approx(a.best_validation_score_, rel=1e-7)


def test_a_batch_is_200_samples_or_all():
    twice, y = np.tile(X, (2, 1)), np.tile(VALUE, 2)
    auto, given, fewer = (
        MLPRegressor(**QUICK, batch_size=size).fit(twice, y).loss_curve_ for size in ("auto", 200, 100)
    )
    assert auto == given != fewer
    assert MLPRegressor(**QUICK).fit(X, VALUE).loss_ == MLPRegressor(**QUICK, batch_size=150).fit(X, VALUE).loss_


@pytest.mark.filterwarnings("ignore:scipy.optimize:DeprecationWarning")  # scikit-learn 1.5's own
@pytest.mark.parametrize("y", ["one output", "binary", "multiclass", "multilabel"])
def test_lbfgs_follows_scikit_learn(y):
    a, b = both(y, solver="lbfgs", max_iter=8)
    assert b.loss_ == pytest.approx(a.loss_, rel=1e-6)
    assert b.n_iter_ == a.n_iter_
    assert not hasattr(b, "loss_curve_")


def test_lbfgs_of_several_outputs_has_the_right_gradient():
    # scikit-learn's own gives its line search the mean over the outputs, and the gradient of their sum.
    model, y = MLPRegressor(**SMALL, solver="lbfgs", alpha=0.01).fit(X, Y["several outputs"]), Y["several outputs"]
    v, data = model.network_.flat_parameters, Data(X, y, None, None)
    objective = lbfgs._Objective(model.network_, model._task, data, 0.01)
    _, gradient = objective(v)
    directions = RNG.standard_normal((5, len(v)))
    slopes = [(objective(v + 1e-6 * d)[0] - objective(v - 1e-6 * d)[0]) / 2e-6 for d in directions]
    np.testing.assert_allclose(slopes, directions @ gradient, rtol=1e-6)
    W = sum(np.square(layer[0]).sum() for layer in model.network_.parameters)
    assert model.loss_ == pytest.approx(model.network_.loss(X.T, y.T) / 6 + 0.01 / 2 * W / 150, rel=1e-9)


@pytest.mark.skipif(RELEASE < (1, 7), reason="scikit-learn's MLP takes sample_weight since 1.7")
@pytest.mark.parametrize("y", ["several outputs", "multiclass"])
def test_weights_of_samples_are_scikit_learn_s(y):
    weights = RNG.uniform(0, 3, 150)
    for size, early_stopping in ((150, False), (135, True)):
        how = SMALL | {"batch_size": size, "alpha": 0.1, "early_stopping": early_stopping}
        a, b = (kind_of(y, package)(**how).fit(X, Y[y], weights) for package in (theirs, ours))
        assert_same_course(a, b, 1e-8)
        if early_stopping:
            np.testing.assert_allclose(b.validation_scores_, a.validation_scores_, rtol=1e-8)


@alone
@pytest.mark.parametrize("make", [lambda: None, lambda: np.random.RandomState(4)], ids=["global", "instance"])
def test_generators_are_advanced_as_by_scikit_learn(make):
    found = []
    for package in (theirs, ours):
        np.random.seed(3)
        random_state, models = make(), []
        for early_stopping in (True, False):
            how = SMALL | {"random_state": random_state, "early_stopping": early_stopping}
            models.append(package.MLPRegressor(**how).fit(X, VALUE))
        found.append(models)
    for a, b in zip(*found, strict=True):
        assert_same_course(a, b, 1e-8)
    np.random.seed(3)
    a, b = (MLPRegressor(**SMALL | {"random_state": make()}, init="he").fit(X, VALUE) for _ in range(2))
    assert (a.loss_curve_ == b.loss_curve_) is (make() is not None)  # the global generator has moved on


@pytest.mark.skipif(RELEASE < (1, 7), reason="scikit-learn's MLP has the loss since 1.7")
def test_poisson_is_scikit_learn_s():
    y = RNG.poisson(np.exp(X[:, :2]))
    for targets in (y, y[:, 0]):
        a, b = (M.MLPRegressor(loss="poisson", **SMALL).fit(X, targets) for M in (theirs, ours))
        assert_same_course(a, b, 1e-8)
        np.testing.assert_allclose(b.predict(X), a.predict(X), rtol=1e-7)
        assert b.out_activation_ == "exp"


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_parameters_are_scikit_learn_s_in_order(name):
    mine, their = (inspect.signature(getattr(package, name)).parameters for package in (ours, theirs))
    mine, their = list(mine.values()), list(their.values())
    if "loss" not in [p.name for p in their] and name == "MLPRegressor":
        assert mine.pop(0).name == "loss"  # of later releases
    assert mine[: len(their)] == their
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in mine[len(their) :])


# --- predictions --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted():
    return {y: kind_of(y)(**SMALL).fit(X, Y[y]) for y in Y}


BAD = {
    "a NaN": np.where(np.arange(6) == 2, np.nan, X[:3]),
    "an infinity": np.where(np.arange(6) == 2, np.inf, X[:3]),
    "too few features": X[:, :5],
    "one dimension": X[0],
    "no samples": X[:0],
    "strings": np.array([["a"] * 6]),
    "complex": X[:2] + 1j,
}


@pytest.mark.parametrize("what", BAD)
def test_what_predict_refuses_is_what_scikit_learn_refuses(fitted, what):
    their = theirs.MLPRegressor(hidden_layer_sizes=(2,), max_iter=1).fit(X, VALUE)
    with pytest.raises(ValueError) as wanted:
        their.predict(BAD[what])
    with pytest.raises(ValueError) as got:
        fitted["one output"].predict(BAD[what])
    assert str(got.value) == str(wanted.value)


@pytest.mark.parametrize("y", Y)
def test_predictions_of_any_x_are_the_same(fitted, y):
    from scipy.sparse import csc_matrix, csr_array

    model = fitted[y]
    predict = model.predict if "output" in y else model.predict_proba
    want = predict(X)
    single = np.concatenate([predict(X[i : i + 1]) for i in range(20)])
    exact = 0 if COMPILED else 1e-13  # NumPy rounds by shape and layout
    np.testing.assert_allclose(single, want[:20], rtol=exact, atol=exact)
    for same in (np.asfortranarray(X), X[:, ::-1][:, ::-1], X.tolist(), X.astype(object)):
        np.testing.assert_allclose(predict(same), want, rtol=exact, atol=exact)
    for same in (csr_array(X), csc_matrix(X)):
        np.testing.assert_allclose(predict(same), want, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(predict(X), want)
    A = model.network_.predict(X.T)
    assert (want if want.ndim == 1 else want[:, -1]).tolist() == A[-1].tolist()


@alone
@pytest.mark.skipif(fastnn.info()["backend"] != "compiled", reason="the NumPy backend computes with copies")
def test_x_is_not_copied():
    big, y = np.ones((2000, 500), "f4"), np.arange(2000) % 3
    models = [MLPClassifier((2,), max_iter=2, random_state=0, shuffle=shuffle) for shuffle in (True, False)]
    models[0].fit(big[:10], y[:10]).predict(big[:10])
    tracemalloc.start()
    try:
        for model in models:
            model.fit(big, y).predict(big)
        assert tracemalloc.get_traced_memory()[1] < 0.1 * big.nbytes
    finally:
        tracemalloc.stop()


def test_float32_stays_float32():
    model = MLPClassifier(**SMALL).fit(X.astype("f4"), Y["multiclass"])
    assert model.network_.dtype == np.float32
    assert {T.dtype for T in model.coefs_ + model.intercepts_} == {np.dtype("f4")}
    assert model.predict_proba(X).dtype == model.predict_log_proba(X.astype("f4")).dtype == np.float32


def test_lbfgs_computes_in_float64(monkeypatch):
    seen, objective = [], lbfgs._Objective
    monkeypatch.setattr(lbfgs, "_Objective", lambda net, *rest: seen.append(net.dtype) or objective(net, *rest))
    how = SMALL | {"solver": "lbfgs", "max_iter": 8}
    single, double = (MLPClassifier(**how).fit(X.astype(kind), Y["binary"]) for kind in ("f4", "f8"))
    assert seen == [np.float64] * 2
    assert single.predict_proba(X).dtype == np.float32
    assert single.loss_ == pytest.approx(double.loss_, rel=5e-7)


def test_b04_b10_labels_of_any_kind_in_numpy_s_order():
    for y, classes in ((["10", "2"] * 2, ["10", "2"]), ([10, 2] * 2, [2, 10]), ([True, False] * 2, [False, True])):
        model = MLPClassifier((8,), solver="lbfgs", random_state=0).fit([[0], [1], [0], [1]], y)
        assert model.classes_.tolist() == classes
        assert model.predict([[0], [1]]).tolist() == y[:2]
        again = pickle.loads(pickle.dumps(model))
        assert again.predict([[0], [1]]).tolist() == y[:2]
    words = np.array(["cat", "dog"] * 30)
    model = MLPClassifier((8,), early_stopping=True, max_iter=3, random_state=0)
    model.fit(np.eye(2)[np.arange(60) % 2], words)
    assert model.classes_.tolist() == ["cat", "dog"]
    assert len(model.validation_scores_) == 3


def test_sparse_labels_come_back_sparse():
    from scipy.sparse import csr_matrix, issparse

    dense, sparse = (MLPClassifier(**SMALL).fit(X, y) for y in (LABELS, csr_matrix(LABELS)))
    found = sparse.predict(X)
    assert issparse(found)
    np.testing.assert_array_equal(found.toarray(), dense.predict(X))


def test_coefs_can_be_assigned_and_not_changed_in_place():
    model = MLPRegressor(**SMALL).fit(X, VALUE)
    with pytest.raises(TypeError, match="coefs_ is a snapshot"):
        model.coefs_[0] = model.coefs_[0]
    with pytest.raises(ValueError, match="read-only"):
        model.coefs_[0][:] = 0
    for name in ("coefs_", "intercepts_"):
        with pytest.raises(ValueError, match=f"{name} must be a list of 3 arrays, one for each layer, got 1"):
            setattr(model, name, getattr(model, name)[:1])
    zeros = [np.zeros_like(W) for W in model.coefs_]
    shape = model.coefs_[1].shape
    with pytest.raises(ValueError, match=re.escape(f"coefs_[1] has shape {shape[::-1]}, wanted {shape}")):
        model.coefs_ = [zeros[0], zeros[1].T, zeros[2]]
    with pytest.raises(ValueError, match=re.escape("intercepts_[2] has shape (2,), wanted (1,)")):
        model.intercepts_ = [*model.intercepts_[:2], [7.0, 7.0]]
    model.coefs_, model.intercepts_ = zeros, [*model.intercepts_[:2], [7.0]]
    assert model.predict(X).tolist() == [7.0] * 150
    assert pickle.loads(pickle.dumps(model.coefs_))[0].tolist() == zeros[0].tolist()
    with pytest.raises(AttributeError, match="not fitted"):
        MLPRegressor().coefs_ = zeros
    assert not hasattr(MLPRegressor(), "coefs_")
    with pytest.raises(NotFittedError):
        MLPRegressor().predict(X)


# --- beyond scikit-learn's ------------------------------------------------------------------------------


def test_quantiles():
    y = RNG.standard_normal(150)  # does not depend on X
    levels = {"levels": [0.1, 0.5, 0.9]}
    model = MLPRegressor(("quantile", levels), (3,), learning_rate_init=0.05, random_state=0, tol=0.0).fit(X[:, :1], y)
    found = model.predict(X[:, :1])
    assert found.shape == (150, 3)
    assert [float((y <= q).mean()) for q in found.T] == pytest.approx([0.1, 0.5, 0.9], abs=0.05)
    left = np.square(y - found[:, 1]).sum()
    assert model.score(X[:, :1], y) == pytest.approx(1 - left / np.square(y - y.mean()).sum())
    assert MLPRegressor("quantile", **SMALL).fit(X, y).predict(X).shape == (150,)
    with pytest.raises(ValueError, match="one target, and y has 3"):
        MLPRegressor("quantile", **SMALL).fit(X, Y["several outputs"])


@pytest.mark.parametrize("y", ["one output", "several outputs"])
def test_means_and_deviations(y):
    model = MLPRegressor("gaussian_nll", **SMALL, early_stopping=True).fit(X, Y[y])
    mean, std = model.predict(X, return_std=True)
    assert mean.shape == std.shape == Y[y].shape
    assert (std > 0).all()
    np.testing.assert_array_equal(mean, model.predict(X))
    s = np.split(model.network_.predict(X.T), 2)[1]
    np.testing.assert_allclose(std.T.reshape(s.shape), np.exp(s / 2))
    assert np.isfinite(model.score(X, Y[y]))
    with pytest.raises(ValueError, match="return_std=True needs loss='gaussian_nll'"):
        MLPRegressor(**SMALL).fit(X, Y[y]).predict(X, return_std=True)


@pytest.mark.parametrize("loss", ["mse", "mae", ("huber", {"delta": 0.5}), "poisson", "binary_cross_entropy"])
def test_losses_of_fastnn(loss):
    y = np.abs(VALUE) if loss == "poisson" else VALUE > 0 if loss == "binary_cross_entropy" else VALUE
    model = MLPRegressor(loss, **SMALL | {"max_iter": 1, "alpha": 0.0, "shuffle": False, "batch_size": 150}).fit(X, y)
    fresh = MLPRegressor(loss, **SMALL | {"max_iter": 1, "learning_rate_init": 1e-30}).fit(X, y)
    constant = model._task.constant(y, None)
    assert model.loss_ == pytest.approx(fresh.network_.loss(X.T, y.astype(float)) + constant, rel=1e-12)


def test_activations_of_each_layer():
    model = MLPClassifier((4, 3), ["logistic", ("elu", {"alpha": 2.0})], max_iter=2, random_state=0).fit(X, LABELS)
    assert model.network_.activations == ("sigmoid", ("elu", {"alpha": 2.0}), "sigmoid")
    model = MLPClassifier((4,), "gelu", max_iter=2).fit(X, LABELS)
    assert model.network_.activations[0] == ("gelu", {"approximate": 0.0})
    assert MLPRegressor(hidden_layer_sizes=(), max_iter=2).fit(X, VALUE).n_layers_ == 2
    with pytest.raises(ValueError, match=r"activation has 1 entries, wanted 2"):
        MLPClassifier((4, 3), ["relu"]).fit(X, LABELS)
    for several in (("relu", "tanh"), (("elu", {"alpha": 2.0}), "tanh")):
        with pytest.raises(TypeError, match=r"activation must be a list .*: write \[.*'tanh'.*\]"):
            MLPClassifier((4, 3), several).fit(X, LABELS)
    with pytest.raises(ValueError, match="activation: no 'rellu' here; did you mean 'relu'"):
        MLPClassifier(activation="rellu").fit(X, LABELS)


def test_init_dropout_norm_threads_and_optimizer_reach_the_network():
    how = {"init": ("normal", {"sd": 0.1}), "dropout": 0.25, "norm": ["batch", None], "threads": 1}
    how |= {"learning_rate_init": 0.001, "optimizer": fastnn.NAdam(0.01, clip_norm=1.0)}
    model = MLPRegressor(**SMALL | how).fit(X, VALUE)
    twin = fastnn.Network(
        [6, 7, 5, 1],
        ["relu", "relu", "identity"],
        "mse",
        how["init"],
        "float64",
        3,
        "auto",
        1,
        dropout=0.25,
        norm=["batch", None],
    )
    assert (model.network_.dropout, model.network_.norm) == (twin.dropout, twin.norm)
    model.set_params(alpha=0.0, loss="mse").fit(X, VALUE)
    history = twin.fit(X.T, VALUE, 10, 40, fastnn.NAdam(0.01, clip_norm=1.0), progress=False)
    assert model.loss_curve_ == history.loss
    assert bits(model.network_) == bits(twin)


def test_a_given_optimizer_is_not_changed():
    first, second = fastnn.Adam(0.1), fastnn.Adam(0.2)
    model = MLPRegressor(**QUICK, optimizer=first, warm_start=True).fit(X, VALUE)
    model.set_params(optimizer=second).fit(X, VALUE)
    assert (first.lr, second.lr, model.network_._trainable.optimizer.lr) == (0.1, 0.2, 0.2)


def test_another_learning_rate_or_solver_leaves_nothing_of_the_old_one():
    model = MLPRegressor(**QUICK, solver="sgd", learning_rate="invscaling", power_t=5.0, warm_start=True).fit(X, VALUE)
    before = model.loss_curve_[-1]
    for _ in range(20):  # with a rate that has almost come to nothing
        assert model.partial_fit(X, VALUE).loss_curve_[-1] > 0.98 * before
    model.set_params(learning_rate="constant", learning_rate_init=0.1).partial_fit(X, VALUE)
    for _ in range(20):
        model.partial_fit(X, VALUE)
    assert model.loss_curve_[-1] < 0.9 * before
    model.set_params(solver="lbfgs").fit(X, VALUE)
    assert not hasattr(model, "loss_curve_")
    assert not hasattr(model, "best_loss_")


def test_no_data_warning_and_none_of_convergence_by_partial_fit():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        MLPRegressor(**QUICK | {"max_iter": 1}).fit(100 * X, VALUE)
        MLPRegressor(**QUICK | {"max_iter": 1}).partial_fit(100 * X, VALUE)
        wild = {"activation": "identity", "learning_rate_init": 0.5, "batch_size": 30}  # the loss rises
        MLPRegressor(**QUICK, solver="sgd", **wild).partial_fit(X, VALUE)
    assert [warning.category for warning in told] == [ConvergenceWarning]


def test_a_schedule_is_not_changed_by_fit():
    optimizer = fastnn.SGD(fastnn.schedules.Cosine(0.1, 10), momentum=0.5)
    model = MLPRegressor(**SMALL | {"optimizer": optimizer, "alpha": 0.01, "learning_rate_init": 0.001})
    rates = []
    model.set_params(callbacks=[lambda epoch, history: rates.append(history.lr[-1])]).fit(X, VALUE)
    assert len(rates) == 10
    assert rates == sorted(rates, reverse=True)
    assert clone(model).optimizer is not optimizer
    assert repr(clone(model).optimizer) == repr(optimizer)


def test_class_weight_is_sample_weight():
    y, weights = Y["binary"], {"yes": 3.0, "no": 0.5}
    each = np.array([weights[label] for label in y])
    a, b = MLPClassifier(**SMALL, class_weight=weights).fit(X, y), MLPClassifier(**SMALL).fit(X, y, each)
    assert a.loss_curve_ == b.loss_curve_
    w = RNG.uniform(0.5, 2, 150)
    a, b = MLPClassifier(**SMALL, class_weight=weights).fit(X, y, w), MLPClassifier(**SMALL).fit(X, y, w * each)
    assert a.loss_curve_ == b.loss_curve_
    balanced = MLPClassifier(**SMALL, class_weight="balanced").fit(X, y)
    counts = {label: (y == label).sum() for label in weights}
    want = MLPClassifier(**SMALL).fit(X, y, [150 / (2 * counts[label]) for label in y])
    assert balanced.loss_curve_ == want.loss_curve_
    with pytest.raises(ValueError, match="needs all data at once"):
        MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=["no", "yes"])
    for weight in (-1.0, np.nan):
        with pytest.raises(ValueError, match=r"class_weight=.*weights must be finite"):
            MLPClassifier(class_weight={"yes": weight}).fit(X, y)


def test_class_weight_with_parts_of_the_data_that_lack_a_class():
    y, weights = Y["binary"], {"yes": 3.0}
    a, b = (MLPClassifier(**SMALL, class_weight=given) for given in (weights, None))
    for part in (y == "no", y == "yes", y != ""):
        each = np.where(y[part] == "yes", 3.0, 1.0)
        a.partial_fit(X[part], y[part], classes=["no", "yes"])
        b.partial_fit(X[part], y[part], each, classes=["no", "yes"])
    assert a.loss_curve_ == b.loss_curve_
    for wrong in ({"yes": 1.0, "nein": 2.0}, {"nein": 2.0}):
        with pytest.raises(ValueError, match="not in class_weight"):
            MLPClassifier(class_weight=wrong).fit(X, y)


@pytest.mark.parametrize("y", ["several outputs", "binary"])
def test_validation_data_and_its_curve(y):
    kind, w = kind_of(y), RNG.uniform(0, 2, 50)
    Xt, yt, Xv, yv = X[:100], Y[y][:100], X[100:], Y[y][100:]
    how = SMALL | {"alpha": 0.0}
    model = kind(**how).fit(Xt, yt, validation_data=(Xv, yv, w))
    assert len(model.validation_loss_curve_) == 10
    assert model.validation_scores_ is None
    assert model.loss_curve_ == kind(**how).fit(Xt, yt).loss_curve_
    targets = yv.T if "output" in y else (yv == "yes").astype(float)
    assert model.validation_loss_curve_[-1] == pytest.approx(
        model.network_.loss(Xv.T, targets, w) * (0.5 / 3 if "output" in y else 1)
    )
    how |= {"max_iter": 100, "n_iter_no_change": 3}
    stopped = kind(**how, early_stopping=True).fit(Xt, yt, validation_data=(Xv, yv))
    assert len(stopped.validation_scores_) == len(stopped.validation_loss_curve_) == stopped.n_iter_
    assert stopped.best_validation_score_ == pytest.approx(stopped.score(Xv, yv))


def test_callbacks_see_the_network_and_can_end_training():
    class Seen:
        begun = None

        def begin(self, net):
            self.begun = net

        def __call__(self, epoch, history):
            self.losses = list(history.loss)
            return epoch == 3

    seen = Seen()
    model = MLPRegressor(**SMALL, callbacks=seen)
    model.fit(X, VALUE)
    assert model.n_iter_ == 4
    assert seen.begun is model.network_
    assert seen.losses == model.loss_curve_


def test_standardize_is_a_scaler_before():
    from sklearn.preprocessing import StandardScaler

    Xs, factor = X * [1, 10, 100, 1e3, 1e4, 1e-3] + 5, 40.0
    scaled = StandardScaler().fit_transform(Xs)
    model = MLPClassifier(**SMALL, standardize=True).fit(Xs, Y["multiclass"])
    want = MLPClassifier(**SMALL).fit(scaled, Y["multiclass"])
    np.testing.assert_allclose(model.predict_proba(Xs), want.predict_proba(scaled), rtol=1e-7)
    values = factor * VALUE + 7
    model = MLPRegressor(**SMALL, standardize=True).fit(Xs, values)
    want = MLPRegressor(**SMALL).fit(scaled, (values - values.mean()) / values.std())
    np.testing.assert_allclose(model.predict(Xs), want.predict(scaled) * values.std() + values.mean(), rtol=1e-7)
    np.testing.assert_allclose(model.loss_curve_, want.loss_curve_, rtol=1e-7)
    stopped = MLPRegressor(**SMALL, standardize=True, early_stopping=True).fit(Xs, values)
    x_mean = stopped.network_.standardisation[0].ravel()  # of the samples that are trained on only
    assert not np.allclose(x_mean, Xs.mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize("init", ["sklearn", "he"])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_a_warm_start_keeps_the_optimizer(solver, init):
    how = SMALL | {"solver": solver, "init": init, "shuffle": init == "he", "early_stopping": False}
    whole = MLPClassifier(**how).fit(X, Y["multiclass"])
    parts = MLPClassifier(**how | {"max_iter": 5}, warm_start=True)
    parts.fit(X, Y["multiclass"])
    parts = pickle.loads(pickle.dumps(parts)) if init == "he" else parts
    parts.fit(X, Y["multiclass"])
    assert parts.loss_curve_ == whole.loss_curve_
    assert bits(parts.network_) == bits(whole.network_)
    assert (parts.n_iter_, parts.t_) == (5, 1500)
    steps = MLPClassifier(**how)
    for _ in range(10):
        steps.partial_fit(X, Y["multiclass"], classes=range(4))
    assert bits(steps.network_) == bits(whole.network_)


def test_early_stopping_of_a_warm_start_goes_back_to_the_best_of_its_epochs():
    data = (X[100:], VALUE[100:])
    how = {"max_iter": 60, "n_iter_no_change": 100, "warm_start": True, "early_stopping": True}
    model = MLPRegressor(**SMALL | how)
    first = model.fit(X[:100], VALUE[:100], validation_data=data).best_validation_score_
    model.set_params(learning_rate_init=0.1, max_iter=4).fit(X[:100], -VALUE[:100], validation_data=data)
    scores = model.validation_scores_[-4:]
    assert scores[-1] < max(scores) < first == model.best_validation_score_
    assert model.score(*data) == pytest.approx(max(scores))


def test_the_attributes_follow_a_warm_start_that_broke_off():
    def fail(epoch, history):
        if epoch == 2:
            raise RuntimeError("my callback")

    for early_stopping in (False, True):
        model = MLPRegressor(**SMALL, warm_start=True, early_stopping=early_stopping)
        model.fit(X, VALUE, validation_data=(X[:50], VALUE[:50]))
        with pytest.raises(RuntimeError, match="my callback"):
            model.set_params(callbacks=fail).fit(X, VALUE, validation_data=(X[:50], VALUE[:50]))
        assert (model.n_iter_, len(model.loss_curve_), model.t_) == (3, 13, 13 * 150)
        assert model.loss_ == model.loss_curve_[-1]
        assert len(model.validation_loss_curve_) == 13
        if early_stopping:
            assert len(model.validation_scores_) == 13
            assert model.score(X[:50], VALUE[:50]) == pytest.approx(model.best_validation_score_)
        with pytest.raises(ValueError, match="sample_weight"):  # before its first epoch
            model.fit(X, VALUE, np.full(150, -1.0))
        assert (model.n_iter_, len(model.loss_curve_)) == (3, 13)


def test_partial_fit_takes_a_changed_learning_rate():
    a, b = (MLPRegressor(**SMALL, shuffle=False).partial_fit(X, VALUE) for _ in range(2))
    a.partial_fit(X, VALUE)
    b.set_params(learning_rate_init=1e-12).partial_fit(X, VALUE)
    b.partial_fit(X, VALUE)
    assert b.loss_curve_[1] - b.loss_curve_[2] < 1e-6 < a.loss_curve_[0] - a.loss_curve_[1]


def test_the_fitted_network_is_an_ordinary_one():
    model = MLPRegressor(**SMALL).fit(X, VALUE)
    net, twin = model.network_, copy.deepcopy(model.network_)
    assert net.fit(X.T, VALUE, 2, progress=False).loss == twin.fit(X.T, VALUE, 2, progress=False).loss
    engine = net._engine
    assert (engine.penalty, engine.loss_factor, engine.reported_factor, engine.eps_with_v) == (0, 1, 0, False)


def test_sparse_x_of_predictions_is_checked_without_scikit_learn_where_that_is_enough(monkeypatch):
    from scipy.sparse import csr_array, csr_matrix

    model, whole = MLPClassifier(**QUICK).fit(X, LABELS), np.ceil(X)
    want = model.predict_proba(whole)
    for made in (csr_array, csr_matrix):
        some = made(whole)
        for M in (some.tocsc(), some.tocoo(), some.astype(int), some.astype(np.float32)):
            np.testing.assert_allclose(model.predict_proba(M), want, rtol=1e-12)
        some.data[1] = np.nan
        for M, message in ((some, "NaN"), (made(whole[:, :4]), "4 features"), (made(whole[:0]), "0 sample")):
            with pytest.raises(ValueError, match=message):
                model.predict_proba(M)
    model.feature_names_in_ = np.array(list("abcdef"), object)
    with pytest.warns(UserWarning, match="feature names"):
        model.predict_proba(csr_array(whole))
    del model.feature_names_in_
    monkeypatch.delattr("fastnn.sklearn.inputs.validate_data")
    np.testing.assert_allclose(model.predict_proba(csr_array(whole)), want, rtol=1e-12)


def test_sparse_x_trains_as_dense_x():
    from scipy.sparse import csr_array

    sparse = np.where(RNG.random(X.shape) < 0.4, X, 0.0)
    for solver in ("adam", "lbfgs"):
        a, b = (MLPClassifier(**SMALL, solver=solver).fit(M, LABELS) for M in (sparse, csr_array(sparse)))
        assert b.loss_ == pytest.approx(a.loss_, rel=1e-9)
    a, b = (MLPClassifier(**SMALL, early_stopping=True).fit(M, LABELS) for M in (sparse, csr_array(sparse)))
    assert a.validation_scores_ == b.validation_scores_


def test_what_scikit_learn_prints(capsys):
    how = {"verbose": True, "max_iter": 60, "tol": 0.05, "n_iter_no_change": 2, "solver": "sgd"}
    for more in ({}, {"learning_rate": "adaptive"}, {"early_stopping": True}):
        both("multiclass", **how, **more)
        lines = capsys.readouterr().out.splitlines()
        assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]
        assert any(line.startswith(("Training loss did not", "Validation score did not")) for line in lines)
    MLPRegressor(solver="lbfgs", verbose=True, max_iter=3).fit(X, VALUE)
    assert capsys.readouterr().out.splitlines()[2].startswith("Iteration 3, loss = ")


# --- errors ---------------------------------------------------------------------------------------------

WRONG = {
    "hidden_layer_sizes must be > 0": {"hidden_layer_sizes": (3, 0)},
    r"hidden_layer_sizes must be one integer or some, got \(3.0,\)": {"hidden_layer_sizes": (3.0,)},
    "hidden_layer_sizes must be one integer or some, got True": {"hidden_layer_sizes": True},
    r"hidden_layer_sizes must be one integer or some, got \[\[3, 4": {"hidden_layer_sizes": [[3, 4]]},
    "learning_rate='adaptive' is for solver='sgd'": {"optimizer": fastnn.SGD(), "learning_rate": "adaptive"},
    "learning_rate_init=0.1 has no effect beside optimizer": {"optimizer": fastnn.SGD(), "learning_rate_init": 0.1},
    "momentum=0.5 has no effect beside optimizer": {
        "optimizer": fastnn.SGD(),
        "learning_rate_init": 0.001,
        "momentum": 0.5,
    },
    "solver='sgd' has no effect beside optimizer": {"optimizer": fastnn.Adam(), "solver": "sgd"},
    r"AdamW.* has a weight decay beside alpha=0.0001: set alpha=0": {"optimizer": fastnn.AdamW()},
    "write fastnn.SGD": {"optimizer": "sgd"},
    "loss 'cross_entropy' needs a target for each class.* MLPClassifier": {"loss": "cross_entropy"},
    "init: no 'glorot' here; choose sklearn or one of zeros": {"init": "glorot"},
    "dropout must be a share below 1": {"dropout": 1.5},
    "optimizer has no effect with solver='lbfgs'": {"optimizer": fastnn.SGD(), "solver": "lbfgs"},
    "dropout has no effect with solver='lbfgs'": {"dropout": 0.5, "solver": "lbfgs"},
    "norm='batch' has no effect with solver='lbfgs'": {"norm": "batch", "solver": "lbfgs"},
    "callbacks has no effect with solver='lbfgs'": {"callbacks": [print], "solver": "lbfgs"},
    "validation set is too small": {"early_stopping": True, "validation_fraction": 0.001},
    "'momentum' parameter": {"momentum": 1.0},
    "'standardize' parameter": {"standardize": "yes"},
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_parameter_is_named_and_nothing_has_changed(message):
    model = MLPRegressor(**SMALL | {"max_iter": 2}).fit(X, VALUE)
    before, loss = bits(model.network_), model.loss_
    with pytest.raises((ValueError, TypeError), match=message):
        clone(model).set_params(**WRONG[message]).fit(X[:, :4], VALUE)
    with pytest.raises((ValueError, TypeError), match=message):
        model.set_params(**WRONG[message]).fit(X[:, :4], VALUE)
    assert (bits(model.network_), model.loss_, model.n_features_in_) == (before, loss, 6)
    model.predict(X)


NAMES_ELSEWHERE = {
    "lr": "learning_rate_init",
    "epochs": "max_iter",
    "hidden_layers": "hidden_layer_sizes",
    "seed": "random_state",
    "weight_decay": "alpha",
    "n_jobs": "threads",
    "standardise": "standardize",
    "activations": "activation",
}


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
def test_arguments_of_other_names_are_told(estimator):
    for name, told in NAMES_ELSEWHERE.items():
        with pytest.raises(
            TypeError, match=rf"{estimator.__name__}\(\) has no argument '{name}'; did you mean '{told}'\?$"
        ):
            estimator(**{name: 1})
    with pytest.raises(TypeError, match=rf"{estimator.__name__}.fit\(\) has no argument 'epochs'; it has X, y, "):
        estimator().fit(X, VALUE, epochs=5)
    with pytest.raises(TypeError, match=r"partial_fit\(\) has no argument 'weights'; it has X, y, sample_weight"):
        estimator().partial_fit(X, VALUE, weights=VALUE)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'y'"):
        estimator().fit(X)
    with pytest.raises(AttributeError, match="partial_fit"):
        estimator(solver="lbfgs").partial_fit


def test_every_name_that_fastnn_points_to_is_there():
    for module, names in fastnn.hints._IN_MODULES.items():
        assert set(names) <= set(dir(getattr(fastnn, module)))
    assert set(fastnn.hints._IN_MODULES["exchange"]) == set(fastnn.exchange.__all__)


@pytest.mark.parametrize("dtype", ["M8[s]", "m8[s]", "U", "S"])
def test_targets_that_are_no_numbers_are_refused(dtype):
    told = "divide by np.timedelta64" if dtype[0] in "mM" else r"write y\.astype\(float\) .* MLPClassifier"
    for y in (np.arange(len(X)).astype(dtype), np.arange(2 * len(X)).astype(dtype).reshape(-1, 2)):
        with pytest.raises(TypeError, match=f"y must be numbers, got .*: .*{told}"):
            MLPRegressor(**QUICK).fit(X, y)
    MLPRegressor(**QUICK | {"tol": 100, "n_iter_no_change": 1}).partial_fit(X, [True, False] * (len(X) // 2))


def test_partial_fit_checks_parameters_that_have_changed():
    model = MLPRegressor(**SMALL).partial_fit(X, VALUE)
    for name, value, message in (("alpha", -1.0, "'alpha' parameter"), ("hidden_layer_sizes", (3,), "gives .* now")):
        with pytest.raises(ValueError, match=message):
            clone(model).partial_fit(X, VALUE).set_params(**{name: value}).partial_fit(X, VALUE)


def test_wrong_data_is_refused():
    fit = MLPRegressor(**SMALL).fit
    with pytest.raises(ValueError, match=r"sample_weight is 0 for all|at least one non-zero"):
        fit(X, VALUE, np.zeros(150))
    with pytest.raises(ValueError, match="sample_weight"):
        fit(X, VALUE, np.full(150, -1.0))
    with pytest.raises(TypeError, match=r"validation_data must be \(X, y\)"):
        fit(X, VALUE, validation_data=X)
    with pytest.raises(ValueError, match=r"validation_data\[1\] has 3 targets, wanted 1"):
        fit(X, VALUE, validation_data=(X, Y["several outputs"]))
    with pytest.raises(ValueError, match=r"validation_data\[1\] holds \[3\], which is not among the classes.* 2\]$"):
        MLPClassifier(**SMALL).fit(X, Y["multiclass"] % 3, validation_data=(X, Y["multiclass"]))
    with pytest.raises(ValueError, match=r"validation_data\[1\] is of the kind"):
        MLPClassifier(**SMALL).fit(X, Y["multiclass"], validation_data=(X, LABELS))
    for odd in (2 * LABELS - 1, LABELS + 1):
        with pytest.raises(ValueError, match=r"y must hold 0 or 1 .*, it has \[-?1 +[12]\]"):
            MLPClassifier(**SMALL).fit(X, odd)
    labels = MLPClassifier(**SMALL).partial_fit(X, LABELS, classes=range(3))
    for call in (labels.partial_fit, lambda X, y: clone(labels).partial_fit(X, y, classes=range(3))):
        with pytest.raises(ValueError, match=r"y has 2 labels, wanted 3: \[0 1 2\]"):
            call(X, LABELS[:, :2])
    with pytest.raises(ValueError, match="poisson"):
        MLPRegressor("poisson", **SMALL).fit(X, VALUE)
    with pytest.raises(ValueError, match="several outputs of many classes each"):
        MLPClassifier(**SMALL).fit(X, np.stack([Y["multiclass"]] * 2, axis=1))
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        MLPClassifier(**SMALL).partial_fit(X, Y["binary"])
    with pytest.raises(ValueError, match=r"y holds \['yes'\], which is not among the classes"):
        MLPClassifier(**SMALL).partial_fit(X, Y["binary"], classes=["no", "perhaps"])
    with pytest.raises(TypeError, match=r"loss must be a name.* got \(3,\): write hidden_layer_sizes=\(3,\)"):
        MLPRegressor((3,)).fit(X, VALUE)  # the first parameter in scikit-learn 1.6 and before
    with pytest.raises(TypeError, match="a loss of your own is for fastnn"):
        MLPRegressor(lambda A, y: (A, y)).fit(X, VALUE)
    for y in (np.where(np.arange(150) == 3, np.nan, VALUE), np.where(np.arange(150) == 3, np.inf, VALUE)):
        with pytest.raises(ValueError, match="Input y contains"):
            fit(X, y)
    warm = MLPClassifier(**SMALL, warm_start=True).fit(X, Y["multiclass"])
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same classes"):
        warm.fit(X, Y["multiclass"] % 2)
    warm = MLPRegressor(**SMALL, warm_start=True).fit(X, VALUE)
    with pytest.raises(ValueError, match="fit with warm_start=False"):
        warm.fit(X, Y["several outputs"])
    others = {"activation": "tanh", "dropout": 0.5, "norm": "layer", "standardize": True, "threads": 2}
    for name, value in others.items():
        with pytest.raises(ValueError, match=f"{name} gives .* now, and it was"):
            clone(warm).fit(X, VALUE).set_params(**{name: value}).fit(X, VALUE)


def test_a_divergence_is_an_error_and_with_early_stopping_a_warning():
    far = X * [1, 1, 1, 1, 1, 50]
    how = {"activation": "identity", "solver": "sgd", "learning_rate_init": 1.0, "random_state": 0}
    with pytest.raises(ValueError, match=r"Solver produced non-finite parameter weights.* standardize=True .*epoch \d"):
        MLPRegressor(**how).fit(far, VALUE)
    with pytest.raises(ValueError, match=r"need to be preprocessed\. standardize=True does that"):
        MLPRegressor(**QUICK, solver="lbfgs").fit(1e200 * X, 1e200 * VALUE)
    model = MLPRegressor(**how, early_stopping=True)
    with pytest.warns(ConvergenceWarning, match="The weights with the best validation score come back"):
        model.fit(far, VALUE)
    assert np.isnan(model.validation_scores_[-1])
    assert np.isfinite(model.predict(far)).all()


def test_warnings_point_to_the_line_that_called_fit():
    far = X * [1, 1, 1, 1, 1, 50]
    wild = {"activation": "identity", "solver": "sgd", "learning_rate_init": 1.0, "early_stopping": True}
    for parameters, y in ((SMALL, X), (QUICK | {"batch_size": 200}, X), (QUICK | {"solver": "lbfgs"}, X), (wild, far)):
        with pytest.warns() as told:
            MLPRegressor(**parameters | {"random_state": 0}).fit(y, VALUE)
        assert {warning.filename for warning in told} == {__file__}


def test_ctrl_c_ends_training_and_keeps_it():
    def stop(epoch, history):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted"):
        model = MLPRegressor(**SMALL, callbacks=stop).fit(X, VALUE)
    assert model.n_iter_ == len(model.loss_curve_) == 3


@alone
def test_a_missing_or_old_scikit_learn_is_an_import_error(monkeypatch):
    monkeypatch.setattr(sklearn, "__version__", "1.4.2")
    with pytest.raises(ImportError, match=r"1.5 or later, found 1.4.2: write pip install 'scikit-learn>=1.5'"):
        ours._check_scikit_learn()
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match="not here: write pip install"):
        ours._check_scikit_learn()


def test_it_is_an_attribute_of_fastnn():
    assert fastnn.__getattr__("sklearn") is ours


# --- inside scikit-learn's tools ----------------------------------------------------------------------


def test_clone_pickle_and_joblib_dump(tmp_path):
    import joblib

    model = MLPClassifier(**QUICK, class_weight={"yes": 2.0}, optimizer=fastnn.Adam(0.01)).fit(X, Y["binary"])
    fresh = clone(model)
    assert not hasattr(fresh, "network_")
    assert fresh.fit(X, Y["binary"]).loss_curve_ == model.loss_curve_
    joblib.dump(model, tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), loaded):
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
        again.partial_fit(X, Y["binary"])
        assert len(again.loss_curve_) == 6
    assert len(model.loss_curve_) == 5


def test_pipeline_columns_and_set_output():
    pd = pytest.importorskip("pandas")
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = pd.DataFrame(X, columns=list("abcdef")).assign(word=Y["binary"])
    for is_sparse in (False, True):
        words = [("words", OneHotEncoder(sparse_output=is_sparse), ["word"])]
        columns = ColumnTransformer(words, remainder=StandardScaler(), sparse_threshold=float(is_sparse))
        pipe = make_pipeline(columns, MLPRegressor(**QUICK))
        if not is_sparse:
            pipe.set_output(transform="pandas")
        pipe.fit(frame, VALUE)
        assert pipe.predict(frame).shape == (150,)
        assert hasattr(pipe[-1], "feature_names_in_") is not is_sparse
    model = MLPRegressor(**QUICK).fit(frame[list("abcdef")], VALUE)
    assert model.feature_names_in_.tolist() == list("abcdef")
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)


@pytest.mark.parametrize("workers", [pytest.param("loky", marks=pytest.mark.slow), "threading"])
def test_grid_search(workers):
    import joblib
    from sklearn.model_selection import GridSearchCV

    grid = {"hidden_layer_sizes": [(3,), (5, 4)], "optimizer": [None, fastnn.SGD(0.05)], "dropout": [0.0, 0.2]}
    with joblib.parallel_backend(workers, n_jobs=2):
        search = GridSearchCV(MLPClassifier(**QUICK), grid, cv=2).fit(X, Y["multiclass"])
    want = GridSearchCV(MLPClassifier(**QUICK), grid, cv=2, n_jobs=1).fit(X, Y["multiclass"])
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], want.cv_results_["mean_test_score"])


def test_cross_val_score_and_permutation_importance():
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import cross_val_score

    model = MLPRegressor(hidden_layer_sizes=(20,), solver="lbfgs", max_iter=100, random_state=0)
    assert cross_val_score(model, X, VALUE, cv=2).shape == (2,)
    importance = permutation_importance(model.fit(X, VALUE), X, VALUE, n_repeats=2, random_state=0).importances_mean
    assert set(np.argsort(importance)[-3:]) == {0, 1, 2}


def test_calibration_stacking_and_bagging():
    import joblib
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import BaggingClassifier, StackingRegressor

    calibrated = CalibratedClassifierCV(MLPClassifier(**QUICK), cv=2).fit(X, Y["multiclass"], np.ones(150))
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)
    each = [("a", MLPRegressor(**QUICK)), ("b", MLPRegressor("mae", **QUICK))]
    assert StackingRegressor(each, MLPRegressor(**QUICK), cv=2).fit(X, VALUE).predict(X).shape == (150,)
    with joblib.parallel_backend("threading", n_jobs=2):
        bags = BaggingClassifier(MLPClassifier(**QUICK), 4, random_state=0).fit(X, Y["binary"])
    assert set(bags.predict(X)) <= {"yes", "no"}


def test_transformed_target():
    from sklearn.compose import TransformedTargetRegressor

    model = TransformedTargetRegressor(MLPRegressor(**QUICK), func=np.arcsinh, inverse_func=np.sinh).fit(X, VALUE)
    inner = MLPRegressor(**QUICK).fit(X, np.arcsinh(VALUE))
    np.testing.assert_allclose(model.predict(X), np.sinh(inner.predict(X)))


def test_metadata_routing():
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    w = RNG.uniform(0, 1, 150)
    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPClassifier(**QUICK).set_fit_request(sample_weight=True, validation_data=True)
        model.set_score_request(sample_weight=False)
        pipe = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model)
        pipe.fit(X, Y["binary"], sample_weight=w, validation_data=(X, Y["binary"]))
        assert len(pipe[-1].validation_loss_curve_) == 5
        search = GridSearchCV(model, {"alpha": [0.1, 0.2]}, cv=2).fit(X, Y["binary"], sample_weight=w)
        assert search.best_estimator_.network_


# --- scikit-learn's own checks ------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ours.__all__)
def test_check_estimator(name):
    from sklearn.utils.estimator_checks import check_estimator

    check_estimator(getattr(ours, name)())


@pytest.mark.slow
def test_scikit_learn_s_own_tests():
    script, root = Path(__file__).with_name("scikit_learn_tests.py"), str(Path(fastnn.__file__).parents[1])
    code = f"import sys, runpy; sys.path.insert(0, {root!r}); runpy.run_path({str(script)!r}, run_name='__main__')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
