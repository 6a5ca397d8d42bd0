"""Pictures of a training: the loss and the metrics, and what fit(diagnostics=True) records, epoch by epoch."""

import numpy as np

from .. import diagnostics, hints
from ..settings import check_flag
from . import arguments, figures

_SPAN_OF_LOG = 20  # a loss that falls by more than this factor is drawn on a logarithmic axis
_MOST_IN_LEGEND, _MOST_INSIDE = 8, 3  # layers in a legend; in one that does not lie beside the Axes
_QUANTITIES = {
    "gradient_norm": "norm of the gradient",
    "update_ratio": "norm of the update of W / norm of W",
    "dead_units": "share of dead units",
    "saturated_units": "share of saturated units",
}


@hints.explained
def loss_curve(history, metrics=(), *, log=None, ax=None):
    """The loss after each epoch, and metrics.

    Parameters
    ----------
    history : History, or dict of str to History
        What :meth:`Network.fit` returned. A dict compares several trainings by the names that are its keys.
    metrics : list of str
        Each is drawn in a panel of its own: "accuracy" is drawn of the training data and of the validation data, as far
        as they were measured, "val_accuracy" of the validation data only. "lr" is the learning rate.
    log : bool, optional
        Whether the axis of the loss is logarithmic. None: it is if the largest loss is more than 20 times the
        smallest, and all are above 0.
    ax : matplotlib Axes, or an array of 1 + len(metrics) of them, optional
        Where to draw. None: in a new figure.

    Returns
    -------
    Axes, or with `metrics` an ndarray of Axes, the first that of the loss
        Lines are solid for training data and dashed for validation data; a dot is at the best epoch of early
        stopping.

    Raises
    ------
    TypeError, ValueError
        If there is no epoch or no such metric, or with `log` a loss is not above 0.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    The training loss of an epoch is the mean over its batches, each before its update; the validation loss is that
    after the epoch. So at first the training loss is often the larger one.

    Examples
    --------
    >>> X, y = np.random.default_rng(0).standard_normal((2, 100)), np.arange(100) % 2
    >>> history = fastnn.Network([2, 8, 1], seed=0).fit(
    ...     X, y, epochs=20, validation_split=0.2, metrics=["accuracy"], progress=False
    ... )
    >>> of_loss, of_accuracy = fastnn.plots.loss_curve(history, ["accuracy"])
    >>> [line.get_label() for line in of_loss.lines]
    ['training', 'validation']
    """
    runs = _runs(history)
    panels = _checked_metrics(metrics, runs)
    is_log = _checked_log(log, runs)
    axes = figures.several(ax, 1 + len(panels), "of the loss and the metrics", beside=0.6 if len(runs) > 1 else 0.0)
    for one, (title, parts) in zip(axes, [("loss", ("loss", "val_loss")), *panels], strict=True):
        _draw_panel(one, title, parts, runs)
    if is_log:
        axes[0].set_yscale("log")
    if len(runs) > 1:
        _legend_of_runs(axes, runs)
    elif len(axes[0].get_legend_handles_labels()[0]) > 1:
        figures.legend(axes[0], points=len(next(iter(runs.values())).loss), corner="upper right")
    return axes if panels else axes[0]


def _runs(history):
    """The trainings to draw, by their labels; None if there is one without a label."""
    if not isinstance(history, dict):
        arguments.check_history(history)
        return {None: history}
    if not history:
        raise ValueError("history is an empty dict: there is nothing to draw")
    for label, run in history.items():
        arguments.check_history(run, f"history[{label!r:.40}]")
    return history


def _checked_metrics(metrics, runs):
    """For each panel its title and the names of the numbers in it."""
    if not isinstance(metrics, (list, tuple)) or not all(isinstance(name, str) for name in metrics):
        told = f": write [{metrics!r}]" if isinstance(metrics, str) else ""
        raise TypeError(f"metrics must be a list of names, got {metrics!r:.60}{told}")
    measured = {name for run in runs.values() for name in run.metrics} | {"lr"}
    panels = []
    for i, name in enumerate(metrics):
        parts = tuple(part for part in (name, f"val_{name}") if part in measured)
        if not parts:
            told = hints.did_you_mean(name, measured) or f"; it has {', '.join(sorted(measured))}"
            raise ValueError(f"metrics[{i}]: history has no {name!r}{told}")
        panels.append((name, parts))
    return panels


def _checked_log(log, runs):
    """Whether the axis of the loss is logarithmic."""
    if log is not None:
        check_flag("log", log)
    losses = [loss for run in runs.values() for loss in (*run.loss, *run.val_loss)]
    if log and not min(losses) > 0:
        raise ValueError(f"log=True needs losses above 0, and the smallest is {min(losses):g}")
    return suits_log(losses) if log is None else bool(log)


def suits_log(losses):
    """Whether numbers are all above 0, and so different that a linear axis would hide the small ones."""
    finite = [loss for loss in losses if np.isfinite(loss)]
    return bool(finite) and min(finite) > 0 and max(finite) > _SPAN_OF_LOG * min(finite)


def _draw_panel(ax, title, parts, runs):
    """The numbers `parts` of all trainings."""
    colours = figures.categories(ax, max(len(runs), 2))
    for i, (label, run) in enumerate(runs.items()):
        _draw_run(ax, label, run, parts, colours[i], colours[i if len(runs) > 1 else 1])
    figures.whole_epochs(ax)
    if title == "lr":
        ax.set_ylim(bottom=0)
    ax.set_ylabel("learning rate" if title == "lr" else title)


