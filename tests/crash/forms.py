"""The two forms of what is killed: a single run, and a sweep whose points share jobs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from qexp.archive.sweep_file import SWEEP_NAME
from tests.crash.steps import JOURNAL

if TYPE_CHECKING:
    from tests.emulator.state import Job

SHOTS: Final = 50
_PUBS_TAG = re.compile(r"qexp-pubs:([^:]+):(\d+)-(\d+):[0-9a-f]+")
_PARTS_TAG = re.compile(r"qexp-parts:\d+:([^:]+):[0-9a-f]+")
_POINT = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}-\d{4,}")
# `.holder.json` says who held the lock; a kill after the end leaves it, and nothing relies on it.
_KEPT = {"run.log", JOURNAL, ".lock", ".holder.json"}


class Pub(NamedTuple):
    """One PUB of the plan."""

    point: int
    workload: str
    index: int


@dataclass(frozen=True)
class Form:
    """A declared experiment.

    Attributes:
        num_points: One for a single run.
        overrides: Declare it.
        partitions: Those of each point: workload, and the PUBs of it.
        num_jobs: Jobs that run it where nothing goes wrong.
    """

    num_points: int
    overrides: tuple[str, ...]
    partitions: tuple[tuple[str, range], ...]
    num_jobs: int

    @property
    def is_sweep(self) -> bool:
        return self.num_points > 1

    @property
    def workloads(self) -> list[str]:
        return list(dict.fromkeys(workload for workload, _ in self.partitions))

    @property
    def pubs(self) -> list[Pub]:
        """All of its PUBs."""
        numbers = range(self.num_points * len(self.partitions))
        return [pub for number in numbers for pub in self.pubs_of(number)]

    def pubs_of(self, partition: int) -> list[Pub]:
        """The PUBs of a partition, by its number in the experiment."""
        point, own = divmod(partition, len(self.partitions))
        workload, pubs = self.partitions[own]
        return [Pub(point, workload, index) for index in pubs]

    def held(self, job: Job) -> list[Pub]:
        """The PUBs that a job holds, in their order, as its tags say."""
        return [pub for tag in job.tags for pub in self._named(tag)]

    def _named(self, tag: str) -> Iterator[Pub]:
        if match := _PUBS_TAG.fullmatch(tag):
            yield from (Pub(0, match[1], index) for index in range(int(match[2]), int(match[3])))
        elif match := _PARTS_TAG.fullmatch(tag):
            for name in match[1].split(","):
                yield from self._pubs_of_name(name)

    def _pubs_of_name(self, name: str) -> Iterator[Pub]:
        """`4`, `0-4/2` and `3-5` are partitions, `4.1-2` is a PUB of partition 4."""
        whole, _, step = name.partition("/")
        number, _, some = whole.partition(".")
        if some:
            first, stop = map(int, some.split("-"))
            yield from (pub for pub in self.pubs_of(int(number)) if first <= pub.index < stop)
            return
        bounds = [int(bound) for bound in number.split("-")]
        for partition in range(bounds[0], bounds[-1] + 1, int(step or 1)):
            yield from self.pubs_of(partition)

    def command(self, folder: Path, more: Sequence[str]) -> tuple[str, ...]:
        """The arguments of Python that begin it in a folder."""
        if self.is_sweep:
            return ("qexp", "-m", *self.overrides, *more, f"hydra.sweep.dir={folder}")
        return ("qexp", *self.overrides, *more, f"hydra.run.dir={folder}")

    def has_begun(self, folder: Path) -> bool:
        """Whether there is something to go on with."""
        return (folder / (SWEEP_NAME if self.is_sweep else JOURNAL)).exists()

    def folders(self, folder: Path) -> list[Path]:
        """The folders of its points, in order."""
        if not self.is_sweep:
            return [folder]
        return sorted(item for item in folder.iterdir() if _POINT.fullmatch(item.name))

    def left_behind(self, folder: Path) -> list[str]:
        """What is in the folder of a complete experiment and does not belong there."""
        points = self.folders(folder)
        belong = {folder / name for name in (*_KEPT, SWEEP_NAME)}
        belong |= {point / "run.h5" for point in points}
        found = {item for place in (folder, *points) for item in place.iterdir()}
        return sorted(str(item.relative_to(folder)) for item in found - belong - {*points})


SINGLE: Final = Form(
    num_points=1,
    overrides=(
        "experiment=random_sampling",
        "circuits.num_circuits=4",
        "circuits.num_qubits=2",
        "circuits.depth=2",
        "partition.max_circuits=2",
        f"primitive.shots={SHOTS}",
        "seed=1",
    ),
    partitions=(("main", range(2)), ("main", range(2, 4))),
    num_jobs=2,
)
SWEEP: Final = Form(
    num_points=3,
    overrides=(
        "primitive=sampler",
        f"primitive.shots={SHOTS}",
        *(f"+circuits@workloads.{name}.circuits=random" for name in "ab"),
        *(f"workloads.{name}.circuits.num_circuits=2" for name in "ab"),
        *(f"workloads.{name}.circuits.num_qubits=2" for name in "ab"),
        "workloads.a.circuits.depth=1,2,3",
        "workloads.b.circuits.depth=2",
        # Of the first workload all points and of the second one the first point share a job.
        "partition.max_circuits=8",
        "analysis=[]",
        "seed=1",
    ),
    partitions=(("a", range(2)), ("b", range(2))),
    num_jobs=2,
)
