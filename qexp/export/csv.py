"""Tidy tables as CSV (RFC 4180, UTF-8, lines end with a newline alone).

A spreadsheet computes what looks like a formula, and names in an archive may come from a stranger:
https://owasp.org/www-community/attacks/CSV_Injection.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Final, TextIO

from qexp.archive.read import Archive
from qexp.export.tidy import TidyTable, tidy_tables

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
#: Letters of Qiskit's observables, `+` and `-` (projectors on X's eigenstates) among them.
_PAULI: Final = re.compile(r"[IXYZ01+\-rl]+")


def write(run: Archive, folder: Path) -> list[str]:
    """Write the tables of a run; return the name and number of rows of each."""
    return [_write_table(table, folder / f"{table.name}.csv") for table in tidy_tables(run)]


def _write_table(table: TidyTable, path: Path) -> str:
    count = 0
    texts = [(k, name) for k, (name, kind) in enumerate(table.columns.items()) if kind is str]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(_Lines(stream), lineterminator="\r\n")
        writer.writerow(table.columns)
        for row in table.rows:
            count += 1
            cells = list(row)
            for position, column in texts:
                cells[position] = guarded(cells[position], column)
            writer.writerow(cells)
    return f"{path.name}: {count:,} rows"


class _Lines:
    """A stream that ends lines with a newline alone.

    Before Python 3.13 the writer quotes only the characters that end its lines. With a newline
    alone, a carriage return in a name would begin a row.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, row: str) -> int:
        return self._stream.write(row.removesuffix("\r\n") + "\n")


def guarded(text: str, column: str) -> str:
    """Return a text with an apostrophe before it if a spreadsheet would take it for a formula.

    Args:
        text: The text.
        column: Name of its column; in `observable`, Pauli strings such as `+-Z` stay as they are.
    """
    if not text.startswith(_FORMULA) or (column == "observable" and _PAULI.fullmatch(text)):
        return text
    return f"'{text}"
