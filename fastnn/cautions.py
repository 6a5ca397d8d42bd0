"""Warnings about data that are legal and seldom meant: so they are used as they are, and one sentence says what for."""

import sys
import warnings

import numpy as np

from . import arrays
from .tables import LOSSES

_LARGE = 50.0  # |x| from which sigmoids and tanhs are flat and steps of any usual size too long
_ELEMENTS = 1 << 15  # of X that are looked at, at most: some 10 us
_SAMPLES = 256  # that tell the loss before training
_RISE = 2.0  # of the first epoch's mean loss over the loss of its first step


class DataWarning(UserWarning):
    """Data, or a network, that are legal and seldom meant: the message says what to write instead."""


def caution(text):
    """Warn the one who called fastnn, wherever that is."""
    level, frame = 1, sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == __package__:
        level, frame = level + 1, frame.f_back
    try:
        warnings.warn(text, DataWarning, stacklevel=level)
    except Warning:  # the user wants it as an error
        raise
    except Exception:  # it cannot be shown: there may be no stderr
        pass


def of_targets(y, loss, is_default):
    """Warn of targets that mean something else than they say.

    Parameters
    ----------
    y : ndarray
        Checked: codes (m,), or values (n_L, m).
    loss : Spec
    is_default : bool
        Whether neither loss nor activations were chosen.
    """
    targets = LOSSES[loss.name].targets
    if y.ndim == 1:
        if targets == "probabilities":
            caution(
                "y holds one class a sample, and each sigmoid output is a yes or no of its own: for one class out of "
                "several let the last activation be softmax (the default), for labels give y as (n_L, m) of 0 and 1"
            )
        return
    n_out, m = y.shape
    if n_out == m > 1 and targets != "values" and _sum_to_1(y, 1) and not _sum_to_1(y, 0):
        caution(
            f"y has as many samples as outputs ({m}), its rows sum to 1 and its columns do not: columns are samples; "
            "did you mean y.T?"
        )
    elif is_default and (y.dtype.kind == "f" or targets == "classes"):  # else whole numbers, so 0 and 1
        soft = _first_between(y)
        if soft is not None:
            caution(
                f"y holds {soft:g}, which is neither 0 nor 1, and the network is a classifier by default: for a "
                f'regression write Network(sizes, loss="mse"); with loss="{loss.name}" you say that such labels are '
                "meant"
            )


def _sum_to_1(y, axis):
    return bool((np.abs(y.sum(axis, dtype=np.float64) - 1) < 1e-3).all())


def _first_between(y):
    """The first value that is neither 0 nor 1; None without one."""
    for columns in arrays.column_blocks(*y.shape):
        part = y[:, columns]
        found = (part != 0) & (part != 1)
        if found.any():
            return float(part[found][0])
    return None


def of_scale(X, batch_size, largest):
    """Warn where some of X is large; whether it was. `largest` is a backend's."""
    n, m = X.shape
    # A batch of samples from all over X: they may be sorted.
    size = largest(X, min(m, batch_size, _ELEMENTS // n or 1))
    if not _LARGE < size < np.inf:  # what is not finite is refused, by name
        return False
    caution(
        f"X holds values of up to {size:.3g}, which training by gradients seldom gets over: scale it, for example "
        "X = np.asarray(X); (X - X.mean(axis=1, keepdims=True)) / X.std(axis=1, keepdims=True).clip(1e-3), or X / 255 "
        "for pixels of bytes"
    )
    return True


def some(X, y, sample_weight):
    """Samples from all over the data, whose loss before training is worth something; None where they weigh nothing."""
    step = max(1, X.shape[1] // _SAMPLES)
    w = None if sample_weight is None else sample_weight[::step]
    return None if w is not None and not w.any() else (X[:, ::step], y[..., ::step], w)


def of_rise(first, mean, before):
    """Warn where the first epoch made it worse: its mean loss, its first step's, and what it was before.

    The first step alone may be a lucky batch: of one sample it often is.
    """
    if first is not None and mean > _RISE * max(first, before):
        caution(
            f"the loss rose from {first:.3g} at the first step to {mean:.3g}, the mean of the first epoch: scaling X, "
            "and y of a regression, to a mean of 0 and a deviation of 1 helps most, then a smaller learning rate (lr)"
        )


def _largest(X, largest):
    """Of any number of columns, which are not copied as a whole."""
    return max(largest(X[:, columns], X.shape[1]) for columns in arrays.column_blocks(*X.shape))


def remedy(X, y, largest):
    """What to try where training diverged: the larger of X and y is named."""
    sizes = {"X": _largest(X, largest), "y": 0.0 if y.ndim == 1 else _largest(y, largest)}  # finite: asked before
    name = max(sizes, key=sizes.get)
    if sizes[name] > _LARGE:
        scale = f"{name} holds values of up to {sizes[name]:.3g}: scale it to a mean of 0 and a deviation of 1, or try"
        return f"{scale} a smaller learning rate (lr)"
    return "Try a smaller learning rate (lr), or scale X"
