"""fit: epochs in slices of about 50 ms, between which Ctrl-C, callbacks and the bar are served.

A slice is one call of the engine, of many batches and perhaps many epochs. Nothing that it
computes depends on where it was cut.
"""

import contextlib
import time

import numpy as np

from . import arrays, cautions, hints, optimizers
from .progress import Progress

_SLICE_SECONDS = 0.05
_SLICE_EPOCHS = 10_000  # of tiny nets: the history has to be written, too
_SNAPSHOT_SECONDS = 1.0  # how far back a failure may have to be replayed
_SNAPSHOT_SHARE = 0.01  # of the time, at most; with the look at all weights that each one needs
_CAST_BYTES = 1 << 22  # of the samples that a slice casts, where X is not read in place
_NO_EPOCHS = np.empty((0, 2))
_AWAITED_SLICE_SECONDS = 0.005  # where another thread waits for its end
_FIRST_SLICE_FLOP = 5e7  # sized before a speed is known: 50 ms at 1 GFLOP/s, a slow machine


NOT_FINITE_BEFORE = (
    "the loss of the first batch is not finite, before any update: the weights or X are too large. Scale X, or set "
    "smaller weights (set_parameters); nothing was changed"
)


def checked_callbacks(callbacks):
    """A list of callbacks; TypeError for what cannot be called with an epoch and a history."""
    if callbacks is None:
        return []
    if not isinstance(callbacks, (list, tuple)):
        callbacks = [callbacks]
        if not callable(callbacks[0]):
            raise TypeError(
                f"callbacks must be a callable (epoch, history) or a list of them, got {callbacks[0]!r:.80}"
            )
    for i, callback in enumerate(callbacks):
        if not callable(callback):
            raise TypeError(f"callbacks[{i}] must be callable as (epoch, history), got {callback!r:.80}")
        if hints.misfit(callback, (0, None)):
            told = f"; write {callback.__name__}()" if isinstance(callback, type) else ""
            raise TypeError(
                f"callbacks[{i}] must take two arguments, (epoch, history): {callback!r:.80} does not{told}"
            )
    return list(callbacks)


def _is_told_to_stop(result, i):
    """Whether a callback ends training: only True does, or a loss that is returned by chance would."""
    if result is None or isinstance(result, (bool, np.bool_)):
        return bool(result)
    raise TypeError(
        f"callbacks[{i}] returned {result!r:.50}; True ends training, None and False go on: end it without a return"
    )


class History:
    """What :meth:`Network.fit` saw.

    Attributes
    ----------
    loss : list of float
        For each epoch the mean over its samples of each step's loss before its update, weighted
        by the sample weights.
    seconds : float
        Wall time of the whole call.
    stopped : str or None
        "callback" if a callback ended training, None if all epochs ran.
    """

    def __init__(self):
        self.loss = []
        self.seconds = 0.0
        self.stopped = None

    def __getattr__(self, name):
        if name in ("predict", "predict_classes", "evaluate", "score", "fit", "save"):
            raise AttributeError(
                f"a History has no {name!r}: fit returns what it saw, the network is still net: net.{name}"
            )
        if name == "history":
            raise AttributeError("a History has no 'history': write history.loss, a list of one number for each epoch")
        raise AttributeError(f"a History has no {name!r}{hints.did_you_mean(name, vars(self))}")

    def __repr__(self):
        last = f", last loss {self.loss[-1]:.6g}" if self.loss else ""
        why = f", stopped by {self.stopped}" if self.stopped else ""
        return f"<History: {len(self.loss)} epochs{last}, {self.seconds:.2f} s{why}>"


class TrainState:
    """Where training stands between two slices; an engine moves it on."""

    __slots__ = ("ended", "epoch", "failed", "finite", "first_loss", "loss_sum", "order", "position", "weight_sum")

    def __init__(self, epoch, position=0, loss_sum=0.0, weight_sum=0.0):
        self.epoch = epoch  # of the network's life
        self.position = position  # samples of this epoch that are done
        self.loss_sum, self.weight_sum = loss_sum, weight_sum  # over those
        self.ended = None  # sums of the epochs that ended in the last call of an engine
        self.first_loss = None  # mean of the first batch that was trained
        self.failed = False  # a loss was not finite
        self.finite = True  # all weights and moments are
        self.order = None  # of the epoch, where it is shuffled; an engine's own business

    def next_epoch(self):
        """Begin the next epoch."""
        self.epoch += 1
        self.position, self.loss_sum, self.weight_sum, self.order = 0, 0.0, 0.0, None

    def copy(self):
        """The same place, for going back to."""
        twin = TrainState(self.epoch, self.position, self.loss_sum, self.weight_sum)
        twin.first_loss = self.first_loss
        return twin


