"""Optimizers: settings only. Their state lives in the network that they train.

The definitions are PyTorch's. Below, w is a weight or a bias, g its gradient, and t counts the
updates from 1; moments start at 0.
"""

import operator

import numpy as np

from . import hints, schedules
from .tables import FLOAT32_ENDS, real_parameter


def _share(value, what):
    """Return `value` as a float in [0, 1)."""
    number = real_parameter(value, what)
    if number >= 1:
        raise ValueError(f"{what} must be at least 0 and less than 1, got {value!r}")
    return number


def for_b(optimizer):
    """The optimizer as it treats b: without weight decay if decay_b is False."""
    if optimizer.decay_b or not optimizer.weight_decay:
        return optimizer
    values = dict(zip(optimizer._fields, optimizer._values(optimizer), strict=True)) | {"_weight_decay": 0.0}
    return _twin(optimizer.kind, tuple(values.values()), 8)


def refuse_in_kernels(optimizer):
    """Refuse the settings that need more than one array and its gradient."""
    for name in ("clip_norm", "l1", "decay_b", "average"):
        if getattr(optimizer, name) != _RARER[name]:
            raise ValueError(
                f"optimizer has {name}={getattr(optimizer, name)!r}, which needs more than one array and its gradient: "
                f"use Network.train_step"
            )


def _setting(name, doc, accepted=real_parameter):
    """A property for the slot of `name`; its setter keeps ``accepted(value, name)``."""
    slot = "_" + name
    return property(operator.attrgetter(slot), lambda self, value: setattr(self, slot, accepted(value, name)), doc=doc)


