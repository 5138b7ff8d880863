"""Facts about an archive and about the output of each command, as plain JSON.

They were recorded once, and the tests look for the same facts with the code under test. Wording is
left out, and so is everything that depends on the time or the place at which a command runs.
"""

from __future__ import annotations

import hashlib
import html
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import qexp
from tests.golden.commands import Ended, here
from tests.golden.runs import SEALED

ANALYSES = ("ideal", "exact_evs", "ghz", "survival", "heavy_output")
NOT_SUITED = 2
"""Exit code of an analysis for which the run has no suitable workload."""

FORMATS = ("csv", "parquet", "netcdf", "qiskit", "rocrate")
WORDING = {"long_name", "title", "summary", "description", "history", "source", "comment"}
"""Attributes that are written for people; their values are left out."""


def facts(run: Path) -> dict[str, Any]:
    """Return all facts about a sealed run."""
    return {kind: found(run) for kind, found in KINDS.items()}


def opened(run: Path) -> dict[str, Any]:
    """Return facts that `qexp.open_archive` gives."""
    with qexp.open_archive(run) as archive:
        assert archive.verify() == []
        properties = archive.backend["properties"]
        return {
            "schema": archive.schema,
            "run_id": archive.run_id,
            "experiment": archive.experiment,
            "engine": archive.engine,
            "status": archive.status,
            "created": archive.created,
            "seed": archive.seed,
            "overrides": list(archive.overrides),
            "config": digest(archive.config),
            "sources": {source.name: digest(source.text) for source in archive.sources},
            "seeds": archive.seeds,
            "limits": sorted(archive.limits),
            "not_honoured": archive.not_honoured,
            "metadata": archive.metadata,
            "packages": len(archive.environment["distributions"]),
            "python": archive.environment["python"],
            "backend": [archive.backend["name"], archive.backend["num_qubits"]],
            "calibration": properties and str(properties["last_update_date"]),
            "calibrations": len(archive.snapshots),
            "data_sha256": archive.data_sha256,
            "usage_s": archive.usage_s,
            "batches": [[batch.id, batch.follows or ""] for batch in archive.batches],
            "journal": [event["event"] for event in archive.journal],
            "partitions": [
                [one.workload, one.first, one.stop, one.closed_by] for one in archive.partitions
            ],
            "jobs": [
                [job.job_id, job.state, job.failure or "", job.first, job.stop, len(job.spans)]
                for job in archive.jobs
            ],
            "workloads": {
                name: [_pub(archive, name, index) for index in range(len(archive.results[name]))]
                for name in archive.workloads
            },
        }


def data_of(run: Path) -> dict[str, Any]:
    """Return the digests of all data and of each PUB's."""
    with qexp.open_archive(run) as archive:
        pubs = {
            name: [
                {field: of_array(_array(value)) for field, value in result.data.items()}
                for result in archive.results[name]
            ]
            for name in archive.workloads
        }
        return {"data_sha256": archive.data_sha256, "pubs": pubs}


def _pub(archive: qexp.Archive, workload: str, index: int) -> dict[str, Any]:
    results = archive.results[workload]
    as_run = archive.circuits(workload, isa=True)[index]
    pub = archive.pubs(workload)[index]
    found = {
        "circuit": digest(sorted(map(list, archive.circuits(workload)[index].count_ops().items()))),
        "isa": [as_run.num_qubits, as_run.depth(), sorted(map(list, as_run.count_ops().items()))],
        "shots": getattr(pub, "shots", None),
        "precision": getattr(pub, "precision", None),
        "parameters": of_array(pub.parameter_values.as_array(pub.circuit.parameters)),
        "observables": digest(pub.observables.tolist()) if hasattr(pub, "observables") else None,
    }
    if index in results.available:
        data = results[index].data
        found["data"] = {name: of_array(_array(value)) for name, value in data.items()}
        if "evs" in data:
            found["evs"], found["stds"] = (plain(data[name]) for name in ("evs", "stds"))
        else:
            found["counts"] = digest(sorted(archive.counts(workload)[index].items()))
    return found


def _array(value: Any) -> np.ndarray:
    return np.asarray(getattr(value, "array", value))


def shown(run: Path) -> dict[str, Any]:
    """Return the output of `show --json`; the config in it is checked against the archive."""
    return _told(json.loads(done("show", run.name, "--json", run=run).out), run)


