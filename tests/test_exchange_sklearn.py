"""to_sklearn and from_sklearn: the same predictions, classes, what cannot be had there."""

import warnings

import numpy as np
import pytest

import fastnn
from fastnn import Network, datasets
from fastnn.exchange import from_sklearn, to_sklearn
from networks_that_travel import adapted_network, changed, drawn_network

QUICK = {"hidden_layer_sizes": (4,), "tol": 100, "n_iter_no_change": 1}  # the loss improves too little at once
HIDDEN = ["identity", "sigmoid", "tanh", "relu"]


@pytest.fixture(scope="module")
def mlp():
    return pytest.importorskip("sklearn.neural_network")


def assert_near(got, wanted, bound=1e-6):
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= bound * max(1, np.abs(wanted).max())


def predicted(model, X):
    """What the estimator gives for samples as columns, as (n_L, m)."""
    A = model.predict_proba(X.T) if hasattr(model, "predict_proba") else model.predict(X.T)
    return A.T if A.ndim == 2 else A[np.newaxis]


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
def test_networks_give_the_same_there_and_back(mlp, rng, dtype, output):
    for i, hidden in enumerate(HIDDEN * 2):
        net, X = drawn_network(rng, i, dtype, [hidden], [output], [None, "batch"])
        X = X.astype(dtype)
        model, A = to_sklearn(net), net.predict(X)
        assert model.coefs_[0].dtype == dtype
        bound = 1e-6 if dtype == "float32" else 1e-12
        got = predicted(model, X)
        if output == "sigmoid" and len(A) == 1:
            A = np.concatenate([1 - A, A])
        assert_near(got, A, 40 * bound)  # of logits of about 40
        again = from_sklearn(model)
        assert again.dtype == dtype
        wanted = got[1:] if len(again.predict(X)) == 1 < len(got) else got
        assert_near(again.predict(X), wanted, 40 * bound)


def test_what_scikit_learn_fitted(mlp, rng):
    X, y = datasets.load_digits()
    X = (X / 16).T.astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for targets, kind, hidden in (
            (y, "predict_proba", "tanh"),
            (y > 4, "predict_proba", "logistic"),
            (np.stack([y > 4, y % 2 == 0], axis=1), "predict_proba", "relu"),
            (X[:, :2], "predict", "identity"),
            (y / 10, "predict", "relu"),
        ):
            estimator = mlp.MLPRegressor if kind == "predict" else mlp.MLPClassifier
            # 64-64: a square layer
            model = estimator(hidden_layer_sizes=(64, 8), activation=hidden, max_iter=2).fit(X, targets)
            net = from_sklearn(model)
            assert_near(net.predict(X.T)[-1:], predicted(model, X.T)[-1:], 1e-12)
            if kind == "predict_proba" and targets.ndim == 1:
                np.testing.assert_array_equal(model.classes_[net.predict_classes(X.T)], model.predict(X))
            assert_near(predicted(to_sklearn(net), X.T), predicted(model, X.T), 1e-12)


def test_classes(mlp, rng):
    X = rng.standard_normal((4, 60))
    for net, classes in (
        (Network([4, 4, 3], seed=0), ["a", "b", "c"]),
        (Network([4, 4, 2], seed=0), [-1, 1]),
        (Network([4, 4, 1], seed=0), [2, 5]),
        (Network([4, 4, 3], seed=0), None),
    ):
        changed(net, rng)
        state = np.random.get_state()[1].tobytes()
        model = to_sklearn(net, classes)
        assert np.random.get_state()[1].tobytes() == state
        codes = net.predict_classes(X)
        wanted = codes if classes is None else np.array(classes)[codes]
        np.testing.assert_array_equal(model.predict(X.T), wanted)
        assert 0 <= model.score(X.T, wanted) <= 1
        assert model.n_features_in_ == 4
        before = [W.copy() for W in model.coefs_]
        model.partial_fit(X.T, wanted)  # goes on with our weights
        step = max(np.abs(W - V).max() for W, V in zip(model.coefs_, before, strict=True))
        assert step == pytest.approx(model.learning_rate_init, rel=1e-3)  # a first step of Adam, without old moments
    net = changed(Network([4, 4, 3], ["relu", "sigmoid"], seed=0), rng)
    np.testing.assert_array_equal(to_sklearn(net).predict(X.T).T, net.predict_classes(X))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_estimator_keeps_its_classes(mlp, rng):
    from fastnn.sklearn import MLPClassifier

    X = rng.standard_normal((60, 4))
    word = np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]
    for y in (
        word,
        np.digitize(X[:, 1], [-0.5, 0.5]) * 10 - 3,
        np.stack([X[:, 0] > 0, X[:, 1] > 0], axis=1).astype(int),
    ):
        estimator = MLPClassifier((5,), max_iter=3, random_state=0).fit(X, y)
        model = to_sklearn(estimator)
        np.testing.assert_array_equal(model.classes_, estimator.classes_)
        np.testing.assert_array_equal(model.predict(X), estimator.predict(X))
    estimator.fit(X, word)
    assert to_sklearn(estimator, ["a", "b"]).classes_.tolist() == ["a", "b"]


@pytest.mark.parametrize("mean", [0, 1e5])
def test_standardisation_is_folded_in(mlp, rng, mean):
    net, X = adapted_network(rng, "float32", mean)
    model = to_sklearn(net)
    assert_near(model.predict(X.T).T / 30, net.predict(X) / 30)
    assert model.coefs_[0].dtype == np.float64


