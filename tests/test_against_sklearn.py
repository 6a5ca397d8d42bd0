"""On real tables as good as scikit-learn's MLP of the same settings; and `adapt` on raw columns as good as a scaler."""

import functools
import warnings

import numpy as np
import pytest

import tables_of_people as tables
from fastnn import Adam, Network

sklearn = pytest.importorskip("sklearn")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SEEDS = range(5)
HIDDEN, EPOCHS, BATCH, LR = 50, 100, 32, 2e-3


def friedman():
    from sklearn.datasets import make_friedman1

    X, y = make_friedman1(1000, noise=1.0, random_state=0)
    return X.T, y


def diabetes():
    from sklearn.datasets import load_diabetes

    X, y = load_diabetes(return_X_y=True, scaled=False)
    return X.T, y


DATA = {
    "friedman1": friedman,
    "diabetes": diabetes,
    "airfoil": tables.airfoil,
    "autos": tables.autos,
    "horses": tables.horses,
    "wines": tables.wines,
}


def score(y, found, is_classes):
    """Accuracy, or r2."""
    return (found == y).mean() if is_classes else 1 - np.square(y - found).sum() / np.square(y - y.mean()).sum()


def sklearn_s(X, y, X_test, seed, is_classes):
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    kind = MLPClassifier if is_classes else MLPRegressor
    settings = {"alpha": 0.0, "batch_size": BATCH, "learning_rate_init": LR, "max_iter": EPOCHS}
    model = kind(hidden_layer_sizes=(HIDDEN,), **settings, tol=0.0, n_iter_no_change=EPOCHS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it did not converge
        return model.fit(X.T, y).predict(X_test.T)


def fastnn_s(X, y, X_test, seed, is_classes, adapts):
    outputs = y.max() + 1 if is_classes else 1
    kinds = ["relu", "softmax" if is_classes else "identity"]
    net = Network([len(X), HIDDEN, outputs], kinds, init="xavier_uniform", seed=seed)
    if adapts:
        net.adapt(X, None if is_classes else y)
    net.fit(X, y, epochs=EPOCHS, batch_size=BATCH, optimizer=Adam(LR), progress=False)
    return net.predict_classes(X_test) if is_classes else net.predict(X_test)[0]


@functools.cache
def scores(name):
    """(3, seeds): scikit-learn's with a scaler, ours with the same one, ours on raw columns with adapt."""
    X, y = DATA[name]()
    is_classes, found = y.dtype.kind == "i", []
    for seed in SEEDS:
        order = np.random.default_rng(seed).permutation(len(y))
        train, test = order[len(y) // 4 :], order[: len(y) // 4]
        mean, scale = X[:, train].mean(axis=1, keepdims=True), X[:, train].std(axis=1, keepdims=True)
        scale[scale == 0] = 1
        low, spread = (0, 1) if is_classes else (y[train].mean(), y[train].std())
        Xs, ys = (X - mean) / scale, y if is_classes else (y - low) / spread
        scaled = Xs[:, train], ys[train], Xs[:, test], seed, is_classes
        each = [sklearn_s(*scaled), fastnn_s(*scaled, adapts=False)]
        each = [guess if is_classes else guess * spread + low for guess in each]
        each.append(fastnn_s(X[:, train], y[train], X[:, test], seed, is_classes, adapts=True))
        found.append([score(y[test], guess, is_classes) for guess in each])
    return np.array(found).T


def assert_no_worse(ours, theirs, rounding=0.0):
    """`rounding`: what two runs of the same steps may differ by; their standard error is of that size, too."""
    difference = ours - theirs
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    assert difference.mean() >= -max(2 * error, rounding), f"ours {ours.round(3)}, theirs {theirs.round(3)}"


@pytest.mark.parametrize("name", DATA)
def test_as_good_as_sklearn(name):
    theirs, ours, _ = scores(name)
    assert_no_worse(ours, theirs)


@pytest.mark.parametrize("name", DATA)
def test_adapt_on_raw_columns_is_as_good_as_a_scaler(name):
    theirs, scaled, adapted = scores(name)
    assert_no_worse(adapted, scaled, rounding=1e-5)
    assert_no_worse(adapted, theirs)
