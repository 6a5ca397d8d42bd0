"""SciPy's sparse X: recognised by its type, so that SciPy need not be there, and turned into what the backends read."""

import itertools

import numpy as np

_KIND = ("scipy", "sparse")  # the package of SciPy's matrices and arrays
_BLOCK = 1 << 17  # values that are measured at a time
_READ = tuple(np.dtype(kind) for kind in ("f4", "f8", "u1"))  # values that engines read in place


def is_scipy(value):
    """Whether `value` is one of SciPy's sparse matrices or arrays, or of a class derived from one."""
    return not isinstance(value, np.ndarray) and any(
        tuple(str(kind.__module__).split(".")[:2]) == _KIND for kind in type(value).__mro__
    )


class Sparse:
    """X (n_0, m) as lists of the numbers that are stored, sample after sample; the others are 0.

    Attributes
    ----------
    values : ndarray of float32, float64 or uint8
        Contiguous.
    features : ndarray of int32
        The row of each value; within a sample they ascend, and all are within 0 .. n_0 - 1.
    starts : ndarray of int64, (m + 1,)
        Sample j has the values from starts[j] to starts[j + 1].
    shape : (int, int)
    """

    __slots__ = ("_longest", "features", "shape", "starts", "values")

    def __init__(self, values, features, starts, n_in, longest=None):
        self.values, self.features, self.starts = values, features, starts
        self.shape, self._longest = (n_in, len(starts) - 1), longest

    dtype = property(lambda self: self.values.dtype)

    def longest(self):
        """How many values the sample with the most of them has."""
        if self._longest is None:
            self._longest = int(np.diff(self.starts).max(initial=0))
        return self._longest

    def rows(self):
        """About how many values a sample has, at least 1: for blocks of samples, as the rows of a dense X."""
        return 1 + int(self.starts[-1] - self.starts[0]) // max(1, self.shape[1])

    def blocks(self):
        """Slices of the columns that have many values each, but not much more than there are features."""
        wanted = max(_BLOCK, self.shape[0])
        parts = max(1, int(self.starts[-1] - self.starts[0]) // wanted)
        ends = np.searchsorted(self.starts, self.starts[0] + np.arange(1, parts) * wanted)
        ends = np.unique(np.concatenate([[0], np.clip(ends, 1, self.shape[1]), [self.shape[1]]]))
        return [slice(*pair) for pair in itertools.pairwise(ends.tolist())]

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

    def matrix(self, dtype=None, change=None):
        """As one of SciPy's arrays, (n_0, m), of this dtype; `change` makes of (values, features) other values."""
        from scipy.sparse import csc_array  # optional; where X is sparse it is there, and imported already

        own = slice(self.starts[0], self.starts[-1])
        values, features = self.values[own], self.features[own]
        values = values if change is None else change(values, features)
        if dtype is not None:
            values = values.astype(dtype, copy=False)
        return csc_array((values, features, self.starts - self.starts[0]), shape=self.shape, copy=False)

    def non_finite(self, dtype, samples=None):
        """How many values are not finite in this dtype, and (column, row) of the first; with `samples` of these."""
        if samples is None:
            with np.errstate(all="ignore"):
                places = np.flatnonzero(~np.isfinite(self.numbers()[0].astype(dtype, copy=False)))
            if not len(places):
                return 0, None
            place = places[0] + self.starts[0]
            return len(places), (int(np.searchsorted(self.starts, place, "right")) - 1, int(self.features[place]))
        samples = np.unique(samples)
        count, first = self.columns(samples).non_finite(dtype)
        return count, first and (int(samples[first[0]]), first[1])


def _readable(values):
    """The values as engines read them: a copy, in float64, only if they cannot read them in place."""
    if values.dtype == np.bool_:
        values = values.view(np.uint8)
    return np.require(values, values.dtype if values.dtype in _READ else np.float64, ["C", "A"])


def _are_within(places, n):
    """Whether each number of a list of places is one of 0 .. n - 1."""
    return not len(places) or bool(places.min() >= 0 and places.max() < n)


def _is_index(places):
    """Whether this is a list of integers."""
    return isinstance(places, np.ndarray) and places.ndim == 1 and places.dtype.kind in "iu"


def _fit(starts, places, values, lists, n):
    """Whether `starts` divide places and values into so many lists, of places within 0 .. n - 1."""
    if not (_is_index(starts) and _is_index(places)) or len(starts) != lists + 1 or starts[0] != 0:
        return False
    count = starts[-1]
    is_long_enough = len(places) >= count and len(values) >= count
    return is_long_enough and not (starts[1:] < starts[:-1]).any() and _are_within(places[:count], n)


def _fits(X):
    """Whether what a matrix of SciPy holds fits its shape. Its own conversions trust in it, and write by it."""
    n, m = X.shape
    if X.format == "csr":
        return X.data.ndim == 1 and _fit(X.indptr, X.indices, X.data, n, m)
    if X.format == "bsr":
        rows, columns = X.blocksize
        return _fit(X.indptr, X.indices, X.data, n // rows, m // columns)
    if X.format == "coo":
        lists = ((X.row, n), (X.col, m))
        return X.data.ndim == 1 and all(_is_index(k) and len(k) == len(X.data) and _are_within(k, n) for k, n in lists)
    if X.format == "lil":
        return len(X.rows) == len(X.data) == n and all(map(_are_of_one_length, X.rows, X.data))
    return X.format != "dia" or X.offsets.shape == X.data.shape[:1]


def _are_of_one_length(places, values):
    return len(places) == len(values)


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


def _lists(X, name, engine):
    """The Sparse of a CSC matrix, and whether the features of each sample ascend."""
    n, indptr = X.shape[0], X.indptr
    are_lists = _is_index(indptr) and _is_index(X.indices) and X.data.ndim == 1
    count = int(indptr[-1]) if are_lists and len(indptr) == X.shape[1] + 1 else -1
    if 0 <= count <= min(len(X.data), len(X.indices)):
        found = engine.sparse_lists(X.indices[:count], indptr, n, count)
        if found is not None:
            features, starts, longest, ascends = found
            return Sparse(_readable(X.data[:count]), features, starts, n, longest), ascends
    raise _damaged(X, name)


def read(X, engine, name):
    """Return a sparse matrix or array of SciPy as a :class:`Sparse` for an engine.

    Nothing is copied but the index, if X is in CSC order, the features of each sample ascend, and the values are of a
    dtype that engines read; others are cast to float64. An index is copied because another thread could change
    it after it was checked.
    """
    given = _in_order(X, name)
    lists, ascends = _lists(given, name, engine)
    if not ascends:
        X = given.copy()
        X.has_sorted_indices = X.has_canonical_format = False  # what it remembers of its order may be outdated
        X.sum_duplicates()
        lists, _ = _lists(X, name, engine)
    return lists
