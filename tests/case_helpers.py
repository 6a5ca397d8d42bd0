"""What the tests of the cases share: arrays in every guise, things that are no arrays, and how a refusal is judged."""

import array
import contextlib
import ctypes
import functools
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fastnn
import reference as ref
from conftest import COMPILED
from fastnn import SGD, Network, kernels
from layouts import LAYOUTS, laid_out

# The last activation that goes with each loss; all that do; activations of any number of units.
HEADS = {loss: known.output or "identity" for loss, known in ref.LOSSES.items()}
PAIRS = [
    (loss, output)
    for loss, known in ref.LOSSES.items()
    for output in ([known.output] if known.output else ref.ACTIVATIONS)
]
OF_ANY_UNITS = [name for name, known in ref.ACTIVATIONS.items() if not known.whole]


def through(dA, A, Z, kind, **more):
    """dZ of an activation, from A or Z: what its derivative is computed from."""
    if ref.record(kind)[0].slope_from == "Z":
        return kernels.activation_backward(dA, None, kind, Z, **more)
    return kernels.activation_backward(dA, A, kind, **more)


def each(name, values):
    """Run a test for each value of an argument in turn: a test for each would cost more than what it does."""

    def decorator(test):
        @functools.wraps(test)
        def run(**kwargs):
            for value in values:
                try:
                    test(**kwargs, **{name: value})
                except BaseException as error:
                    error.add_note(f"with {name} = {value!r}")
                    raise

        parameters = inspect.signature(test).parameters.values()
        run.__signature__ = inspect.Signature([p for p in parameters if p.name != name])
        return run

    return decorator


# --- weights --------------------------------------------------------------------------------------------------


def bits(net):
    """All weights and biases of a network, as bytes."""
    return b"".join(a.tobytes() for pair in net.parameters for a in pair)


def state_of(net):
    """All that a step goes on from, as bytes."""
    state = net.__getstate__()
    kept, lr = state["optimizer_state"], state["optimizer"].lr
    if type(lr) is float and kept and not kept["moments"]:
        kept = None  # nothing depends on the count of steps; a file does not have it
    arrays = [T for slot in kept["moments"] for pair in slot for T in pair] if kept else []
    time = kept and (kept["steps"] if type(lr) is float else (kept["steps"], kept["epochs"], kept["plateau"]))
    return bits(net), net.epochs_done, time, b"".join(T.tobytes() for T in arrays)


@contextlib.contextmanager
def weights_unchanged(net):
    """Whatever happens inside, the weights have the bits that they had."""
    before = bits(net), net.epochs_done
    yield
    assert (bits(net), net.epochs_done) == before, "the weights have changed"


def assert_finite(net):
    for W, b in net.parameters:
        assert np.isfinite(W).all()
        assert np.isfinite(b).all()


def affine(W, b, dtype="float64", activations=None, loss=None, backend="auto"):
    """A network of one layer with these weights: by default identity and mse."""
    W, b = np.atleast_2d(W), np.reshape(b, (-1, 1))
    if activations is None and loss is None:
        activations, loss = ["identity"], "mse"
    net = Network([W.shape[1], W.shape[0]], activations, loss, init="zeros", dtype=dtype, seed=0, backend=backend)
    net.set_parameters([(W, b)])
    return net


# --- refusals -------------------------------------------------------------------------------------------------

# How fastnn's messages say what was wanted; a count of missing values says it by itself.
_WANTED = re.compile(
    r"want|need|must|fill or drop|did you mean|columns are samples|numbers|missing value|cannot be read|choose|it has|"
    r"give |use |nothing|any memory|no float|several of its elements|written over"
)


def complaint(call, name, *came):
    """What is wrong with the way in which `call` is refused; empty if nothing is.

    `name` is the argument's; `came` are pieces of text that describe what was handed over, or tuples of which one is
    enough.
    """
    try:
        call()
    except (ValueError, TypeError) as error:
        text = str(error)
    except Exception as error:
        return f"raises {type(error).__name__}: {error}"
    else:
        return "is accepted"
    if not re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text):
        return f"does not name {name}: {text}"
    for piece in came:
        if not any(p in text for p in (piece if isinstance(piece, tuple) else (piece,))):
            return f"does not say {piece!r}: {text}"
    if re.search("buffer|memoryview", text, re.IGNORECASE):
        return f"speaks of buffers: {text}"
    if not _WANTED.search(text):
        return f"does not say what was wanted: {text}"
    return ""


