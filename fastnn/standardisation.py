"""Standardisation in the model: how Network.adapt measures data, and what engines do with the measures.

(x - mean) / scale of each feature and of each target, and back for predictions, is computed in float64, because a mean
may be far larger than the spread around it.
"""

from typing import NamedTuple

import numpy as np

from . import arrays, tables
from .sparse import Sparse

_TARGETS = ("values", "one_value", "means")  # may be shifted and scaled; classes, shares and counts may not
_ROUNDINGS = 16 * np.finfo(np.float64).eps
_SMALLEST = 1 / np.finfo(np.float64).max  # 1 / a scale must be finite


class Standardisation(NamedTuple):
    """Means and scales, float64: of the n_0 features (n_0, 1) each; of the targets (k, 1) each, or None.

    Y is read as (Y - y_mean) / y_scale, and predictions are A * y_scale + y_mean.
    """

    x_mean: np.ndarray
    x_scale: np.ndarray
    y_mean: np.ndarray | None
    y_scale: np.ndarray | None

    def of_engine(self, loss, n_out):
        """The arguments of Engine.standardise: x_mean and x_scale (n_0,); of y (k,) and of A (n_L,), or None."""
        x_mean, x_scale, y_mean, y_scale = (None if T is None else T.ravel().copy() for T in self)
        if y_mean is None:
            return x_mean, x_scale, None, None, None, None
        if tables.loss_row(loss).targets == "means":  # k means, then k log-variances, which grow by 2 log(scale)
            a_scale, a_shift = np.append(y_scale, np.ones_like(y_scale)), np.append(y_mean, 2 * np.log(y_scale))
        else:
            a_scale, a_shift = (np.broadcast_to(T, n_out).copy() for T in (y_scale, y_mean))
        return x_mean, x_scale, y_mean, y_scale, a_scale, a_shift

    def read_only(self):
        """Copies that cannot be written to."""
        copies = [None if T is None else T.copy() for T in self]
        for T in copies:
            if T is not None:
                T.flags.writeable = False
        return Standardisation(*copies)


def measured(X, y, engine, output, loss):
    """Check X and y, and measure them.

    Parameters
    ----------
    X, y : array_like
        y may be None.
    engine : Engine
    output, loss : str
        The names of the output activation and of the loss.

    Returns
    -------
    Standardisation
    """
    sizes = engine.sizes
    X = arrays.features(X, sizes[0], engine=engine)
    m = arrays.samples(X.shape[1])
    if not m:
        raise ValueError("X has no samples; adapt measures their means")
    if y is None:
        return Standardisation(*_mean_and_scale(X, "X", "feature"), None, None)
    if not takes(loss, output):
        raise ValueError(
            f"y cannot be standardised for loss {loss!r} with {output} outputs; it can be for identity outputs and "
            f"{', '.join(name for name, row in tables.LOSSES.items() if row.targets in _TARGETS)}: leave y out"
        )
    Y = arrays.targets(y, sizes[-1], m, loss)
    if Y.ndim == 1:
        raise ValueError(f"y holds class codes; wanted values of shape ({sizes[-1]}, {m})")
    # Predictions come in the units of y.
    return Standardisation(*_mean_and_scale(X, "X", "feature"), *_mean_and_scale(Y, "y", "output", engine.dtype))


def takes(loss, output):
    """Whether targets of that loss can be standardised."""
    return tables.loss_row(loss).targets in _TARGETS and output == "identity"