def listed(run: Path) -> dict[str, Any]:
    """Return the output of `ls --json`; the config in it is checked against the archive."""
    (told,) = json.loads(done("ls", run.name, "--json", run=run).out)
    return _told(told, run)


def _told(told: dict[str, Any], run: Path) -> dict[str, Any]:
    config = told.pop("config")
    if (run / SEALED).exists():
        with qexp.open_archive(run) as archive:
            assert config == archive.config
            assert told.pop("overrides") == list(archive.overrides)
    assert told.pop("path").split("/")[0] == run.name
    if "software" in told:
        told["software"]["distributions"] = digest(told["software"]["distributions"])
    return _without_wording(told)


def _without_wording(told: Any) -> Any:
    if isinstance(told, list):
        return [_without_wording(item) for item in told]
    if not isinstance(told, dict):
        return told
    return {
        name: bool(value) if name in {"problem", "stopped", "reason"} else _without_wording(value)
        for name, value in told.items()
    }


def analysed(run: Path, names: Sequence[str] = ANALYSES) -> dict[str, Any]:
    """Run analyses and return their values by name; those that do not suit the run are left out.

    Args:
        run: Folder of the run.
        names: Names of the analyses.
    """
    found: dict[str, Any] = {}
    for name in names:
        ended = here("analyse", run.name, name, folder=run.parent)
        if ended.code == NOT_SUITED:
            continue
        assert ended.code == 0, ended.err
        found[name] = stored(run, name)
        assert found[name].pop("summary") in ended.out
        if reason := found[name]["values"].get("/reason"):
            reason["is"] = [bool(text) for text in reason["is"]]
    return found


def stored(run: Path, name: str) -> dict[str, Any]:
    """Return the values that an analysis stored beside a run, and the numbers in its summary."""
    values, attrs = netcdf(run / "analysis" / f"{name}.nc", plain)
    summary = str(attrs["summary"])
    return {"values": values, "numbers": numbers_in(summary), "summary": summary}


def reported(run: Path) -> list[str]:
    """Return the facts on the page of `report`: texts of the archive, and values without units."""
    text = page_text(run)
    page = (run / "report.html").read_text(encoding="utf-8")
    values = re.findall(r"<dt>[^<]*</dt><dd>([\d.,]+(?: ± [\d.,]+)?)<", page)
    facts = dict.fromkeys([*_known(run), *values])
    return [fact for fact in facts if fact in text and len(fact) > 3]


def page_text(run: Path) -> str:
    """Write the page of `report` and return its text."""
    done("report", run.name, run=run)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert str(run.parent) not in page
    body = re.sub(r"<style.*?</style>", "", page, flags=re.DOTALL)
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", body).split()))


def _known(run: Path) -> list[str]:
    with qexp.open_archive(run) as archive:
        summaries = [
            str(stored(run, path.stem)["summary"])
            for path in sorted((run / "analysis").glob("*.nc"))
        ]
        circuits = (c.name for w in archive.workloads for c in archive.circuits(w))
        versions = (item.replace("==", " ") for item in archive.environment["distributions"])
        return [
            archive.run_id,
            archive.experiment,
            archive.status,
            str(archive.backend["name"]),
            archive.metadata.get("title") or archive.experiment,
            archive.data_sha256,
            *(job.job_id for job in archive.jobs),
            *(batch.id for batch in archive.batches),
            *archive.overrides,
            *archive.workloads,
            *summaries,
            *circuits,
            *(item for item in versions if item.startswith("qiskit")),
        ]


def exported(run: Path) -> dict[str, Any]:
    """Return facts about each export, or the exit code of one that is refused."""
    found: dict[str, Any] = {}
    for name in FORMATS:
        licence = ("--set", "license=CC-BY-4.0") if name == "rocrate" else ()
        ended = here("export", run.name, "--to", name, *licence, folder=run.parent)
        found[name] = ended.code or _EXPORTS[name](run)
    return found


def _csv(run: Path) -> dict[str, Any]:
    return {path.name: digest(path.read_bytes()) for path in sorted((run / "run-csv").iterdir())}


