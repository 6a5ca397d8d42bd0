"""How many threads there may be, and that calls from many threads and forked children are right."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastnn
from case_helpers import state_of
from conftest import COMPILED, alone
from threads import busy_core

pytestmark = alone

SHOW = "import fastnn; print(fastnn.get_threads())"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
needs_compiled = pytest.mark.skipif(COMPILED is None, reason="no compiled backend here")


def limit_of_a_fresh_process(value=None, affinity=None):
    env = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    if value is not None:
        env["OMP_NUM_THREADS"] = value
    pin = None if affinity is None else lambda: os.sched_setaffinity(0, affinity)
    command = [sys.executable, "-W", "ignore", "-c", SHOW]
    done = subprocess.run(command, env=env, preexec_fn=pin, capture_output=True, text=True, timeout=60, check=True)
    return int(done.stdout)


def test_f06_cores_allowed_not_cores_present():
    default = limit_of_a_fresh_process()
    assert 1 <= default <= CORES
    assert limit_of_a_fresh_process("1") == 1
    for nonsense in ("", "abc", "-3", "0", "1000000"):
        assert limit_of_a_fresh_process(nonsense) == default
    if hasattr(os, "sched_setaffinity"):
        assert limit_of_a_fresh_process(affinity={min(os.sched_getaffinity(0))}) == 1


@pytest.mark.parametrize(
    ("text", "limit"), [("100000 100000", 1), ("150000 100000", 2), ("max 100000", None), ("?", None)]
)
def test_f06_quota_of_a_cgroup(tmp_path, monkeypatch, text, limit):
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(fastnn.threads, "_CGROUP", str(tmp_path))
    fastnn.threads._quota.cache_clear()
    try:
        assert fastnn.threads._quota() == (float("inf") if limit is None else limit)
        assert fastnn.threads.machine_limit() <= CORES
    finally:
        fastnn.threads._quota.cache_clear()


def test_f05_the_setting_is_what_was_set(threads):
    for n in (1, 2, np.int64(3)):
        fastnn.set_threads(n)
        assert fastnn.get_threads() == n
    for bad in (0, -1, 2.5, "2", None, True):
        with pytest.raises((ValueError, TypeError), match="n must be"):
            fastnn.set_threads(bad)
    assert fastnn.get_threads() == 3


BIG = """
import os, sys, numpy as np, fastnn
def threads(): return len(os.listdir("/proc/self/task"))
X, y = np.zeros((784, 512), "f4"), np.zeros(512, int)
net, before = fastnn.Network([784, 256, 10], seed=0), threads()
fastnn.set_threads(1); net.fit(X, y, epochs=2, batch_size=256); net.predict(X); one = threads()
fastnn.set_threads(2); net.fit(X, y, epochs=2, batch_size=256); net.predict(X); two = threads()
print(one - before, two - before)
"""


@needs_compiled
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")
def test_f05_the_setting_is_obeyed():
    done = subprocess.run([sys.executable, "-c", BIG], capture_output=True, text=True, timeout=60, check=True)
    one, two = map(int, done.stdout.split())
    assert one == 0
    assert two <= 1


FORCED = """
net = fastnn.Network([784, 256, 10], seed=0, threads=5)
net.fit(X, y, batch_size=256); net.predict(np.zeros((784, 4096), "f4"))  # so many blocks that each thread has one
print(threads() - before)
"""


@needs_compiled
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")
def test_a_network_s_own_threads_are_so_many():
    done = subprocess.run([sys.executable, "-c", BIG + FORCED], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout.split()[-1]) == 4 * COMPILED.BUILD["openmp"]


@needs_compiled
def test_f07_other_libraries_keep_their_threads(threads):
    from threadpoolctl import threadpool_info

    def others():
        return {i["filepath"]: i["num_threads"] for i in threadpool_info()}

    np.ones((300, 300)) @ np.ones((300, 300))
    before, environment = others(), dict(os.environ)
    fastnn.set_threads(1)
    fastnn.Network([784, 256, 10], seed=0).fit(np.zeros((784, 512), "f4"), np.zeros(512, int), batch_size=256)
    assert others() == before
    assert dict(os.environ) == environment


CHILD = """
pid = os.fork()
if pid == 0:
    net.fit(X, y, batch_size=256)
    net.predict(X)
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
"""


@needs_compiled
def test_a_forked_child_trains():
    # libgomp's threads are not there in the child, and it would wait for them for ever
    code = BIG + CHILD
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, timeout=60, check=True)


END_EARLY = """
import numpy as np, fastnn
X, y = np.random.default_rng(0).standard_normal((4, 64)).astype("f4"), np.zeros(64, int)
bad, weights = X.copy(), np.arange(64) < 32
bad[:, 40] = np.nan
for _ in range(200):
    net = fastnn.Network([4, 8, 2], seed=0, threads=4)
    try:
        net.fit(bad, y, epochs=2, batch_size=8, progress=False)
    except ValueError:
        net.fit(X, y, epochs=5, batch_size=8, sample_weight=weights, progress=False)
    assert net.epochs_done == 5
