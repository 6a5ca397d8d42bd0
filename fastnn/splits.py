"""Which samples fit trains on, and which it keeps back for validation."""

import numpy as np

from . import arrays, cautions, tables


def checked_samples(samples, m):
    """Return `samples`, places 0..m-1 of the samples that an epoch visits, as uint32 (k,); None as None."""
    if samples is None:
        return None
    _refuse_no_places(samples)
    found = np.array(arrays.real_array(samples, "samples"))  # a copy: other threads may write to `samples`
    if found.ndim == 1 and not len(found):
        raise ValueError("samples is empty; give at least one")
    if found.dtype.kind == "b" and found.shape != (m,):
        raise ValueError(f"samples is a mask of shape {found.shape}, and X has {m} samples")
    if found.ndim != 1 or found.dtype.kind not in "iu":
        told = ": write np.flatnonzero(samples)" if found.dtype.kind == "b" else _told(found)
        raise TypeError(f"samples must be 1-D integers, got {found.ndim}-D of dtype {found.dtype}{told}")
    low, high = int(found.min()), int(found.max())
    if low < 0 or high >= m:
        told = "; samples % m counts negative places from the end" if -m <= low < 0 and high < m else ""
        raise ValueError(f"samples holds places from {low} to {high}, wanted 0..{m - 1}: X has {m} samples{told}")
    if len(found) == m > 2 and high <= 1:
        cautions.caution(
            f"samples holds {m} places that are all 0 or 1, as many as X has samples: if it is a mask, write "
            "np.flatnonzero(samples)"
        )
    if m >= 2**32:
        raise ValueError(f"X has {m} samples; samples= takes fewer than 2**32")
    return found.astype(np.uint32)


def _refuse_no_places(samples):
    """TypeError for what says places in another way: a number, a slice, or the tuples of np.where and of KFold."""
    told = None
    if isinstance(samples, slice):
        told = "np.arange(m)[samples], where m is the number of samples"
    elif isinstance(samples, (int, np.integer)) and not isinstance(samples, bool):
        told = "range(samples) for the first ones, or [samples] for this one"
    elif isinstance(samples, tuple) and samples and all(isinstance(part, np.ndarray) for part in samples):
        told = "samples[0]" + (" for the first of these" if len(samples) > 1 else "")
    if told:
        raise TypeError(f"samples must be 1-D integers, got {type(samples).__name__} {samples!r:.50}: write {told}")


def _told(found):
    """What to write instead of `found`, which is not a line of integers."""
    if found.dtype.kind in "iu" and found.size == max(found.shape, default=1):
        return ": write samples.ravel()"
    whole = found.dtype.kind == "f" and found.ndim == 1 and (found == np.round(found)).all()
    return ": write samples.astype(int)" if whole else ""


def split(fraction, samples, y, m, draw, by_class):
    """Divide samples into those to train on and those for validation.

    Parameters
    ----------
    fraction : float
        0: no split. Else the share for validation, rounded to whole samples, within (0, 1).
    samples : ndarray or None
        The places to divide; None: all m.
    y : ndarray
        Checked targets of all m samples.
    m : int
    draw : callable
        Returns a random order of so many samples, which the network's seed alone decides.
    by_class : bool
        Whether `y` are classes: then each class gives its share, rounded so that the sum is right.

    Returns
    -------
    (ndarray or None, ndarray or None)
        The places of both parts, in their given order; without a split (`samples`, None).
    """
    fraction = tables.real_parameter(fraction, "validation_split")
    if fraction >= 1:
        told = f"; {fraction:g} samples are {fraction:g} / {m}" if fraction == int(fraction) else ""
        raise ValueError(f"validation_split must be a share below 1, got {fraction:g}{told}")
    if not fraction:
        return samples, None
    places = np.arange(m) if samples is None else samples.astype(np.int64)
    if samples is not None and (np.diff(np.sort(places)) == 0).any():
        raise ValueError("samples holds a place twice; with validation_split one of them could be in each part")
    wanted = int(fraction * len(places) + 0.5)
    if not 0 < wanted < len(places):
        raise ValueError(f"validation_split={fraction:g} of {len(places)} samples leaves a part without any")
    order = draw(len(places))
    if by_class:
        codes = (y if y.ndim == 1 else y[0] >= 0.5 if len(y) == 1 else y.argmax(axis=0))[places]
        order = _stratified(order, codes, fraction, wanted)
    taken = np.zeros(len(places), bool)
    taken[order[:wanted]] = True
    return places[~taken].astype(np.uint32), places[taken]


def _stratified(order, codes, fraction, wanted):
    """`order`, changed so that among its first `wanted` samples each class has its share."""
    codes = codes.astype(np.uint16 if codes.max() < 2**16 else np.int64)  # numbers of 16 bits are sorted in O(m)
    counts = np.bincount(codes)
    classes = np.flatnonzero(counts)
    counts = counts[classes]
    if wanted > len(codes) - len(classes):
        raise ValueError(
            f"validation_split={fraction:g} wants {wanted} of {len(codes)} samples, but each of the {len(classes)} "
            f"classes has to keep one to train on, which leaves {len(codes) - len(classes)}"
        )
    drawn = codes[order]
    by_class = np.argsort(drawn, kind="stable")
    if len(classes) <= codes.max():  # some classes have no samples: the others are counted from 0
        drawn = np.searchsorted(classes, drawn)
    first = by_class[np.cumsum(counts) - counts]  # which class was drawn first: of equals it gets a sample more
    shares = np.minimum(np.floor(fraction * counts), counts - 1).astype(np.int64)
    rest = fraction * counts - shares
    while shares.sum() < wanted:
        i = np.lexsort((first, -np.where(shares < counts - 1, rest, -np.inf)))[0]
        shares[i], rest[i] = shares[i] + 1, rest[i] - 1
    # The number of each sample among those of its class, in the drawn order.
    number = np.empty(len(order), np.int64)
    number[by_class] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    is_first = number < shares[drawn]
    return np.concatenate([order[is_first], order[~is_first]])
