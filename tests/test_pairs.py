"""Any two public calls at once, from two to eight threads, on one network: each result is one that the calls give in
turn, and nothing but training is refused."""

import contextlib
import copy
import itertools
import os
import pickle
import tempfile
import threading

import numpy as np
import pytest

from fastnn import SGD, Network, load

SIZES, STEPS, ROUNDS = [3, 16, 2], 26, 3
SGD_1 = SGD(lr=0.1)
rng = np.random.default_rng(5)
X, y = rng.standard_normal((3, 800)).astype("f4"), np.arange(800) % 2
WEIGHTS = [
    [(rng.standard_normal(s).astype("f4"), rng.standard_normal((s[0], 1)).astype("f4")) for s in ((16, 3), (2, 16))]
    for _ in range(2)
]


VECTORS = [np.concatenate([T.ravel() for pair in weights for T in pair]) for weights in WEIGHTS]
DA = rng.standard_normal((2, 800)).astype("f4")


def flat(arrays):
    return b"".join(np.asarray(a).tobytes() for a in arrays)


def weights_of(net):
    return flat(itertools.chain.from_iterable(net.parameters))


def gradients(net):
    loss, pairs = net.gradients(X, y)
    return flat([loss, *itertools.chain.from_iterable(pairs)])


def backward(net):
    pairs, dX = net.backward(X, DA)
    return flat([dX, *itertools.chain.from_iterable(pairs)])


def saved(net):
    handle, path = tempfile.mkstemp(suffix=".npz")
    os.close(handle)
    try:
        net.save(path, optimizer=True)
        return weights_of(load(path, backend=net._backend_name))
    finally:
        os.remove(path)


def fitted(net):
    return flat(net.fit(X, y, batch_size=None, shuffle=False, optimizer=SGD_1, progress=False).loss)


READERS = {
    "predict": lambda net: net.predict(X).tobytes(),
    "predict, cast": lambda net: net.predict(X.astype(np.float64)).tobytes(),
    "forward": lambda net: flat([c["Z"] for c in net.forward(X, cache=True)[1]]),
    "predict_classes": lambda net: net.predict_classes(X).tobytes(),
    "predictor": lambda net: net.predictor()(X).tobytes(),
    "loss": lambda net: flat([net.loss(X, y)]),
    "evaluate": lambda net: repr(net.evaluate(X, y)).encode(),
    "gradients": gradients,
    "backward": backward,
    "flat_parameters": lambda net: net.flat_parameters.tobytes(),
    "loss_and_gradient": lambda net: flat(net.loss_and_gradient(VECTORS[0], X, y)),
    "gradient_check": lambda net: flat([net.gradient_check(X[:, :50], y[:50])]),
    "parameters": weights_of,
    "pickle": lambda net: weights_of(pickle.loads(pickle.dumps(net))),
    "copy": lambda net: weights_of(copy.deepcopy(net)),
    "save": saved,
    "summary": lambda net: net.summary().encode() + repr(net).encode(),
}
WRITERS = {
    "set_parameters 0": lambda net: net.set_parameters(WEIGHTS[0]),
    "set_parameters 1": lambda net: net.set_parameters(WEIGHTS[1]),
    "set_flat_parameters 0": lambda net: net.set_flat_parameters(VECTORS[0]),
    "reset_optimizer": lambda net: net.reset_optimizer(),
}
TRAINERS = {"train_step": lambda net: flat([net.train_step(X, y, SGD_1)]), "fit": fitted}
CALLS = READERS | WRITERS | TRAINERS
SLOW = {"gradient_check", "save"}
PAIRS = list(itertools.combinations_with_replacement(CALLS, 2))
# Two readers, neither of them one of these, are slow tests: what they share is what these share.
FIRST = {"predict", "gradients", "pickle"}


def marked(pair):
    is_slow = set(pair) <= READERS.keys() and not FIRST & set(pair)
    return pytest.param(pair, marks=pytest.mark.slow) if is_slow else pair


