"""Pictures of a classifier: where it changes its answer, what it confuses, whether its probabilities are right."""

import numpy as np

from .. import arrays, hints, tables
from . import arguments, figures

_MOST_NUMBERS = 20  # classes up to which the cells of a confusion matrix hold numbers


# --- decision boundary --------------------------------------------------------------------------------------------


@hints.explained
def decision_boundary(net, X, y, *, features=None, classes=None, resolution=200, ax=None):
    """The regions of two features in which a classifier predicts each class, and the samples.

    Parameters
    ----------
    net : Network
        A classifier: of one sigmoid output, or of several outputs, the largest of which is the class.
    X : array_like, (n_0, m)
    y : array_like, (m,) codes, or (n_L, m) with one class for each sample
    features : (int, int), optional
        Which features are the two axes. The others are held at their means over X: so that samples may lie in a region
        of another class than that which is predicted for them. May be left out if there are two features.
    classes : list of str, optional
        Names of the classes, for the legend. None: "class 0" and so on.
    resolution : int
        Points of the grid in each direction, for which the network predicts.
    ax : matplotlib Axes, optional
        Where to draw. None: in a new figure.

    Returns
    -------
    Axes
        Regions have the colours of the classes, stronger where the predicted class has a higher probability. A line is
        where two classes have the same output. The legend is beside the Axes; in narrow panels, and in figures
        without ``layout="constrained"``, it is inside.

    Raises
    ------
    TypeError, ValueError
        If the network is no classifier, or an argument does not fit.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((2, 200))
    >>> y = (X[0] * X[1] > 0).astype(int)
    >>> net = fastnn.Network([2, 16, 1], ["tanh", "sigmoid"], seed=0)
    >>> history = net.fit(X, y, epochs=100, optimizer=fastnn.Adam(0.01), progress=False)
    >>> ax = fastnn.plots.decision_boundary(net, X, y, classes=["unlike", "like"])
    >>> ax.get_xlabel(), [text.get_text() for text in ax.get_legend().get_texts()]
    ('feature 0', ['unlike', 'like'])
    """
    arguments.check_network(net)
    count = arguments.number_of_classes(net)
    X = arguments.samples(net, X)
    y = arguments.codes(net, y, X.shape[1])
    is_named = classes is not None
    classes = arguments.names(classes, count, "classes", "class")
    features = _two_features(features, net.sizes[0])
    resolution = arrays.whole_number(resolution, "resolution", 2, 5000)
    is_own = ax is None
    ax = figures.one(ax)
    colours = figures.categories(ax, count)
    x, z = (_range(X[feature], resolution) for feature in features)
    _draw_regions(ax, net, _outputs_on_grid(net, X, features, x, z), x, z, colours)
    labels = classes if is_named else [f"class {name}" for name in classes]
    drawn = _draw_samples(ax, X[list(features)], y, labels, colours)
    ax.set_xlabel(f"feature {features[0]}")
    ax.set_ylabel(f"feature {features[1]}")
    beside = is_own or figures.has_room_beside(ax)  # inside it covers samples
    names, more = [label for _, label in drawn], {} if beside else {"fontsize": "small"}
    more |= {"handles": [dots for dots, _ in drawn], "labels": [" "] * len(names)}
    legend = figures.legend(ax, outside=beside, points=X.shape[1], **more)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)  # not at first, as matplotlib leaves out labels that begin with "_"
    return ax


def _two_features(features, n_in):
    if features is None:
        if n_in != 2:
            raise ValueError(
                f"net has {n_in} input{'s' * (n_in > 1)}, and a decision boundary is drawn over two"
                + (": give features=(i, j), the two that vary" if n_in > 1 else "")
            )
        return 0, 1
    if not isinstance(features, (tuple, list, np.ndarray)) or len(features) != 2:
        raise TypeError(f"features must be two numbers of features, such as (0, 1), got {features!r:.60}")
    found = tuple(arrays.whole_number(each, f"features[{i}]", 0, n_in - 1) for i, each in enumerate(features))
    if found[0] == found[1]:
        raise ValueError(f"features must be two different ones, got {found}")
    return found


