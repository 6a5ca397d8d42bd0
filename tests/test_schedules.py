"""Schedules: their formulas, the time that they count, and that a run in parts equals an unbroken one."""

import copy
import ctypes
import itertools
import pickle

import numpy as np
import pytest

import fastnn
import reference as ref
from case_helpers import bits, state_of, weights_unchanged
from conftest import BACKENDS, COMPILED
from fastnn import SGD, Adam, AdamW, EarlyStopping, NAdam, Network, kernels, schedules, tables, training
from fastnn.callbacks import Checkpoint
from fastnn.schedules import Cosine, Exponential, InverseScaling, OneCycle, Plateau, Step

VARIANTS = BACKENDS
RNG = np.random.default_rng(44)
M = 40
X, CODES = RNG.standard_normal((5, M)), RNG.integers(0, 3, M)
QUIET = {"progress": False, "batch_size": 16}  # three batches an epoch
OF_TIME = [
    Step(0.4, every=1.5, factor=0.5),
    Exponential(0.4, factor=0.7),
    InverseScaling(0.4, power=0.6),
    Cosine(0.4, length=5, warmup=1.25, final=0.02),
    OneCycle(0.4, length=6),
]
ALL = [*OF_TIME, Plateau(0.4, factor=0.5, patience=0, monitor="loss")]


def name_of(lr):
    """Of a test: a function's text holds its address, which differs from run to run."""
    return getattr(lr, "__name__", str(lr))


def net_of(backend, dtype="float64", **more):
    return Network([5, 9, 3], ["tanh", "softmax"], seed=5, dtype=dtype, backend=backend, **more)


def per_step(schedule):
    return type(schedule)(**schedule.settings() | {"per": "step"})


def of_reference(schedule, t):
    return ref.SCHEDULES[schedule.name](*(getattr(schedule, name) for name in schedule._fields), t)


# --- formulas ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", OF_TIME, ids=str)
def test_the_formula(schedule):
    for t in np.linspace(0, 8, 161):
        assert schedule.at(t) == pytest.approx(of_reference(schedule, t), rel=1e-12, abs=1e-16)
        assert 0 <= schedule.at(t) <= schedule.largest


