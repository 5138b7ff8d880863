"""Turn a generator's PUB-like into an ISA PUB."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.core.jsonable import to_jsonable
from qexp.core.model import PlannedPub, PrimitiveSpec
from qexp.core.seeds import as_int, stream
from qexp.core.spec import WorkloadSpec
from qexp.errors import STOPS, PlanError
from qexp.planning.faithful import UnfaithfulError, faithful, has_proven_names, survives
from qexp.text import typed_reason

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.primitives.containers.bindings_array import BindingsArray
    from qiskit.providers import BackendV2
    from qiskit.transpiler import PassManager

    from qexp.core.model import Pub


def build_pass_manager(workload: WorkloadSpec, seed: int, backend: BackendV2) -> PassManager:
    """Build the preset pass manager of a workload, to run it on all its circuits.

    All circuits of a workload share one transpiler seed: the declared one, else one derived from
    the experiment's `seed`. Qiskit fixes the seed when a pass manager is built, and building one
    costs as much as a small circuit's transpilation. A circuit's ISA form then depends on itself
    and the workload's seed alone, not on its position.

    Raises:
        PlanError: Qiskit refuses the arguments, say an unknown `layout_method`.
    """
    from qiskit.transpiler import generate_preset_pass_manager

    arguments = asdict(workload.transpile)
    declared = arguments.pop("seed")
    derived = as_int(stream(seed, workload.name, "transpile"))
    try:
        return generate_preset_pass_manager(
            backend=backend,
            seed_transpiler=derived if declared is None else declared,
            **arguments,
        )
    except Exception as error:
        raise PlanError(
            f"transpile of workload '{workload.name}': Qiskit refuses it for backend "
            f"{backend.name}: {typed_reason(error)}; correct the transpile keys of the config"
        ) from error


@dataclass
class PassManagers:
    """The pass managers of a workload; each is made once."""

    workload: WorkloadSpec
    seed: int  # of the experiment
    backend: BackendV2
    _made: dict[int | None, PassManager] = field(default_factory=dict)

    def keeps_qubits(self, circuit: QuantumCircuit) -> bool:
        """Return whether a circuit's qubits are those of the device.

        It has a layout, as OpenQASM 3 with hardware qubits (`$0`) has, and the config has no other.
        """
        spec = self.workload.transpile
        declared = spec.initial_layout or spec.layout_method or spec.routing_method
        return circuit.layout is not None and not declared

    def of(self, circuit: QuantumCircuit) -> PassManager:
        """Return the pass manager for a circuit."""
        workload, width = self.workload, None
        if self.keeps_qubits(circuit):
            width = circuit.num_qubits
            spec = replace(
                workload.transpile, initial_layout=tuple(range(width)), routing_method="none"
            )
            workload = replace(workload, transpile=spec)
        if width not in self._made:
            self._made[width] = build_pass_manager(workload, self.seed, self.backend)
        return self._made[width]


def transpile_pub(pub_like: Any, index: int, pass_managers: PassManagers) -> PlannedPub:
    """Turn a generator's PUB-like into a PUB that the backend can run.

    Shots or precision are the PUB-like's own where it has them, else the workload's. Observables
    are laid out as the circuit was; a parameter that the transpiler found to have no effect is
    dropped from the ISA PUB, whose shape stays.
    A PUB-like is a circuit, or a tuple in the order of `SamplerPub` or `EstimatorPub`.

    Raises:
        PlanError: It is no PUB, it has more qubits than the backend, or transpiling it failed.
    """
    workload, backend = pass_managers.workload, pass_managers.backend
    where = f"PUB {index} of workload '{workload.name}'"
    try:
        logical = coerce_pub(pub_like, workload.primitive)
    except STOPS:
        raise
    except BaseException as error:
        raise PlanError(
            f"{where}: the generator did not yield {expected_pub(workload.primitive)}: "
            f"{_reason_no_pub(pub_like, error)}"
        ) from error
    # QPY holds it as JSON, which has no arrays, NumPy numbers or keys that are tuples.
    logical.circuit.metadata = to_jsonable(logical.circuit.metadata)
    available, needed = backend.num_qubits, logical.circuit.num_qubits
    if available is not None and needed > available:
        raise PlanError(
            f"{where}: circuit '{logical.circuit.name}' has {needed} qubits, but backend "
            f"{backend.name} has {available}; use fewer qubits in the circuits' config or choose "
            f"a larger backend"
        )
    pass_manager = pass_managers.of(logical.circuit)
    try:
        meant = logical.circuit if workload.is_archived else _with_registers(logical)
        logical = _with_circuit(logical, faithful(meant, backend.target))
        circuit = pass_manager.run(logical.circuit)
        isa = _lay_out(logical, circuit)
        if not (has_proven_names(circuit) or survives(circuit, backend.target)):
            raise UnfaithfulError(
                "as it is transpiled, it is not the same after it was stored as QPY and read back; "
                "build it from Qiskit's standard gates"
            )
    except UnfaithfulError as error:
        raise PlanError(f"{where}: circuit '{logical.circuit.name}': {error}") from error
    except STOPS:
        raise
    except BaseException as error:
        change = "change the circuit or the transpile keys of the config"
        if pass_managers.keeps_qubits(logical.circuit):
            change = "set transpile.layout_method to move it to other qubits than those it names"
        raise PlanError(
            f"{where}: transpiling circuit '{logical.circuit.name}' for backend {backend.name} "
            f"failed: {_reason_and_way_out(error, change)}"
        ) from error
    return PlannedPub(workload.name, index, logical, isa)


def _reason_no_pub(pub_like: Any, error: BaseException) -> str:
    """Return why Qiskit does not take a PUB-like, without its advice to who calls `run`."""
    from qiskit import QuantumCircuit

    first = pub_like[0] if isinstance(pub_like, list | tuple) and pub_like else pub_like
    if first is not pub_like and any(isinstance(item, QuantumCircuit) for item in pub_like[1:]):
        return "got several circuits at once; yield one after the other"
    if not isinstance(first, QuantumCircuit):
        return f"got {'a tuple that begins with ' if first is not pub_like else ''}{first!r:.60}"
    return re.split(
        r"(?: \(<class .*?\))?\.? (?:Note that i|I)f you want to run", typed_reason(error)
    )[0]


def _reason_and_way_out(error: BaseException, change: str) -> str:
    if "is not scheduled" in str(error):
        return "its delays need a schedule there; set transpile.scheduling_method=alap (or asap)"
    return f"{typed_reason(error)}; {change}"


def coerce_pub(pub_like: Any, primitive: PrimitiveSpec) -> Pub:
    """Return Qiskit's own PUB of a PUB-like, with the primitive's shots or precision by default.

    Raises:
        Exception: It is no PUB, or one of the other primitive.
    """
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    _refuse_other_kind(pub_like, primitive)
    with warnings.catch_warnings():
        # Qiskit would drop the imaginary part of complex parameter values.
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        if primitive.kind == "sampler":
            return SamplerPub.coerce(pub_like, primitive.shots)
        return EstimatorPub.coerce(pub_like, primitive.precision)


def with_accuracy(pub: PlannedPub, primitive: PrimitiveSpec) -> PlannedPub:
    """Return a PUB with a primitive's shots or precision, unless it has its own.

    Raises:
        PlanError: Neither has.
    """
    logical, isa = (coerce_pub(each, primitive) for each in (pub.logical, pub.isa))
    accuracy = "shots" if primitive.kind == "sampler" else "precision"
    if getattr(isa, accuracy) is None:
        raise PlanError(
            f"PUB {pub.index} of workload '{pub.workload}': neither it nor primitive.{accuracy} "
            f"gives its {accuracy}; set primitive.{accuracy}"
        )
    return replace(pub, logical=logical, isa=isa)


def _refuse_other_kind(pub_like: Any, primitive: PrimitiveSpec) -> None:
    """Raise where the circuits are for the other primitive, which Qiskit's own error hides."""
    from qiskit import QuantumCircuit
    from qiskit.primitives.containers.observables_array import ObservablesArray
    from qiskit.quantum_info import SparsePauliOp

    second = pub_like[1] if isinstance(pub_like, tuple) and len(pub_like) > 1 else None
    while isinstance(second, list | tuple) and second:
        second = second[0]
    if primitive.kind == "estimator" and isinstance(pub_like, QuantumCircuit):
        raise ValueError("the circuit comes without observables; it is for primitive=sampler")
    if primitive.kind == "sampler" and isinstance(second, ObservablesArray | SparsePauliOp | str):
        raise ValueError("the circuit comes with observables; it is for primitive=estimator")


