"""The CHSH inequality: a Bell pair measured along rotated axes, with an Estimator.

Classically |S| <= 2; quantum mechanics reaches 2*sqrt(2) (Clauser et al., PRL 23, 880 (1969);
Tsirelson, Lett. Math. Phys. 4, 93 (1980)).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

if TYPE_CHECKING:
    from qiskit.primitives.containers.estimator_pub import EstimatorPubLike


def pubs(*, num_angles: Annotated[int, Field(ge=2)]) -> Iterator[EstimatorPubLike]:
    """One PUB: both CHSH witnesses at `num_angles` angles between Alice's and Bob's bases.

    Yields:
        A PUB of shape (2, num_angles): witness x angle in [0, 2 pi] rad.
    """
    from qiskit import QuantumCircuit
    from qiskit.circuit import Parameter
    from qiskit.quantum_info import SparsePauliOp

    circuit = QuantumCircuit(2, name="chsh")
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.ry(Parameter("theta"), 0)
    angles: Any = np.linspace(0, 2 * np.pi, num_angles)[:, np.newaxis]
    witnesses = [
        SparsePauliOp(["ZZ", "ZX", "XZ", "XX"], [1, -1, 1, 1]),
        SparsePauliOp(["ZZ", "ZX", "XZ", "XX"], [1, 1, -1, 1]),
    ]
    yield circuit, [[witness] for witness in witnesses], angles
