"""What a classifier learns: class labels as targets of a network, and its outputs as class labels."""

import numpy as np
from scipy import sparse
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

KINDS = ("binary", "multiclass", "multilabel-indicator")  # scikit-learn's names


def _kind_of(y):
    """One of KINDS; "multiclass" may be of two classes or one, too."""
    if type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iub":
        return "multiclass"
    kind = type_of_target(y, input_name="y")
    if kind not in KINDS:
        check_classification_targets(y)  # raises scikit-learn's own error for all but one kind
        raise ValueError(f"y is of the kind {kind!r}: several outputs of many classes each; fit an estimator to each")
    return kind


def _kind_of_classes(classes):
    return "multiclass" if len(classes) > 2 else "binary"


class Labels:
    """The classes of a classifier.

    Parameters
    ----------
    kind : str
        Of KINDS. One class alone counts as binary.
    classes : ndarray
        Sorted; with multilabel targets the numbers of the labels.
    is_sparse : bool
        Whether the multilabel targets were one of SciPy's sparse arrays: then so are predictions.

    Attributes
    ----------
    units : int
        Units of the output layer.
    output, loss : str
        Its activation and the network's loss.
    out_activation : str
        scikit-learn's name of that activation.
    factor, reported_factor : float
        See :class:`fastnn.terms.Terms`.
    """

    factor = reported_factor = 1.0

    def __init__(self, kind, classes, is_sparse=False):
        self.kind, self.classes, self.is_sparse = kind, classes, is_sparse
        self.units = 1 if kind == "binary" else len(classes)
        is_one_of_many = kind == "multiclass"
        self.output, self.out_activation = ("softmax", "softmax") if is_one_of_many else ("sigmoid", "logistic")
        self.loss = "cross_entropy" if is_one_of_many else "binary_cross_entropy"

    @classmethod
    def of(cls, y):
        """The classes that occur in `y`, and their codes."""
        kind = _kind_of(y)
        if kind == "multilabel-indicator":
            labels = cls(kind, np.arange(y.shape[1]), sparse.issparse(y))
            return labels, labels._indicator(y)
        classes, codes = np.unique(y, return_inverse=True)
        return cls(_kind_of_classes(classes), classes), codes.reshape(-1)

    @classmethod
    def of_classes(cls, classes, y):
        """The given classes, for the first of several parts `y` of the data."""
        classes = unique_labels(classes)
        if type_of_target(y, input_name="y") == "multilabel-indicator":
            return cls("multilabel-indicator", classes, sparse.issparse(y))
        return cls(_kind_of_classes(classes), classes)

    def codes_of(self, y, is_warm_start, name="y"):
        """The codes of `y`, whose classes must be known; with warm_start it must hold all of them."""
        kind = _kind_of(y)
        if (kind == "multilabel-indicator") != (self.kind == "multilabel-indicator"):
            raise ValueError(f"{name} is of the kind {kind!r}, and at the first fit y was {self.kind!r}")
        if kind == "multilabel-indicator":
            found = np.arange(y.shape[1])
            if len(found) < len(self.classes):
                raise ValueError(f"{name} has {len(found)} labels, wanted {len(self.classes)}: {self.classes}")
        else:
            found, codes = np.unique(y, return_inverse=True)
        if is_warm_start and not np.array_equal(found, self.classes):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. Previously "
                f"got {self.classes}, `y` has {found}"
            )
        strange = np.setdiff1d(found, self.classes)
        if len(strange):
            told = "; give all of them to the first partial_fit, as classes=" if name == "y" else ""
            raise ValueError(
                f"{name} holds {strange}, which is not among the classes of the first call, {self.classes}{told}"
            )
        if kind == "multilabel-indicator":
            return self._indicator(y, name)
        return np.searchsorted(self.classes, found)[codes.reshape(-1)]

    @staticmethod
    def _indicator(y, name="y"):
        y = y.toarray() if sparse.issparse(y) else y
        if not np.isin(y, (0, 1)).all():
            raise ValueError(f"{name} must hold 0 or 1 for each of several labels, it has {np.unique(y)[:5]}")
        return y

    def targets(self, codes, dtype):
        """Targets for the network: codes of many classes, else values."""
        if self.kind == "multiclass":
            return codes
        return codes.astype(dtype).T

    def constant(self, codes, weights):
        """What scikit-learn's reported loss has beyond the network's."""
        return 0.0

    def strata(self, codes):
        """What scikit-learn stratifies a split by: two classes only."""
        return codes.astype(bool)[:, np.newaxis] if self.kind == "binary" else None

    def decisions(self, A):
        """Outputs A (n_L, m) as codes: (m,), or with multilabel targets 0 and 1 of the shape (m, n_L)."""
        if self.kind == "multiclass":
            return A.argmax(axis=0)
        return (A > 0.5).astype(np.int64)[0] if self.kind == "binary" else (A > 0.5).astype(np.int64).T

    def decoded(self, A):
        """Outputs A (n_L, m) as labels, as they were given."""
        decisions = self.decisions(A)
        if self.kind == "multilabel-indicator":
            return sparse.csr_matrix(decisions) if self.is_sparse else decisions
        if len(self.classes) == 1:
            return np.repeat(self.classes, len(decisions))
        return self.classes.take(decisions)

    def probabilities(self, A):
        """Outputs A (n_L, m) as probabilities (m, classes)."""
        if self.kind != "binary":
            return A.T
        return np.concatenate([1 - A, A]).T

    def score(self, A, codes, weights):
        """The accuracy; with multilabel targets the share of samples whose labels are all right. NaN for NaN."""
        if not np.isfinite(A).all():
            return float("nan")
        hits = self.decisions(A) == codes
        return float(np.average(hits if hits.ndim == 1 else hits.all(axis=1), weights=weights))
