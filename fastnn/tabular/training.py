"""How a TabularModel is trained: the rows are divided, one network is measured, and one is trained on all of them."""

import math
from typing import NamedTuple

import numpy as np

from .. import _philox, splits
from ..network import Network
from ..optimizers import AdamW
from ..stopping import EarlyStopping
from . import cells, encoding, targets
from .columns import Table

_FEWEST_ROWS = 10
_LONGER = 1.5  # a network of all rows is trained for so many times the epochs of one of two thirds of them
_DECAY, _MOST_DECAY = 200, 1.0  # weight decay is that of a prior: it weighs less the more rows there are


class Fitted(NamedTuple):
    """What a training leaves: all that predictions need, and what there is to tell."""

    encoders: list
    target_name: str
    target: targets.Classes | targets.Values
    network: Network
    score: dict
    rows: int
    tested_rows: int
    notes: list
    has_header: bool
    history: object = None
    tested: tuple | None = None

    def inputs(self, table):
        """X of all rows of a table, and notes on what was not seen in training."""
        return encoding.inputs_of(self.encoders, table)


def train(table, target_name, settings, progress):
    """Train on a table.

    Parameters
    ----------
    table : Table
    target_name : str
    settings : Settings
    progress : bool or None
        As for :meth:`fastnn.Network.fit`.

    Returns
    -------
    Fitted
    """
    features, target, notes = _divided(table, target_name, settings)
    data = _Data(features, target, settings)
    everything = np.arange(features.rows)
    kept, tested = data.split(everything, settings.test_split, "test_split")
    learned, stopped = data.split(kept, settings.validation_split, "validation_split")
    first = last = data.fit(learned, stopped, settings.epochs, progress)
    score, pairs = data.score(first, tested) if len(tested) else ({}, None)
    if settings.refit and len(learned) < features.rows:
        epochs = math.ceil(_LONGER * first.epochs) if len(stopped) else first.epochs
        last = data.fit(everything, everything[:0], epochs, progress)
    notes = notes + data.notes + last.notes
    parts = last.encoders, target.name, last.target, last.network, score, features.rows, len(tested), notes
    return Fitted(*parts, table.has_header, first.history, pairs)


def _divided(table, target_name, settings):
    """The columns to learn from, and the target, of the rows whose target is there; and notes."""
    target = table.column(target_name)
    dropped = {table.column(name).name for name in settings.drop}
    if target.name in dropped:
        raise ValueError(f"column {target.name!r} is the target, so it cannot be dropped")
    columns = [table.column(name) for name in table.names if name not in {target.name, *dropped}]
    for name in settings.categorical:
        if table.column(name) not in columns:
            raise ValueError(f"categorical has {name!r}, which is the target or dropped")
    if not columns:
        raise ValueError(f"the table has no column beside {', '.join(map(repr, sorted({target.name, *dropped})))}")
    _refuse_kinds(columns)
    for column in columns:
        if column.kind == "number":
            encoding.refuse_infinite(column)
        elif column.kind == "text" and column.name not in settings.categorical and not column.is_category:
            cells.refuse_numbers(column)
    columns, notes = _without_names_of_rows(columns, settings.categorical)
    missing = target.missing()
    if missing.any():
        notes.append(f"target {target.name!r}: {missing.sum()} rows are left out, where it is missing")
    rows = np.flatnonzero(~missing)
    if len(rows) < _FEWEST_ROWS:
        what = f"{len(rows)} row{'s' * (len(rows) != 1)} with a target"
        raise ValueError(f"the table has {what}; {_FEWEST_ROWS} are the fewest to train on")
    return Table([column.at(rows) for column in columns]), target.at(rows), notes


def _without_names_of_rows(columns, categorical):
    """The columns but for those that number or name the rows: no network has them, the measured nor the kept one."""
    found = {
        column.name: (False, None) if column.name in categorical else encoding.of_rows(column) for column in columns
    }
    notes = [note for _, note in found.values() if note]
    columns = [column for column in columns if not found[column.name][0]]
    if not columns:
        raise ValueError(f"no column is left to learn from: {'; '.join(notes)}")
    return columns, notes


def _refuse_kinds(columns):
    for column in columns:
        if column.kind == "other":
            raise ValueError(
                f"column {column.name!r} holds {column.first()}; wanted numbers, true and false, or text: "
                f"drop={[column.name]} leaves it out"
            )
    dates = [column for column in columns if column.kind == "date"]
    if dates:
        names = [column.name for column in dates]
        raise ValueError(
            f"dates or times are in column {', '.join(map(repr, names))}, such as {dates[0].first()}: drop={names} "
            "leaves them out; what they tell, such as days since a first one, month or weekday, can be given as a "
            "column of numbers"
        )


