"""The programs `sampler`, `estimator` and `executor`: decoded, simulated with noise, encoded."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.emulator.devices import devices
from tests.emulator.encoding import chunk_timing, execution_spans, seed_of
from tests.emulator.errors import NOT_VALID, InvalidJobError
from tests.emulator.narrow import narrow_circuit, narrow_observables, observed_qubits, used_qubits
from tests.emulator.simulate import (
    MAX_QUBITS,
    Truth,
    check_circuits,
    sample,
    simulated_qubits,
)
from tests.emulator.state import now

if TYPE_CHECKING:
    from tests.emulator.state import Job

DEFAULT_SHOTS = 4096
DEFAULT_PRECISION = 0.015625
EXECUTION_S = 3e-4
"""QPU seconds charged per execution: `rep_delay` of 250 us and a short circuit."""
JOB_OVERHEAD_S = 2.0


@dataclass(frozen=True)
class Outcome:
    """A finished program.

    Attributes:
        text: The result as the client downloads it.
        truth: Per PUB, by name: bits of a register, of shape `(*shape, shots, bits)` with classical
            bit 0 first, or `evs` and `stds`.
        usage_s: QPU seconds that are charged.
    """

    text: str
    truth: Truth
    usage_s: float


def run_program(job: Job) -> Outcome:
    """Run a job.

    Raises:
        InvalidJobError: If the job cannot be run as it was sent.
    """
    programs = {"sampler": run_sampler, "estimator": run_estimator, "executor": run_executor}
    program_id = job.body["program_id"]
    if program_id not in programs:
        raise InvalidJobError(f"Program not found: {program_id}", 1207)
    return programs[program_id](job)


def run_sampler(job: Job) -> Outcome:
    """The legacy, server-side sampler."""
    from qiskit.primitives import PrimitiveResult, SamplerPubResult
    from qiskit.primitives.containers import BitArray, DataBin

    params = decoded_params(job)
    options = params.get("options", {})
    if options.get("execution", {}).get("meas_type", "classified") != "classified":
        raise InvalidJobError("Job not valid. Only classified data is emulated.", NOT_VALID)
    pubs = [
        (circuit, np.asarray(values, dtype=float), shots or default_shots(options))
        for circuit, values, shots in (pad(pub, 3) for pub in params["pubs"])
    ]
    begin = now()
    truth = sample(devices()[job.backend], pubs, params.get("options", {}))
    shapes = [values.shape[:-1] for _, values, _ in pubs]
    shots = [count for *_, count in pubs]
    results = [
        SamplerPubResult(
            DataBin(
                **{
                    name: BitArray.from_bool_array(bits, order="little")
                    for name, bits in measured.items()
                },
                shape=shape,
            ),
            {"circuit_metadata": circuit.metadata or {}},
        )
        for measured, shape, (circuit, *_) in zip(truth, shapes, pubs, strict=True)
    ]
    spans = execution_spans(shapes, shots, begin, now())
    metadata = {"execution": {"execution_spans": spans}, "version": 2}
    executions = sum(math.prod(shape) * n for shape, n in zip(shapes, shots, strict=True))
    return Outcome(encoded(PrimitiveResult(results, metadata)), truth, charge(executions))


def run_estimator(job: Job) -> Outcome:
    """The legacy, server-side estimator, without any mitigation."""
    from qiskit.primitives import BackendEstimatorV2, PrimitiveResult, PubResult
    from qiskit.primitives.containers import DataBin
    from qiskit.primitives.containers.observables_array import ObservablesArray

    params = decoded_params(job)
    options = params.get("options", {})
    pubs = [pad(pub, 4) for pub in params["pubs"]]
    circuits = [pub[0] for pub in pubs]
    device = devices()[job.backend]
    check_circuits(circuits, device)
    arrays = [ObservablesArray.coerce(pub[1]) for pub in pubs]
    terms = [dict(array[index]) for array in arrays for index in np.ndindex(array.shape)]
    qubits = simulated_qubits(device, used_qubits(circuits) | observed_qubits(terms))
    if len(qubits) > MAX_QUBITS:
        raise InvalidJobError(f"The emulator cannot simulate {len(qubits)} qubits.", NOT_VALID)
    precision = options.get("default_precision") or DEFAULT_PRECISION
    begin = now()
    seed = seed_of(circuits, [[pub[1], np.asarray(pub[2]).tolist(), pub[3]] for pub in pubs])
    estimator = BackendEstimatorV2(
        backend=device.simulator(qubits), options={"seed_simulator": seed}
    )
    estimates = estimator.run(
        [
            (
                narrow_circuit(circuit, qubits),
                narrow_observables(array, qubits),
                np.asarray(values, dtype=float),
                wanted or precision,
            )
            for array, (circuit, _, values, wanted) in zip(arrays, pubs, strict=True)
        ]
    ).result()
    truth: Truth = []
    results = []
    for estimate, circuit in zip(estimates, circuits, strict=True):
        evs, stds = np.asarray(estimate.data.evs), np.asarray(estimate.data.stds)
        truth.append({"evs": evs, "stds": stds})
        data = DataBin(evs=evs, stds=stds, ensemble_standard_error=stds, shape=evs.shape)
        metadata = {
            "shots": estimate.metadata["shots"],
            "target_precision": estimate.metadata["target_precision"],
            "circuit_metadata": circuit.metadata or {},
            "resilience": {},
            "num_randomizations": 1,
        }
        results.append(PubResult(data, metadata))
    shapes = [found["evs"].shape for found in truth]
    shots = [result.metadata["shots"] for result in results]
    spans = execution_spans(shapes, shots, begin, now())
    metadata = {
        "dynamical_decoupling": {"enable": False},
        "twirling": {"enable_gates": False, "enable_measure": False},
        "resilience": {"measure_mitigation": False, "zne_mitigation": False},
        "execution": {"execution_spans": spans},
        "version": 2,
    }
    executions = sum(math.prod(shape) * n for shape, n in zip(shapes, shots, strict=True))
    return Outcome(encoded(PrimitiveResult(results, metadata)), truth, charge(executions))


def run_executor(job: Job) -> Outcome:
    """Quantum programs, which is what the client-side primitives send."""
    from ibm_quantum_schemas.common import CompressedTensorModel
    from ibm_quantum_schemas.executor.version_2_0 import QuantumProgramResultModel
    from ibm_quantum_schemas.executor.version_2_0.models import (
        ItemMetadataModel,
        MetadataModel,
        QuantumProgramResultItemModel,
    )
    from qiskit_ibm_runtime.quantum_program.params_converters import (
        QUANTUM_PROGRAM_PARAMS_CONVERTERS,
    )

    converter = QUANTUM_PROGRAM_PARAMS_CONVERTERS["v2.0"]
    model = converter.model.model_validate(job.body["params"])
    program, _ = converter.decoder(model)
    if program.meas_level != "classified":
        raise InvalidJobError("Job not valid. Only classified data is emulated.", NOT_VALID)
    circuits = [item.circuit for item in program.items]
    rng = np.random.default_rng(seed_of(circuits, job.backend, program.shots))
    pubs, extras = [], []
    for item in program.items:
        values, sampled = item_arguments(item, rng)
        pubs.append((item.circuit, values, program.shots))
        extras.append(sampled)
    begin = now()
    measured = sample(devices()[job.backend], pubs, {})
    arrays = [extra | bits for extra, bits in zip(extras, measured, strict=True)]
    shapes = [values.shape[:-1] for _, values, _ in pubs]
    result = QuantumProgramResultModel(
        data=[
            QuantumProgramResultItemModel(
                results={
                    name: CompressedTensorModel.from_numpy(np.ascontiguousarray(array))
                    for name, array in found.items()
                },
                metadata=ItemMetadataModel(),
            )
            for found in arrays
        ],
        metadata=MetadataModel(chunk_timing=chunk_timing(shapes, begin, now())),
        passthrough_data=model.quantum_program.passthrough_data,
        semantic_role=model.quantum_program.semantic_role,
    )
    text = result.model_dump_json()
    executions = sum(math.prod(shape) for shape in shapes) * program.shots
    return Outcome(text, executor_truth(text, arrays, program), charge(executions))


def item_arguments(item: Any, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Parameter values of all elements of an item, and what else its samplex drew."""
    from qiskit_ibm_runtime.fake_provider.executor.broadcast_sample import broadcast_sample
    from samplomatic.quantum_program import SamplexItem

    if not isinstance(item, SamplexItem):
        return np.asarray(item.circuit_arguments, dtype=float), {}
    item.samplex.finalize()
    sampled = broadcast_sample(item.samplex, item.samplex_arguments, item.shape, rng)
    return np.asarray(sampled.pop("parameter_values"), dtype=float), sampled


