"""Metrics: against definitions written out for each pair or sample, and scikit-learn where it is installed."""

import itertools

import numpy as np
import pytest

from fastnn import Network, metrics, tables

RNG = np.random.default_rng(3)
M = 60
W = np.round(RNG.uniform(0, 3, M))  # some are 0
Z = RNG.standard_normal((4, M)).round(1)  # rounded, so that outputs are equal now and then
CODES = RNG.integers(0, 4, M)
LABELS = RNG.integers(0, 2, (4, M))
VALUES = RNG.standard_normal((4, M))


def affine(activation, loss, n=4):
    """A network that applies its activation to X."""
    net = Network([n, n], [activation], loss, dtype="float64", seed=0)
    net.set_parameters([(np.eye(n), np.zeros(n))])
    return net


def evaluated(net, X, y, w, *names):
    return net.evaluate(X, y, w, metrics=names)


def area(positive, score, w):
    """Every pair of a positive and a negative sample, one by one."""
    hits = pairs = 0.0
    for i, j in itertools.product(np.flatnonzero(positive), np.flatnonzero(~positive)):
        pairs += w[i] * w[j]
        hits += w[i] * w[j] * (score[i] > score[j] or (score[i] == score[j]) / 2)
    return hits / pairs


def f1(positive, said, w):
    tp = sum(w[positive & said])
    return 2 * tp / (2 * tp + sum(w[~positive & said]) + sum(w[positive & ~said]))


@pytest.mark.parametrize("w", [None, W], ids=["plain", "weighted"])
def test_of_classes(w):
    net, v = affine("softmax", "cross_entropy"), np.ones(M) if w is None else w
    A = net.predict(Z)
    said = A.argmax(axis=0)
    for y in (CODES, np.eye(4)[:, CODES]):
        got = evaluated(net, Z, y, w, "accuracy", ("top_k", {"k": 2}), "auc", "f1")
        assert got["accuracy"] == pytest.approx(sum(v[said == CODES]) / sum(v), rel=1e-12)
        top = [CODES[j] in np.argsort(A[:, j], kind="stable")[::-1][:2] for j in range(M)]
        assert got["top_k"] == pytest.approx(sum(v[top]) / sum(v), rel=1e-12)
        assert got["auc"] == pytest.approx(np.mean([area(i == CODES, A[i], v) for i in range(4)]), rel=1e-12)
        assert got["f1"] == pytest.approx(np.mean([f1(i == CODES, said == i, v) for i in range(4)]), rel=1e-12)


@pytest.mark.parametrize("w", [None, W], ids=["plain", "weighted"])
def test_of_labels(w):
    net, v = affine("sigmoid", "binary_cross_entropy"), np.ones(M) if w is None else w
    A, there = net.predict(Z), LABELS == 1
    got = evaluated(net, Z, LABELS, w, "accuracy", "auc", "f1")
    assert got["accuracy"] == pytest.approx(((A >= 0.5) == there).mean(axis=0) @ v / sum(v), rel=1e-12)
    assert got["auc"] == pytest.approx(np.mean([area(there[i], A[i], v) for i in range(4)]), rel=1e-12)
    assert got["f1"] == pytest.approx(np.mean([f1(there[i], A[i] >= 0.5, v) for i in range(4)]), rel=1e-12)


def test_two_classes_are_one_question():
    codes = CODES % 2
    for net, X in (
        (affine("softmax", "cross_entropy", 2), Z[:2]),
        (affine("sigmoid", "binary_cross_entropy", 1), Z[:1]),
    ):
        A = net.predict(X)[-1]
        got = evaluated(net, X, codes, None, "auc", "f1")
        assert got["auc"] == pytest.approx(area(codes == 1, A, np.ones(M)), rel=1e-12)
        said = net.predict_classes(X) == 1
        assert got["f1"] == pytest.approx(f1(codes == 1, said, np.ones(M)), rel=1e-12)


