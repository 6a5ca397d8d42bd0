"""train_step with all checks: used where the engine's quick_step does not apply, and to raise its errors."""

from . import arrays, cautions, passes, sparse, standardisation
from .history import TrainState
from .optimizers import check_optimizer
from .schedules import is_of_steps


def not_finite_before(trainable, X, y, samples=None):
    """The error for a first batch whose loss is not finite, although X, y and the weights are."""
    remedy = cautions.remedy(trainable, X, y, samples, cautions.SMALLER_WEIGHTS)
    return FloatingPointError(
        "the loss of the first batch is not finite, before any update: the weights, X or y are too large. "
        f"{remedy}; nothing was changed"
    )


def _diverged(settings, what, remedy):
    return FloatingPointError(
        f"the step diverged (with {settings}): {what} would not be finite; the weights are unchanged. {remedy}"
    )


def careful_step(trainable, X, y, optimizer, sample_weight=None):
    """One update for any arguments, with clear errors; a snapshot of all weights is restored after a failure."""
    if sparse.is_scipy(X):
        X = arrays.features(X, trainable.sizes[0], engine=trainable.engine)
        is_quick = sample_weight is None and X.shape[1]
        loss = trainable.engine.quick_step(X, y, optimizer, trainable.guard) if is_quick else None
        if loss is not None:
            return loss
    with trainable.guard.training:
        optimizer = trainable.optimizer if optimizer is None else check_optimizer(optimizer)
        trainable.refuse_all_frozen()
        cautions.of_restart(trainable, optimizer)
        X, y, sample_weight = trainable.data(X, y, sample_weight)
        if not trainable.engine.cautioned:
            trainable.engine.cautioned = True
            cautions.of_targets(y, trainable)
        with trainable.guard.writing:
            return _checked_step(trainable, X, y, optimizer, sample_weight)


def _checked_step(trainable, X, y, optimizer, sample_weight):
    engine, m = trainable.engine, X.shape[1]
    settings = optimizer.frozen(engine.dtype)
    refuse_schedule_of_epochs(settings)
    state, before = TrainState(0, 0), trainable.snapshot()
    try:
        afresh = trainable.make_current(optimizer)
        readable = passes.cast(engine, X, y, slice(None), arrays.in_place(X, y))
        sums = engine.train(*readable, sample_weight, settings, m, None, state, 1, 1)
    except BaseException:  # no memory, Ctrl-C
        trainable.go_back(before)
        raise
    if state.failed or not state.finite:
        trainable.go_back(before)
        for name, array, row in (("X", X, "feature"), ("y", y, "output")):
            found = arrays.first_non_finite(array, standardisation.dtype_of(engine), row)
            if found:
                raise ValueError(f"{name} has {found}; the weights are unchanged")
        # Checked only after a failure, so that good steps take no time for it; a step cannot make them finite again.
        trainable.refuse_non_finite(moments=not afresh)
        if state.failed:
            raise not_finite_before(trainable, X, y)
        raise _diverged(settings, "the loss, a weight or a moment", cautions.remedy(trainable, X, y))
    return sums[0][0] / sums[0][1]


def refuse_schedule_of_epochs(settings, call="train_step"):
    """Raise ValueError if the learning rate depends on epochs, which a single step, made by `call`, does not know."""
    if not is_of_steps(settings.lr):
        raise ValueError(
            f"optimizer: lr={settings.lr!r:.100} depends on epochs, and {call} has none; give a number, or a "
            f'schedule with per="step"'
        )


def make(trainable, optimizer, settings, take, refuse=None, X=None):
    """Make one update, in a turn of the caller's; if it fails, nothing is changed.

    Parameters
    ----------
    settings : Optimizer
        Those of `optimizer` that `take` uses, for errors.
    take : callable
        Makes the update with a TrainState; returns False, and has changed nothing, if a number would not be finite.
    refuse : callable, optional
        Raises an error after a failure if what the caller gave is the reason.
    X : ndarray, optional
        The samples, for errors.
    """
    before = None  # a snapshot takes time; the usual optimizer goes on with its state, which `take` alone changes
    if optimizer is not trainable.optimizer or optimizer.key() != trainable.state_key:
        before = trainable.snapshot()
    try:
        trainable.make_current(optimizer)
        if take(TrainState(0, 0)):
            return
    except BaseException:
        if before is not None:
            trainable.go_back(before)
        raise
    if before is not None:
        trainable.go_back(before)
    if refuse is not None:
        refuse()
    trainable.refuse_non_finite()
    remedy = "Try a smaller learning rate (lr)" if X is None else cautions.remedy(trainable, X, None)
    raise _diverged(settings, "a weight or a moment", remedy)
