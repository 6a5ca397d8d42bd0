"""Predictions, loss, accuracy and gradients over any number of samples, computed by an engine slice by slice.

Data of any dtype and layout is read in place, or cast one block at a time. Ctrl-C takes effect between
two slices. No result depends on the number of threads.
"""

import contextlib
import itertools

import numpy as np

from . import arrays, metrics, standardisation

_ALONE = contextlib.nullcontext()  # for an engine that no other thread changes
_SLICE_WEIGHTS = 10**8  # weights times samples of a slice: 0.2 GFLOP, about 10 ms


def predict(engine, X, out, reading=_ALONE):
    """Check X and compute A[L] into `out` or a new array; the context manager `reading` protects the engine."""
    X = arrays.features(X, engine.sizes[0], engine=engine)
    result = arrays.output(out, (engine.sizes[-1], X.shape[1]), engine.dtype, (arrays.memory_of(X),))
    with reading:
        _predict(engine, X, result)
    return arrays.deliver(result, out)


def _predict(engine, X, result):
    in_place = arrays.in_place(X, None)
    for columns in _slices(engine, X, in_place):
        engine.predict(readable(engine, X, columns, in_place), result[:, columns])


def mean_loss(engine, X, y, sample_weight, places=None):
    """Mean loss of checked data; with `places` of these samples only."""
    total = weight = 0.0
    in_place = places is None and arrays.in_place(X, y)
    for columns in _slices(engine, X, in_place, places):
        part = None if sample_weight is None else sample_weight[columns]
        t, w = engine.loss(*cast(engine, X, y, columns, in_place), part)
        total, weight = total + t, weight + w
    return total / weight


def share_of_hits(engine, X, y, sample_weight, is_sigmoid):
    """The accuracy of checked data."""
    hits = total = 0
    in_place = arrays.in_place(X, y)
    rows = engine.sizes[-1] if in_place else engine.sizes[0]
    for columns in arrays.column_blocks(rows, X.shape[1]):
        X_block, y_block = cast(engine, X, y, columns, in_place)
        right = metrics.right(y_block, predict(engine, X_block, None), is_sigmoid)
        if sample_weight is None:
            hits, total = hits + int(right.sum()), total + right.size
        else:
            w = sample_weight[columns]
            hits, total = hits + right.reshape(-1, len(w)).mean(axis=0) @ w, total + w.sum()
    return float(hits / total)


def gradients(engine, X, y, sample_weight, training=False):
    """Mean loss and the gradients of every layer's parameters, of checked data; with `training` X is one batch."""
    in_place, mean, total = arrays.in_place(X, y), None, 0.0
    if training:
        return engine.gradients(*cast(engine, X, y, slice(None), in_place), sample_weight, True)
    for columns in _slices(engine, X, in_place):
        part = None if sample_weight is None else sample_weight[columns]
        weight = float(X[:, columns].shape[1] if part is None else part.sum())
        if weight > 0:
            found = engine.gradients(*cast(engine, X, y, columns, in_place), part)
            total += weight
            mean = found if mean is None else _weighted_mean(mean, found, weight / total)
    return mean


def _weighted_mean(before, more, share):
    """Weighted mean of two (loss, gradients): 1 - share of the first and `share` of the second."""
    loss = (1 - share) * before[0] + share * more[0]
    layers = zip(before[1], more[1], strict=True)
    return loss, [tuple((1 - share) * a + share * b for a, b in zip(*two, strict=True)) for two in layers]


def backward(engine, X, dA, weight, training=False, moves=False):
    """The gradients of every layer's parameters and dX, of checked X and of dA that an engine can read.

    `dA` are the derivatives of w_i L_i, and `weight` is the sum of w_i. With `training` X is one batch,
    and with `moves` the running statistics of batch norm move, as in the next update.
    """
    in_place, found, dX = arrays.in_place(X, None), None, None
    slices = [slice(None)] if training else list(_slices(engine, X, in_place))
    if len(slices) > 1:
        dX = np.empty((engine.sizes[0], X.shape[1]), engine.dtype, order="F")
    for columns in slices:
        part = readable(engine, X, columns, in_place)
        layers, dX_part = engine.backward(part, dA[:, columns], weight, training, moves)
        if dX is None:
            return layers, dX_part
        dX[:, columns] = dX_part
        found = layers if found is None else _sum(found, layers)
    return found, dX


def _sum(some, others):
    return [tuple(a + b for a, b in zip(*layers, strict=True)) for layers in zip(some, others, strict=True)]


def readable(engine, X, columns=slice(None), in_place=None):
    """The columns of X as the engine reads them; `in_place` is ``arrays.in_place(X, None)``, None: not known yet."""
    if arrays.in_place(X, None) if in_place is None else in_place:
        return X[:, columns]
    return arrays.columns_as(X, columns, standardisation.dtype_of(engine))


def cast(engine, X, y, columns, in_place):
    """The columns of X and y as the engine reads them."""
    X = readable(engine, X, columns, in_place)
    if in_place or y.ndim == 1:
        return X, y[..., columns]
    return X, arrays.columns_as(y, columns, standardisation.dtype_of(engine))


def outputs(engine, X, places):
    """A[L] of checked X, (n_L, m); with `places` of these samples only."""
    if places is None:
        return predict(engine, X, None)
    A, done = np.empty((engine.sizes[-1], len(places)), engine.dtype, order="F"), 0
    for columns in _slices(engine, X, False, places):
        engine.predict(readable(engine, X, columns, False), A[:, done : done + len(columns)])
        done += len(columns)
    return A


def _slices(engine, X, in_place, places=None):
    """Slices of the columns of X, one for each call of the engine; with `places` parts of these."""
    m = X.shape[1]
    if places is not None:
        return (places[part] for part in arrays.column_blocks(arrays.rows_of(X), len(places)))
    if not in_place:
        return arrays.column_blocks(X.shape[0], m)
    step = max(1024, _SLICE_WEIGHTS // sum(n_in * n_out for n_in, n_out in itertools.pairwise(engine.sizes)))
    return [slice(i, min(i + step, m)) for i in range(0, max(m, 1), step)]
