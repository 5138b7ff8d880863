"""Programs of IBM's client on the embedded simulator: twirling, mitigation and decoupling.

For these options the client compiles PUBs to a `QuantumProgram`: circuits with parameters, which a
samplex draws for each randomization. Here they are prepared by the same function as for the
service, simulated as ordinary circuits with parameters, and evaluated by the client's decoder. A
layer noise model that the options have is learned from a device, so that no noise is inserted a
second time, as the client's local mode would.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import digits
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.primitives.containers.estimator_pub import EstimatorPub

from qexp.core.mitigation import executions
from qexp.core.model import JobRequest, PrimitiveSpec
from qexp.core.raw import divide_raw, joined_raw
from qexp.core.seeds import child
from qexp.engines.local.batch import Simulated
from qexp.engines.local.options import with_level
from qexp.engines.options import build_options
from qexp.engines.primitives import finalised_options, prepare, steady_qpy
from qexp.engines.private_api import client_objection, draw_item, evaluate_program
from qexp.simulator.circuits import active_qubits
from qexp.simulator.components import ComponentSampler
from qexp.simulator.observables import count_circuits, shots_for
from qexp.simulator.protocols import Cost, Prediction
from qexp.simulator.sampler import NoisySampler
from qexp.workers import without_collector

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from qexp.core.model import Pub

_CALIBRATION = 2**32 - 1
"""Index of the stream of a job's readout calibration, which each of its chunks simulates alike."""

_NO_CLIFFORD_ANGLE = 0.1

_DRESSING = 2.0
"""Ratio of the time of a circuit whose layers are twirled to that of the circuit."""

_BIT_BYTES = 3
"""Memory of a bit of a shot: it is drawn, kept and evaluated as an array of truth values."""


class Programs:
    """Runs the PUBs of client-side primitives whose options the client compiles.

    Args:
        backend: The backend that they are prepared for.
        device: The device to simulate.
        sampler: Samples circuits on it.
    """

    def __init__(self, backend: BackendV2, device: Any, sampler: NoisySampler) -> None:
        self._backend = backend
        self._device = device
        self._sampler = ComponentSampler(device, sampler)
        self._bare = sampler
        self._kept: tuple[tuple[PrimitiveSpec, bytes], list[Any]] | None = None

    def run(self, request: JobRequest, pubs: Sequence[Pub], only: range, seed: int) -> Simulated:
        """Prepare, simulate and evaluate PUBs of a job, one after the other.

        Args:
            request: The job.
            pubs: The PUBs that the seed is for.
            only: Indices of those to simulate.
            seed: Decides every bit, those of the job's calibration too.

        Raises:
            SimulationError: The simulator reports a failure.
            PlanError: The primitive cannot run a PUB.
        """
        from qiskit.primitives import PrimitiveResult

        spec, sequence = with_level(request.primitive), np.random.SeedSequence(seed)
        results, raws, executed, methods = [], [], [], []
        calibration = None
        for index in only:
            with without_collector():
                program = self._prepare(spec, pubs[index])
                if calibration is None and _is_calibrated(program):
                    calibration = self._calibrate(spec, pubs, sequence, program)
                found, method = self._simulate(program, child(sequence, index), calibration)
            own = len(program.items) - (calibration is not None)
            executed.append(program.shots * sum(item.size() for item in program.items[:own]))
            methods.append(method)
            raws += [divide_raw(found)] if spec.kind == "estimator" else []
            results.append(evaluate_program(found, spec.kind))
        return Simulated(
            PrimitiveResult([one[0] for one in results], metadata=results[0].metadata),
            tuple(executed),
            self.options_in_force(request),
            info=self._device.info,
            methods=tuple(methods),
            raw=joined_raw(raws),
        )

    def _prepare(self, spec: PrimitiveSpec, pub: Pub) -> Any:
        """Return the client's program for a PUB.

        Templates and samplexes, nearly all of its work, follow from the circuit and the options. A
        PUB with the circuit of the one before gets them again, with the arguments of its own that
        the client makes for a circuit without gates.
        """
        if spec.kind == "sampler":
            return prepare(spec, pub, self._backend)[0]
        circuit = pub.circuit.copy()
        circuit.metadata = {}
        kind = spec, steady_qpy(circuit)
        if self._kept is not None and self._kept[0] == kind:
            empty = pub.circuit.copy_empty_like()
            for parameter in pub.circuit.parameters:
                empty.rz(parameter, 0)
            own = EstimatorPub(empty, pub.observables, pub.parameter_values, pub.precision)
            program, _ = prepare(spec, own, self._backend)
            kept = self._kept[1]
            if [*map(_argument_names, kept)] == [*map(_argument_names, program.items)]:
                program.items = list(map(_with_arguments, kept, program.items))
                return program
        program, _ = prepare(spec, pub, self._backend)
        self._kept = kind, program.items
        return program

    def _simulate(
        self, program: Any, sequence: np.random.SeedSequence, calibration: dict[str, Any] | None
    ) -> tuple[Any, str]:
        """Return the result of a program, and the method of its first circuit."""
        from qiskit_ibm_runtime.results import QuantumProgramItemResult, QuantumProgramResult

        items = program.items if calibration is None else program.items[:-1]
        done = [
            run_item(item, program.shots, self._sampler, child(sequence, number))
            for number, item in enumerate(items)
        ]
        arrays = [data for data, _ in done] + ([] if calibration is None else [calibration])
        found = [QuantumProgramItemResult(each, {}) for each in arrays]
        return QuantumProgramResult(found, passthrough_data=program.passthrough_data), done[0][1]

    def _calibrate(
        self,
        spec: PrimitiveSpec,
        pubs: Sequence[Pub],
        sequence: np.random.SeedSequence,
        program: Any,
    ) -> dict[str, Any]:
        """Simulate the readout calibration of a job, which is as wide as its widest circuit."""
        widest, item = max(pubs, key=lambda pub: pub.circuit.num_qubits), program.items[-1]
        if item.circuit.num_qubits < widest.circuit.num_qubits:
            item = prepare(spec, widest, self._backend)[0].items[-1]
        return run_item(item, program.shots, self._sampler, child(sequence, _CALIBRATION))[0]

    def options_in_force(self, request: JobRequest) -> dict[str, Any]:
        """Return the options by which a job is run, as the client finalises them."""
        options = finalised_options(with_level(request.primitive), request.tags)
        if options["simulator"]["seed_simulator"] is None:
            options["simulator"]["seed_simulator"] = request.seed
        return options

    def predict(self, spec: PrimitiveSpec, pub: Pub) -> Prediction:
        """Predict method and cost of a PUB from a circuit like each that it is compiled to."""
        spec = with_level(spec)
        if spec.kind == "estimator":
            shots, configurations = shots_for(pub.precision), count_circuits(pub)
        else:
            shots, configurations = pub.shots, pub.parameter_values.size
        executed = executions(shots, spec)
        circuit, every, sets = _stand_in(pub), list(pub.circuit.parameters), pub.parameter_values
        columns = [every.index(parameter) for parameter in circuit.parameters]
        first = sets.as_array(every).reshape(sets.size, len(every))[:1, columns]
        predicted = self._bare.predict((circuit, first, executed.shots), shots=shots)
        if predicted.cost is None:
            return predicted
        programs = configurations * executed.randomizations * sum(executed.noise_factors)
        seconds, size = predicted.cost
        is_wide = spec.kind == "estimator"  # the client measures all qubits of the device
        num_bits = self._backend.num_qubits if is_wide else pub.circuit.num_clbits
        size += _BIT_BYTES * num_bits * configurations * executed.of_configuration
        return predicted._replace(cost=Cost(_DRESSING * programs * seconds, size))

    def objection(self, spec: PrimitiveSpec, pub: Pub) -> str | None:
        """Return why the client cannot run a PUB with these options, or None."""
        options = build_options(spec.kind, "client", with_level(spec).options)
        return client_objection(spec.kind, pub, options, self._backend)


