"""The one place where a simulation method is chosen for each circuit: the cheapest that can do it.

A method of our own is an entry in `METHODS`; `protocols` says what it offers. All else runs on Aer.
Costs are those of one core of an ordinary machine, measured once. The choice must not depend on the
machine, because the method decides which shots a seed gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Gate
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qexp.simulator.aer import SimulationError
from qexp.simulator.circuits import (
    ActiveCircuit,
    PlainCircuit,
    active_qubits,
    as_plain,
    restrict_to_active,
)
from qexp.simulator.density_matrix import DensityMatrix
from qexp.simulator.devices import Device, GivenSimulator
from qexp.simulator.evolution import MAX_NOISY_QUBITS, Evolution, evolution_us
from qexp.simulator.frames import CliffordFrames
from qexp.simulator.noise import NoisyDevice
from qexp.simulator.observables import Group, count_circuits, group_into_bases, support
from qexp.simulator.protocols import AerMethod, Cost, Method, Prediction, Simulation, Work
from qexp.simulator.tree import TrajectoryTree

METHODS: tuple[type[Method], ...] = (Evolution, TrajectoryTree, CliffordFrames)
"""The methods of our own, the one for narrow circuits first."""

KEPT_CHOICES = 128
"""Choices that a primitive keeps: those of a job of the default size."""

# A pure state of 16 MiB.
MAX_PURE_QUBITS = 20

# A larger state vector does not fit the memory of an ordinary machine.
_MAX_STATEVECTOR_QUBITS = 26

# Up to here a density matrix is taken without a look at the other methods.
_MAX_CLEAR_QUBITS = 10

# Aer's density matrices of more qubits take too much memory.
_MAX_AER_DENSITY_QUBITS = 14

# No noise is approximated where an exact method takes less.
_MAX_EXACT_S = 1.0

_LEAST_PRODUCT_US = 40
"""Microseconds of a gate and its noise on a matrix product state whose bonds are small."""

# The methods of Aer that give what "pure_state" gives.
_PURE_METHODS = frozenset({"automatic", "statevector", "density_matrix"})


@dataclass(frozen=True)
class Choice:
    """The method for one circuit, with the circuit in the form that the method takes."""

    # A method of ours or of Aer; or "pure_state": Aer evolves the state without noise once; or
    # "given": that of a given Aer simulator.
    method: str
    restrict: Callable[[], ActiveCircuit]  # makes `active`, which a prediction does without
    simulation: Simulation | None = None  # of a method of our own
    aer_cost: Cost | None = None

    @cached_property
    def active(self) -> ActiveCircuit:
        """The circuit for Aer, restricted unless the simulator is a given one.

        For a method of our own, which takes it as it is, with the qubits that are simulated.
        """
        return self.restrict()

    @property
    def prediction(self) -> Prediction:
        """The method, its cost, and how it approximates noise."""
        simulation = self.simulation
        cost = self.aer_cost if simulation is None else simulation.cost
        return Prediction(self.method, cost, simulation is None, approximation(simulation))

    @property
    def approximated_noise(self) -> dict[str, Any]:
        """Metadata of the result about noise that is approximated; empty where it is exact."""
        stated = approximation(self.simulation)
        return {"approximated_noise": stated} if stated else {}

    @property
    def aer_options(self) -> dict[str, str]:
        """Aer's option for the method; none for a given simulator, which has one."""
        return {} if self.method == "given" else {"method": self.method}