def _legend_of_runs(axes, runs):
    """A legend beside the last panel: colours are the trainings; one entry each says what line styles and dots are."""
    from matplotlib.lines import Line2D

    text, colours = figures.theme(axes[-1]).text, figures.categories(axes[-1], len(runs))
    entries = [Line2D([], [], color=colour, label=str(label)) for colour, label in zip(colours, runs, strict=True)]
    drawn = {line.get_label().rpartition(", ")[2] for ax in axes for line in ax.lines}
    looks = {"training": {"linestyle": "-"}, "validation": {"linestyle": "--"}}
    looks["best epoch"] = {"linestyle": "", "marker": "o"}
    if drawn != {"training"}:  # one kind of line needs no entry
        entries += [Line2D([], [], color=text, label=what, **look) for what, look in looks.items() if what in drawn]
    figures.legend(axes[-1], outside=True, handles=entries)


def _draw_run(ax, label, run, parts, colour, colour_of_validation):
    """The lines of one training."""
    prefix, last = "" if label is None else f"{label}, ", ()
    for name in parts:
        values = np.asarray(run.metrics.get(name, ()) if name not in ("loss", "val_loss", "lr") else getattr(run, name))
        if not len(values):
            continue
        is_validation = name.startswith("val_")
        what = "validation" if is_validation else "learning rate" if name == "lr" else "training"
        ax.plot(
            np.arange(1, len(values) + 1),
            np.where(np.isfinite(values), values, np.nan),
            linestyle="--" if is_validation else "-",
            color=colour_of_validation if is_validation else colour,
            marker="o" if len(values) == 1 else None,
            label=prefix + what,
        )
        last = values
    if run.best_epoch is not None and run.best_epoch < len(last):
        text = figures.theme(ax).text
        ax.plot(run.best_epoch + 1, last[run.best_epoch], "o", color=text, label=prefix + "best epoch")


@hints.explained
def gradient_norms(history, quantity="gradient_norm", *, ax=None):
    """Whether each layer learns: the norm of its gradient after each epoch, or another diagnostic.

    Parameters
    ----------
    history : History
        Of ``fit(diagnostics=True)``.
    quantity : {"gradient_norm", "update_ratio", "dead_units", "saturated_units"}
        Which of the numbers of ``history.diagnostics``, which :class:`History` explains.
    ax : matplotlib Axes, optional
        Where to draw. None: in a new figure.

    Returns
    -------
    Axes
        One line for each layer that has this number: a frozen layer has no gradient, only relu layers have dead
        units. Norms and ratios are on a logarithmic axis; where some are 0, the axis is linear around 0.

    Raises
    ------
    TypeError, ValueError
        If the history has no diagnostics, or no layer has this number.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    Norms that shrink from each layer to the one before it are vanishing gradients: S. Hochreiter, "Untersuchungen zu
    dynamischen neuronalen Netzen", 1991; X. Glorot and Y. Bengio, "Understanding the difficulty of training deep
    feedforward neural networks", 2010.

    Examples
    --------
    >>> X, y = np.random.default_rng(0).standard_normal((2, 100)), np.arange(100) % 2
    >>> history = fastnn.Network([2, 8, 8, 1], seed=0).fit(X, y, epochs=20, diagnostics=True, progress=False)
    >>> ax = fastnn.plots.gradient_norms(history)
    >>> [line.get_label() for line in ax.lines]
    ['layer 1', 'layer 2', 'layer 3']
    """
    arguments.check_history(history)
    arguments.one_of(quantity, diagnostics.NAMES, "quantity")
    if not history.diagnostics or not history.diagnostics[quantity]:
        raise ValueError("history has no diagnostics: train with net.fit(X, y, diagnostics=True)")
    values = np.array(history.diagnostics[quantity], dtype=float)  # (epochs, layers)
    layers = np.flatnonzero(np.isfinite(values).any(axis=0))
    if not len(layers):
        raise ValueError(f"quantity: no layer of this network has {quantity!r}; see History for which layers have it")
    ax = figures.one(ax)
    named = set(np.linspace(0, len(layers) - 1, min(len(layers), _MOST_IN_LEGEND)).round().astype(int))
    epochs = np.arange(1, len(values) + 1)
    for i, (layer, colour) in enumerate(zip(layers, figures.ramp(ax, len(layers)), strict=True)):
        marker = "o" if len(values) == 1 else None
        name = f"layer {layer + 1}" if i in named else f"_layer {layer + 1}"  # matplotlib leaves out the latter
        ax.plot(epochs, values[:, layer], color=colour, marker=marker, label=name)
    _scale_quantity(ax, quantity, values[:, layers])
    figures.whole_epochs(ax)
    ax.set_ylabel(_QUANTITIES[quantity])
    figures.legend(ax, outside=len(layers) > _MOST_INSIDE, points=values.size, corner="upper right")
    return ax


def _scale_quantity(ax, quantity, values):
    if quantity in ("dead_units", "saturated_units"):
        ax.set_ylim(-0.03, 1.03)
        return
    above = values[values > 0]
    if not len(above):
        return
    if (values == 0).any():
        ax.set_yscale("symlog", linthresh=above.min())
    else:
        ax.set_yscale("log")
