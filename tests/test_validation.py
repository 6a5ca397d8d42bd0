"""fit: validation data, metrics, early stopping, class weights, the time limit; both backends, against single calls."""

import copy
import pickle
import time
from contextlib import nullcontext

import numpy as np
import pytest

from case_helpers import bits, state_of
from conftest import BACKENDS
from fastnn import SGD, Adam, DataWarning, EarlyStopping, Network

VARIANTS = BACKENDS  # what is tested here is around the kernels

RNG = np.random.default_rng(1)
X, Y = RNG.standard_normal((5, 90)), RNG.integers(0, 3, 90)
X_VAL, Y_VAL = RNG.standard_normal((5, 40)), RNG.integers(0, 3, 40)
QUIET = {"progress": False, "batch_size": 16}


def net_of(backend, **more):
    return Network([5, 8, 3], seed=4, backend=backend, dtype="float64", **more)


def refused(call, error, *words):
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_numbers_are_those_of_single_calls(backend):
    w = RNG.uniform(size=40)
    net, twin = net_of(backend), net_of(backend)
    history = net.fit(X, Y, 4, validation_data=(X_VAL, Y_VAL, w), metrics=["accuracy", "f1"], **QUIET)
    for epoch in range(4):
        loss = twin.fit(X, Y, 1, **QUIET).loss[0]
        wanted = twin.evaluate(X_VAL, Y_VAL, w, metrics=["accuracy", "f1"])
        assert (history.loss[epoch], history.val_loss[epoch]) == (loss, wanted["loss"])
        assert history.metrics["val_accuracy"][epoch] == wanted["accuracy"]
        assert history.metrics["val_f1"][epoch] == wanted["f1"]
    assert bits(net) == bits(twin)
    assert history.best_epoch is None


def test_metrics_of_the_training_data(backend):
    net, twin, seen = net_of(backend), net_of(backend), []

    def mine(y, A):
        seen.append(y is codes)
        return A[0].mean()

    codes = list(Y)
    history = net.fit(X, codes, 2, metrics=["auc", mine], **QUIET)
    twin.fit(X, Y, 2, **QUIET)
    assert history.metrics["auc"][-1] == twin.evaluate(X, Y, metrics=["auc"])["auc"]
    assert history.metrics["mine"][-1] == twin.predict(X)[0].mean()
    assert seen == [True, True]
    assert history.val_loss == []
    table = history.to_pandas()
    assert list(table) == ["loss", "lr", "auc", "mine"]
    assert table.index.name == "epoch"


def test_two_metrics_of_one_name(backend):
    with pytest.raises(ValueError, match=r"^metrics\[1\] has the name 'auc', which is taken; leave one out$"):
        net_of(backend).evaluate(X, Y, metrics=["auc", "auc"])


@pytest.mark.parametrize("optimizer", [SGD(lr=2.0), Adam(lr=0.2)], ids=str)
@pytest.mark.parametrize("restore_best", [True, False])
def test_early_stopping(backend, optimizer, restore_best):
    settings = EarlyStopping(patience=3, restore_best=restore_best)
    net, twin = net_of(backend), net_of(backend)
    history = net.fit(X, Y, 200, optimizer=optimizer, validation_data=(X_VAL, Y_VAL), early_stopping=settings, **QUIET)
    assert history.stopped == "early_stopping"
    best = history.best_epoch
    assert history.val_loss[best] == min(history.val_loss)
    assert len(history.loss) == best + 4 == net.epochs_done
    twin.fit(X, Y, best + 1 if restore_best else best + 4, optimizer=optimizer, **QUIET)
    assert bits(net) == bits(twin)
    assert state_of(net)[2:] == state_of(twin)[2:]  # the optimizer's steps and moments
    again = net.fit(X, Y, 200, optimizer=optimizer, validation_data=(X_VAL, Y_VAL), early_stopping=settings, **QUIET)
    assert again.val_loss[again.best_epoch] == min(again.val_loss)  # best and patience begin afresh
    assert len(again.loss) == again.best_epoch + 4
    twin = net_of(backend)
    short = twin.fit(X, Y, 200, optimizer=optimizer, validation_data=(X_VAL, Y_VAL), early_stopping=3, **QUIET)
    assert short.val_loss == history.val_loss