def test_what_cannot_be_had_is_named(mlp):
    for net, message in (
        (Network([3, 3, 2], ["gelu", "softmax"]), "layer 1 is gelu"),
        (Network([3, 3, 3, 2], ["tanh", "relu", "softmax"]), "hidden layers are tanh, relu"),
        (Network([3, 3, 2], norm="layer"), "layer 1 has layer norm"),
        (Network([3, 3, 2], ["tanh", "tanh"]), "no tanh output"),
    ):
        with pytest.raises(ValueError, match=message):
            to_sklearn(net)
    for net, classes in (
        (Network([2, 3]), ["a", "b"]),
        (Network([2, 3]), ["b", "a", "c"]),
        (Network([2, 1]), ["a", "a"]),
        (Network([2, 2], ["sigmoid"]), [0, 1]),
        (Network([2, 2], ["identity"]), [0, 1]),
    ):
        with pytest.raises(ValueError, match="classes"):
            to_sklearn(net, classes)
    with pytest.raises(TypeError, match="to_sklearn takes"):
        to_sklearn(mlp.MLPClassifier())
    with pytest.raises(ValueError, match="not fitted"):
        from_sklearn(mlp.MLPClassifier())
    with pytest.raises(TypeError, match="MLPClassifier or MLPRegressor, got Network"):
        from_sklearn(Network([2, 1]))
    if "loss" in mlp.MLPRegressor().get_params():
        model = mlp.MLPRegressor(loss="poisson").partial_fit(np.zeros((1, 2)), [1.0])
        if model.out_activation_ != "identity":
            with pytest.raises(ValueError, match=r"layer 2 .* activation 'exp'"):
                from_sklearn(model)


@pytest.fixture(scope="module")
def ours(mlp):
    return pytest.importorskip("fastnn.sklearn")


@pytest.mark.parametrize("labels", [["a", "b", "c"], ["no", "yes"], [3, 7, 1]], ids=str)
def test_an_estimator_keeps_its_labels(ours, rng, labels):
    X = rng.standard_normal((60, 3))
    y = np.array(labels)[X[:, : len(labels)].argmax(axis=1)]
    estimator = ours.MLPClassifier((8,), solver="lbfgs", tol=0.01, random_state=0).fit(X, y)
    model = to_sklearn(estimator)
    np.testing.assert_array_equal(model.classes_, estimator.classes_)
    np.testing.assert_array_equal(model.predict(X), estimator.predict(X))
    assert len(np.unique(model.predict(X))) > 1
    names = np.resize(["x", "y", "z"], len(estimator.classes_))
    if len(names) == 3:
        np.testing.assert_array_equal(to_sklearn(estimator, names).classes_, names)


def test_an_estimator_of_labels_and_its_feature_names(ours, rng):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(rng.standard_normal((40, 3)), columns=["u", "v", "w"])
    estimator = ours.MLPClassifier(**QUICK).fit(X, (X > 0).astype(int))
    model = to_sklearn(estimator)
    np.testing.assert_array_equal(model.predict(X), estimator.predict(X))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(X[["v", "u", "w"]])


def test_a_poisson_estimator_predicts_rates_there(ours, mlp, rng):
    X, y = rng.standard_normal((40, 3)), rng.poisson(3, 40)
    estimator = ours.MLPRegressor("poisson", random_state=0, **QUICK).fit(X, y)
    if "loss" in mlp.MLPRegressor().get_params():
        assert_near(to_sklearn(estimator).predict(X), estimator.predict(X))
    else:
        with pytest.raises(ValueError, match=r"loss='poisson', which .* 1\.7"):
            to_sklearn(estimator)
    assert_near(np.exp(to_sklearn(estimator.network_).predict(X)), estimator.predict(X))


def test_advice_for_what_holds_a_network(ours, mlp, rng, tmp_path):
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from fastnn.exchange import to_c

    X, y = rng.standard_normal((20, 3)), np.resize([0, 1], 20)
    estimator, theirs = ours.MLPClassifier(**QUICK).fit(X, y), mlp.MLPClassifier(**QUICK).fit(X, y)
    pipeline = make_pipeline(StandardScaler(), estimator).fit(X, y)
    search = GridSearchCV(estimator, {"alpha": [0]}, cv=2).fit(X, y)
    for model, message in (
        (pipeline, r"write model\[-1\], whose network does not contain the steps before"),
        (search, r"write model\.best_estimator_"),
        (theirs, r"write to_c\(from_sklearn\(model\)\)"),
        (ours.MLPClassifier(), "none before it is fitted"),
        (fastnn.tabular.TabularModel(), r"write model\.network, whose X is model\.encode"),
        (mlp.MLPClassifier(), r"got MLPClassifier\(\)$"),
    ):
        with pytest.raises(TypeError, match=message):
            to_c(model, tmp_path / "m.c")
    for model, message in (
        (estimator, r"of fastnn: its network is model\.network_"),
        (pipeline, r"write from_sklearn\(model\[-1\]\)"),
        (search, r"write from_sklearn\(model\.best_estimator_\)"),
    ):
        with pytest.raises(TypeError, match=message):
            from_sklearn(model)
    poisson = ours.MLPRegressor("poisson", **QUICK).fit(X, y)
    with pytest.raises(ValueError, match="predicts exp of what its network gives"):
        to_c(poisson, tmp_path / "m.c")
    assert not list(tmp_path.iterdir())
    to_c(poisson.network_, tmp_path / "m.c")
