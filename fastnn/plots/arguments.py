"""Checks of what the functions of fastnn.plots are given: networks, histories, samples, names of classes."""

import numpy as np

from .. import arrays, tables
from ..history import History
from ..network import Network


def check_network(net):
    """Raise TypeError if `net` is no network."""
    if not isinstance(net, Network):
        told = ""
        if hasattr(type(net), "encode"):  # a TabularModel
            told = ": write model.network, and X = model.encode(table)"
        elif hasattr(net, "network_"):  # one of fastnn.sklearn's estimators
            told = ": write model.network_, and X.T, as its columns are samples"
        raise TypeError(f"net must be a fastnn.Network, got {type(net).__name__} {net!r:.60}{told}")


def check_history(history, name="history"):
    """Raise an error if `history` is none, or if it has no epoch."""
    if not isinstance(history, History):
        told = ": fit returns one, history = net.fit(X, y)" if isinstance(history, Network) else ""
        if hasattr(history, "loss_curve_"):
            told = ": an estimator has a list of losses, plt.plot(model.loss_curve_)"
        elif hasattr(type(history), "history"):  # a TabularModel
            told = ": write model.history"
        raise TypeError(
            f"{name} must be the History that fit returns, got {type(history).__name__} {history!r:.60}{told}"
        )
    if not history.loss:
        raise ValueError(f"{name} has no epoch: there is nothing to draw")


def one_of(value, choices, name):
    """Return `value`, or raise ValueError if it is none of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r:.60}")
    return value


def samples(net, X):
    """X as an array (n_0, m) of finite numbers, with at least one sample."""
    X = arrays.features(X, net.sizes[0])
    arrays.samples(X.shape[1])
    refuse_non_finite(X, "X", "feature")
    return X


def refuse_non_finite(array, name, row):
    """Raise ValueError if a number is not finite."""
    found = arrays.first_non_finite(array, np.dtype(np.float64), row)
    if found:
        raise ValueError(f"{name} has {found}; a picture needs finite numbers")


def predictions(net, X):
    """The outputs A (n_L, m) of at least one sample, finite, in float64."""
    A = net.predict(X).astype(np.float64)
    arrays.samples(A.shape[1])
    refuse_non_finite(A, "net.predict(X)", "output")
    return A


def number_of_classes(net):
    """How many classes the outputs tell apart; ValueError if none."""
    n_out, output, loss = net.sizes[-1], name_of(net.activations[-1]), name_of(net.loss_name)
    if tables.loss_row(loss).targets in ("one_value", "means", "counts") or (n_out == 1 and output != "sigmoid"):
        what = f"{n_out} {output} output{'s' * (n_out > 1)}"
        raise ValueError(
            f"net has {what} and loss {loss!r}, which tell no classes apart; fastnn.plots.regression_fit draws "
            "networks whose outputs are values"
        )
    return max(n_out, 2)


def codes(net, y, m):
    """The class of each sample, (m,), of targets that are codes or a probability for each class."""
    n_out, output = net.sizes[-1], name_of(net.activations[-1])
    if n_out > 1 and output != "softmax" and arrays.real_array(y, "y").ndim != 1:
        raise ValueError(
            f"y has shape {np.shape(y)}, wanted codes ({m},), one class for each sample: of {n_out} {output} outputs a "
            "sample may have several labels"
        )
    y = arrays.targets(y, n_out, m, "cross_entropy" if n_out > 1 else "binary_cross_entropy")
    if y.ndim == 1:
        return y
    return (y[0] >= 0.5).astype(int) if n_out == 1 else y.argmax(axis=0)


def classes_of(A):
    """The class of each sample that outputs (n_L, m) predict."""
    return (A[0] >= 0.5).astype(int) if len(A) == 1 else A.argmax(axis=0)


def names(given, count, argument, what):
    """`given` as a list of `count` strings, by default the numbers from 0."""
    if given is None:
        return [str(i) for i in range(count)]
    if isinstance(given, (str, bytes, dict, set, frozenset)) or not hasattr(given, "__iter__"):
        raise TypeError(f"{argument} must be a list of {count} names, got {given!r:.60}")
    found = [str(name) for name in given]
    if len(found) != count:
        raise ValueError(f"{argument} has {len(found)} names, wanted {count}: one for each {what}")
    return found


def name_of(spec):
    """The name in what Network.activations and Network.loss_name hold: a name, or (name, parameters)."""
    return spec if isinstance(spec, str) else spec[0]
