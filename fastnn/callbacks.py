"""Callbacks for ``fit``: save the network while it is trained (Checkpoint), write a table of its numbers (CSVLog)."""

import csv
import io
import math
import os
import re
import weakref

from . import arrays, filesystem, hints, optimizers
from .settings import check_flag

_FIELD = re.compile(r"\{(epoch|loss|lr|val_\w+|accuracy)(:[^}]*)?\}")  # of Keras' file names


class _OfOneFit:
    """A callback that needs the network; it serves one fit at a time, and holds no network that nobody else holds."""

    def __init__(self, path):
        if not isinstance(path, (str, bytes, os.PathLike)):
            raise TypeError(f"path must be a path, got {path!r:.80}")
        self.path, self._of = os.fspath(path), None
        field = _FIELD.search(os.fsdecode(self.path))
        if field:
            name, of = type(self).__name__, field.group()
            raise ValueError(f"{name}: path has {of}, and no numbers are put in: one file is written, leave it out")

    def begin(self, net):
        """Before the first epoch of a fit: OSError if the file cannot be there."""
        folder = os.path.dirname(self.path) or os.curdir
        if os.path.isdir(self.path) or not self.path:
            raise IsADirectoryError(f"{type(self).__name__}: path {self.path!r} is a folder or empty; name a file")
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"{type(self).__name__}: there is no folder {folder!r} for {self.path!r}")
        self._of = weakref.ref(net)

    def _network(self):
        net = self._of and self._of()
        if net is None:
            name = type(self).__name__
            raise RuntimeError(f"a {name} is given to fit, as callbacks={name}(path)")
        return net

    def __getstate__(self):
        return vars(self) | {"_of": None}


class Checkpoint(_OfOneFit):
    """A callback that saves the network with its optimizer's state, so that a broken training can go on.

    The file is replaced as a whole (see :meth:`fastnn.Network.save`): whenever the process ends, the newest
    file or the one before is there. ``fastnn.load(path)`` gives a network whose next fit, with
    the same backend, continues as if training had not been interrupted.

    Parameters
    ----------
    path : path-like
    best : bool
        True: save only if the loss is the lowest so far, of those epochs of this fit that `every`
        leaves: the loss of the validation data, or without them the training loss. The first of
        these epochs of a fit replaces the file of an earlier fit.
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
    One Checkpoint serves one fit at a time. With early stopping the file holds the network as it
    was after its epoch, while fit goes back to the best weights at its end.

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

    @hints.explained
    def __init__(self, path, best=False, every=1):
        super().__init__(path)
        check_flag("best", best)
        self.best, self.every = bool(best), arrays.whole_number(every, "every", 1)
        self._lowest = None  # the loss of the file; None: this fit has saved none

    def __repr__(self):
        return f"Checkpoint({self.path!r}, best={self.best}, every={self.every})"

    def begin(self, net):
        """Before the first epoch of a fit: OSError if the file cannot be there."""
        super().begin(net)
        optimizers.spec(net._trainable.optimizer)  # refused now, not after many epochs: an lr that no file can store
        self._lowest = None

    def __call__(self, epoch, history):
        """After an epoch."""
        net, loss = self._network(), (history.val_loss or history.loss)[-1]
        if (epoch + 1) % self.every:
            return
        if not self.best or self._lowest is None or loss < self._lowest:
            net.save(self.path, optimizer=True)
            self._lowest = math.inf if math.isnan(loss) else loss  # a loss that is NaN is not lower than any


class CSVLog(_OfOneFit):
    """A callback that writes the numbers of each epoch to a CSV file, a line as soon as the epoch ends.

    The columns: epoch (the number of epochs that the network has been trained for, 1 after the
    first), loss, val_loss if there are validation data, lr and the metrics. With a network that was
    trained before, lines are added to a file that has these columns already: its lines of epochs
    that are trained again, and a last line that was cut off, are left out. Any other log is begun
    anew; a file that is no log is refused.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    TypeError
        If `path` is no path.
    OSError
        By fit, if the file cannot be written; the weights of that moment are kept.
    ValueError
        By fit before its first epoch, if there is a file that is no log.

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
    epoch,loss,lr,accuracy
    """

    @hints.explained
    def __init__(self, path):
        super().__init__(path)
        self._lines = self._begun = None

    def __repr__(self):
        return f"CSVLog({self.path!r})"

    def begin(self, net):
        """Before the first epoch of a fit: OSError if the file cannot be there, ValueError if it is no log."""
        super().begin(net)
        self._lines, self._begun = _log(self.path), False

    def __call__(self, epoch, history):
        """After an epoch."""
        done = self._network().epochs_done
        names, numbers = ["epoch", "loss"], [done, history.loss[-1]]
        for name, values in ({"val_loss": history.val_loss, "lr": history.lr} | history.metrics).items():
            if values:
                names.append(name)
                numbers.append(values[-1])
        if self._begun:
            with open(self.path, "a", newline="", encoding="utf-8") as file:
                file.write(_text([numbers]))
            return
        first = done - epoch  # of this fit
        kept = [line for line in self._lines[1:] if int(line[0]) < first] if self._lines[:1] == [names] else []
        filesystem.write(self.path, _text([names, *kept, numbers]).encode())
        self._lines, self._begun = None, True


def _text(lines):
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue()


def _log(path):
    """The whole lines of a log, as lists; [] if there is no file or an empty one. ValueError if it is another file."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            text = file.read()
        lines = list(csv.reader(text[: text.rfind("\n") + 1].splitlines()))
        if text and not (lines and lines[0][:2] == ["epoch", "loss"]):
            raise ValueError
        return [line for line in lines if line[0] == "epoch" or (len(line) == len(lines[0]) and int(line[0]) >= 0)]
    except FileNotFoundError:
        return []
    except (ValueError, IndexError, csv.Error):  # a UnicodeDecodeError is a ValueError
        raise ValueError(f"CSVLog: {path!r} exists and is no log of fit; name another file, or remove it") from None