def executor_truth(text: str, arrays: Truth, program: Any) -> Truth:
    """What the archive has to hold for the result of an executor job.

    A sampler's bits are computed here: flips undone, randomizations laid side by side as shots.
    An estimator's values take the client's own arithmetic.
    """
    if program._semantic_role == "sampler_v2":
        twirled = program.passthrough_data["post_processor"]["twirling"]
        return [untwirled(found) if twirled else found for found in arrays]
    if program._semantic_role == "estimator_v2":
        from qiskit_ibm_runtime.decoders.executor.decoder import ExecutorResultDecoder
        from qiskit_ibm_runtime.decoders.executor_estimator.decoder import (
            ClientSideEstimatorDecoder,
        )

        result = ClientSideEstimatorDecoder.decode(ExecutorResultDecoder.decode(text))
        return [{name: np.asarray(value) for name, value in pub.data.items()} for pub in result]
    return arrays


def untwirled(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """From `(randomizations, *shape, shots, bits)` to `(*shape, randomizations x shots, bits)`."""
    bits = {}
    for name, array in found.items():
        if name.startswith("measurement_flips."):
            continue
        flips = found.get(f"measurement_flips.{name}")
        flipped = array if flips is None else array ^ flips
        beside = np.moveaxis(flipped, 0, -3)
        bits[name] = beside.reshape(*beside.shape[:-3], -1, beside.shape[-1])
    return bits


def default_shots(options: dict[str, Any]) -> int:
    """Shots of a PUB that asks for none."""
    twirling = options.get("twirling", {})
    randomizations = twirling.get("num_randomizations", "auto")
    each = twirling.get("shots_per_randomization", "auto")
    if isinstance(randomizations, int) and isinstance(each, int):
        return randomizations * each
    return options.get("default_shots") or DEFAULT_SHOTS


def pad(pub: Any, length: int) -> list[Any]:
    """A PUB with `None` for what it leaves out at its end."""
    return [*pub, *[None] * (length - len(pub))]


def decoded_params(job: Job) -> dict[str, Any]:
    """The job's parameters as Python objects."""
    from qiskit_ibm_runtime import RuntimeDecoder

    params: dict[str, Any] = json.loads(job.raw, cls=RuntimeDecoder)["params"]
    return params


def encoded(result: Any) -> str:
    """A result as JSON in the service's encoding."""
    from qiskit_ibm_runtime import RuntimeEncoder

    return json.dumps(result, cls=RuntimeEncoder)


def charge(executions: int) -> float:
    """QPU seconds for a number of executions."""
    return round(JOB_OVERHEAD_S + executions * EXECUTION_S, 3)
