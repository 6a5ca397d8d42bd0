"""The samples that an estimator trains on, or validates with."""


class Data:
    """Checked samples, as rows.

    Parameters
    ----------
    X : ndarray or sparse, (m, n_features)
    y : ndarray
        Values, or codes of classes.
    given_weights : ndarray or None
        The weights of the samples.
    weights : ndarray or None
        Those to train with: times the weights of their classes.
    """

    def __init__(self, X, y, given_weights, weights):
        self.X, self.y, self.given_weights, self.weights = X, y, given_weights, weights
        if weights is not None and not weights.any():
            raise ValueError("sample_weight is 0 for all samples to train on, or to validate with: give more to some")

    def __len__(self):
        return self.X.shape[0]

    def at(self, places):
        """The samples at these places, copied; all if that is None."""
        if places is None:
            return self
        some = [None if T is None else T[places] for T in (self.y, self.given_weights, self.weights)]
        return Data(self.X[places], *some)
