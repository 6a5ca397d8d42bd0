"""Networks that learn what they should: the bundled digits, and Fashion-MNIST where it is installed."""

import contextlib
import functools

import numpy as np
import pytest
import threadpoolctl

import fastnn
import reference as ref
from conftest import COMPILED
from fastnn import SGD, AdamW, Network, _numpy, datasets, schedules

SIZES, EPOCHS, BATCH, LR = [64, 32, 10], 30, 32, 0.1
ACTIVATIONS = ["relu", "softmax"]


@functools.cache
def digits():
    X, y = datasets.load_digits()
    return datasets.shuffled_split(X / 16, y, n_test=360, seed=0)


def trained(backend, dtype, seed):
    """Once for each variant; no test changes the network."""
    return trained_by(backend, COMPILED.current_isa() if backend == "compiled" else None, dtype, seed)


@functools.cache
def trained_by(backend, isa, dtype, seed):
    X, y, _, _ = digits()
    net = Network(SIZES, ACTIVATIONS, dtype=dtype, seed=seed, backend=backend)
    history = net.fit(X, y, epochs=EPOCHS, batch_size=BATCH, optimizer=SGD(lr=LR), progress=False)
    return net, history


@pytest.mark.parametrize("seed", [0, 1])
def test_digits(backend, dtype, seed):
    net, history = trained(backend, dtype, seed)
    assert len(history.loss) == EPOCHS
    assert history.loss[-1] < 0.1 * history.loss[0]
    X, _, X_test, y_test = digits()
    assert (X.shape, X_test.shape) == ((64, 1437), (64, 360))
    accuracy = (net.predict_classes(X_test) == y_test).mean()
    assert accuracy >= 0.96
    assert net.evaluate(X_test, y_test)["accuracy"] == accuracy


@functools.cache
def numpy_history(dtype):
    return trained("numpy", dtype, seed=0)[1].loss


@functools.cache
def oracle_history(dtype):
    """The same training in float64 by reference.py, from the same start and in the same order."""
    X, y, _, _ = digits()
    net = Network(SIZES, ACTIVATIONS, dtype=dtype, seed=0, backend="numpy")
    parameters = [tuple(T.astype(np.float64) for T in layer) for layer in net.parameters]
    Y, history = ref.target_matrix(y, 10, dtype), []
    for epoch in range(EPOCHS):
        order = _numpy.permutation(len(y), 0, epoch)
        batches = [order[start : start + BATCH] for start in range(0, len(y), BATCH)]
        parameters, J = ref.train(parameters, ACTIVATIONS, "cross_entropy", X.astype(float), Y, batches, LR)
        history.append(J)
    return history


RTOL = {"float32": 1e-5, "float64": 1e-10}


def test_digits_history_is_the_oracles(backend, dtype):
    _, history = trained(backend, dtype, seed=0)
    np.testing.assert_allclose(history.loss, oracle_history(dtype), rtol=RTOL[dtype.name])


def test_digits_history_of_both_backends(backend, dtype):
    if backend == "numpy":
        pytest.skip("NumPy against itself")
    _, history = trained(backend, dtype, seed=0)
    np.testing.assert_allclose(history.loss, numpy_history(dtype), rtol=RTOL[dtype.name])


@functools.cache
def fashion_mnist():
    try:
        X, y, X_test, y_test = datasets.load_fashion_mnist()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    scaled = [(part.astype(np.float32) - 73) / 90 for part in (X, X_test)]
    return scaled[0], y, scaled[1], y_test


@pytest.mark.data
def test_fashion_mnist(either_backend):
    X, y, X_test, y_test = fashion_mnist()
    net, best = Network([784, 128, 10], seed=0, backend=either_backend), 0.0
    # NumPy's own threads wait for one another: where another program holds a core, minutes instead of seconds
    with threadpoolctl.threadpool_limits(1) if either_backend == "numpy" else contextlib.nullcontext():
        for _ in range(8):
            net.fit(X, y, batch_size=128, optimizer=SGD(lr=0.1), progress=False)
            best = max(best, net.evaluate(X_test, y_test)["accuracy"])
            if best >= 0.87:
                break
    assert best >= 0.87


@pytest.mark.slow
@pytest.mark.data
def test_fashion_mnist_with_dropout_and_a_schedule():
    if fastnn.info()["backend"] == "numpy":
        pytest.skip("minutes with NumPy; the backends agree by other tests")
    X, y, X_test, y_test = fashion_mnist()
    net = Network([784, 256, 128, 10], seed=0, init="he", dropout=0.2)
    optimizer = AdamW(schedules.Cosine(2e-3, length=20, warmup=1), weight_decay=0.01)
    history = net.fit(X, y, 20, 128, optimizer, progress=False)
    assert net.evaluate(X_test, y_test)["accuracy"] >= 0.895
    assert history.lr[0] > history.lr[10] > history.lr[-1]
