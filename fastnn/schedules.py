"""Learning-rate schedules: what an optimizer's `lr` may be instead of a number.

The time t is, with ``per="epoch"``, the epochs that have ended with this optimizer's state, plus the share of the
present epoch's samples that came before the batch: so the curve depends on neither the batch size nor the number of
calls of fit. With ``per="step"`` it is the count of updates with this state. t is 0 where an optimizer's state starts;
it goes on over several fits, and in copies, pickles and files. A broken-off epoch does not count.

``lr`` may also be a function of yours: it is called with t in epochs before each batch, and returns the learning rate.
"""

import math
import numbers
from typing import NamedTuple

import numpy as np

from . import arrays, hints
from .tables import FLOAT32_ENDS, real_parameter

_SHORTEST = 1e-300  # the shortest time: the core would take a subnormal number for 0


class Schedule:
    """Base class of all schedules: settings only, which do not change; one object may serve many optimizers."""

    __slots__ = ("lr", "per")
    name = None  # in files and in the core's list
    _fields = ()  # the settings; `per` is not among them

    def __init_subclass__(cls):
        if cls.__module__ != __name__:
            raise TypeError(f"{cls.__name__}: a schedule of your own is a function of t; write lr=function")

    def _set(self, per, **settings):
        if not isinstance(per, str) or per not in ("epoch", "step"):
            raise ValueError(f'per must be "epoch" or "step", got {per!r:.50}')
        for name, value in (settings | {"per": per}).items():
            object.__setattr__(self, name, value)

    def settings(self):
        """The settings, as the constructor takes them."""
        return {name: getattr(self, name) for name in (*self._fields, "per")}

    @property
    def largest(self):
        """The largest learning rate that it reaches."""
        return self.lr

    def __setattr__(self, name, value):
        raise AttributeError(
            f"a schedule does not change: make another {type(self).__name__} with {name}={value!r:.50}"
        )

    def __delattr__(self, name):
        raise AttributeError(f"a schedule does not change: {name} stays")

    def __eq__(self, other):
        return type(other) is type(self) and self.settings() == other.settings()

    def __hash__(self):
        return hash((self.name, *self.settings().values()))

    def __reduce__(self):
        return from_spec, (spec(self),)

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.settings().items())})"


class OfTime(Schedule):
    """Base class of the schedules that depend on nothing but the time t."""

    __slots__ = ()

    def at(self, t):
        """The learning rate at time t.

        Parameters
        ----------
        t : float
            In epochs, or with ``per="step"`` in updates; at least 0.

        Returns
        -------
        float

        Raises
        ------
        ValueError, TypeError
            If t is not a real number, or negative.
        """
        return self._at(real_parameter(t, "t"))


class Step(OfTime):
    """A factor at regular intervals: ``lr * factor**floor(t / every)``.

    Parameters
    ----------
    lr : float
        The learning rate at the start, finite and at least 0.
    every : float
        The length of an interval, more than 0.
    factor : float
        Within 0..1.
    per : {"epoch", "step"}
        What t counts.

    Raises
    ------
    ValueError, TypeError
        If a setting is not a number or out of range.

    Notes
    -----
    ``torch.optim.lr_scheduler.StepLR``.

    Examples
    --------
    >>> schedule = Step(0.1, every=10, factor=0.5)
    >>> [schedule.at(t) for t in (0, 9.5, 10, 25)]
    [0.1, 0.1, 0.05, 0.025]
    >>> from fastnn import SGD, Network
    >>> history = Network([1, 1], seed=0).fit([[1.0]], [1], epochs=20, optimizer=SGD(lr=schedule), progress=False)
    >>> history.lr[9:11]
    [0.1, 0.05]
    """

    __slots__ = ("every", "factor")
    name = "step"
    _fields = ("lr", "every", "factor")

    @hints.explained
    def __init__(self, lr, every, factor, *, per="epoch"):
        self._set(
            per,
            lr=real_parameter(lr, "lr"),
            every=real_parameter(every, "every", _SHORTEST),
            factor=_share(factor),
        )

    def _at(self, t):
        intervals = t / self.every
        return self.lr * _power(self.factor, math.floor(intervals) if intervals < math.inf else intervals)


