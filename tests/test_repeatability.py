"""The same answer alone and in a batch, in pools and in workers; no threads that nobody asked for.

F05 to F07 are in test_threads.py.
"""

import os

import numpy as np
import pytest

from case_helpers import python
from conftest import COMPILED
from fastnn import Network

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
counts_threads = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")
needs_compiled = pytest.mark.skipif(COMPILED is None, reason="no compiled backend here")


# --- F02: small networks get slower with threads ------------------------------------------------------------------

SMALL = """
import os, numpy as np, fastnn
def threads(): return len(os.listdir("/proc/self/task"))
fastnn.set_threads(64)
before = threads()
small = [([10, 45, 45, 10], 128), ([10, 46, 46, 10], 128), ([80, 256, 256, 10], 1), ([100, 100], 4), ([2, 3, 1], 1)]
for sizes, m in small:
    net, X = fastnn.Network(sizes, seed=0), np.zeros((sizes[0], m), "f4")
    y = np.zeros(m, int) if sizes[-1] > 1 else np.zeros((1, m), "f4")
    net.predict(X), net.loss(X, y), net.train_step(X, y), net.fit(X, y, epochs=3)
print(threads() - before)
"""


@needs_compiled
@counts_threads
def test_f02_small_networks_get_slower_with_threads():
    # None of them is worth a second thread; how long they take is for benchmarks/threads.py
    assert python(SMALL, "compiled") == "0"


# --- F04: a sample's answer in a batch and alone ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "activations"),
    [([20, 33, 10], None), ([7, 16, 3], ["tanh", "softmax"]), ([64, 100, 50, 1], ["relu", "sigmoid", "identity"])],
    ids=str,
)
def test_f04_a_sample_s_answer_in_a_batch_and_alone(backend, dtype, rng, sizes, activations):
    net = Network(sizes, activations, dtype=dtype, seed=3, backend=backend)
    X = rng.standard_normal((70, sizes[0])).astype(dtype).T
    together, predictor = net.predict(X), net.predictor()
    for m in range(1, 71):
        first, last = net.predict(X[:, :m]), predictor(X[:, 70 - m :])
        if backend == "compiled":
            np.testing.assert_array_equal(first, together[:, :m])
            np.testing.assert_array_equal(last, together[:, 70 - m :])
        else:
            scale = np.abs(together).max()
            np.testing.assert_allclose(first, together[:, :m], rtol=0, atol=2e-6 * scale)
            np.testing.assert_allclose(last, together[:, 70 - m :], rtol=0, atol=2e-6 * scale)


# --- F08: inside somebody else's pool -----------------------------------------------------------------------------

POOL = """
import os, threading, numpy as np, fastnn
from concurrent.futures import ThreadPoolExecutor
def threads(): return len(os.listdir("/proc/self/task"))
fastnn.set_threads(2)
X, y = np.random.default_rng(0).standard_normal((784, 2000), "f4"), np.arange(2000) % 10
before, most, done = threads(), 0, threading.Event()
def watch():
    global most
    while not done.wait(0.002):
        most = max(most, threads() - 1)  # without this thread
def train(seed):
    net = fastnn.Network([784, 128, 10], seed=seed)
    net.fit(X, y, epochs=3)
    return net.predict(X).tobytes()
watcher = threading.Thread(target=watch)
watcher.start()
with ThreadPoolExecutor(4) as pool:
    together = list(pool.map(train, range(8)))
done.set()
watcher.join()
assert together == [train(seed) for seed in range(8)]
print(most - before)
"""


@needs_compiled
@counts_threads
def test_f08_inside_somebody_else_s_pool():
    # 4 of the pool's own; a team has one more thread, and calls that run at once get none. Where all the others are
    # between two slices of fit one may.
    assert int(python(POOL, "compiled")) <= 4 + 2


def test_f08_in_worker_processes_of_joblib():
    pytest.importorskip("joblib")
    code = """
import joblib, numpy as np, fastnn
X, y = np.random.default_rng(0).standard_normal((20, 200)).astype("f4"), np.arange(200) % 3
def train(seed):
    net = fastnn.Network([20, 30, 3], seed=seed)
    net.fit(X, y, epochs=2)
    return net.predict(X).tobytes()
found = joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(train)(s) for s in range(4))
print(found == [train(s) for s in range(4)])
"""
    assert python(code, "compiled" if COMPILED else "numpy") == "True"


# --- F10: no threads at import, none spinning when idle -----------------------------------------------------------

IDLE = """
import os, time
def threads(): return len(os.listdir("/proc/self/task"))
import numpy as np
before = threads()
import fastnn
at_import = threads() - before
fastnn.set_threads(2)
net, X = fastnn.Network([784, 256, 10], seed=0), np.zeros((784, 4096), "f4")
net.predict(X)
made = threads() - before
start = time.process_time()
time.sleep(1)
print(at_import, made, time.process_time() - start)
"""


@needs_compiled
@counts_threads
def test_f10_no_threads_at_import_none_spinning_when_idle():
    at_import, made, spent = python(IDLE, "compiled").split()
    assert (int(at_import), int(made)) == (0, COMPILED.BUILD["openmp"])
    assert float(spent) < 0.05
