"""The record that ``fit`` returns (History), and the position of a training run (TrainState)."""

from . import hints


class History:
    """Record of one call of :meth:`Network.fit`.

    Attributes
    ----------
    loss : list of float
        For each epoch the mean training loss over its samples, weighted by the sample weights.
        The loss of a batch is that before the batch's update.
    val_loss : list of float
        The loss of the validation data after each epoch; empty without validation data.
    lr : list of float
        The learning rate of the last update of each epoch.
    metrics : dict of str to list of float
        Each metric after each epoch: of the validation data by the names "val_accuracy" and so on;
        without validation data of the training data, "accuracy".
    validation_samples : ndarray of int, or None
        With ``validation_split`` the places of the samples that were kept for validation, in their given order.
    diagnostics : dict of str to list, or None
        With ``diagnostics=True`` for each epoch a list of one number for each layer, of the epoch's
        last batch. "gradient_norm": the norm of a layer's gradients together, after clip_value and before
        clip_norm (NaN in a frozen layer). "update_ratio": the norm of the change of W over that of W
        after it; about 0.001 is usual. "dead_units": the share of relu units that are 0 for all
        samples of the batch. "saturated_units": the share of sigmoid or tanh units whose slope is
        below 1% of the largest slope for all samples. Both look at the outputs before dropout, and
        are NaN for other activations and in the last layer. All are NaN if the weights of that
        batch's samples are all 0.
    best_epoch : int or None
        With early stopping the place of the best epoch in these lists; else None.
    seconds : float
        Wall time of the training, in seconds.
    stopped : str or None
        "callback" if a callback ended training, "early_stopping", "max_seconds"; None if all epochs ran, or if an
        exception ended training.
    """

    # Of the class, because most calls of fit need not set them: it is 5% of the cost of a call.
    validation_samples = best_epoch = diagnostics = stopped = None
    seconds = 0.0

    def __init__(self):
        self.loss, self.val_loss, self.lr, self.metrics = [], [], [], {}

    def last(self, name):
        """The newest number of one kind.

        Parameters
        ----------
        name : str
            "loss", "val_loss", "lr", or the name of a metric as `metrics` has it.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If no such number was measured; the message says what was.

        Examples
        --------
        >>> X, y = np.random.default_rng(0).standard_normal((2, 100)), np.arange(100) % 2
        >>> history = fastnn.Network([2, 1], seed=0).fit(X, y, epochs=3, progress=False)
        >>> history.last("loss") == history.loss[2]
        True
        """
        values = self._lists().get(name)
        if not values:
            measured = [key for key, numbers in self._lists().items() if numbers]
            told = hints.did_you_mean(name, measured) if isinstance(name, str) else ""
            raise ValueError(
                f"name: no {name!r:.50} was measured{told or ';'} what was: {', '.join(measured) or 'nothing'}"
            )
        return values[-1]

    def _lists(self):
        """The numbers of the epochs, by name."""
        return {"loss": self.loss, "val_loss": self.val_loss, "lr": self.lr} | self.metrics

    def to_pandas(self):
        """The numbers as a table.

        Returns
        -------
        pandas.DataFrame
            One row for each epoch; columns loss, val_loss (with validation data), lr and the metrics. A number that was
            not measured, because training was interrupted, is NaN.
        """
        import pandas as pd  # optional, and slow to import

        columns = {"loss": self.loss} | ({"val_loss": self.val_loss} if self.val_loss else {})
        columns |= {"lr": self.lr} | self.metrics
        table = pd.DataFrame({name: pd.Series(values, dtype=float) for name, values in columns.items()})
        table.index.name = "epoch"
        return table

    def plot(self, metrics=(), *, log=None, ax=None):
        """The losses by epoch, and metrics.

        Parameters
        ----------
        metrics, log, ax
            As for :func:`fastnn.plots.loss_curve`, which draws them.

        Returns
        -------
        Axes, or with `metrics` an ndarray of Axes
            Of matplotlib, which has to be installed.

        Examples
        --------
        >>> X, y = np.random.default_rng(0).standard_normal((2, 100)), np.arange(100) % 2
        >>> history = fastnn.Network([2, 8, 1], seed=0).fit(X, y, epochs=20, validation_split=0.2, progress=False)
        >>> ax = history.plot()
        >>> ax.get_xlabel(), ax.get_ylabel()
        ('epoch', 'loss')
        """
        from . import plots  # imported when it is used, as all of fastnn's pictures

        return plots.loss_curve(self, metrics, log=log, ax=ax)

    def _repr_html_(self):
        from . import notebooks

        return notebooks.of_history(self)

    def __getattr__(self, name):
        if name in ("predict", "predict_classes", "evaluate", "score", "fit", "save"):
            raise AttributeError(
                f"a History has no {name!r}: fit returns a History; the network is still net: write net.{name}"
            )
        if name == "history":
            raise AttributeError("a History has no 'history': write history.loss, a list of one number for each epoch")
        metric = name.removeprefix("val_")
        ours = (metric, *hints.ours(metric))
        keys = [*(ours if metric == name else ()), *(f"val_{our}" for our in ours)]
        found = [key for key in keys if key in self.__dict__.get("metrics", ())]
        told = f": write history.metrics[{found[0]!r}]" if found else hints.did_you_mean(name, dir(self))
        raise AttributeError(f"a History has no {name!r}{told}")

    def __getitem__(self, name):
        is_metric = isinstance(name, str) and name in self.metrics
        all_of_them = "history.loss, history.val_loss, history.lr or history.metrics[name]"
        where = f"history.metrics[{name!r:.50}]" if is_metric else all_of_them
        raise TypeError(f"a History is not indexed by names: give {where}, a list of one number for each epoch")

    def __repr__(self):
        last = f", last loss {self.loss[-1]:.6g}" if self.loss else ""
        why = f", stopped by {self.stopped}" if self.stopped else ""
        return f"<History: {len(self.loss)} epochs{last}, {self.seconds:.2f} s{why}>"


