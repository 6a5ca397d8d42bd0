"""Checks and conversion of the arrays that users pass in: the rest of the package gets valid arrays only.

An array is copied only if it cannot be read in place, and no array of the caller is written to,
except an ``out=``. Each error message names the argument, what was given and what was expected.
"""

import itertools
import math
import numbers
import operator

import numpy as np

from . import remedies, sparse
from .tables import LOSSES

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))  # what the backends compute in
_BLOCK_BYTES = 1 << 20  # size of a block of columns; blocks are cast one at a time


def real_array(value, name, may_copy=True):
    """Return `value` as an ndarray of booleans, integers or floats, copied only if that is needed and allowed."""
    if type(value) is not np.ndarray:
        value = any_array(value, name) if may_copy else _shared(value, name)
    kind = value.dtype.kind
    if kind in "fiub":
        return value
    if kind == "O" and may_copy:
        return _from_objects(value, name)
    raise _not_real(value.dtype, name)


def _not_real(dtype, name):
    """The error for a dtype that is not one of real numbers."""
    if dtype.kind in "SUT":
        return TypeError(f"{name} holds strings ({dtype!r}); numbers are needed{remedies.of_strings(name)}")
    return TypeError(f"{name} has dtype {dtype}; real numbers are needed{remedies.of_dtype(dtype, name)}")


def any_array(value, name):
    """Return `value` as an ndarray of whatever it holds; an error names what cannot be one."""
    if value is None or isinstance(value, (str, bytes)):
        told = remedies.of_text(value, name) if isinstance(value, str) else ""
        raise TypeError(f"{name} must be an array of numbers, got {type(value).__name__} {value!r:.50}{told}")
    if sparse.is_scipy(value):
        raise TypeError(f"{name}, {_kind(value)}, is sparse; an array is needed here: write {name}.toarray()")
    if isinstance(value, np.ma.MaskedArray):
        masked = int(np.ma.count_masked(value))
        if masked:
            raise ValueError(f"{name} has {_number(masked, 'masked value')}; fill or drop them first")
        return value.data
    # The container's own message is about its internals: it is kept as the cause (__cause__) of our error.
    try:
        # np.asarray uses __array__ but not DLPack.
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except ValueError as error:
        ragged = ": its rows differ in length" if "inhomogeneous" in str(error) else ""
        told = remedies.of_container(value, name) or ragged
        raise ValueError(f"{name}, {_kind(value)}, cannot be read as an array of numbers{told}") from error
    except Exception as error:
        told = remedies.of_container(value, name)
        raise TypeError(f"{name}, {_kind(value)}, cannot be read as an array of numbers{told}") from error


def _shared(value, name):
    """An array that shares the memory of `value`; ValueError if that is impossible."""
    array = any_array(value, name)
    if array.flags.owndata and not isinstance(value, np.ndarray):
        # The array seems to be a copy, unless the container itself holds this array.
        try:
            return np.asarray(value, copy=False)
        except (ValueError, TypeError):  # NumPy 1 has no such argument
            raise ValueError(f"{name}, {_kind(value)}, is not an array; copy='never' forbids copying it") from None
    return array


def _kind(value):
    return f"a {type(value).__module__}.{type(value).__qualname__}".replace("a builtins.", "a ")


def _number(count, what):
    return f"{count} {what}{'s' * (count != 1)}"


def _from_objects(value, name):
    items = value.ravel().tolist() if value.ndim else [value.item()]
    # pandas marks a missing value by None, NaN or its own NA, which is not equal even to itself.
    missing = [i for i, v in enumerate(items) if v is None or type(v).__name__ in ("NAType", "NaTType")]
    if missing:
        *row, column = np.unravel_index(missing[0], value.shape) if value.ndim else (0,)
        place = f"column {column}" + (f", row {row[0]}" if len(row) == 1 else "")
        raise ValueError(f"{name} has {_number(len(missing), 'missing value')}, first at {place}")
    for v in items:
        if not isinstance(v, (numbers.Real, np.bool_)) and type(v).__name__ != "Decimal":
            is_text = isinstance(v, (str, bytes))
            told = remedies.of_strings(name) if is_text else remedies.of_container(v, name, bool(value.ndim))
            shown = " ".join(repr(v).split())[:50]
            raise TypeError(f"{name} has dtype object and holds {type(v).__name__} {shown}; numbers are needed{told}")
    whole = all(isinstance(v, (numbers.Integral, np.bool_)) for v in items)
    for dtype in (np.int64, np.float64) if whole and items else (np.float64,):
        try:
            return value.astype(dtype)
        except OverflowError:
            pass  # the next dtype has a larger range
    raise ValueError(f"{name} has dtype object and holds an int that is too large for float64; use smaller numbers")