class _Optimizer:
    """Base class: lr, weight_decay, and the methods that engines and files use.

    A subclass adds a row to ``OPTIMIZERS`` and its update to each backend's table.
    """

    # `_unchanged` becomes None when a setting changes. Who reads the settings then puts a dict there, of copies with
    # these settings; while it is the same dict, they need not be read again.
    __slots__ = ("_average", "_extras", "_lr", "_unchanged", "_weight_decay")
    kind = None  # the name in files and in the backends' tables
    slots = None  # how many moments a network keeps for each weight and bias
    _fields = ("_lr", "_weight_decay", "_extras", "_average")  # names of the attributes that hold the settings
    _values = None  # a function of the object: these attributes as a tuple
    _names = ()  # names of the settings in the constructor

    def _set_lr(self, value):
        self._lr = real_parameter(value, "lr") if type(value) is float else schedules.checked(value, self.kind)

    lr = property(
        operator.attrgetter("_lr"),  # quicker than a function of Python's: each slice of fit reads it
        _set_lr,
        doc="Learning rate: a number, a schedule of :mod:`fastnn.schedules`, or a function of the time in epochs.",
    )
    weight_decay = _setting("weight_decay", "Coefficient of the weight decay.")

    def _set_rarer(self, clip_norm, clip_value, l1, decay_b, average):
        self._extras = None
        self.clip_norm, self.clip_value, self.l1, self.decay_b = clip_norm, clip_value, l1, decay_b
        self.average = average

    # Four settings that most optimizers do without are one attribute, which is then None: so a step asks for one only.

    def _extra(self, place):
        return (self._extras or _NO_EXTRAS)[place]

    def _set_extra(self, place, value):
        extras = list(self._extras or _NO_EXTRAS)
        extras[place] = value
        self._extras = None if tuple(extras) == _NO_EXTRAS else tuple(extras)

    @property
    def clip_norm(self):
        """The largest norm of the whole gradient; None: any."""
        return self._extra(0) or None

    @clip_norm.setter
    def clip_norm(self, value):
        self._set_extra(0, _bound(value, "clip_norm"))

    @property
    def clip_value(self):
        """The largest absolute value of a number in the gradient; None: any."""
        return self._extra(1) or None

    @clip_value.setter
    def clip_value(self, value):
        self._set_extra(1, _bound(value, "clip_value"))

    @property
    def l1(self):
        """Coefficient of the l1 penalty on W."""
        return self._extra(2)

    @l1.setter
    def l1(self, value):
        self._set_extra(2, real_parameter(value, "l1"))

    @property
    def decay_b(self):
        """Whether weight_decay acts on b."""
        return self._extra(3)

    @decay_b.setter
    def decay_b(self, value):
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"decay_b must be True or False, got {value!r}")
        self._set_extra(3, bool(value))

    @property
    def average(self):
        """The share of the old average of the weights in the new one; 0: no average is kept."""
        return self._average

    @average.setter
    def average(self, value):
        number = _share(value, "average")
        if 0 < number < _SMALLEST:
            raise ValueError(f"average must be 0, or at least {_SMALLEST:.2g}, got {value!r}")
        self._average = number

    def key(self):
        """The kind and those settings whose change makes the network start a new optimizer state."""
        raise NotImplementedError

    def settings(self):
        """The settings, as the constructor takes them; of the rarer ones those that are not the default."""
        rarer = {name: getattr(self, name) for name, default in _RARER.items() if getattr(self, name) != default}
        return {name: getattr(self, name) for name in self._names} | rarer

    def __getstate__(self):
        state = super().__getstate__()
        if not isinstance(state, tuple):
            return state
        in_dict, in_slots = state
        return in_dict, {name: value for name, value in in_slots.items() if name != "_unchanged"}

    def __setstate__(self, state):
        # Pickles of release 0.1 lack these two.
        self._extras, self._average = None, 0.0
        in_dict, in_slots = state if isinstance(state, tuple) else (state, None)
        for name, value in {**(in_dict or {}), **(in_slots or {})}.items():
            object.__setattr__(self, name, value)
        self._unchanged = None

    def unchanged(self):
        """An object that stays the same while no setting changes; ask for it before the settings are read."""
        kept = getattr(self, "_unchanged", None)
        if kept is None:
            kept = {}
            object.__setattr__(self, "_unchanged", kept)
        return kept

    def frozen(self, dtype):
        """A copy with the present settings, which no other thread changes; a setting must be finite in `dtype`."""
        kept, size = self.unchanged(), dtype.itemsize
        twin = kept.get(size)
        if twin is None:
            twin = kept[size] = _twin(self.kind, self._values(self), size)
        return twin

    def with_lr(self, lr):
        """A copy with the number `lr` as the learning rate."""
        return self._with("_lr", lr)

    def with_eps(self, eps):
        """A copy with another eps."""
        return self._with("_eps", eps)

    def _with(self, name, value):
        twin = object.__new__(_BY_KIND[self.kind])
        object.__setattr__(twin, "_unchanged", None)
        for field in self._fields:
            object.__setattr__(twin, field, value if field == name else getattr(self, field))
        return twin

    def __setattr__(self, name, value):
        # A subclass may have any attributes.
        if type(self) is _BY_KIND[self.kind] and name not in self._fields and not hasattr(type(self), name):
            names = (*self._names, *_RARER)
            told = hints.did_you_mean(name, names) or f"; it has {', '.join(names)}"
            raise AttributeError(f"{type(self).__name__} has no setting {name!r}{told}")
        # Before, because Ctrl-C may come in between; and after, because another thread's engine may.
        object.__setattr__(self, "_unchanged", None)
        object.__setattr__(self, name, value)
        object.__setattr__(self, "_unchanged", None)

    def __repr__(self):
        return f"{self.kind}({', '.join(f'{key}={value!r}' for key, value in self.settings().items())})"


_RARER = {"clip_norm": None, "clip_value": None, "l1": 0.0, "decay_b": True, "average": 0.0}
_NO_EXTRAS = (0.0, 0.0, 0.0, True)
_SMALLEST = float(np.finfo(np.float64).tiny)
_RARER_IN_WORDS = """clip_norm : float, optional
    If the norm of the gradient of all W and b that are trained is larger, the gradient is
    multiplied by clip_norm / (norm + 1e-6).
clip_value : float, optional
    Numbers in the gradient are cut to -clip_value .. clip_value; before clip_norm.
l1 : float
    l1 * sign(w) is added to the gradient of each W, after clipping; it is not part of any
    reported loss.
decay_b : bool
    Whether `weight_decay` acts on b as it does on W.
average : float
    At least 0, less than 1. If it is not 0, the network keeps a = average * a + (1 - average) * w
    of each parameter w, from the w at the state's start on; :meth:`Network.averaged` gives a
    network with these. A changed `average` starts a new state."""


