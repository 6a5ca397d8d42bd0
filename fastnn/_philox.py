"""Philox4x32-10, the counter-based generator behind every random number of the package.

Reference: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as
1, 2, 3", SC 2011. This is the readable definition; csrc/random.c computes the same words.

Random numbers are not taken from a sequential stream. Each is a function of the key, which is the
seed, and of the counter (block, attempt, epoch, purpose); for weights the layer takes the place of
the epoch. So a permutation of m samples depends only on m, the seed and the epoch.
"""

import numpy as np

PERMUTATION, WEIGHTS, DROPOUT = 1, 2, 4  # purposes; csrc/random.h has the first and the last
EPOCH_OF_SPLIT = 2**32 - 1  # its permutation orders the samples for validation_split; no fit comes that far

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)  # the golden ratio and sqrt(3) - 1, as 32-bit fractions
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox4x32(counter, key):
    """The Philox4x32-10 function: four random 32-bit words for each counter.

    Parameters
    ----------
    counter : sequence of 4 integers or arrays of uint64, each below 2**32
        The words of the counter, broadcast against each other.
    key : (int, int)
        Two 32-bit words.

    Returns
    -------
    ndarray of uint32, shape (..., 4)

    Examples
    --------
    >>> philox4x32((0, 0, 0, 0), (0, 0)).tolist()  # a published test vector
    [1713891541, 3781805453, 3159862348, 2600524760]
    """
    c0, c1, c2, c3 = np.broadcast_arrays(*(np.asarray(c, np.uint64) for c in counter))
    k0, k1 = key
    for _ in range(10):
        high0, low0 = _multiply(_MULTIPLIERS[0], c0)
        high1, low1 = _multiply(_MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ np.uint64(k0), low1, high0 ^ c3 ^ np.uint64(k1), low0
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def _multiply(a, b):
    product = a * b  # of two 32-bit words: exact in 64
    return product >> _HALF, product & _LOW


def words(n, seed, purpose, epoch=0, attempt=0):
    """The first `n` random 32-bit words for (seed, purpose, epoch, attempt)."""
    blocks = np.arange(-(-n // 4), dtype=np.uint64)
    key = (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF)
    return philox4x32((blocks, attempt, epoch & 0xFFFFFFFF, purpose), key).ravel()[:n]


def bounded(bounds, draw):
    """Unbiased integers: the i-th uniform in 0 .. bounds[i] - 1, from the words of ``draw(attempt)``.

    Each is the high half of word * bound; words whose low half is below 2**32 mod bound are rejected
    (D. Lemire, "Fast random integer generation in an interval", ACM TOMACS 29, 2019). A rejected
    index uses its word of the next attempt, so that no index depends on another one.
    """
    bounds = np.asarray(bounds, np.uint64)
    threshold = (np.uint64(1) << _HALF) % bounds
    out = np.empty(len(bounds), np.int64)
    open_, attempt = np.arange(len(bounds)), 0
    while len(open_):
        product = draw(attempt)[open_].astype(np.uint64) * bounds[open_]
        good = (product & _LOW) >= threshold[open_]
        out[open_[good]] = (product[good] >> _HALF).astype(np.int64)
        open_, attempt = open_[~good], attempt + 1
    return out


def permutation(m, seed, epoch):
    """The order in which epoch `epoch` visits `m` samples: a Fisher-Yates shuffle.

    Parameters
    ----------
    m : int
        Number of samples, below 2**32.
    seed, epoch : int
        With `m` they determine the order.

    Returns
    -------
    ndarray of int64, shape (m,)
    """
    order = list(range(m))
    # Step i of the shuffle swaps position m - 1 - i with a random position at or below it.
    bounds = np.arange(m, 1, -1)
    targets = bounded(bounds, lambda attempt: words(m, seed, PERMUTATION, epoch, attempt))
    for last, j in zip(range(m - 1, 0, -1), targets.tolist(), strict=True):
        order[last], order[j] = order[j], order[last]
    return np.array(order, np.int64)


def kept(rate_in_65536, n, m, seed, layer, update):
    """Which of n units of m samples dropout keeps: 16 random bits of each unit are not below the rate.

    The bits depend on the unit, the sample's place in the batch, the layer (from 0), the network's count of updates
    and its seed. Units are numbered sample after sample, where each sample begins at a multiple of 16. A block of 128
    of them has 16 counters, and unit u of a block gets half of a word of counter u % 16: the low halves of words 0 to
    3 are for the first 64 units, 16 for each word, and the high halves for the others.

    Returns
    -------
    ndarray of bool, (n, m)
    """
    each = -(-n // 16) * 16
    counters = np.arange(-(-m * each // 128) * 16, dtype=np.uint64)
    purpose = DROPOUT | layer << 8 | (update >> 32 & 0xFFF) << 20
    key = (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF)
    words = philox4x32((counters & _LOW, counters >> _HALF, update & 0xFFFFFFFF, purpose), key)
    words = words.reshape(-1, 1, 16, 4).swapaxes(2, 3)  # block, half, word, counter
    bits = np.concatenate([words & np.uint32(0xFFFF), words >> np.uint32(16)], axis=1)
    return rate_in_65536 <= bits.reshape(-1)[: m * each].reshape(m, each)[:, :n].T


def uniform(n, seed, purpose, stream=0):
    """`n` float64 in the open interval (0, 1), 53 bits each."""
    w = words(2 * n, seed, purpose, stream).astype(np.uint64).reshape(n, 2)
    bits = ((w[:, 0] << _HALF) | w[:, 1]) >> np.uint64(11)
    return (bits.astype(np.float64) + 0.5) * 2.0**-53


def normal(n, seed, purpose, stream=0):
    """`n` float64 from N(0, 1), by the Box-Muller transform."""
    u = uniform(n + n % 2, seed, purpose, stream).reshape(2, -1)
    radius, angle = np.sqrt(-2 * np.log(u[0])), 2 * np.pi * u[1]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:n]