def numbers(*values):
    """A metric that gives these values, one after another."""
    left = list(values)

    def number(y, A):
        return left.pop(0)

    return number


@pytest.mark.parametrize(
    ("values", "greater", "settings", "best", "epochs"),
    [
        ([3, 2, 1, 2, 2, 0], False, {"patience": 2}, 2, 5),
        ([1, 2, 3, 2, 2, 9], True, {"patience": 2}, 2, 5),
        ([3, 2.9, 2.8, 2.7, 2.6, 0], False, {"patience": 2, "min_delta": 0.5}, 0, 3),
        ([0, 5, 4, 4, 4, 4], False, {"patience": 2, "start_epoch": 1}, 2, 5),
        ([np.nan, np.nan, 1, 2, 2, 2], False, {"patience": 3}, 2, 6),
        ([np.nan, np.nan, np.nan, 1], False, {"patience": 3}, None, 3),
        ([1, 1, 1, 1, 1, 1], False, {"patience": 5}, 0, 6),
    ],
)
def test_what_counts_as_an_improvement(either_backend, values, greater, settings, best, epochs):
    metric, net, states = numbers(*values), net_of(either_backend), []
    metric.greater_is_better = greater
    stopping = EarlyStopping("number", **settings)
    keep = lambda epoch, history: states.append(bits(net))  # noqa: E731
    told = pytest.warns(DataWarning, match="number is nan after epoch 1, ") if np.isnan(values[0]) else nullcontext()
    with told as warned:
        history = net.fit(X, Y, len(values), metrics=[metric], early_stopping=stopping, callbacks=keep, **QUIET)
    assert warned is None or len(warned) == 1
    assert (history.best_epoch, len(history.loss)) == (best, epochs)
    assert history.stopped == "early_stopping"
    assert bits(net) == states[epochs - 1 if best is None else best]


def test_the_best_comes_back_after_a_divergence_and_an_error_but_not_after_ctrl_c(either_backend):
    def stop(error, at):
        def callback(epoch, history):
            states.append(bits(net))
            if epoch == at:
                raise error

        return callback

    for error in (KeyError("mine"), KeyboardInterrupt()):
        net, states = net_of(either_backend), []
        with pytest.raises(type(error)) as caught:
            net.fit(
                X,
                Y,
                9,
                metrics=[numbers(2, 1, 3, 4, 5)],
                early_stopping=EarlyStopping("number"),
                callbacks=stop(error, 4),
                **QUIET,
            )
        assert bits(net) == states[4 if isinstance(error, KeyboardInterrupt) else 1]
        assert caught.value.history.best_epoch == 1
    net, states = Network([5, 3], ["identity"], "mse", seed=0, backend=either_backend), []
    with pytest.raises(FloatingPointError) as caught:
        net.fit(
            100 * X,
            RNG.standard_normal((3, 90)),
            500,
            optimizer=SGD(lr=1e-3),
            metrics=[numbers(1, 0, *range(2, 500))],
            early_stopping=EarlyStopping("number", patience=500),
            callbacks=lambda e, h: states.append(bits(net)),
            **QUIET,
        )
    assert len(states) > 2
    assert bits(net) == states[1]
    assert net.epochs_done == len(caught.value.history.loss)