def _documented(optimizer):
    """Decorator: replace ``|rarer|`` in a docstring by the text on the settings that all optimizers share."""
    text = "\n".join(f"    {line}" for line in _RARER_IN_WORDS.splitlines())
    optimizer.__doc__ = optimizer.__doc__ and optimizer.__doc__.replace("    |rarer|", text)
    return optimizer


@_documented
class SGD(_Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's momentum.

    ::

        g += weight_decay * w
        w -= lr * g                         # without momentum

        buf = momentum * buf + g            # with momentum
        w -= lr * buf
        w -= lr * (g + momentum * buf)      # instead, with nesterov

    Without momentum the decay is computed as ``w *= 1 - lr * weight_decay``, which is equivalent.

    The object holds settings only: it may serve many networks, and `lr` and `weight_decay` may be
    changed between calls. Each network keeps its own buf while it is trained with this object; a
    change of `momentum` or `nesterov` resets buf to 0.

    Parameters
    ----------
    lr : float, schedule or callable
        Learning rate, finite and at least 0; or one that changes, see :mod:`fastnn.schedules`.
    momentum : float
        At least 0, less than 1.
    nesterov : bool
        Needs momentum.
    weight_decay : float
        Coupled weight decay, added to the gradient of W and of b; it is not part of any reported
        loss.
    |rarer|

    Raises
    ------
    TypeError, ValueError
        If a setting is not a number or out of range.

    Notes
    -----
    Momentum as in I. Sutskever, J. Martens, G. Dahl and G. Hinton, "On the importance of
    initialization and momentum in deep learning", ICML 2013, but in the form of
    ``torch.optim.SGD`` (dampening 0): the paper has lr inside the buffer; here lr multiplies the
    buffer. Both are the same while lr is constant.

    Examples
    --------
    >>> SGD(lr=0.1)
    SGD(lr=0.1, momentum=0.0, nesterov=False, weight_decay=0.0)
    >>> net = Network([2, 3, 1], seed=0)
    >>> loss = net.train_step([[0, 1], [1, 1]], [0, 1], SGD(lr=0.1, momentum=0.9, nesterov=True))
    """

    __slots__ = ("_momentum", "_nesterov")
    kind = "SGD"
    _fields = (*_Optimizer._fields, "_momentum", "_nesterov")
    _values = operator.attrgetter(*_fields)
    _names = ("lr", "momentum", "nesterov", "weight_decay")

    @hints.explained
    def __init__(
        self,
        lr=0.01,
        momentum=0.0,
        nesterov=False,
        weight_decay=0.0,
        *,
        clip_norm=None,
        clip_value=None,
        l1=0.0,
        decay_b=True,
        average=0.0,
    ):
        self.lr = lr
        self._nesterov = False
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay
        self._set_rarer(clip_norm, clip_value, l1, decay_b, average)

    @property
    def momentum(self):
        """The factor by which the buffer is multiplied in each step."""
        return self._momentum

    @momentum.setter
    def momentum(self, value):
        number = _share(value, "momentum")
        if self._nesterov and not number:
            raise ValueError(f"momentum must be more than 0 while nesterov is True, got {value!r}")
        self._momentum = number

    @property
    def nesterov(self):
        """Whether the momentum is Nesterov's."""
        return self._nesterov

    @nesterov.setter
    def nesterov(self, value):
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"nesterov must be True or False, got {value!r}")
        if value and not self._momentum:
            raise ValueError(f"nesterov=True needs a momentum of more than 0, got momentum={self._momentum!r}")
        self._nesterov = bool(value)

    @property
    def slots(self):
        """How many moments a network keeps for each weight and bias."""
        return 1 if self._momentum else 0

    def key(self):
        """The kind, and the settings whose change makes a network's state start afresh."""
        return self.kind, self._average, self._momentum, self._nesterov


