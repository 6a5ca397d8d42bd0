"""Arrays in files (np.memmap): what is read of them stays in the page cache, and no call makes a copy of all of it."""

import os

import numpy as np
import pytest

from case_helpers import python
from conftest import SANITIZED
from fastnn import Network

FEATURES = 2000
needs_proc = pytest.mark.skipif(
    not os.path.exists("/proc/self/status") or SANITIZED,
    reason="reads memory from Linux's /proc; a sanitizer keeps what is freed",
)

CALLS = """
import threading, time
import numpy as np, fastnn

X = np.memmap({path!r}, {dtype!r}, "r")
n, m = {features}, X.size // {features}
X = X[: n * m]
X = X.reshape(m, n).T if {rows} else X.reshape(n, m)
y = np.zeros(m, "u1")
net = fastnn.Network([n, 8, 3], seed=0, backend={backend!r})
sgd = fastnn.SGD(lr=1e-3)
# Samples in a random order of a map in C order are read one number at a time: then only a part of an epoch.
how = {{"optimizer": sgd, "batch_size": 256, "progress": False}}
brief = how if {rows} else how | {{"max_seconds": 0.5}}

def parts(X, y):
    for i in range(0, X.shape[1], 1000):
        yield X[:, i : i + 1000], y[i : i + 1000]

CALLS = {{
    "predict": lambda X, y: net.predict(X),
    "predictor": lambda X, y: net.predictor()(X),
    "loss": lambda X, y: net.loss(X, y),
    "evaluate": lambda X, y: net.evaluate(X, y, metrics=["f1", "accuracy"]),
    "fit": lambda X, y: net.fit(X, y, shuffle=False, **how),
    "fit, shuffled": lambda X, y: net.fit(X, y, **brief),
    "fit, split": lambda X, y: net.fit(X, y, validation_split=0.1, metrics=["accuracy"], **brief),
    "fit on batches": lambda X, y: net.fit(parts(X, y), optimizer=sgd, progress=False),
}}

def anonymous():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) * 1024

def watch():
    while running:
        sizes.append(anonymous())
        time.sleep(0.002)

for what, call in CALLS.items():
    call(X[:, :2000], y[:2000])  # makes threads and imports
    before, sizes, running = anonymous(), [], True
    watcher = threading.Thread(target=watch)
    watcher.start()
    call(X, y)
    running = False
    watcher.join()
    assert len(sizes) > 1, what
    extra = max(*sizes, anonymous()) - before
    assert extra < {limit}, f"{{what}}: {{extra / 1e6:.0f}} MB of {{X.nbytes / 1e6:.0f}}"
print("lean")
"""

QUICK, SLOW = (100 << 20, 50e6), (4 << 30, 200e6)  # the size of the file, and what a call may take
LARGE = [pytest.mark.slow, pytest.mark.timeout(1200)]


@needs_proc
@pytest.mark.parametrize(
    ("dtype", "rows", "size", "limit"),
    [
        *((*of, *QUICK) for of in (("u1", True), ("f4", False))),
        *(pytest.param(*of, *QUICK, marks=pytest.mark.slow) for of in (("f4", True), ("f8", True), ("f8", False))),
        pytest.param("u1", False, *QUICK, marks=pytest.mark.slow),
        pytest.param("f4", True, *SLOW, marks=LARGE),  # other dtypes are cast: they take minutes
    ],
)
def test_a_file_is_not_copied_into_memory(either_backend, tmp_path, dtype, rows, size, limit):
    path = tmp_path / "X"
    with open(path, "wb") as file:
        file.truncate(size)  # without blocks on the disk
    code = CALLS.format(path=str(path), dtype=dtype, rows=rows, features=FEATURES, backend=either_backend, limit=limit)
    assert python(code, either_backend, timeout=900) == "lean"


@pytest.mark.parametrize("dtype", ["u1", "f4", "f8", ">f4"])
def test_a_file_gives_the_numbers_of_an_array(either_backend, tmp_path, dtype):
    values = np.random.default_rng(0).uniform(0, 9, (4, 300)).astype(dtype)
    codes = np.arange(300) % 3
    for X in (values, values.T):
        map_of_X = np.memmap(tmp_path / "X", dtype, "w+", shape=X.shape)
        map_of_X[:] = X
        map_of_y = np.memmap(tmp_path / "y", codes.dtype, "w+", shape=codes.shape)
        map_of_y[:] = codes
        results = []
        for data in ((X, codes), (map_of_X, map_of_y)):
            columns = data[0] if X is values else data[0].T
            net = Network([4, 5, 3], seed=0, backend=either_backend)
            history = net.fit(columns, data[1], epochs=2)
            results.append((history.loss, net.predict(columns).tobytes(), net.loss(columns, data[1])))
        assert results[0] == results[1]
