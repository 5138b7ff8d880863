"""Values on the page of one run: its sections, circuits and analyses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.archive.analyses import analysis_files, read_analysis
from qexp.archive.read import Archive
from qexp.errors import ArchiveError
from qexp.listing.read import summarise_sealed
from qexp.report.device import device_section
from qexp.report.execution import execution_section
from qexp.report.figures.circuit import draw_circuit
from qexp.report.figures.svg import Figure
from qexp.report.results import representatives, results_section
from qexp.report.text import number, plural
from qexp.report.workload_results import WorkloadResults, read_workload

if TYPE_CHECKING:
    import xarray as xr

_MAX_WORKLOADS = 12
_MAX_ROWS = 100
_SHOWN_ELSEWHERE = (
    "analysis",
    "target",
    "arguments_json",
    "run_id",
    "data_sha256",
    "qexp_version",
    "date_created",
    "summary",
    "title",
)


def run_page(archive: Archive) -> dict[str, Any]:
    """Read everything that `run.html` shows.

    Raises:
        ArchiveError: The archive is damaged.
    """
    summary = summarise_sealed(archive.path)
    workloads = [read_workload(archive, name) for name in archive.workloads[:_MAX_WORKLOADS]]
    used = frozenset[int]().union(*(each.used_qubits for each in workloads))
    used_pairs = sum((each.used_pairs for each in workloads), Counter[tuple[int, int]]())
    backend = archive.backend
    return {
        "run": archive,
        "summary": summary,
        "backend": backend,
        "results": list(map(results_section, workloads)),
        "analyses": list(_analyses(archive.path.parent, archive.data_sha256)),
        "execution": execution_section(archive, summary) if summary.jobs_run else None,
        "device": device_section(backend, used, used_pairs),
        "circuits": [view for each in workloads for view in _circuits(archive, each)],
    }


def _circuits(archive: Archive, results: WorkloadResults) -> Iterator[dict[str, Any]]:
    """Draw the circuits of a workload's histograms, or one, as generated and as run."""
    chosen: dict[int, str] = {}
    if len(results.judged) >= 3:
        best, middle, worst = representatives(results)
        for name, point in (middle, best, worst):
            reason = f"{name.lower()} fidelity, {number(point.fidelity or 0.0)}"
            chosen.setdefault(point.pub, reason)
    elif results.shown:
        chosen[results.shown[len(results.shown) // 2]] = "an example"
    for pub, reason in chosen.items():
        figures = []
        for kind, is_isa in (("As generated", False), ("As run (ISA), by physical qubit", True)):
            circuit = archive.circuits(results.name, isa=is_isa)[pub]
            drawing, left_out = draw_circuit(circuit, f"{kind}: circuit of PUB {pub}")
            size = f"{kind}: depth {circuit.depth()}, {plural(circuit.size(), 'instruction')}"
            figures.append(
                Figure(drawing, f"{size}{f'; drawn are {left_out}' if left_out else ''}.")
            )
        name = archive.circuits(results.name)[pub].name or ""
        yield {
            "pub": pub,
            "workload": results.name,
            "name": name,
            "reason": reason,
            "figures": figures,
        }


def _analyses(run_dir: Path, data_sha256: str) -> Iterator[dict[str, Any]]:
    """Yield the stored analyses of a run; one that cannot be read has a `problem` only."""
    for name, path in analysis_files(run_dir).items():
        try:
            dataset = read_analysis(path)
            attributes = dataset.attrs
            facts = [(k, _format(v)) for k, v in attributes.items() if k not in _SHOWN_ELSEWHERE]
            yield {
                "name": name,
                "attributes": attributes,
                "facts": [*facts, *_numbers(dataset)],
                "tables": list(_tables(dataset)),
                "is_stale": attributes.get("data_sha256") != data_sha256,
                "problem": "",
            }
        except ArchiveError as error:
            problem = str(error).replace(str(path), path.name)
            yield {"name": name, "attributes": {}, "problem": problem}


def _numbers(dataset: xr.Dataset) -> Iterator[tuple[str, str]]:
    """Format variables without dimensions; a value `x` with its standard error `x_std`."""
    scalars = {str(key): value for key, value in dataset.data_vars.items() if not value.ndim}
    for key, value in scalars.items():
        if key.endswith("_std") and key.removesuffix("_std") in scalars:
            continue
        error = scalars.get(f"{key}_std")
        text = _format(value.values) + ("" if error is None else f" ± {number(float(error), 2)}")
        yield str(value.attrs.get("long_name") or key), text + _unit(value)


def _tables(dataset: xr.Dataset) -> Iterator[dict[str, Any]]:
    """Make one table for each combination of dimensions, with a row for each of their points."""
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for key, value in dataset.data_vars.items():
        if value.ndim:
            groups.setdefault(value.dims, []).append(key)
    for dims, keys in groups.items():
        coordinates = [key for key, value in dataset.coords.items() if value.dims == dims]
        # Points without coordinates are identified by their indices.
        axes = [] if coordinates else [f"#{dim}" for dim in dims]
        columns = [dataset[key] for key in (*coordinates, *keys)]
        points = list(islice(np.ndindex(*columns[0].shape), _MAX_ROWS))
        rows = [[*map(_format, point[: len(axes)])] for point in points]
        for column in columns:
            values = column.values
            for row, point in zip(rows, points, strict=True):
                row.append(_format(values[point]))
        heads = [f"{'#' * (c.dtype.kind in 'iufb')}{c.name}{_unit(c)}" for c in columns]
        title = f"By {', '.join(map(str, dims))}"
        yield {
            "title": title,
            "heads": [*axes, *heads],
            "rows": rows,
            "num_rows": columns[0].size,
        }


def _unit(variable: xr.DataArray) -> str:
    unit = variable.attrs.get("units")
    return "" if unit in (None, "", "1") else f" ({unit})"


def _format(value: Any) -> str:
    if isinstance(value, np.ndarray | np.generic) and np.size(value) == 1:
        value = value.item()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return number(value, 4) if isinstance(value, float) else str(value)
