"""The progress bar of fit: tqdm where it is installed, else a plain line now and then."""

import sys
import time

_PLAIN_SECONDS = 1.0


class Progress:
    """A bar over epochs.

    Parameters
    ----------
    wanted : bool or None
        None: only on a terminal, and only with tqdm; True: always; False: never.
    epochs : int
    """

    def __init__(self, wanted, epochs):
        self._epochs, self._bar, self._plain, self._done = epochs, None, False, 0
        if wanted is False or sys.stderr is None:
            return
        terminal = sys.stderr.isatty()
        if wanted is None and not terminal:
            return
        try:
            from tqdm import tqdm
        except ImportError:
            self._plain = wanted is True
            self._next = time.monotonic() + _PLAIN_SECONDS
            return
        # Where the bar is a line in a log each time, one a second is plenty.
        self._bar = tqdm(total=epochs, unit="epoch", mininterval=0.1 if terminal else _PLAIN_SECONDS)

    def update(self, losses):
        """Show that so many epochs are done, and the last one's loss."""
        new, self._done = len(losses) - self._done, len(losses)
        if self._bar is not None and new:
            self._bar.set_postfix(loss=f"{losses[-1]:.4g}", refresh=False)
            self._bar.update(new)
        elif self._plain and new and (time.monotonic() >= self._next or self._done == self._epochs):
            self._next = time.monotonic() + _PLAIN_SECONDS
            print(f"epoch {self._done}/{self._epochs}, loss {losses[-1]:.4g}", file=sys.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self._bar is not None:
            self._bar.close()
