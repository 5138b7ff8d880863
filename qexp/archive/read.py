"""Read an archive: open it and get Qiskit's own objects out of it, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from qexp.archive.archive_file import ArchiveFile, ByWorkload, LazySequence, Results, locate
from qexp.archive.jobs import (
    BatchRecord,
    JobRecord,
    read_batches,
    read_job,
    read_journal,
    sealed_partitions,
    why_missing,
)
from qexp.archive.pubs import PubTable, read_circuit, read_pub
from qexp.archive.results import ResultReader, bits_in, counts_of, counts_of_sets
from qexp.archive.schema import ENVIRONMENT, PUBS, SNAPSHOTS
from qexp.archive.summary import charged, load_config, pending, read_metadata, summarise_archive
from qexp.core.model import Partition, RunStatus, SourceFile
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray
    from qiskit import QuantumCircuit
    from qiskit.primitives import BitArray, PrimitiveResult, PubResult
    from samplomatic.quantum_program import QuantumProgramResult

    from qexp.core.model import Pub

T = TypeVar("T")


def open_archive(path: str | Path) -> Archive:
    """Open the archive of a run.

    Args:
        path: The file `run.h5`, or the run's folder.

    Returns:
        The archive; only its identity has been read. Close it, or use it in `with`.

    Raises:
        ArchiveError: There is no such file, or it is no qexp archive that this version reads.

    Example:
        >>> with qexp.open_archive("outputs/ghz/20261122T094439Z-d16302") as run:
        ...     run.counts()[0]
        {'000': 2047, '111': 2049}
    """
    return Archive(locate(Path(path)))


def _attribute(name: str, doc: str, group: str = "/", kind: Callable[[Any], Any] = str) -> Any:
    """Make a property that reads an attribute of a group."""
    return property(lambda run: kind(run._file.attribute(group, name)), doc=doc)


def _document(path: str, doc: str, default: Any = None) -> Any:
    """Make a property that reads a JSON document; `default` stands for null."""

    def read(run: Archive) -> Any:
        return default if (document := run._file.document(path)) is None else document

    return property(read, doc=doc)


def _computed(read: Callable[[ArchiveFile], Any], doc: str) -> Any:
    return property(lambda run: read(run._file), doc=doc)


class Archive:
    """One run: everything is read when asked for. See `docs/archive-format.md`.

    Raises:
        ArchiveError: It is no archive that this version reads. All properties and methods raise
            it as well if the file is damaged or closed.
    """

    schema: str = _attribute("qexp_schema", "Version of the archive's schema.")
    status: RunStatus = _attribute("status", '`"planned"`, `"complete"`, `"partial"`, `"failed"`.')
    run_id: str = _attribute("run_id", "Unique id of the run.")
    experiment: str = _attribute("experiment", "Name of the experiment.")
    engine: str = _attribute("engine", "Name of the engine.")
    created: str = _attribute("date_created", "Start of the run, ISO 8601 UTC.")
    data_sha256: str = _attribute(
        "data_sha256", "Digest of all results, see `qexp.archive.digests`."
    )
    seed: int = _attribute("seed", "Seed of the run.", "config", int)
    seeds: dict[str, Any] = _document("config/seeds_json", "Seeds derived from the seed.", {})
    limits: dict[str, Any] = _document(
        "config/limits_json", "Limits that were in force, with source and date.", {}
    )
    not_honoured: dict[str, Any] = _document(
        "config/not_honoured_json", "Workload -> options without effect on the engine.", {}
    )
    details: dict[str, Any] | None = _document(
        "batch/final_json", "Details of the first batch at the end, None if not read."
    )
    details_opened: dict[str, Any] | None = _document(
        "batch/opened_json", "Details of the first batch right after it was opened."
    )

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = ArchiveFile(path)
        self._reader = ResultReader(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = f"{self.run_id!r} {self.status}" if self._file.is_open else "closed"
        return f"<Archive {state}: {self.path}>"

    def _repr_html_(self) -> str | None:
        from qexp.archive.notebook import describe_html

        # None: the notebook shows the `repr`.
        with suppress(ArchiveError):
            if self._file.is_open:
                batch_ids = [batch.id for batch in self.batches]
                return describe_html(
                    self.path, summarise_archive(self._file), batch_ids, self.workloads
                )
        return None

    def close(self) -> None:
        """Close the file; harmless when closed already."""
        self._file.close()

    @property
    def config(self) -> dict[str, Any]:
        """The resolved config; one with YAML aliases, which qexp never writes, is refused."""
        text = self.config_yaml
        try:
            return load_config(text)
        except ArchiveError as error:
            raise ArchiveError(f"{self.path}: {error}") from None

    @property
    def config_yaml(self) -> str:
        """The resolved config as text."""
        return self._file.text("config/resolved_yaml")

    @property
    def overrides(self) -> tuple[str, ...]:
        """Overrides of the command line."""
        return tuple(self._file.texts("config/overrides"))

    @property
    def sources(self) -> tuple[SourceFile, ...]:
        """The files that declare the experiment, verbatim."""
        columns = (self._file.texts(f"config/source_{name}") for name in ("name", "text"))
        return tuple(map(SourceFile, *columns))

    @property
    def metadata(self) -> dict[str, Any]:
        """Title, description, creators, publisher, funding, license, keywords, if declared."""
        return read_metadata(self._file)

    @property
    def environment(self) -> dict[str, Any]:
        """Python, platform, distributions, git commit, dirtiness and diff."""
        described = dict(self._file.document("environment/other_json") or {})
        for name in ENVIRONMENT.attributes:
            described[name] = self._file.attribute("environment", name)
        described["git_dirty"] = bool(described["git_dirty"])
        described["git_diff"] = self._file.text("environment/git_diff")
        described["distributions"] = self._file.texts("environment/distributions")
        return described

    @property
    def backend(self) -> dict[str, Any]:
        """`name`, `num_qubits`, `target`, `configuration`, `properties` as of the start."""
        described: dict[str, Any] = {
            "name": self._file.attribute("backend", "name"),
            "num_qubits": int(self._file.attribute("backend", "num_qubits")),
        }
        for name in self._file.columns("backend"):
            described[name.removesuffix("_json")] = self._file.document(f"backend/{name}")
        snapshot = int(self._file.attribute("backend", "snapshot"))
        described["properties"] = self._snapshot(snapshot) if snapshot >= 0 else None
        return described

    @property
    def snapshots(self) -> LazySequence[dict[str, Any]]:
        """Distinct calibrations (`BackendProperties.to_dict()`); see `JobRecord.snapshot`."""
        count = len(self._file.groups(SNAPSHOTS))
        return LazySequence(count, self._file.reading()(self._snapshot), "snapshots")

    @property
    def batches(self) -> tuple[BatchRecord, ...]:
        """Every batch, in order: the first, then those that followed it."""
        return read_batches(self._file)

    @property
    def journal(self) -> list[dict[str, Any]]:
        """The course of the run, event by event; empty if no journal was kept."""
        return read_journal(self._file)

    @cached_property
    def partitions(self) -> tuple[Partition, ...]:
        """The plan: one partition per job, with the prediction."""
        return sealed_partitions(self._file)

    @cached_property
    def workloads(self) -> tuple[str, ...]:
        """Names of the workloads, in the order in which they were planned."""

        # Faster than `partitions/workload`, whose texts HDF5 stores one by one.
        def first_partition(name: str) -> int:
            return int(self._file.cell(f"{PUBS.at(name)}/partition", 0))

        return tuple(sorted(self._file.groups("pubs"), key=first_partition))

    @property
    def jobs(self) -> LazySequence[JobRecord]:
        """Every attempt to run a partition, by partition, then by number of the attempt."""
        count = self._file.count("jobs/partition")
        return LazySequence(count, self._file.reading()(partial(read_job, self._file)), "jobs")

    usage_s: float = _computed(charged, "QPU seconds charged for all jobs that report them.")
    usage_pending: int = _computed(pending, "Number of jobs whose charge is not final.")

    @property
    def results(self) -> Mapping[str, Results[PubResult]]:
        """Workload -> results by PUB index: `run.results["main"][3].data.meas.get_counts()`."""
        return ByWorkload(
            (name, self._results(name, partial(self._result, name), "results"))
            for name in self.workloads
        )

    def counts(
        self, workload: str = "main", register: str | None = None
    ) -> Results[dict[str, int]]:
        """Return the counts of a Sampler workload by PUB index, faster than `get_counts()`.

        Those of all parameter sets of a PUB are added up; `counts_per_set` keeps them apart.

        Args:
            workload: Name of the workload.
            register: Name of a classical register; None for all of them joined, as
                `SamplerPubResult.join_data` does.

        Raises:
            ArchiveError: There is no such workload; reading one: it has no such register.
        """
        return self._counts(counts_of, workload, register, "counts (parameter sets added up)")

    def counts_per_set(
        self, workload: str = "main", register: str | None = None
    ) -> Results[NDArray[np.object_]]:
        """Return the counts of each parameter set of a Sampler workload, by PUB index.

        Each is an array of the PUB's shape: `run.counts_per_set()[0][1, 0]["011"]`. Arguments and
        errors are those of `counts`.
        """
        return self._counts(counts_of_sets, workload, register, "counts per parameter set")

    def circuits(
        self, workload: str = "main", *, isa: bool = False
    ) -> LazySequence[QuantumCircuit]:
        """Return the circuits of a workload, by PUB index.

        Args:
            workload: Name of the workload.
            isa: True for the circuits as transpiled, rather than as generated.

        Raises:
            ArchiveError: There is no such workload; reading one: QPY is older than version 13.
        """
        return self._per_pub(read_circuit, workload, isa, "circuits")

    def pubs(self, workload: str = "main", *, isa: bool = False) -> LazySequence[Pub]:
        """Return the PUBs of a workload: circuit, parameters, observables, shots or precision.

        Args:
            workload: Name of the workload.
            isa: True for the PUBs as submitted, rather than as generated.

        Raises:
            ArchiveError: There is no such workload; reading one: QPY is older than version 13.
        """
        return self._per_pub(read_pub, workload, isa, "PUBs")

    def pub_table(self, workload: str = "main") -> PubTable:
        """Return the PUBs of a workload without circuits: names, sizes, parameters, observables."""
        self._require(workload)
        return PubTable(self._file, workload)

    def primitive_result(
        self, workload: str = "main", *, partial: bool = False
    ) -> PrimitiveResult[PubResult]:
        """Return Qiskit's own `PrimitiveResult` of a workload, all of it in memory.

        Its metadata has the entries on which all jobs agree, and `"qexp"`: the run's id and status,
        the workload, the index of the PUB of each result, and the ids of the jobs.

        Args:
            workload: Name of the workload.
            partial: True to leave out PUBs without result; else they are an error.

        Raises:
            ArchiveError: There is no such workload, or it is not complete.
        """
        from qiskit.primitives import PrimitiveResult

        self._require(workload)
        results = self.results[workload]
        if (missing := len(results) - len(results.available)) and not partial:
            raise ArchiveError(
                f"{missing} of {len(results)} PUBs of {workload!r} in {self.path} have no result, "
                "which would shift the others: ask for it with partial=True, or use run.results"
            )
        jobs = [job for job in self.jobs if job.workload == workload and job.num_results]
        first, *others = [job.result_metadata or {} for job in jobs] or [{}]
        metadata = {
            key: value
            for key, value in first.items()
            if all(key in other and other[key] == value for other in others)
        }
        metadata["qexp"] = {
            "run_id": self.run_id,
            "status": self.status,
            "workload": workload,
            "pub": list(results.available),
            "jobs": [job.job_id for job in jobs],
        }
        return PrimitiveResult([results[index] for index in results.available], metadata)

    def raw(self, workload: str, index: int) -> QuantumProgramResult | None:
        """Return the raw data of a PUB as IBM's client received them; see `qexp.core.raw`.

        None where none were kept: another primitive, `archive.raw=false`, an older archive.
        """
        self._require(workload)
        with self._file.reading():
            return self._reader.raw(workload, index)

    def to_datatree(self) -> xr.DataTree:
        """Return the whole file as a lazily read `xarray.DataTree`, to be closed by the caller."""
        import xarray as xr

        with self._file.reading():
            return xr.open_datatree(self.path, engine="h5netcdf")

    def verify(self) -> list[str]:
        """Check the file: every problem in one line, none if it is what was sealed."""
        from qexp.archive.verify import verify

        return verify(self.path)

    def _require(self, workload: str) -> None:
        if workload not in self.workloads:
            known = ", ".join(self.workloads) or "none"
            raise ArchiveError(f"{self.path} has no workload {workload!r}; it has: {known}")

    def _per_pub(
        self, read: Callable[[ArchiveFile, str, bool, int], T], workload: str, isa: bool, what: str
    ) -> LazySequence[T]:
        self._require(workload)
        count = self._file.count(f"{PUBS.at(workload)}/pub")
        guarded = self._file.reading()(partial(read, self._file, workload, isa))
        return LazySequence(count, guarded, f"{what} of {workload!r}")

    def _snapshot(self, index: int) -> dict[str, Any]:
        return dict(self._file.document(f"{SNAPSHOTS}/s{index}/properties_json"))

    def _results(self, workload: str, read: Callable[[int], T], what: str) -> Results[T]:
        rows = self._file.column(f"{PUBS.at(workload)}/result_row")
        available = np.flatnonzero(rows >= 0).tolist()
        return Results(available, len(rows), self._file.reading()(read), f"{what} of {workload!r}")

    def _counts(
        self, count: Callable[[BitArray], T], workload: str, register: str | None, what: str
    ) -> Results[T]:
        self._require(workload)

        def read(index: int) -> T:
            where = f"PUB {index} of {workload!r} in {self.path}"
            return count(bits_in(self._result(workload, index), register, where))

        return self._results(workload, read, what)

    def _result(self, workload: str, index: int) -> PubResult:
        if self._file.column(f"{PUBS.at(workload)}/result_row")[index] < 0:
            raise ArchiveError(why_missing(self._file, workload, index))
        return self._reader.result(workload, index)
