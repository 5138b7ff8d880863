"""A wide noisy device, reduced to the qubits that a circuit uses.

A qubit that is only idle stays in |0> and is entangled with nothing: it changes no outcome. So a
circuit on 127 qubits that uses five of them is simulated as a circuit on five qubits, with the
noise of these five alone. The distribution of the outcomes is exactly the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from qexp.errors import EngineError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import CircuitInstruction, Qubit
    from qiskit.providers import BackendV2
    from qiskit.result import Result
    from qiskit.transpiler import Target
    from qiskit_aer import AerSimulator
    from qiskit_aer.noise import NoiseModel

# A qubit that takes part in nothing else is idle. A delay relaxes it towards |0>, where it is.
_IDLE = frozenset({"barrier", "delay", "break_loop", "continue_loop"})
_LOOP_EXITS = frozenset({"break_loop", "continue_loop"})

_MAX_MODELS = 64


@dataclass(frozen=True)
class Reduced:
    """A circuit on its active qubits.

    Attributes:
        circuit: The circuit, with all classical bits, registers, variables and parameters of the
            original, without its barriers (they mean nothing to Aer). It is the original itself
            where every qubit is active.
        qubits: The qubit of the original that each of its qubits stands for, ascending.
    """

    circuit: QuantumCircuit
    qubits: tuple[int, ...]


def reduce_circuit(circuit: QuantumCircuit, keep: Iterable[int] = ()) -> Reduced:
    """Drop the idle qubits of a circuit.

    Args:
        circuit: Any circuit, with control flow, resets, measurements or parameters.
        keep: Indices of qubits that stay although they may be idle, such as those on which an
            observable acts.
    """
    used = active_qubits(circuit)
    indices = {index for index, qubit in enumerate(circuit.qubits) if qubit in used}
    # Aer takes no circuit without qubits.
    indices = (indices | set(keep)) or {0}
    if len(indices) >= circuit.num_qubits:
        return Reduced(circuit, tuple(range(circuit.num_qubits)))
    ordered = tuple(sorted(indices))
    return Reduced(_narrowed(circuit, [circuit.qubits[index] for index in ordered]), ordered)


def active_qubits(circuit: QuantumCircuit) -> set[Qubit]:
    """The qubits on which anything but barriers and delays acts, in blocks of control flow too."""
    from qiskit.circuit.controlflow import CONTROL_FLOW_OP_NAMES

    active: set[Qubit] = set()
    for instruction in circuit.data:
        name = instruction.name
        if name in CONTROL_FLOW_OP_NAMES:
            for block in instruction.operation.blocks:
                outer = dict(zip(block.qubits, instruction.qubits, strict=True))
                active.update(outer[qubit] for qubit in active_qubits(block))
        elif name not in _IDLE:
            active.update(instruction.qubits)
    return active


def _narrowed(circuit: QuantumCircuit, qubits: Sequence[Qubit]) -> QuantumCircuit:
    """The circuit on some of its qubits, among them every active one."""
    from qiskit import QuantumCircuit
    from qiskit.circuit.controlflow import CONTROL_FLOW_OP_NAMES

    narrowed = QuantumCircuit(
        list(qubits),
        list(circuit.clbits),
        *circuit.cregs,
        name=circuit.name,
        global_phase=circuit.global_phase,
        metadata=circuit.metadata,
        inputs=circuit.iter_input_vars(),
        captures=(*circuit.iter_captured_vars(), *circuit.iter_captured_stretches()),
    )
    for var in circuit.iter_declared_vars():
        narrowed.add_uninitialized_var(var)
    for stretch in circuit.iter_declared_stretches():
        narrowed.add_stretch(stretch)
    kept = set(qubits)
    for instruction in circuit.data:
        name = instruction.name
        if name in _LOOP_EXITS:
            narrowed._append(_narrowed_exit(instruction, kept))
        elif name in CONTROL_FLOW_OP_NAMES:
            narrowed._append(_narrowed_blocks(instruction, kept))
        elif name != "barrier" and (name != "delay" or kept.issuperset(instruction.qubits)):
            narrowed._append(instruction)
    return narrowed


def _narrowed_exit(instruction: CircuitInstruction, kept: set[Qubit]) -> CircuitInstruction:
    qubits = [qubit for qubit in instruction.qubits if qubit in kept]
    leave = type(instruction.operation)(len(qubits), len(instruction.clbits))
    return instruction.replace(operation=leave, qubits=qubits)


def _narrowed_blocks(instruction: CircuitInstruction, kept: set[Qubit]) -> CircuitInstruction:
    places = [place for place, qubit in enumerate(instruction.qubits) if qubit in kept]
    blocks = (
        _narrowed(block, [block.qubits[place] for place in places])
        for block in instruction.operation.blocks
    )
    return instruction.replace(
        operation=instruction.operation.replace_blocks(blocks),
        qubits=[instruction.qubits[place] for place in places],
    )


@dataclass(frozen=True)
class Error:
    """One error of a device.

    Attributes:
        inner: Aer's `QuantumError` or `ReadoutError`.
        qubits: The physical qubits that it acts on.
        name: The instruction after which it happens; None: it is a readout error.
    """

    inner: Any
    qubits: tuple[int, ...]
    name: str | None = None

    def add_to(self, model: NoiseModel, qubits: Sequence[int]) -> None:
        """Give a noise model this error, on qubits of that model."""
        if self.name is None:
            model.add_readout_error(self.inner, qubits)
        else:
            model.add_quantum_error(self.inner, self.name, qubits)

    @cached_property
    def as_dict(self) -> Mapping[str, Any]:
        """It as Aer's C++ code reads it: JSON-able, but for the qubits."""
        from qiskit_aer.noise import NoiseModel

        alone = NoiseModel()
        self.add_to(alone, self.qubits)
        (error,) = alone.to_dict(serializable=True)["errors"]
        return error