def test_the_published_definitions():
    """torch's closed forms, and Keras' warm-up."""
    rate = 0.1
    for epoch in range(30):
        assert Step(0.1, 10, 0.1).at(epoch) == pytest.approx(0.1 * 0.1 ** (epoch // 10))  # StepLR
        assert Exponential(0.1, 0.9).at(epoch) == pytest.approx(0.1 * 0.9**epoch)  # ExponentialLR
        # CosineAnnealingLR(T_max=30, eta_min=0.01), by its recursion
        if epoch:
            rate = 0.01 + (rate - 0.01) * (1 + np.cos(np.pi * epoch / 30)) / (1 + np.cos(np.pi * (epoch - 1) / 30))
        assert Cosine(0.1, 30, final=0.01).at(epoch) == pytest.approx(rate)
        assert InverseScaling(0.1, 0.5, per="step").at(epoch) == pytest.approx(0.1 / (epoch + 1) ** 0.5)  # sklearn
    assert [Cosine(0.8, 8, warmup=4).at(t) for t in range(5)] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    # OneCycleLR(max_lr=1, total_steps=T): phases end at pct_start * T - 1 and T - 1 there, at 0.3 L and L here
    one = OneCycle(1.0, 10)
    assert [one.at(t) for t in (0, 3, 10, 11)] == pytest.approx([1 / 25, 1, 1 / 25e4, 1 / 25e4])
    assert one.at(1.5) == pytest.approx((1 / 25 + 1) / 2)
    assert one.at(6.5) == pytest.approx((1 / 25e4 + 1) / 2)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_plateau_is_that_of_torch(mode):
    numbers = np.abs(np.cumsum(np.random.default_rng(3).standard_normal(60))) + 1
    numbers[20] = np.nan
    for patience in (0, 1, 4):
        torchs, ours = ref.Plateau(0.4, 0.5, patience, mode), schedules.Progress(Plateau(0.4, 0.5, patience))
        seen = set()
        for number in [*numbers, *[numbers[-1] * (1 + 5e-5 * (-1) ** i) for i in range(12)]]:
            ours = ours.after(number, mode == "max")
            assert ours.lr == torchs.step(number)
            seen.add(ours.lr)
        assert len(seen) > 3


def test_a_negative_number_must_improve_as_well():
    first = schedules.Progress(Plateau(0.4, 0.5, 0)).after(-10.0, False)
    assert first.after(-10.0005, False).lr == 0.2  # torch would take it for an improvement, even -9.9995
    assert first.after(-10.01, False).lr == 0.4


def test_extreme_settings_give_numbers():
    for schedule in (
        Step(1.0, 1e-300, 0.5),
        Step(1.0, 1e-300, 1.0),
        Exponential(1.0, 0.0),
        InverseScaling(1.0, 1e308),
        Cosine(1.0, 1e-300, final=1e308),
        OneCycle(1e308, 1e-300),
        Cosine(1.0, 1e308, warmup=1e307),
    ):
        history = {}
        for backend in ["numpy", "compiled"] if COMPILED else ["numpy"]:
            net = Network([1, 1], ["identity"], dtype="float64", seed=0, init="zeros", backend=backend)
            history[backend] = net.fit([[0.0, 0.0]], [0.0, 0.0], 3, 1, SGD(lr=schedule), progress=False).lr
        assert np.isfinite(history["numpy"]).all()
        assert history["numpy"] == [schedule.at(e + 0.5) for e in range(3)]
        assert all(rates == pytest.approx(history["numpy"], rel=1e-12) for rates in history.values())


# --- training ----------------------------------------------------------------------------------------------------


def by_steps(net, optimizer, rate_of, epochs):
    """The same training by single steps with numbers: rate_of(batch, t) is the learning rate."""
    numbers, rates, plain = itertools.count(), [], optimizer(lr=0.1)
    for epoch in range(epochs):
        for start in range(0, M, 16):
            plain.lr = rate_of(next(numbers), epoch + start / M)
            net.train_step(np.asfortranarray(X[:, start : start + 16]), CODES[start : start + 16], plain)
        rates.append(plain.lr)
    return rates


@pytest.mark.parametrize("schedule", OF_TIME, ids=str)
def test_each_batch_has_its_learning_rate(backend, schedule):
    for optimizer, dtype, per in itertools.product((SGD, AdamW, NAdam), ("float32", "float64"), ("epoch", "step")):
        net, twin = net_of(backend, dtype), net_of(backend, dtype)
        given = schedule if per == "epoch" else per_step(schedule)
        history = net.fit(X, CODES, 3, optimizer=optimizer(lr=given), shuffle=False, **QUIET)
        rates = by_steps(twin, optimizer, lambda i, t, per=per: of_reference(schedule, t if per == "epoch" else i), 3)
        assert history.lr == pytest.approx(rates, rel=1e-12)
        for ours, theirs in zip(net.parameters, twin.parameters, strict=True):
            for T, wanted in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(T, wanted, rtol=0, atol=1e-11 if dtype == "float64" else 1e-5)


def test_both_backends_agree():
    if COMPILED is None:
        pytest.skip("the extension is not here")
    for schedule in [*ALL, *map(per_step, OF_TIME), lambda t: 0.4 / (1 + t)]:
        net, twin = net_of("numpy"), net_of("compiled")
        ours, theirs = (n.fit(X, CODES, 6, optimizer=Adam(lr=schedule), **QUIET) for n in (net, twin))
        np.testing.assert_allclose(ours.lr, theirs.lr, rtol=1e-12)
        np.testing.assert_allclose(net.predict(X), twin.predict(X), atol=1e-9)


def times_of(net, batch_size, epochs=2, **more):
    seen = []
    net.fit(X, CODES, epochs, batch_size, SGD(lr=lambda t: seen.append(t) or 0.1), progress=False, **more)
    return seen


def test_batch_size_does_not_change_the_curve(backend):
    assert times_of(net_of(backend), 10) == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75]
    assert times_of(net_of(backend), 16) == [0, 0.4, 0.8, 1, 1.4, 1.8]
    assert times_of(net_of(backend), None) == [0, 1]
    assert times_of(net_of(backend), 10, samples=np.arange(20)) == [0, 0.5, 1, 1.5]
    schedule = OF_TIME[1]
    for size, last in ((10, 0.75), (16, 0.8), (None, 0.0)):
        history = net_of(backend).fit(X, CODES, 3, size, SGD(lr=schedule), progress=False)
        assert history.lr == pytest.approx([schedule.at(epoch + last) for epoch in range(3)], rel=1e-12)


@pytest.mark.parametrize("schedule", [*OF_TIME, Plateau(0.4, 0.5, 0, "val_loss"), Cosine(0.4, 25, per="step")], ids=str)
@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_a_run_in_parts_is_an_unbroken_one(backend, schedule, optimizer, tmp_path):
    settings = {"validation_data": (X + 1, (CODES + 1) % 3)} | QUIET
    whole = net_of(backend)
    wanted = whole.fit(X, CODES, 7, optimizer=optimizer(lr=schedule), **settings).lr
    assert len(set(wanted)) > 2

    def saved(net):
        net.save(tmp_path / "net.npz", optimizer=True)
        return fastnn.load(tmp_path / "net.npz", backend=backend)

    for part in (lambda n: n, copy.deepcopy, copy.copy, lambda n: pickle.loads(pickle.dumps(n)), saved):
        for again in (None, optimizer(lr=schedule)):
            net = net_of(backend)
            rates = net.fit(X, CODES, 3, optimizer=optimizer(lr=schedule), **settings).lr
            if part(net) is net and again is not None:
                continue  # another object begins a new state
            net = part(part(net))
            if part is copy.copy:
                again = None  # shares the object
            rates += net.fit(X, CODES, 4, optimizer=again, **settings).lr
            assert (bits(net), rates) == (bits(whole), wanted)


def test_a_new_state_begins_at_0_and_a_changed_lr_goes_on(backend):
    schedule = OF_TIME[1]
    net, sgd = net_of(backend), SGD(lr=0.1, momentum=0.5)
    assert net.fit(X, CODES, 2, None, sgd, progress=False).lr == [0.1, 0.1]
    sgd.lr = schedule
    assert net.fit(X, CODES, 1, None, progress=False).lr == pytest.approx([schedule.at(2)])
    sgd.lr = 0.3
    assert net.fit(X, CODES, 1, None, progress=False).lr == [0.3]
    sgd.lr = schedule
    assert net.fit(X, CODES, 1, None, progress=False).lr == pytest.approx([schedule.at(4)])
    sgd.momentum = 0.6
    assert net.fit(X, CODES, 1, None, progress=False).lr == pytest.approx([schedule.at(0)])
    net.reset_optimizer()
    assert net.fit(X, CODES, 1, None, progress=False).lr == pytest.approx([schedule.at(0)])
    other = SGD(lr=schedule, momentum=0.6)
    assert net.fit(X, CODES, 2, None, other, progress=False).lr == pytest.approx([schedule.at(0), schedule.at(1)])

    def changes(epoch, history):
        if epoch == 1:
            other.lr = Step(0.7, 1, 0.5)
        if epoch == 2:
            net.reset_optimizer()

    rates = net.fit(X, CODES, 4, None, other, progress=False, callbacks=changes).lr
    assert rates == pytest.approx([schedule.at(2), schedule.at(3), 0.7 / 2**4, 0.7])


def test_a_network_that_fails_or_ends_within_an_epoch_counts_whole_epochs(backend, monkeypatch):
    small_slices(monkeypatch)
    net, schedule = net_of(backend), OF_TIME[1]
    sgd = SGD(lr=schedule)
    net.fit(X, CODES, 2, optimizer=sgd, **QUIET)
    history = net.fit(X, CODES, 5, 1, progress=False, max_seconds=0)
    assert (history.stopped, history.lr) == ("max_seconds", [])
    bad = X.copy()
    bad[0, 0] = np.nan
    with pytest.raises(ValueError, match="non-finite"):
        net.fit(bad, CODES, 3, **QUIET)
    assert net.fit(X, CODES, 1, None, progress=False).lr == pytest.approx([schedule.at(2)])


def small_slices(monkeypatch):
    monkeypatch.setattr(training, "_FIRST_SLICE_FLOP", 0)
    monkeypatch.setattr(training, "_SLICE_SECONDS", 0)
    monkeypatch.setattr(training, "_SNAPSHOT_SECONDS", 0)


@pytest.mark.parametrize("schedule", [*ALL, per_step(OF_TIME[0]), lambda t: 0.3 / (2 + t)], ids=name_of)
def test_the_same_bits_for_any_slices_and_threads(backend, schedule, monkeypatch):
    def trained(data=X.astype("f4"), some=None, **more):
        net = net_of(backend, "float32", **more)
        rates = net.fit(data, CODES, 4, optimizer=Adam(lr=schedule), samples=some, **QUIET).lr
        return bits(net), rates

    wanted = trained()
    if backend == "compiled":
        assert trained(threads=2) == trained(threads=3) == wanted
    if backend == "compiled":  # where values are cast, BLAS rounds otherwise
        assert trained(X.astype("f4").astype(object)) == wanted
    assert trained(some=np.arange(M)) == wanted
    cast = trained(X.astype("f4").astype("f2").astype("f4")), trained(X.astype("f2"))
    small_slices(monkeypatch)
    assert trained() == wanted
    assert trained(X.astype("f2")) == cast[1]
    if backend == "compiled":
        assert cast[0] == cast[1]


def test_skipped_batches(backend):
    """They count for no step, and the epoch's last step is the one before them."""
    weights = np.ones(M)
    weights[16:] = 0
    each, per = Exponential(0.4, 0.5), Exponential(0.4, 0.5, per="step")
    for slices in range(2):
        with pytest.MonkeyPatch.context() as patch:
            if slices:
                small_slices(patch)
            how = {"shuffle": False, "sample_weight": weights} | QUIET
            for schedule, data in itertools.product((each, per), (X, X.astype("f2"))):
                assert net_of(backend).fit(data, CODES, 3, optimizer=SGD(lr=schedule), **how).lr == [0.4, 0.2, 0.1]


def test_train_step_counts_steps(backend):
    schedule = Exponential(0.4, 0.5, per="step")
    net, twin, sgd, plain = net_of(backend), net_of(backend), Adam(lr=schedule), Adam()
    x = np.asfortranarray(X)
    for step in range(6):
        plain.lr = 0.4 * 0.5**step
        more = {"sample_weight": np.ones(M)} if step == 3 else {}
        assert net.train_step(x, CODES, sgd, **more) == twin.train_step(x, CODES, plain, **more)
        assert bits(net) == bits(twin)
    assert net.fit(X, CODES, 1, None, sgd, progress=False).lr == [0.4 * 0.5**6]


@pytest.mark.parametrize("lr", [*ALL, lambda t: 0.1], ids=name_of)
def test_train_step_refuses_what_depends_on_epochs(backend, lr):
    net = net_of(backend)
    net.fit(X, CODES, 1, optimizer=SGD(lr=lr), **QUIET)
    before = state_of(net)
    for more in ({}, {"sample_weight": np.ones(M)}):
        with pytest.raises(ValueError, match=r'lr=.* depends on epochs.*per="step"'):
            net.train_step(np.asfortranarray(X), CODES, **more)
    assert state_of(net) == before


# --- early stopping, Plateau -----------------------------------------------------------------------------------------


def test_early_stopping_turns_the_time_back(backend):
    """The schedule goes on from the best epoch, as the rest of the optimizer's state."""
    schedule, measured = OF_TIME[1], iter([5.0, 3.0, 4.0, 4.0, 1.0, 2.0])

    def quality(y, A):
        return next(measured, 9.0)

    for lr in (schedule, per_step(schedule)):
        measured = iter([5.0, 3.0, 4.0, 4.0])
        net, sgd = net_of(backend), SGD(lr=lr)
        stop = EarlyStopping("quality", patience=2)
        history = net.fit(X, CODES, 9, 16, sgd, metrics=[quality], early_stopping=stop, progress=False)
        assert (history.best_epoch, len(history.lr)) == (1, 4)
        twin = net_of(backend)
        twin.fit(X, CODES, 2, 16, SGD(lr=lr), progress=False)
        assert bits(net) == bits(twin)
        t = 2 if lr is schedule else 6
        assert net.fit(X, CODES, 1, None, progress=False).lr == pytest.approx([schedule.at(t)])


def test_plateau_in_fit(backend, tmp_path):
    numbers = [5.0, 4.0, 4.0, 4.0, 3.0, 3.0, 3.0, 3.0, 3.0, 2.0]
    oracle, wanted = ref.Plateau(0.4, 0.5, 1, "min"), [0.4]
    wanted += [oracle.step(number) for number in numbers[:-1]]
    assert wanted == [0.4, 0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.1, 0.1, 0.05]
    measured = None

    def quality(y, A):
        return next(measured)

    for lower in (True, False):
        quality.greater_is_better = not lower
        for at in range(11):  # broken off after any epoch: the checkpoint has what comes after this epoch
            measured = iter(numbers if lower else 1 / np.array(numbers))
            net, path = net_of(backend), tmp_path / "net.npz"
            adam, how = Adam(lr=Plateau(0.4, 0.5, 1, "quality")), {"metrics": [quality]} | QUIET
            rates = net.fit(X, CODES, at, optimizer=adam, callbacks=Checkpoint(path), **how).lr
            if at:
                net, adam = fastnn.load(path, backend=backend), None
            assert rates + net.fit(X, CODES, 10 - at, optimizer=adam, **how).lr == wanted


def test_a_plateau_begins_anew_with_its_state(backend):
    plateau = Plateau(0.4, 0.5, 0, "loss")
    net, sgd = net_of(backend, init="zeros"), SGD(lr=plateau)
    still = np.zeros_like(X)  # only b moves: after a few epochs of full batches the loss stands still
    fit = {"shuffle": False, "progress": False, "batch_size": None}
    assert net.fit(still, CODES, 60, optimizer=sgd, **fit).lr[-1] < 0.1
    sgd.lr = Plateau(0.3, 0.5, 0, "loss")  # another one
    assert net.fit(still, CODES, 1, optimizer=sgd, **fit).lr == [0.3]
    net.fit(still, CODES, 3, optimizer=sgd, **fit)
    assert net.fit(still, CODES, 1, **fit).lr[0] < 0.3
    net.reset_optimizer()
    assert net.fit(still, CODES, 1, **fit).lr == [0.3]


def test_a_plateau_watches_what_is_measured(backend):
    net = net_of(backend)
    before = state_of(net)
    with pytest.raises(ValueError, match=r"lr: no 'val_loss' is measured: there is no validation data"):
        net.fit(X, CODES, optimizer=SGD(lr=Plateau(0.1)), **QUIET)
    with pytest.raises(ValueError, match=r"lr: no 'acuracy' is measured; did you mean 'accuracy'"):
        net.fit(X, CODES, optimizer=SGD(lr=Plateau(0.1, monitor="acuracy")), metrics=["accuracy"], **QUIET)
    assert state_of(net) == before
    sgd = SGD(lr=0.1)

    def changes(epoch, history):
        sgd.lr = Plateau(0.1)

    with pytest.raises(ValueError, match="no 'val_loss' is measured"):
        net.fit(X, CODES, 3, optimizer=sgd, callbacks=changes, **QUIET)
    assert net.epochs_done == 1


# --- functions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, -0.1, "0.1", None, 1e39, ZeroDivisionError("mine")], ids=repr)
def test_an_error_in_a_function_keeps_the_weights_of_that_moment(backend, bad, monkeypatch):
    def lr(t):
        if t >= 1.4:
            if isinstance(bad, Exception):
                raise bad
            return bad
        return 0.3 / (1 + t)

    wanted = net_of(backend, "float32")
    by_steps_of = wanted.fit(X, CODES, 1, optimizer=SGD(lr=lambda t: 0.3 / (1 + t)), **QUIET)
    order = np.concatenate([wanted._backend.permutation(M, 5, 1)[:16]])
    wanted.fit(X, CODES, 1, 16, samples=order, shuffle=False, progress=False)
    for slices in range(2):
        if slices:
            small_slices(monkeypatch)
        net = net_of(backend, "float32")
        error = type(bad) if isinstance(bad, Exception) else TypeError if bad in ("0.1", None) else ValueError
        told = "mine" if isinstance(bad, Exception) else r"what lr returns for t=1\.4 must"
        with pytest.raises(error, match=told) as e:
            net.fit(X, CODES, 4, optimizer=SGD(lr=lr), **QUIET)
        assert bits(net) == bits(wanted)
        assert e.value.history.lr == by_steps_of.lr
        assert net.epochs_done == 1
        net.fit(X, CODES, 1, optimizer=SGD(lr=0.1), **QUIET)


def test_a_function_that_fails_at_once_changes_nothing(backend):
    net = net_of(backend)
    before = state_of(net)
    with pytest.raises(ValueError, match="what lr returns for t=0"), weights_unchanged(net):
        net.fit(X, CODES, optimizer=Adam(lr=lambda t: -1), **QUIET)
    assert state_of(net) == before


def test_a_function_may_use_the_network(backend):
    net = net_of(backend)
    history = net.fit(X, CODES, 3, optimizer=SGD(lr=lambda t: 0.1 * net.evaluate(X, CODES)["loss"]), **QUIET)
    assert history.loss[-1] < history.loss[0]


@pytest.mark.parametrize("other", [0.01, Exponential(0.01, 0.5), Plateau(0.01, 0.5, 0, "loss"), "reset"], ids=str)
def test_what_changes_while_the_rates_are_computed(backend, other):
    """As another thread might: the batches get the learning rate of the time when they are trained."""
    net, sgd, seen = net_of(backend), SGD(lr=0.1), []

    def lr(t):
        seen.append(t)
        if len(seen) == 2:
            if other == "reset":
                net.reset_optimizer()
            else:
                sgd.lr = other
        return 0.2

    net.fit(X, CODES, 3, None, optimizer=sgd, progress=False)
    sgd.lr = lr
    rates = net.fit(X, CODES, 4, None, progress=False).lr
    if other == "reset":
        assert seen[:2] == [3, 4]
        assert 0 in seen[2:]
        assert rates == [0.2] * 4
    else:
        assert len(seen) >= 2
        first = other.at(3) if isinstance(other, Exponential) else 0.01
        assert rates[0] == pytest.approx(first)
    assert net._trainable.state_epochs == (4 if other == "reset" else 7)


class Function:
    """A function without a hash."""

    __hash__ = None

    def __init__(self, last):
        self.last = last

    def __call__(self, t):
        return 0.05 / (1 + t) if t < 3.4 else self.last


@pytest.mark.parametrize("slices", ["one slice", "small slices"])
@pytest.mark.parametrize(("optimizer", "last", "batch"), [(Adam, 1e200, 2), (SGD, 1e308, 1)])
def test_a_divergence_keeps_the_last_finite_weights(backend, optimizer, last, batch, slices, monkeypatch):
    """Adam's step leaves weights of 1e200, and the next loss is infinite; SGD's leaves infinite weights."""
    data = {"sample_weight": np.linspace(1, 2, M), "shuffle": False} | QUIET
    net, wanted = (Network([5, 1], loss="mse", dtype="float64", seed=5, backend=backend) for _ in range(2))
    y, lr = X[0] * 20, Function(last)
    wanted.fit(X, y, 3, optimizer=optimizer(lr=lr), **data)
    wanted.fit(X, y, 1, samples=np.arange(16 * batch), **data)
    if slices == "small slices":
        small_slices(monkeypatch)
    with pytest.raises(FloatingPointError, match=rf"in epoch 3, batch {batch} .*lr=<.*Function"):
        net.fit(X, y, 9, optimizer=optimizer(lr=lr), **data)
    assert bits(net) == bits(wanted)
    assert net._trainable.state_epochs == net.epochs_done == 3


def test_a_divergence_with_a_schedule(backend, monkeypatch):
    ends = []
    for slices in range(2):
        if slices:
            small_slices(monkeypatch)
        net = Network([5, 1], loss="mse", seed=5, backend=backend)
        net.fit(X, X[0], 3, optimizer=SGD(lr=Cosine(3.0, 90, warmup=30)), **QUIET)
        with pytest.raises(FloatingPointError, match=r"in epoch \d+, batch .*lr=Cosine"):
            net.fit(X, X[0], 80, **QUIET)
        ends.append((bits(net), net._trainable.state_epochs))
    assert ends[0] == ends[1]
    assert ends[0][1] > 10


# --- files and refusals ----------------------------------------------------------------------------------------------


def test_a_file_has_what_is_not_the_default(backend, tmp_path):
    net = net_of(backend)
    for optimizer in (SGD(), Adam(), SGD(lr=OF_TIME[0])):
        net.fit(X, CODES, 2, optimizer=optimizer, **QUIET)
        header, _ = fastnn.network.states.to_file(net.__getstate__(), True)
        assert set(header) - set(fastnn.network.states._IN_FILES) - {"format", "updates"} == {
            "optimizer",
            "optimizer_epochs",
            "steps",
        }
        assert header["format"] == (1 if type(optimizer.lr) is float else 2)
    assert header["optimizer"][1]["lr"] == ("step", OF_TIME[0].settings())
    net.fit(X, CODES, 2, optimizer=SGD(lr=lambda t: 0.1), **QUIET)
    with pytest.raises(ValueError, match=r"a file cannot store lr=<function .*, a function"):
        net.save(tmp_path / "net.npz", optimizer=True)
    assert list(tmp_path.iterdir()) == []
    net.save(tmp_path / "net.npz")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("plateau", [1.0, 2]),
        ("plateau", [float("nan"), 0, 1.0]),
        ("plateau", [1.0, -1, 1.0]),
        ("plateau", [1.0, 3, 1.0]),
        ("plateau", [1.0, 0, 2.0]),
        ("plateau", "best"),
        ("optimizer_epochs", -1),
        ("optimizer_epochs", 1.5),
        ("optimizer", ["SGD", {"lr": ["plateau", {"lr": -1.0}]}]),
        ("optimizer", ["SGD", {"lr": ["noam", {}]}]),
        ("optimizer", ["SGD", {"lr": ["step", {"lr": 0.1}]}]),
        ("optimizer", ["SGD", {"lr": ["step", 3]}]),
        ("optimizer", ["SGD", {"lr": 0.1}]),
    ],
    ids=str,
)
def test_a_damaged_file_is_refused(either_backend, key, value, tmp_path):
    from fastnn import files

    net = net_of(either_backend)
    net.fit(X, CODES, 2, optimizer=SGD(lr=Plateau(0.1, patience=2, monitor="loss")), **QUIET)
    header, arrays = fastnn.network.states.to_file(net.__getstate__(), True)
    assert set(header) >= {"plateau", "optimizer_epochs", "steps"}
    files.save(tmp_path / "net.npz", header | {key: value}, arrays)
    with pytest.raises(ValueError, match="not a readable"):
        fastnn.load(tmp_path / "net.npz")


