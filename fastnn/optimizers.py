"""Optimizers: settings only. Their state lives in the network that they train."""

from .tables import real_parameter


class SGD:
    """Stochastic gradient descent: ``W -= lr * (dW + weight_decay * W)``, and the same for b.

    Holds settings only, so one object may serve many networks, and `lr` may be changed between
    calls.

    Parameters
    ----------
    lr : float
        Learning rate, finite and at least 0.
    weight_decay : float
        Coupled weight decay, added to the gradient of W and of b; it is not part of any reported
        loss. The definition is that of ``torch.optim.SGD``.

    Raises
    ------
    TypeError, ValueError
        If a setting is not a real number or out of range.

    Examples
    --------
    >>> SGD(lr=0.1)
    SGD(lr=0.1, weight_decay=0.0)
    """

    __slots__ = ("_lr", "_weight_decay")

    def __init__(self, lr=0.01, *, weight_decay=0.0):
        self.lr = lr
        self.weight_decay = weight_decay

    @property
    def lr(self):
        """Learning rate."""
        return self._lr

    @lr.setter
    def lr(self, value):
        self._lr = real_parameter(value, "lr")

    @property
    def weight_decay(self):
        """Coefficient of the coupled weight decay."""
        return self._weight_decay

    @weight_decay.setter
    def weight_decay(self, value):
        self._weight_decay = real_parameter(value, "weight_decay")

    def settings(self):
        """The settings, as the constructor takes them."""
        return {"lr": self.lr, "weight_decay": self.weight_decay}

    def __repr__(self):
        return f"SGD({', '.join(f'{key}={value!r}' for key, value in self.settings().items())})"


OPTIMIZERS = (SGD,)


def spec(optimizer):
    """``[name, settings]``: the form that files store."""
    return [type(optimizer).__name__, optimizer.settings()]


def from_spec(stored):
    """The optimizer of :func:`spec`.

    Raises
    ------
    ValueError
        If there is no optimizer of that name.
    """
    name, settings = stored
    for kind in OPTIMIZERS:
        if kind.__name__ == name:
            return kind(**settings)
    raise ValueError(f"no optimizer {name!r} in this release")


def check_optimizer(optimizer):
    """Return `optimizer` if it is one of ours, else say what was wanted."""
    if not isinstance(optimizer, OPTIMIZERS):
        raise TypeError(f"optimizer must be an optimizer object such as fastnn.SGD(lr=0.1), got {optimizer!r}")
    return optimizer
