"""fit(batches): the same numbers as fit on all of the data in its given order, whatever the batches come from."""

import functools
import itertools
import re
import signal
import sys
import threading
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastnn
from case_helpers import assert_finite, bits, state_of, weights_unchanged
from conftest import BACKENDS, alone, drawn
from fastnn import SGD, Adam, AdamW, DataWarning, EarlyStopping, Network, RMSprop, schedules

VARIANTS = BACKENDS  # the steps are those of fit

RNG = np.random.default_rng(20261130)
M, SIZE = 46, 10  # the last batch is short
X = RNG.standard_normal((6, M)).astype("f4")
CODES = RNG.integers(0, 3, M)
WEIGHTS = RNG.uniform(0, 3, M) * 10.0 ** RNG.integers(-5, 6, M)


def cut(*arrays, size=SIZE):
    """Batches of the columns of X, y and perhaps weights; the last may be short."""
    m = arrays[0].shape[1]
    return [tuple(a[..., i : i + size] for a in arrays) for i in range(0, m, size)]


def pair(backend, sizes=(6, 5, 3), activations=None, **settings):
    return [Network(sizes, activations, seed=3, backend=backend, **settings) for _ in range(2)]


def assert_same(backend, data, epochs=3, size=SIZE, optimizer=SGD, net=(), sample_weight=None, **arguments):
    """fit(batches) and fit on all of `data` give the same bits and the same history."""
    joined, apart = pair(backend, **dict(net))
    each = data if sample_weight is None else (*data, sample_weight)
    how = {"batch_size": size, "shuffle": False, "sample_weight": sample_weight, **arguments}
    want = joined.fit(*data, epochs, optimizer=optimizer(), progress=False, **how)
    got = apart.fit(cut(*each, size=size), epochs=epochs, optimizer=optimizer(), progress=False, **arguments)
    assert state_of(apart) == state_of(joined)
    assert apart._engine.updates() == joined._engine.updates()
    for name in ("loss", "val_loss", "lr", "metrics", "best_epoch", "stopped"):
        assert getattr(got, name) == getattr(want, name), name
    return got, want


