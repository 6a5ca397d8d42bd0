"""train_step: the quick way and the careful way are one, and no number that is not finite gets into a network."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastnn
from case_helpers import bits, state_of
from conftest import COMPILED, lesser_are_slow
from fastnn.one_step import careful_step

OPTIMIZERS = {
    "sgd": lambda lr: fastnn.SGD(lr),
    "decay": lambda lr: fastnn.SGD(lr, weight_decay=0.1),
    "momentum": lambda lr: fastnn.SGD(lr, momentum=0.9),
    "nesterov": lambda lr: fastnn.SGD(lr, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": lambda lr: fastnn.Adam(lr),
    "decayed adam": lambda lr: fastnn.Adam(lr, weight_decay=0.1),
    "adamw": lambda lr: fastnn.AdamW(lr),
    "nadam": lambda lr: fastnn.NAdam(lr, weight_decay=0.1),
    "rmsprop": lambda lr: fastnn.RMSprop(lr, weight_decay=0.1),
    "rmsprop with momentum": lambda lr: fastnn.RMSprop(lr, momentum=0.9),
    "adagrad": lambda lr: fastnn.Adagrad(lr, lr_decay=0.1, weight_decay=0.1),
}
TARGETS = {
    "codes": (["relu", "softmax"], "cross_entropy", lambda rng, m: rng.integers(0, 3, m)),
    "short codes": (["relu", "softmax"], "cross_entropy", lambda rng, m: rng.integers(0, 3, m).astype(np.int32)),
    "labels": (["tanh", "sigmoid"], "binary_cross_entropy", lambda rng, m: rng.integers(0, 2, (m, 3)).T.astype("f4")),
    "values": (["tanh", "identity"], "mse", lambda rng, m: rng.standard_normal((3, m)).astype("f4")),
}


def pair(targets, m=9, **settings):
    """Two equal networks, and data for them."""
    activations, loss, draw = TARGETS[targets]
    rng = np.random.default_rng(0)
    X = rng.standard_normal((m, 4)).astype("f4").T
    nets = [fastnn.Network([4, 6, 3], activations, loss, seed=1, **settings) for _ in range(2)]
    return *nets, X, draw(rng, m)


@pytest.mark.skipif(COMPILED is None, reason="the NumPy backend has one way only")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("targets", TARGETS)
def test_quick_and_careful_steps_are_equal(targets, optimizer):
    quick, careful, X, y = pair(targets, backend="compiled")
    optimizers = [OPTIMIZERS[optimizer](0.01) for _ in range(2)]
    losses = []
    for _ in range(20):
        losses.append((quick.train_step(X, y, optimizers[0]), careful_step(careful._trainable, X, y, optimizers[1])))
    assert quick._engine.quick_step(X, y, optimizers[0], quick._guard) is not None, "the quick way was not taken"
    careful_step(careful._trainable, X, y, optimizers[1])
    assert all(a == b for a, b in losses)
    assert state_of(quick) == state_of(careful)


@pytest.mark.skipif(COMPILED is None, reason="the NumPy backend has one way only")
@pytest.mark.parametrize("m", [1, 64])
def test_a_quick_prediction_is_the_careful_one(m):
    net, _, X, _ = pair("values", m, backend="compiled")
    for given_X in (X, np.ascontiguousarray(X), X[:, ::-1], np.repeat(X, 2, axis=1)[:, ::2]):
        expected = net.predict(given_X.tolist())
        out, other = np.zeros((3, m), "f4"), np.zeros((3, m), "f4", order="F")
        results = net.predict(given_X), net.predict(given_X, out), net.predict(given_X, other), net.predictor()(given_X)
        assert results[1] is out
        assert results[2] is other
        assert all(np.array_equal(r, expected) for r in results)


def test_out_that_shares_memory_with_X_is_right():
    net = fastnn.Network([3, 3], ["tanh"], "mse", seed=0)
    X = np.random.default_rng(0).standard_normal((5, 3)).astype("f4").T
    expected = net.predict(X)
    assert net.predict(X, out=X) is X
    assert np.array_equal(X, expected)


@lesser_are_slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@given(
    exponent=st.integers(-5, 38),
    weight=st.integers(-5, 37),
    rate=st.integers(-5, 38),
    targets=st.sampled_from(["codes", "values"]),
)
def test_all_stays_finite_or_as_it_was(backend, optimizer, exponent, weight, rate, targets):
    net, _, X, y = pair(targets, backend=backend)
    net.set_parameters([(np.ldexp(W, weight), b) for W, b in net.parameters])
    X, optimizer = X * np.float32(10.0**exponent / 5), OPTIMIZERS[optimizer](10.0**rate)
    for _ in range(3):
        before = state_of(net)
        try:
            loss = net.train_step(X, y, optimizer)
        except (FloatingPointError, ValueError):
            assert state_of(net) == before
            return
        assert np.isfinite(loss)
        assert all(np.isfinite(T).all() for layer in net.parameters for T in layer)
        state = net._engine.optimizer_state()
        assert state is None or all(np.isfinite(T).all() for slot in state["moments"] for layer in slot for T in layer)


def test_a_step_with_weights_is_a_batch_of_fit(backend, dtype, rng):
    X, y, w = rng.standard_normal((4, 9)), rng.integers(0, 3, 9), rng.uniform(size=9)
    one, other = (fastnn.Network([4, 5, 3], dtype=dtype, seed=1, backend=backend) for _ in range(2))
    for optimizer in (fastnn.SGD(lr=0.1), fastnn.Adam(lr=0.01)):
        loss = one.train_step(X, y, optimizer, sample_weight=w)
        history = other.fit(X, y, 1, None, optimizer, shuffle=False, sample_weight=w, progress=False)
        assert loss == pytest.approx(history.loss[0], rel=1e-12)
        assert bits(one) == bits(other)
    plain, ones = (fastnn.Network([4, 5, 3], dtype=dtype, seed=1, backend=backend) for _ in range(2))
    assert plain.train_step(X, y) == ones.train_step(X, y, sample_weight=np.full(9, 0.5))
    assert bits(plain) == bits(ones)
    before = bits(one)
    with pytest.raises(ValueError, match=r"sample_weight has shape \(3,\), wanted \(9,\)"):
        one.train_step(X, y, sample_weight=[1, 2, 3])
    assert bits(one) == before