class TrainState:
    """The position of training between two slices; an engine's train() advances it."""

    __slots__ = (
        "before",
        "diagnostics",
        "ended",
        "ended_rates",
        "epoch",
        "failed",
        "finite",
        "first_loss",
        "loss_sum",
        "order",
        "position",
        "rate",
        "time",
        "unsafe",
        "weight_sum",
        "whole",
    )

    def __init__(self, epoch, time, position=0, loss_sum=0.0, weight_sum=0.0, rate=0.0):
        self.epoch = epoch  # counted from the network's first epoch
        self.time = time  # epochs that ended with the optimizer's state
        self.position = position  # number of samples of this epoch that are done
        self.loss_sum, self.weight_sum = loss_sum, weight_sum  # sums over those samples
        self.ended = None  # (loss sum, weight sum) of each epoch that ended in the last call of an engine
        self.rate, self.ended_rates = rate, None  # learning rate of the last step; of the last step of each of `ended`
        self.before, self.whole = 0, None  # in a part of an epoch's samples: those before it, and those of the epoch
        self.first_loss = None  # mean loss of the first batch that was trained
        self.failed = False  # whether a loss was not finite
        self.finite = True  # whether all weights and moments are finite
        # `unsafe` is set by a cautious call of an engine: whether the next step might make a number that is not finite.
        self.diagnostics = None  # where the engine stores what it measures in the last batch of a call; None: nothing
        self.order = None  # the order of samples if it is shuffled; used by the engine and training._train_cast

    def reach(self, position, m):
        """Go on to `position` in an epoch of m samples; returns the sums of the epoch if it ends there, else []."""
        self.position, self.ended, self.ended_rates = position, None, None
        return self.end_epoch() if position == m else []

    def end_epoch(self):
        """End the epoch; returns `ended`, its sums."""
        self.ended = ended = [(self.loss_sum, self.weight_sum)]
        self.next_epoch()
        return ended

    def next_epoch(self):
        """Begin the next epoch."""
        self.epoch += 1
        self.time += 1
        self.position, self.loss_sum, self.weight_sum, self.order = 0, 0.0, 0.0, None

    def rates(self):
        """The learning rate of the last step of each epoch in `ended`; an engine gives none where lr is constant."""
        return [self.rate] * len(self.ended) if self.ended_rates is None else self.ended_rates

    def copy(self):
        """A copy of the position, to which fit can return."""
        twin = TrainState(self.epoch, self.time, self.position, self.loss_sum, self.weight_sum, self.rate)
        twin.first_loss = self.first_loss
        return twin
