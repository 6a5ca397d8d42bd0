# --- who uses a network: guard.py's Guard, by the same rules, in a tenth of its time ------------------

cdef object _busy = _guard.busy, _wait = _guard.wait, _watch = _guard.watch  # at hand


cdef struct use:
    unsigned long thread
    int kind
    bint admitted


cdef enum:
    CALL, READ, WRITE, FIT, TRAIN, STEP, FORK  # as in guard.py


cdef inline bint _changes(int kind) noexcept:
    return kind == WRITE or kind == STEP


cdef inline bint _touches(int kind) noexcept:
    return kind == READ or kind == FORK or _changes(kind)


cdef inline bint _conflict(int a, int b) noexcept:
    return (_changes(a) and _touches(b)) or (_changes(b) and _touches(a))


cdef inline bint _trains(int kind) noexcept:
    return kind == FIT or kind == TRAIN or kind == STEP


cdef class Guard:
    """As ``guard.Guard``."""

    cdef readonly object calling, reading, writing, fitting, training, stepping, forking
    cdef object __weakref__
    cdef use *uses  # in the order they came
    cdef Py_ssize_t count, room

    def __cinit__(self):
        self.calling, self.reading, self.writing = _Use(self, CALL), _Use(self, READ), _Use(self, WRITE)
        self.fitting, self.training, self.stepping = _Use(self, FIT), _Use(self, TRAIN), _Use(self, STEP)
        self.forking = _Use(self, FORK)
        _watch(self)

    def __dealloc__(self):
        free(self.uses)

    cdef int come(self, int kind, unsigned long me) except -1:
        """One more use, at the end."""
        cdef Py_ssize_t i
        cdef use *more
        for i in range(self.count if _trains(kind) else 0):
            if self.uses[i].kind != FORK and (self.uses[i].thread != me or self.uses[i].kind <= READ or kind == FIT):
                raise _busy(self.uses[i].kind)
        if self.count == self.room:
            more = <use *>realloc(self.uses, (self.room + 8) * sizeof(use))
            if more == NULL:
                raise MemoryError("fastnn: no memory to note a call")
            self.uses, self.room = more, self.room + 8
        self.uses[self.count].thread, self.uses[self.count].kind, self.uses[self.count].admitted = me, kind, False
        self.count += 1
        return 0

    cdef list blockers(self, unsigned long me):
        """Threads that have to go before the last use of this thread that waits; with none it is admitted."""
        cdef Py_ssize_t i, own = self.count - 1
        cdef bint within = False
        while self.uses[own].thread != me or self.uses[own].admitted:
            own -= 1
        for i in range(self.count):
            if self.uses[i].thread == me and self.uses[i].admitted and _touches(self.uses[i].kind):
                within = True
                if _changes(self.uses[own].kind):  # a signal's handler, in the middle of something
                    raise _busy(self.uses[i].kind)
        threads = []
        for i in range(self.count):
            if self.uses[i].thread == me or not _conflict(self.uses[i].kind, self.uses[own].kind):
                continue
            if self.uses[i].admitted and within:
                raise _busy(self.uses[i].kind)
            # Inside a use of its own nobody waits for those who may wait for that.
            if self.uses[i].admitted or (i < own and not within):
                threads.append(self.uses[i].thread)
        self.uses[own].admitted = not threads
        return threads

    cdef int drop(self, int kind, unsigned long me, bint admitted) noexcept:
        """The end of the last such use of this thread."""
        cdef Py_ssize_t i = self.count - 1
        while i >= 0 and (self.uses[i].thread != me or self.uses[i].kind != kind or self.uses[i].admitted != admitted):
            i -= 1
        if i >= 0:
            self.count -= 1
            memmove(&self.uses[i], &self.uses[i + 1], (self.count - i) * sizeof(use))
        return 0

    cdef inline int enter(self, int kind) except -1:
        """The beginning of a use, when it may begin."""
        cdef unsigned long me = PyThread_get_thread_ident()
        cdef bint is_free
        with cython.critical_section(self):
            is_free = not self.count
            if is_free and self.room:  # as nearly always
                self.uses[0].thread, self.uses[0].kind, self.uses[0].admitted = me, kind, True
                self.count = 1
            else:
                self.come(kind, me)
                self.uses[0].admitted |= is_free
        return 0 if is_free else self.wait(kind, me)

    cdef inline int leave(self, int kind) noexcept:
        """The end of a use."""
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
        """Whether somebody waits."""
        cdef Py_ssize_t i
        with cython.critical_section(self):
            for i in range(self.count):
                if not self.uses[i].admitted:
                    return True
        return False

    def forget_others(self):
        """Only this thread is left, in a forked child."""
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
