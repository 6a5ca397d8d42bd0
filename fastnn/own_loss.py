"""A loss of the user's own: a function f(A, y) -> (losses, dA), where the network's loss would be.

A step is two calls of the engine with f between them: the forward pass gives A, the rest takes dA. f runs outside of
the network's turn, so it may take long, or use the network (but not train it).
"""

import numpy as np

from . import arrays, cautions, hints, one_step, passes, remedies, standardisation, tables
from .optimizers import check_optimizer

_LIBRARIES = ("torch", "keras", "tensorflow", "sklearn")  # whose losses take and return something else


# --- checks --------------------------------------------------------------------------------------


def checked(loss):
    """Return `loss` as an OwnLoss, or None as None; TypeError if it cannot be called as f(A, y)."""
    if loss is None or isinstance(loss, tables.OwnLoss):
        return loss
    module = getattr(loss, "__module__", None) or ""
    if module.partition(".")[0] in _LIBRARIES:
        tables.spec(loss, tables.LOSSES, "loss")  # raises the error that names ours
    if not callable(loss) or isinstance(loss, type):
        told = f"; write {loss.__name__}() for an object of this class" if isinstance(loss, type) else ""
        if isinstance(loss, str) and loss in tables.LOSSES:
            told = f"; a loss of ours is the network's: leave it out, and write Network(sizes, loss={loss!r})"
        raise TypeError(f"loss must be a function (A, y) -> (losses, dA), got {loss!r:.80}{told}")
    if hints.misfit(loss, (None, None)):
        raise TypeError(f"loss must take two arguments, (A, y): {loss!r:.80} does not")
    if hints.takes_targets_first(loss):
        name = hints.name_of(loss)
        raise TypeError(f"loss must take (A, y), the outputs first: the parameters of {name} are the other way")
    return tables.OwnLoss(loss)


def function_of(trainable):
    """The function of a network whose loss is the user's own; ValueError if it was loaded without."""
    function = trainable.loss.function
    if function is None:
        raise ValueError(
            'this network has a loss of its own ("custom"), which files do not store: write '
            "fastnn.load(path, loss=f); without it the network only predicts, and trains by train_step(..., loss=f)"
        )
    return function


def targets(y, m, name):
    """`y` as an array whose last axis are the m samples: what it holds is the loss's own affair."""
    given, y = y, y if isinstance(y, np.ndarray) else arrays.any_array(y, name)
    if y.ndim not in (1, 2) or y.shape[-1] != m:
        told = remedies.of_container(given, name) if y.ndim == 0 else ""
        if told:
            raise TypeError(f"{name}, a {type(given).__name__}, cannot be read as an array{told}")
        if y.ndim == 2 and len(y) == m:
            told = f"; did you mean {remedies.turned(arrays.spelled_as(given, name))}?"
        raise ValueError(f"{name} has shape {y.shape}, wanted (m,) or (k, m) with m = {m}: columns are samples{told}")
    return y


def _unchanged():
    return "; nothing was changed"


def derivatives(result, A, w, explain, ending=_unchanged):
    """Check what a loss returned.

    Parameters
    ----------
    result : object
    A : ndarray, (n_L, m)
        The outputs that the loss got.
    w : ndarray, (m,), or None
        Weights of the samples.
    explain : callable
        Raises the error for outputs A that are not finite.
    ending : callable
        Returns the end of an error for losses or derivatives that are not finite: where, and which weights are kept.

    Returns
    -------
    (float, float, ndarray)
        The sum of w_i L_i, the sum of w_i, and w_i dA (n_L, m).
    """
    m = A.shape[1]
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        got = f"{len(result)} objects" if isinstance(result, (tuple, list)) else hints.shown(result)
        raise TypeError(f"loss returned {got}, wanted (losses, dA): losses (m,) and dA (n_L, m)")
    losses, dA = (_real(array, name) for array, name in zip(result, ("losses", "dA"), strict=True))
    if losses.shape != (m,):
        told = ": one number for each sample, the sum over its outputs"
        raise ValueError(f"loss returned losses of shape {losses.shape}, wanted (m,) = ({m},){told}")
    if dA.shape != A.shape:
        told = ": the derivative of each sample's own loss by its outputs"
        raise ValueError(f"loss returned dA of shape {dA.shape}, wanted (n_L, m) = {A.shape}{told}")
    with np.errstate(all="ignore"):
        if w is None:
            total, weight = float(losses.sum(dtype=np.float64)), float(m)
        else:
            total, weight = float(losses.astype(np.float64, copy=False) @ w), float(w.sum())
            dA = (dA * w).astype(A.dtype)
    if dA.dtype not in arrays.FLOATS or not arrays.is_plain(dA):
        dA = arrays.columns_as(dA, slice(None), A.dtype)
    if not (np.isfinite(total) and np.isfinite(dA).all()):
        _refuse(losses, dA, A, explain, ending)
    return total, weight, dA


def _real(array, name):
    """What a loss returned as `name`, as an array of real numbers."""
    try:
        return arrays.real_array(array, name)
    except (ValueError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"loss returned (losses, dA), of which {error}") from error.__cause__


