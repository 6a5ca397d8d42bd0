"""X as an estimator gets it: a quick check of plain arrays, and scikit-learn's own check of all others."""

import numpy as np
from sklearn.utils.validation import check_is_fitted, column_or_1d

from .. import backend as backends

try:
    from sklearn.utils.validation import validate_data
except ImportError:  # before scikit-learn 1.6

    def validate_data(estimator, *arrays, **how):
        """Check X, or X and y, and note or compare the names and the number of features."""
        return estimator._validate_data(*arrays, **how)


_FLOATS = (np.float64, np.float32)


def of_training(estimator, X, y, is_first, is_numeric):
    """X and y, checked by scikit-learn; the first call notes the features, others compare them. One target is (m,)."""
    how = {"accept_sparse": "csr", "multi_output": True, "y_numeric": is_numeric, "dtype": _FLOATS, "reset": is_first}
    X, y = validate_data(estimator, X, y, **how)
    return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y


def of_prediction(estimator, X):
    """X (m, n_features), checked. Whatever is not plain, or not valid, is left to scikit-learn.

    scikit-learn's check takes 100 times as long as the prediction of one sample.
    """
    known = estimator.__dict__
    if "network_" not in known:
        check_is_fitted(estimator)
    if (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.dtype in _FLOATS
        and X.shape[1] == known["n_features_in_"]
        and len(X)
        and "feature_names_in_" not in known
        and backends.default.largest(X.T, len(X)) < np.inf
    ):
        return X
    return validate_data(estimator, X, accept_sparse="csr", reset=False)
