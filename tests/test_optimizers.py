"""Optimizers: against torch's steps and the oracle, and the life of their state."""

import copy
import functools
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import fastnn
import reference as ref
from case_helpers import assert_refused, bits, each, state_of
from conftest import around_the_kernels
from fastnn import SGD, Adagrad, Adam, AdamW, NAdam, Network, RMSprop, files, kernels

with np.load(Path(__file__).parent / "data" / "torch_steps.npz") as file:  # see make_torch_steps.py beside it
    TORCH = dict(file)
OPTIMIZERS = [(kind, settings) for kind, settings in json.loads(str(TORCH["optimizers"]))]
NETWORKS = json.loads(str(TORCH["networks"]))
AFTER = TORCH["after"].tolist()

# One of each kind of state
WITH_STATE = [
    SGD(lr=0.05, momentum=0.9),
    SGD(0.05, 0.8, True, 0.01),
    Adam(lr=0.01),
    AdamW(lr=0.01, weight_decay=0.1),
    NAdam(lr=0.01, momentum_decay=0.1),
    RMSprop(lr=0.005),
    RMSprop(lr=0.005, momentum=0.9),
    Adagrad(lr=0.05, lr_decay=0.1),
]
of_torch = pytest.mark.parametrize("number", range(len(OPTIMIZERS)), ids=lambda i: f"{i}-{OPTIMIZERS[i][0]}")
with_state = pytest.mark.parametrize("optimizer", WITH_STATE, ids=str)


def make(number):
    kind, settings = OPTIMIZERS[number]
    return getattr(fastnn, kind)(**settings)


def near(got, want, bound):
    """Within `bound` of the largest |want|."""
    np.testing.assert_allclose(got, want, rtol=0, atol=bound * np.abs(want).max())


# --- the numbers ------------------------------------------------------------------------------------------------------


@of_torch
@pytest.mark.parametrize("n", range(len(NETWORKS)))
def test_whole_runs_are_those_of_torch(backend, number, n):
    sizes, activations, loss = NETWORKS[n]
    net, optimizer = Network(sizes, activations, loss, dtype="float64", backend=backend), make(number)
    start = [TORCH[f"run{n}_start{i}"] for i in range(2 * len(activations))]
    net.set_parameters(zip(start[::2], start[1::2], strict=True))
    for t in range(1, max(AFTER) + 1):
        net.train_step(TORCH[f"run{n}_X"], TORCH[f"run{n}_y"], optimizer)
        if t in AFTER:
            flat = [T for pair in net.parameters for T in pair]
            for i, T in enumerate(flat):
                near(T, TORCH[f"run{n}_{number}_{i}"][AFTER.index(t)], 1e-10)


def exact_gradient(scale, row, dtype):
    """X and Y of two samples for which a layer with b = 0 and mse has dW = scale row, whatever its W, and db = 0.

    Y is so large that A - Y is rounded to -Y; the rest are powers of two.
    """
    big = 2.0**30 if dtype == np.float32 else 2.0**80
    Y = (big * scale.astype(dtype)) * np.array([[-1, 1]], dtype)
    return (row.astype(dtype) / dtype.type(2 * big))[:, np.newaxis] * np.array([[1, -1]], dtype), Y


@of_torch
def test_the_rule_alone_is_that_of_torch(backend, dtype, number):
    W, scale, rows = TORCH["rule_start"], TORCH["rule_scale"], TORCH["rule_rows"]
    net = Network([W.shape[1], W.shape[0]], ["identity"], dtype=dtype, backend=backend)
    net.set_parameters([(W, np.zeros(len(W)))])
    optimizer = make(number)
    oracle = ref.Optimizer(OPTIMIZERS[number][0], **OPTIMIZERS[number][1])
    for t, row in enumerate(rows, start=1):
        X, Y = exact_gradient(scale, row, dtype)
        _, [(dW, db)] = net.gradients(X, Y)
        np.testing.assert_array_equal(dW, scale * row)
        assert not db.any()
        net.train_step(X, Y, optimizer)
        W = oracle.step(W, scale * row)
        near(net.parameters[0][0], W, ref.BOUND[dtype])
        if t in AFTER:
            want = TORCH[f"rule_{number}"][AFTER.index(t)]
            near(W, want, 2e-6)
            near(net.parameters[0][0], want, 2e-6)
    assert not net.parameters[0][1].any()


