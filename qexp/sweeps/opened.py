"""Open a sweep: its points, the archive of each, and what is made of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from qexp.archive.archive_file import LazySequence
from qexp.archive.pubs import pub_identities
from qexp.archive.read import Archive, open_archive
from qexp.archive.schema import ARCHIVE_NAME
from qexp.archive.sweep_file import POINTS_NAME, SWEEP_NAME, is_sweep, read_sweep
from qexp.core.jsonable import dumps
from qexp.errors import ArchiveError
from qexp.journal.file import read_ledger
from qexp.sweeps.dataset import Values, axes_of, build_dataset, counts_tables, evs_table
from qexp.sweeps.index import read_records
from qexp.sweeps.pairs import (
    Difference,
    Identities,
    Numbers,
    Pair,
    differences,
    equal_points,
    find_pairs,
)
from qexp.sweeps.records import (
    PointStatus,
    Record,
    has_exact,
    numbers_of,
    read_estimates,
    read_exact,
    read_registers,
)
from qexp.text import html_table, short_path, typed_path

if TYPE_CHECKING:
    import xarray as xr

_MAX_LISTED: Final = 20


def open_sweep(path: str | Path) -> Sweep:
    """Open a sweep, of which any number of points may be unfinished.

    Args:
        path: The sweep's folder, or the `sweep.json` in it.

    Returns:
        The sweep; only its declaration has been read.

    Raises:
        ArchiveError: There is no sweep, or its declaration is damaged.

    Example:
        >>> with qexp.open_sweep("outputs/ising/sweep-20261129T194723Z-3f9a2c") as sweep:
        ...     sweep.to_dataset()["exact_evs_rms_error"].sel({"circuits.field": 1.0})
    """
    given = typed_path(path)
    return Sweep(given if given.is_dir() else given.parent)


@dataclass(frozen=True)
class SweepEntry:
    """One point of a sweep."""

    index: int  # its place in the order of declaration
    folder: Path
    draws: Mapping[str, Any]  # swept key -> its value here
    overrides: tuple[str, ...] = field(repr=False)  # all of its own: they repeat it alone
    records: Callable[[], Sequence[Record]] = field(repr=False, compare=False)  # of all points

    @property
    def status(self) -> PointStatus:
        """Its status, read when first asked for."""
        status: PointStatus = self.records()[self.index]["status"]
        return status

    @property
    def reason(self) -> str:
        """The reason why it is not complete, on one line; `""` where it is."""
        return str(self.records()[self.index]["reason"])

    def open(self) -> Archive:
        """Open its archive.

        Raises:
            ArchiveError: It has none, or it cannot be read.
        """
        if not (self.folder / ARCHIVE_NAME).is_file():
            raise ArchiveError(
                f"point {self.index} of {self.folder.parent} has no archive, {self.reason}: "
                f"python -m qexp resume {short_path(self.folder.parent.absolute())} goes on with it"
            )
        return open_archive(self.folder)


class Sweep:
    """A sweep: `len(sweep)` points; `sweep[3]` opens the archive of one.

    What is read is kept: open the sweep again to see what changed.

    Attributes:
        path: Its folder.
        id: Its id.
        created: Time of its declaration, ISO 8601 UTC.
        overrides: Those of the command line, with all values of swept keys.
        swept: The swept keys.
        points: All points, in order.

    Raises:
        ArchiveError: There is no sweep, or its declaration is damaged.
    """

    def __init__(self, path: Path) -> None:
        # Points may also be runs of their own.
        is_apart = (path / POINTS_NAME).is_file() and not is_sweep(path)
        declared = read_sweep(path, POINTS_NAME if is_apart else SWEEP_NAME)
        self.path = path
        self.id, self.created = declared.id, declared.created
        self.overrides, self.swept = declared.overrides, declared.swept
        self.points = tuple(
            SweepEntry(
                index, path / point.folder, point.draws, point.overrides, lambda: self.records
            )
            for index, point in enumerate(declared.points)
        )
        self._open: list[Archive] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> Archive:
        archive = self.points[index].open()
        self._open.append(archive)
        return archive

    def __repr__(self) -> str:
        return f"<Sweep {self.id!r} of {len(self)} points: {self.path}>"

    def _repr_html_(self) -> str:
        rows = [
            (str(p.index), *(dumps(p.draws.get(key)) for key in self.swept), p.status, p.reason)
            for p in self.points[:_MAX_LISTED]
        ]
        more = len(self) - _MAX_LISTED
        ending = f"<p>... and {more} more</p>" if more > 0 else ""
        return html_table(rows, ("point", *self.swept, "status", "reason")) + ending

    @property
    def status(self) -> PointStatus:
        """The status that all points have, else `"partial"`; it is read of each."""
        statuses = {point.status for point in self.points}
        if statuses == {"declared", "planned"}:
            return "planned"
        return statuses.pop() if len(statuses) == 1 else "partial"

    def close(self) -> None:
        """Close all archives that were opened by index; harmless when closed already."""
        while self._open:
            self._open.pop().close()

    @property
    def records(self) -> list[Record]:
        """The numbers of each point, see `qexp.sweeps.records.Record`."""
        return self._records[0]

    @cached_property
    def _records(self) -> tuple[list[Record], dict[str, list[str] | None]]:
        records, about = read_records(self.path, [point.folder.name for point in self.points])
        unfinished = [
            k for k, one in enumerate(records) if one["status"] in ("planned", "declared")
        ]
        with suppress(ArchiveError):
            unplanned = read_ledger(self.path).unplanned if unfinished else {}
            for index in unplanned.keys() & unfinished:
                records[index] |= {"status": "failed", "reason": unplanned[index].reason}
        return records, about

    @cached_property
    def identities(self) -> list[Identities | None]:
        """Workload -> digests of its PUBs, of each point; None without a sound archive."""
        return [
            pub_identities(point.folder) if "data_sha256" in record else None
            for point, record in zip(self.points, self.records, strict=True)
        ]

    def pairs(self) -> tuple[Pair, ...]:
        """Return the pairs: points with the same circuits that differ in a swept key.

        Of each key, the first value is compared with every other one.
        """
        return find_pairs([point.draws for point in self.points], self.identities)

    def differences(self, other: Sweep | None = None) -> tuple[Difference, ...]:
        """Compare the numbers of pairs, with error bars and a paired test of each change.

        The pairs are those within this sweep, or its points with those of equal draws of another.
        """
        if other is None:
            return differences(self.pairs(), self.numbers, self.numbers)
        return differences(self.pairs_with(other), self.numbers, other.numbers)

    @cached_property
    def numbers(self) -> Sequence[Numbers]:
        """The numbers of each point with their errors, read when they are asked for."""

        @cache
        def read(index: int) -> Numbers:
            return numbers_of(self.records[index], self.points[index].folder)

        return LazySequence(len(self), read, "numbers of points")

    def pairs_with(self, other: Sweep) -> tuple[Pair, ...]:
        """Return the points of this sweep with those of another that have equal draws."""
        a, b = ([point.draws for point in each.points] for each in (self, other))
        return equal_points(a, b, (self.identities, other.identities))

    def to_dataset(
        self, *, evs: bool = True, counts: bool = False, chunks: Any = None
    ) -> xr.Dataset:
        """Return the results of all points.

        Swept keys are dimensions where the points form a full grid, else coordinates of the
        dimension `point`. Variables are `status`, `folder`, `engine`, `usage_s`, `predicted_qpu_s`,
        `created`, `started`, `finished`, `seed`, `data_sha256`, `num_pubs`, `num_results`;
        `ANALYSIS_variable`, with `ANALYSIS_variable_std`, of every analysis' variables that are one
        number; `evs`, `stds` and, of the analysis `exact_evs`, `exact` by `pub` and `observable`
        (and by `workload` and `parameter_set` where there are several). What a point does not have
        is NaN, `""` or no time.

        These and counts are read from the archives when they are asked for, one point at a time and
        only of the points that are asked for: `data["evs"].isel(point=3)` reads one.

        Args:
            evs: With expectation values.
            counts: With `REGISTER_counts` by `pub` and `REGISTER_outcome`, of registers of at most
                10 bits.
            chunks: As of `xarray.open_dataset`: `{}` for one Dask array of each variable, which
                needs Dask; None keeps in memory what was read.

        Raises:
            ArchiveError: An archive is damaged; also when its values are read.
        """
        from qexp.sweeps.point_arrays import opened

        folders = [point.folder for point in self.points]
        records, about = self._records

        def read(index: int, name: str) -> Values:
            if name != "exact":
                return read_estimates(folders[index], name)
            return read_exact(folders[index]) if has_exact(records[index]) else iter(())

        tables = [evs_table(records, read)] * evs
        if counts:
            has_results = [bool(record.get("num_results")) for record in records]
            registers = [
                [*read_registers(folders[k])] if has else [] for k, has in enumerate(has_results)
            ]
            tables += counts_tables(registers, lambda k: self.points[k].open())
        built = build_dataset(
            axes_of([point.draws for point in self.points], self.swept),
            records,
            [folder.name for folder in folders],
            about,
            {"sweep": self.id, "date_created": self.created, "overrides": " ".join(self.overrides)},
            tables,
        )
        return opened(built, chunks)
