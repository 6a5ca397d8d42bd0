"""A process that is killed, a disk that is full: the old file or the new one is there, whole."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import fastnn
from case_helpers import bits, python, variant_environment
from conftest import alone
from fastnn import Network

needs_posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")

# --- killed while it saves ----------------------------------------------------------------------------------------

KILLED = """
import os, random, signal, sys, time
import numpy as np, fastnn
backend, folder, total, number = {backend!r}, sys.argv[1], {total}, {signal}
X, y = np.random.default_rng(0).standard_normal((10, 64)).astype("f4"), np.arange(64) % 3
path, moments, newest = os.path.join(folder, "net"), random.Random(0), 0
during = 0
for _ in range(total):
    said, says = os.pipe()
    child = os.fork()
    if not child:
        net = fastnn.load(path, backend=backend) if newest else fastnn.Network([10, 30, 3], seed=0, backend=backend)

        def checkpoint(epoch, history):
            net.save(path, optimizer=True)
            os.write(says, net.epochs_done.to_bytes(8, "little"))

        net.fit(X, y, 10**9, optimizer=None if newest else fastnn.Adam(), callbacks=checkpoint, progress=False)
    os.close(says)
    first = os.read(said, 8)
    time.sleep(moments.uniform(0, 0.015))
    os.kill(child, number)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -number
    rest = b""
    while part := os.read(said, 1 << 16):
        rest += part
    os.close(said)
    newest = int.from_bytes((first + rest)[-8:], "little")
    net = fastnn.load(path, backend=backend)
    assert newest <= net.epochs_done <= newest + 1, (newest, net.epochs_done)
    litter = [name for name in os.listdir(folder) if name != "net"]
    assert len(litter) <= 1, litter
    during += bool(litter)
    for name in litter:
        os.unlink(os.path.join(folder, name))
twin = fastnn.Network([10, 30, 3], seed=0, backend=backend)
twin.fit(X, y, net.epochs_done, optimizer=fastnn.Adam(), progress=False)
assert all((a == b).all() for p, q in zip(twin.parameters, net.parameters) for a, b in zip(p, q))
print(during)
"""


@needs_posix
@pytest.mark.parametrize(
    ("number", "total"),
    [
        (signal.SIGKILL, 30),
        (signal.SIGTERM, 5),
        pytest.param(signal.SIGKILL, 90, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 30, marks=pytest.mark.slow),
    ],
    ids=["KILL", "TERM", "KILL often", "TERM often"],
)
def test_killed_while_it_saves_checkpoints(either_backend, tmp_path, number, total):
    """The newest or the one before always loads, and what goes on from it is the training that never stopped."""
    code = KILLED.format(backend=either_backend, total=total, signal=int(number))
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        env=variant_environment(either_backend) | {"OPENBLAS_NUM_THREADS": "1"},
        cwd=os.path.dirname(os.path.dirname(fastnn.__file__)),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= total // 30  # so many were killed while a file was being written


# --- a full disk --------------------------------------------------------------------------------------------------

FULL = """
import os, sys
import numpy as np, fastnn
folder, backend = sys.argv[1], {backend!r}
path = os.path.join(folder, "net")
small, large = (fastnn.Network([n, n, 3], seed=1, backend=backend) for n in (8, 200))
small.save(path)
with open(path, "rb") as file:
    old = file.read()
{limit}
for _ in range(3):
    try:
        large.save(path)
    except OSError as error:
        print(error.errno)
    else:
        raise AssertionError("it was saved")
    assert os.listdir(folder) == ["net"], os.listdir(folder)
    with open(path, "rb") as file:
        assert file.read() == old
small.save(path)
assert fastnn.load(path, backend=backend).sizes == (8, 8, 3)
"""


def full_disk(backend, folder, limit):
    """Error numbers of three saves that do not fit."""
    code = FULL.format(backend=backend, limit=limit)
    return python(f"import sys\nsys.argv.append({str(folder)!r})\n{code}", backend).split()


@needs_posix
def test_a_file_larger_than_is_allowed(either_backend, tmp_path):
    import errno

    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))"
    assert full_disk(either_backend, tmp_path, limit) == [str(errno.EFBIG)] * 3


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 64 kB, where this process may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@alone
def test_a_disk_that_is_full(either_backend, tiny_disk):
    import errno

    assert full_disk(either_backend, tiny_disk, "") == [str(errno.ENOSPC)] * 3


def test_a_disk_that_fills_up_during_training(either_backend, tmp_path, monkeypatch):
    """What a checkpoint raises comes out of fit, and the network goes on from where it was."""
    net = Network([4, 5, 3], seed=0, backend=either_backend)
    X, y = np.ones((4, 20)), np.arange(20) % 3

    def full(file):
        raise OSError(28, "No space left on device")

    def checkpoint(epoch, history):
        if epoch == 2:
            monkeypatch.setattr(os, "fsync", full)
        net.save(tmp_path / "net")

    with pytest.raises(OSError, match="No space left"):
        net.fit(X, y, 10, callbacks=checkpoint)
    monkeypatch.undo()
    assert (net.epochs_done, os.listdir(tmp_path)) == (3, ["net"])
    assert fastnn.load(tmp_path / "net").epochs_done == 2
    net.fit(X, y, 2)
    twin = Network([4, 5, 3], seed=0, backend=either_backend)
    twin.fit(X, y, 5)
    assert bits(net) == bits(twin)
