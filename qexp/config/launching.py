"""Launchers and sweepers of any kind, Hydra's or a plugin's: how their points ended.

A launcher may run points in other processes, which show nothing here. What failed comes back as the
return value of the point.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf

from qexp.archive.sweep_file import POINTS_NAME
from qexp.config.hydra_loader import set_current
from qexp.config.messages import compose_message
from qexp.config.sweep_launcher import (
    PointLauncher,
    RunTogether,
    SharedLauncher,
    write_declaration,
)
from qexp.errors import ConfigError, EngineError, Failed, PointsFailedError, QexpError
from qexp.text import typed_reason

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.plugins.sweeper import Sweeper
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig


_OPTIMISES = {"direction", "ax_config", "optim"}
"""Settings of the sweepers of Hydra's own repository that choose points by results."""

_PLUGINS = "hydra_plugins."


@dataclass
class Ends:
    """Ends of runs, and the one place that prints why they failed."""

    tell: Callable[[str], None]  # prints an error in the process that made this object
    failed: list[Failed] = field(default_factory=list)  # as this process learnt of them
    launched: int = 0  # number of points that a launcher has returned from
    _process: int = field(default_factory=os.getpid)

    def add(self, failed: Failed) -> None:
        """Note and print a failure; in another process, that is done where its value returns."""
        if os.getpid() == self._process and not any(failed is known for known in self.failed):
            self.failed.append(failed)
            self.tell(failed.message)

    def check(self) -> None:
        """Raise `PointsFailedError` if points failed, with the highest of their exit codes.

        Raises:
            PointsFailedError: At least one did; the exit code is the highest of theirs.
        """
        if self.launched and self.failed:
            raise PointsFailedError(
                f"{len(self.failed)} of {self.launched} points failed; their messages are above, "
                f"the others have their archives",
                self.exit_code,
            )

    @property
    def exit_code(self) -> int:
        """Return the highest exit code, 0 if nothing failed."""
        return max((failed.exit_code for failed in self.failed), default=0)


class WatchedLauncher(PointLauncher):
    """Lets another launcher than qexp's make each point a run of its own, and notes their ends."""

    def __init__(self, launcher: Launcher, ends: Ends) -> None:
        super().__init__()
        self._launcher = launcher
        self._is_plugin = type(launcher).__module__.startswith(_PLUGINS)
        self._ends = ends

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Declare points, run them, and note those that failed.

        Raises:
            ConfigError: A point is not valid; nothing was run.
            KeyboardInterrupt: A stop was asked for.
            EngineError: The launcher itself failed, most likely because a process of its died.
            PointsFailedError: No point of those that an optimiser asked for has a value.
        """
        write_declaration(self.launched(job_overrides, initial_job_idx), POINTS_NAME)
        returns = self._launch(job_overrides, initial_job_idx)
        self._ends.launched += len(returns)
        failed = [one for one in (item.return_value for item in returns) if isinstance(one, Failed)]
        for one in failed:
            self._ends.add(one)
        if _value(self.config) is not None and len(failed) == len(returns):
            # An optimiser would go on, and pay, without having learnt anything.
            self._ends.check()
        return returns

    def _launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        name, folder = _chosen("launcher", self.config), self.config.hydra.sweep.dir
        try:
            return self._launcher.launch(job_overrides, initial_job_idx=initial_job_idx)
        except KeyboardInterrupt:
            if not self._is_plugin:
                raise
            raise KeyboardInterrupt(
                f"interrupted; points that {name} has started may go on: to see them: "
                f"python -m qexp status {folder}"
            ) from None
        except Exception as error:
            is_mistake = isinstance(error, QexpError) or compose_message(error) is not None
            if is_mistake or not self._is_plugin:
                raise
            raise EngineError(
                f"{name}: the launcher failed, most likely because one of its processes died "
                f"({typed_reason(error)}); to go on with the points that began, and run the "
                f"others: python -m qexp resume {folder}"
            ) from error


@contextmanager
def watched(ends: Ends, run_together: RunTogether) -> Iterator[None]:
    """Let any sweeper's launcher be watched, and be configured with `${hydra:...}`."""
    plugins: Any = Plugins
    before = plugins.instantiate_sweeper, plugins.instantiate_launcher

    def sweeper(
        self: Plugins, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> Sweeper:
        # As for each point: otherwise neither `name` nor the sweep's folder can be resolved.
        set_current(config)
        _refuse_valueless(config)
        return before[0](
            self, config=config, hydra_context=hydra_context, task_function=task_function
        )

    def launcher(
        self: Plugins, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> Launcher:
        made = before[1](self, hydra_context, task_function, config)
        if isinstance(made, SharedLauncher):
            made.run_together = run_together
            return made
        watching = WatchedLauncher(made, ends)
        watching.setup(hydra_context=hydra_context, task_function=task_function, config=config)
        return watching

    plugins.instantiate_sweeper, plugins.instantiate_launcher = sweeper, launcher
    try:
        yield
    finally:
        plugins.instantiate_sweeper, plugins.instantiate_launcher = before


def _chosen(group: str, config: DictConfig) -> str:
    key = f"hydra/{group}"
    return f"{key}={config.hydra.runtime.choices.get(key)}"


def _value(config: DictConfig) -> Any:
    return OmegaConf.select(config, "sweep.value")


def _refuse_valueless(config: DictConfig) -> None:
    """Refuse to pay for points of which an optimiser would learn nothing."""
    if _OPTIMISES & set(config.hydra.sweeper) and _value(config) is None:
        raise ConfigError(
            f"{_chosen('sweeper', config)}: chooses points by their results, and nothing says by "
            f"which; add sweep.value=ANALYSIS.VARIABLE, a number that an analysis of the run "
            f"returns, such as sweep.value=exact_evs.rms_error"
        )
