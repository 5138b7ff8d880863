"""Points of a sweep that are drawn from ranges: at random, or evenly spread (`scipy.stats.qmc`).

A larger number of points begins with those of the smaller one, except for a Latin hypercube.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from qexp.config.instantiate import validate
from qexp.config.schema import ChoicesNode, RangeNode, SampleNode
from qexp.core.seeds import sample_stream
from qexp.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

_Draw = Callable[[float], Any]
"""Makes the value of a key from a number that is at least 0 and below 1."""

_WHERE: Final = "sweep.sample"


def draw_samples(node: SampleNode, seed: int) -> list[dict[str, Any]]:
    """Draw points as key -> value; small spaces give some of them more than once."""
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
