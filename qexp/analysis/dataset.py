"""Build the dataset that an analysis returns: every variable with a name and a unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xarray as xr

Reals: TypeAlias = NDArray[np.float64]
Column: TypeAlias = tuple[str, Any, str] | tuple[str, Any, str, str]
"""Dimension (`""` for a scalar), values, long name, and unit if it is not 1."""


def dataset(
    title: str, summary: str, variables: Mapping[str, Column], coordinates: Mapping[str, Column]
) -> xr.Dataset:
    """Assemble a dataset; every variable gets `long_name`, and `units` unless it is text.

    `summary` is its result on one line, for people.
    """
    import xarray as xr

    def variable(dim: str, values: Any, long_name: str, units: str = "1") -> xr.Variable:
        array = np.asarray(values)
        unit = {} if array.dtype.kind == "U" else {"units": units}
        return xr.Variable(dim or (), array, {"long_name": long_name, **unit})

    return xr.Dataset(
        {name: variable(*column) for name, column in variables.items()},
        {name: variable(*column) for name, column in coordinates.items()},
        {"title": title, "summary": summary},
    )


def with_std(name: str, dim: str, value: Any, std: Any, long_name: str) -> dict[str, Column]:
    """Return the columns of a quantity and of its standard error, `NAME` and `NAME_std`."""
    return {
        name: (dim, value, long_name),
        f"{name}_std": (dim, std, f"{long_name}, standard error"),
    }


def pub_coordinates(places: Sequence[tuple[str, int]]) -> dict[str, Column]:
    """Return the coordinates of the dimension `pub`, from workload and index of each PUB."""
    return {
        "pub": ("pub", [index for _, index in places], "index of the PUB in its workload"),
        "workload": ("pub", [name for name, _ in places], "name of the workload"),
    }


def mean_and_error(values: Reals) -> tuple[float, float]:
    """Return the mean of the finite values and its standard error; NaN where there are too few."""
    valid = values[np.isfinite(values)]
    mean = float(valid.mean()) if valid.size else np.nan
    error = float(valid.std(ddof=1) / np.sqrt(valid.size)) if valid.size > 1 else np.nan
    return mean, error


def format_value(value: float, error: float = np.nan) -> str:
    """Format a value with its standard error, if it has one: `0.8132 ± 0.0027`."""
    return f"{value:.4f}" if np.isnan(error) else f"{value:.4f} ± {error:.4f}"
