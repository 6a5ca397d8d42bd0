"""fit with a loss of the user's own: batch after batch, each one two calls of the engine with the loss between them."""

import math

from . import arrays, cautions, diagnostics, passes, standardisation
from .batches import FitOfBatches
from .history import TrainState
from .own_loss import derivatives, function_of
from .training import Fit

_MOST_TRIES = 5  # of a batch, if another thread changes the network while the loss is computed


class _OwnSteps:
    """The turns of a fit whose loss is the user's own: a slice is one batch, and each batch is checked.

    A class that has this and a kind of Fit as its bases says what the next batch is, and counts it.
    """

    __slots__ = ()

    def _turn(self, epochs, looks, rates):
        with self.writing:
            try:
                self._make_ready()
                if not self._take_settings(looks, rates):
                    return []
                X, y, w = self._next_batch()
                noted = diagnostics.room(len(self.trainable.sizes) - 1) if self._diagnoses(X.shape[1]) else None
                A = None if w is not None and not w.any() else self.engine.begin_step(X, noted is not None)
            finally:
                self.seen = self.trainable.version()
        self.measured = noted
        if A is None:  # a batch that counts for nothing is skipped
            return self._advance(X.shape[1], 0.0, 0.0)
        total, weight, dA = derivatives(self.function(A, y), A, w, self._explain_outputs, lambda: f",{self._ending()}")
        settings = self.settings if rates is None else self.settings.with_lr(float(rates.values[0]))
        with self.writing:
            try:
                if self._is_changed():  # the batch begins anew, with the network as it is now
                    self.tries += 1
                    if self.tries < _MOST_TRIES:
                        return []
                self.tries = 0
                is_made = self._end(A, dA, weight, settings)
                sums = self._advance(X.shape[1], total, weight) if is_made else []
            finally:
                self.seen = self.trainable.version()
        if not is_made:
            self._refuse_X()  # outputs may be finite where X is not, as tanh's are
            self._diverged(f"a weight or a moment would no longer be finite (with {settings})")
        return sums

    def _end(self, A, dA, weight, settings):
        """The rest of the step; False: a weight or a moment would not be finite."""
        state = self.state
        block = TrainState(0, state.time, rate=state.rate)
        block.diagnostics = self.measured
        if self.m < math.inf:
            block.before, block.whole = state.position, self.m
        is_made = self.engine.end_step(A, dA, weight, settings, block)
        if is_made:
            state.rate = block.rate
        return is_made

    def _explain_outputs(self):
        self._refuse_X()
        self._diverged("the outputs were no longer finite")

    def _ending(self):
        """The end of an error: where training is, and which weights are kept."""
        batch, epoch = self.state.position // self.batch_size, self.state.epoch - self.first_epoch
        return f" in epoch {epoch}, batch {batch} (counted from 0); {self._kept()}"

    def _diverged(self, what):
        remedy = cautions.remedy(self.trainable, self.X, None, self.options.samples)
        raise FloatingPointError(f"training diverged: {what}{self._ending()}. {remedy}")


class OwnFit(_OwnSteps, Fit):
    """The training loop of a fit whose loss is the user's own."""

    __slots__ = ("function", "tries")

    def __init__(self, trainable, *how):
        super().__init__(trainable, *how)
        self.function, self.batches, self.tries = function_of(trainable), 1, 0

    def _next_batch(self):
        """X as the engine reads it, y and the weights of the next batch's samples."""
        columns = self._columns(min(self.state.position + self.batch_size, self.m))
        X = passes.readable(self.engine, self.X, columns, False)
        return X, self.y[..., columns], None if self.sample_weight is None else self.sample_weight[columns]

    def _diagnoses(self, count):
        """Whether the next batch, of so many samples, is the last one of an epoch that asks for diagnostics."""
        return self.options.diagnoses and self.state.position + count == self.m

    def _advance(self, count, total, weight):
        state = self.state
        state.loss_sum += total
        state.weight_sum += weight
        if state.first_loss is None and weight:
            state.first_loss = total / weight
        ended = state.reach(state.position + count, self.m)
        self.trainable.state_epochs = state.time
        return ended

    def _refuse_X(self):
        found = arrays.first_non_finite(self.X, standardisation.dtype_of(self.engine), "feature", self.options.samples)
        if found and self.disturbed:
            raise ValueError(f"X has {found}; {self._kept()}")
        if found:
            with self.writing:
                self._undo()
            self.state = self._first_state()
            raise ValueError(f"X has {found}; the weights are as they were before this call")


class OwnFitOfBatches(_OwnSteps, FitOfBatches):
    """The training loop of a fit on batches whose loss is the user's own."""

    __slots__ = ("function", "tries")

    def __init__(self, trainable, *how):
        super().__init__(trainable, *how)
        self.function, self.tries = function_of(trainable), 0

    def _turn(self, epochs, looks, rates):
        return (
            FitOfBatches._turn(self, epochs, looks, rates) if not self.batches else super()._turn(epochs, looks, rates)
        )

    def _next_batch(self):
        return self.readable, self.y, self.weights[0]

    def _diagnoses(self, count):
        return self.options.diagnoses  # it is not known which batch is the last one

    def _advance(self, count, total, weight):
        state = self.state
        if state.first_loss is None and weight:
            state.first_loss = total / weight
        state.ended, state.ended_rates, self.is_first = None, None, False
        self._count(total, weight)
        return []

    def _refuse_X(self):
        found = arrays.first_non_finite(self.X, standardisation.dtype_of(self.engine))
        if found:
            raise ValueError(f"{self._place()}: X has {found}; {self._kept()}")
