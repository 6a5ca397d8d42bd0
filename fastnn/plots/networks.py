"""Pictures of a network: its units and weights, and the distributions of what its layers compute."""

import itertools
import math

import numpy as np

from .. import arrays, hints
from ..settings import check_flag
from . import arguments, figures

_FEWEST_PLACES = 4  # the height of a diagram in units, so that two units are not as large as the picture
_ROUNDING = 1e-13  # relative; float64 has no room for the bins of a histogram in it
_LEGEND = 22.0  # the height of its line, points
_BOUNDED = {"sigmoid": (0, 1), "softmax": (0, 1), "tanh": (-1, 1)}  # the same axis for each layer of this kind


# --- network_diagram ----------------------------------------------------------------------------------------------


@hints.explained
def network_diagram(net, *, inputs=None, outputs=None, weights=True, most=10, ax=None):
    """A network as units and their connections.

    Parameters
    ----------
    net : Network
    inputs, outputs : list of str, optional
        Names of the n_0 features and of the n_L outputs, written beside their units.
    weights : bool
        True: the lines have the colour of the sign of the weights, and are the wider the larger a weight is compared
        with the largest of its layer.
    most : int
        At least 3. Of a layer with more units the first and the last ones are drawn, and dots between them.
    ax : matplotlib Axes, optional
        Where to draw. None: in a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> net = fastnn.Network([4, 16, 3], seed=0)
    >>> ax = fastnn.plots.network_diagram(net, outputs=["setosa", "versicolor", "virginica"])
    >>> len(ax.patches)  # 16 units are more than 10: nine are drawn
    16
    """
    arguments.check_network(net)
    sides = [
        [] if names is None else arguments.names(names, n, argument, what)
        for names, n, argument, what in (
            (inputs, net.sizes[0], "inputs", "feature"),
            (outputs, net.sizes[-1], "outputs", "output"),
        )
    ]
    check_flag("weights", weights)
    most = arrays.whole_number(most, "most", 3)
    columns = [_places(n, most) for n in net.sizes]
    tallest = max(_FEWEST_PLACES, *(min(n, most) for n in net.sizes))
    step = max(2.0, 1.3 * tallest / (len(net.sizes) - 1))  # of x; units of a layer are 1 apart
    width = step * (len(net.sizes) - 1) / (1.3 * tallest)
    ax = figures.one(ax, size=(min(max(1.0, width), 3.0), 1.0))
    _draw_connections(ax, net, columns, step, weights)
    _draw_units(ax, net, columns, step)
    _name_units(ax, columns, step, sides)
    _describe_layers(ax, net, step, -tallest / 2 - 0.3)
    ax.set_aspect("equal")
    width, height = step * (len(net.sizes) - 1) + 1.2, tallest + 0.4
    ax.set_xlim(-0.6, width - 0.6)
    ax.set_ylim(-tallest / 2 - 0.3, tallest / 2 + 0.1 + weights * _room_of_legend(ax, width, height))
    ax.set_axis_off()
    return ax


def _room_of_legend(ax, width, height):
    """How much of y the legend needs above a diagram of this width and height: inside, as a title is written above."""
    box, points = ax.get_window_extent(), 72 / ax.get_figure().dpi
    unit = min(box.width * points / width, (box.height * points - _LEGEND) / height)
    return _LEGEND / max(unit, 1.0)


def _places(n, most):
    """The units of a layer that are drawn, {unit: y}, the first one on top; the gap of the others is one place wide."""
    if n <= most:
        return {unit: (n - 1) / 2 - unit for unit in range(n)}
    last = (most - 1) // 2
    first = most - 1 - last
    above = {unit: (most - 1) / 2 - unit for unit in range(first)}
    return above | {n - last + i: (most - 1) / 2 - first - 1 - i for i in range(last)}