def make(backend, threads):
    return Network(SIZES, seed=1, backend=backend, threads=threads)


@pytest.fixture(scope="module", params=[("numpy", None), ("compiled", None), ("compiled", 2)], ids=str)
def way(request):
    """(backend, threads), and of each call the results in all the states that the calls can lead to.

    A step is one on all samples, so is an epoch of fit: the states are either set of weights and some steps.
    """
    backend, threads = request.param
    try:
        net = make(backend, threads)
    except RuntimeError:
        pytest.skip("the extension is not here")
    wanted = {name: set() for name in READERS | TRAINERS}
    for weights in WEIGHTS:
        net.set_parameters(weights)
        for step in range(STEPS):
            for name, call in READERS.items():
                if name not in SLOW or step <= 8:  # those have one round beside them
                    wanted[name].add(call(net))
            loss = TRAINERS["train_step"](net)
            for name in TRAINERS:
                wanted[name].add(loss)
    return backend, threads, wanted


def test_every_public_call_is_among_them():
    public = {name for name in dir(Network) if not name.startswith("_") and hasattr(Network, name)}
    settings = {"activations", "dtype", "epochs_done", "loss_name", "n_params", "seed", "sizes", "collapse"}
    settings |= {"dropout", "norm"}
    named = {name.split(",")[0].split(" ")[0] for name in CALLS} | CALLS_OF_NORMS
    # update is train_step's twin: test_given_gradients.py; adapt has its own states: test_standardisation.py
    assert public - settings - {"update", "adapt", "standardisation"} <= named


CALLS_OF_NORMS = {"averaged", "running_statistics", "set_running_statistics", "trainable"}


@pytest.mark.parametrize("threads", [1, 2])
def test_calls_on_a_network_with_norms_and_an_average(either_backend, threads):
    """Each reader sees a state after so many steps, in which parameters, statistics and averages belong together."""

    def made():
        return Network(SIZES, seed=1, backend=either_backend, threads=threads, norm="batch")

    def seen(net):
        twin = pickle.loads(pickle.dumps(net))
        statistics = [T for pair in twin.running_statistics if pair for T in pair]
        return weights_of(twin) + flat(statistics), weights_of(twin.averaged())

    alone, net, steps = made(), made(), 60
    optimizer, wanted, done, failures = SGD(0.01, average=0.9), set(), threading.Event(), []
    for _ in range(steps):
        alone.train_step(X, y, optimizer)
        wanted.add(seen(alone))
    net.train_step(X, y, optimizer)

    def read():
        while not done.is_set() and not failures:
            found = seen(net)
            net.running_statistics, net.averaged(), net.trainable
            if found not in wanted:
                failures.append(found)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(steps - 1):
        with contextlib.suppress(RuntimeError):  # refused while another call runs
            net.train_step(X, y, optimizer)
    done.set()
    for reader in readers:
        reader.join()
    net.trainable = [True] * (len(SIZES) - 1)
    net.set_running_statistics(net.running_statistics)
    assert not failures


@pytest.mark.parametrize("pair", list(map(marked, PAIRS)), ids=" and ".join)
def test_two_calls_at_once(way, pair):
    backend, threads, wanted = way
    net = make(backend, threads)
    net.set_parameters(WEIGHTS[0])
    count = 2 + PAIRS.index(pair) % 7
    start, failures = threading.Barrier(count), []
    rounds = 1 if {*pair} & SLOW else 10 * ROUNDS if {*pair} <= {"gradients", "predict", "loss"} else ROUNDS

    def work(name):
        start.wait()
        for _ in range(rounds):
            try:
                result = CALLS[name](net)
            except RuntimeError as error:
                if name not in TRAINERS or "another call" not in str(error):
                    failures.append((name, error))
            except BaseException as error:
                failures.append((name, error))
            else:
                if name in wanted and result not in wanted[name]:
                    failures.append((name, "a result of no state"))

    workers = [threading.Thread(target=work, args=(pair[i % 2],)) for i in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures
    assert weights_of(net) in wanted["parameters"]
