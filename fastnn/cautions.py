"""Warnings about data that are allowed but probably a mistake: the data are used, and one DataWarning says why."""

import os
import sys
import warnings

import numpy as np

from . import arrays, standardisation
from .sparse import Sparse

_LARGE = 50.0  # |x| above which sigmoid and tanh are flat and updates with usual learning rates too large
_ELEMENTS = 1 << 15  # the most elements of X that are checked, about 10 us
_SAMPLES = 256  # about so many samples estimate the loss before training
_TO_SCALE = (
    "X = np.asarray(X); X = (X - X.mean(axis=1, keepdims=True)) / X.std(axis=1, keepdims=True).clip(1e-3), or X / 255 "
    "for 8-bit pixels; or call net.adapt(X) before training, which scales within the network"
)
_TO_SCALE_BATCHES = (
    "X / 255 for 8-bit pixels, or call net.adapt(X) before training, with the X of many batches as one array, which "
    "scales within the network"
)
_TO_SCALE_SPARSE = "X = X / abs(X).max(); or call net.adapt(X) before training, which scales within the network"
_KERAS = "Keras write fastnn.exchange.to_keras(net).save(path)"
_TO_EXPORT = {".onnx": "ONNX write fastnn.exchange.to_onnx(net, path)", ".keras": _KERAS, ".h5": _KERAS}
_RISE = 2.0  # warn if the first epoch's mean loss is more than this times the loss before


class DataWarning(UserWarning):
    """Warns of data, or of a network, that are allowed but probably a mistake; the message says what to write."""


def caution(text, kind=DataWarning):
    """Give a warning that points to the line which called fastnn."""
    level, frame = 1, sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == __package__:
        level, frame = level + 1, frame.f_back
    try:
        warnings.warn(text, kind, stacklevel=level)
    except Warning:  # the user wants it as an error
        raise
    except Exception:  # it cannot be shown: there may be no stderr
        pass


def of_ending(path):
    """Warn of a path, a str, for a model file if it ends as files of another library do."""
    ending = os.path.splitext(path)[1].lower()
    if ending in _TO_EXPORT:
        caution(
            f"path ends in {ending!r}, but the file will be one that only fastnn.load reads; for {_TO_EXPORT[ending]}"
        )


def of_targets(y, trainable):
    """Warn of checked targets, codes (m,) or values (n_L, m), that are valid but were probably meant otherwise."""
    row = trainable.loss_row
    if y.ndim == 1:
        if row.targets == "probabilities":
            caution(
                "y holds one class a sample, and each sigmoid output is a separate yes or no: for one class out of "
                "several use softmax as the last activation (the default); for labels give y as (n_L, m) of 0 and 1"
            )
        return
    if row.targets == "any":
        return
    n_out, m = y.shape
    if n_out == m > 1 and row.is_of_classes and _sum_to_1(y, 1) and not _sum_to_1(y, 0):
        caution(
            f"y has as many samples as outputs ({m}), its rows sum to 1 and its columns do not: columns are samples; "
            "did you mean y.T?"
        )
    # Integers for probabilities can only be 0 and 1.
    elif not trainable.is_chosen and (y.dtype.kind == "f" or row.targets == "classes"):
        soft = _first_between(y)
        if soft is not None:
            name = trainable.loss.name
            caution(
                f"y holds {soft:g}, which is neither 0 nor 1, and the network is a classifier by default: for a "
                f'regression write Network(sizes, loss="mse"); write loss="{name}" if you want such labels'
            )


def _sum_to_1(y, axis):
    return bool((np.abs(y.sum(axis, dtype=np.float64) - 1) < 1e-3).all())


def _first_between(y):
    """The first value that is neither 0 nor 1; None if there is none."""
    for columns in arrays.column_blocks(*y.shape):
        part = y[:, columns]
        found = (part != 0) & (part != 1)
        if found.any():
            return float(part[found][0])
    return None


