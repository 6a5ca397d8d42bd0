"""fit(batches): trains on an iterable that gives one batch after another, such as a torch DataLoader.

The batches are fetched, checked and cast between two slices, because all of that may run the user's code; a slice is
one update. They are seen once: so what fit does with all data, a look at the weights from time to time and a repetition
after a divergence, is done here by cautious steps.
"""

import math
import numbers

import numpy as np

from . import arrays, cautions, class_weights, diagnostics, fit_options, hints, loaders, passes, standardisation
from .history import TrainState
from .training import Fit

DEFAULT_BATCH_SIZE = 32  # of fit
_WANTED = "(X, y) or (X, y, sample_weight)"
_END = object()
_LOWEST = -(10**6)  # less than any exponent of a float


def given(trainable, batches, epochs, batch_size, shuffle, sample_weight, rarer):
    """Check what fit got without y, and refuse the arguments that batches make senseless.

    Returns
    -------
    (type, tuple, Options)
        FitOfBatches, its data, and `rarer`, checked.
    """
    _check_iterable(batches, epochs)
    if batch_size != DEFAULT_BATCH_SIZE:
        raise ValueError(f"batch_size={batch_size} has no effect on batches, which have their own: leave it out")
    if not shuffle:
        raise ValueError("shuffle=False has no effect on batches, which come in their own order: leave it out")
    if sample_weight is not None:
        raise ValueError(f"sample_weight belongs into the batches: each is {_WANTED}")
    options, of_classes = fit_options.checked_of_batches(trainable, rarer)
    kind = FitOfBatches
    if trainable.is_own:
        from . import own_fit  # which imports this module

        kind = own_fit.OwnFitOfBatches
    return kind, (batches, of_classes), options


def _check_iterable(batches, epochs):
    """TypeError or ValueError if `batches` cannot be walked `epochs` times."""
    kind = type(batches)
    if hasattr(batches, "__array__") or hasattr(batches, "dtype") or isinstance(batches, (str, bytes, dict)):
        raise TypeError(
            f"y is missing (None): write fit(X, y); without y, X must be an iterable of {_WANTED}, not {kind.__name__}"
        )
    source = type(loaders.source(batches))
    if not hasattr(source, "__iter__") and not hasattr(source, "__getitem__"):
        told = f": write {batches.__name__}()" if callable(batches) and hasattr(batches, "__name__") else ""
        raise TypeError(f"without y, X must be an iterable of {_WANTED}, got {batches!r:.80}{told}")
    if loaders.is_walk(batches):
        raise ValueError(
            "X is the iterator of a DataLoader, which can be walked once: give the DataLoader itself, net.fit(loader)"
        )
    # Iterators of Python's own cannot begin again; one of the user's may.
    if epochs > 1 and hasattr(source, "__next__") and source.__module__ in ("builtins", "itertools"):
        raise ValueError(
            f"X is a {source.__name__} of batches, which can be walked once, and epochs is {epochs}: give a list, or "
            f"an object whose __iter__ begins anew"
        )


def _length(batches):
    """How many batches an epoch has, as they say themselves; infinite if they do not say it."""
    try:
        return len(batches) or math.inf
    except (TypeError, NotImplementedError):  # also a DataLoader's whose data set has no length
        return math.inf


def _of_one_pair(batches, first):
    """What to write instead of fit((X, y)), whose first "batch" is X."""
    is_pair = isinstance(batches, (tuple, list)) and len(batches) in (2, 3) and hasattr(first, "__array__")
    return "; X and y are two arguments: write net.fit(X, y)" if is_pair else ""


def _columns(value, name, n_in=None):
    """What a DataLoader gives, with its rows as columns; X must have `n_in` features."""
    array = arrays.real_array(value, name)
    if n_in is not None and (array.ndim != 2 or array.shape[1] != n_in):
        told = ": flatten it in the collate_fn" if array.ndim > 2 and math.prod(array.shape[1:]) == n_in else ""
        raise ValueError(f"{name} has shape {array.shape}, wanted (m, {n_in}): a DataLoader's samples are rows{told}")
    return array.T if array.ndim == 2 else array


