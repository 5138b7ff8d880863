"""The default launcher: all points of a sweep as one experiment, declared in one folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from hydra.core.hydra_config import HydraConfig
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf, open_dict, read_write

from qexp.archive.sweep_file import (
    POINTS_NAME,
    SWEEP_NAME,
    SweepDeclaration,
    SweepPoint,
    read_sweep,
    write_sweep,
)
from qexp.config.overrides import as_typed
from qexp.config.paths import SWEEP_PREFIX
from qexp.errors import ConfigError, Failed
from qexp.text import utc_now

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

    from qexp.core.spec import RunSpec

_OWN_SWEEPER = "qexp.config.sweep.CheckedSweeper"


@dataclass(frozen=True)
class DeclaredPoint:
    """A point of a sweep, composed and checked.

    Attributes:
        spec: The frozen run.
        draws: Swept key -> its override in this point.
        folder: Name of its folder in that of the sweep.
        value: The number of its analyses that a sweeper asks for, `sweep.value`, or None.
    """

    spec: RunSpec
    draws: Mapping[str, Any]
    folder: str
    value: str | None = None


@dataclass(frozen=True)
class Launch:
    """The sweep that points are launched for.

    Attributes:
        id: The sweep's id, with which the folders of its points begin.
        folder: The sweep's folder.
        overrides: Those of the command line, as they were typed.
        has_rounds: True if more points may follow, which the sweeper chooses by results.
        stops_early: True if `stop_after` is set, so that no point has a result.
    """

    id: str
    folder: Path
    overrides: tuple[str, ...]
    has_rounds: bool
    stops_early: bool


class SharedLauncher(Launcher):
    """Runs all points as one experiment."""

    def __init__(self) -> None:
        # Set by whoever runs experiments, which this package does not.
        self.run_together: RunTogether | None = None
        self._declared: tuple[Any, Any] | None = None

    def setup(
        self,
        *,
        hydra_context: HydraContext,
        task_function: TaskFunction,  # noqa: ARG002 - part of the protocol
        config: DictConfig,
    ) -> None:
        """Prepare the launcher."""
        self._declared = hydra_context, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Compose points, and run them together.

        Raises:
            ConfigError: A point is not valid; nothing was run.
            QexpError: The sweep failed as a whole.
            KeyboardInterrupt: A stop was asked for.
        """
        from hydra.core.utils import JobReturn, JobStatus

        assert self._declared is not None
        assert self.run_together is not None
        context, config = self._declared
        _refuse_per_point(config)
        launch = launch_of(config)
        points = [
            declare_point(context, config, overrides, number)
            for number, overrides in enumerate(job_overrides, start=initial_job_idx)
        ]
        # The command line of the sweep again, not that of its last point.
        HydraConfig.instance().set_config(config)
        values = self.run_together(points, launch)
        return [
            JobReturn(overrides=overrides, _return_value=value, status=JobStatus.COMPLETED)
            for overrides, value in zip(job_overrides, values, strict=True)
        ]


def declare_point(
    context: HydraContext, config: DictConfig, overrides: Sequence[str], number: int
) -> DeclaredPoint:
    """Compose and freeze a point.

    Args:
        context: Hydra's context, with its loader.
        config: The composed config of the sweep.
        overrides: Those of the point.
        number: Its number in the sweep.

    Raises:
        ConfigError: It is not valid.
    """
    from qexp.config.load import load
    from qexp.config.pairs import key_of
    from qexp.config.sweep_points import draws_of

    composed = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(composed):
        composed.hydra.job.id = f"job_id_{number}"
        composed.hydra.job.num = number
    # As Hydra does before it runs a job: `${hydra:...}` is resolved from this global.
    HydraConfig.instance().set_config(composed)
    spec, name = load(composed), str(composed.hydra.sweep.subdir)
    typed = {*config.hydra.overrides.task}
    # Another sweeper than qexp's says only so what it has chosen.
    chosen = [key_of(item) for item in overrides if item not in typed]
    draws = draws_of(overrides, composed.sweep.get("keys") or chosen)
    return DeclaredPoint(spec, draws, name, composed.sweep.value)