@of_torch
@pytest.mark.parametrize(
    "sizes", [[33, 17, 16, 3], *(pytest.param(s, marks=pytest.mark.slow) for s in ([3, 70, 1], [2, 1, 2]))], ids=str
)
def test_steps_of_its_own_gradients(backend, dtype, rng, number, sizes):
    # fit takes what `gradients` gives, layer by layer: shapes, biases and weights of samples are no matter
    net, optimizer = Network(sizes, init="he", dtype=dtype, seed=5, backend=backend), make(number)
    kind, settings = OPTIMIZERS[number]
    oracles = [[ref.Optimizer(kind, **settings) for _ in range(2)] for _ in sizes[1:]]
    parameters = [[T.astype(np.float64) for T in pair] for pair in net.parameters]
    for _ in range(6):
        X, y, w = rng.standard_normal((sizes[0], 19)), rng.integers(0, max(2, sizes[-1]), 19), rng.random(19)
        _, gradients = net.gradients(X, y, w)
        net.fit(X, y, 1, None, optimizer, False, sample_weight=w)
        for layer, rules, pair, grads in zip(parameters, oracles, net.parameters, gradients, strict=True):
            layer[:] = [rule.step(T, g) for rule, T, g in zip(rules, layer, grads, strict=True)]
            scale = max(np.abs(T).max() for T in layer)
            for got, want in zip(pair, layer, strict=True):
                np.testing.assert_allclose(got, want, rtol=0, atol=scale * {"f": 2e-6, "d": 1e-12}[dtype.char])


@pytest.mark.parametrize("cls", [Adam, AdamW, NAdam])
@each("eps", [1e-8, 1e-3, 1e-29, 1e-31, 1e-38])
def test_adam_divides_right_at_any_scale(backend, dtype, rng, cls, eps):
    # float32's quotient is one of multiplications, but for the smallest eps
    n = 1000
    g = (rng.standard_normal((1, n)) * 10.0 ** rng.uniform(-12, 12, (1, n))).astype(dtype)
    g[0, :3] = 0
    w, m, v = (np.zeros((1, n), dtype) for _ in range(3))
    kernels.optimizer_update(cls(lr=1, betas=(0, 0.999), eps=eps), w, g, (m, v), 1, out=(w, m, v))
    want = -m.astype(float) / (np.sqrt(v.astype(float)) / np.sqrt(1 - 0.999) + eps)
    np.testing.assert_allclose(w, want, rtol={"f": 3e-7, "d": 1e-14}[dtype.char])


@pytest.mark.parametrize("cls", [RMSprop, Adagrad])
@each("eps", [1e-10, 1e-3, 1e-29, 1e-31, 1e-38])
def test_gradients_are_divided_right_at_any_scale(backend, dtype, rng, cls, eps):
    n = 1000
    g = (rng.standard_normal((1, n)) * 10.0 ** rng.uniform(-12, 12, (1, n))).astype(dtype)
    g[0, :3] = 0
    w, v = np.zeros((1, n), dtype), np.zeros((1, n), dtype)
    kernels.optimizer_update(cls(lr=1, eps=eps), w, g, (v,), 1, out=(w, v))
    want = -g.astype(float) / (np.sqrt(v.astype(float)) + eps)
    np.testing.assert_allclose(w, want, rtol={"f": 3e-7, "d": 1e-14}[dtype.char])
    np.testing.assert_allclose(
        v, (1 - 0.99 if cls is RMSprop else 1) * g.astype(float) ** 2, rtol=4 * np.finfo(dtype).eps
    )


@functools.cache
def product_of_momenta(t, momentum_decay):
    """For a beta1 of 1. After 200,000 factors the others are 1, or the product is 0."""
    i = np.arange(1, min(t, 200_000) + 1, dtype=np.longdouble)
    return np.prod(1 - np.longdouble(0.96) ** (i * momentum_decay) / 2)


