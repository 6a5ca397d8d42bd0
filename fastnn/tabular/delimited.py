"""Files of delimited text (CSV): bytes to the cells of each column, by the standard library alone."""

import csv
import io
import re

from .cells import MISSING, number

DELIMITERS = (";", "\t", "|", ",")  # in the order in which they are preferred: numbers may have a decimal comma
_LINES_LOOKED_AT = 100
_SAID = re.compile(r"sep=([^\r\n])\r?\n")
_MARKS = {  # byte order marks; that of utf-32 begins as that of utf-16 does
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_OTHERS = {
    b"PK\x03\x04": "a zip archive, such as a sheet of Excel: save it as CSV",
    b"\x1f\x8b": "compressed: unpack it first",
    b"PAR1": "a Parquet file: name it .parquet",
    b"SQLite": "a database: export a table as CSV",
}


def read(data, delimiter=None, header=None, encoding="utf-8", decimal="."):
    """The cells of a file.

    Parameters
    ----------
    data : bytes
    delimiter : str, optional
        None: found in the first lines.
    header : bool, optional
        Whether the first line has names. None: it has if none of its cells is a number, and all differ.
    encoding : str
        A byte order mark goes before it.
    decimal : {".", ","}
        A decimal comma is no delimiter, except in a file with quotation marks, in which it can stand between them.

    Returns
    -------
    names : list of str
        "0", "1" and so on without a header. A column whose own name is empty is called as in pandas, "Unnamed: 0".
    columns : list of list of str
    has_header : bool

    Raises
    ------
    ValueError
        If the bytes are no text, or lines have different numbers of cells.
    """
    text = _decoded(data, encoding)
    said = _SAID.match(text)  # as Excel writes it
    if said:
        text, delimiter = text[said.end() :], delimiter or said[1]
    if delimiter is None:
        known = DELIMITERS if decimal == "." or '"' in text else DELIMITERS[:-1]
        delimiter = _delimiter(text, known)
    rows = _rows(text, delimiter)
    if header is None:
        header = _is_header(*(cells for _, cells in rows[:2]))
    if header:
        names = [cell.strip() or f"Unnamed: {i}" for i, cell in enumerate(rows[0][1])]
    else:
        names = [str(i) for i in range(len(rows[0][1]))]
    cells = [row for _, row in rows[1 if header else 0 :]]
    return names, [list(column) for column in zip(*cells, strict=True)] or [[] for _ in names], header


def _decoded(data, encoding):
    for start, what in _OTHERS.items():
        if data.startswith(start):
            raise ValueError(f"it is {what}")
    encoding = next((found for mark, found in _MARKS.items() if data.startswith(mark)), encoding)
    if b"\0" in data and not encoding.lower().startswith(("utf-16", "utf16", "utf-32", "utf32")):
        raise ValueError("it is no text: it holds zero bytes")
    try:
        text = data.decode(encoding)
    except LookupError:
        raise ValueError(f"encoding: Python knows no {encoding!r}; usual are utf-8, cp1252, utf-16") from None
    except UnicodeError as error:
        place = getattr(error, "start", 0)
        line = data.count(b"\n", 0, place) + 1
        other = "cp1252" if encoding.lower().replace("-", "") == "utf8" else "utf-8"
        raise ValueError(f"line {line} is not {encoding}; encoding={other!r} may be right") from None
    if not text.strip():
        raise ValueError("it is empty")
    return text


def _parsed(text, delimiter):
    """Lists of cells with the number of their last line, without empty lines.

    A line of delimiters alone is a row whose cells are all missing: else predictions would be fewer than the rows.
    """
    if delimiter == " ":  # as many as there are, also before the first
        text = "\n".join(line.strip() for line in text.splitlines())
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    for row in reader:
        if any(row):
            yield reader.line_num, [cell for cell in row if cell] if delimiter == " " else row
        elif delimiter != " " and len(row) > 1:
            yield reader.line_num, row


def _delimiter(text, known):
    """The one of the `known` delimiters of which the first lines have the same number; the last for one column."""
    some = text.splitlines(keepends=True)[:_LINES_LOOKED_AT]
    whole = len(some) < _LINES_LOOKED_AT
    for delimiter in (*known, " "):
        counts = []
        try:
            counts.extend(len(row) for _, row in _parsed("".join(some), delimiter) if any(row))
        except csv.Error:  # a quoted cell may go on beyond the lines looked at
            if whole or not counts:
                continue
        if len(set(counts)) == 1 and counts[0] > 1:
            return delimiter
    # Lines differ: the error that names the first such line is of the delimiter that is there most often.
    first = some[0]
    return max(known[::-1], key=first.count)


def _rows(text, delimiter):
    line = 1
    try:
        rows = []
        for line, row in _parsed(text, delimiter):
            # What a spreadsheet leaves above a table, or of another width below it, is no row.
            if any(row) or (rows and len(row) == len(rows[0][1])):
                rows.append((line, row))
    except csv.Error as error:
        what = "a quotation mark is not closed" if "end of data" in str(error) else str(error)
        raise ValueError(f"after line {line}: {what}") from None
    if not rows:
        raise ValueError("it is empty")
    for line, row in rows:
        if len(row) != len(rows[0][1]):
            raise ValueError(
                f"line {line} has {len(row)} cells, and the first line {len(rows[0][1])} (delimiter {delimiter!r})"
            )
    return rows


def _is_header(first, second=()):
    """Whether the first line has names: no numbers, and all differ, or the next line has numbers."""
    names = [cell.strip() for cell in first if cell.strip()]
    if not names or len(names) < len(first) - 1 or any(map(_is_value, names)):
        return False
    return len(set(names)) == len(names) or any(map(_is_value, second))


def _is_value(cell):
    return cell in MISSING or number(cell) is not None or number(cell, ",") is not None
