"""Launchers that compose the points of a sweep, each once; qexp's own runs them as one experiment.

The points are declared in the sweep's folder before the first runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf, open_dict

from qexp.archive.sweep_file import (
    POINTS_NAME,
    SWEEP_NAME,
    SweepDeclaration,
    SweepPoint,
    read_sweep,
    write_sweep,
)
from qexp.config.hydra_loader import CachingLoader, set_current
from qexp.config.overrides import draws_of, given_overrides, key_of, typed_overrides
from qexp.config.paths import SWEEP_PREFIX
from qexp.errors import ConfigError, Failed
from qexp.text import utc_now

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

    from qexp.core.spec import RunSpec

_DECIDED_BY = {
    **{name: (name,) for name in ("engine", "limits", "metadata", "partition")},
    "place": ("backend", "engine"),
    "select_backend": ("backend", "execution"),
    "policy": ("execution",),
    "workloads": ("circuits", "primitive", "transpile", "workloads"),
    "analyses": ("analysis",),
    "sweep_analyses": ("sweep",),
    "sharing": ("sweep",),
}
"""Field of a spec -> top-level keys of the config that it is made of."""

_OWN_SWEEPER = "qexp.config.sweep.CheckedSweeper"


@dataclass(frozen=True)
class Launch:
    """Points that a sweeper launches together, composed and checked."""

    folder: Path  # of the sweep
    sweep: SweepDeclaration  # of these points, and of no earlier ones
    specs: tuple[RunSpec, ...]  # the frozen run of each
    is_first: bool  # the sweep has no earlier points
    has_rounds: bool  # more points may follow, which the sweeper chooses by results
    value: str | None  # `sweep.value`: the number of a point's analyses that the sweeper asks for


RunTogether: TypeAlias = Callable[[Launch], Sequence[Failed | float | None]]
"""Runs points of a sweep, and returns what each ended with."""


class PointLauncher(Launcher):
    """A launcher that composes the points; a sweeper that has composed them hands them over."""

    def __init__(self) -> None:
        self._declared: dict[int, tuple[SweepPoint, RunSpec]] = {}
        self._first: RunSpec | None = None

    def setup(
        self,
        *,
        hydra_context: HydraContext,
        task_function: TaskFunction,  # noqa: ARG002 - part of the protocol
        config: DictConfig,
    ) -> None:
        """Prepare the launcher."""
        self.loader, self.config = cast(CachingLoader, hydra_context.config_loader), config
        # OmegaConf keeps the value of a cached resolver in the config that first asks for it, and
        # Hydra copies it to those of the points. The sweep's folder need not ask.
        asking = OmegaConf.create({"id": "${qexp.sweep_id:}"}, parent=config)
        self._id = str(asking.id).removeprefix(SWEEP_PREFIX)

    def compose(self, overrides: Sequence[str], number: int = 0) -> DictConfig:
        """Compose a point from its overrides and its number in the sweep.

        Until the next one is composed, `${hydra:...}` is resolved from it.
        """
        config = self.loader.load_sweep_config(self.config, [*overrides])
        with open_dict(config):
            config.hydra.job.id = f"job_id_{number}"
            config.hydra.job.num = number
        set_current(config)
        return config

    def declare(self, config: DictConfig, overrides: Sequence[str], number: int) -> None:
        """Check and freeze a point that was composed, to be launched later.

        Those of its overrides that it was composed without set values.

        Raises:
            ConfigError: It is not valid.
        """
        from qexp.config.load import load

        self.loader.complete(config, overrides)
        spec = load(config)
        # What is declared alike in all points is kept once.
        self._first = first = self._first or spec
        own = {text.partition(":")[0] for text in {*spec.config} ^ {*first.config}}
        alike = [name for name, keys in _DECIDED_BY.items() if own.isdisjoint(keys)]
        spec = replace(spec, **{name: getattr(first, name) for name in alike})
        typed = {*given_overrides(self.config)}
        # Another sweeper than qexp's says only so what it has chosen.
        chosen = [key_of(item) for item in overrides if item not in typed]
        draws = draws_of(overrides, config.sweep.get("keys") or chosen)
        folder = str(config.hydra.sweep.subdir)
        point = SweepPoint(folder, draws, spec.overrides, spec.config, spec.sources)
        self._declared[number] = point, spec

    def launched(self, job_overrides: Sequence[Sequence[str]], first: int) -> Launch:
        """Return points that are launched, of which `first` is the number of the first.

        Raises:
            ConfigError: A point is not valid.
        """
        for number, overrides in enumerate(job_overrides, start=first):
            if number not in self._declared:
                self.declare(self.compose(overrides, number), overrides, number)
        # The command line of the sweep again, not that of its last point.
        set_current(self.config)
        points, specs = zip(
            *(self._declared.pop(first + number) for number in range(len(job_overrides))),
            strict=True,
        )
        sweeper = self.config.hydra.sweeper
        is_whole = sweeper.get("_target_") == _OWN_SWEEPER and not sweeper.get("max_batch_size")
        return Launch(
            folder=Path(self.config.hydra.sweep.dir).absolute(),
            sweep=SweepDeclaration(
                self._id, utc_now("milliseconds"), points, typed_overrides(self.config)
            ),
            specs=specs,
            is_first=first == 0,
            has_rounds=not is_whole,
            value=OmegaConf.select(self.config, "sweep.value"),
        )


class SharedLauncher(PointLauncher):
    """Runs all points as one experiment."""

    run_together: RunTogether
    """Set by whoever runs experiments, which this package does not."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run points together.

        Raises:
            ConfigError: A point is not valid; nothing was run.
            QexpError: The sweep failed as a whole.
            KeyboardInterrupt: A stop was asked for.
        """
        from hydra.core.utils import JobReturn, JobStatus, configure_log

        _refuse_per_point(self.config)
        launch = self.launched(job_overrides, initial_job_idx)
        # Into the folder of the sweep, as Hydra logs each job into that of the job.
        OmegaConf.set_readonly(self.config.hydra, False)
        self.config.hydra.runtime.output_dir = os.path.abspath(self.config.hydra.sweep.dir)
        configure_log(self.config.hydra.job_logging, self.config.hydra.verbose)
        return [
            JobReturn(overrides=overrides, _return_value=value, status=JobStatus.COMPLETED)
            for overrides, value in zip(job_overrides, self.run_together(launch), strict=True)
        ]


def _refuse_per_point(config: DictConfig) -> None:
    """Refuse settings of Hydra that are for each job in a process or folder of its own."""
    for key in ("hydra.job.chdir", "hydra.output_subdir"):
        if value := OmegaConf.select(config, key):
            raise ConfigError(
                f"{key}={value}: has no effect where points are run together; leave it out, or add "
                f"hydra/launcher=basic to run each on its own"
            )


def write_declaration(launch: Launch, name: str = SWEEP_NAME) -> None:
    """Declare a new sweep in its folder, or add points to the one that is declared there.

    The file is `points.json` if each point is a run of its own. A folder of the sweep, or of a
    point, that is in use is refused, and one that two points share.

    Raises:
        ConfigError: The folder of the sweep, or of a point, is in use, or two points share one.
        ArchiveError: The declaration cannot be written.
    """
    folder, sweep = launch.folder, launch.sweep
    if launch.is_first:
        names = [point.folder for point in sweep.points]
        _refuse_used(folder, names)
        if len({*names}) < len(names):
            raise ConfigError(
                f"hydra.sweep.subdir: gives several points the folder "
                f"{max(names, key=names.count)}; leave it as it is"
            )
        folder.mkdir(parents=True, exist_ok=True)
    else:
        earlier = read_sweep(folder, name)
        sweep = replace(earlier, points=(*earlier.points, *sweep.points))
    write_sweep(folder, sweep, name)


def _refuse_used(folder: Path, points: Sequence[str]) -> None:
    """Refuse a folder, or folders of points in it, that hold something of an earlier run."""
    from qexp.archive.schema import ARCHIVE_NAME, JOURNAL_NAME, PARTS_NAME

    marks = (SWEEP_NAME, POINTS_NAME, JOURNAL_NAME, ARCHIVE_NAME, PARTS_NAME)
    used = [folder] if any((folder / mark).exists() for mark in marks) else []
    inside = (folder / point for point in points)
    used += [one for one in inside if one.is_dir() and any(one.iterdir())]
    if used:
        raise ConfigError(
            f"hydra.sweep.dir: {used[0]} already holds a run or a sweep, which is never "
            f"overwritten; name another folder or leave hydra.sweep.dir and hydra.sweep.subdir as "
            f"they are (to go on with it: python -m qexp resume {used[0]})"
        )