def assert_refused(call, name, *came):
    found = complaint(call, name, *came)
    assert not found, found


def assert_all_refused(calls, name, *came):
    """`calls` is {what: call}; all the faults are shown, not only the first."""
    found = {what: complaint(call, name, *came) for what, call in calls.items()}
    assert_faultless([f"{what} {text}" for what, text in found.items() if text])


def assert_faultless(faults):
    """Fail with the first few of many alike."""
    if faults:
        pytest.fail(f"{len(faults)} faults, such as\n" + "\n".join(faults[:4]), pytrace=False)


# --- arrays in every guise ------------------------------------------------------------------------------------


class Wrapped:
    """Another library's array: no more than __array__."""

    def __init__(self, values):
        self._values = values

    def __array__(self, dtype=None, copy=None):
        return self._values if dtype is None else self._values.astype(dtype)


class Interface:
    """Another library's array: no more than __array_interface__."""

    def __init__(self, values):
        self._values = values
        self.__array_interface__ = values.__array_interface__


class Sequence:
    """A list of another make."""

    def __init__(self, items):
        self._items = items

    def __len__(self):
        return len(self._items)

    def __getitem__(self, i):
        return self._items[i]


class SubArray(np.ndarray):
    """A sub-class that spoils what it is asked to add or multiply."""

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return np.float32(1e9)


def _pandas(values):
    return pd.DataFrame(values) if values.ndim == 2 else pd.Series(values)


def _tuples(values):
    return tuple(map(_tuples, values)) if isinstance(values, list) else values


# name -> function of a 1-D or 2-D array of numbers, giving something else with the same values
GUISES = {
    "list": lambda a: a.tolist(),
    "tuple": lambda a: _tuples(a.tolist()),
    "list of arrays": list,
    "sequence": lambda a: Sequence(a.tolist()),
    "matrix": lambda a: a.view(np.matrix) if a.ndim == 2 else a,
    "sub-class": lambda a: a.view(SubArray),
    "masked array": np.ma.array,
    "mask of False": lambda a: np.ma.array(a, mask=np.zeros(a.shape, bool)),
    "pandas": _pandas,
    "nullable pandas": lambda a: _pandas(a).convert_dtypes(),
    "objects": lambda a: a.astype(object),
    "array protocol": Wrapped,
    "array interface": Interface,
    "view of memory": lambda a: memoryview(np.ascontiguousarray(a)),
    "bytes of a file": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "rows of array.array": lambda a: [array.array("d", r) for r in a] if a.ndim == 2 else array.array("d", a),
}

NUMBERS = ["bool", "int8", "uint8", "int16", ">u2", "int32", ">i4", "uint32", "int64", "uint64"]
NUMBERS += ["float16", ">f2", "float32", ">f4", "float64", ">f8", "longdouble"]

# those of layouts.py, and views that show one element many times or step by an odd number of bytes
VIEWS = [*LAYOUTS, "one column", "one row", "one number", "odd steps"]


