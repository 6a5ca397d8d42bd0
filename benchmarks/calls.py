#!/usr/bin/env python
"""What a call costs beyond the kernel that it is for: from Python, from Cython, from C.

For small arrays (8 units, 8 samples) and each entry: ns of the core's own function, called in a loop of a C
program (gcc) through the table that other packages get; and ns beyond it of the same work through the
functions of ``fastnn.ckernels`` in a loop of a Cython module, and through ``fastnn.kernels`` and a bound
predictor with ``out=`` from Python. Rounds alternate; a figure is the median over rounds.

    python benchmarks/calls.py [--size 8] [--dtype float64] [--seconds 0.02] [--rounds 15]

Ends with a row for RESULTS.md. Without Cython and setuptools its column is left out.
"""

import ctypes
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

import fastnn
from fastnn import tables
from fastnn.kernels import (
    activation_backward,
    activation_forward,
    linear_backward,
    linear_forward,
    loss_backward,
    optimizer_update,
    rowsum,
)
from roofline import begin, options, print_row

# Of each entry: the call in C, and that in Cython. x and p: the matrices that `entries` lists.
CALLS = {
    "linear_forward": (
        "linear_forward(isa, &x[0], &x[1], &x[2], &x[3], &spec, n, n, m, 0, 1)",
        "linear_forward(p[0], p[1], p[2], p[3], kind, n, n, m, 1)",
    ),
    "linear_backward": (
        "linear_backward(isa, &x[0], &x[1], &x[2], &x[3], &x[4], &x[5], &spec, n, n, m, 1)",
        "linear_backward(p[0], p[1], p[2], p[3], p[4], p[5], kind, n, n, m, 1)",
    ),
    "activation_forward": (
        "activation_forward(isa, &x[0], &x[1], &spec, n, m, 1)",
        "activation_forward(p[0], p[1], kind, n, m, 1)",
    ),
    "activation_backward": (
        "activation_backward(isa, &x[0], &x[1], &x[2], &spec, n, m, 1)",
        "activation_backward(p[0], p[1], p[2], kind, n, m, 1)",
    ),
    "rowsum": ("rowsum(isa, &x[0], &x[1], n, m, 1)", "rowsum(p[0], p[1], n, m, 1)"),
    "loss_backward": (
        "loss(isa, 0, &x[0], &x[1], &targets, &spec, n, m, 1)",
        "loss_and_gradient(NULL, p[0], p[1], <const int *>codes, NULL, kind, n, m, 1)",
    ),
    "optimizer_update": (
        "optimizer_update(isa, &sgd, 1, &x[0], 0, 0, &x[1], n, m, 1)",
        "sgd_update(p[0], NULL, p[1], n * m, 0, 0, False, 0, 1)",
    ),
    "predictor": ("net_predict(net, &x[0], &x[1], m, 1)", "predict(net, p[0], p[1], m, 1)"),
}

OUTPUTS = {"linear_backward": 3}  # of the matrices, else 1

