"""Tables of any kind, as a :class:`~fastnn.tabular.columns.Table`: files, data frames, dicts, records."""

import io
import math
import os
import sys

import numpy as np

from . import delimited
from .cells import MISSING, column_of_text, mark_missing
from .columns import Column, Table

_PARQUET_NAMES = (".parquet", ".pq")
_PARQUET = b"PAR1"  # its first bytes
_TIMES = (np.datetime64, np.timedelta64)
_EXPECTED = (
    "a path to a CSV or Parquet file, a data frame of pandas or polars, a dict of columns, a list of dicts, or a NumPy "
    "array with named fields"
)


def read_table(source, *, delimiter=None, header=None, decimal=".", encoding="utf-8", missing=()):
    r"""Read a table, to say how its text is meant; :class:`TabularModel` takes the result in place of the table.

    Parameters
    ----------
    source : path-like, binary file object, data frame, dict, list of dict, ndarray
        A path that ends in .parquet, or a file object with such a file, is read by pandas or polars, any other as
        CSV. A dict has one sequence for each
        column, a list one dict for each row (a name that a row lacks is a missing cell), an array named fields.
    delimiter : str, optional
        Of CSV; one character. None: found in the first lines, of ``; tab | ,`` and spaces.
    header : bool, optional
        Whether the first line of a CSV file has names. None: it has if none of its cells is a number and all differ.
        Without a header the columns are named "0", "1" and so on.
    decimal : {".", ","}
        What stands before the fraction in numbers that are text. A comma is then found as a delimiter only in a file
        with quotation marks.
    encoding : str
        Of CSV; a byte order mark goes before it.
    missing : str or sequence of str
        Further texts that mean a missing cell. Always do: an empty cell, ?, NA, N/A, NaN, NULL and None as pandas
        knows them. A number among them, such as "-999", means that number in columns of numbers, too.

    Returns
    -------
    Table

    Raises
    ------
    FileNotFoundError, OSError
        If a file cannot be read.
    ValueError
        If it holds no table; the message says what and where.
    TypeError
        If `source` or a setting is of the wrong kind.
    ImportError
        For a Parquet file, if there is neither pandas nor polars.

    Notes
    -----
    Text means the same in a file and in a data frame: a column of text whose cells are all numbers holds numbers.
    Masked cells of NumPy's masked arrays are missing. Empty lines of a file are skipped; a line of delimiters alone is
    a row in which all is missing.

    Examples
    --------
    >>> import io
    >>> from fastnn.tabular import read_table
    >>> table = read_table(io.BytesIO(b"size;price\n1,5;20\n-;30"), decimal=",", missing="-")
    >>> table.column("size").values
    array([1.5, nan])
    """
    if decimal not in (".", ","):
        raise ValueError(f"decimal must be '.' or ',', got {decimal!r:.80}")
    if delimiter is not None and (not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n'):
        raise ValueError(f"delimiter must be one character, such as ';' or '\\t', got {delimiter!r:.80}")
    if header is not None and not isinstance(header, (bool, np.bool_)):
        raise TypeError(f"header must be True, False or None, got {header!r:.80}")
    missing = strings(missing, "missing")
    if isinstance(source, Table):
        raise TypeError("table is read already; give the settings when it is read")
    if _is_of_file(source):
        if hasattr(source, "read"):
            data, name = _content(source), str(getattr(source, "name", ""))
            if data[:4] != _PARQUET:
                return _of_delimited(data, name, delimiter, header, decimal, encoding, missing)
            source = _parquet(io.BytesIO(data), name or "the table")
        elif _is_parquet(source):
            name = os.fsdecode(source)
            source = _parquet(name, name)
        else:
            with open(source, "rb") as file:
                data = file.read()
            return _of_delimited(data, os.fsdecode(source), delimiter, header, decimal, encoding, missing)
    else:
        name = ""
    if delimiter is not None or header is not None:
        raise ValueError("delimiter and header are of CSV files, and this table is none")
    return Table(_distinct(_columns(source), decimal, missing), name)


def as_table(source, usual_header=None, **given):
    """`source` itself if it is a Table, else what :func:`read_table` makes of it.

    `usual_header` is the `header` of CSV files, where none is given.
    """
    if isinstance(source, Table):
        return source
    if usual_header is not None and "header" not in given and _is_of_file(source):
        if hasattr(source, "read"):
            data, name = _content(source), getattr(source, "name", "")
            source, is_csv = io.BytesIO(data), data[:4] != _PARQUET
            source.name = name
        else:
            is_csv = not _is_parquet(source)
        if is_csv:
            given["header"] = usual_header
    return read_table(source, **given)


def _is_parquet(source):
    return not hasattr(source, "read") and os.fsdecode(source).lower().endswith(_PARQUET_NAMES)


def strings(value, argument):
    """A str, an int or a sequence of them as a tuple of str."""
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        value = (value,)
    if isinstance(value, (bytes, dict)) or not hasattr(value, "__iter__"):
        raise TypeError(f"{argument} must be a list of names, got {value!r:.80}")
    value = tuple(value)
    for each in value:
        if not isinstance(each, (str, int, np.integer)) or isinstance(each, bool):
            raise TypeError(f"{argument} must be a list of names, got {each!r:.80} in it")
    return tuple(map(str, value))


def _is_of_file(source):
    return isinstance(source, (str, bytes, os.PathLike)) or (hasattr(source, "read") and not isinstance(source, type))


def _content(file):
    data = file.read()
    if isinstance(data, str):
        raise TypeError("table must be a path or a binary file object, got a text file: open it with 'rb'")
    return data


def _of_delimited(data, name, delimiter, header, decimal, encoding, missing):
    try:
        names, cells, has_header = delimited.read(data, delimiter, header, encoding, decimal)
        _refuse_twice(names)
        columns = [column_of_text(*each, missing, decimal) for each in zip(names, cells, strict=True)]
    except ValueError as error:
        raise ValueError(f"{name or 'the table'}: {error}") from None
    return Table(columns, name, has_header)


def _parquet(source, name):
    """A data frame of pandas or polars, whichever is installed and can read it."""
    if isinstance(source, str):
        with open(source, "rb") as file:
            if file.read(4) != _PARQUET:
                raise ValueError(f"{name}: it is not a Parquet file, whatever its name")
    try:
        import polars

        return polars.read_parquet(source)
    except ImportError:
        pass
    except Exception as error:  # of polars' own kinds
        raise ValueError(f"{name}: {error}") from None
    try:
        import pandas

        return pandas.read_parquet(source)
    except ImportError:
        raise ImportError("Parquet files are read by polars, or by pandas with pyarrow: install one") from None
    except Exception as error:
        raise ValueError(f"{name}: {error}") from None


def _columns(source):
    """(name, cells) for each column; cells are an ndarray, or a pair of it and True for a column of categories."""
    library = type(source).__module__.partition(".")[0]
    if library == "pandas" and type(source).__name__ == "DataFrame":
        return [(name, _of_pandas(source.iloc[:, i])) for i, name in enumerate(source.columns)]
    if library == "polars" and hasattr(source, "collect"):
        raise TypeError("table is a LazyFrame: write table.collect()")
    if library == "polars" and type(source).__name__ == "DataFrame":
        return [(name, _of_polars(source[name])) for name in source.columns]
    if isinstance(source, np.ndarray):
        if source.dtype.names and source.ndim == 1:
            return [(name, source[name]) for name in source.dtype.names]
        told = ": write dict(zip(names, X.T, strict=True))" if source.ndim == 2 and not source.dtype.names else ""
        raise TypeError(f"table is an array of {source.dtype} {source.shape}, whose columns have no names{told}")
    if isinstance(source, dict):
        return [(name, _of_sequence(name, cells)) for name, cells in source.items()]
    if isinstance(source, (list, tuple)) and source and all(isinstance(row, dict) for row in source):
        names = dict.fromkeys(name for row in source for name in row)
        return [(name, _of_sequence(name, [row.get(name) for row in source])) for name in names]
    raise TypeError(f"table must be {_EXPECTED}, got {type(source).__name__}")


def _of_sequence(name, cells):
    library = type(cells).__module__.partition(".")[0]
    if library in ("pandas", "polars") and type(cells).__name__ == "Series":
        return _of_pandas(cells) if library == "pandas" else _of_polars(cells)
    if isinstance(cells, (str, bytes, dict)) or not hasattr(cells, "__len__"):
        told = "" if isinstance(cells, dict) else f": write [{cells!r:.60}]"
        raise TypeError(f"column {name!r} must be a sequence of cells, got {cells!r:.80}{told}")
    if isinstance(cells, np.ndarray):
        return cells
    found = np.empty(len(cells), object)
    found[:] = cells if isinstance(cells, list) else list(cells)
    return found


def _of_pandas(series):
    pandas = sys.modules["pandas"]
    if isinstance(series.dtype, pandas.CategoricalDtype):
        return series.astype(object).to_numpy(), True
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "fiubmM":
        return series.to_numpy()
    if getattr(series.dtype, "kind", "O") in "mM":  # with a time zone
        return series.dt.tz_localize(None).to_numpy()
    return series.astype(object).to_numpy()


def _of_polars(series):
    kind = str(series.dtype)
    if series.dtype.is_numeric():
        return series.cast(sys.modules["polars"].Float64).to_numpy()  # null becomes NaN
    found = np.empty(len(series), object)
    found[:] = series.to_list()
    return (found, True) if kind.startswith(("Categorical", "Enum")) else found


def _refuse_twice(names):
    seen = set()
    for name in names:
        if name in seen:
            raise ValueError(f"two columns are named {name!r}; names have to differ")
        seen.add(name)


def _distinct(pairs, decimal, missing):
    """Columns of pairs (name, cells)."""
    for name, _ in pairs:
        if not isinstance(name, (str, int, np.integer)) or isinstance(name, bool):
            raise TypeError(f"names of columns must be strings or integers, got {name!r:.80}")
    names = [str(name) for name, _ in pairs]
    _refuse_twice(names)
    columns = []
    for name, (_, cells) in zip(names, pairs, strict=True):
        cells, is_category = cells if isinstance(cells, tuple) else (cells, False)
        columns.append(_column(name, cells, is_category, decimal, missing))
        if len(cells) != len(columns[0].values):
            sizes = f"{len(columns[0].values)} rows, column {name!r} {len(cells)}"
            raise ValueError(f"columns must have the same length: column {columns[0].name!r} has {sizes}")
    if not columns:
        raise ValueError("the table has no columns")
    return columns


def _column(name, cells, is_category, decimal, missing):
    """A column from an array."""
    if cells.ndim != 1:
        raise ValueError(f"column {name!r} must have one cell for each row, got an array of shape {cells.shape}")
    kind = cells.dtype.kind
    if isinstance(cells, np.ma.MaskedArray):
        cells, kind = _of_masked(cells), "O"
    if kind in "mM":
        return Column(name, "date", cells.astype(str).astype(object), None, False)
    if kind in "SUT":
        cells, kind = cells.astype("U").astype(object), "O"
    if kind == "O":
        return _of_objects(name, cells, is_category, decimal, missing)
    if kind not in "fiub":
        return _of_no_use(name, list(cells))
    values = cells.astype(np.float64)
    mark_missing(values, missing)
    return Column(name, "boolean" if kind == "b" else "number", values, None, is_category)


def _of_masked(cells):
    """Objects, None where a cell is masked; cells of bytes are text, as without a mask."""
    found = np.asarray(cells.astype("U") if cells.dtype.kind == "S" else cells).astype(object)
    found[np.ma.getmaskarray(cells)] = None
    return found


def _of_objects(name, cells, is_category, decimal, missing):
    """A column from an array of Python objects: text, or numbers, or booleans, or dates; None is a missing cell."""
    kinds, clean = set(), np.empty(len(cells), object)
    for i, cell in enumerate(cells):
        if _is_missing(cell):
            continue
        kinds.add(_kind(cell))
        clean[i] = cell
    if "other" in kinds:
        return _of_no_use(name, clean)
    if "date" in kinds:
        return Column(name, "date", np.array([None if c is None else str(c) for c in clean], object), None, False)
    if "text" in kinds or (is_category and kinds):
        # A number among text, such as a category 1 beside "1a".
        texts = [c if c is None or isinstance(c, str) else as_text(c) for c in clean]
        return (_categories if is_category else column_of_text)(name, texts, missing, decimal)
    values = np.array([np.nan if c is None else _as_float(c) for c in clean])
    mark_missing(values, missing)
    return Column(name, "boolean" if kinds == {"boolean"} else "number", values, None, is_category)


def _as_float(number):
    try:
        return float(number)
    except OverflowError:  # of a whole number of Python; infinite as its text would be
        return math.inf if number > 0 else -math.inf


def _of_no_use(name, cells):
    """A column of what is neither number nor text: an error only where it is needed. Its cells are kept as text."""
    found = np.empty(len(cells), object)
    found[:] = [None if cell is None else f"{cell!r:.50}" for cell in cells]
    return Column(name, "other", found, None, False)


def _categories(name, texts, missing, _):
    """A column whose type is that of categories: text is no number there, though it may look like one."""
    absent, clean = {*MISSING, *missing}, np.empty(len(texts), object)
    clean[:] = [None if text is None or text.strip() in absent else text.strip() for text in texts]
    return Column(name, "text", clean, None, True)


def _is_missing(cell):
    """None, NaN of any kind, NaT, pandas' NA."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(cell, _TIMES):
        return bool(np.isnat(cell))
    return hasattr(cell, "__float__") and not np.ndim(cell) and cell != cell


def _kind(cell):
    """What kind of column a cell belongs to."""
    if isinstance(cell, str):
        return "text"
    if isinstance(cell, (bool, np.bool_)):
        return "boolean"
    if hasattr(cell, "isoformat") or hasattr(cell, "total_seconds") or isinstance(cell, _TIMES):
        return "date"
    if isinstance(cell, (bytes, complex, np.complexfloating)) or np.ndim(cell):
        return "other"
    return "number" if hasattr(cell, "__float__") else "other"


def as_text(value):
    """A number or a boolean as the text of a category: whole numbers without a point."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return str(int(value))  # also one that float64 has no place for
    value = float(value)
    return str(int(value)) if value.is_integer() and abs(value) < 2**63 else repr(value)
