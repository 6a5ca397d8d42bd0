"""``fastnn demo``: training on the bundled digits, with each backend."""

import statistics
import time

from .. import SGD, Network, backend, datasets, info

_SIZES, _EPOCHS, _BATCH, _LR, _SEED, _TEST = (64, 32, 10), 30, 32, 0.1, 0, 360
_REPEATS = 5


def lines(say):
    """Yield the lines of the demo as they are computed."""
    facts = info()
    X, y = datasets.load_digits()
    data = datasets.shuffled_split(X / 16, y, _TEST, _SEED)
    yield f"fastnn {facts['version']}; cpu: {facts['cpu']}; threads: at most {facts['threads']}"
    yield (
        f"digits: {data[0].shape[1]} training and {_TEST} held-out images; net {'-'.join(map(str, _SIZES))}, "
        f"{_EPOCHS} epochs, batch {_BATCH}, SGD lr {_LR}"
    )
    yield ""
    names = ["numpy"] if facts["backend"] == "numpy" else [facts["backend"], "numpy"]
    seconds, accuracy = {name: [] for name in names}, {}
    for _ in range(_REPEATS):  # in turn, so that a busy moment of the machine hits both
        for name in names:
            spent, accuracy[name] = _fit(name, *data)
            seconds[name].append(spent)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    yield f"{'backend':<10}{'isa':<10}{'accuracy':>8}{'seconds':>10}{'speed':>9}"
    for name in names:
        speed = f"{median['numpy'] / median[name]:.1f}x"
        isa = backend.get(name).ISA
        yield f"{name:<10}{isa:<10}{accuracy[name]:>8.1%}{median[name]:>10.4f}{speed:>9}"
    yield ""
    yield f"accuracy: on the held-out images; seconds: of one fit, median of {_REPEATS}; speed: relative to NumPy"
    if names == ["numpy"]:
        yield f"The default backend here is NumPy ({facts['reason']}): there is no other to compare it with."


def _fit(name, X_train, y_train, X_test, y_test):
    """Seconds of one fit, and its accuracy on the held-out images."""
    net = Network(_SIZES, seed=_SEED, backend=name)  # relu, then softmax with cross-entropy
    start = time.perf_counter()
    net.fit(X_train, y_train, epochs=_EPOCHS, batch_size=_BATCH, optimizer=SGD(lr=_LR), progress=False)
    return time.perf_counter() - start, net.evaluate(X_test, y_test)["accuracy"]
