"""fit: trains in slices of about 50 ms, and handles Ctrl-C, callbacks and the progress bar between them.

A slice is one call of the engine: many batches, perhaps many epochs. Results do not depend on
where one slice ends and the next begins.
"""

import contextlib
import time

import numpy as np

from . import arrays, cautions, diagnostics, fit_options, hints, optimizers, passes, standardisation
from .history import History, TrainState
from .one_step import not_finite_before
from .progress import progress_bar
from .schedules import Cosine, Plateau, Schedule, rate_of
from .settings import check_flag
from .stopping import EarlyStopping, check_monitor

_SLICE_SECONDS = 0.05
_SLICE_EPOCHS = 10_000  # the most epochs of a slice, for tiny networks: the history takes time, too
_SNAPSHOT_SECONDS = 1.0  # the shortest time between two snapshots; after a divergence fit replays from the last one
_SNAPSHOT_SHARE = 0.01  # the largest share of the time that snapshots take
_CAST_BYTES = 1 << 22  # the most bytes of samples that a slice casts, if X cannot be read in place
_AWAITED_SLICE_SECONDS = 0.005  # the length of a slice while another thread waits for its end
_FIRST_SLICE_FLOP = 5e7  # size of the first slice, when the speed is unknown: 50 ms at 1 GFLOP/s, a slow machine


def _place_of(thing):
    """What to write if `thing` is no callback, but an argument of another name."""
    if isinstance(thing, EarlyStopping):
        return "; write early_stopping="
    if hasattr(thing, "on_epoch_end"):  # Keras'
        return "; give a function (epoch, history), which is called after each epoch"
    return "; write it as lr of the optimizer" if isinstance(thing, Schedule) else ""


def checked_callbacks(callbacks):
    """Return `callbacks` as a list; TypeError if one of them cannot be called as callback(epoch, history)."""
    if callbacks is None:
        return []
    if not isinstance(callbacks, (list, tuple)):
        if not callable(callbacks):
            told = _place_of(callbacks)
            raise TypeError(
                f"callbacks must be a callable (epoch, history) or a list of them, got {callbacks!r:.80}{told}"
            )
        callbacks = [callbacks]
    for i, callback in enumerate(callbacks):
        if not callable(callback):
            told = _place_of(callback)
            raise TypeError(f"callbacks[{i}] must be callable as (epoch, history), got {callback!r:.80}{told}")
        if callback is EarlyStopping:
            raise TypeError(f"callbacks[{i}] is the class EarlyStopping: write early_stopping=EarlyStopping(...)")
        if hints.misfit(callback, (0, None)):
            told = f"; write {callback.__name__}()" if isinstance(callback, type) else ""
            raise TypeError(
                f"callbacks[{i}] must take two arguments, (epoch, history): {callback!r:.80} does not{told}"
            )
        begin = getattr(callback, "begin", None)
        if begin is not None and isinstance(callback, type):
            raise TypeError(f"callbacks[{i}] is a class; write {callback.__name__}() for an object of it")
        if begin is not None and (not callable(begin) or hints.misfit(begin, (None,))):
            raise TypeError(f"callbacks[{i}].begin must be a method that takes one argument, the network")
    return list(callbacks)


def _is_told_to_stop(result, i):
    """Whether a callback's result ends training. Only True does: a returned loss, for example, must not end it."""
    if result is None or isinstance(result, (bool, np.bool_)):
        return bool(result)
    raise TypeError(
        f"callbacks[{i}] returned {result!r:.50}; True ends training, None and False continue; other values are errors"
    )