def _refuse(losses, dA, A, explain, ending):
    """Raise the error for losses or derivatives that are not finite."""
    if not np.isfinite(A).all():
        explain()
    for name, array, row in (("losses", losses, None), ("dA", dA, "output")):
        found = arrays.first_non_finite(array, array.dtype, row)
        if found:
            raise ValueError(f"loss returned {name} with {found}{ending()}")
    raise FloatingPointError(f"loss returned losses whose sum overflows{ending()}")


def _refuse_non_finite(trainable, X, samples=None):
    """Raise ValueError if X is not finite."""
    found = arrays.first_non_finite(X, standardisation.dtype_of(trainable.engine), "feature", samples)
    if found:
        raise ValueError(f"X has {found}; the weights are unchanged")


def _explain(trainable, X, samples=None):
    """Raise the error for outputs that are not finite."""
    _refuse_non_finite(trainable, X, samples)
    with trainable.guard.reading:
        trainable.refuse_non_finite(moments=False)
    remedy = cautions.remedy(trainable, X, None, samples, cautions.SMALLER_WEIGHTS)
    raise FloatingPointError(f"the outputs are not finite: weights or X are too large. {remedy}; nothing was changed")


# --- without an update ------------------------------------------------------------------------------


def mean_loss(trainable, X, y, w, places=None, ending=_unchanged):
    """Mean loss of checked data; with `places` of these samples only. The loss gets all of them at once."""
    function, engine = function_of(trainable), trainable.engine
    with trainable.guard.reading:
        A = passes.outputs(engine, X, places)
    if places is not None:
        y, w = y[..., places], None if w is None else w[places]
    total, weight, _ = derivatives(function(A, y), A, w, lambda: _explain(trainable, X, places), ending)
    return total / weight


def gradients(trainable, X, y, w, training=False):
    """Mean loss and the gradients of every layer's parameters, of checked data."""
    return _gradients(trainable, trainable.engine, function_of(trainable), X, y, w, training)


def gradients_at(trainable, engine, X, y, w):
    """The same in evaluation mode, of another engine of the same network."""
    return _gradients(trainable, engine, function_of(trainable), X, y, w, False)


def _gradients(trainable, engine, function, X, y, w, training):
    with trainable.guard.reading:
        seen = trainable.version()
        if training:
            A = engine.training_outputs(passes.readable(engine, X))
        else:
            A = passes.outputs(engine, X, None)
    total, weight, dA = derivatives(function(A, y), A, w, lambda: _explain(trainable, X))
    with trainable.guard.reading:
        if engine is trainable.engine and seen != trainable.version():
            raise RuntimeError("the network was changed while its loss was computed; try again")
        found, _ = passes.backward(engine, X, dA, weight, training)
    return total / weight, found


# --- a step ------------------------------------------------------------------------------------------


def step(trainable, loss, X, y, optimizer, sample_weight):
    """One update with `loss`, or the network's own; returns the loss before it. If it fails, nothing is changed."""
    guard, engine = trainable.guard, trainable.engine
    if loss is None:
        function = function_of(trainable)
    elif loss is trainable.checked_loss:  # inspecting a function takes longer than a step
        function = loss
    else:
        function = trainable.checked_loss = checked(loss).function
    with guard.training:
        A = engine.quick_begin(X, optimizer, guard) if sample_weight is None else None
        if A is None:
            return _careful_step(trainable, function, X, y, optimizer, sample_weight)
        result = function(A, targets(y, A.shape[1], "y"))
        J = engine.quick_end(A, result, guard)
        return _rest(trainable, A, result, X, None, optimizer) if J is None else J


def _careful_step(trainable, function, X, y, optimizer, sample_weight):
    engine = trainable.engine
    optimizer = trainable.optimizer if optimizer is None else check_optimizer(optimizer)
    trainable.refuse_all_frozen()
    cautions.of_restart(trainable, optimizer)
    X = arrays.features(X, engine.sizes[0], engine=engine)
    m = arrays.samples(X.shape[1])
    y, w = targets(y, m, "y"), arrays.weights_of_samples(sample_weight, m)
    one_step.refuse_schedule_of_epochs(optimizer.frozen(engine.dtype))
    with trainable.guard.writing:
        A = engine.begin_step(passes.readable(engine, X))
    return _rest(trainable, A, function(A, y), X, w, optimizer)


def _rest(trainable, A, result, X, w, optimizer):
    """The rest of a step, after the loss."""
    engine, optimizer = trainable.engine, optimizer or trainable.optimizer
    total, weight, dA = derivatives(result, A, w, lambda: _explain(trainable, X))
    settings = optimizer.frozen(engine.dtype)

    def take(state):
        return engine.end_step(A, dA, weight, settings, state)

    with trainable.guard.writing:
        # Outputs may be finite where X is not, as tanh's are.
        one_step.make(trainable, optimizer, settings, take, lambda: _refuse_non_finite(trainable, X), X)
    return total / weight