class Methods:
    """Chooses methods for the circuits of one device, and keeps the noise that they make.

    Args:
        device: The device to simulate.
        method: The only method for circuits with the noise of a device, by its name; None: the
            cheapest for each of them.
        group: Groups terms into bases, perhaps with a cache.
    """

    def __init__(
        self, device: Device, method: str | None = None, group: Group = group_into_bases
    ) -> None:
        self._device = device
        self._method = method
        self._group = group
        self._table: list[Method] = []
        if isinstance(device, NoisyDevice):
            channels = DensityMatrix(device)
            self._table = [make(device, channels) for make in METHODS]

    def for_sampling(self, pub: SamplerPub) -> Choice:
        """Choose the method that samples the shots of a PUB in the least time.

        Raises:
            SimulationError: The only method cannot do this.
        """
        if isinstance(self._device, GivenSimulator):
            return Choice("given", lambda: ActiveCircuit(pub.circuit, ()))
        return self._choose(_sampling(pub), cache(lambda: restrict_to_active(pub.circuit)))

    def for_estimation(self, pub: EstimatorPub, shots: int | None) -> Choice:
        """Choose the method that estimates the observables of a PUB in the least time.

        Args:
            pub: The PUB.
            shots: Shots per basis and parameter set; None for exact expectation values.

        Raises:
            SimulationError: The PUB has no exact expectation values, see `exact_objection`, or the
                only method cannot do this.
        """
        if shots is None and (objection := exact_objection(pub, self._device)):
            raise SimulationError(f"circuit '{pub.circuit.name}': {objection}")
        active = _active(pub, self._device)
        if isinstance(self._device, GivenSimulator):
            is_pure = _has_pure_state(self._device, active)
            return Choice("pure_state" if is_pure else "given", lambda: active)
        bases = count_circuits(pub, self._group) / max(pub.parameter_values.size, 1)
        work = _estimation(pub, active, shots, bases)
        is_narrow = len(active.qubits) <= MAX_NOISY_QUBITS
        return self._choose(work, lambda: active, "automatic" if is_narrow else None)

    def objection(self, pub: SamplerPub | EstimatorPub, *, exact: bool = False) -> str | None:
        """Return why the only method cannot do this, as a clause about the circuit, or None.

        Args:
            pub: The PUB.
            exact: Expectation values are wanted exactly.
        """
        if isinstance(pub, SamplerPub):
            return self._objection(_sampling(pub))
        shots = None if exact else 1
        return self._objection(_estimation(pub, _active(pub, self._device), shots, 1.0))

    def _objection(self, work: Work) -> str | None:
        for method in self._table:
            if method.name == self._method and (why := method.objection(work)):
                return f"{why}, by {method.name}"
        return None

    def _choose(
        self, work: Work, active: Callable[[], ActiveCircuit], on_aer: AerMethod | None = None
    ) -> Choice:
        """Choose among the methods of our own that can do this and those of Aer."""
        wanted = self._method
        if objection := self._objection(work):
            raise SimulationError(f"circuit '{work.circuit.name}': {objection}")
        # Left to Aer, as they were in version 1: dynamic circuits on few qubits, and no circuit.
        is_left = work.plain is None and len(work.qubits) <= _MAX_CLEAR_QUBITS
        is_left |= not work.qubits
        if wanted is None and not is_left and self._table and _is_density_matrix_clear(work):
            # Methods that are not wanted would be asked for their objections, which takes longer.
            evolves = self._table[0].objection(work) is None
            wanted = Evolution.name if evolves else None
        simulations = {
            method.name: method.simulation(work)
            for method in self._table
            if wanted == method.name or (wanted is None and not is_left)
            if method.objection(work) is None
        }
        is_wide = len(work.qubits) > _MAX_STATEVECTOR_QUBITS
        if wanted is None and is_wide and not simulations:
            wanted = "matrix_product_state"
        if wanted is None:
            costs = {name: each.cost for name, each in simulations.items()}
            costs |= _aer_costs(work, active().circuit, on_aer)
            exact = costs.keys() - {n for n, each in simulations.items() if approximation(each)}
            if min((costs[name].seconds for name in exact), default=math.inf) <= _MAX_EXACT_S:
                costs = {name: costs[name] for name in costs if name in exact}
            wanted = min(costs, key=lambda name: costs[name].seconds)
            if is_wide and wanted == TrajectoryTree.name:
                # The bound of Aer's cost may be far too large, see `_least_product_cost`.
                costs = {
                    wanted: costs[wanted],
                    "matrix_product_state": _least_product_cost(work, active),
                }
                wanted = min(costs, key=lambda name: costs[name].seconds)
        if wanted in simulations:
            taken = ActiveCircuit(work.circuit, work.qubits)
            return Choice(wanted, lambda: taken, simulations[wanted])
        if wanted == "matrix_product_state":
            return Choice(wanted, active, aer_cost=_least_product_cost(work, active))
        return Choice(
            wanted, active, aer_cost=_aer_costs(work, active().circuit, on_aer).get(wanted)
        )


