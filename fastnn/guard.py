"""One network, many Python threads: any number may read, one may write, and never both.

Nobody waits: what cannot run now is refused with a clear error, so nothing can hang.
"""

import os
import threading

# One for all networks, held for a moment. A child that is forked in that moment by another thread would wait for it for
# ever, so who forks takes it first. A signal's handler may use a network in that moment: so it is one that nests.
_lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class Guard:
    """Knows who uses a network.

    Three context managers: `reading` (predict, loss, save, ...), `writing` (train_step,
    set_parameters) and `fitting`. The thread that fits may read and write too: that is how
    callbacks predict, save and change weights. It may not fit again inside.
    """

    def __init__(self):
        self.uses = []  # those under way, and some that are over

    reading = property(lambda self: _Use(self, writes=False))
    writing = property(lambda self: _Use(self, writes=True))
    fitting = property(lambda self: _Use(self, writes=True, nests=False))


class _Use:
    """One `with` block: under way while its lock is held."""

    def __init__(self, guard, writes, nests=True):
        self._guard, self.writes, self._nests = guard, writes, nests
        self.thread, self.under_way = threading.get_ident(), threading.Lock()

    # The lock's own way out: one in Python could be ended by Ctrl-C before its first line, and the network would be in
    # use for ever.
    __exit__ = property(lambda self: self.under_way.__exit__)

    def __enter__(self):
        g = self._guard
        try:
            with _lock:
                g.uses = [use for use in g.uses if use.under_way.locked()]
                mine = self._nests or not self.writes
                if any(use.writes and not (mine and use.thread == self.thread) for use in g.uses):
                    raise busy("being trained or changed")
                if self.writes and not all(use.writes for use in g.uses):
                    raise busy("being used")
                g.uses.append(self)
                self.under_way.acquire()
        except BaseException:  # Ctrl-C, too
            if self.under_way.locked():
                self.under_way.release()
            raise


def busy(what):
    """What is raised where a call would have to wait."""
    return RuntimeError(
        f"this network is {what} in another call; wait for it, or use a copy or a predictor() made before"
    )
