"""Hours of use in one process, and millions of steps: nothing grows, and nothing drifts.

FASTNN_LONG_RUN: for how many seconds; ten times as long for the steps, of which two million are enough.
"""

import os
import re

import pytest

from case_helpers import python
from conftest import COMPILED

pytestmark = pytest.mark.slow
needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads memory from Linux's /proc")
SECONDS = float(os.environ.get("FASTNN_LONG_RUN", "60"))


MIXED = """
import copy, ctypes, gc, os, pickle, random, sys, tempfile, threading, time
import numpy as np, fastnn
from fastnn import SGD, Adagrad, Adam, AdamW, NAdam, Network, RMSprop, kernels
backend, seconds = {backend!r}, {seconds}
rng, choose = np.random.default_rng(0), random.Random(0)
path = os.path.join(tempfile.mkdtemp(), "net")
ACTIVATIONS, OPTIMIZERS = ["relu", "tanh", "sigmoid"], [SGD(lr=1e-3), SGD(lr=1e-3, momentum=0.9), Adam(), AdamW()]
OPTIMIZERS += [NAdam(), RMSprop(lr=1e-3), RMSprop(lr=1e-4, momentum=0.9), Adagrad()]
X, codes = rng.standard_normal((100, 3000), "f4"), np.arange(3000)
done = {{}}

# So many that they meet in memory in every order, so few that all have been there when memory is first looked at.
KINDS = [
    dict(
        sizes=[choose.randint(1, 100) for _ in range(choose.randint(2, 4))] + [choose.randint(2, 12)],
        dtype=choose.choice(["f4", "f8"]), threads=choose.choice([None, None, 1, 2]),
    )
    for _ in range(40)
]

def small():
    return Network(**choose.choice(KINDS), seed=choose.randrange(1000), backend=backend)

def data(net):
    m = choose.choice([1, 2, 17, 64, 300, 3000])
    x = X[: net.sizes[0], :m]
    return choose.choice([x, np.asfortranarray(x), x.astype("f8"), x[:, ::-1]]), codes[:m] % net.sizes[-1]

def train(net):
    x, y = data(net)
    batch, optimizer = choose.choice([8, 32, None]), choose.choice(OPTIMIZERS)
    net.fit(x, y, choose.randint(1, 3), batch, optimizer=optimizer, progress=False)

def step(net):
    x, y = data(net)
    for _ in range(20):
        net.train_step(x, y, choose.choice(OPTIMIZERS))

def read(net):
    x, y = data(net)
    p = net.predictor()
    for _ in range(20):
        net.predict(x), p(x)
    net.loss(x, y), net.evaluate(x, y), net.gradients(x, y)

def layers(net):
    x, y = data(net)
    W, b = (np.ascontiguousarray(T) for T in net.parameters[0])
    A = kernels.linear_forward(W, x.astype(W.dtype), b, "tanh")
    kernels.linear_backward(A, x.astype(W.dtype), W)
    kernels.activation_backward(A, A, "tanh"), kernels.rowsum(A)

def keep(net):
    net.save(path, optimizer=True)
    fastnn.load(path, backend=backend), copy.deepcopy(net), pickle.loads(pickle.dumps(net))

def beside(net):
    x, y = data(net)
    threads = [threading.Thread(target=net.predict, args=(x,)) for _ in range(4)]
    for t in threads: t.start()
    for t in threads: t.join()

def refused(net):
    x, y = data(net)
    bad = np.full((net.sizes[0], 30), np.nan, "f4")
    def stop(epoch, history):
        raise KeyError
    for call in (
        lambda: net.predict(x[:, :, None]), lambda: net.predict("data"), lambda: net.fit(bad, codes[:30] % 2),
        lambda: net.train_step(bad, codes[:30] % 2), lambda: net.fit(x, y, callbacks=stop), lambda: net.fit(x, y - 99),
        lambda: net.train_step(x, y[:-1]), lambda: fastnn.load(path + "x"), lambda: Network([0]),
        lambda: net.predict(x, out=bad), lambda: kernels.rowsum(bad, out=np.empty((1, 7))),
        lambda: net.set_parameters([]),
    ):
        try:
            call()
        except (ValueError, TypeError, KeyError, FloatingPointError, OSError):
            continue
        raise AssertionError("not refused")

WORK = [train, step, read, layers, keep, beside, refused]

def use(until):
    while time.monotonic() < until:
        net = small()
        for _ in range(5):
            work = choose.choice(WORK)
            work(net)
            done[work.__name__] = done.get(work.__name__, 0) + 1

def now():
    gc.collect()
    trim(0)
    with open("/proc/self/statm") as file:
        rss = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return rss, len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))

# What is free and only lies between blocks of other sizes goes back to the system: what is left is in use.
trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda bytes: None)
for n in range(1, 1025):  # of small blocks NumPy keeps some of each size for later: all of them from the beginning
    kept = [np.empty(n, np.uint8) for _ in range(8)]
start = time.monotonic()
use(start + seconds / 3)  # until the allocators have their arenas
before = now()
use(start + seconds)
after = now()
grown = [b - a for a, b in zip(before, after)]
print(f"RSS {{grown[0] / 2**20:+.1f}} MB, threads {{grown[1]:+d}}, files {{grown[2]:+d}}, calls: {{done}}")
assert grown[0] < 4 * 2**20 and grown[1] <= 0 and grown[2] <= 0, grown
"""