def features(X, n_in, name="X", may_copy=True, engine=None):
    """Return `X` as a real (n_in, m) array; for an engine SciPy's sparse ones are taken, too, as a Sparse."""
    if type(X) is sparse.Sparse:  # read before, by an outer function
        return X
    is_sparse = engine is not None and sparse.is_scipy(X)
    given, X = X, X if is_sparse else real_array(X, name, may_copy)
    if X.ndim != 2 or X.shape[0] != n_in:
        told = remedies.of_features(X, n_in, spelled_as(given, name))
        raise ValueError(f"{name} has shape {X.shape}, wanted ({n_in}, m): columns are samples{told}")
    if not is_sparse:
        return X
    if X.dtype.kind not in "fiub":
        raise _not_real(X.dtype, name)
    return sparse.read(X, engine, name)


def spelled_as(given, name):
    """The argument's name as an expression to which a suggestion can add .T or an index: np.asarray(X) for a list."""
    if sparse.is_scipy(given) and given.ndim == 1:
        return f"{name}.toarray()"
    has_them = isinstance(given, np.ndarray) or getattr(given, "ndim", 0) == 2  # a pandas DataFrame has .T
    return name if has_them else f"np.asarray({name})"


def targets(y, n_out, m, loss, name="y"):
    """Check targets against the output layer, before any arithmetic.

    Parameters
    ----------
    y : array_like
        (m,) class codes 0 .. n_out - 1, or (n_out, m) values; if n_out is 1, (m,) values. Some losses have other rows
        than outputs, and no codes.
    n_out, m : int
        Units of the output layer and samples of X.
    loss : str
        The loss's name; some restrict the values.

    Returns
    -------
    ndarray
        Codes as int32 (m,), or values as (rows, m) of any real dtype; most losses have n_out rows.
    """
    spelled = spelled_as(y, name)
    given = y = real_array(y, name)
    row = LOSSES[loss]
    rows = row.target_rows(n_out)
    if y.ndim == 1 and y.shape[0] == m:
        if rows == 1:
            y = y[np.newaxis]
        elif row.takes_codes:
            return _codes(y, n_out, name, spelled, row.is_of_classes)
    if y.ndim != 2 or y.shape != (rows, m):
        wanted = f"({rows}, m) = ({rows}, {m})"
        if rows == 1:
            wanted += f" or ({m},)"
        elif row.takes_codes:
            wanted += f", or codes ({m},)"
        told = remedies.of_shape(given, rows, m, spelled, None if row.takes_codes else loss)
        raise ValueError(f"{name} has shape {given.shape}, wanted {wanted}{told}")
    if row.targets in _LEGAL_VALUES and y.dtype.kind != "b":
        _check_values(y, loss, name, spelled)
    return y


def _codes(y, n_out, name, spelled, is_of_classes):
    one_target = "" if is_of_classes else f"; for one target write Network([..., 1]), for {n_out} give ({n_out}, m)"
    if y.dtype.kind not in "iub":
        _check_missing(y, name)
        broken = np.flatnonzero(y != np.floor(y))
        if len(broken):
            told = f" and holds {y[broken[0]]} at sample {broken[0]}"
            remedy = one_target or f", or values of shape ({n_out}, m)"
        else:
            told, remedy = "", f": write {spelled}.astype(int){one_target}"
        raise ValueError(
            f"{name} is 1-D of dtype {y.dtype}{told}; {n_out} outputs need integer codes 0..{n_out - 1}{remedy}"
        )
    # Codes are used as an index. So we check a copy, which no other thread can change afterwards.
    y = np.array(y)
    if y.dtype.kind != "b" and len(y):
        low, high = int(y.min()), int(y.max())
        if low < 0 or high >= n_out:
            wanted = f"0..{n_out - 1} for {n_out} outputs{remedies.of_codes(y, n_out, spelled)}{one_target}"
            raise ValueError(f"{name} holds codes from {low} to {high}, wanted {wanted}")
    return np.ascontiguousarray(y, np.int32)


