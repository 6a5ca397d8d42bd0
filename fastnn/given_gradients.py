"""Derivatives that are the caller's: the backward pass from dA, and an update from gradients."""

import numpy as np

from . import arrays, cautions, hints, norms, one_step, passes, standardisation
from .optimizers import check_optimizer


def backward(trainable, X, dA, training):
    """:meth:`Network.backward`, whose arguments these are."""
    sizes, dtype = trainable.sizes, trainable.engine.dtype
    X = arrays.features(X, sizes[0], engine=trainable.engine)
    m, wanted = arrays.samples(X.shape[1]), (sizes[-1], X.shape[1])
    given, dA = dA, arrays.real_array(dA, "dA")
    if dA.shape != wanted:
        told = "; did you mean dA.T?" if dA.shape == wanted[::-1] else ""
        if wanted == (1, *dA.shape):
            told = "; of one output it is one row: write np.reshape(dA, (1, -1))"
        raise ValueError(f"dA has shape {np.shape(given)}, wanted (n_L, m) = {wanted}: columns are samples{told}")
    if not arrays.is_plain(dA):
        dA = arrays.columns_as(dA, slice(None), dtype)
    if training and trainable.has_batch_norm:
        with trainable.guard.writing:
            return _backward_of_batch(trainable, X, dA, m)
    with trainable.guard.reading:
        return passes.backward(trainable.engine, X, dA, float(m), training)


def _backward_of_batch(trainable, X, dA, m):
    """As :func:`backward` in training, with batch norm: its running statistics move."""
    engine = trainable.engine
    before = engine.running_statistics()
    try:
        found = passes.backward(engine, X, dA, float(m), training=True, moves=True)
        moved = engine.running_statistics()
        if not all(np.isfinite(T).all() for pair in moved if pair for T in pair):
            engine.set_running_statistics(before)
            _refuse_statistics(trainable, X)
    except BaseException:  # Ctrl-C, too
        engine.set_running_statistics(before)
        raise
    trainable.set_running_statistics(moved)
    return found


def _refuse_statistics(trainable, X):
    """Raise the error for running statistics that would not be finite."""
    found = arrays.first_non_finite(X, standardisation.dtype_of(trainable.engine), "feature")
    if found:
        raise ValueError(f"X has {found}; nothing was changed")
    trainable.refuse_non_finite(moments=False)
    raise FloatingPointError(
        "the running statistics of batch norm would not be finite: weights or X are too large. "
        f"{cautions.remedy(trainable, X, None, None, cautions.SMALLER_WEIGHTS)}; nothing was changed"
    )


def update(trainable, gradients, optimizer):
    """:meth:`Network.update`, whose arguments these are."""
    guard, engine = trainable.guard, trainable.engine
    with guard.training:
        optimizer = trainable.optimizer if optimizer is None else check_optimizer(optimizer)
        trainable.refuse_all_frozen()
        cautions.of_restart(trainable, optimizer)
        clean = checked(gradients, trainable)
        settings = optimizer.frozen(engine.dtype)
        one_step.refuse_schedule_of_epochs(settings, "update")
        if settings.clip_value:  # which would make an infinite gradient a finite one
            _refuse_non_finite(clean, engine.dtype, trainable.frozen)
        with guard.writing:
            one_step.make(
                trainable,
                optimizer,
                settings,
                lambda state: engine.update(clean, settings, state),
                lambda: _refuse_non_finite(clean, engine.dtype, trainable.frozen),
            )


def checked(gradients, trainable):
    """The gradients of every layer as an engine takes them."""
    shapes, dtype = trainable.shapes, trainable.engine.dtype
    if isinstance(gradients, tuple) and len(gradients) == 2 and any(isinstance(part, list) for part in gradients):
        at = 0 if isinstance(gradients[0], list) else 1
        raise TypeError(
            f"gradients is a pair, of which place {at} holds the gradients: give that one, [{at}], to update"
        )
    words = norms.in_words(trainable.norm, prefix="d")
    try:
        layers = [tuple(layer) for layer in gradients]
    except TypeError:
        told = "; those of loss_and_gradient are one vector: net.gradients(X, y)[1] is such a list"
        told = told if hasattr(gradients, "__array__") or isinstance(gradients, tuple) else ""
        raise TypeError(
            f"gradients must be a list of {words}, one per layer, got {hints.shown(gradients)}{told}"
        ) from None
    if len(layers) != len(shapes):
        raise ValueError(
            f"gradients must be a list of {words}, one per layer ({len(shapes)}); got {len(layers)} entries"
        )
    return [_checked_layer(i, *each, dtype) for i, each in enumerate(zip(layers, shapes, strict=True))]


def _checked_layer(i, layer, shapes, dtype):
    if len(layer) != len(shapes):
        names = ", ".join(f"d{name}" for name in norms.NAMES[: len(shapes)])
        raise ValueError(f"gradients[{i}] has {len(layer)} arrays, wanted ({names})")
    return tuple(
        # The usual case first: what backward and gradients return.
        T
        if type(T) is np.ndarray and T.dtype == dtype and T.shape == shape and T.flags.forc and T.flags.aligned
        else _checked(T, f"gradients[{i}] d{name}", shape, dtype)
        for T, name, shape in zip(layer, norms.NAMES, shapes, strict=False)
    )


def _checked(T, name, shape, dtype):
    array = arrays.real_array(T, name)
    is_column = name[-1] != "W" and array.shape == shape[:1]
    if array.shape != shape and not is_column:
        hint = f"; did you mean {name[-2:]}.T?" if name[-1] == "W" and array.shape == shape[::-1] else ""
        wanted = f"{shape}{'' if name[-1] == 'W' else f' or ({shape[0]},)'}"
        raise ValueError(f"{name} has shape {array.shape}, wanted {wanted}{hint}")
    return arrays.operand(array.reshape(shape), name, 2, dtype)


def _refuse_non_finite(gradients, dtype, frozen):
    """Raise ValueError if a gradient of a layer that is trained is not finite."""
    for i, layer in enumerate(gradients):
        if frozen[i]:
            continue
        for name, T in zip(norms.NAMES, layer, strict=False):
            found = arrays.first_non_finite(T, dtype, None)
            if found:
                raise ValueError(f"gradients[{i}] d{name} has {found}; nothing was changed")
