"""Checks of a network's sizes, dtype and seed, and of True/False flags. Names of functions are checked in tables.py."""

import itertools
import os

import numpy as np

from . import arrays, tables

_MOST_WEIGHTS = 2**46


def checked_sizes(sizes):
    """Return `sizes` as a tuple of int, or raise an error."""
    if isinstance(sizes, (str, bytes)) or not hasattr(sizes, "__iter__"):
        told = ", as in Network([4, 8, 3])" if isinstance(sizes, int) else ""
        raise TypeError(f"sizes must be a list of units per layer{told}, got {sizes!r:.80}")
    sizes = tuple(arrays.whole_number(n, f"sizes[{i}]", 1) for i, n in enumerate(sizes))
    if len(sizes) < 2:
        raise ValueError(f"sizes must have at least 2 entries, input and output, got {list(sizes)}")
    if sum(n_in * n_out for n_in, n_out in itertools.pairwise(sizes)) > _MOST_WEIGHTS:
        raise ValueError(f"sizes {list(sizes)} give more weights than fit into any memory")
    return sizes


def checked_dtype(dtype):
    """Return `dtype` as np.float32 or np.float64 (a NumPy dtype), or raise an error."""
    try:
        found = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError, DeprecationWarning):  # an old alias warns, and warnings may be errors
        found = None
    # np.dtype(None) is float64, but a dtype of None is refused.
    if dtype is None or found is None or found not in arrays.FLOATS:
        raise ValueError(f"dtype must be float32 or float64, got {dtype!r:.80}")
    return found


def checked_seed(seed):
    """Return `seed` as an int within 0 .. 2**64 - 1; draw one if it is None."""
    if seed is None:
        return int.from_bytes(os.urandom(8), "little")
    return arrays.whole_number(seed, "seed", 0, 2**64 - 1)


def checked_dropout(dropout, layers):
    """Return `dropout` as a tuple of one float for each of the `layers`; 0 for the last one, the output."""
    _refuse_unordered(dropout, "dropout", "a rate, or a list of one for each hidden layer")
    if isinstance(dropout, (str, bytes)) or not hasattr(dropout, "__len__") or getattr(dropout, "ndim", 1) == 0:
        rates, names = [dropout] * (layers - 1), ["dropout"] * (layers - 1)
        if not rates:
            rates, names = [dropout], ["dropout"]  # to check it
    else:
        rates, names = list(dropout), [f"dropout[{i}]" for i in range(len(dropout))]
        if len(rates) != layers - 1:
            raise ValueError(f"dropout has {len(rates)} rates, wanted {layers - 1}: one for each hidden layer")
    rates = [tables.real_parameter(rate, name) for rate, name in zip(rates, names, strict=True)]
    for rate, name in zip(rates, names, strict=True):
        if not 0 <= rate < 1:
            raise ValueError(f"{name} must be a share below 1, got {rate:g}")
    if layers == 1:
        if rates and rates[0]:
            raise ValueError(f"dropout is for hidden layers, and this network has none: got {dropout!r:.80}")
        rates = []
    return (*rates, 0.0)


def _refuse_unordered(value, name, wanted):
    """Refuse dicts and sets, whose entries are in no order that we could mean."""
    if isinstance(value, (dict, set, frozenset)):
        raise TypeError(f"{name} must be {wanted}, got {value!r:.80}")


def check_flag(name, flag):
    """Refuse what is neither True nor False."""
    if not isinstance(flag, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {' '.join(repr(flag).split()):.80}")


def checked_trainable(value, layers):
    """Return `value`, one bool for each layer, as a tuple."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"trainable must be a list with a bool for each layer, got {value!r}: write {[value] * layers}")
    _refuse_unordered(value, "trainable", "a list with a bool for each layer")
    try:
        value = tuple(value)
    except TypeError:
        raise TypeError(f"trainable must be a list with a bool for each layer, got {value!r:.80}") from None
    if len(value) != layers:
        raise ValueError(f"trainable has {len(value)} entries, wanted {layers}: one for each layer after the input")
    for i, each in enumerate(value):
        if not isinstance(each, (bool, np.bool_)):
            raise TypeError(f"trainable[{i}] must be True or False, got {each!r:.80}")
    return tuple(bool(each) for each in value)
