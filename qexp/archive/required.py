"""What the schema requires of an archive: groups, attributes and columns. `docs/archive-format.md`.

A column without any element is not there, and neither is a table without any row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from qexp.archive.schema import SNAPSHOTS

if TYPE_CHECKING:
    import h5py

_ATTRIBUTES: Final = {
    "/": (
        "qexp_schema run_id experiment engine status title description license keywords "
        "creators_json date_created date_finished data_sha256"
    ),
    "config": "seed",
    "environment": "python platform git_commit git_dirty",
    "backend": "name num_qubits snapshot",
}
_TEXTS: Final = {
    "config": "resolved_yaml seeds_json limits_json not_honoured_json metadata_json",
    "environment": "git_diff other_json",
    "batch": "opened_json final_json",
}
_PARTITIONS: Final = (
    "partition workload first stop shots precision predicted_executions payload_bytes "
    "predicted_qpu_s closed_by"
)
_JOBS: Final = (
    "job_id state workload partition first stop num_results error error_code created running "
    "finished usage_s predicted_qpu_s predicted_executions payload_bytes closed_by snapshot "
    "options_json metrics_json info_json result_metadata_json"
)
#: What a minor version of the schema added.
_JOBS_1_1: Final = "attempt batch failure"
_ROOT_1_2: Final = "publisher_json funding_json"
_SPANS: Final = "job pub start stop size"
_BATCHES: Final = "batch_id follows opened_json final_json"
_PUBS: Final = (
    "pub partition job kind shots precision shape_json parameter_names_json "
    "parameter_shape_json parameter_group observables_json isa_observables_json result_group "
    "result_row result_sha256 result_metadata_json"
)
_CIRCUITS: Final = (
    "name num_qubits num_clbits depth size qpy_start qpy_size qasm3_start qasm3_size sha256"
)
_LAYOUTS: Final = "initial_layout_json final_layout_json"
_RESULTS: Final = "pub sha256"
_SNAPSHOT: Final = "sha256 last_update"


def schema_problems(file: h5py.Group, minor: str) -> Iterator[str]:
    """What the schema requires and the file lacks, one clause each.

    Args:
        file: The root of an archive.
        minor: Minor version of its schema.
    """
    version = int(minor) if minor.isdecimal() else 0
    if version >= 2:
        yield from _lacking_attributes(file, "/", _ROOT_1_2)
    for path, names in _ATTRIBUTES.items():
        yield from _lacking_attributes(file, path, names)
    for path, names in _TEXTS.items():
        yield from _lacking_columns(file, path, names)
    jobs = f"{_JOBS} {_JOBS_1_1}" if version >= 1 else _JOBS
    yield from _table_problems(file, "partitions", _PARTITIONS, is_required=True)
    for path, names in (("jobs", jobs), ("spans", _SPANS), ("batches", _BATCHES)):
        yield from _table_problems(file, path, names)
    if not _groups(file, "pubs"):
        yield "there are no PUBs"
    for workload in _groups(file, "pubs"):
        yield from _workload_problems(file, workload)
    for name in _groups(file, SNAPSHOTS):
        path = f"{SNAPSHOTS}/{name}"
        yield from _lacking_attributes(file, path, _SNAPSHOT)
        yield from _lacking_columns(file, path, "properties_json")


def _workload_problems(file: h5py.Group, workload: str) -> Iterator[str]:
    yield from _table_problems(file, f"pubs/{workload}", _PUBS)
    for kind, more in (("logical", ""), ("isa", f" {_LAYOUTS}")):
        path = f"circuits/{workload}/{kind}"
        yield from _table_problems(file, path, _CIRCUITS + more, is_required=True)
        yield from _lacking_columns(file, path, "qpy")
        if _length(file, f"{path}/sha256") != _length(file, f"pubs/{workload}/pub"):
            yield f"{path} has another number of rows than pubs/{workload}"
    for name in _groups(file, f"results/{workload}"):
        path = f"results/{workload}/{name}"
        yield from _table_problems(file, path, _RESULTS, is_required=True)
        yield from _lacking_attributes(file, path, "signature_json")
        signature = file[path].attrs.get("signature_json")
        fields = json.loads(signature)["fields"] if signature else ()
        variables = " ".join(field["variable"] for field in fields)
        yield from _table_problems(file, path, variables)


def _table_problems(
    file: h5py.Group, path: str, names: str, *, is_required: bool = False
) -> Iterator[str]:
    """What a table lacks; a column that is longer or shorter than the others."""
    if path not in file:
        if is_required:
            yield f"group {path} is missing"
        return
    if not is_required and not any(name in file[path] for name in names.split()):
        # Columns without rows are left out: no job told its spans.
        return
    yield from _lacking_columns(file, path, names)
    lengths = {name: _length(file, f"{path}/{name}") for name in names.split()}
    known = [length for length in lengths.values() if length is not None]
    usual = max(set(known), key=known.count, default=0)
    for name, length in lengths.items():
        if length is not None and length != usual:
            yield f"{path}/{name} has {length} rows, the table has {usual}"


def _lacking_attributes(file: h5py.Group, path: str, names: str) -> Iterator[str]:
    if path not in file:
        yield f"group {path} is missing"
        return
    yield from _lacking(f"{path}@", names.split(), file[path].attrs)


def _lacking_columns(file: h5py.Group, path: str, names: str) -> Iterator[str]:
    if path in file:
        yield from _lacking(f"{path}/", names.split(), file[path])
    elif path not in _ATTRIBUTES:
        yield f"group {path} is missing"


def _lacking(prefix: str, names: Sequence[str], present: Iterable[str]) -> Iterator[str]:
    there = set(present)
    yield from (f"{prefix}{name} is missing" for name in names if name not in there)


def _groups(file: h5py.Group, path: str) -> list[str]:
    import h5py

    items = file[path].items() if path in file else ()
    return [name for name, item in items if isinstance(item, h5py.Group)]


def _length(file: h5py.Group, path: str) -> int | None:
    """Rows of a column, None where it is not there or has no rows of its own."""
    item: Any = file.get(path)
    shape = getattr(item, "shape", None)
    return int(shape[0]) if shape else None
