"""What an estimator's training has come to, over all calls of fit and partial_fit that go on with it."""

import math


class Record:
    """Losses and scores of epochs.

    Parameters
    ----------
    has_scores : bool
        Whether epochs are compared by validation scores, and not by their losses.
    """

    def __init__(self, has_scores):
        self.loss_curve, self.validation_loss_curve, self.validation_scores = [], [], None
        self.best_loss, self.best_score = math.inf, None
        self.no_improvement = 0  # epochs since the best one
        self.seen = self.epochs = 0  # samples in all; epochs of the last call
        self.pace = 1.0  # the learning rate of sgd is learning_rate_init times this
        self.begin(has_scores)

    def begin(self, has_scores):
        """Another call; a warm start may change early_stopping."""
        self.epochs = 0
        if has_scores and self.validation_scores is None:
            self.validation_scores, self.best_score, self.no_improvement = [], -math.inf, 0

    def note(self, loss, samples):
        """An epoch over so many samples has ended."""
        self.epochs += 1
        self.seen += samples
        self.loss_curve.append(loss)

    def compare_loss(self, tol):
        """Count the epochs since the least loss, which improves by more than `tol`."""
        loss = self.loss_curve[-1]
        self.no_improvement = self.no_improvement + 1 if loss > self.best_loss - tol else 0
        self.best_loss = min(self.best_loss, loss)

    def compare_score(self, score, tol):
        """Count the epochs since the best score."""
        self.validation_scores.append(score)
        self.no_improvement = self.no_improvement + 1 if score < self.best_score + tol else 0
        if score > self.best_score:
            self.best_score = score
