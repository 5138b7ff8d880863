from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import QFTGate, efficient_su2
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import RuntimeEncoder

from qexp.core.model import PrimitiveKind, PrimitiveSpec
from qexp.engines.local.backends import aer, fake
from qexp.engines.local.engine import LocalEngine
from qexp.engines.primitives import _CUT_QPY_VERSION, steady_qpy
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
    measured = (
        LocalEngine().payload_bytes(PrimitiveSpec(kind), pub, aer(4), qpy_of(pub), 10**9).total
    )
    sent = len(json.dumps(pub, cls=RuntimeEncoder))
    assert measured == pytest.approx(sent, rel=0.15)


@pytest.mark.parametrize("name", ["circuit-17", "a name", "ß"])
@pytest.mark.parametrize("is_laid_out", [True, False])
def test_the_payload_of_a_large_circuit_needs_no_second_encoding(
    name: str, is_laid_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    circuit = efficient_su2(5, reps=3)
    circuit.measure_all()
    circuit.append(QFTGate(3), [0, 1, 2])
    if is_laid_out:
        circuit = generate_preset_pass_manager(backend=fake("FakeTorino")).run(circuit)
    circuit.name, circuit.metadata = name, {"depth": 3, "labels": ["a", "b"]}
    pub = SamplerPub.coerce((circuit, np.zeros(circuit.num_parameters)), 100)
    assert qpy_of(pub)[6] == _CUT_QPY_VERSION
    encoded, sizes = set(), set()
    for large in (0, 10**9):
        monkeypatch.setattr("qexp.engines.primitives._LARGE_QPY_BYTES", large)
        encoded.add(steady_qpy(circuit, qpy_of(pub)))
        arguments = PrimitiveSpec("sampler"), pub, aer(5), qpy_of(pub), 10**9
        sizes.add(LocalEngine().payload_bytes(*arguments).total)
    assert len(encoded) == len(sizes) == 1


def test_batches_have_ids_of_their_own() -> None:
    backend = aer(1)
    batches = [LocalEngine().open_batch(backend, max_time_s=None) for _ in range(2)]
    assert batches[0].id != batches[1].id


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    program = """
import sys
import qexp.engines.local.backends, qexp.engines.local.simulation
from qexp.engines.local.engine import LocalEngine
from qexp.engines.primitives import _CUT_QPY_VERSION, steady_qpy
from qexp.core.model import PrimitiveSpec
spec = PrimitiveSpec("sampler", options={"execution": {"rep_delay": 1.0}})
assert LocalEngine().ignored_options(spec) == {"execution.rep_delay": 1.0}
heavy = {"qiskit", "qiskit_aer", "qiskit_ibm_runtime", "h5py", "xarray"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True)