def _draw_connections(ax, net, columns, step, weights):
    from matplotlib.collections import LineCollection

    here, colours = figures.theme(ax), figures.signed(ax)
    for layer, ((W, *_), (left, right)) in enumerate(zip(net.parameters, itertools.pairwise(columns), strict=True)):
        pairs = list(itertools.product(left.items(), right.items()))
        lines = [[(layer * step, y), ((layer + 1) * step, z)] for (_, y), (_, z) in pairs]
        if not weights:
            ax.add_collection(LineCollection(lines, colors=[here.muted], linewidths=0.6, zorder=1), autolim=False)
            continue
        shown = np.array([W[j, i] for (i, _), (j, _) in pairs], dtype=float)
        size = np.abs(shown) / (np.abs(W).max(initial=0.0) or 1.0)
        order = np.argsort(size, kind="stable")  # the large ones on top
        look = {"linewidths": 0.3 + 2.2 * size[order], "alpha": np.clip(0.25 + size[order], 0, 1), "zorder": 1}
        colour = [colours(1.0 if value > 0 else 0.0 if value < 0 else 0.5) for value in shown[order]]
        ax.add_collection(LineCollection([lines[i] for i in order], colors=colour, **look), autolim=False)
    if weights:
        for name, end in (("weight above 0", 1.0), ("below 0", 0.0)):
            ax.plot([], [], color=colours(end), label=name)
        figures.legend(ax, loc="upper center", borderaxespad=0.0, ncols=2, frameon=False, fontsize="small")


def _draw_units(ax, net, columns, step):
    from matplotlib.patches import Circle

    here = figures.theme(ax)
    fill = figures.mixed(here.back, here.text, 0.08)
    for layer, (column, n) in enumerate(zip(columns, net.sizes, strict=True)):
        for y in column.values():
            ax.add_patch(Circle((layer * step, y), 0.36, facecolor=fill, edgecolor=here.text, linewidth=1, zorder=2))
        if len(column) < n:
            ys = sorted(column.values())
            gap = max(range(1, len(ys)), key=lambda i: ys[i] - ys[i - 1])
            middle = (ys[gap] + ys[gap - 1]) / 2
            ax.scatter([layer * step] * 3, middle + np.array([-0.25, 0, 0.25]), s=4, color=[here.text], zorder=2)


def _name_units(ax, columns, step, sides):
    text = figures.theme(ax).text
    ends = (0, columns[0], -0.5, "right", sides[0]), (len(columns) - 1, columns[-1], 0.5, "left", sides[1])
    for layer, column, shift, align, names in ends:
        for unit, y in column.items() if names else ():
            ax.text(layer * step + shift, y, names[unit], ha=align, va="center", color=text, fontsize="small")


def _describe_layers(ax, net, step, y):
    text = figures.theme(ax).text
    words = [f"{net.sizes[0]} input{'s' * (net.sizes[0] > 1)}"]
    hidden = zip((*net.norm, None), (*net.dropout, 0.0), strict=True)
    for n, g, (norm, dropout) in zip(net.sizes[1:], net.activations, hidden, strict=True):
        more = [f"{norm} norm"] * bool(norm) + [f"dropout {dropout:g}"] * bool(dropout)
        words.append("\n".join([f"{n} {arguments.name_of(g)}", *more]))
    for layer, lines in enumerate(words):
        ax.text(layer * step, y, lines, ha="center", va="top", color=text, fontsize="small")


# --- weights_as_images --------------------------------------------------------------------------------------------


