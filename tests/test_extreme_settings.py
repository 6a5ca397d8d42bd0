"""Settings at the ends of what is legal, changed under way, and weights that cannot be trained: one answer of both."""

import copy
import math
import os
import random
import re

import numpy as np
import pytest

import fastnn
import reference as ref
from case_helpers import assert_faultless, bits, python, state_of
from conftest import DTYPES, PROFILE, each_isa_slowly
from fastnn import SGD, Adagrad, Adam, AdamW, NAdam, Network, RMSprop, kernels, optimizers, training

SMALL = [5e-324, 1e-300, 1e-45, 1e-40, 1e-38]
LARGE = [1e20, 1e30, 1e38, 3.4e38, 1e39, 1e43, 1e300, 1.7e308]
LRS = [0.0, *SMALL, 0.1, *LARGE]
DECAYS = [0.0, *SMALL, 0.1, *LARGE]
EPSES = [*SMALL, 1e-8, 1.0, *LARGE]
SHARES = [0.0, 5e-324, 1e-40, 0.9, 0.999, 1 - 2.0**-24, 1 - 2.0**-53]
KINDS = {
    "sgd": lambda lr, decay, eps, a, b: SGD(lr, weight_decay=decay),
    "momentum": lambda lr, decay, eps, a, b: SGD(lr, a, weight_decay=decay),
    "nesterov": lambda lr, decay, eps, a, b: SGD(lr, a, a > 0, decay),
    "adam": lambda lr, decay, eps, a, b: Adam(lr, (a, b), eps, decay),
    "adamw": lambda lr, decay, eps, a, b: AdamW(lr, (a, b), eps, decay),
    "nadam": lambda lr, decay, eps, a, b: NAdam(lr, (a, b), eps, decay, momentum_decay=100 * a * b),
    "rmsprop": lambda lr, decay, eps, a, b: RMSprop(lr, b, eps, decay),
    "rmsprop with momentum": lambda lr, decay, eps, a, b: RMSprop(lr, b, eps, decay, a),
    "adagrad": lambda lr, decay, eps, a, b: Adagrad(lr, a, decay, eps),
}


def test_each_optimizer_is_among_them():
    made = {type(make(0.1, 0.1, 0.1, 0.5, 0.5)) for make in KINDS.values()}
    assert made == set(optimizers.OPTIMIZERS)


def network(backend, dtype, softmax):
    """With a relu that is dead, so gradients that are 0, and with weights that are 0."""
    net = Network([3, 5, 2], ["relu", "softmax" if softmax else "identity"], dtype=dtype, seed=3, backend=backend)
    (W, b), (V, c) = ((W.copy(), b.copy()) for W, b in net.parameters)
    W[1], b[1], V[0] = 0, -5, 0
    b[2] = 0.5
    net.set_parameters([(W, b), (V, c)])
    return net


def data(softmax):
    rng = np.random.default_rng(5)
    return rng.standard_normal((3, 8)), np.arange(8) % 2 if softmax else rng.standard_normal((2, 8))


def numbers(net):
    state = net.__getstate__()
    slots = state["optimizer_state"]["moments"] if state["optimizer_state"] else []
    return [[T for pair in slot for T in pair] for slot in (state["parameters"], *slots)]


STEPS = 4  # of a fit
EXAMPLES = int(os.environ.get("FASTNN_EXTREME_EXAMPLES", "500" if PROFILE == "explore" else "50"))


def draw(rng, kind):
    """An optimizer, and what of its settings decides how near the backends can be."""
    lr, decay, eps, a, b = (rng.choice(some) for some in (LRS, DECAYS, EPSES, SHARES, SHARES))
    return KINDS[kind](lr, decay, eps, a, b)


def underflow(optimizer, dtype, steps):
    """By how much numbers below the normal ones move a weight: NumPy has them, a compiled network takes them as 0.

    Those are lr, decay, a gradient or a moment of less than the smallest normal number; all but SGD may divide such a
    number by an eps that is as small, and multiply the quotient by a rate that may be as large as 1/eps.
    """
    tiny = float(np.finfo(dtype).tiny)
    if isinstance(optimizer, SGD):
        return 16 * steps * tiny
    return 16 * steps * (tiny * leap(optimizer) + optimizer.lr * of_a_quotient(optimizer, tiny))


