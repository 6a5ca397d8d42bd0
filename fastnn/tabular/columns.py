"""A table as its columns, whatever it was read from."""

from typing import NamedTuple

import numpy as np

from .. import hints


class Column(NamedTuple):
    """The cells of one column.

    `kind` is "number" or "boolean" (`values` are float64, NaN where a cell is missing; true is 1), "text" (str, or None
    for a missing cell), or "date" and "other", which have no use here. `text` are the cells as they were written, if
    they were text; `is_category` says that the column's own type is that of categories.
    """

    name: str
    kind: str
    values: np.ndarray
    text: np.ndarray | None
    is_category: bool

    def missing(self):
        """Whether a cell is missing, (m,)."""
        if self.kind in ("number", "boolean"):
            return np.isnan(self.values)
        return np.array([value is None for value in self.values], bool)

    def at(self, rows):
        """The column of some rows."""
        return self._replace(values=self.values[rows], text=None if self.text is None else self.text[rows])

    def first(self):
        """A cell in an error message: the first one that is there."""
        places = np.flatnonzero(~self.missing())
        return self.example(places[0]) if len(places) else "none"

    def example(self, place):
        """A cell in an error message."""
        return repr(self.values[place] if self.text is None else self.text[place])[:60]


class Table:
    """Columns of equal length, and where they come from; :func:`read_table` makes it.

    Attributes
    ----------
    names : list of str
    rows : int
    source : str
        The path of a file; "" for any other table.
    has_header : bool
        False for a file without a line of names: its columns are then named "0", "1" and so on.
    """

    def __init__(self, columns, source="", has_header=True):
        self._columns = {column.name: column for column in columns}
        self.source, self.has_header = source, has_header
        self.rows = len(columns[0].values) if columns else 0

    @property
    def names(self):
        """The names of the columns, in their order."""
        return list(self._columns)

    def column(self, name):
        """The column of that name.

        Parameters
        ----------
        name : str or int

        Returns
        -------
        Column

        Raises
        ------
        ValueError
            If there is none; the message names one that is meant, perhaps.
        """
        found = self._columns.get(str(name))
        if found is None:
            raise ValueError(self.no_column(name))
        return found

    def no_column(self, name):
        """The message that there is no such column."""
        where = f"{self.source} has" if self.source else "the table has"
        told = hints.did_you_mean(str(name), self.names)
        if not told:
            shown = ", ".join(map(repr, self.names[:12])) + (", ..." if len(self.names) > 12 else "")
            told = f"; it has {shown}" + ("" if self.has_header else ": it has no header, columns go by number")
        return f"{where} no column {str(name)!r}{told}"

    def __repr__(self):
        return f"<Table: {self.rows} rows, columns {', '.join(self.names)[:200]}>"
