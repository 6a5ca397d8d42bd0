"""One network, many Python threads: any number may read, one may write, and never both.

Nobody waits: what cannot run now is refused with a clear error, so nothing can hang.
"""

import threading


class Guard:
    """Counts the readers of a network and knows its writer's thread.

    Three context managers: `reading` (predict, loss, save, ...), `writing` (train_step,
    set_parameters) and `fitting`. The thread that fits may read and write too: that is how
    callbacks predict, save and change weights. It may not fit again inside.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._readers = 0
        self._writer = None  # a thread's ident
        self._depth = 0  # how many of the writer's calls are under way, one inside the other
        self.reading = _Reading(self)
        self.writing = _Writing(self, nests=True)
        self.fitting = _Writing(self, nests=False)


class _Reading:
    def __init__(self, guard):
        self._guard = guard

    def __enter__(self):
        g = self._guard
        with g._lock:
            if g._writer is not None and g._writer != threading.get_ident():
                raise busy("being trained or changed")
            g._readers += 1

    def __exit__(self, *exc):
        with self._guard._lock:
            self._guard._readers -= 1


class _Writing:
    def __init__(self, guard, nests):
        self._guard, self._nests = guard, nests

    def __enter__(self):
        g, me = self._guard, threading.get_ident()
        with g._lock:
            if g._writer is not None and not (self._nests and g._writer == me):
                raise busy("being trained or changed")
            if g._readers:
                raise busy("being used")
            g._writer = me
            g._depth += 1

    def __exit__(self, *exc):
        g = self._guard
        with g._lock:
            g._depth -= 1
            if not g._depth:
                g._writer = None


def busy(what):
    """What is raised where a call would have to wait."""
    return RuntimeError(
        f"this network is {what} in another call; wait for it, or use a copy or a predictor() made before"
    )
