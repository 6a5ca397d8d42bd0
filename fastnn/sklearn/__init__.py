"""Estimators for scikit-learn (1.5 or later): its MLPClassifier and MLPRegressor, trained by fastnn.

Rows are samples here, as everywhere in scikit-learn. Parameters, defaults, attributes and random numbers are those of
scikit-learn 1.9's classes of the same names, so that changing the import is enough; what they can do beyond that is
asked for by keyword.
"""

_WANTED = 1, 5


def _check_scikit_learn():
    remedy = "write pip install 'scikit-learn>=1.5'"
    try:
        import sklearn
    except ImportError as error:
        raise ImportError(f"fastnn.sklearn needs scikit-learn, which is not here: {remedy}") from error
    found = tuple(int(part) for part in sklearn.__version__.split(".")[:2])
    if found < _WANTED:
        raise ImportError(f"fastnn.sklearn needs scikit-learn 1.5 or later, found {sklearn.__version__}: {remedy}")


_check_scikit_learn()

from .classifier import MLPClassifier  # noqa: E402
from .regressor import MLPRegressor  # noqa: E402

__all__ = ["MLPClassifier", "MLPRegressor"]