@pytest.mark.parametrize("t", [1, pytest.param(2, marks=pytest.mark.slow), 3000, 2**52])
@each("beta1", [0, 0.9, 0.99999])
@each("momentum_decay", [0, 1e-9, 4e-3, 0.35, 1, 1e3])
def test_nadam_s_product_of_momenta(backend, t, beta1, momentum_decay):
    # 2**52: if each step multiplied all of the momenta, this would never end
    product = product_of_momenta(t, momentum_decay) * np.longdouble(beta1) ** t
    now, following = (beta1 * (1 - 0.96 ** (float(k) * momentum_decay) / 2) for k in (t, t + 1))
    of_g, of_m = float((1 - now) / (1 - product)), float(following / (1 - product * following))
    w, m, v = (np.array([x]) for x in (0.5, 0.25, 4.0))
    g = 2.0
    nadam = NAdam(lr=1, betas=(beta1, 0), momentum_decay=momentum_decay)
    kernels.optimizer_update(nadam, w, np.array([g]), (m, v), t, out=(w, m, v))
    assert m[0] == pytest.approx(beta1 * 0.25 + (1 - beta1) * g, rel=1e-15)
    assert w[0] == pytest.approx(0.5 - (of_g * g + of_m * m[0]) / (g + 1e-8), rel=1e-11)


def test_sgd_without_momentum_is_what_it_was(backend, dtype, rng):
    X, y = data(rng)
    one, two = network(backend, dtype), network(backend, dtype)
    one.fit(X, y, 3, 7, SGD(lr=0.1, weight_decay=0.01))
    sgd = SGD(lr=0.1, momentum=0.5, weight_decay=0.01)
    sgd.momentum = 0
    two.fit(X, y, 3, 7, sgd)
    assert bits(one) == bits(two)


# --- the life of the state --------------------------------------------------------------------------------------------


def data(rng, m=30):
    return rng.standard_normal((3, m)), np.arange(m) % 2


def network(backend, dtype="float32", seed=1):
    return Network([3, 5, 2], ["tanh", "softmax"], dtype=dtype, seed=seed, backend=backend)


def stepped(backend, X, y, *optimizers, dtype="float32"):
    """A network after one step with each of them in turn."""
    net = network(backend, dtype)
    for optimizer in optimizers:
        net.train_step(X, y, optimizer)
    return net


def afresh(backend, net):
    """A network with the same weights and no state."""
    twin = network(backend, net.dtype)
    twin.set_parameters(net.parameters)
    return twin


@with_state
@around_the_kernels
def test_the_same_object_goes_on_and_another_starts_afresh(backend, dtype, rng, optimizer):
    X, y = data(rng)
    net = stepped(backend, X, y, optimizer, optimizer, dtype=dtype)
    twin, went_on, other = afresh(backend, net), copy.copy(net), copy.copy(optimizer)
    went_on.train_step(X, y, optimizer)
    net.train_step(X, y, other)
    twin.train_step(X, y, other)
    assert bits(net) == bits(twin) != bits(went_on)
    net.train_step(X, y)  # with the last one
    twin.train_step(X, y, other)
    assert state_of(net) == state_of(twin)
    net.train_step(X, y, optimizer)  # whose state is gone
    twin.train_step(X, y, copy.copy(optimizer))
    assert state_of(net) == state_of(twin)


@pytest.mark.parametrize(
    ("optimizer", "setting", "value", "goes_on"),
    [
        (Adam(), "lr", 0.5, True),
        (Adam(), "eps", 0.1, True),
        (Adam(), "weight_decay", 0.5, True),
        (Adam(), "betas", (0.5, 0.999), False),
        (Adam(), "betas", [0.9, 0.999], True),  # what they were
        (AdamW(), "betas", (0.9, 0.5), False),
        (AdamW(), "weight_decay", 0, True),
        (SGD(momentum=0.9), "lr", 0.5, True),
        (SGD(momentum=0.9), "weight_decay", 0.5, True),
        (SGD(momentum=0.9), "momentum", 0.5, False),
        (SGD(momentum=0.9), "momentum", 0, False),
        (SGD(momentum=0.9), "nesterov", True, False),
        (SGD(), "momentum", 0.5, False),
    ],
    ids=str,
)
@around_the_kernels
def test_settings_that_change(backend, rng, optimizer, setting, value, goes_on):
    X, y = data(rng)
    first, changed = copy.copy(optimizer), copy.copy(optimizer)
    setattr(changed, setting, value)
    net = stepped(backend, X, y, first, first)
    fitted, fresh = copy.copy(net), afresh(backend, net)
    setattr(first, setting, value)
    for _ in range(2):
        net.train_step(X, y, first)
        fitted.fit(X, y, 1, None, first, False)
        fresh.train_step(X, y, changed)
    assert (bits(net) != bits(fresh)) == goes_on
    assert (bits(net), *state_of(net)[2:]) == (bits(fitted), *state_of(fitted)[2:])
    called = network(backend)
    by_callback = copy.copy(optimizer)
    called.fit(
        X, y, 4, None, by_callback, False, callbacks=lambda e, h: e == 1 and setattr(by_callback, setting, value)
    )
    assert bits(called) == bits(fitted)