class Fit:
    """One call of fit.

    Parameters
    ----------
    engine : Engine
    backend : module
        For the order of the samples where X has to be cast on its way in.
    X, y, sample_weight : ndarray, ndarray, ndarray or None
        Checked already.
    optimizer : Optimizer
        The engine's current one.
    batch_size : int
    seed : int or None
        Of the order of the samples; None: as they stand.
    epoch : int
        How many epochs the network has been through before.
    flop_per_sample : float
        To size the first slice.
    snapshot : object
        The engine's, of now.
    undo : callable
        Puts the network back to before the call.
    writing : context manager
        Within it the engine may be used; outside of it other threads may, and callbacks.
    is_awaited : callable
        Whether another thread waits for the engine.
    changes : callable
        What is another value when somebody has changed the network, or trained it.
    go_on : callable
        Told before each slice whether it is; makes what was left ready to be trained, and tells whether anything has
        changed.
    last_loss : float or None
        Mean loss of the epoch before, or 0; None: not to be compared with.
    """

    def __init__(
        self,
        engine,
        backend,
        X,
        y,
        sample_weight,
        optimizer,
        batch_size,
        seed,
        epoch,
        flop_per_sample,
        snapshot,
        undo,
        writing,
        is_awaited,
        changes,
        go_on,
        last_loss,
    ):
        self.engine, self.backend = engine, backend
        self.X, self.y, self.sample_weight = X, y, sample_weight
        self.optimizer, self.batch_size, self.seed = optimizer, batch_size, seed
        self.settings = optimizer  # of the slice
        self.m = X.shape[1]
        self.per_epoch = -(-self.m // batch_size)
        self.slice_state = self.state = TrainState(epoch)
        self.first_epoch = epoch
        self.in_place = arrays.in_place(X, y)
        self.batches = max(1, int(_FIRST_SLICE_FLOP / max(1.0, flop_per_sample * batch_size)))
        self.undo, self.writing, self.is_awaited = undo, writing, is_awaited
        self.changes, self.go_on, self.last_loss = changes, go_on, last_loss
        self.seen, self.disturbed = changes(), False  # by a callback, or another thread
        self.unchecked = False  # whether all weights and moments are finite is not known
        self.first, self.snapshot_every = snapshot, _SNAPSHOT_SECONDS
        self._keep(snapshot, None)

    def run(self, epochs, callbacks, progress, history):
        """Train for `epochs` epochs, filling `history`; returns the epochs that ended."""
        start, done = time.perf_counter(), 0
        try:
            with Progress(progress, epochs) as bar:
                while done < epochs and not history.stopped:
                    # With callbacks a slice ends where an epoch does.
                    some = 1 if callbacks else min(epochs - done, _SLICE_EPOCHS)
                    with self.writing:
                        try:
                            if self.go_on(self._is_changed()):
                                self._take_snapshot()
                            sums = self._slice(some, bool(callbacks))
                            done += len(sums)
                        finally:
                            self.seen = self.changes()
                    history.loss += [total / weight for total, weight in sums.tolist()]
                    if self.last_loss is not None and done:
                        cautions.of_rise(self.state.first_loss, history.loss[0], self.last_loss)
                        self.last_loss = None
                    bar.update(history.loss)
                    if len(sums) and callbacks:
                        for i, callback in enumerate(callbacks):
                            if _is_told_to_stop(callback(done - 1, history), i - 1):
                                history.stopped = "callback"
        except BaseException as error:
            with contextlib.suppress(AttributeError):
                error.history = history
            with self.writing:
                self._is_changed()
                if self.unchecked and not self.engine.is_finite():  # Ctrl-C after a divergence that nobody has seen yet
                    self._replay()
                if (self.state.epoch, self.state.position) == (self.first_epoch, 0) and not self.disturbed:
                    self.undo()  # not one step was made
                self._record(history)
            raise
        finally:
            history.seconds = time.perf_counter() - start

    def _record(self, history):
        """Write down the epochs of the last slice that count and are not there yet; Ctrl-C may come at its very end."""
        missing = self.state.epoch - self.first_epoch - len(history.loss)
        if missing > 0 and self.slice_state.ended is not None:
            ended = np.asarray(self.slice_state.ended).reshape(-1, 2)
            history.loss += [total / weight for total, weight in ended[:missing].tolist()]

    def _is_changed(self):
        """Whether others have changed the network: what they left is refused, or trained, but not gone back from."""
        changed = self.changes() != self.seen
        if changed:
            self.disturbed, self.unchecked = True, False
        return changed

    def _slice(self, epochs, check):
        start = time.perf_counter()
        self._freeze()
        self.slice_state, self.state.ended = self.state, None
        due = start - self.snapshot_time > self.snapshot_every
        last = self.batches >= epochs * self.per_epoch - self.state.position // self.batch_size
        self.unchecked = not (check or due or last)
        sums, batches = self._train(self.state, self.batches, epochs, not self.unchecked)
        if self.state.failed and self.unchecked:
            self.state.finite = self.engine.is_finite()
        if self.state.failed or not self.state.finite:
            self.unchecked = False
            self._explain()
        seconds = time.perf_counter() - start
        if due:
            self._take_snapshot()
        if batches:
            # At most doubled, so that one lucky measurement does not make a slice of a second.
            aim = _AWAITED_SLICE_SECONDS if self.is_awaited() else _SLICE_SECONDS
            wanted = batches * aim / max(seconds, 1e-9)
            self.batches = max(1, int(min(wanted, 2 * self.batches)))
        return sums

    def _train(self, state, batches, epochs, check=True):
        """Up to so many batches and epochs' ends: the sums of the ended epochs, and batches done."""
        if self.in_place:
            before = self._batches_done(state)
            sums = self.engine.train(
                self.X,
                self.y,
                self.sample_weight,
                self.settings,
                self.batch_size,
                self.seed,
                state,
                batches,
                epochs,
                check,
            )
            return sums, self._batches_done(state) - before
        return self._train_cast(state, batches, check)

    def _train_cast(self, state, batches, check):
        """The samples of one slice, picked and cast first: X is never copied as a whole."""
        if state.order is None:
            state.order = (
                np.arange(self.m) if self.seed is None else self.backend.permutation(self.m, self.seed, state.epoch)
            )
        # A picked sample is there twice for a moment: as it came, and cast.
        both = (self.X,) if self.y.ndim == 1 else (self.X, self.y)
        sample = sum(a.shape[0] * (a.itemsize + self.engine.dtype.itemsize) for a in both)
        batches = max(1, min(batches, _CAST_BYTES // (self.batch_size * sample)))
        stop = min(state.position + batches * self.batch_size, self.m)
        columns = state.order[state.position : stop]
        X = arrays.columns_as(self.X, columns, self.engine.dtype)
        y = self.y[columns] if self.y.ndim == 1 else arrays.columns_as(self.y, columns, self.engine.dtype)
        weights = None if self.sample_weight is None else self.sample_weight[columns]
        block = TrainState(0)
        sums = self.engine.train(X, y, weights, self.settings, self.batch_size, None, block, batches, 1, check)
        loss_sum, weight_sum = sums[0].tolist() if len(sums) else (block.loss_sum, block.weight_sum)
        state.loss_sum += loss_sum
        state.weight_sum += weight_sum
        state.finite = block.finite
        if state.first_loss is None:
            state.first_loss = block.first_loss
        state.ended = None
        if block.failed:
            state.failed = True
            state.position += block.position
            return _NO_EPOCHS, 0
        state.position = stop
        if stop < self.m:
            return _NO_EPOCHS, batches
        state.ended = ended = np.array([(state.loss_sum, state.weight_sum)])
        state.next_epoch()
        return ended, batches

    def _batches_done(self, state):
        return state.epoch * self.per_epoch + state.position // self.batch_size

    def _take_snapshot(self):
        start = time.perf_counter()
        newest, oldest = self.engine.snapshot(self.spare), self.snapshot
        self._keep(newest, None if oldest is self.first else oldest)  # the first may still be needed, to undo all
        self.snapshot_every = max(_SNAPSHOT_SECONDS, (self.snapshot_time - start) / _SNAPSHOT_SHARE)

    def _keep(self, snapshot, spare):
        self.snapshot, self.spare, self.snapshot_state = snapshot, spare, self.state.copy()
        self.snapshot_time = time.perf_counter()
        self.used = []  # since then: the batches that were done, and the settings from there on

    def _freeze(self):
        """Take the settings of the next slice: what another thread changes meanwhile counts from the one after it."""
        self.settings = self.optimizer.frozen()
        optimizers.check_held(self.settings, self.engine.dtype)
        self.used.append((self._batches_done(self.state), self.settings))

    def _explain(self):
        """Raise for a loss, a weight or a moment that is not finite, with the network left as promised."""
        for name, array, row in (("X", self.X, "feature"), ("y", self.y, "output")):
            found = arrays.first_non_finite(array, self.engine.dtype, row)
            if found and self.disturbed:
                if not self.state.finite:
                    self._replay()
                raise ValueError(f"{name} has {found}; the last finite weights are kept")
            if found:
                self.undo()
                self.state = TrainState(self.first_epoch)
                raise ValueError(f"{name} has {found}; the weights are as they were before this call")
        if not self.state.finite:
            self._replay()
        batch = self.state.position // self.batch_size
        if (self.state.epoch, self.state.position) == (self.first_epoch, 0) and self.state.failed:
            raise FloatingPointError(NOT_FINITE_BEFORE)
        raise FloatingPointError(
            f"training diverged: the loss, a weight or a moment was no longer finite in epoch "
            f"{self.state.epoch - self.first_epoch}, batch {batch} (counted from 0, with {self.settings}); "
            f"the last finite weights are kept. {cautions.remedy(self.X, self.y, self.backend.largest)}"
        )

    def _replay(self):
        """Go back to the snapshot and forward again, batch by batch, to the last finite weights.

        With the settings of then; and not beyond where the failure was seen, should it not show again: another thread
        may have changed the data.
        """
        end = self._batches_done(self.state)
        self.engine.restore(self.snapshot)
        self.state = self.snapshot_state.copy()
        while (done := self._batches_done(self.state)) < end:
            self.settings = [settings for since, settings in self.used if since <= done][-1]
            weights, state = self.engine.snapshot(), self.state.copy()
            self._train(self.state, 1, 1)
            if self.state.failed or not self.state.finite:
                self.engine.restore(weights)
                self.state = state
                return
