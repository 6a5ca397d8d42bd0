"""What fit measures after each epoch: the loss of validation data, and metrics."""

import numpy as np

from . import arrays, hints, metrics, own_loss, passes, standardisation


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
    places : ndarray or None
        The training samples in the data; None: all.
    kept_back : ndarray or None
        Those for validation, if fit splits the data.
    """

    def __init__(self, trainable, data, y_given, validation_data, wanted, places=None, kept_back=None):
        self.trainable, self.prefix = trainable, ""
        self.data, self.y_given, self.places = data, y_given, places
        self.validates = validation_data is not None or kept_back is not None
        self.kept_back = kept_back is not None
        if validation_data is not None:
            self.data, self.y_given = _checked(trainable, validation_data)
            self.places = None
        if kept_back is not None:
            self.places = kept_back
            X, y, weights = self.data
            if weights is not None:
                self.data = X, y, arrays.weights_at(kept_back, weights, "sample_weight of the validation samples")
        self.prefix = "val_" if self.validates else ""
        of_network = trainable.sizes, trainable.output, trainable.loss
        self.metrics, self.targets = metrics.checked(wanted, *of_network, self.data[1])
        if self.places is not None and self.metrics:
            y = np.asarray(y_given) if trainable.is_own else arrays.real_array(y_given, "y")
            self.y_given = y[..., self.places]

    def names(self):
        """The name of each number, and whether a greater one is better."""
        found = {"loss": False} | ({"val_loss": False} if self.validates else {})
        return found | {self.prefix + metric.name: metric.greater_is_better for metric in self.metrics}

    def __bool__(self):
        return self.validates or bool(self.metrics)

    def _refuse_non_finite(self):
        """Raise ValueError if validation data are not finite."""
        names = ("X", "y") if self.kept_back else ("validation_data[0]", "validation_data[1]")
        for name, array, row in zip(names, self.data[:2], ("feature", "output"), strict=True):
            found = arrays.first_non_finite(array, standardisation.dtype_of(self.trainable.engine), row, self.places)
            if found:
                raise ValueError(f"{name} has {found}; these are validation data, which have to be finite")

    def take(self, history):
        """Measure, and add the numbers to `history`."""
        X, y, w = self.data
        engine, is_own, loss = self.trainable.engine, self.trainable.is_own, None
        if is_own and self.validates:
            loss = own_loss.mean_loss(self.trainable, X, y, w, self.places, lambda: ", for the validation data")
        with self.trainable.guard.reading:
            if self.validates and not is_own:
                loss = passes.mean_loss(engine, X, y, w, self.places)
            A = passes.outputs(engine, X, self.places) if self.metrics else None
        values = self._computed(A, w) if self.metrics else {}
        if self.validates and not np.isfinite(loss):
            self._refuse_non_finite()
        if self.validates:
            history.val_loss.append(loss)
        for name, value in values.items():
            history.metrics.setdefault(self.prefix + name, []).append(value)

    def _computed(self, A, w):
        """The metrics of outputs A."""
        targets = self.targets
        if self.places is not None:
            targets, w = targets[..., self.places], None if w is None else w[self.places]
        return metrics.computed(self.metrics, self.y_given, np.asarray(targets), A, w)


def _told(given):
    """What to write instead of one pair in a list, or of several batches, where one pair is needed; else ""."""
    if isinstance(given, (tuple, list)) and len(given) == 1 and isinstance(given[0], (tuple, list)):
        return ": write validation_data[0]"
    if isinstance(given, (tuple, list)) and given and all(isinstance(pair, tuple) for pair in given):
        return ": write tuple(np.concatenate(parts, axis=-1) for parts in zip(*validation_data))"
    return ""


def _checked(trainable, validation_data):
    """Checked validation data, and its targets as they were given."""
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
        raise TypeError(
            f"validation_data must be (X, y) or (X, y, sample_weight), got {type(validation_data).__name__} "
            f"{hints.shown(validation_data, 50)}{_told(validation_data)}"
        )
    X, y, *w = validation_data
    names = [f"validation_data[{i}]" for i in range(3)]
    try:
        return trainable.data(X, y, w[0] if w else None, names), y
    except ValueError as error:
        if _is_of_features(y, trainable) and not _is_of_features(X, trainable):
            raise ValueError(f"{error}; validation_data[1] has the shape of X: the order is (X, y)") from None
        raise


def _is_of_features(array, trainable):
    shape = getattr(array, "shape", ())
    return len(shape) == 2 and shape[0] == trainable.sizes[0]