def of_scale(X, batch_size, largest, samples=None, are_batches=False):
    """Warn if values of X are large; return whether it warned. `largest` is the function of a backend."""
    if samples is not None:
        X = X[:, samples[:: max(1, len(samples) // _SAMPLES)]]
    is_sparse = type(X) is Sparse
    # Samples at equal distances in all of X, because X may be sorted.
    count = _ELEMENTS // arrays.rows_of(X) or 1
    count = batch_size if batch_size < count else count
    size = _largest(X[:, :: max(1, X.shape[1] // count)], largest) if is_sparse else largest(X, count)
    if not _LARGE < size < np.inf:  # non-finite values are refused later
        return False
    how = _TO_SCALE_BATCHES if are_batches else _TO_SCALE
    if is_sparse and not are_batches:  # each batch would be scaled by another number
        how = _TO_SCALE_SPARSE
    caution(
        f"X holds values of up to {size:.3g}; training on such large values seldom succeeds: scale it, for example "
        + how
    )
    return True


def some(X, y, sample_weight, samples=None):
    """About _SAMPLES samples at equal distances, to estimate the loss before training; None if their weights are 0."""
    places = slice(None, None, max(1, X.shape[1] // _SAMPLES))
    if samples is not None:
        places = samples[:: max(1, len(samples) // _SAMPLES)]
    w = None if sample_weight is None else sample_weight[places]
    return None if w is not None and not w.any() else (X[:, places], y[..., places], w)


def of_rise(first, mean, before):
    """Warn if the first epoch made the loss worse.

    `mean` is the first epoch's mean loss, `first` the loss of its first step, `before` the loss before this fit.
    `first` alone can be small by chance, above all with batches of one sample.
    """
    if first is not None and mean > _RISE * max(first, before):
        caution(
            f"the loss rose from {first:.3g} at the first step to {mean:.3g}, the mean of the first epoch: scaling X "
            "(in a regression also y) to mean 0 and standard deviation 1 helps most, then a smaller learning rate (lr)"
        )


def of_late_adapt(trainable):
    """Warn if a network that was trained without measures is about to get some: its outputs change."""
    if trainable.engine.standards is None and trainable.epochs_done:
        caution(
            f"adapt came after training (epochs_done is {trainable.epochs_done}): the weights were learned without it, "
            "and the outputs are others from now on; call net.adapt before the first fit"
        )


def of_restart(trainable, optimizer):
    """Warn if one update after another comes with a new optimizer object: each starts with moments of 0."""
    if optimizer is trainable.optimizer:
        return
    is_again = optimizer.slots and optimizer.key() == trainable.state_key and trainable.engine.steps() == 1
    trainable.restarts = trainable.restarts + 1 if is_again else 0
    if trainable.restarts == 3:
        kind = type(optimizer).__name__
        caution(
            f"each update so far came with another {kind} object, and each began with moments of 0: make one object "
            f"before the loop, optimizer = fastnn.{kind}(...), and give it to each update"
        )


def of_ended_schedule(rates, schedule, time):
    """Warn if a Cosine without `final` had ended: epochs with a learning rate of 0 change nothing.

    `rates` are those of the epochs of a fit; `time` is what the schedule counts, after that fit.
    """
    idle = len(rates) - max((i for i, rate in enumerate(rates, start=1) if rate), default=0)
    if time > schedule.length and not schedule.final and (idle > 1 or idle == len(rates) > 0):
        caution(
            f"the learning rate was 0 in the last {idle} of {len(rates)} epochs, which changed nothing: {schedule} "
            f"ends at t={schedule.length:g}, and t goes on in each fit with the same optimizer; give a larger length, "
            "a final above 0, or a new optimizer object, with which t begins at 0"
        )


def _largest(X, largest, samples=None):
    """The largest |x| of all columns, or of `samples`, block by block, so that X is not copied as a whole."""
    if type(X) is Sparse:
        X = (X if samples is None else X[:, np.unique(samples)]).numbers()
        return largest(X, max(1, X.shape[1]))
    blocks = arrays.column_blocks(len(X), X.shape[1] if samples is None else len(samples))
    return max(largest(X[:, b if samples is None else samples[b]], X.shape[1]) for b in blocks)


LOWER_LR = "try a smaller learning rate (lr)"
SMALLER_WEIGHTS = "set smaller weights (set_parameters), or make a new Network"


def remedy(trainable, X, y, samples=None, other=LOWER_LR):
    """What to do after numbers were too large; the message names the one of X and y that has larger values.

    Parameters
    ----------
    X, y : ndarray
        Known to be finite. What the network standardises by itself need not be scaled. y is None for a loss of one's
        own, which may take anything.
    samples : ndarray, optional
        The places of the samples that were used.
    other : str
        What to do beside, or instead of, scaling.
    """
    sizes = {"X": 0.0, "y": 0.0}
    standards, largest = trainable.engine.standards, trainable.backend.largest
    if standards is None:
        sizes["X"] = _largest(X, largest, samples)
    if (standards is None or standards[2] is None) and y is not None and y.ndim == 2:  # codes are no values
        sizes["y"] = _largest(y, largest, samples)
    takes_y = standardisation.takes(trainable.loss.name, trainable.output)
    adapt = {"X": "net.adapt(X)", "y": "net.adapt(X, y)" if takes_y else ""}
    name = max(sizes, key=sizes.get)
    if sizes[name] > _LARGE:
        call = f"make a new Network and call {adapt[name]} before training, or " if adapt[name] else ""
        is_sparse = name == "X" and type(X) is Sparse  # whose zeros another mean would fill
        scale = "divide it by its largest number" if is_sparse else "scale it to a mean of 0 and a deviation of 1"
        return f"{name} holds values of up to {sizes[name]:.3g}: {call}{scale}, or {other}"
    if standards is not None:
        return f"{other[0].upper()}{other[1:]}"
    return f"{other[0].upper()}{other[1:]}, or scale X ({adapt['X']})"
