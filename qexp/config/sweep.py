"""Multirun: every point is checked before the first runs, and gets its seeds.

A point becomes an ordinary run whose derived seeds are among its overrides, so it can be repeated
alone by the command line that its archive holds.
"""

from __future__ import annotations

import gc
from contextlib import suppress

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.core.utils import JobReturn
from hydra.errors import HydraException

from qexp.config.hydra_internals import BasicSweeper
from qexp.config.pairs import SweptPoint, circuit_keys, key_of, with_seeds
from qexp.config.paths import config_choices
from qexp.errors import ConfigError


class CheckedSweeper(BasicSweeper):
    """Hydra's basic sweeper, with all points validated before the first is launched."""

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Compose and check all points, and launch them.

        Raises:
            ConfigError: A point is not valid; nothing was launched.
        """
        assert self.hydra_context is not None
        assert self.launcher is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        for override in overrides:
            _refuse_valueless(override)
        batches = self.split_arguments(overrides, self.max_batch_size)
        points = [point for batch in batches for point in batch]
        swept = {key_of(item.get_key_element()) for item in overrides if item.is_sweep_override()}
        # Composed configs are cycles, and a sweep makes many; what is imported by now is none.
        gc.freeze()
        gc.enable()
        checked = [self._checked(point, swept) for point in points]
        decide_circuits = circuit_keys(checked)
        seeded = [with_seeds(point, decide_circuits) for point in checked]
        returns: list[JobReturn] = []
        for batch in self.split_overrides_to_chunks(seeded, self.max_batch_size):
            returns.extend(self.launcher.launch(batch, initial_job_idx=len(returns)))
        return returns

    def _checked(self, point: list[str], swept: set[str]) -> SweptPoint:
        """Return a point that is valid."""
        from qexp.config.load import check

        assert self.hydra_context is not None
        assert self.config is not None
        config = self.hydra_context.config_loader.load_sweep_config(self.config, point)
        # As Hydra does before it runs a job: `${hydra:...}` is resolved from this global.
        HydraConfig.instance().set_config(config)
        try:
            return SweptPoint.of(point, swept, check(config))
        except ConfigError as error:
            draws = [item.lstrip("+") for item in point if key_of(item) in swept]
            where = f"sweep point '{' '.join(draws)}': " if draws else ""
            raise ConfigError(f"{where}{error} (no point was run)") from error


def _refuse_valueless(override: Override) -> None:
    """Refuse a sweep over no values, and one whose values are not known in advance.

    Raises:
        ConfigError: The override is such a sweep.
    """
    if not override.is_sweep_override():
        return
    with suppress(AssertionError, HydraException, ValueError):
        if any(True for _ in override.sweep_string_iterator()):
            return
    key = override.key_or_group
    if override.value_type is ValueType.GLOB_CHOICE_SWEEP:
        choices = config_choices().get(key)
        allowed = "none matches" if choices else "glob is for config groups"
        listed = f"allowed: {', '.join(choices)}" if choices else f"list the values: {key}=1,2,3"
        problem = f"{allowed}; {listed}"
    else:
        problem = f"no value to sweep over; list the values, {key}=1,2,3, or write {key}=range(1,4)"
    raise ConfigError(f"{(override.input_line or key).lstrip('+')}: {problem}")