"""


@needs_compiled
def test_threads_leave_together():
    """A batch that fails or is skipped: no thread may read what another has gone on to write, or it waits for ever."""
    subprocess.run([sys.executable, "-c", END_EARLY], timeout=60, check=True)


@needs_compiled
@pytest.mark.skipif(CORES < 2 or not hasattr(os, "sched_setaffinity"), reason="keeps one of several cores busy")
@pytest.mark.parametrize("optimizer", [fastnn.SGD(lr=0.1), fastnn.Adam()], ids=["SGD", "Adam"])
def test_a_core_that_is_busy_elsewhere_changes_no_bits(rng, optimizer):
    X, y = rng.standard_normal((3190, 784), "f4").T, np.arange(3190) % 10

    def trained(threads):
        net = fastnn.Network([784, 128, 10], seed=1, backend="compiled", threads=threads)
        history = net.fit(X, y, epochs=3, optimizer=optimizer)
        losses = [net.train_step(X[:, i : i + 32], y[i : i + 32], optimizer) for i in range(0, 3190, 32)]
        return history.loss, losses, net.predict(X).tobytes(), state_of(net)

    alone = trained(1)
    with busy_core():
        for _ in range(3):
            assert trained(None) == alone
    assert trained(None) == alone


def test_many_threads_predict_and_train(backend, rng):
    X, y = rng.standard_normal((40, 300)).astype("f4"), np.arange(300) % 4
    net = fastnn.Network([40, 60, 4], seed=1, backend=backend)
    want, p = net.predict(X), net.predictor()
    with ThreadPoolExecutor(16) as pool:
        for found in pool.map(lambda i: (net if i % 2 else p).predict(X) if i % 2 else p(X), range(64)):
            np.testing.assert_array_equal(found, want)

    def train(_):
        own = fastnn.Network([40, 60, 4], seed=1, backend=backend)
        own.fit(X, y, epochs=2)
        return own.predict(X)

    first = train(0)
    with ThreadPoolExecutor(16) as pool:
        for found in pool.map(train, range(16)):
            np.testing.assert_allclose(found, first, atol=0 if backend == "compiled" else 1e-6)


def test_training_beside_a_reader_is_refused(backend):
    net, X = fastnn.Network([4, 3], seed=0, backend=backend), np.ones((4, 5))
    inside, done = threading.Event(), threading.Event()

    class Slow:
        """The data of another library, which take their time: predict is under way meanwhile."""

        def __array__(self, dtype=None, copy=None):
            inside.set()
            assert done.wait(10)
            return X

    reader = threading.Thread(target=net.predict, args=(Slow(),))
    reader.start()
    assert inside.wait(10)
    try:
        np.testing.assert_array_equal(net.predict(X).shape, (3, 5))  # others may read, too
        net.set_parameters(net.parameters)  # nor is a change refused: it waits while the numbers are read
        for call in (lambda: net.fit(X, np.zeros(5, int)), lambda: net.train_step(X, np.zeros(5, int))):
            with pytest.raises(RuntimeError, match="being used"):
                call()
    finally:
        done.set()
        reader.join()
    net.set_parameters(net.parameters)


def test_a_call_beside_a_fit_is_refused(backend):
    net = fastnn.Network([4, 3], seed=0, backend=backend)
    X, y = np.ones((4, 50)), np.zeros(50, int)
    inside, done = threading.Event(), threading.Event()

    def wait(epoch, history):
        inside.set()
        return done.wait(10)

    thread = threading.Thread(target=lambda: net.fit(X, y, epochs=2, callbacks=wait))
    thread.start()
    assert inside.wait(10)
    try:
        for call in (lambda: net.fit(X, y), lambda: net.train_step(X, y)):
            with pytest.raises(RuntimeError, match="another call"):
                call()
        assert net.predict(X).shape == (3, 50)  # between two slices
        net.set_parameters(net.parameters)
    finally:
        done.set()
        thread.join()
    assert net.predict(X).shape == (3, 50)
