"""Philox against published vectors, and what is drawn from it."""

import numpy as np
import pytest

from conftest import COMPILED
from fastnn import Network, _philox

# Philox4x32-10 of the Random123 distribution: counter, key, words.
VECTORS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), VECTORS)
def test_published_vectors(counter, key, words):
    assert tuple(_philox.philox4x32(counter, key).tolist()) == words
    if COMPILED:
        assert tuple(COMPILED.philox(counter, key)) == words


@pytest.mark.skipif(COMPILED is None, reason="no compiled backend here")
@pytest.mark.parametrize("m", [0, 1, 2, 3, 4, 5, 63, 64, 127, 128, 129, 1000, 70000])
@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (1, 2**32 - 1), (2**64 - 1, 5), (12345, 2**33)])
def test_permutation_is_the_same_in_both(m, seed, epoch):
    assert (COMPILED.permutation(m, seed, epoch) == _philox.permutation(m, seed, epoch)).all()


@pytest.mark.skipif(COMPILED is None, reason="no compiled backend here")
def test_permutation_with_words_that_are_rejected():
    m = 400_000  # about m^2 / 2^34 = 9 words
    assert (COMPILED.permutation(m, 3, 1) == _philox.permutation(m, 3, 1)).all()


def test_permutation_permutes_and_depends_on_seed_and_epoch():
    first = _philox.permutation(500, 1, 0)
    assert sorted(first) == list(range(500))
    assert (first != _philox.permutation(500, 1, 1)).mean() > 0.9
    assert (first != _philox.permutation(500, 2, 0)).mean() > 0.9


def test_permutations_are_uniform():
    # 4! orders over 6,000 epochs: chi-squared with 23 degrees of freedom; 49.7 is its 0.999 quantile
    counts = {}
    for epoch in range(6000):
        key = tuple(_philox.permutation(4, 9, epoch).tolist())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 24
    assert sum((c - 250) ** 2 / 250 for c in counts.values()) < 49.7


def test_rejection_draws_again():
    # With a bound of 3 * 2^30 a quarter of the words is rejected; a biased draw would favour the low third.
    drawn = _philox.bounded(np.full(40000, 3 * 2**30), lambda attempt: _philox.words(40000, 5, 9, 0, attempt))
    thirds = np.bincount(drawn // 2**30, minlength=3) / 40000
    assert np.abs(thirds - 1 / 3).max() < 0.01


def test_normal_has_the_moments():
    z = _philox.normal(200001, 3, _philox.WEIGHTS)
    assert abs(z.mean()) < 0.01
    assert abs(z.std() - 1) < 0.01
    assert abs((z**4).mean() - 3) < 0.1
    u = _philox.uniform(100000, 3, _philox.WEIGHTS)
    assert 0 < u.min() < u.max() < 1
    assert abs(u.mean() - 0.5) < 0.005


# (init, variance of (n_out, n_in) weights, whether they are uniform: within 3**0.5 standard deviations)
SPREADS = [
    (("normal", {"sd": 0.02}), lambda n_out, n_in: 0.02**2, False),
    ("xavier", lambda n_out, n_in: 2 / (n_in + n_out), False),
    (("xavier", {"sd": 3.0}), lambda n_out, n_in: 9 * 2 / (n_in + n_out), False),
    ("xavier_uniform", lambda n_out, n_in: 2 / (n_in + n_out), True),
    ("he", lambda n_out, n_in: 2 / n_in, False),
    ("he_uniform", lambda n_out, n_in: 2 / n_in, True),
    ("lecun", lambda n_out, n_in: 1 / n_in, False),
]


@pytest.mark.parametrize(("init", "variance", "is_uniform"), SPREADS, ids=lambda p: p if isinstance(p, str) else "")
def test_initial_weights_have_their_spread(init, variance, is_uniform, dtype):
    for W, b in Network([300, 200, 100], init=init, dtype=dtype, seed=1).parameters:
        assert (W.dtype, b.any()) == (dtype, False)
        sd = variance(*W.shape) ** 0.5
        np.testing.assert_allclose(W.std(), sd, rtol=0.03)  # of 20,000 numbers it is known to 0.5%
        assert abs(W.mean()) < 0.03 * sd
        largest = np.abs(W).max() / sd
        assert 0.99 * 3**0.5 < largest <= 3**0.5 * (1 + 1e-6) if is_uniform else 3.5 < largest < 6


def test_initial_weights_of_zero():
    assert not any(W.any() for W, _ in Network([3, 4, 2], init="zeros").parameters)


def test_initial_weights_that_are_orthogonal(dtype):
    net = Network([30, 50, 50, 20], init=("orthogonal", {"gain": 1.5}), dtype=dtype, seed=1)
    for W, _ in net.parameters:
        W = W.astype("f8")
        product = W @ W.T if W.shape[0] <= W.shape[1] else W.T @ W
        np.testing.assert_allclose(product, 1.5**2 * np.eye(len(product)), atol=20 * np.finfo(dtype).eps)
