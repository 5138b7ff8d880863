"""Tidy tables as Parquet, written in row groups of bounded size."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Final

from qexp.archive.read import Archive
from qexp.errors import ConfigError
from qexp.export.tidy import TidyTable, tidy_tables

_ROW_GROUP: Final = 100_000


def write(run: Archive, folder: Path) -> list[str]:
    """Write the tables of a run; return the name and number of rows of each.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise ConfigError(
            "Parquet needs pyarrow: python -m pip install 'qexp[parquet]'; --to csv needs nothing"
        ) from None
    return [_write_table(table, folder / f"{table.name}.parquet") for table in tidy_tables(run)]


def _write_table(table: TidyTable, path: Path) -> str:
    import pyarrow as pa
    from pyarrow import parquet

    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, types[kind]) for name, kind in table.columns.items()])
    count = 0
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while block := list(islice(table.rows, _ROW_GROUP)):
            columns = map(pa.array, zip(*block, strict=True), schema.types)
            writer.write_batch(pa.record_batch(list(columns), schema=schema))
            count += len(block)
    return f"{path.name}: {count:,} rows"