def test_schedules_are_values():
    for schedule in ALL:
        same = type(schedule)(**schedule.settings())
        assert schedule == same == pickle.loads(pickle.dumps(schedule)) == copy.deepcopy(schedule)
        assert hash(schedule) == hash(same)
        assert eval(repr(schedule), vars(schedules)) == schedule
        assert SGD(lr=(schedule.name, schedule.settings())).lr == schedule
        with pytest.raises(AttributeError, match="a schedule does not change"):
            schedule.lr = 0.2
        with pytest.raises(AttributeError, match="a schedule does not change"):
            del schedule.lr
    assert len({*ALL, *map(per_step, OF_TIME)}) == 11
    assert Exponential(0.1, 0.5) != Exponential(0.1, 0.4)
    sgd = SGD(lr=OF_TIME[0])
    assert sgd.lr is OF_TIME[0]
    assert repr(sgd).startswith("SGD(lr=Step(lr=0.4, every=1.5, factor=0.5, per='epoch'), ")
    with pytest.raises(TypeError, match="a function of t"):
        type("Mine", (Step,), {})


@pytest.mark.parametrize(
    ("make", "error", "told"),
    [
        (lambda: Step(-1, 1, 0.5), ValueError, "lr must be finite and at least 0, got -1"),
        (lambda: Step(0.1, 0, 0.5), ValueError, "every must be finite and at least 1e-300, got 0"),
        (lambda: Step(0.1, 1, 1.5), ValueError, "factor must be at most 1, got 1.5"),
        (lambda: Step(0.1, 1, 0.5, per="batch"), ValueError, 'per must be "epoch" or "step", got \'batch\''),
        (lambda: Step(0.1, 1, gamma=0.5), TypeError, "no argument 'gamma'; did you mean 'factor'"),
        (lambda: fastnn.ReduceLROnPlateau, AttributeError, "write fastnn.schedules.Plateau"),
        (lambda: Exponential("0.1", 0.5), TypeError, "lr must be a real number, got '0.1'"),
        (lambda: InverseScaling(0.1, -1), ValueError, "power must be finite and at least 0, got -1"),
        (lambda: Cosine(0.1, 5, warmup=5), ValueError, "warmup must be at least 0 and less than length=5.0, got 5"),
        (lambda: Cosine(0.1, 5, final=np.inf), ValueError, "final must be finite"),
        (lambda: OneCycle(0.1, None), TypeError, "length must be a real number, got None"),
        (lambda: Plateau(0.1, factor=1), ValueError, "factor must be at least 0 and less than 1, got 1"),
        (lambda: Plateau(0.1, patience=-1), ValueError, "patience must be"),
        (lambda: Plateau(0.1, monitor=3), TypeError, "monitor must be a str"),
        (lambda: Plateau(0.1, per="step"), ValueError, 'per must be "epoch" for a Plateau'),
        (lambda: OF_TIME[0].at(-1), ValueError, "t must be finite and at least 0, got -1"),
        (lambda: SGD(lr=Step), TypeError, r"write Step\(...\)"),
        (lambda: SGD(lr=lambda: 0.1), TypeError, "lr must take one argument, the time t"),
        (lambda: SGD(lr=("noam", {})), ValueError, "no schedule 'noam' here; choose one of step, "),
        (lambda: SGD(lr=("cosine", {"lr": 0.1})), TypeError, "cosine: .*length"),
        (lambda: SGD(lr=net_of("auto")), TypeError, "an optimizer holds settings only, and no parameters"),
        (lambda: SGD(lr="cosine"), TypeError, r'lr must be .*\("cosine", \{'),
    ],
)
def test_refusals(make, error, told):
    with pytest.raises(error, match=told):
        make()