C_HEAD = r"""
#include <time.h>
#include "fastnn.h"
static double now(void) {
  struct timespec t;
  timespec_get(&t, TIME_UTC);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
"""
C_BODY = r"""
double time_%s(const fnn_api *f, int isa, const fnn_matrix *x, const int32_t *codes, const fnn_net *net, int kind,
               ptrdiff_t n, ptrdiff_t m, long turns) {
  const fnn_spec spec = {kind, {0, 0}};
  const fnn_targets targets = {sizeof targets, codes, x[1], 0};
  const fnn_optimizer sgd = {sizeof sgd, FNN_SGD, 0, 0, 0, 0, 0, 0};
  const double start = now();
  for (long i = 0; i < turns; i++) f->%s;
  (void)isa, (void)spec, (void)targets, (void)sgd, (void)codes, (void)net, (void)n, (void)m;
  return now() - start;
}
"""
CYTHON_HEAD = """# cython: language_level=3, boundscheck=False, wraparound=False
from time import perf_counter
from fastnn cimport ckernels

ctypedef fused number:
    float
    double
"""
CYTHON_BODY = """
cdef void turns_%s(number **p, const void *codes, const void *net, int kind, ptrdiff_t n, ptrdiff_t m,
                   long turns) nogil:
    cdef long i
    for i in range(turns):
        ckernels.%s

def time_%s(list arrays, size_t codes, size_t net, int kind, ptrdiff_t n, ptrdiff_t m, long turns):
    cdef void *p[6]
    cdef int i
    for i in range(len(arrays)):
        p[i] = <void *><size_t>arrays[i].ctypes.data
    start = perf_counter()
    if arrays[0].itemsize == 4:
        turns_%s[float](<float **>p, <void *>codes, <void *>net, kind, n, m, turns)
    else:
        turns_%s[double](<double **>p, <void *>codes, <void *>net, kind, n, m, turns)
    return perf_counter() - start
"""


# api, isa, x, codes, net, kind, n, m, turns
_POINTER, _INT, _SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_ssize_t
C_ARGUMENTS = (_POINTER, _INT, _POINTER, _POINTER, _POINTER, _INT, _SIZE, _SIZE, ctypes.c_long)


class Matrix(ctypes.Structure):
    """An fnn_matrix."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("row", ctypes.c_ssize_t),
        ("col", ctypes.c_ssize_t),
        ("dtype", ctypes.c_int),
    )

    def __init__(self, array):
        row, col = (stride // array.itemsize for stride in array.strides)
        super().__init__(array.ctypes.data, row, col, array.itemsize == 8)


def table():
    """Address of the fnn_api."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    return pointer(fastnn.backend.default.C_API, b"fastnn._core.C_API")