class Exponential(OfTime):
    """A factor for each unit of time: ``lr * factor**t``.

    Parameters
    ----------
    lr : float
        The learning rate at the start, finite and at least 0.
    factor : float
        Within 0..1.
    per : {"epoch", "step"}
        What t counts.

    Raises
    ------
    ValueError, TypeError
        If a setting is not a number or out of range.

    Notes
    -----
    ``torch.optim.lr_scheduler.ExponentialLR``, but within an epoch, too.

    Examples
    --------
    >>> Exponential(0.1, factor=0.25).at(0.5)
    0.05
    """

    __slots__ = ("factor",)
    name = "exponential"
    _fields = ("lr", "factor")

    @hints.explained
    def __init__(self, lr, factor, *, per="epoch"):
        self._set(per, lr=real_parameter(lr, "lr"), factor=_share(factor))

    def _at(self, t):
        return self.lr * _power(self.factor, t)


class InverseScaling(OfTime):
    """``lr / (1 + t)**power``.

    Parameters
    ----------
    lr : float
        The learning rate at the start, finite and at least 0.
    power : float
        At least 0.
    per : {"epoch", "step"}
        What t counts.

    Raises
    ------
    ValueError, TypeError
        If a setting is not a number or out of range.

    Notes
    -----
    As scikit-learn's ``learning_rate="invscaling"``, where power is 0.5 and t counts samples, once an epoch.

    Examples
    --------
    >>> InverseScaling(0.1, power=0.5, per="step").at(3)
    0.05
    """

    __slots__ = ("power",)
    name = "inverse_scaling"
    _fields = ("lr", "power")

    @hints.explained
    def __init__(self, lr, power, *, per="epoch"):
        self._set(per, lr=real_parameter(lr, "lr"), power=real_parameter(power, "power"))

    def _at(self, t):
        return self.lr / _power(1.0 + t, self.power)


class Cosine(OfTime):
    """A linear warm-up, then half a period of the cosine down to `final`.

    ::

        lr * t / warmup                                                             # t < warmup
        final + (lr - final) * (1 + cos(pi (t - warmup) / (length - warmup))) / 2   # t < length
        final                                                                       # from then on

    Parameters
    ----------
    lr : float
        The learning rate after the warm-up, finite and at least 0.
    length : float
        The time when it ends, warm-up included; more than 0.
    warmup : float
        In the same unit as `length`, and less. At t = 0 the learning rate of a warm-up is 0.
    final : float
        The learning rate at the end and afterwards; at least 0.
    per : {"epoch", "step"}
        What t counts.

    Raises
    ------
    ValueError, TypeError
        If a setting is not a number or out of range.

    Notes
    -----
    I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, without restarts:
    ``torch.optim.lr_scheduler.CosineAnnealingLR``. The warm-up is that of Keras' ``CosineDecay`` from 0.

    Examples
    --------
    >>> schedule = Cosine(0.1, length=20, warmup=2)
    >>> [round(schedule.at(t), 4) for t in (0, 1, 2, 11, 20, 30)]
    [0.0, 0.05, 0.1, 0.05, 0.0, 0.0]
    """

    __slots__ = ("final", "length", "warmup")
    name = "cosine"
    _fields = ("lr", "length", "warmup", "final")

    @hints.explained
    def __init__(self, lr, length, warmup=0.0, final=0.0, *, per="epoch"):
        length, warm = real_parameter(length, "length", _SHORTEST), real_parameter(warmup, "warmup")
        if warm >= length or 0 < warm < _SHORTEST:
            raise ValueError(f"warmup must be at least 0 and less than length={length!r}, got {warmup!r}")
        self._set(per, lr=real_parameter(lr, "lr"), length=length, warmup=warm, final=real_parameter(final, "final"))

    @property
    def largest(self):
        """The largest learning rate that it reaches."""
        return max(self.lr, self.final)

    def _at(self, t):
        if t < self.warmup:
            return self.lr * (t / self.warmup)
        if t < self.length:
            return _along_cosine(self.lr, self.final, (t - self.warmup) / (self.length - self.warmup))
        return self.final


