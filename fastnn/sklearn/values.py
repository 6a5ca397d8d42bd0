"""What a regressor learns: real targets, by one of scikit-learn's two losses or any of fastnn's."""

import numpy as np
from scipy.special import xlogy
from sklearn.metrics import r2_score

from .. import tables

_SKLEARN = {"squared_error": "mse", "poisson": "poisson"}  # scikit-learn's names of losses, and ours


def _spec(loss):
    if isinstance(loss, str):
        return tables.spec(_SKLEARN.get(loss, loss), tables.LOSSES, "loss")
    if not (isinstance(loss, (tuple, list)) and len(loss) == 2 and isinstance(loss[0], str)):
        told = ""
        if callable(loss):
            told = "; a loss of your own is for fastnn.Network"
        elif isinstance(loss, (int, tuple, list, np.ndarray)):  # the first parameter before scikit-learn 1.7
            told = f": write hidden_layer_sizes={loss!r:.50}"
        raise TypeError(f"loss must be a name or (name, {{parameter: value}}), got {loss!r:.50}{told}")
    return tables.spec(loss, tables.LOSSES, "loss")


class Values:
    """The targets of a regressor.

    Parameters
    ----------
    loss : str or (str, dict)
        scikit-learn's name, or one of fastnn's with its parameters.
    targets : int
        Targets of each sample.

    Attributes
    ----------
    As those of Labels.
    """

    def __init__(self, loss, targets):
        self.given, self.count = loss, targets
        self.spec = _spec(loss)
        self.loss, name = self.spec.public(), self.spec.name
        row = tables.LOSSES[name]
        if name == "cross_entropy" and targets == 1:
            raise ValueError("loss 'cross_entropy' needs a target for each class, and y has one: use MLPClassifier")
        self.units = targets
        if row.targets == "means":
            self.units = 2 * targets
        elif row.targets == "one_value":
            if targets > 1:
                raise ValueError(f"loss {name!r} has one target, and y has {targets}: fit an estimator to each")
            self.units = len(self.spec.params["levels"] or (0.5,))
        self.output = row.output or "identity"
        names = {"sigmoid": "logistic", "identity": "exp" if name == "poisson" else "identity"}
        self.out_activation = names.get(self.output, self.output)
        # scikit-learn's squared error has 1/2, and the mean over the targets where its gradient has the sum.
        is_theirs = loss == "squared_error"
        self.factor, self.reported_factor = (0.5, 0.5 / targets) if is_theirs else (1.0, 1.0)

    def targets(self, y, dtype):
        """Targets (m,) or (m, targets) as a network takes them."""
        return y.astype(dtype, copy=False).T

    def constant(self, y, weights):
        """What scikit-learn's reported loss has beyond the network's: y log y - y with "poisson"."""
        if self.given != "poisson":
            return 0.0
        y = np.maximum(y.reshape(len(y), -1).astype(np.float64), 0)  # the network refuses others
        return float(np.average((xlogy(y, y) - y).sum(axis=1), weights=weights))

    def strata(self, y):
        """What a split is stratified by: nothing."""

    def points(self, A):
        """Outputs A (n_L, m) as one number for each target, (targets, m): means, the level nearest to 0.5, or rates."""
        name = self.spec.name
        if name == "gaussian_nll":
            return A[: len(A) // 2]
        if name == "quantile":
            levels = np.array(tables.levels(self.spec, len(A)))
            nearest = int(np.abs(levels - 0.5).argmin())
            return A[nearest : nearest + 1]
        return np.exp(A) if name == "poisson" else A

    def predictions(self, A):
        """Outputs A (n_L, m) as predictions: (m,) or (m, targets); of quantiles a column for each level."""
        A = A if self.spec.name == "quantile" else self.points(A)
        return A[0] if len(A) == 1 else A.T

    def deviations(self, A):
        """The standard deviations that outputs A (n_L, m) say: (m,) or (m, targets)."""
        s = np.exp(A[len(A) // 2 :] / 2)
        return s[0] if len(s) == 1 else s.T

    def score(self, A, y, weights):
        """R^2; NaN for outputs that are not finite."""
        found = self.points(A)
        if not np.isfinite(found).all():
            return float("nan")
        with np.errstate(over="ignore"):  # just before a divergence
            return float(r2_score(y, found[0] if len(found) == 1 else found.T, sample_weight=weights))
