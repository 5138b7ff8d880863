"""PUBs as tables: shots, precision, parameter values, observables."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.archive.circuits import circuit_table, load_circuit
from qexp.archive.tables import Column, Table, numbers, texts
from qexp.core.jsonable import dumps
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    from qiskit.primitives.containers.observables_array import ObservablesArray

    from qexp.core.model import PlannedPub, Pub


def pub_tables(
    workload: str,
    first: int,
    partition: int,
    pubs: Sequence[PlannedPub],
    redact: Callable[[str], str],
) -> dict[str, Table]:
    """Encode the PUBs of one partition: tables by path.

    Args:
        workload: Name of the workload.
        first: Index of the first PUB within the workload.
        partition: Index of the partition.
        pubs: The PUBs, in order.
        redact: Applied to every text.
    """
    logical, isa = f"circuits/{workload}/logical", f"circuits/{workload}/isa"
    return {
        f"pubs/{workload}": _pub_table(first, partition, pubs, redact),
        logical: circuit_table(
            [p.logical.circuit for p in pubs], logical, first, isa=False, redact=redact
        ),
        isa: circuit_table([p.isa.circuit for p in pubs], isa, first, isa=True, redact=redact),
        **_parameter_tables(workload, first, pubs),
    }


def _pub_table(
    first: int, partition: int, pubs: Sequence[PlannedPub], redact: Callable[[str], str]
) -> Table:
    dim = "pub"
    isa = [pub.isa for pub in pubs]
    shots = [getattr(pub, "shots", None) for pub in isa]
    precision = [getattr(pub, "precision", None) for pub in isa]
    return Table(
        {
            "pub": numbers(range(first, first + len(pubs)), dim, "<i8"),
            "partition": numbers([partition] * len(pubs), dim, "<i4"),
            "kind": texts(
                ["estimator" if hasattr(p, "observables") else "sampler" for p in isa], dim
            ),
            "shots": numbers([-1 if s is None else s for s in shots], dim, "<i8"),
            "precision": numbers(
                [math.nan if p is None else p for p in precision], dim, "<f8", "1"
            ),
            "shape_json": texts([dumps(list(pub.shape)) for pub in isa], dim),
            "parameter_names_json": texts([dumps(_names(p), redact) for p in isa], dim),
            "parameter_shape_json": texts(
                [dumps(list(p.parameter_values.shape)) for p in isa], dim
            ),
            "parameter_group": texts([_parameter_group(pub) for pub in isa], dim),
            "observables_json": texts([_observables(p.logical, redact) for p in pubs], dim),
            "isa_observables_json": texts([_observables(p.isa, redact) for p in pubs], dim),
        }
    )


def _names(pub: Pub) -> list[str]:
    return [name for names in pub.parameter_values.data for name in names]


def _parameter_group(pub: Pub) -> str:
    """Group of the PUBs with the same shape of parameter values, `""` without parameters."""
    values = pub.parameter_values
    shape = (*values.shape, values.num_parameters)
    return "" if 0 in shape else "x".join(map(str, shape))


def _parameter_tables(workload: str, first: int, pubs: Sequence[PlannedPub]) -> dict[str, Table]:
    rows: dict[str, list[int]] = {}
    for position, pub in enumerate(pubs):
        if group := _parameter_group(pub.isa):
            rows.setdefault(group, []).append(position)
    tables = {}
    for group, members in sorted(rows.items()):
        values = np.stack([pubs[k].isa.parameter_values.as_array() for k in members])
        dims = ("pub", *(f"sweep_{k}" for k in range(values.ndim - 2)), "parameter")
        tables[f"parameters/{workload}/{group}"] = Table(
            {
                "pub": numbers([first + k for k in members], "pub", "<i8"),
                "values": Column(values.astype("<f8"), dims, {"units": "radian"}),
            }
        )
    return tables


def _observables(pub: Any, redact: Callable[[str], str]) -> str:
    if not hasattr(pub, "observables"):
        return ""
    return dumps(pub.observables.tolist(), redact)


def load_observables(text: str, num_qubits: int) -> ObservablesArray:
    """Decode nested lists of `{Pauli string: coefficient}`, terms in the order written."""
    from qiskit.primitives.containers.observables_array import ObservablesArray
    from qiskit.quantum_info import SparseObservable

    def build(node: Any) -> Any:
        if isinstance(node, list):
            return [build(item) for item in node]
        return SparseObservable.from_list(list(node.items()), num_qubits=num_qubits)

    return ObservablesArray(build(json.loads(text)), num_qubits=num_qubits, validate=False)


def load_pub(
    columns: Mapping[str, Any],
    qpy: bytes,
    values: np.ndarray[Any, Any] | None,
    *,
    isa: bool,
    where: str,
) -> Pub:
    """Rebuild one PUB.

    Args:
        columns: Its row of the table of PUBs.
        qpy: Its circuit.
        values: Parameter values, shape (sweep..., parameters), or None without parameters.
        isa: Whether the observables are the laid-out ones.
        where: What is being read, for errors.

    Raises:
        ArchiveError: The circuit is damaged or does not fit its PUB.
    """
    from qiskit.primitives.containers.bindings_array import BindingsArray
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    circuit = load_circuit(qpy, where)
    names = tuple(json.loads(columns["parameter_names_json"]))
    shape = tuple(json.loads(columns["parameter_shape_json"]))
    if values is None:
        values = np.empty((*shape, len(names)))
    try:
        bindings = BindingsArray({names: values} if names else None, shape=shape)
        if columns["kind"] == "sampler":
            shots = int(columns["shots"])
            return SamplerPub(circuit, bindings, shots if shots >= 0 else None)
        text = columns["isa_observables_json" if isa else "observables_json"]
        precision = float(columns["precision"])
        return EstimatorPub(
            circuit,
            load_observables(text, circuit.num_qubits),
            bindings,
            None if math.isnan(precision) else precision,
        )
    except (ValueError, TypeError) as error:
        msg = f"PUB {where} does not fit its circuit ({error}): the file is damaged."
        raise ArchiveError(msg) from error