def _check_missing(y, name):
    missing = np.argwhere(np.isnan(y)) if y.dtype.kind == "f" else ()
    if len(missing):
        *row, column = missing[0]
        place = f"column {column}" + (f", row {row[0]}" if row and len(y) > 1 else "")
        raise ValueError(f"{name} has {_number(len(missing), 'missing value')} (NaN), first at {place}")


# What kind of targets -> the highest legal value, and the words for it. For cross_entropy the columns of y need not sum
# to 1: its values must only be finite and at least 0.
_LEGAL_VALUES = {
    "probabilities": (1, "within [0, 1]"),
    "classes": (np.inf, "at least 0"),
    "counts": (np.inf, "at least 0"),
}


def _check_values(y, loss, name, spelled):
    high, legal = _LEGAL_VALUES[LOSSES[loss].targets]
    for columns in column_blocks(*y.shape):
        block = y[:, columns]
        bad = ~((block >= 0) & (block <= high) & (block < np.inf))  # written with ~ so that NaN counts as bad
        if bad.any():
            _check_missing(y, name)
            i, j = np.argwhere(bad)[0]
            told = f"{loss} needs values {legal}{remedies.of_values(y, len(y), loss, spelled)}"
            raise ValueError(f"{name} holds {block[i, j]} at column {columns.start + j}; {told}")


def weights_of_samples(sample_weight, m, name="sample_weight"):
    """Return `sample_weight` as contiguous float64 (m,), or None as None.

    It must be a 1-D array with one weight per sample; a column, a row or a scalar is refused. Only
    the ratios of weights matter, so they are scaled until the largest is in [1, 2): then no sum or
    product of them overflows in any dtype. The factor is a power of two, so that nothing is rounded.
    """
    if sample_weight is None:
        return None
    w = finite_weights(sample_weight, m, name)
    if not w.max(initial=0.0) > 0:
        raise ValueError(f"{name} is 0 for every sample: the mean is undefined; give at least one of them more than 0")
    return scaled_weights(w)[0]


def finite_weights(sample_weight, m, name="sample_weight"):
    """Return `sample_weight` as contiguous float64 (m,); each weight must be finite and at least 0."""
    w = real_array(sample_weight, name)
    if w.shape != (m,):
        told = f"; write {spelled_as(sample_weight, name)}.ravel()" if w.shape in ((m, 1), (1, m)) else ""
        raise ValueError(f"{name} has shape {w.shape}, wanted ({m},): one weight per sample{told}")
    with np.errstate(all="ignore"):
        w = _contiguous(w, np.float64)
    bad = ~((w >= 0) & (w < np.inf))
    if bad.any():
        raise ValueError(f"{name} holds {w[bad][0]} at {int(bad.argmax())}; weights must be finite and at least 0")
    return w


def exponent_of_weights(w):
    """The e for which the largest of the weights is in [2**e, 2**(e + 1))."""
    return int(np.frexp(w.max(initial=0.0))[1]) - 1


def scaled_weights(w):
    """The weights times a power of two, so that the largest is in [1, 2); and e, where 2**e times these are `w`."""
    exponent = exponent_of_weights(w)
    with np.errstate(all="ignore"):
        w = np.ldexp(w, -exponent)
    w[w < np.finfo(np.float64).tiny] = 0  # as in the compiled backend; relative to the largest they are negligible
    return w, exponent


def weights_at(places, weights, name):
    """The weights of the samples at `places`, checked and scaled by weights_of_samples(); the others have weight 0."""
    result = np.zeros(len(weights))
    result[places] = weights_of_samples(weights[places], len(places), name)
    return result


