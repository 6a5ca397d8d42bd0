"""What a fit saw, and where it stands."""

from . import hints


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
