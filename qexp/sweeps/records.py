"""The numbers of one point, read from its archive and from the results of analyses beside it."""

from __future__ import annotations

import logging
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qexp.archive.analyses import analysis_files, read_analysis
from qexp.archive.archive_file import ArchiveFile
from qexp.archive.atomic_files import check_digest
from qexp.archive.digests import open_sealed
from qexp.archive.jobs import why_missing
from qexp.archive.pubs import observable_texts, read_circuit
from qexp.archive.results import Signature
from qexp.archive.schema import ARCHIVE_NAME, PARTS_NAME
from qexp.archive.summary import job_overhead_s, read_summary
from qexp.errors import ArchiveError
from qexp.text import one_line

PointStatus: TypeAlias = Literal[
    "complete",
    "partial",
    "failed",
    "planned",  # no job has run, or it is not sealed yet
    "declared",  # nothing of it was recorded
    "damaged",  # its archive is not what was sealed, or cannot be read
]
Record: TypeAlias = dict[str, Any]
"""Plain JSON: `status`, `reason`, and for an archive that can be read `created`, `started`,
`finished`, `engine`, `seed`, `data_sha256`, `usage_s`, `predicted_qpu_s`, `num_pubs`,
`num_results`; `values`: `ANALYSIS_variable` -> number; `evs`: workload -> `labels` and `pubs`, each
of the index of a PUB and the place of its observables in `labels`."""

_EXACT: Final = "exact_evs"
"""The analysis that has exact expectation values."""
_NUMBERS: Final = "fiu"
_SUMMARISED: Final = ("engine", "seed", "data_sha256", "usage_s", "predicted_qpu_s")

_log = logging.getLogger(__name__)


def _reason(file: ArchiveFile, workloads: Sequence[str]) -> str:
    """Return the reason why the first PUB without a result has none."""
    for workload in workloads:
        missing = np.flatnonzero(file.column(f"pubs/{workload}/result_row") < 0)
        if missing.size:
            return why_missing(file, workload, int(missing[0]))
    return ""


def share_overheads(records: Sequence[Record]) -> list[Record]:
    """Return records of points in whose `predicted_qpu_s` a job has one overhead, shared equally.

    A point's own archive has a prediction as if it were run alone.
    """
    members = Counter(job for record in records for job in record.get("jobs", ()))
    shared = [dict(record) for record in records]
    for record in shared:
        jobs, overhead_s = record.pop("jobs", ()), record.pop("job_overhead_s", 0.0)
        if jobs and record["predicted_qpu_s"] is not None:
            record["predicted_qpu_s"] -= overhead_s * sum(1 - 1 / members[job] for job in jobs)
    return shared


class RecordReader:
    """Reads the records of points.

    `about` is `ANALYSIS_variable` -> long name and unit, None for one that is left out; what is
    read is added, once, since attributes take longer to read than numbers.
    """

    def __init__(self, about: dict[str, list[str] | None]) -> None:
        self.about = about
        self._names: dict[str, list[str]] = {}

    def read(self, folder: Path) -> Record:
        """Read the record of a point."""
        path = folder / ARCHIVE_NAME
        try:
            if path.is_file():
                with open_sealed(path)[0] as file:
                    return self._record(file, folder)
        except (ArchiveError, OSError) as error:
            return {"status": "damaged", "reason": one_line(error)}
        if (folder / PARTS_NAME).is_dir():
            return {"status": "planned", "reason": "it is not sealed"}
        return {"status": "declared", "reason": "it was not run"}

    def _record(self, file: ArchiveFile, folder: Path) -> Record:
        summary, workloads = read_summary(file), file.groups("pubs")
        partitions = file.numbers("jobs/partition").tolist()
        started = [text for text in file.texts("jobs/running") if text]
        is_whole = summary["status"] not in ("partial", "failed")
        return {
            "status": summary["status"],
            "reason": "" if is_whole else _reason(file, workloads),
            "created": summary["date"] or "",
            "started": min(started, default=""),
            "finished": summary["finished"] or "",
            **{name: summary[name] for name in _SUMMARISED},
            "num_pubs": summary["pubs"],
            "num_results": summary["results"],
            # Of each partition, that of the last attempt.
            "jobs": [*dict(zip(partitions, file.texts("jobs/job_id"), strict=True)).values()],
            "job_overhead_s": job_overhead_s(file),
            "values": self._analysis_values(folder, summary["data_sha256"]),
            "evs": {w: found for w in workloads if (found := self._evs(file, w))["pubs"]},
        }

    def _analysis_values(self, folder: Path, data_sha256: str) -> dict[str, float]:
        """Return `ANALYSIS_variable` -> number, of every variable with only one number.

        An analysis that is damaged, or was made of other data, is left out.
        """
        values: dict[str, float] = {}
        for analysis, path in analysis_files(folder).items():
            try:
                values |= self._values_in(path, analysis, data_sha256)
            except (ArchiveError, OSError, KeyError, ValueError) as error:
                _log.warning("%s is left out of the dataset: %s", path, one_line(error))
        return values

    def _values_in(self, path: Path, analysis: str, data_sha256: str) -> dict[str, float]:
        import h5py

        values = {}
        check_digest(path)
        # HDF5's own functions take a tenth of the time of h5py's objects, and those of xarray's.
        with h5py.File(h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDONLY)) as file:
            is_stale = file.attrs.get("data_sha256") != data_sha256
            for name in () if is_stale else list(file.id):
                key = f"{analysis}_{name.decode()}"
                if key not in self.about:
                    self.about[key] = _about(file[name])
                if self.about[key] is not None:
                    variable, value = h5py.h5d.open(file.id, name), np.empty(1)
                    if variable.get_space().get_simple_extent_npoints() == 1:
                        variable.read(h5py.h5s.create_simple((1,)), h5py.h5s.ALL, value)
                        values[key] = float(value[0])
        return values

    def _evs(self, file: ArchiveFile, workload: str) -> dict[str, Any]:
        labels: list[list[str]] = []
        pubs: list[list[int]] = []
        for path in _estimated(file, workload):
            shape = file.group(f"{path}/evs").shape[1:]
            for pub in file.column(f"{path}/pub").tolist():
                label = self._labels(file, workload, pub, shape)
                if label not in labels:
                    labels.append(label)
                pubs.append([pub, labels.index(label)])
        return {"labels": labels, "pubs": pubs}

    def _labels(
        self, file: ArchiveFile, workload: str, pub: int, shape: tuple[int, ...]
    ) -> list[str]:
        """Name the observable of each value of a PUB: as its circuit does, else the observable."""
        document = str(file.column(f"pubs/{workload}/observables_json")[pub])
        if document not in self._names:
            texts = observable_texts(document)
            metadata = read_circuit(file, workload, False, pub).metadata or {}
            named = metadata.get("observables")
            is_named = isinstance(named, list) and texts.shape == (len(named),)
            self._names[document] = list(map(str, named)) if is_named and named else []
        given: Any = self._names[document] or observable_texts(document)
        with file.reading():
            return list(map(str, np.broadcast_to(np.array(given, object), shape).ravel().tolist()))


