"""Mitigated Estimators on the embedded engine, against the client's local mode.

`python -m benchmarks.mitigation`: Ising chains of 4 qubits with 1 to 20 Trotter steps on
FakeManilaV2 at resilience level 2. Whole processes in turn; then the preparation, which both sides
pay, apart from the execution, in one process; then the errors of each technique, over six seeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.providers import BackendV2
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime.executor_estimator import Estimator

from benchmarks.commands import fake, guide, qexp
from benchmarks.guide import chain_pubs
from benchmarks.timing import in_turn, options, report, run, table
from qexp.analysis.exact_evs import exact_values
from qexp.core.model import JobRequest, Partition, PrimitiveSpec
from qexp.engines.local.backends import fake as fake_backend
from qexp.engines.local.programs import Programs
from qexp.engines.primitives import prepare
from qexp.simulator import NoisySampler, make_device
from qexp.workers import without_collector

QUBITS = 4
OBSERVABLES = ["ZIII", "IIIZ", "ZZII", "IIZZ"]
BACKEND = "FakeManilaV2"
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "bare": {"resilience_level": 0},
    "decoupled": {"resilience_level": 0, "dynamical_decoupling": {"enable": True}},
    "TREX": {"resilience_level": 1},
    "TREX, ZNE": {"resilience_level": 2},
}
SEEDS = range(6)
PRECISION = 1 / 128
STEPS = 5


def main() -> None:
    """Measure, and print the tables."""
    _, read = options(__doc__ or "", quick="chains of 1 to 3 steps, one turn, one seed")
    arguments = read()
    steps = 3 if arguments.quick else 20
    own = qexp(
        "qexp",
        *("experiment=ising", *fake(BACKEND), f"circuits.num_qubits={QUBITS}", "analysis=[]"),
        f"circuits.steps={list(range(1, steps + 1))}",
        *("primitive.options.resilience_level=2", "engine.workers=1"),
    )
    loop = guide(
        "client-side Estimator, local mode",
        *("estimator", "--backend", BACKEND, "--implementation", "client", "--chain"),
        *("--resilience-level", "2", "--qubits", str(QUBITS), "--circuits", str(steps)),
        *("--observables", ",".join(OBSERVABLES)),
    )
    usages = in_turn([loop, own], arguments.pairs)
    report(f"chains of 1 to {steps} steps", table(usages, "qexp", "over qexp"))
    backend = fake_backend(BACKEND)
    report("in one process, CPU seconds", execution(backend, steps))
    seeds = SEEDS[:1] if arguments.quick else SEEDS
    report(f"{STEPS} steps, {len(seeds)} seeds", errors(backend, seeds))


def chains(backend: BackendV2, steps: int) -> list[EstimatorPub]:
    """The PUBs of the loop."""
    return [
        EstimatorPub.coerce(pub, 1 / 64) for pub in chain_pubs(QUBITS, steps, OBSERVABLES, backend)
    ]


def execution(backend: BackendV2, steps: int) -> str:
    """Times of preparing all PUBs, and of everything after it, on both sides."""
    spec = PrimitiveSpec("estimator", precision=1 / 64, options={"resilience_level": 2})
    pubs = chains(backend, steps)
    prepared_s = cpu_s(lambda: [prepare(spec, pub, backend) for pub in pubs])

    def prepare_one_by_one() -> None:
        for pub in pubs:
            with without_collector():
                prepare(spec, pub, backend)

    our_prepared_s = cpu_s(prepare_one_by_one)
    ours_s = cpu_s(lambda: estimate(backend, pubs, spec, 1)) - our_prepared_s
    theirs_s = cpu_s(lambda: in_local_mode(backend, pubs, spec, 1)) - prepared_s
    return "\n".join(
        [
            "| | local mode | qexp | ratio |",
            "| --- | ---: | ---: | ---: |",
            f"| preparation | {prepared_s:.1f} | {our_prepared_s:.1f} "
            f"| {prepared_s / our_prepared_s:.1f} |",
            f"| execution | {theirs_s:.1f} | {ours_s:.1f} | {theirs_s / ours_s:.1f} |",
        ]
    )


def errors(backend: BackendV2, seeds: range) -> str:
    """Bias and root mean square of the errors of each technique, qexp's and local mode's."""
    pub = chains(backend, STEPS)[-1]
    logical = generate_preset_pass_manager(0).run(pub.circuit)
    exact = exact_values(EstimatorPub.coerce((logical, pub.observables)))
    rows = ["| technique | side | " + " | ".join(OBSERVABLES) + " | rms |"]
    rows.append("| --- | --- |" + " ---: |" * (len(OBSERVABLES) + 1))
    for name, declared in VARIANTS.items():
        spec = PrimitiveSpec("estimator", precision=PRECISION, options=declared)
        given = [EstimatorPub(pub.circuit, pub.observables, pub.parameter_values, PRECISION)]
        for side, method in (("qexp", estimate), ("local mode", in_local_mode)):
            off = np.array([method(backend, given, spec, seed)[0] - exact for seed in seeds])
            means, spread = off.mean(axis=0), off.std(axis=0, ddof=min(1, len(seeds) - 1))
            cells = [
                f"{mean:+.3f} ({std / len(seeds) ** 0.5:.3f})"
                for mean, std in zip(means, spread, strict=True)
            ]
            rms = np.sqrt((off**2).mean())
            rows.append(f"| {name} | {side} | {' | '.join(cells)} | {rms:.3f} |")
    return "\n".join(rows)


def estimate(
    backend: BackendV2, pubs: list[EstimatorPub], spec: PrimitiveSpec, seed: int
) -> list[Any]:
    """Values of PUBs on the embedded simulator."""
    partition = Partition(0, "main", 0, len(pubs), None, None, 0, 0, 0.0, "end")
    request = JobRequest(partition, spec, list, (), seed)
    device = make_device(backend)
    programs = Programs(backend, device, NoisySampler(device))
    done = programs.run(request, pubs, range(len(pubs)), seed)
    return [one.data.evs for one in done.result]


def in_local_mode(
    backend: BackendV2, pubs: list[EstimatorPub], spec: PrimitiveSpec, seed: int
) -> list[Any]:
    """Values of PUBs in the client's local mode."""
    estimator = Estimator(backend, options=dict(spec.options))
    # Seed 0 is none.
    estimator.options.simulator.seed_simulator = 1 + seed
    estimator.options.simulator.layer_noise_model = []
    result = estimator.run(pubs, precision=pubs[0].precision).result()
    return [one.data.evs for one in result]


def cpu_s(work: Callable[[], Any]) -> float:
    """CPU seconds of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    run(main)
