"""Points that are added to a sweep: its own command line with more values of its swept keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from qexp.archive.sweep_file import SweepDeclaration, SweepPoint
from qexp.config import messages
from qexp.config.overrides import key_of, override, parse
from qexp.config.recorded_config import differences
from qexp.errors import ConfigError

_LISTS = ("sweep.points", "sweep.zip", "sweep.sample.n")


def extended_overrides(
    folder: Path, sweep: SweepDeclaration, words: Sequence[str], anew: Sequence[str] = ()
) -> list[str]:
    """Return the command line of a sweep with more points, and the budget it was given `anew`.

    Words are `KEY=VALUE,VALUE` of a swept key on a grid, `sweep.points=[...]` and `sweep.zip={...}`
    with further points, or `sweep.sample.n=N` with a larger number.

    Raises:
        ConfigError: A word is none of these.
    """
    left_out = ("hydra.sweep.dir=", "stop_after=", *["budget."] * bool(anew))
    overrides = [item for item in sweep.overrides if not item.startswith(left_out)] + [*anew]
    for word in words:
        with messages.one_line_errors():
            item: Any = parse(word)
        key = str(item.key_or_group)
        if key == "sweep.points":
            given = override(key, [*_rows_before(sweep, _rows(word, item.value())), *item.value()])
        elif key == "sweep.zip":
            given = override(key, _columns(sweep, word, item.value()))
        elif key == "sweep.sample.n":
            given = word
        elif key in sweep.swept:
            given = f"{key}={','.join([*_before(sweep, key), word.partition('=')[2]])}"
        else:
            allowed = ", ".join((*sweep.swept, *_LISTS))
            raise ConfigError(
                f"--add {word}: {key} is not swept by {folder}; allowed: {allowed}; for another "
                f"key, start a new sweep"
            )
        overrides = [one for one in overrides if key_of(one) != key] + [given]
    return [*overrides, override("hydra.sweep.dir", folder)]


def merge_points(
    sweep: SweepDeclaration, composed: Sequence[SweepPoint], name: Callable[[int], str]
) -> tuple[tuple[SweepPoint, ...], list[int]]:
    """Append the points that a sweep does not have yet, in folders that `name` names by number.

    Return all points, and for each the position among those that are composed now. If one of the
    sweep is not composed any more, or otherwise than it was, they are refused: points that are
    compared would not be run alike.

    Raises:
        ConfigError: A point of the sweep is not composed any more, or otherwise than it was; so
            points that are compared would not be run alike.
    """
    positions = {_draws(point): position for position, point in enumerate(composed)}
    order = []
    for point in sweep.points:
        position = positions.pop(_draws(point), None)
        shown = " ".join(override(key, value) for key, value in point.draws.items())
        if position is None:
            raise ConfigError(
                f"--add: the point {shown} of the sweep is not among those of its command line any "
                f"more: its config files were changed, or it is of a Latin hypercube, which cannot "
                f"grow; start a new sweep"
            )
        now = composed[position]
        is_equal = now.config_yaml == point.config_yaml
        found = [] if is_equal else differences(point.config_yaml, now.config_yaml)
        if found:
            raise ConfigError(
                f"--add: the point {shown} would be declared otherwise than it was: "
                f"{'; '.join(found[:5])}; were config files changed, or does an added value show "
                f"that a key decides circuits? start a new sweep"
            )
        order.append(position)
    added = sorted(positions.values())
    if not added:
        raise ConfigError("--add: the sweep has all of these points; name a value that it has not")
    first = len(sweep.points)
    new = [replace(composed[at], folder=name(first + k)) for k, at in enumerate(added)]
    return (*sweep.points, *new), [*order, *added]


def _draws(point: SweepPoint) -> str:
    return json.dumps(point.draws, sort_keys=True)


def _before(sweep: SweepDeclaration, key: str) -> Iterator[str]:
    """Yield the values of a swept key, as they were typed where that is a list of them."""
    typed = [item.partition("=")[2] for item in sweep.overrides if key_of(item) == key]
    if typed and "(" not in typed[-1]:
        yield typed[-1]
        return
    for point in sweep.points:
        yield override(key, point.draws.get(key)).partition("=")[2]


def _rows(word: str, rows: Any) -> list[Mapping[str, Any]]:
    if isinstance(rows, list) and rows and all(isinstance(row, Mapping) and row for row in rows):
        return rows
    raise ConfigError(f"--add {word}: expected a list of points, [{{KEY: VALUE, ...}}, ...]")


def _rows_before(
    sweep: SweepDeclaration, rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the distinct values that the points of a sweep have for the keys of added rows."""
    keys = [*rows[0]]
    before = {
        json.dumps([point.draws.get(key) for key in keys]): {k: point.draws.get(k) for k in keys}
        for point in sweep.points
    }
    return [*before.values()]


def _columns(sweep: SweepDeclaration, word: str, columns: Any) -> dict[str, list[Any]]:
    if not isinstance(columns, Mapping) or not columns:
        raise ConfigError(f"--add {word}: expected values of each key, {{KEY: [VALUE, ...], ...}}")
    rows = _rows_before(sweep, [columns])
    return {key: [*(row[key] for row in rows), *values] for key, values in columns.items()}