def build_c(folder):
    """The loops in C, loaded."""
    source, library = folder / "calls.c", folder / "calls.so"
    source.write_text(C_HEAD + "".join(C_BODY % (name, c) for name, (c, _) in CALLS.items()))
    command = ["gcc", "-O2", "-shared", "-fPIC", "-I", fastnn.get_include(), source, "-o", library]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def build_cython(folder):
    """The loops in Cython, imported; None without what it takes to build them."""
    if not all(importlib.util.find_spec(name) for name in ("Cython", "setuptools")):
        return None
    source = folder / "calls_in_cython.pyx"
    bodies = "".join(CYTHON_BODY % (name, call, name, name, name) for name, (_, call) in CALLS.items())
    source.write_text(CYTHON_HEAD + bodies)
    build = "from setuptools import setup, Extension; setup(ext_modules=[Extension('calls_in_cython', ['{}'])])"
    command = [sys.executable, "-c", build.format(source.name), "-q", "build_ext", "--inplace"]
    path = os.pathsep.join([str(Path(fastnn.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    subprocess.run(command, check=True, cwd=folder, env=os.environ | {"PYTHONPATH": path}, capture_output=True)
    (built,) = folder.glob("calls_in_cython.*.so")
    spec = importlib.util.spec_from_file_location("calls_in_cython", built)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def entries(n, dtype):
    """Of each entry: the call from Python, its matrices for C, its kind."""
    rng = np.random.default_rng(0)

    def samples(rows=n):
        return np.asfortranarray(rng.standard_normal((rows, n)), dtype)

    W, dW, dA = np.ascontiguousarray(samples()), np.ascontiguousarray(samples()), samples()
    Z, A, X, out, b, db = samples(), abs(samples()), samples(), samples(), samples(1).T, samples(1).T
    y, sgd = np.arange(n) % n, fastnn.SGD(0)
    predictor = fastnn.Network([n, n, n], ["relu", "identity"], dtype=dtype, seed=0).predictor()
    code = list(tables.ACTIVATIONS).index
    relu = code("relu")
    return (
        {
            "linear_forward": (lambda: linear_forward(W, X, b, "relu", out), [out, W, X, b], relu),
            "linear_backward": (
                lambda: linear_backward(Z, X, W, (dW, db, dA)),
                [dW, db, dA, Z, X, W],
                code("identity"),
            ),
            "activation_forward": (lambda: activation_forward(Z, "relu", out), [out, Z], relu),
            "activation_backward": (lambda: activation_backward(Z, A, "relu", None, out), [out, Z, A], relu),
            "rowsum": (lambda: rowsum(Z, db), [db, Z], 0),
            "loss_backward": (
                lambda: loss_backward(Z, y, "cross_entropy", None, out),
                [out, Z],
                list(tables.LOSSES).index("cross_entropy"),
            ),
            "optimizer_update": (lambda: optimizer_update(sgd, W, dW, (), 1, (W,)), [W, dW], 0),
            "predictor": (lambda: predictor(X, out), [out, X], 0),
        },
        y.astype(np.int32),
        fastnn.predictor_handle(predictor),
    )


def check(results, ways, dtype):
    """Each way of one turn leaves the same results."""
    found = []
    for way in ways:
        for array in results:
            array.fill(np.nan)
        way()
        found.append([array.copy() for array in results])
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-5 if dtype == "float32" else 1e-12)


def time_python(call, turns):
    """Seconds of so many turns, less those of as many calls of nothing."""
    nothing = lambda: None  # noqa: E731 - as `call` is
    clock, times = time.perf_counter, range(turns)
    start = clock()
    for _ in times:
        nothing()
    middle = clock()
    for _ in times:
        call()
    return clock() - middle - (middle - start)


def main(argv=None):
    """Print the figures and their row for RESULTS.md."""
    argv = sys.argv[1:] if argv is None else argv
    parser = options(__doc__, seconds=0.02)
    parser.add_argument("--size", type=int, default=8, metavar="N", help="units and samples of every array")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args(argv)
    machine, n = begin(args), args.size
    calls, codes, handle = entries(n, args.dtype)
    with tempfile.TemporaryDirectory() as folder:
        c, cython = build_c(Path(folder)), build_cython(Path(folder))
        api = table()
        isa = fastnn.backend.default.isas().index(fastnn.backend.default.current_isa())
        print(f"{machine}; ns a call, {n} units, {n} samples, {args.dtype}")
        print(f"{'':<21}{'kernel':>8}{'Cython':>9}{'Python':>9}")
        figures = []
        for name, (call, arrays, kind) in calls.items():
            in_c = getattr(c, f"time_{name}")
            in_c.restype, in_c.argtypes = ctypes.c_double, C_ARGUMENTS
            x = (Matrix * len(arrays))(*map(Matrix, arrays))
            address = codes.ctypes.data, handle.address
            ways = [partial(in_c, api, isa, x, *address, kind, n, n)]
            if cython:
                ways.append(partial(getattr(cython, f"time_{name}"), arrays, *address, kind, n, n))
            ways.append(partial(time_python, call))
            if name != "optimizer_update":  # which reads what it writes
                check(arrays[: OUTPUTS.get(name, 1)], [partial(way, 1) for way in ways], args.dtype)

            def times(turns, ways=ways):
                return [way(turns) for way in ways]

            turns = max(1, int(args.seconds / (max(times(1000)) / 1000)))
            rounds = [times(turns) for _ in range(args.rounds)]
            beyond = [statistics.median(r[i] - r[0] for r in rounds) / turns * 1e9 for i in range(1, len(rounds[0]))]
            kernel = statistics.median(r[0] for r in rounds) / turns * 1e9
            shown = [f"{ns:+.0f}" for ns in beyond]
            print(f"{name:<21}{kernel:>8.0f}" + "".join(f"{ns:>9}" for ns in (shown if cython else ["", *shown])))
            figures.append(f"{name} {kernel:.0f} {' '.join(shown)}")
    print_row(__file__, argv, machine, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
