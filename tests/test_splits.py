"""fit on some of the samples, and fit that keeps some of them for validation: the same bits as on copies."""

import numpy as np
import pytest

from case_helpers import bits
from conftest import BACKENDS, COMPILED
from fastnn import SGD, Adam, DataWarning, Network, splits

VARIANTS = BACKENDS  # what is tested here is around the kernels

RNG = np.random.default_rng(5)
M = 150
X, CODES = RNG.standard_normal((6, M)), RNG.integers(0, 3, M)
Y, W = RNG.standard_normal((2, M)), RNG.uniform(size=M)
SOME = RNG.integers(0, M, 101)  # some are there twice
QUIET = {"progress": False}

LAYOUTS = {
    "columns": lambda a, dtype: np.asfortranarray(a, dtype),
    "rows": lambda a, dtype: np.ascontiguousarray(a, dtype),
    "other dtype": lambda a, dtype: np.asfortranarray(a, "f8" if dtype == "f4" else "f4"),
    "strided": lambda a, dtype: np.repeat(a.astype(dtype), 2, axis=1)[:, ::2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shuffle", [True, False])
def test_some_samples_are_as_a_copy_of_them(backend, dtype, layout, shuffle):
    given = LAYOUTS[layout](X, dtype.str[1:])
    for y, sizes, optimizer in ((CODES, [6, 9, 3], SGD(lr=0.1)), (Y, [6, 9, 2], Adam(lr=0.01))):
        loss = None if y.ndim == 1 else "mse"
        for weights in (None, W):
            results = []
            for threads in (1, 3) if COMPILED and backend == "compiled" else (None,):
                one, other = (
                    Network(sizes, loss=loss, dtype=dtype, seed=3, backend=backend, threads=threads) for _ in range(2)
                )
                how = {"epochs": 3, "batch_size": 17, "optimizer": optimizer, "shuffle": shuffle} | QUIET
                history = one.fit(given, y, sample_weight=weights, samples=SOME, **how)
                part = None if weights is None else weights[SOME]
                wanted = other.fit(given[:, SOME], y[..., SOME], sample_weight=part, **how)
                assert history.loss == wanted.loss
                assert bits(one) == bits(other)
                results.append(bits(one))
            assert len(set(results)) == 1


def test_a_split_is_made_of_samples(backend, dtype):
    for y, sizes in ((CODES, [6, 9, 3]), (Y, [6, 9, 2])):
        loss = None if y.ndim == 1 else "mse"
        one, other = (Network(sizes, loss=loss, dtype=dtype, seed=3, backend=backend) for _ in range(2))
        metrics = ["accuracy"] if y.ndim == 1 else ["r2"]
        how = {"epochs": 3, "metrics": metrics} | QUIET
        history = one.fit(X, y, sample_weight=W, validation_split=0.2, **how)
        kept = history.validation_samples
        assert len(kept) == 30
        assert (np.diff(kept) > 0).all()
        rest = np.setdiff1d(np.arange(M), kept)
        val = (X[:, kept], y[..., kept], W[kept])
        wanted = other.fit(X, y, sample_weight=W, samples=rest, validation_data=val, **how)
        assert bits(one) == bits(other)
        assert history.loss == wanted.loss
        np.testing.assert_allclose(history.val_loss, wanted.val_loss, rtol=1e-6 if dtype == "float32" else 1e-13)
        assert history.metrics == wanted.metrics or y.ndim == 2


def test_the_seed_alone_decides(either_backend):
    net = Network([6, 3], seed=3, backend=either_backend)
    kept = [net.fit(X, CODES, validation_split=0.3, **QUIET).validation_samples for _ in range(3)]
    assert (kept[0] == kept[1]).all()
    assert (kept[0] == kept[2]).all()
    other = Network([6, 3], seed=4, backend=either_backend).fit(X, CODES, validation_split=0.3, **QUIET)
    assert (other.validation_samples != kept[0]).any()
    pair = Network([6, 3], seed=3, backend="numpy").fit(X, CODES, validation_split=0.3, **QUIET)
    assert (pair.validation_samples == kept[0]).all()


@pytest.mark.parametrize("form", ["codes", "one-hot", "binary"])
def test_each_class_gives_its_share(form):
    codes = np.repeat([0, 1, 2], [100, 20, 5])
    x = np.zeros((2, 125))
    if form == "binary":
        codes = np.minimum(codes, 1)
    y = np.eye(3)[:, codes] if form == "one-hot" else codes
    net = Network([2, 1 if form == "binary" else 3], seed=0)
    kept = net.fit(x, y, validation_split=0.2, **QUIET).validation_samples
    assert np.bincount(codes[kept]).tolist() == ([20, 5] if form == "binary" else [20, 4, 1])
    rare = np.zeros(50, int)
    rare[7] = 1  # a class of one sample stays with the training
    kept = Network([2, 2], seed=0).fit(np.zeros((2, 50)), rare, validation_split=0.5, **QUIET).validation_samples
    assert 7 not in kept
    assert len(kept) == 25


def test_a_split_among_samples(either_backend):
    chosen = np.arange(0, M, 2)
    history = Network([6, 3], seed=3, backend=either_backend).fit(
        X, CODES, samples=chosen, validation_split=0.2, **QUIET
    )
    assert len(history.validation_samples) == 15
    assert set(history.validation_samples) <= set(chosen)


def test_a_split_among_samples_is_that_of_a_copy(backend):
    chosen = RNG.permutation(M)[:80]
    for shuffle in (True, False):
        one, other = (Network([6, 9, 3], seed=3, backend=backend, dtype="float64") for _ in range(2))
        how = {"epochs": 3, "validation_split": 0.2, "shuffle": shuffle} | QUIET
        history = one.fit(X, CODES, samples=chosen, **how)
        wanted = other.fit(X[:, chosen], CODES[chosen], **how)
        assert bits(one) == bits(other)
        assert (history.validation_samples == chosen[wanted.validation_samples]).all()
        np.testing.assert_allclose(history.val_loss, wanted.val_loss, rtol=1e-13)


def test_classes_of_equal_size_are_validated_equally_often():
    codes, drawn = np.arange(40) % 20, np.zeros(20, int)
    for seed in range(100):
        kept = (
            Network([2, 20], seed=seed, backend="numpy")
            .fit(np.zeros((2, 40)), codes, epochs=0, validation_split=0.25, **QUIET)
            .validation_samples
        )
        drawn += np.bincount(codes[kept], minlength=20)
    assert drawn.sum() == 1000
    assert 25 < drawn.min() <= drawn.max() < 75  # 50 wanted, 5 sd


def test_bad_data_that_are_not_used_do_no_harm(backend):
    bad = X.copy()
    bad[1, 120:] = np.nan
    net, other = (Network([6, 8, 3], seed=3, backend=backend, dtype="float64") for _ in range(2))
    net.fit(bad, CODES, samples=np.arange(120), **QUIET)
    other.fit(X[:, :120], CODES[:120], **QUIET)
    assert bits(net) == bits(other)
    with pytest.raises(FloatingPointError, match="training diverged"):
        net.fit(bad, CODES, 20, 4, SGD(lr=1e300), samples=np.arange(120), **QUIET)
    before = bits(net)
    with pytest.raises(ValueError, match="X has 29 non-finite values, first at column 121"):
        net.fit(bad, CODES, samples=np.arange(100, 150)[21:].repeat(2), **QUIET)
    assert bits(net) == before


def test_validation_data_must_be_finite(backend):
    net = Network([6, 3], seed=3, backend=backend)
    kept = net.fit(X, CODES, validation_split=0.2, **QUIET).validation_samples
    bad = X.copy()
    bad[2, kept[3]] = np.inf
    with pytest.raises(ValueError, match=f"X has 1 non-finite value, first at column {kept[3]} .*validation data"):
        net.fit(bad, CODES, validation_split=0.2, **QUIET)
    with pytest.raises(ValueError, match=r"validation_data\[0\] has 1 non-finite value, first at column"):
        net.fit(X, CODES, validation_data=(bad, CODES), **QUIET)
    weights = np.ones(M)
    weights[kept] = 0
    with pytest.raises(ValueError, match="sample_weight of the validation samples is 0 for every sample"):
        net.fit(X, CODES, validation_split=0.2, sample_weight=weights, **QUIET)


def test_a_mask_as_numbers_is_warned_of():
    with pytest.warns(DataWarning, match=r"np\.flatnonzero"):
        Network([6, 3], seed=3).fit(X, CODES, samples=(CODES > 0).astype(int), **QUIET)


def test_samples_are_checked_as_a_copy(monkeypatch):
    given = np.zeros(5, np.int64)

    class Changing(np.ndarray):
        def min(self, *args, **kwargs):
            given[0] = 10**6
            return super().min(*args, **kwargs)

    found = splits.checked_samples(given.view(Changing), 10)
    assert found.max() < 10


def test_balanced_weights_are_of_the_training_part(either_backend):
    one, other = (Network([6, 3], seed=3, backend=either_backend) for _ in range(2))
    history = one.fit(X, CODES, validation_split=0.2, class_weight="balanced", **QUIET)
    rest = np.setdiff1d(np.arange(M), history.validation_samples)
    other.fit(X[:, rest], CODES[rest], class_weight="balanced", **QUIET)
    assert bits(one) == bits(other)


def test_refusals(either_backend):
    net = Network([6, 3], seed=3, backend=either_backend)
    before = bits(net)
    for given, error, words in (
        ({"samples": [0, M]}, ValueError, ["samples holds places from 0 to 150", "0..149"]),
        ({"samples": [-1]}, ValueError, ["from -1", "samples % m"]),
        ({"samples": []}, ValueError, ["samples is empty"]),
        ({"samples": [0.5]}, TypeError, ["samples must be 1-D integers"]),
        ({"samples": [1.0, 2.0]}, TypeError, ["samples must be 1-D integers", "samples.astype(int)"]),
        ({"samples": [[1, 2]]}, TypeError, ["1-D", "samples.ravel()"]),
        ({"samples": CODES[:9] > 0}, ValueError, ["mask of shape (9,)", "150"]),
        ({"validation_split": 20}, ValueError, ["below 1", "20 / 150"]),
        ({"validation_split": np.array([0.2, 0.3])}, TypeError, ["validation_split"]),
        ({"validation_split": np.nan, "validation_data": (X, CODES)}, ValueError, ["validation_split"]),
        ({"validation_split": False}, TypeError, ["validation_split"]),
        ({"validation_split": 0.99}, ValueError, ["each of the 3 classes has to keep one"]),
        ({"samples": CODES > 0}, TypeError, ["np.flatnonzero(samples)"]),
        ({"samples": [1, 1, 2, 3], "validation_split": 0.5}, ValueError, ["twice"]),
        ({"validation_split": 1.0}, ValueError, ["validation_split", "below 1"]),
        ({"validation_split": -0.1}, ValueError, ["validation_split"]),
        ({"validation_split": 0.001}, ValueError, ["validation_split=0.001 of 150"]),
        ({"validation_split": 0.2, "validation_data": (X, CODES)}, ValueError, ["not both"]),
    ):
        with pytest.raises(error) as caught:
            net.fit(X, CODES, **given, **QUIET)
        for word in words:
            assert word in str(caught.value), str(caught.value)
    assert bits(net) == before