class _Trained(NamedTuple):
    """A network that was trained on some rows, and what was learned of these."""

    encoders: list
    target: targets.Classes | targets.Values
    network: Network
    notes: list
    history: object
    epochs: int


class _Data:
    """The rows of a table with their target, to train networks on some of them.

    Parameters
    ----------
    features : Table
    target : Column
        Without missing cells.
    settings : Settings
    """

    def __init__(self, features, target, settings):
        self.features, self.target, self.settings = features, target, settings
        self.task, why = targets.task_of(target, settings.task)
        self.notes = [f"target {target.name!r}: {self.task}, because {why}"] if why else []
        self.whole = targets.learned(target, self.task)
        self.y = self.whole.codes(target) if self.task == "classification" else target.values

    def split(self, places, share, name):
        """Divide `places` into those that stay and a share of them, in a classification of each class its share."""
        if not share:
            return places, places[:0]
        by_class, y = self.task == "classification", self.y[places]

        def draw(count):
            return _philox.permutation(count, self.settings.seed, _philox.EPOCH_OF_SPLIT)

        try:
            stay, leave = splits.split(share, None, y if by_class else y[np.newaxis], len(y), draw, by_class)
        except ValueError as error:
            raise ValueError(str(error).replace("validation_split", name)) from None
        return places[stay], places[leave]

    def fit(self, learned, stopped, epochs, progress):
        """Train on the rows `learned`; end when the rows `stopped`, if there are any, no longer gain."""
        encoders, notes = self._encoders(learned)
        target = self.whole if self.task == "classification" else targets.Values(float(self.y[learned].mean()))
        X, y = self._inputs(encoders, learned), self.y[learned]
        net = self._network(len(X), target.outputs)
        net.adapt(encoding.to_measure(encoders, X), None if self.task == "classification" else y)
        stops = {}
        if len(stopped):
            stops["validation_data"] = self._inputs(encoders, stopped, net), self.y[stopped]
            monitor = "val_loss" if self.task == "regression" else "val_brier"
            stops["metrics"] = () if self.task == "regression" else (targets.brier,)
            stops["early_stopping"] = EarlyStopping(monitor, patience=self.settings.patience)
        optimizer = AdamW(self.settings.lr, weight_decay=self._weight_decay())
        history = net.fit(X, y, epochs, self.settings.batch_size, optimizer, progress=progress, **stops)
        best = epochs if history.best_epoch is None else history.best_epoch + 1
        return _Trained(encoders, target, net, notes, history, best)

    def score(self, trained, rows):
        """The score of a network on some rows, and a pair of their targets and predictions."""
        target, found = (
            self.target.at(rows),
            trained.target.found(trained.network, self._inputs(trained.encoders, rows, trained.network)),
        )
        right = self.y[rows]
        return trained.target.score(target, found), (trained.target.named(right), trained.target.named(found))

    def _encoders(self, rows):
        """What is learned of each column, without those that are not used; and notes."""
        columns = [self.features.column(name).at(rows) for name in self.features.names]
        found = [encoding.learned(column, column.name in self.settings.categorical) for column in columns]
        notes = [note for _, note in found if note]
        used = [(encoder, column) for (encoder, _), column in zip(found, columns, strict=True) if encoder is not None]
        if not used:
            raise ValueError(f"no column is left to learn from: {'; '.join(notes)}")
        encoders = [encoder for encoder, _ in used]
        return encoders, notes + encoding.of_missing(encoders, [column for _, column in used])

    def _inputs(self, encoders, rows, net=None):
        """X of some rows, which with a `net` must not be too far from those that it has learned from."""
        columns = [self.features.column(encoder.name).at(rows) for encoder in encoders]
        X = encoding.inputs_of(encoders, Table(columns))[0]
        if net is not None:
            encoding.refuse_far(encoders, X, net)
        return X

    def _weight_decay(self):
        given = self.settings.weight_decay
        return min(_MOST_DECAY, _DECAY / self.features.rows) if given is None else given

    def _network(self, inputs, outputs):
        output = "identity" if self.task == "regression" else "sigmoid" if outputs == 1 else "softmax"
        hidden = self.settings.hidden
        return Network(
            [inputs, *hidden, outputs],
            [*["relu"] * len(hidden), output],
            init="lecun",
            seed=self.settings.seed,
            dropout=self.settings.dropout,
        )
