from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import RuntimeEncoder

from qexp.core.model import PrimitiveKind, PrimitiveSpec
from qexp.engines.local.backends import aer
from qexp.engines.local.engine import LocalEngine
from tests.unit.engines.jobs import qpy_of


@pytest.mark.parametrize("kind", ["sampler", "estimator"])
def test_payload_is_about_what_the_legacy_client_sends(kind: PrimitiveKind) -> None:
    angle = Parameter("angle")
    circuit = QuantumCircuit(4)
    for qubit in range(4):
        circuit.ry(angle, qubit)
    values = np.random.default_rng(1).random((50, 1))
    if kind == "sampler":
        circuit.measure_all()
        pub = SamplerPub.coerce((circuit, values), 100)
    else:
        observables = [SparsePauliOp.from_list([("XXZZ", 0.5), ("ZIIX", 1.0)])]
        pub = EstimatorPub.coerce((circuit, observables, values), 0.1)
    measured = LocalEngine().payload_bytes(PrimitiveSpec(kind), pub, aer(4), qpy_of(pub))
    sent = len(json.dumps(pub, cls=RuntimeEncoder))
    assert measured == pytest.approx(sent, rel=0.15)


def test_batches_have_ids_of_their_own() -> None:
    backend = aer(1)
    batches = [LocalEngine().open_batch(backend, max_time_s=None) for _ in range(2)]
    assert batches[0].id != batches[1].id


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    program = """
import sys
import qexp.engines.local.backends, qexp.engines.local.simulation
from qexp.engines.local.engine import LocalEngine
from qexp.core.model import PrimitiveSpec
spec = PrimitiveSpec("sampler", options={"execution": {"rep_delay": 1.0}})
assert LocalEngine().ignored_options(spec) == {"execution.rep_delay": 1.0}
heavy = {"qiskit", "qiskit_aer", "qiskit_ibm_runtime", "h5py", "xarray"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True)
