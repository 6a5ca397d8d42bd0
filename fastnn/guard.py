"""One network, many Python threads: who uses it, who has to wait for a moment, and who is refused.

Training is refused while any other call runs, and tells so. All other calls are let in at any time: they
wait for the moment in which the numbers do not change under them, or are not read, in the order in which they came.
While ``fit`` runs such moments come between two of its slices.
"""

import os
import threading
import time
import weakref

# What a use is. Two of them are also of the engine's numbers, which are then read, or changed.
CALL, READ, WRITE, FIT, TRAIN, STEP = range(6)
_CHANGES = (WRITE, STEP)  # of the numbers
_TRAINS = (FIT, TRAIN, STEP)  # is refused beside any other call
_LONGEST_NAP = 1e-3  # s, between two looks of one that waits; no lock, so that nothing can be waited for that is gone

# One for all networks, held for a moment. A signal's handler may use a network in that moment: so it is one that nests.
_lock = threading.RLock()
_guards = weakref.WeakSet()


def watch(guard):
    """Have `guard` know of forks."""
    with _lock:
        _guards.add(guard)


def naps():
    """Seconds between looks of one that waits."""
    nap = 2e-5
    while True:
        yield nap
        nap = min(2 * nap, _LONGEST_NAP)


def busy(use):
    """What is raised where training cannot begin, because of another thread's use, or a call around this one."""
    what = "being used" if use in (CALL, READ) else "being trained or changed"
    return RuntimeError(
        f"this network is {what} in another call; wait for it, or use a copy or a predictor() made before"
    )


class Guard:
    """Knows who uses a network.

    Its context managers, each for one `with` block:

    calling
        A call that does not touch the numbers yet: it looks at its arguments, which may run the user's code.
    reading, writing
        A call that reads the numbers, or changes them: all of them read at once, or one changes.
    fitting, training, stepping
        fit; one step; one step with the numbers changed at once. Refused while another call runs. The thread that
        fits may call anything but fit meanwhile: so do callbacks.
    """

    def __init__(self):
        self.uses = []  # in the order they came: those under way, those that wait, and some that are over
        watch(self)

    calling = property(lambda self: _Use(self, CALL))
    reading = property(lambda self: _Use(self, READ))
    writing = property(lambda self: _Use(self, WRITE))
    fitting = property(lambda self: _Use(self, FIT))
    training = property(lambda self: _Use(self, TRAIN))
    stepping = property(lambda self: _Use(self, STEP))

    def is_awaited(self):
        """Whether somebody waits."""
        return any(not use.admitted for use in self.uses if use.there.locked())

    def forget_others(self):
        """Only this thread is left, in a forked child."""
        self.uses = [use for use in self.uses if use.thread == threading.get_ident()]


class _Use:
    """One `with` block: there while its lock is held."""

    def __init__(self, guard, kind):
        self._guard, self.kind, self.admitted = guard, kind, False
        self.thread, self.there = threading.get_ident(), threading.Lock()

    # The lock's own way out: one in Python could be ended by Ctrl-C before its first line, and the network would be in
    # use for ever.
    __exit__ = property(lambda self: self.there.__exit__)

    def __enter__(self):
        try:
            with _lock:
                self._come()
                self.admitted = self._is_free()
            for nap in naps():
                if self.admitted:
                    return
                time.sleep(nap)
                with _lock:
                    self.admitted = self._is_free()
        except BaseException:  # Ctrl-C, too
            if self.there.locked():
                self.there.release()
            raise

    def _come(self):
        g = self._guard
        g.uses = [use for use in g.uses if use.there.locked()]
        for use in g.uses:
            if self.kind in _TRAINS and refuses(use.kind, use.thread == self.thread, self.kind):
                raise busy(use.kind)
        self.there.acquire()
        g.uses.append(self)

    def _is_free(self):
        """Whether no other thread reads what this changes, or changes what this touches; nor waits before it to."""
        uses = [use for use in self._guard.uses if use.there.locked() and use is not self]
        own = [use.kind for use in uses if use.admitted and use.thread == self.thread]
        within = any(kind in (READ, *_CHANGES) for kind in own)
        if within and self.kind in _CHANGES:  # a signal's handler, in the middle of something
            raise busy(CALL if READ in own else WRITE)
        before = self._guard.uses[: self._guard.uses.index(self)]
        for use in uses:
            # Inside a use of its own nobody waits for those who may wait for that.
            if use.thread != self.thread and conflict(use.kind, self.kind):
                if use.admitted and within:
                    raise busy(use.kind)
                if use.admitted or (use in before and not within):
                    return False
        return True


def refuses(there, own, wanted):
    """Whether a use that is there, of this thread or another, refuses one that would train."""
    if not own:
        return True
    return there in (CALL, READ) or wanted == FIT


def conflict(a, b):
    """Whether two uses cannot touch the numbers at once."""
    return (a in _CHANGES and b in (READ, *_CHANGES)) or (b in _CHANGES and a == READ)


_forking = threading.local()  # what this thread holds while it forks


def _before_fork():
    """Wait until nobody changes a network's numbers: a child would have them half changed, for ever."""
    _forking.held = []
    with _lock:
        guards = list(_guards)
    for guard in guards:
        use = guard.reading
        use.__enter__()
        _forking.held.append((guard, use))
    _lock.acquire()  # so that the child does not wait for it for ever


def _after_fork(in_child):
    _lock.release()
    for guard, use in _forking.held:
        if in_child:
            guard.forget_others()
        use.__exit__(None, None, None)
    _forking.held = []


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(False),
        after_in_child=lambda: _after_fork(True),
    )
