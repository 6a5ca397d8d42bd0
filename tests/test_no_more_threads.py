"""Where no thread can be made, or not so many, calls go on with those there are, to the same bits."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from case_helpers import other_openmp_library, python
from conftest import COMPILED, SANITIZED

SOURCE = Path(__file__).parent / "c" / "failing_threads.c"

pytestmark = pytest.mark.skipif(
    COMPILED is None or platform.system() != "Linux" or SANITIZED or not COMPILED.BUILD["openmp"],
    reason="needs the compiled backend with OpenMP, on Linux, and no sanitizer's threads",
)

WORK = """
import ctypes, os, resource, sys, threading, time
import numpy as np, fastnn
from fastnn import Network, kernels
rng = np.random.default_rng(0)
X, y = rng.standard_normal((784, 2000), "f4"), np.arange(2000) % 10
W, b = rng.standard_normal((512, 784), "f4"), np.zeros((512, 1), "f4")
def work(threads):
    net = Network([784, 128, 10], seed=1, threads=threads)
    net.fit(X, y, 1, progress=False)
    net.train_step(X, y)
    g = net.gradients(X, y)
    return [net.predict(X).tobytes(), g[1][0][0].tobytes(), kernels.linear_forward(W, X, b).shape]
def there():
    return len(os.listdir("/proc/self/task"))
want = work(1)
"""

FAILING = """
allow = ctypes.CDLL(os.environ["LD_PRELOAD"]).allow_threads
before = there()
allow(0)
for threads in (None, 2, 5):
    assert work(threads) == want
assert there() == before, "a thread was made"
found = []
allow(1)  # the one that calls; its team finds none
caller = threading.Thread(target=lambda: (allow(0), found.append(work(4))))
caller.start()
caller.join()
allow(1 << 30)
assert work(4) == want
Network([784, 128, 10], threads=4).predict(X)
assert there() >= 4, "the team is not whole again"
allow(0)
assert work(4) == want  # with the team that is there
assert work(9) == want  # but no larger one
assert found == [want]
print("right")
"""

# Of its pool somebody else's smaller team has ended some.
FOREIGN = """
other = ctypes.CDLL(os.environ["FASTNN_TEST_OTHER"])
allow = ctypes.CDLL(os.environ["LD_PRELOAD"]).allow_threads
net = Network([784, 128, 10], seed=1, threads=4)
want = net.predict(X).tobytes()
before = there()
assert other.use_openmp(2) == 2
end = time.time() + 20
while there() > before - 2 and time.time() < end:  # OpenMP tells two to end, and does not wait for that
    time.sleep(1e-3)
allow(0)
assert net.predict(X).tobytes() == want
print("right")
"""

NO_ROOM = """
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 30), -1))
assert work(4) == want
print("right")
"""

LIMITED = """
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
if os.getuid() == 0:
    os.setuid(65534)  # root has no limit
before = there()
for threads in (None, 4):
    assert work(threads) == want
assert there() == before, "a thread was made"
print("right")
"""


def test_pthread_create_fails(tmp_path):
    if not shutil.which("gcc") or not SOURCE.exists():
        pytest.skip("no gcc, or no source tree here")
    library = tmp_path / "failing_threads.so"
    subprocess.run(["gcc", "-shared", "-fPIC", SOURCE, "-o", library, "-ldl"], check=True)
    assert python(WORK + FAILING, "compiled", LD_PRELOAD=str(library)) == "right"


def test_another_library_s_smaller_team(tmp_path):
    if not shutil.which("gcc") or not SOURCE.exists():
        pytest.skip("no gcc, or no source tree here")
    library = tmp_path / "failing_threads.so"
    subprocess.run(["gcc", "-shared", "-fPIC", SOURCE, "-o", library, "-ldl"], check=True)
    libraries = {"LD_PRELOAD": str(library), "FASTNN_TEST_OTHER": other_openmp_library(tmp_path)}
    assert python(WORK + FOREIGN, "compiled", **libraries) == "right"


def test_no_room_for_the_stacks_that_openmp_is_told_to_make():
    assert python(WORK + NO_ROOM, "compiled", OMP_STACKSIZE="4G") == "right"


def test_limit_on_processes():
    if os.getuid() == 0 and not hasattr(os, "setuid"):
        pytest.skip("needs to give up its rights")
    assert python(WORK + LIMITED, "compiled") == "right"
