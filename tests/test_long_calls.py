"""Divergence, interruption, callbacks and progress: a long call stays answerable and tells plainly how it ended."""

import concurrent.futures
import contextlib
import functools
import gc
import io
import os
import random
import re
import signal
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastnn
import reference as ref
from case_helpers import HEADS, OF_ANY_UNITS, affine, assert_finite, bits, weights_unchanged
from conftest import DEFAULT, alone
from fastnn import SGD, Adam, Network, training
from fastnn.progress import Progress

VARIANTS = DEFAULT  # what is tested here is around the kernels

NEVER = 10**9  # epochs


def regression(rng, m=64, dtype="f8"):
    X = rng.standard_normal((3, m)).astype(dtype)
    return X, X[:1] - X[1:2]


def linear(backend, dtype="float64", **kw):
    return Network([3, 4, 1], ["tanh", "identity"], dtype=dtype, seed=1, backend=backend, **kw)


# --- divergence ---------------------------------------------------------------------------------------------------


def slices_of_one_batch(monkeypatch, snapshot_seconds):
    monkeypatch.setattr(training, "_SLICE_SECONDS", 0.0)
    monkeypatch.setattr(training, "_FIRST_SLICE_FLOP", 0.0)
    monkeypatch.setattr(training, "_SNAPSHOT_SECONDS", snapshot_seconds)
    monkeypatch.setattr(training, "_SNAPSHOT_SHARE", np.inf)


def until_it_diverges(net, X, y, batch, optimizer, orders):
    """Single steps up to the one that fails: (epoch, batch), None where none does; and the weights before it."""
    m = X.shape[1]
    for epoch, order in enumerate(orders):
        for number, start in enumerate(range(0, m, batch)):
            part = order[start : start + batch]
            before = bits(net)
            try:
                net.train_step(X[:, part], y[..., part], optimizer=optimizer)
            except FloatingPointError:
                return (epoch, number), before
    return None, bits(net)


@pytest.mark.parametrize("samples", [None, np.arange(3, 197)])
@pytest.mark.parametrize("shuffle", [True, False])
def test_no_number_depends_on_where_a_slice_ends(backend, rng, samples, shuffle, monkeypatch):
    X, y, found = rng.integers(0, 9, (3, 200)).astype("u1"), rng.standard_normal((1, 200)), []
    for most in (training._CAST_BYTES, 1000):  # all of an epoch, or three batches
        monkeypatch.setattr(training, "_CAST_BYTES", most)
        net = linear(backend)
        history = net.fit(X, y, 4, 7, SGD(lr=1e-3), shuffle, samples=samples)
        found.append((history.loss, bits(net)))
    assert found[0] == found[1]


@pytest.mark.parametrize("x_dtype", ["f4", "f8"])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("lr", [1e3, 1.7])  # at once, and after a while
@pytest.mark.parametrize("slices", ["usual", "of one batch", "of one batch, unchecked"])
def test_divergence_names_epoch_and_batch(backend, dtype, rng, x_dtype, shuffle, lr, slices, monkeypatch):
    if slices != "usual":
        slices_of_one_batch(monkeypatch, 0.0 if slices == "of one batch" else 1e9)
    X, y = regression(rng, 50, x_dtype)
    net, twin = (Network([3, 1], ["identity"], seed=1, dtype=dtype, backend=backend) for _ in range(2))
    orders = (fastnn._numpy.permutation(50, 1, e) if shuffle else np.arange(50) for e in range(10_000))
    want, kept = until_it_diverges(twin, X, y, 8, SGD(lr=lr), orders)
    with pytest.raises(FloatingPointError) as caught:
        net.fit(X, y, epochs=10_000, batch_size=8, optimizer=SGD(lr=lr), shuffle=shuffle)
    epoch, batch = map(int, re.search(r"epoch (\d+), batch (\d+)", str(caught.value)).groups())
    assert abs(7 * (epoch - want[0]) + batch - want[1]) <= 7 * (backend == "numpy")  # whose steps may round otherwise
    assert_finite(net)
    if backend == "compiled":
        assert (epoch, batch) == want
        assert bits(net) == kept
    assert "lr" in str(caught.value)
    assert np.isfinite(net.predict(X)).all()
    net.set_parameters([(np.zeros((1, 3)), [0])])
    assert np.isfinite(net.fit(X, y, epochs=3, optimizer=SGD(lr=0.01)).loss).all()