def run_item(
    item: Any, shots: int, sampler: ComponentSampler, sequence: np.random.SeedSequence
) -> tuple[dict[str, Any], str]:
    """Simulate an item of a program.

    Returns:
        Its named arrays: bits of each register, of shape (*item, shots, bits), and what its samplex
        drew; and the method.
    """
    drawn: dict[str, Any] = {}
    if hasattr(item, "samplex"):
        drawn = draw_item(item, np.random.default_rng(child(sequence, 0)))
        values = drawn.pop("parameter_values", np.zeros((*item.shape, 0)))
    else:
        values = item.circuit_arguments
    sampled = sampler.sample(item.circuit, values, shots, child(sequence, 1))
    return {**drawn, **sampled.registers}, sampled.method


def _argument_names(item: Any) -> list[str]:
    """Return the names of the arguments of an item, without the numbers that the client counts."""
    return [name.rstrip(digits) for name in item.samplex_arguments]


def _with_arguments(item: Any, other: Any) -> Any:
    """Return an item of a program with the arguments of another one."""
    from samplomatic.quantum_program import SamplexItem

    arguments = dict(zip(item.samplex_arguments, other.samplex_arguments.values(), strict=True))
    return SamplexItem(item.circuit, item.samplex, samplex_arguments=arguments, shape=other.shape)


def _is_calibrated(program: Any) -> bool:
    """Return whether the last item of a program calibrates the readout."""
    tasks = program.passthrough_data.get("qiskit_mitigation", ())
    return any(task["mitigation"] == "trex" for task in tasks)


def _stand_in(pub: Pub) -> QuantumCircuit:
    """Return the circuit of a PUB as the client compiles it, as far as its cost is concerned.

    An Estimator's has its active qubits measured. It is no Clifford circuit: twirls are parameters.
    Qubits that share no gate with others are left out but for one, see `ComponentSampler`.
    """
    circuit = pub.circuit.copy()
    qubits = sorted(active_qubits(circuit), key=lambda qubit: circuit.find_bit(qubit).index)
    if hasattr(pub, "observables"):
        register = ClassicalRegister(len(qubits), "measured")
        circuit.add_register(register)
        circuit.measure(qubits, register)
    if not qubits or circuit.has_control_flow_op():
        return circuit
    gates = [item for item in circuit.data if item.name != "barrier"]
    joined = {qubit for item in gates if len(item.qubits) > 1 for qubit in item.qubits}
    kept = joined or {qubits[0]}
    twirled = circuit.copy_empty_like()
    twirled.rz(_NO_CLIFFORD_ANGLE, next(qubit for qubit in qubits if qubit in kept))
    for item in gates:
        if kept.issuperset(item.qubits):
            twirled.append(item)
    return twirled
