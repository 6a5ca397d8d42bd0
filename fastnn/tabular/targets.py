"""The column to predict: classes or values, and the score of predictions."""

from typing import NamedTuple

import numpy as np

from .cells import number, refuse_numbers
from .encoding import refuse_merged, texts

TASKS = ("classification", "regression")
_MOST_CLASSES_OF_NUMBERS = 20
_ROWS_OF_A_CLASS = 5
_BOOLEANS = {"true": True, "false": False}


class Classes(NamedTuple):
    """The classes of a target: str, int, float or bool, in order, and the place of the most frequent one."""

    labels: tuple
    kind: str
    most_frequent: int

    task = "classification"
    scores = ("accuracy", "baseline_accuracy")

    @property
    def outputs(self):
        """Outputs of a network: one for two classes, or one for each."""
        return 1 if len(self.labels) == 2 else len(self.labels)

    def codes(self, column):
        """The places of the column's cells among the labels, -1 for others, int64 (m,)."""
        place = {label: i for i, label in enumerate(self.labels)}
        return np.array([place.get(label, -1) for label in _labels(column, self.kind)], np.int64)

    def found(self, net, X):
        """The codes that a network predicts."""
        return net.predict_classes(X)

    def named(self, codes):
        """The labels of codes, as an array of their own type."""
        return np.array(self.labels)[codes]

    def probabilities(self, A):
        """(m, classes) from the outputs of a network."""
        return np.stack([1 - A[0], A[0]], axis=1) if len(A) == 1 else A.T

    def score(self, column, codes):
        """Accuracy, and that of the class that was most frequent in training."""
        right = self.codes(column)
        return {
            "accuracy": float((right == codes).mean()),
            "baseline_accuracy": float((right == self.most_frequent).mean()),
        }


class Values(NamedTuple):
    """The mean of a target of numbers in training."""

    mean: float

    task = "regression"
    scores = ("r2", "rmse", "baseline_rmse")
    outputs = 1

    def found(self, net, X):
        """The values that a network predicts."""
        return net.predict(X)[0].astype(np.float64)

    def named(self, found):
        """The values as they are."""
        return found

    def score(self, column, found):
        """r2, the root of the mean squared error, and that of the mean in training."""
        errors, of_mean = np.square(found - column.values), np.square(column.values - self.mean)
        spread = np.square(column.values - column.values.mean()).mean()
        return {
            "r2": float(1 - errors.mean() / spread) if spread else float("nan"),
            "rmse": float(np.sqrt(errors.mean())),
            "baseline_rmse": float(np.sqrt(of_mean.mean())),
        }


def brier(y, A):
    """The mean squared error of probabilities.

    It decides when a training ends, because the loss suffers from a few samples that are wrong with certainty long
    before the classes do. G. W. Brier, "Verification of forecasts expressed in terms of probability", 1950.
    """
    if len(A) == 1:
        return float(np.square(A[0] - y).mean())
    return float((np.square(A).sum(axis=0) + 1 - 2 * A[y, np.arange(len(y))]).mean())


def task_of(column, task):
    """The task, and why it is that one if it was not said.

    Parameters
    ----------
    column : Column
        The target, without missing cells.
    task : {"auto", "classification", "regression"}

    Returns
    -------
    (str, str)
    """
    name, rows = column.name, len(column.values)
    if column.kind == "date":
        raise ValueError(f"target {name!r} holds dates, such as {column.first()}: give numbers, such as days")
    if column.kind == "other":
        raise ValueError(f"target {name!r} holds {column.first()}; wanted numbers, true and false, or text")
    if column.kind == "text" and task != "classification" and not column.is_category:
        refuse_numbers(column, "task='classification'")
    if task == "regression" and column.kind != "number":
        raise ValueError(f"target {name!r} holds {column.kind}, such as {column.example(0)}, and no numbers")
    if task != "auto":
        return task, ""
    if column.kind != "number" or column.is_category:
        kinds = {"number": "categories", "boolean": "true and false"}
        return "classification", f"it holds {kinds.get(column.kind, column.kind)}"
    values = np.unique(column.values)
    count = len(values)
    whole = (values == np.round(values)).all()
    few = count <= _MOST_CLASSES_OF_NUMBERS and _ROWS_OF_A_CLASS * count <= rows
    if whole and few:
        return "classification", f"it holds {count} different whole numbers"
    return "regression", f"it holds {count} different numbers"


def learned(column, task):
    """Classes or Values of the rows to learn from.

    Raises
    ------
    ValueError
        If there is nothing to learn: one class, as many classes as rows, numbers that are all the same or not finite.
    """
    name, rows = column.name, len(column.values)
    if column.kind == "number" and not np.isfinite(column.values).all():
        raise ValueError(f"target {name!r} holds an infinite number")
    if task == "regression":
        if column.values.min() == column.values.max():
            raise ValueError(f"target {name!r} is {column.values[0]:g} in all rows: there is nothing to learn")
        largest, float32 = np.abs(column.values).max(), np.finfo(np.float32)
        if not float32.tiny <= largest <= float32.max:
            what = "large" if largest > 1 else "small"
            raise ValueError(
                f"target {name!r} holds values of up to {largest:.3g}, too {what} for predictions in float32: give "
                "them in another unit"
            )
        return Values(float(column.values.mean()))
    refuse_merged(column, "target")
    labels = _labels(column, column.kind)
    found = sorted(set(labels))
    if len(found) == 1:
        raise ValueError(f"target {name!r} is {found[0]!r} in all rows: there is nothing to learn")
    if 2 * len(found) > rows:
        raise ValueError(f"target {name!r} has {len(found)} different cells in {rows} rows, too many for classes")
    place = {label: i for i, label in enumerate(found)}
    counts = np.bincount([place[label] for label in labels])
    return Classes(tuple(found), column.kind, int(np.argmax(counts)))


def _labels(column, kind):
    """The cells as labels: str, bool, or numbers, whole ones as int; None for text among numbers or booleans."""
    if kind == "text":
        return texts(column, "text")
    if column.kind == "text" and kind == "boolean":
        return [_BOOLEANS.get(text.lower()) for text in column.values]
    values = map(number, column.values) if column.kind == "text" else column.values.tolist()
    if kind == "boolean":
        return [bool(value) for value in values]
    return [int(value) if value is not None and value.is_integer() else value for value in values]