class OneCycle(OfTime):
    """Up to `lr` and down to almost 0, once.

    From lr / 25 along a cosine up to lr, which is reached after 30% of the length; then along a cosine down to
    lr / 250000, which it keeps.

    Parameters
    ----------
    lr : float
        The largest learning rate, finite and at least 0.
    length : float
        The time when it ends, more than 0.
    per : {"epoch", "step"}
        What t counts.

    Raises
    ------
    ValueError, TypeError
        If a setting is not a number or out of range.

    Notes
    -----
    L. N. Smith and N. Topin, "Super-convergence: very fast training of neural networks using large learning rates",
    2017, with the defaults of ``torch.optim.lr_scheduler.OneCycleLR`` (pct_start=0.3, div_factor=25,
    final_div_factor=1e4, anneal_strategy="cos"), but in continuous time: the phases end at 0.3 * length and length,
    there one step earlier. The momentum stays as it is (cycle_momentum=False).

    Examples
    --------
    >>> schedule = OneCycle(0.1, length=10)
    >>> [round(schedule.at(t), 7) for t in (0, 3, 10)]
    [0.004, 0.1, 4e-07]
    """

    __slots__ = ("length",)
    name = "one_cycle"
    _fields = ("lr", "length")

    @hints.explained
    def __init__(self, lr, length, *, per="epoch"):
        self._set(per, lr=real_parameter(lr, "lr"), length=real_parameter(length, "length", _SHORTEST))

    def _at(self, t):
        first, top = self.lr / 25, 0.3 * self.length
        last = first / 1e4
        if t < top:
            return _along_cosine(first, self.lr, t / top)
        if t < self.length:
            return _along_cosine(self.lr, last, (t - top) / (self.length - top))
        return last


class Plateau(Schedule):
    """Multiply the learning rate by a factor when a number of the epochs no longer improves.

    After each epoch of fit the number is compared with the best one so far. If it has not improved for more than
    `patience` epochs in a row, the learning rate is multiplied by `factor`, and the count begins anew. A number
    improves if it is better than the best one by more than 1e-4 of it. Best, count and factors so far belong to the
    optimizer's state: they go on in the next fit, and in copies, pickles and files. They begin anew with a new state,
    and with another Plateau.

    Parameters
    ----------
    lr : float
        The learning rate at the start, finite and at least 0.
    factor : float
        At least 0, less than 1.
    patience : int
        At least 0.
    monitor : str
        "loss" or "val_loss"; or a metric of fit's `metrics`: "val_accuracy" with validation data, "accuracy" without.
        accuracy, top_k, r2, auc and f1 are better when higher, all others when lower; a function of yours as its
        attribute ``greater_is_better`` says, without it when lower.
    per : "epoch"
        Only epochs have such numbers.

    Raises
    ------
    ValueError, TypeError
        If a setting is not legal. By fit, before its first epoch: if the number is not measured.

    Notes
    -----
    ``torch.optim.lr_scheduler.ReduceLROnPlateau`` with threshold=1e-4 in its relative mode, with two differences: a
    number below 0 must improve by 1e-4 of its size, too (torch takes an equal one for better), and lr has no smallest
    change (torch's eps). A number that is NaN is no improvement.

    Examples
    --------
    >>> from fastnn import SGD, Network
    >>> plateau = Plateau(0.1, factor=0.5, patience=1, monitor="accuracy")
    >>> X, y = [[0.0, 1.0, 2.0, 3.0]], [0, 0, 1, 1]
    >>> net = Network([1, 1], init="zeros", seed=0)
    >>> net.fit(X, y, epochs=5, optimizer=SGD(lr=plateau), metrics=["accuracy"], progress=False).lr
    [0.1, 0.1, 0.1, 0.1, 0.05]
    """

    __slots__ = ("factor", "monitor", "patience")
    name = "plateau"
    _fields = ("lr", "factor", "patience", "monitor")

    @hints.explained
    def __init__(self, lr, factor=0.1, patience=10, monitor="val_loss", *, per="epoch"):
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be a str such as 'val_loss', got {monitor!r:.80}")
        if per == "step":
            raise ValueError('per must be "epoch" for a Plateau: steps have no number to monitor; got "step"')
        number = real_parameter(factor, "factor")
        if number >= 1:
            raise ValueError(f"factor must be at least 0 and less than 1, got {factor!r}")
        patience = arrays.whole_number(patience, "patience", 0)
        self._set(per, lr=real_parameter(lr, "lr"), factor=number, patience=patience, monitor=monitor)


class Progress(NamedTuple):
    """How far a Plateau has come with one optimizer's state."""

    schedule: Plateau
    best: float = math.inf  # negative if greater is better
    waited: int = 0  # epochs since the last improvement or change
    factor: float = 1.0  # of all changes so far

    @property
    def lr(self):
        """The present learning rate."""
        return self.schedule.lr * self.factor

    def after(self, number, greater_is_better):
        """The progress after another epoch, with its number."""
        number = -number if greater_is_better else number
        if number < (self.best - 1e-4 * abs(self.best) if abs(self.best) < math.inf else self.best):
            return self._replace(best=number, waited=0)
        if self.waited < self.schedule.patience:
            return self._replace(waited=self.waited + 1)
        return self._replace(waited=0, factor=self.factor * self.schedule.factor)


