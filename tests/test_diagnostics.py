"""fit(diagnostics=True): against numbers computed from the network before and after the last step of an epoch."""

import numpy as np
import pytest

from case_helpers import bits
from fastnn import SGD, Adam, Network

RNG = np.random.default_rng(44)
M = 100
X, CODES = RNG.standard_normal((6, M)), RNG.integers(0, 3, M)
SIZES, ACTIVATIONS = (6, 40, 33, 20, 3), ["relu", "tanh", "sigmoid", "softmax"]
IN_ORDER = {"batch_size": 32, "shuffle": False, "progress": False}


def net_of(backend, dtype="float64", **more):
    """A network some of whose units are dead or saturated."""
    net = Network(SIZES, ACTIVATIONS, seed=2, dtype=dtype, backend=backend, **more)
    parameters = [(W, b.copy()) for W, b in net.parameters]
    for (_, b), shift, count in zip(parameters, (-100.0, 50.0, -30.0), (7, 5, 3), strict=False):
        b[:count] = shift
    net.set_parameters(parameters)
    return net


@pytest.mark.parametrize("settings", [{}, {"clip_norm": 0.01}, {"clip_value": 0.003}], ids=str)
def test_the_numbers_are_those_of_the_last_step(backend, dtype, settings):
    net, twin, optimizer = net_of(backend, dtype), net_of(backend, dtype), Adam(1e-3, **settings)
    twin.trainable = net.trainable = [True, False, True, True]
    history = net.fit(X, CODES, 2, optimizer=optimizer, diagnostics=True, **IN_ORDER)
    assert list(history.diagnostics) == ["gradient_norm", "update_ratio", "dead_units", "saturated_units"]
    for epoch in range(2):
        for start in (0, 32, 64):
            twin.train_step(X[:, start : start + 32], CODES[start : start + 32], optimizer)
        last = X[:, 96:], CODES[96:]
        _, gradients = twin.gradients(*last)
        _, caches = twin.forward(last[0], cache=True)
        before = twin.parameters
        twin.train_step(*last, optimizer)
        got = {name: numbers[epoch] for name, numbers in history.diagnostics.items()}
        most = settings.get("clip_value", np.inf)
        for i, ((W, _), (old, _), pair) in enumerate(zip(twin.parameters, before, gradients, strict=True)):
            if i == 1:
                assert np.isnan(got["gradient_norm"][i])
                assert got["update_ratio"][i] == 0
                continue
            flat = np.concatenate([np.clip(g, -most, most).astype(float).ravel() for g in pair])
            np.testing.assert_allclose(got["gradient_norm"][i], np.linalg.norm(flat), rtol=1e-5)
            ratio = np.linalg.norm(W.astype(float) - old) / np.linalg.norm(W.astype(float))
            np.testing.assert_allclose(got["update_ratio"][i], ratio, rtol=1e-3 if dtype == np.float32 else 1e-9)
        A1, A2, A3 = (cache["A"].astype(float) for cache in caches[:3])
        np.testing.assert_array_equal(got["dead_units"], [(A1 == 0).all(axis=1).mean(), *[np.nan] * 3])
        want = [np.nan, (1 - A2**2 < 0.01).all(axis=1).mean(), (4 * A3 * (1 - A3) < 0.01).all(axis=1).mean(), np.nan]
        np.testing.assert_array_equal(got["saturated_units"], want)
        assert got["dead_units"][0] >= 7 / 40
        assert got["saturated_units"][1] >= 5 / 33
        assert got["saturated_units"][2] >= 3 / 20
    assert bits(net) == bits(twin)


def test_dropout_makes_no_unit_dead(backend):
    nets = [net_of(backend, dropout=rate) for rate in (0.0, 0.9)]
    seen = [net.fit(X[:, :5], CODES[:5], 1, diagnostics=True, optimizer=SGD(0.0), **IN_ORDER) for net in nets]
    assert 0 < seen[0].diagnostics["dead_units"][0][0] < 0.5
    assert seen[1].diagnostics["dead_units"][0][0] == seen[0].diagnostics["dead_units"][0][0]


@pytest.mark.parametrize("batch_size", [1, 30, 32, 100, None])
def test_the_weights_are_those_of_a_fit_without(backend, batch_size):
    nets = [net_of(backend, "float32", dropout=0.3) for _ in range(2)]
    how = {"batch_size": batch_size, "progress": False}
    for net, diagnostics in zip(nets, (True, False), strict=True):
        history = net.fit(X, CODES, 3, optimizer=SGD(0.1, momentum=0.9), diagnostics=diagnostics, **how)
        assert (history.diagnostics is not None) == diagnostics
    assert bits(nets[0]) == bits(nets[1])


def test_both_backends_and_all_numbers_of_threads_measure_alike(dtype, isa):
    measured = []
    for backend, threads in (("numpy", None), ("compiled", 1), ("compiled", 2), ("compiled", 4)):
        net = net_of(backend, dtype, threads=threads, dropout=0.4)
        measured.append(net.fit(X, CODES, 2, batch_size=50, progress=False, diagnostics=True).diagnostics)
    for name, numbers in measured[0].items():
        np.testing.assert_allclose(measured[1][name], numbers, rtol=1e-3 if dtype == np.float32 else 1e-9)
        for other in measured[2:]:
            np.testing.assert_array_equal(other[name], measured[1][name])


def test_data_that_is_cast_and_samples_and_callbacks(backend):
    seen = []

    def look(epoch, history):
        seen.append(len(history.diagnostics["gradient_norm"]))

    samples = np.arange(0, M, 2)
    how = {"samples": samples, "batch_size": 16, "progress": False, "diagnostics": True}
    a = net_of(backend).fit(X.astype("f2"), CODES, 3, callbacks=look, **how)
    b = net_of(backend).fit(X.astype("f2").astype(float), CODES, 3, **how)
    assert seen == [1, 2, 3]
    for name in a.diagnostics:
        np.testing.assert_array_equal(a.diagnostics[name], b.diagnostics[name])


def test_a_batch_that_is_skipped_has_no_numbers(backend):
    weights = np.ones(M)
    weights[96:] = 0
    history = net_of(backend).fit(X, CODES, 1, sample_weight=weights, diagnostics=True, **IN_ORDER)
    assert np.isnan(history.diagnostics["gradient_norm"]).all()


def test_wrong_values(backend):
    with pytest.raises(TypeError, match="diagnostics must be True or False"):
        net_of(backend).fit(X, CODES, diagnostics=1)