@given(
    loss=st.sampled_from([*HEADS]),
    hidden=st.lists(st.tuples(st.integers(1, 20), st.sampled_from(OF_ANY_UNITS)), max_size=2),
    m=st.integers(1, 40),
    batch_size=st.integers(1, 40),
    lr=st.floats(-2, 6).map(lambda exponent: 10**exponent),
    scale=st.sampled_from([1.0, 1e4]),
    kind=st.sampled_from([SGD, functools.partial(SGD, momentum=0.9, nesterov=True), Adam]),
    dtype=st.sampled_from(["float32", "float64"]),
    shuffle=st.booleans(),
    seed=st.integers(0, 99),
)
def test_divergence_any_fit_ends_where_single_steps_end(
    either_backend, loss, hidden, m, batch_size, lr, scale, kind, dtype, shuffle, seed
):
    rng, batch_size = np.random.default_rng(seed), min(batch_size, m)
    if loss in ("poisson", "gaussian_nll"):
        scale = 1.0  # exp of larger outputs would be infinite before any update
    X, codes = scale * rng.standard_normal((3, m)), rng.integers(0, 2, m)
    y = {"classes": codes, "probabilities": np.eye(2)[:, codes]}.get(ref.LOSSES[loss].targets)
    if y is None:
        y = scale * ref.LOSSES[loss].some_targets(rng, 2, m)
    sizes, activations = [3, *(n for n, _ in hidden), 2], [*(g for _, g in hidden), HEADS[loss]]
    net, twin = (Network(sizes, activations, loss, dtype=dtype, seed=seed, backend=either_backend) for _ in range(2))
    orders = [fastnn._numpy.permutation(m, seed, epoch) if shuffle else np.arange(m) for epoch in range(12)]
    want, kept = until_it_diverges(twin, X, y, batch_size, kind(lr=lr), orders)
    try:
        history = net.fit(X, y, 12, batch_size, kind(lr=lr), shuffle)
        found = None
        assert np.isfinite(history.loss).all()
    except FloatingPointError as error:
        found = tuple(map(int, re.search(r"epoch (\d+), batch (\d+)", str(error)).groups()))
    assert_finite(net)
    assert net.epochs_done == (12 if found is None else found[0])
    if either_backend == "compiled":  # NumPy's steps may round otherwise
        assert found == want
        assert bits(net) == kept


@pytest.mark.parametrize("callbacks", [(), [lambda e, h: None]])
def test_divergence_counts_the_epochs_that_are_in_the_weights(backend, rng, callbacks):
    # the next fit goes on from there, and the next file says so
    X, y = regression(rng, 50)
    net = Network([3, 1], ["identity"], seed=1, dtype="float64", backend=backend)
    with pytest.raises(FloatingPointError) as caught:
        net.fit(X, y, epochs=10_000, batch_size=8, optimizer=SGD(lr=1.7), callbacks=callbacks)
    epoch = int(re.search(r"epoch (\d+)", str(caught.value))[1])
    assert epoch > 0
    assert net.epochs_done == epoch


def test_divergence_the_very_first_step(backend, dtype, rng):
    X, y = regression(rng)
    huge = SGD(lr=1e38 if dtype == np.float32 else 1e308)
    for batch_size in (None, 8):
        net = linear(backend, dtype)
        with weights_unchanged(net), pytest.raises(FloatingPointError, match="epoch 0, batch 0"):
            net.fit(1e3 * X, 1e3 * y, optimizer=huge, batch_size=batch_size)
        with weights_unchanged(net), pytest.raises(FloatingPointError, match="diverged"):
            net.train_step(1e3 * X, 1e3 * y, optimizer=huge)


