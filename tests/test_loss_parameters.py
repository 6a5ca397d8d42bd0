"""Parameters of losses: label_smoothing and pos_weight, against the same targets and weights written by hand."""

import copy
import json
import pickle
import zipfile

import numpy as np
import pytest

import fastnn
from case_helpers import bits
from fastnn import SGD, Network, kernels

RNG = np.random.default_rng(11)
M = 70
X, CODES, BITS = RNG.standard_normal((5, M)), RNG.integers(0, 4, M), RNG.integers(0, 2, (3, M))
SMOOTH = ("cross_entropy", {"label_smoothing": 0.1})
WEIGHTED = ("binary_cross_entropy", {"label_smoothing": 0.2, "pos_weight": 3.0})
QUIET = {"progress": False, "batch_size": 16}


def net_of(backend, loss, units, dtype="float64", **more):
    return Network([5, 12, units], loss=loss, seed=2, backend=backend, dtype=dtype, **more)


@pytest.mark.parametrize("units", [4, 40])  # by columns of samples, and row by row
def test_smoothing_is_training_on_soft_labels(backend, units):
    codes = RNG.integers(0, units, M)
    soft = 0.9 * np.eye(units)[:, codes] + 0.1 / units
    one, other = net_of(backend, SMOOTH, units), net_of(backend, "cross_entropy", units)
    for y, wanted in ((codes, soft), (np.eye(units)[:, codes], soft)):
        np.testing.assert_allclose(one.loss(X, y), other.loss(X, wanted), rtol=1e-14)
        for (dW, db), (dW_soft, db_soft) in zip(one.gradients(X, y)[1], other.gradients(X, wanted)[1], strict=True):
            np.testing.assert_allclose(dW, dW_soft, rtol=1e-12, atol=1e-15)
            np.testing.assert_allclose(db, db_soft, rtol=1e-12, atol=1e-15)
    history, wanted = one.fit(X, codes, 3, **QUIET), other.fit(X, soft, 3, **QUIET)
    np.testing.assert_allclose(history.loss, wanted.loss, rtol=1e-12)


def test_a_weight_of_positives_multiplies_their_part_of_the_loss(backend):
    net = net_of(backend, WEIGHTED, 3)
    A, Y = net.predict(X), 0.8 * BITS + 0.1
    wanted = -(3 * Y * np.log(A) + (1 - Y) * np.log(1 - A)).sum(axis=0)
    w = RNG.uniform(size=M)
    np.testing.assert_allclose(net.loss(X, BITS), wanted.mean(), rtol=1e-13)
    np.testing.assert_allclose(net.evaluate(X, BITS, sample_weight=w)["loss"], w @ wanted / w.sum(), rtol=1e-13)
    assert net.gradient_check(X, BITS) < 1e-7
    assert net_of(backend, SMOOTH, 4).gradient_check(X, CODES) < 1e-7


@pytest.mark.parametrize("loss", [SMOOTH, WEIGHTED])
def test_large_inputs_stay_finite(backend, dtype, loss):
    Z = np.array([[-1e4, 3e4], [2e4, -5.0], [0.0, 9e3]], dtype)
    y = np.array([2, 0]) if loss is SMOOTH else np.array([[1.0, 0], [0, 1], [0, 1]], dtype)
    assert np.isfinite(kernels.loss_forward(Z, y, loss))
    assert np.isfinite(kernels.loss_backward(Z, y, loss)).all()


def test_parameters_that_change_nothing_give_the_same_bits(backend, dtype):
    for loss, y, units in (("cross_entropy", CODES, 4), ("binary_cross_entropy", BITS, 3)):
        plain = net_of(backend, loss, units, dtype)
        zero = {"label_smoothing": 0.0} | ({"pos_weight": 1} if units == 3 else {})
        same = net_of(backend, (loss, zero), units, dtype)
        assert same.loss_name == plain.loss_name == loss
        for net in (plain, same):
            net.fit(X, y, 2, **QUIET)
        assert bits(plain) == bits(same)


@pytest.mark.parametrize(("loss", "y", "units"), [(SMOOTH, CODES, 4), (WEIGHTED, BITS, 3)])
def test_they_are_part_of_the_network(backend, tmp_path, loss, y, units):
    path, net = tmp_path / "net.npz", net_of(backend, loss, units)
    assert net.loss_name == loss
    net.save(path)
    twins = [fastnn.load(path, backend=backend), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)]
    for twin in twins:
        assert twin.loss_name == loss
        assert twin.loss(X, y) == net.loss(X, y)
        twin.train_step(X, y, SGD(lr=0.1))
    net.train_step(X, y, SGD(lr=0.1))
    assert all(bits(twin) == bits(net) for twin in twins)


def test_default_parameters_are_not_written(tmp_path):
    path = tmp_path / "net.npz"
    net_of("numpy", "cross_entropy", 4).save(path)
    with zipfile.ZipFile(path) as file:
        names = [name for name in file.namelist() if "header" in name]
        assert json.loads(file.read(names[0]))["loss"] == "cross_entropy"


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (("cross_entropy", {"label_smoothing": 1.5}), "label_smoothing must be at most 1, got 1.5"),
        (("cross_entropy", {"label_smoothing": -0.1}), "label_smoothing must be finite and at least 0"),
        (("cross_entropy", {"pos_weight": 2}), "has no parameter 'pos_weight'"),
        (("binary_cross_entropy", {"pos_weight": 0}), "pos_weight must be finite and at least 1.17549e-38"),
        (("mse", {"label_smoothing": 0.1}), "has no parameter 'label_smoothing'"),
    ],
)
def test_wrong_parameters_are_refused(loss, words):
    with pytest.raises(ValueError, match=r"loss") as caught:
        Network([5, 3], loss=loss)
    assert words in str(caught.value)


@pytest.mark.parametrize("units", [4, 40])
def test_they_are_torchs(backend, units):
    torch = pytest.importorskip("torch")
    Z = RNG.standard_normal((units, M)) * 3
    z = torch.tensor(Z.T, requires_grad=True)
    codes = RNG.integers(0, units, M)
    L = torch.nn.functional.cross_entropy(z, torch.tensor(codes), label_smoothing=0.1)
    L.backward()
    np.testing.assert_allclose(kernels.loss_forward(Z, codes, SMOOTH), L.item(), rtol=1e-12)
    np.testing.assert_allclose(kernels.loss_backward(Z, codes, SMOOTH), M * z.grad.numpy().T, rtol=1e-10, atol=1e-14)
    z.grad = None
    Y = RNG.integers(0, 2, (units, M)).astype(float)
    L = (
        torch.nn.functional.binary_cross_entropy_with_logits(
            z, torch.tensor(Y.T), pos_weight=torch.tensor(3.0, dtype=torch.float64), reduction="none"
        )
        .sum(axis=1)
        .mean()
    )
    L.backward()
    weighted = ("binary_cross_entropy", {"pos_weight": 3.0})
    np.testing.assert_allclose(kernels.loss_forward(Z, Y, weighted), L.item(), rtol=1e-12)
    np.testing.assert_allclose(kernels.loss_backward(Z, Y, weighted), M * z.grad.numpy().T, rtol=1e-10, atol=1e-14)
