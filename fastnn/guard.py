"""One network, many Python threads: who uses it, who has to wait for a moment, and who is refused.

Training is refused while any other call runs, and tells so. All other calls are let in at any time: they
wait for the moment in which the numbers do not change under them, or are not read, in the order in which they came.
While ``fit`` runs such moments come between two of its slices.
"""

import _thread
import os
import sys
import threading
import time
import weakref

# What a use is. Some are of the engine's numbers, which are then read, or changed.
CALL, READ, WRITE, FIT, TRAIN, STEP, FORK = range(7)
_CHANGES = (WRITE, STEP)  # of the numbers
_TOUCHES = (READ, FORK, *_CHANGES)
_TRAINS = (FIT, TRAIN, STEP)  # is refused beside any other call
_LONGEST_NAP = 1e-3  # s, between two looks of one that waits; no lock, so that nothing can be waited for that is gone
_LOOK_AFTER = 0.1  # s, at what those do that are waited for

# One for all networks, held for a moment. A signal's handler may use a network in that moment: so it is one that nests.
_lock = threading.RLock()
_guards = weakref.WeakSet()


def watch(guard):
    """Have `guard` know of forks."""
    with _lock:
        _guards.add(guard)


def wait(blockers):
    """Sleep, time after time, until `blockers()` is empty: threads that have to go first.

    Not for ever. Where such a thread runs the user's code in the middle of its use, in a signal's handler or a
    finalizer, it may itself wait for this one; and while the interpreter ends, others do not run any more.
    """
    nap, look = 2e-5, time.monotonic() + _LOOK_AFTER
    while threads := blockers():
        if sys.is_finalizing():
            raise busy(WRITE)
        if time.monotonic() > look:
            if any(_is_in_users_code(thread) for thread in threads):
                raise busy(WRITE)
            look += _LOOK_AFTER
        time.sleep(nap)
        nap = min(2 * nap, _LONGEST_NAP)


def _is_in_users_code(thread):
    """Whether a thread that is inside one of our calls has been led out of it: by a signal, or a finalizer."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package == __package__:
            return False
        if package not in _OF_OURS:
            return True
        frame = frame.f_back
    return True  # the thread has ended


_OF_OURS = ("numpy", "threading", "contextlib", "weakref")  # what our calls call


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
    forking
        As reading, but it refuses nobody.
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
    forking = property(lambda self: _Use(self, FORK))

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
                blockers = self._blockers()
            if blockers:
                wait(self._blockers)
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
        self.admitted = False
        g.uses.append(self)

    def _blockers(self):
        """Threads that have to go first; with none of them this use is admitted.

        Those that read what this changes, or change what this touches, or wait before it to do so.
        """
        with _lock:
            uses = [use for use in self._guard.uses if use.there.locked()]
            own = [use.kind for use in uses if use.admitted and use.thread == self.thread and use.kind in _TOUCHES]
            if own and self.kind in _CHANGES:  # a signal's handler, in the middle of something
                raise busy(own[-1])
            before, threads = True, []
            for use in uses:
                before = before and use is not self
                if use.thread != self.thread and conflict(use.kind, self.kind):
                    if use.admitted and own:
                        raise busy(use.kind)
                    # Inside a use of its own nobody waits for those who may wait for that.
                    if use.admitted or (before and not own):
                        threads.append(use.thread)
            self.admitted = not threads
            return threads


def refuses(there, own, wanted):
    """Whether a use that is there, of this thread or another, refuses one that would train."""
    if there == FORK:
        return False
    return not own or there in (CALL, READ) or wanted == FIT


def conflict(a, b):
    """Whether two uses cannot touch the numbers at once."""
    return (a in _CHANGES and b in _TOUCHES) or (b in _CHANGES and a in _TOUCHES)


_forks = threading.local()  # of each fork of this thread that is under way what it holds


def _before_fork():
    """Wait until nobody changes a network's numbers: a child would have them half changed, for ever.

    What a signal's handler raises meanwhile comes afterwards: Python forks all the same.
    """
    raised, held = None, []
    _forks.stack = [*getattr(_forks, "stack", ()), held]
    while True:
        try:
            known = {id(guard) for guard, _ in held}
            with _lock:
                missing = [guard for guard in _guards if id(guard) not in known]
            if not missing:
                _lock.acquire()  # so that the child does not wait for it for ever
                held.append((None, _lock))
                if all(id(guard) in known for guard in _guards):  # none came in between
                    break
                held.pop()
                _lock.release()
            for guard in missing:
                use = guard.forking
                use.__enter__()
                held.append((guard, use))
        except BaseException as error:
            raised = raised or error
    if raised is not None:
        if isinstance(raised, KeyboardInterrupt):
            _thread.interrupt_main()
        raise raised


def _after_fork(in_child):
    held = _forks.stack.pop()
    if in_child:
        for guard in _guards:
            guard.forget_others()
    for guard, use in reversed(held):
        if guard is None:
            use.release()
        else:
            use.__exit__(None, None, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(False),
        after_in_child=lambda: _after_fork(True),
    )
