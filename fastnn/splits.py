"""Which samples fit trains on, and which it keeps back for validation."""

import numpy as np

from . import _philox, arrays, tables


def checked_samples(samples, m):
    """Return `samples`, places 0..m-1 of the samples that an epoch visits, as uint32 (k,); None as None."""
    if samples is None:
        return None
    found = arrays.real_array(samples, "samples")
    if found.ndim != 1 or found.dtype.kind not in "iu":
        told = ": write np.flatnonzero(samples)" if found.dtype.kind == "b" else ""
        raise TypeError(f"samples must be 1-D integers, got {found.ndim}-D of dtype {found.dtype}{told}")
    if not len(found):
        raise ValueError("samples is empty; give at least one")
    low, high = int(found.min()), int(found.max())
    if low < 0 or high >= m:
        raise ValueError(f"samples holds places from {low} to {high}, wanted 0..{m - 1}: X has {m} samples")
    if m >= 2**32:
        raise ValueError(f"X has {m} samples; samples= takes fewer than 2**32")
    return found.astype(np.uint32)


def split(fraction, samples, y, m, seed, by_class):
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
    seed : int
        The network's; nothing else decides.
    by_class : bool
        Whether `y` are classes: then each class gives its share, rounded so that the sum is right.

    Returns
    -------
    (ndarray or None, ndarray or None)
        The places of both parts, ascending; without a split (`samples`, None).
    """
    fraction = tables.real_parameter(fraction, "validation_split")
    if fraction >= 1:
        raise ValueError(f"validation_split must be a share below 1, got {fraction:g}")
    if not fraction:
        return samples, None
    places = np.arange(m) if samples is None else np.sort(samples.astype(np.int64))
    if samples is not None and (np.diff(places) == 0).any():
        raise ValueError("samples holds a place twice; with validation_split one of them could be in each part")
    wanted = int(fraction * len(places) + 0.5)
    if not 0 < wanted < len(places):
        raise ValueError(f"validation_split={fraction:g} of {len(places)} samples leaves a part without any")
    words = _philox.words(2 * len(places), seed, _philox.SPLIT).astype(np.uint64)
    order = np.argsort((words[::2] << np.uint64(32)) | words[1::2], kind="stable")
    if by_class:
        codes = (y if y.ndim == 1 else y[0] >= 0.5 if len(y) == 1 else y.argmax(axis=0))[places].astype(np.int64)
        order = _stratified(order, codes, fraction, wanted)
    taken = np.zeros(len(places), bool)
    taken[order[:wanted]] = True
    return places[~taken].astype(np.uint32), places[taken]


def _stratified(order, codes, fraction, wanted):
    """`order`, changed so that among its first `wanted` samples each class has its share."""
    classes, counts = np.unique(codes, return_counts=True)
    shares = np.minimum(np.floor(fraction * counts), counts - 1).astype(np.int64)
    room = counts - 1 - shares  # each class keeps a sample to train on
    rest = fraction * counts - shares
    while shares.sum() < wanted and room.any():
        i = int(np.argmax(np.where(room > 0, rest, -np.inf)))
        shares[i], room[i], rest[i] = shares[i] + 1, room[i] - 1, rest[i] - 1
    left = dict(zip(classes.tolist(), shares.tolist(), strict=True))
    first, later = [], []
    for place, code in zip(order.tolist(), codes[order].tolist(), strict=True):
        if left[code]:
            left[code] -= 1
            first.append(place)
        else:
            later.append(place)
    return np.array(first + later)