def test_the_best_comes_back_from_within_the_epoch_after_it(either_backend):
    net, states = Network([5, 3], ["identity"], "mse", seed=0, backend=either_backend), []
    better = numbers(*range(0, -500, -1))
    with pytest.raises(FloatingPointError, match=r"the weights of epoch \d+, the best one, come back") as caught:
        net.fit(
            100 * X,
            RNG.standard_normal((3, 90)),
            500,
            optimizer=SGD(lr=1e-3),
            metrics=[better],
            early_stopping=EarlyStopping("number"),
            callbacks=lambda e, h: states.append(bits(net)),
            **QUIET,
        )
    assert caught.value.history.best_epoch == len(states) - 1
    assert bits(net) == states[-1]
    large, states = Network([300, 400, 3], seed=0, backend=either_backend), []
    rows, codes = np.zeros((300, 4000), "f4"), np.arange(4000) % 3
    start = time.perf_counter()
    large.fit(rows, codes, 1, 10, progress=False)
    epoch = time.perf_counter() - start
    history = large.fit(
        rows,
        codes,
        500,
        10,
        max_seconds=1.5 * epoch,
        metrics=[numbers(*range(0, -500, -1))],
        early_stopping=EarlyStopping("number"),
        callbacks=lambda e, h: states.append(bits(large)),
        progress=False,
    )
    assert history.stopped == "max_seconds"
    assert not states or bits(large) == states[-1]


def test_a_callback_ends_training_first(either_backend):
    net = net_of(either_backend)
    stopping = EarlyStopping("number", patience=1)
    history = net.fit(
        X, Y, 9, metrics=[numbers(1, 2, 3)], early_stopping=stopping, callbacks=lambda e, h: e == 1, **QUIET
    )
    assert history.stopped == "callback"
    assert len(history.loss) == 2


def test_class_weights_are_sample_weights(backend):
    w = RNG.uniform(size=90)
    by_class = {0: 0.3, 2: 4}
    of_samples = np.array([0.3, 1, 4])[Y]
    counts = np.bincount(Y)
    for given, wanted in (
        ({"class_weight": by_class}, of_samples),
        ({"class_weight": by_class, "sample_weight": w}, w * of_samples),
        ({"class_weight": "balanced"}, (90 / (3 * counts))[Y]),
    ):
        for y in (Y, np.eye(3)[:, Y]):
            net, twin = net_of(backend), net_of(backend)
            history = net.fit(X, y, 2, **given, **QUIET)
            assert history.loss == twin.fit(X, y, 2, sample_weight=wanted, **QUIET).loss
            assert bits(net) == bits(twin)
    one = Network([5, 1], seed=0, backend=backend)
    twin = Network([5, 1], seed=0, backend=backend)
    labels = Y % 2
    one.fit(X, labels, class_weight={1: 5}, **QUIET)
    twin.fit(X, labels, sample_weight=np.where(labels, 5.0, 1.0), **QUIET)
    assert bits(one) == bits(twin)


def test_balanced_is_scikit_learns():
    sk = pytest.importorskip("sklearn.utils.class_weight")
    from fastnn import class_weights

    y = np.array([0, 0, 0, 2, 2, 2, 2, 3], np.int32)
    got = class_weights.applied("balanced", y, 5, "cross_entropy", None)
    wanted = sk.compute_sample_weight("balanced", y)
    np.testing.assert_allclose(got / got[0], wanted / wanted[0], rtol=1e-15)


@pytest.mark.parametrize("looks", [False, True])
def test_max_seconds(either_backend, looks):
    net = net_of(either_backend)
    start = time.perf_counter()
    more = {"metrics": ["accuracy"]} if looks else {}
    history = net.fit(X, Y, 10**9, max_seconds=0.2, **more, **QUIET)
    assert history.stopped == "max_seconds"
    assert 0.2 <= time.perf_counter() - start < 100  # a busy machine takes its time
    assert net.epochs_done == len(history.loss) > 0
    history = net.fit(X, Y, 3, max_seconds=1e9, **QUIET)
    assert (history.stopped, len(history.loss)) == (None, 3)
    large = Network([500, 400, 3], seed=0, backend=either_backend)
    rows = np.zeros((500, 20_000), "f4")
    history = large.fit(rows, np.arange(20_000) % 3, 5, 10, max_seconds=1e-3, progress=False)  # within an epoch
    assert (history.stopped, history.loss, large.epochs_done) == ("max_seconds", [], 0)


