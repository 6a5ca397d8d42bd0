"""All parameters as one vector, for general optimizers."""

import threading

import numpy as np
import pytest

from case_helpers import assert_refused, state_of, weights_unchanged
from conftest import BACKENDS, alone
from fastnn import Network

VARIANTS = BACKENDS
RNG = np.random.default_rng(5)
X, Y = RNG.standard_normal((4, 60)), RNG.standard_normal((2, 60))


def net_of(backend, **more):
    return Network(
        (4, 6, 5, 2), ["tanh", "gelu", "identity"], **{"seed": 2, "dtype": "float64", "backend": backend} | more
    )


@pytest.mark.parametrize("norm", [None, "layer", ("batch", None)])
def test_order(backend, dtype, norm):
    net = net_of(backend, norm=norm, dtype=dtype)
    net.trainable = [True, False, True]
    v = net.flat_parameters
    assert (v.shape, v.dtype) == ((net.n_params,), dtype)
    np.testing.assert_array_equal(v, np.concatenate([T.ravel() for layer in net.parameters for T in layer]))
    other = RNG.standard_normal(net.n_params)
    net.set_flat_parameters(other)
    np.testing.assert_array_equal(net.flat_parameters, other.astype(dtype))
    net.flat_parameters[0] = 99  # a copy
    other[:] = 0
    assert net.flat_parameters[0] not in (99, 0)


@pytest.mark.parametrize("norm", [None, "layer", "batch"])
def test_loss_and_gradient(backend, dtype, norm):
    net = net_of(backend, norm=norm, dtype=dtype)
    net.fit(X, Y, 1, progress=False)
    w, before = RNG.random(60), state_of(net)
    twin = net_of(backend, norm=norm, dtype=dtype)
    twin.set_running_statistics(net.running_statistics)
    for v in (RNG.standard_normal(net.n_params), RNG.standard_normal(net.n_params).astype("f4")):
        twin.set_flat_parameters(v)
        for weights in (None, w):
            J, g = net.loss_and_gradient(v, X, Y, weights)
            J_twin, gradients = twin.gradients(X, Y, weights)
            assert (J, g.dtype, g.shape) == (J_twin, v.dtype, v.shape)
            np.testing.assert_array_equal(
                g, np.concatenate([T.ravel() for layer in gradients for T in layer]).astype(g.dtype)
            )
    assert net.loss_and_gradient(np.zeros(net.n_params, int), X, Y)[1].dtype == np.float64
    assert state_of(net) == before


def test_an_own_loss(backend):
    own = net_of(backend, loss=lambda A, y: (((A - y) ** 2).sum(axis=0), 2 * (A - y)))
    ours, v = net_of(backend), RNG.standard_normal(own.n_params)
    (J, g), (J_ours, g_ours) = (net.loss_and_gradient(v, X, Y) for net in (own, ours))
    np.testing.assert_allclose(J, J_ours, rtol=1e-12)
    np.testing.assert_allclose(g, g_ours, rtol=1e-10, atol=1e-13)


def test_the_gradient_is_that_of_frozen_layers_too(backend):
    net, twin = net_of(backend), net_of(backend)
    net.trainable = [False] * (len(net.sizes) - 1)
    v = net.flat_parameters
    (loss, g), (wanted_loss, wanted) = (each.loss_and_gradient(v, X, Y) for each in (net, twin))
    assert loss == wanted_loss
    np.testing.assert_array_equal(g, wanted)
    assert (g != 0).any()


@pytest.mark.parametrize("network_dtype", ["float64", "float32"])
def test_scipy_minimises(backend, network_dtype):
    optimize = pytest.importorskip("scipy.optimize")
    net = net_of(backend, dtype=network_dtype)
    x = np.linspace(-2, 2, 40)
    data = np.stack([x, x**2, np.ones(40), np.abs(x)]), np.stack([np.sin(2 * x), np.cos(x)])
    found = optimize.minimize(
        net.loss_and_gradient,
        net.flat_parameters.astype("f8"),
        data,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 300},
    )
    assert found.fun < 1e-3 * net.loss(*data)
    with weights_unchanged(net):
        assert_refused(lambda: net.set_flat_parameters(found), "v", "write v.x")
        assert_refused(lambda: net.loss_and_gradient(found, *data), "v", "write v.x")
        with pytest.raises(TypeError, match=r"^v .*numbers are needed: write v\.x$"):  # one line
            net.set_flat_parameters(found)
    net.set_flat_parameters(found.x)
    np.testing.assert_allclose(net.loss(*data), found.fun, rtol=1e-5)


@alone
def test_other_threads_never_see_the_vector(backend):
    net = net_of(backend)
    wanted, stop, wrong = net.predict(X), threading.Event(), []

    def look():
        while not stop.is_set():
            if not np.array_equal(net.predict(X), wanted):
                wrong.append(1)

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(50):
        net.loss_and_gradient(RNG.standard_normal(net.n_params), X, Y)
    stop.set()
    thread.join()
    assert not wrong


def test_wrong_arguments(backend):
    net = net_of(backend)
    before, P = state_of(net), net.n_params
    for v in (np.zeros(P - 1), np.zeros((P, 1)), np.zeros((1, P)), 3.0):
        assert_refused(lambda v=v: net.set_flat_parameters(v), "v", str(P))
        assert_refused(lambda v=v: net.loss_and_gradient(v, X, Y), "v", str(P))
    assert_refused(lambda: net.set_flat_parameters(["a"] * P), "v", "strings")
    assert_refused(lambda: net.set_flat_parameters(np.zeros(P) * 1j), "v", "complex128")
    assert_refused(lambda: net.set_flat_parameters(net.parameters), "v", "write net.set_parameters(v)")
    assert_refused(lambda: net.loss_and_gradient(net.parameters, X, Y), "v", "net.flat_parameters")
    assert_refused(lambda: net.set_parameters(net.flat_parameters), "parameters", "write net.set_flat_parameters(v)")
    assert_refused(lambda: net.loss_and_gradient(np.zeros(P), X, Y.T), "y", "(60, 2)")
    with pytest.raises(AttributeError, match=r"write net\.set_flat_parameters\(v\)"):
        net.flat_parameters = np.zeros(P)
    assert state_of(net) == before
