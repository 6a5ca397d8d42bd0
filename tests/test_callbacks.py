"""Callbacks with begin(); fastnn.callbacks: Checkpoint and CSVLog."""

import csv
import gc
import math
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import fastnn
from case_helpers import bits, state_of
from conftest import DEFAULT
from fastnn import Adam, History, Network
from fastnn.callbacks import Checkpoint, CSVLog

VARIANTS = DEFAULT  # what is tested here is around the kernels

RNG = np.random.default_rng(3)
X, Y = RNG.standard_normal((5, 60)), RNG.integers(0, 3, 60)
QUIET = {"progress": False, "batch_size": 16}


class Recorder:
    """Notes what is called, in order."""

    def __init__(self):
        self.calls = []

    def begin(self, net):
        self.calls.append((net, net.epochs_done))

    def __call__(self, epoch, history):
        self.calls.append((epoch, len(history.loss)))


def net_of(backend, **more):
    return Network([5, 8, 3], seed=4, backend=backend, dtype="float64", **more)


def test_begin_is_called_before_each_fit(backend):
    net, recorder = net_of(backend), Recorder()
    net.fit(X, Y, 2, callbacks=recorder, **QUIET)
    net.fit(X, Y, 1, callbacks=[recorder], **QUIET)
    assert recorder.calls == [(net, 0), (0, 1), (1, 2), (net, 2), (0, 1)]


def test_begin_may_change_the_network(backend):
    class Start:
        def begin(self, net):
            net.set_parameters(start)

        def __call__(self, epoch, history):
            pass

    start = Network([5, 8, 3], seed=9, dtype="float64").parameters
    net, twin = net_of(backend), net_of(backend)
    twin.set_parameters(start)
    twin.fit(X, Y, 2, **QUIET)
    net.fit(X, Y, 2, callbacks=Start(), **QUIET)
    assert bits(net) == bits(twin)


def test_an_error_in_begin_leaves_the_network_as_it_was(backend):
    class Broken:
        def begin(self, net):
            raise ZeroDivisionError

        def __call__(self, epoch, history):
            pass

    net = net_of(backend)
    before = state_of(net)
    with pytest.raises(ZeroDivisionError) as caught:
        net.fit(X, Y, callbacks=Broken(), optimizer=Adam(), **QUIET)
    assert state_of(net) == before
    assert caught.value.history.loss == []


@pytest.mark.parametrize("begin", [3, lambda: None])
def test_a_begin_that_cannot_be_called_is_refused(backend, begin):
    def callback(epoch, history):
        pass

    callback.begin = begin
    with pytest.raises(TypeError, match=r"callbacks\[0\]\.begin must be a method"):
        net_of(backend).fit(X, Y, callbacks=callback, **QUIET)


def test_a_checkpoint_goes_on_as_the_unbroken_run(backend, tmp_path):
    path = tmp_path / "net.npz"
    net, whole = net_of(backend), net_of(backend)
    net.fit(X, Y, 5, optimizer=Adam(), callbacks=Checkpoint(path, every=2), **QUIET)
    loaded = fastnn.load(path, backend=backend)
    assert loaded.epochs_done == 4
    loaded.fit(X, Y, 3, **QUIET)
    whole.fit(X, Y, 7, optimizer=Adam(), **QUIET)
    assert bits(loaded) == bits(whole)


@pytest.mark.parametrize("validated", [True, False])
def test_the_best_checkpoint_has_the_lowest_loss(backend, tmp_path, validated):
    path, kept, net = tmp_path / "net.npz", {}, net_of(backend)

    def keep(epoch, history):
        kept[epoch] = bits(net)

    data = {"validation_data": (X[:, ::2], RNG.integers(0, 3, 30))} if validated else {}
    checkpoint = Checkpoint(path, best=True)
    for epochs in (8, 3):  # the best of each fit
        history = net.fit(X, Y, epochs, optimizer=Adam(lr=0.1), callbacks=[keep, checkpoint], **data, **QUIET)
        losses = history.val_loss if validated else history.loss
        assert bits(fastnn.load(path, backend=backend)) == kept[int(np.argmin(losses))]


@pytest.mark.parametrize(
    ("losses", "saved"),
    [
        ([2.0, math.nan, 3.0, 1.0, math.nan, 1.0], [0, 3]),
        ([math.inf, math.inf, 5.0, math.inf], [0, 2]),
        ([math.nan, math.nan, 4.0, 5.0], [0, 2]),
    ],
)
def test_a_loss_that_is_no_number_is_not_the_best(backend, tmp_path, losses, saved):
    """A validation loss may overflow where the training loss does not."""
    path, net = tmp_path / "net.npz", net_of(backend)
    path.write_bytes(b"of an earlier fit")
    checkpoint, found, history = Checkpoint(path, best=True), [], History()
    checkpoint.begin(net)
    for epoch, loss in enumerate(losses):
        history.loss.append(1.0)
        history.val_loss.append(loss)
        before = path.read_bytes()
        net.train_step(X, Y)
        checkpoint(epoch, history)
        if path.read_bytes() != before:
            found.append(epoch)
    assert found == saved


@pytest.mark.parametrize("kind", [Checkpoint, CSVLog])
def test_a_path_that_cannot_be_is_found_before_training(backend, tmp_path, kind):
    net = net_of(backend)
    before = state_of(net)
    for path in (tmp_path / "missing" / "file", tmp_path, ""):
        with pytest.raises(OSError, match=kind.__name__):
            net.fit(X, Y, 3, callbacks=kind(path), **QUIET)
    assert state_of(net) == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("kind", [Checkpoint, CSVLog])