def test_refusals(either_backend):
    net = net_of(either_backend)
    before, val = state_of(net), (X_VAL, Y_VAL)
    for given, error, words in (
        ({"validation_data": X_VAL}, TypeError, ["validation_data must be (X, y)"]),
        ({"validation_data": (X_VAL.T, Y_VAL)}, ValueError, ["validation_data[0]", "(40, 5)", "(5, m)"]),
        ({"validation_data": (X_VAL, Y_VAL[:3])}, ValueError, ["validation_data[1]", "(3,)"]),
        ({"validation_data": (X_VAL, Y_VAL, [1.0])}, ValueError, ["validation_data[2]", "(1,)", "(40,)"]),
        ({"validation_data": (X_VAL[:, :0], Y_VAL[:0])}, ValueError, ["validation_data[0]", "0 samples"]),
        ({"early_stopping": 3}, ValueError, ["no 'val_loss' is measured", "no validation data"]),
        ({"early_stopping": 0, "validation_data": val}, ValueError, ["early_stopping", "at least 1"]),
        ({"early_stopping": True, "validation_data": val}, TypeError, ["early_stopping"]),
        ({"early_stopping": EarlyStopping}, TypeError, ["early_stopping must be an EarlyStopping"]),
        ({"early_stopping": EarlyStopping("acc"), "metrics": ["accuracy"]}, ValueError, ["'acc'", "'accuracy'"]),
        ({"early_stopping": EarlyStopping("accuracy"), "validation_data": val}, ValueError, ["'accuracy'"]),
        ({"metrics": ["acuracy"]}, ValueError, ["metrics[0]", "did you mean 'accuracy'"]),
        ({"class_weight": {3: 1.0}}, ValueError, ["class_weight", "no class 3", "0..2"]),
        ({"class_weight": {"a": 1.0}}, TypeError, ["ints 0..2", "'a'"]),
        ({"class_weight": {1.0: 1.0}}, TypeError, ["ints 0..2", "1.0"]),
        ({"class_weight": {0: -1.0}}, ValueError, ["class_weight[0]", "-1.0"]),
        ({"class_weight": "balance"}, TypeError, ["class_weight must be a dict"]),
        ({"class_weight": {0: 0, 1: 0, 2: 0}}, ValueError, ["0 for every sample"]),
        ({"max_seconds": -1}, ValueError, ["max_seconds"]),
        ({"max_seconds": "1 min"}, TypeError, ["max_seconds"]),
    ):
        refused(lambda g=given: net.fit(X, Y, 2, **g, **QUIET), error, *words)
    assert state_of(net) == before
    values = Network([5, 3], ["identity"], seed=0, backend=either_backend)
    refused(lambda: values.fit(X, X[:3], class_weight={0: 1}), ValueError, "for classes", "sample_weight")
    refused(lambda: net.fit(X, np.full((3, 90), 1 / 3), class_weight={0: 1}), ValueError, "soft labels", "column 0")
    for call, words in (
        (lambda: EarlyStopping(patience=0), ["patience"]),
        (lambda: EarlyStopping(min_delta=-1), ["min_delta"]),
        (lambda: EarlyStopping(start_epoch=-1), ["start_epoch"]),
        (lambda: EarlyStopping(monitor=None), ["monitor"]),
        (lambda: EarlyStopping(restore_best=1), ["restore_best"]),
    ):
        refused(call, (ValueError, TypeError), *words)
    refused(lambda: EarlyStopping(restore_best_weights=True), TypeError, "restore_best")
    stopping = EarlyStopping(patience=3)
    refused(lambda: setattr(stopping, "patience", 0), AttributeError, "make another one", "patience=0")
    assert repr(pickle.loads(pickle.dumps(copy.deepcopy(stopping)))) == repr(stopping)
    assert repr(EarlyStopping()).startswith("EarlyStopping(monitor='val_loss', patience=10")