def test_divergence_weights_that_overflow_in_the_last_batch_of_all(backend, rng):
    # the loss before the update is finite: only a look at the weights finds it
    net = affine([[1e38]], [0.0], "float32", backend=backend)
    X, y = np.array([[1e-2, -1.0]]), np.array([[0.0, 3e38]])
    with weights_unchanged(net), pytest.raises(FloatingPointError, match="epoch 0, batch 0"):
        net.fit(X, y, batch_size=None, optimizer=SGD(lr=10))


@alone
@pytest.mark.parametrize("interrupted", [False, True])
def test_divergence_weights_that_overflow_in_a_slice_without_a_look(backend, rng, monkeypatch, interrupted):
    slices_of_one_batch(monkeypatch, 1e9)
    train, looks = training.Fit._train, []

    def interrupt(fit, state, batches, epochs, check=True, rates=None):
        result = train(fit, state, batches, epochs, check, rates)
        looks.append(check)
        if interrupted and len(looks) == 1:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(training.Fit, "_train", interrupt)
    net = affine([[1e38]], [0.0], "float32", backend=backend)
    X, y = np.array([[1e-2, -1.0]]), np.array([[0.0, 3e38]])
    wanted = pytest.raises(KeyboardInterrupt) if interrupted else pytest.raises(FloatingPointError, match="0, batch 0")
    with weights_unchanged(net), wanted:
        net.fit(X, y, epochs=9, batch_size=None, optimizer=SGD(lr=10))
    assert not looks[0]


def test_divergence_after_finite_epochs_is_counted_from_this_call(backend, rng):
    X, y = regression(rng)
    net, sgd, seen = linear(backend), SGD(lr=0.01), []
    net.fit(X, y, epochs=3, optimizer=sgd)

    def spoil(epoch, history):
        seen[:] = history.loss
        if epoch == 1:
            sgd.lr = 1e308

    with pytest.raises(FloatingPointError) as caught:
        net.fit(X, y, epochs=9, optimizer=sgd, batch_size=None, callbacks=spoil)
    epoch, batch = map(int, re.search(r"epoch (\d+), batch (\d+)", str(caught.value)).groups())
    assert epoch in (2, 3)  # the step itself, or the loss after it
    assert batch == 0
    assert len(seen) == epoch
    assert np.isfinite(seen).all()
    assert_finite(net)
    assert net.epochs_done == 3 + epoch


def test_divergence_weights_that_were_not_finite_before(backend, rng):
    X, y = regression(rng)
    for bad in (np.nan, np.inf):
        net = linear(backend)
        W, b = net.parameters[0]
        net.set_parameters([(np.where(np.arange(3) == 1, bad, W), b), net.parameters[1]])
        told = rf"W of layer 1 has {len(W)} non-finite values, first at column 1"
        with weights_unchanged(net), pytest.raises(ValueError, match=told):
            net.fit(X, y, epochs=5)
        with weights_unchanged(net), pytest.raises(ValueError, match=told):
            net.train_step(X, y)


def test_divergence_a_callback_that_spoils_the_weights(backend, rng):
    X, y = regression(rng)
    net = linear(backend)

    def spoil(epoch, history):
        if epoch == 2:
            net.set_parameters([(W * np.inf, b) for W, b in net.parameters])

    with pytest.raises(ValueError, match="W of layer 1 has 12 non-finite values"):
        net.fit(X, y, epochs=9, callbacks=spoil)
    assert net.epochs_done == 3


def test_divergence_bad_data_is_the_cause_that_is_told(backend, rng):
    # the rate is absurd as well, but a NaN in the data is no matter of rates
    X, y = regression(rng)
    X[1, 5] = np.nan
    net = linear(backend)
    with weights_unchanged(net), pytest.raises(ValueError, match="X has 1 non-finite value, first at column 5"):
        net.fit(X, y, epochs=5, optimizer=SGD(lr=1e38), batch_size=4)


@pytest.mark.skip(reason="comes with validation")
def test_e02_divergence_together_with_early_stopping():
    pass


