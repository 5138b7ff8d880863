"""The header of a run as tables: config, environment, backend, calibrations, batches, journal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from qexp.archive import schema
from qexp.archive.tables import NAN, TableData, char, clean_text
from qexp.core.jsonable import Plain, dumps_plain, to_plain

_MAX_ATTRIBUTE: Final = 32_000
"""Characters of an attribute: HDF5 limits it to 64 KiB. The whole text is in `/config`."""
_PER_QUBIT: Final = {"T1": "t1_s", "T2": "t2_s", "readout_error": "readout_error"}
_SECONDS: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "": 1.0}


def header_tables(
    header: Mapping[str, Any], batches: Sequence[Mapping[str, Any]], journal: str
) -> dict[str, TableData]:
    """Return the tables that belong to the run as a whole, by path.

    The header is `RunHeader` as plain JSON, a batch has `id`, `follows`, `opened` and `final`, and
    the journal is a JSON document per line.
    """
    names = ("seeds", "limits", "not_honoured", "metadata")
    config = {
        "resolved_yaml": header["config_yaml"],
        "overrides": header["overrides"],
        "source_name": [source["name"] for source in header["sources"]],
        "source_text": [source["text"] for source in header["sources"]],
        **{f"{name}_json": dumps_plain(header[name]) for name in names},
    }
    rows = [
        {
            "batch_id": batch["id"],
            "follows": batch["follows"],
            "opened_json": dumps_plain(batch["opened"]),
            "final_json": dumps_plain(batch["final"]),
        }
        for batch in batches
    ]
    first = rows[0] if rows else {"opened_json": "null", "final_json": "null"}
    tables = {
        schema.CONFIG.path: schema.CONFIG.encode(config, {"seed": header["seed"]}),
        schema.ENVIRONMENT.path: _environment(header["environment"]),
        schema.BATCH.path: schema.BATCH.encode(
            {name: first[name] for name in schema.BATCH.columns}
        ),
    }
    if rows:
        tables[schema.BATCHES.path] = schema.BATCHES.encode_rows(rows)
    if journal:
        tables[schema.JOURNAL.path] = schema.JOURNAL.encode({"text": journal})
    return tables | _backend(header["backend"])


def _environment(environment: Mapping[str, Any]) -> TableData:
    known = ("distributions", "git_diff", *schema.ENVIRONMENT.attributes)
    values = {
        "distributions": environment.get("distributions") or (),
        "git_diff": environment.get("git_diff") or "",
        "other_json": dumps_plain({k: v for k, v in environment.items() if k not in known}),
    }
    attrs = {name: environment.get(name) or "" for name in schema.ENVIRONMENT.attributes}
    return schema.ENVIRONMENT.encode(
        values, attrs | {"git_dirty": int(bool(environment.get("git_dirty")))}
    )


def _backend(backend: Mapping[str, Any]) -> dict[str, TableData]:
    own = ("name", "num_qubits", "properties")
    columns = {
        f"{name}_json": char(name, "", dim=f"{name}_byte").encode(dumps_plain(backend[name]), "")
        for name in sorted(backend)
        if name not in own and backend[name] is not None
    }
    attrs = {"name": backend.get("name") or "", "num_qubits": backend.get("num_qubits") or 0}
    if not backend.get("properties"):
        return {schema.BACKEND.path: TableData(columns, attrs)}
    path, table = snapshot_table(Plain(backend["properties"]))
    attrs["snapshot_sha256"] = table.attrs["sha256"]
    return {path: table, schema.BACKEND.path: TableData(columns, attrs)}


class Calibrations:
    """Calibrations as tables; one that outcomes share is made once.

    `redact` is applied to every text in them.
    """

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact
        self._newest: tuple[Any, tuple[str, TableData]] | None = None

    def table(self, properties: Mapping[str, Any]) -> tuple[str, TableData]:
        """Return the path and table of a calibration in a part, see `snapshot_table`."""
        if self._newest is None or self._newest[0] is not properties:
            self._newest = (properties, snapshot_table(to_plain(properties, self._redact)))
        return self._newest[1]


def snapshot_table(properties: Plain) -> tuple[str, TableData]:
    """Return the path and table of a calibration (`BackendProperties.to_dict()`) in a part.

    The path holds a digest of the content.
    """
    ordered = dumps_plain(properties, sort_keys=True)
    sha256 = hashlib.sha256(ordered.encode("utf-8", "replace")).hexdigest()
    values: dict[str, Any] = {"properties_json": dumps_plain(properties)}
    qubits = properties.get("qubits")
    if isinstance(qubits, list) and all(isinstance(qubit, list) for qubit in qubits) and qubits:
        for name, column in _PER_QUBIT.items():
            each = [qubit_value(qubit, name) for qubit in qubits]
            if any(value == value for value in each):  # noqa: PLR0124 - not all NaN
                values[column] = each
    date = dumps_plain(properties.get("last_update_date") or "").strip('"')
    attrs = {"sha256": sha256, "last_update": date}
    return schema.SNAPSHOT.at(sha256), schema.SNAPSHOT.encode(values, attrs)


def qubit_value(qubit: list[Any], name: str) -> float:
    """Return one property of a qubit in `BackendProperties.to_dict()["qubits"]`, NaN if not known.

    `"T1"` and `"T2"` are returned in seconds; `"readout_error"` has no unit.
    """
    for item in qubit:
        if isinstance(item, Mapping) and item.get("name") == name:
            try:
                unit = _SECONDS[item.get("unit", "")] if name.startswith("T") else 1.0
                return float(item["value"]) * unit
            except (KeyError, TypeError, ValueError):
                return NAN
    return NAN


def root_attributes(
    header: Mapping[str, Any], status: str, finished: str, data_sha256: str
) -> dict[str, str | int]:
    """Return the attributes of the root group."""
    metadata = header["metadata"]
    keywords = metadata.get("keywords") or []
    attrs = {
        "qexp_schema": schema.SCHEMA,
        "run_id": header["run_id"],
        "experiment": header["experiment"],
        "engine": header["engine"],
        "status": status,
        "title": metadata.get("title") or header["experiment"],
        "description": metadata.get("description") or "",
        "creators_json": dumps_plain(metadata.get("creators") or []),
        "publisher_json": dumps_plain(metadata.get("publisher")),
        "funding_json": dumps_plain(metadata.get("funding") or []),
        "license": metadata.get("license") or "",
        "keywords": ", ".join(keywords) if isinstance(keywords, list) else str(keywords),
        "date_created": header["created"],
        "date_finished": finished,
        "data_sha256": data_sha256,
    }
    return {name: clean_text(value)[:_MAX_ATTRIBUTE] for name, value in attrs.items()}
