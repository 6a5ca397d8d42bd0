"""The progress bar of fit: tqdm if it is installed; otherwise, with progress=True, about one line per second.

Progress output never stops training: where it cannot be written (no stderr, a closed one, or an incomplete
replacement by a GUI or a logger), fit continues without it.
"""

import sys
import time

_PLAIN_SECONDS = 1.0


def progress_bar(wanted, epochs):
    """A :class:`Progress` with these arguments, or None if nothing is to be shown."""
    return None if wanted is False or sys.stderr is None else Progress(wanted, epochs)


class Progress:
    """A bar over epochs.

    Parameters
    ----------
    wanted : bool or None
        None: only on a terminal, and only with tqdm; True: always; False: never (:func:`progress_bar`).
    epochs : int
    """

    def __init__(self, wanted, epochs):
        self._epochs, self._bar, self._plain, self._done = epochs, None, False, 0
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
            from tqdm import tqdm
        except ImportError:
            self._plain = wanted is True
            self._next = time.monotonic() + _PLAIN_SECONDS
            return
        # Not a terminal: each refresh is a new line in a log, so one per second is enough.
        self._bar = tqdm(total=self._epochs, unit="epoch", mininterval=0.1 if is_terminal else _PLAIN_SECONDS)

    def update(self, losses):
        """Show how many epochs are done, and the loss of the last one."""
        new, self._done = len(losses) - self._done, len(losses)
        if new and (self._bar is not None or self._plain):
            self._shown(self._show, new, losses[-1])

    def _show(self, new, loss):
        if self._bar is not None:
            self._bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
            self._bar.update(new)
        elif time.monotonic() >= self._next or self._done == self._epochs:
            self._next = time.monotonic() + _PLAIN_SECONDS
            print(f"epoch {self._done}/{self._epochs}, loss {loss:.4g}", file=sys.stderr)

    def close(self):
        """Leave the bar as it is."""
        if self._bar is not None:
            self._shown(self._bar.close)
