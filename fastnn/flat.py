"""All parameters as one vector: layer after layer W in C order, b, and with a norm gamma and beta."""

import itertools
import math

import numpy as np

from . import arrays, own_loss, passes


def vector(layers, dtype):
    """The arrays of all layers as a new vector."""
    return np.concatenate([T.ravel() for layer in layers for T in layer], dtype=dtype)


def checked(v, count, name="v"):
    """`v` as a real array (P,)."""
    given = arrays.real_array(v, name)
    if given.shape != (count,):
        raise ValueError(f"{name} has shape {given.shape}, wanted (P,) = ({count},): net.n_params numbers")
    return given


def layers_of(v, trainable):
    """A checked vector as the parameters of every layer, in the network's dtype."""
    with np.errstate(all="ignore"):
        v = np.array(v, trainable.engine.dtype)  # a copy: an engine keeps no views of the caller's memory
    flat = [shape for layer in trainable.shapes for shape in layer]
    ends = list(itertools.accumulate(math.prod(shape) for shape in flat))
    parts = iter([v[end - math.prod(shape) : end].reshape(shape) for end, shape in zip(ends, flat, strict=True)])
    return [tuple(next(parts) for _ in layer) for layer in trainable.shapes]


def loss_and_gradient(trainable, v, X, y, sample_weight):
    """:meth:`Network.loss_and_gradient`, whose arguments these are."""
    v = checked(v, trainable.n_params)
    X, y, sample_weight = trainable.data(X, y, sample_weight)
    with trainable.guard.reading:
        engine = trainable.engine.copy()  # no other thread ever sees `v` in the network
    engine.set_parameters(layers_of(v, trainable))
    if trainable.is_own:
        loss, found = own_loss.gradients_at(trainable, engine, X, y, sample_weight)
    else:
        loss, found = passes.gradients(engine, X, y, sample_weight)
    return loss, vector(found, v.dtype if v.dtype.kind == "f" else np.float64)
