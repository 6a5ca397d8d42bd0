"""What happens after each epoch: scikit-learn's rules for the learning rate and for the end, and its messages."""

import math

from ..stopping import Kept

_LONGEST = 10_000  # epochs
_LEAST_PACE = 1e-200  # no step is as small; the losses are divided by it
_SLOWEST = 1e-6  # the learning rate at which learning_rate="adaptive" ends


class Watch:
    """Keeps the record of a fit, and says when to stop.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
    record : Record
    terms : Terms
    net : Network
    samples : int
        Samples of an epoch.
    constant : float
        Is added to the network's loss.
    score : callable or None
        Returns the validation score; None: epochs are compared by their losses.

    Attributes
    ----------
    looks : bool
        Whether it looks at the network after each epoch.
    """

    def __init__(self, estimator, record, terms, net, samples, constant, score):
        self.record, self.terms, self.samples, self.constant, self.score = record, terms, samples, constant, score
        self.tol, self.patience, self.verbose = estimator.tol, estimator.n_iter_no_change, estimator.verbose
        self.lr, self.power_t = float(estimator.learning_rate_init), float(estimator.power_t)
        is_sgd = estimator.solver == "sgd" and estimator.optimizer is None
        self.schedule = estimator.learning_rate if is_sgd else "constant"
        if self.schedule == "constant":
            record.pace = 1.0
        terms.set_pace(record.pace)
        self.trainable, self.is_stopped = net._trainable, False
        self.best, self.best_score = Kept(), -math.inf  # of this call; the record has the best score of all calls
        self.looks = score is not None

    def calm(self):
        """How many epochs may pass before it has to note them: so many have to be without an improvement."""
        if self.looks or self.schedule == "invscaling":
            return 1
        return max(1, int(min(self.patience + 1 - self.record.no_improvement, _LONGEST)))

    def note(self, history):
        """Note the epochs that are new in the history of this fit; return whether training ends with the last one."""
        while self.record.epochs < len(history.loss):
            place = self.record.epochs
            history.loss[place] = history.loss[place] / self.terms.pace + self.constant
            self._note_epoch(history.loss[place])
        return self.is_stopped

    def _note_epoch(self, loss):
        record = self.record
        self._note(loss)
        if self.score is None:
            record.compare_loss(self.tol)
        else:
            self._note_score(self.score())
        if self.schedule == "invscaling":
            self._set_pace(max((record.seen + 1) ** -self.power_t, _LEAST_PACE))
        if record.no_improvement > self.patience:
            self.is_stopped = self._ends()

    def diverged(self):
        """Note an epoch that broke off, because its numbers were no longer finite."""
        self._note(math.nan)
        if self.score is not None:
            self._note_score(math.nan)

    def _note(self, loss):
        self.record.note(loss, self.samples)
        if self.verbose:
            print(f"Iteration {self.record.epochs}, loss = {loss:.8f}")

    def _note_score(self, score):
        if self.verbose:
            print(f"Validation score: {score:f}")
        self.record.compare_score(score, self.tol)
        if score > self.best_score:
            self.best.keep(self.trainable)
            self.best_score = score

    def _set_pace(self, pace):
        self.record.pace = pace
        self.terms.set_pace(pace)

    def _ends(self):
        """Whether training ends now, after epochs without an improvement; else the learning rate becomes smaller."""
        then = "Stopping."
        if self.schedule == "adaptive":
            ends = self.lr * self.record.pace <= _SLOWEST
            if not ends:
                self.record.no_improvement = 0
                self._set_pace(self.record.pace / 5)
            rate = f"Setting learning rate to {self.lr * self.record.pace:f}"
            then = "Learning rate too small. Stopping." if ends else rate
        if self.verbose:
            what = "Training loss" if self.score is None else "Validation score"
            told = f"{what} did not improve more than tol={self.tol:f} for {self.patience} consecutive epochs."
            print(f"{told} {then}")
        return then.endswith("Stopping.")
