# --- the lock of a network: Guard of guard.py with the same rules, ten times as fast -------------------

cdef object _busy = _guard.busy, _wait = _guard.wait, _watch = _guard.watch  # C variables, faster than a lookup


cdef struct use:
    unsigned long thread
    int kind
    bint admitted


cdef enum:
    CALL, READ, WRITE, FIT, TRAIN, STEP, FORK, KINDS  # as in guard.py

# The answers of guard.py's functions for all kinds of use.
cdef bint[KINDS] _CHANGES, _TOUCHES, _TRAINS
cdef bint[KINDS][KINDS] _CONFLICT
cdef bint[KINDS][2][KINDS] _REFUSES


cdef int _ask_for_the_rules() except -1:
    cdef int a, b, own
    if tuple(_guard.KINDS) != (CALL, READ, WRITE, FIT, TRAIN, STEP, FORK):
        raise ImportError("guard.py has other kinds of use than the extension: build it again")
    for a in range(KINDS):
        _CHANGES[a], _TOUCHES[a], _TRAINS[a] = a in _guard.CHANGES, a in _guard.TOUCHES, a in _guard.TRAINS
        for b in range(KINDS):
            _CONFLICT[a][b] = _guard.conflict(a, b)
            for own in range(2):
                _REFUSES[a][own][b] = _guard.refuses(a, own, b)
    return 0


_ask_for_the_rules()


cdef class Guard:
    """The lock of one network, as ``guard.Guard``."""

    cdef readonly object calling, reading, writing, fitting, training, stepping, forking
    cdef object __weakref__
    cdef use *uses  # in order of arrival: running and waiting uses
    cdef Py_ssize_t count, room

    def __cinit__(self):
        self.calling, self.reading, self.writing = _Use(self, CALL), _Use(self, READ), _Use(self, WRITE)
        self.fitting, self.training, self.stepping = _Use(self, FIT), _Use(self, TRAIN), _Use(self, STEP)
        self.forking = _Use(self, FORK)
        _watch(self)

    def __dealloc__(self):
        free(self.uses)

    cdef int come(self, int kind, unsigned long me) except -1:
        """Append a use, not admitted yet; RuntimeError if it is a training that another use refuses."""
        cdef Py_ssize_t i
        cdef use *more
        for i in range(self.count if _TRAINS[kind] else 0):
            if _REFUSES[self.uses[i].kind][self.uses[i].thread == me][kind]:
                raise _busy(self.uses[i].kind)
        if self.count == self.room:
            more = <use *>realloc(self.uses, (self.room + 8) * sizeof(use))
            if more == NULL:
                raise MemoryError("fastnn: no memory to register a call")
            self.uses, self.room = more, self.room + 8
        self.uses[self.count].thread, self.uses[self.count].kind, self.uses[self.count].admitted = me, kind, False
        self.count += 1
        return 0

    cdef list blockers(self, unsigned long me):
        """Threads that have to go before this thread's last waiting use; if there are none, that use is admitted."""
        cdef Py_ssize_t i, own = self.count - 1
        cdef bint within = False
        while self.uses[own].thread != me or self.uses[own].admitted:
            own -= 1
        for i in range(self.count):
            if self.uses[i].thread == me and self.uses[i].admitted and _TOUCHES[self.uses[i].kind]:
                within = True
                if _CHANGES[self.uses[own].kind]:  # a signal handler, in the middle of another use of this thread
                    raise _busy(self.uses[i].kind)
        threads = []
        for i in range(self.count):
            if self.uses[i].thread == me or not _CONFLICT[self.uses[i].kind][self.uses[own].kind]:
                continue
            if self.uses[i].admitted and within:
                raise _busy(self.uses[i].kind)
            # A thread that already has a use does not wait for waiting threads: they may wait for that use.
            if self.uses[i].admitted or (i < own and not within):
                threads.append(self.uses[i].thread)
        self.uses[own].admitted = not threads
        return threads

    cdef int drop(self, int kind, unsigned long me, bint admitted) noexcept:
        """Remove this thread's last use of that kind (admitted or waiting, as given)."""
        cdef Py_ssize_t i = self.count - 1
        while i >= 0 and (self.uses[i].thread != me or self.uses[i].kind != kind or self.uses[i].admitted != admitted):
            i -= 1
        if i >= 0:
            self.count -= 1
            memmove(&self.uses[i], &self.uses[i + 1], (self.count - i) * sizeof(use))
        return 0

    cdef inline int enter(self, int kind) except -1:
        """Begin a use, after waiting for its turn if that is needed."""
        cdef unsigned long me = PyThread_get_thread_ident()
        cdef bint is_free
        with cython.critical_section(self):
            is_free = not self.count
            if is_free and self.room:  # the usual case
                self.uses[0].thread, self.uses[0].kind, self.uses[0].admitted = me, kind, True
                self.count = 1
            else:
                self.come(kind, me)
                self.uses[0].admitted |= is_free
        return 0 if is_free else self.wait(kind, me)

    cdef inline int leave(self, int kind) noexcept:
        """End a use of this thread."""
        with cython.critical_section(self):
            if self.count == 1:  # it is this one
                self.count = 0
            else:
                self.drop(kind, PyThread_get_thread_ident(), True)
        return 0

    cdef int wait(self, int kind, unsigned long me) except -1:
        cdef list threads

        def blockers():
            with cython.critical_section(self):
                found = self.blockers(me)
            return found

        try:
            if blockers():
                _wait(blockers)
        except BaseException:  # Ctrl-C, too
            with cython.critical_section(self):
                self.drop(kind, me, False)
            raise
        return 0

    def is_awaited(self):
        """Whether a call waits for its turn."""
        cdef Py_ssize_t i
        with cython.critical_section(self):
            for i in range(self.count):
                if not self.uses[i].admitted:
                    return True
        return False

    def forget_others(self):
        """Forget the uses of other threads: in a forked child only this thread exists."""
        cdef unsigned long me = PyThread_get_thread_ident()
        cdef Py_ssize_t i, kept = 0
        for i in range(self.count):
            if self.uses[i].thread == me:
                self.uses[kept] = self.uses[i]
                kept += 1
        self.count = kept


cdef class _Use:
    cdef Guard guard
    cdef int kind

    def __cinit__(self, Guard guard, int kind):
        self.guard, self.kind = guard, kind

    def __enter__(self):
        self.guard.enter(self.kind)

    def __exit__(self, kind, error, trace):
        self.guard.leave(self.kind)
