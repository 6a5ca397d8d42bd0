"""fastnn.plots: what is drawn, in which Axes and colours; and the HTML that notebooks show."""

import itertools
import subprocess
import sys
from html.parser import HTMLParser
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

import fastnn
from conftest import alone
from fastnn import Adam, History, Network, plots
from fastnn.plots import figures

pytestmark = alone  # pyplot belongs to the whole process

RNG = np.random.default_rng(22)
M = 120
X = RNG.standard_normal((2, M))
CODES = (X[0] > 0).astype(int) + (X[0] + X[1] > 1)
VALUES = np.sin(X[0]) + 0.1 * RNG.standard_normal(M)


def trained(sizes, y, *args, X=X, epochs=5, **settings):
    """A network that was trained a little."""
    net = Network(sizes, *args, seed=1, **settings)
    net.fit(X, y, epochs, optimizer=Adam(0.02), progress=False)
    return net


BINARY = trained([2, 8, 1], CODES > 0)
ESTIMATOR = SimpleNamespace(network_=None)
THREE = trained([2, 8, 3], CODES)
REGRESSION = trained([2, 8, 1], VALUES, None, "mse")
HISTORY = Network([2, 8, 3], seed=1).fit(
    X, CODES, 6, validation_split=0.2, metrics=["accuracy"], early_stopping=6, diagnostics=True, progress=False
)


def history_of(**numbers):
    """A History with these numbers."""
    history = History()
    vars(history).update(numbers)
    return history


def points(line):
    """The numbers of a line, (2, points)."""
    return np.array(line.get_data(), dtype=float)


