"""What fit measures after each epoch: the loss of validation data, and metrics."""

import numpy as np

from . import metrics, passes


class Measures:
    """The numbers of each epoch.

    Parameters
    ----------
    trainable : Trainable
    data : (ndarray, ndarray, ndarray or None)
        Checked training data: for metrics if there is no validation data.
    y_given : object
        Its targets as the user gave them.
    validation_data : (X, y), (X, y, sample_weight) or None
    wanted : list
        ``metrics`` of fit.
    """

    def __init__(self, trainable, data, y_given, validation_data, wanted):
        self.trainable, self.prefix = trainable, ""
        self.data, self.y_given = data, y_given
        self.validates = validation_data is not None
        if self.validates:
            self.data, self.y_given, self.prefix = *_checked(trainable, validation_data), "val_"
        self.metrics = metrics.checked(wanted, trainable.sizes, trainable.output, trainable.loss.name, self.data[1])

    def names(self):
        """The name of each number, and whether a greater one is better."""
        found = {"loss": False} | ({"val_loss": False} if self.validates else {})
        return found | {self.prefix + metric.name: metric.greater_is_better for metric in self.metrics}

    def __bool__(self):
        return self.validates or bool(self.metrics)

    def take(self, history):
        """Measure, and add the numbers to `history`."""
        X, y, w = self.data
        engine = self.trainable.engine
        with self.trainable.guard.reading:
            loss = passes.mean_loss(engine, X, y, w) if self.validates else None
            A = passes.predict(engine, X, None) if self.metrics else None
        values = metrics.computed(self.metrics, self.y_given, np.asarray(y), A, w) if self.metrics else {}
        if self.validates:
            history.val_loss.append(loss)
        for name, value in values.items():
            history.metrics.setdefault(self.prefix + name, []).append(value)


def _checked(trainable, validation_data):
    """Checked validation data, and its targets as they were given."""
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
        raise TypeError(
            f"validation_data must be (X, y) or (X, y, sample_weight), got {type(validation_data).__name__} "
            f"{validation_data!r:.50}"
        )
    X, y, *w = validation_data
    names = [f"validation_data[{i}]" for i in range(3)]
    return trainable.data(X, y, w[0] if w else None, names), y
