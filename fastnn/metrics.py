"""Metrics: what says how good outputs are, beside the loss. Each row of METRICS in tables.py has its function here.

A metric is a function of the targets y, checked by arrays.py (codes (m,), or values (n_L, m)), the outputs A (n_L, m)
and the weights of the samples w (m,). All sums are in float64. The definitions are those of scikit-learn (F. Pedregosa
et al., "Scikit-learn: Machine Learning in Python", JMLR 12, 2011), but for the accuracy of several labels a sample,
which is the share of labels here. A metric is NaN where it is not defined, and where an output is NaN.
"""

import numbers
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from . import arrays, hints, tables


class Metric(NamedTuple):
    """A metric that was asked for: by a name of ours, or as a function of the user's."""

    name: str
    function: Callable  # (y, A, w) of ours; (y as given, A) of the user's
    greater_is_better: bool
    is_ours: bool


# --- classes ------------------------------------------------------------------------------------------------------


def predicted_classes(A, output, loss):
    """The class of each sample that outputs A say, as :meth:`Network.predict_classes` returns it.

    Parameters
    ----------
    A : ndarray, (n_L, m)
    output : str
        The name of the output activation.
    loss : Spec or OwnLoss
    """
    row = tables.loss_row(loss.name)
    is_regression = row.targets != "any" and output not in ("sigmoid", "softmax")
    if is_regression or row.targets in ("one_value", "means"):
        learns_codes = len(A) > 1 and row.takes_codes
        told = "; write net.predict(X).argmax(axis=0) if y was class codes" if learns_codes else ""
        raise ValueError(
            f"the {output} outputs of a network with loss {loss.name!r} determine no class; use predict{told}"
        )
    if output == "sigmoid":
        hits = (A >= 0.5).astype(np.int64)
        return hits[0] if len(A) == 1 else hits
    if len(A) == 1:
        raise ValueError(f"a single {output} output does not determine a class; use predict")
    return A.argmax(axis=0)


def right(y, A, is_sigmoid):
    """A boolean array: which predicted classes (m,), or labels (n_L, m), equal the targets."""
    if y.ndim == 1:
        return A.argmax(axis=0) == y
    if is_sigmoid:
        return (A >= 0.5) == (y >= 0.5)
    return A.argmax(axis=0) == y.argmax(axis=0)


def _classes(y):
    """Codes (m,) of targets that are codes or a probability for each class."""
    return y if y.ndim == 1 else y.argmax(axis=0)


def _tasks(y, A, output):
    """The yes-or-no questions that targets consist of: for each one which samples are positive, and their scores.

    A single sigmoid output is one question, and so is each of several labels; of more classes each one against the
    rest; two classes are the question for class 1.
    """
    if output == "sigmoid" and y.ndim == 2:
        return [(y[i] >= 0.5, A[i]) for i in range(len(A))]
    codes = _classes(y)
    if len(A) == 2:
        return [(codes == 1, A[1] if output == "softmax" else A[1] - A[0])]
    return [(codes == i, A[i]) for i in range(len(A))]


def _accuracy(y, A, w, output):
    hits = right(y, A, output == "sigmoid")
    return (hits.reshape(-1, len(w)).mean(axis=0) @ w) / w.sum()


def _top_k(y, A, w, output, k):
    # How many outputs are above that of the class; of equal outputs the later one counts as above, as there.
    codes, n = _classes(y), np.arange(len(A))[:, np.newaxis]
    own = A[codes, np.arange(A.shape[1])]
    above = ((own < A) | ((own == A) & (n > codes))).sum(axis=0)
    return ((above < k) @ w) / w.sum()


def _area(positive, score, w):
    """The area under one ROC curve: the share of pairs of a positive and a negative sample that are in order."""
    order = np.argsort(score, kind="stable")
    score, up, down = score[order], (w * positive)[order], (w * ~positive)[order]
    first = np.flatnonzero(np.r_[True, score[1:] != score[:-1]])  # of each group of equal scores
    up, down = np.add.reduceat(up, first), np.add.reduceat(down, first)
    return up @ (np.cumsum(down) - down / 2) / (up.sum() * down.sum())  # 0 / 0 if there is no such pair