def labels(ax):
    """The texts of the legend."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


# --- training -----------------------------------------------------------------------------------------------------


def test_loss_curve_draws_the_losses(plt):
    ax = plots.loss_curve(HISTORY)
    training, validation, best = ax.lines
    np.testing.assert_array_equal(points(training), [np.arange(1, 7), HISTORY.loss])
    np.testing.assert_array_equal(points(validation), [np.arange(1, 7), HISTORY.val_loss])
    at = HISTORY.best_epoch
    np.testing.assert_array_equal(points(best), [[at + 1], [HISTORY.val_loss[at]]])
    assert labels(ax) == ["training", "validation", "best epoch"]
    assert training.get_linestyle() != validation.get_linestyle()
    assert ax.get_yscale() == "linear"


def test_loss_curve_draws_metrics_in_panels(plt):
    of_loss, of_accuracy, of_lr = HISTORY.plot(["accuracy", "lr"])
    assert len(of_loss.lines) == 3
    np.testing.assert_array_equal(points(of_accuracy.lines[0])[1], HISTORY.metrics["val_accuracy"])
    np.testing.assert_array_equal(points(of_lr.lines[0])[1], HISTORY.lr)
    assert [ax.get_ylabel() for ax in (of_loss, of_accuracy, of_lr)] == ["loss", "accuracy", "learning rate"]
    without = history_of(loss=[3.0, 2.0], metrics={"accuracy": [0.5, 0.75]}, best_epoch=1)
    of_loss, of_accuracy = without.plot(["accuracy"])
    np.testing.assert_array_equal(points(of_accuracy.lines[0]), [[1, 2], [0.5, 0.75]])
    np.testing.assert_array_equal(points(of_loss.lines[1]), [[2], [2.0]])  # the best epoch, by the training loss


@pytest.mark.parametrize(
    ("losses", "log", "scale"),
    [
        ([1.0, 0.04], None, "log"),
        ([1.0, 0.06], None, "linear"),
        ([1.0, -1.0], None, "linear"),
        ([1.0, 0.0], None, "linear"),
        ([1.0, 0.9], True, "log"),
        ([1.0, 0.01], False, "linear"),
        ([np.inf, 1.0], None, "linear"),
    ],
)
def test_loss_curve_is_logarithmic_where_losses_differ_much(plt, losses, log, scale):
    assert plots.loss_curve(history_of(loss=losses), log=log).get_yscale() == scale


def test_loss_curve_compares_trainings(plt):
    runs = {"slow": history_of(loss=[2.0, 1.9], val_loss=[2.1, 2.0]), 0: history_of(loss=[2.0])}
    ax = plots.loss_curve(runs)
    assert [line.get_label() for line in ax.lines] == ["slow, training", "slow, validation", "0, training"]
    assert labels(ax) == ["slow", "0", "training", "validation"]
    colours = [line.get_color() for line in ax.lines]
    assert colours[0] == colours[1] != colours[2]
    assert ax.lines[2].get_marker() == "o"  # a line of one point would not be seen
    (only,) = plots.loss_curve({"a": history_of(loss=[2.0, 1.0])}).lines
    assert only.get_label() == "a, training"


def test_gradient_norms_draws_each_layer(plt):
    for quantity, layers in {"gradient_norm": [1, 2], "update_ratio": [1, 2], "dead_units": [1]}.items():
        ax = plots.gradient_norms(HISTORY, quantity)
        assert labels(ax) == [f"layer {i}" for i in layers]
        for line, layer in zip(ax.lines, layers, strict=True):
            want = np.array(HISTORY.diagnostics[quantity])[:, layer - 1]
            np.testing.assert_array_equal(points(line), [np.arange(1, 7), want])
    nan = np.nan
    norms = history_of(loss=[1.0, 1.0], diagnostics={"gradient_norm": [[nan, 2.0, 0.5], [nan, 1.0, 0.0]]})
    ax = plots.gradient_norms(norms)
    assert labels(ax) == ["layer 2", "layer 3"]  # the first is frozen
    np.testing.assert_array_equal([points(line)[1] for line in ax.lines], [[2.0, 1.0], [0.5, 0.0]])
    assert ax.get_yscale() == "symlog"  # a logarithmic axis has no 0
    many = history_of(loss=[1.0], diagnostics={"gradient_norm": [list(range(1, 21))]})
    ax = plots.gradient_norms(many)
    assert (len(ax.lines), len(labels(ax)), ax.get_yscale()) == (20, 8, "log")
    zeros = history_of(loss=[1.0], diagnostics={"gradient_norm": [[0.0]]})
    assert plots.gradient_norms(zeros).get_yscale() == "linear"


# --- classes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", [BINARY, THREE], ids=["binary", "three"])
def test_decision_boundary_has_the_colours_of_the_predictions(plt, net):
    from matplotlib.colors import to_rgb

    y = CODES if net is THREE else CODES > 0
    ax = plots.decision_boundary(net, X, y, resolution=80)
    (image,) = ax.images
    rgba, (left, right, bottom, top) = np.asarray(image.get_array()), image.get_extent()
    middles = (np.arange(80) + 0.5) / 80  # of pixels
    x, z = left + (right - left) * middles, bottom + (top - bottom) * middles
    grid = np.array([[a, b] for b in z for a in x]).T
    colours = np.array([to_rgb(c) for c in figures.categories(ax, max(net.sizes[-1], 2))])
    np.testing.assert_array_equal(rgba[..., :3].reshape(-1, 3), colours[net.predict_classes(grid)])
    p = net.predict(grid).max(axis=0) if net is THREE else np.maximum(net.predict(grid)[0], 1 - net.predict(grid)[0])
    np.testing.assert_array_equal(np.argsort(rgba[..., 3].ravel())[-1:], np.argsort(p)[-1:])  # the surest is strongest
    assert left < X[0].min() < X[0].max() < right
    # The line is where the two largest outputs are equal.
    lines = [c for c in ax.collections if hasattr(c, "levels")]
    vertices = np.concatenate([path.vertices for line in lines for path in line.get_paths()])
    A = np.sort(net.predict(vertices.T), axis=0)
    assert len(vertices) > 20
    np.testing.assert_allclose(A[-1] - A[-2] if net is THREE else A[0] - 0.5, 0, atol=0.02)
    dots = [c for c in ax.collections if not hasattr(c, "levels")]
    for k, collection in enumerate(dots):
        np.testing.assert_array_equal(collection.get_offsets(), X[:, k == y].T)
    assert labels(ax) == [f"class {k}" for k in range(len(dots))]


def test_names_of_classes_may_begin_with_an_underscore(plt):
    assert labels(plots.decision_boundary(BINARY, X, CODES > 0, classes=["_a", "b"])) == ["_a", "b"]
    assert labels(plots.decision_boundary(THREE, X, 2 * (CODES > 0), classes=["_a", "_b", "_c"])) == ["_a", "_c"]


def test_decision_boundary_of_two_of_more_features(plt):
    X4 = np.concatenate([X, 5 + X])
    net = trained([4, 8, 3], CODES, X=X4)
    ax = plots.decision_boundary(net, X4, CODES, features=(3, 0), classes=["a", "b", "c"], resolution=10)
    assert (ax.get_xlabel(), ax.get_ylabel(), labels(ax)) == ("feature 3", "feature 0", ["a", "b", "c"])
    left, right, bottom, top = ax.images[0].get_extent()
    samples = np.repeat(X4.mean(axis=1, keepdims=True), 100, axis=1)
    middles = (np.arange(10) + 0.5) / 10
    samples[3] = np.tile(left + (right - left) * middles, 10)
    samples[0] = np.repeat(bottom + (top - bottom) * middles, 10)
    winner = net.predict_classes(samples)
    rgb = np.asarray(ax.images[0].get_array())[..., :3].reshape(-1, 3)
    for a, b in itertools.combinations(range(100), 2):
        assert (winner[a] == winner[b]) == (rgb[a] == rgb[b]).all()


def test_confusion_matrix_counts(plt):
    predicted = THREE.predict_classes(X)
    want = np.array([[((i == CODES) & (predicted == j)).sum() for j in range(3)] for i in range(3)])
    for y in (CODES, np.eye(3)[CODES].T):
        ax = plots.confusion_matrix(THREE, X, y)
        np.testing.assert_array_equal(ax.images[0].get_array(), want)
    assert [text.get_text() for text in ax.texts] == [str(n) for n in want.ravel()]
    assert [text.get_position() for text in ax.texts[:4]] == [(0, 0), (1, 0), (2, 0), (0, 1)]
    for how, divisor in {"true": want.sum(1)[:, None], "predicted": want.sum(0), "all": want.sum()}.items():
        ax = plots.confusion_matrix(THREE, X, CODES, normalise=how, classes=["a", "b", "c"])
        with np.errstate(invalid="ignore"):
            np.testing.assert_allclose(ax.images[0].get_array().filled(np.nan), want / divisor)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b", "c"]
    hits = BINARY.predict_classes(X)
    table = np.asarray(plots.confusion_matrix(BINARY, X, hits).images[0].get_array())
    np.testing.assert_array_equal(table, np.diag([(hits == 0).sum(), hits.sum()]))


def test_confusion_matrix_leaves_cells_empty_that_divide_by_0(plt):
    ax = plots.confusion_matrix(THREE, X[:, CODES == 0], CODES[CODES == 0], normalise="true")
    assert len(ax.texts) == 3  # of the one class that there is
    many = Network([2, 30], seed=0)
    ax = plots.confusion_matrix(many, X, CODES)
    assert not ax.texts
    assert len(ax.figure.axes) == 2  # with a colour bar


def logistic():
    """A network whose probability of class 1 is 1 / (1 + exp(-x))."""
    net = Network([1, 1], seed=0, dtype="float64")
    net.set_parameters([([[1.0]], [0.0])])
    return net


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_calibration_is_shares_in_bins(plt, strategy):
    x = RNG.standard_normal(500)
    p, y = 1 / (1 + np.exp(-x)), (RNG.random(500) < 0.4).astype(int)
    ax = plots.calibration(logistic(), x[None], y, bins=5, strategy=strategy)
    edges = np.linspace(0, 1, 6) if strategy == "uniform" else np.quantile(p, np.linspace(0, 1, 6))
    inside = [(p > a) & (p <= b) for a, b in itertools.pairwise(np.r_[-1, edges[1:-1], 2])]
    want = np.array([[p[part].mean(), y[part].mean()] for part in inside]).T
    np.testing.assert_allclose(points(ax.lines[1]), want)
    ece = sum(part.mean() * abs(p[part].mean() - y[part].mean()) for part in inside)
    assert labels(ax)[1] == f"network, ECE {ece:.3f}"
    other = plots.calibration(logistic(), x[None], y, 0, bins=1)
    assert other.get_xlabel() == "mean probability of class 0"
    np.testing.assert_allclose(points(other.lines[1]), [[1 - p.mean()], [1 - y.mean()]])
    np.testing.assert_array_equal(points(ax.lines[0]), [[0, 1], [0, 1]])


def test_calibration_of_several_classes(plt):
    A = THREE.predict(X).astype(float)
    ax = plots.calibration(THREE, X, CODES, 2, bins=1)
    np.testing.assert_allclose(points(ax.lines[1]), [[A[2].mean()], [(CODES == 2).mean()]])
    ax = plots.calibration(THREE, X, CODES, bins=1)
    np.testing.assert_allclose(points(ax.lines[1]), [[A.max(axis=0).mean()], [(A.argmax(axis=0) == CODES).mean()]])
    bars = np.array(ax.collections[0].get_segments())[0, :, 1]
    assert bars[0] < points(ax.lines[1])[1, 0] < bars[1]


def test_wilson_intervals():
    # R. G. Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
    low, high = plots.classification.wilson(
        np.array([81 / 263, 15 / 148, 0 / 20, 1 / 29]), np.array([263, 148, 20, 29])
    )
    np.testing.assert_allclose(low, [0.2553, 0.0624, 0.0, 0.0061], atol=5e-5)
    np.testing.assert_allclose(high, [0.3662, 0.1605, 0.1611, 0.1718], atol=5e-5)


# --- values -------------------------------------------------------------------------------------------------------


def with_outputs(loss, rows):
    """A network of one feature whose outputs are W x + b, for rows of (W, b)."""
    net = Network([1, len(rows)], ["identity"], loss, seed=0, dtype="float64")
    net.set_parameters([([[w] for w, _ in rows], [b for _, b in rows])])
    return net


def bands(ax):
    """The ends of each band at the greatest x, by its label."""
    found = {}
    for band in ax.collections:
        if band.get_label() != "samples":
            vertices = band.get_paths()[0].vertices
            at_end = vertices[vertices[:, 0] == vertices[:, 0].max(), 1]
            found[band.get_label()] = at_end.min(), at_end.max()
    return found


ONE = np.linspace(0, 2, 30)[None]


def test_regression_fit_over_one_feature(plt):
    y = 3 * ONE[0] + 1
    ax = plots.regression_fit(with_outputs("mse", [(3.0, 1.0)]), ONE, y)
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), np.stack([ONE[0], y], axis=1))
    x, curve = points(ax.lines[0])
    assert (x[0], x[-1]) == (0, 2)
    np.testing.assert_allclose(curve, 3 * x + 1)
    ax = plots.regression_fit(with_outputs("poisson", [(1.0, 0.0)]), ONE, y)
    np.testing.assert_allclose(points(ax.lines[0])[1], np.exp(x))
    ax = plots.regression_fit(with_outputs("gaussian_nll", [(1.0, 0.0), (0.0, np.log(9.0))]), ONE, y)
    np.testing.assert_allclose(points(ax.lines[0])[1], x)
    np.testing.assert_allclose(bands(ax)["mean ± 2 sd"], (2 - 6, 2 + 6))
    rows = {0.9: (1.0, 4.0), 0.5: (1.0, 0.0), 0.05: (1.0, -2.0), 0.6: (1.0, 1.0), 0.95: (1.0, 5.0)}  # in no order
    ax = plots.regression_fit(with_outputs(("quantile", {"levels": list(rows)}), list(rows.values())), ONE, y)
    assert labels(ax) == ["samples", "level 0.05 to 0.95", "level 0.5 to 0.9", "level 0.6"]
    np.testing.assert_allclose(list(bands(ax).values()), [(0, 7), (2, 6)])
    np.testing.assert_allclose(points(ax.lines[0])[1], x + 1)
    two = plots.regression_fit(with_outputs(("quantile", {"levels": [0.1, 0.9]}), [(1.0, 0.0), (1.0, 1.0)]), ONE, y)
    assert not two.lines  # each level is the end of a band


def test_regression_fit_against_the_truth(plt):
    ax = plots.regression_fit(REGRESSION, X, VALUES)
    want = np.stack([VALUES, REGRESSION.predict(X)[0]], axis=1)
    np.testing.assert_allclose(ax.collections[0].get_offsets(), want)
    assert ax.get_xlim() == ax.get_ylim()
    net = trained([2, 8, 2], VALUES, None, "gaussian_nll")
    ax = plots.regression_fit(net, X, VALUES)
    mean, log_variance = net.predict(X).astype(float)
    for segment, y, m, s in zip(ax.collections[0].get_segments(), VALUES, mean, np.exp(log_variance / 2), strict=True):
        np.testing.assert_allclose(segment, [[y, m - 2 * s], [y, m + 2 * s]])


@pytest.mark.parametrize(
    ("outputs", "loss", "told"), [(1, "poisson", "the prediction"), (2, "gaussian_nll", "the standard deviation")]
)
def test_regression_fit_without_end(plt, outputs, loss, told):
    net = Network([2, outputs], ["identity"], loss, seed=0)
    net.set_parameters([(np.zeros((outputs, 2)), np.full(outputs, 2000.0))])
    count = len(plt.get_fignums())
    with pytest.raises(ValueError, match=f"{told} has .* non-finite"):
        plots.regression_fit(net, X, np.ones(M))
    assert len(plt.get_fignums()) == count  # no figure is left


def test_regression_fit_of_several_targets(plt):
    Y = np.stack([VALUES, X[1]])
    net = trained([2, 8, 2], Y, None, "mse")
    axes = plots.regression_fit(net, X, Y)
    assert [ax.get_title() for ax in axes] == ["target 0", "target 1"]
    for ax, y, a in zip(axes, Y, net.predict(X), strict=True):
        np.testing.assert_allclose(ax.collections[0].get_offsets(), np.stack([y, a], axis=1))
    pair = plt.figure().subplots(1, 2)
    assert list(plots.regression_fit(net, X, Y, ax=list(pair))) == list(pair)


# --- networks -----------------------------------------------------------------------------------------------------


def test_network_diagram_draws_units_and_weights(plt):
    from matplotlib.colors import to_rgb

    net = Network([2, 3, 1], seed=0)
    W = np.array([[1.0, -0.5], [0.0, 0.25], [2.0, -2.0]])
    net.set_parameters([(W, np.zeros(3)), (np.ones((1, 3)), [0.0])])
    ax = plots.network_diagram(net, inputs=["height", "width"], outputs=["area"])
    assert len(ax.patches) == 6
    centres = [tuple(np.round(circle.center, 3)) for circle in ax.patches]
    lines = ax.collections[0]
    ends = {tuple(map(tuple, np.round(segment, 3))): i for i, segment in enumerate(lines.get_segments())}
    assert len(ends) == 6
    widths, colours = np.array(lines.get_linewidths()), np.array(lines.get_colors())[:, :3]
    place = {(j, i): ends[centres[i], centres[2 + j]] for i in range(2) for j in range(3)}
    assert widths[place[2, 0]] == widths[place[2, 1]] > widths[place[0, 0]] > widths[place[0, 1]] > widths[place[1, 1]]
    assert (colours[place[2, 0]] == colours[place[0, 0]]).all()  # above 0
    assert (colours[place[2, 1]] == colours[place[0, 1]]).all()  # below 0
    np.testing.assert_allclose(colours[place[2, 0]], to_rgb(figures.VERMILLION))
    np.testing.assert_allclose(colours[place[2, 1]], to_rgb(figures.BLUE))
    words = [text.get_text() for text in ax.texts]
    assert words == ["height", "width", "area", "2 inputs", "3 relu", "1 sigmoid"]
    plain = plots.network_diagram(net, weights=False)
    assert len(set(map(tuple, plain.collections[0].get_colors()))) == 1
    assert plain.get_legend() is None


def test_network_diagram_leaves_units_out(plt):
    net = Network([3, 200, 11, 10], norm=["batch", None], dropout=[0.25, 0.0], seed=0)
    ax = plots.network_diagram(net)
    across = [round(circle.center[0], 6) for circle in ax.patches]
    assert [across.count(x) for x in dict.fromkeys(across)] == [3, 9, 9, 10]
    assert len(ax.collections[0].get_segments()) == 27
    assert [text.get_text() for text in ax.texts][1] == "200 relu\nbatch norm\ndropout 0.25"
    # The first five units and the last four, each as far from the next as the others are.
    ys = sorted((circle.center[1] for circle in ax.patches[3:12]), reverse=True)
    np.testing.assert_allclose(-np.diff(ys), [1, 1, 1, 1, 2, 1, 1, 1])


def test_weights_as_images(plt):
    net = Network([6, 5, 2], seed=0)
    ax = plots.weights_as_images(net, shape=(2, 3), units=[4, 0, 1])
    (image,) = ax.images
    mosaic = image.get_array().filled(np.nan)
    W = net.parameters[0][0]
    assert mosaic.shape == (7, 9)  # 2 x 2 places of 2 x 3 pixels, with gaps of 1
    for unit, (row, column) in {4: (1, 1), 0: (1, 5), 1: (4, 1)}.items():
        np.testing.assert_allclose(mosaic[row : row + 2, column : column + 3], W[unit].reshape(2, 3))
    assert np.isfinite(mosaic).sum() == 18
    assert image.norm.vmin == -image.norm.vmax == -np.abs(W[[4, 0, 1]]).max()
    assert plots.weights_as_images(Network([784, 20, 9], seed=0)).images[0].get_array().count() == 784 * 20
    assert plots.weights_as_images(Network([4, 9, 1], seed=0), 1).images[0].get_array().count() == 9
    assert plots.weights_as_images(Network([4, 1], init="zeros", seed=0)).images[0].norm.vmax == 1


def test_activation_histograms_count_everything(plt):
    net = Network([2, 30, 20, 3], ["relu", "tanh", "softmax"], seed=0)
    _, caches = net.forward(X, cache=True)
    for of in "AZ":
        axes = plots.activation_histograms(net, X, of, bins=25)
        for i, (ax, cache) in enumerate(zip(axes, caches, strict=True)):
            values, edges, _ = ax.patches[0].get_data()
            numbers = cache[of].astype(float).ravel()
            zeros = (numbers == 0).mean() if (of, i) == ("A", 0) else 0
            drawn = numbers[numbers != 0] if zeros else numbers
            want = np.histogram(drawn, edges)[0] / len(numbers)
            np.testing.assert_allclose(values, want)
            np.testing.assert_allclose(values.sum(), 1 - zeros)
            assert ax.texts[0].get_text().startswith(f"sd {numbers.std():.2g}")
            assert len(values) == 25
        if of == "A":
            assert axes[0].texts[0].get_text().endswith(f"{zeros_of(caches[0]['A']):.0%} are 0")
            spans = [ax.patches[0].get_data().edges[[0, -1]] for ax in axes[1:]]
            np.testing.assert_array_equal(spans, [(-1, 1), (0, 1)])


@pytest.mark.parametrize("numbers", [[1e18], [-1e18], [1.0], [1e18, np.nextafter(1e18, 2e18)]], ids=str)
def test_activations_that_are_all_the_same(plt, numbers):
    net = Network([1, 1], ["identity"], "mse", dtype="float64", seed=0)
    net.set_parameters([([[1.0]], [0.0])])
    (ax,) = plots.activation_histograms(net, [numbers])
    values, edges, _ = ax.patches[0].get_data()
    assert values.sum() == 1
    assert edges[0] < min(numbers) <= max(numbers) < edges[-1]


def zeros_of(A):
    return (A == 0).mean()


def test_gradient_histograms(plt):
    _, gradients = THREE.gradients(X, CODES)
    axes = plots.gradient_histograms(THREE, X, CODES, bins=10)
    for ax, (dW, _) in zip(axes, gradients, strict=True):
        values, edges, _ = ax.patches[0].get_data()
        np.testing.assert_allclose(values, np.histogram(dW.astype(float), 10)[0] / dW.size)
        np.testing.assert_allclose(edges[[0, -1]], [dW.min(), dW.max()])


def test_networks_of_zeros_can_be_drawn(plt):
    net = Network([2, 4, 3], init="zeros", seed=0)
    for axes in (plots.activation_histograms(net, X), plots.gradient_histograms(net, X, CODES)):
        axes[0].figure.draw_without_rendering()
        assert axes[0].get_ylim()[1] > 0
    assert len(plots.network_diagram(net).patches) == 9
    assert len(plots.decision_boundary(net, X, CODES, resolution=5).collections) == 3  # the samples, no line
    assert labels(plots.calibration(net, X, CODES))[1].startswith("network, ECE 0.")
    assert len(plots.confusion_matrix(net, X, CODES).texts) == 9
    even = plots.decision_boundary(Network([2, 1], init="zeros", seed=0), X, CODES > 0, resolution=5)
    vermillion = np.asarray(even.images[0].get_array())[..., 0]
    assert (vermillion > 0.5).all()  # where a = 0.5 the class is 1


# --- all of them: Axes, colours, places ---------------------------------------------------------------------------

DRAWN = {
    "loss_curve": lambda ax=None: plots.loss_curve(HISTORY, ax=ax),
    "loss_curve of runs": lambda ax=None: plots.loss_curve({"one": HISTORY, "two": HISTORY}, ax=ax),
    "loss_curve with metrics": lambda ax=None: plots.loss_curve(HISTORY, ["accuracy"], ax=ax),
    "gradient_norms": lambda ax=None: plots.gradient_norms(HISTORY, ax=ax),
    "decision_boundary": lambda ax=None: plots.decision_boundary(THREE, X, CODES, resolution=20, ax=ax),
    "confusion_matrix": lambda ax=None: plots.confusion_matrix(THREE, X, CODES, ax=ax),
    "calibration": lambda ax=None: plots.calibration(BINARY, X, CODES > 0, ax=ax),
    "regression_fit": lambda ax=None: plots.regression_fit(REGRESSION, X, VALUES, ax=ax),
    "network_diagram": lambda ax=None: plots.network_diagram(THREE, outputs=["a", "b", "c"], ax=ax),
    "weights_as_images": lambda ax=None: plots.weights_as_images(THREE, 0, (1, 2), ax=ax),
    "activation_histograms": lambda ax=None: plots.activation_histograms(THREE, X, ax=ax),
    "gradient_histograms": lambda ax=None: plots.gradient_histograms(THREE, X, CODES, ax=ax),
}
PANELS = {"loss_curve with metrics": 2, "activation_histograms": 2, "gradient_histograms": 2}


def test_each_function_is_drawn_here():
    assert {name.split(" ")[0] for name in DRAWN} == set(plots.__all__)


@pytest.fixture
def quiet(plt, monkeypatch):
    """Fails the test if something is shown or closed, or if a setting of matplotlib changes."""
    import matplotlib

    def refused(*args, **kwargs):
        raise AssertionError("shown or closed")

    with monkeypatch.context() as patch:
        for name in ("show", "close", "pause", "ion", "ioff", "switch_backend"):
            patch.setattr(plt, name, refused)
        before = dict(matplotlib.rcParams)
        yield plt
        assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", DRAWN)
def test_draws_in_the_axes_that_are_given(quiet, name):
    from matplotlib.figure import Figure

    mine = quiet.figure()
    before, current = quiet.get_fignums(), quiet.gcf()
    figure = Figure(layout="constrained")  # not one of pyplot's
    given = figure.subplots(1, PANELS.get(name, 1))
    got = DRAWN[name](given)
    assert got is given if PANELS.get(name, 1) == 1 else (got == given).all()
    assert quiet.get_fignums() == before
    assert quiet.gcf() is current is mine
    assert not mine.axes
    part, _ = Figure().subfigures(1, 2)
    DRAWN[name](part.subplots(1, PANELS.get(name, 1)))
    new = DRAWN[name]()
    assert quiet.get_fignums() == [*before, before[-1] + 1]
    assert np.ravel(new)[0].figure.get_layout_engine() is not None
    assert isinstance(new, np.ndarray) == (name in PANELS)


def contrast(one, other):
    one, other = sorted((figures.luminance(one), figures.luminance(other)))
    return (other + 0.05) / (one + 0.05)


@pytest.fixture
def drawn_texts(monkeypatch):
    """Draws a figure, and returns the texts that it drew; it does not draw those of ticks outside the limits."""
    from matplotlib.text import Text

    def of(figure):
        found, draw = [], Text.draw

        def noted(text, *args, **kwargs):
            found.append(text)
            draw(text, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(Text, "draw", noted)
            figure.draw_without_rendering()
        return [text for text in found if text.get_visible() and text.get_text().strip()]

    return of


def behind(text):
    """The colour behind a text: of its Axes, if it lies within them, else of the figure."""
    from matplotlib.colors import to_rgb

    ax = text.axes
    if ax is None or not ax.get_window_extent().overlaps(text.get_window_extent()):
        return to_rgb(text.get_figure().get_facecolor())
    if ax.images and text in ax.texts:  # the number of a cell
        (column, row), (image,) = text.get_position(), ax.images
        return image.cmap(image.norm(image.get_array()[row, column]))[:3]
    return figures.theme(ax).back


STYLES = ("dark_background", "default", "ggplot", "grayscale")
QUICK = [(name, "dark_background") for name in ("loss_curve with metrics", "network_diagram", "confusion_matrix")]


@pytest.mark.parametrize(
    ("name", "style"),
    [pytest.param(*pair, marks=() if pair in QUICK else pytest.mark.slow) for pair in itertools.product(DRAWN, STYLES)],
)
def test_texts_can_be_read(plt, drawn_texts, name, style):
    from matplotlib.colors import to_rgb

    with plt.style.context(style):
        figure = np.ravel(DRAWN[name]())[0].figure
    texts = drawn_texts(figure)
    assert len(texts) > 2
    boxes = [text.get_window_extent() for text in texts]
    for text, box in zip(texts, boxes, strict=True):
        assert contrast(to_rgb(text.get_color()), behind(text)) >= 3.5, text
        assert min(box.x0, box.y0) >= -1, f"{text} is cut off"
        assert box.x1 <= figure.bbox.x1 + 1, f"{text} is cut off"
        assert box.y1 <= figure.bbox.y1 + 1, f"{text} is cut off"
    for (one, a), (other, b) in itertools.combinations(zip(texts, boxes, strict=True), 2):
        width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert width < 2 or height < 2, f"{one} and {other} lie on each other"


def test_a_title_of_a_diagram_is_clear_of_its_legend_and_units(plt):
    two_tall = Network([2, 4, 1], seed=0)
    for size, panels in (((6.4, 4.8), 1), ((9.0, 3.0), 3)):
        figure, axes = plt.subplots(1, panels, figsize=size, layout="constrained", squeeze=False)
        for ax in axes[0]:
            plots.network_diagram(two_tall, ax=ax).set_title("A title")
        figure.canvas.draw()
        for ax in axes[0]:
            legend, title = ax.get_legend().get_window_extent(), ax.title.get_window_extent()
            assert title.y0 >= legend.y1 - 1
            assert legend.y0 >= max(circle.get_window_extent().y1 for circle in ax.patches) - 1


@pytest.mark.parametrize(
    ("size", "panels", "layout", "is_beside"),
    [((9, 3), 3, "constrained", False), ((9, 3), 2, None, False), ((11, 4.6), 2, "constrained", True)],
)
def test_the_legend_of_a_boundary_stays_clear_of_other_panels(plt, size, panels, layout, is_beside):
    figure, axes = plt.subplots(1, panels, figsize=size, layout=layout)
    for ax in axes:
        plots.decision_boundary(THREE, X, CODES, resolution=5, ax=ax)
    figure.canvas.draw()
    for ax, other in itertools.pairwise(axes):
        legend, box = ax.get_legend().get_window_extent(), ax.get_window_extent()
        assert legend.x1 <= other.get_window_extent().x0
        assert (legend.x0 >= box.x1) == is_beside


def test_dots_in_a_legend_are_large_enough_to_see(plt):
    rng = np.random.default_rng(0)
    many, codes = rng.standard_normal((2, 3000)), rng.integers(0, 3, 3000)
    legend = plots.decision_boundary(THREE, many, codes, resolution=5).get_legend()
    assert [(handle.get_sizes().min(), handle.get_alpha()) for handle in legend.legend_handles] == [(28, 1)] * 3


def test_ticks_of_narrow_histograms_do_not_touch(plt):
    figure, axes = plt.subplots(1, 4, figsize=(9.6, 2.3), layout="constrained")
    rng = np.random.default_rng(1)
    deep = Network([64, 80, 80, 80, 10], ["tanh", "tanh", "tanh", "softmax"], init="xavier", seed=0)
    plots.gradient_histograms(deep, rng.uniform(-1, 1, (64, 400)), rng.integers(0, 10, 400), ax=axes)
    for ax, ends in zip(axes, (0.06, 0.055, 0.052, 0.05), strict=True):
        ax.set_xlim(-ends, ends)
    figure.canvas.draw()
    for ax in axes:
        low, high = ax.get_xlim()
        boxes = [t.get_window_extent() for t in ax.get_xticklabels() if low <= t.get_position()[0] <= high]
        assert len(boxes) > 1
        for left, right in itertools.pairwise(boxes):
            assert right.x0 - left.x1 > 3


def test_one_kind_of_line_has_no_entry_of_its_own(plt):
    run = history_of(loss=[3.0, 2.0])
    assert labels(plots.loss_curve({"a": run, "b": run})) == ["a", "b"]


def test_colours_of_axes_of_another_style(plt):
    with plt.style.context("dark_background"):
        dark = plt.figure().subplots()
    plots.loss_curve(HISTORY, ax=dark)
    assert figures.theme(dark).is_dark
    assert contrast((0, 0, 0), figures.theme(dark).text) > 15
    for text in dark.get_legend().get_texts():
        np.testing.assert_array_equal(text.get_color()[:3], figures.theme(dark).text)
    light = plt.figure(facecolor="none").subplots()
    light.set_facecolor("none")
    assert not figures.theme(light).is_dark
    assert figures.theme(light).back == (1, 1, 1)
    part, _ = plt.figure(facecolor="blue").subfigures(1, 2)
    see_through = part.subplots()
    see_through.set_facecolor("none")
    assert figures.theme(see_through).back == (0, 0, 1)


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_lines_can_be_seen_and_told_apart(plt, style):
    from matplotlib.colors import to_rgb

    with plt.style.context(style):
        ax = plt.figure().subplots()
    back = figures.theme(ax).back
    for count in (1, 2, 3, 4, 5, 8, 12):
        colours = [to_rgb(colour) for colour in figures.categories(ax, count)]
        assert len(set(colours)) == count
        least = 3 if count <= 3 else 2 if count <= 6 else 1.2
        assert min(contrast(colour, back) for colour in colours) >= least, count
    assert min(contrast(colour, back) for colour in figures.ramp(ax, 10)) >= 1.9


# --- mistakes -----------------------------------------------------------------------------------------------------

QUANTILES = Network([2, 3], loss="quantile", seed=0)
LABELS = Network([2, 3], ["sigmoid"], seed=0)
OWN = Network([2, 1], loss=lambda A, y: (((A - y) ** 2).sum(axis=0), 2 * (A - y)), seed=0)
BAD = np.where(np.arange(M) == 7, np.nan, X)
EMPTY = history_of(loss=[])
MISTAKES = {
    "no history": (lambda: plots.loss_curve(BINARY), TypeError, "history must be the History.*history = net.fit"),
    "no epoch": (lambda: plots.loss_curve(EMPTY), ValueError, "history has no epoch"),
    "no run": (lambda: plots.loss_curve({}), ValueError, "history is an empty dict"),
    "an estimator": (
        lambda: plots.loss_curve(SimpleNamespace(loss_curve_=[1.0])),
        TypeError,
        r"plt\.plot\(model\.loss_curve_\)",
    ),
    "a run": (lambda: plots.loss_curve({"a": [1.0]}), TypeError, r"history\['a'\] must be the History.*list"),
    "metric": (lambda: plots.loss_curve(HISTORY, ["acuracy"]), ValueError, r"metrics\[0\].*acuracy"),
    "metrics": (lambda: plots.loss_curve(HISTORY, "accuracy"), TypeError, r"write \['accuracy'\]"),
    "log": (lambda: plots.loss_curve(HISTORY, log="yes"), TypeError, "log must be True or False, got 'yes'"),
    "log of 0": (lambda: plots.loss_curve(history_of(loss=[0.0]), log=True), ValueError, "above 0.*smallest is 0"),
    "panels": (lambda: plots.loss_curve(HISTORY, ["accuracy"], ax=[1]), ValueError, "ax has 1 Axes, wanted 2"),
    "no diagnostics": (lambda: plots.gradient_norms(history_of(loss=[1.0])), ValueError, "fit.*diagnostics=True"),
    "quantity": (lambda: plots.gradient_norms(HISTORY, "norm"), ValueError, "quantity must be one of 'gradient_norm'"),
    "no layer": (lambda: plots.gradient_norms(HISTORY, "saturated_units"), ValueError, "no layer.*'saturated_units'"),
    "no network": (lambda: plots.decision_boundary(HISTORY, X, CODES), TypeError, "net must be a fastnn.Network.*Hist"),
    "no classes": (
        lambda: plots.confusion_matrix(REGRESSION, X, VALUES),
        ValueError,
        "1 identity output.*regression_fit",
    ),
    "quantiles": (lambda: plots.calibration(QUANTILES, X, CODES), ValueError, "'quantile'.*no probabilities"),
    "boundary of 3": (lambda: plots.decision_boundary(Network([3, 1]), BAD[:1], [1]), ValueError, "X has shape"),
    "features": (
        lambda: plots.decision_boundary(Network([3, 1]), np.zeros((3, 2)), [0, 1]),
        ValueError,
        r"3 inputs.*features=\(i, j\)",
    ),
    "same features": (lambda: plots.decision_boundary(BINARY, X, CODES > 0, features=(1, 1)), ValueError, "two differ"),
    "feature": (
        lambda: plots.decision_boundary(BINARY, X, CODES > 0, features=(0, 2)),
        ValueError,
        r"features\[1\].*2",
    ),
    "NaN": (lambda: plots.decision_boundary(THREE, BAD, CODES), ValueError, "X has 2 non-finite values.*column 7"),
    "NaN predicted": (lambda: plots.confusion_matrix(THREE, BAD, CODES), ValueError, r"net.predict\(X\) has 3 non-fin"),
    "rows": (lambda: plots.confusion_matrix(THREE, X.T, CODES), ValueError, "columns are samples"),
    "codes": (lambda: plots.confusion_matrix(THREE, X, CODES + 1), ValueError, r"y holds codes from 1 to 3"),
    "labels": (lambda: plots.confusion_matrix(LABELS, X, np.eye(3)[CODES].T), ValueError, r"y has shape.*\(120,\)"),
    "classes": (lambda: plots.confusion_matrix(THREE, X, CODES, classes=["a"]), ValueError, "classes has 1 names.*3"),
    "classes text": (
        lambda: plots.confusion_matrix(THREE, X, CODES, classes="abc"),
        TypeError,
        "classes must be a list",
    ),
    "normalise": (
        lambda: plots.confusion_matrix(THREE, X, CODES, normalise=True),
        ValueError,
        "normalise.*'true'.*True",
    ),
    "an estimator's network": (
        lambda: plots.confusion_matrix(ESTIMATOR, X, CODES),
        TypeError,
        r"net must be a fastnn.Network, got SimpleNamespace .*: write model\.network_, and X\.T",
    ),
    "normalize": (lambda: plots.confusion_matrix(THREE, X, CODES, normalize="true"), TypeError, "mean 'normalise'"),
    "of_class": (lambda: plots.calibration(THREE, X, CODES, 3), ValueError, r"of_class must be within 0\.\.2, got 3"),
    "bins": (lambda: plots.calibration(THREE, X, CODES, bins=0), ValueError, "bins must be at least 1, got 0"),
    "strategy": (lambda: plots.calibration(THREE, X, CODES, strategy="even"), ValueError, "strategy must be one of"),
    "values of classes": (lambda: plots.regression_fit(THREE, X, CODES), ValueError, "confusion_matrix"),
    "own loss": (lambda: plots.regression_fit(OWN, X, VALUES), ValueError, "loss of its own"),
    "y": (lambda: plots.regression_fit(REGRESSION, X, VALUES[:5]), ValueError, "y has shape"),
    "NaN in y": (lambda: plots.regression_fit(REGRESSION, X, BAD[0]), ValueError, "y has 1 non-finite value"),
    "codes of values": (lambda: plots.regression_fit(Network([2, 3], loss="mse"), X, CODES), ValueError, "class codes"),
    "inputs": (lambda: plots.network_diagram(THREE, inputs=["a"]), ValueError, "inputs has 1 names, wanted 2"),
    "most": (lambda: plots.network_diagram(THREE, most=2), ValueError, "most must be at least 3, got 2"),
    "weights": (lambda: plots.network_diagram(THREE, weights=1), TypeError, "weights must be True or False"),
    "layer": (lambda: plots.weights_as_images(THREE, 2), ValueError, r"layer must be within 0\.\.1, got 2"),
    "no square": (lambda: plots.weights_as_images(THREE), ValueError, r"2 inputs.*shape=\(rows, columns\)"),
    "shape": (lambda: plots.weights_as_images(THREE, 0, (2, 2)), ValueError, "4 pixels, and layer 0 has 2 inputs"),
    "shape type": (lambda: plots.weights_as_images(THREE, 0, 2), TypeError, r"shape must be \(rows, columns\), got 2"),
    "units": (lambda: plots.weights_as_images(THREE, 0, (1, 2), units=[8]), ValueError, r"units\[0\].*0\.\.7, got 8"),
    "no units": (lambda: plots.weights_as_images(THREE, 0, (1, 2), units=[]), ValueError, "units is empty"),
    "of": (lambda: plots.activation_histograms(THREE, X, "dA"), ValueError, "of must be one of 'A', 'Z', got 'dA'"),
    "no samples": (lambda: plots.activation_histograms(THREE, X[:, :0]), ValueError, "X has 0 samples"),
    "panels of layers": (lambda: plots.activation_histograms(THREE, X, ax=[1, 2, 3]), ValueError, "3 Axes, wanted 2"),
    "ax": (lambda: plots.confusion_matrix(THREE, X, CODES, ax=3), TypeError, "ax must be a matplotlib Axes, got int"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told(plt, mistake):
    call, error, message = MISTAKES[mistake]
    with pytest.raises(error, match=message):
        call()
    assert not plt.get_fignums()  # nothing was begun


def test_a_figure_is_no_axes(plt):
    with pytest.raises(TypeError, match=r"ax must be a matplotlib Axes, got Figure.*figure.subplots\(\)"):
        plots.calibration(BINARY, X, CODES > 0, ax=plt.figure())


def test_names_of_other_libraries_lead_to_ours():
    with pytest.raises(AttributeError, match="did you mean 'confusion_matrix'"):
        _ = plots.ConfusionMatrixDisplay
    with pytest.raises(AttributeError, match="did you mean 'plots'"):
        _ = fastnn.plot


def test_matplotlib_is_imported_when_a_picture_is_drawn():
    code = """
