"""What reading an archive returns besides Qiskit's own objects."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

import numpy as np

from qexp.core.model import FailureKind, JobState, Partition, Span

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class BatchRecord:
    """One batch of the run.

    Attributes:
        id: The service's id (or the engine's own, locally).
        follows: Id of the batch before it, or None.
        opened: `batch.details()` right after it was opened, or None where not read.
        final: `batch.details()` at the end, or None where not read.
    """

    id: str
    follows: str | None
    opened: dict[str, Any] | None
    final: dict[str, Any] | None


@dataclass(frozen=True)
class JobRecord:
    """One attempt to run a partition: what was predicted, what happened, what it returned.

    Attributes:
        index: Row in `/jobs`.
        job_id: The service's id (or the engine's own, locally); `""`: the service refused it.
        workload: Name of the workload.
        partition: Index of the partition it ran.
        attempt: Number of the attempt to run that partition, from 1.
        batch: Index of its batch (`Archive.batches`), or None where not known.
        first: Index of its first PUB within the workload.
        stop: One past the index of its last PUB.
        num_results: Number of PUBs for which it has a result; those of a second job that ran the
            same partition are not in the archive.
        state: `"DONE"`, `"ERROR"` or `"CANCELLED"`; `"QUEUED"` where it was not collected.
        failure: What kind of failure it was, or None.
        error: Reason of the failure, or None.
        error_code: The service's reason code, or None.
        created: ISO 8601 UTC, `""` where not reported; so are `running` and `finished`.
        running: When it started to run.
        finished: When it ended.
        usage_s: QPU seconds that were charged, or None where not reported.
        predicted_qpu_s: QPU seconds that were predicted, with the per-job overhead.
        predicted_executions: Circuit executions that were predicted.
        payload_bytes: Size of its PUBs on the wire, measured before submission.
        closed_by: What ended its partition: a limit's name, `"shots"`, `"precision"` or `"end"`.
        options: The primitive's options as finalised.
        metrics: As `job.metrics()` returned.
        info: Anything else that the engine kept: tags, primitive id, logs.
        result_metadata: Metadata of the job's `PrimitiveResult`, or None without result.
        spans: Execution spans; `Span.pub` counts from `first`.
        snapshot: Index of the calibration (`Archive.snapshots`) when it ran, or None.
    """

    index: int
    job_id: str
    workload: str
    partition: int
    attempt: int
    batch: int | None
    first: int
    stop: int
    num_results: int
    state: JobState
    failure: FailureKind | None
    error: str | None
    error_code: int | None
    created: str
    running: str
    finished: str
    usage_s: float | None
    predicted_qpu_s: float
    predicted_executions: int
    payload_bytes: int
    closed_by: str
    options: dict[str, Any]
    metrics: dict[str, Any]
    info: dict[str, Any]
    result_metadata: dict[str, Any] | None
    spans: tuple[Span, ...]
    snapshot: int | None


class LazySequence(Sequence[T_co], Generic[T_co]):
    """A sequence whose items are read when they are asked for. Slices are lists.

    Args:
        length: Number of items.
        read: Reads one item by its index, `0 <= index < length`.
        name: For `repr`.
    """

    def __init__(self, length: int, read: Callable[[int], T_co], name: str) -> None:
        self._length = length
        self._read = read
        self._name = name

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> T_co: ...

    @overload
    def __getitem__(self, index: slice) -> list[T_co]: ...

    def __getitem__(self, index: int | slice) -> T_co | list[T_co]:
        if isinstance(index, slice):
            return [self._read(k) for k in range(*index.indices(self._length))]
        position = index + self._length if index < 0 else index
        if not 0 <= position < self._length:
            msg = f"{self._name} has {self._length} items, there is no item {index}"
            raise IndexError(msg)
        return self._read(position)

    def __iter__(self) -> Iterator[T_co]:
        return (self._read(k) for k in range(self._length))

    def __repr__(self) -> str:
        return f"<{self._name}: {self._length} items>"


class Results(LazySequence[T_co], Generic[T_co]):
    """The results of one workload, by PUB index. A PUB without result raises `ArchiveError`.

    Args:
        available: Indices of the PUBs that have a result.
        length: Number of PUBs.
        read: Reads one result.
        name: For `repr`.
    """

    def __init__(
        self, available: Sequence[int], length: int, read: Callable[[int], T_co], name: str
    ) -> None:
        super().__init__(length, read, name)
        self._available = tuple(available)

    @property
    def available(self) -> tuple[int, ...]:
        """Indices of the PUBs that have a result; all of them in a complete run."""
        return self._available


def partition_of(row: Mapping[str, Any]) -> Partition:
    """A row of `/partitions`."""
    values = {name: plain(value) for name, value in row.items()}
    shots, precision = values["shots"], values["precision"]
    return Partition(
        index=values["partition"],
        workload=values["workload"],
        first=values["first"],
        stop=values["stop"],
        shots=shots if shots >= 0 else None,
        precision=None if math.isnan(precision) else precision,
        executions=values["predicted_executions"],
        payload_bytes=values["payload_bytes"],
        qpu_s=values["predicted_qpu_s"],
        closed_by=values["closed_by"],
    )


def plain(value: Any) -> Any:
    """A cell as a Python value."""
    return value.item() if isinstance(value, np.generic) else value
