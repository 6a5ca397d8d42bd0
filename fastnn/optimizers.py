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

    def __repr__(self):
        return f"SGD(lr={self.lr!r}, weight_decay={self.weight_decay!r})"


OPTIMIZERS = (SGD,)


def check_optimizer(optimizer):
    """Return `optimizer` if it is one of ours, else say what was wanted."""
    if not isinstance(optimizer, OPTIMIZERS):
        raise TypeError(f"optimizer must be an optimizer object such as fastnn.SGD(lr=0.1), got {optimizer!r}")
    return optimizer
