"""class_weight of fit: weights of classes as weights of the samples."""

import numpy as np

from . import arrays, hints, tables


def applied(class_weight, y, n_out, loss, sample_weight, samples=None):
    """The weights of samples, each multiplied by that of its class.

    Parameters
    ----------
    class_weight : dict of int to float, "balanced" or None
        Classes that a dict does not name have weight 1. "balanced": m / (classes count_c), where count_c is the number
        of samples of class c, and only the classes that occur are counted (scikit-learn's definition).
    y : ndarray
        Checked targets: codes (m,), or (n_out, m) with one 1 a column; for one output 0 and 1. With a loss of one's
        own any integers (m,).
    n_out : int
    loss : str
    sample_weight : ndarray, (m,), or None
        Checked.
    samples : ndarray or None
        The samples that are trained on; None: all. Others have weight 0 in the result.

    Returns
    -------
    ndarray, (m,), or None
        None if there are no weights at all. The same bits as those of the products given as sample_weight.

    Raises
    ------
    ValueError, TypeError
        If `class_weight` names a class that does not exist, or the targets are no classes.
    """
    if class_weight is None:
        return _scaled(sample_weight, samples, "sample_weight") if samples is not None else sample_weight
    if isinstance(class_weight, str) and class_weight == "balanced":
        given = _balanced(y, n_out, loss, samples)
    else:
        given = checked(class_weight, n_out, loss)
        if loss == tables.OwnLoss.name:
            _refuse_other_labels(given, _labels_of_own(y))
    weights, name = of_samples(given, y, n_out, loss), "class_weight"
    if sample_weight is not None:
        with np.errstate(all="ignore"):
            weights, name = sample_weight * weights, "class_weight times sample_weight"
    return _scaled(weights, samples, name)


def checked(class_weight, n_out, loss):
    """A dict of weights of classes, checked: {int: float}. With a loss of one's own a class is any integer."""
    if not isinstance(class_weight, dict):
        told = ""
        if isinstance(class_weight, str):
            told = hints.did_you_mean(class_weight, ["balanced"])
        elif np.ndim(class_weight) == 1:
            told = ": write dict(enumerate(class_weight)) for one weight per class"
        got = hints.shown(class_weight)
        raise TypeError(f"class_weight must be a dict {{class: weight}} or 'balanced', got {got}{told}")
    classes, weights = max(n_out, 2), {}
    range_of = "" if loss == tables.OwnLoss.name else f" 0..{classes - 1}"
    for key, value in class_weight.items():
        if isinstance(key, (bool, np.bool_)) or not isinstance(key, (int, np.integer)):
            raise TypeError(f"class_weight: the classes must be ints{range_of}, got the key {key!r:.50}")
        if range_of and not 0 <= key < classes:
            raise ValueError(f"class_weight: no class {key!r:.50} here; the classes are{range_of}")
        weights[int(key)] = tables.real_parameter(value, f"class_weight[{key}]")
    return weights


def _balanced(y, n_out, loss, samples):
    labels = _labels_of_own(y) if loss == tables.OwnLoss.name else codes_of(y, n_out, loss)
    found, counts = np.unique(labels if samples is None else labels[samples], return_counts=True)
    return dict(zip(found.tolist(), (counts.sum() / (len(counts) * counts)).tolist(), strict=True))


def of_samples(weights, y, n_out, loss):
    """The weight of each sample from those of classes, {int: float}; 1 for a class that has none."""
    if loss == tables.OwnLoss.name:
        labels, found = _labels_of_own(y), np.ones(len(y))
        for label, weight in weights.items():
            found[labels == label] = weight
        return found
    table = np.ones(max(n_out, 2))
    for code, weight in weights.items():
        table[code] = weight
    return table[codes_of(y, n_out, loss)]


def _labels_of_own(y):
    """The class of each sample where y may be anything: integers (m,)."""
    if y.ndim == 1 and y.dtype.kind in "iub":
        return y
    raise ValueError(
        "class_weight: with a loss of one's own y need not be classes; integers (m,) are, here y has shape "
        f"{y.shape} and dtype {y.dtype}: write sample_weight"
    )


def _refuse_other_labels(weights, labels):
    """ValueError for a class that does not occur, where y alone says which there are."""
    for label in weights:
        if not (labels == label).any():
            found = ", ".join(map(str, np.unique(labels).tolist()))
            raise ValueError(f"class_weight: no class {label} in y, wanted one of {found:.60}")


def _scaled(weights, samples, name):
    """Weights as the engine takes them: scaled by the largest that is trained with."""
    if weights is None or samples is None:
        return arrays.weights_of_samples(weights, len(weights), name) if weights is not None else None
    return arrays.weights_at(samples, weights, f"{name} of these samples")


def codes_of(y, n_out, loss):
    """The class of each sample, of checked targets; ValueError if they are no classes."""
    if y.ndim == 1:
        return y
    if not tables.LOSSES[loss].is_of_classes:
        raise ValueError(f"class_weight is for classes; the targets of {loss} are values: write sample_weight")
    if n_out > 1 and tables.LOSSES[loss].targets == "probabilities":
        raise ValueError(f"class_weight is for one class a sample; y has {n_out} labels each: write sample_weight")
    whole = ((y == 0) | (y == 1)).all(axis=0)
    if n_out > 1:
        whole &= y.sum(axis=0) == 1
    if not whole.all():
        j = int(whole.argmin())
        raise ValueError(f"class_weight is for classes; y holds soft labels, the first in column {j}: {y[:, j]}")
    return (y[0] if n_out == 1 else y.argmax(axis=0)).astype(np.int64)
