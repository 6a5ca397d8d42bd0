# cython: language_level=3, boundscheck=False, wraparound=False
"""A point that a network steers: x' = x + dt * net(x), many times."""

from fastnn cimport ckernels


def simulate(predictor, float[::1] x, long steps, float dt):
    """Follow x, in place, for so many steps; the predictor maps len(x) numbers to as many."""
    cdef const void *net = ckernels.predictor_handle(predictor, False)
    cdef float[256] speed
    cdef Py_ssize_t n = x.shape[0], i
    cdef long _step
    cdef int failed = 0
    if n > 256:
        raise ValueError(f"x has {n} numbers, at most 256 here")
    with nogil:
        for _step in range(steps):
            failed |= ckernels.predict(net, &speed[0], &x[0], 1, 1)
            for i in range(n):
                x[i] += dt * speed[i]
    if failed:
        raise MemoryError


def dense_relu(double[:, ::1] W, double[:, ::1] rows, double[::1] b, double[:, ::1] out):
    """out = relu(rows W^T + b), one sample a row."""
    cdef int status
    with nogil:
        status = ckernels.linear_forward(&out[0, 0], &W[0, 0], &rows[0, 0], &b[0], ckernels.RELU, W.shape[0],
                                         W.shape[1], rows.shape[0], 1)
    if status:
        raise MemoryError
