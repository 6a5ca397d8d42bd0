"""The settings of a TabularModel, checked."""

from typing import NamedTuple

from .. import arrays, hints, tables
from ..settings import check_flag, checked_dropout, checked_seed, checked_sizes
from .reading import strings
from .targets import TASKS


class Settings(NamedTuple):
    """As :class:`~fastnn.tabular.TabularModel` describes them."""

    task: str
    hidden: tuple
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float | None
    dropout: float
    patience: int
    validation_split: float
    test_split: float
    refit: bool
    categorical: tuple
    drop: tuple
    seed: int


def checked(given):
    """Settings of a dict with these names, or an error that names one."""
    task = given["task"]
    if task not in ("auto", *TASKS):
        told = hints.did_you_mean(task, TASKS) if isinstance(task, str) else ""
        raise ValueError(f"task must be 'auto', {' or '.join(map(repr, TASKS))}, got {task!r:.80}{told}")
    hidden = given["hidden"]
    if isinstance(hidden, int) or not hasattr(hidden, "__iter__"):
        raise TypeError(f"hidden must be a list of units per hidden layer, such as (64, 32), got {hidden!r:.80}")
    hidden = tuple(arrays.whole_number(n, f"hidden[{i}]", 1) for i, n in enumerate(hidden))
    checked_sizes([1, *hidden, 1])
    check_flag("refit", given["refit"])
    shares = {name: tables.real_parameter(given[name], name) for name in ("validation_split", "test_split")}
    for name, share in shares.items():
        if share >= 1:
            raise ValueError(f"{name} must be a share below 1, got {share:g}")
    dropout = tables.real_parameter(given["dropout"], "dropout")
    checked_dropout(dropout, len(hidden) + 1)
    lr = tables.real_parameter(given["lr"], "lr")
    return Settings(
        task,
        hidden,
        arrays.whole_number(given["epochs"], "epochs", 1),
        arrays.whole_number(given["batch_size"], "batch_size", 1),
        lr,
        None if given["weight_decay"] is None else tables.real_parameter(given["weight_decay"], "weight_decay"),
        dropout,
        arrays.whole_number(given["patience"], "patience", 1),
        *shares.values(),
        bool(given["refit"]),
        strings(given["categorical"], "categorical"),
        strings(given["drop"], "drop"),
        checked_seed(given["seed"]),
    )