def _about(variable: Any) -> list[str] | None:
    """Return long name and unit of a variable of numbers, None for a coordinate or dates."""
    attrs = variable.attrs
    if variable.dtype.kind not in _NUMBERS or "CLASS" in attrs or "calendar" in attrs:
        return None
    return [str(attrs.get(key, "")) for key in ("long_name", "units")]


def _estimated(file: ArchiveFile, workload: str) -> Iterator[str]:
    """Yield the groups of results that have expectation values."""
    is_estimated = "estimator" in file.texts(f"pubs/{workload}/kind")
    for group in file.groups(f"results/{workload}") if is_estimated else ():
        path = f"results/{workload}/{group}"
        if all(file.count(f"{path}/{name}") for name in ("evs", "stds")):
            yield path


def read_estimates(folder: Path, name: str) -> Iterator[tuple[str, int, NDArray[Any]]]:
    """Yield workload, index and `evs` or `stds` of each PUB of a point, shape (values,).

    Raises:
        ArchiveError: The archive is missing or damaged.
    """
    with open_sealed(folder / ARCHIVE_NAME)[0] as file:
        for workload in file.groups("pubs"):
            for path in _estimated(file, workload):
                values = file.column(f"{path}/{name}")
                for pub, each in zip(file.column(f"{path}/pub").tolist(), values, strict=True):
                    yield workload, pub, each.ravel()


def has_exact(record: Record) -> bool:
    """Return True for a point with exact values, made of its present data."""
    return f"{_EXACT}_rms_error" in record.get("values", {})


def read_exact(folder: Path) -> Iterator[tuple[str, int, NDArray[Any]]]:
    """Yield workload, index and exact values of each PUB that `exact_evs` has analysed.

    Raises:
        ArchiveError: The result of the analysis is missing or damaged.
    """
    result = read_analysis(analysis_files(folder)[_EXACT])
    if "exact" in result:
        columns = (result[name].values.tolist() for name in ("workload", "pub", "exact"))
        for place, rows in groupby(zip(*columns, strict=True), itemgetter(0, 1)):
            yield *place, np.array([exact for *_, exact in rows])


class Register(NamedTuple):
    """A classical register in the result of a PUB."""

    workload: str
    pub: int
    name: str
    num_bits: int
    num_sets: int  # parameter sets of the PUB


def read_registers(folder: Path) -> Iterator[Register]:
    """Yield the registers of the results of a point.

    Raises:
        ArchiveError: The archive is missing or damaged.
    """
    with open_sealed(folder / ARCHIVE_NAME)[0] as file:
        for workload in file.groups("pubs"):
            for group in file.groups(f"results/{workload}"):
                path = f"results/{workload}/{group}"
                signature = Signature.from_json(file.attribute(path, "signature_json"))
                for pub in file.column(f"{path}/pub").tolist():
                    for field in signature.fields:
                        if field.kind == "bits":
                            num_sets = math.prod(field.shape[:-2])
                            yield Register(workload, pub, field.name, field.num_bits, num_sets)


def numbers_of(record: Record, folder: Path) -> dict[str, tuple[float, float]]:
    """Return each number of a point by its name, with its standard error, NaN without one.

    Names are `ANALYSIS_variable`, or workload, PUB, observable (and its repetition) of `evs`.
    """
    values = record.get("values", {})
    numbers = {
        name: (value, values.get(f"{name}_std", np.nan))
        for name, value in values.items()
        if not (name.endswith("_std") and name.removesuffix("_std") in values)
    }
    found = record.get("evs")
    if not found:
        return numbers
    estimates = (read_estimates(folder, name) for name in ("evs", "stds"))
    for (workload, pub, evs), (_, _, stds) in zip(*estimates, strict=True):
        of = found[workload]
        seen: dict[str, int] = {}
        labels = of["labels"][dict(of["pubs"])[pub]]
        for label, ev, std in zip(labels, evs.tolist(), stds.tolist(), strict=True):
            number = seen[label] = seen.get(label, -1) + 1
            again = f" {number}" if number else ""
            numbers[f"evs {workload} {pub} {label}{again}"] = (ev, std)
    return numbers