# --- the same numbers ---------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "SGD": functools.partial(SGD, lr=0.1),
    "momentum": functools.partial(SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": functools.partial(Adam, lr=0.01),
    "AdamW, clipped": functools.partial(AdamW, lr=0.01, clip_norm=0.1, clip_value=0.5, l1=0.01, average=0.9),
    "RMSprop": functools.partial(RMSprop, lr=0.01, momentum=0.5),
    "schedule of steps": lambda: SGD(lr=schedules.Cosine(0.1, 20, per="step")),
    "plateau": lambda: SGD(lr=schedules.Plateau(0.5, 0.5, 0, monitor="loss")),
}
NETS = {
    "plain": {},
    "float64": {"dtype": "float64"},
    "dropout": {"dropout": 0.3},
    "batch norm": {"norm": "batch"},
    "layer norm": {"norm": "layer", "dropout": 0.1},
    "forced threads": {"threads": 2},
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_makes_the_same_steps(backend, optimizer):
    assert_same(backend, (X, CODES), optimizer=OPTIMIZERS[optimizer])


@pytest.mark.parametrize("net", NETS)
def test_every_network_makes_the_same_steps(backend, net):
    assert_same(backend, (X, CODES), net=NETS[net], optimizer=Adam)


@pytest.mark.parametrize("x_dtype", ["f8", "f2", "u1", ">f4", "i8"])
def test_other_dtypes_are_cast_as_before(backend, x_dtype):
    assert_same(backend, ((3 * X).astype("i1").astype(x_dtype), CODES))


@pytest.mark.parametrize("lr", ["function", "schedule of epochs"])
def test_the_time_within_an_epoch_is_the_share_of_batches(backend, lr):
    # the share of samples and that of batches are the same only if all batches are equal
    lr = {"function": lambda t: 0.1 / (1 + t), "schedule of epochs": schedules.Exponential(0.1, 0.5)}[lr]
    assert_same(backend, (X[:, :40], CODES[:40]), optimizer=lambda: SGD(lr=lr))


def test_without_a_length_the_time_is_that_of_the_epoch(backend):
    class Unsized:
        def __iter__(self):
            return iter(cut(X, CODES))

    seen, (net, twin) = [], pair(backend)
    history = net.fit(Unsized(), epochs=2, optimizer=SGD(lr=lambda t: seen.append(t) or 0.1 / (1 + t)))
    assert seen == [0] * 5 + [1] * 5
    assert history.lr == [0.1, 0.05]
    twin.fit(Unsized(), epochs=2, optimizer=SGD(lr=schedules.InverseScaling(0.1, 1.0)))
    assert bits(net) == bits(twin)


def test_a_length_that_is_too_small_gives_no_later_time(backend):
    class Short(list):
        def __len__(self):
            return 2

    seen, (net, _) = [], pair(backend)
    net.fit(Short(cut(X, CODES)), optimizer=SGD(lr=lambda t: seen.append(t) or 0.1))
    assert seen == [0, 0.5, 2 / 3, 3 / 4, 4 / 5]


@pytest.mark.parametrize("scale", [1.0, 2.0**-900, 2.0**900])
def test_weights_of_samples_count_over_the_whole_epoch(backend, scale):
    assert_same(backend, (X, CODES), sample_weight=WEIGHTS * scale)


def test_a_batch_whose_weights_are_all_0_is_skipped(backend):
    for part in (slice(0, 10), slice(10, 20), slice(40, 46)):
        w = WEIGHTS.copy()
        w[part] = 0
        assert_same(backend, (X, CODES), sample_weight=w, optimizer=Adam)


def test_weights_of_classes(backend):
    for w in (None, WEIGHTS):
        assert_same(backend, (X, CODES), sample_weight=w, class_weight={0: 3.0, 2: 0.7})
    labels = (CODES > 0).astype("f4")
    assert_same(backend, (X, labels), net={"sizes": [6, 4, 1]}, class_weight={1: 0.0})


def test_some_batches_may_have_weights(backend):
    w = np.where(np.arange(M) < 20, WEIGHTS, 1.0)
    joined, apart = pair(backend)
    want = joined.fit(X, CODES, 2, SIZE, shuffle=False, sample_weight=w)
    batches = [b if i < 2 else b[:2] if i < 4 else (*b[:2], None) for i, b in enumerate(cut(X, CODES, w))]
    got = apart.fit(batches, epochs=2)
    assert bits(apart) == bits(joined)
    assert got.loss == want.loss


def test_what_is_measured_after_each_epoch(backend):
    validation = X[:, :9], CODES[:9]
    got, want = assert_same(
        backend,
        (X, CODES),
        epochs=8,
        optimizer=lambda: SGD(lr=2.0),
        validation_data=validation,
        metrics=["accuracy", "f1"],
        early_stopping=EarlyStopping(patience=2),
        callbacks=lambda epoch, history: epoch == 6,
        diagnostics=True,
    )
    assert got.best_epoch is not None
    assert len(got.metrics["val_f1"]) == len(got.loss)
    assert got.diagnostics.keys() == want.diagnostics.keys()
    for name, numbers in want.diagnostics.items():
        np.testing.assert_array_equal(got.diagnostics[name], numbers, name)


def test_fits_of_both_kinds_go_on_from_each_other(backend):
    joined, apart = pair(backend)
    adam, other = Adam(), Adam()
    joined.fit(X, CODES, 4, SIZE, adam, shuffle=False)
    apart.fit(cut(X, CODES), epochs=2, optimizer=other)
    apart.fit(X, CODES, 1, SIZE, other, shuffle=False)
    apart.fit(iter(cut(X, CODES)), epochs=1, optimizer=other)
    assert state_of(apart) == state_of(joined)
    assert apart.epochs_done == 4


@drawn(15, 300)
@given(
    m=st.integers(1, 40),
    size=st.integers(1, 41),
    hidden=st.lists(st.integers(1, 20), max_size=2),
    loss=st.sampled_from(["cross_entropy", "mse", "binary_cross_entropy"]),
    weighted=st.booleans(),
    x_dtype=st.sampled_from(["f4", "f8", "u1"]),
    lr=st.floats(-3, 1).map(lambda x: 10**x),
    seed=st.integers(0, 99),
)
def test_any_batches_give_the_bits_of_all_of_the_data(backend, m, size, hidden, loss, weighted, x_dtype, lr, seed):
    rng, size = np.random.default_rng(seed), min(size, m)
    data = rng.uniform(0, 3, (4, m)).astype(x_dtype), rng.integers(0, 2, m)
    if loss != "cross_entropy":
        data = data[0], rng.integers(0, 2, (2, m)).astype(x_dtype)
    w = rng.integers(0, 3, m) + (np.arange(m) == 0) if weighted else None
    try:
        assert_same(
            backend,
            data,
            3,
            size,
            lambda: SGD(lr=lr, momentum=0.5),
            {"sizes": [4, *hidden, 2], "loss": loss},
            sample_weight=w,
        )
    except FloatingPointError:
        assert lr > 1e-2


# --- where batches come from --------------------------------------------------------------------------------------


class Tensor:
    """As a torch tensor of the CPU: NumPy sees its memory."""

    def __init__(self, array, **attributes):
        self.array = array
        self.__dict__.update(attributes)

    def __array__(self, dtype=None, copy=None):
        if getattr(self, "requires_grad", False):
            raise RuntimeError("Can't call numpy() on Tensor that requires grad")
        return self.array


def loader(batches, length=None):
    """As a torch DataLoader: known by its class, which is in a module of torch's."""

    class DataLoader:
        def __iter__(self):
            return iter(batches)

        def __len__(self):
            if length is None:
                raise TypeError("object of type 'IterableDataset' has no len()")
            return length

    DataLoader.__module__ = "torch.utils.data.dataloader"
    return type("OurLoader", (DataLoader,), {"__module__": __name__})()


def in_rows(*arrays):
    return [[Tensor(np.ascontiguousarray(a.T)) for a in batch] for batch in cut(*arrays)]


def test_a_loader_of_torch_has_rows(backend):
    onehot = np.eye(3, dtype="f4")[:, CODES]
    for data in ((X, CODES), (X, onehot), (X, CODES, WEIGHTS), (X, onehot, WEIGHTS)):
        net, twin = pair(backend)
        history = net.fit(loader(in_rows(*data), 5), epochs=2, optimizer=SGD(lr=lambda t: 0.1 / (1 + t)))
        want = twin.fit(cut(*data), epochs=2, optimizer=SGD(lr=lambda t: 0.1 / (1 + t)))
        assert bits(net) == bits(twin)
        assert history.loss == want.loss
    net.fit(loader(in_rows(X, CODES)), epochs=2)  # its data set has no length
    values = X[:1].T
    net = Network([6, 1], ["identity"], seed=0, backend=backend)
    net.fit(loader([(X.T, values)]))
    assert "torch" not in sys.modules


def test_a_loader_within_a_progress_bar_has_rows(backend):
    """Square batches, in which rows and columns are told apart by nothing else."""
    tqdm = pytest.importorskip("tqdm")
    batches = cut(X, CODES, size=6)[:7]
    given = loader([(np.ascontiguousarray(a.T), y) for a, y in batches], 7)

    class Bar(tqdm.tqdm):
        pass

    for wrapped in (tqdm.tqdm(given, disable=True), Bar(given, disable=True), tqdm.tqdm(Bar(given, disable=True))):
        net, twin = pair(backend)
        net.fit(wrapped, epochs=2)
        twin.fit(batches, epochs=2)
        assert bits(net) == bits(twin)
    net, twin = pair(backend)
    net.fit(tqdm.tqdm(batches, disable=True), epochs=2)  # a list's are columns
    twin.fit(batches, epochs=2)
    assert bits(net) == bits(twin)
    refused(net, tqdm.tqdm(b for b in batches), ValueError, "can be walked once", "epochs is 2", epochs=2)
    refused(net, tqdm.tqdm(total=7, disable=True), TypeError, "must be an iterable")


def test_the_iterator_of_a_loader_is_refused(backend):
    class _BaseDataLoaderIter:
        def __iter__(self):
            return self

        def __next__(self):
            return X.T, CODES

    _BaseDataLoaderIter.__module__ = "torch.utils.data.dataloader"
    tqdm = pytest.importorskip("tqdm")
    one = type("_SingleProcessDataLoaderIter", (_BaseDataLoaderIter,), {"__module__": __name__})
    net, _ = pair(backend)
    for walk in (one(), tqdm.tqdm(one(), disable=True)):
        with weights_unchanged(net):
            refused(net, walk, ValueError, "iterator of a DataLoader", "net.fit(loader)")


def test_a_loader_s_errors_speak_of_rows(backend):
    net, _ = pair(backend)
    with weights_unchanged(net):
        with pytest.raises(ValueError, match=r"batch 0 of epoch 0: X has shape \(6, 46\), wanted \(m, 6\).*rows"):
            net.fit(loader([(X, CODES)]))
        with pytest.raises(ValueError, match=r"X has shape \(4, 1, 2, 3\), wanted \(m, 6\).*collate_fn"):
            net.fit(loader([(np.zeros((4, 1, 2, 3)), CODES[:4])]))
        with pytest.raises(TypeError, match=r"batch 0 of epoch 0: X.*write X.detach\(\)"):
            net.fit(loader([(Tensor(X.T, requires_grad=True), CODES)]))


def test_only_torch_s_loader_has_rows(backend):
    class DataLoader(list):
        pass

    net, twin = pair(backend)
    net.fit(DataLoader(cut(X, CODES)))
    twin.fit(cut(X, CODES))
    assert bits(net) == bits(twin)


def test_batches_are_read_where_they_are_and_not_kept(backend):
    one = np.asfortranarray(X[:, :10])
    shown = []

    def reused():  # one buffer, which is filled anew for each batch
        buffer, codes = np.empty_like(one), np.empty(10, int)
        for i in range(0, 40, 10):
            buffer[:], codes[:] = X[:, i : i + 10], CODES[i : i + 10]
            yield buffer, codes
            shown.append(sys.getrefcount(buffer))

    net, twin = pair(backend)
    net.fit(reused(), optimizer=SGD(lr=0.1))
    twin.fit(X[:, :40], CODES[:40], 1, 10, SGD(lr=0.1), shuffle=False)
    assert bits(net) == bits(twin)
    assert len(set(shown)) == 1
    assert max(shown) <= 3  # the generator's own, the argument's, and the tuple that it has yielded


@pytest.mark.parametrize(
    "kind", ["list", "tuple", "generator", "map", "sequence", "any index", "in a bar", "iterable", "begins anew"]
)
def test_any_iterable_is_walked_once_an_epoch(backend, kind):
    walks = []

    class Walked:
        def __iter__(self):
            walks.append(1)
            return iter(cut(X, CODES))

    class Anew:
        def __iter__(self):
            walks.append(1)
            self.rest = iter(cut(X, CODES))
            return self

        def __next__(self):
            return next(self.rest)

    class Indexed:
        def __getitem__(self, i):
            return cut(X, CODES)[i]

    class Sliced(Indexed):  # no index is too large for it
        def __len__(self):
            return len(cut(X, CODES))

        def __getitem__(self, i):
            some = slice(i * SIZE, (i + 1) * SIZE)
            return X[:, some], CODES[some]

    bar = pytest.importorskip("tqdm") if kind == "in a bar" else None
    batches, epochs = {
        "list": (cut(X, CODES), 3),
        "tuple": (tuple(cut(X, CODES)), 3),
        "generator": ((b for b in cut(X, CODES)), 1),
        "map": (map(tuple, cut(X, CODES)), 1),
        "sequence": (Indexed(), 3),
        "any index": (Sliced(), 3),
        "in a bar": (bar.tqdm(Sliced(), disable=True) if bar else cut(X, CODES), 3),
        "iterable": (Walked(), 3),
        "begins anew": (Anew(), 3),
    }[kind]
    net, twin = pair(backend)
    net.fit(batches, epochs=epochs)
    twin.fit(X, CODES, epochs, SIZE, shuffle=False)
    assert bits(net) == bits(twin)
    assert len(walks) in (0, 3)


def test_an_endless_iterable_is_ended_by_time(backend):
    net, _ = pair(backend)
    rest = itertools.cycle(cut(X, CODES))
    history = net.fit(rest, max_seconds=0.05)
    assert (history.stopped, history.loss, net.epochs_done) == ("max_seconds", [], 0)
    assert next(rest)[0].shape[0] == 6


# --- what is refused ----------------------------------------------------------------------------------------------


def refused(net, batches, error, *words, **arguments):
    with pytest.raises(error) as caught:
        net.fit(batches, **arguments)
    for word in words:
        assert word in str(caught.value)
    return caught.value


def test_arguments_that_need_all_data_are_refused(backend):
    net, _ = pair(backend)
    before = state_of(net)
    for name, value in {
        "batch_size": 10,
        "shuffle": False,
        "sample_weight": np.ones(M),
        "validation_split": 0.2,
        "samples": [0, 1],
        "class_weight": "balanced",
        "metrics": ["accuracy"],
    }.items():
        refused(net, cut(X, CODES), ValueError, name, **{name: value})
    for name, value in {
        "batch_size": None,
        "validation_split": "0.2",
        "metrics": "accuracy",
        "class_weight": {7: 1.0},
        "shuffle": 1,
        "epochs": 1.5,
        "callbacks": 3,
        "progress": "no",
        "diagnostics": 1,
        "max_seconds": -1,
        "early_stopping": 3,  # of val_loss, which there is none of
        "optimizer": "adam",
    }.items():
        with pytest.raises((ValueError, TypeError), match=name):
            net.fit(cut(X, CODES), **{name: value})
    for value, told in ((None, "leave it out"), ("accuracy", r"write metrics=\['accuracy'\]")):  # as without batches
        with pytest.raises(TypeError, match=told):
            net.fit(cut(X, CODES), metrics=value)
    net.fit(cut(X, CODES), epochs=0, batch_size=32, shuffle=True, validation_split=0.0, metrics=[], samples=None)
    assert state_of(net) == before


def test_what_is_no_iterable_of_batches(backend):
    net, _ = pair(backend)

    def batches():
        yield X, CODES

    with weights_unchanged(net):
        for array in (X, X.tolist(), Tensor(X), fastnn.DataWarning, "data.csv", {"a": X}, None, 5):
            refused(net, array, TypeError, "(X, y)")
        refused(net, X, TypeError, "y is missing")
        refused(net, batches, TypeError, "batches()")
        for batch in (X, (X,), (X, CODES, WEIGHTS, 1), {"X": X, "y": CODES}, None, "ab", (1.0, 2.0)):
            refused(net, [batch], TypeError, "batch 0 of epoch 0 must be (X, y) or (X, y, sample_weight)")
        for one_batch in ((X, CODES), [X, CODES], (X, CODES, WEIGHTS)):
            caught = refused(net, one_batch, TypeError, "write net.fit(X, y)")
            assert "\n" not in str(caught)
        assert "net.fit(X, y)" not in str(refused(net, [X, X, X, X], TypeError, "must be (X, y)"))


WRONG = {
    "rows": ((X.T, CODES), ValueError, "did you mean X.T"),
    "other samples": ((X, CODES[:5]), ValueError, "y has 5"),
    "codes": ((X, CODES + 1), ValueError, "y - 1"),
    "no sample": ((X[:, :0], CODES[:0]), ValueError, "X has 0 samples"),
    "strings": ((X, CODES.astype(str)), TypeError, "y holds strings"),
    "None": ((X, None), TypeError, "y must be an array"),
    "weights": ((X, CODES, WEIGHTS[:3]), ValueError, "sample_weight has shape (3,)"),
    "negative weights": ((X, CODES, -WEIGHTS), ValueError, "sample_weight holds"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_batch_is_named(backend, what):
    batch, error, word = WRONG[what]
    net, twin = pair(backend)
    with weights_unchanged(net):
        refused(net, [batch], error, "batch 0 of epoch 0: ", word)
    good = cut(X, CODES)
    caught = refused(net, [*good[:2], batch], error, "batch 2 of epoch 0: ", word)
    assert caught.history.loss == []
    twin.fit(X[:, :20], CODES[:20], 1, SIZE, shuffle=False)
    assert bits(net) == bits(twin)  # the steps before are kept
    assert net.epochs_done == 0


def test_a_walk_without_batches_is_an_error(backend):
    net, twin = pair(backend)
    spent = (b for b in cut(X, CODES))
    list(spent)
    with weights_unchanged(net):
        for batches in ([], spent, iter(())):
            refused(net, batches, ValueError, "has none in epoch 0", "iterator")
        # These are known to be spent after the first epoch.
        for batches in ((b for b in cut(X, CODES)), iter(cut(X, CODES)), zip(*[[X], [CODES]], strict=True)):
            refused(net, batches, ValueError, "can be walked once", "epochs is 2", epochs=2)

    class Spent:
        def __init__(self):
            self.rest = iter(cut(X, CODES))

        def __iter__(self):
            return self

        def __next__(self):
            return next(self.rest)

    caught = refused(net, Spent(), ValueError, "has none in epoch 1", "__iter__ begins anew", epochs=3)
    twin.fit(X, CODES, 1, SIZE, shuffle=False)
    assert bits(net) == bits(twin)
    assert len(caught.history.loss) == len(caught.history.lr) == net.epochs_done == 1


def test_weights_that_are_all_0_are_an_error(backend):
    net, _ = pair(backend)
    with weights_unchanged(net):
        refused(net, cut(X, CODES, 0 * WEIGHTS), ValueError, "epoch 0", "0")
        refused(net, cut(X, CODES), ValueError, "epoch 0", "0", class_weight={0: 0, 1: 0, 2: 0})


def test_warnings_are_those_of_fit(backend):
    net, _ = pair(backend)
    with pytest.warns(DataWarning, match="X holds values of up to 255.*net.adapt.*as one array"):
        net.fit(cut(np.where(X > 0, 255, 0), CODES), optimizer=SGD(lr=1e-6))
    labels = Network([6, 3], ["sigmoid"], seed=0, backend=backend)
    with pytest.warns(DataWarning, match="one class a sample") as caught:
        labels.fit(cut(X, CODES), epochs=2)
    assert len(caught) == 1
    net = Network([6, 1], ["identity"], seed=0, backend=backend)
    with pytest.warns(DataWarning, match="the loss rose"):
        net.fit(cut(X, X[0]), optimizer=SGD(lr=2.0))


# --- how it ends --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [1, 3])
def test_an_error_of_the_iterable_keeps_the_weights(backend, epochs):
    class BrokenError(Exception):
        pass

    def broken(failing):
        class Batches:
            walks = 0

            def __iter__(self):
                self.walks += 1
                for i, batch in enumerate(cut(X, CODES)):
                    if (self.walks, i) == (epochs, failing):
                        raise BrokenError
                    yield batch

        return Batches()

    for failing in (0, 2, 4):
        net, twin = pair(backend)
        with pytest.raises(BrokenError) as caught:
            net.fit(broken(failing), epochs=9, optimizer=Adam())
        adam = Adam()
        if epochs > 1:
            twin.fit(X, CODES, epochs - 1, SIZE, adam, shuffle=False)
        if failing:
            twin.fit(X[:, : SIZE * failing], CODES[: SIZE * failing], 1, SIZE, adam, shuffle=False)
        assert bits(net) == bits(twin)
        assert net.epochs_done == epochs - 1 == len(caught.value.history.loss)
        net.fit(X, CODES)  # it can be used


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lr", [1e3, 1.7])  # at once, and after a while
def test_divergence_names_epoch_and_batch(backend, dtype, lr):
    y = (X[:1] - X[1:2]).astype(dtype)
    net, twin = (Network([6, 1], ["identity"], seed=1, dtype=dtype, backend=backend) for _ in range(2))
    with pytest.raises(FloatingPointError) as want:
        twin.fit(X, y, 10_000, SIZE, SGD(lr=lr), shuffle=False)
    with pytest.raises(FloatingPointError) as got:
        net.fit(cut(X, y), epochs=10_000, optimizer=SGD(lr=lr))
    place = re.compile(r"epoch (\d+), batch (\d+)")
    assert place.search(str(got.value)).groups() == place.search(str(want.value)).groups()
    assert "lr" in str(got.value)
    assert bits(net) == bits(twin)
    assert got.value.history.loss == want.value.history.loss
    assert net.epochs_done == twin.epochs_done
    assert_finite(net)


def test_weights_that_overflow_in_the_last_batch_of_all(backend):
    net = Network([1, 1], ["identity"], seed=1, backend=backend)
    net.set_parameters([([[1e38]], [0.0])])
    batch = np.array([[1e-2, -1.0]]), np.array([[0.0, 3e38]])
    with weights_unchanged(net), pytest.raises(FloatingPointError, match="epoch 0, batch 0"):
        net.fit([batch], optimizer=SGD(lr=10))
    with weights_unchanged(net), pytest.raises(FloatingPointError, match="before any update"):
        net.fit([(1e38 * batch[0], batch[1])])


def test_large_steps_that_stay_finite_are_made(backend):
    # so large that a cautious step is not sure of them
    y = 1e28 * X[:1]
    joined, apart = (Network([6, 1], ["identity"], seed=1, backend=backend) for _ in range(2))
    joined.fit(X, y, 2, SIZE, SGD(lr=0.01), shuffle=False)
    apart.fit(cut(X, y), epochs=2, optimizer=SGD(lr=0.01))
    assert np.abs(apart.parameters[0][0]).max() > 1e25
    assert bits(apart) == bits(joined)


def test_data_that_are_not_finite_are_told(backend):
    bad = X.copy()
    bad[2, 25] = np.nan
    net, twin = pair(backend)
    refused(net, cut(bad, CODES), ValueError, "batch 2 of epoch 0: X has 1 non-finite value", "sample 5, feature 2")
    twin.fit(X[:, :20], CODES[:20], 1, SIZE, shuffle=False)
    assert bits(net) == bits(twin)
    with weights_unchanged(twin):
        refused(twin, [(bad, CODES)], ValueError, "batch 0 of epoch 0: X has 1 non-finite value")


@pytest.mark.parametrize("place", ["in the iterable", "in a callback"])
@alone
def test_ctrl_c(backend, place):
    def press(*_):
        signal.raise_signal(signal.SIGINT)

    class Batches:
        walks = 0

        def __iter__(self):
            self.walks += 1
            for i, batch in enumerate(cut(X, CODES)):
                if place == "in the iterable" and (self.walks, i) == (3, 2):
                    press()
                yield batch

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    net, twin = pair(backend)
    callback = () if place == "in the iterable" else lambda e, h: press() if e == 1 else None
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            net.fit(Batches(), epochs=5, callbacks=callback)
    finally:
        signal.signal(signal.SIGINT, before)
    sgd = SGD()
    twin.fit(X, CODES, 2, SIZE, sgd, shuffle=False)
    if place == "in the iterable":
        twin.fit(X[:, :20], CODES[:20], 1, SIZE, sgd, shuffle=False)
    assert bits(net) == bits(twin)
    assert net.epochs_done == len(caught.value.history.loss) == 2


def test_the_iterable_may_use_the_network(backend):
    # its code runs while no call has the network's numbers; as for a callback, only fit is refused
    net, _ = pair(backend)
    results = []

    def batches():
        for batch in cut(X, CODES):
            thread = threading.Thread(target=lambda: results.append(net.predict(X)))
            thread.start()
            thread.join()
            results.append(net.loss(X, CODES))
            yield batch
        with pytest.raises(RuntimeError):
            net.fit(X, CODES)

    assert len(net.fit(batches()).loss) == 1
    assert len(results) == 10


def test_settings_that_change_between_batches_apply_to_the_next(backend):
    net, twin = pair(backend)
    sgd, other = SGD(lr=0.1), SGD(lr=0.1)

    def batches():
        for i, batch in enumerate(cut(X, CODES)):
            if i == 3:
                sgd.lr = 0.01
            yield batch

    net.fit(batches(), optimizer=sgd)
    for i, batch in enumerate(cut(X, CODES)):
        other.lr = 0.1 if i < 3 else 0.01
        twin.train_step(*batch, other)
    assert bits(net) == bits(twin)


def test_a_callback_s_weights_are_trained_on(backend):
    net, twin = pair(backend)
    zeros = [(0 * W, 0 * b) for W, b in net.parameters]
    for each, data in ((net, (cut(X, CODES),)), (twin, (X, CODES))):
        how = {} if each is net else {"batch_size": SIZE, "shuffle": False}

        def reset(epoch, history, each=each):
            if epoch == 1:
                each.set_parameters(zeros)

        each.fit(*data, epochs=3, callbacks=reset, **how)
    assert bits(net) == bits(twin)


def test_a_frozen_network_is_refused(backend):
    net, _ = pair(backend)
    net.trainable = [False, False]
    refused(net, cut(X, CODES), ValueError, "nothing to train")


def test_the_bar_moves_with_the_batches(backend, monkeypatch):
    shown = []
    bar = types.SimpleNamespace(update=lambda share, history, lr: shown.append(share), close=lambda: None)
    monkeypatch.setattr(fastnn.training, "progress_bar", lambda wanted, epochs: bar)
    net, _ = pair(backend)
    net.fit(cut(X, CODES), progress=True)
    assert shown == [0.2, 0.4, 0.6, 0.8, 1.0, 0.0]
    shown.clear()
    net.fit(iter(cut(X, CODES)), progress=True)
    assert shown == [0, 0, 0, 0, 0, 0]
