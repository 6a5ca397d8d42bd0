"""What a network is made with, checked: sizes, dtype and seed. Names of functions are in tables.py."""

import itertools
import os

import numpy as np

from . import arrays

_MOST_WEIGHTS = 2**46


def checked_sizes(sizes):
    """A tuple of units per layer."""
    if isinstance(sizes, (str, bytes)) or not hasattr(sizes, "__iter__"):
        told = ", as in Network([4, 8, 3])" if isinstance(sizes, int) else ""
        raise TypeError(f"sizes must be a list of units per layer{told}, got {sizes!r:.80}")
    sizes = tuple(arrays.whole_number(n, f"sizes[{i}]", 1) for i, n in enumerate(sizes))
    if len(sizes) < 2:
        raise ValueError(f"sizes needs an input and an output at least, got {list(sizes)}")
    if sum(n_in * n_out for n_in, n_out in itertools.pairwise(sizes)) > _MOST_WEIGHTS:
        raise ValueError(f"sizes {list(sizes)} make more weights than any memory holds")
    return sizes


def checked_dtype(dtype):
    """A dtype that the backends compute in."""
    try:
        found = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError, DeprecationWarning):  # of an old alias, where warnings are errors
        found = None
    # None would be NumPy's default, and compare equal to it.
    if dtype is None or found is None or found not in arrays.FLOATS:
        raise ValueError(f"dtype must be float32 or float64, got {dtype!r:.80}")
    return found


def checked_seed(seed):
    """A seed, drawn where none is given."""
    if seed is None:
        return int.from_bytes(os.urandom(8), "little")
    return arrays.whole_number(seed, "seed", 0, 2**64 - 1)


def check_flag(name, flag):
    """Refuse what is neither True nor False."""
    if not isinstance(flag, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {' '.join(repr(flag).split()):.80}")