def fit(
    network,
    trainable,
    X,
    y,
    epochs,
    batch_size,
    optimizer,
    shuffle,
    sample_weight,
    callbacks,
    progress,
    rarer,
    given=None,
    terms=None,
):
    """:meth:`Network.fit`, whose arguments these are; `rarer`: those of fit_options.checked.

    `given` is None; or batches.given, which prepares an X that gives batches, where there is no y. `terms` is None, or
    the Terms of an estimator; then no DataWarning is given. A call for one batch of a small network is mostly this
    function: what an ordinary call has no use for costs no more than an `if`.

    Returns
    -------
    History
    """
    if type(epochs) is not int or epochs < 0:
        epochs = arrays.whole_number(epochs, "epochs", 0)
    if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
        batch_size = arrays.whole_number(batch_size, "batch_size", 1)
    optimizer = trainable.optimizer if optimizer is None else optimizers.check_optimizer(optimizer)
    if shuffle is not True and shuffle is not False:
        check_flag("shuffle", shuffle)
    if progress is not None and progress is not False:
        check_flag("progress", progress)
    callbacks = [] if type(callbacks) is tuple and not callbacks else checked_callbacks(callbacks)
    if given is None:
        kind = _own_fit() if trainable.is_own else Fit
        data, options = trainable.data(X, y, sample_weight), fit_options.NONE
        if not fit_options.are_absent(rarer):
            options, weights = fit_options.checked(trainable, data, y, rarer)
            data = (*data[:2], weights)
        m = data[0].shape[1] if options.samples is None else len(options.samples)
        if shuffle and m >= 2**32:
            raise ValueError(f"X has {m} samples; shuffle=True takes fewer than 2**32")
        is_large = False
        if terms is not None:
            options, is_large = terms.added_to(options), True
        elif epochs:
            cautions.of_targets(data[1], trainable)
            if trainable.engine.standards is None:
                is_large = cautions.of_scale(data[0], batch_size or m, trainable.backend.largest, options.samples)
    else:
        kind, data, options = given(trainable, X, epochs, batch_size, shuffle, sample_weight, rarer)
        m, is_large = 1, True  # each batch is one, and warns by itself
    if type(optimizer.lr) is Plateau:
        check_monitor("lr", optimizer.lr.monitor, options.names())
    history = History()
    if options is not fit_options.NONE:
        history.validation_samples = options.kept_back
    with trainable.guard.fitting:
        with trainable.guard.writing:
            before = trainable.snapshot()
            try:
                afresh = trainable.make_current(optimizer)
                if epochs:
                    trainable.refuse_all_frozen()
                    trainable.refuse_non_finite()
                job = kind(trainable, data, optimizer, min(batch_size or m, m), shuffle, before, afresh, options)
                if epochs and not is_large:  # else there was a warning about X already
                    job.last_loss = trainable.loss_before(*data, options.samples)
            except BaseException as error:  # no memory, Ctrl-C
                trainable.go_back(before)
                error.history = history
                raise
        try:
            if terms is not None:
                terms.begin(trainable.engine)
            job.run(epochs, callbacks, progress, history, network)
        finally:
            if terms is not None:
                terms.end()
            trainable.epochs_done = job.state.epoch
            if history.loss:
                trainable.last_loss = history.loss[job.last_epoch]
    if type(optimizer.lr) is Cosine and terms is None and trainable.optimizer is optimizer:
        steps = trainable.engine.steps()
        cautions.of_ended_schedule(history.lr, optimizer.lr, job.state.time if optimizer.lr.per == "epoch" else steps)
    return history


def _own_fit():
    from .own_fit import OwnFit  # which imports this module

    return OwnFit


