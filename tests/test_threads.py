"""How many threads there may be, and that calls from many threads and forked children are right."""

import ctypes
import ctypes.util
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
CONTROLS = ("OMP_", "GOMP_", "KMP_")  # names of what an OpenMP reads begin so
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
needs_compiled = pytest.mark.skipif(COMPILED is None, reason="no compiled backend here")


def output_of(code, *arguments, affinity=None, **environment):
    """What a fresh process prints that finds these of OpenMP's variables, and no others."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(CONTROLS)} | environment
    pin = None if affinity is None else lambda: os.sched_setaffinity(0, affinity)
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=env, preexec_fn=pin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def limit_of_a_fresh_process(value=None, affinity=None):
    return int(output_of(SHOW, affinity=affinity, **({} if value is None else {"OMP_NUM_THREADS": value})))


def test_f06_cores_allowed_not_cores_present():
    default = limit_of_a_fresh_process()
    assert 1 <= default <= CORES
    assert limit_of_a_fresh_process("1") == 1
    for nonsense in ("", "abc", "-3", "0", "1000000"):
        assert limit_of_a_fresh_process(nonsense) == default
    if hasattr(os, "sched_setaffinity"):
        assert limit_of_a_fresh_process(affinity={min(os.sched_getaffinity(0))}) == 1


# --- F06, of a cgroup: the least quota of this process's group and of those around it --------------------------------

V1, V2, BESIDE = "cgroup rw,cpuacct,cpu", "cgroup2 rw", "cgroup rw,memory"
ONE, TWO = "100000 100000", "150000 100000"


@pytest.mark.parametrize(
    ("mounts", "groups", "quotas", "limit"),
    [
        ({"": (V2, "/")}, ["0::/"], {"": ONE}, 1),
        ({"": (V2, "/")}, ["0::/"], {"": TWO}, 2),
        ({"": (V2, "/")}, ["0::/"], {"": "max 100000"}, None),
        ({"": (V2, "/")}, ["0::/a/b"], {"a/b": "250000 100000"}, 3),
        ({"": (V2, "/")}, ["0::/a/b"], {"a": ONE, "a/b": "max 100000"}, 1),
        ({"": (V2, "/")}, ["0::/a/b"], {"a": TWO, "a/b": ONE}, 1),
        ({"": (V2, "/")}, ["0::/a/b"], {"a/c": ONE, "b": ONE, "a/b/c": ONE}, None),  # groups of others
        ({"": (V2, "/")}, ["0::/a:b/c"], {"a:b": ONE}, 1),
        ({"": (V1, "/")}, ["3:cpu,cpuacct:/"], {"": TWO}, 2),
        ({"": (V1, "/")}, ["3:cpu,cpuacct:/a/b"], {"": "-1 100000", "a": ONE, "a/b": "-1 100000"}, 1),
        ({"": (V1, "/")}, ["3:cpu,cpuacct:/a/b"], {"": "-1 100000", "a/b": "-1 100000"}, None),
        ({"": (V1, "/")}, ["4:memory:/a", "3:cpu,cpuacct:/b"], {"a": ONE, "b": TWO}, 2),
        ({"m": (BESIDE, "/"), "c": (V1, "/")}, ["4:memory:/", "3:cpu:/"], {"m": ONE, "c": TWO}, 2),
        # hybrid: the second version is there, and the first one has the cpu
        ({"c": (V1, "/"), "u": (V2, "/")}, ["3:cpu:/a", "0::/b"], {"c/a": TWO, "u/a": ONE}, 2),
        ({"c": (V1, "/"), "u": (V2, "/")}, ["3:cpu:/a", "0::/b"], {"c/a": TWO, "u/b": ONE}, 1),
        # in a container: its own group is what is mounted; below it there may be others
        ({"": (V1, "/docker/x")}, ["3:cpu:/docker/x"], {"": ONE}, 1),
        ({"": (V2, "/docker/x")}, ["0::/docker/x/init.scope"], {"": TWO, "init.scope": ONE}, 1),
        ({"": (V1, "/docker/x")}, ["3:cpu:/docker/xy"], {"": TWO, "y": ONE}, 2),
        # the path is the host's, or that of a namespace: the mount is all that there is to see
        ({"": (V2, "/")}, ["0::/kubepods/pod/x"], {"": ONE}, 1),
        ({"": (V1, "/docker/x")}, ["3:cpu:/"], {"": ONE}, 1),
        ({"": (V2, "/docker/x")}, ["0::/kubepods/pod/x"], {"": ONE}, 1),
        ({"": (V2, "/")}, ["0::/../a"], {"": TWO, "a": ONE}, 2),
        # and where one of two mounts shows the group, the other one is somebody else's
        ({"o": (V2, "/docker/other"), "": (V2, "/")}, ["0::/a"], {"o": ONE, "a": TWO}, 2),
        ({"with space": (V2, "/")}, ["0::/a"], {"with space/a": ONE}, 1),
        ({"": (V2, "/")}, ["0::/a"], {"": TWO, "a": None}, 2),  # unreadable
        ({"": (V1, "/")}, ["3:cpu:/a"], {"a": None}, None),
        *[({"": (V2, "/")}, ["0::/"], {"": bad}, None) for bad in ("?", "", "100000 0", "-1 100000", "0 1", "nan 1")],
        *[({"": (V1, "/")}, ["3:cpu:/"], {"": bad}, None) for bad in ("? ?", "0 100000", "100000 0", "100000 -1")],
        ({"": (V2, "/")}, [], {"": ONE}, 1),
        ({"": (V2, "/")}, ["nonsense", "0::"], {"": "max 100000"}, None),
        ({}, ["0::/", "3:cpu:/"], {"": ONE}, None),
    ],
    ids=str,
)
def test_f06_quota_of_a_cgroup(tmp_path, monkeypatch, mounts, groups, quotas, limit):
    lines, proc = ["22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw", "nonsense"], tmp_path / "proc"
    for i, (name, (kind, root)) in enumerate(mounts.items()):
        point = str(tmp_path / "mounts" / name).replace(" ", r"\040")
        lines.append(f"{30 + i} 23 0:{i} {root} {point} rw,nosuid shared:9 - {kind.replace(' ', ' cgroup ')}")
    for name, text in quotas.items():
        folder = tmp_path / "mounts" / name
        folder.mkdir(parents=True, exist_ok=True)
        if text is None:  # a folder in a file's place cannot be read, not even by root
            (folder / "cpu.max").mkdir()
            (folder / "cpu.cfs_quota_us").mkdir()
            continue
        quota, period = (*text.split(), "", "")[:2]
        for file, content in ("cpu.max", text), ("cpu.cfs_quota_us", quota), ("cpu.cfs_period_us", period):
            (folder / file).write_text(content + "\n")
    proc.mkdir()
    (proc / "mountinfo").write_text("\n".join(lines) + "\n")
    (proc / "cgroup").write_text("".join(group + "\n" for group in groups))
    monkeypatch.setattr(fastnn.cgroups, "PROC", str(proc))
    assert fastnn.cgroups.cpus() == (float("inf") if limit is None else limit)


def test_f06_no_cgroups_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(fastnn.cgroups, "PROC", str(tmp_path / "absent"))
    assert fastnn.cgroups.cpus() == float("inf")
    monkeypatch.setattr(fastnn.cgroups, "PROC", str(tmp_path))
    (tmp_path / "mountinfo").write_bytes(b"30 23 0:1 / /\xff\xfe rw - cgroup2 cgroup rw\n")
    (tmp_path / "cgroup").write_bytes(b"0::/\xff\n")
    assert fastnn.cgroups.cpus() == float("inf")


def test_f06_a_quota_is_obeyed(monkeypatch):
    monkeypatch.setattr(fastnn.cgroups, "cpus", lambda: 1)
    fastnn.threads._constants.cache_clear()
    try:
        assert fastnn.get_threads() == fastnn.info()["threads"] == 1
    finally:
        fastnn.threads._constants.cache_clear()


# --- F05: what is set, within what there is; what is said is what is used --------------------------------------------


def test_f05_the_setting_is_what_was_set(threads, monkeypatch):
    # As far as there are cores: what is said is what is used.
    limit = fastnn.threads.machine_limit()
    for n in (1, 2, np.int64(3), 2**70):
        fastnn.set_threads(n)
        assert fastnn.get_threads() == fastnn.info()["threads"] == min(n, limit)
    fastnn.set_threads(3)
    for bad in (0, -1, 2.5, "2", None, True):
        with pytest.raises((ValueError, TypeError), match="n must be"):
            fastnn.set_threads(bad)
    assert fastnn.get_threads() == min(3, limit)
    if hasattr(os, "sched_getaffinity"):  # and where there are more of them later, the setting is still there
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
        monkeypatch.setattr(fastnn.threads, "_constants", lambda: (False, float("inf")))
        monkeypatch.setattr(fastnn.threads, "_openmp", None)
        assert fastnn.get_threads() == 3


@needs_compiled
def test_f05_openmp_s_own_limit_is_obeyed(threads):
    from threadpoolctl import threadpool_limits

    before = fastnn.get_threads()
    fastnn.set_threads(2)
    with threadpool_limits(1):
        assert fastnn.get_threads() == fastnn.info()["threads"] == 1
    assert fastnn.get_threads() == min(2, before)
    if COMPILED.BUILD["openmp"]:
        openmp = ctypes.CDLL(COMPILED.__file__)  # by which also the libraries that it is linked with are searched
        found = []

        def other_thread():  # each has a number of its own
            openmp.omp_set_num_threads(1)
            found.append(fastnn.get_threads())

        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join()
        assert found == [1]
        assert fastnn.get_threads() == min(2, before)


@needs_compiled
def test_f05_a_limit_of_all_threads_of_the_process(threads):
    assert output_of(SHOW, OMP_THREAD_LIMIT="1") == "1"
    assert output_of(SHOW, OMP_MAX_ACTIVE_LEVELS="0") == "1"


# --- where OpenMP binds its threads to cores -------------------------------------------------------------------------

ALL = " ".join(map(str, sorted(os.sched_getaffinity(0)))) if hasattr(os, "sched_getaffinity") else ""
BINDINGS = [
    {"OMP_PROC_BIND": "true"},
    {"OMP_PROC_BIND": "close"},
    {"OMP_PROC_BIND": "spread"},
    {"OMP_PLACES": "cores"},
    {"GOMP_CPU_AFFINITY": ALL},
]
BOUND = """
import ctypes, hashlib, os, sys
if len(sys.argv) > 1:
    ctypes.CDLL(sys.argv[1])  # another OpenMP, which comes first and pins this thread
