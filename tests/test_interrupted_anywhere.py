"""Ctrl-C at any place of the package's own Python: the network stays usable, with its old weights or its new ones."""

import dis
import functools
import itertools
import os
import sys
import threading

import numpy as np
import pytest

import fastnn
from case_helpers import assert_finite, bits, state_of
from conftest import alone
from fastnn import SGD, Adam, Network

pytestmark = alone

PACKAGE = os.path.dirname(fastnn.__file__) + os.sep
# So many of the places in one call; beyond it, every so many.
at_most = pytest.mark.parametrize("most", [40, pytest.param(150, marks=pytest.mark.slow)])


def _serves_signals(name):
    """Whether Python looks for a signal after an instruction of this name: calls, loops, a function's beginning."""
    return name.startswith(("CALL", "JUMP_BACKWARD", "RESUME"))


@functools.cache
def _places(code):
    """Offsets of the instructions before which Ctrl-C may come, with the same handler as the one that looked for it."""
    handlers = dis._parse_exception_table(code)
    handler_of = lambda i: next((h.target for h in handlers if h.start <= i.offset < h.end), None)  # noqa: E731
    return {
        i.offset
        for before, i in itertools.pairwise(dis.get_instructions(code))
        if _serves_signals(before.opname) and handler_of(before) == handler_of(i)
    }


class Interrupt:
    """KeyboardInterrupt at the n-th place in the package where Python would serve a signal; n = 0 only counts."""

    def __init__(self, n=0):
        self.n, self.seen, self.place = n, 0, None

    def _trace(self, frame, event, arg):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode" and frame.f_lasti in _places(frame.f_code):
            self.seen += 1
            if self.seen == self.n:
                self.place = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self._trace

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *exc):
        sys.settrace(self._before)


rng = np.random.default_rng(0)
X, y = rng.standard_normal((6, 40)).astype("f4"), np.arange(40) % 3
X64, w = X.astype("f8")[:, ::-1], np.ones(40)
Y, DA = np.eye(3, dtype="f4")[:, y], np.ones((3, 40))


def mse(A, y):
    return ((A - y) ** 2).sum(axis=0), 2 * (A - y)


def own(net):
    """A network with a loss of one's own, and these weights."""
    twin = Network([6, 5, 3], loss=mse, backend=net._backend_name)
    twin.set_parameters(net.parameters)
    return twin


OTHER = Network([6, 5, 3], seed=9).parameters
GRADIENTS = [tuple(np.ones_like(T) for T in layer) for layer in OTHER]

READ = {
    "predict": lambda net, path: net.predict(X),
    "predict of another dtype": lambda net, path: net.predict(X64),
    "predictor": lambda net, path: net.predictor()(X),
    "loss": lambda net, path: net.loss(X, y, w),
    "evaluate": lambda net, path: net.evaluate(X, y),
    "gradients": lambda net, path: net.gradients(X64, y),
    "backward": lambda net, path: net.backward(X64, DA),
    "gradients of a loss of one's own": lambda net, path: own(net).gradients(X, Y),
    "loss_and_gradient": lambda net, path: net.loss_and_gradient(np.ones(net.n_params), X, y),
    "save": lambda net, path: net.save(path, optimizer=True),
}
WRITE = {
    "train_step": lambda net, path: net.train_step(X, y, SGD(lr=0.01)),
    "train_step of another dtype": lambda net, path: net.train_step(X64, y, Adam()),
    "set_parameters": lambda net, path: net.set_parameters(OTHER),
    "set_flat_parameters": lambda net, path: net.set_flat_parameters(np.ones(net.n_params)),
    "train_step with a loss of one's own": lambda net, path: net.train_step(X, Y, SGD(lr=0.01), mse),
    "the next one": lambda net, path: net.train_step(X, Y, None, mse),
    "update": lambda net, path: net.update(GRADIENTS, Adam()),
    "reset_optimizer": lambda net, path: net.reset_optimizer(),
}
FIT = {
    "fit of one batch": lambda net, path: net.fit(X, y, 1, None, optimizer=Adam(), progress=False),
    "fit": lambda net, path: net.fit(X, y, 2, 16, optimizer=Adam(), progress=False),
    "fit of another dtype": lambda net, path: net.fit(X64, y, 2, 16, sample_weight=w, progress=False),
    "fit on batches": lambda net, path: net.fit([(X, y), (X64, y, w)], epochs=2, optimizer=Adam(), progress=False),
    "fit on one batch": lambda net, path: net.fit(iter([(X, y)]), optimizer=Adam(), progress=False),
    "fit with a loss of one's own": lambda net, path: net.fit(X, Y, 2, 16, optimizer=Adam(), progress=False),
    "fit with callbacks": lambda net, path: net.fit(X, y, 2, callbacks=lambda e, h: None, progress=False),
}


def fresh(backend, **more):
    net = Network([6, 5, 3], seed=1, backend=backend, **more)
    net.train_step(X, Y if more else y, SGD(lr=0.1, momentum=0.9))
    return net


def interruptions(backend, call, path, most, **more):
    """(network, where) for every place."""
    call(fresh(backend, **more), path)  # imports what is imported late
    net = fresh(backend, **more)
    with Interrupt() as counted:
        call(net, path)
    for n in range(1, counted.seen + 1, 1 + counted.seen // most):
        net = fresh(backend, **more)
        with Interrupt(n) as interrupt, pytest.raises(KeyboardInterrupt):
            call(net, path)
        yield net, interrupt.place


def assert_usable(net, where):
    refused = []

    def elsewhere():  # the thread that was interrupted might be let in where others are not
        try:
            net.predict(X)
            net.train_step(X, Y, SGD(lr=0.01))
            net.fit(X, Y, 1, progress=False)
        except Exception as error:
            refused.append(f"{where}: {error}")

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert not refused
    assert_finite(net)


# Where it comes between open() and the with block that is to close the file, the collector does.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("what", READ)
@at_most
def test_a_call_that_reads_is_interrupted(either_backend, what, tmp_path, most):
    path = tmp_path / "net"
    fresh(either_backend).save(path, optimizer=True)
    old, before = path.read_bytes(), state_of(fresh(either_backend))
    for net, where in interruptions(either_backend, READ[what], path, most):
        assert state_of(net) == before, where
        assert (os.listdir(tmp_path), path.read_bytes()) == (["net"], old), where
        assert_usable(net, where)


@pytest.mark.parametrize("what", WRITE)
@at_most
def test_a_call_that_writes_is_interrupted(either_backend, what, tmp_path, most):
    before, done = state_of(fresh(either_backend)), fresh(either_backend)
    WRITE[what](done, None)
    after = state_of(done)
    for net, where in interruptions(either_backend, WRITE[what], None, most):
        assert state_of(net) in (before, after), where
        assert_usable(net, where)


@pytest.mark.parametrize("what", FIT)
@at_most
def test_a_fit_is_interrupted(either_backend, what, most):
    more = {"loss": mse} if "own" in what else {}
    before, done = bits(fresh(either_backend, **more)), fresh(either_backend, **more)
    FIT[what](done, None)
    for net, where in interruptions(either_backend, FIT[what], None, most, **more):
        assert 0 <= net.epochs_done <= 2, where
        if what in ("fit of one batch", "fit on one batch"):
            assert bits(net) in (before, bits(done)), where
        assert_finite(net)
        assert_usable(net, where)
