"""Pictures for ``--plot``, by matplotlib."""

import io
import os

import numpy as np

from .. import filesystem
from . import UsageError

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError(f"--plot needs matplotlib, which cannot be imported: {error}") from None

_MOST_CLASSES = 20  # of a confusion matrix with numbers in its cells


def check_name(path):
    """Raise UsageError if matplotlib writes no picture of such a name: before the work, which would be lost."""
    known = Figure().canvas.get_supported_filetypes()
    if _kind(path) not in known:
        raise UsageError(f"--plot: {path} has to end in .png, .pdf, .svg or another ending of pictures")


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
    """The losses of each epoch, and targets against predictions of the rows that were not trained on."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    losses, found = figure.subplots(1, 2)
    _losses(losses, model.history)
    if model.tested is None:
        found.set_axis_off()
    elif model.task == "regression":
        _values(found, model)
    else:
        _confusion(found, model)
    _save(figure, path)


def _losses(axes, history):
    epochs = np.arange(1, len(history.loss) + 1)
    axes.plot(epochs, history.loss, label="training rows", color="#0072B2")
    if history.val_loss:
        axes.plot(epochs, history.val_loss, label="validation rows", color="#D55E00")
        axes.axvline(history.best_epoch + 1, color="0.5", linestyle=":", label="best epoch")
    losses = [*history.loss, *history.val_loss]
    scale = "log" if 0 < min(losses) < 0.1 * max(losses) else "linear"
    axes.set(xlabel="epoch", ylabel="loss", title="Training", yscale=scale)
    axes.legend()


def _values(axes, model):
    right, found = model.tested
    low, high = min(right.min(), found.min()), max(right.max(), found.max())
    axes.plot([low, high], [low, high], color="0.5", linewidth=1)
    axes.plot(right, found, ".", color="#0072B2", alpha=0.6)
    score = f"r2 {model.score['r2']:.3f}, error {model.score['rmse']:.4g} (mean: {model.score['baseline_rmse']:.4g})"
    axes.set(xlabel=_plain(model.target), ylabel="predicted", title=f"Rows not trained on\n{score}")


def _confusion(axes, model):
    right, found = model.tested
    labels = model.classes
    counts = np.array([[np.sum((right == a) & (found == b)) for b in labels] for a in labels])
    axes.imshow(counts, cmap="Blues")
    names = [_plain(label) for label in labels]
    if len(labels) <= _MOST_CLASSES:
        for (i, j), count in np.ndenumerate(counts):
            axes.text(j, i, count, ha="center", va="center", color="white" if 2 * count > counts.max() else "black")
        axes.set_xticks(range(len(labels)), names, rotation=45 if max(map(len, names)) > 6 else 0)
        axes.set_yticks(range(len(labels)), names)
    score = f"accuracy {model.score['accuracy']:.3f} (most frequent class: {model.score['baseline_accuracy']:.3f})"
    axes.set(xlabel="predicted", ylabel=_plain(model.target), title=f"Rows not trained on\n{score}")


def of_times(results, path):
    """Bars of the time of a step, for each network one group."""
    nets = list(dict.fromkeys(row["net"] for row in results["rows"]))
    libraries = list(dict.fromkeys(row["library"] for row in results["rows"]))
    colours = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")  # told apart by the colour-blind, too
    figure = Figure(figsize=(1.5 + 1.6 * len(nets), 4.5), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(libraries)
    for i, library in enumerate(libraries):
        times = {row["net"]: 1e6 * row["seconds"] for row in results["rows"] if row["library"] == library}
        places = [j + (i - (len(libraries) - 1) / 2) * width for j, net in enumerate(nets) if net in times]
        axes.bar(places, [times[net] for net in nets if net in times], width, label=library, color=colours[i % 5])
    axes.set_xticks(range(len(nets)), nets)
    axes.set(yscale="log", ylabel="microseconds a training step (shorter is better)", title=results["cpu"])
    axes.legend()
    _save(figure, path)