def leap(optimizer):
    """About the largest step, over lr, of an optimizer that divides the gradient by its size."""
    if isinstance(optimizer, RMSprop):  # which corrects no bias
        return 1 / math.sqrt(1 - optimizer.alpha) / (1 - optimizer.momentum)
    return 1


def of_a_quotient(optimizer, tiny):
    """By how much such a number changes what lr multiplies."""
    share = optimizer.betas[0] if isinstance(optimizer, Adam) else getattr(optimizer, "momentum", 0)
    return tiny * (1 + 1 / max(optimizer.eps, tiny)) / (1 - share)


def is_tame(optimizer):
    """Whether several steps can be compared: none makes a difference larger, or leaves no more than a rounding."""
    return optimizer.lr * leap(optimizer) <= 0.1 and optimizer.lr * optimizer.weight_decay <= 0.1


def disagreement(how, dtype, softmax, optimizer):
    """What is wrong between the backends after one step, or a short fit; empty if nothing is."""
    (X, y), steps = data(softmax), STEPS if how == "fit" else 1
    nets, outcomes = [network(backend, dtype, softmax) for backend in ("numpy", "compiled")], []
    start = numbers(nets[0])[0]
    for net in nets:
        before = state_of(net)
        try:
            if how == "step":
                net.train_step(X, y, optimizer)
            else:
                net.fit(X, y, STEPS // 2, 4, optimizer, False)
            outcomes.append(None)
        except (ValueError, FloatingPointError) as error:
            outcomes.append(type(error))
        if not all(np.isfinite(T).all() for slot in numbers(net) for T in slot):
            return f"{net._backend.NAME}: not finite, and {outcomes[-1]}"
        if (outcomes[-1] is ValueError or (outcomes[-1] and how == "step")) and state_of(net) != before:
            return f"{net._backend.NAME}: changed by what raises {outcomes[-1]}"
    if (outcomes[0] is ValueError) != (outcomes[1] is ValueError):
        return f"{outcomes}"
    allowed, is_sgd = underflow(optimizer, dtype, steps), isinstance(optimizer, SGD)
    # Where Adam leaps from one end of the floats to the other, rounding decides about the signs of the second leap.
    if allowed > 1 or (how == "fit" and not (is_sgd or is_tame(optimizer))):
        return ""
    if outcomes[0] != outcomes[1]:
        return f"{outcomes}"
    if outcomes[0] or (how == "fit" and not is_tame(optimizer)):
        return ""
    bound, tiny = ref.BOUND[dtype] * (1 if how == "step" else 10), float(np.finfo(dtype).tiny)
    squares = 2 if isinstance(optimizer, Adam) else 1  # the slot of the moments of squares
    for slot, (left, right) in enumerate(zip(*map(numbers, nets), strict=True)):
        for T, U, before in zip(left, right, start, strict=True):
            size = np.abs(T).max() if slot else max(np.abs(before).max(), np.abs(T - before).max())
            off = np.abs(U.astype(float) - T).max()
            of_slot = allowed if slot == 0 else 16 * steps * tiny
            if isinstance(optimizer, RMSprop) and slot == 2:  # of quotients
                of_slot = 16 * steps * of_a_quotient(optimizer, tiny)
            if off > bound * size * (3 if slot and slot == squares else 1) + of_slot:
                return f"slot {slot}: off by {off} of {size}"
    return ""


@each_isa_slowly
@pytest.mark.parametrize("how", ["step", "fit"])
@pytest.mark.parametrize("kind", KINDS)
def test_both_backends_agree(isa, kind, how):
    rng, faults = random.Random(f"{kind} {how}"), []
    for _ in range(EXAMPLES):
        dtype, softmax, optimizer = rng.choice(DTYPES), rng.random() < 0.5, draw(rng, kind)
        found = disagreement(how, dtype, softmax, optimizer)
        if found:
            faults.append(f"{how} {dtype} {'softmax' if softmax else 'mse'} {optimizer}: {found}")
    assert_faultless(faults)


# --- settings that the dtype does not hold --------------------------------------------------------------------

TOO_LARGE = [
    ("lr", SGD(lr=1e39)), ("lr", SGD(1e300, 0.9, True)), ("weight_decay", SGD(0.1, weight_decay=1e43)),
    ("lr", Adam(3.41e38)), ("eps", Adam(eps=1e39)), ("weight_decay", Adam(weight_decay=1e39)),
    ("eps", AdamW(eps=1e300)), ("weight_decay", AdamW(lr=0, weight_decay=1e300)),
    ("lr", NAdam(3.41e38)), ("eps", RMSprop(eps=1e39)), ("lr", RMSprop(1e39, momentum=0.5)),
    ("weight_decay", Adagrad(weight_decay=1e40)), ("eps", Adagrad(eps=1e300)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "optimizer"), TOO_LARGE, ids=str)
def test_a_setting_that_float32_does_not_hold(backend, name, optimizer):
    told = re.escape(f"{name}={getattr(optimizer, name)!r} is infinite in float32")
    net, (X, y) = network(backend, np.dtype("f4"), True), data(True)
    net.train_step(X, y, Adam())
    before, last = state_of(net), net._trainable.optimizer
    later = copy.copy(optimizer)
    setattr(later, name, 0.01)
    for call in (
        lambda: net.train_step(X, y, optimizer),
        lambda: net.fit(X, y, 2, 4, optimizer),
        lambda: net.fit(X, y, 2, 4, optimizer, callbacks=lambda e, h: None),
    ):
        with pytest.raises(ValueError, match=told):
            call()
        assert state_of(net) == before
        assert net._trainable.optimizer is last
    Xf = X.astype("f4", order="F")
    for _ in range(2):
        net.train_step(Xf, y, later)
    before = state_of(net)
    setattr(later, name, getattr(optimizer, name))
    for call in (lambda: net.train_step(Xf, y, later), lambda: net.train_step(Xf, y), lambda: net.fit(X, y)):
        with pytest.raises(ValueError, match=told):
            call()
        assert state_of(net) == before
    wide = network(backend, np.dtype("f8"), True)
    try:
        wide.train_step(X, y, optimizer)
    except FloatingPointError:
        assert state_of(wide) == state_of(network(backend, np.dtype("f8"), True))


@pytest.mark.parametrize(("name", "optimizer"), TOO_LARGE, ids=str)
def test_the_kernel_refuses_it_too(backend, name, optimizer):
    arrays = [np.zeros((2, 3), "f4") for _ in range(1 + optimizer.slots)]
    for out in (None, tuple(arrays)):
        with pytest.raises(ValueError, match=name):
            kernels.optimizer_update(optimizer, arrays[0], np.ones((2, 3), "f4"), tuple(arrays[1:]), out=out)
    assert not any(a.any() for a in arrays)
    wide = [a.astype(float) for a in arrays]
    kernels.optimizer_update(optimizer, wide[0], np.zeros((2, 3)), tuple(wide[1:]))


def test_the_largest_number_that_float32_holds_is_legal(backend):
    W = np.ones((1, 3), "f4")
    for lr in (float(np.finfo("f4").max), 3.4028235e38):
        (W,) = kernels.optimizer_update(SGD(lr), np.zeros((1, 3), "f4"), np.full((1, 3), 0.5, "f4"))
        np.testing.assert_array_equal(W, -np.finfo("f4").max / 2)


def test_what_is_computed_in_float64_only_may_be_larger(either_backend):
    X, y = data(True)
    for large, moderate in (
        (Adagrad(0.1, lr_decay=1.7e308), Adagrad(0.1, lr_decay=1e20)),
        (NAdam(momentum_decay=1.7e308), NAdam(momentum_decay=1e4)),
    ):
        nets = [network(either_backend, np.dtype("f4"), True) for _ in range(2)]
        for net, optimizer in zip(nets, (large, moderate), strict=True):
            net.fit(X, y, 2, 4, optimizer, False)
            net.train_step(X.astype("f4", order="F"), y, optimizer)
        for left, right in zip(*map(numbers, nets), strict=True):
            for T, U in zip(left, right, strict=True):
                np.testing.assert_allclose(T, U, rtol=1e-6)


def test_weights_of_samples_that_vanish(either_backend):
    # 1 / 1e-300 is infinite in float32, and times a gradient of 0 it would be NaN
    for optimizer in (SGD(1e20), SGD(0.1, 0.9), Adam(), NAdam(), RMSprop(), RMSprop(momentum=0.5), Adagrad()):
        net, twin = (network(either_backend, np.dtype("f4"), True) for _ in range(2))
        X, y = data(True)
        net.fit(X[:, :2], y[:2], 1, 1, optimizer, False, sample_weight=[1, 1e-300])
        twin.fit(X[:, :1], y[:1], 1, 1, optimizer, False)
        if isinstance(optimizer, SGD) and not optimizer.momentum:
            assert bits(net) == bits(twin)
        assert all(np.isfinite(T).all() for slot in numbers(net) for T in slot)


# --- settings that change under way ---------------------------------------------------------------------------


def test_a_callback_that_sets_what_is_not_held(backend):
    net, twin, (X, y) = network(backend, np.dtype("f4"), True), network(backend, np.dtype("f4"), True), data(True)
    sgd = SGD(0.1, 0.9)
    with pytest.raises(ValueError, match="lr=1e"):
        net.fit(X, y, 5, 4, sgd, False, callbacks=lambda e, h: e == 1 and setattr(sgd, "lr", 1e39))
    twin.fit(X, y, 2, 4, SGD(0.1, 0.9), False)
    assert state_of(net) == state_of(twin)


@pytest.mark.parametrize("how", [SGD(0.1), SGD(0.1, 0.9), Adam(0.1)], ids=str)
@pytest.mark.parametrize("cast", [False, True])
def test_a_replay_takes_the_settings_of_then(either_backend, monkeypatch, how, cast):
    # Slices of one batch, a snapshot at the start only, and between any two slices another lr.
    monkeypatch.setattr(training, "_SLICE_SECONDS", 0.0)
    monkeypatch.setattr(training, "_FIRST_SLICE_FLOP", 0.0)
    monkeypatch.setattr(training, "_SNAPSHOT_SECONDS", 1e9)
    X, y = data(False)
    X, y = (X.astype("f2"), 1e3 * y) if cast else (X, 1e3 * y)
    # By 3e38 the weights overflow, by which the loss of the slice after it does: with the rate of that one, or of any
    # later, the failure is never found again.
    optimizer, lrs = copy.copy(how), [0.1, 1e-3, 0.05, 1e-4, 3e38] + 95 * [1e-5]
    dealt = iter(lrs)
    net, twin = (network(either_backend, np.dtype("f4"), False) for _ in range(2))
    slice_of = training.Fit._slice

    def one_slice(fit, *args):
        optimizer.lr = next(dealt)
        return slice_of(fit, *args)

    monkeypatch.setattr(training.Fit, "_slice", one_slice)
    with pytest.raises(FloatingPointError) as caught:
        net.fit(X, y, 50, 4, optimizer, False)
    epoch, batch = map(int, re.search(r"epoch (\d+), batch (\d+)", str(caught.value)).groups())
    single, done = copy.copy(how), 0
    for number, lr in enumerate(lrs):
        single.lr = lr
        part = slice(number % 2 * 4, number % 2 * 4 + 4)
        try:
            twin.train_step(X[:, part], y[:, part], single)
        except FloatingPointError:
            break
        done += 1
    assert 2 * epoch + batch == done >= 4
    assert state_of(net)[2:] == state_of(twin)[2:]
    assert bits(net) == bits(twin)


FLIPPING = """
import threading, numpy as np, fastnn
X = np.random.default_rng(0).standard_normal((3, 400))
y = X.sum(axis=0)[np.newaxis]
epochs = 50 if fastnn.backend.default.NAME == "numpy" else 4000
ended = threading.Event()
for optimizer in (fastnn.SGD(1e-3), fastnn.SGD(1e-3, 0.9), fastnn.Adam(1e-3)):
    net = fastnn.Network([3, 16, 1], ["relu", "identity"], seed=0)
    ended.clear()

    def flip():
        while not ended.is_set():
            for lr, seconds in ((1e-3, 0.05), (1e10, 0.002)):
                optimizer.lr = lr
                ended.wait(seconds)

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        net.fit(X, y, epochs, 10, optimizer, progress=False)
    except FloatingPointError:
        pass
    finally:
        ended.set()
        thread.join()
    assert all(np.isfinite(T).all() for pair in net.parameters for T in pair)
print("ended")
"""


def test_another_thread_that_flips_the_rate(either_backend):
    assert python(FLIPPING, either_backend, timeout=60) == "ended"


# --- weights and moments that are not finite already ----------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("layer", "which"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_weights_that_are_not_finite_are_named(backend, dtype, bad, layer, which):
    net, (X, y) = network(backend, dtype, True), data(True)
    Xf, adam = X.astype(dtype, order="F"), Adam()
    for _ in range(2):
        net.train_step(Xf, y, adam)
    parameters = [[T.copy() for T in pair] for pair in net.parameters]
    parameters[layer][which].flat[-2:] = bad
    net.set_parameters(parameters)
    before, told = state_of(net), f"{'Wb'[which]} of layer {layer + 1} has 2 non-finite values"
    for call in (
        lambda: net.fit(X, y, 3, 4),
        lambda: net.fit(X, y, 3, None, SGD(), callbacks=lambda e, h: None),
        lambda: net.train_step(Xf, y),
        lambda: net.train_step(Xf, y, SGD(momentum=0.9)),
        lambda: copy.copy(net).fit(X, y),
    ):
        with pytest.raises(ValueError, match=told):
            call()
        assert state_of(net) == before
        assert net._trainable.optimizer is adam
    assert net.fit(X, y, 0).loss == []
    net.predict(X), net.loss(X, y), net.gradients(X, y)


@pytest.mark.parametrize("slot", [0, 1])
def test_moments_that_are_not_finite_are_named(backend, dtype, tmp_path, slot):
    net, (X, y) = network(backend, dtype, True), data(True)
    net.train_step(X, y, Adam())
    state = net.__getstate__()
    state["optimizer_state"]["moments"][slot][1][0][0, :3] = np.inf
    net.__setstate__(state)
    net.save(tmp_path / "net", optimizer=True)
    for twin in (net, fastnn.load(tmp_path / "net", backend=net._backend_name)):
        before, told = state_of(twin), f"moment {slot + 1} of W of layer 2 has 3 non-finite values"
        for call in (lambda t=twin: t.fit(X, y, 3, 4), lambda t=twin: t.train_step(X, y)):
            with pytest.raises(ValueError, match=told):
                call()
            assert state_of(twin) == before
    with pytest.raises(FloatingPointError):  # by a rate alone: those moments have no part in it
        twin.train_step(X, y, SGD(lr=1e38 if dtype == np.float32 else 1e308, momentum=0.5, weight_decay=1e38))
    assert state_of(twin) == before
    net.reset_optimizer()
    net.train_step(X, y)
    twin.fit(X, y, optimizer=SGD())


def test_a_callback_that_leaves_such_weights_behind_is_no_failure(backend):
    net, (X, y) = network(backend, np.dtype("f4"), True), data(True)
    spoil = lambda e, h: e == 2 and net.set_parameters([(W * np.nan, b) for W, b in net.parameters])  # noqa: E731
    assert len(net.fit(X, y, 3, 4, callbacks=spoil).loss) == 3  # no step comes after it
    assert not np.isfinite(net.parameters[0][0]).any()
