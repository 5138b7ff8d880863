"""Expectation values against those of the state without noise."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from qexp.analysis.dataset import Reals, dataset
from qexp.analysis.exact import MAX_QUBITS, NotExactError, statevector
from qexp.analysis.pubs import MeasuredPub, measure_values, read_pubs
from qexp.archive.read import Archive
from qexp.errors import AnalysisError

if TYPE_CHECKING:
    import xarray as xr
    from qiskit.primitives.containers.estimator_pub import EstimatorPub

_UNITS = "unit of the observable"


def exact_evs(
    run: Archive,
    *,
    workload: str | None = None,
    max_qubits: Annotated[int, Field(gt=0, le=30)] = MAX_QUBITS,
) -> xr.Dataset:
    r"""Compare each expectation value with its exact one, in standard errors.

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
    pubs = read_pubs(run, workload, "estimator")
    coordinates, numbers = measure_values(pubs, partial(_values, max_qubits=max_qubits))
    ev, std, exact = numbers
    difference = ev - exact
    z = np.divide(difference, std, out=np.full_like(ev, np.nan), where=std > 0)
    compared, counted = np.isfinite(difference), np.isfinite(z)
    if not compared.any():
        raise AnalysisError("no expectation value can be compared: no circuit is simulated exactly")
    rms, chi2 = float(np.sqrt((difference[compared] ** 2).mean())), float((z[counted] ** 2).sum())
    number = int(counted.sum())
    within = (
        f"{(np.abs(z[counted]) <= 2).mean():.0%} within two standard errors"
        if number
        else "no standard error is above 0"
    )
    return dataset(
        "Expectation values against the exact ones",
        f"{compared.sum()} value{'s' if compared.sum() > 1 else ''}: RMS error {rms:.4g}, "
        f"chi square {chi2:.1f} of {number} terms, {within}",
        {
            "ev": ("value", ev, "expectation value", _UNITS),
            "std": ("value", std, "expectation value, standard error", _UNITS),
            "exact": ("value", exact, "expectation value without noise", _UNITS),
            "difference": ("value", difference, "difference from the exact value", _UNITS),
            "z": ("value", z, "difference in standard errors"),
            "rms_error": ("", rms, "root mean square of the differences", _UNITS),
            "chi2": ("", chi2, "sum of squared differences in standard errors"),
            "num_values": ("", number, "values in chi2"),
        },
        coordinates,
    )


def exact_values(pub: EstimatorPub, max_qubits: int = MAX_QUBITS) -> Reals:
    """Compute the exact expectation values of an Estimator PUB as generated, of the PUB's shape.

    Raises:
        NotExactError: The circuit is too wide, or contains something other than gates.
    """
    from qiskit.quantum_info import SparsePauliOp

    from qexp.simulator.observables import broadcast

    observables = np.ravel(pub.observables.sparse_observables_array())
    operators = [SparsePauliOp.from_sparse_observable(each) for each in observables]
    circuits = np.ravel(pub.parameter_values.bind_all(pub.circuit))
    parameter_sets, terms = map(np.ravel, broadcast(pub))
    exact = np.empty(parameter_sets.size)
    for number, circuit in enumerate(circuits):
        state = statevector(circuit, max_qubits)
        for position in np.flatnonzero(parameter_sets == number):
            exact[position] = state.expectation_value(operators[terms[position]]).real
    return exact.reshape(pub.shape)


def _values(pub: MeasuredPub, max_qubits: int) -> tuple[Reals, Reals, Reals]:
    """Return the values of a PUB, their standard errors, and the exact ones, NaN if not known."""
    assert pub.result is not None
    evs, stds = np.asarray(pub.result.data.evs), np.asarray(pub.result.data.stds)
    try:
        return evs, stds, exact_values(pub.read_pub(), max_qubits)
    except NotExactError:
        return evs, stds, np.full(evs.shape, np.nan)
