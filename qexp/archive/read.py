"""The read side: open an archive and get Qiskit's own objects out of it, one at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from qexp.archive.counts import counts_in
from qexp.archive.file import ArchiveFile, locate
from qexp.archive.happened import read_batches, read_job, read_journal, why_missing
from qexp.archive.metadata import read_metadata
from qexp.archive.overview import load_config, total
from qexp.archive.planned import PubTable, read_circuit, read_pub
from qexp.archive.records import BatchRecord, JobRecord, LazySequence, Results, partition_of
from qexp.archive.results import ResultGroup, decode_result
from qexp.archive.schema import SNAPSHOTS
from qexp.core.digest import pub_digest
from qexp.core.model import Partition, RunStatus, SourceFile
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    import xarray as xr
    from qiskit import QuantumCircuit
    from qiskit.primitives import PrimitiveResult, PubResult

    from qexp.core.model import Pub

T = TypeVar("T")


def open_archive(path: str | Path) -> Archive:
    """Open the archive of a run.

    Args:
        path: The file `run.h5`, or the run's folder.

    Returns:
        The archive; nothing but its identity has been read. Close it, or use it in `with`.

    Raises:
        ArchiveError: There is no such file, or it is no qexp archive that this version reads.
    """
    return Archive(locate(Path(path)))


class Archive:
    """One run: everything is read when asked for. See `docs/archive-format.md`.

    Args:
        path: Path of the file.

    Raises:
        ArchiveError: It is no archive that this version reads. All properties and methods raise
            it as well, where the file is damaged or closed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = ArchiveFile(path)
        self._result_groups: dict[str, ResultGroup] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = f"{self.run_id!r} {self.status}" if self._file.is_open else "closed"
        return f"<Archive {state}: {self.path}>"

    def close(self) -> None:
        """Close the file; harmless when closed already."""
        self._file.close()

    @property
    def schema(self) -> str:
        """Version of the archive's schema."""
        return self._file.attribute("/", "qexp_schema")

    @property
    def status(self) -> RunStatus:
        """`"planned"`, `"complete"`, `"partial"` or `"failed"`."""
        return self._file.attribute("/", "status")

    @property
    def run_id(self) -> str:
        """Unique id of the run."""
        return self._file.attribute("/", "run_id")

    @property
    def experiment(self) -> str:
        """Name of the experiment."""
        return self._file.attribute("/", "experiment")

    @property
    def engine(self) -> str:
        """Name of the engine."""
        return self._file.attribute("/", "engine")

    @property
    def created(self) -> str:
        """When the run was started, ISO 8601 UTC."""
        return self._file.attribute("/", "date_created")

    @property
    def data_sha256(self) -> str:
        """Digest of all result data, see `qexp.core.digest`."""
        return self._file.attribute("/", "data_sha256")

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self._file.attribute("config", "seed"))

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
        """The command line's overrides."""
        return tuple(self._file.texts("config/overrides"))

    @property
    def sources(self) -> tuple[SourceFile, ...]:
        """The files that declare the experiment, verbatim."""
        names, texts = (
            self._file.texts("config/source_name"),
            self._file.texts("config/source_text"),
        )
        return tuple(map(SourceFile, names, texts))

    @property
    def seeds(self) -> dict[str, Any]:
        """What was derived from the seed."""
        return self._file.document("config/seeds_json") or {}

    @property
    def limits(self) -> dict[str, Any]:
        """The limits that were in force, with source and date."""
        return self._file.document("config/limits_json") or {}

    @property
    def not_honoured(self) -> dict[str, Any]:
        """Workload -> declared options that had no effect on the engine."""
        return self._file.document("config/not_honoured_json") or {}

    @property
    def metadata(self) -> dict[str, Any]:
        """Title, description, creators, publisher, funding, license, keywords, if declared."""
        return read_metadata(self._file)

    @property
    def environment(self) -> dict[str, Any]:
        """Python, platform, distributions, git commit, dirtiness and diff."""
        names = ("python", "platform", "git_commit")
        return {
            **(self._file.document("environment/other_json") or {}),
            **{name: self._file.attribute("environment", name) for name in names},
            "git_dirty": bool(self._file.attribute("environment", "git_dirty")),
            "git_diff": self._file.text("environment/git_diff"),
            "distributions": self._file.texts("environment/distributions"),
        }

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
        """Calibrations (`BackendProperties.to_dict()`), each once; `JobRecord.snapshot` indexes."""
        count = len(self._file.groups(SNAPSHOTS))
        return LazySequence(count, self._file.guarded(self._snapshot), "snapshots")

    @property
    def details(self) -> dict[str, Any] | None:
        """The first batch's `details()` at the end, None where it was not opened or not read."""
        return self._file.document("batch/final_json")

    @property
    def details_opened(self) -> dict[str, Any] | None:
        """The first batch's `details()` right after it was opened."""
        return self._file.document("batch/opened_json")

    @property
    def batches(self) -> tuple[BatchRecord, ...]:
        """Every batch, in order: the first, then those that followed it."""
        return read_batches(self._file)

    @property
    def journal(self) -> list[dict[str, Any]]:
        """What happened, event by event; empty where no journal was kept."""
        return read_journal(self._file)

    @cached_property
    def partitions(self) -> tuple[Partition, ...]:
        """The plan: one partition per job, with what was predicted."""
        names = self._file.columns("partitions")
        columns = {name: self._file.column(f"partitions/{name}") for name in names}
        count = self._file.count("partitions/workload")
        with self._file.reading():
            return tuple(partition_of({n: c[k] for n, c in columns.items()}) for k in range(count))

    @cached_property
    def workloads(self) -> tuple[str, ...]:
        """Names of the workloads, in the order in which they were planned."""
        # Not by `partitions/workload`: HDF5 keeps each of its texts in a place of its own.
        names = self._file.groups("pubs")
        first = {name: int(self._file.cell(f"pubs/{name}/partition", 0)) for name in names}
        return tuple(sorted(names, key=first.__getitem__))

    @property
    def jobs(self) -> LazySequence[JobRecord]:
        """Every attempt to run a partition, by partition, then by number of the attempt."""
        count = self._file.count("jobs/partition")
        return LazySequence(count, self._file.guarded(partial(read_job, self._file)), "jobs")

    @property
    def usage_s(self) -> float:
        """QPU seconds that were charged for all jobs, where they are reported."""
        if not self._file.count("jobs/usage_s"):
            return 0.0
        return total(self._file.column("jobs/usage_s")) or 0.0

    @property
    def results(self) -> Mapping[str, Results[PubResult]]:
        """Workload -> results by PUB index: `run.results["main"][3].data.meas.get_counts()`."""
        return MappingProxyType(
            {
                name: self._results(name, partial(self._result, name), "results")
                for name in self.workloads
            }
        )

    def counts(
        self, workload: str = "main", register: str | None = None
    ) -> Results[dict[str, int]]:
        """The counts of a Sampler workload by PUB index, much faster than `get_counts()` of each.

        Args:
            workload: Name of the workload.
            register: Name of a classical register; None for all of them joined, as
                `SamplerPubResult.join_data` does.

        Raises:
            ArchiveError: There is no such workload; reading one: it has no such register.
        """
        self._require(workload)
        return self._results(workload, partial(self._counts, workload, register), "counts")

    def circuits(
        self, workload: str = "main", *, isa: bool = False
    ) -> LazySequence[QuantumCircuit]:
        """The circuits of a workload, by PUB index.

        Args:
            workload: Name of the workload.
            isa: Whether as transpiled, rather than as generated.

        Raises:
            ArchiveError: There is no such workload, or QPY is older than version 13.
        """
        return self._per_pub(read_circuit, workload, isa, "circuits")

    def pubs(self, workload: str = "main", *, isa: bool = False) -> LazySequence[Pub]:
        """The PUBs of a workload: circuit, parameter values, observables, shots or precision.

        Args:
            workload: Name of the workload.
            isa: Whether as submitted, rather than as generated.

        Raises:
            ArchiveError: There is no such workload, or QPY is older than version 13.
        """
        return self._per_pub(read_pub, workload, isa, "PUBs")

    def pub_table(self, workload: str = "main") -> PubTable:
        """The PUBs of a workload without their circuits: names, sizes, parameters, observables.

        Raises:
            ArchiveError: There is no such workload.
        """
        self._require(workload)
        return PubTable(self._file, workload)

    def primitive_result(
        self, workload: str = "main", *, partial: bool = False
    ) -> PrimitiveResult[PubResult]:
        """Qiskit's own `PrimitiveResult` of a workload, all of it in memory.

        Args:
            workload: Name of the workload.
            partial: Whether PUBs without result may be left out; `metadata["qexp"]["pub"]` has the
                index of the PUB of each result.

        Raises:
            ArchiveError: There is no such workload, or PUBs without result are not left out.
        """
        from qexp.archive.primitive_result import primitive_result

        return primitive_result(self, workload, partial=partial)

    def to_datatree(self) -> xr.DataTree:
        """The whole file as a lazily read `xarray.DataTree`, to be closed by the caller."""
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
            msg = f"{self.path} has no workload {workload!r}; it has: {known}."
            raise ArchiveError(msg)

    def _per_pub(
        self, read: Callable[[ArchiveFile, str, bool, int], T], workload: str, isa: bool, what: str
    ) -> LazySequence[T]:
        self._require(workload)
        count = self._file.count(f"pubs/{workload}/pub")
        guarded = self._file.guarded(partial(read, self._file, workload, isa))
        return LazySequence(count, guarded, f"{what} of {workload!r}")

    def _snapshot(self, index: int) -> dict[str, Any]:
        return dict(self._file.document(f"{SNAPSHOTS}/s{index}/properties_json"))

    def _results(self, workload: str, read: Callable[[int], T], what: str) -> Results[T]:
        rows = self._file.column(f"pubs/{workload}/result_row")
        available = np.flatnonzero(rows >= 0).tolist()
        return Results(available, len(rows), self._file.guarded(read), f"{what} of {workload!r}")

    def _counts(self, workload: str, register: str | None, index: int) -> dict[str, int]:
        result = self._result(workload, index)
        return counts_in(result, register, f"PUB {index} of {workload!r} in {self.path}")

    def _result(self, workload: str, index: int) -> PubResult:
        table = f"pubs/{workload}"
        row = int(self._file.column(f"{table}/result_row")[index])
        if row < 0:
            raise ArchiveError(why_missing(self._file, workload, index))
        path = f"results/{workload}/{self._file.value(f'{table}/result_group', index)}"
        if path not in self._result_groups:
            self._result_groups[path] = ResultGroup(self._file.group(path))
        group = self._result_groups[path]
        values = group.row(row)
        if pub_digest(values) != self._file.value(f"{table}/result_sha256", index):
            msg = (
                f"PUB {index} of {workload!r} in {self.path} does not have its digest: restore it."
            )
            raise ArchiveError(msg)
        metadata = self._file.cell(f"{table}/result_metadata_json", index)
        return decode_result(group.signature, values, json.loads(metadata))