@_documented
class Adam(_Optimizer):
    """Adam: each parameter moves by about lr per step, whatever the size of the gradient.

    ::

        g += weight_decay * w
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        w -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)

    The object holds settings only: it may serve many networks, and `lr`, `eps` and `weight_decay`
    may be changed between calls. Each network keeps its own m, v and t while it is trained with
    this object; a change of `betas` resets them to 0.

    Parameters
    ----------
    lr : float, schedule or callable
        Learning rate, finite and at least 0; or one that changes, see :mod:`fastnn.schedules`.
    betas : (float, float)
        beta1 and beta2, each at least 0 and less than 1.
    eps : float
        Added to the denominator; finite and more than 0. A value below the smallest normal number
        of the network's dtype (1.2e-38 in float32) is replaced by that number.
    weight_decay : float
        Coupled weight decay, added to the gradient of W and of b; it is not part of any reported
        loss.
    |rarer|

    Raises
    ------
    TypeError, ValueError
        If a setting is not a number or out of range.

    Notes
    -----
    D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1,
    in the form of ``torch.optim.Adam``.

    Examples
    --------
    >>> Adam()
    Adam(lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0)
    >>> net, adam = Network([2, 3, 1], seed=0), Adam(lr=0.01)
    >>> X, y = [[0, 1], [1, 1]], [0, 1]
    >>> history = net.fit(X, y, epochs=10, optimizer=adam)
    >>> adam.lr /= 10  # m, v and t go on
    >>> history = net.fit(X, y, epochs=10, optimizer=adam)
    """

    __slots__ = ("_betas", "_eps")
    kind = "Adam"
    slots = 2
    _fields = (*_Optimizer._fields, "_betas", "_eps")
    _values = operator.attrgetter(*_fields)
    _names = ("lr", "betas", "eps", "weight_decay")

    @hints.explained
    def __init__(
        self,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.0,
        *,
        clip_norm=None,
        clip_value=None,
        l1=0.0,
        decay_b=True,
        average=0.0,
    ):
        self.lr = lr
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay
        self._set_rarer(clip_norm, clip_value, l1, decay_b, average)

    @property
    def betas(self):
        """beta1 and beta2: the factors by which m and v are multiplied in each step."""
        return self._betas

    @betas.setter
    def betas(self, value):
        if isinstance(value, np.ndarray) and value.ndim == 1:
            value = tuple(value)
        if not isinstance(value, (tuple, list)):
            raise TypeError(f"betas must be a pair (beta1, beta2), got {value!r}")
        if len(value) != 2:
            raise ValueError(f"betas must be a pair (beta1, beta2), got {value!r}")
        self._betas = _share(value[0], "betas[0]"), _share(value[1], "betas[1]")

    @property
    def eps(self):
        """The small number in the denominator that prevents a division by 0."""
        return self._eps

    @eps.setter
    def eps(self, value):
        number = real_parameter(value, "eps")
        if not number:
            raise ValueError(f"eps must be more than 0, got {value!r}")
        self._eps = number

    def key(self):
        """The kind, and the settings whose change makes a network's state start afresh."""
        return self.kind, self._average, self._betas


@_documented
class AdamW(Adam):
    """Adam with decoupled weight decay.

    As :class:`Adam`, but the decay is not added to the gradient: ``w *= 1 - lr * weight_decay``
    comes before the step. So the decay is not divided by sqrt(v).

    Parameters
    ----------
    lr, betas, eps
        As for :class:`Adam`.
    weight_decay : float
        Decoupled weight decay, of W and of b.
    |rarer|

    Raises
    ------
    TypeError, ValueError
        If a setting is not a number or out of range.

    Notes
    -----
    I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019, in the form of
    ``torch.optim.AdamW``, where lr multiplies the decay and biases decay too.

    Examples
    --------
    >>> AdamW(lr=0.01)
    AdamW(lr=0.01, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.01)
    """

    __slots__ = ()
    kind = "AdamW"

    @hints.explained
    def __init__(
        self,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.01,
        *,
        clip_norm=None,
        clip_value=None,
        l1=0.0,
        decay_b=True,
        average=0.0,
    ):
        super().__init__(
            lr,
            betas,
            eps,
            weight_decay,
            clip_norm=clip_norm,
            clip_value=clip_value,
            l1=l1,
            decay_b=decay_b,
            average=average,
        )


