"""The run as a whole: its header as tables, and the summary, config and metadata read back.

The tables are config, environment, backend, calibrations, batches and journal.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qexp.archive import schema
from qexp.archive.archive_file import ArchiveFile
from qexp.archive.tables import NAN, TableData, char, clean_text
from qexp.core.jsonable import dumps, with_sorted_keys
from qexp.errors import ArchiveError
from qexp.text import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_ATTRIBUTE: Final = 32_000
"""Characters of an attribute: HDF5 limits it to 64 KiB. The whole text is in `/config`."""
_PER_QUBIT: Final = {"T1": "t1_s", "T2": "t2_s", "readout_error": "readout_error"}
_SECONDS: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "": 1.0}
_REQUIRED: Final = {"creators": "name", "publisher": "name", "funding": "funder"}
"""Key of the metadata -> the key that each of its maps must have."""
SHAPE: Final[dict[str, Any]] = {
    "title": str,
    "description": str,
    "creators": [{"name": str, "orcid": str, "affiliation": str, "affiliation_url": str}],
    "publisher": {"name": str, "url": str},
    "funding": [{"funder": str, "funder_url": str, "grant": str, "name": str, "url": str}],
    "license": str,
    "keywords": [str],
    "reproduces": {"run_id": str, "data_sha256": str, "circuits": str},
}
"""Key of the metadata -> `str`, a map of keys, or a list that holds the shape of its items."""


def header_tables(
    header: Mapping[str, Any], batches: Sequence[Mapping[str, Any]], journal: str
) -> dict[str, TableData]:
    """Return the tables that belong to the run as a whole, by path.

    Args:
        header: `RunHeader` as plain JSON.
        batches: Every batch, in order: `id`, `follows`, `opened`, `final`.
        journal: A JSON document per line.
    """
    names = ("seeds", "limits", "not_honoured", "metadata")
    config = {
        "resolved_yaml": header["config_yaml"],
        "overrides": header["overrides"],
        "source_name": [source["name"] for source in header["sources"]],
        "source_text": [source["text"] for source in header["sources"]],
        **{f"{name}_json": dumps(header[name]) for name in names},
    }
    rows = [
        {
            "batch_id": batch["id"],
            "follows": batch["follows"],
            "opened_json": dumps(batch["opened"]),
            "final_json": dumps(batch["final"]),
        }
        for batch in batches
    ]
    first = rows[0] if rows else {"opened_json": "null", "final_json": "null"}
    tables = {
        schema.CONFIG.path: schema.CONFIG.data(config, {"seed": header["seed"]}),
        schema.ENVIRONMENT.path: _environment(header["environment"]),
        schema.BATCH.path: schema.BATCH.data({name: first[name] for name in schema.BATCH.columns}),
    }
    if rows:
        tables[schema.BATCHES.path] = schema.BATCHES.rows(rows)
    if journal:
        tables[schema.JOURNAL.path] = schema.JOURNAL.data({"text": journal})
    return tables | _backend(header["backend"])


def _environment(environment: Mapping[str, Any]) -> TableData:
    known = ("distributions", "git_diff", *schema.ENVIRONMENT.attributes)
    values = {
        "distributions": environment.get("distributions") or (),
        "git_diff": environment.get("git_diff") or "",
        "other_json": dumps({k: v for k, v in environment.items() if k not in known}),
    }
    attrs = {name: environment.get(name) or "" for name in schema.ENVIRONMENT.attributes}
    return schema.ENVIRONMENT.data(
        values, attrs | {"git_dirty": int(bool(environment.get("git_dirty")))}
    )


def _backend(backend: Mapping[str, Any]) -> dict[str, TableData]:
    own = ("name", "num_qubits", "properties")
    columns = {
        f"{name}_json": char(name, "", dim=f"{name}_byte").data(dumps(backend[name]), "")
        for name in sorted(backend)
        if name not in own and backend[name] is not None
    }
    attrs = {"name": backend.get("name") or "", "num_qubits": backend.get("num_qubits") or 0}
    if not backend.get("properties"):
        return {schema.BACKEND.path: TableData(columns, attrs)}
    path, table = snapshot_table(backend["properties"])
    attrs["snapshot_sha256"] = table.attrs["sha256"]
    return {path: table, schema.BACKEND.path: TableData(columns, attrs)}


def snapshot_table(
    properties: Mapping[str, Any], redact: Callable[[str], str] | None = None
) -> tuple[str, TableData]:
    """Return the path and table of a calibration (`BackendProperties.to_dict()`) in a part.

    The path holds a digest of the content, once `redact` was applied to its texts.
    """
    text = dumps(properties, redact)
    sha256 = hashlib.sha256(with_sorted_keys(text).encode("utf-8", "replace")).hexdigest()
    values: dict[str, Any] = {"properties_json": text}
    qubits = properties.get("qubits")
    if isinstance(qubits, list) and all(isinstance(qubit, list) for qubit in qubits) and qubits:
        for name, column in _PER_QUBIT.items():
            each = [qubit_value(qubit, name) for qubit in qubits]
            if any(value == value for value in each):  # noqa: PLR0124 - not all NaN
                values[column] = each
    date = dumps(properties.get("last_update_date") or "").strip('"')
    attrs = {"sha256": sha256, "last_update": date}
    return schema.SNAPSHOT.at(sha256), schema.SNAPSHOT.data(values, attrs)


def qubit_value(qubit: list[Any], name: str) -> float:
    """Return one property of a qubit in a calibration, NaN where it is not known.

    Args:
        qubit: Entry of the qubit in `BackendProperties.to_dict()["qubits"]`.
        name: `"T1"` or `"T2"`, returned in seconds; or one without a unit, `"readout_error"`.
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
        "creators_json": dumps(metadata.get("creators") or []),
        "publisher_json": dumps(metadata.get("publisher")),
        "funding_json": dumps(metadata.get("funding") or []),
        "license": metadata.get("license") or "",
        "keywords": ", ".join(keywords) if isinstance(keywords, list) else str(keywords),
        "date_created": header["created"],
        "date_finished": finished,
        "data_sha256": data_sha256,
    }
    return {name: clean_text(value)[:_MAX_ATTRIBUTE] for name, value in attrs.items()}