import numpy as np, fastnn
def threads(): return os.listdir("/proc/self/task")
X, y = np.random.default_rng(0).standard_normal((784, 512), "f4"), np.arange(512) % 10
limit, before = fastnn.get_threads(), len(threads())
net = fastnn.Network([784, 256, 10], seed=0)
net.fit(X, y, epochs=2, batch_size=256)
cores = set().union(*(os.sched_getaffinity(int(t)) for t in threads()))
bits = hashlib.sha256(b"".join(a.tobytes() for pair in net.parameters for a in pair)).hexdigest()
from threadpoolctl import threadpool_limits
with threadpool_limits(1):
    limited = fastnn.get_threads()
print(limit, len(threads()) - before, len(cores), limited, fastnn.get_threads(), bits)
"""
binds_threads = pytest.mark.skipif(
    COMPILED is None or not COMPILED.BUILD["openmp"] or not os.path.isdir("/proc/self/task"),
    reason="needs OpenMP, and counts threads in /proc",
)


def trained_by_a_fresh_process(*arguments, **settings):
    """Limit, threads that a fit made, cores they may run on, limit within and after threadpoolctl's, bits."""
    # BLAS's threads would be counted, too.
    return output_of(BOUND, *arguments, OPENBLAS_NUM_THREADS="1", **settings).split()


