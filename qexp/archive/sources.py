"""The tables of a run's parts in the order in which the archive holds them, one part at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.archive.parts import StoredParts, cells, open_part
from qexp.archive.schema import header_tables
from qexp.archive.tables import Column, Table, numbers, texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INDEX = "result_index/"


@dataclass(frozen=True)
class PartFiles:
    """The parts of a run on disk.

    Attributes:
        header: `RunHeader` as plain JSON.
        batches: Every batch, in order: `id`, `follows`, `opened`, `final`.
        journal: The run's journal, a JSON document per line.
        partitions: Partition index -> its part.
        jobs: Partition index -> the parts of its attempts, in order.
    """

    header: Mapping[str, Any]
    batches: Sequence[Mapping[str, Any]]
    journal: str
    partitions: Mapping[int, Path]
    jobs: Mapping[int, Sequence[Path]]
    _winners: dict[int, int] = field(default_factory=dict)
    _checked: set[Path] = field(default_factory=set)

    @classmethod
    def of(cls, stored: StoredParts, journal: str) -> PartFiles:
        """Find the parts.

        Raises:
            ArchiveError: The run has no header, or what describes it is damaged.
        """
        return cls(
            stored.read_header(),
            stored.read_batches(),
            journal,
            stored.partition_paths(),
            stored.job_paths(),
        )

    def batch_rows(self) -> dict[str, int]:
        """Batch id -> its row in `/batches`."""
        return {batch["id"]: row for row, batch in enumerate(self.batches)}

    def sources(self) -> Iterator[dict[str, Table]]:
        """The tables of the header, then of each partition followed by those of its attempts."""
        yield self._header_tables
        for index, path in sorted(self.partitions.items()):
            attempts = self.jobs.get(index, ())
            winner = self._winner(index)
            with self._open(path) as partition, ExitStack() as opened:
                job: dict[str, Table] = {}
                if winner is not None:
                    job = opened.enter_context(self._open(attempts[winner]))
                last = len(attempts) - 1
                yield _joined(partition, job, last if winner is None else winner, last)
                for position, job_path in enumerate(attempts):
                    if position == winner:
                        yield _of_attempt(job, has_results=True)
                        continue
                    with self._open(job_path) as other:
                        yield _of_attempt(other, has_results=False)

    @cached_property
    def _header_tables(self) -> dict[str, Table]:
        return header_tables(self.header, self.batches, self.journal)

    @contextmanager
    def _open(self, path: Path, *only: str) -> Iterator[dict[str, Table]]:
        with open_part(path, *only, checked=path in self._checked) as tables:
            self._checked.add(path)
            yield tables

    def _winner(self, index: int) -> int | None:
        """Which attempt's results are those of the partition: the first that is done."""
        if index not in self._winners:
            candidates = []
            for position, path in enumerate(self.jobs.get(index, ())):
                with self._open(path, "jobs") as job:
                    row = cells(job["jobs"])
                if row["num_results"]:
                    candidates.append((row["state"] != "DONE", position))
            self._winners[index] = min(candidates)[1] if candidates else -1
        winner = self._winners[index]
        return None if winner < 0 else winner


def _of_attempt(job: Mapping[str, Table], *, has_results: bool) -> dict[str, Table]:
    return {
        path: table
        for path, table in job.items()
        if not path.startswith(_INDEX) and (has_results or not path.startswith("results/"))
    }


def _joined(
    partition: dict[str, Table], job: Mapping[str, Table], winner: int, last: int
) -> dict[str, Table]:
    """Tables of a partition, with where its results are beside each PUB.

    Args:
        partition: Tables of the partition.
        job: Tables of the attempt that has its results, empty where none has.
        winner: Position of that attempt among those of the partition.
        last: Position of the last attempt, -1 where there is none.
    """
    (path,) = [path for path in partition if path.startswith("pubs/")]
    count = partition[path].columns["pub"].shape[0]
    index = job.get(_INDEX + path.removeprefix("pubs/"))
    found = index.columns["row"].shape[0] if index else 0
    missing = count - found

    def column(name: str, default: str) -> Column:
        known = index.columns[name].as_texts() if index else []
        return texts([*known, *[default] * missing], "pub")

    rows = [*(index.columns["row"].values[:] if index else []), *[-1] * missing]
    attempts: NDArray[Any] = np.array([winner] * found + [last] * missing, dtype="<i4")
    added = {
        "job": Column(attempts, ("pub",), base="jobs#job" if last >= 0 else ""),
        "result_group": column("group", ""),
        "result_row": numbers(rows, "pub", "<i8"),
        "result_sha256": column("sha256", ""),
        "result_metadata_json": column("metadata_json", ""),
    }
    return partition | {path: Table({**partition[path].columns, **added}, partition[path].attrs)}
