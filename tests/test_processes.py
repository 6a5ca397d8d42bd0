"""Other processes and interpreters: forked, spawned, left early; what is there works, and nothing waits for ever."""

import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastnn
from case_helpers import bits, other_openmp_library, python, variant_environment
from conftest import COMPILED, SANITIZED
from fastnn import Network
from trained_in_workers import trained

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")

WORK = """
import os, sys, threading, time
import numpy as np, fastnn
backend, times = {backend!r}, {times}
rng = np.random.default_rng(0)
X, y = rng.standard_normal((784, 600), "f4"), np.arange(600) % 10
def train():
    net = fastnn.Network([784, 128, 10], seed=1, backend=backend)
    net.fit(X, y, 2, progress=False)
    return net.predict(X).tobytes()
def in_child(work):
    "The result of work() in a forked child, or None where it takes longer than 30 s."
    came, goes = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            result = work()
        except BaseException as error:
            result = f"{{type(error).__name__}}: {{error}}".encode()
        os.close(came)
        with os.fdopen(goes, "wb") as file:
            file.write(result)
        os._exit(0)
    os.close(goes)
    timer = threading.Timer(30, os.kill, (pid, 9))
    timer.start()
    with os.fdopen(came, "rb") as file:
        result = file.read()
    timer.cancel()
    return result if os.waitpid(pid, 0)[1] == 0 else None
"""

FORK = """
fastnn.set_threads(2)
want = train()
for _ in range(times):
    assert in_child(train) == want, "the child's result differs"
    assert train() == want  # the parent's team is still there
assert in_child(lambda: in_child(train)) == want  # a child of a child
print("right")
"""

FORK_BESIDE_A_FIT = """
fastnn.set_threads(2)
want = train()
net, rest = fastnn.Network([784, 128, 10], seed=1, backend=backend), []
def fit():
    try:
        net.fit(X, y, 10**9, progress=False)
    except KeyboardInterrupt:
        pass
done = threading.Event()
fitting = dict(epochs=10**9, progress=False, callbacks=lambda e, h: done.is_set())
thread = threading.Thread(target=lambda: net.fit(X, y, **fitting), daemon=True)
thread.start()
def use():
    "In the child nobody trains the network any more: it is the one that its weights make, of some batch, and trains."
    twin = fastnn.Network([784, 128, 10], seed=1, backend=backend)
    twin.set_parameters(net.parameters)
    def step(which):
        return which.gradients(X, y)[1][0][0].tobytes() + which.predict(X).tobytes()
    if step(net) != step(twin):
        return b"half a step"
    net.fit(X, y, 1, progress=False)
    return b"trained" if np.isfinite(net.train_step(X, y)) else b"lost"
for i in range(times):
    assert in_child(train) == want, "the child's result differs"
    found = in_child(use)
    assert found == b"trained", found
done.set()
thread.join()
net.predict(X)
print("right")
"""


@needs_fork
@pytest.mark.parametrize(
    ("when", "times"),
    [(FORK, 3), (FORK_BESIDE_A_FIT, 6), pytest.param(FORK_BESIDE_A_FIT, 20, marks=pytest.mark.slow)],
    ids=["after a parallel call", "beside another's fit", "beside another's fit, often"],
)
def test_a_forked_child_computes_the_same(either_backend, when, times):
    code = "import warnings\nwarnings.simplefilter('ignore', DeprecationWarning)\n"  # of forking beside threads
    assert python(code + WORK.format(backend=either_backend, times=times) + when, either_backend) == "right"


FORK_BESIDE_A_PREDICT = """
net, stop = fastnn.Network([784, 128, 10], seed=1, backend=backend), threading.Event()
want = net.predict(X).tobytes()
def predict():
    while not stop.is_set():
        net.predict(X)
        net.gradients(X, y)
threads = [threading.Thread(target=predict, daemon=True) for _ in range(2)]
for t in threads:
    t.start()
def use():
    found = net.predict(X).tobytes()
    net.train_step(X, y)
    net.fit(X, y, 1, progress=False)
    return found
for i in range(times):
    assert in_child(use) == want
stop.set()
for t in threads:
    t.join()
net.train_step(X, y)
print("right")
"""


