"""Descriptions of the files that a run writes, for comparing them with those of another writer.

The description of an HDF5 file has its groups, datasets and attributes with types, named
dimensions, shapes, chunks, filters and values; that of a JSON file or of the journal has the JSON
itself. Times, ids and the like are replaced by placeholders such as `<time>`, and values that
depend on them are left out.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

ANY = "*"
"""Placeholder for a size or a value that may differ."""

INLINE = 24
"""Number of elements up to which the values of an array are listed; longer ones are digested."""

CONTENTS = "contents_json"
"""Dataset of a part that describes its tables."""

MASKS = (
    (re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}"), "<run>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "<time>"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"(qexp-job:\d+\.\d+:)[0-9a-f]+"), r"\1<token>"),
    (re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{20}\b"), "<id>"),
)
"""Patterns that are replaced in every text."""

LATER_TAG = "qexp-pubs:"
"""Beginning of a tag that jobs did not have when the files were recorded."""

VOLATILE_KEYS = frozenset({
    "aer_version", "crc32", "elapsed_time", "environment", "git_diff", "host", "limits", "parts",
    "pid", "qpu_charge_time_seconds", "sources", "token", "usage_time", "version",
})  # fmt: skip
"""JSON keys whose values are replaced by their types."""

VOLATILE = tuple(map(re.compile, (
    r"file_sha256", r"@_NCProperties", r"@qexp_version", r"journal/text", r"jobs/usage_s",
    r"environment/(distributions|git_diff)", r"environment@.*",
    r"config/(source_name|source_text|limits_json)",
    # QPY of circuits with parameters differs in every process, and so does the size of a payload.
    r".*/qpy", r".*/payload_bytes",
    # Wording and names of functions, which may change.
    r"jobs/error", r"reason", r"@target",
)))  # fmt: skip
"""Datasets (`path`) and attributes (`path@name`) whose values are left out."""

VOLATILE_DIMENSIONS = frozenset({"text_byte", "distribution", "source"})
"""Dimensions whose sizes are left out."""

INTERNAL = frozenset({"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "DIMENSION_LABELS"})
"""Attributes with which HDF5 ties dimensions to datasets; they are described as `dims`."""

NETCDF = frozenset({"_Netcdf4Dimid", "_Netcdf4Coordinates"})
"""Attributes with which netCDF numbers dimensions; they are described by their names only."""

WORDING = frozenset({"long_name", "title", "summary"})
"""Attributes of analyses that are written for people; their values are left out."""


def of_run(run: Path) -> dict[str, Any]:
    """Describe all files in the folder of a run except its log and its lock."""
    found: dict[str, Any] = {}
    for path in sorted(run.rglob("*")):
        if path.is_file() and path.name not in {"run.log", ".lock"}:
            name = path.relative_to(run).as_posix()
            if path.suffix == ".json":
                found[name] = of_json_part(path)
            elif path.suffix == ".jsonl":
                found[name] = of_journal(path)
            else:
                found[name] = of_hdf5(path, is_analysis=name.startswith("analysis/"))
    return found


def of_hdf5(path: Path, *, is_analysis: bool = False) -> dict[str, Any]:
    """Describe an HDF5 file: groups and datasets by path, attributes by `path@name`."""
    left_out = WORDING if is_analysis else frozenset()
    found: dict[str, Any] = {}
    with h5py.File(path, "r") as file:
        found.update(_attributes("", file, left_out))

        def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
            found[name] = _dataset(name, item) if isinstance(item, h5py.Dataset) else "group"
            found.update(_attributes(name, item, left_out))

        file.visititems(visit)
    if CONTENTS in found:
        found.update(_inline(found[CONTENTS]["value"]))
    return dict(sorted(found.items()))


def _inline(contents: dict[str, Any]) -> dict[str, Any]:
    """Describe the columns of a part that are in its contents as the others are, and remove them.

    A part of version 1.2 and before has none.
    """
    found: dict[str, Any] = {}
    for table, (_, columns) in contents.items():
        parts = table.split("/")
        found |= {"/".join(parts[: k + 1]): "group" for k in range(len(parts))}
        for name, stored in columns.items():
            path, inline = f"{table}/{name}", stored[3:]
            del stored[3:]
            if not inline:
                continue
            kind, shape, values = inline
            array = np.frombuffer(base64.b64decode(values), kind).reshape(shape) if kind else None
            type_ = _type(np.dtype(kind)) if kind else "text"
            found[path] = {"type": type_, "shape": shape, "netcdf": []}
            if not _is_volatile(path):
                text = np.char.encode(np.array(values, "U"), "utf-8").astype(object)
                found[path]["value"] = _value(name, text if array is None else array)
    return found


def of_json_part(path: Path) -> Any:
    """Describe a part that is JSON, followed by the 64 digits of its SHA-256."""
    return of_json(json.loads(path.read_bytes()[:-64]))


def of_journal(path: Path) -> list[Any]:
    """Describe the lines of a journal, sorted, because jobs end in any order."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r'\{"time":"[^"]+","event":"\w+".*,"crc32":"[0-9a-f]{8}"\}', line)
        found.append(of_json(json.loads(line)))
    return sorted(found, key=lambda event: json.dumps(event, sort_keys=True))