@with_state
@around_the_kernels
def test_one_object_serves_many_networks(backend, rng, optimizer):
    X, y = data(rng)
    one, two = network(backend, seed=1), network(backend, seed=2)
    for net in (one, two, two, one, two, one):
        net.train_step(X, y, optimizer)
    for net, seed in ((one, 1), (two, 2)):
        alone = network(backend, seed=seed)
        for _ in range(3):
            alone.train_step(X, y, optimizer)
        assert state_of(alone) == state_of(net)


@with_state
@around_the_kernels
def test_fit_and_train_step_share_the_state(backend, dtype, rng, optimizer):
    X, y = data(rng)
    net, twin = network(backend, dtype), network(backend, dtype)
    for _ in range(2):
        net.fit(X, y, 1, None, optimizer, shuffle=False)
        net.train_step(X, y)
        net.fit(X, y, 1, None, shuffle=False)
        for _ in range(3):
            twin.train_step(X, y, optimizer)
    assert bits(net) == bits(twin)


@with_state
@around_the_kernels
def test_fit_again_goes_on(backend, dtype, rng, tmp_path, optimizer):
    X, y = data(rng)
    whole, halves = network(backend, dtype), network(backend, dtype)
    loss = whole.fit(X, y, 10, 7, optimizer).loss
    first = halves.fit(X, y, 5, 7, optimizer).loss
    halves.save(tmp_path / "half", optimizer=True)
    twins = {
        "itself": halves,
        "a file": fastnn.load(tmp_path / "half", backend=backend),
        "a copy": copy.copy(halves),
        "a deep copy": copy.deepcopy(halves),
        "a pickle": pickle.loads(pickle.dumps(halves)),
    }
    twins["a file"].save(tmp_path / "again", optimizer=True)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "half").read_bytes()
    twins["a file of a file"] = fastnn.load(tmp_path / "again", backend=backend)
    for what, twin in twins.items():
        assert first + twin.fit(X, y, 5, 7).loss == loss, what
        assert state_of(twin) == state_of(whole), what


@with_state
@around_the_kernels
def test_a_copy_goes_on_with_the_same_object_and_a_pickle_with_its_own(backend, rng, optimizer):
    X, y = data(rng)
    net = stepped(backend, X, y, optimizer, optimizer)
    twins = [copy.copy(net), copy.deepcopy(net)]
    unpickled, its_own = pickle.loads(pickle.dumps((net, optimizer)))
    net.train_step(X, y, optimizer)
    for twin in twins:
        twin.train_step(X, y, optimizer)
        assert state_of(twin) == state_of(net)
    unpickled.train_step(X, y, its_own)
    assert state_of(unpickled) == state_of(net)
    net.train_step(X, y)  # and each has moments of its own
    assert state_of(net) != state_of(twins[0])


@with_state
@around_the_kernels
def test_without_optimizer_a_file_holds_no_state(backend, rng, tmp_path, optimizer):
    net = stepped(backend, *data(rng), optimizer)
    net.save(tmp_path / "net")
    header, arrays = files.load(tmp_path / "net")
    assert not {"optimizer", "steps"} & set(header)
    assert sorted(arrays) == ["W1", "W2", "b1", "b2"]
    net.save(tmp_path / "net", optimizer=True)
    header, arrays = files.load(tmp_path / "net")
    assert header["optimizer"] == json.loads(json.dumps([optimizer.kind, optimizer.settings()]))
    assert header["steps"] == 1
    assert [a.dtype for a in arrays.values()] == [np.float32] * len(arrays)
    assert {"m1_W1", "m1_b2"} <= set(arrays)


