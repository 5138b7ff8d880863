"""Multirun: every point is checked before the first runs, and gets its seeds.

A point becomes an ordinary run whose derived seeds are among its overrides, so it can be repeated
alone by the command line that its archive holds.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from itertools import product
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from qexp.config.hydra_internals import BasicSweeper
from qexp.config.load import checked_root, load
from qexp.config.messages import one_line_errors
from qexp.config.overrides import key_of
from qexp.config.pairs import (
    SweptPoint,
    circuit_keys,
    circuits_digest,
    named_circuit_keys,
    with_seeds,
)
from qexp.config.paths import config_choices
from qexp.config.schema import SweepNode
from qexp.config.sweep_launcher import PointLauncher
from qexp.config.sweep_points import (
    Block,
    Row,
    declared_blocks,
    declared_nodes,
    refuse_twice,
    without_declarations,
)
from qexp.config.variants import VARIANT, variant_blocks
from qexp.errors import ConfigError


class CheckedSweeper(BasicSweeper):
    """Hydra's basic sweeper, with points that a config declares, and all of them validated."""

    launcher: PointLauncher

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Compose and check all points, and launch them.

        Raises:
            ConfigError: A point is not valid; nothing was launched.
        """
        returns: list[JobReturn] = []
        points = self._points(arguments)
        for batch in self.split_overrides_to_chunks(points, self.max_batch_size):
            returns.extend(self.launcher.launch(batch, initial_job_idx=len(returns)))
        return returns

    def _points(self, arguments: list[str]) -> list[list[str]]:
        """Declare all points; return the overrides of each, with its seeds."""
        assert self.hydra_context is not None
        assert self.config is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        grid = _grid(parser.parse_overrides([*self._parse_config(), *arguments]))
        declared = _declared(self.config)
        blocks = declared_blocks(declared, _seed(self.config))
        blocks += variant_blocks(self.config, [*blocks, *grid])
        refuse_twice([*blocks, *grid])
        for block in (*blocks, *grid):
            _note_equal(block)
        swept = [key for block in (*blocks, *grid) if block.is_swept for key in block.keys]
        declaring, first = declared_nodes(declared), len(blocks)
        rows_of_points = product(*(block.rows for block in (*blocks, *grid)))
        points = [(*rows[first:], *rows[:first]) for rows in rows_of_points]
        # Composed configs are cycles, and a sweep makes many; what is imported by now is none.
        gc.freeze()
        gc.enable()
        decide_circuits: tuple[str, ...] | None = None
        found = named_circuit_keys(swept)
        # Only keys that decide circuits without being named for them take a second round.
        while found != decide_circuits:
            decide_circuits = found
            checked = [
                self._checked(number, rows, swept, declaring, found)
                for number, rows in enumerate(points)
            ]
            found = circuit_keys([point for point, _ in checked], self._circuits)
        return [overrides for _, overrides in checked]

    def _checked(
        self,
        number: int,
        rows: Sequence[Row],
        swept: Sequence[str],
        declaring: Sequence[str],
        decide_circuits: Collection[str],
    ) -> tuple[SweptPoint, list[str]]:
        """Declare a point that is valid; return it, and its overrides with its seeds."""
        given = [item for row in rows for item in row.overrides]
        overrides = without_declarations(given, declaring)
        try:
            with one_line_errors():
                config = self.launcher.compose(overrides, number)
                point = SweptPoint.of(overrides, swept, checked_root(config))
                seeded = with_seeds(point, decide_circuits)
                self.launcher.declare(config, seeded, number)
        except ConfigError as error:
            texts = {key_of(item): item.lstrip("+") for item in overrides}
            draws = " ".join(texts[key] for key in swept)
            origins = "; ".join(row.origin for row in rows if row.origin)
            listed = f" ({origins})" if origins else ""
            where = f"sweep point '{draws}'{listed}: " if swept else ""
            raise ConfigError(f"{where}{error} (no point was run)") from error
        return point, seeded

    def _circuits(self, overrides: list[str]) -> str | None:
        """Return the digest of the circuits of a point; None if it is not valid."""
        with suppress(ConfigError), one_line_errors():
            config = self.launcher.compose(overrides)
            root = checked_root(config)
            load(config)
            return circuits_digest(root)
        return None


def _grid(overrides: Iterable[Override]) -> list[Block]:
    """Return the values of each key, as a block; the last counts, as on any command line."""
    given: dict[str, Block] = {}
    for item in overrides:
        _refuse_valueless(item)
        key, is_swept = item.get_key_element(), item.is_sweep_override()
        values = item.sweep_string_iterator() if is_swept else [item.get_value_element_as_str()]
        rows = tuple(Row((f"{key}={value}",)) for value in values)
        typed, name = f"'{(item.input_line or key).lstrip('+')}'", key_of(key)
        # Points with the same variant would be equal; with other keys that is the user's business.
        kept = tuple(dict.fromkeys(rows)) if name == VARIANT else rows
        given[name] = Block(typed, (name,), kept, len(rows), is_swept or name == VARIANT)
    return list(given.values())


def _declared(config: DictConfig) -> SweepNode:
    """Return the validated node `sweep`; `${...}` in a value is left to the point that has it."""
    from qexp.config.instantiate import validate

    node = config.get("sweep")
    if not isinstance(node, DictConfig):
        return SweepNode()  # any other value is refused with the points
    plain = {str(key): _plain(node[key], is_resolved=key == "sample") for key in node}
    if isinstance(node.get("zip"), DictConfig):
        plain["zip"] = {str(key): _plain(node.zip[key]) for key in node.zip}
    return validate(SweepNode, plain, "sweep")


def _plain(value: Any, *, is_resolved: bool = False) -> Any:
    is_node = OmegaConf.is_config(value)
    return OmegaConf.to_container(value, resolve=is_resolved) if is_node else value


def _seed(config: DictConfig) -> int:
    seed = config.get("seed")
    # Any other value is refused with the points.
    return seed if isinstance(seed, int) and seed >= 0 else 0


def _note_equal(block: Block) -> None:
    """Say that a sample, or a list of variants, has fewer points than were asked for."""
    if len(block.rows) < block.num_drawn:
        sys.stderr.write(
            f"qexp: warning: {block.declared}: {len(block.rows)} of {block.num_drawn} points, the "
            f"others are equal to one of them\n"
        )


def _refuse_valueless(override: Override) -> None:
    """Refuse a sweep over no values, and one whose values are not known in advance."""
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