def test_a_full_disk_leaves_the_weights_of_that_moment(backend, kind):
    net, twin = net_of(backend), net_of(backend)
    callback = kind("/dev/full")
    if kind is CSVLog:
        callback.begin = lambda net: setattr(callback, "_lines", []) or setattr(callback, "_of", lambda: net)
    with pytest.raises(OSError, match="full"):
        net.fit(X, Y, 3, callbacks=callback, **QUIET)
    twin.fit(X, Y, 1, **QUIET)
    assert bits(net) == bits(twin)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX only")
def test_a_killed_process_leaves_a_file_that_loads(tmp_path):
    path = tmp_path / "net.npz"
    code = f"""
import numpy as np, fastnn
net = fastnn.Network([300, 200, 3], seed=0)
X = np.random.default_rng(0).standard_normal((300, 8))
net.fit(X, np.arange(8) % 3, 10**6, callbacks=fastnn.callbacks.Checkpoint({str(path)!r}), progress=False)
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    end = time.monotonic() + 100
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.1)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert fastnn.load(path).epochs_done >= 1


def rows(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_a_log_holds_the_history(backend, tmp_path):
    path, net = tmp_path / "log.csv", net_of(backend)
    how = {"validation_data": (X, Y), "metrics": ["accuracy"], "callbacks": CSVLog(path)} | QUIET
    history = net.fit(X, Y, 3, **how)
    head, *lines = rows(path)
    assert head == ["epoch", "loss", "val_loss", "lr", "val_accuracy"]
    numbers = zip(history.loss, history.val_loss, history.lr, history.metrics["val_accuracy"], strict=True)
    assert [[float(v) for v in line] for line in lines] == [[i, *row] for i, row in enumerate(numbers, start=1)]
    net.fit(X, Y, 2, **how)  # goes on
    assert [line[0] for line in rows(path)] == ["epoch", "1", "2", "3", "4", "5"]
    net.fit(X, Y, 1, callbacks=CSVLog(path), **QUIET)  # other columns: a new file
    assert [line[0] for line in rows(path)] == ["epoch", "6"]
    net_of(backend).fit(X, Y, 1, callbacks=CSVLog(path), **QUIET)  # a new network: a new file
    assert [line[0] for line in rows(path)] == ["epoch", "1"]


def test_a_log_goes_on_after_a_broken_run(backend, tmp_path):
    path, saved = tmp_path / "log.csv", tmp_path / "net.npz"

    def broken(epoch, history):
        if epoch == 5:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        net_of(backend).fit(X, Y, 9, callbacks=[Checkpoint(saved, every=4), CSVLog(path), broken], **QUIET)
    path.write_bytes(path.read_bytes() + b"7,0.")  # cut off
    fastnn.load(saved, backend=backend).fit(X, Y, 3, callbacks=CSVLog(path), **QUIET)
    whole = net_of(backend).fit(X, Y, 7, **QUIET)
    assert rows(path) == [["epoch", "loss", "lr"]] + [
        [str(i + 1), repr(loss), "0.01"] for i, loss in enumerate(whole.loss)
    ]


@pytest.mark.parametrize("content", [b"name,age\na,3\n", b"\x80\xff", b"x" * 200_000 + b"\n", b"epoch,loss\na,1\n"])
def test_a_file_that_is_no_log_stays(backend, tmp_path, content):
    path, net = tmp_path / "table.csv", net_of(backend)
    path.write_bytes(content)
    before = state_of(net)
    with pytest.raises(ValueError, match="no log of fit"):
        net.fit(X, Y, callbacks=CSVLog(path), **QUIET)
    assert path.read_bytes() == content
    assert state_of(net) == before


def test_a_metric_may_have_any_name(backend, tmp_path):
    def epoch(y, A):
        return 7.0

    path = tmp_path / "log.csv"
    net_of(backend).fit(X, Y, 2, metrics=[epoch], callbacks=CSVLog(path), **QUIET)
    assert [(line[0], line[3]) for line in rows(path)] == [("epoch", "epoch"), ("1", "7.0"), ("2", "7.0")]


def test_they_hold_no_network(backend, tmp_path):
    log, checkpoint = CSVLog(tmp_path / "log.csv"), Checkpoint(tmp_path / "net.npz")
    net_of(backend).fit(X, Y, callbacks=[log, checkpoint], **QUIET)
    assert len(pickle.dumps([log, checkpoint])) < 1000
    gc.collect()
    for callback in (log, checkpoint):
        with pytest.raises(RuntimeError, match="given to fit"):
            callback(0, fastnn.History())


def test_a_log_has_each_line_at_once(backend, tmp_path):
    path, seen = tmp_path / "log.csv", []
    net_of(backend).fit(X, Y, 3, callbacks=[CSVLog(path), lambda epoch, history: seen.append(len(rows(path)))], **QUIET)
    assert seen == [2, 3, 4]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Checkpoint(3), TypeError, "path must be a path, got 3"),
        (lambda: Checkpoint("a", every=0), ValueError, "every must be at least 1, got 0"),
        (lambda: Checkpoint("a", best="yes"), TypeError, "best must be True or False"),
        (lambda: CSVLog(None), TypeError, "path must be a path, got None"),
        (lambda: Checkpoint("a")(0, None), RuntimeError, "given to fit"),
        (lambda: CSVLog("a")(0, None), RuntimeError, "given to fit"),
        (lambda: net_of("auto").fit(X, Y, callbacks=Checkpoint, **QUIET), TypeError, "write Checkpoint()"),
    ],
)
def test_wrong_settings_are_refused(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)


def test_they_show_their_settings():
    assert repr(Checkpoint(os.path.join("a", "b"), every=3)).endswith("best=False, every=3)")
    assert repr(CSVLog("log.csv")) == "CSVLog('log.csv')"
