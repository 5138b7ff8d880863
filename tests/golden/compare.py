"""Comparison of recorded JSON with the JSON of today."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

MAX_LINES = 20


def assert_same(
    recorded: Any,
    found: Any,
    *,
    may_grow: Callable[[str], bool] = lambda where: False,
    tolerance: float = 0.0,
) -> None:
    """Fail with one line per difference between a recorded and a found value.

    Args:
        recorded: The recorded JSON.
        found: Anything that `json` can write.
        may_grow: Function of the path of an object, such as `/run.h5/config`; True where keys
            that were not recorded are allowed.
        tolerance: Largest relative or absolute difference of real numbers.
    """
    lines = differences(recorded, found, may_grow=may_grow, tolerance=tolerance)
    more = [f"... and {len(lines) - MAX_LINES} more"] if len(lines) > MAX_LINES else []
    assert not lines, "\n".join(["", *lines[:MAX_LINES], *more])


def differences(
    recorded: Any, found: Any, *, may_grow: Callable[[str], bool], tolerance: float
) -> list[str]:
    """Return the differences, one line each; the arguments are those of `assert_same`."""

    def compare(recorded: Any, found: Any, where: str) -> Iterator[str]:
        if isinstance(recorded, dict) and isinstance(found, dict):
            for name, value in recorded.items():
                if name in found:
                    yield from compare(value, found[name], f"{where}/{name}")
                else:
                    yield f"{where}/{name}: missing"
            for name in () if may_grow(where) else found.keys() - recorded.keys():
                yield f"{where}/{name}: new"
        elif isinstance(recorded, list) and isinstance(found, list):
            if len(recorded) != len(found):
                yield f"{where}: recorded {len(recorded)} items, found {len(found)}: {found}"
            for index, pair in enumerate(zip(recorded, found, strict=False)):
                yield from compare(*pair, f"{where}/{index}")
        elif not _equal(recorded, found, tolerance):
            yield f"{where}: recorded {recorded!r}, found {found!r}"

    return list(compare(recorded, json.loads(json.dumps(found)), ""))


def _equal(recorded: Any, found: Any, tolerance: float) -> bool:
    if isinstance(recorded, float) and isinstance(found, float):
        return math.isclose(recorded, found, rel_tol=tolerance, abs_tol=tolerance)
    return type(recorded) is type(found) and bool(recorded == found)