@needs_fork
@pytest.mark.parametrize("times", [4, pytest.param(12, marks=pytest.mark.slow)])
def test_a_child_forked_beside_a_predict_trains(either_backend, times):
    code = "import warnings\nwarnings.simplefilter('ignore', DeprecationWarning)\n"
    work = WORK.format(backend=either_backend, times=times)
    assert python(code + work + FORK_BESIDE_A_PREDICT, either_backend) == "right"


# Where the child has fastnn from its parent, which had no team yet, and where it imports it itself.
FORK_AFTER_ANOTHER = """
import ctypes, os, signal
other = ctypes.CDLL({library!r})
{parent}
assert other.use_openmp(3) == 3
pid = os.fork()
if not pid:
    signal.alarm(60)
    import numpy as np, fastnn
    X, y = np.random.default_rng(0).standard_normal((784, 600), "f4"), np.arange(600) % 10
    def train(threads):
        net = fastnn.Network([784, 128, 10], seed=1, threads=threads)
        net.fit(X, y, 2, progress=False)
        net.train_step(X, y)
        return net.predict(X).tobytes()
    want = train(1)
    assert train(None) == want
    assert train(2) == want and train(3) == want
    fastnn.kernels.linear_forward(np.ones((512, 784), "f4"), X, np.zeros((512, 1), "f4"))
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
print("right")
"""


@needs_fork
@pytest.mark.skipif(COMPILED is None or SANITIZED, reason="no compiled backend here, or one with a tool of its own")
@pytest.mark.parametrize("parent", ["import fastnn", ""], ids=["fastnn in the parent", "fastnn in the child"])
def test_a_child_forked_after_another_library_s_team(tmp_path, parent):
    library = other_openmp_library(tmp_path)
    assert python(FORK_AFTER_ANOTHER.format(library=library, parent=parent), "compiled") == "right"


GUARD = """
import os, threading, time
from fastnn.guard import Guard
guard, stop = Guard(), False
def busy():
    while not stop:
        with guard.reading:
            pass
threads = [threading.Thread(target=busy) for _ in range(4)]
for t in threads:
    t.start()
for _ in range({times}):
    pid = os.fork()
    if not pid:
        with guard.reading:
            os._exit(0)
    end = time.time() + 10
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.time() > end:
            os.kill(pid, 9)
            raise AssertionError("the child waits for a lock of its parent's")
        time.sleep(0.0002)
stop = True
print("free")
"""


@needs_fork
@pytest.mark.parametrize("times", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_a_forked_child_waits_for_no_lock_of_its_parent_s(times):
    code = "import sys, warnings\nwarnings.simplefilter('ignore', DeprecationWarning)\nsys.setswitchinterval(1e-6)\n"
    assert python(code + GUARD.format(times=times), "numpy") == "free"


# The fork server's children begin as spawned ones.
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(method, marks=pytest.mark.slow if method == "forkserver" else ())
        for method in multiprocessing.get_all_start_methods()
    ],
)
def test_a_pool_of_processes_trains_and_predicts(method, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent) + os.pathsep + os.environ.get("PYTHONPATH", ""))
    want = [trained(seed) for seed in range(4)]
    code = f"""
import multiprocessing, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from concurrent.futures import ProcessPoolExecutor
from trained_in_workers import trained
if __name__ == "__main__":
    trained(9)
    with ProcessPoolExecutor(2, multiprocessing.get_context({method!r})) as pool:
        for found in pool.map(trained, range(4)):
            print(found.hex())
"""
    found = python(code, "compiled" if COMPILED else "numpy").split()
    assert [bytes.fromhex(line) for line in found] == want


