"""The smallest jobs there are, for checks of IBM's service."""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING, Final

from qexp.core.model import JOB_TAG, JobRequest, Partition, PrimitiveSpec
from qexp.core.spec import PartitionLimits

if TYPE_CHECKING:
    from qiskit.primitives.containers.sampler_pub import SamplerPub
    from qiskit_ibm_runtime import IBMBackend

SHOTS: Final = 10
NUM_PUBS: Final = 2
_MOST_QPU_S: Final = (5, 2, 2)
"""`max_execution_time` of the job that runs, of the one that is cancelled, of the one refused."""
MOST_QPU_S: Final = sum(_MOST_QPU_S)
_JOB_QPU_S: Final = PartitionLimits.job_overhead_s
PREDICTED_QPU_S: Final = 2 * _JOB_QPU_S


def tiny_requests(backend: IBMBackend) -> tuple[str, list[JobRequest]]:
    """Return the tag of all jobs, and the three jobs, each with a tag as those of a run have."""
    run_tag = f"qexp-run:doctor-{secrets.token_hex(8)}"
    requests = []
    for index, most_qpu_s in enumerate(_MOST_QPU_S):
        tag = f"{JOB_TAG}{index}.1:{secrets.token_hex(8)}"
        options = {"max_execution_time": most_qpu_s}
        requests.append(
            JobRequest(
                partition=Partition(
                    index=index,
                    workload="doctor",
                    first=0,
                    stop=NUM_PUBS,
                    shots=SHOTS,
                    precision=None,
                    executions=NUM_PUBS * SHOTS,
                    payload_bytes=0,
                    qpu_s=_JOB_QPU_S,
                    closed_by="end",
                ),
                primitive=PrimitiveSpec("sampler", shots=SHOTS, options=options),
                load_pubs=partial(_pubs, backend),
                tags=("qexp", run_tag, tag),
                seed=0,
                tag=tag,
            )
        )
    return run_tag, requests


def _pubs(backend: IBMBackend) -> list[SamplerPub]:
    """Return two PUBs of one qubit each: one that measures 0, one that measures 1."""
    from qiskit import QuantumCircuit
    from qiskit.primitives.containers.sampler_pub import SamplerPub
    from qiskit.transpiler import generate_preset_pass_manager

    passes = generate_preset_pass_manager(optimization_level=1, backend=backend)
    circuits = [QuantumCircuit(1, name=f"doctor-{index}") for index in range(NUM_PUBS)]
    circuits[1].x(0)
    for circuit in circuits:
        circuit.measure_all()
    return [SamplerPub.coerce(passes.run(circuit), SHOTS) for circuit in circuits]
