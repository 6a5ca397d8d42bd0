"""SciPy's sparse X: recognised by its type, so that SciPy need not be there, and turned into what the backends read."""

import numpy as np

_KIND = ("scipy", "sparse")  # the package of SciPy's matrices and arrays


def is_scipy(value):
    """Whether `value` is one of SciPy's sparse matrices or arrays, or of a class derived from one."""
    return not isinstance(value, np.ndarray) and any(
        tuple(str(kind.__module__).split(".")[:2]) == _KIND for kind in type(value).__mro__
    )


class Sparse:
    """X (n_0, m) as lists of the numbers that are not 0, sample after sample.

    Attributes
    ----------
    values : ndarray
        Contiguous, of the dtype of the network.
    features : ndarray of int32
        The row of each value; within a sample they ascend, and all are within 0 .. n_0 - 1.
    starts : ndarray of int64, (m + 1,)
        Sample j has the values from starts[j] to starts[j + 1].
    shape : (int, int)
    """

    __slots__ = ("_longest", "features", "shape", "starts", "values")

    def __init__(self, values, features, starts, n_in):
        self.values, self.features, self.starts = values, features, starts
        self.shape, self._longest = (n_in, len(starts) - 1), None

    dtype = property(lambda self: self.values.dtype)

    def longest(self):
        """How many values the sample with the most of them has."""
        if self._longest is None:
            self._longest = int(np.diff(self.starts).max(initial=0))
        return self._longest

    def rows(self):
        """About how many values a sample has, at least 1: for blocks of samples, as the rows of a dense X."""
        return 1 + int(self.starts[-1] - self.starts[0]) // max(1, self.shape[1])

    def columns(self, wanted):
        """The samples that a slice or an array of places selects; a slice without steps copies no values."""
        if isinstance(wanted, slice):
            first, last, step = wanted.indices(self.shape[1])
            if step == 1:
                return Sparse(self.values, self.features, self.starts[first : max(first, last) + 1], self.shape[0])
            wanted = np.arange(first, last, step)
        begins, ends = self.starts[wanted], self.starts[np.add(wanted, 1, dtype=np.int64)]
        starts = np.zeros(len(begins) + 1, np.int64)
        np.cumsum(ends - begins, out=starts[1:])
        places = np.arange(starts[-1]) + np.repeat(begins - starts[:-1], ends - begins)
        return Sparse(self.values[places], self.features[places], starts, self.shape[0])

    def __getitem__(self, index):
        """``X[:, columns]``, as of an ndarray."""
        rows, columns = index
        if rows != slice(None):
            raise IndexError("a sparse X is selected by samples only")
        return self.columns(columns)

    def numbers(self):
        """The values of these samples as a matrix of one row."""
        return self.values[np.newaxis, self.starts[0] : self.starts[-1]]

    def matrix(self):
        """As one of SciPy's arrays, (n_0, m), for the NumPy backend."""
        from scipy.sparse import csc_array  # optional; where X is sparse it is there, and imported already

        own = slice(self.starts[0], self.starts[-1])
        lists = self.values[own], self.features[own], self.starts - self.starts[0]
        return csc_array(lists, shape=self.shape, copy=False)

    def non_finite(self, samples=None):
        """How many values are not finite, and (column, row) of the first of them; with `samples` of these columns."""
        if samples is None:
            places = np.flatnonzero(~np.isfinite(self.numbers()[0]))
            if not len(places):
                return 0, None
            place = places[0] + self.starts[0]
            return len(places), (int(np.searchsorted(self.starts, place, "right")) - 1, int(self.features[place]))
        samples = np.unique(samples)
        count, first = self.columns(samples).non_finite()
        return count, first and (int(samples[first[0]]), first[1])


def _ascend(features, starts):
    """Whether the features of each sample ascend, each at most once."""
    rises = features[1:] > features[:-1]
    firsts = starts[1:-1]
    rises[firsts[(firsts > 0) & (firsts < len(features))] - 1] = True
    return bool(rises.all())


def _are_within(places, n):
    """Whether each number of a list of places is one of 0 .. n - 1."""
    return not len(places) or bool(places.min() >= 0 and places.max() < n)


def _fit(starts, places, values, lists, n):
    """Whether `starts` divide places and values into so many lists, of places within 0 .. n - 1."""
    if starts.shape != (lists + 1,) or starts[0] != 0 or (starts[1:] < starts[:-1]).any():
        return False
    count = starts[-1]
    return places.ndim == 1 and len(places) >= count and len(values) >= count and _are_within(places[:count], n)


def _fits(X):
    """Whether what a matrix of SciPy holds fits its shape. Its own conversions trust in it, and write by it."""
    n, m = X.shape
    if X.format == "csr":
        return _fit(X.indptr, X.indices, X.data, n, m)
    if X.format == "bsr":
        rows, columns = X.blocksize
        return _fit(X.indptr, X.indices, X.data, n // rows, m // columns)
    if X.format == "coo":
        return all(len(places) == len(X.data) and _are_within(places, k) for places, k in ((X.row, n), (X.col, m)))
    return X.format != "dia" or X.offsets.shape == X.data.shape[:1]


def _in_order(X, name):
    """A matrix of SciPy in CSC order, whatever its format is."""
    if X.format not in ("csc", "csr", "bsr", "coo"):
        X = _converted(X, "tocsr", name)
    return X if X.format == "csc" else _converted(X, "tocsc", name)


def _converted(X, conversion, name):
    try:
        if _fits(X):
            return getattr(X, conversion)()
        cause = None
    except (ValueError, TypeError, IndexError, AttributeError) as error:  # from the checks that SciPy makes
        cause = error
    raise _damaged(X, name) from cause


def _damaged(X, name):
    told = f"; write {name}.check_format() for details" if hasattr(X, "check_format") else ""
    return ValueError(f"{name} has lists of indices that do not fit its shape{told}")


def _lists(X, name):
    """Values, features and starts of a CSC matrix.

    The features and starts are copies, because they are used as an index: no other thread may change them after they
    were checked.
    """
    (n, m), starts, features = X.shape, np.array(X.indptr), np.array(X.indices)
    if not _fit(starts, features, X.data, m, n):
        raise _damaged(X, name)
    count = starts[-1]
    return X.data[:count], features[:count].astype(np.int32, copy=False), starts.astype(np.int64, copy=False)


def read(X, dtype, name):
    """Return a sparse matrix or array of SciPy as a :class:`Sparse` of that dtype.

    The values are copied unless X is in CSC order and of that dtype, its features ascend and no value is 0: so that the
    numbers, and their order, do not depend on the format.
    """
    X = _in_order(X, name)
    values, features, starts = _lists(X, name)
    if not _ascend(features, starts) or not (values != 0).all():
        X = X.copy()
        X.has_sorted_indices = X.has_canonical_format = False  # what it remembers of its order may be outdated
        X.sum_duplicates()
        X.eliminate_zeros()
        values, features, starts = _lists(X, name)
    with np.errstate(all="ignore"):  # a float64 too large for float32 becomes inf; a later check reports it
        return Sparse(np.require(values, dtype, ["C", "A"]), features, starts, X.shape[0])
