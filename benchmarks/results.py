"""RESULTS.md as data: its rows, and the figures in them."""

import re
from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).with_name("RESULTS.md")
_NAMES_A_NET = re.compile(r"\S*[\d_]\S*\s")  # such as 64-32-10x32, or linear_forward
_WORDS_THEN_NUMBER = re.compile(r"(.*?\S)\s+([-+]?\d.*)")


class Row(NamedTuple):
    """One run of a benchmark; all texts."""

    date: str
    commit: str
    machine: str  # CPU, threads, backend, dtype
    command: str  # "python benchmarks/threads.py --busy"
    how: str  # what the row says beside the command, often nothing
    figures: str

    def items(self):
        """[(what, figure), ...]: the parts between semicolons."""
        return [_split(part.strip()) for part in self.figures.split("; ")]


def _split(part):
    if ": " in part:
        return tuple(part.split(": ", 1))
    if _NAMES_A_NET.match(part):
        return tuple(part.split(None, 1))
    found = _WORDS_THEN_NUMBER.fullmatch(part)
    return found.groups() if found else ("", part)


def rows(text=None):
    """All rows of RESULTS.md, or of another such text, oldest first."""
    lines = (RESULTS.read_text(encoding="utf-8") if text is None else text).splitlines()
    table = [line for line in lines if line.startswith("| 2")]
    return [_row(*(cell.strip() for cell in line.strip().strip("|").split("|"))) for line in table]


def _row(date, commit, machine, command, figures):
    quoted = re.match(r"`([^`]+)`[, ]*", command)
    return Row(date, commit, machine, quoted[1], command[quoted.end() :], figures)


def newest(command, text=None):
    """For each machine the newest row of a command, newest first.

    Rows that say more than the command were run in another way; they count only where there is no other.
    """
    found = [row for row in rows(text) if row.command == command]
    found = [row for row in found if not row.how] or found
    return list({row.machine: row for row in found}.values())[::-1]
