"""What happens after each epoch: the record of a training, scikit-learn's rules for its end, and its messages."""

import math

from ..stopping import Kept

_SLOWEST = 1e-6  # the learning rate at which learning_rate="adaptive" ends


class Record:
    """What an estimator's training has come to, over all calls of fit and partial_fit that continue it."""

    def __init__(self, has_scores):
        self.loss_curve, self.validation_scores = [], [] if has_scores else None
        self.validation_loss_curve = None
        self.best_loss, self.best_score = (None, -math.inf) if has_scores else (math.inf, None)
        self.no_improvement = 0  # epochs
        self.seen = self.epochs = 0  # samples in all; epochs of the last call
        self.pace = 1.0  # the learning rate of sgd is learning_rate_init times this

    def score_from_now_on(self, scores):
        """Whether the next epochs are compared by validation scores: a warm start may change early_stopping."""
        if scores and self.validation_scores is None:
            self.validation_scores, self.best_score, self.no_improvement = [], -math.inf, 0
        elif not scores and self.best_loss is None:
            self.best_loss = math.inf


class Watch:
    """A callback of fit that keeps the record, and says when to stop.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
    record : Record
    terms : Terms
    net : Network
    count : int
        Samples of an epoch.
    constant : float
        Is added to the network's loss.
    score : callable or None
        Returns the validation score; None: epochs are compared by their losses.
    """

    def __init__(self, estimator, record, terms, net, count, constant, score):
        self.record, self.terms, self.count, self.constant, self.score = record, terms, count, constant, score
        self.tol, self.patience, self.verbose = estimator.tol, estimator.n_iter_no_change, estimator.verbose
        self.lr, self.power_t, self.schedule = estimator.learning_rate_init, estimator.power_t, None
        if estimator.solver == "sgd" and estimator.optimizer is None:
            self.schedule = estimator.learning_rate
        self.trainable, self.best = net._trainable, Kept()
        self.is_stopped = False
        record.epochs = 0

    def __call__(self, epoch, history):
        """Note what an epoch has given; return True if it was the last one."""
        record = self.record
        loss = history.loss[-1] = history.loss[-1] / self.terms.pace + self.constant
        self._note(loss)
        if self.score is None:
            record.no_improvement = record.no_improvement + 1 if loss > record.best_loss - self.tol else 0
            record.best_loss = min(record.best_loss, loss)
        else:
            self._note_score(self.score())
        if self.schedule == "invscaling":
            self._set_pace((record.seen + 1) ** -float(self.power_t))
        if record.no_improvement > self.patience:
            self.is_stopped = self._ends()
        return self.is_stopped

    def _note(self, loss):
        record = self.record
        record.epochs += 1
        record.seen += self.count
        record.loss_curve.append(loss)
        if self.verbose:
            print(f"Iteration {record.epochs}, loss = {loss:.8f}")

    def _note_score(self, score):
        record = self.record
        record.validation_scores.append(score)
        if self.verbose:
            print(f"Validation score: {score:f}")
        record.no_improvement = record.no_improvement + 1 if score < record.best_score + self.tol else 0
        if score > record.best_score:
            record.best_score = score
            self.best.keep(self.trainable)

    def diverged(self):
        """Note an epoch that broke off because its numbers were no longer finite."""
        self._note(math.nan)
        if self.score is not None:
            self._note_score(math.nan)

    def _set_pace(self, pace):
        self.record.pace = pace
        self.terms.set_pace(pace)

    def _ends(self):
        """Whether training ends now, after epochs without an improvement; else the learning rate becomes smaller."""
        what = "Training loss" if self.score is None else "Validation score"
        told = f"{what} did not improve more than tol={self.tol:f} for {self.patience} consecutive epochs."
        is_adaptive = self.schedule == "adaptive"
        ends = not is_adaptive or self.lr * self.record.pace <= _SLOWEST
        if not ends:
            self.record.no_improvement = 0
            self._set_pace(self.record.pace / 5)
        if self.verbose and is_adaptive:
            then = "Learning rate too small. Stopping." if ends else f"Setting learning rate to {self.lr * self.record.pace:f}"
            print(f"{told} {then}")
        elif self.verbose:
            print(f"{told} Stopping.")
        return ends
