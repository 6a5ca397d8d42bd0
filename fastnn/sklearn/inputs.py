"""X as an estimator gets it: a quick check of plain arrays, and scikit-learn's own check of all others."""

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted, column_or_1d

from .. import backend as backends

try:
    from sklearn.utils.validation import validate_data
except ImportError:  # before scikit-learn 1.6

    def validate_data(estimator, *arrays, **how):
        """Check X, or X and y, and note or compare the names and the number of features."""
        return estimator._validate_data(*arrays, **how)


_FLOATS = (np.float64, np.float32)


def _is_plain(X, known):
    """Whether X is (m, n_features) as scikit-learn would return it; `known` are the attributes of the estimator.

    For an array of finite numbers this takes a hundredth of scikit-learn's time, which is asked only if it says no.
    """
    return (
        type(X) is np.ndarray
        and _fits(X, known)
        and X.dtype in _FLOATS
        and backends.default.largest(X.T, len(X)) < np.inf
    )


def _is_plain_csr(X, known):
    """The same for one of SciPy's matrices or arrays."""
    return (
        sparse.issparse(X)
        and X.format == "csr"
        and _fits(X, known)
        and X.dtype in _FLOATS
        and bool(np.isfinite(X.data).all())
    )


def _fits(X, known):
    """Whether X is of two dimensions, has rows and as many columns as are known, of which no names are known."""
    return (
        X.ndim == 2
        and X.shape[1] == known.get("n_features_in_", X.shape[1]) > 0
        and X.shape[0] > 0
        and "feature_names_in_" not in known
    )


def _is_plain_line(y, m):
    """Whether y is a line of m finite numbers."""
    is_line = type(y) is np.ndarray and y.shape == (m,)
    return is_line and (y.dtype.kind in "iub" or (y.dtype.kind == "f" and bool(np.isfinite(y).all())))


def of_training(estimator, X, y, is_first, is_numeric):
    """X and y, checked by scikit-learn; the first call notes the features, others compare them. One target is (m,)."""
    if _is_plain(X, {} if is_first else vars(estimator)) and _is_plain_line(y, len(X)):
        if is_first:
            vars(estimator).pop("feature_names_in_", None)
            estimator.n_features_in_ = X.shape[1]
        return X, y
    how = {"accept_sparse": "csr", "multi_output": True, "y_numeric": is_numeric, "dtype": _FLOATS, "reset": is_first}
    X, y = validate_data(estimator, X, y, **how)
    if is_numeric and y.dtype.kind not in "fiub":
        _refuse_targets(y)
    return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y


def _refuse_targets(y):
    """TypeError for y of a regressor that is not of numbers, such as dates, which NumPy would convert."""
    told = ": subtract a date, and divide by np.timedelta64(1, 'D') or another unit" if y.dtype.kind in "mM" else ""
    if y.dtype.kind in "US":
        told = ": write y.astype(float) if they are numbers; classes are for MLPClassifier"
    raise TypeError(f"y must be numbers, got {y.dtype}{told}")


def of_prediction(estimator, X):
    """X (m, n_features), checked by scikit-learn."""
    known = vars(estimator)
    if "network_" not in known:
        check_is_fitted(estimator)
    if _is_plain(X, known) or _is_plain_csr(X, known):
        return X
    return validate_data(estimator, X, accept_sparse="csr", reset=False)