def _mean_and_scale(A, name, row, dtype=None):
    """Mean and population standard deviation of each row of A, (n, 1) float64; scale 1 for a row that is constant.

    ValueError if a number is not finite, or if those of a row are too large or too small for `dtype`; None: for none.

    One pass over blocks of columns, whose means and sums of squares are joined exactly. T. F. Chan, G. H. Golub,
    R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
    """
    n, m = A.shape
    mean, squares, done = np.zeros((n, 1)), np.zeros((n, 1)), 0
    low, high = np.full((n, 1), np.inf), np.full((n, 1), -np.inf)
    with np.errstate(all="ignore"):
        for count, of_block, squares_of_block, low_of_block, high_of_block in _measures_of_blocks(A):
            step = of_block - mean
            squares += squares_of_block
            squares += step**2 * (done * count / (done + count))
            mean += step * (count / (done + count))
            done += count
            low = np.minimum(low, low_of_block)
            high = np.maximum(high, high_of_block)
        if not (np.isfinite(low) & np.isfinite(high)).all():
            found = arrays.first_non_finite(A, np.dtype(np.float64), row)
            raise ValueError(f"{name} has {found}; adapt needs finite numbers")
        if dtype is not None:
            _refuse_what_predictions_cannot_be(np.maximum(high, -low)[:, 0], name, row, dtype)
        scale = np.sqrt(squares / m)
    is_same = low == high
    # A spread of a few roundings is that of a computation, and none of the data's: such as of price * 1.19 / price.
    is_constant = is_same | (scale <= _ROUNDINGS * np.abs(mean))
    too_large = np.flatnonzero(~is_constant & ~np.isfinite(scale))
    if len(too_large):
        raise ValueError(f"{name} has numbers that are too large to square in float64, first in {row} {too_large[0]}")
    mean[is_same] = low[is_same]
    scale[is_constant | (scale < _SMALLEST)] = 1.0
    return mean, scale


def _refuse_what_predictions_cannot_be(largest, name, row, dtype):
    """ValueError if the largest |number| of a row is none that predictions of `dtype` can be, not even rounded."""
    is_small = (largest > 0) & (largest < np.finfo(dtype).tiny)  # such predictions would be 0, or nearly
    wrong = np.flatnonzero(is_small | ~np.isfinite(largest.astype(dtype)))
    if len(wrong):
        i = wrong[0]
        other = "" if dtype == np.float64 else ", or write Network(sizes, dtype='float64')"
        raise ValueError(
            f"{name} holds values of up to {largest[i]:.3g} (in {row} {i}), too {'small' if is_small[i] else 'large'} "
            f"for predictions in {np.dtype(dtype)}: scale {name}{other}"
        )


def _measures_of_blocks(A):
    """For blocks of columns: their number, and of each row the mean, the sum of squares around it, and both ends."""
    if type(A) is Sparse:
        yield from (_measures_of_sparse(A.columns(block)) for block in A.blocks())
        return
    for columns in arrays.column_blocks(*A.shape):
        block = arrays.columns_as(A, columns, np.float64)
        mean = block.mean(axis=1, keepdims=True)
        squares = np.square(block - mean).sum(axis=1, keepdims=True)
        yield block.shape[1], mean, squares, block.min(axis=1, keepdims=True), block.max(axis=1, keepdims=True)


def _measures_of_sparse(X):
    """The same of one block: the numbers that are stored, joined with the zeros by the same formula."""
    (n, m), rows = X.shape, X.matrix(np.float64).tocsr()
    stored = np.diff(rows.indptr)
    some = np.flatnonzero(stored)
    begins, count = rows.indptr[some], stored[some].astype(np.float64)
    mean = np.add.reduceat(rows.data, begins) / count if len(some) else np.zeros(0)
    apart = rows.data - np.repeat(mean, stored[some])
    rest, squares = (np.add.reduceat(T, begins) if len(some) else mean for T in (apart, apart**2))
    mean, squares = mean + rest / count, np.maximum(squares - rest**2 / count, 0)  # the sum of a long row was rounded
    share = count / m
    found = np.zeros((4, n, 1))
    found[0, some, 0] = mean * share
    found[1, some, 0] = squares + mean**2 * count * (1 - share)
    for to, end in zip(found[2:, :, 0], (np.minimum, np.maximum), strict=True):
        to[some] = end.reduceat(rows.data, begins) if len(some) else 0
        with_zeros = stored < m
        to[with_zeros] = end(to[with_zeros], 0)
    return m, *found


