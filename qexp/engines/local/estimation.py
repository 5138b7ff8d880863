"""Expectation values on the embedded simulator: from sampled shots, or exact.

The semantics are those of Qiskit's `BackendEstimatorV2`: the Paulis that a parameter set needs are
grouped into bases that commute qubit by qubit, each basis is measured with as many shots as the
precision asks for, and the standard errors are those of these shots. What differs is the cost: see
`evolution.Evolved`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from qexp.core.estimate import shots_for
from qexp.core.seeds import child
from qexp.engines.local.evolution import measured
from qexp.engines.local.observables import bases, pairs, restricted, support

if TYPE_CHECKING:
    from qiskit.primitives import PrimitiveResult, PubResult
    from qiskit.primitives.containers.estimator_pub import EstimatorPub

    from qexp.engines.local.reduced import Reduced


def estimate(
    pubs: Iterable[EstimatorPub],
    *,
    reduced: Reduced,
    precision: float,
    seed: int,
    exact: bool = False,
) -> PrimitiveResult[PubResult]:
    """Estimate the observables of PUBs, noise included.

    Every parameter set of every PUB draws from a stream of its own.

    Args:
        pubs: ISA PUBs.
        reduced: Simulators of some of the backend's qubits.
        precision: Target standard error for PUBs that carry none, `> 0`.
        seed: Decides all samples.
        exact: Expectation values of the noisy circuits without the noise of sampling: standard
            errors are 0, precisions are ignored, and the metadata tell of `target_precision` 0
            and 0 `shots`.

    Raises:
        EngineError: A simulation failed, or `exact` was asked of a circuit that is too wide or
            that measures in its middle.
    """
    from qiskit.primitives import PrimitiveResult

    sequence = np.random.SeedSequence(seed)
    results = [
        _estimate(
            pub, reduced, None if exact else pub.precision or precision, child(sequence, index)
        )
        for index, pub in enumerate(pubs)
    ]
    return PrimitiveResult(results, metadata={"version": 2})


def _estimate(
    pub: EstimatorPub,
    reduced: Reduced,
    precision: float | None,
    sequence: np.random.SeedSequence,
) -> PubResult:
    from qiskit.primitives import DataBin, PubResult

    shots = None if precision is None else shots_for(precision)
    circuit = measured(pub, support(pub), reduced, shots, sequence)
    observables = restricted(pub, circuit.qubits)
    met, places = pairs(pub)
    selections, selection_of = np.unique(met, axis=0, return_inverse=True)
    selection_of = selection_of.reshape(-1)
    evs, stds = np.zeros((2, pub.size))
    # In chunks, so that memory does not grow with the number of parameter sets.
    order = np.argsort(selection_of, kind="stable")
    for start in range(0, len(order), circuit.chunk):
        chunk = order[start : start + circuit.chunk]
        circuit.take(chunk)
        for number in np.unique(selection_of[chunk]):
            sets = chunk[selection_of[chunk] == number]
            selected = [observables[index] for index in selections[number]]
            means, errors = circuit.moments(
                sets, bases(frozenset(term for one in selected for term in one.terms))
            )
            for observable, place in zip(selected, places[sets].T, strict=True):
                for term, coefficient in observable.items():
                    evs[place] += coefficient * means[term]
                    stds[place] += abs(coefficient) * errors[term]
    metadata = {
        "target_precision": precision or 0.0,
        "shots": shots or 0,
        "circuit_metadata": pub.circuit.metadata,
    }
    return PubResult(
        DataBin(evs=evs.reshape(pub.shape), stds=stds.reshape(pub.shape), shape=pub.shape),
        metadata=metadata,
    )
