"""Runs for tests of anything that writes or reads archives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ClassicalRegister, Parameter, QuantumRegister
from qiskit.primitives import BitArray, DataBin, PrimitiveResult, PubResult, SamplerPubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qexp.archive.pubs import pub_rows
from qexp.archive.writer import RunStore
from qexp.core.model import JobOutcome, Partition, PlannedPub, RunHeader, SourceFile, Span


def header(**changes: Any) -> RunHeader:
    fields: dict[str, Any] = {
        "run_id": "20260101-abc",
        "experiment": "random_sampling",
        "engine": "local",
        "created": "2026-01-01T00:00:00+00:00",
        "config_yaml": "seed: 7\ncircuits:\n  depth: 5\n",
        "overrides": ("circuits.depth=5", "name=größe"),
        "sources": (SourceFile("random_sampling.yaml", "seed: 7\n"),),
        "seed": 7,
        "seeds": {"main": {"circuits": [1, 2]}},
        "environment": {
            "python": "3.11.7",
            "platform": "linux",
            "distributions": ["numpy==2.0", "qiskit==2.6"],
            "git_commit": "abc",
            "git_dirty": True,
            "git_diff": "- a\n+ b\n",
            "cpu": "two cores",
        },
        "backend": {
            "name": "fake_lima",
            "num_qubits": 2,
            "properties": properties(0.0),
            "target": {"dt": 1e-9},
            "configuration": {"basis_gates": ["cx"]},
        },
        "limits": {"max_circuits": {"value": 100}},
        "not_honoured": {"main": {"resilience_level": 2}},
        "metadata": {
            "title": "Try",
            "keywords": ["a", "b"],
            "creators": [{"name": "Ada"}],
            "publisher": {"name": "Lab", "url": None},
            "funding": [{"funder": "Agency", "grant": "12a"}],
        },
    }
    return RunHeader(**(fields | changes))


def properties(t1_us: float) -> dict[str, Any]:
    return {
        "last_update_date": "2026-01-01T00:00:00+00:00",
        "qubits": [
            [
                {"name": "T1", "unit": "us", "value": t1_us + k},
                {"name": "readout_error", "unit": "", "value": 0.01},
            ]
            for k in range(2)
        ],
    }


def sampler_circuit(*bits: int, parameter: str = "") -> QuantumCircuit:
    registers = [ClassicalRegister(n, f"reg{k}") for k, n in enumerate(bits)]
    circuit = QuantumCircuit(QuantumRegister(sum(bits), "q"), *registers, name="c")
    circuit.h(0)
    if parameter:
        circuit.rx(Parameter(parameter), 0)
    circuit.measure(range(sum(bits)), range(sum(bits)))
    return circuit


def estimator_pub(points: int = 2) -> EstimatorPub:
    circuit = QuantumCircuit(2)
    circuit.rx(Parameter("a"), 0)
    circuit.ry(Parameter("b"), 1)
    values = np.arange(2.0 * points).reshape(points, 1, 2)
    observables = [{"ZZ": 0.5, "XI": -1.25}, {"IY": 1 / 3}]
    return EstimatorPub.coerce((circuit, observables, values, 0.01))


def sampler_pub(seed: int = 0, *, points: int = 3, shots: int | None = 100) -> SamplerPub:
    values = np.random.default_rng(seed).random((points, 1))
    return SamplerPub.coerce((sampler_circuit(2, 1, parameter="θ"), values, shots))


def bit_array(rng: np.random.Generator, bits: int, shots: int, sweep: Sequence[int]) -> BitArray:
    flat = rng.integers(0, 2, (*sweep, shots, bits)).astype(bool)
    return BitArray.from_bool_array(flat, order="little")


def sampler_result(
    rng: np.random.Generator, registers: Mapping[str, int], shots: int, sweep: tuple[int, ...] = ()
) -> SamplerPubResult:
    data = {name: bit_array(rng, bits, shots, sweep) for name, bits in registers.items()}
    return SamplerPubResult(DataBin(shape=sweep, **data), {"shots": shots})


def estimator_result(rng: np.random.Generator, sweep: tuple[int, ...]) -> PubResult:
    evs, stds = rng.random((2, *sweep))
    data = DataBin(shape=sweep, evs=np.asarray(evs), stds=np.asarray(stds))
    return PubResult(data, {"target_precision": 0.01})


def write_partition(
    store: RunStore,
    index: int,
    first: int,
    pubs: Sequence[Any],
    workload: str = "main",
    redact: Callable[[str], str] = str,
) -> Partition:
    partition = Partition(
        index, workload, first, first + len(pubs), 100, None, 1000, 2000, 12.5, "max_circuits"
    )
    planned = [PlannedPub(workload, first + k, pub, pub) for k, pub in enumerate(pubs)]
    store.write_partition(partition, pub_rows(workload, planned, redact))
    return partition


def outcome(index: int, results: Sequence[Any] | None, **changes: Any) -> JobOutcome:
    fields: dict[str, Any] = {
        "job_id": f"job-{index}",
        "partition": index,
        "state": "DONE" if results is not None else "ERROR",
        "result": None if results is None else PrimitiveResult(results, {"version": 2}),
        "metrics": {
            "timestamps": {
                "created": "2026-01-01T00:00:00+00:00",
                "running": "2026-01-01T00:00:01+00:00",
                "finished": f"2026-01-01T00:00:{index + 10}+00:00",
            },
            "usage": {"qpu_charge_time_seconds": 3.5, "status": "complete"},
        },
        "options": {"twirling": {"enable_gates": False}},
        "spans": (Span("2026-01-01T00:00:02+00:00", "2026-01-01T00:00:03+00:00", 0, 100),),
        "backend_properties": properties(float(index // 2)),
        "info": {"tags": ["qexp"]},
        "failure": "transient" if results is None else None,
        "batch_id": "batch-1",
    }
    return JobOutcome(**(fields | changes))


def write_batch(store: RunStore, number: int = 0) -> None:
    batch_id, follows = f"batch-{number + 1}", f"batch-{number}" if number else None
    opened, final = ({"id": batch_id, "state": state} for state in ("open", "closed"))
    store.write_batch(number, opened, final, batch_id=batch_id, follows=follows)


def started(run_dir: Path, *pubs: Any, **changes: Any) -> RunStore:
    """A run with a header, and with a partition of these PUBs, if any."""
    store = RunStore(run_dir)
    store.write_header(header(**changes))
    if pubs:
        write_partition(store, 0, 0, pubs)
    return store


def write_run(
    run_dir: Path, results: Sequence[Sequence[Any] | None], order: Sequence[int] | None = None
) -> RunStore:
    """A run of one workload, one job per entry; None is a failed job of two PUBs."""
    store = started(run_dir)
    write_batch(store)
    first, outcomes = 0, []
    for index, job in enumerate(results):
        pubs = [sampler_pub(first + k) for k in range(2 if job is None else len(job))]
        write_partition(store, index, first, pubs)
        first += len(pubs)
        failure = {"error": "Queue\nwas closed", "error_code": 1305} if job is None else {}
        outcomes.append(outcome(index, job, **failure))
    for index in order or range(len(outcomes)):
        store.write_job(outcomes[index])
    return store


def sampler_jobs(counts: Sequence[int], seed: int = 1) -> list[list[SamplerPubResult]]:
    rng = np.random.default_rng(seed)
    return [
        [sampler_result(rng, {"reg0": 2, "reg1": 1}, 100, (3,)) for _ in range(count)]
        for count in counts
    ]


def assert_same_result(actual: PubResult, expected: PubResult) -> None:
    assert type(actual) is type(expected)
    assert actual.metadata == expected.metadata
    assert list(actual.data.keys()) == list(expected.data.keys())
    assert actual.data.shape == expected.data.shape
    for name, value in expected.data.items():
        found = actual.data[name]
        assert type(found) is type(value)
        if isinstance(value, BitArray):
            assert found == value
            assert found.num_bits == value.num_bits
            assert np.array_equal(found.array, value.array)
            assert found.array.shape == value.array.shape
        elif isinstance(value, np.ndarray | np.generic):
            assert found.dtype == value.dtype
            assert found.shape == value.shape
            assert found.tobytes() == value.tobytes()
        else:
            assert found == value
