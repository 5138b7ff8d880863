"""The PUBs of a run with what was measured, one at a time, for analyses of several workloads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qexp.archive.read import Archive
from qexp.archive.results import counts_of
from qexp.core.model import PrimitiveKind
from qexp.errors import AnalysisError

if TYPE_CHECKING:
    import xarray as xr
    from qiskit import QuantumCircuit
    from qiskit.primitives import PubResult

    from qexp.core.model import Pub

Counts = dict[str, int]
Place = tuple[str, int]


@dataclass(frozen=True)
class Row:
    """A PUB and its result.

    Attributes:
        workload: Name of the workload.
        index: Index of the PUB within it.
        circuit: As generated.
        result: None where the run has none.
        read_pub: Reads the PUB as generated, which takes longer than its circuit alone.
    """

    workload: str
    index: int
    circuit: QuantumCircuit
    result: PubResult | None
    read_pub: Callable[[], Pub]

    @property
    def place(self) -> Place:
        """Workload and index, which say where a value belongs; a row itself is not to be kept."""
        return self.workload, self.index

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the circuit says of itself."""
        return self.circuit.metadata or {}

    def circuits(self) -> list[QuantumCircuit]:
        """The circuit with each set of parameter values, in the order of the flattened shape."""
        if not self.circuit.parameters:
            return [self.circuit]
        return list(np.ravel(self.read_pub().parameter_values.bind_all(self.circuit)))

    def sampled(self) -> list[tuple[QuantumCircuit, Counts]]:
        """As `circuits`, each with its counts of all registers joined; none without result."""
        counts = [] if self.result is None else _counts(self.result)
        circuits = self.circuits()
        # Without parameters, a PUB may still ask for the same several times.
        repeated = circuits * len(counts) if len(circuits) == 1 else circuits
        return list(zip(repeated, counts, strict=True)) if counts else []


def _counts(result: PubResult) -> list[Counts]:
    names = [name for name, value in result.data.items() if hasattr(value, "get_counts")]
    if not names:
        return []
    joined = result.join_data(names) if len(names) > 1 else result.data[names[0]]
    if joined.ndim == 0:
        return [counts_of(joined)]
    flat = joined.reshape(joined.size)
    return [counts_of(flat[point]) for point in range(flat.size)]


def rows(run: Archive, workloads: Sequence[str]) -> Iterator[Row]:
    """The PUBs of some workloads, in order, each read when it is asked for.

    Raises:
        ArchiveError: The archive is damaged.
    """
    for workload in workloads:
        pubs, results = run.pubs(workload), run.results[workload]
        available = set(results.available)
        for index, circuit in enumerate(run.circuits(workload)):
            result = results[index] if index in available else None
            yield Row(workload, index, circuit, result, partial(pubs.__getitem__, index))


def suitable(
    run: Archive, workload: str | None, kind: PrimitiveKind, family: str | None = None
) -> tuple[str, ...]:
    """The workloads that an analysis is to be made of.

    Args:
        run: The archive.
        workload: The one that the user names; None for every one that suits.
        kind: The primitive that the analysis needs.
        family: What circuits have to say of their family, unless the user names the workload.

    Raises:
        AnalysisError: There is none, or it has no result.
        ArchiveError: The archive is damaged.
    """
    _refuse_unknown(run, workload)
    named = run.workloads if workload is None else (workload,)
    found = tuple(name for name in named if _suits(run, name, kind, family if not workload else ""))
    if not found:
        needed = f"a {kind} workload" if kind == "sampler" else f"an {kind} workload"
        if family and not workload:
            needed += f" of {family} circuits (by the family in their metadata)"
        listed = ", ".join(f"'{name}'" for name in run.workloads) or "none"
        other = (
            f"'{workload}' is none" if workload else f"the run has none; its workloads: {listed}"
        )
        raise AnalysisError(f"it needs {needed}, and {other}")
    if not any(run.results[name].available for name in found):
        raise AnalysisError(
            f"the run has no results of {', '.join(found)}: there is nothing to analyse"
        )
    return found


def _refuse_unknown(run: Archive, workload: str | None) -> None:
    if workload is not None and workload not in run.workloads:
        listed = ", ".join(run.workloads) or "none"
        raise AnalysisError(f"workload={workload}: the run has no such workload; it has: {listed}")


def _suits(run: Archive, name: str, kind: PrimitiveKind, family: str | None) -> bool:
    pubs = run.pubs(name)
    if not len(pubs):
        return False
    first = pubs[0]
    if hasattr(first, "observables") != (kind == "estimator"):
        return False
    return not family or (first.circuit.metadata or {}).get("family") == family


def pub_coordinates(places: Sequence[Place]) -> dict[str, xr.Variable]:
    """Coordinates of the dimension `pub`: `pub`, the index within its workload, and `workload`."""
    return {
        "pub": variable([index for _, index in places], "index of the PUB in its workload"),
        "workload": variable([name for name, _ in places], "name of the workload"),
    }


def variable(
    values: Sequence[Any] | NDArray[Any], long_name: str, units: str = "1", dim: str = "pub"
) -> xr.Variable:
    """A variable of one dimension, with the attributes that every variable has."""
    import xarray as xr

    array = np.asarray(values)
    return xr.Variable(dim, array, _attrs(array, long_name, units))


def scalar(value: float | bool | str, long_name: str, units: str = "1") -> xr.Variable:
    """A variable without dimensions."""
    import xarray as xr

    array = np.asarray(value)
    return xr.Variable((), array, _attrs(array, long_name, units))


def _attrs(array: NDArray[Any], long_name: str, units: str) -> dict[str, str]:
    return {"long_name": long_name, **({} if array.dtype.kind == "U" else {"units": units})}


def mean_and_error(values: NDArray[np.float64]) -> tuple[float, float]:
    """The mean of what is no NaN and its standard error from the scatter; NaN of too few."""
    valid = values[np.isfinite(values)]
    mean = float(valid.mean()) if valid.size else np.nan
    error = float(valid.std(ddof=1) / np.sqrt(valid.size)) if valid.size > 1 else np.nan
    return mean, error


def shown(value: float, error: float = np.nan) -> str:
    """A value and its standard error for people: `0.8132 ± 0.0027`."""
    return f"{value:.4f}" if np.isnan(error) else f"{value:.4f} ± {error:.4f}"
