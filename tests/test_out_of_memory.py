"""No memory: at each allocation of the core, and at each of NumPy's, a clean MemoryError, and nothing changed."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from case_helpers import python
from conftest import COMPILED, SANITIZED

SOURCE = Path(__file__).parent / "c" / "failing_malloc.c"

pytestmark = pytest.mark.skipif(
    COMPILED is None
    or platform.libc_ver()[0] != "glibc"
    or not shutil.which("gcc")
    or not SOURCE.exists()
    or SANITIZED,
    reason="puts an allocator of its own before glibc's, not a sanitizer's; needs the compiled backend and gcc",
)

# Every call starts from a network of its own, so that each allocation is seen that a first call makes.
CODE = """
import ctypes, gc, os, sys
import numpy as np, fastnn
sys.path.append(os.environ["FASTNN_TEST_FOLDER"])
from case_helpers import state_of
from fastnn import Adam, Network, SGD, kernels
malloc = ctypes.CDLL(os.environ["LD_PRELOAD"])
gc.freeze()  # the modules: else each search for garbage takes longer than all else
watch, library = malloc.watch_library, os.environ["FASTNN_TEST_LIBRARY"].encode()
assert watch(library), library
rng = np.random.default_rng(0)
SHAPES = {"few": ([20, 30, 4], 40), "many": ([100, 300, 200, 4], 700)}

def mse(A, y):
    return ((A - y) ** 2).sum(axis=0), 2 * (A - y)

gradients_of = {len(sizes): [tuple(np.ones_like(T) for T in layer) for layer in Network(sizes, seed=3).parameters]
                for sizes, m in SHAPES.values()}

def calls(sizes, m, threads):
    X, y = rng.standard_normal((m, sizes[0]), "f4").T, np.arange(m) % 4
    X64, Y, w = X.astype("f8"), np.eye(4)[:, y], np.ones(m)
    W, b = (rng.standard_normal(s, "f4") for s in ((sizes[1], sizes[0]), (sizes[1], 1)))
    dZ, A = (rng.standard_normal((sizes[1], m), "f4") for _ in range(2))
    other = Network(sizes, seed=2, threads=threads).parameters
    return {
        "predict": lambda net: net.predict(X),
        "predict of another dtype": lambda net: net.predict(X64),
        "predictor": lambda net: net.predictor()(X),
        "forward cached": lambda net: net.forward(X, cache=True)[0],
        "loss": lambda net: net.loss(X, Y, w),
        "evaluate": lambda net: list(net.evaluate(X, y).values()),
        "gradients": lambda net: net.gradients(X, y)[1][0][0],
        "backward": lambda net: net.backward(X, Y)[1],
        "loss_and_gradient": lambda net: net.loss_and_gradient(np.ones(net.n_params), X, y)[1],
        "train_step with a loss of one's own": lambda net: net.train_step(X, Y, Adam(), mse),
        "update": lambda net: net.update(gradients_of[len(net.sizes)], Adam()),
        "train_step": lambda net: net.train_step(X, y),
        "train_step by another": lambda net: net.train_step(X, y, Adam()),
        "train_step of another dtype": lambda net: net.train_step(X64, y),
        "fit": lambda net: net.fit(X, y, 2, 16, Adam(), progress=False).loss,
        "fit in one batch": lambda net: net.fit(X, Y, 2, None, Adam(), shuffle=False, progress=False).loss,
        "fit of another dtype": lambda net: net.fit(X64, y, 2, 16, Adam(), sample_weight=w, progress=False).loss,
        "set_parameters": lambda net: net.set_parameters(other),
        "parameters": lambda net: net.parameters[0][0],
        "a copy": lambda net: __import__("copy").deepcopy(net).parameters[0][0],
        "a new one": lambda net: Network(sizes, seed=0, threads=threads).parameters[0][0],
        "linear_forward": lambda net: kernels.linear_forward(W, X, b, "softmax"),
        "linear_backward": lambda net: kernels.linear_backward(dZ, X, W)[2],
        "linear_backward elsewhere": lambda net: kernels.linear_backward(dZ, X64, W)[0],
        "activation_forward": lambda net: kernels.activation_forward(dZ, "softmax"),
        "activation_backward": lambda net: kernels.activation_backward(dZ, A, "softmax"),
        "loss_backward": lambda net: kernels.loss_backward(dZ[:4], y, "cross_entropy"),
        "rowsum": lambda net: kernels.rowsum(dZ),
    }