import sys
import fastnn
assert "fastnn.plots" not in sys.modules and "plots" in dir(fastnn)
fastnn.plots.loss_curve
fastnn.Network([1, 1])._repr_html_()
print([name for name in sys.modules if name.startswith("matplotlib")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", DRAWN)
def test_without_matplotlib_the_error_says_what_to_install(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"fastnn.plots needs matplotlib.*pip install matplotlib"):
        DRAWN[name]()


# --- notebooks ----------------------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """The tags of a page, and the texts of its cells."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.cells, self.attributes = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


def cells_of(page):
    """The cells of the page's table, as rows."""
    rows = ElementTree.fromstring(page).iter("tr")
    return [["".join(cell.itertext()) for cell in row] for row in rows]


def test_html_of_a_network():
    net = Network([4, 8, 3], [("leaky_relu", {"slope": 0.5}), "softmax"], seed=0, dropout=0.5)
    page = net._repr_html_()
    assert cells_of(page) == [
        ["layer", "units", "activation", "W", "parameters"],
        ["1", "8", "leaky_relu {'slope': 0.5}", "(8, 4)", "40"],
        ["2", "3", "softmax", "(3, 8)", "27"],
    ]
    assert net.summary().splitlines()[-1] in page
    assert "67 parameters" in page


def test_html_of_a_history():
    history = history_of(
        loss=[2.0, 1.0, 0.5],
        val_loss=[2.5, 1.5, 2.0],
        lr=[0.1, 0.1, 0.1],
        metrics={"<script>alert(1)</script>": [0.25, 0.5, 0.75]},
        best_epoch=1,
        stopped="early_stopping",
        seconds=1.5,
    )
    page = history._repr_html_()
    assert cells_of(page) == [
        ["", "epoch 1", "best: epoch 2", "epoch 3"],
        ["loss", "2", "1", "0.5"],
        ["val_loss", "2.5", "1.5", "2"],
        ["lr", "0.1", "0.1", "0.1"],
        ["<script>alert(1)</script>", "0.25", "0.5", "0.75"],
    ]
    assert "3 epochs, 1.50 s, stopped by early_stopping" in page
    lines = [line.get("points") for line in ElementTree.fromstring(page).iter("polyline")]
    x, y = np.array([point.split(",") for point in lines[0].split(" ")], dtype=float).T
    np.testing.assert_allclose(x, [4, 130, 256], atol=0.1)
    np.testing.assert_allclose(y, [4 + 82 * (2.5 - loss) / 2 for loss in history.loss], atol=0.1)
    assert len(lines) == 2
    read = Reader(page)
    assert not {"script", "style", "link", "img", "iframe", "object"} & set(read.tags)
    assert not [name for name, _ in read.attributes if name.startswith("on") or name in ("src", "href")]
    assert "background" not in page  # the page's own, light or dark


@pytest.mark.parametrize("epochs", [519, 520, 521, 1039, 5000])
def test_a_line_of_many_epochs_has_both_ends_and_few_points(epochs):
    page = history_of(loss=list(np.linspace(2, 1, epochs)))._repr_html_()
    (line,) = ElementTree.fromstring(page).iter("polyline")
    points = line.get("points").split(" ")
    assert len(points) == min(epochs, 520)
    assert (points[0], points[-1]) == ("4.0,4.0", "256.0,86.0")


@pytest.mark.parametrize(
    "losses", [[], [1.0], [1.0, 1.0], [1.0, float("inf")], [-1.0, 2.0], [1.0, 1e-9], list(range(1, 5000))], ids=str
)
def test_html_of_any_history(losses):
    page = history_of(loss=losses, val_loss=losses[:-1])._repr_html_()
    ElementTree.fromstring(page)
    assert "nan" not in page.lower()
    assert len(page) < 20_000
    assert ("polyline" in page) == (len(losses) > 1 and np.isfinite(losses).all())
    assert ("logarithmic" in page) == (len(losses) > 1 and losses[-1] in (1e-9, 4999))