@with_state
@around_the_kernels
def test_a_state_that_would_not_go_on_is_not_carried(backend, rng, tmp_path, optimizer):
    optimizer = copy.copy(optimizer)
    net = stepped(backend, *data(rng), optimizer)
    if optimizer.kind == "Adagrad":
        pytest.skip("its state goes on with any settings")
    name, other = {"SGD": ("momentum", 0.4), "RMSprop": ("alpha", 0.5)}.get(optimizer.kind, ("betas", (0.5, 0.5)))
    setattr(optimizer, name, other)
    net.save(tmp_path / "net", optimizer=True)
    header, arrays = files.load(tmp_path / "net")
    assert "steps" not in header
    assert len(arrays) == 4
    for twin in (fastnn.load(tmp_path / "net", backend=backend), copy.copy(net), pickle.loads(pickle.dumps(net))):
        assert repr(twin._trainable.optimizer) == repr(optimizer)
        assert state_of(twin) == (bits(net), 0, None, b"")


@with_state
@around_the_kernels
def test_set_parameters_keeps_it_and_reset_optimizer_drops_it(backend, rng, optimizer):
    X, y = data(rng)
    net = stepped(backend, X, y, optimizer, optimizer)
    kept = state_of(net)
    net.set_parameters([(W + 1, b) for W, b in net.parameters])
    assert state_of(net)[1:] == kept[1:]
    net.reset_optimizer()
    assert state_of(net)[1:] == (0, None, b"")
    twin = afresh(backend, net)
    for _ in range(2):
        net.train_step(X, y, optimizer)
        twin.train_step(X, y, optimizer)
    assert state_of(net) == state_of(twin)


@with_state
@around_the_kernels
def test_a_predictor_and_loss_leave_it_alone(backend, rng, optimizer):
    X, y = data(rng)
    net = stepped(backend, X, y, optimizer)
    before, predictor = state_of(net), net.predictor()
    net.predict(X), net.evaluate(X, y), net.gradients(X, y), net.gradient_check(X, y), predictor(X)
    assert state_of(net) == before


@with_state
@around_the_kernels
def test_a_batch_that_is_skipped_is_no_step(backend, dtype, rng, optimizer):
    X, y = data(rng, 12)
    w = np.array([1, 2, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0], float)
    some = np.r_[0:3, 6:9]
    net, twin = network(backend, dtype), network(backend, dtype)
    net.fit(X, y, 2, 3, optimizer, shuffle=False, sample_weight=w)
    twin.fit(X[:, some], y[some], 2, 3, optimizer, shuffle=False, sample_weight=w[some])
    assert state_of(net) == state_of(twin)
    assert state_of(net)[2] == 4


# --- failures ---------------------------------------------------------------------------------------------------------


@with_state
@pytest.mark.parametrize("switched", [False, True])
@around_the_kernels
def test_a_call_that_fails_leaves_state_and_optimizer(backend, dtype, rng, optimizer, switched):
    X, y = data(rng)
    net = stepped(backend, X, y, optimizer, optimizer, dtype=dtype)
    twin, before = copy.copy(net), state_of(net)
    bad, far = X.copy(), X * 1e300
    bad[1, 20] = np.nan
    other = Adam(betas=(0.5, 0.5)) if switched else None
    calls = {
        "a NaN in a step": lambda: net.train_step(bad, y, other),
        "a NaN in fit": lambda: net.fit(bad, y, 3, 7, other),
        "a NaN in fit with callbacks": lambda: net.fit(bad, y, 3, 7, other, callbacks=lambda e, h: None),
        "inf in float32": lambda: net.train_step(far, y, other),
        "y too short": lambda: net.fit(X, y[:3], optimizer=other),
        "no optimizer": lambda: net.fit(X, y, optimizer="sgd"),
        "no epochs": lambda: net.fit(X, y, -1, optimizer=other),
    }
    if dtype == np.float64:
        del calls["inf in float32"]
    for what, call in calls.items():
        with pytest.raises((ValueError, TypeError)):
            call()
        assert state_of(net) == before, what
        assert net._trainable.optimizer is optimizer, what
    huge = SGD(lr=1e38, weight_decay=1e38) if dtype == np.float32 else SGD(lr=1e300, weight_decay=1e300)
    with pytest.raises(FloatingPointError, match="unchanged"):
        net.train_step(X, y, huge)
    assert state_of(net) == before
    net.train_step(X, y)
    twin.train_step(X, y, optimizer)
    assert state_of(net) == state_of(twin)