def of_json(value: Any, key: str = "") -> Any:
    """Describe a JSON value; `key` is its key in the object around it."""
    if key == "config_yaml":
        return of_config(value)
    if key in VOLATILE_KEYS:
        return types(value)
    if isinstance(value, dict):
        return {name: of_json(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [of_json(item, key) for item in value if not str(item).startswith(LATER_TAG)]
    return masked(value) if isinstance(value, str) else value


def of_config(text: str) -> dict[str, Any]:
    """Describe a config by its dotted keys; the values of targets and limits are left out."""

    def leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(node, dict) and node:
            for name, item in node.items():
                yield from leaves(item, f"{path}.{name}" if path else name)
        else:
            is_free = path.endswith("_target_") or path.startswith("limits.")
            yield path, ANY if is_free else node

    return {"config": dict(leaves(yaml.safe_load(text), ""))}


def types(value: Any) -> Any:
    """Return a JSON value with its leaves replaced by their types; of a list, each kind once."""
    if isinstance(value, dict):
        return {name: types(item) for name, item in value.items()}
    if isinstance(value, list):
        unique = {json.dumps(types(item), sort_keys=True) for item in value}
        return [json.loads(text) for text in sorted(unique)]
    return type(value).__name__


def masked(text: str) -> str:
    """Return a text with placeholders for ids and times."""
    for pattern, mask in MASKS:
        text = pattern.sub(mask, text)
    return text


def without_values(description: Any) -> Any:
    """Return the part of a description that does not depend on the versions of other packages."""
    if isinstance(description, Mapping) and "type" in description:
        kept = ("type", "dims", "scale", "netcdf")
        return {name: description[name] for name in kept if name in description}
    if isinstance(description, Mapping):
        return {name: without_values(item) for name, item in description.items()}
    return types(description) if isinstance(description, list) else description


def _attributes(
    path: str, item: h5py.Group | h5py.Dataset, left_out: frozenset[str]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in sorted(set(item.attrs) - INTERNAL - NETCDF):
        where, value = f"{path}@{name}", item.attrs[name]
        kind = _type(h5py.h5a.open(item.id, name.encode()).dtype)
        if _is_volatile(where) or name in left_out:
            found[where] = {"type": re.sub(r"\d+", ANY, kind)}
        else:
            found[where] = {"type": kind, "value": _value(name, value)}
            if np.ndim(value):
                found[where]["shape"] = list(np.shape(value))
    return found


def _dataset(path: str, dataset: h5py.Dataset) -> dict[str, Any]:
    dims = [dim[0].name.rpartition("/")[2] for dim in dataset.dims if len(dim)]
    name = path.rpartition("/")[2]
    is_free = bool({name, *dims} & VOLATILE_DIMENSIONS)
    found: dict[str, Any] = {
        "type": _type(dataset.dtype),
        "shape": ANY if is_free else list(dataset.shape),
        "netcdf": sorted(set(dataset.attrs) & NETCDF),
    }
    if dims:
        found["dims"] = dims
    if dataset.is_scale:
        found["scale"] = True
    if dataset.chunks and not is_free:
        filters = (dataset.compression, dataset.compression_opts, dataset.shuffle)
        found["chunks"] = [list(dataset.chunks), *filters, dataset.fletcher32]
    # A dimension without values of its own is a dataset that is never written.
    is_placeholder = dataset.is_scale and dataset.id.get_storage_size() == 0
    if not is_free and not is_placeholder and not _is_volatile(path):
        found["value"] = _value(name, dataset[()])
    return found


def _is_volatile(path: str) -> bool:
    return any(pattern.fullmatch(path) for pattern in VOLATILE)


def _type(dtype: np.dtype[Any]) -> str:
    text = h5py.check_string_dtype(dtype)
    if text is not None:
        return f"{text.encoding} {text.length}" if text.length else "text"
    return dtype.str


def _value(name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind == "S":
        # A long text, stored as an array of bytes.
        value = value.tobytes()
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        return _text(name, value)
    array = np.asarray(value)
    if array.dtype.kind == "O":
        return [_text(name, item.decode()) for item in array.ravel().tolist()]
    if array.size > INLINE:
        return _digest(np.ascontiguousarray(array).tobytes())
    return [str(item) if item != item else item for item in array.ravel().tolist()]  # noqa: PLR0124


def _text(name: str, text: str) -> Any:
    if name == "resolved_yaml":
        return of_config(text)
    if name.endswith("_json"):
        found = of_json(json.loads(text)) if text else ""
        dumped = json.dumps(found, sort_keys=True)
        # Longer documents describe a device.
        return found if len(dumped) < 4000 or name == CONTENTS else _digest(dumped.encode())
    return masked(text) if len(text) < 2000 else _digest(masked(text).encode())


def _digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()[:32]}"