def numbers(rng, shape, dtype):
    """Random numbers that every dtype holds exactly."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind == "u":
        return rng.integers(0, 9, shape).astype(dtype)
    if dtype.kind == "i":
        return rng.integers(-4, 5, shape).astype(dtype)
    return rng.standard_normal(shape).astype(np.float16).astype(dtype)


def viewed(values, layout):
    """(a read-only 2-D array in that layout, its values as a plain array)."""
    if layout == "one column":
        view = np.broadcast_to(values[:, :1], values.shape)
    elif layout == "one row":
        view = np.broadcast_to(values[:1], values.shape)
    elif layout == "one number":
        view = np.broadcast_to(values[0, 0], values.shape)
    elif layout == "odd steps":  # a field of packed records: no element lies on its own boundary
        records = np.zeros(values.shape, [("byte", "u1"), ("number", values.dtype)])
        records["number"] = values
        records.flags.writeable = False
        view = records["number"]
    else:
        view = laid_out(values, layout)
    return view, np.array(view, order="C")


def viewed_1d(values, layout):
    """A 1-D array of these values in one of `ROWS` layouts, read-only."""
    if layout == "step":
        wide = np.repeat(values, 3)
        view = wide[::3]
    elif layout == "reversed":
        view = values[::-1].copy()[::-1]
    elif layout == "unaligned":
        raw = np.zeros(values.nbytes + 1, np.uint8)
        view = raw[1:].view(values.dtype)
        view[:] = values
    else:
        view = values.copy()
    view.flags.writeable = False
    return view


ROWS = ["plain", "step", "reversed", "unaligned"]


def everything(make, X, y, sample_weight=None):
    """{what: bits} of all that a new network does with these data: the same data, the same bits."""
    net, seen = make(), {}
    p = net.predictor()
    for what, A in {
        "predict": net.predict(X),
        "forward": net.forward(X),
        "predictor": p(X),
        "forward cached": net.forward(X, cache=True)[0],
        "predict into out": net.predict(X, out=np.zeros((net.sizes[-1], np.shape(X)[1]), net.dtype)),
    }.items():
        assert isinstance(A, np.ndarray), what
        assert A.dtype == net.dtype, what
        seen[what] = A.tobytes()
    seen["loss"] = net.loss(X, y, sample_weight)
    seen["evaluate"] = net.evaluate(X, y)
    J, gradients = net.gradients(X, y, sample_weight)
    seen["gradients"] = J, b"".join(a.tobytes() for pair in gradients for a in pair)
    seen["train_step"] = net.train_step(X, y, optimizer=SGD(lr=0.01)), bits(net)
    for shuffle in (True, False):
        history = net.fit(X, y, epochs=2, batch_size=5, shuffle=shuffle, sample_weight=sample_weight, progress=False)
        seen[f"fit, shuffle={shuffle}"] = tuple(history.loss), bits(net)
    return seen


def assert_same(got, want):
    """Compare two results of `everything`."""
    assert got.keys() == want.keys()
    different = [what for what in want if got[what] != want[what]]
    assert not different, f"not the bits of a plain copy: {', '.join(different)}"


# --- things that are no arrays of numbers ---------------------------------------------------------------------


class Raises:
    """Another library's array that refuses: it is on another device."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("copy it to the host first")


class Sparse:
    """A sparse matrix: it has a shape and a dtype, and is no array."""

    def __init__(self, shape):
        self.shape, self.dtype, self.ndim = shape, np.dtype("f4"), len(shape)


def _objects(shape, fill):
    result = np.zeros(shape, object)
    result.flat[-1] = fill
    return result


def _masked(shape):
    result = np.ma.array(np.ones(shape), mask=np.zeros(shape, bool))
    result[(0,) * len(shape)] = np.ma.masked
    return result


def _with_missing(shape, value):
    frame = _pandas(np.ones(shape, int)).astype(object)
    frame.iloc[(0,) * len(shape)] = value
    return frame


class _Record(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p)]