# --- interruption -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def signal_after(seconds, number, by=signal.raise_signal):
    """Send a signal from another thread; yields a list that then holds the time."""
    sent = []

    def send():
        sent.append(time.perf_counter())
        by(number)

    # Where this runs in the background SIGINT may be ignored, and Python then makes nothing of it.
    before = signal.getsignal(number)
    if number == signal.SIGINT:
        signal.signal(number, signal.default_int_handler)
    timer = threading.Timer(seconds, send)
    timer.start()
    gc.disable()  # hypothesis listens to the collector, and what a handler raises in there is lost
    try:
        yield sent
    finally:
        gc.enable()
        timer.cancel()
        timer.join()
        signal.signal(number, before)


def kill(number):
    os.kill(os.getpid(), number)


LONG = {
    "tiny": ([2, 3, 1], 4, "f4", {}),
    "tiny, one batch": ([2, 3, 1], 4, "f4", {"batch_size": None}),
    "cast": ([10, 30, 2], 3000, "f8", {}),
    "not shuffled": ([10, 30, 2], 3000, "f4", {"shuffle": False}),
    "wide": ([784, 512, 10], 2048, "f4", {"batch_size": 256}),
    "many samples": ([4, 8, 1], 200_000, "f4", {"batch_size": 64}),
    "callbacks": ([10, 30, 2], 300, "f4", {"callbacks": lambda e, h: None}),
    "weights": ([10, 30, 2], 300, "f4", {"sample_weight": np.ones(300)}),
}


@alone
@pytest.mark.parametrize(
    ("what", "by"), [*((what, signal.raise_signal) for what in LONG), ("tiny", kill), ("cast", kill)]
)
def test_interruption_ctrl_c_is_served(backend, rng, what, by):
    sizes, m, x_dtype, kw = LONG[what]
    net = Network(sizes, seed=0, backend=backend)
    X = rng.standard_normal((m, sizes[0])).astype(x_dtype).T
    y = np.arange(m) % max(2, sizes[-1])
    with pytest.raises(KeyboardInterrupt), signal_after(0.05, signal.SIGINT, by) as sent:
        net.fit(X, y, epochs=NEVER, optimizer=SGD(lr=1e-4), **kw)
    assert time.perf_counter() - sent[0] < 0.5
    usable(net, X[:, :100], y[:100])


def usable(net, X, y):
    assert_finite(net)
    done = net.epochs_done
    assert np.isfinite(net.predict(X)).all()
    assert np.isfinite(net.loss(X, y))
    assert np.isfinite(net.train_step(X, y, optimizer=SGD(lr=1e-4)))
    assert np.isfinite(net.fit(X, y, epochs=2, optimizer=SGD(lr=1e-4)).loss).all()
    assert net.epochs_done == done + 2


@alone
def test_interruption_ctrl_c_at_any_moment(backend, rng):
    X, y = rng.standard_normal((10, 300)), np.arange(300) % 2
    net = Network([10, 30, 2], seed=0, backend=backend)
    moments = random.Random(1)
    for _ in range(25):
        with pytest.raises(KeyboardInterrupt), signal_after(moments.uniform(0.001, 0.03), signal.SIGINT):
            net.fit(X, y, epochs=NEVER, optimizer=SGD(lr=1e-4))
        usable(net, X[:, :5], y[:5])


@alone
def test_interruption_ctrl_c_in_a_callback(backend, rng):
    X, y = regression(rng)
    net = linear(backend)

    def interrupt(epoch, history):
        if epoch == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, epochs=NEVER, callbacks=interrupt)
    assert net.epochs_done == 4
    twin = linear(backend)
    twin.fit(X, y, epochs=4)
    assert bits(net) == bits(twin)  # no half step


@contextlib.contextmanager
def alarm_after(seconds):
    """SIGALRM that raises TimeoutError; a timer that was running goes on afterwards."""

    def ring(number, frame):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    gc.disable()  # as above
    left = signal.setitimer(signal.ITIMER_REAL, seconds)
    start = time.perf_counter()
    try:
        yield
    finally:
        gc.enable()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left[0]:
            signal.setitimer(signal.ITIMER_REAL, max(0.01, left[0] - time.perf_counter() + start), left[1])


