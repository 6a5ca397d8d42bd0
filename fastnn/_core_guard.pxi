# --- who uses a network: guard.py's Guard, in a tenth of its time ------------------------------------

cdef class Guard:
    """As ``guard.Guard``."""

    cdef readonly object reading, writing, fitting
    cdef Py_ssize_t readers, depth
    cdef unsigned long writer  # a thread's ident, where depth is above 0

    def __cinit__(self):
        self.reading, self.writing, self.fitting = _Reading(self), _Writing(self, True), _Writing(self, False)


cdef class _Reading:
    cdef Guard guard

    def __cinit__(self, Guard guard):
        self.guard = guard

    def __enter__(self):
        cdef Guard g = self.guard
        cdef bint free
        with cython.critical_section(g):
            free = not g.depth or g.writer == PyThread_get_thread_ident()
            g.readers += free
        if not free:
            raise busy("being trained or changed")

    def __exit__(self, kind, error, trace):
        cdef Guard g = self.guard
        with cython.critical_section(g):
            g.readers -= 1


cdef class _Writing:
    cdef Guard guard
    cdef bint nests

    def __cinit__(self, Guard guard, bint nests):
        self.guard, self.nests = guard, nests

    def __enter__(self):
        cdef Guard g = self.guard
        cdef unsigned long me = PyThread_get_thread_ident()
        cdef bint free, unread
        with cython.critical_section(g):
            free, unread = not g.depth or (self.nests and g.writer == me), not g.readers
            if free and unread:
                g.writer = me
                g.depth += 1
        if not free or not unread:
            raise busy("being used" if free else "being trained or changed")

    def __exit__(self, kind, error, trace):
        cdef Guard g = self.guard
        with cython.critical_section(g):
            g.depth -= 1
