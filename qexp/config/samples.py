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
    """Draw points; small spaces give some of them more than once.

    Args:
        node: The declared sample.
        seed: The declared seed of the sweep.

    Returns:
        Key -> value of each point, plain values.

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
    unit = _METHODS[node.method](node.n, len(draws), rng)
    return [
        {key: draw(float(number)) for (key, draw), number in zip(draws.items(), row, strict=True)}
        for row in unit
    ]


def _draw(where: str, declared: Any) -> _Draw:
    """Return what draws a key's values.

    Raises:
        ConfigError: They are declared in no valid form.
    """
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
    between = _between_logs if node.log else _between
    if are_whole and node.integer is not False:
        return lambda unit: min(int(high), math.floor(between(low, high + 1, unit)))
    return lambda unit: min(float(high), between(low, high, unit))


def _between(low: float, high: float, unit: float) -> float:
    return low + unit * (high - low)


def _between_logs(low: float, high: float, unit: float) -> float:
    # Not `low * (high / low) ** unit`, whose rounding may leave the range at its lower end.
    return max(low, math.exp(_between(math.log(low), math.log(high), unit)))


def _choice(where: str, choices: Sequence[Any]) -> _Draw:
    if not choices:
        raise ConfigError(f"{where}.choices: no value; list them, {{choices: [a, b]}}")
    return lambda unit: choices[int(unit * len(choices))]


def _random(n: int, dimensions: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    return rng.random((n, dimensions))


def _lhs(n: int, dimensions: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    from scipy.stats import qmc

    # `seed` is the name that SciPy before 1.15 knows, and all later ones take.
    return qmc.LatinHypercube(dimensions, seed=rng).random(n)


def _sobol(n: int, dimensions: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    from scipy.stats import qmc

    # SciPy warns of any number that is no power of 2, where points are a little less even.
    return qmc.Sobol(dimensions, seed=rng).random_base2((n - 1).bit_length())[:n]


def _halton(n: int, dimensions: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    from scipy.stats import qmc

    return qmc.Halton(dimensions, seed=rng).random(n)


_METHODS: Final = {"random": _random, "lhs": _lhs, "sobol": _sobol, "halton": _halton}