@needs_proc
def test_mixed_calls_for_a_long_time(either_backend):
    print(python(MIXED.format(backend=either_backend, seconds=SECONDS), either_backend, timeout=SECONDS * 2 + 100))


FAILING = """
import gc, os, sys
import numpy as np, fastnn
net = fastnn.Network([20, 8, 3], seed=0, backend={backend!r})
X, y, nan = np.ones((20, 16), "f4"), np.zeros(16, int), np.full((20, 16), np.nan, "f4")
out, W = np.empty((4, 16), "f4"), np.ones((3, 20), "f4")
CALLS = [
    lambda: net.predict(X.T), lambda: net.predict("a"), lambda: net.predict(X, out=out),
    lambda: net.train_step(X, y + 3), lambda: net.train_step(nan, y), lambda: net.fit(X, y[1:]),
    lambda: net.loss(X, None), lambda: net.gradients(X, y - 1),
    lambda: fastnn.kernels.linear_forward(W, X.T, [0] * 3), lambda: fastnn.kernels.rowsum(None),
    lambda: fastnn.Network([3, 0]), lambda: net.set_parameters([(W, [0] * 3)]), lambda: net.predictor()(X.T),
]
def fail(times):
    for i in range(times):
        try:
            CALLS[i % len(CALLS)]()
        except (ValueError, TypeError):
            continue
        raise AssertionError(f"call {{i % len(CALLS)}} was not refused")
def rss():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
def blocks():
    gc.collect()  # empties the free lists, too
    # The interpreter keeps the names of up to 4096 attributes that were looked up: dtype.name makes a new one a call.
    getattr(sys, "_clear_internal_caches", getattr(sys, "_clear_type_cache", None))()
    return sys.getallocatedblocks()
fail(5000)
before, blocks_before = rss(), blocks()
fail(100_000)
grown, blocks_grown = rss() - before, blocks() - blocks_before
print(f"{{grown / 2**20:.1f}} MB, {{blocks_grown}} blocks")
assert grown < 4 * 2**20 and blocks_grown < 200, (grown, blocks_grown)
"""


@needs_proc
def test_100_000_failing_calls_leak_nothing(either_backend):
    print(python(FAILING.format(backend=either_backend), either_backend))