@hints.explained
def weights_as_images(net, layer=0, shape=None, *, units=None, ax=None):
    """The weights of each unit of a layer as an image: what it looks for in images.

    Parameters
    ----------
    net : Network
    layer : int
        The place of the layer in ``net.parameters``: 0 is the first layer.
    shape : (int, int), optional
        Rows and columns of the images, whose pixels are the layer's inputs in row-major order. None: a square, such as
        28 x 28 for 784 inputs.
    units : sequence of int, optional
        Which units. None: all.
    ax : matplotlib Axes, optional
        Where to draw. None: in a new figure.

    Returns
    -------
    Axes
        With one image, ``ax.images[0]``, in which those of the units lie side by side, row by row, in the order of
        `units`, with a gap of NaN around them. Weights of 0 have the colour of the background.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or the inputs make no square and there is no `shape`.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    In a network that standardises (:meth:`Network.adapt`) the first layer's weights are those of standardised features.

    Examples
    --------
    >>> net = fastnn.Network([64, 12, 10], seed=0)
    >>> ax = fastnn.plots.weights_as_images(net)
    >>> ax.images[0].get_array().shape  # 3 rows of 4 images of 8 x 8
    (28, 37)
    """
    arguments.check_network(net)
    layer = arrays.whole_number(layer, "layer", 0, len(net.parameters) - 1)
    W = net.parameters[layer][0].astype(float)
    height, width = _image_shape(shape, W.shape[1], layer)
    if units is not None:
        units = _checked_units(units, len(W))
        W = W[units]
    arguments.refuse_non_finite(W, f"W of layer {layer + 1}", None)
    ax = figures.one(ax)
    largest = np.abs(W).max() or 1.0
    mosaic = _mosaic(W.reshape(len(W), height, width))
    image = ax.imshow(mosaic, cmap=figures.signed(ax), vmin=-largest, vmax=largest, interpolation="nearest")
    figures.colorbar(ax, image, f"weights of layer {layer + 1}")
    ax.set_xticks([])
    ax.set_yticks([])
    for side in ax.spines.values():
        side.set_visible(False)
    return ax


def _image_shape(shape, n, layer):
    if shape is None:
        side = math.isqrt(n)
        if side * side != n:
            raise ValueError(f"layer {layer} has {n} inputs, which make no square: give shape=(rows, columns)")
        return side, side
    if not isinstance(shape, (tuple, list)) or len(shape) != 2:
        raise TypeError(f"shape must be (rows, columns), got {shape!r:.60}")
    height, width = (arrays.whole_number(side, f"shape[{i}]", 1) for i, side in enumerate(shape))
    if height * width != n:
        raise ValueError(f"shape {height} x {width} has {height * width} pixels, and layer {layer} has {n} inputs")
    return height, width


def _checked_units(units, n):
    if isinstance(units, (str, bytes, dict)) or not hasattr(units, "__iter__"):
        raise TypeError(f"units must be a list of numbers of units, got {units!r:.60}")
    found = [arrays.whole_number(unit, f"units[{i}]", 0, n - 1) for i, unit in enumerate(units)]
    if not found:
        raise ValueError("units is empty: there is nothing to draw")
    return found


def _mosaic(images):
    """Images (n, height, width) side by side in an array of about 4 : 3, with NaN around them."""
    n, height, width = images.shape
    gap = max(1, round(0.06 * max(height, width)))
    ideal = min(n, max(1, round(math.sqrt(n * 4 / 3 * (height + gap) / (width + gap)))))
    near = range(math.ceil(0.7 * ideal), math.floor(1.3 * ideal) + 1)
    columns = min(near, key=lambda c: (-n % c) / n + abs(math.log(c / ideal)) / 2)  # with few empty places
    rows = -(-n // columns)
    whole = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap), np.nan)
    for i, image in enumerate(images):
        top, left = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        whole[top : top + height, left : left + width] = image
    return whole


# --- histograms ---------------------------------------------------------------------------------------------------


@hints.explained
def activation_histograms(net, X, of="A", *, bins=40, ax=None):
    """How the numbers are distributed that each layer computes for some samples.

    Parameters
    ----------
    net : Network
    X : array_like, (n_0, m)
        Some hundred samples are enough; the memory needed is that of ``net.forward(X, cache=True)``.
    of : {"A", "Z"}
        The activations A = g(Z), or what is before the activation (and before a norm).
    bins : int
    ax : array of matplotlib Axes, one for each layer, optional
        Where to draw. None: in a new figure.

    Returns
    -------
    ndarray of Axes, one for each layer
        Each with the share of the numbers in each bin, and with their standard deviation. The zeros of relu are not
        drawn but counted: their share is written beside it. sigmoid, softmax and tanh have the axis of their range.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or a layer computes numbers that are not finite.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    As in X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010:
    with a good start the layers have similar distributions; those that shrink from layer to layer, or lie at the ends
    of the range, say that gradients will vanish.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((50, 200))
    >>> net = fastnn.Network([50, 50, 50, 1], ["tanh", "tanh", "sigmoid"], init=("normal", {"sd": 0.01}), seed=0)
    >>> axes = fastnn.plots.activation_histograms(net, X)
    >>> [ax.get_title() for ax in axes]
    ['layer 1: tanh', 'layer 2: tanh', 'layer 3: sigmoid']
    """
    arguments.check_network(net)
    arguments.one_of(of, ("A", "Z"), "of")
    X = arguments.samples(net, X)
    bins = arrays.whole_number(bins, "bins", 1)
    kinds = [arguments.name_of(g) for g in net.activations]
    _, caches = net.forward(X, cache=True)
    values = [cache[of].astype(np.float64) for cache in caches]
    titles = [f"layer {i}: {kind if of == 'A' else f'Z of {kind}'}" for i, kind in enumerate(kinds, start=1)]
    spans = [_BOUNDED.get(kind) if of == "A" else None for kind in kinds]
    skips = [of == "A" and kind == "relu" for kind in kinds]
    return _histograms(ax, values, titles, spans, skips, bins)