def checked(given, sizes, output, loss, dtype):
    """Return the standardisation of a pickle or a file; ValueError if it is not one that adapt could have made."""
    if given is None:
        return None
    if not isinstance(given, (tuple, list)) or len(given) != 4:
        raise ValueError(f"standardisation must be (x_mean, x_scale, y_mean, y_scale), got {given!r:.80}")
    clean = []
    for name, T in zip(Standardisation._fields, given, strict=True):
        if T is None and name[0] == "y":
            clean.append(None)
            continue
        wanted = (sizes[0] if name[0] == "x" else tables.loss_row(loss).target_rows(sizes[-1]), 1)
        if not isinstance(T, np.ndarray) or T.dtype != np.float64 or T.shape != wanted:
            raise ValueError(f"{name} must be an array of float64 {wanted}, got {T!r:.80}")
        if not np.isfinite(T).all() or (name.endswith("scale") and not (T >= _SMALLEST).all()):
            raise ValueError(f"{name} must hold finite numbers{' above 0' if name.endswith('scale') else ''}")
        with np.errstate(over="ignore"):
            if name[0] == "y" and not np.isfinite(T.astype(dtype)).all():
                raise ValueError(f"{name} must hold numbers of {dtype}, as predictions are, got {np.abs(T).max():.3g}")
        clean.append(np.ascontiguousarray(T))
    if (clean[2] is None) != (clean[3] is None):
        raise ValueError("y_mean and y_scale must both be there, or neither")
    if clean[2] is not None and not takes(loss, output):
        raise ValueError(f"targets of loss {loss!r} with {output} outputs cannot be standardised")
    return Standardisation(*clean)


def of_standards(standards):
    """The Standardisation that an engine's `standards` come from; None for None."""
    if standards is None:
        return None
    return Standardisation(*(None if T is None else T[:, np.newaxis] for T in standards[:4]))


def folded(W, b, standards):
    """The map W X + b of standardised numbers as one of the user's, in float64."""
    if standards is None:
        return W, b
    x_mean, x_scale, _, _, a_scale, a_shift = standards
    W, b = W / x_scale, b - W @ (x_mean / x_scale)[:, np.newaxis]
    return (W, b) if a_scale is None else (a_scale[:, np.newaxis] * W, (a_scale * b[:, 0] + a_shift)[:, np.newaxis])


# --- what engines do with them; `standards` is the tuple of Standardisation.of_engine(), or None ---------


def dtype_of(engine):
    """The dtype to which other dtypes of X and y are cast for an engine: float64 if it standardises them."""
    return engine.dtype if engine.standards is None else np.dtype(np.float64)


def of_samples(standards, X):
    """X standardised, in float64; or X as it is."""
    return X if standards is None else _centred(X, *standards[:2])


def of_targets(standards, Y):
    """Y standardised, in float64; or Y as it is, as codes are."""
    return Y if standards is None or standards[2] is None or Y.ndim == 1 else _centred(Y, *standards[2:4])


def _centred(X, mean, scale):
    return (X.astype(np.float64) - mean[:, np.newaxis]) * (1 / scale[:, np.newaxis])


def in_units(standards, A):
    """Predictions in the user's units, of A's dtype."""
    if standards is None or standards[4] is None:
        return A
    a_scale, a_shift = (T[:, np.newaxis] for T in standards[4:])
    with np.errstate(all="ignore"):
        return (A.astype(np.float64) * a_scale + a_shift).astype(A.dtype)


def of_derivatives(standards, dA):
    """The derivatives by the outputs of the network, from those by predictions in the user's units."""
    return dA if standards is None or standards[4] is None else _times(dA, standards[4])


def derivatives_in_units(standards, dX):
    """The derivatives by X in the user's units, from those by the standardised X."""
    return dX if standards is None else _times(dX, 1 / standards[1])


def _times(dA, scale):
    with np.errstate(all="ignore"):
        return (dA.astype(np.float64) * scale[:, np.newaxis]).astype(dA.dtype)