STEPS = """
import copy, random, time
import numpy as np, fastnn
from fastnn import SGD, Adam, AdamW, Network
from fastnn.tables import ACTIVATIONS, LOSSES
choose, end = random.Random(0), time.monotonic() + {seconds}
steps, networks, diverged, parted, tightest = 0, 0, 0, 0, 1e9

def rounded(parameters, rng):
    "Each number one rounding up or down."
    eps = np.finfo(parameters[0][0].dtype).eps
    return [tuple(T * (1 + eps * rng.choice([-1, 1], T.shape)) for T in pair) for pair in parameters]

def ends_as_some_rounded_start(net, start, fit, allowed):
    "Where a sample comes to lie all but on a relu's kink a rounding decides, and paths part: NumPy's do so, too."
    for seed in range(20):
        other = copy.deepcopy(start)
        other.set_parameters(rounded(start.parameters, np.random.default_rng(seed)))
        fit(other)
        if distance(net, other) < allowed:
            return True
    return False

def problem():
    layers = choose.randint(1, 3)
    sizes = [choose.randint(1, 24) for _ in range(layers + 1)]
    loss = choose.choice([*LOSSES])
    if LOSSES[loss].targets in ("classes", "means"):
        sizes[-1] = max(2, sizes[-1] // 2 * 2)
    hidden = [name for name in ACTIVATIONS if name != "softmax"]
    activations = [choose.choice(hidden) for _ in range(layers - 1)] + [LOSSES[loss].output or "identity"]
    seed, dtype = choose.randrange(10**6), choose.choice(["float32", "float64"])
    backends = "compiled", "numpy", "numpy"
    nets = [Network(sizes, activations, loss, dtype=dtype, seed=seed, backend=b) for b in backends]
    rng, m = np.random.default_rng(seed), choose.randint(1, 48)
    X = rng.standard_normal((m, sizes[0])).astype(dtype).T
    if not LOSSES[loss].is_of_classes:
        y = np.tanh(rng.standard_normal((LOSSES[loss].target_rows(sizes[-1]), m))).astype(dtype)
        y = np.abs(y) if LOSSES[loss].targets == "counts" else y
    elif LOSSES[loss].targets == "classes":
        y = rng.integers(0, sizes[-1], m)
    else:
        y = rng.integers(0, 2, (sizes[-1], m)).astype(dtype)
    # What one rounding of the weights we begin with makes of those we end with: some networks double it each step.
    nets[2].set_parameters(rounded(nets[1].parameters, rng))
    lr, decay = 10 ** choose.uniform(-4, -2), choose.choice([0, 0, 1e-3])
    optimizer = choose.choice([
        SGD(lr=lr, weight_decay=decay), SGD(lr=lr, momentum=0.9), SGD(lr=lr, momentum=0.9, nesterov=True),
        Adam(lr=lr / 10, weight_decay=decay), AdamW(lr=lr / 10, weight_decay=decay),
    ])
    return nets, X, y, optimizer

def distance(first, second):
    "In units of rounding of each layer's largest weight."
    return max(
        float(max(np.abs(a - b).max() for a, b in zip(p, q)) / max(np.abs(b).max() for b in q))
        / np.finfo(first.dtype).eps
        for p, q in zip(first.parameters, second.parameters)
    )

while time.monotonic() < end and steps < {steps}:
    nets, X, y, optimizer = problem()
    m, batch = X.shape[1], choose.randint(1, X.shape[1])
    epochs = max(1, choose.choice([20, 200, 2000]) * batch // m)
    fit = lambda net: net.fit(X, y, epochs, batch, optimizer=optimizer, progress=False)
    start = copy.deepcopy(nets[1])
    try:
        for net in nets:
            fit(net)
    except FloatingPointError:  # that rate is too much for those data
        diverged += 1
        continue
    done = epochs * -(-m // batch)
    allowed = {roundings} * (done + distance(nets[2], nets[1]))
    found = distance(nets[0], nets[1])
    if found < allowed:
        tightest = min(tightest, allowed / max(found, 1e-9))
    else:
        parted += 1
        same = "relu" in nets[0].activations and ends_as_some_rounded_start(nets[0], start, fit, allowed)
        assert same, (found, allowed, done, nets[0], optimizer, m, batch)
    steps, networks = steps + done, networks + 1
assert parted <= 1 + networks / 100, (parted, networks)
apart = f"{{diverged}} diverged, {{parted}} parted at a kink"
print(steps, f"steps of {{networks}} networks, {{apart}}; at worst 1/{{tightest:.1f}} of what is allowed")
"""


@pytest.mark.skipif(not COMPILED, reason="compares the backends")
def test_millions_of_steps_in_both_backends():
    said = python(STEPS.format(seconds=10 * SECONDS, steps=2_000_000, roundings=5), "auto", timeout=20 * SECONDS + 60)
    print(said)
    assert int(re.match(r"\d+", said)[0]) > 500 * SECONDS