def whole_number(value, name, low, high=None):
    """Return `value` as an int within low..high; anything but an integer is a TypeError."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer of at least {low}, got {value!r:.80}") from None
    if number < low or (high is not None and number > high):
        wanted = f"at least {low}" if high is None else f"within {low}..{high}"
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return number


def samples(m, name="X"):
    """Return `m`, the number of samples; ValueError if it is 0, because a mean over 0 samples is undefined."""
    if m == 0:
        raise ValueError(f"{name} has 0 samples (columns): the mean is undefined; give at least one")
    return m


def output(out, shape, dtype, inputs, name="out", may_copy=True):
    """Return the array to compute into: `out` itself, or a new array.

    If `out` shares memory with an input or cannot be written in place, the new array is temporary:
    :func:`deliver` copies it into `out` afterwards. So no result overwrites an operand that is still read.
    """
    if out is None:
        return np.empty(shape, dtype, order="F")
    given, out = out, writable(out, name)
    who = name if given is out else f"{name}, {_kind(given)},"
    if out.dtype != dtype:
        raise TypeError(f"{who} has dtype {out.dtype}, wanted {dtype}")
    if out.shape != shape:
        raise ValueError(f"{who} has shape {out.shape}, wanted {shape}")
    if not out.flags.writeable:
        raise ValueError(f"{who} is read-only; writable memory is needed")
    if _overlaps_itself(out):
        raise ValueError(f"{who} has strides {out.strides}: several of its elements share memory")
    # Not a subclass: np.matrix, for example, redefines the operators.
    plain = type(out) is np.ndarray and is_plain(out)
    if plain and not any(np.may_share_memory(out, a) for a in inputs if a is not None):
        return out
    if not may_copy:
        why = "shares memory with an input" if plain else "cannot be written to where it is"
        raise ValueError(f"{name} {why}; copy='never' forbids computing elsewhere and copying")
    return np.empty(shape, dtype, order="F")


def writable(out, name="out"):
    """Return `out` as a NumPy array that shares its memory, so that writing to the array changes `out`."""
    if isinstance(out, np.ndarray) and not isinstance(out, np.ma.MaskedArray):
        return out
    if not _shares_memory(out):
        raise TypeError(f"{name} must be a NumPy array, or one that shares its memory with NumPy, got {_kind(out)}")
    return any_array(out, name)


def _shares_memory(value):
    """Whether NumPy can share the memory of `value`, so that `value` sees what is written to the array."""
    if isinstance(value, (np.ma.MaskedArray, np.generic)):
        return False
    if hasattr(value, "__dlpack__") or hasattr(value, "__array_interface__"):
        return True
    try:
        return memoryview(value) is not None
    except TypeError:
        return False


def refuse_shared(outs):
    """Refuse `out` arrays that share memory, because one result would overwrite the other."""
    for (i, a), (j, b) in itertools.combinations(enumerate(outs), 2):
        if a is not None and b is not None and np.shares_memory(a, b):
            raise ValueError(f"out[{i}] and out[{j}] share memory: one result would be written over the other")


def is_same(a, b):
    """Whether two matrices are the same elements in the same places."""
    return a is b or (
        a.dtype == b.dtype
        and a.shape == b.shape
        and a.ctypes.data == b.ctypes.data
        and all(n == 1 or s == t for n, s, t in zip(a.shape, a.strides, b.strides, strict=True))
    )


def deliver(result, out):
    """Return what the caller asked for: `out` with the result in it, or the result if there is no `out`."""
    if out is None or result is out:
        return result
    array = writable(out)
    if not np.may_share_memory(result, array):  # `result` is a temporary array
        array[...] = result
    return out


def _overlaps_itself(out):
    """Whether two elements of a matrix have the same address: i s0 + j s1 = 0 for some |i| < rows, |j| < columns."""
    (rows, columns), (s0, s1) = out.shape, out.strides
    if out.size <= 1 or out.flags.c_contiguous or out.flags.f_contiguous:
        return False
    if rows == 1 or columns == 1:
        return (s1 if rows == 1 else s0) == 0
    step = math.gcd(s0, s1)
    return step == 0 or (abs(s1) // step < rows and abs(s0) // step < columns)


def is_plain(array):
    """Whether a backend can read `array` in place: native float32 or float64, aligned, strides of whole elements."""
    if type(array) is sparse.Sparse:
        return True
    flags = array.flags
    if array.dtype not in FLOATS or not flags.aligned:
        return False
    size = array.itemsize
    return flags.forc or all(s % size == 0 for s in array.strides)


def memory_of(X):
    """The array whose memory the features X are read from."""
    return X.values if type(X) is sparse.Sparse else X


def rows_of(X):
    """How many numbers a sample of X takes."""
    return X.rows() if type(X) is sparse.Sparse else X.shape[0]


def in_place(X, y):
    """Whether a backend can read both the features and the targets (None: no targets) in place."""
    return (is_plain(X) or X.dtype == np.uint8) and (y is None or y.ndim == 1 or is_plain(y))


def readable_targets(X, y, dtype):
    """Return `y`, cast as a whole if that needs little memory and lets X be read in place; else unchanged."""
    if in_place(X, y) or not in_place(X, None):
        return y
    if type(X) is not sparse.Sparse and y.size * dtype.itemsize > max(4 * _BLOCK_BYTES, X.nbytes // 10):
        return y  # both are cast in blocks
    return columns_as(y, slice(None), dtype)


def column_blocks(rows, m):
    """Slices that divide m columns of `rows` float64 values into blocks of about 1 MB."""
    step = max(1, _BLOCK_BYTES // max(1, 8 * rows))
    return (slice(start, min(start + step, m)) for start in range(0, m, step))


def _contiguous(array, dtype):
    """`array` cast, in C order and aligned; a copy only if it is needed."""
    array = np.ascontiguousarray(array, dtype)
    return array if array.flags.aligned else array.copy()  # an array over a file's bytes may be unaligned


def columns_as(array, columns, dtype):
    """The columns that a slice or an index array selects, cast to `dtype`, each sample contiguous in memory."""
    if type(array) is sparse.Sparse:
        return array.columns(columns)
    with np.errstate(all="ignore"):  # a float64 too large for float32 becomes inf; a later check reports it
        return _contiguous(array.T[columns], dtype).T


def operand(value, name, ndim, dtype=None, may_copy=True):
    """Return an operand of a single kernel, cast to `dtype` (None: to its own working dtype)."""
    array = real_array(value, name, may_copy)
    if array.ndim != ndim:
        raise ValueError(f"{name} has shape {array.shape}, wanted {ndim} dimensions")
    dtype = dtype or working_dtype(array.dtype)
    if array.dtype != dtype or not is_plain(array):
        if not may_copy:
            why = f"has dtype {array.dtype}, wanted {dtype}" if array.dtype != dtype else "is not aligned"
            raise ValueError(f"{name} {why}; copy='never' forbids copying it")
        with np.errstate(all="ignore"):
            array = array.astype(dtype)
    return array


def working_dtype(dtype):
    """float32 for float32 and float16, float64 for every other real dtype."""
    return FLOATS[0] if dtype.kind == "f" and dtype.itemsize <= 4 else FLOATS[1]


def first_non_finite(array, dtype, row="feature", samples=None):
    """Say how many values of an array are non-finite after a cast to `dtype`, and where the first is; None if none.

    `row` is the word for a row ("feature", "output"). None: the array holds weights, whose columns are not samples.
    `samples`: only these columns; None: all.
    """
    matrix = array if type(array) is sparse.Sparse or array.ndim == 2 else array[np.newaxis]
    count, first = 0, None
    places = None if samples is None else np.unique(samples)
    if type(array) is sparse.Sparse:
        count, first = array.non_finite(dtype, places)
    elif matrix.dtype.kind == "f":
        for block in column_blocks(len(matrix), matrix.shape[1] if places is None else len(places)):
            columns = block if places is None else places[block]
            bad = ~np.isfinite(columns_as(matrix, columns, dtype))
            if bad.any():
                count += int(bad.sum())
                if first is None:
                    column = int(bad.any(axis=0).argmax())
                    first = block.start + column if places is None else columns[column], int(bad[:, column].argmax())
    if not count:
        return None
    place = f"column {first[0]}"
    if row:
        which = f", {row} {first[1]}" if matrix.shape[0] > 1 or row == "feature" else ""
        place += f" (sample {first[0]}{which})"
    return f"{_number(count, 'non-finite value')}, first at {place}"
