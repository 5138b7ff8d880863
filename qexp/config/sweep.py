"""Multirun: every point is checked before the first runs, and gets a seed of its own.

A point becomes an ordinary run whose derived seed is one of its overrides, so it can be repeated
alone by the command line that its archive holds.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn

from qexp.config.hydra_internals import BasicSweeper
from qexp.core.seeds import sweep_point_seed
from qexp.errors import ConfigError, Failed, QexpError


class CheckedSweeper(BasicSweeper):
    """Hydra's basic sweeper, with all points validated before the first is launched."""

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Compose and check all points, launch them, and report the ones that failed.

        Raises:
            ConfigError: A point is not valid; nothing was launched.
            SweepFailedError: At least one point failed; the others ran.
        """
        assert self.hydra_context is not None
        assert self.launcher is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        batches = self.split_arguments(overrides, self.max_batch_size)
        points = [point for batch in batches for point in batch]
        swept = {_key(item.get_key_element()) for item in overrides if item.is_sweep_override()}
        seeded = [self._checked(point, swept) for point in points]
        returns: list[JobReturn] = []
        for batch in self.split_overrides_to_chunks(seeded, self.max_batch_size):
            returns.extend(self.launcher.launch(batch, initial_job_idx=len(returns)))
        _raise_failures(returns)
        return returns

    def _checked(self, point: list[str], swept: set[str]) -> list[str]:
        """Return the overrides of a valid point with its derived seed."""
        from qexp.config.load import check

        assert self.hydra_context is not None
        assert self.config is not None
        config = self.hydra_context.config_loader.load_sweep_config(self.config, point)
        # As Hydra does before it runs a job: `${hydra:...}` is resolved from this global.
        HydraConfig.instance().set_config(config)
        draws = [item.lstrip("+") for item in point if _key(item) in swept]
        try:
            seed = check(config)
        except ConfigError as error:
            where = f"sweep point '{' '.join(draws)}': " if draws else ""
            raise ConfigError(f"{where}{error} (no point was run)") from error
        if "seed" in swept or not draws:
            return point
        others = [item for item in point if _key(item) != "seed"]
        return [*others, f"seed={sweep_point_seed(seed, draws)}"]


class SweepFailedError(QexpError):
    """At least one point of a sweep failed."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+")


def _raise_failures(returns: Sequence[JobReturn]) -> None:
    values = [item.return_value for item in returns]
    failed = [value for value in values if isinstance(value, Failed)]
    if failed:
        raise SweepFailedError(
            f"{len(failed)} of {len(returns)} points failed; their messages are above, "
            f"the others have their archives",
            max(value.exit_code for value in failed),
        )
