"""A lock for each network: which calls of several Python threads may run together, which wait, which are refused.

Training is refused, with a RuntimeError, while any other call runs. All other calls are accepted at any time, and
wait in the order in which they came: a reader until no call changes the network's numbers, a writer until no call
reads or changes them. While ``fit`` runs they get their turn between two of its slices.
"""

import _thread
import os
import sys
import threading
import time
import weakref

# Kinds of use of a network. "Numbers" are the engine's weights and moments.
KINDS = CALL, READ, WRITE, FIT, TRAIN, STEP, FORK = range(7)
CHANGES = (WRITE, STEP)  # kinds that change the numbers
TOUCHES = (READ, FORK, *CHANGES)  # kinds that read or change them
TRAINS = (FIT, TRAIN, STEP)  # kinds that are refused while any other call runs
_LONGEST_NAP = 1e-3  # s; a waiting thread polls, because the owner of a lock may be gone after a fork
_LOOK_AFTER = 0.1  # s, after which a waiting thread checks what the threads before it are doing

# One lock for all networks, held only briefly. Reentrant, because a signal handler may use a network in that time.
_lock = threading.RLock()
_guards = weakref.WeakSet()


def watch(guard):
    """Let `guard` take part in forks."""
    with _lock:
        _guards.add(guard)


def wait(blockers):
    """Sleep repeatedly until `blockers()`, the list of threads that have to go first, is empty.

    Raises RuntimeError if waiting could last for ever: if such a thread is in user code (a signal handler or a
    finalizer) that may itself wait for this thread, or if the interpreter ends and other threads no longer run.
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
    """Whether a thread, in the middle of one of our calls, runs other code: a signal handler or a finalizer."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package == __package__:
            return False
        if package not in _OF_OURS:
            return True
        frame = frame.f_back
    return True  # the thread has ended


_OF_OURS = ("numpy", "threading", "contextlib", "weakref")  # packages that our own calls use


def busy(use):
    """The RuntimeError for a call that cannot begin: another thread, or a call around this one, uses the network."""
    what = "being used" if use in (CALL, READ) else "being trained or changed"
    return RuntimeError(
        f"this network is {what} in another call; wait for it, or use a copy or a predictor() made before"
    )


def changed_meanwhile():
    """The RuntimeError for a step with a loss of the user's own, where the network changed while that was computed."""
    return RuntimeError(
        "the network was changed while its loss was computed, by another thread or by the loss itself; "
        "this step has changed nothing"
    )


class Guard:
    """The lock of one network.

    Each attribute is a context manager for one `with` block:

    calling
        A call that does not touch the numbers yet: it checks its arguments, which may run the user's code.
    reading, writing
        A call that reads, or changes, the numbers: several readers at once, or one writer.
    fitting, training, stepping
        fit; a train_step; a train_step that changes the numbers in the same block. Refused while another call runs.
        The thread that fits may make any call but fit in between, as callbacks do.
    forking
        As reading, but training is not refused because of it.
    """

    def __init__(self):
        self.uses = []  # in order of arrival: running, waiting, and some finished ones
        watch(self)

    calling = property(lambda self: _Use(self, CALL))
    reading = property(lambda self: _Use(self, READ))
    writing = property(lambda self: _Use(self, WRITE))
    fitting = property(lambda self: _Use(self, FIT))
    training = property(lambda self: _Use(self, TRAIN))
    stepping = property(lambda self: _Use(self, STEP))
    forking = property(lambda self: _Use(self, FORK))

    def is_awaited(self):
        """Whether a call waits for its turn."""
        return any(not use.admitted for use in self.uses if use.there.locked())

    def forget_others(self):
        """Forget the uses of other threads: in a forked child only this thread exists."""
        self.uses = [use for use in self.uses if use.thread == threading.get_ident()]


class _Use:
    """One `with` block; it is in use as long as its lock `there` is held."""

    def __init__(self, guard, kind):
        self._guard, self.kind, self.admitted = guard, kind, False
        self.thread, self.there = threading.get_ident(), threading.Lock()

    # The lock's own __exit__, written in C: Ctrl-C could stop a Python function before its first line, and the network
    # would stay in use for ever.
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
            if self.kind in TRAINS and refuses(use.kind, use.thread == self.thread, self.kind):
                raise busy(use.kind)
        self.there.acquire()
        self.admitted = False
        g.uses.append(self)

    def _blockers(self):
        """Threads that have to go first; if there are none, this use is admitted.

        They have a conflicting use that is running, or that came before this one and waits.
        """
        with _lock:
            uses = [use for use in self._guard.uses if use.there.locked()]
            own = [use.kind for use in uses if use.admitted and use.thread == self.thread and use.kind in TOUCHES]
            if own and self.kind in CHANGES:  # a signal handler, in the middle of another use of this thread
                raise busy(own[-1])
            before, threads = True, []
            for use in uses:
                before = before and use is not self
                if use.thread != self.thread and conflict(use.kind, self.kind):
                    if use.admitted and own:
                        raise busy(use.kind)
                    # A thread that already has a use does not wait for waiting threads: they may wait for that use.
                    if use.admitted or (before and not own):
                        threads.append(use.thread)
            self.admitted = not threads
            return threads


def refuses(there, own, wanted):
    """Whether an existing use of kind `there` (`own`: of this thread) refuses a training of kind `wanted`."""
    if there == FORK:
        return False
    return not own or there in (CALL, READ) or wanted == FIT


def conflict(a, b):
    """Whether two kinds of use exclude each other: one changes the numbers, the other reads or changes them."""
    return (a in CHANGES and b in TOUCHES) or (b in CHANGES and a in TOUCHES)


# `stack`: for each fork of this thread in progress, the list of uses that it holds. `is_held`: whether the last of them
# holds all that it needs.
_forks = threading.local()


def _before_fork():
    """Wait until no thread changes a network's numbers; otherwise the child would keep half-changed ones.

    If a signal handler raises meanwhile, raise that at the end: the fork itself cannot be stopped.
    """
    if getattr(_forks, "is_held", False):
        return
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
                if all(id(guard) in known for guard in _guards):  # no new network since
                    break
                held.pop()
                _lock.release()
            for guard in missing:
                use = guard.forking
                use.__enter__()
                held.append((guard, use))
        except BaseException as error:
            raised = raised or error
    _forks.is_held = True
    if raised is not None:
        if isinstance(raised, KeyboardInterrupt):
            _thread.interrupt_main()
        raise raised


def _after_fork(in_child):
    if not getattr(_forks, "is_held", False):
        return
    held = _forks.stack.pop()
    if in_child:
        for guard in _guards:
            guard.forget_others()
    for guard, use in reversed(held):
        if guard is None:
            use.release()
        else:
            use.__exit__(None, None, None)
    _forks.is_held = False


if hasattr(os, "register_at_fork"):
    # Twice: a signal that comes in during a fork, or just before, is handled where the first of these functions begins.
    # If its handler raises, Python reports that, leaves out the function, and goes on with the next one.
    for _ in range(2):
        os.register_at_fork(
            before=_before_fork,
            after_in_parent=lambda: _after_fork(False),
            after_in_child=lambda: _after_fork(True),
        )
