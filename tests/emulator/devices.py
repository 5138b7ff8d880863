"""The emulated QPUs: data of real devices as `qiskit_ibm_runtime.fake_provider` ships it."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from qiskit.providers import BackendV2
    from qiskit.transpiler import Target
    from qiskit_aer import AerSimulator

MANILA = "ibm_manila"
JAKARTA = "ibm_jakarta"
TORINO = "ibm_torino"
PAUSED = "ibm_fez"
OFFLINE = "ibm_brisbane"

LEAST_BUSY = JAKARTA
"""What `least_busy()` has to return: the shortest queues belong to `PAUSED` and `OFFLINE`."""

LEAST_BUSY_100Q = TORINO
"""The same for `min_num_qubits=100`."""


@dataclass(frozen=True)
class Device:
    """One QPU: its published data, and a noisy simulator of it.

    Attributes:
        name: IBM-like name.
        fake: Class in `qiskit_ibm_runtime.fake_provider` that holds the data.
        num_qubits: Number of qubits.
        queue_length: Pending jobs of other users, constant.
        availability: As in the list of backends; jobs run on `online` devices only.
    """

    name: str
    fake: str
    num_qubits: int
    queue_length: int
    availability: Literal["online", "paused", "offline"] = "online"

    def _file(self, kind: Literal["conf", "props"]) -> dict[str, Any]:
        import qiskit_ibm_runtime.fake_provider as provider

        stem = self.name.removeprefix("ibm_")
        path = Path(provider.__file__).parent / "backends" / stem / f"{kind}_{stem}.json"
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        data["backend_name"] = self.name
        return data

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """Reply to `GET /backends/{name}/configuration`."""
        return self._file("conf")

    @cached_property
    def properties(self) -> dict[str, Any]:
        """Reply to `GET /backends/{name}/properties`."""
        return self._file("props")

    @property
    def status(self) -> dict[str, Any]:
        """Reply to `GET /backends/{name}/status`."""
        # A paused QPU stays operational and takes jobs; only its message says that none runs.
        return {
            "state": self.availability != "offline",
            "status": "active" if self.availability == "online" else "internal",
            "message": "",
            "length_queue": self.queue_length,
            "backend_version": self.configuration["backend_version"],
        }

    @property
    def entry(self) -> dict[str, Any]:
        """The device in the reply to `GET /backends`."""
        reason = "available" if self.availability == "online" else "maintenance"
        return {
            "name": self.name,
            "status": {"name": self.availability, "reason": reason},
            "is_simulator": False,
            "qubits": self.num_qubits,
            "physical_qubits": self.num_qubits,
            "queue_length": self.queue_length,
            "processor_type": self.configuration["processor_type"],
        }

    @cached_property
    def target(self) -> Target:
        """What the service checks circuits against."""
        return self._fake_backend().target

    @cache  # noqa: B019 - the devices live as long as the process
    def simulator(self, qubits: tuple[int, ...]) -> AerSimulator:
        """An `AerSimulator` of some of the device's qubits, with their noise.

        The noise model of all qubits of a wide device takes seconds, and again a fifth of a second
        per circuit; that of the qubits a job uses gives the same distribution.

        Args:
            qubits: Physical qubits, ascending; they become qubits 0, 1, ... of the simulator.
        """
        from qiskit_aer import AerSimulator

        simulator = AerSimulator.from_backend(device_slice(self.target, qubits))
        # Aer cuts off the qubits that a circuit leaves idle before it counts them.
        simulator.set_max_qubits(self.num_qubits)
        return simulator

    def _fake_backend(self) -> Any:
        provider = importlib.import_module("qiskit_ibm_runtime.fake_provider")
        return getattr(provider, self.fake)()


def device_slice(target: Target, qubits: tuple[int, ...]) -> BackendV2:
    """A backend that consists of `qubits` of `target`, renumbered from 0."""
    from qiskit.providers import BackendV2, Options
    from qiskit.transpiler import Target

    position = {qubit: index for index, qubit in enumerate(qubits)}
    properties = target.qubit_properties
    part = Target(
        num_qubits=len(qubits),
        dt=target.dt,
        qubit_properties=None if properties is None else [properties[qubit] for qubit in qubits],
    )
    for name in target.operation_names:
        placed = target[name]
        if None in placed:
            part.add_instruction(target.operation_from_name(name), name=name)
            continue
        inside = {
            tuple(position[qubit] for qubit in qargs): found
            for qargs, found in placed.items()
            if all(qubit in position for qubit in qargs)
        }
        if inside:
            part.add_instruction(target.operation_from_name(name), inside, name=name)

    class Slice(BackendV2):  # type: ignore[misc]
        target = part
        max_circuits = None

        @classmethod
        def _default_options(cls) -> Options:
            return Options()

        def run(self, run_input: Any, **options: Any) -> Any:
            raise NotImplementedError

    return Slice(name="slice")


@cache
def devices() -> dict[str, Device]:
    """All devices by name; shared by all emulators of the process, as noise models are slow."""
    fleet = (
        Device(MANILA, "FakeManilaV2", 5, 9),
        Device(JAKARTA, "FakeJakartaV2", 7, 2),
        Device(TORINO, "FakeTorino", 133, 4),
        Device(PAUSED, "FakeFez", 156, 0, "paused"),
        Device(OFFLINE, "FakeBrisbane", 127, 0, "offline"),
    )
    return {device.name: device for device in fleet}