@alone
@pytest.mark.parametrize("method", ["predict", "predictor", "loss", "evaluate", "gradient_check"])
def test_interruption_other_long_calls_can_be_ended_too(backend, method):
    # many samples that cost no memory: one column, shown millions of times
    net = Network([64, 300, 300, 1], seed=0, backend=backend)
    m = {"gradient_check": 30_000}.get(method, 6_000_000)
    X = np.broadcast_to(np.linspace(-1, 1, 64, dtype="f4")[:, np.newaxis], (64, m))
    y = np.broadcast_to(np.float32(1), (1, m))
    call = {"predict": lambda: net.predict(X), "predictor": lambda: net.predictor()(X)}.get(method)
    call = call or (lambda: getattr(net, method)(X, y))
    start = time.perf_counter()
    with alarm_after(0.1), contextlib.suppress(TimeoutError):
        call()
    assert time.perf_counter() - start < 1.1
    assert net.predict(X[:, :3]).shape == (1, 3)
    net.train_step(X[:, :3], y[:, :3])


@alone
def test_e04_other_python_threads_and_sigalrm_keep_running(backend, rng):
    X, y = rng.standard_normal((200, 2000)).astype("f4"), np.arange(2000) % 10
    net = Network([200, 200, 10], seed=0, backend=backend)
    beats, stop = 0, False

    def beat():
        nonlocal beats
        while not stop:
            beats += 1
            time.sleep(0.01)

    end = time.perf_counter() + 0.3
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        net.fit(X, y, epochs=NEVER, optimizer=SGD(lr=1e-3), callbacks=lambda e, h: time.perf_counter() > end)
    finally:
        stop = True
        thread.join()
    assert beats >= 15
    start = time.perf_counter()
    with alarm_after(0.15), pytest.raises(TimeoutError):
        net.fit(X, y, epochs=NEVER, optimizer=SGD(lr=1e-3))
    assert time.perf_counter() - start < 1.15
    usable(net, X, y)


@alone
@pytest.mark.parametrize("method", ["predict", "loss", "train_step"])
def test_e04_threads_keep_running_in_other_calls(backend, method):
    net = Network([64, 300, 300, 1], seed=0, backend=backend)
    m = 10_000
    X, y = np.broadcast_to(np.ones((64, 1), "f4"), (64, m)), np.ones((1, m), "f4")
    call = (lambda: net.predict(X)) if method == "predict" else (lambda: getattr(net, method)(X, y))
    beats, stop = [], False

    def beat():
        while not stop:
            beats.append(time.perf_counter())
            time.sleep(0.005)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        start = time.perf_counter()
        while time.perf_counter() - start < 0.25:
            call()
        end = time.perf_counter()
    finally:
        stop = True
        thread.join()
    assert len([t for t in beats if start < t < end]) >= 10


# --- callbacks --------------------------------------------------------------------------------------------------


def test_e05_callback_per_epoch(backend, rng):
    X, y = regression(rng)
    for kw in (
        {"callbacks": lambda e, h: e == 3},
        {"callbacks": [lambda e, h: None, lambda e, h: e == 3]},
    ):
        net = linear(backend)
        history = net.fit(X, y, epochs=50, optimizer=SGD(lr=0.1), **kw)
        assert len(history.loss) == 4
        assert history.stopped == "callback"
        assert net.epochs_done == 4
        assert history.seconds > 0
        assert repr(history).startswith(f"<History: 4 epochs, last loss {history.loss[-1]:.6g}, ")
        assert repr(history).endswith(" s, stopped by callback>")
    # the same as 4 epochs without; and what a callback sees is what is returned
    twin, seen = linear(backend), []
    history = twin.fit(X, y, epochs=4, optimizer=SGD(lr=0.1), callbacks=lambda e, h: seen.append((e, list(h.loss), h)))
    assert bits(net) == bits(twin)
    assert history.stopped is None
    assert [e for e, _, _ in seen] == [0, 1, 2, 3]
    assert [loss for _, loss, _ in seen] == [history.loss[: e + 1] for e in range(4)]
    assert all(h is history for _, _, h in seen)
    # of a second fit the epochs count from 0 again
    seen.clear()
    twin.fit(X, y, epochs=2, callbacks=lambda e, h: seen.append(e))
    assert seen == [0, 1]