class _Rates:
    """The learning rates of the next batches, where lr is a function of the user's.

    If one of them is an error, only the rates before it: their batches are trained first, so that it does not depend on
    slices which weights are kept.
    """

    def __init__(self, fit, lr, epochs):
        state, size, m = fit.state, fit.batch_size, fit.m
        self.lr, self.start, rates = lr, (state.time, state.position), []
        time, position = self.start
        for _ in range(min(fit.batches, epochs * fit.per_epoch - position // size)):
            try:
                rates.append(rate_of(lr, time + position / m, fit.engine.dtype))
            except Exception:  # of any kind, from the function
                if not rates:
                    raise
                break
            position += size
            if position >= m:
                time, position = time + 1, 0
        self.values = np.array(rates, np.float64)

    def are_for(self, lr, state):
        """Whether these rates are of that function, and begin at that state."""
        return lr is self.lr and self.start == (state.time, state.position)


class Fit:
    """The training loop of one call of fit.

    Parameters
    ----------
    trainable : Trainable
    data : (ndarray, ndarray, ndarray or None)
        X, y and weights of samples, checked already.
    optimizer : Optimizer
        The optimizer that make_current() was called with.
    batch_size : int
    shuffle : bool
        False: samples are used in the given order.
    before : object
        The trainable's snapshot from before the call.
    afresh : bool
        Whether make_current() has started a new optimizer state since `before`.
    options : Options
    """

    # With __slots__, because more than 30 attributes in a dict are slow.
    __slots__ = (
        "X",
        "backend",
        "batch_size",
        "batches",
        "before",
        "disturbed",
        "engine",
        "first",
        "first_epoch",
        "first_time",
        "in_place",
        "last_epoch",
        "last_loss",
        "m",
        "measured",
        "optimizer",
        "options",
        "orders",
        "per_epoch",
        "plateau",
        "sample_weight",
        "seed",
        "seen",
        "settings",
        "slice_state",
        "snapshot",
        "snapshot_every",
        "snapshot_state",
        "snapshot_time",
        "spare",
        "state",
        "trainable",
        "unchecked",
        "used",
        "writing",
        "y",
    )

    fetches = False  # whether the data of a slice is fetched before it

    def __init__(self, trainable, data, optimizer, batch_size, shuffle, before, afresh, options):
        self.trainable, self.engine, self.backend = trainable, trainable.engine, trainable.backend
        self.writing, self.options = trainable.guard.writing, options
        self.X, self.y, self.sample_weight = data
        self.optimizer, self.batch_size, self.orders = optimizer, batch_size, options.orders
        self.seed = trainable.seed if shuffle and self.orders is None else None
        self.settings = optimizer  # the optimizer's settings for the present slice
        self.plateau = None  # its lr, if that is a Plateau: the settings have its number
        self.m = self.X.shape[1] if options.samples is None else len(options.samples)
        self.per_epoch = -(-self.m // batch_size)
        self.first_epoch, self.first_time = trainable.epochs_done, trainable.state_epochs
        self.slice_state = self.state = self._first_state()
        self.in_place = (self.y.ndim == 1 and self.engine.reads(self.X)) or arrays.in_place(self.X, self.y)
        self.batches = 1 + int(_FIRST_SLICE_FLOP / (6.0 * trainable.n_params * batch_size + self.backend.BATCH_FLOP))
        self.before = before
        self.measured = None  # the diagnostics of the last step
        self.last_loss = None  # loss before this fit, to compare the first epoch with; None: do not compare
        # The version after our last slice; whether a callback or another thread has changed the network since.
        self.seen, self.disturbed = trainable.version(), False
        self.last_epoch = -1  # whose weights are kept: the place of its numbers in the history
        self.unchecked = False  # True: it is not known whether all weights and moments are finite
        self.first = self.snapshot = self.engine.snapshot() if afresh else before[0]
        self.spare = self.snapshot_state = None  # None: the state at the start
        self.snapshot_every, self.snapshot_time = _SNAPSHOT_SECONDS, time.perf_counter()
        self.used = []  # (batches done, settings, rates) at the start of each slice since the snapshot

    def _first_state(self):
        return TrainState(self.first_epoch, self.first_time)

    def run(self, epochs, callbacks, progress, history, network):
        """Train for `epochs` epochs, and fill `history`; callbacks that have a method begin() get `network` first."""
        start, done = time.perf_counter(), 0
        options, bar = self.options, None
        # Whether something happens after each epoch: then a slice ends where an epoch ends.
        looks = bool(callbacks) or options.measures is not None or options.stopper is not None or options.diagnoses
        watch = options.watch
        looks = looks or (watch is not None and watch.looks)
        try:
            for callback in callbacks:
                if getattr(callback, "begin", None) is not None:
                    callback.begin(network)
            bar = progress_bar(progress, epochs)
            while done < epochs and not history.stopped:
                # What the user wrote, an iterable or a function as lr, is called outside of `writing`.
                if self.fetches:
                    self.fetch()
                lr = self.optimizer.lr
                looks = looks or type(lr) is Plateau
                some = 1 if looks or epochs == 1 else min(epochs - done, _SLICE_EPOCHS)
                if watch is not None:
                    some = min(some, watch.calm())
                rates = None if type(lr) is float or isinstance(lr, Schedule) else _Rates(self, lr, some)
                sums = self._turn(some, looks, rates)
                done += len(sums)
                history.loss += [total / weight for total, weight in sums]
                if sums:
                    history.lr += self.state.rates()
                if watch is not None and watch.note(history):
                    history.stopped = "callback"
                if self.last_loss is not None and done:
                    if history.loss[0] > self.last_loss:
                        cautions.of_rise(self.state.first_loss, history.loss[0], self.last_loss)
                    self.last_loss = None
                if looks and sums:
                    self.trainable.epochs_done = self.state.epoch  # so that a callback sees and saves it
                    self._after_epoch(done - 1, callbacks, history)
                if bar is not None:
                    bar.update(self.state.position / self.m, history, self.state.rate)
                is_late = options.max_seconds is not None and time.perf_counter() - start >= options.max_seconds
                if is_late and done < epochs and not history.stopped:
                    history.stopped = "max_seconds"
            if options.stopper is not None:
                self._restore_best(history)
        except BaseException as error:
            with contextlib.suppress(AttributeError):
                error.history = history
            with self.writing:
                self._is_changed()
                if self.unchecked and not self.engine.is_finite():  # Ctrl-C came before a divergence was found
                    self._replay()
                if self.trainable.optimizer is self.optimizer and self.trainable.state_key is not None:
                    self.trainable.state_epochs = self.state.time
                if (self.state.epoch, self.state.position) == (self.first_epoch, 0) and not self.disturbed:
                    self._undo()  # no step was made
                self._record(history)
            if not isinstance(error, KeyboardInterrupt) and self.state.epoch > self.first_epoch:
                self._restore_best(history)
            raise
        finally:
            history.seconds = time.perf_counter() - start
            if bar is not None:
                bar.close()

    def _turn(self, epochs, looks, rates):
        """A slice, while no other call uses the network's numbers; the sums of the epochs that ended."""
        with self.writing:
            try:
                self._make_ready()
                return self._slice(epochs, looks, rates)
            finally:
                self.seen = self.trainable.version()
                self.trainable.state_epochs = self.state.time

    def _after_epoch(self, epoch, callbacks, history):
        """Measure, let a Plateau change the learning rate, call the callbacks, and decide whether to stop early."""
        measures, stopper = self.options.measures, self.options.stopper
        if self.options.diagnoses:
            diagnostics.record(history, self.measured, [g.name for g in self.trainable.activations])
        if measures is not None:
            measures.take(history)
        plateau, trainable = self.plateau, self.trainable
        if plateau is not None:
            number, greater_is_better = history.last(plateau.monitor), self.options.names()[plateau.monitor]
            trainable.plateau = trainable.progress_of(plateau).after(number, greater_is_better)
        for i, callback in enumerate(callbacks):
            if _is_told_to_stop(callback(epoch, history), i):
                history.stopped = "callback"
        if stopper is not None:
            if stopper.look(epoch, history, self.trainable) and not history.stopped:
                history.stopped = "early_stopping"
            history.best_epoch = stopper.best_epoch

    def _restore_best(self, history):
        """With early stopping: go back to the weights of the best epoch."""
        stopper = self.options.stopper
        if stopper is not None and stopper.state is not None:
            stopper.restore(self.trainable)
            self.last_epoch = stopper.best_epoch

    def _record(self, history):
        """Add the last slice's finished epochs that are missing in `history`: Ctrl-C may come before they are added."""
        missing = self.state.epoch - self.first_epoch - len(history.loss)
        if missing > 0 and self.slice_state.ended is not None:
            history.loss += [total / weight for total, weight in self.slice_state.ended[:missing]]
        missing = len(history.loss) - len(history.lr)
        if missing > 0:
            history.lr += self.slice_state.rates()[:missing]

    def _undo(self):
        """Restore the network as it was before the call."""
        self.trainable.go_back(self.before)

    def _make_ready(self):
        """Before a slice: if a callback or another thread has changed the network, check it and take a snapshot."""
        changed = self._is_changed() | self.trainable.make_current(self.optimizer)
        if changed:
            self.trainable.refuse_all_frozen()
            self.state.time = self.trainable.state_epochs
            self.trainable.refuse_non_finite()
            self._take_snapshot()

    def _is_changed(self):
        """Whether a callback or another thread has changed the network; then fit no longer restores an older state."""
        changed = self.trainable.version() != self.seen
        if changed:
            self.disturbed, self.unchecked = True, False
        return changed

    def _take_settings(self, check, rates):
        """Copy the optimizer's settings; later changes by other threads apply to the slice after this.

        Returns
        -------
        bool
            False: another thread has changed lr since this slice was begun; begin another one.
        """
        self.settings = settings = self.optimizer.frozen(self.engine.dtype)
        lr, self.plateau = settings.lr, None
        if type(lr) is float:
            self.state.rate = lr  # where lr is constant, the engine does not say it
            return rates is None
        if not isinstance(lr, Schedule):
            return rates is not None and rates.are_for(lr, self.state)
        if type(lr) is Plateau:
            check_monitor("lr", lr.monitor, self.options.names())
            self.settings, self.plateau = settings.with_lr(self.trainable.progress_of(lr).lr), lr
            self.state.rate = self.settings.lr
            return rates is None and check  # only if this slice ends where its epoch ends
        return rates is None

    def _slice(self, epochs, check, rates):
        start, state, batches = time.perf_counter(), self.state, self.batches
        before = self._batches_done(state)
        if not self._take_settings(check, rates):
            return []
        if rates is not None:
            batches = min(batches, len(rates.values))
        self.used.append((before, self.settings, rates))
        self.slice_state, state.ended, state.ended_rates = state, None, None
        due = start - self.snapshot_time > self.snapshot_every
        left = epochs * self.per_epoch - state.position // self.batch_size
        last = batches >= left
        if last and self.options.diagnoses:
            state.diagnostics = diagnostics.room(len(self.trainable.sizes) - 1)
        self.unchecked = not (check or due or last)
        sums = self._train(state, batches, epochs, not self.unchecked, None if rates is None else rates.values)
        self.measured, state.diagnostics = state.diagnostics, None
        if state.failed and self.unchecked:
            state.finite = self.engine.is_finite()
        if state.failed or not state.finite:
            self.unchecked = False
            self._explain()
        if due:
            self._take_snapshot()
        if not last:  # else the next slice, if there is one, also ends where its epochs end
            # At most doubled, so that one lucky measurement does not make a slice of a second.
            aim = _AWAITED_SLICE_SECONDS if self.trainable.guard.is_awaited() else _SLICE_SECONDS
            wanted = (self._batches_done(state) - before) * aim / max(time.perf_counter() - start, 1e-9)
            self.batches = max(1, int(min(wanted, 2 * self.batches)))
        return sums

    def _train(self, state, batches, epochs, check=True, rates=None):
        """Train up to `batches` batches or `epochs` epochs; return the sums of the epochs that ended."""
        if not self.in_place:
            return self._train_cast(state, batches, check, rates)
        data, how = (self.X, self.y, self.sample_weight), (self.settings, self.batch_size, self.seed)
        samples = self.options.samples
        if self.orders is not None:
            ends = (state.position // self.batch_size + batches) // self.per_epoch
            samples = self.orders.of(state.epoch, min(epochs, ends + 1))
        return self.engine.train(*data, *how, state, batches, epochs, check, samples, rates)

    def _train_cast(self, state, batches, check, rates):
        """As _train, after selecting and casting only the samples of this slice: X is never copied as a whole."""
        # Each selected sample needs memory twice for a short time: in its own dtype, and cast.
        both = (self.X,) if self.y.ndim == 1 else (self.X, self.y)
        cast = standardisation.dtype_of(self.engine).itemsize
        sample = sum(a.shape[0] * (a.itemsize + cast) for a in both)
        batches = max(1, min(batches, _CAST_BYTES // (self.batch_size * sample)))
        stop = min(state.position + batches * self.batch_size, self.m)
        columns = self._columns(stop)
        X, y = passes.cast(self.engine, self.X, self.y, columns, False)
        weights = None if self.sample_weight is None else self.sample_weight[columns]
        # The sums go on in the block, so that their bits do not depend on where a block ends.
        block = TrainState(0, state.time, 0, state.loss_sum, state.weight_sum, state.rate)
        block.before, block.whole = state.position, self.m
        block.diagnostics = state.diagnostics if stop == self.m else None
        how = self.settings, self.batch_size, None
        sums = self.engine.train(X, y, weights, *how, block, batches, 1, check, None, rates)
        state.loss_sum, state.weight_sum = sums[0] if sums else (block.loss_sum, block.weight_sum)
        state.finite, state.rate = block.finite, block.rate
        if state.first_loss is None:
            state.first_loss = block.first_loss
        if block.failed:
            state.failed = True
            stop = state.position + block.position
        return state.reach(stop, self.m)

    def _columns(self, stop):
        """The samples of this epoch from the present position to `stop`; a slice if they are in the given order."""
        state, order = self.state, self.options.samples
        if self.orders is not None:
            order = self.orders.of(state.epoch)[0]
        elif self.seed is not None:
            if state.order is None:
                drawn = self.backend.permutation(self.m, self.seed, state.epoch)
                state.order = drawn if order is None else order[drawn]
            order = state.order
        columns = slice(state.position, stop)
        return columns if order is None else order[columns]

    def _batches_done(self, state):
        return state.epoch * self.per_epoch + state.position // self.batch_size

    def _take_snapshot(self):
        start = time.perf_counter()
        newest, oldest = self.engine.snapshot(self.spare), self.snapshot
        self.snapshot, self.snapshot_state, self.used = newest, self.state.copy(), []
        if self.orders is not None:
            self.orders.mark()
        self.spare = None if oldest is self.first else oldest  # keep the first one: _undo may need it
        self.snapshot_time = time.perf_counter()
        self.snapshot_every = max(_SNAPSHOT_SECONDS, (self.snapshot_time - start) / _SNAPSHOT_SHARE)

    def _explain(self):
        """Raise the error for a non-finite loss, weight or moment, after restoring the state that fit promises."""
        samples = self.options.samples
        for name, array, row in (("X", self.X, "feature"), ("y", self.y, "output")):
            found = arrays.first_non_finite(array, standardisation.dtype_of(self.engine), row, samples)
            if found and self.disturbed:
                if not self.state.finite:
                    self._replay()
                raise ValueError(f"{name} has {found}; {self._kept()}")
            if found:
                self._undo()
                self.state = self._first_state()
                raise ValueError(f"{name} has {found}; the weights are as they were before this call")
        if not self.state.finite:
            self._replay()
        self._refuse_divergence(samples)

    def _refuse_divergence(self, samples=None):
        """Raise the error for a divergence in the batch at the present position."""
        batch = self.state.position // self.batch_size
        if (self.state.epoch, self.state.position) == (self.first_epoch, 0) and self.state.failed:
            raise not_finite_before(self.trainable, self.X, self.y, samples)
        raise FloatingPointError(
            f"training diverged: the loss, a weight or a moment was no longer finite in epoch "
            f"{self.state.epoch - self.first_epoch}, batch {batch} (counted from 0, with {self.settings}); "
            f"{self._kept()}. {cautions.remedy(self.trainable, self.X, self.y, samples)}"
        )

    def _kept(self):
        stopper = self.options.stopper
        if stopper is not None and stopper.state is not None:
            return f"the weights of epoch {stopper.best_epoch}, the best one, come back"
        return "the last finite weights are kept"

    def _replay(self):
        """Restore the snapshot and repeat the training batch by batch, up to the last finite weights.

        Each batch uses the settings of its time. The replay stops at the batch where the failure was found, even if the
        failure does not occur again: another thread may have changed the data.
        """
        end = self._batches_done(self.state)
        self.engine.restore(self.snapshot)
        self.state = self.snapshot_state.copy() if self.snapshot_state else self._first_state()
        while (done := self._batches_done(self.state)) < end:
            since, self.settings, rates = [used for used in self.used if used[0] <= done][-1]
            weights, state = self.engine.snapshot(), self.state.copy()
            self._train(self.state, 1, 1, True, None if rates is None else rates.values[done - since :])
            if self.state.failed or not self.state.finite:
                self.engine.restore(weights)
                self.state = state
                return