def _range(values, resolution):
    """Evenly spaced numbers over those of the samples, and a little beyond."""
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or 1.0
    return np.linspace(low - margin, high + margin, resolution)


def _outputs_on_grid(net, X, features, x, z):
    """The outputs, (n_L, rows, columns), over a grid of x, which varies along a row, and z."""
    samples = np.repeat(X.mean(axis=1, dtype=np.float64)[:, np.newaxis], len(x), axis=1)
    samples[features[0]] = x
    rows = []
    for value in z:  # row by row, because all of the grid may be large for many features
        samples[features[1]] = value
        rows.append(net.predict(samples))
    return np.stack(rows, axis=1).astype(np.float64)


def _draw_regions(ax, net, A, x, z, colours):
    from matplotlib.colors import to_rgb

    winner = arguments.classes_of(A)
    outputs = np.concatenate([1 - A, A]) if len(A) == 1 else A
    count = len(outputs)
    if net.activations[-1] == "softmax" or net.sizes[-1] == 1:
        certainty = (outputs.max(axis=0) * count - 1) / (count - 1)  # 0 where all have the same probability, at most 1
    else:
        certainty = np.full(winner.shape, 0.5)
    image = np.empty((*winner.shape, 4))
    image[..., :3] = np.array([to_rgb(colour) for colour in colours])[winner]
    image[..., 3] = 0.1 + 0.35 * np.clip(certainty, 0, 1)
    half = (x[1] - x[0]) / 2, (z[1] - z[0]) / 2  # of a pixel, the middle of which is a point of the grid
    extent = x[0] - half[0], x[-1] + half[0], z[0] - half[1], z[-1] + half[1]
    ax.imshow(image, extent=extent, origin="lower", aspect="auto", interpolation="nearest", zorder=0)
    line = {"levels": [0.0], "colors": [figures.theme(ax).text], "linewidths": 1.2}
    for k in range(1 if count == 2 else 0, count):
        lead = outputs[k] - np.delete(outputs, k, axis=0).max(axis=0)
        if lead.min() < 0 < lead.max():
            ax.contour(x, z, lead, **line)
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(z[0], z[-1])


def _draw_samples(ax, X, y, labels, colours):
    """The dots; returns a pair of them and their label for each class that has samples."""
    area, opacity = figures.dots(X.shape[1])
    drawn = []
    for k, label in enumerate(labels):
        own = X[:, y == k]
        marker = figures.MARKERS[k % len(figures.MARKERS)]
        if own.shape[1]:
            look = {"color": [colours[k]], "marker": marker, "edgecolors": ["white"], "linewidths": 0.5}
            drawn.append((ax.scatter(*own, s=area, alpha=max(opacity, 0.6), label=label, zorder=2, **look), label))
    return drawn


# --- confusion matrix ---------------------------------------------------------------------------------------------


@hints.explained
def confusion_matrix(net, X, y, *, classes=None, normalise=None, ax=None):
    """How many samples of each class a classifier predicts as each class.

    Parameters
    ----------
    net : Network
        A classifier: of one sigmoid output, or of several outputs, the largest of which is the class.
    X : array_like or sparse, (n_0, m)
    y : array_like, (m,) codes, or (n_L, m) with one class for each sample
    classes : list of str, optional
        Names of the classes. None: their codes.
    normalise : {None, "true", "predicted", "all"}
        Divide by the number of samples of the true class (so that the diagonal is each class's recall), by that of the
        predicted class (its precision), or by that of all.
    ax : matplotlib Axes, optional
        Where to draw. None: in a new figure.

    Returns
    -------
    Axes
        A row for each true class, a column for each predicted one. Cells with a number for up to 20 classes, beyond
        that a colour bar. Colours go with the square root of the numbers. A cell that would divide by 0 is empty.

    Raises
    ------
    TypeError, ValueError
        If the network is no classifier, or an argument does not fit.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> from fastnn import datasets
    >>> X, y = datasets.load_digits()
    >>> net = fastnn.Network([64, 32, 10], seed=0)
    >>> history = net.fit(X / 16, y, epochs=10, optimizer=fastnn.Adam(), progress=False)
    >>> ax = fastnn.plots.confusion_matrix(net, X / 16, y)
    >>> int(ax.images[0].get_array().sum())
    1797
    """
    arguments.check_network(net)
    count = arguments.number_of_classes(net)
    if normalise is not None:
        arguments.one_of(normalise, ("true", "predicted", "all"), "normalise")
    classes = arguments.names(classes, count, "classes", "class")
    predicted = arguments.classes_of(arguments.predictions(net, X))
    y = arguments.codes(net, y, len(predicted))
    table = np.bincount(y * count + predicted, minlength=count * count).reshape(count, count)
    if normalise is not None:
        axis = {"true": 1, "predicted": 0, "all": None}[normalise]
        with np.errstate(invalid="ignore"):
            table = table / table.sum(axis=axis, keepdims=True)
    return draw_confusion(figures.one(ax), table, classes)