@pytest.fixture(scope="module")
def unbound():
    limit, *rest = trained_by_a_fresh_process()
    assert rest[:4] == [str(int(limit) - 1), str(CORES), "1", limit]
    return [limit, *rest]


@pytest.fixture(scope="module")
def another_openmp(tmp_path_factory):
    """A libgomp that is not the one that we are linked with, as the wheels of other packages bring."""
    name = ctypes.util.find_library("gomp")
    if name is None or not os.path.isfile("/proc/self/maps"):
        pytest.skip("no libgomp here")
    # Which file the loader means by that name.
    show = "import ctypes, sys; ctypes.CDLL(sys.argv[1]); print(open('/proc/self/maps').read())"
    found = next(line.split()[-1] for line in output_of(show, name).splitlines() if name in line)
    copy = tmp_path_factory.mktemp("openmp") / "libgomp-other.so.1"
    with open(found, "rb") as file:
        # Also by the name inside: the loader would take it for ours.
        copy.write_bytes(file.read().replace(b"libgomp.so.1\0", b"libgomq.so.1\0"))
    return copy


@binds_threads
@pytest.mark.parametrize("binding", BINDINGS, ids=str)
def test_threads_that_are_bound_are_as_many(binding, unbound):
    assert trained_by_a_fresh_process(**binding) == unbound