@pytest.mark.parametrize("batch", [None, 8])
@pytest.mark.parametrize(
    "optimizer", [SGD(lr=10, momentum=0.5), SGD(10, 0.9, True), AdamW(lr=50, weight_decay=1)], ids=str
)
@around_the_kernels
def test_divergence_keeps_the_last_finite_weights_with_their_moments(backend, dtype, rng, optimizer, batch):
    X = rng.standard_normal((3, 24))
    y = X.sum(axis=0)[np.newaxis]
    net, twin = (Network([3, 1], ["identity"], dtype=dtype, seed=1, backend=backend) for _ in range(2))
    with pytest.raises(FloatingPointError, match="epoch"):
        net.fit(X, y, 10_000, batch, optimizer, shuffle=False)
    steps = state_of(net)[2] or 0  # it may be the very first that fails
    for number in range(steps):
        part = slice(None) if batch is None else slice(number % 3 * 8, number % 3 * 8 + 8)
        twin.train_step(X[:, part], y[:, part], optimizer)
    if backend == "compiled":
        assert state_of(net)[2:] == state_of(twin)[2:]
        assert bits(net) == bits(twin)
    kept = net.__getstate__()
    slots = kept["optimizer_state"]["moments"] if steps else []
    assert all(np.isfinite(T).all() for slot in (kept["parameters"], *slots) for pair in slot for T in pair)


@pytest.mark.parametrize("cls", [Adam, NAdam, RMSprop, Adagrad])
@around_the_kernels
def test_a_second_moment_that_overflows_is_divergence(backend, cls):
    # m / sqrt(v) would be 0 for ever after: a weight that is frozen, and nobody told
    X, Y = np.array([[1e10]]), np.array([[1e15]])
    net, adam = Network([1, 1], ["identity"], seed=0, backend=backend), cls()
    before = state_of(net)
    with pytest.raises(FloatingPointError, match="moment"):
        net.train_step(X, Y, adam)
    assert state_of(net) == before
    with pytest.raises(FloatingPointError, match="moment"):
        net.fit(X, Y, optimizer=adam)
    assert state_of(net) == before


@pytest.mark.parametrize("optimizer", [Adam(lr=0.25), NAdam(lr=0.25), RMSprop(lr=0.025)], ids=str)
@around_the_kernels
def test_a_gradient_whose_square_overflows_may_pass(backend, optimizer):
    # (1 - beta2) g^2 is finite in float32, g^2 is not
    net = Network([1, 1], ["identity"], "mse", "zeros", backend=backend)
    net.train_step([[1e10]], [[5e9]], optimizer)
    want = ref.Optimizer(optimizer.kind, optimizer.lr).step(0.0, -1e20)
    assert net.parameters[0][0][0, 0] == pytest.approx(want, rel=1e-6)


@around_the_kernels
def test_divergence_after_a_callback_keeps_what_it_left(backend, rng):
    X, y = data(rng)
    net, adam, left = network(backend), Adam(), []

    def train(epoch, history):
        net.train_step(X, y, SGD(lr=0.1, momentum=0.9))
        left[:] = [bits(net)]
        if epoch == 1:
            adam.lr = 1e38

    with pytest.raises(FloatingPointError, match="epoch 2, batch 0"):
        net.fit(X, y, 5, None, adam, False, callbacks=train)
    assert state_of(net) == (left[0], 2, None, b"")
    adam.lr = 0.01
    twin = afresh(backend, net)
    for trained in (net, twin):
        trained.train_step(X, y, adam)
    assert state_of(net)[2:] == state_of(twin)[2:]


@around_the_kernels
def test_a_callback_may_train_with_another_optimizer(backend, rng):
    X, y = data(rng)
    adam, sgd = Adam(), SGD(lr=0.1)
    net, twin = network(backend), network(backend)
    net.fit(X, y, 3, None, adam, False, callbacks=lambda e, h: net.train_step(X, y, sgd) < 0)
    for _ in range(3):
        twin.train_step(X, y, adam)  # each time afresh
        twin.train_step(X, y, sgd)
    assert bits(net) == bits(twin)
    net, twin = network(backend), network(backend)
    net.fit(X, y, 3, None, adam, False, callbacks=lambda e, h: net.train_step(X, y) < 0)
    for _ in range(6):
        twin.train_step(X, y, adam)
    assert bits(net) == bits(twin)


# --- settings ---------------------------------------------------------------------------------------------------------