tried = refused = 0
FIRST = {name: (np.ones((sizes[0], 5), "f4"), np.arange(5) % 4) for name, (sizes, m) in SHAPES.items()}
for name, (sizes, m) in SHAPES.items():
    for threads in map(int, os.environ["FASTNN_TEST_THREADS"].split()):
        for what, call in calls(sizes, m, threads).items():
            def make():
                net = Network(sizes, seed=1, threads=threads)
                net.train_step(*FIRST[name], SGD(lr=0.01, momentum=0.9))  # a state that can be lost
                return net

            net = make()
            want = np.copy(call(net)).tobytes()
            after = state_of(net)
            net = make()
            malloc.fail_at(0)
            call(net)
            total = malloc.fail_at(0)
            for n in range(1, total + 1):
                net, where = None, f"{what}, {name}, {threads} threads, allocation {n} of {total}"
                gc.collect()
                held = malloc.blocks_in_use()
                net = make()
                before = state_of(net)
                malloc.fail_at(n)
                try:
                    result = np.copy(call(net)).tobytes()
                except MemoryError:
                    malloc.fail_at(0)
                    assert state_of(net) == before, f"{where}: changed"
                    refused += 1
                else:  # it went on without
                    malloc.fail_at(0)
                    assert result == want and state_of(net) == after, f"{where}: another result"
                result = net = None
                if library.startswith(b"/_core"):  # of NumPy's, arrays are still there
                    gc.collect()
                    assert malloc.blocks_in_use() == held, f"{where}: {malloc.blocks_in_use() - held} blocks lost"
                again = np.copy(call(make())).tobytes()
                assert again == want, f"{where}: spoilt what came after"
                tried += 1
print(tried, refused)
"""


# Results in arrays of the caller's: what a call that finds no memory, in whichever of its parts, leaves as it was.
INTO = """
import ctypes, os
import numpy as np
from fastnn import _core, kernels
malloc = ctypes.CDLL(os.environ["LD_PRELOAD"])
assert malloc.watch_library(b"/_core.")
rng = np.random.default_rng(0)

LAYOUTS = {
    "by rows": lambda a: np.ascontiguousarray(a),
    "by columns": lambda a: np.asfortranarray(a),
    "strided": lambda a: np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3],
    "backwards": lambda a: np.ascontiguousarray(a[:, ::-1])[:, ::-1],
}

def cases():
    for (n, k, m) in ((7, 130, 301), (70, 33, 515), (1, 300, 900), (300, 1, 700), (40, 1400, 1), (515, 64, 2100)):
        for dtype in os.environ["FASTNN_TEST_DTYPES"].split():
            for layout, lay in LAYOUTS.items():
                make = lambda *shape: lay(rng.standard_normal(shape, "f4").astype(dtype))
                W, X, b, Z = make(n, k), make(k, m), make(n, 1), make(n, m)
                new = lambda *shape: np.asarray(rng.standard_normal(shape), dtype, order="FC"[layout == "by rows"])
                where = f"{n} x {k} x {m}, {dtype}, {layout}"
                for g in ("sigmoid", "softmax", "identity"):
                    yield (f"forward {g} {where}", [new(n, m)],
                           lambda o, g=g, W=W, X=X, b=b: kernels.linear_forward(W, X, b, g, out=o[0]))
                    yield (f"backward {g} {where}", [new(n, k), new(n, 1), new(k, m)],
                           lambda o, g=g, W=W, X=X, Z=Z: kernels.linear_backward(Z, X, W, activation=g, out=tuple(o)))
                    yield (f"activation {g} {where}", [new(n, m)],
                           lambda o, g=g, Z=Z: kernels.activation_forward(Z, g, out=o[0]))
                    yield (f"derivative {g} {where}", [new(n, m)],
                           lambda o, g=g, Z=Z: kernels.activation_backward(Z, Z, g, out=o[0]))
                yield (f"rowsum {where}", [new(n, 1)], lambda o, Z=Z: kernels.rowsum(Z, out=o[0]))
                yield (f"loss {where}", [new(n, m)],
                       lambda o, Z=Z: kernels.loss_backward(Z, abs(Z), "mse", out=o[0]))

