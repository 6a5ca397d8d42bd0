"""The progress of training: a tqdm bar where tqdm is installed, else about one line per second.

Progress output never stops training: where it cannot be written (no stderr, a closed one, or an incomplete
replacement by a GUI or a logger), fit continues without it.
"""

import sys
import time
import warnings

_PLAIN_SECONDS = 1.0


def progress_bar(wanted, epochs):
    """A :class:`Progress` with these arguments, or None if nothing is to be shown."""
    return None if wanted is False or sys.stderr is None else Progress(wanted, epochs)


class Progress:
    """A bar over epochs, which also moves within an epoch.

    Parameters
    ----------
    wanted : bool or None
        None: only on a terminal, and only with tqdm; True: always; False: never (:func:`progress_bar`).
    epochs : int
    """

    def __init__(self, wanted, epochs):
        self._epochs, self._bar, self._plain, self._shown_epochs = epochs, None, False, 0
        self._shown(self._open, wanted)

    def _shown(self, show, *args):
        """Call `show(*args)`; if it fails, show nothing from now on."""
        try:
            show(*args)
        except Exception:  # of any kind, from tqdm or from an object that replaces stderr
            self._bar, self._plain = None, False

    def _open(self, wanted):
        is_terminal = getattr(sys.stderr, "isatty", lambda: False)()
        if wanted is None and not is_terminal:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # in a notebook without ipywidgets it warns, and draws plain bars
                from tqdm.auto import tqdm
        except ImportError:
            self._plain = wanted is True
            self._start = time.monotonic()
            self._next = self._start + _PLAIN_SECONDS
            return
        # Not a terminal: each refresh is a new line in a log, so one per second is enough.
        self._bar = tqdm(total=self._epochs, unit="epoch", mininterval=0.1 if is_terminal else _PLAIN_SECONDS)

    def update(self, share, history, lr):
        """Show the progress after a slice.

        Parameters
        ----------
        share : float
            Within 0..1: how much of the next epoch is done.
        history : History
            Its newest numbers are shown.
        lr : float
            The learning rate.
        """
        if self._bar is not None or self._plain:
            self._shown(self._show, share, history, lr)

    def _show(self, share, history, lr):
        epochs = len(history.loss)
        done = round(epochs + share, 2) if share else epochs
        numbers = {}
        if epochs:
            numbers = {"loss": history.loss, "val_loss": history.val_loss, **history.metrics}
            numbers = {name: f"{values[-1]:.4g}" for name, values in numbers.items() if values}
        numbers["lr"] = f"{lr:.3g}"
        if self._bar is not None:
            if epochs != self._shown_epochs or len(numbers) == 1:
                self._bar.set_postfix(numbers, refresh=False)
                self._shown_epochs = epochs
            self._bar.n = done
            self._bar.update(0)
        elif time.monotonic() >= self._next or done == self._epochs:
            self._next = time.monotonic() + _PLAIN_SECONDS
            left = (time.monotonic() - self._start) * (self._epochs - done) / done if done else 0.0
            shown = "".join(f", {name} {number}" for name, number in numbers.items())
            print(f"epoch {done}/{self._epochs}{shown}, {left:.0f} s left", file=sys.stderr)

    def close(self):
        """Leave the bar as it is."""
        if self._bar is not None:
            self._shown(self._bar.close)