# name -> (function of a legal shape, giving what is no array of numbers; pieces of what came).
# Those of numbers in a wrong shape are WRONG_SHAPES.
NO_NUMBERS = {
    "None": (lambda s: None, ["None"]),
    "file name": (lambda s: "data.csv", ["str", "data.csv"]),
    "bytes": (lambda s: b"data", ["bytes"]),
    "strings": (lambda s: np.full(s, "1.5"), ["strings"]),
    "byte strings": (lambda s: np.full(s, b"1.5"), ["strings"]),
    "list of strings": (lambda s: np.full(s, "cat").tolist(), ["strings"]),
    "variable strings": (lambda s: np.full(s, "cat", np.dtypes.StringDType()), ["StringDType"]),
    "strings as objects": (lambda s: _objects(s, "cat"), ["object", "str", "cat"]),
    "complex": (lambda s: np.full(s, 1j), ["complex128"]),
    "complex64": (lambda s: np.full(s, 1, "c8"), ["complex64"]),
    "list of complex": (lambda s: np.full(s, 1j).tolist(), ["complex128"]),
    "complex as objects": (lambda s: _objects(s, 1j), ["object", "complex"]),
    "dates": (lambda s: np.full(s, "2020-01-01", "M8[D]"), ["datetime64"]),
    "durations": (lambda s: np.full(s, 1, "m8[s]"), ["timedelta64"]),
    "records": (lambda s: np.zeros(s, [("a", "f4"), ("b", "f4")]), ["('a', '<f4')"]),
    "raw bytes": (lambda s: np.zeros(s, "V4"), ["V4"]),
    "arrays as objects": (lambda s: _objects(s, np.zeros(2)), ["object", "ndarray"]),
    "dicts as objects": (lambda s: _objects(s, {}), ["object", "dict"]),
    "None among objects": (lambda s: _objects(s, None), ["1 missing value"]),
    "pandas NA among objects": (lambda s: _with_missing(s, pd.NA), ["1 missing value"]),
    "pandas NaT": (lambda s: _objects(s, pd.NaT), ["1 missing value"]),
    "pandas strings": (lambda s: _pandas(np.full(s, "cat")), ["str"]),
    "pandas dates": (lambda s: pd.DataFrame(np.full(s, "2020-01-01", "M8[s]")), ["datetime64"]),
    "masked values": (_masked, ["1 masked value"]),
    "masked": (lambda s: np.ma.masked, ["1 masked value"]),
    "int beyond float64": (lambda s: _objects(s, 10**400), []),
    "ragged list": (lambda s: [[1.0], [1.0, 2.0]], []),
    "ragged objects": (lambda s: [[1.0, [2.0]], [1.0, 2.0]], []),
    "set": (lambda s: {1, 2}, ["set"]),
    "dict": (lambda s: {"a": 1}, ["dict"]),
    "generator": (lambda s: (i for i in range(3)), ["generator"]),
    "function": (lambda s: np.zeros, ["function"]),
    "object": (lambda s: object(), ["object"]),
    "sparse": (Sparse, ["Sparse"]),
    "array on a device": (lambda s: Raises(), ["Raises"]),
    "array protocol of strings": (lambda s: Wrapped(np.full(s, "a")), ["strings"]),
    "array protocol of complex": (lambda s: Wrapped(np.full(s, 1j)), ["complex128"]),
    "characters": (lambda s: array.array("w" if sys.version_info >= (3, 13) else "u", "abc"), ["strings"]),
    "memory of characters": (lambda s: memoryview(b"abc").cast("c"), ["strings"]),
    "addresses": (lambda s: (ctypes.c_void_p * 3)(), []),
    "records of addresses": (lambda s: (_Record * 3)(), []),
}


def wrong_shapes(shape):
    """{name: an array of numbers that does not have the 2-D `shape`}."""
    n, m = shape
    shapes = {
        "no dimension": (),
        "one dimension": (n,),
        "one of samples": (m + 1,),
        "three dimensions": (n, m, 1),
        "three, the first 1": (1, n, m),
        "a row too many": (n + 1, m),
        "a row too few": (n - 1, m),
        "no rows": (0, m),
        "empty": (0,),
        "transposed": (m, n),
        "flat": (n * m,),
    }
    return {name: np.ones(s) for name, s in shapes.items()} | {
        "a number": 1.5,
        "empty list": [],
        "nested empty": [[[]]],
    }


# --- processes ------------------------------------------------------------------------------------------------


def variant_environment(backend):
    """What makes a child process compute like the `backend` fixture does here."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FASTNN_")}
    environment["FASTNN_BACKEND"] = backend
    if backend == "compiled":
        environment["FASTNN_ISA"] = COMPILED.current_isa()
    return environment


def python(code, backend, timeout=250, **environment):
    """Run code in a fresh interpreter on the same variant; returns what it printed.

    NumPy's own threads are kept to one: with other tests beside it they would wait for one another.
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=variant_environment(backend) | {"OPENBLAS_NUM_THREADS": "1"} | environment,
        cwd=Path(fastnn.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


OTHER_OPENMP_LIBRARY = """
int use_openmp(int threads) {
  int sum = 0;
#pragma omp parallel num_threads(threads) reduction(+ : sum)
  sum += 1;
  return sum;
}
"""


def other_openmp_library(folder):
    """The path of a library of somebody else's; its use_openmp(threads) runs a team and returns its size."""
    if not shutil.which("gcc"):
        pytest.skip("no gcc here")
    source, library = folder / "other.c", folder / "other.so"
    source.write_text(OTHER_OPENMP_LIBRARY)
    subprocess.run(["gcc", "-shared", "-fPIC", "-fopenmp", source, "-o", library], check=True)
    return str(library)