def approximation(simulation: Simulation | None) -> Mapping[str, Any]:
    """Return how a simulation approximates noise; most do not, and have no such attribute."""
    return getattr(simulation, "approximation", {})


def exact_objection(pub: EstimatorPub, device: Device) -> str | None:
    """Return why a PUB has no exact expectation values, as a clause about its circuit, or None."""
    active = _active(pub, device)
    width = len(active.qubits)
    if isinstance(device, GivenSimulator):
        if _has_pure_state(device, active):
            return None
    elif width <= MAX_NOISY_QUBITS and _without_measurements(pub, active) is not None:
        return None
    limit = MAX_NOISY_QUBITS if isinstance(device, NoisyDevice) else MAX_PURE_QUBITS
    if width > limit:
        why = f"it acts on {width} qubits, and at most {limit} qubits"
    elif isinstance(device, GivenSimulator) and not _is_plain_aer(device):
        why = "the simulator has a noise model or method of its own, and only others"
    else:
        why = "it measures, is dynamic or has a delay of a parameter, and only plain circuits"
    return f"{why} have exact expectation values here"


def method_names() -> tuple[str, ...]:
    """Return the names of the methods for circuits with the noise of a device."""
    return (*(method.name for method in METHODS), *get_args(AerMethod))


def aer_costs(circuit: QuantumCircuit) -> dict[AerMethod, Cost]:
    """Return the cost of one gate in one shot, with its noise, by Aer's methods that can do it.

    The cost of a matrix product state is that of its bond dimension, which at most doubles with
    every gate across the bond (gates on two qubits of IBM's devices have operator Schmidt rank 2)
    and is at most 2 to the number of qubits on its shorter side.
    """
    width = circuit.num_qubits
    crossings = [0] * max(width - 1, 1)
    index = {qubit: i for i, qubit in enumerate(circuit.qubits)}
    for instruction in circuit.data:
        if len(instruction.qubits) > 1:
            places = [index[qubit] for qubit in instruction.qubits]
            for bond in range(min(places), max(places)):
                crossings[bond] += 1
    ranks = [min(count, i + 1, width - 1 - i) for i, count in enumerate(crossings)]
    bond_dimension = 2 ** max(ranks)
    product_us, product_bytes = (
        10 + 0.1 * bond_dimension**3,
        64 * width * bond_dimension**2,
    )
    found: dict[AerMethod, Cost] = {"matrix_product_state": Cost(1e-6 * product_us, product_bytes)}
    if width <= _MAX_STATEVECTOR_QUBITS:
        found["statevector"] = Cost(1e-6 * _statevector_us(width), 32 * 2**width)
    return found


def _aer_costs(work: Work, circuit: QuantumCircuit, method: AerMethod | None) -> dict[str, Cost]:
    """Return the costs of Aer's methods, or of one."""
    gates = len(work.values) * len(circuit.data)
    runs = (work.shots or 0) * work.bases * gates
    found: dict[str, Cost] = {
        name: Cost(cost.seconds * runs, cost.bytes) for name, cost in aer_costs(circuit).items()
    }
    width = circuit.num_qubits
    is_dense = work.plain is not None and (work.shots or 0) > 2**width
    if is_dense and MAX_NOISY_QUBITS < width <= _MAX_AER_DENSITY_QUBITS:
        # Aer chooses a density matrix then.
        seconds = 1.25e-9 * 4**width * gates * work.bases
        found["automatic"] = Cost(seconds, 32 * 4**width)
    return found if method is None else {method: min(found.values())}


