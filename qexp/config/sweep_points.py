"""Points that a config declares: keys walked together, a list or CSV file of points, a sample.

Each is a block of points; a sweep is the product of its blocks and of the keys on a grid.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from qexp.config.instantiate import validate
from qexp.config.overrides import key_of, open_nodes, override, parse
from qexp.config.schema import ChoicesNode, RangeNode, SampleNode, SweepNode
from qexp.core.seeds import sample_stream
from qexp.errors import ConfigError
from qexp.text import typed_path

if TYPE_CHECKING:
    import numpy as np

_DECLARING: Final = ("zip", "points", "sample")
"""Keys of the node `sweep` that declare points."""


@dataclass(frozen=True)
class Row:
    """Values of a block's keys in one point."""

    overrides: tuple[str, ...]  # one for each key, in order
    origin: str = ""  # where it is declared, as `points.csv, line 3`; empty if its values tell

    @property
    def text(self) -> str:
        """The overrides as a person types them."""
        return " ".join(item.lstrip("+") for item in self.overrides)


@dataclass(frozen=True)
class Block:
    """Points that are declared together, or the values of one key on a grid."""

    declared: str  # the key that declares them, such as `sweep.zip`, or the typed values
    keys: tuple[str, ...]  # in order
    rows: tuple[Row, ...]  # their values, no two equal if they are declared together
    num_drawn: int  # rows before equal ones were left out
    is_swept: bool = True  # False for a key with one value that is not written as a sweep


def declared_blocks(node: SweepNode, seed: int) -> list[Block]:
    """Return the blocks of points that a sweep declares, in order; `seed` decides a sample.

    Raises:
        ConfigError: A block is not valid.
    """
    blocks = []
    if node.zip is not None:
        blocks.append(_zipped(node.zip))
    if isinstance(node.points, str):
        blocks.append(_block("sweep.points", _csv_rows(node.points)))
    elif node.points is not None:
        listed = ((f"sweep.points, point {n}", row) for n, row in enumerate(node.points, 1))
        blocks.append(_block("sweep.points", listed))
    if node.sample is not None:
        drawn = [_row("", draws) for draws in draw_samples(node.sample, seed)]
        keys, rows = tuple(map(key_of, node.sample.keys)), tuple(dict.fromkeys(drawn))
        blocks.append(Block("sweep.sample", keys, rows, len(drawn)))
    return blocks


def declared_nodes(node: SweepNode) -> tuple[str, ...]:
    """Return the keys that declare points, such as `sweep.zip`."""
    return tuple(f"sweep.{name}" for name in _DECLARING if getattr(node, name) is not None)


def refuse_declared(node: SweepNode, *, is_sweep: bool) -> None:
    """Refuse a single run, or a point, whose config still declares points: it would ignore them.

    Raises:
        ConfigError: The config declares some.
    """
    for key in declared_nodes(node):
        raise ConfigError(
            f"{key}: points are declared that this sweep does not read; declare them on the "
            f"command line or in a file that is not itself swept, with hydra/sweeper=qexp"
            if is_sweep
            else f"{key}: a sweep is declared, but this is a single run; add -m, or set {key}=null"
        )


def refuse_twice(blocks: Iterable[Block]) -> None:
    """Refuse a key that two blocks have.

    Raises:
        ConfigError: There is such a key.
    """
    seen: dict[str, str] = {}
    for block in blocks:
        for key in block.keys:
            place = seen.setdefault(key, block.declared)
            if place != block.declared:
                raise ConfigError(
                    f"{key}: given by {place} and by {block.declared}; keep one of them"
                )


def without_declarations(overrides: Iterable[str], declaring: Sequence[str]) -> list[str]:
    """Return overrides of a point that declare none any more, so that they repeat it alone.

    `declaring` is that of `declared_nodes`.
    """
    below = tuple(f"{key}." for key in declaring)
    kept = [
        item
        for item in overrides
        if key_of(item) not in declaring and not key_of(item).startswith(below)
    ]
    return [*kept, *(override(key, None) for key in declaring)]