refused = 0
for name, outs, call in cases():
    before = [a.tobytes() for a in outs]
    n = 0
    while True:
        n += 1
        malloc.fail_at(n)
        try:
            call(outs)
        except MemoryError:
            malloc.fail_at(0)
            assert [a.tobytes() for a in outs] == before, f"{name}: allocation {n} failed, and a result was changed"
            refused += 1
        else:
            malloc.fail_at(0)
            break
        assert n < 20, name
print(refused)
"""

# Through the C interface, where a sum of losses is a result too.
TOTAL = """
import ctypes, os, sys
import numpy as np
sys.path.insert(0, os.environ["FASTNN_TEST_FOLDER"])
from c_interface import Targets, in_c, matrix, new_net
malloc = ctypes.CDLL(os.environ["LD_PRELOAD"])
assert malloc.watch_library(b"/_core.")
net = ctypes.c_void_p(new_net(300, 200))
X, Y = np.ones((300, 500), order="F"), np.ones((200, 500), order="F")
x, targets = matrix(X), Targets(Y=matrix(Y))
total, n, status = ctypes.c_double(42.5), 0, 1
while status:
    n += 1
    malloc.fail_at(n)
    status = in_c("net_loss", net, ctypes.byref(total), x, targets, 500, (1,))
    malloc.fail_at(0)
    assert (total.value == 42.5) == (status == 1)
print(n - 1)
"""


@pytest.fixture(scope="module")
def preload(tmp_path_factory):
    library = tmp_path_factory.mktemp("malloc") / "failing_malloc.so"
    subprocess.run(["gcc", "-O1", "-Wall", "-shared", "-fPIC", SOURCE, "-o", library], check=True)
    return str(library)


SLOW = [("/_core.", "12"), ("/_multiarray_umath.", "1 12")]


@pytest.mark.parametrize(
    ("library", "threads"), [("/_core.", "1"), *(pytest.param(*both, marks=pytest.mark.slow) for both in SLOW)]
)
def test_no_memory_at_each_allocation(preload, library, threads):
    settings = {"FASTNN_TEST_LIBRARY": library, "FASTNN_TEST_THREADS": threads}
    settings["FASTNN_TEST_FOLDER"] = str(Path(__file__).parent)
    tried, refused = python(CODE, "compiled", LD_PRELOAD=preload, **settings).split()
    print(f"{library} {threads} threads: {tried} allocations failed, {refused} of them a MemoryError")
    assert int(refused) > 50
    assert int(refused) <= int(tried)


@pytest.mark.parametrize("dtypes", ["f4", pytest.param("f8", marks=pytest.mark.slow)])
def test_results_are_as_they_were(preload, dtypes):
    assert int(python(INTO, "compiled", LD_PRELOAD=preload, FASTNN_TEST_DTYPES=dtypes)) > 100
    folder = str(Path(__file__).parent)
    assert int(python(TOTAL, "compiled", LD_PRELOAD=preload, FASTNN_TEST_FOLDER=folder)) > 1