def summarise_archive(file: ArchiveFile) -> dict[str, Any]:
    """Return what identifies a run, where it ran, and how far it came.

    Returns:
        `status`, `run_id`, `experiment`, `date`, `finished`, `engine`, `backend`, `num_qubits`,
        `pubs` and `results` (planned, and with a result), `jobs` and `jobs_done` (likewise),
        `usage_s`, `predicted_qpu_s`, `seed`, `overrides`, `data_sha256`, `config`.
    """
    root = ("status", "run_id", "experiment", "engine", "data_sha256")
    return {
        **{name: str(file.attribute("/", name)) for name in root},
        "date": str(file.attribute("/", "date_created")) or None,
        "finished": str(file.attribute("/", "date_finished")) or None,
        "backend": str(file.attribute("backend", "name")) or None,
        "num_qubits": int(file.attribute("backend", "num_qubits")),
        **_progress(file),
        "seed": int(file.attribute("config", "seed")),
        "overrides": file.texts("config/overrides"),
        "config": load_config(file.text("config/resolved_yaml")),
    }


def summarise_header(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return as much of the same as the header (`RunHeader` as plain JSON) of a run has.

    Raises:
        ArchiveError: It holds no config.
    """
    names = {"run_id": "run_id", "experiment": "experiment", "date": "created", "engine": "engine"}
    return {
        **{name: header[key] for name, key in names.items()},
        "backend": header["backend"].get("name"),
        "num_qubits": header["backend"].get("num_qubits"),
        "seed": header["seed"],
        "overrides": header["overrides"],
        "config": load_config(header["config_yaml"]),
    }


def _progress(file: ArchiveFile) -> dict[str, Any]:
    rows = [file.column(f"pubs/{name}/result_row") for name in file.groups("pubs")]
    planned, ran = file.count("partitions/partition"), file.count("jobs/partition")
    predicted = file.column("partitions/predicted_qpu_s") if planned else np.empty(0)
    done: set[int] = set()
    if ran:
        has_result = file.column("jobs/num_results") > 0
        done = set(file.column("jobs/partition")[has_result].tolist())
    return {
        "pubs": sum(map(len, rows)),
        "results": sum(int(np.count_nonzero(column >= 0)) for column in rows),
        "jobs": planned,
        "jobs_done": len(done),
        "predicted_qpu_s": total(predicted),
        "usage_s": total(file.column("jobs/usage_s")) if ran else None,
    }


def total(values: NDArray[np.float64]) -> float | None:
    """Return the sum of the finite values, None where there is none."""
    known = values[np.isfinite(values)]
    return math.fsum(known) if known.size else None


def load_config(text: str) -> dict[str, Any]:
    """Parse a recorded config.

    Raises:
        ArchiveError: It is no mapping in valid YAML.
    """
    import yaml  # type: ignore[import-untyped]

    # The loader written in C takes a tenth of the time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        # qexp writes no aliases, and a few nested ones can expand beyond the memory.
        if "*" in text and any(isinstance(e, yaml.AliasEvent) for e in yaml.parse(text, loader)):
            raise yaml.YAMLError("aliases are not allowed")
        loaded = yaml.load(text, loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = one_line(error)[:200]
        raise ArchiveError(f"the recorded config is not valid YAML: {reason}") from None
    if not isinstance(loaded, dict):
        raise ArchiveError("the recorded config is not a mapping of keys")
    return loaded


def read_metadata(file: ArchiveFile) -> dict[str, Any]:
    """Return title, description, creators, publisher, funding, license, keywords, if declared.

    Any of them may be None. Keys of a later version are kept as they are.

    Raises:
        ArchiveError: They do not have the shape of the config's `metadata`.
    """
    metadata = file.document("config/metadata_json")
    for problem in _deviations(metadata, SHAPE, "metadata"):
        raise ArchiveError(
            f"{file.path} holds metadata that qexp does not write ({problem}): restore it"
        )
    return metadata or {}


def _deviations(value: Any, shape: Any, where: str) -> Iterator[str]:
    """Describe where a value deviates from its declared shape; None is allowed anywhere."""
    if value is None:
        return
    if isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{where} is no list"
            return
        for index, item in enumerate(value):
            # An item of a list is never None: `...` deviates from every shape.
            present = ... if item is None else item
            yield from _deviations(present, shape[0], f"{where}[{index}]")
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            yield f"{where} is no map"
            return
        needed = _REQUIRED.get(where.partition(".")[2].partition("[")[0])
        if needed and value.get(needed) is None:
            yield f"{where} has no {needed}"
        for name, inner in shape.items():
            yield from _deviations(value.get(name), inner, f"{where}.{name}")
    elif not isinstance(value, shape):
        yield f"{where} is no text"