def _zipped(columns: Mapping[str, Sequence[Any]]) -> Block:
    """Return the points of keys that are walked together."""
    where = "sweep.zip"
    lengths = {key: len(values) for key, values in columns.items()}
    if not any(lengths.values()):
        raise ConfigError(
            f"{where}: no values; list them for each key, {where}={{x:[1,2],y:[3,4]}}"
        )
    first = next(iter(lengths))
    for key, length in lengths.items():
        if length != lengths[first]:
            raise ConfigError(
                f"{where}: {first} has {lengths[first]} values and {key} has {length}; keys that "
                f"are walked together have equally many"
            )
    rows = zip(*columns.values(), strict=True)
    draws = (dict(zip(columns, row, strict=True)) for row in rows)
    return _block(where, ((f"{where}, position {n}", row) for n, row in enumerate(draws, 1)))


def _block(where: str, points: Iterable[tuple[str, Mapping[str, Any]]]) -> Block:
    """Return the points of a list, each with its origin; `where` is the key that declares them."""
    seen: dict[tuple[str, ...], Row] = {}
    keys: tuple[str, ...] = ()
    for origin, point in points:
        row = _row(origin, point)
        keys = keys or tuple(map(key_of, point))
        if not keys or set(map(key_of, point)) != set(keys):
            raise ConfigError(
                f"{origin}: has {', '.join(point) or 'no key'}, the first has "
                f"{', '.join(keys) or 'none'}; all points have the same keys"
            )
        equal = seen.setdefault(tuple(sorted(row.overrides)), row)
        if equal is not row:
            raise ConfigError(
                f"{origin}: equal to {equal.origin} ({row.text}); keep one, or sweep over seed for "
                f"replicates"
            )
    if not seen:
        raise ConfigError(f"{where}: no points; list them, {where}=[{{x:1,y:3}},{{x:2,y:4}}]")
    return Block(where, keys, tuple(seen.values()), len(seen))


def _row(origin: str, point: Mapping[str, Any]) -> Row:
    try:
        overrides = open_nodes([override(key, value) for key, value in point.items()])
    except ConfigError as error:
        raise ConfigError(f"{origin or 'sweep.sample'}: {error}") from None
    return Row(tuple(overrides), origin)


