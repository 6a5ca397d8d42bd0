"""Real tables as arrays: text columns as one column for each word, missing numbers as the median of their column."""

from pathlib import Path

import numpy as np

TABLES = Path(__file__).parent / "data" / "tables"


def _cells(name, separator):
    return [line.split(separator) for line in (TABLES / name).read_text().splitlines() if line]


def _number(cell):
    try:
        return float(cell)
    except ValueError:
        return None


def _columns(cells):
    """Features (n, m) of the columns of text; "?" is a missing cell."""
    features = []
    for column in zip(*cells, strict=True):
        numbers = [_number(cell) for cell in column if cell != "?"]
        if None in numbers:
            features += [[float(cell == word) for cell in column] for word in sorted(set(column))]
        else:
            middle = float(np.median(numbers))
            features.append([middle if cell == "?" else float(cell) for cell in column])
    return np.array(features)


def airfoil():
    """Sound pressure in dB from 5 features of very different units."""
    rows = np.array(_cells("airfoil_self_noise.dat", "\t")[1:], float).T
    return rows[:-1], rows[-1]


def autos():
    """Prices of cars."""
    cells = _cells("auto_imports.csv", ",")
    return _columns([row[:25] for row in cells]), np.array([float(row[25]) for row in cells])


def horses():
    """Whether a horse's colic was surgical; without the hospital's number, and the codes that contain the answer."""
    cells = _cells("horse-colic.csv", ",")
    return _columns([row[:2] + row[3:23] for row in cells]), np.array([int(row[23]) - 1 for row in cells])


def wines():
    """Grades of wines, 3 to 8, counted from 0."""
    rows = np.array(_cells("winequality-red.csv", ","), float).T
    return rows[:-1], rows[-1].astype(int) - 3
