"""What the cells of a column of text mean: missing, numbers, true and false, dates, or categories."""

import itertools
import re

import numpy as np

from .columns import Column

MISSING = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None")
_DATES = re.compile(
    r"(\d{4}-\d{1,2}-\d{1,2}|\d{4}/\d{1,2}/\d{1,2}|\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d{2}))([T ]\d{1,2}:\d{2}.*)?"
    r"|\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?"
)
_WITH_COMMA = re.compile(r"[+-]?\d+(,\d+)+(\.\d*)?")
_NUMBERS_AMONG_TEXT = 0.8  # a share of numbers from which words between them are hardly categories


def column_of_text(name, cells, missing=(), decimal="."):
    """A column from its cells.

    Parameters
    ----------
    name : str
    cells : sequence of str or None
    missing : collection of str
        Further texts of a missing cell, beside those of `MISSING`; a number among them also means equal numbers.
    decimal : {".", ","}

    Returns
    -------
    Column
        Of kind "number" if all cells that are there are numbers, "boolean" for true and false in any case, "date", or
        "text".

    Raises
    ------
    ValueError
        If numbers are written with a comma though `decimal` is ".", or are mixed with a few words.
    """
    absent = {*MISSING, *missing}
    text = [None if cell is None or cell.strip() in absent else cell.strip() for cell in cells]
    there = [cell for cell in text if cell is not None]
    found = numbers(there, decimal)
    if found is not None:
        mark_missing(found, missing)
        return _placed(name, "number", found, text)
    lower = {cell.lower() for cell in set(there)}
    if lower <= {"true", "false"}:
        return _placed(name, "boolean", np.array([cell.lower() == "true" for cell in there], float), text)
    if all(map(_DATES.fullmatch, there)):
        return Column(name, "date", _objects(text), None, False)
    _refuse_commas(name, there, decimal)
    _refuse_few_words(name, there, decimal)
    return Column(name, "text", _objects(text), None, False)


def numbers(cells, decimal="."):
    """The numbers of `cells`, float64; None if one of them is no number."""
    if decimal == ",":
        if any("." in cell for cell in cells):
            return None
        cells = [cell.replace(",", ".") for cell in cells]
    try:
        found = np.array(list(map(float, cells)), float)
    except ValueError:
        return None
    return None if any("_" in cell for cell in cells) else found  # Python reads 1_000 as a number


def number(cell, decimal="."):
    """The number of a cell, or None."""
    found = numbers([cell], decimal)
    return None if found is None else float(found[0])


def mark_missing(values, missing):
    """Put NaN where `values` are one of those of the texts `missing` that are numbers."""
    values[np.isin(values, [value for value in map(number, missing) if value is not None])] = np.nan


def _placed(name, kind, values, text):
    """A column with NaN where a cell is missing."""
    found = np.full(len(text), np.nan)
    found[[cell is not None for cell in text]] = values
    return Column(name, kind, found, _objects(text), False)


def _objects(text):
    found = np.empty(len(text), object)
    found[:] = text
    return found


def _refuse_commas(name, there, decimal):
    """Raise ValueError if all cells are numbers, and some have a comma."""
    if decimal == ",":
        return
    with_comma = [cell for cell in there if _WITH_COMMA.fullmatch(cell)]
    if with_comma and numbers([cell for cell in there if "," not in cell]) is not None:
        if len(with_comma) < sum("," in cell for cell in there):
            return
        raise ValueError(
            f"column {name!r} holds numbers with a comma, such as {with_comma[0]!r}: for a decimal comma give "
            "decimal=','; commas between thousands have to be removed"
        )


def _refuse_few_words(name, there, decimal):
    """Raise ValueError if nearly all cells are numbers, of many values: a word is then hardly one more category."""
    found = [(cell, number(cell, decimal)) for cell in there]
    values = [value for _, value in found if value is not None]
    words = list(dict.fromkeys(cell for cell, value in found if value is None))
    if len(values) >= _NUMBERS_AMONG_TEXT * len(there) and len(set(values)) > 10 * len(words):
        some = ", ".join(map(repr, itertools.islice(words, 3)))
        raise ValueError(
            f"column {name!r} holds numbers, but {len(there) - len(values)} of {len(there)} cells are none: {some}; "
            f"if that means missing, give missing=[{some}]; if the numbers are categories, categorical=[{name!r}] "
            "and strings"
        )
