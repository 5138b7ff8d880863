"""Tidy tables as CSV (RFC 4180, UTF-8, lines end with a newline alone).

A spreadsheet computes what begins like a formula, and names in an archive are a stranger's:
https://owasp.org/www-community/attacks/CSV_Injection.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

from qexp.archive.read import Archive
from qexp.export.formats import Format, never
from qexp.export.tidy import tidy_tables

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
#: Letters of Qiskit's observables, `+` and `-` (projectors on X's eigenstates) among them.
_PAULI: Final = re.compile(r"[IXYZ01+\-rl]+")


def _write(run: Archive, folder: Path, _metadata: Mapping[str, Any]) -> Sequence[str]:
    notes = []
    for table in tidy_tables(run):
        count = 0
        path = folder / f"{table.name}.csv"
        texts = [(k, name) for k, (name, kind) in enumerate(table.columns.items()) if kind is str]
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(_Lines(stream), lineterminator="\r\n")
            writer.writerow(table.columns)
            for row in table.rows():
                cells = list(row)
                for position, column in texts:
                    cells[position] = guarded(cells[position], column)
                writer.writerow(cells)
                count += 1
        notes.append(f"{path.name}: {count:,} rows")
    return notes


class _Lines:
    """Ends lines with a newline alone.

    The writer quotes only the characters that end its lines, before Python 3.13: a carriage return
    in a name would begin a row.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, row: str) -> int:
        return self._stream.write(row.removesuffix("\r\n") + "\n")


def guarded(text: str, column: str) -> str:
    """A text, with an apostrophe before it where a spreadsheet would take it for a formula.

    Args:
        text: The text.
        column: Name of its column; in `observable`, what Qiskit writes (`+-Z`) stays as it is.
    """
    if not text.startswith(_FORMULA) or (column == "observable" and _PAULI.fullmatch(text)):
        return text
    return f"'{text}"


FORMAT = Format("-csv", _write, is_file=never)