def test_settings_and_their_form():
    assert repr(SGD()) == "SGD(lr=0.01, momentum=0.0, nesterov=False, weight_decay=0.0)"
    assert repr(Adam()) == "Adam(lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0)"
    assert repr(AdamW()) == "AdamW(lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.01)"
    assert repr(NAdam()) == "NAdam(lr=0.002, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0, momentum_decay=0.004)"
    assert repr(RMSprop()) == "RMSprop(lr=0.01, alpha=0.99, eps=1e-08, weight_decay=0.0, momentum=0.0)"
    assert repr(Adagrad()) == "Adagrad(lr=0.01, lr_decay=0.0, weight_decay=0.0, eps=1e-10)"
    assert (
        repr(RMSprop(0.1, 0.5, 1e-4, 0.2, 0.3))
        == "RMSprop(lr=0.1, alpha=0.5, eps=0.0001, weight_decay=0.2, momentum=0.3)"
    )
    assert repr(SGD(0.1, 0.9, True, 0.5)) == "SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.5)"
    for cls in (Adam, AdamW):
        assert cls(0.1, np.array([0.5, 0.6]), 1e-4, 0.2).settings() == {
            "lr": 0.1,
            "betas": (0.5, 0.6),
            "eps": 1e-4,
            "weight_decay": 0.2,
        }
    for optimizer in WITH_STATE:
        for twin in (copy.copy(optimizer), copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
            assert (type(twin), twin.settings()) == (type(optimizer), optimizer.settings())
            assert twin != optimizer  # an object is itself and no other
    assert [o.slots for o in (SGD(), SGD(momentum=0.9), Adam(), AdamW(), NAdam())] == [0, 1, 2, 2, 2]
    assert [o.slots for o in (RMSprop(), RMSprop(momentum=0.9), Adagrad())] == [1, 2, 1]


@pytest.mark.parametrize(
    ("name", "came", "call"),
    [
        ("momentum", "1", lambda: SGD(momentum=1)),
        ("momentum", "-0.1", lambda: SGD(momentum=-0.1)),
        ("momentum", "'0.9'", lambda: SGD(momentum="0.9")),
        ("momentum", "0", lambda: setattr(SGD(0.1, 0.9, True), "momentum", 0)),
        ("momentum", "0.0", lambda: SGD(nesterov=True)),
        ("nesterov", "True", lambda: setattr(SGD(), "nesterov", True)),
        ("nesterov", "1", lambda: SGD(momentum=0.9, nesterov=1)),
        ("nesterov", "None", lambda: SGD(momentum=0.9, nesterov=None)),
        ("betas", "0.9", lambda: Adam(betas=0.9)),
        ("betas", "'ab'", lambda: Adam(betas="ab")),
        ("betas", "(0.9,)", lambda: Adam(betas=(0.9,))),
        ("betas", "[0.9, 0.9, 0.9]", lambda: AdamW(betas=[0.9] * 3)),
        ("betas", "array", lambda: AdamW(betas=np.eye(2))),
        ("betas[0]", "1", lambda: Adam(betas=(1, 0.9))),
        ("betas[1]", "1.5", lambda: Adam(betas=(0.9, 1.5))),
        ("betas[1]", "nan", lambda: Adam(betas=(0.9, float("nan")))),
        ("betas[0]", "None", lambda: setattr(Adam(), "betas", (None, 0.9))),
        ("betas[0]", "[1, 2]", lambda: Adam(betas=([1, 2], 0.9))),
        ("eps", "0", lambda: Adam(eps=0)),
        ("eps", "-1", lambda: AdamW(eps=-1)),
        ("eps", "inf", lambda: Adam(eps=float("inf"))),
        ("lr", "-1", lambda: Adam(lr=-1)),
        ("alpha", "1", lambda: RMSprop(alpha=1)),
        ("alpha", "-0.5", lambda: setattr(RMSprop(), "alpha", -0.5)),
        ("alpha", "None", lambda: RMSprop(alpha=None)),
        ("momentum", "1.5", lambda: RMSprop(momentum=1.5)),
        ("momentum", "nan", lambda: setattr(RMSprop(), "momentum", float("nan"))),
        ("eps", "0", lambda: RMSprop(eps=0)),
        ("eps", "-1", lambda: Adagrad(eps=-1)),
        ("lr_decay", "-1", lambda: Adagrad(lr_decay=-1)),
        ("lr_decay", "'1'", lambda: setattr(Adagrad(), "lr_decay", "1")),
        ("lr_decay", "inf", lambda: Adagrad(lr_decay=float("inf"))),
        ("momentum_decay", "-1", lambda: NAdam(momentum_decay=-1)),
        ("momentum_decay", "None", lambda: setattr(NAdam(), "momentum_decay", None)),
        ("betas[0]", "1", lambda: NAdam(betas=(1, 0.9))),
        ("weight_decay", "nan", lambda: AdamW(weight_decay=float("nan"))),
    ],
)
def test_bad_settings_are_refused(name, came, call):
    assert_refused(call, name, came)


def test_a_setting_that_is_refused_changes_nothing():
    sgd, adam, rmsprop, adagrad, nadam = SGD(0.1, 0.9, True), Adam(), RMSprop(), Adagrad(), NAdam()
    for optimizer, name, value in (
        (sgd, "momentum", 0),
        (sgd, "lr", -1),
        (adam, "betas", (0.5, 2)),
        (adam, "eps", 0),
        (rmsprop, "alpha", 1),
        (rmsprop, "momentum", 1),
        (adagrad, "lr_decay", -1),
        (nadam, "momentum_decay", -1),
    ):
        before = repr(optimizer)
        with pytest.raises(ValueError, match=name):
            setattr(optimizer, name, value)
        assert repr(optimizer) == before
    with pytest.raises(AttributeError):
        adam.beta1 = 0.5


# --- files of nonsense ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "arrays", "told"),
    [
        ({"steps": 0}, {}, "steps"),
        ({"steps": -3}, {}, "steps"),
        ({"steps": 1.5}, {}, "steps"),
        ({"steps": None}, {}, "steps"),
        ({"steps": 10**400}, {}, "steps"),
        ({"steps": "absent"}, {}, "moments"),
        ({"optimizer": "absent"}, {}, "moments"),
        ({"optimizer": ["SGD", {}]}, {}, "moments"),
        ({"optimizer": ["SGD", {"momentum": 0.9}]}, {}, "moments"),
        ({"optimizer": ["Adam", {"betas": [0.9]}]}, {}, "betas"),
        ({"optimizer": ["Adam", {"betas": 3}]}, {}, "betas"),
        ({"optimizer": ["Adam", {"momentum": 0.9}]}, {}, "momentum"),
        ({"optimizer": ["SGD", {"nesterov": True}]}, {}, "momentum"),
        ({"optimizer": ["Lion", {}]}, {}, "Lion"),
        ({"optimizer": ["RMSprop", {}]}, {}, "moments"),
        ({"optimizer": ["RMSprop", {"momentum": 0.9, "alpha": 1}]}, {}, "alpha"),
        ({"optimizer": ["Adagrad", {}]}, {}, "moments"),
        ({"optimizer": ["Adagrad", {"alpha": 0.9}]}, {}, "alpha"),
        ({"optimizer": ["NAdam", {"momentum_decay": "x"}]}, {}, "momentum_decay"),
        ({}, {"m1_W1": None}, "moments"),
        ({}, {"m2_b2": None}, "moments"),
        ({}, {"m3_W1": np.zeros((5, 3), "f4")}, "moments"),
        ({}, {"m1_W1": np.zeros((3, 5), "f4")}, "m1_W1"),
        ({}, {"m1_b1": np.zeros(5, "f4")}, "m1_b1"),
        ({}, {"b1": np.zeros(5, "f4"), "m1_b1": np.zeros(5, "f4")}, "m1_b1"),
        ({}, {"m2_W2": np.zeros((2, 5))}, "m2_W2"),
        ({}, {"m2_W2": np.zeros((2, 5), "i4")}, "m2_W2"),
    ],
    ids=str,
)
@around_the_kernels
def test_a_file_of_nonsense_is_refused(backend, rng, tmp_path, header, arrays, told):
    path = tmp_path / "net"
    stepped(backend, *data(rng), Adam()).save(path, optimizer=True)
    head, named = files.load(path)
    head = {k: v for k, v in (head | header).items() if k not in ("format", "sha256") and v != "absent"}
    files.save(path, head, {k: v for k, v in (named | arrays).items() if v is not None})
    with pytest.raises(ValueError, match=rf"net.*{told}"):
        fastnn.load(path, backend=backend)
