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
    y_given, is_own = y, trainable.is_own
    X, y, w = trainable.data(X, y, sample_weight)
    engine, loss, output = trainable.engine, trainable.loss, trainable.output
    asked, targets = metrics.checked(wanted, trainable.sizes, output, loss, y)
    mean = own_loss.mean_loss(trainable, X, y, w) if is_own else None  # outside: the user's loss may do anything
    with trainable.guard.reading:
        result = {"loss": mean if is_own else passes.mean_loss(engine, X, y, w)}
        if tables.loss_row(loss.name).is_of_classes and "accuracy" not in [metric.name for metric in asked]:
            result["accuracy"] = passes.share_of_hits(engine, X, y, w, output == "sigmoid")
        A = passes.predict(engine, X, None) if asked else None
    if asked:
        result |= metrics.computed(asked, y_given, np.asarray(targets), A, w)  # outside, for the same reason
    return result
