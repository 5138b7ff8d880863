"""Tidy tables as CSV (RFC 4180, UTF-8, lines end with a newline alone)."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qexp.archive.read import Archive
from qexp.export.formats import Format, never
from qexp.export.tidy import tidy_tables


def _write(run: Archive, folder: Path, _metadata: Mapping[str, Any]) -> Sequence[str]:
    notes = []
    for table in tidy_tables(run):
        count = 0
        path = folder / f"{table.name}.csv"
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(table.columns)
            for row in table.rows():
                writer.writerow(row)
                count += 1
        notes.append(f"{path.name}: {count:,} rows")
    return notes


FORMAT = Format("-csv", _write, is_file=never)