def _least_product_cost(work: Work, active: Callable[[], ActiveCircuit]) -> Cost:
    """Return the least cost of matrix product states.

    Their bond dimension is known only once they are made; the bound in `aer_costs`, by which the
    method is chosen, is many orders of magnitude too large for a GHZ state, where it is 2.
    """
    width, names = max(len(work.qubits), 1), work.circuit.count_ops()
    if work.plain is not None and "delay" not in names:
        # As many as `active` has, without making it.
        is_restricted = width < work.circuit.num_qubits
        size = len(work.circuit.data) - (names.get("barrier", 0) if is_restricted else 0)
    else:
        width, size = active().circuit.num_qubits, len(active().circuit.data)
    gates = (work.shots or 0) * work.bases * len(work.values) * size
    return Cost(1e-6 * _LEAST_PRODUCT_US * gates, 64 * width * 2**2)


def _is_density_matrix_clear(work: Work) -> bool:
    """Return whether the density matrix is taken without a look at other methods.

    That is where values are exact, nothing is done, or a circuit is narrow and one evolution of the
    density matrix costs less than a state vector per shot.
    """
    plain, width = work.plain, len(work.qubits)
    if plain is None or work.shots is None or not plain.gates:
        return plain is not None and bool(work.qubits)
    statevectors_us = work.shots * plain.gates * _statevector_us(width)
    return width <= _MAX_CLEAR_QUBITS and evolution_us(plain, width) < statevectors_us


def _active(pub: EstimatorPub, device: Device) -> ActiveCircuit:
    """Return the circuit on its active qubits and those of the observables."""
    # The noise of a given simulator belongs to its own qubit numbers.
    is_fixed = isinstance(device, GivenSimulator) and device.noise is not None
    keep = range(pub.circuit.num_qubits) if is_fixed else support(pub)
    return restrict_to_active(pub.circuit, keep)


def _without_measurements(pub: EstimatorPub, active: ActiveCircuit) -> PlainCircuit | None:
    """Return the circuit as a plain one without measurements, or None."""
    plain = as_plain(pub.circuit)
    if plain is None or plain.measured:
        return None
    return replace(plain, qubits=active.qubits)


def _has_pure_state(device: GivenSimulator, active: ActiveCircuit) -> bool:
    is_narrow = len(active.qubits) <= MAX_PURE_QUBITS
    return is_narrow and _is_plain_aer(device) and _is_unitary(active.circuit)


def _sampling(pub: SamplerPub) -> Work:
    plain = as_plain(pub.circuit)
    if plain is None:
        active = active_qubits(pub.circuit)
        qubits = tuple(i for i, qubit in enumerate(pub.circuit.qubits) if qubit in active)
    else:
        qubits = plain.qubits
    return Work(pub.circuit, plain, qubits, _values(pub), pub.shots)


def _estimation(pub: EstimatorPub, active: ActiveCircuit, shots: int | None, bases: float) -> Work:
    plain = _without_measurements(pub, active)
    return Work(pub.circuit, plain, active.qubits, _values(pub), shots, bases, is_estimated=True)


def _values(pub: SamplerPub | EstimatorPub) -> NDArray[np.float64]:
    """Return the parameter sets, shape (sets, parameters)."""
    sets, parameters = pub.parameter_values, pub.circuit.parameters
    rows = sets.as_array(parameters).reshape(sets.size, len(parameters))
    return np.asarray(rows, dtype=float)


def _is_plain_aer(device: GivenSimulator) -> bool:
    return device.noise is None and device.method in _PURE_METHODS


def _is_unitary(circuit: QuantumCircuit) -> bool:
    return all(
        instruction.is_standard_gate()
        or instruction.name in {"barrier", "delay"}
        or isinstance(instruction.operation, Gate)
        for instruction in circuit.data
    )


def _statevector_us(width: int) -> float:
    """Return the time of one gate in one shot, with its noise."""
    return 2 + min(0.01 * 2.0**width, 10 + 0.0016 * 2.0**width)