def test_the_largest_learning_rate_must_be_finite_in_the_dtype(backend):
    for schedule in (Step(1e39, 1, 0.1), Cosine(0.1, 5, final=1e39)):
        net = net_of(backend, "float32")
        with pytest.raises(ValueError, match=r"lr=.* is infinite in float32"), weights_unchanged(net):
            net.fit(X, CODES, optimizer=SGD(lr=schedule), **QUIET)
        net_of(backend, "float64").fit(X, CODES, 0, optimizer=SGD(lr=schedule), **QUIET)


@pytest.mark.parametrize("lr", [*ALL, per_step(ALL[0]), lambda t: 0.1], ids=name_of)
def test_kernels_take_a_number(backend, lr):
    W = np.ones((2, 3))
    for out in (None, (W,)):
        with pytest.raises(ValueError, match=r"lr=.* must be a number here.*at\(t\)"):
            kernels.optimizer_update(SGD(lr=lr), W, np.ones((2, 3)), out=out)
    assert (W == 1).all()


# --- the C interface -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(COMPILED is None, reason="the extension is not here")
def test_the_c_interface():
    import c_interface as c

    net = c.new_net(1, 1)
    x, y = np.array([[1.0, 1.0, 1.0]]), np.zeros((1, 3))

    def trained(schedule, **more):
        sgd = c.Optimizer(kind=c.SGD, lr=0.5, schedule=schedule and ctypes.pointer(schedule))
        ended, rates = np.zeros(8), np.full(4, -1.0)
        fit = c.Fit(batch=1, optimizer=ctypes.pointer(sgd), max_batches=9, max_epochs=4, **more)
        fit.ended, fit.ended_rates = ended.ctypes.data, rates.ctypes.data
        return c.in_c("net_train", c.VOID(net), c.matrix(x), c.Targets(Y=c.matrix(y)), 3, fit, (1,)), rates[:3], fit

    names = list(tables.SCHEDULES)
    step = c.Schedule(kind=names.index("step"), parameters=(0.5, 1.0, 0.5))
    status, rates, fit = trained(step, time=2.0)
    assert (status, list(rates), fit.rate) == (c.OK, [0.125, 0.0625, 0.03125], 0.03125)
    given = np.arange(9.0)
    status, rates, fit = trained(None, rates=given.ctypes.data)
    assert (status, list(rates)) == (c.OK, [2, 5, 8])
    cosine = c.Schedule(kind=names.index("cosine"), parameters=(1.0, 1.0, 0.9, 0.0))
    status, _, fit = trained(cosine, before=2, whole=6)  # the third sample is the fifth of six: t = 4/6
    assert fit.rate == 0.0  # it went on to the next epochs, after the end
    bad = [
        c.Schedule(kind=-1, parameters=(0.5, 1.0, 0.5)),
        c.Schedule(kind=len(names), parameters=(0.5, 1.0, 0.5)),
        c.Schedule(kind=0, parameters=(0.5, 0.0, 0.5)),
        c.Schedule(kind=0, parameters=(0.5, 1.0, 1.5)),
        c.Schedule(kind=1, parameters=(-0.5, 0.5)),
        c.Schedule(kind=1, parameters=(np.nan, 0.5)),
        c.Schedule(kind=2, parameters=(0.5, np.inf)),
        c.Schedule(kind=3, parameters=(0.5, 1.0, 1.0)),
        c.Schedule(kind=4, parameters=(0.5, 0.0)),
    ]
    short = c.Schedule(kind=0, parameters=(0.5, 1.0, 0.5))
    short.size -= 8
    for schedule in [*bad, short]:
        assert trained(schedule)[0] == c.REFUSED
    assert trained(None, before=-1)[0] == trained(None, whole=-1)[0] == c.REFUSED
    w, t = np.ones((1, 1)), ctypes.c_uint64(1)
    sgd = c.Optimizer(kind=c.SGD, lr=0.5, schedule=ctypes.pointer(step))
    m = c.matrix(w)
    assert c.in_c("optimizer_update", (0,), sgd, t, m, None, None, m, 1, 1, (1,)) == c.REFUSED
    assert w == 1
    c.in_c("net_free", c.VOID(net), result=None)