def draw_confusion(ax, table, classes):
    """Draw a table of counts or of shares, a row for each true class; returns `ax`."""
    from matplotlib.colors import PowerNorm

    norm = PowerNorm(0.5, vmin=0, vmax=np.nanmax(table))  # so that few mistakes among many hits are seen, too
    image = ax.imshow(table, cmap=figures.amount(ax), norm=norm, interpolation="nearest")
    ax.grid(False)  # some styles have lines, which would cross the numbers
    if len(classes) <= _MOST_NUMBERS:
        _write_numbers(ax, image, table)
    else:
        figures.colorbar(ax, image, "share" if table.dtype.kind == "f" else "samples")
    _name_classes(ax, classes)
    return ax


def _write_numbers(ax, image, table):
    """The number of each cell, in black or white, whichever is easier to read on the cell's colour."""
    height = ax.get_window_extent().height / ax.get_figure().dpi * 72 / len(table)  # points
    is_share = table.dtype.kind == "f"
    for (row, column), value in np.ndenumerate(table):
        if not np.isnan(value):
            text, cell = f"{value:.2f}" if is_share else f"{value}", image.cmap(image.norm(value))[:3]
            size = min(10.0, 0.55 * height, 1.5 * height / len(text))
            colour = figures.readable_on(cell)
            ax.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)