def _auc(y, A, w, output):
    return np.mean([_area(*task, w) for task in _tasks(y, A, output)])


def _f1(y, A, w, output):
    found, tasks = [], _tasks(y, A, output)
    are_labels = output == "sigmoid" and y.ndim == 2
    for i, (positive, _) in enumerate(tasks):
        said = A[i] >= 0.5 if are_labels else A.argmax(axis=0) == (1 if len(tasks) == 1 else i)
        if len(tasks) > 1 and not are_labels and not (positive.any() or said.any()):
            continue  # a class that neither occurs nor is predicted
        both = w @ said + w @ positive
        found.append(2 * (w @ (said & positive)) / both if both else 0.0)
    return np.mean(found)


# --- values -------------------------------------------------------------------------------------------------------


def estimates(loss, A):
    """What outputs estimate of y: the outputs, the means, the level nearest to the median's, or the rates."""
    A = A.astype(np.float64)
    if loss.name == "gaussian_nll":
        return A[: len(A) // 2]
    if loss.name == "quantile":
        # rounded: 1/3 and 2/3 are equally near, and the first of such levels counts
        nearest = np.abs(np.subtract(tables.levels(loss, len(A)), 0.5)).round(12).argmin()
        return A[nearest : nearest + 1]
    return np.exp(A) if loss.name == "poisson" else A


def _errors(y, A):
    return A - y


def _r2(y, A, w):
    if A.shape[1] < 2:
        return np.nan
    y = np.asarray(y, np.float64)
    error, y = np.square(_errors(y, A)) @ w, y - y[:, :1]  # the first value is taken off: else a constant y could vary
    spread = np.square(y - (y @ w / w.sum())[:, np.newaxis]) @ w
    return np.where(spread == 0, np.where(error == 0, 1.0, 0.0), 1 - error / spread).mean()


def _rmse(y, A, w):
    return np.sqrt(np.square(_errors(y, A)) @ w / w.sum()).mean()


def _mae(y, A, w):
    return (np.abs(_errors(y, A)) @ w / w.sum()).mean()


# name -> function of (y, A, w); those of classes also of the output activation's name, and of their parameters
_OF_CLASSES = {"accuracy": _accuracy, "top_k": _top_k, "auc": _auc, "f1": _f1}
_OF_VALUES = {"r2": _r2, "rmse": _rmse, "mae": _mae}


# --- what is asked for --------------------------------------------------------------------------------------------


def check_list(given):
    """TypeError if metrics are no list or tuple, as where one metric is given alone."""
    is_spec = isinstance(given, (tuple, list)) and len(given) == 2 and isinstance(given[1], dict)
    if is_spec or isinstance(given, str) or callable(given):
        raise TypeError(f"metrics must be a list of names and functions: write metrics=[{given!r:.80}]")
    if not isinstance(given, (tuple, list)):
        told = ": leave it out" if given is None else ""
        raise TypeError(f"metrics must be a list of names and functions, got {given!r:.80}{told}")


def checked(given, sizes, activation, loss, y):
    """The metrics that a user asks for, and the targets as they take them.

    Parameters
    ----------
    given : name, (name, {parameter: value}), callable, or a list of these
    sizes : tuple of int
    activation : str
        The network's output activation.
    loss : Spec
    y : ndarray
        Checked targets. With a loss of one's own they may be anything: then they are checked for our metrics here.

    Returns
    -------
    (list of Metric, ndarray)

    Raises
    ------
    ValueError, TypeError
        If there is no such metric, it does not fit the network or the targets, or two have one name.
    """
    check_list(given)
    found = []
    for i, one in enumerate(given):
        metric, y = _checked(one, f"metrics[{i}]", sizes[-1], activation, loss, y)
        found.append(metric)
    names = [metric.name for metric in found]
    for i, name in enumerate(names):
        if name in (*names[:i], "loss", "lr"):
            told = "leave one out" if found[i].is_ours else "give the function another __name__"
            raise ValueError(f"metrics[{i}] has the name {name!r}, which is taken; {told}")
    return found, y


def _targets_of_own(spec, argument, n_out, activation, y):
    """Where the loss is one's own: the name of a loss of ours whose targets the metric takes, and y as these."""
    loss = "mse" if spec.name in _OF_VALUES else tables.OUTPUT_LOSS.get(activation, "mse")
    try:
        return loss, arrays.targets(y, n_out, y.shape[-1], loss)
    except (ValueError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        told = f"{argument}: {spec.name} takes y as the loss {loss} does, or give a function (y, A): {error}"
        raise kind(told) from error.__cause__


_LIBRARIES = ("sklearn", "keras", "torch", "torchmetrics", "tensorflow")


def _refuse_other_functions(one, argument):
    """TypeError for a function that reads something else than (y, A) with columns as samples: its number is wrong."""
    name, module = hints.name_of(one), getattr(one, "__module__", None) or ""
    if module.partition(".")[0] in _LIBRARIES:
        told = (
            "give a function (y, A) that calls it with rows: A[0] of one output, A.argmax(axis=0) for classes, else A.T"
        )
        raise TypeError(f"{argument} is {name} of {module.partition('.')[0]}, whose samples are rows; {told}")
    if isinstance(one, type):
        raise TypeError(f"{argument} is a class, {name}: give a function (y, A), or write {name}() for an object of it")
    if hints.takes_outputs_first(one):
        raise TypeError(f"{argument} must take (y, A), the targets first: the parameters of {name} are the other way")


def _checked(one, argument, n_out, activation, loss, y):
    """One metric, and y as it takes it."""
    if callable(one):
        _refuse_other_functions(one, argument)
        if hints.misfit(one, (y, None)):
            raise TypeError(f"{argument} must take two arguments, (y, A): {one!r:.80} does not")
        return Metric(hints.name_of(one), one, bool(getattr(one, "greater_is_better", False)), False), y
    spec, kind = tables.spec(one, tables.METRICS, argument), loss.name
    if kind == tables.OwnLoss.name:
        kind, y = _targets_of_own(spec, argument, n_out, activation, y)
    row = tables.METRICS[spec.name]
    is_of_classes = tables.LOSSES[kind].is_of_classes
    if spec.name in _OF_VALUES:
        if is_of_classes or y.ndim == 1:
            raise ValueError(f"{argument}: {spec.name} is for values; these targets are classes: accuracy, auc or f1")
        function = _OF_VALUES[spec.name]

        def of_values(y, A, w):
            return function(y, estimates(loss, A), w)

        return Metric(spec.name, of_values, row.greater_is_better, True), y
    if not is_of_classes and y.ndim == 2:
        raise ValueError(f"{argument}: {spec.name} is for classes; these targets are values: r2, rmse or mae")
    if spec.name == "top_k":
        k = spec.params["k"]
        if n_out == 1 or (y.ndim == 2 and activation == "sigmoid"):
            raise ValueError(f"{argument}: top_k is for one class of several a sample; here y has labels")
        if k != int(k) or not 1 <= k <= n_out:
            raise ValueError(f"{argument}: k must be a whole number within 1..{n_out}, got {k:g}")
    function = _OF_CLASSES[spec.name]

    def of_classes(y, A, w):
        return np.nan if np.isnan(A).any() else function(y, A, w, activation, **spec.params)

    return Metric(spec.name, of_classes, row.greater_is_better, True), y


def computed(metrics, y_given, y, A, w):
    """The values of metrics: {name: float}."""
    w = np.ones(A.shape[1]) if w is None else w
    A.flags.writeable = False  # a function of the user's must not change it for the others
    values = {}
    for metric in metrics:
        if metric.is_ours:
            with np.errstate(all="ignore"):
                value = metric.function(y, A, w)
        else:
            value = metric.function(y_given, A)
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (numbers.Real, np.ndarray)) or np.ndim(value):
            raise TypeError(f"the metric {metric.name} must return a number, got {hints.shown(value)}")
        values[metric.name] = float(value)
    return values
