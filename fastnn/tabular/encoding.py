"""From columns to the inputs of a network: what is learned of a column, and how its cells become numbers.

A column of numbers (or of true and false) is one input, missing cells take the median of the rows that were learned
from; if some of these were missing, a second input is 1 for a missing cell. A column of categories has one input for
each, 1 for the cells of that category, and one for missing cells if some were.
"""

import re
from typing import NamedTuple

import numpy as np

from . import cells
from .reading import as_text

_MOST_CATEGORIES = 1000
_LARGEST = 1e150  # of a number in a column; the square is in float64
_FARTHEST = 1e30  # of a standardised number: float32 goes on to 3e38, and weights multiply it
_EXACT = 2.0**53  # from here on not all whole numbers are in float64
_UNNAMED = re.compile(r"Unnamed: \d+")  # what pandas and we call a column without a name, such as a saved index


class Numbers(NamedTuple):
    """What is learned of a column of numbers.

    Attributes
    ----------
    name : str
        Of the column.
    fill : float
        What a missing cell becomes.
    has_missing : bool
        Whether cells were missing in training. Then one more input says of each cell whether it is.
    """

    name: str
    fill: float
    has_missing: bool

    @property
    def inputs(self):
        """Names of the inputs."""
        return [self.name, f"{self.name} is missing"][: 1 + self.has_missing]

    def write(self, column, rows):
        """Write the inputs of a column into `rows`, (m, inputs).

        Parameters
        ----------
        column : Column
        rows : ndarray of float64

        Returns
        -------
        str or None
            What was not seen in training.
        """
        column = self._of_numbers(column)
        missing = column.missing()
        rows[:, 0] = np.where(missing, self.fill, column.values)
        if self.has_missing:
            rows[:, 1] = missing
            return None
        if missing.any():
            return (
                f"column {self.name!r}: {_cells(missing)} missing, none was in training; "
                f"the median, {self.fill:g}, is taken"
            )
        return None

    def _of_numbers(self, column):
        """The column with cells that are numbers, or ValueError."""
        if column.kind in ("date", "other"):
            raise ValueError(f"column {self.name!r} held numbers in training, and now {column.first()}")
        if column.kind == "text":
            for place, text in enumerate(column.values):
                if text is not None and cells.number(text) is None:
                    told = "; for a decimal comma give decimal=','" if cells.is_with_comma(text) else ""
                    found = f"{column.example(place)} in row {place + 1}{told}"
                    raise ValueError(f"column {self.name!r} held numbers in training, and now {found}")
            if not column.is_category:
                cells.refuse_numbers(column)
            values = [np.nan if text is None else cells.number(text) for text in column.values]
            column = column._replace(kind="number", values=np.array(values, float))
        refuse_infinite(column)
        return column


def refuse_infinite(column):
    """Raise ValueError if a column of numbers holds one that is not finite, or that cannot be squared."""
    large = np.flatnonzero(np.abs(column.values) > _LARGEST)
    if len(large):
        value = column.values[large[0]]
        what = f"{value:g}, too large a number," if np.isfinite(value) else "an infinite number"
        raise ValueError(f"column {column.name!r} holds {what} in row {large[0] + 1}")


def refuse_far(encoders, X, net):
    """Raise ValueError if a number is so far from those of training that float32 has no place for it."""
    if net.standardisation is None:  # in a file of others
        return
    mean, scale, *_ = net.standardisation
    first = 0
    for encoder in encoders:
        if type(encoder) is Numbers:
            far = np.flatnonzero(np.abs(X[first] - mean[first]) > _FARTHEST * scale[first])
            if len(far):
                raise ValueError(
                    f"column {encoder.name!r} holds {X[first, far[0]]:g}, too far from the numbers of training"
                )
        first += len(encoder.inputs)


def refuse_merged(column, what="column"):
    """Raise ValueError if numbers that are categories are so large that different ones have become the same."""
    if column.kind == "number":
        large = np.flatnonzero(np.abs(column.values) >= _EXACT)
        if len(large):
            raise ValueError(
                f"{what} {column.name!r} has categories that are numbers of 2^53 and more, such as "
                f"{column.example(large[0])}, which float64 does not tell apart: write them as text, with a letter"
            )


class Categories(NamedTuple):
    """What is learned of a column of categories.

    Attributes
    ----------
    name : str
        Of the column.
    categories : tuple of str
        Each has an input.
    has_missing : bool
        Whether cells were missing in training. Then they have an input, too.
    kind : {"text", "number", "boolean"}
        What the cells were.
    """

    name: str
    categories: tuple
    has_missing: bool
    kind: str

    @property
    def inputs(self):
        """Names of the inputs."""
        return [f"{self.name}={each}" for each in self.categories] + [f"{self.name} is missing"] * self.has_missing

    def write(self, column, rows):
        """Write the inputs of a column into `rows`, as :meth:`Numbers.write` does."""
        place = {text: i for i, text in enumerate(self.categories)}
        # Some of the categories, such as "10:30" of "10:30" and "late", may alone look like dates.
        if column.kind == "other" or (column.kind == "date" and set(self.categories).isdisjoint(column.values)):
            raise ValueError(f"column {self.name!r} held categories in training, and now {column.first()}")
        if self.has_missing:
            place[None] = len(self.categories)
        found = texts(column, self.kind)
        places = np.array([place.get(text, -1) for text in found], np.intp)
        rows[:] = 0.0
        known = np.flatnonzero(places >= 0)
        rows[known, places[known]] = 1.0
        if len(known) == len(places):
            return None
        unknown = np.flatnonzero(places < 0)
        what = "missing" if found[unknown[0]] is None else repr(found[unknown[0]])[:60]
        return (
            f"column {self.name!r}: {_cells(places < 0)} of a category that was not in training ({what}); "
            "all inputs of that column are 0 there"
        )


