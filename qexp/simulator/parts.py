"""Results of some of a PUB's parameter sets, and how they become the result of the whole PUB."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from qiskit.primitives import BitArray, DataBin, PubResult

PART = "part"
"""The key of a `Part` in the metadata of a result."""


class Part(NamedTuple):
    """The place of a result's values, which are in one row, in the result of the whole PUB."""

    shape: tuple[int, ...]  # of the whole
    places: range | NDArray[np.intp]  # flat indices in it


def wholes(results: Sequence[PubResult]) -> Iterator[tuple[int, PubResult]]:
    """Yield the results of whole PUBs, each with the index of the first of its parts.

    Args:
        results: Those of PUBs and of parts, of which all of a PUB come one after the other.
    """
    stop = 0
    while (first := stop) < len(results):
        stop += 1
        part = results[first].metadata.get(PART)
        if part is None:
            yield first, results[first]
            continue
        missing = math.prod(part.shape) - len(part.places)
        while missing:
            missing -= len(results[stop].metadata[PART].places)
            stop += 1
        yield first, _whole(results[first:stop])


def _whole(parts: Sequence[PubResult]) -> PubResult:
    first = parts[0]
    shape = first.metadata[PART].shape
    data = {}
    for name, value in first.data.items():
        array = _array(value)
        filled = np.empty((math.prod(shape), *array.shape[1:]), dtype=array.dtype)
        for one in parts:
            filled[np.asarray(one.metadata[PART].places)] = _array(one.data[name])
        is_bits = isinstance(value, BitArray)
        data[name] = (BitArray(filled, value.num_bits) if is_bits else filled).reshape(shape)
    metadata = {key: value for key, value in first.metadata.items() if key != PART}
    return type(first)(DataBin(**data, shape=shape), metadata=metadata)


def _array(value: Any) -> NDArray[Any]:
    return np.asarray(value.array if isinstance(value, BitArray) else value)