@pytest.mark.parametrize("lr", [Exponential(0.05, 0.5), Exponential(0.05, 0.99, per="step")], ids=str)
@pytest.mark.parametrize("kind", [SGD, Adam])
def test_the_time_of_a_constant_lr_counts_too(backend, tmp_path, lr, kind):
    """A schedule that takes the place of a number goes on from the epochs and steps so far, also after loading."""
    found = set()
    for way in ("go on", "copy", "file"):
        net, optimizer = net_of(backend), kind(0.05)
        net.fit(X, CODES, 3, optimizer=optimizer, **QUIET)
        if way == "copy":
            net, optimizer = copy.deepcopy(net), kind(0.05)
        if way == "file":
            net.save(tmp_path / "net.npz", optimizer=True)
            net, optimizer = fastnn.load(tmp_path / "net.npz", backend), kind(0.05)
        optimizer.lr = lr
        history = net.fit(X, CODES, 2, optimizer=optimizer, **QUIET)
        found.add((bits(net), *history.lr))
    assert len(found) == 1


def test_the_history_of_a_fit_that_diverged_has_each_epochs_own_lr(backend):
    net = Network([1, 1], ["identity"], loss="mse", seed=0, backend=backend)
    schedule = Exponential(0.1, 0.9)
    with pytest.raises(FloatingPointError) as caught:
        net.fit(np.full((1, 1), 30.0, "f4"), [1.0], 100, optimizer=SGD(schedule), progress=False)
    history = caught.value.history
    assert history.lr == [schedule.at(t) for t in range(len(history.loss))]
    assert net.epochs_done == len(history.loss) > 1


def test_a_schedule_in_other_places_is_told_where_it_belongs(backend, tmp_path):
    net = net_of(backend)
    with pytest.raises(TypeError, match="write it as lr of the optimizer"):
        net.fit(X, CODES, callbacks=[Plateau(0.1)], **QUIET)
    with pytest.raises(ValueError, match="a file cannot store lr="):
        net.fit(X, CODES, 3, optimizer=SGD(lr=lambda t: 0.1), callbacks=[Checkpoint(tmp_path / "x", every=2)], **QUIET)
    assert net.epochs_done == 0
    for lr in (np.float64, np.float32, Exponential):
        with pytest.raises(TypeError, match="lr must be"):
            SGD(lr=lr)
    with pytest.raises(ValueError, match="per must be"):
        Exponential(0.1, 0.5, per=np.array(["step", "step"]))
