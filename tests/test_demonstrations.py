"""The lecture's demonstrations: why weights start at random, why there are nonlinearities, and how gradients vanish."""

import numpy as np
import pytest

from conftest import lesser_are_slow
from fastnn import SGD, Network, kernels


@pytest.mark.parametrize("hidden", ["sigmoid", "tanh", "relu"])
def test_zero_initialisation_keeps_units_equal(backend, dtype, rng, hidden):
    X = rng.standard_normal((5, 40))
    y = (X[0] + X[1] / 2 > 0.3).astype(int)

    def trained(init):
        """Of each hidden layer: how far its weights went, and how far apart its units are."""
        net = Network([5, 7, 6, 1], [hidden, hidden, "sigmoid"], init=init, dtype=dtype, seed=3, backend=backend)
        start = net.parameters
        epochs = 200 if hidden == "sigmoid" else 80
        net.fit(X, y, epochs, batch_size=8, optimizer=SGD(lr=0.5), progress=False)
        layers = list(zip(net.parameters, start, strict=True))[:-1]
        went = [np.abs(W - W_start).max() for (W, _), (W_start, _) in layers]
        return went, [max(np.ptp(W, axis=0).max(), np.ptp(b)) for (W, b), _ in layers]

    went, apart = trained("zeros")
    assert max(apart) <= {"float32": 1e-5, "float64": 1e-12}[dtype.name]
    if hidden == "sigmoid":  # of 0 it is 1/2: so the layers do learn, all their units the same
        assert min(went) > 0.5
    went, apart = trained("xavier")
    assert min(went) > 0.5
    assert min(apart) > 0.5


def test_identity_activations_collapse_to_one_linear_map(backend, rng):
    net = Network([6, 20, 9, 13, 4], ["identity"] * 4, dtype="float64", seed=4, backend=backend)
    net.set_parameters([(W, rng.standard_normal(b.shape)) for W, b in net.parameters])
    X = rng.standard_normal((6, 50))
    W, b = net.collapse()
    assert (W.shape, b.shape, W.dtype) == ((4, 6), (4, 1), np.float64)
    np.testing.assert_allclose(W @ X + b, net.forward(X), rtol=0, atol=1e-12)

    by_hand = X
    for W_l, b_l in net.parameters:
        by_hand = W_l @ by_hand + b_l
    np.testing.assert_allclose(net.forward(X), by_hand, rtol=0, atol=1e-12)

    one = Network([6, 4], ["identity"], dtype="float64", seed=0, backend=backend)
    one.set_parameters([(W, b)])
    np.testing.assert_allclose(one.forward(X), net.forward(X), rtol=0, atol=1e-12)


def test_only_linear_networks_collapse(backend, dtype, rng):
    net = Network([3, 5, 2], ["identity", "softmax"], dtype=dtype, seed=0, backend=backend)
    X = rng.standard_normal((3, 10)).astype(dtype)
    W, b = net.collapse()
    assert W.dtype == dtype
    A = kernels.activation_forward(kernels.linear_forward(W, X, b), "softmax")
    np.testing.assert_allclose(A, net.forward(X), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"activations\[0\] is relu"):
        Network([3, 5, 2], ["relu", "softmax"], seed=0, backend=backend).collapse()


# init -> by what factor mean |dZ| falls from layer 5 to layer 1, and the share of saturated units in layer 5
VANISHING = {
    "normal(1)": (("normal", {"sd": 1.0}), (1.5, 3), (0.35, 0.60)),
    "normal(0.01)": (("normal", {"sd": 0.01}), (1e6, 1e7), (0, 0)),
    "xavier": ("xavier", (300, 800), (0, 0)),
}


@lesser_are_slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", VANISHING)
def test_five_sigmoid_layers(backend, dtype, name, seed):
    init, (least_fall, most_fall), (least_share, most_share) = VANISHING[name]
    net = Network([100] * 6, ["sigmoid"] * 5, init=init, dtype=dtype, seed=seed, backend=backend)
    X = np.random.default_rng(seed).standard_normal((100, 1000))
    A, caches = net.forward(X, cache=True)
    dA, mean_dZ = np.ones((100, 1000), dtype), []
    for cache in reversed(caches):
        dZ = kernels.activation_backward(dA, cache["A"], "sigmoid")
        mean_dZ.insert(0, np.abs(dZ).mean(dtype=np.float64))
        _, _, dA = kernels.linear_backward(dZ, cache["A_prev"], cache["W"])
    assert len(mean_dZ) == 5
    assert least_fall <= mean_dZ[4] / mean_dZ[0] <= most_fall
    assert least_share <= ((A < 0.01) | (A > 0.99)).mean() <= most_share