@pytest.mark.parametrize("w", [None, W], ids=["plain", "weighted"])
def test_of_values(w):
    net, v = affine("identity", "mse"), np.ones(M) if w is None else w
    got = evaluated(net, Z, VALUES, w, "r2", "rmse", "mae")
    error = Z - VALUES
    assert got["rmse"] == pytest.approx(np.mean([np.sqrt(v @ e**2 / sum(v)) for e in error]), rel=1e-12)
    assert got["mae"] == pytest.approx(np.mean([v @ abs(e) / sum(v) for e in error]), rel=1e-12)
    r2 = [1 - v @ e**2 / (v @ (y - v @ y / sum(v)) ** 2) for e, y in zip(error, VALUES, strict=True)]
    assert got["r2"] == pytest.approx(np.mean(r2), rel=1e-12)


def test_edges():
    net = affine("identity", "mse", 1)
    assert net.evaluate([[2.0, 2.0]], [2.0, 2.0], metrics=["r2"])["r2"] == 1  # nothing to explain, and no error
    assert net.evaluate([[2.0, 3.0]], [2.0, 2.0], metrics=["r2"])["r2"] == 0
    one = affine("sigmoid", "binary_cross_entropy", 1)
    assert np.isnan(one.evaluate([[1.0, 2.0]], [1, 1], metrics=["auc"])["auc"])  # there is no negative sample
    assert one.evaluate([[-1.0, -2.0]], [0, 0], metrics=["f1"])["f1"] == 0
    assert np.isnan(one.evaluate([[np.nan, 2.0]], [0, 1], metrics=["auc"])["auc"])
    broken = np.full((4, 3), np.nan)
    got = affine("softmax", "cross_entropy").evaluate(
        broken, [1, 2, 3], metrics=["accuracy", ("top_k", {"k": 1}), "f1"]
    )
    assert all(np.isnan(value) for value in got.values())
    with np.errstate(all="raise"):
        got = net.evaluate([[1.0, 2.0, 3.0]], [1.0, np.nan, 2.0], metrics=["r2", "rmse"])
        assert np.isnan([got["r2"], got["rmse"]]).all()
        assert net.evaluate(np.zeros((1, 10)), np.full(10, 0.1), metrics=["r2"])["r2"] == 0  # y does not vary
        assert np.isnan(net.evaluate([[1.0]], [1.0], metrics=["r2"])["r2"])  # of one sample
        assert net.evaluate([[1e200, 1.0]], [0.0, 1.0], metrics=["rmse"])["rmse"] == np.inf
    many = affine("softmax", "cross_entropy")
    assert many.evaluate(5 * np.eye(4)[:, :3], [0, 1, 2], metrics=["f1"])["f1"] == 1  # class 3 does not occur
    assert many.evaluate(np.zeros((4, 4)), [0, 1, 2, 3], metrics=[("top_k", {"k": 2})])["top_k"] == 0.5


def test_equal_to_scikit_learn():
    sk = pytest.importorskip("sklearn.metrics")
    A = affine("softmax", "cross_entropy").predict(Z)
    for w in (None, W):
        got = evaluated(affine("softmax", "cross_entropy"), Z, CODES, w, "accuracy", ("top_k", {"k": 2}), "auc", "f1")
        assert got["accuracy"] == pytest.approx(sk.accuracy_score(CODES, A.argmax(0), sample_weight=w))
        assert got["top_k"] == pytest.approx(sk.top_k_accuracy_score(CODES, A.T, k=2, sample_weight=w))
        assert got["auc"] == pytest.approx(sk.roc_auc_score(CODES, A.T, multi_class="ovr", sample_weight=w))
        assert got["f1"] == pytest.approx(sk.f1_score(CODES, A.argmax(0), average="macro", sample_weight=w))
        few = CODES < 2  # two classes do not occur, but are predicted now and then
        got = evaluated(affine("softmax", "cross_entropy"), Z[:, few], CODES[few], None, "f1", ("top_k", {"k": 4}))
        assert got["f1"] == pytest.approx(sk.f1_score(CODES[few], A[:, few].argmax(0), average="macro"))
        assert got["top_k"] == 1
        got = evaluated(affine("sigmoid", "binary_cross_entropy"), Z, LABELS, w, "auc", "f1")
        S = affine("sigmoid", "binary_cross_entropy").predict(Z)
        assert got["auc"] == pytest.approx(sk.roc_auc_score(LABELS.T, S.T, sample_weight=w))
        assert got["f1"] == pytest.approx(sk.f1_score(LABELS.T, S.T >= 0.5, average="macro", sample_weight=w))
        got = evaluated(affine("identity", "mse"), Z, VALUES, w, "r2", "rmse", "mae")
        assert got["r2"] == pytest.approx(sk.r2_score(VALUES.T, Z.T, sample_weight=w))
        assert got["rmse"] == pytest.approx(sk.root_mean_squared_error(VALUES.T, Z.T, sample_weight=w))
        assert got["mae"] == pytest.approx(sk.mean_absolute_error(VALUES.T, Z.T, sample_weight=w))


