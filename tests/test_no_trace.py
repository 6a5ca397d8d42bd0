"""What belongs to the process is the same after every call: floating-point mode, errno, signals, settings."""

import contextlib
import ctypes
import locale
import os
import random
import signal
import sys
import threading
import warnings

import numpy as np
import pytest

import fastnn
from conftest import DEFAULT, alone
from fastnn import SGD, Adam, Network, kernels

VARIANTS = DEFAULT  # what is tested here is around the kernels

pytestmark = alone

TINY = np.full(64, 1e-40, "f4")  # subnormal


def libm():
    """The C library, where it can be asked in this way."""
    try:
        library = ctypes.CDLL(None)
        library.__errno_location.restype = ctypes.POINTER(ctypes.c_int)
        library.fegetround()
    except (OSError, TypeError, AttributeError):
        return None
    return library


LIBM = libm()


def process():
    """All of it that Python can see."""
    seen = {
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "environment": dict(os.environ),
        "NumPy's errors": np.geterr(),
        "NumPy's random state": np.random.get_state()[1].tobytes(),
        "Python's random state": random.getstate(),
        "print options": str(np.get_printoptions()),
        "warnings": list(warnings.filters),
        "locale": locale.setlocale(locale.LC_ALL),
        "folder": os.getcwd(),
        "recursion": sys.getrecursionlimit(),
        "switches": sys.getswitchinterval(),
        "trace": (sys.gettrace(), threading.excepthook, sys.excepthook),
        # Flushed to zero, half of it would be 0.
        "subnormals": (TINY * np.float32(0.5)).tobytes(),
        "rounding": (np.float32(1) + np.float32(2**-25)).tobytes(),
    }
    if LIBM is not None:
        seen["rounding mode"] = LIBM.fegetround()
    return seen


def calls(net, folder):
    """Name and call of what touches numbers, files or threads; some of them fail."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((64, 20)).astype(net.dtype).T, rng.integers(0, 3, 64)
    bad, path = X.copy(), os.path.join(folder, "net.npz")
    bad[3, 5] = np.nan
    predictor = net.predictor()
    W, b = net.parameters[0]
    return {
        "predict": lambda: net.predict(X),
        "predictor": lambda: predictor(X),
        "loss": lambda: net.loss(X, y),
        "evaluate": lambda: net.evaluate(X, y),
        "gradients": lambda: net.gradients(X, y),
        "train_step": lambda: net.train_step(X, y, SGD(lr=0.01)),
        "backward and update": lambda: net.update(net.backward(X * 1e-20, np.full((3, 64), 1e-20))[0], SGD(lr=0.01)),
        "a loss of one's own": lambda: net.train_step(X, y, loss=lambda A, y: ((A * A).sum(axis=0), 2 * A)),
        "loss_and_gradient": lambda: net.loss_and_gradient(net.flat_parameters, X, y),
        "fit": lambda: net.fit(X, y, 2, 16, Adam(lr=1e-3), progress=False),
        "fit of bad data": lambda: net.fit(bad, y, progress=False),
        "train_step that diverges": lambda: net.train_step(X * 1e30, y, SGD(lr=1e38)),
        "predict of a wrong shape": lambda: net.predict(X.T),
        "save": lambda: net.save(path),
        "load": lambda: fastnn.load(path),
        "load what is not there": lambda: fastnn.load(path + "x"),
        "linear_forward": lambda: kernels.linear_forward(W, X, b, "tanh"),
        "linear_backward": lambda: kernels.linear_backward(W @ X, X, W),
        "softmax of subnormals": lambda: kernels.activation_forward(TINY.reshape(8, 8), "softmax"),
        "initialiser": lambda: Network([20, 3], seed=1),
        "set_parameters": lambda: net.set_parameters(net.parameters),
    }


@pytest.mark.parametrize("sizes", [[20, 16, 3], [20, 300, 200, 3]], ids=str)
def test_a_call_leaves_no_trace(backend, dtype, tmp_path, sizes):
    net = Network(sizes, dtype=dtype, seed=0, backend=backend)
    everything = calls(net, tmp_path)
    for call in everything.values():  # what is set up once, such as a module that is imported late
        run(call)
    for name, call in everything.items():
        before = process()
        run(call)
        after = process()
        changed = [key for key in before if before[key] != after[key]]
        assert not changed, f"{name} changed {', '.join(changed)}"


@pytest.mark.skipif(LIBM is None, reason="asks the C library for errno")
def test_numbers_leave_errno_alone(backend, dtype):
    net = Network([20, 300, 3], dtype=dtype, seed=0, backend=backend)
    X, y = np.ones((20, 500), dtype, order="F"), np.arange(500) % 3
    predictor, sgd = net.predictor(), SGD(lr=0.01)
    errno = LIBM.__errno_location()
    for call in (lambda: predictor(X), lambda: net.predict(X), lambda: net.train_step(X, y, sgd)):
        call()
        errno[0] = 77
        call()
        assert errno[0] == 77


def run(call):
    with contextlib.suppress(ValueError, FloatingPointError, FileNotFoundError):
        call()