def expected_pub(primitive: PrimitiveSpec) -> str:
    """Describe the PUBs that a primitive takes, for messages."""
    if primitive.kind == "sampler":
        return "a Sampler PUB (a circuit, or (circuit, parameter values, shots))"
    return "an Estimator PUB (circuit, observables, parameter values, precision)"


def _lay_out(logical: Pub, circuit: QuantumCircuit) -> Pub:
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    values = _rebind(logical.parameter_values, circuit)
    if isinstance(logical, SamplerPub):
        return SamplerPub(circuit, values, logical.shots)
    observables = logical.observables.apply_layout(circuit.layout, circuit.num_qubits)
    return type(logical)(circuit, observables, values, logical.precision)


def _with_circuit(pub: Pub, circuit: QuantumCircuit) -> Pub:
    """Return a PUB with another form of its circuit; itself where that is the circuit it has."""
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    if circuit is pub.circuit:
        return pub
    values = _rebind(pub.parameter_values, circuit)
    if isinstance(pub, SamplerPub):
        return SamplerPub(circuit, values, pub.shots)
    return type(pub)(circuit, pub.observables, values, pub.precision)


def _with_registers(pub: Pub) -> QuantumCircuit:
    """Return the circuit of a PUB; a Sampler's gets a register for the bits that are in none."""
    from qiskit import ClassicalRegister
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    circuit = pub.circuit
    kept = {bit for register in circuit.cregs for bit in register}
    if len(kept) == circuit.num_clbits or not isinstance(pub, SamplerPub):
        return circuit
    # Samplers return registers; OpenQASM 3 (`bit flag;`) and `add_bits` make bits without one.
    loose = [bit for bit in circuit.clbits if bit not in kept]
    names = {register.name for register in circuit.cregs}
    candidates = chain(("bits",), (f"bits_{number}" for number in count(1)))
    name = next(name for name in candidates if name not in names)
    circuit = circuit.copy()
    circuit.add_register(ClassicalRegister(name=name, bits=loose))
    return circuit


def _rebind(values: BindingsArray, circuit: QuantumCircuit) -> BindingsArray:
    from qiskit.primitives.containers.bindings_array import BindingsArray

    columns: Mapping[str, int] = {
        name: column for column, name in enumerate(chain.from_iterable(values.data))
    }
    names = [parameter.name for parameter in circuit.parameters]
    if not names:
        return BindingsArray({}, shape=values.shape)
    array = values.as_array()[..., [columns[name] for name in names]]
    return BindingsArray({tuple(names): array}, shape=values.shape)