class ReducedDevice:
    """Simulates circuits with the noise of some qubits of a device.

    The noise is what `NoiseModel.from_backend` makes of the device's target, to the bit: gate
    errors, readout errors and the relaxation of delays. Each error is made when it is first
    needed, and once; the noise models of the last 64 sets of qubits are kept.

    Args:
        backend: A backend whose target has errors and durations.
    """

    def __init__(self, backend: BackendV2) -> None:
        self.target: Target = backend.target
        self._errors: dict[tuple[str | None, tuple[int, ...]], Error | None] = {}
        self._models: OrderedDict[tuple[int, ...], NoiseModel] = OrderedDict()

    def run(
        self, circuits: Sequence[QuantumCircuit], qubits: tuple[int, ...], **options: Any
    ) -> Result:
        """Run circuits in one call to Aer.

        Args:
            circuits: Circuits on `len(qubits)` qubits, see `reduce_circuit`.
            qubits: The physical qubit that each of their qubits stands for, ascending.
            options: Aer's run options (`shots`, `method`, `seed_simulator`, ...), and
                `parameter_binds`.

        Raises:
            EngineError: The simulator reports a failure.
        """
        noise_model = self.noise_model(qubits)
        if not noise_model.is_ideal():
            options["noise_model"] = noise_model
        return run_aer(self._simulator, circuits, **options)

    def noise_model(self, qubits: tuple[int, ...]) -> NoiseModel:
        """The noise of these physical qubits, renumbered in this order from 0."""
        model = self._models.pop(qubits, None)
        if model is None:
            model = self._build(qubits)
        self._models[qubits] = model
        while len(self._models) > _MAX_MODELS:
            self._models.popitem(last=False)
        return model

    def gate_error(self, name: str, qubits: tuple[int, ...]) -> Error | None:
        """What happens after an instruction on these physical qubits, in this order."""
        key = (name, qubits)
        if key not in self._errors:
            self._errors[key] = self._make_gate_error(name, qubits)
        return self._errors[key]

    def readout_error(self, qubit: int) -> Error | None:
        """What happens when this physical qubit is read."""
        key = (None, (qubit,))
        if key not in self._errors:
            self._errors[key] = self._make_readout_error(qubit)
        return self._errors[key]

    @cached_property
    def _simulator(self) -> AerSimulator:
        from qiskit_aer import AerSimulator

        return AerSimulator()

    def _build(self, qubits: tuple[int, ...]) -> NoiseModel:
        number = {qubit: index for index, qubit in enumerate(qubits)}
        model = _serialised_class()(basis_gates=list(self.target.operation_names))
        known = [self.gate_error(name, where) for name, where in self._gates_on(qubits)]
        known += [self.readout_error(qubit) for qubit in qubits]
        for error in known:
            if error is not None:
                model.add_known(error, [number[qubit] for qubit in error.qubits])
        # There is no public way to give a noise model the pass that adds noise to delays.
        model._custom_noise_passes.extend(_delay_noise(self.target, qubits)._custom_noise_passes)
        return model

    def _gates_on(self, qubits: tuple[int, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """Names and qubits of what acts on nothing but these qubits."""
        among = set(qubits)
        return [
            (name, where)
            for name in self.target.operation_names
            for where in self.target[name] or ()
            if where is not None and among.issuperset(where)
        ]

    def _make_gate_error(self, name: str, qubits: tuple[int, ...]) -> Error | None:
        from qiskit_aer.noise.device import basic_device_gate_errors

        alone = self._target_of(name, qubits)
        errors = [] if alone is None else basic_device_gate_errors(target=alone)
        return Error(errors[0][2], qubits, name) if errors and not errors[0][2].ideal() else None

    def _make_readout_error(self, qubit: int) -> Error | None:
        from qiskit_aer.noise.device import basic_device_readout_errors

        alone = self._target_of("measure", (qubit,))
        errors = [] if alone is None else basic_device_readout_errors(target=alone)
        return Error(errors[0][1], (qubit,)) if errors and not errors[0][1].ideal() else None

    def _target_of(self, name: str, qubits: tuple[int, ...]) -> Target | None:
        """A target with only this instruction on these qubits, or None where it has no error."""
        from qiskit.transpiler import Target

        if name not in self.target or (self.target[name] or {}).get(qubits) is None:
            return None
        alone = Target(
            num_qubits=self.target.num_qubits, qubit_properties=self.target.qubit_properties
        )
        operation = self.target.operation_from_name(name)
        alone.add_instruction(operation, {qubits: self.target[name][qubits]}, name=name)
        return alone


def run_aer(simulator: BackendV2, circuits: Sequence[QuantumCircuit], **options: Any) -> Result:
    """Run circuits on a simulator.

    Raises:
        EngineError: The simulator reports a failure.
    """
    from qiskit.exceptions import QiskitError

    try:
        result = simulator.run(list(circuits), **options).result()
    except QiskitError as error:
        raise EngineError(f"Simulation failed: {' '.join(error.message.split())}") from error
    if not result.success:
        failed = [str(one.status) for one in result.results if not one.success]
        raise EngineError(f"Simulation failed: {'; '.join(failed) or result.status}")
    return result


def _delay_noise(target: Target, qubits: tuple[int, ...]) -> NoiseModel:
    """What Aer makes of a device whose instructions have no errors: relaxation of delays."""
    from qiskit.providers import BackendV2, Options
    from qiskit.transpiler import Target
    from qiskit_aer.noise import NoiseModel

    properties = target.qubit_properties
    if not properties:
        return NoiseModel()
    idle = Target(
        num_qubits=len(qubits),
        dt=target.dt,
        qubit_properties=[properties[qubit] for qubit in qubits],
    )

    class Idle(BackendV2):
        target = idle
        max_circuits = None

        @classmethod
        def _default_options(cls) -> Options:
            return Options()

        def run(self, run_input: Any, **options: Any) -> Any:
            raise NotImplementedError

    return NoiseModel.from_backend(Idle())


def _serialised_class() -> Any:
    from qiskit_aer.noise import NoiseModel

    class Serialised(NoiseModel):
        """A noise model that has its errors as dict; Aer would make them again for each run."""

        def __init__(self, basis_gates: Sequence[str]) -> None:
            super().__init__(basis_gates=basis_gates)
            self._known: list[Mapping[str, Any]] | None = []

        def add_known(self, error: Error, qubits: Sequence[int]) -> None:
            error.add_to(self, qubits)
            assert self._known is not None
            self._known.append({**error.as_dict, "gate_qubits": [list(qubits)]})

        def add_all_qubit_quantum_error(self, *args: Any, **options: Any) -> None:
            # Aer adds errors to a copy of the model: those of delays.
            self._known = None
            super().add_all_qubit_quantum_error(*args, **options)

        def to_dict(self, serializable: bool = False) -> dict[str, Any]:
            if self._known is None or not serializable:
                return super().to_dict(serializable)
            return {"errors": list(self._known)}

    return Serialised