@_documented
class NAdam(Adam):
    """Adam with Nesterov's momentum.

    ::

        g += weight_decay * w
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        mu_i = beta1 * (1 - 0.96^(i * momentum_decay) / 2)
        n = (1 - mu_t) / (1 - mu_1 .. mu_t) * g + mu_(t+1) / (1 - mu_1 .. mu_(t+1)) * m
        w -= lr * n / (sqrt(v) / sqrt(1 - beta2^t) + eps)

    The object holds settings only: it may serve many networks, and `lr`, `eps`, `weight_decay` and
    `momentum_decay` may be changed between calls. Each network keeps its own m, v and t while it is
    trained with this object; a change of `betas` resets them to 0.

    Parameters
    ----------
    lr, betas, eps, weight_decay
        As for :class:`Adam`; the default of `lr` is 0.002.
    momentum_decay : float
        How quickly mu grows from beta1 / 2 to beta1; finite and at least 0. If it is changed, all
        mu_1 .. mu_t are those of the new value.
    |rarer|

    Raises
    ------
    TypeError, ValueError
        If a setting is not a number or out of range.

    Notes
    -----
    T. Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016, in the form of
    ``torch.optim.NAdam`` (decoupled_weight_decay=False).

    Examples
    --------
    >>> NAdam()
    NAdam(lr=0.002, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0, momentum_decay=0.004)
    >>> net = Network([2, 3, 1], seed=0)
    >>> loss = net.train_step([[0, 1], [1, 1]], [0, 1], NAdam(lr=0.01))
    """

    __slots__ = ("_momentum_decay",)
    kind = "NAdam"
    _fields = (*Adam._fields, "_momentum_decay")
    _values = operator.attrgetter(*_fields)
    _names = (*Adam._names, "momentum_decay")
    momentum_decay = _setting("momentum_decay", "How quickly the momentum grows to beta1.")

    @hints.explained
    def __init__(
        self,
        lr=2e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.0,
        momentum_decay=4e-3,
        *,
        clip_norm=None,
        clip_value=None,
        l1=0.0,
        decay_b=True,
        average=0.0,
    ):
        super().__init__(
            lr,
            betas,
            eps,
            weight_decay,
            clip_norm=clip_norm,
            clip_value=clip_value,
            l1=l1,
            decay_b=decay_b,
            average=average,
        )
        self.momentum_decay = momentum_decay


@_documented
class RMSprop(_Optimizer):
    """RMSprop: the gradient divided by the root of its mean square.

    ::

        g += weight_decay * w
        v = alpha * v + (1 - alpha) * g^2
        w -= lr * g / (sqrt(v) + eps)                      # without momentum

        buf = momentum * buf + g / (sqrt(v) + eps)         # with momentum
        w -= lr * buf

    The object holds settings only: it may serve many networks, and `lr`, `eps` and `weight_decay`
    may be changed between calls. Each network keeps its own v and buf while it is trained with this
    object; a change of `alpha` or `momentum` resets them to 0.

    Parameters
    ----------
    lr : float, schedule or callable
        Learning rate, finite and at least 0; or one that changes, see :mod:`fastnn.schedules`.
    alpha : float
        At least 0, less than 1. It is Keras's rho, whose default is 0.9.
    eps : float
        As for :class:`Adam`.
    weight_decay : float
        Coupled weight decay, added to the gradient of W and of b; it is not part of any reported
        loss.
    momentum : float
        At least 0, less than 1.
    |rarer|

    Raises
    ------
    TypeError, ValueError
        If a setting is not a number or out of range.

    Notes
    -----
    T. Tieleman and G. Hinton, "Lecture 6.5 - rmsprop", COURSERA: Neural Networks for Machine
    Learning, 2012, in the form of ``torch.optim.RMSprop`` (centered=False).

    Examples
    --------
    >>> RMSprop(lr=0.001)
    RMSprop(lr=0.001, alpha=0.99, eps=1e-08, weight_decay=0.0, momentum=0.0)
    >>> net = Network([2, 3, 1], seed=0)
    >>> loss = net.train_step([[0, 1], [1, 1]], [0, 1], RMSprop(momentum=0.9))
    """

    __slots__ = ("_alpha", "_eps", "_momentum")
    kind = "RMSprop"
    _fields = (*_Optimizer._fields, "_alpha", "_eps", "_momentum")
    _values = operator.attrgetter(*_fields)
    _names = ("lr", "alpha", "eps", "weight_decay", "momentum")
    alpha = _setting("alpha", "The factor by which v is multiplied in each step.", _share)
    eps = Adam.eps
    momentum = _setting("momentum", SGD.momentum.__doc__, _share)

    @hints.explained
    def __init__(
        self,
        lr=0.01,
        alpha=0.99,
        eps=1e-8,
        weight_decay=0.0,
        momentum=0.0,
        *,
        clip_norm=None,
        clip_value=None,
        l1=0.0,
        decay_b=True,
        average=0.0,
    ):
        self.lr = lr
        self.alpha = alpha
        self.eps = eps
        self.weight_decay = weight_decay
        self.momentum = momentum
        self._set_rarer(clip_norm, clip_value, l1, decay_b, average)

    @property
    def slots(self):
        """How many moments a network keeps for each weight and bias."""
        return 2 if self._momentum else 1

    def key(self):
        """The kind, and the settings whose change makes a network's state start afresh."""
        return self.kind, self._average, self._alpha, self._momentum


