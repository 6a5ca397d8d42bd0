"""Early stopping: its settings (EarlyStopping), and how far one fit has come with them (Stopper)."""

import math

from . import arrays, cautions, hints, tables
from .settings import check_flag


class EarlyStopping:
    """End training when a number no longer improves, and go back to the best weights.

    After each epoch from `start_epoch` on, the number is compared with the best one so far. Training
    ends after `patience` epochs in a row without an improvement. The object holds settings only: best
    and patience begin afresh in each fit.

    Parameters
    ----------
    monitor : str
        "loss" or "val_loss"; or a metric of fit's `metrics`: "val_accuracy" with validation data,
        "accuracy" without. accuracy, top_k, r2, auc and f1 are better when higher, all others when
        lower; a function of yours as its attribute ``greater_is_better`` says, without it when lower.
    patience : int
        At least 1.
    min_delta : float
        An improvement is a change by more than this.
    restore_best : bool
        True: when fit ends, also by a callback or a divergence (but not by Ctrl-C), the weights and
        the optimizer's state of the best epoch, as callbacks left them, come back. ``epochs_done``
        does not go back.
    start_epoch : int
        Epochs before this one, counted from 0 in each fit, are not looked at.

    Raises
    ------
    ValueError, TypeError
        If a setting is not legal.

    Notes
    -----
    L. Prechelt, "Early stopping - but when?", in "Neural Networks: Tricks of the Trade", 1998. A number that is NaN is
    no improvement, of which a :class:`DataWarning` tells once.

    Examples
    --------
    >>> EarlyStopping("val_loss", patience=3)
    EarlyStopping(monitor='val_loss', patience=3, min_delta=0.0, restore_best=True, start_epoch=0)
    """

    __slots__ = ("min_delta", "monitor", "patience", "restore_best", "start_epoch")

    @hints.explained
    def __init__(self, monitor="val_loss", patience=10, min_delta=0.0, restore_best=True, start_epoch=0):
        if not isinstance(monitor, str):
            told = f": write patience={monitor}" if type(monitor) is int else ""
            raise TypeError(f"monitor must be a str such as 'val_loss', got {monitor!r:.80}{told}")
        check_flag("restore_best", restore_best)
        settings = (
            monitor,
            arrays.whole_number(patience, "patience", 1),
            tables.real_parameter(min_delta, "min_delta"),
            bool(restore_best),
            arrays.whole_number(start_epoch, "start_epoch", 0),
        )
        for name, value in zip(self._fields, settings, strict=True):
            object.__setattr__(self, name, value)

    def __setattr__(self, name, value):
        raise AttributeError(f"an EarlyStopping does not change: make another one with {name}={value!r:.50}")

    def __reduce__(self):
        return EarlyStopping, tuple(getattr(self, name) for name in self._fields)

    def __repr__(self):
        return f"EarlyStopping({', '.join(f'{name}={getattr(self, name)!r}' for name in self._fields)})"

    _fields = ("monitor", "patience", "min_delta", "restore_best", "start_epoch")


def checked(early_stopping, measured):
    """Return `early_stopping` as a :class:`Stopper`, or None.

    Parameters
    ----------
    early_stopping : EarlyStopping, int or None
    measured : dict of str to bool
        The numbers of each epoch, and whether a greater one is better.
    """
    if early_stopping is None:
        return None
    if not isinstance(early_stopping, EarlyStopping):
        if isinstance(early_stopping, type) or not hasattr(type(early_stopping), "__index__"):
            wanted = "an EarlyStopping, or a patience as an int"
            raise TypeError(f"early_stopping must be {wanted}, got {early_stopping!r:.80}")
        if isinstance(early_stopping, bool):
            told = "early_stopping=10" if early_stopping else "early_stopping=None"
            raise TypeError(f"early_stopping is a patience, got {early_stopping}: write {told}")
        early_stopping = EarlyStopping(patience=arrays.whole_number(early_stopping, "early_stopping", 1))
    check_monitor("early_stopping", early_stopping.monitor, measured)
    return Stopper(early_stopping, measured[early_stopping.monitor])


def check_monitor(argument, monitor, measured):
    """Refuse a monitor that is not among the numbers of each epoch."""
    if monitor not in measured:
        bare = monitor.removeprefix("val_")
        metrics = [name for name in (bare, *hints.ours(bare)) if name in tables.METRICS]
        prefix = monitor[: len(monitor) - len(bare)]
        told = hints.did_you_mean(monitor, measured) or hints.did_you_mean("".join((prefix, *metrics[:1])), measured)
        if metrics and not told:
            told = f": write metrics=[{metrics[0]!r}];"
        if monitor.startswith("val_") and "val_loss" not in measured:
            told = ": there is no validation data; give validation_data, or monitor='loss';"
        raise ValueError(f"{argument}: no {monitor!r} is measured{told or ';'} what is: {', '.join(measured)}")


class Kept:
    """The state of a network after its best epoch so far."""

    state = None  # the trainable's snapshot

    def keep(self, trainable):
        """The present state is the best one."""
        with trainable.guard.reading:
            self.state = trainable.snapshot(self.state)

    def restore(self, trainable):
        """Go back to the best state, if there is one."""
        if self.state is not None:
            with trainable.guard.writing:
                updates = trainable.engine.updates()
                trainable.go_back(self.state)
                trainable.engine.set_updates(updates)  # the masks of dropout do not come again


class Stopper(Kept):
    """The best number of one fit, the state of the network at that time, and how long ago it was."""

    def __init__(self, settings, greater_is_better):
        self.settings, self.sign = settings, -1.0 if greater_is_better else 1.0
        self.best, self.best_epoch, self.waited = math.inf, None, 0
        self.has_warned = False

    def look(self, epoch, history, trainable):
        """Note the number of an epoch that has ended; return whether training should end."""
        if epoch < self.settings.start_epoch:
            return False
        number = self.sign * history.last(self.settings.monitor)
        if number != number and not self.has_warned:
            self.has_warned = True
            cautions.caution(
                f"early_stopping: {self.settings.monitor} is nan after epoch {epoch + 1}, which counts as no "
                f"improvement; {self.settings.patience} epochs without one end the training"
            )
        if number < self.best - self.settings.min_delta:
            if self.settings.restore_best:  # first, for it may fail
                self.keep(trainable)
            self.best, self.best_epoch, self.waited = number, epoch, 0
        else:
            self.waited += 1
        return self.waited >= self.settings.patience
