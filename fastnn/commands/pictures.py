"""Pictures for ``--plot``, by matplotlib."""

import io
import os

import numpy as np

try:
    from matplotlib.backend_bases import FigureCanvasBase
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError(f"--plot needs matplotlib, which cannot be imported: {error}") from None

from .. import filesystem
from ..plots import classification, figures, loss_curve, regression
from . import UsageError


def check_name(path):
    """Raise UsageError if matplotlib writes no picture of such a name: before the work, which would be lost."""
    if _kind(path) not in FigureCanvasBase.get_supported_filetypes():
        raise UsageError(f"--plot: {path!r} must end in .png, .svg, .pdf or the like")


def _save(figure, path):
    """Write the picture, whole or not at all."""
    data = io.BytesIO()
    try:
        figure.savefig(data, format=_kind(path), dpi=120)
    except RuntimeError as error:  # such as a TeX that is not installed
        raise ValueError(f"{path}: {error}") from None
    filesystem.write(path, data.getvalue())


def _kind(path):
    return os.path.splitext(path)[1].lower().removeprefix(".")


def _plain(text):
    """A name from a table as it is: between two signs of dollars matplotlib reads a formula."""
    return str(text).replace("$", r"\$")


def of_training(model, path):
    """Write a picture of what a model has learned."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    draw_training(figure, model)
    _save(figure, path)


def draw_training(figure, model):
    """The losses of each epoch, and targets against predictions of the rows that were not trained on; two Axes."""
    losses, found = figure.subplots(1, 2)
    loss_curve(model.history, ax=losses).set_title("Training")
    if model.tested is None:
        found.set_axis_off()
    elif model.task == "regression":
        _values(found, model)
    else:
        _confusion(found, model)
    return losses, found


def _values(axes, model):
    right, found = model.tested
    regression.draw_against_truth(axes, right, regression.Prediction(found, "prediction", []))
    figures.legend(axes, points=len(right))
    score = "r2 {r2:.3f}, rmse {rmse:.4g} (always the mean: {baseline_rmse:.4g})".format(**model.score)
    axes.set(xlabel=_plain(model.target), title=f"Rows not trained on\n{score}")


def _confusion(axes, model):
    right, found = model.tested
    labels = model.classes
    counts = np.array([[np.sum((right == a) & (found == b)) for b in labels] for a in labels])
    classification.draw_confusion(axes, counts, [_plain(label) for label in labels.tolist()])
    score = "accuracy {accuracy:.3f} (always the most frequent class: {baseline_accuracy:.3f})".format(**model.score)
    axes.set(xlabel="predicted", ylabel=_plain(model.target), title=f"Rows not trained on\n{score}")


def of_times(results, path):
    """Write a picture of the times of a step."""
    nets = {row["net"] for row in results["rows"]}
    figure = Figure(figsize=(2.5 + 1.8 * len(nets), 4.5), layout="constrained")
    draw_times(figure.subplots(), results)
    _save(figure, path)


def draw_times(axes, results):
    """Bars with their numbers: for each network one group, in microseconds, on a logarithmic axis."""
    nets = list(dict.fromkeys(row["net"] for row in results["rows"]))
    libraries = list(dict.fromkeys(row["library"] for row in results["rows"]))
    colours, width = figures.categories(axes, len(libraries)), 0.8 / len(libraries)
    for i, library in enumerate(libraries):
        times = {row["net"]: 1e6 * row["seconds"] for row in results["rows"] if row["library"] == library}
        places = [j + (i - (len(libraries) - 1) / 2) * width for j, net in enumerate(nets) if net in times]
        bars = axes.bar(places, [times[net] for net in nets if net in times], width, label=library, color=colours[i])
        axes.bar_label(
            bars, [f"{bar.get_height():.{1 if bar.get_height() < 10 else 0}f}" for bar in bars], size="small"
        )
    axes.set_xticks(range(len(nets)), nets)
    axes.set(yscale="log", ylabel="microseconds a training step (shorter is better)", title=results["cpu"])
    axes.yaxis.set_major_formatter("{x:g}")
    # From a power of ten: from just below the shortest bar on, that bar would look like nothing.
    axes.set_ylim(bottom=10 ** np.floor(np.log10(min(1e6 * row["seconds"] for row in results["rows"]))))
    figures.legend(axes, outside=True)  # inside it covers bars