@_documented
class Adagrad(_Optimizer):
    """Adagrad: the gradient divided by the root of the sum of all its squares.

    ::

        g += weight_decay * w
        v += g^2
        w -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(v) + eps)

    The object holds settings only: it may serve many networks, and `lr`, `lr_decay`, `weight_decay`
    and `eps` may be changed between calls. Each network keeps its own v and t while it is trained
    with this object.

    Parameters
    ----------
    lr : float, schedule or callable
        Learning rate of the first step, finite and at least 0; or one that changes, see :mod:`fastnn.schedules`.
    lr_decay : float
        How quickly the learning rate falls with the count of steps; finite and at least 0.
    weight_decay : float
        Coupled weight decay, added to the gradient of W and of b; it is not part of any reported
        loss.
    eps : float
        As for :class:`Adam`; the default is 1e-10.
    |rarer|

    Raises
    ------
    TypeError, ValueError
        If a setting is not a number or out of range.

    Notes
    -----
    J. Duchi, E. Hazan and Y. Singer, "Adaptive subgradient methods for online learning and
    stochastic optimization", JMLR 12, 2011, in the form of ``torch.optim.Adagrad``
    (initial_accumulator_value=0).

    Examples
    --------
    >>> Adagrad()
    Adagrad(lr=0.01, lr_decay=0.0, weight_decay=0.0, eps=1e-10)
    >>> net = Network([2, 3, 1], seed=0)
    >>> loss = net.train_step([[0, 1], [1, 1]], [0, 1], Adagrad(lr=0.1, lr_decay=1e-3))
    """

    __slots__ = ("_eps", "_lr_decay")
    kind = "Adagrad"
    slots = 1
    _fields = (*_Optimizer._fields, "_lr_decay", "_eps")
    _values = operator.attrgetter(*_fields)
    _names = ("lr", "lr_decay", "weight_decay", "eps")
    lr_decay = _setting("lr_decay", "How quickly the learning rate falls with the count of steps.")
    eps = Adam.eps

    @hints.explained
    def __init__(
        self,
        lr=0.01,
        lr_decay=0.0,
        weight_decay=0.0,
        eps=1e-10,
        *,
        clip_norm=None,
        clip_value=None,
        l1=0.0,
        decay_b=True,
        average=0.0,
    ):
        self.lr = lr
        self.lr_decay = lr_decay
        self.weight_decay = weight_decay
        self.eps = eps
        self._set_rarer(clip_norm, clip_value, l1, decay_b, average)

    def key(self):
        """The kind, and the settings whose change makes a network's state start afresh."""
        return self.kind, self._average


OPTIMIZERS = (SGD, Adam, AdamW, NAdam, RMSprop, Adagrad)
_BY_KIND = {optimizer.kind: optimizer for optimizer in OPTIMIZERS}
hints.tell_elsewhere(
    _Optimizer, ("learning_rate", "eta", "alpha", "l2", "epsilon"), lambda name: f"write {hints.ours(name)[0]}"
)
# Methods of the optimizers of PyTorch and Keras.
_UPDATE = "write net.train_step(X, y, optimizer), or net.update(gradients, optimizer) with gradients of your own"
_STATE = "a network keeps the optimizer's state: write net.save(path, optimizer=True), and fastnn.load(path)"
_THEIRS = {
    **dict.fromkeys(("step", "minimize", "apply_gradients", "apply"), _UPDATE),
    "zero_grad": "no gradients are kept from step to step, so there is nothing to set to 0; leave it out",
    **dict.fromkeys(("state_dict", "load_state_dict"), _STATE),
    **dict.fromkeys(("param_groups", "get_config"), "the settings are attributes, such as lr; all layers share them"),
}
hints.tell_elsewhere(_Optimizer, _THEIRS, _THEIRS.get)
_NOT_CAST = ("_lr_decay", "_momentum_decay")  # only float64 numbers are computed from these


