"""Optimizers: settings only. Their state lives in the network that they train.

The definitions are PyTorch's. Below, w is a weight or a bias, g its gradient, and t counts the
updates from 1; moments start at 0.
"""

import functools
import operator

import numpy as np

from . import hints, schedules
from .tables import FLOAT32_ENDS, real_parameter


class _Optimizer:
    """Base class: lr, weight_decay, and the methods that engines and files use.

    A subclass adds a row to ``OPTIMIZERS`` and its update to each backend's table.
    """

    __slots__ = ("_lr", "_weight_decay")
    kind = None  # the name in files and in the backends' tables
    slots = None  # how many moments a network keeps for each weight and bias
    _fields = ()  # names of the attributes that hold the settings
    _values = None  # a function of the object: these attributes as a tuple
    _names = ()  # names of the settings in the constructor

    @property
    def lr(self):
        """Learning rate: a number, a schedule of :mod:`fastnn.schedules`, or a function of the time in epochs."""
        return self._lr

    @lr.setter
    def lr(self, value):
        self._lr = real_parameter(value, "lr") if type(value) is float else schedules.checked(value, self.kind)

    @property
    def weight_decay(self):
        """Coefficient of the weight decay."""
        return self._weight_decay

    @weight_decay.setter
    def weight_decay(self, value):
        self._weight_decay = real_parameter(value, "weight_decay")

    def key(self):
        """The kind and those settings whose change makes the network start a new optimizer state."""
        raise NotImplementedError

    def settings(self):
        """The settings, as the constructor takes them."""
        return {name: getattr(self, name) for name in self._names}

    def frozen(self, dtype):
        """A copy with the present settings, which no other thread changes; a setting must be finite in `dtype`."""
        # No cache for a function of the user's: it may have no hash, and a cache would keep it.
        make = _twin if isinstance(self._lr, (float, schedules.Schedule)) else _twin.__wrapped__
        return make(self.kind, self._values(self), dtype.itemsize)

    def with_lr(self, lr):
        """A copy with the number `lr` as the learning rate."""
        twin = object.__new__(_BY_KIND[self.kind])
        for field in self._fields:
            object.__setattr__(twin, field, lr if field == "_lr" else getattr(self, field))
        return twin

    def __setattr__(self, name, value):
        # A subclass may have any attributes.
        if type(self) is _BY_KIND[self.kind] and name not in self._fields and not hasattr(type(self), name):
            told = hints.did_you_mean(name, self._names) or f"; it has {', '.join(self._names)}"
            raise AttributeError(f"{type(self).__name__} has no setting {name!r}{told}")
        object.__setattr__(self, name, value)

    def __repr__(self):
        return f"{self.kind}({', '.join(f'{key}={value!r}' for key, value in self.settings().items())})"


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
    _fields = ("_lr", "_weight_decay", "_momentum", "_nesterov")
    _values = operator.attrgetter(*_fields)
    _names = ("lr", "momentum", "nesterov", "weight_decay")

    @hints.explained
    def __init__(self, lr=0.01, momentum=0.0, nesterov=False, weight_decay=0.0):
        self.lr = lr
        self._nesterov = False
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay

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
        return self.kind, self._momentum, self._nesterov


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
    _fields = ("_lr", "_weight_decay", "_betas", "_eps")
    _values = operator.attrgetter(*_fields)
    _names = ("lr", "betas", "eps", "weight_decay")

    @hints.explained
    def __init__(self, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        self.lr = lr
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay

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
        return self.kind, self._betas


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
    def __init__(self, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
        super().__init__(lr, betas, eps, weight_decay)


class NAdam(Adam):
    """Adam with Nesterov's momentum.

    ::

        g += weight_decay * w
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        mu_i = beta1 * (1 - 0.96^(i * momentum_decay) / 2)
        n = (1 - mu_t) / (1 - mu_1 .. mu_t) * g + mu_(t+1) / (1 - mu_1 .. mu_(t+1)) * m
        w -= lr * n / (sqrt(v) / sqrt(1 - beta2^t) + eps)

    Parameters
    ----------
    lr, betas, eps, weight_decay
        As for :class:`Adam`; the default of `lr` is 0.002.
    momentum_decay : float
        How quickly the momentum mu grows to beta1; at least 0. It may be changed between calls.

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
    """

    __slots__ = ("_momentum_decay",)
    kind = "NAdam"
    _fields = (*Adam._fields, "_momentum_decay")
    _values = operator.attrgetter(*_fields)
    _names = (*Adam._names, "momentum_decay")

    @hints.explained
    def __init__(self, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=4e-3):
        super().__init__(lr, betas, eps, weight_decay)
        self.momentum_decay = momentum_decay

    @property
    def momentum_decay(self):
        """How quickly the momentum grows to beta1."""
        return self._momentum_decay

    @momentum_decay.setter
    def momentum_decay(self, value):
        self._momentum_decay = real_parameter(value, "momentum_decay")


class RMSprop(_Optimizer):
    """RMSprop: the gradient divided by the root of its mean square.

    ::

        g += weight_decay * w
        v = alpha * v + (1 - alpha) * g^2
        w -= lr * g / (sqrt(v) + eps)                      # without momentum

        buf = momentum * buf + g / (sqrt(v) + eps)         # with momentum
        w -= lr * buf

    Parameters
    ----------
    lr : float, schedule or callable
        Learning rate, finite and at least 0; or one that changes, see :mod:`fastnn.schedules`.
    alpha : float
        The factor of v, at least 0 and less than 1.
    eps : float
        As for :class:`Adam`.
    weight_decay : float
        Coupled weight decay, added to the gradient of W and of b.
    momentum : float
        At least 0, less than 1. A change of `momentum` or `alpha` starts a new state.

    Raises
    ------
    TypeError, ValueError
        If a setting is not a number or out of range.

    Notes
    -----
    T. Tieleman and G. Hinton, "Lecture 6.5 - rmsprop", COURSERA, 2012, in the form of ``torch.optim.RMSprop``
    (centered=False).

    Examples
    --------
    >>> RMSprop(lr=0.001)
    RMSprop(lr=0.001, alpha=0.99, eps=1e-08, weight_decay=0.0, momentum=0.0)
    """

    __slots__ = ("_alpha", "_eps", "_momentum")
    kind = "RMSprop"
    _fields = ("_lr", "_weight_decay", "_alpha", "_eps", "_momentum")
    _values = operator.attrgetter(*_fields)
    _names = ("lr", "alpha", "eps", "weight_decay", "momentum")
    eps = Adam.eps

    @hints.explained
    def __init__(self, lr=0.01, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0):
        self.lr = lr
        self.alpha = alpha
        self.eps = eps
        self.weight_decay = weight_decay
        self.momentum = momentum

    @property
    def alpha(self):
        """The factor by which v is multiplied in each step."""
        return self._alpha

    @alpha.setter
    def alpha(self, value):
        self._alpha = _share(value, "alpha")

    @property
    def momentum(self):
        """The factor by which the buffer is multiplied in each step."""
        return self._momentum

    @momentum.setter
    def momentum(self, value):
        self._momentum = _share(value, "momentum")

    @property
    def slots(self):
        """How many moments a network keeps for each weight and bias."""
        return 2 if self._momentum else 1

    def key(self):
        """The kind, and the settings whose change makes a network's state start afresh."""
        return self.kind, self._alpha, self._momentum


class Adagrad(_Optimizer):
    """Adagrad: the gradient divided by the root of the sum of all its squares.

    ::

        g += weight_decay * w
        v += g^2
        w -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(v) + eps)

    Parameters
    ----------
    lr : float, schedule or callable
        Learning rate, finite and at least 0; or one that changes, see :mod:`fastnn.schedules`.
    lr_decay : float
        At least 0.
    weight_decay : float
        Coupled weight decay, added to the gradient of W and of b.
    eps : float
        As for :class:`Adam`; the default is 1e-10.

    Raises
    ------
    TypeError, ValueError
        If a setting is not a number or out of range.

    Notes
    -----
    J. Duchi, E. Hazan and Y. Singer, "Adaptive subgradient methods for online learning and stochastic optimization",
    JMLR 12, 2011, in the form of ``torch.optim.Adagrad`` (initial_accumulator_value=0).

    Examples
    --------
    >>> Adagrad()
    Adagrad(lr=0.01, lr_decay=0.0, weight_decay=0.0, eps=1e-10)
    """

    __slots__ = ("_eps", "_lr_decay")
    kind = "Adagrad"
    slots = 1
    _fields = ("_lr", "_weight_decay", "_lr_decay", "_eps")
    _values = operator.attrgetter(*_fields)
    _names = ("lr", "lr_decay", "weight_decay", "eps")
    eps = Adam.eps

    @hints.explained
    def __init__(self, lr=0.01, lr_decay=0.0, weight_decay=0.0, eps=1e-10):
        self.lr = lr
        self.lr_decay = lr_decay
        self.weight_decay = weight_decay
        self.eps = eps

    @property
    def lr_decay(self):
        """How quickly the learning rate falls with the count of steps."""
        return self._lr_decay

    @lr_decay.setter
    def lr_decay(self, value):
        self._lr_decay = real_parameter(value, "lr_decay")

    def key(self):
        """The kind: no other setting starts a new state."""
        return (self.kind,)


OPTIMIZERS = (SGD, Adam, AdamW, NAdam, RMSprop, Adagrad)
_BY_KIND = {optimizer.kind: optimizer for optimizer in OPTIMIZERS}
hints.tell_elsewhere(
    _Optimizer, ("learning_rate", "eta", "alpha", "l2", "epsilon"), lambda name: f"write {hints.ours(name)[0]}"
)


def _share(value, what):
    """Return `value` as a float in [0, 1)."""
    number = real_parameter(value, what)
    if number >= 1:
        raise ValueError(f"{what} must be at least 0 and less than 1, got {value!r}")
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
    else:
        called = optimizer if isinstance(optimizer, str) else hints.name_of(optimizer)
        alike = [kind for kind in _BY_KIND if kind.lower() == called.lower()]
        told = f": write fastnn.{alike[0]}()" if alike else f"; choose one of {', '.join(_BY_KIND)}"
    raise TypeError(f"optimizer must be an optimizer object such as fastnn.SGD(lr=0.1), got {optimizer!r:.80}{told}")


@functools.lru_cache(64)  # most calls of fit come with the settings of the one before
def _twin(kind, values, itemsize):
    """An optimizer with these values of its fields, none infinite in a dtype of that size. Nobody changes it."""
    twin = object.__new__(_BY_KIND[kind])
    for field, value in zip(twin._fields, values, strict=True):
        largest = value.largest if isinstance(value, schedules.Schedule) else value
        if itemsize == 4 and type(largest) is float and largest >= FLOAT32_ENDS:
            raise ValueError(f"{kind}: {field[1:]}={value!r} is infinite in float32; it must be below 3.4e38")
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