def _refuse_per_point(config: DictConfig) -> None:
    """Refuse settings of Hydra that are for each job in a process or folder of its own."""
    for key in ("hydra.job.chdir", "hydra.output_subdir"):
        if value := OmegaConf.select(config, key):
            raise ConfigError(
                f"{key}={value}: has no effect where points are run together; leave it out, or add "
                f"hydra/launcher=basic to run each on its own"
            )


def sweep_id(config: DictConfig) -> str:
    """Return the id of a sweep; from then on, the config of each point has the same one.

    OmegaConf keeps the value of a cached resolver in the config that first asks for it, and copies
    it to those of the points. The sweep's folder need not ask.
    """
    with read_write(config), open_dict(config):
        config["_sweep_id"] = "${qexp.sweep_id:}"
        value = str(config["_sweep_id"])
        del config["_sweep_id"]
    return value.removeprefix(SWEEP_PREFIX)


def launch_of(config: DictConfig) -> Launch:
    """Return what the composed config of a sweep says of all its points."""
    sweeper = config.hydra.sweeper
    is_whole = sweeper.get("_target_") == _OWN_SWEEPER and not sweeper.get("max_batch_size")
    return Launch(
        id=sweep_id(config),
        folder=Path(config.hydra.sweep.dir).absolute(),
        overrides=tuple(map(as_typed, config.hydra.overrides.task)),
        has_rounds=not is_whole,
        stops_early=config.stop_after is not None,
    )


RunTogether: TypeAlias = Callable[
    [Sequence[DeclaredPoint], Launch], Sequence[Failed | float | None]
]
"""Runs points of a sweep, and returns what each ended with."""


def write_declaration(points: Sequence[DeclaredPoint], launch: Launch) -> None:
    """Write `sweep.json` of a new sweep.

    Raises:
        ConfigError: The folder holds a sweep, or two points have one folder.
        ArchiveError: It cannot be written.
    """
    folder = launch.folder
    refuse_used(folder, [point.folder for point in points])
    names = [point.folder for point in points]
    if len({*names}) < len(names):
        raise ConfigError(
            f"hydra.sweep.subdir: gives several points the folder {max(names, key=names.count)}; "
            f"leave it as it is"
        )
    write_sweep(folder, declaration(points, launch))


def refuse_used(folder: Path, points: Sequence[str] = ()) -> None:
    """Refuse a folder, or folders of points in it, that hold something of an earlier run.

    Raises:
        ConfigError: There is something.
    """
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


def declaration(points: Sequence[DeclaredPoint], launch: Launch) -> SweepDeclaration:
    """Return the declaration of a new sweep."""
    each = tuple(map(declared, points))
    return SweepDeclaration(launch.id, utc_now("milliseconds"), each, launch.overrides)


def record_points(points: Sequence[DeclaredPoint], launch: Launch) -> None:
    """Write `points.json`: points that another launcher makes runs of their own."""
    if (launch.folder / SWEEP_NAME).is_file():
        refuse_used(launch.folder)
    launch.folder.mkdir(parents=True, exist_ok=True)
    sweep = declaration(points, launch)
    if (launch.folder / POINTS_NAME).is_file():
        earlier = read_sweep(launch.folder, POINTS_NAME)
        sweep = replace(earlier, points=(*earlier.points, *sweep.points))
    write_sweep(launch.folder, sweep, POINTS_NAME)


def append_declaration(points: Sequence[DeclaredPoint], folder: Path) -> None:
    """Add points to `sweep.json`."""
    sweep = read_sweep(folder)
    write_sweep(folder, replace(sweep, points=(*sweep.points, *map(declared, points))))


def declared(point: DeclaredPoint) -> SweepPoint:
    """Return a point as `sweep.json` has it."""
    return SweepPoint(
        folder=point.folder,
        draws=point.draws,
        overrides=point.spec.overrides,
        config_yaml=point.spec.config_yaml,
        sources=point.spec.sources,
    )