def _cells(mask):
    count = int(mask.sum())
    return f"{count} of {len(mask)} cells {'is' if count == 1 else 'are'}"


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def texts(column, kind):
    """The cells as texts of categories, None where they are missing; `kind` is that of the column in training."""
    if column.kind in ("text", "date") or (kind == "text" and column.text is not None):
        found = column.text if column.kind in ("number", "boolean") else column.values
        if kind == "number":
            return [as_text(float(text)) if text is not None and _is_number(text) else text for text in found]
        return list(found)
    as_bool = column.kind == "boolean"
    return [None if value != value else as_text(bool(value) if as_bool else value) for value in column.values]


def of_rows(column):
    """Whether a column numbers or names the rows, so that it is left out, and what there is to say of it.

    Parameters
    ----------
    column : Column
        All rows of the table: in a part of them numbers have gaps, and more of the texts are the only ones.

    Returns
    -------
    (bool, str or None)
    """
    values, rows = column.values, len(column.values)
    if column.kind == "text":
        count = len({text for text in values if text is not None})
        told = f"{count} texts in {rows} rows, which name rows rather than tell something of them"
        return (True, f"column {column.name!r} is left out: it holds {told}") if 2 * count > rows > 2 else (False, None)
    if column.kind != "number" or column.is_category or rows < 3 or not np.isfinite(values).all():
        return False, None
    # A saved index has no name; that of a table which was sorted, or of some of its rows, is in no order.
    if _UNNAMED.fullmatch(column.name) and (values == values.round()).all() and len(np.unique(values)) == rows:
        return True, f"column {column.name!r} is left out: it counts the rows"
    if (np.diff(values) == 1).all():
        return False, f"column {column.name!r} counts the rows; drop it if it says nothing else"
    return False, None


def learned(column, is_category):
    """What is learned of a column, and what there is to say of it.

    Parameters
    ----------
    column : Column
        The rows to learn from.
    is_category : bool
        Whether the user says so; a column of text always is one.

    Returns
    -------
    (Numbers, Categories or None, str or None)
        None: the column is not used.
    """
    name, missing = column.name, column.missing()
    some = bool(missing.any())
    if missing.all():
        return None, f"column {name!r} is left out: all its cells are missing"
    if column.kind != "text" and not (is_category or column.is_category):
        there = column.values[~missing]
        found = Numbers(name, float(np.median(there)), some)
        if not some and there.min() == there.max():
            return None, f"column {name!r} is left out: all its cells are {there[0]:g}"
        return found, None
    refuse_merged(column)
    there = [text for text in texts(column, column.kind) if text is not None]
    values, counts = np.unique(np.array(there, object), return_counts=True)
    if len(values) == 1 and not some:
        return None, f"column {name!r} is left out: all its cells are {values[0]!r:.60}"
    note = None
    if len(values) > _MOST_CATEGORIES:
        values = values[np.sort(np.argsort(-counts, kind="stable")[:_MOST_CATEGORIES])]
        note = f"column {name!r}: of {len(counts)} categories the {_MOST_CATEGORIES} that are most frequent are used"
    return Categories(name, tuple(values.tolist()), some, column.kind), note


def of_missing(encoders, columns):
    """What to say of missing cells: notes on the columns that were learned from and have some."""
    numbers, categories = [], []
    for encoder, column in zip(encoders, columns, strict=True):
        count = int(column.missing().sum())
        if count and type(encoder) is Numbers:
            numbers.append(f"{encoder.name!r} ({count}: {encoder.fill:g})")
        elif count:
            categories.append(f"{encoder.name!r} ({count})")
    notes = []
    if numbers:
        notes.append(f"missing numbers are taken as their column's median, and marked: {', '.join(numbers)}")
    if categories:
        notes.append(f"missing cells are a category of their own: {', '.join(categories)}")
    return notes


def inputs_of(encoders, table):
    """The inputs of all rows of a table.

    Parameters
    ----------
    encoders : list of Numbers or Categories
    table : Table

    Returns
    -------
    X : ndarray of float64, (n, m)
        In Fortran order: each row of the table in one piece.
    notes : list of str
        What was not seen in training.
    """
    widths = [len(encoder.inputs) for encoder in encoders]
    rows, notes, first = np.empty((table.rows, sum(widths))), [], 0
    for encoder, width in zip(encoders, widths, strict=True):
        notes.append(encoder.write(table.column(encoder.name), rows[:, first : first + width]))
        first += width
    return rows.T, [note for note in notes if note]


def to_measure(encoders, X):
    """`X` with 0 for all inputs that are 0 or 1: those that the network does not have to standardise."""
    X, first = X.copy(order="F"), 0
    for encoder in encoders:
        width = len(encoder.inputs)
        X[first + (type(encoder) is Numbers) : first + width] = 0.0
        first += width
    return X
