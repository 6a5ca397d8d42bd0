"""What may come in the middle of a call: a signal, a fork, another thread's change, the end of the interpreter.

Nothing waits for ever, no network is lost to use, and what others set is not undone.
"""

import os

import numpy as np
import pytest

from case_helpers import python
from conftest import COMPILED
from fastnn import kernels

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")

HEAD = """
import copy, faulthandler, os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
import numpy as np, fastnn
from fastnn import Adam, Network
faulthandler.dump_traceback_later(60, exit=True)
backend = {backend!r}
wide = 1000 if backend == "compiled" else 600  # so that a fork waits for a batch long enough to be disturbed
rng = np.random.default_rng(0)
def net(*sizes, **settings):
    return Network(list(sizes), seed=0, backend=backend, **settings)
def data(n, m):
    return rng.standard_normal((n, m)).astype("f4"), np.arange(m) % 2
def raises(call):
    try:
        call()
    except RuntimeError:
        return True
    return False
"""


def run(code, backend):
    assert python(HEAD.format(backend=backend) + code, backend).split()[-1] == "right"


# The handler's thread waits for this one, which waits for the handler: it is refused after a while.
JOINS = """
trained, (X, y) = net(50, 64, 2), data(50, 20000)
found = []
def handler(*_):
    thread = threading.Thread(target=lambda: found.append(raises(lambda: trained.predict(X[:, :3]))))
    thread.start()
    thread.join()
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.1)
trained.fit(X, y, 10**6, progress=False, callbacks=lambda e, h: bool(found))
assert len(found) == 1
print("right")
"""

# A change in the middle of a training call by its own thread: it waits, so it cannot; before and after it can.
CHANGES = """
trained, adam, (X, y) = net(20, 40, 2), Adam(), data(20, 3000 if backend == "compiled" else 500)
def handler(*_):
    times[0] += 1
    refused[0] += raises(trained.reset_optimizer)
times, refused = [0], [0]
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 2e-3, 2e-3)
for _ in range(5):
    trained.fit(X, y, 20, optimizer=adam, progress=False)
while times[0] < 20:
    trained.train_step(X, y, adam)
signal.setitimer(signal.ITIMER_REAL, 0)
assert all(np.isfinite(W).all() for pair in trained.parameters for W in pair)
print("right")
"""

# What raises while a fork waits comes after it; nobody's network stays in use.
RAISES = """
others, trained, (X, y) = [net(4, 3, 2) for _ in range(5)], net(wide, wide, 2), data(wide, 4000)
done = threading.Event()
fit = lambda: trained.fit(X, y, 10**6, None, progress=False, callbacks=lambda e, h: done.is_set())
thread = threading.Thread(target=fit, daemon=True)
thread.start()
time.sleep(0.3)
def handler(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.05)
try:
    pid = os.fork()
    if not pid:
        others[0].train_step(X[:4, :2], y[:2])
        os._exit(7)
    time.sleep(0.5)
except KeyboardInterrupt:
    pass
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
for other in others:
    other.train_step(X[:4, :2], y[:2])
done.set()
print("right")
sys.stdout.flush()
os._exit(0)
"""

# A signal whose handler raises, and which is pending when the first function before, or after, a fork begins: the
# function that sends it runs first, or last, before the fork. The C library sends it: Python's own functions for that
# handle it at once.
SENDS = """
import ctypes, functools, os, signal
def handler(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, handler)
os.register_at_fork(before=functools.partial(getattr(ctypes.CDLL(None), "raise"), signal.SIGALRM))
"""
PENDING = """
one, (X, y) = net(4, 3, 2), data(4, 50)
for _ in range(3):
    pid = os.fork()
    if not pid:
        one.train_step(X, y)
        os._exit(7)
    one.train_step(X, y)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
print("right")
"""

# A network that is made, and trained, while a fork waits for another one.
MADE = """
trained, (X, y) = net(wide, wide, 2), data(wide, 4000)
threading.Thread(target=lambda: trained.fit(X, y, 10**6, None, progress=False), daemon=True).start()
time.sleep(0.3)
made = []
def later():
    time.sleep(0.02)
    made.append(net(wide, 2, init="zeros"))
    made[0].fit(X, y, 10**6, None, progress=False)
threading.Thread(target=later, daemon=True).start()
pid = os.fork()
if not pid:
    signal.alarm(20)
    for one in made:
        one.predict(X[:, :3])
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
print("right")
sys.stdout.flush()
os._exit(0)
"""

