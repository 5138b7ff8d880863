"""What an archive's scalar groups hold, made from a run's header. See `docs/archive-format.md`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from qexp.archive.tables import Column, Table, clean_text, long_text, numbers, scalar_text, texts
from qexp.core.jsonable import dumps, with_sorted_keys
from qexp.errors import ArchiveError

#: Files with another major version are not read; a minor version only adds.
SCHEMA: Final = "1.2"
ARCHIVE_NAME: Final = "run.h5"
JOURNAL_NAME: Final = "journal.jsonl"
PARTS_NAME: Final = "parts"
WORKLOAD: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
SNAPSHOTS: Final = "backend/snapshots"

_MAX_ATTRIBUTE: Final = 32_000
_PER_QUBIT: Final = {"T1": "t1_s", "T2": "t2_s", "readout_error": "readout_error"}
_SECONDS: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "": 1.0}


def check_workload(name: str) -> str:
    """Return `name` if it can name a group.

    Raises:
        ArchiveError: It cannot.
    """
    if not WORKLOAD.fullmatch(name):
        msg = f"Workload name {name!r} cannot be stored: use letters, digits, '_', '-' and '.'."
        raise ArchiveError(msg)
    return name


def header_tables(
    header: Mapping[str, Any], batches: Sequence[Mapping[str, Any]], journal: str
) -> dict[str, Table]:
    """The tables of what belongs to the run as a whole.

    Args:
        header: `RunHeader` as plain JSON.
        batches: Every batch, in order: `id`, `follows`, `opened`, `final`, as plain JSON.
        journal: A JSON document per line.
    """
    first = batches[0] if batches else {}
    sources = header["sources"]
    config: dict[str, Column] = {
        "resolved_yaml": scalar_text(header["config_yaml"]),
        "seeds_json": scalar_text(dumps(header["seeds"])),
        "limits_json": scalar_text(dumps(header["limits"])),
        "not_honoured_json": scalar_text(dumps(header["not_honoured"])),
        "metadata_json": scalar_text(dumps(header["metadata"])),
        "overrides": texts(header["overrides"], "override"),
        "source_name": texts([source["name"] for source in sources], "source"),
        "source_text": texts([source["text"] for source in sources], "source"),
    }
    tables = {
        "config": Table(config, {"seed": header["seed"]}),
        "environment": _environment(header["environment"]),
        "batch": Table(
            {
                "opened_json": scalar_text(dumps(first.get("opened"))),
                "final_json": scalar_text(dumps(first.get("final"))),
            }
        ),
    }
    if batches:
        tables["batches"] = Table(
            {
                "batch_id": texts([batch["id"] for batch in batches], "batch"),
                "follows": texts([batch["follows"] or "" for batch in batches], "batch"),
                "opened_json": texts([dumps(batch["opened"]) for batch in batches], "batch"),
                "final_json": texts([dumps(batch["final"]) for batch in batches], "batch"),
            }
        )
    if journal:
        tables["journal"] = Table({"text": long_text(journal, "text_byte")})
    backend = header["backend"]
    columns = {
        f"{name}_json": long_text(dumps(backend[name]), f"{name}_byte")
        for name in sorted(backend)
        if name not in ("name", "num_qubits", "properties") and backend[name] is not None
    }
    attrs = {"name": backend.get("name") or "", "num_qubits": backend.get("num_qubits") or 0}
    properties = backend.get("properties")
    if properties:
        path, table = snapshot_table(properties, None)
        tables[path] = table
        attrs["snapshot_sha256"] = path.rpartition("/")[2]
    tables["backend"] = Table(columns, attrs)
    return tables


def _environment(environment: Mapping[str, Any]) -> Table:
    known = ("distributions", "git_diff", "python", "platform", "git_commit", "git_dirty")
    rest = {key: value for key, value in environment.items() if key not in known}
    return Table(
        {
            "distributions": texts(environment.get("distributions") or (), "distribution"),
            "git_diff": scalar_text(environment.get("git_diff") or ""),
            "other_json": scalar_text(dumps(rest)),
        },
        {
            "python": environment.get("python") or "",
            "platform": environment.get("platform") or "",
            "git_commit": environment.get("git_commit") or "",
            "git_dirty": int(bool(environment.get("git_dirty"))),
        },
    )


def snapshot_table(
    properties: Mapping[str, Any], redact: Callable[[str], str] | None
) -> tuple[str, Table]:
    """A calibration snapshot: its path in a part, named by its content, and its table.

    Args:
        properties: `BackendProperties.to_dict()`, or any other mapping.
        redact: Applied to every text.
    """
    text = dumps(properties, redact)
    sha256 = hashlib.sha256(with_sorted_keys(text).encode("utf-8", "replace"))
    columns = {"properties_json": long_text(text, "properties_byte")}
    qubits = properties.get("qubits")
    if isinstance(qubits, list) and all(isinstance(qubit, list) for qubit in qubits) and qubits:
        for name, column in _PER_QUBIT.items():
            values = [qubit_value(qubit, name) for qubit in qubits]
            if any(value == value for value in values):  # noqa: PLR0124 - not all NaN
                units = "s" if column.endswith("_s") else "1"
                columns[column] = numbers(values, "qubit", "<f8", units)
    attrs = {"sha256": sha256.hexdigest(), "last_update": _date(properties)}
    return f"{SNAPSHOTS}/{sha256.hexdigest()}", Table(columns, attrs)


def _date(properties: Mapping[str, Any]) -> str:
    return clean_text(str(dumps(properties.get("last_update_date") or "")).strip('"'))


def qubit_value(qubit: list[Any], name: str) -> float:
    """One property of a qubit in a calibration, NaN where it is not known.

    Args:
        qubit: The qubit's entry in `BackendProperties.to_dict()["qubits"]`.
        name: `"T1"` or `"T2"`, returned in seconds; or one without a unit, `"readout_error"`.
    """
    for item in qubit:
        if isinstance(item, Mapping) and item.get("name") == name:
            try:
                return float(item["value"]) * (
                    _SECONDS[item.get("unit", "")] if name.startswith("T") else 1.0
                )
            except (KeyError, TypeError, ValueError):
                return float("nan")
    return float("nan")


def root_attributes(
    header: Mapping[str, Any], status: str, finished: str, data_sha256: str
) -> dict[str, str | int]:
    """The attributes of the root group."""
    metadata = header["metadata"]
    keywords = metadata.get("keywords") or []
    attrs: dict[str, str | int] = {
        "qexp_schema": SCHEMA,
        "run_id": header["run_id"],
        "experiment": header["experiment"],
        "engine": header["engine"],
        "status": status,
        "title": metadata.get("title") or header["experiment"],
        "description": metadata.get("description") or "",
        "creators_json": dumps(metadata.get("creators") or []),
        "publisher_json": dumps(metadata.get("publisher")),
        "funding_json": dumps(metadata.get("funding") or []),
        "license": metadata.get("license") or "",
        "keywords": ", ".join(keywords) if isinstance(keywords, list) else str(keywords),
        "date_created": header["created"],
        "date_finished": finished,
        "data_sha256": data_sha256,
    }
    # HDF5 limits an attribute to 64 KiB; the whole text is in /config.
    return {
        name: clean_text(value)[:_MAX_ATTRIBUTE] if isinstance(value, str) else value
        for name, value in attrs.items()
    }