def test_functions_of_the_user(backend):
    net, seen = Network([2, 3], seed=0, backend=backend), []
    X, y = np.ones((2, 5)), [0, 1, 2, 0, 1]

    def margin(y, A):
        seen.append((y, A.shape))
        assert not A.flags.writeable
        net.predict(X)  # any call but a change is free here
        return np.float32(A.max())

    got = net.evaluate(X, y, metrics=[margin, "accuracy"])
    assert list(got) == ["loss", "margin", "accuracy"]
    assert seen == [(y, (3, 5))]
    assert got["margin"] == net.predict(X).max()
    assert type(got["margin"]) is float


def test_each_row_has_a_function():
    assert {*metrics._OF_CLASSES, *metrics._OF_VALUES} == set(tables.METRICS)


def test_refusals():
    softmax, values = affine("softmax", "cross_entropy"), affine("identity", "mse")
    labels = affine("sigmoid", "binary_cross_entropy")

    def refused(call, error, *words):
        with pytest.raises(error) as caught:
            call()
        for word in words:
            assert word in str(caught.value), str(caught.value)

    for given in ("accuracy", len, ("top_k", {"k": 2})):
        refused(
            lambda g=given: softmax.evaluate(Z, CODES, metrics=g),
            TypeError,
            "metrics must be a list",
            "write metrics=[",
        )
    for given in (5, None, {"f1": 1}):
        refused(lambda g=given: softmax.evaluate(Z, CODES, metrics=g), TypeError, "metrics must be a list", "got")
    refused(lambda: softmax.evaluate(Z, CODES, ["auc"]), TypeError, "write metrics=['auc']")
    refused(lambda: softmax.evaluate(Z, CODES, metrics=["acc"]), ValueError, "metrics[0]", "did you mean 'accuracy'")
    refused(lambda: softmax.evaluate(Z, CODES, metrics=["r2"]), ValueError, "metrics[0]: r2 is for values")
    refused(lambda: values.evaluate(Z, VALUES, metrics=["auc"]), ValueError, "auc is for classes", "r2")
    refused(lambda: softmax.evaluate(Z, CODES, metrics=["top_k"]), ValueError, "within 1..4", "got 5")
    refused(lambda: softmax.evaluate(Z, CODES, metrics=[("top_k", {"k": 1.5})]), ValueError, "whole number")
    refused(lambda: labels.evaluate(Z, LABELS, metrics=[("top_k", {"k": 2})]), ValueError, "one class of several")
    refused(lambda: softmax.evaluate(Z, CODES, metrics=["f1", "f1"]), ValueError, "metrics[1]", "'f1'")
    refused(lambda: softmax.evaluate(Z, CODES, metrics=[lambda y: 1.0]), TypeError, "two arguments")
    refused(lambda: softmax.evaluate(Z, CODES, metrics=[lambda y, A: "good"]), TypeError, "<lambda>", "'good'")
    refused(lambda: softmax.evaluate(Z, CODES, metrics=[lambda y, A: A]), TypeError, "number")


def test_weights_in_evaluate(backend):
    net = Network([4, 4], seed=0, backend=backend)
    whole = np.repeat(np.arange(M), W.astype(int))
    want = net.evaluate(Z[:, whole], CODES[whole])
    got = net.evaluate(Z, CODES, W)
    assert got["loss"] == pytest.approx(want["loss"], rel=1e-6)
    assert got["accuracy"] == pytest.approx(want["accuracy"], rel=1e-12)