# Forks are nothing to a network that one thread trains alone.
FORKS = """
trained, (X, y) = net(4, 3, 2), data(4, 3)
done, steps = threading.Event(), [0]
def train():
    while not done.is_set():
        trained.train_step(X, y)
        steps[0] += 1
thread = threading.Thread(target=train)
thread.start()
for _ in range(12):
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
assert thread.is_alive(), "train_step was refused"
done.set()
thread.join()
print("right")
"""

# A finalizer at the interpreter's end, while a daemon's fit will never end.
ENDS = """
trained, (X, y) = net(500, 500, 2), data(500, 5000)
class Model:
    def __del__(self):
        print("saving", raises(lambda: trained.predict(X[:, :2])) in (True, False))
sys.modules["__main__"].model = Model()
threading.Thread(target=lambda: trained.fit(X, y, 10**6, None, progress=False), daemon=True).start()
time.sleep(0.3)
faulthandler.cancel_dump_traceback_later()
print("right")
"""


@pytest.mark.parametrize(
    "code", [JOINS, CHANGES, RAISES, MADE, FORKS], ids=["joins", "changes", "raises", "made", "forks"]
)
def test_in_the_middle_of_a_call(either_backend, code):
    run(code, either_backend)


@pytest.mark.parametrize("order", ["first", "last"])
def test_a_signal_that_is_pending_at_a_fork(either_backend, order):
    head = HEAD.format(backend=either_backend)
    code = head + SENDS + PENDING if order == "first" else SENDS + head + PENDING
    assert python(code, either_backend).split()[-1] == "right"


@pytest.mark.skipif(COMPILED is None, reason="NumPy by itself crashes where a daemon thread is in it at the end")
def test_the_end_of_the_interpreter():
    out = python(HEAD.format(backend="compiled") + ENDS, "compiled", timeout=100).split()
    assert out[0] == "right"


# --- what others set, beside a fit that fails, or begins ----------------------------------------------------------

UNDONE = """
start = net(600, 600, 2)
for trial in range(12):
    trained, (X, y) = copy.deepcopy(start), data(600, 64)
    X[3, 5] = np.nan
    sevens, returned = [(np.full_like(W, 7e-3), np.full_like(b, 7e-3)) for W, b in trained.parameters], []
    def other():
        time.sleep(3e-4 * trial)
        trained.set_parameters(sevens)
        returned.append(time.perf_counter())
    thread = threading.Thread(target=other)
    thread.start()
    try:
        trained.fit(X, y, 50, 64, progress=False)
    except (ValueError, RuntimeError):  # or it began in the middle of the change
        failed = time.perf_counter()
    thread.join()
    assert trained.parameters[0][0][0, 0] == np.float32(7e-3) or returned[0] > failed
print("right")
"""

RESET = """
start, adam, (X, y) = net(600, 600, 2), Adam(), data(600, 64)
for trial in range(12):
    trained = copy.deepcopy(start)
    trained.train_step(X, y, adam)
    before = trained.parameters[0][0]
    def other():
        time.sleep(3e-4 * trial)
        trained.reset_optimizer()
    thread = threading.Thread(target=other)
    thread.start()
    try:
        trained.fit(X, y, 2, 64, adam, progress=False)
    except RuntimeError:  # it began in the middle of the change
        pass
    thread.join()
    assert np.abs(trained.parameters[0][0] - before).max() < 0.02  # some Adam steps of 0.001
print("right")
"""


@pytest.mark.parametrize("code", [UNDONE, RESET], ids=["set_parameters", "reset_optimizer"])
def test_another_thread_s_change_beside_the_beginning_of_a_fit(either_backend, code):
    run(code, either_backend)


# --- numbers at their ends ---------------------------------------------------------------------------------------


def test_samples_of_subnormal_weight_count_for_nothing(backend):
    from fastnn import Network

    X, y = np.ones((1024, 256)), np.arange(256) % 2
    weights = np.where(np.arange(256) < 128, 1e-310, 1.0)
    net = Network([1024, 4, 2], dtype="float64", seed=0, backend=backend)
    loss, gradients = net.gradients(X.astype(np.int64), y, weights)
    wanted, same = net.gradients(X[:, 128:], y[128:])
    np.testing.assert_allclose(loss, wanted, rtol=1e-12)
    for pair, other in zip(gradients, same, strict=True):
        for a, b in zip(pair, other, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-14)


def test_a_moment_beyond_all_floats_makes_no_step(backend):
    from fastnn import Adam

    W, g = np.ones((1, 1), "f4"), np.full((1, 1), 1e24, "f4")
    W_new, _, v = kernels.optimizer_update(Adam(), W, g, (np.zeros_like(W), np.zeros_like(W)), 1)
    assert (W_new.item(), v.item()) == (1.0, np.inf)
