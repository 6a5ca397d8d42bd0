"""Callbacks for ``fit``: save the network while it is trained (Checkpoint), write a table of its numbers (CSVLog)."""

import csv
import math
import os

from . import arrays
from .settings import check_flag


def _checked_path(path):
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"path must be a path, got {path!r:.80}")
    return os.fspath(path)


class Checkpoint:
    """A callback that saves the network with its optimizer's state, so that a broken training can go on.

    The file is replaced as a whole (see :meth:`fastnn.Network.save`): whenever the process ends, the newest
    file or the one before is there. ``fastnn.load(path)`` gives a network whose next fit
    continues as if training had not been interrupted.

    Parameters
    ----------
    path : path-like
    best : bool
        True: save only if the loss is the lowest of this fit so far: that of the validation data,
        or without them the training loss.
    every : int
        Save after each `every`-th epoch of a fit only.

    Raises
    ------
    TypeError, ValueError
        For invalid settings.
    OSError
        By fit, if the file cannot be written; the weights of that moment are kept.

    Notes
    -----
    One Checkpoint serves one fit at a time.

    Examples
    --------
    >>> import os, tempfile
    >>> import fastnn, numpy as np
    >>> X, y = np.random.default_rng(0).standard_normal((4, 50)), np.arange(50) % 3
    >>> path = os.path.join(tempfile.mkdtemp(), "net.npz")
    >>> net = fastnn.Network([4, 8, 3], seed=0)
    >>> history = net.fit(X, y, epochs=5, callbacks=fastnn.callbacks.Checkpoint(path, every=2), progress=False)
    >>> fastnn.load(path).epochs_done
    4
    """

    def __init__(self, path, best=False, every=1):
        check_flag("best", best)
        self.path, self.best, self.every = _checked_path(path), bool(best), arrays.whole_number(every, "every", 1)
        self._net, self._lowest = None, math.inf

    def __repr__(self):
        return f"Checkpoint({self.path!r}, best={self.best}, every={self.every})"

    def begin(self, net):
        """Before the first epoch of a fit."""
        self._net, self._lowest = net, math.inf

    def __call__(self, epoch, history):
        """After an epoch."""
        if self._net is None:
            raise RuntimeError("a Checkpoint is given to fit, as callbacks=Checkpoint(path)")
        if (epoch + 1) % self.every:
            return
        loss = (history.val_loss or history.loss)[-1]
        if not self.best or loss < self._lowest:
            self._net.save(self.path, optimizer=True)
            self._lowest = loss


class CSVLog:
    """A callback that writes the numbers of each epoch to a CSV file, a line as soon as the epoch ends.

    The columns: epoch (the number of epochs that the network has been trained for, 1 after the
    first), loss, val_loss if there are validation data, and the metrics. With a network that was
    trained before, lines are added to a file that has these columns already; else a new file is begun.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    TypeError
        If `path` is no path.
    OSError
        By fit, if the file cannot be written; the weights of that moment are kept.

    Examples
    --------
    >>> import os, tempfile
    >>> import fastnn, numpy as np
    >>> X, y = np.random.default_rng(0).standard_normal((4, 50)), np.arange(50) % 3
    >>> path = os.path.join(tempfile.mkdtemp(), "log.csv")
    >>> history = fastnn.Network([4, 8, 3], seed=0).fit(
    ...     X, y, epochs=2, metrics=["accuracy"], callbacks=fastnn.callbacks.CSVLog(path), progress=False
    ... )
    >>> with open(path) as file:
    ...     print(file.readline().strip())
    epoch,loss,accuracy
    """

    def __init__(self, path):
        self.path = _checked_path(path)
        self._net = self._columns = None

    def __repr__(self):
        return f"CSVLog({self.path!r})"

    def begin(self, net):
        """Before the first epoch of a fit."""
        self._net, self._columns = net, None
        self._goes_on = net.epochs_done > 0

    def __call__(self, epoch, history):
        """After an epoch."""
        if self._net is None:
            raise RuntimeError("a CSVLog is given to fit, as callbacks=CSVLog(path)")
        numbers = {"epoch": self._net.epochs_done, "loss": history.loss[-1]}
        if history.val_loss:
            numbers["val_loss"] = history.val_loss[-1]
        numbers |= {name: values[-1] for name, values in history.metrics.items()}
        lines = [list(numbers.values())]
        if self._columns is None and not (self._goes_on and _first_line(self.path) == list(numbers)):
            mode, lines = "w", [list(numbers), *lines]
        else:
            mode = "a"
        with open(self.path, mode, newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(lines)
        self._columns = list(numbers)


def _first_line(path):
    """The first line of a CSV file as a list; None if there is no such file."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return next(csv.reader(file), None)
    except (FileNotFoundError, UnicodeDecodeError):
        return None
