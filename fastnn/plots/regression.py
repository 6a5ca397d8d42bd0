"""The picture of a regression: what a network predicts beside the targets, with its bands."""

from typing import NamedTuple

import numpy as np

from .. import arrays, hints, tables
from ..metrics import estimates
from . import arguments, figures

_GRID = 400  # points of a curve


class Band(NamedTuple):
    """An interval for each sample, (m,) its ends."""

    low: np.ndarray
    high: np.ndarray
    label: str


class Prediction(NamedTuple):
    """What is predicted of one target: a value for each sample (m,), or None, and bands, the widest first."""

    middle: np.ndarray | None
    label: str
    bands: list


@hints.explained
def regression_fit(net, X, y, *, ax=None):
    """What a network predicts, beside the targets: over the feature if there is one, else predicted against true.

    Parameters
    ----------
    net : Network
        With loss mse, mae, huber, poisson, quantile or gaussian_nll.
    X : array_like, (n_0, m)
    y : array_like
        As for :meth:`Network.loss`: (m,) values, or (k, m) for k targets.
    ax : matplotlib Axes, or an array of one for each target, optional
        Where to draw. None: in a new figure.

    Returns
    -------
    Axes, or an ndarray of Axes for several targets
        With one feature the samples, a curve of the predictions and bands around it. Else a point for each sample, its
        true value and the predicted one, with its bands as bars; points on the diagonal are right. Bands are: of
        quantile the intervals between the levels, first and last, second and last but one, and so on; of gaussian_nll
        the mean +- 2 standard deviations.

    Raises
    ------
    TypeError, ValueError
        If the network predicts no values, or an argument does not fit.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    Predictions are the outputs; with poisson exp(A), with gaussian_nll the means; with quantile the level in the
    middle, and bands alone if there is none. In a normal distribution 95.4% of the values are within 2 standard
    deviations.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (1, 300))
    >>> y = np.sin(3 * X[0]) + 0.2 * rng.standard_normal(300)
    >>> net = fastnn.Network([1, 32, 3], ["tanh", "identity"], ("quantile", {"levels": [0.05, 0.5, 0.95]}), seed=0)
    >>> history = net.fit(X, y, epochs=100, optimizer=fastnn.Adam(0.01), progress=False)
    >>> ax = fastnn.plots.regression_fit(net, X, y)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['samples', 'level 0.05 to 0.95', 'level 0.5']
    """
    arguments.check_network(net)
    loss = _checked_loss(net)
    X = arguments.samples(net, X)
    y = arrays.targets(y, net.sizes[-1], X.shape[1], loss.name)
    if y.ndim == 1:
        raise ValueError(f"y holds class codes; wanted values of shape ({net.sizes[-1]}, {X.shape[1]})")
    arguments.refuse_non_finite(y, "y", "output")
    is_curve = net.sizes[0] == 1
    at = np.linspace(X.min(), X.max(), _GRID)[np.newaxis] if is_curve else X
    predictions = _predictions(loss, arguments.predictions(net, at))
    axes = figures.several(ax, len(y), "target")
    for i, (one, values, prediction) in enumerate(zip(axes, y, predictions, strict=True)):
        if is_curve:
            _draw_curve(one, X[0], values, at[0], prediction)
        else:
            draw_against_truth(one, values, prediction)
        if len(y) > 1:
            one.set_title(f"target {i}", fontsize="medium")
    figures.legend(axes[0], points=X.shape[1], fontsize="small" if len(y) > 1 else None)
    return axes if len(y) > 1 else axes[0]


def _checked_loss(net):
    """The loss of a network that predicts values, as a Spec."""
    name = arguments.name_of(net.loss_name)
    row = tables.loss_row(name)
    if row.is_of_classes:
        raise ValueError(
            f"net has loss {name!r}, which is of classes; see fastnn.plots.confusion_matrix, calibration and "
            "decision_boundary"
        )
    if row.targets == "any":
        raise ValueError(
            "net has a loss of its own, so that it is not known what its outputs mean: draw net.predict(X)"
        )
    return tables.spec(net.loss_name, tables.LOSSES, "loss")


def _predictions(loss, A):
    """The :class:`Prediction` of each target from the outputs."""
    if loss.name == "quantile":
        return [_of_levels(tables.levels(loss, len(A)), A)]
    with np.errstate(over="ignore"):  # what becomes infinite is told
        middle = estimates(loss, A)
        spread = 2 * np.exp(A[len(middle) :] / 2)
    arguments.refuse_non_finite(middle, "the prediction", "target")
    arguments.refuse_non_finite(spread, "the standard deviation", "target")
    if loss.name != "gaussian_nll":
        return [Prediction(each, "prediction", []) for each in middle]
    return [Prediction(m, "mean", [Band(m - s, m + s, "mean ± 2 sd")]) for m, s in zip(middle, spread, strict=True)]


def _of_levels(levels, A):
    order = np.argsort(levels)
    bands = [(order[i], order[-1 - i]) for i in range(len(A) // 2)]
    bands = [Band(A[i], A[j], f"level {levels[i]:.3g} to {levels[j]:.3g}") for i, j in bands]
    middle = order[len(A) // 2]
    return Prediction(A[middle], f"level {levels[middle]:.3g}", bands) if len(A) % 2 else Prediction(None, "", bands)


def _draw_curve(ax, x, y, at, prediction):
    area, opacity = figures.dots(len(x))
    colour = figures.main_colour(ax)
    ax.scatter(x, y, s=area, alpha=opacity, color=[figures.theme(ax).muted], linewidths=0, label="samples")
    for band in prediction.bands:
        ax.fill_between(at, band.low, band.high, color=colour, alpha=0.25, linewidth=0, label=band.label)
    if prediction.middle is not None:
        ax.plot(at, prediction.middle, color=colour, label=prediction.label)
    ax.set_xlabel("feature 0")
    ax.set_ylabel("target")


def draw_against_truth(ax, y, prediction):
    """Draw a :class:`Prediction` of each sample over the true value."""
    area, opacity = figures.dots(len(y))
    colour, muted = figures.main_colour(ax), figures.theme(ax).muted
    drawn = [y]
    for i, band in enumerate(prediction.bands):
        look = {"color": colour, "alpha": 0.4 * opacity, "linewidth": 1 + 1.5 * i}
        ax.vlines(y, band.low, band.high, label=band.label, **look)
        drawn += [band.low, band.high]
    if prediction.middle is not None:
        edge = {"edgecolors": [figures.theme(ax).back], "linewidths": 0.4}  # else dots and bars are one patch
        ax.scatter(y, prediction.middle, s=area, alpha=opacity, color=[colour], label=prediction.label, **edge)
        drawn.append(prediction.middle)
    low, high = min(map(np.min, drawn)), max(map(np.max, drawn))
    margin = 0.05 * (high - low) or 1.0
    ends = low - margin, high + margin
    ax.plot(ends, ends, linestyle=":", color=muted, label="prediction = truth", zorder=3)
    ax.set_xlim(ends)
    ax.set_ylim(ends)
    ax.set_aspect("equal")
    ax.set_xlabel("true")
    ax.set_ylabel("predicted")