@binds_threads
@pytest.mark.parametrize("binding", [BINDINGS[0], BINDINGS[3]], ids=str)
def test_another_openmp_has_pinned_this_thread_before(binding, unbound, another_openmp):
    # Ours sees one core then, and would put all of its threads there: those of the other one have all cores.
    assert trained_by_a_fresh_process(another_openmp, **binding) == unbound


BINDS_ALONE = """
import ctypes, os, sys
def another():
    os.environ["OMP_PROC_BIND"] = "true"
    ctypes.CDLL(sys.argv[1])
    del os.environ["OMP_PROC_BIND"]
"""


@binds_threads
@pytest.mark.parametrize("order", ["another()", "import fastnn; fastnn.get_threads(); another()"])
def test_another_openmp_binds_threads_and_ours_does_not(order, unbound, another_openmp):
    # As Intel's does by a variable of its own: it pins this thread, where ours would start all of a team.
    code = BINDS_ALONE + order + BOUND
    assert output_of(code, another_openmp, OPENBLAS_NUM_THREADS="1", KMP_AFFINITY="compact").split() == unbound


@binds_threads
def test_cores_that_are_not_allowed_or_not_asked_for_do_not_count(unbound, another_openmp):
    first = min(os.sched_getaffinity(0))
    one = ["1", "0", "1", "1", "1", unbound[-1]]
    assert trained_by_a_fresh_process(affinity={first}, OMP_PROC_BIND="true") == one
    assert trained_by_a_fresh_process(another_openmp, affinity={first}, OMP_PROC_BIND="true") == one
    for binding in (
        {"OMP_PLACES": f"{{{first}}}"},
        {"OMP_PROC_BIND": "master"},
        {"GOMP_CPU_AFFINITY": f"{first} {first}"},  # two places, and the same core
        {"OMP_PROC_BIND": "true", "OMP_NUM_THREADS": "1"},
    ):
        assert int(output_of(SHOW, **binding)) == 1, binding
    assert output_of(SHOW, OMP_PROC_BIND="false") == unbound[0]


