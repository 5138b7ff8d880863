"""The forms of what is killed: a single run, and sweeps whose points share jobs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from qexp.archive.sweep_file import SWEEP_NAME
from qexp.errors import ExitCode
from qexp.sweeps.index import INDEX_NAME
from tests.crash.steps import JOURNAL
from tests.emulator.devices import JAKARTA, MANILA

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
        backends: The override that names them, by engine.
        num_refused: Points after those that cannot run.
        exit_code: That of each process which ends by itself, once all is done.
    """

    num_points: int
    overrides: tuple[str, ...]
    partitions: tuple[tuple[str, range], ...]
    num_jobs: int
    backends: Mapping[str, str] = field(
        default_factory=lambda: {"local": "FakeManilaV2", "ibm": MANILA}, hash=False
    )
    num_refused: int = 0
    exit_code: int = ExitCode.DONE

    @property
    def is_sweep(self) -> bool:
        return self.num_points + self.num_refused > 1

    def where(self, engine: str) -> tuple[str, ...]:
        """Further overrides that declare where it runs."""
        name = f"backend.name={self.backends[engine]}"
        if engine == "ibm":
            return "backend=ibm", "engine.poll_interval_s=0.05", name
        # A sweep is simulated in this process: workers would import everything in each round.
        return (name, *["engine.workers=1"] * self.is_sweep)

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
        """The folders of its points that can run, in order."""
        if not self.is_sweep:
            return [folder]
        return self._all_folders(folder)[: self.num_points]

    def _all_folders(self, folder: Path) -> list[Path]:
        return sorted(item for item in folder.iterdir() if _POINT.fullmatch(item.name))

    def left_behind(self, folder: Path) -> list[str]:
        """What is in the folder of a complete experiment and does not belong there."""
        points = self.folders(folder)
        belong = {folder / name for name in (*_KEPT, SWEEP_NAME, INDEX_NAME)}
        belong |= {point / "run.h5" for point in points}
        if self.num_refused:
            # Until it can run, the sweep is not complete.
            belong |= {folder / "parts", *self._all_folders(folder)}
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
    num_points=2,
    overrides=(
        "primitive=sampler",
        f"primitive.shots={SHOTS}",
        *(f"+circuits@workloads.{name}.circuits=random" for name in "ab"),
        *(f"workloads.{name}.circuits.num_circuits=2" for name in "ab"),
        *(f"workloads.{name}.circuits.num_qubits=2" for name in "ab"),
        "workloads.a.circuits.depth=1,2",
        "workloads.b.circuits.depth=2",
        # Of the first workload both points and of the second one the first point share a job.
        "partition.max_circuits=6",
        "analysis=[]",
        "seed=1",
    ),
    partitions=(("a", range(2)), ("b", range(2))),
    num_jobs=2,
)

_EQUAL: Final = tuple(each.replace("depth=1,2", "depth=1") for each in SWEEP.overrides)

LANES: Final = replace(
    SWEEP,
    overrides=_EQUAL,
    backends={"local": "FakeManilaV2,FakeJakartaV2", "ibm": f"{MANILA},{JAKARTA}"},
)
"""Each point on a backend of its own, in two batches that are open at once."""

WITH_BAD_POINT: Final = replace(
    SWEEP,
    num_refused=1,
    overrides=tuple(
        each.replace("a.circuits.num_qubits=2", "a.circuits.num_qubits=2,3,9") for each in _EQUAL
    ),
    exit_code=ExitCode.REFUSED,
)
"""The last point needs more qubits than there are."""