SCHEDULES = {kind.name: kind for kind in (Step, Exponential, InverseScaling, Cosine, OneCycle, Plateau)}


def _share(factor):
    return real_parameter(factor, "factor", high=1.0)


def _power(x, y):
    try:
        return x**y
    except OverflowError:
        return math.inf


def _along_cosine(start, end, x):
    """From `start` at x = 0 to `end` at x = 1, along half a period of the cosine."""
    return end + (start - end) * ((1 + math.cos(math.pi * x)) / 2)


def spec(schedule):
    """``(name, settings)``: the form that files store."""
    return schedule.name, schedule.settings()


def from_spec(stored):
    """The schedule of :func:`spec`; ValueError or TypeError if there is none such."""
    name, settings = stored
    if name not in SCHEDULES:
        told = hints.did_you_mean(name, SCHEDULES) or ";"
        raise ValueError(f"lr: no schedule {name!r} here{told} choose one of {', '.join(SCHEDULES)}")
    if not isinstance(settings, dict):
        raise TypeError(f"lr: the settings of {name!r} must be a dict, got {settings!r:.80}")
    try:
        return SCHEDULES[name](**settings)
    except TypeError as error:  # an argument that is missing, not known, or of a wrong type
        raise TypeError(f"lr: {name}: {error}") from None


def _form(name):
    """What to write for a schedule of that name, with all settings."""
    settings = ", ".join(f'"{setting}": ...' for setting in SCHEDULES[name]._fields)
    return f'("{name}", {{{settings}}})'


def checked(value, kind):
    """Return what was given as `lr` of an optimizer of that kind: a float, a Schedule or a callable; else an error."""
    if isinstance(value, Schedule):
        return value
    if isinstance(value, (tuple, list)) and len(value) == 2 and isinstance(value[0], str):
        return from_spec(value)
    is_of_network = hasattr(value, "parameters") or getattr(value, "__name__", None) == "parameters"
    is_many = isinstance(value, (list, tuple, dict)) or hasattr(value, "__next__")
    is_many |= isinstance(value, np.ndarray) and value.ndim > 0
    if is_many or (is_of_network and callable(value)):
        told = f"holds settings only, and no parameters: write net.fit(X, y, optimizer=fastnn.{kind}(lr=...))"
        told = f"an optimizer {told}"
        many = list(value.values()) if isinstance(value, dict) else value
        if isinstance(many, (list, tuple, np.ndarray)) and all(isinstance(each, numbers.Real) for each in many):
            told = "for one that changes give a schedule, or a function of the time t in epochs"
        if isinstance(value, (list, tuple)) and value and isinstance(value[0], str) and value[0] in SCHEDULES:
            told = f"write {_form(value[0])}"
        raise TypeError(f"lr must be a real number, got {hints.shown(value, 50)}; {told}")
    if callable(value) and not hasattr(type(value), "__float__"):
        if isinstance(value, type):
            told = f"write {value.__name__}(...)" if issubclass(value, Schedule) else "it is a class"
            raise TypeError(f"lr must be a number, a schedule or a function of t, got {value!r:.80}: {told}")
        if hints.misfit(value, (0.0,)):
            raise TypeError(f"lr must take one argument, the time t in epochs: {value!r:.80} does not")
        return value
    if isinstance(value, str) and value in SCHEDULES:
        raise TypeError(f"lr must be a number, a schedule or a function of t; write lr={_form(value)}")
    return real_parameter(value, "lr")


def is_of_steps(lr):
    """Whether an optimizer with this `lr` can make a step outside fit: a number, or a schedule per step."""
    return type(lr) is float or (isinstance(lr, OfTime) and lr.per == "step")


def rate_of(function, t, dtype):
    """The learning rate that a function of the user's returns for the time t, checked."""
    rate = real_parameter(function(t), f"what lr returns for t={t!r}")
    if dtype.itemsize == 4 and rate >= FLOAT32_ENDS:
        raise ValueError(f"what lr returns for t={t!r} must be finite in float32, below 3.4e38, got {rate!r}")
    return rate


def __getattr__(name):
    told = hints.did_you_mean(name, [kind.__name__ for kind in SCHEDULES.values()])
    raise AttributeError(f"module {__name__!r} has no {name!r}{told}")
