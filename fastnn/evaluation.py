"""evaluate: the loss of checked data, the accuracy of a classifier, and the metrics that are asked for."""

import numpy as np

from . import metrics, own_loss, passes, tables


def evaluate(trainable, X, y, sample_weight, wanted):
    """:meth:`Network.evaluate`, whose arguments these are.

    Returns
    -------
    dict of str to float
    """
    if isinstance(sample_weight, (list, tuple)) and any(isinstance(w, str) or callable(w) for w in sample_weight):
        raise TypeError(f"sample_weight is the third argument; write metrics={sample_weight!r:.80}")
    y_given = y
    X, y, w = trainable.data(X, y, sample_weight)
    engine, loss = trainable.engine, trainable.loss
    if trainable.is_own:
        return _with_own_loss(trainable, X, y, w, wanted, y_given)
    asked = metrics.checked(wanted, trainable.sizes, trainable.output, loss, y)
    with trainable.guard.reading:
        result = {"loss": passes.mean_loss(engine, X, y, w)}
        if tables.LOSSES[loss.name].is_of_classes and "accuracy" not in [metric.name for metric in asked]:
            result["accuracy"] = passes.share_of_hits(engine, X, y, w, trainable.output == "sigmoid")
        A = passes.predict(engine, X, None) if asked else None
    if asked:
        result |= metrics.computed(asked, y_given, np.asarray(y), A, w)  # outside: the user's may do anything
    return result


def _with_own_loss(trainable, X, y, w, wanted, y_given):
    asked = metrics.checked(wanted, trainable.sizes, trainable.output, trainable.loss, y)
    result = {"loss": own_loss.mean_loss(trainable, X, y, w)}
    if asked:
        with trainable.guard.reading:
            A = passes.outputs(trainable.engine, X, None)
        result |= metrics.computed(asked, y_given, y, A, w)
    return result