def _bound(value, what):
    """Return `value`, None or a number above 0, as a float; 0 for None."""
    if value is None:
        return 0.0
    number = real_parameter(value, what, float("-inf"))
    if number < _SMALLEST:  # the core takes subnormal numbers for 0
        raise ValueError(f"{what} must be more than 0 (at least {_SMALLEST:.2g}), or None for no limit, got {value!r}")
    return number


def spec(optimizer):
    """``[kind, settings]``: the form that files store.

    Raises
    ------
    ValueError
        If lr is a function.
    """
    settings, lr = optimizer.settings(), optimizer.lr
    if isinstance(lr, schedules.Schedule):
        settings["lr"] = schedules.spec(lr)
    elif type(lr) is not float:
        raise ValueError(
            f"optimizer: a file cannot store lr={lr!r:.80}, a function; give a schedule of fastnn.schedules, "
            f"or save the network with optimizer=False"
        )
    return [optimizer.kind, settings]


def from_spec(stored):
    """The optimizer of :func:`spec`.

    Raises
    ------
    ValueError
        If there is no optimizer of that name.
    """
    name, settings = stored
    for optimizer in OPTIMIZERS:
        if optimizer.kind == name:
            return optimizer(**settings)
    raise ValueError(f"no optimizer {name!r} in this release")


def check_optimizer(optimizer):
    """Return `optimizer` if it is one of OPTIMIZERS; else raise a TypeError that says what to write."""
    if isinstance(optimizer, OPTIMIZERS):
        return optimizer
    if isinstance(optimizer, (int, float)) and not isinstance(optimizer, bool):
        told = f": write fastnn.SGD(lr={optimizer})"
    elif isinstance(optimizer, schedules.Schedule):
        told = ": a schedule is the lr of one, write fastnn.SGD(lr=...)"
    else:
        called = optimizer if isinstance(optimizer, str) else hints.name_of(optimizer)
        alike = [kind for kind in _BY_KIND if kind.lower() == called.lower()]
        told = f": write fastnn.{alike[0]}()" if alike else f"; choose one of {', '.join(_BY_KIND)}"
    raise TypeError(f"optimizer must be an optimizer object such as fastnn.SGD(lr=0.1), got {optimizer!r:.80}{told}")


def _twin(kind, values, itemsize):
    """An optimizer with these values of its fields, none infinite in a dtype of that size. Nobody changes it."""
    twin = object.__new__(_BY_KIND[kind])
    object.__setattr__(twin, "_unchanged", None)
    for field, value in zip(twin._fields, values, strict=True):
        numbers = {field[1:]: value} if field != "_extras" else dict(zip(_RARER, value or (), strict=False))
        for name, number in numbers.items():
            largest = number.largest if isinstance(number, schedules.Schedule) else number
            if itemsize == 4 and type(largest) is float and largest >= FLOAT32_ENDS and field not in _NOT_CAST:
                raise ValueError(f"{kind}: {name}={number!r} is infinite in float32; it must be below 3.4e38")
        object.__setattr__(twin, field, value)  # without the setters: values were checked before
    return twin


def check_unpickled(optimizer):
    """Refuse an optimizer whose settings its constructor would not accept; unpickling does not run the constructor."""
    check_optimizer(optimizer)
    try:
        settings = optimizer.settings()
        legal = from_spec([optimizer.kind, settings]).settings()
    except AttributeError as error:
        raise ValueError(f"optimizer lacks a setting: {error}") from None
    if repr(settings) != repr(legal):
        raise ValueError(f"optimizer has the settings {settings!r:.200}, wanted {legal!r:.200}")