PINNED = """
import ctypes, sys, threading
wait = threading.Event()
threading.Thread(target=wait.wait, daemon=True).start()  # as BLAS's, of before
ctypes.CDLL(sys.argv[1])
import fastnn
print(fastnn.get_threads())
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="looks at threads in /proc")
def test_numpy_s_threads_where_this_one_is_pinned(another_openmp):
    # Without our own OpenMP it shows by what the other threads may do.
    default = output_of(SHOW, FASTNN_BACKEND="numpy")
    settings = {"FASTNN_BACKEND": "numpy", "OPENBLAS_NUM_THREADS": "1", "OMP_PROC_BIND": "true"}
    assert output_of(SHOW, **settings) == default
    assert output_of(PINNED, another_openmp, **settings) == default
    first = {min(os.sched_getaffinity(0))}
    assert output_of(PINNED, another_openmp, affinity=first, **settings) == "1"


# --- the number of threads that others ask for -----------------------------------------------------------------------


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
def test_the_c_interface_s_limit_is_a_limit_also_of_forced_networks():
    most = 1 << 20
    for forced, wanted in ((None, 1), (3, 3)):
        net = fastnn.Network([784, 256, 10], seed=0, threads=forced, backend="compiled")
        handle = fastnn.predictor_handle(net.predictor())
        for name in ("net_forward_threads", "net_train_threads"):
            count = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)(
                fastnn.c_function(name)
            )
            found = {limit: count(handle.address, 4096, limit) for limit in (-(2**31), -1, 0, 1, 2, most)}
            many = found.pop(most)
            assert found == {-(2**31): 1, -1: 1, 0: 1, 1: 1, 2: 2}, (forced, name)
            assert many == wanted if forced else many > 2


C_PREDICT = """
import ctypes
get = ctypes.pythonapi.PyCapsule_GetPointer
get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
name = ctypes.pythonapi.PyCapsule_GetName
name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
capsule = fastnn._core.__pyx_capi__["__pyx_fuse_0c_predict"]
pointer, size = ctypes.c_void_p, ctypes.c_ssize_t
c_predict = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer, pointer, size, ctypes.c_int)(get(capsule, name(capsule)))
net = fastnn.Network([784, 256, 10], seed=0, threads=2)
handle = fastnn.predictor_handle(net.predictor())
X, out = np.ones((4096, 784), "f4"), np.empty((4096, 10), "f4")
for limit in (1, 0, -1, -2**31, 2):
    assert c_predict(handle.address, out.ctypes.data, X.ctypes.data, 4096, limit) == 0
    print(threads() - before)
assert np.array_equal(out, net.predict(X.T).T)
capsule = fastnn._core.__pyx_capi__["__pyx_fuse_0c_linear_forward"]
kind = ctypes.CFUNCTYPE(ctypes.c_int, *4 * [pointer], ctypes.c_int, *3 * [size], ctypes.c_int)
c_linear_forward = kind(get(capsule, name(capsule)))
A, W, b = np.ones((512, 784), "f4"), np.ones((256, 784), "f4"), np.ones(256, "f4")
found = [np.empty((512, 256), "f4") for _ in range(4)]
for into, limit in zip(found, (1, 0, -1, -2**31)):  # of less than one there would be less than one's scratch space
    pointers = [a.ctypes.data for a in (into, W, A, b)]
    c_linear_forward(*pointers, 0, 256, 784, 512, limit)
    assert np.array_equal(into, found[0])
"""


@needs_compiled
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")
def test_cython_s_limit_is_a_limit_also_of_forced_networks():
    code = BIG.split("net, before")[0] + "before = threads()" + C_PREDICT
    assert output_of(code).split() == ["0", "0", "0", "0", str(int(COMPILED.BUILD["openmp"]))]


@needs_compiled
def test_f07_other_libraries_keep_their_threads(threads):
    from threadpoolctl import threadpool_info, threadpool_limits

    def others():
        return {i["filepath"]: i["num_threads"] for i in threadpool_info()}

    with threadpool_limits(2, user_api="blas"):  # the other tests' is 1
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
for _ in range({times}):
    net = fastnn.Network([4, 8, 2], seed=0, threads=4)
    try:
        net.fit(bad, y, epochs=2, batch_size=8, progress=False)
    except ValueError:
        net.fit(X, y, epochs=5, batch_size=8, sample_weight=weights, progress=False)
    assert net.epochs_done == 5
"""


@needs_compiled
@pytest.mark.parametrize("times", [50, pytest.param(200, marks=pytest.mark.slow)])
def test_threads_leave_together(times):
    """A batch that fails or is skipped: no thread may read what another has gone on to write, or it waits for ever."""
    subprocess.run([sys.executable, "-c", END_EARLY.format(times=times)], timeout=60, check=True)


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
