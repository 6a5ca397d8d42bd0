"""Training by mini-batches, epoch after epoch: solver="adam" and "sgd", and all optimizers of fastnn."""

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .. import terms
from ..cautions import caution
from . import specs, stream
from .watch import Watch

_NOT_FINITE = (  # scikit-learn's
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)
_FLOAT64 = np.dtype(np.float64)


class Epochs:
    """The training of one call of fit or partial_fit.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
    net : Network
    task : Labels or Values
    record : Record
    data : Data
    validation : Data or None
        Given by the user.
    random_state : numpy.random.RandomState
    optimizer : Optimizer
    """

    def __init__(self, estimator, net, task, record, data, validation, random_state, optimizer):
        self.estimator, self.net, self.task, self.record = estimator, net, task, record
        self.data, self.validation, self.optimizer = data, validation, optimizer
        self.places, judged = None, validation  # None: all
        if estimator.early_stopping and validation is None:
            how = len(data), estimator.validation_fraction, task.strata(data.y)
            self.places, kept_back = stream.split(random_state, *how)
            judged = data.at(kept_back)
        self.samples = len(data) if self.places is None else len(self.places)
        some = data.weights if data.weights is None or self.places is None else data.weights[self.places]
        self.constant = task.constant(data.y if self.places is None else data.y[self.places], some)
        penalty = estimator.alpha * terms.scaled(some)
        way = task.factor, task.reported_factor, estimator.optimizer is None, self._orders(random_state)
        self.terms = terms.Terms(penalty, *way)
        score = self._score_of(judged) if estimator.early_stopping else None
        self.terms.watch = self.watch = Watch(estimator, record, self.terms, net, self.samples, self.constant, score)

    def _orders(self, random_state):
        """scikit-learn's order of the samples in each epoch; None: the network's, or the given one."""
        if not self.estimator.shuffle or not specs.is_sklearn(self.estimator.init):
            return None
        places = np.arange(self.samples, dtype=np.uint32) if self.places is None else self.places
        return terms.Orders(random_state, places, self.net.epochs_done)

    def _score_of(self, data):
        X = data.X.T
        return lambda: self.task.score(self.net.predict(X), data.y, data.given_weights)

    def run(self, epochs):
        """Train; return whether it ended before it had to."""
        try:
            history = self._fit(epochs)
        except KeyboardInterrupt as error:
            history = getattr(error, "history", None)
            if history is None:  # it had not begun
                raise
            self.watch.note(history)
            caution("Training interrupted by user.", UserWarning)
        except FloatingPointError as error:
            if self.watch.best.state is None:
                self._keep_curve(error.history)
                raise ValueError(f"{not_finite(self.estimator)} ({error})") from error
            history = error.history
            self.watch.diverged()
            caution(f"{error}. The weights with the best validation score come back.", ConvergenceWarning)
        except Exception as error:  # of a callback
            self.watch.best.restore(self.net._trainable)
            if hasattr(error, "history"):
                self._keep_curve(error.history)
            raise
        self.watch.best.restore(self.net._trainable)
        self._keep_curve(history)
        return self.watch.is_stopped or self.record.epochs < epochs

    def _fit(self, epochs):
        estimator, data = self.estimator, self.data
        return self.terms.fit(
            self.net,
            data.X.T,
            self._targets(data),
            epochs,
            self._batch_size(),
            self.optimizer,
            bool(estimator.shuffle),
            sample_weight=data.weights,
            callbacks=estimator.callbacks,
            samples=self.places,
            validation=self._for_loss(self.validation),
        )

    def _targets(self, data):
        """In the network's dtype; in float64 where they are centred first."""
        return self.task.targets(data.y, self.net.dtype if self.net.standardisation is None else _FLOAT64)

    def _for_loss(self, data):
        if data is None:
            return None
        found = data.X.T, self._targets(data)
        return found if data.given_weights is None else (*found, data.given_weights)

    def _keep_curve(self, history):
        """The validation loss in the units of the training's."""
        if self.validation is not None:
            factor = self.task.reported_factor
            constant = self.task.constant(self.validation.y, self.validation.given_weights)
            self.record.validation_loss_curve += [factor * loss + constant for loss in history.val_loss]

    def _batch_size(self):
        wanted = self.estimator.batch_size
        if isinstance(wanted, str):
            return min(200, self.samples)
        if wanted > self.samples:
            told = f"batch_size is {wanted}, and {self.samples} samples are there to train on: all are one batch"
            caution(told, UserWarning)
        return int(wanted)


def not_finite(estimator):
    """What an error says after a training that has come to no numbers."""
    return _NOT_FINITE if estimator.standardize else f"{_NOT_FINITE} standardize=True does that within the estimator."


def standardise(net, task, data):
    """Let the network measure X, and the targets if they can be scaled; `data` are those to train on."""
    is_linear = task.output == task.out_activation == "identity"
    net.adapt(data.X.T, *((task.targets(data.y, _FLOAT64),) if is_linear else ()))