def _parquet(run: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    found = {}
    for path in sorted((run / "run-parquet").iterdir()):
        table = pq.read_table(path)
        types = [[field.name, str(field.type)] for field in table.schema]
        found[path.name] = [types, table.num_rows, digest(table.to_pylist())]
    return found


def _exported_netcdf(run: Path) -> dict[str, Any]:
    values, attrs = netcdf(run / "run.nc", of_array)
    return {"values": values, "attrs": _for_machines(attrs)}


def _qiskit(run: Path) -> dict[str, Any]:
    from qiskit import qpy
    from qiskit_ibm_runtime import RuntimeDecoder

    found: dict[str, Any] = {}
    for path in sorted((run / "run-qiskit").iterdir()):
        if path.suffix == ".json":
            result = json.loads(path.read_text(encoding="utf-8"), cls=RuntimeDecoder)
            found[path.name] = [
                {name: of_array(_array(value)) for name, value in pub.data.items()}
                for pub in result
            ]
            found[f"{path.name} metadata"] = digest([pub.metadata for pub in result])
            assert len(result.metadata["qexp"]["pub"]) == len(result)
        else:
            with path.open("rb") as stream:
                found[path.name] = [
                    [c.name, c.num_qubits, c.depth(), digest(sorted(c.count_ops().items()))]
                    for c in qpy.load(stream)
                ]
    return found


def _rocrate(run: Path) -> dict[str, Any]:
    crate = run / "run-rocrate"
    assert (crate / "run.h5").read_bytes() == (run / "run.h5").read_bytes()
    entities = {
        entity["@id"]: entity
        for entity in json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"]
    }
    root = entities["./"]
    # Every crate carries the verifier now; those that were recorded had none.
    parts = sorted(part["@id"] for part in root["hasPart"])
    files = sorted(
        path.relative_to(crate).as_posix() for path in crate.rglob("*") if path.is_file()
    )
    for names in (parts, files):
        names.remove("verify_run.py")
    (action,) = (one for one in entities.values() if one["@type"] == "CreateAction")
    return {
        "files": files,
        "parts": parts,
        "root": {name: root.get(name) for name in ("identifier", "license", "name", "dateCreated")},
        "action": {name: action.get(name) for name in ("actionStatus", "endTime")},
        "parameters": digest(
            sorted(
                [one["name"], one["value"]]
                for one in entities.values()
                if one["@type"] == "PropertyValue" and not one["name"].endswith("_target_")
            )
        ),
    }


_EXPORTS: Mapping[str, Callable[[Path], Any]] = {
    "csv": _csv,
    "parquet": _parquet,
    "netcdf": _exported_netcdf,
    "qiskit": _qiskit,
    "rocrate": _rocrate,
}
KINDS: Mapping[str, Callable[[Path], Any]] = {
    "opened": opened,
    "shown": shown,
    "listed": listed,
    "exported": exported,
    "reported": reported,
    "analysed": analysed,
}
"""Kind -> function that finds the facts. None of them sees files that an earlier one wrote."""


def done(verb: str, *arguments: object, run: Path) -> Ended:
    """Run a command in the folder above a run; fail unless it succeeds."""
    ended = here(verb, *arguments, folder=run.parent)
    assert ended.code == 0, ended.err
    return ended


def netcdf(path: Path, told: Callable[[np.ndarray], Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the variables of a netCDF file, and the attributes of its root group."""
    import xarray as xr

    values: dict[str, Any] = {}
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        for group in tree.subtree:
            for name, variable in group.to_dataset(inherit=False).variables.items():
                values[f"{group.path.rstrip('/')}/{name}"] = {
                    "dims": list(variable.dims),
                    "attrs": _for_machines(variable.attrs),
                    "is": told(variable.values),
                }
        return values, dict(tree.attrs)


def _for_machines(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain(value) for name, value in attrs.items() if name not in WORDING}


def numbers_in(text: str) -> list[float]:
    """Return the numbers in a text."""
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]


def of_array(array: np.ndarray) -> list[Any]:
    """Return the dtype, the shape and the digest of an array."""
    array = np.ascontiguousarray(array)
    if array.dtype.kind in "OUT":
        return ["text", list(array.shape), digest(array.tolist())]
    return [array.dtype.str, list(array.shape), digest(array)]


def digest(content: Any) -> str:
    """Return the first half of the SHA-256 of bytes, an array, a text or JSON."""
    if isinstance(content, np.ndarray):
        content = np.ascontiguousarray(content).tobytes()
    elif not isinstance(content, bytes):
        text = content if isinstance(content, str) else json.dumps(content, sort_keys=True)
        content = text.encode()
    return hashlib.sha256(content).hexdigest()[:32]


def plain(value: Any) -> Any:
    """Return arrays and NumPy's numbers as JSON, with numbers that are not finite as text."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)