@pytest.mark.skip(reason="comes with validation")
def test_e05_both_curves():
    pass


@pytest.mark.parametrize("error", [ZeroDivisionError, ValueError, KeyboardInterrupt, SystemExit, StopIteration])
def test_e05_what_a_callback_raises_comes_out(backend, rng, error):
    X, y = regression(rng)
    net, twin = linear(backend), linear(backend)

    def fail(epoch, history):
        if epoch == 1:
            raise error("from the callback")

    with pytest.raises(error, match="from the callback"):
        net.fit(X, y, epochs=5, callbacks=fail)
    twin.fit(X, y, epochs=2)
    assert bits(net) == bits(twin)
    assert net.epochs_done == 2
    net.fit(X, y, epochs=3)
    twin.fit(X, y, epochs=3)
    assert bits(net) == bits(twin)


def test_e05_a_callback_may_call_anything_but_fit(backend, rng, tmp_path):
    X, y = regression(rng)
    net, twin = linear(backend), linear(backend)
    seen = []

    def use(epoch, history):
        assert np.isfinite(net.forward(X)).all()
        net.forward(X, cache=True)
        net.predictor()(X)
        net.evaluate(X, y)
        net.gradients(X, y)
        net.gradient_check(X[:, :2], y[:, :2])
        net.summary()
        net.save(tmp_path / f"{epoch}")
        seen.append(bits(net))
        assert bits(fastnn.load(tmp_path / f"{epoch}", backend=backend)) == seen[-1]
        with pytest.raises(RuntimeError, match="trained"):
            net.fit(X, y)

    net.fit(X, y, epochs=3, callbacks=use)
    twin.fit(X, y, epochs=3)
    assert bits(net) == bits(twin) == seen[-1]
    assert len(set(seen)) == 3


def test_e05_what_a_callback_changes_counts(backend, rng):
    X, y = regression(rng)
    net, twin = linear(backend), linear(backend)

    def change(epoch, history):
        net.set_parameters([(W / 2, b) for W, b in net.parameters])
        net.train_step(X, y, optimizer=SGD(lr=0.05))
        net.reset_optimizer()

    net.fit(X, y, epochs=3, optimizer=SGD(lr=0.1), callbacks=change)
    for _ in range(3):
        twin.fit(X, y, optimizer=SGD(lr=0.1))
        change_of = [(W / 2, b) for W, b in twin.parameters]
        twin.set_parameters(change_of)
        twin.train_step(X, y, optimizer=SGD(lr=0.05))
    assert bits(net) == bits(twin)


def test_e05_what_a_callback_saves_can_be_gone_on_with(backend, rng, tmp_path):
    X, y = regression(rng)
    whole, net, done = linear(backend), linear(backend), []

    def save(epoch, history):
        done.append(net.epochs_done)
        net.save(tmp_path / f"{epoch}", optimizer=True)

    whole.fit(X, y, epochs=6, optimizer=SGD(lr=0.1), batch_size=8)
    net.fit(X, y, epochs=3, optimizer=SGD(lr=0.1), batch_size=8, callbacks=save)
    assert done == [1, 2, 3]
    for epoch in range(3):
        resumed = fastnn.load(tmp_path / f"{epoch}", backend=backend)
        assert resumed.epochs_done == epoch + 1
        resumed.fit(X, y, epochs=5 - epoch, batch_size=8)
        assert bits(resumed) == bits(whole)


# --- progress ---------------------------------------------------------------------------------------------------


def printed(call):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        call()
    return out.getvalue() + err.getvalue()


