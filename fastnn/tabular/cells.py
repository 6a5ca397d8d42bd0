"""What the cells of a column of text mean: missing, numbers, true and false, dates, or categories."""

import collections
import re

import numpy as np

from .columns import Column

MISSING = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None")
_MONTHS = (
    r"(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?|nov(ember)?"
    r"|dec(ember)?)\.?"
)
_DATES = re.compile(
    r"(\d{4}-\d{1,2}-\d{1,2}|\d{4}/\d{1,2}/\d{1,2}|\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d{2})"
    rf"|\d{{1,2}}\.?[ -]?{_MONTHS},?[ -]?(\d{{4}}|\d{{2}})|{_MONTHS}[ -]\d{{1,2}},?[ -]\d{{4}})"
    r"([T ]\d{1,2}:\d{2}.*)?"
    r"|\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?",
    re.IGNORECASE,
)
_WITH_COMMA = re.compile(r"[+-]?\d+(,\d+)+(\.\d*)?")
_WITH_GAPS = re.compile(r"[+-]?\d{1,3}([ \u00a0\u202f'.]\d{3})+([.,]\d+)?")  # between thousands
_WITH_SIGN = re.compile(r"[+-]?[$€£¥] ?[+-]?\d[\d.,]*|[+-]?\d[\d.,]* ?[%$€£¥]")
_MOST_WORDS = 0.2  # a share of words among numbers or dates up to which they are hardly categories


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
    """
    absent = {*MISSING, *missing}
    text = [None if cell is None or (bare := cell.strip()) in absent else bare for cell in cells]
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
    return Column(name, "text", _objects(text), None, False)


def numbers(cells, decimal="."):
    """The numbers of `cells`, float64; None if one of them is no number."""
    if decimal == ",":
        if "." in "".join(cells):
            return None
        cells = [cell.replace(",", ".") for cell in cells]
    try:
        found = np.array(list(map(float, cells)), float)
    except ValueError:
        return None
    return None if "_" in "".join(cells) else found  # Python reads 1_000 as a number


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


def refuse_numbers(column, remedy=None):
    """Raise ValueError if a column of text was probably meant as numbers or dates: with commas, or few words.

    `remedy` is what to write if the text is right; None: that of a column to learn from.
    """
    remedy = f"categorical=[{column.name!r}]" if remedy is None else remedy
    counts = collections.Counter(cell for cell in column.values if cell is not None)
    words = [cell for cell in counts if number(cell) is None]
    if counts and not words:  # else they would have been read as numbers
        raise ValueError(
            f"column {column.name!r} holds numbers with a point, such as {next(iter(counts))!r}, and was read with "
            "decimal=','"
        )
    with_comma = [cell for cell in words if is_with_comma(cell)]
    if with_comma and len(with_comma) == len(words):
        raise ValueError(
            f"column {column.name!r} holds numbers with a comma, such as {with_comma[0]!r}: for a decimal comma give "
            "decimal=','; commas between thousands have to be removed"
        )
    gaps = [cell for cell in words if _WITH_GAPS.fullmatch(cell)]
    if gaps and all(_WITH_GAPS.fullmatch(cell) or number(cell, ",") is not None for cell in words):
        told = ", and for the decimal comma give decimal=','" if any("," in cell for cell in words) else ""
        raise ValueError(
            f"column {column.name!r} holds numbers with something between thousands, such as {gaps[0]!r}: write them "
            f"without it{told}; if these are categories, {remedy}"
        )
    if words and all(map(_WITH_SIGN.fullmatch, words)):
        raise ValueError(
            f"column {column.name!r} holds numbers with a sign, such as {words[0]!r}: write them without it; if these "
            f"are categories, {remedy}"
        )
    _refuse_among_words(column, counts, [cell for cell in words if number(cell, ",") is None], "numbers", remedy)
    _refuse_among_words(column, counts, [cell for cell in counts if not _DATES.fullmatch(cell)], "dates", remedy)


def _refuse_among_words(column, counts, words, kind, remedy):
    """Raise ValueError if a column holds numbers or dates, but for a few words."""
    cells, others = counts.total(), sum(counts[word] for word in words)
    if others <= _MOST_WORDS * cells and len(counts) - len(words) > 10 * len(words):
        some = ", ".join(map(repr, words[:3]))
        raise ValueError(
            f"column {column.name!r} holds {kind}, but {others} of {cells} cells are no {kind}: {some}; if that means "
            f"missing, give missing=[{some}]; if these are categories, {remedy}"
        )


def is_with_comma(cell):
    """Whether a cell is a number that is written with a comma."""
    return _WITH_COMMA.fullmatch(cell) is not None
