"""Sizes of PUBs on the wire; of those that IBM's client prepares, few are prepared to tell them.

To prepare a PUB of 156 qubits takes the client seconds, with error mitigation half a minute, and it
does so when the PUB is submitted. What comes of it is the larger the more instructions there are.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import TYPE_CHECKING

from qexp.core.model import PayloadBytes
from qexp.engines.primitives import encoded_bytes, is_sent_as_stored

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from qexp.core.model import PrimitiveSpec, Pub

MARGIN = 1.1
"""Ratio of an estimate to the size that it is taken from."""

_LARGEST_STEP = 1.25
"""Ratio of the numbers of instructions of two PUBs, up to which one tells the other's size."""


class Payloads:
    """Measures and estimates the sizes of PUBs for one backend."""

    def __init__(self) -> None:
        self._prepared: dict[Hashable, dict[int, PayloadBytes]] = {}

    def num_bytes(
        self,
        primitive: PrimitiveSpec,
        pub: Pub,
        backend: BackendV2,
        qpy: bytes,
        bound_bytes: float,
    ) -> PayloadBytes:
        """Return the size of one ISA PUB on the wire, in bytes of JSON.

        It is exact where the circuit is sent as it is, see `encoded_bytes`. A PUB that the client
        prepares is prepared if it is the first of its kind, or has over a quarter more or fewer
        instructions than others; or if it might be too large for any job. Else its size is
        estimated from that of the PUB with the next number of instructions, and a tenth more.

        Args:
            primitive: The primitive as declared.
            pub: The ISA PUB.
            backend: The backend that it will run on.
            qpy: Its circuit in QPY, as in the archive.
            bound_bytes: The most that a job may have.

        Raises:
            PlanError: The primitive cannot run this PUB.
        """
        if is_sent_as_stored(primitive, pub.circuit):
            return encoded_bytes(primitive, pub, backend, qpy)
        prepared = self._prepared.setdefault(_kind(primitive, pub), {})
        count = 1 + len(pub.circuit.data)
        near = [n for n in prepared if max(n / count, count / n) <= _LARGEST_STEP]
        if near:
            nearest = min(near, key=lambda n: abs(n - count))
            # Part of a PUB's size is that of its qubits, so that fewer instructions may save none.
            total, shared = prepared[nearest]
            own = math.ceil((total - shared) * max(1.0, count / nearest) * MARGIN)
            if own + shared <= bound_bytes:
                return PayloadBytes(own + shared, shared)
        prepared[count] = encoded_bytes(primitive, pub, backend, qpy)
        return prepared[count]


def _kind(primitive: PrimitiveSpec, pub: Pub) -> Hashable:
    """Return what PUBs have in common that the client accepts or refuses, and prepares, alike."""
    from qexp.core.jsonable import dumps

    circuit = pub.circuit
    counts = circuit.count_ops()
    terms: list[str] = []
    if hasattr(pub, "observables"):
        terms = [term for each in pub.observables.ravel().tolist() for term in each]
    return (
        dumps(primitive),
        circuit.num_qubits,
        tuple((register.name, register.size) for register in circuit.cregs),
        frozenset(counts),
        counts.get("measure", 0),
        circuit.has_control_flow_op(),
        (pub.shape, pub.parameter_values.shape, pub.parameter_values.num_parameters),
        (len(terms), frozenset("".join(terms))),
    )
