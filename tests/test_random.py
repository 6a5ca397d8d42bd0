"""Philox against published vectors, and what is drawn from it."""

import numpy as np
import pytest

from conftest import COMPILED
from fastnn import _philox

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
@pytest.mark.parametrize("m", [0, 1, 2, 3, 4, 5, 63, 64, 1000, 70000])
@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (1, 2**32 - 1), (2**64 - 1, 5), (12345, 2**33)])
def test_permutation_is_the_same_in_both(m, seed, epoch):
    assert (COMPILED.permutation(m, seed, epoch) == _philox.permutation(m, seed, epoch)).all()


def test_permutation_permutes_and_depends_on_seed_and_epoch():
    first = _philox.permutation(500, 1, 0)
    assert sorted(first) == list(range(500))
    assert (first != _philox.permutation(500, 1, 1)).mean() > 0.9
    assert (first != _philox.permutation(500, 2, 0)).mean() > 0.9


def test_permutations_are_uniform():
    # 4! orders over 12,000 epochs: chi-squared with 23 degrees of freedom; 49.7 is its 0.999 quantile
    counts = {}
    for epoch in range(12000):
        key = tuple(_philox.permutation(4, 9, epoch).tolist())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 24
    assert sum((c - 500) ** 2 / 500 for c in counts.values()) < 49.7


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
