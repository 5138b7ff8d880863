"""Tidy tables as Parquet, written in row groups of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from qexp.archive.read import Archive
from qexp.errors import ConfigError
from qexp.export.formats import Format, never
from qexp.export.tidy import TidyTable, tidy_tables

_ROW_GROUP: Final = 100_000


def _write(run: Archive, folder: Path, _metadata: Mapping[str, Any]) -> Sequence[str]:
    try:
        from pyarrow import parquet
    except ImportError:
        msg = "Parquet needs pyarrow: python -m pip install 'qexp[parquet]'; --to csv needs nothing"
        raise ConfigError(msg) from None
    notes = []
    for table in tidy_tables(run):
        count = 0
        path = folder / f"{table.name}.parquet"
        schema = _schema(table)
        with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
            for batch in _batches(table, schema):
                writer.write_batch(batch)
                count += batch.num_rows
        notes.append(f"{path.name}: {count:,} rows")
    return notes


def _schema(table: TidyTable) -> Any:
    import pyarrow as pa

    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    return pa.schema([(name, types[kind]) for name, kind in table.columns.items()])


def _batches(table: TidyTable, schema: Any) -> Iterator[Any]:
    import pyarrow as pa

    rows = table.rows()
    while block := list(islice(rows, _ROW_GROUP)):
        columns = [
            pa.array(values, field.type)
            for values, field in zip(zip(*block, strict=True), schema, strict=True)
        ]
        yield pa.record_batch(columns, schema=schema)


FORMAT = Format("-parquet", _write, is_file=never)