@pytest.mark.parametrize(
    ("tqdm", "epochs", "callbacks"),
    [(True, 1000, False), (False, 1000, False), (True, 1000, True), (False, 1000, True)],
)
def test_e06_progress_output(backend, tqdm, epochs, callbacks, monkeypatch):
    if not tqdm:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    X, y = np.ones((1, 4)), np.zeros((1, 4))
    net = affine([[1.0]], [0], "float32", backend=backend)
    for kw in ({}, {"progress": None}, {"progress": False}):
        assert printed(lambda kw=kw: net.fit(X, y, epochs=50, **kw)) == ""
    start = time.perf_counter()
    # a callback is called each epoch; the bar is not drawn for it
    callbacks = [lambda epoch, history: None] if callbacks else []
    text = printed(lambda: net.fit(X, y, epochs=epochs, optimizer=SGD(lr=0.01), progress=True, callbacks=callbacks))
    seconds = time.perf_counter() - start
    lines = [line for line in re.split("[\r\n]+", text) if line.strip()]
    assert 1 <= len(lines) < min(200, 3 + 10 * seconds)
    assert f"{epochs}/{epochs}" in text
    assert "loss" in text


def test_what_tqdm_says_of_a_notebook_without_widgets_is_not_shown(rng, monkeypatch, tmp_path):
    (tmp_path / "tqdm").mkdir()
    (tmp_path / "tqdm" / "__init__.py").touch()
    (tmp_path / "tqdm" / "auto.py").write_text(
        "import warnings\nwarnings.warn('IProgress not found')\nmade = []\n"
        "class tqdm:\n    def __init__(self, **options):\n        made.append(options)\n"
    )
    for name in [name for name in sys.modules if name.partition(".")[0] == "tqdm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    Network([2, 1], seed=0).fit(rng.standard_normal((2, 9)), np.arange(9) % 2, epochs=2, progress=True)
    assert len(sys.modules["tqdm.auto"].made) == 1


@pytest.mark.parametrize("with_tqdm", [True, False])
def test_the_bar_moves_within_an_epoch_and_shows_the_numbers(backend, rng, monkeypatch, with_tqdm):
    if not with_tqdm:
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    monkeypatch.setattr(training, "_FIRST_SLICE_FLOP", 1)  # one batch; later slices are at most twice as long
    shown = []
    monkeypatch.setattr(
        Progress,
        "_show",
        lambda self, share, history, lr, show=Progress._show: (
            shown.append(round(len(history.loss) + share, 3)),
            show(self, share, history, lr),
        ),
    )
    monkeypatch.setattr("fastnn.progress._PLAIN_SECONDS", 0)
    X, y = regression(rng, 640)
    how = {"validation_data": (X, y), "metrics": ["r2"], "progress": True, "batch_size": 10}
    text = printed(lambda: linear(backend).fit(X, y, epochs=2, optimizer=SGD(lr=0.005), **how))
    assert len(shown) > 4
    assert shown == sorted(set(shown))
    assert shown[0] == 0.016
    assert shown[-1] == 2
    for word in ("2/2", "loss", "val_loss", "val_r2", "lr", "0.005"):
        assert word in text
    if not with_tqdm:
        assert "epoch 0.02/2, lr 0.005, " in text
        assert text.rstrip().endswith("0 s left")


def test_e06_without_a_place_to_print(backend, rng, monkeypatch):
    # a program without a console has no sys.stderr
    X, y = regression(rng, 4)
    monkeypatch.setattr(sys, "stderr", None)
    for progress in (None, False, True):
        assert len(linear(backend).fit(X, y, epochs=3, progress=progress).loss) == 3


def test_e06_the_bar_is_closed_on_an_error(backend, rng):
    X, y = regression(rng, 4)

    def call():
        with pytest.raises(ZeroDivisionError):
            linear(backend).fit(X, y, epochs=9, progress=True, callbacks=lambda e, h: 1 / 0)

    assert printed(call).endswith("\n")


# --- many Python threads on one network ---------------------------------------------------------------------------


def together(n, function):
    """Run function(i) in n threads that start at one time; their results, or what they raised."""
    gate = threading.Barrier(n)

    def run(i):
        gate.wait()
        try:
            return function(i)
        except Exception as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        return list(pool.map(run, range(n)))


def test_threads_predict_in_many_threads(backend, dtype, rng):
    net = Network([20, 40, 30, 5], seed=1, dtype=dtype, backend=backend)
    data = [rng.standard_normal((20, 1 + 37 * i)).astype("f4" if i % 2 else "f8") for i in range(8)]
    want, p = [net.predict(X).tobytes() for X in data], net.predictor()

    def predict(i):
        out = np.empty((5, data[i].shape[1]), dtype)
        for _ in range(40):
            assert net.predict(data[i]).tobytes() == want[i]
            assert p(data[i], out=out).tobytes() == want[i]
            assert net.loss(data[i], np.zeros(data[i].shape[1], int)) > 0
        return "right"

    assert together(8, predict) == ["right"] * 8


def training_in_another_thread(net, X, y, **kw):
    """(thread, an event that lets it end, a list of what it raised): fit is under way when this returns."""
    started, stop, raised = threading.Event(), threading.Event(), []

    def callback(epoch, history):
        started.set()
        return stop.is_set()

    def run():
        try:
            net.fit(X, y, epochs=NEVER, callbacks=callback, **kw)
        except Exception as error:
            raised.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(60)
    return thread, stop, raised


def test_threads_what_trains_is_not_trained_twice(backend, rng):
    X, y = rng.standard_normal((20, 200)).astype("f4"), np.arange(200) % 3
    net = Network([20, 60, 3], seed=1, backend=backend)
    p, twin = net.predictor(), Network([20, 60, 3], seed=1, backend=backend)
    want = p(X)
    thread, stop, raised = training_in_another_thread(net, X, y)
    try:
        for call in (lambda: net.fit(X, y), lambda: net.train_step(X, y)):
            with pytest.raises(RuntimeError, match="network"):
                call()
        np.testing.assert_array_equal(p(X), want)  # a snapshot goes its own way
        for call in (lambda: net.set_parameters(twin.parameters), lambda: net.predict(X), net.reset_optimizer):
            call()  # all else is let in between two slices
        twin.fit(X, y)
    finally:
        stop.set()
        thread.join()
    assert not raised
    usable(net, X, y)


def test_threads_of_two_fits_at_once_one_is_refused(backend, rng):
    X, y = rng.standard_normal((20, 500)).astype("f4"), np.arange(500) % 3
    net = Network([20, 60, 3], seed=1, backend=backend)
    pause = lambda e, h: time.sleep(0.05)  # noqa: E731
    results = together(4, lambda i: net.fit(X, y, epochs=3, callbacks=pause))
    assert sorted(type(r).__name__ for r in results) == ["History"] + ["RuntimeError"] * 3
    twin = Network([20, 60, 3], seed=1, backend=backend)
    twin.fit(X, y, epochs=3)
    assert bits(net) == bits(twin)


def test_threads_networks_of_their_own_train_side_by_side(backend, rng):
    X, y = rng.standard_normal((20, 300)).astype("f4"), np.arange(300) % 3
    sgd = SGD(lr=0.1)  # one object may serve many

    def train(i):
        net = Network([20, 60, 3], seed=i, backend=backend)
        net.fit(X, y, epochs=5, optimizer=sgd)
        return bits(net)

    alone = [train(i) for i in range(6)]
    assert together(6, train) == alone


def test_threads_readers_do_not_lock_the_network_up(backend, rng):
    X, y = rng.standard_normal((5, 8)), np.arange(8) % 2
    net = Network([5, 4, 2], seed=1, backend=backend)

    def mixed(i):
        for _ in range(100):
            with contextlib.suppress(RuntimeError):
                [lambda: net.predict(X), lambda: net.train_step(X, y), lambda: net.fit(X, y)][i % 3]()
            with contextlib.suppress(ValueError, RuntimeError):
                [lambda: net.predict(X.T), lambda: net.train_step(X, y[:3]), lambda: net.fit(X, y[:3])][i % 3]()
        return "done"

    assert together(6, mixed) == ["done"] * 6
    usable(net, X, y)