@hints.explained
def gradient_histograms(net, X, y, *, bins=40, ax=None):
    """How the derivatives dW of each layer's weights are distributed.

    Parameters
    ----------
    net : Network
    X : array_like or sparse, (n_0, m)
    y : array_like
        As for :meth:`Network.gradients`.
    bins : int
    ax : array of matplotlib Axes, one for each layer, optional
        Where to draw. None: in a new figure.

    Returns
    -------
    ndarray of Axes, one for each layer
        Each with the share of the numbers in each bin, and with their standard deviation.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or a derivative is not finite.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    dW = dZ A_prev^T / m, of :meth:`Network.gradients`. As in X. Glorot and Y. Bengio, "Understanding the difficulty of
    training deep feedforward neural networks", 2010.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> net = fastnn.Network([50, 50, 1], seed=0)
    >>> axes = fastnn.plots.gradient_histograms(net, rng.standard_normal((50, 200)), np.arange(200) % 2)
    >>> [ax.get_title() for ax in axes]
    ['layer 1: dW', 'layer 2: dW']
    """
    arguments.check_network(net)
    bins = arrays.whole_number(bins, "bins", 1)
    _, gradients = net.gradients(X, y)
    values = [layer[0].astype(np.float64) for layer in gradients]
    titles = [f"layer {i}: dW" for i in range(1, len(values) + 1)]
    return _histograms(ax, values, titles, [None] * len(values), [False] * len(values), bins)


def _span(numbers):
    """The ends of a histogram; numbers that are the same but for rounding, however large, get room around them."""
    if not numbers.size:
        return 0.0, 1.0
    low, high = float(numbers.min()), float(numbers.max())
    room = max(0.5, abs(low) / 2) if high - low <= _ROUNDING * max(abs(low), abs(high)) else 0.0
    return low - room, high + room


def _histograms(ax, values, titles, spans, skips, bins):
    """A panel for each array of `values`; `spans` are the ends of the axes, `skips` whether to leave out zeros."""
    for numbers, title in zip(values, titles, strict=True):
        arguments.refuse_non_finite(numbers, title, None)
    axes = figures.several(ax, len(values), "layer")
    for one, numbers, title, span, skip in zip(axes, values, titles, spans, skips, strict=True):
        here = figures.theme(one)
        drawn = numbers[numbers != 0] if skip else numbers.ravel()
        counts, edges = np.histogram(drawn, bins, span or _span(drawn))
        one.stairs(counts / numbers.size, edges, fill=True, color=figures.main_colour(one))
        one.set_title(title, fontsize="medium")
        words = [f"sd {numbers.std():.2g}"] + [f"{1 - drawn.size / numbers.size:.0%} are 0"] * skip
        one.text(0.97, 0.95, "\n".join(words), ha="right", va="top", transform=one.transAxes, color=here.text)
        one.locator_params(axis="x", nbins=3)  # more would touch each other: "-0.025", "0.000", "0.025"
        one.margins(y=0.35)
        one.set_ylim(bottom=0)
    axes[0].set_ylabel("share")
    return axes
