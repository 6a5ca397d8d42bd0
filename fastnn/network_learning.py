"""The methods of Network that take targets: losses, gradients and training."""

import numpy as np

from . import (
    batches,
    cautions,
    differences,
    evaluation,
    fit_options,
    flat,
    given_gradients,
    hints,
    one_step,
    own_loss,
    passes,
    standardisation,
    tables,
)
from . import training as loop
from .settings import check_flag


class Network:
    """The methods of :class:`fastnn.Network` that take targets y; it alone inherits from this class.

    Both have one name, because Python's errors about a method's arguments begin with that of its class.
    """

    # --- losses and gradients ---------------------------------------------------------------------

    @hints.explained
    def loss(self, X, y, sample_weight=None):
        """Mean loss over the samples.

        Parameters
        ----------
        X : array_like or sparse, (n_0, m)
        y : array_like
            Targets: (n_L, m) values; or (m,) class codes 0..n_L-1; with one output, (m,) values. With
            loss quantile (m,) or (1, m) values of the one target; with gaussian_nll (n_L / 2, m) values,
            or for two outputs (m,).
        sample_weight : array_like, (m,), optional
            Weights w_i of the samples; the mean is then sum(w_i L_i) / sum(w_i).

        Returns
        -------
        float

        Raises
        ------
        ValueError, TypeError
            If shapes do not match, targets are out of range, or there is no sample.
        """
        X, y, sample_weight = self._trainable.data(X, y, sample_weight)
        if self._trainable.is_own:
            return own_loss.mean_loss(self._trainable, X, y, sample_weight)
        with self._guard.reading:
            return passes.mean_loss(self._engine, X, y, sample_weight)

    @hints.explained
    @tables.documented
    def evaluate(self, X, y, sample_weight=None, metrics=()):
        """Mean loss, for the two cross-entropy losses the accuracy of the predicted classes, and any metrics.

        Parameters
        ----------
        X : array_like or sparse, (n_0, m)
        y : array_like
            As for :meth:`loss`.
        sample_weight : array_like, (m,), optional
            As for :meth:`loss`; for our metrics, too.
        metrics : list of str, (str, dict) or callable
            |metrics|

            r2, rmse and mae take for a the means of gaussian_nll, the level of quantile that is nearest
            to 0.5 (of two the first), and exp(A) with poisson.
            With a loss of your own these three compare the outputs with a y of their shape; the others
            take class codes (m,), or what the cross-entropy of sigmoid or softmax outputs takes.
            A callable gets `y` as it was given, and the outputs A (n_L, m), read-only; it returns a
            number, and gets no weights.

        Returns
        -------
        dict of str to float
            "loss"; for classifiers "accuracy": the share of samples whose predicted class is right.
            With several sigmoid outputs: for labels (n_L, m), the share of all labels that are
            predicted right; for codes (m,), the share of samples whose largest output is that of
            their class. And each of the `metrics`, by its name or the function's ``__name__``.

        Raises
        ------
        ValueError, TypeError
            If a metric is not known, or does not fit the targets.

        Examples
        --------
        >>> net = Network([1, 1], ["identity"], init="zeros", seed=0)
        >>> net.evaluate([[1.0, 2.0]], [0.0, 4.0], metrics=["rmse", "r2"])
        {'loss': 8.0, 'rmse': 2.8284271247461903, 'r2': -1.0}
        """
        return evaluation.evaluate(self._trainable, X, y, sample_weight, metrics)

    @hints.explained
    def gradients(self, X, y, sample_weight=None, *, training=False):
        """Mean loss, and its gradients with respect to all parameters.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`loss`.
        training : bool
            True: compute as the next update of :meth:`fit` or :meth:`train_step` would, with all of X
            as one batch: with its dropout masks, and with the statistics of X in batch norm. The
            memory grows with m. Nothing changes: no running statistics, and no count of updates.

        Returns
        -------
        loss : float
        gradients : list of (dW, db)
            For each layer dW (n_l, n_{l-1}) and db (n_l, 1), without weight decay. A layer with a norm
            has (dW, db, dgamma, dbeta), the last two (n_l, 1).

        Raises
        ------
        ValueError, TypeError
            As for :meth:`loss`; and if `training` is neither True nor False.

        Examples
        --------
        >>> net = Network([2, 3, 1], ["tanh", "identity"], seed=0, norm="batch")
        >>> loss, gradients = net.gradients([[0.0, 1.0, 2.0], [1.0, 0.0, 0.5]], [0.0, 1.0, 2.0], training=True)
        >>> [len(layer) for layer in gradients]
        [4, 2]
        """
        check_flag("training", training)
        X, y, sample_weight = self._trainable.data(X, y, sample_weight)
        if self._trainable.is_own:
            return own_loss.gradients(self._trainable, X, y, sample_weight, bool(training))
        with self._guard.reading:
            return passes.gradients(self._engine, X, y, sample_weight, bool(training))

    @hints.explained
    def backward(self, X, dA, training=False):
        """The gradients that belong to a derivative by the outputs, which you compute.

        For losses that are no function of one sample's outputs and targets alone, such as policy
        gradients, or terms of a physical model; :meth:`update` makes an update from the gradients.

        Parameters
        ----------
        X : array_like or sparse, (n_0, m)
        dA : array_like, (n_L, m)
            For each sample the derivative of its loss by its outputs A[L], without 1/m.
        training : bool
            True: compute as the next update would, with all of X as one batch: with its dropout masks,
            and with the statistics of X in batch norm, whose running statistics move as in that update.
            Nothing else changes, and without batch norm nothing.

        Returns
        -------
        gradients : list of (dW, db)
            The means over the m samples: for each layer dW (n_l, n_{l-1}) and db (n_l, 1); a layer with a
            norm has (dW, db, dgamma, dbeta), the last two (n_l, 1).
        dX : ndarray, (n_0, m)
            For each sample the derivative of its loss by its inputs, without 1/m; an array even if X is
            sparse. In batch norm with `training` the samples depend on one another: it is the derivative of
            the sum of all losses.

        Raises
        ------
        ValueError, TypeError
            If `X` or `dA` does not fit; where running statistics move, also if X is not finite.
        FloatingPointError
            If the running statistics would not be finite; nothing is then changed.

        Notes
        -----
        Backward: dZ = dA * g'(Z), dW = dZ A_prev^T / m, db = rowsum(dZ) / m, dA_prev = W^T dZ, layer by layer;
        M. Nielsen, "Neural Networks and Deep Learning", 2015, chapter 2.

        Examples
        --------
        >>> net = Network([2, 1], ["identity"], init="zeros", seed=0)
        >>> net.set_flat_parameters([3.0, 4.0, 0.0])
        >>> gradients, dX = net.backward([[1.0, 2.0], [0.0, 1.0]], [[1.0, 0.5]])
        >>> gradients[0][0]
        array([[1.  , 0.25]], dtype=float32)
        >>> dX
        array([[3. , 1.5],
               [4. , 2. ]], dtype=float32)
        """
        if training is not False:
            check_flag("training", training)
        moves = training and self._trainable.has_batch_norm
        found = None if moves else self._engine.quick_backward(X, dA, training, self._guard)
        return given_gradients.backward(self._trainable, X, dA, bool(training)) if found is None else found

    @hints.explained
    def loss_and_gradient(self, v, X, y, sample_weight=None):
        """Mean loss and its gradient as functions of all parameters, for a general optimizer such as SciPy's.

        The network stays as it is.

        Parameters
        ----------
        v : array_like, (P,)
            Parameters in the order of :attr:`flat_parameters`.
        X, y, sample_weight
            As for :meth:`loss`.

        Returns
        -------
        loss : float
        gradient : ndarray, (P,)
            Of v's dtype (float64 for integers); computed in the network's dtype. By all parameters, also
            those of layers that :attr:`Network.trainable` freezes.

        Raises
        ------
        ValueError, TypeError
            If `v` or the data do not fit.

        Examples
        --------
        >>> net = Network([1, 1], ["identity"], dtype="float64", seed=0)
        >>> net.loss_and_gradient([2.0, 0.0], [[1.0, 2.0]], [3.0, 4.0])
        (0.5, array([-1., -1.]))
        """
        return flat.loss_and_gradient(self._trainable, v, X, y, sample_weight)

    @hints.explained
    def gradient_check(self, X, y, *, training=False):
        """Compare the gradients with central differences of the loss.

        The differences are computed by a float64 copy of the network: each parameter w is moved by
        1e-6 * max(1, abs(w)) in both directions. Of more than 2000 parameters a random sample of about
        2000 is checked.

        Parameters
        ----------
        X, y
            As for :meth:`loss`; a few samples are enough.
        training : bool
            True: check the gradients of the next update, as for :meth:`gradients`; the differences are
            computed with the same dropout masks and with batch statistics, too.

        Returns
        -------
        float
            ||g - d|| / (||g|| + ||d||), with g the gradients of this network and d the
            differences. For correct gradients it is below 1e-7 in float64, and about 1e-6 to 1e-4,
            the rounding of the gradient itself, in float32; more if the input of a relu is close
            to 0. At 0 itself, as for a sample of zeros where b is 0, a relu has no derivative: ours is 0, the
            difference 1/2. It is 0 if g and d are both 0.

        Raises
        ------
        ValueError, TypeError
            As for :meth:`gradients`.
        """
        check_flag("training", training)
        data, is_own = self._trainable.data(X, y, None), self._trainable.is_own
        if is_own:
            _, gradients = own_loss.gradients(self._trainable, *data, bool(training))
        with self._guard.reading:
            if not is_own:
                _, gradients = passes.gradients(self._engine, *data, bool(training))
            parameters = [tuple(T.astype(np.float64) for T in layer) for layer in self._engine.parameters()]
            twin = self._in_float64()
        return differences.relative_error(twin, parameters, gradients, X, y, training)

    # --- training ---------------------------------------------------------------------------------

    @hints.explained
    def adapt(self, X, y=None):
        """Measure mean and standard deviation of each feature, and standardise with them from now on.

        X goes in as it is, in any units: the network reads (X - mean) / scale, computed in float64 as the
        numbers are read. With `y` it learns (y - mean) / scale of each target, too, and its outputs are turned
        back. The measures are part of the network, of its copies and of its files. Another call replaces them.
        Call it before the first fit: weights that were trained without it would read other numbers from then on, of
        which a :class:`DataWarning` tells.

        In the user's units are: predictions (predict, forward, a predictor), metrics, :meth:`collapse`, dA and dX
        of :meth:`backward`, and A and y of a loss of your own. Of the standardised network are: the loss and
        gradients, wherever they are returned, the parameters, caches, and the flat view. So with `y` the delta of
        huber counts standard deviations of y; and a loss of your own that is in the units of y squared has
        gradients that are y_scale^2 as large as those of mse: divide it by that.

        Parameters
        ----------
        X : array_like or sparse, (n_0, m)
            Of any real dtype; it is read once, in blocks. The scale of a feature is its standard deviation
            (divided by m), or 1 where all numbers are equal but for rounding. Of a sparse X only what is
            stored is read; its zeros count.
        y : array_like, optional
            As for :meth:`loss`; for the losses mse, mae, huber, quantile and gaussian_nll with identity
            outputs only. None: y is learned as it is.

        Raises
        ------
        ValueError, TypeError
            If X or y does not fit, or holds a number that is not finite, or y numbers too large or too small for the
            network's dtype; the network is then unchanged.

        Notes
        -----
        Exact where scaled weights would not be: with a mean of 1e6 and a spread of 1, float32 weights for
        unscaled X would lose all digits.

        Examples
        --------
        >>> X, y = np.array([[1e6, 1e6 + 2]]), np.array([30.0, 50.0])
        >>> net = Network([1, 1], ["identity"], init="zeros", seed=0)
        >>> net.adapt(X, y)
        >>> net.predict(X)
        array([[40., 40.]], dtype=float32)
        """
        with self._guard.calling:
            specs = self._trainable.activations[-1].name, self._trainable.loss.name
            found = standardisation.measured(X, y, self._engine, *specs)
        cautions.of_late_adapt(self._trainable)
        with self._guard.writing:
            self._trainable.standardise(found)

    @hints.explained
    def fit(
        self,
        X,
        y=None,
        epochs=1,
        batch_size=batches.DEFAULT_BATCH_SIZE,
        optimizer=None,
        shuffle=True,
        *,
        sample_weight=None,
        callbacks=(),
        progress=None,
        validation_data=None,
        class_weight=None,
        early_stopping=None,
        metrics=(),
        max_seconds=None,
        samples=None,
        validation_split=fit_options.NO_SPLIT,
        diagnostics=False,
    ):
        """Train on mini-batches; another fit with the same optimizer continues where this one ended.

        Parameters
        ----------
        X : array_like or SciPy's sparse matrix or array, (n_0, m); or iterable
            float32 or float64 in any layout is read in place (``rows.T`` is the fastest); other
            dtypes are cast one slice at a time, also from a file (``np.memmap``). Of a sparse X each
            sample's list of numbers is read: ``csc_array`` with sorted indices is the fastest.
            Without y an iterable of batches (X, y) or (X, y, sample_weight): see Notes.
        y : array_like, optional
            As for :meth:`loss`.
        epochs : int
            Passes over the data; 0 is allowed.
        batch_size : int or None
            Samples per update; None, or more than m: all samples. The last batch of an epoch may
            be smaller; its loss is the mean over its own samples.
        optimizer : SGD, Adam, AdamW, NAdam, RMSprop or Adagrad, optional
            None: the last optimizer of this network, at first ``SGD()``. The network keeps the
            optimizer's state (moments and step count), and shares it with train_step. The same
            object continues with this state, even with a changed lr, eps or weight_decay; another
            object, or a changed momentum, nesterov, betas, alpha or average, starts a new state.
            Its lr may be a schedule or a function: see :mod:`fastnn.schedules`.
        shuffle : bool
            True: a new order of the samples in each epoch, which depends only on the network's seed
            and the epoch's number (and on m). False: the given order. Batches come in
            their own order, see Notes.
        sample_weight : array_like, (m,), optional
            Finite weights, at least 0. A batch whose weights are all 0 is skipped: it makes no
            update and does not count as a step.
        callbacks : callable or sequence of callables
            Called as ``callback(epoch, history)`` after each epoch, counted from 0 in each fit. If
            it returns True, training ends; None and False continue; any other value is a TypeError.
            If it has a method ``begin``, that is called before the first epoch, with the network;
            see :mod:`fastnn.callbacks`.
            A callback may use the network in any way except fit. If it raises an exception, fit
            raises that exception, and the weights of that moment are kept.
        progress : bool, optional
            None: a progress bar if stderr is a terminal and tqdm is installed. True: always show
            progress. False: never.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Samples that are not trained on. Their loss after each epoch is ``history.val_loss``.
        class_weight : dict of int to float, or "balanced", optional
            Multiplies the weight of each training sample by that of its class. "balanced": m /
            (classes count_c), for the count_c samples of class c (scikit-learn's). With a loss of your own
            for integers y (m,), whatever they are.
        early_stopping : int or EarlyStopping, optional
            End training when the validation loss, or another number, no longer improves; an int
            is the patience. After an epoch come validation, a Plateau of the learning rate,
            callbacks, and then this.
        metrics : list of str, (str, dict) or callable
            As for :meth:`evaluate`, after each epoch: of the validation data, or of the training
            data where there is none. In ``history.metrics``.
        max_seconds : float, optional
            End training after so many seconds, perhaps within an epoch: that epoch is not counted,
            and the next fit begins it anew. A slice of 50 ms, a batch and callbacks are finished.
        samples : array_like of int, (k,), optional
            The places of the samples to train on (not labels of a pandas index): the same bits as
            ``fit(X[:, samples], y[..., samples], sample_weight=sample_weight[samples])``, and no
            copy. All of y and sample_weight must be valid.
        validation_split : float
            Share of the samples to keep for validation (of each class its share), drawn by the
            network's seed alone; ``history.validation_samples`` are their places in X. They keep
            their sample_weight; class_weight does not count for them.
        diagnostics : bool
            True: record for each layer and epoch the norm of the gradient, the size of the updates
            and the share of units that do not learn: see :class:`History`. The weights are the same.

        Returns
        -------
        History

        Raises
        ------
        ValueError, TypeError
            For invalid data or settings, and for weights or moments that are not finite before
            training; weights and optimizer are then unchanged. Non-finite data is detected when it
            makes the loss, a weight or a moment non-finite. If a callback or another thread makes
            settings or weights invalid during training, fit raises before its next epoch or slice
            (50 ms), and the weights of that moment are kept.
        FloatingPointError
            If training diverges. The message names the epoch and batch; the last finite weights and
            moments are kept, or with early stopping those of the best epoch.
        RuntimeError
            If another call uses the network when fit begins, even predict or save in another
            thread. Let other threads use a :meth:`predictor`, or put one lock around both calls.
            While fit runs, other calls wait for the end of its slice (50 ms, or one batch if that
            takes longer); another fit, train_step or update is refused.
        KeyboardInterrupt
            Ctrl-C ends fit within 0.1 s (or one batch); the weights of that moment are kept.

        Warns
        -----
        DataWarning
            For data that are allowed but probably a mistake: values of X above 50 or below -50; a mean loss of
            the first epoch that is more than twice that of its first step and of before; class
            codes for several sigmoid outputs; soft labels with the default loss; one-hot labels as
            rows instead of columns; epochs after the end of a Cosine, whose learning rate is 0.

        Notes
        -----
        An exception that ends fit early has the :class:`History` so far as its attribute ``history``.

        **Batches.** ``fit(batches)`` makes one update with each batch, and walks through the iterable
        once an epoch; an iterator that cannot begin again is an error. An object with items, a ``len`` and
        no ``__iter__`` has ``len`` batches. Columns are samples, but in the
        batches of a torch ``DataLoader`` (or of ``tqdm(loader)``) rows are. Batches of equal size (the
        last may be shorter) give the same bits as fit on all of the data with ``shuffle=False``; so does
        a schedule of epochs if all are equal, as its time within an epoch is the share of the batches
        before. That needs a ``len``: without one it is the epoch's start. shuffle and batch_size stay at
        their defaults, which have no effect here; other values are refused, and so are sample_weight,
        samples, validation_split, "balanced", and metrics without validation_data. After an error, also
        one of the iterable's, the weights so far are kept.

        Examples
        --------
        >>> batches = [([[0.0, 3.0]], [0.0, 6.0]), ([[2.0, 1.0]], [4.0, 2.0])]
        >>> net = Network([1, 1], ["identity"], seed=0)
        >>> history = net.fit(batches, epochs=50, optimizer=SGD(lr=0.05))
        >>> net.predict([[4.0]]).round(1)
        array([[8.]], dtype=float32)
        """
        how = epochs, batch_size, optimizer, shuffle, sample_weight, callbacks, progress
        rarer = validation_data, class_weight, early_stopping, metrics, max_seconds, samples, validation_split
        rarer = *rarer, diagnostics
        return loop.fit(self, self._trainable, X, y, *how, rarer, batches.given if y is None else None)

    def train_step(self, X, y, optimizer=None, loss=None, sample_weight=None):
        """One update on one batch.

        Parameters
        ----------
        X : array_like or sparse, (n_0, m)
        y : array_like
            As for :meth:`loss`.
        optimizer : SGD, Adam, AdamW, NAdam, RMSprop or Adagrad, optional
            As for :meth:`fit`, with the same optimizer state. None: the last optimizer of this
            network, at first ``SGD()``. Its lr is a number, or a schedule with ``per="step"``.
        loss : callable, optional
            A loss of your own for this step, as for :class:`Network`. None: the network's.
        sample_weight : array_like, (m,), optional
            As for :meth:`loss`; weights take the way with all checks, some microseconds longer.

        Returns
        -------
        float
            The loss before the update.

        Raises
        ------
        ValueError, TypeError
            For invalid data or settings, and for data, weights or moments that are not finite
            before the step; weights and optimizer are then unchanged.
        FloatingPointError
            If the loss, a weight or a moment would not be finite; weights and optimizer are then
            unchanged.
        RuntimeError
            If any other call uses the network, as for :meth:`fit`.
        """
        if loss is None and sample_weight is None:
            J = self._engine.quick_step(X, y, optimizer, self._guard)
            if J is not None:
                return J
        if loss is None and not self._trainable.is_own:
            return one_step.careful_step(self._trainable, X, y, optimizer, sample_weight)
        return own_loss.step(self._trainable, loss, X, y, optimizer, sample_weight)

    @hints.explained
    def update(self, gradients, optimizer=None):
        """One update from gradients that you give, such as those of :meth:`backward`.

        Parameters
        ----------
        gradients : sequence of (dW, db)
            For each layer dW (n_l, n_{l-1}) and db (n_l, 1) or (n_l,), of any real dtype; for a layer with a
            norm (dW, db, dgamma, dbeta), the last two as db. Weight decay, clipping and the like come in
            addition, as in :meth:`train_step`. Those of frozen layers are not used.
        optimizer : SGD, Adam, AdamW, NAdam, RMSprop or Adagrad, optional
            As for :meth:`train_step`, with the same optimizer state.

        Raises
        ------
        ValueError, TypeError
            If a gradient does not fit, or is not finite; nothing is then changed.
        FloatingPointError
            If a weight or a moment would not be finite; nothing is then changed.
        RuntimeError
            If any other call uses the network, as for :meth:`fit`.

        Notes
        -----
        With the gradients of a loss it is the update of :meth:`train_step`; with the same bits if the number
        of samples is a power of two (train_step rounds once where the mean is rounded before). Running
        statistics of batch norm stay: :meth:`backward` with ``training=True`` has moved them, by its batch.

        Examples
        --------
        >>> net = Network([1, 1], ["identity"], init="zeros", seed=0)
        >>> net.update([([[2.0]], [1.0])], SGD(lr=0.5))
        >>> net.flat_parameters
        array([-1. , -0.5], dtype=float32)
        """
        if not self._engine.quick_update(gradients, optimizer, self._guard):
            given_gradients.update(self._trainable, gradients, optimizer)
