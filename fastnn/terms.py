"""What an estimator of fastnn.sklearn asks of fit: to train as scikit-learn's MLP does, where that is another way."""

import copy

import numpy as np

from . import arrays, fit_options, training


class Orders:
    """The order of the samples in each epoch: that of the epoch before, shuffled by a generator of NumPy.

    Parameters
    ----------
    random_state : numpy.random.RandomState
        It is advanced.
    places : ndarray of uint32
        The samples, in the order before the first shuffle.
    epoch : int
        The network's number of the first epoch.
    """

    def __init__(self, random_state, places, epoch):
        # NumPy shuffles numbers of this size faster than others; engines take uint32.
        self._random_state, self._shuffled = random_state, places.astype(np.intp)
        self._first, self._drawn = epoch, []  # the orders of that epoch and of those after it, as far as they are drawn
        self.mark()

    def of(self, epoch, count=1):
        """The orders of `count` epochs, uint32 (count, m)."""
        if epoch < self._first:  # fit repeats what came after the mark
            self._first, drawn, shuffled, state = self._marked
            self._drawn, self._shuffled = drawn.copy(), shuffled.copy()
            self._random_state.set_state(state)
        while self._first + len(self._drawn) < epoch + count:
            self._random_state.shuffle(self._shuffled)
            self._drawn.append(self._shuffled.astype(np.uint32))
        del self._drawn[: epoch - self._first]
        self._first = epoch
        return np.stack(self._drawn[:count]) if count > 1 else self._drawn[0][np.newaxis]

    def mark(self):
        """Remember this time: epochs before it are not asked for again."""
        self._marked = self._first, self._drawn.copy(), self._shuffled.copy(), self._random_state.get_state()


class Terms:
    """What one call of :meth:`fit` does in scikit-learn's way.

    Parameters
    ----------
    penalty : float
        penalty / 2 times the sum of the squares of all W is added to a batch's sum of w_i L_i: scikit-learn's alpha.
    loss_factor, reported_factor : float
        Of all losses, in training and in what is reported of it.
    eps_with_v : bool
        Whether Adam's eps is added to sqrt(v) before that is divided by sqrt(1 - beta2^t).
    orders : Orders or None
        None: the order of Network.fit.

    Attributes
    ----------
    watch : object or None
        Looks at the losses of epochs, as :class:`fastnn.sklearn.watch.Watch` does.
    """

    def __init__(self, penalty, loss_factor, reported_factor, eps_with_v, orders):
        self._factors = penalty, loss_factor, reported_factor
        self._eps_with_v, self._orders = eps_with_v, orders
        self._engine, self.pace, self.watch = None, 1.0, None

    def set_pace(self, pace):
        """Multiply loss and penalty by `pace` from now on, and so the step of SGD; the reported loss, too.

        In scikit-learn's momentum lr is inside the buffer, v = momentum v - lr g: so a changed lr does not act on the
        old v. In ours, w -= lr v, it does. With a constant lr and a changing pace both are the same.
        """
        self.pace = pace
        if self._engine is not None:
            penalty, loss_factor, reported_factor = (pace * factor for factor in self._factors)
            self._engine.penalty, self._engine.loss_factor = penalty, loss_factor
            self._engine.reported_factor = reported_factor

    def begin(self, engine):
        """From now on this engine trains on these terms."""
        self._engine, engine.eps_with_v = engine, self._eps_with_v
        self.set_pace(self.pace)

    def end(self):
        """The engine trains as Network.fit does again."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.penalty, engine.loss_factor, engine.reported_factor, engine.eps_with_v = 0.0, 1.0, 0.0, False

    def added_to(self, options):
        """The Options of a fit, with these orders and the watch."""
        options = copy.copy(options)
        options.orders, options.watch = self._orders, self.watch
        return options

    def fit(self, net, X, y, epochs, batch_size, optimizer, shuffle, *, sample_weight, callbacks, samples, validation):
        """Train `net` as :meth:`Network.fit` does, but on these terms and without a DataWarning.

        Parameters
        ----------
        net : Network
        X, y, epochs, batch_size, optimizer, shuffle, sample_weight, callbacks
            As for :meth:`Network.fit`.
        samples : ndarray of uint32 or None
            The places of the samples to train on.
        validation : (X, y), (X, y, sample_weight) or None
            Its `validation_data`.

        Returns
        -------
        History
        """
        how = epochs, batch_size, optimizer, shuffle, sample_weight, callbacks, False
        rarer = validation, None, None, (), None, samples, fit_options.NO_SPLIT, False
        return training.fit(net, net._trainable, X, y, *how, rarer, terms=self)


def scaled(weights):
    """By what :meth:`Terms.fit` multiplies weights of samples, a power of two: in whose unit the penalty is."""
    return 1.0 if weights is None else 2.0 ** -arrays.exponent_of_weights(weights)