@pytest.mark.parametrize("kind", ["loky", "threading", pytest.param("multiprocessing", marks=pytest.mark.slow)])
def test_joblib(kind):
    pytest.importorskip("joblib")
    code = f"""
import sys; sys.path.append({str(Path(__file__).parent)!r})
import joblib
from trained_in_workers import trained
found = joblib.Parallel(n_jobs=2, backend={kind!r})(joblib.delayed(trained)(seed) for seed in range(4))
print(found == [trained(seed) for seed in range(4)])
"""
    assert python(code, "compiled" if COMPILED else "numpy") == "True"


# --- left early ---------------------------------------------------------------------------------------------------

DAEMON = """
import sys, threading, time
import numpy as np, fastnn
fastnn.set_threads(2)
X, y = np.random.default_rng(0).standard_normal(({n}, 2000)).astype("{dtype}"), np.arange(2000) % 10
started = threading.Event()
def work():
    net = fastnn.Network([{n}, 64, 10], seed=1, backend={backend!r})
    net.fit(X, y, 1, progress=False)
    started.set()
    {call}
threading.Thread(target=work, daemon=True).start()
started.wait()
time.sleep({delay})
print("leaving", flush=True)
"""


@pytest.mark.parametrize(
    "call",
    ["net.fit(X, y, 10**9, progress=False)", "[net.predict(X) for _ in iter(int, 1)]"],
    ids=["fit", "predict"],
)
@pytest.mark.parametrize(("n", "data"), [(784, "f4"), pytest.param(20, "f8", marks=pytest.mark.slow)])
def test_the_interpreter_ends_beside_a_daemon_s_call(either_backend, call, n, data):
    if either_backend == "numpy":
        pytest.skip("a daemon that is in NumPy at the end crashes CPython now and then, without fastnn, too")
    for delay in (0.0, 0.013, 0.05):
        code = DAEMON.format(n=n, dtype=data, backend=either_backend, call=call, delay=delay)
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=variant_environment(either_backend),
            cwd=Path(fastnn.__file__).parents[1],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "leaving", "")


SUBINTERPRETER = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
{first}
inner = '''
import sys, warnings
warnings.simplefilter("ignore")
try:
    import numpy as np, fastnn
except ImportError as error:  # NumPy's or ours: not silently
    assert str(error)
else:
    net = fastnn.Network([4, 5, 3], seed=1)
    net.fit(np.ones((4, 30)), np.arange(30) % 3, 3, progress=False)
    assert np.isfinite(net.predict(np.ones((4, 2)))).all()
'''
for _ in range(2):
    i = interpreters.create()
    failed = interpreters.run_string(i, inner)
    assert failed is None, failed
    interpreters.destroy(i)
print("done")
"""


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="CPython's subinterpreters")
@pytest.mark.parametrize("first", ["", "import fastnn; fastnn.Network([2, 3], seed=0).predict([[1], [2]])"])
def test_a_subinterpreter_refuses_or_works(first):
    code = "import warnings; warnings.simplefilter('ignore')\n" + SUBINTERPRETER.format(first=first)
    assert python(code, "auto") == "done"


# --- threads ------------------------------------------------------------------------------------------------------


def test_16_threads_predict_with_one_network_and_train_16(either_backend, dtype, rng):
    net = Network([30, 50, 6], seed=1, dtype=dtype, backend=either_backend)
    data = [rng.standard_normal((30, 1 + 29 * i)).astype(dtype) for i in range(16)]
    want = [net.predict(X).tobytes() for X in data]
    gate = threading.Barrier(16)

    def work(i):
        gate.wait(30)
        found = [net.predict(data[i]).tobytes() for _ in range(20)]
        own = Network([30, 50, 6], seed=1, dtype=dtype, backend=either_backend)
        own.fit(data[15], np.arange(data[15].shape[1]) % 6, 2, progress=False)
        return found == [want[i]] * 20, bits(own)

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(work, range(16)))
    assert all(right for right, _ in results)
    assert len({trained for _, trained in results}) == 1
