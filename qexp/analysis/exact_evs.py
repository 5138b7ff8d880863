"""Expectation values against those of the state without noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from qexp.analysis.exact import MAX_QUBITS, NotExactError, statevector
from qexp.analysis.rows import Row, rows, scalar, suitable, variable
from qexp.archive.read import Archive
from qexp.errors import AnalysisError

if TYPE_CHECKING:
    import xarray as xr

Reals = NDArray[np.float64]


def exact_evs(
    run: Archive,
    *,
    workload: str | None = None,
    max_qubits: Annotated[int, Field(gt=0, le=30)] = MAX_QUBITS,
) -> xr.Dataset:
    r"""Each expectation value, its exact one, and how many standard errors are between them.

    The exact value is :math:`\langle \psi | O | \psi \rangle` of the state that the circuit as
    generated makes without noise. With the standard error that the Estimator returned,

    .. math:: z = (\mathrm{ev} - \mathrm{exact}) / \mathrm{std}, \qquad \chi^2 = \sum z^2 .

    A perfect device with right standard errors has :math:`\chi^2` about as large as its number of
    terms. Values that are made of the same shots (several observables of one PUB) are correlated,
    which leaves that mean as it is but not the spread around it, so that no p-value is given. Where
    the standard error is 0, as for a state that is an eigenstate, z is NaN and not counted.

    Args:
        run: The archive.
        workload: The Estimator workload; None for all of them.
        max_qubits: PUBs with wider circuits have the exact value NaN.

    Returns:
        By `value`, in the order of the PUBs and of their flattened shapes: `ev`, `std`, `exact`,
        `difference`, `z`, with the coordinates `workload`, `pub` and `position` (`"2,1"` in the
        PUB's shape), and `observable` where the circuit's metadata name it. Without dimension:
        `rms_error`, `chi2`, `num_values` (those in `chi2`). Units are those of the observable.

    Raises:
        AnalysisError: The run has no Estimator workload, or no value can be compared.
    """
    found = [
        value
        for row in rows(run, suitable(run, workload, "estimator"))
        if row.result is not None
        for value in _values(row, max_qubits)
    ]
    return _dataset(found)


def exact_values(pub: Any, max_qubits: int = MAX_QUBITS) -> Reals:
    """The exact expectation values of an Estimator PUB, of its shape.

    Args:
        pub: The PUB (`EstimatorPub`) as generated.
        max_qubits: Largest number of qubits.

    Raises:
        NotExactError: The circuit is too wide, or has something in it that is no gate.
    """
    from qiskit.quantum_info import SparsePauliOp

    observables = np.ravel(pub.observables.sparse_observables_array())
    operators = [SparsePauliOp.from_sparse_observable(each) for each in observables]
    circuits = np.ravel(pub.parameter_values.bind_all(pub.circuit))
    # The number of the circuit and of the operator at each position of the PUB's shape.
    places = np.broadcast_arrays(
        np.arange(len(circuits)).reshape(pub.parameter_values.shape),
        np.arange(len(operators)).reshape(pub.observables.shape),
    )
    of_circuit, of_operator = (np.ravel(each) for each in places)
    exact = np.empty(of_circuit.size)
    for number, circuit in enumerate(circuits):
        state = statevector(circuit, max_qubits)
        for place in np.flatnonzero(of_circuit == number):
            exact[place] = state.expectation_value(operators[of_operator[place]]).real
    return exact.reshape(pub.shape)


_Value = tuple[str, int, str, str, float, float, float]
"""Workload, PUB, position, observable; value, standard error, exact value."""


def _values(row: Row, max_qubits: int) -> Iterator[_Value]:
    assert row.result is not None
    evs, stds = np.asarray(row.result.data.evs), np.asarray(row.result.data.stds)
    try:
        exact = exact_values(row.read_pub(), max_qubits)
    except NotExactError:
        exact = np.full(evs.shape, np.nan)
    named = row.metadata.get("observables")
    names = named if isinstance(named, list) and evs.shape == (len(named),) else None
    for index, ev in np.ndenumerate(evs):
        name = str(names[index[0]]) if names else ""
        position = ",".join(map(str, index))
        yield (
            row.workload,
            row.index,
            position,
            name,
            float(ev),
            float(stds[index]),
            float(exact[index]),
        )


def _dataset(found: list[_Value]) -> xr.Dataset:
    import xarray as xr

    workload, pub, position, name, *numbers = zip(*found, strict=True)
    ev, std, exact = (np.array(column, dtype=np.float64) for column in numbers)
    difference = ev - exact
    z = np.divide(difference, std, out=np.full_like(ev, np.nan), where=std > 0)
    compared, counted = np.isfinite(difference), np.isfinite(z)
    if not compared.any():
        raise AnalysisError("no expectation value can be compared: no circuit is simulated exactly")
    rms, chi2 = float(np.sqrt((difference[compared] ** 2).mean())), float((z[counted] ** 2).sum())
    number = int(counted.sum())
    units = "unit of the observable"

    def column(values: Any, text: str, units: str = "1") -> xr.Variable:
        return variable(values, text, units, dim="value")

    variables = {
        "ev": column(ev, "expectation value", units),
        "std": column(std, "expectation value, standard error", units),
        "exact": column(exact, "expectation value without noise", units),
        "difference": column(difference, "difference from the exact value", units),
        "z": column(z, "difference in standard errors"),
        "rms_error": scalar(rms, "root mean square of the differences", units),
        "chi2": scalar(chi2, "sum of squared differences in standard errors"),
        "num_values": scalar(number, "values in chi2"),
    }
    coordinates = {
        "workload": column(workload, "name of the workload"),
        "pub": column(pub, "index of the PUB in its workload"),
        "position": column(position, "position of the value in the PUB's shape"),
        "observable": column(name, "name of the observable"),
    }
    within = (
        f"{(np.abs(z[counted]) <= 2).mean():.0%} within two standard errors"
        if number
        else "no standard error is above 0"
    )
    summary = (
        f"{compared.sum()} value{'s' if compared.sum() > 1 else ''}: RMS error {rms:.4g}, "
        f"chi square {chi2:.1f} of {number} terms, {within}"
    )
    attrs = {"title": "Expectation values against the exact ones", "summary": summary}
    return xr.Dataset(variables, coordinates, attrs)
