"""Variables with values of every point, which are read when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing


class PointArray(BackendArray):
    """An array of which one point is read at a time.

    `points` has the number of the point at each place; the values of one are of a `shape`.
    """

    def __init__(
        self,
        points: NDArray[np.int64],
        shape: tuple[int, ...],
        read: Callable[[int], NDArray[np.float64]],
    ) -> None:
        self.shape = (*points.shape, *shape)
        self.dtype = np.dtype(np.float64)
        self._points = points
        self._read = read

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        support = indexing.IndexingSupport.BASIC
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._values)

    def _values(self, key: tuple[int | slice, ...]) -> NDArray[np.float64]:
        num_dims = self._points.ndim
        points = np.asarray(self._points[key[:num_dims]])
        shape = np.broadcast_to(0.0, self.shape[num_dims:])[key[num_dims:]].shape
        values = np.empty((math.prod(points.shape), *shape))
        for place, point in enumerate(points.ravel().tolist()):
            values[place] = self._read(point)[key[num_dims:]]
        return values.reshape(*points.shape, *shape)


def lazily(array: PointArray) -> Any:
    """Return the data of a variable that is read when it is asked for."""
    return indexing.LazilyIndexedArray(array)


class _Built(BackendEntrypoint):
    def open_dataset(self, filename_or_obj: Any, *, drop_variables: Any = None) -> xr.Dataset:  # noqa: ARG002
        dataset: xr.Dataset = filename_or_obj
        return dataset


def opened(built: xr.Dataset, chunks: Any = None) -> xr.Dataset:
    """Return a dataset as `xarray.open_dataset` does: what was read is kept, or is in chunks."""
    return xr.open_dataset(built, engine=_Built, chunks=chunks)
