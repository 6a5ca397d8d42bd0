"""Shapes, labels and targets: matched and never broadcast, checked before any arithmetic, and the network decides."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import reference as ref
from case_helpers import (
    PAIRS,
    Wrapped,
    affine,
    assert_all_refused,
    assert_refused,
    assert_same,
    bits,
    everything,
    weights_unchanged,
)
from conftest import BACKENDS, drawn
from fastnn import SGD, Network, kernels

VARIANTS = BACKENDS  # what is tested here is around the kernels


def takes_y(net, X):
    """Every method that takes targets."""
    return {
        "loss": lambda y: net.loss(X, y),
        "evaluate": lambda y: net.evaluate(X, y),
        "gradients": lambda y: net.gradients(X, y),
        "train_step": lambda y: net.train_step(X, y),
        "fit": lambda y: net.fit(X, y, epochs=2, batch_size=2),
    }


def refuses(net, X, y, *came):
    with weights_unchanged(net):
        assert_all_refused({what: lambda c=call: c(y) for what, call in takes_y(net, X).items()}, "y", *came)


# --- the rule: shapes are matched, never broadcast ------------------------------------------------------------


@drawn(60, 500)
@given(
    n=st.integers(1, 5),
    m=st.integers(1, 6),
    pair=st.sampled_from(PAIRS),
    shape=st.lists(st.integers(0, 6), max_size=3).map(tuple),
    dtype=st.sampled_from(["f4", "f8", "i8", "bool"]),
)
def test_a_target_of_any_other_shape_is_refused(backend, n, m, pair, shape, dtype):
    loss, output = pair
    assume((output != "softmax" or n > 1) and ref.LOSSES[loss].fits(n))
    rows, takes_codes = ref.LOSSES[loss].rows(n), ref.LOSSES[loss].takes_codes
    legal = {(rows, m)} | ({(m,)} if rows == 1 or takes_codes else set())
    X, y = np.ones((2, m)), np.zeros(shape, dtype)
    net = Network([2, n], [output], loss, seed=0, backend=backend)
    if shape in legal and not (len(shape) == 1 and rows > 1 and dtype[0] == "f"):
        assert np.isfinite(net.loss(X, y))
    elif shape == (m, rows):
        refuses(net, X, y, str(shape), "did you mean y.T")
    else:
        refuses(net, X, y, str(shape) if shape not in legal else "float")


@drawn(25, 500)
@given(n=st.integers(1, 5), shape=st.lists(st.integers(0, 6), max_size=3).map(tuple))
def test_X_of_any_other_shape_is_refused(backend, n, shape):
    assume(len(shape) != 2 or shape[0] != n)
    net, X = Network([n, 2], seed=0, backend=backend), np.zeros(shape)
    hint = ["did you mean X.T"] if len(shape) == 2 and shape[1] == n else []
    y = np.zeros(shape[-1] if shape else 1, int)
    calls = {name: getattr(net, name) for name in ("forward", "predict", "predict_classes")}
    calls |= {"predictor": net.predictor(), **{f"{c} to y": lambda X, c=c: getattr(net, c)(X, y) for c in TRAIN}}
    with weights_unchanged(net):
        refusals = {what: lambda c=call: c(X) for what, call in calls.items()}
        assert_all_refused(refusals, "X", str(shape), f"({n}, m)", "columns are samples", *hint)


TRAIN = ("loss", "evaluate", "gradients", "train_step", "fit", "gradient_check")


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_bias_is_not_broadcast(backend, n):
    W, X = np.ones((n, 2)), np.ones((2, 4))
    net = Network([2, n], seed=0, backend=backend)
    for shape in {(1, 1), (1,), (1, n), (n, 4), (), (n + 1,), (n + 1, 1)} - {(n, 1), (n,)}:
        assert_refused(lambda s=shape: kernels.linear_forward(W, X, np.zeros(s)), "b", str(shape))
        assert_refused(lambda s=shape: net.set_parameters([(W, np.zeros(s))]), "b", str(shape))


def test_operands_of_a_kernel_are_not_broadcast(backend):
    full, row, column, one = np.ones((3, 4)), np.ones((1, 4)), np.ones((3, 1)), np.ones((1, 1))
    for other in (row, column, one):
        for kind in ("relu", "softmax"):
            assert_refused(lambda o=other, k=kind: kernels.activation_backward(full, o, k), "A")
            assert_refused(lambda o=other, k=kind: kernels.activation_backward(full, None, k, Z=o), "Z")
        assert_refused(lambda o=other: kernels.loss_forward(full, o, "mse"), "y")
        assert_refused(lambda o=other: kernels.loss_backward(full, o, "mse"), "y")
    for other in (column, one):
        assert_refused(lambda o=other: kernels.linear_backward(full, o), "A_prev")
        assert_refused(lambda o=other: kernels.linear_backward(o, full), "A_prev")


# --- the rule: labels are checked against the output layer ------------------------------------------------------

INTEGERS = ["int8", "uint8", "int16", "int32", "int64", "uint64", ">i4", object]


@drawn(25, 500)
@given(
    n=st.integers(2, 6),
    codes=st.lists(st.integers(-2, 7), min_size=1, max_size=8),
    dtype=st.sampled_from(INTEGERS),
    pair=st.sampled_from(PAIRS),
)
def test_codes_are_those_of_the_outputs(backend, n, codes, dtype, pair):
    assume(min(codes) >= 0 or np.dtype(dtype).kind != "u")
    loss, output = pair
    assume(ref.LOSSES[loss].takes_codes)
    net, X = Network([2, n], [output], loss, seed=0, backend=backend), np.ones((2, len(codes)))
    y = np.array(codes, dtype)
    if min(codes) >= 0 and max(codes) < n:
        one_hot = np.eye(n)[:, codes]
        assert net.loss(X, y) == pytest.approx(net.loss(X, one_hot), rel=1e-6)
        assert net.loss(X, y) == net.loss(X, codes)
    else:
        refuses(net, X, y, str(min(codes)), str(max(codes)), f"0..{n - 1}")


@pytest.mark.parametrize("code", [2**31, 2**32, 2**32 + 1, 2**63, 2**64 - 1, -(2**31), -(2**63), 2**70, -(2**70)])
def test_codes_far_out(backend, code):
    # none of these may wrap into 0..2
    net, X = Network([2, 3], seed=0, backend=backend), np.ones((2, 2))
    refuses(net, X, [0, code])
    refuses(net, X, np.array([0, code], object))
    assert_refused(lambda: kernels.loss_forward(np.ones((3, 2)), [0, code], "cross_entropy"), "y")


@pytest.mark.parametrize(
    "y", [[0.0, 1.0, 2.0], [0.5, 1, 2], np.float32([0, 1, 2]), [0, 1, np.nan], [0.0, 1, np.inf]], ids=str
)
def test_real_codes_are_refused_for_several_outputs(backend, y):
    for loss, output in (pair for pair in PAIRS if ref.LOSSES[pair[0]].takes_codes):
        refuses(Network([2, 3], [output], loss, seed=0, backend=backend), np.ones((2, 3)), y)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "mse"])
def test_bool_codes_of_several_outputs(backend, loss):
    net = Network([2, 2], ["sigmoid"], loss, seed=0, backend=backend)
    X, y = np.ones((2, 3)), np.array([True, False, True])
    assert net.loss(X, y) == net.loss(X, y.astype(int)) == pytest.approx(net.loss(X, np.eye(2)[:, y.astype(int)]))


@drawn(25, 500)
@given(
    n=st.integers(1, 3),
    dtype=st.sampled_from(["f2", "f4", "f8", "longdouble", "i8", ">f8"]),
    bad=st.sampled_from([-1, 2, -0.25, 1.5, 255, -np.inf, np.inf, np.nan]),
    at=st.tuples(st.integers(0, 2), st.integers(0, 6)),
    loss=st.sampled_from(["binary_cross_entropy", "cross_entropy"]),
)
def test_targets_that_are_no_probabilities(backend, n, dtype, bad, at, loss):
    assume(np.dtype(dtype).kind == "f" or float(bad).is_integer())
    assume(loss != "cross_entropy" or (n > 1 and (bad < 0 or not np.isfinite(bad))))
    y = np.zeros((n, 7), dtype)
    y[0] = 1
    y[at[0] % n, at[1]] = bad
    output = "sigmoid" if loss == "binary_cross_entropy" else "softmax"
    net, X = Network([2, n], [output], loss, seed=0, backend=backend), np.ones((2, 7))
    refuses(net, X, y, (f"column {at[1]}", "1 missing value"))
    if n == 1:
        refuses(net, X, y[0])
    assert_refused(lambda: kernels.loss_forward(np.ones((n, 7)), y, loss), "y", (f"column {at[1]}", "1 missing"))


def test_a_bad_target_in_the_last_of_many_columns(backend):
    m = 400_001
    y = np.zeros((1, m), "f4")
    y[0, -1] = 1.5
    refuses(Network([1, 1], seed=0, backend=backend), np.zeros((1, m)), y, f"column {m - 1}")


def test_a_refused_target_costs_no_step(backend):
    # the bad label is in the last batch, and the first would have trained
    net, X = Network([2, 3], seed=0, backend=backend), np.ones((2, 100))
    y = np.zeros(100, int)
    y[-1] = 3
    with weights_unchanged(net):
        assert_refused(lambda: net.fit(X, y, batch_size=1, shuffle=False, epochs=3), "y", "3")
    assert net.epochs_done == 0


# --- the rule: the batch in hand decides nothing ----------------------------------------------------------------


@pytest.mark.parametrize(("loss", "output"), PAIRS)
@pytest.mark.parametrize("n", [1, 2, 4])
def test_accuracy_is_of_classes(backend, rng, loss, output, n):
    if (output == "softmax" and n == 1) or not ref.LOSSES[loss].fits(n):
        pytest.skip("refused at construction")
    net, X = Network([3, n], [output], loss, dtype="float64", seed=4, backend=backend), rng.standard_normal((3, 60))
    A = net.predict(X)
    codes = rng.integers(0, max(2, n), 60)
    if not ref.LOSSES[loss].is_of_classes:
        y = codes if ref.LOSSES[loss].takes_codes else ref.LOSSES[loss].some_targets(rng, n, 60)
        assert net.evaluate(X, y).keys() == {"loss"}
        return
    one_hot = codes[np.newaxis] if n == 1 else np.eye(n)[:, codes]
    right = (A >= 0.5) == one_hot if output == "sigmoid" else A.argmax(axis=0) == codes
    assert 0 < right.mean() < 1
    if output == "sigmoid" and n > 1:  # codes tell one class a sample, labels a yes or no of each
        best = A.argmax(axis=0) == codes
        assert net.evaluate(X, codes)["accuracy"] == best.mean()
        assert net.evaluate(X[:, :1], codes[:1])["accuracy"] == best[0]
        codes = one_hot
    for y in (codes, one_hot, one_hot.astype(bool), one_hot.astype("u1"), one_hot.tolist(), 0.1 + 0.8 * one_hot):
        result = net.evaluate(X, y)
        assert result.keys() == {"loss", "accuracy"}
        assert result["accuracy"] == right.mean()
        assert result["loss"] == net.loss(X, y)
    for j in range(3):  # one sample alone
        accuracy = net.evaluate(X[:, j : j + 1], codes[..., j : j + 1])["accuracy"]
        assert accuracy == (right[:, j].mean() if right.ndim == 2 else right[j])


def test_predict_classes(backend):
    one = affine([[1.0]], [0], activations=["sigmoid"], backend=backend)
    X = np.array([[-1.0, -1e-300, 0.0, 1e-300, 1.0, np.nan]])
    np.testing.assert_array_equal(one.predict_classes(X), [0, 1, 1, 1, 1, 0])  # a >= 0.5; NaN is not
    several = affine(np.eye(2), [0, 0], activations=["sigmoid"], loss="binary_cross_entropy", backend=backend)
    np.testing.assert_array_equal(several.predict_classes([[-1, 0, 1], [0, -1, 1]]), [[0, 1, 1], [1, 0, 1]])
    three = affine(np.eye(3), [0, 0, 0], activations=["softmax"], backend=backend)
    scores = np.array([[0, 5, 1, 2], [0, 5, 2, 1], [0, 0, 2, 2]])
    np.testing.assert_array_equal(three.predict_classes(scores), [0, 0, 1, 0])  # the first maximum
    for net in (one, three):
        assert net.predict_classes(np.ones((net.sizes[0], 4))).dtype == np.int64
        assert net.predict_classes(np.ones((net.sizes[0], 1))).shape == (1,)
    own = Network([3, 3], ["identity"], lambda A, y: (A.sum(axis=0), np.ones_like(A)), seed=0, backend=backend)
    own.set_parameters([(np.eye(3), np.zeros(3))])
    np.testing.assert_array_equal(own.predict_classes(scores), [0, 0, 1, 0])  # what its outputs mean we do not know


def test_outputs_of_a_regression_determine_no_class(backend):
    """An argmax over several targets would look like classes."""
    for loss in ("mse", "mae", "huber", "poisson"):
        for output in ("identity",) if loss == "poisson" else ("identity", "tanh", "relu"):
            several = affine(np.eye(2), [0, 0], activations=[output], loss=loss, backend=backend)
            assert_refused(lambda net=several: net.predict_classes(np.eye(2)), "predict", loss, output, "argmax")
            one = affine([[1.0]], [0], activations=[output], loss=loss, backend=backend)
            assert_refused(lambda net=one: net.predict_classes([[1.0]]), "predict", loss, output)
    for output, wanted in (("softmax", [1, 0]), ("sigmoid", [[0, 1], [1, 0]])):
        net = affine(np.eye(2), [0, 0], activations=[output], loss="mse", backend=backend)
        np.testing.assert_array_equal(net.predict_classes([[-1.0, 1], [1, -1]]), wanted)


@pytest.mark.parametrize("m", [1, 2, 5])
def test_shapes_of_results_come_from_the_network(backend, m):
    for n in (1, 2, 3):
        net, X = Network([2, 4, n], ["relu", "sigmoid"], seed=0, backend=backend), np.ones((2, m))
        A, caches = net.forward(X, cache=True)
        assert A.shape == net.forward(X).shape == net.predict(X).shape == (n, m)
        for cache, (n_in, n_out) in zip(caches, [(2, 4), (4, n)], strict=True):
            shapes = {"A_prev": (n_in, m), "W": (n_out, n_in), "b": (n_out, 1), "Z": (n_out, m), "A": (n_out, m)}
            assert {key: value.shape for key, value in cache.items()} == shapes
            assert {value.dtype for value in cache.values()} == {net.dtype}
        _, gradients = net.gradients(X, np.ones((n, m)))
        assert [(dW.shape, db.shape) for dW, db in gradients] == [((4, 2), (4, 1)), ((n, 4), (n, 1))]
        assert [(W.shape, b.shape) for W, b in net.parameters] == [((4, 2), (4, 1)), ((n, 4), (n, 1))]


# --- the cases ------------------------------------------------------------------------------------------------


def test_b01_target_as_a_row_or_a_column(backend, dtype):
    net, X = affine([[1.0]], [0.0], dtype, backend=backend), [[1, 2, 3]]
    for y in ([1, 2, 3.0], [[1, 2, 3.0]], [1, 2, 3], np.array([1, 2, 3.0]), pd.Series([1, 2, 3])):
        assert net.loss(X, y) == 0
        assert net.evaluate(X, y) == {"loss": 0}
        J, [(dW, db)] = net.gradients(X, y)
        assert (J, dW[0, 0], db[0, 0]) == (0, 0, 0)
    for y in ([[1], [2], [3.0]], pd.DataFrame([1, 2, 3]), Wrapped(np.ones((3, 1)))):
        refuses(net, X, y, "(3, 1)", "(1, 3)", "did you mean y.T")
    assert net.loss(X, [2, 2, 2]) == pytest.approx(2 / 3)
    assert kernels.loss_forward([[1.0, 2, 3]], [1.0, 2, 3], "mse") == 0
    assert_refused(lambda: kernels.loss_forward([[1.0, 2, 3]], [[1], [2], [3]], "mse"), "y", "(3, 1)", "(1, 3)")
    assert_refused(lambda: kernels.loss_backward([[1.0, 2, 3]], [[1], [2], [3]], "mse"), "y", "(3, 1)", "(1, 3)")


def test_b02_samples_as_rows(backend):
    net, X = Network([3, 4, 1], seed=0, backend=backend), np.zeros((10, 3))
    y = np.zeros((10, 1))
    with weights_unchanged(net):
        for call in (net.forward, net.predict, net.predict_classes, net.predictor()):
            assert_refused(lambda c=call: c(X), "X", "(10, 3)", "(3, m)", "columns are samples; did you mean X.T")
        for call in (net.fit, net.loss, net.evaluate, net.gradients, net.train_step):
            assert_refused(lambda c=call: c(X, y), "X", "(10, 3)", "(3, m)", "columns are samples; did you mean X.T")
            assert_refused(lambda c=call: c(X.T, y), "y", "(10, 1)", "(1, 10)", "columns are samples; did you mean y.T")
    net.fit(X.T, y.T)


@pytest.mark.parametrize("words", [["cat", "dog", "cat"], ["1", "0", "1"], [b"a", b"b", b"a"], [1, "0", 1]], ids=str)
def test_b04_string_labels(backend, words):
    net, X = Network([2, 3, 2], seed=0, backend=backend), np.ones((2, 3))
    for y in (words, np.array(words), np.array(words, object), pd.Series(words), pd.Series(words, dtype="category")):
        with weights_unchanged(net):
            for call in takes_y(net, X).values():
                with pytest.raises(TypeError, match=r"\by\b.*numbers are needed"):
                    call(y)


@pytest.mark.skip(reason="comes with the scikit-learn estimators")
def test_b04_string_labels_in_the_estimators():
    pass


def test_b05_a_batch_that_lacks_a_class(backend, rng):
    net, X = Network([2, 5, 4], loss="cross_entropy", seed=0, backend=backend), rng.standard_normal((2, 3))
    shapes = [(W.shape, b.shape) for W, b in net.parameters]
    for x, y in ((X, np.array([0, 1, 2])), (X[:, :1], np.array([3])), (X, [True, False, True]), (X, [0, 0, 0])):
        history = net.fit(x, y, epochs=1, optimizer=SGD(lr=0.1), batch_size=2)
        assert np.isfinite(history.loss).all()
        assert [(W.shape, b.shape) for W, b in net.parameters] == shapes
        _, gradients = net.gradients(x, y)
        codes = np.asarray(y, int)
        want = (net.predict(x) - np.eye(4)[:, codes]).mean(axis=1, keepdims=True)
        np.testing.assert_allclose(gradients[-1][1], want, atol=1e-6)
        assert abs(gradients[-1][1].sum()) < 1e-6
        assert net.evaluate(x, y).keys() == {"loss", "accuracy"}
    assert net.predict(X).shape == (4, 3)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_b06_integer_labels_and_one_hot_agree(backend, dtype, rng, scale):
    y = np.array([2, 0, 1])
    Y = np.eye(3)[:, y]
    X = scale * np.array([[1, -1, 1], [-1, -1, 1], [0.5, 1, -1]])
    net = affine(np.eye(3), [0, 0, 0], dtype, ["softmax"], backend=backend)
    J, [(dW, db)] = net.gradients(X, y)
    J_one_hot, [(dW_one_hot, db_one_hot)] = net.gradients(X, Y)
    assert net.loss(X, y) == pytest.approx(net.loss(X, Y), rel=1e-6)
    assert pytest.approx(J_one_hot, rel=1e-6) == J
    assert np.isfinite(J)
    np.testing.assert_allclose(dW, dW_one_hot, rtol=1e-6)
    np.testing.assert_allclose(db, db_one_hot, rtol=1e-6)
    Z = X.astype(dtype)
    assert kernels.loss_forward(Z, y, "cross_entropy") == pytest.approx(kernels.loss_forward(Z, Y, "cross_entropy"))
    np.testing.assert_allclose(
        kernels.loss_backward(Z, y, "cross_entropy"), kernels.loss_backward(Z, Y, "cross_entropy"), rtol=1e-6
    )
    if scale > 1:  # the middle column's top score is that of its label's rival, 2e4 above it
        assert net.loss(X[:, 1:2], [0]) == net.loss(X[:, 1:2], Y[:, 1:2]) == 2e4


def test_b06_labels_and_one_hot_agree_at_the_ends_of_the_range(backend, dtype):
    big = np.finfo(dtype).max
    Z = np.array([[big, big], [-big, -big]], dtype)
    assert kernels.loss_forward(Z, [0, 0], "cross_entropy") == 0
    assert kernels.loss_forward(Z, [[1, 1], [0, 0]], "cross_entropy") == 0
    for y in ([0, 1], np.eye(2)):
        np.testing.assert_array_equal(kernels.loss_backward(Z, y, "cross_entropy"), [[0, 1], [0, -1]])


def test_b06_soft_targets(backend):
    net = affine(np.eye(2), [0, 0], activations=["softmax"], backend=backend)
    X, p = np.log([[3.0], [1.0]]), np.array([[0.75], [0.25]])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert net.loss(X, p) == pytest.approx(entropy)
    np.testing.assert_allclose(net.gradients(X, p)[1][0][1], 0, atol=1e-15)
    # a column that does not sum to 1 weighs its sample by its sum
    assert net.loss(X, 3 * p) == pytest.approx(3 * entropy)
    np.testing.assert_allclose(net.gradients(X, 3 * p)[1][0][1], 0, atol=1e-15)


def test_b07_binary_labels(backend, dtype):
    net, X = affine([[1.0]], [0.0], dtype, ["sigmoid"], backend=backend), [[3.0, -2.0]]
    want = everything(lambda: affine([[1.0]], [0.0], dtype, ["sigmoid"], backend=backend), X, [[1.0, 0.0]])
    for y in (
        [[True, False]],
        [[1, 0]],
        [True, False],
        [1, 0],
        [1.0, 0.0],
        np.uint8([[1, 0]]),
        np.array([1, 0], object),
    ):
        assert net.loss(X, y) == net.loss(X, np.array([[1.0, 0.0]]))
        make = lambda: affine([[1.0]], [0.0], dtype, ["sigmoid"], backend=backend)  # noqa: E731
        assert_same(everything(make, X, y), want)
    for y, bad in (([1, -1], -1), ([1, 2], 2), ([1, 1.5], 1.5), ([1, -0.5], -0.5), ([1, 255], 255)):
        for form in (y, [y], np.array(y), np.array([y])):
            refuses(net, X, form, f"{bad}", "[0, 1]", "column 1")
    assert net.loss(X, [0.5, 0.25]) == pytest.approx(
        np.mean([np.log1p(np.exp(3)) - 1.5, np.log1p(np.exp(-2)) + 0.5]), rel=1e-6
    )


def test_b09_multilabel_targets(backend, dtype):
    Z = np.array([[0, 2], [0, -2], [0, 0.0]])
    Y = np.array([[1, 1], [0, 1], [1, 0]])
    make = lambda: affine(np.eye(3), np.zeros(3), dtype, ["sigmoid"], backend=backend)  # noqa: E731
    net = make()
    assert net.loss_name == "binary_cross_entropy"
    want = 2.513222
    for y in (Y, Y.astype(bool), Y.astype(float), pd.DataFrame(Y)):
        assert net.loss(Z, y) == pytest.approx(want, abs=1e-6)
        assert net.evaluate(Z, y)["loss"] == pytest.approx(want, abs=1e-6)
        J, [(dW, db)] = net.gradients(Z, y)
        assert pytest.approx(want, abs=1e-6) == J
        dZ = 1 / (1 + np.exp(-Z)) - Y
        np.testing.assert_allclose(db, dZ.mean(axis=1, keepdims=True), atol=1e-6)
        np.testing.assert_allclose(dW, dZ @ Z.T / 2, atol=1e-6)
    assert kernels.loss_forward(Z, Y, "binary_cross_entropy") == pytest.approx(want, abs=1e-6)
    np.testing.assert_allclose(kernels.loss_backward(Z, Y, "binary_cross_entropy"), dZ, atol=1e-6)
    one, two = make(), make()
    assert one.train_step(Z, Y, optimizer=SGD(lr=0.1)) == pytest.approx(want, abs=1e-6)
    assert two.fit(Z, Y, batch_size=None, optimizer=SGD(lr=0.1), shuffle=False).loss == [pytest.approx(want, abs=1e-6)]
    assert bits(one) == bits(two)
    np.testing.assert_allclose(one.parameters[0][1], -0.1 * db, atol=1e-6)


def test_b10_codes_out_of_range_and_names(backend):
    net, X = Network([2, 3, 2], seed=0, backend=backend), np.ones((2, 3))
    refuses(net, X, np.array([10, 2, 10]), "2", "10", "0..1")
    refuses(net, X, np.array(["10", "2", "10"]), "strings")
    with pytest.raises(TypeError, match="y"):
        net.fit(X, np.array(["10", "2", "10"]))
    with pytest.raises(ValueError, match="y"):
        net.fit(X, np.array([10, 2, 10]))


@pytest.mark.skip(reason="comes with the scikit-learn estimators")
def test_b10_order_of_classes():
    pass


def test_b11_softmax_over_one_unit(backend):
    for kw in ({"activations": ["relu", "softmax"], "loss": "cross_entropy"}, {"activations": ["relu", "softmax"]}):
        with pytest.raises(ValueError, match=r"softmax.*(sigmoid|2 units)"):
            Network([2, 4, 1], backend=backend, **kw)
    with pytest.raises(ValueError, match="sigmoid"):
        Network([2, 4, 1], loss="cross_entropy", backend=backend)
    with pytest.raises(ValueError, match=r"Z.*cross_entropy"):
        kernels.loss_forward(np.ones((1, 3)), [0, 0, 0], "cross_entropy")
    assert Network([2, 4, 1], seed=0, backend=backend).activations == ("relu", "sigmoid")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("forms", ["plain", "float64", "transposed", "float16"])
def test_b12_nan_or_inf_in_the_data(backend, rng, bad, forms):
    shape = {"plain": lambda X: X, "float64": lambda X: X.astype("f8"), "float16": lambda X: X.astype("f2")}
    shape["transposed"] = np.asfortranarray
    X = rng.standard_normal((3, 40)).astype("f4")
    y = (X[0] > 0).astype(int)
    broken = X.copy()
    broken[1, 7] = bad
    X, broken = shape[forms](X), shape[forms](broken)
    for sizes in ([3, 1], [3, 5, 4, 2]):
        net = Network(sizes, seed=1, backend=backend)
        net.fit(X, y, epochs=2)
        with weights_unchanged(net):
            for kw in (
                {},
                {"batch_size": 1},
                {"batch_size": None},
                {"shuffle": False},
                {"callbacks": [lambda e, h: None]},
            ):
                with pytest.raises(ValueError, match="X has 1 non-finite value, first at column 7"):
                    net.fit(broken, y, epochs=3, optimizer=SGD(lr=0.1), **kw)
            with pytest.raises(ValueError, match="X has 1 non-finite value, first at column 7"):
                net.train_step(broken, y)
            two = broken.copy()
            two[2, 3] = two[0, 3] = np.nan
            with pytest.raises(ValueError, match="X has 3 non-finite values, first at column 3"):
                net.fit(two, y)
        clean, A = net.forward(X), net.forward(broken)
        others = np.arange(40) != 7
        np.testing.assert_array_equal(A[:, others], clean[:, others])
        if np.isnan(bad):
            assert np.isnan(A[:, 7]).all()
            assert np.isnan(net.loss(broken, y))
        net.fit(X, y)


def test_b12_values_beyond_float32_are_not_finite_there(backend):
    X = np.ones((2, 9))
    X[0, 4] = 1e300
    net = Network([2, 1], seed=0, backend=backend)
    with weights_unchanged(net), pytest.raises(ValueError, match="X has 1 non-finite value, first at column 4"):
        net.fit(X, np.zeros(9))
    wide = Network([2, 1], seed=0, dtype="float64", backend=backend)
    assert np.isfinite(wide.predict(X)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_b12_nan_or_inf_in_the_targets(backend, rng, bad):
    X, Y = rng.standard_normal((3, 20)), rng.standard_normal((2, 20))
    Y[1, 13] = bad
    for y_dtype in ("f4", "f8"):
        net = Network([3, 4, 2], loss="mse", seed=1, backend=backend)
        with weights_unchanged(net):
            for call in (net.fit, net.train_step):
                with pytest.raises(ValueError, match="y has 1 non-finite value, first at column 13"):
                    call(X, Y.astype(y_dtype))
    one = Network([3, 1], loss="mse", seed=1, backend=backend)
    with weights_unchanged(one), pytest.raises(ValueError, match="y has 1 non-finite value, first at column 13"):
        one.fit(X, Y[1])
    soft = np.full((2, 20), 0.5)
    soft[0, 13] = bad
    for loss, output in (("binary_cross_entropy", "sigmoid"), ("cross_entropy", "softmax")):
        refuses(Network([3, 2], [output], loss, seed=0, backend=backend), X, soft, ("column 13", "1 missing value"))