def _csv_rows(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield origin, and key -> value, of each line of a CSV file whose header names keys."""
    try:
        text = typed_path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"sweep.points: {path} is not UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(
            f"sweep.points: {path}: {error.strerror}; name a CSV file whose header names keys"
        ) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    try:
        for cells in filter(None, reader):
            origin = f"{path}, line {reader.line_num}"
            if not header:
                header = _header(origin, cells)
            elif len(cells) != len(header):
                raise ConfigError(
                    f"{origin}: cells: got {len(cells)}, but the header names {len(header)} keys; "
                    f"each line has a value for each, null where there is none"
                )
            else:
                yield origin, {k: _cell(origin, k, c) for k, c in zip(header, cells, strict=True)}
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num}: {error}") from None


def _header(origin: str, cells: Sequence[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    if not all(header):
        raise ConfigError(f"{origin}: a column has no name; the header names a key for each column")
    _row(origin, dict.fromkeys(header))
    if twice := [key for key in header if header.count(key) > 1]:
        raise ConfigError(f"{origin}: {twice[0]} is there twice; keep one column of each key")
    return header


def _cell(origin: str, key: str, cell: str) -> Any:
    """Return the value of a cell, typed as on the command line."""
    from hydra.errors import HydraException

    text = cell.strip()
    try:
        parsed = parse(f"x={text}")
    except HydraException:
        parsed = None
    if not text or parsed is None or parsed.is_sweep_override():
        raise ConfigError(
            f"{origin}: {key}: got {cell!r}; a cell is one value: a number, true, false, null or "
            f"text, with quotes of its own around signs such as ',', ':' or '('"
        )
    return parsed.value()


_Draw = Callable[[float], Any]
"""Makes the value of a key from a number that is at least 0 and below 1."""

_WHERE: Final = "sweep.sample"


def draw_samples(node: SampleNode, seed: int) -> list[dict[str, Any]]:
    """Draw points as key -> value; small spaces give some of them more than once.

    Raises:
        ConfigError: A key's values are declared in no valid form.
    """
    import numpy as np

    if not node.keys:
        raise ConfigError(
            f"{_WHERE}.keys: no key; name some, {_WHERE}.keys={{circuits.depth:[1,20]}}"
        )
    draws = {key: _draw(f"{_WHERE}.keys.{key}", declared) for key, declared in node.keys.items()}
    rng = np.random.default_rng(sample_stream(seed))
    unit = _unit_points(node.method, node.n, len(draws), rng)
    return [
        {key: draw(float(number)) for (key, draw), number in zip(draws.items(), row, strict=True)}
        for row in unit
    ]


def _draw(where: str, declared: Any) -> _Draw:
    """Return what draws a key's values."""
    match declared:
        case [low, high]:
            return _range(where, validate(RangeNode, {"low": low, "high": high}, where))
        case Mapping() if "choices" in declared:
            return _choice(where, validate(ChoicesNode, declared, where).choices)
        case Mapping():
            return _range(where, validate(RangeNode, declared, where))
        case _:
            raise ConfigError(
                f"{where}: got {declared!r}; allowed: [LOW, HIGH], {{low: 1, high: 100, log: true, "
                f"integer: true}} or {{choices: [a, b]}}"
            )


def _range(where: str, node: RangeNode) -> _Draw:
    low, high = node.low, node.high
    are_whole = isinstance(low, int) and isinstance(high, int)
    if low >= high or not math.isfinite(float(high) - float(low)):
        raise ConfigError(f"{where}: got {low} to {high}; the first must be below the second")
    if node.log and low <= 0:
        raise ConfigError(f"{where}: got {low} to {high}; with log, both must be above 0")
    if node.integer and not are_whole:
        raise ConfigError(f"{where}: got {low} to {high}; with integer, both must be whole numbers")
    is_whole = are_whole and node.integer is not False
    # Both bounds are among the whole numbers.
    end = high + 1 if is_whole else high
    # Not `low * (end / low) ** unit`, whose rounding may leave the range at its lower end.
    low_log, end_log = (math.log(low), math.log(end)) if node.log else (0.0, 0.0)

    def draw(unit: float) -> float:
        if node.log:
            value = max(low, math.exp(low_log + unit * (end_log - low_log)))
        else:
            value = low + unit * (end - low)
        return min(int(high), math.floor(value)) if is_whole else min(float(high), value)

    return draw


def _choice(where: str, choices: Sequence[Any]) -> _Draw:
    if not choices:
        raise ConfigError(f"{where}.choices: no value; list them, {{choices: [a, b]}}")
    return lambda unit: choices[int(unit * len(choices))]


def _unit_points(
    method: str, n: int, dimensions: int, rng: np.random.Generator
) -> np.ndarray[Any, Any]:
    """Draw points of the unit cube, shape `(n, dimensions)`."""
    if method == "random":
        return rng.random((n, dimensions))
    from scipy.stats import qmc

    # `seed` is the name that SciPy before 1.15 knows, and all later ones take.
    if method == "sobol":
        # SciPy warns of any number that is no power of 2, where points are a little less even.
        return qmc.Sobol(dimensions, seed=rng).random_base2((n - 1).bit_length())[:n]
    engine = {"lhs": qmc.LatinHypercube, "halton": qmc.Halton}[method]
    return engine(dimensions, seed=rng).random(n)