class FitOfBatches(Fit):
    """The training loop of one call of fit(batches). Its position counts the batches of an epoch, and not samples.

    Parameters
    ----------
    data : (iterable, dict or None)
        The batches, and the weights of classes.
    trainable, optimizer, batch_size, shuffle, before, afresh, options
        As for :class:`Fit`; the size is 1, and `shuffle` has no effect.
    """

    fetches = True
    __slots__ = ("exponent", "given", "is_first", "is_loader", "of_classes", "readable", "walk", "weights")

    def __init__(self, trainable, data, optimizer, batch_size, shuffle, before, afresh, options):
        nothing = np.empty((trainable.sizes[0], 1)), np.empty((trainable.sizes[-1], 1)), None
        super().__init__(trainable, nothing, optimizer, batch_size, shuffle, before, afresh, options)
        self.given, self.of_classes = data
        self.is_loader = loaders.is_loader(self.given)
        self.walk = None  # through the batches of this epoch
        self.is_first = True  # no batch was used yet
        self.m = math.inf  # how many batches an epoch has; infinite: not known
        self.per_epoch, self.batches = 2**62, 1  # more than ever come; those of the next slice
        self._forget()
        self.exponent = _LOWEST  # the sums of this epoch are those in the state times 2 to the power of this

    def _forget(self):
        """Forget a batch that was used, so that the memory of two is not needed while the next one is made."""
        self.X = self.y = self.sample_weight = self.readable = None

    def _place(self):
        return f"batch {self.state.position} of epoch {self.state.epoch - self.first_epoch}"

    def fetch(self):
        """Get the next batch, unless the last one was not used."""
        if self.X is not None:
            return
        if self.walk is None:
            self.walk, self.m = loaders.walk(self.given), _length(self.given)
        batch = next(self.walk, _END)
        if batch is not _END:
            self._take(batch)
            self.m = max(self.m, self.state.position + 1)
        elif self.state.position:
            self.batches = 0  # the next slice ends the epoch
        else:
            told = "it can be walked only once; give a list, or an object whose __iter__ begins anew"
            epoch = self.state.epoch - self.first_epoch
            raise ValueError(f"X, the iterable of batches, has none in epoch {epoch}: if it is an iterator, {told}")

    def _take(self, batch):
        """Check a batch and cast it; errors say which one it is."""
        trainable = self.trainable
        is_batch = isinstance(batch, (tuple, list)) and len(batch) in (2, 3) and not isinstance(batch[0], numbers.Real)
        if not is_batch:
            got = f"{type(batch).__name__} {hints.shown(batch, 50)}"
            raise TypeError(f"{self._place()} must be {_WANTED}, got {got}{_of_one_pair(self.given, batch)}")
        X, y, sample_weight = batch if len(batch) == 3 else (*batch, None)
        try:
            if self.is_loader:
                X, y = _columns(X, "X", trainable.sizes[0]), _columns(y, "y")
            X, y, _ = trainable.data(X, y, None)
            weights = self._weights(y, sample_weight, X.shape[1])
        except (ValueError, TypeError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{self._place()}: {error}") from error.__cause__
        if self.is_first:
            cautions.of_targets(y, trainable)
            is_read_as_it_is = trainable.engine.standards is None
            is_large = is_read_as_it_is and cautions.of_scale(X, X.shape[1], self.backend.largest, are_batches=True)
            self.is_first = not is_large  # False: there was a warning about X already
        if trainable.is_own:  # y is the loss's own affair
            self.readable = passes.readable(self.engine, X)
        else:
            self.readable = passes.cast(self.engine, X, y, slice(None), arrays.in_place(X, y))
        self.X, self.y, self.weights = X, y, weights

    def _weights(self, y, sample_weight, m):
        """Weights of samples times those of their classes, or None; divided by 2 to the power of the second result."""
        w, exponent = sample_weight, 0
        if w is not None:
            w, exponent = arrays.scaled_weights(arrays.finite_weights(w, m))
        if self.of_classes is not None:
            n_out, loss = self.trainable.sizes[-1], self.trainable.loss.name
            of_classes, of_these = arrays.scaled_weights(class_weights.of_samples(self.of_classes, y, n_out, loss))
            w, of_product = arrays.scaled_weights(of_classes if w is None else w * of_classes)
            exponent += of_these + of_product
        return w, exponent

    def _slice(self, epochs, check, rates):
        """One update, or the end of an epoch."""
        state, weights = self.state, self.weights[0]
        self.slice_state, state.ended, state.ended_rates = state, None, None
        if not self.batches:
            return self._end_epoch()
        if not self._take_settings(check, rates):
            return []
        if self.is_first:
            self.last_loss = self.trainable.loss_before(self.X, self.y, weights)
        self.is_first = False
        block = self._step(weights, None if rates is None else rates.values)
        state.failed, state.finite = block.failed, block.finite
        state.rate, self.measured = block.rate, block.diagnostics
        if block.failed or not block.finite:
            self._explain()
        if state.first_loss is None:
            state.first_loss = block.first_loss
        self._count(*block.ended[0])
        return []

    def _count(self, loss_sum, weight_sum):
        """Add the sums of a batch, which was used, to those of the epoch."""
        state, exponent = self.state, self.weights[1]
        if weight_sum:  # else the weights of this batch are all 0
            largest = max(self.exponent, exponent)
            more, less = exponent - largest, self.exponent - largest
            state.loss_sum = math.ldexp(state.loss_sum, less) + math.ldexp(loss_sum, more)
            state.weight_sum = math.ldexp(state.weight_sum, less) + math.ldexp(weight_sum, more)
            self.exponent = largest
        state.position += 1
        self._forget()

    def _end_epoch(self):
        state = self.state
        if not state.weight_sum:
            epoch = state.epoch - self.first_epoch
            raise ValueError(
                f"the weights of all samples of epoch {epoch} are 0: give at least one of them more than 0"
            )
        self.walk, self.batches, self.exponent = None, 1, _LOWEST
        return state.end_epoch()

    def _step(self, weights, rates):
        """Make one update; return its position, which says how it ended."""
        block = self._train_batch(weights, rates, cautious=True)
        if block.unsafe:  # it may fail: with weights to go back to
            self._take_snapshot()
            self.unchecked = True
            block = self._train_batch(weights, rates, cautious=False)
            if block.failed or not block.finite:
                self._replay()
            self.unchecked = False
        return block

    def _train_batch(self, weights, rates, cautious):
        state, m = self.state, self.X.shape[1]
        block = TrainState(0, state.time, rate=state.rate)
        if self.m < math.inf:
            block.before, block.whole = state.position, self.m
        if self.options.diagnoses:
            block.diagnostics = diagnostics.room(len(self.trainable.sizes) - 1)
        how = self.settings, m, None
        self.engine.train(*self.readable, weights, *how, block, 1, 1, not cautious, None, rates, cautious)
        return block

    def _explain(self):
        """Raise the error for a loss, weight or moment of this batch that is not finite."""
        for name, array, row in (("X", self.X, "feature"), ("y", self.y, "output")):
            found = arrays.first_non_finite(array, standardisation.dtype_of(self.engine), row)
            if found:
                raise ValueError(f"{self._place()}: {name} has {found}; {self._kept()}")
        self._refuse_divergence()

    def _replay(self):
        """Go back to the weights before the step that failed."""
        self.engine.restore(self.snapshot)
