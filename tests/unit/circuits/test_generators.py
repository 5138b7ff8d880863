"""What holds for every generator, and for its choice in `conf/circuits`."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from qiskit import QuantumCircuit
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qexp.circuits.broadcast import estimator_pubs, sampler_pubs
from qexp.circuits.efficient_su2 import efficient_su2_pubs
from qexp.circuits.ghz import ghz_circuits
from qexp.circuits.ising import ising_pubs
from qexp.circuits.mirror import mirror_circuits
from qexp.circuits.qasm import qasm_circuits
from qexp.circuits.qpy import qpy_circuits
from qexp.circuits.quantum_volume import quantum_volume_circuits
from qexp.circuits.random import random_circuits
from qexp.core.seeds import stream

CONF = Path(__file__).parents[3] / "conf" / "circuits"

SU2 = {"num_qubits": 2, "reps": 1, "su2_gates": ["ry", "rz"], "parameter_sets": [3, 2]}

SAMPLER: dict[str, tuple[Callable[..., Iterator[Any]], dict[str, Any]]] = {
    "random": (random_circuits, {"num_qubits": 3, "depth": 3}),
    "random_conditional": (random_circuits, {"num_qubits": 2, "conditional": True, "reset": True}),
    "ghz": (ghz_circuits, {"num_qubits": [2, 3]}),
    "quantum_volume": (quantum_volume_circuits, {"num_qubits": 2}),
    "mirror": (mirror_circuits, {"depths": [0, 2], "num_qubits": 3}),
    "efficient_su2_measured": (efficient_su2_pubs, {**SU2, "measure": True}),
    "broadcast_sampler": (sampler_pubs, {"parameter_sets": [3, 2]}),
}
ESTIMATOR: dict[str, tuple[Callable[..., Iterator[Any]], dict[str, Any]]] = {
    "efficient_su2": (efficient_su2_pubs, SU2),
    "broadcast_estimator": (estimator_pubs, {"parameter_sets": [3, 2]}),
}
REPEATABLE = {**SAMPLER, **ESTIMATOR}

CHOICES: dict[str, Callable[..., Iterator[Any]]] = {
    "random": random_circuits,
    "ghz": ghz_circuits,
    "quantum_volume": quantum_volume_circuits,
    "mirror": mirror_circuits,
    "ising": ising_pubs,
    "efficient_su2": efficient_su2_pubs,
    "qasm": qasm_circuits,
    "qpy": qpy_circuits,
    "broadcast_estimator": estimator_pubs,
    "broadcast_sampler": sampler_pubs,
}


def declared(choice: str) -> dict[str, Any]:
    node = OmegaConf.to_container(OmegaConf.load(CONF / f"{choice}.yaml"))
    assert isinstance(node, dict)
    return {str(key): value for key, value in node.items()}


def circuit_of(pub: Any) -> QuantumCircuit:
    return pub if isinstance(pub, QuantumCircuit) else pub[0]


def listing(circuit: QuantumCircuit) -> list[Any]:
    # Not OpenQASM 3: Qiskit's exporter writes the terms of a cu gate's definition in an order that
    # differs from process to process.
    rows = []
    for item in circuit.data:
        parameters = [
            listing(parameter)
            if isinstance(parameter, QuantumCircuit)
            else parameter.tobytes()
            if isinstance(parameter, np.ndarray)
            else str(parameter)
            for parameter in item.params
        ]
        condition = getattr(item.operation, "condition", None)
        bits = [circuit.find_bit(bit).index for bit in (*item.qubits, *item.clbits)]
        rows.append([item.name, parameters, bits, condition and (condition[0].name, condition[1])])
    return rows


def fingerprint(pub: Any) -> tuple[Any, ...]:
    circuit = circuit_of(pub)
    values = [] if isinstance(pub, QuantumCircuit) else [x for x in pub if hasattr(x, "tobytes")]
    return (
        circuit.name,
        repr(listing(circuit)),
        tuple((register.name, register.size) for register in (*circuit.qregs, *circuit.cregs)),
        json.dumps(circuit.metadata),
        *(value.tobytes() for value in values),
    )


@pytest.mark.parametrize("family", SAMPLER)
def test_sampler_pubs_coerce_and_have_a_measured_bit(
    family: str, seed_sequence: np.random.SeedSequence
) -> None:
    generate, knobs = SAMPLER[family]
    for item in generate(**knobs, num_circuits=4, seed_sequence=seed_sequence):
        pub = SamplerPub.coerce(item, shots=10)
        assert pub.circuit.cregs
        assert pub.circuit.count_ops()["measure"] >= 1
        assert "meas" in [register.name for register in pub.circuit.cregs]
        assert pub.shape == ((3, 2) if pub.circuit.parameters else ())


@pytest.mark.parametrize("family", ESTIMATOR)
def test_estimator_pubs_coerce_to_the_declared_shape(
    family: str, seed_sequence: np.random.SeedSequence
) -> None:
    generate, knobs = ESTIMATOR[family]
    for item in generate(**knobs, num_circuits=2, seed_sequence=seed_sequence):
        pub = EstimatorPub.coerce(item)
        assert pub.shape == (3, 2)
        assert pub.parameter_values.shape == (3, 2)
        assert "measure" not in pub.circuit.count_ops()


@pytest.mark.parametrize("family", REPEATABLE)
def test_names_are_distinct_and_metadata_survives_json(
    family: str, seed_sequence: np.random.SeedSequence
) -> None:
    generate, knobs = REPEATABLE[family]
    pubs = generate(**knobs, num_circuits=6, seed_sequence=seed_sequence)
    circuits = [circuit_of(pub) for pub in pubs]
    assert len({circuit.name for circuit in circuits}) == len(circuits) >= 6
    for circuit in circuits:
        assert json.loads(json.dumps(circuit.metadata)) == circuit.metadata
        assert circuit.name.startswith(circuit.metadata["family"])


@pytest.mark.parametrize("family", REPEATABLE)
@settings(max_examples=8)
@given(seed=st.integers(0, 2**64), short=st.integers(1, 4), more=st.integers(1, 4))
def test_fewer_circuits_are_the_prefix_of_more(
    family: str, seed: int, short: int, more: int
) -> None:
    generate, knobs = REPEATABLE[family]
    sequence = stream(seed, "main", "circuits")
    few = [
        fingerprint(pub) for pub in generate(**knobs, num_circuits=short, seed_sequence=sequence)
    ]
    many = generate(**knobs, num_circuits=short + more, seed_sequence=sequence)
    assert few == [fingerprint(pub) for pub in islice(many, len(few))]


@pytest.mark.parametrize("family", REPEATABLE)
def test_generation_is_lazy(family: str, seed_sequence: np.random.SeedSequence) -> None:
    generate, knobs = REPEATABLE[family]
    pubs = generate(**knobs, num_circuits=10**12, seed_sequence=seed_sequence)
    assert circuit_of(next(pubs)).name.endswith("_0000")


@pytest.mark.parametrize(
    "family", ["random", "quantum_volume", "mirror", "efficient_su2", "broadcast_sampler"]
)
def test_the_seed_and_the_index_decide_the_draw(family: str) -> None:
    generate, knobs = REPEATABLE[family]
    draws = [
        fingerprint(pub)[1:]
        for seed in (1, 2)
        for pub in generate(**knobs, num_circuits=2, seed_sequence=stream(seed, "main", "circuits"))
    ]
    assert len(set(draws)) == len(draws)


def test_the_same_seed_gives_the_same_circuits_in_any_process() -> None:
    script = (
        "import hashlib\n"
        "from tests.unit.circuits import test_generators as here\n"
        "digest = hashlib.sha256()\n"
        "for generate, knobs in here.REPEATABLE.values():\n"
        "    sequence = here.stream(7, 'main', 'circuits')\n"
        "    for pub in generate(**knobs, num_circuits=3, seed_sequence=sequence):\n"
        "        digest.update(repr(here.fingerprint(pub)).encode())\n"
        "print(digest.hexdigest())\n"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(printed) == 1
    assert len(printed.pop().strip()) == 64


def test_every_choice_is_tested() -> None:
    assert {path.stem for path in CONF.glob("*.yaml")} >= set(CHOICES)


@pytest.mark.parametrize("choice", CHOICES)
def test_the_choice_declares_every_knob_with_its_default(choice: str) -> None:
    node = declared(choice)
    generate = CHOICES[choice]
    assert node.pop("_target_") == f"{generate.__module__}.{generate.__name__}"
    parameters = dict(inspect.signature(generate).parameters)
    del parameters["seed_sequence"]
    assert node.keys() == parameters.keys()
    for name, parameter in parameters.items():
        if parameter.default is not parameter.empty:
            assert node[name] == parameter.default


@pytest.mark.parametrize("choice", sorted(set(CHOICES) - {"qasm", "qpy"}))
def test_the_choice_generates_as_shipped(
    choice: str, seed_sequence: np.random.SeedSequence
) -> None:
    node = declared(choice)
    del node["_target_"]
    for item in islice(CHOICES[choice](**node, seed_sequence=seed_sequence), 3):
        if choice in ("ising", "efficient_su2", "broadcast_estimator"):
            EstimatorPub.coerce(item)
        else:
            SamplerPub.coerce(item, shots=10)


def test_importing_the_generators_does_not_import_qiskit() -> None:
    modules = sorted({generate.__module__ for generate in CHOICES.values()})
    script = f"import sys, {', '.join(modules)}; print('qiskit' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