def _name_classes(ax, classes):
    count = len(classes)
    shown = range(0, count, -(-count // 40))  # names of more classes would lie on each other
    names = [classes[i] for i in shown]
    size = "medium" if len(names) <= 12 else "small" if len(names) <= 20 else "x-small"
    turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if sum(map(len, names)) > 40 else {}
    turned = {"rotation": 90} if len(names) > 20 else turned
    ax.set_xticks(list(shown), names, fontsize=size, **turned)
    ax.set_yticks(list(shown), names, fontsize=size)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")


# --- calibration --------------------------------------------------------------------------------------------------


@hints.explained
def calibration(net, X, y, of_class=None, *, bins=10, strategy="uniform", ax=None):
    """Whether probabilities are right: how often the class occurs where the network says that it does so often.

    Parameters
    ----------
    net : Network
        With sigmoid or softmax outputs.
    X : array_like or sparse, (n_0, m)
    y : array_like, (m,) codes, or (n_L, m) with one class for each sample
    of_class : int, optional
        The class whose probability is looked at. None: class 1 of two classes; of more classes, for each sample the one
        that is predicted.
    bins : int
        Number of the bins in which samples with similar probabilities are put.
    strategy : {"uniform", "quantile"}
        Bins of equal width, or of about equally many samples.
    ax : matplotlib Axes, optional
        Where to draw. None: in a new figure.

    Returns
    -------
    Axes
        A point for each bin that has samples: the mean of their probabilities, and the share of them that have the
        class. Points on the diagonal are right. Bars are the 95% intervals of the shares; a bin of few samples has
        a long one.

    Raises
    ------
    TypeError, ValueError
        If the outputs are no probabilities, or an argument does not fit.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    The legend gives the expected calibration error, ECE = sum_b m_b / m abs(share_b - mean probability_b) over the bins
    b: M. P. Naeini, G. F. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning",
    2015. The predicted class of several: C. Guo et al., "On calibration of modern neural networks", 2017. The
    intervals: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((1, 2000))
    >>> y = (rng.random(2000) < 1 / (1 + np.exp(-X[0]))).astype(int)
    >>> net = fastnn.Network([1, 1], seed=0)
    >>> history = net.fit(X, y, epochs=30, progress=False)
    >>> ax = fastnn.plots.calibration(net, X, y)
    >>> ax.get_xlabel()
    'mean probability of class 1'
    """
    arguments.check_network(net)
    _refuse_no_probabilities(net)
    count = arguments.number_of_classes(net)
    if of_class is not None:
        of_class = arrays.whole_number(of_class, "of_class", 0, count - 1)
    elif count == 2:
        of_class = 1
    bins = arrays.whole_number(bins, "bins", 1)
    arguments.one_of(strategy, ("uniform", "quantile"), "strategy")
    A = arguments.predictions(net, X)
    y = arguments.codes(net, y, A.shape[1])
    probability, occurs = _probabilities(A, y, of_class)
    ax = figures.one(ax)
    here = figures.theme(ax)
    ax.plot([0, 1], [0, 1], linestyle=":", color=here.muted, label="perfectly calibrated")
    mean, share, sizes = reliability(probability, occurs, bins, strategy)
    error = np.abs(share - mean) @ sizes / sizes.sum()
    low, high = wilson(share, sizes)
    bars = np.clip([share - low, high - share], 0, None)  # rounding may make one of them negative
    look = {"color": figures.main_colour(ax), "marker": "o", "capsize": 2, "elinewidth": 1}
    ax.errorbar(mean, share, yerr=bars, label=f"network, ECE {error:.3f}", **look)
    what = "the predicted class" if of_class is None else f"class {of_class}"
    ax.set_xlabel(f"mean probability of {what}")
    ax.set_ylabel("share predicted right" if of_class is None else f"share of samples of {what}")
    ax.set_xlim(-0.03, 1.03)
    ax.set_ylim(-0.03, 1.03)
    figures.legend(ax)
    return ax


def _refuse_no_probabilities(net):
    output = net.activations[-1]
    if output not in ("sigmoid", "softmax") or tables.loss_row(arguments.name_of(net.loss_name)).targets in (
        "one_value",
        "means",
    ):
        raise ValueError(
            f"net has {arguments.name_of(output)} outputs and loss {arguments.name_of(net.loss_name)!r}, which are no "
            "probabilities; calibration needs sigmoid or softmax outputs"
        )


def _probabilities(A, y, of_class):
    """For each sample the probability that is looked at, and whether its class occurs."""
    if of_class is None:
        return A.max(axis=0), A.argmax(axis=0) == y
    if len(A) == 1:
        return (A[0] if of_class == 1 else 1 - A[0]), y == of_class
    return A[of_class], y == of_class


def reliability(probability, occurs, bins, strategy):
    """For each bin with samples the mean probability, the share of samples that occur, and their number."""
    if strategy == "uniform":
        edges = np.linspace(0, 1, bins + 1)
    else:
        edges = np.quantile(probability, np.linspace(0, 1, bins + 1))
    place = np.searchsorted(edges[1:-1], probability)
    sizes = np.bincount(place, minlength=bins)
    full = sizes > 0
    mean = np.bincount(place, probability, minlength=bins)[full] / sizes[full]
    return mean, np.bincount(place, occurs, minlength=bins)[full] / sizes[full], sizes[full]


def wilson(share, m):
    """The ends of Wilson's 95% interval for the probability of what had a share of m trials."""
    z = 1.959964
    middle = (share + z**2 / (2 * m)) / (1 + z**2 / m)
    half = z / (1 + z**2 / m) * np.sqrt(share * (1 - share) / m + z**2 / (4 * m**2))
    return middle - half, middle + half
