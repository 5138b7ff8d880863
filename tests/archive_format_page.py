"""The tables of `docs/archive-format.md`: `python -m tests.archive_format_page` makes them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from qexp.archive.schema import SCHEMA, TABLES
from qexp.archive.tables import Column, Table

PAGE = Path(__file__).parents[1] / "docs" / "archive-format.md"
BLOCK = re.compile(r"(<!-- columns of (\S+), from the schema -->\n).*?(<!-- end -->)", re.DOTALL)
TYPES = {
    "str": "str",
    "char": "char",
    "|u1": "uint8",
    "<i4": "int32",
    "<i8": "int64",
    "<f8": "float64",
}
MAJOR = SCHEMA.partition(".")[0]


def with_current_tables(page: str) -> str:
    """Return the page with its tables as the schema has them."""
    declared = {table.path or "/": table for table in TABLES}
    return BLOCK.sub(lambda found: f"{found[1]}{markdown(declared[found[2]])}{found[3]}", page)


def markdown(table: Table) -> str:
    """Return a table of columns and attributes."""
    lines = ["", "| name | type | content |", "| --- | --- | --- |"]
    lines += [row(column, "@", table) for column in unique(table.attributes.values())]
    lines += [row(column, "", table) for column in unique(table.columns.values())]
    return "\n".join([*lines, "", ""])


def row(column: Column, prefix: str, table: Table) -> str:
    names = ", ".join(f"`{prefix}{name}`" for name in column.names.split())
    dims = [column.dim] if column.dim else [table.dim, "sweep...", column.last_dim]
    shape = f"({', '.join(dims)})" if column.dim or column.last_dim else ""
    unit = f", {column.unit}" if column.unit else ""
    since = f" (since {MAJOR}.{column.since})" if column.since else ""
    return f"| {names} | {TYPES[column.dtype]}{shape}{unit} | {column.doc}{since} |"


def unique(columns: Iterable[Column]) -> list[Column]:
    """Columns that are declared together stay together."""
    return list(dict.fromkeys(columns))


if __name__ == "__main__":
    PAGE.write_text(with_current_tables(PAGE.read_text("utf-8")), "utf-8")
