"""An archive by a stranger who tries whatever texts can do to a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Gate, Parameter
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qexp.archive.store import RunStore
from qexp.core.model import SourceFile
from tests.unit.archive.samples import (
    estimator_result,
    header,
    outcome,
    sampler_result,
    write_batch,
    write_partition,
)

SCRIPT = "<script>window.hacked=1</script>"
ATTRIBUTE = "\"'><img src=x onerror=window.hacked=1>"
LINK = "javascript:window.hacked=1"
CONTROL = "\x1b[31mred\x07\u202egnp.exe\u2066"
EVIL = f"{SCRIPT}{ATTRIBUTE}</style></svg>{LINK}{CONTROL}"
"""Everything at once."""


def evil_circuit(number: int = 0) -> QuantumCircuit:
    circuit = QuantumCircuit(2, name=f"{EVIL}{number}", metadata={"observables": [EVIL]})
    circuit.append(Gate(f"</text>{SCRIPT}", 2, [], label=EVIL), [0, 1])
    circuit.rx(Parameter(EVIL), 0)
    return circuit


def sampled(number: int) -> SamplerPub:
    circuit = evil_circuit(number)
    circuit.measure_all()
    return SamplerPub.coerce((circuit, [0.1], 50))


def estimated() -> EstimatorPub:
    return EstimatorPub.coerce((evil_circuit(), [{"ZZ": 0.5}], [[0.1]], 0.1))


def write_hostile(run_dir: Path) -> Path:
    """A partial run: every text in it that can be chosen is `EVIL`."""
    store = RunStore(run_dir)
    store.write_header(evil_header())
    write_batch(store)
    rng = np.random.default_rng(3)
    write_partition(store, 0, 0, [sampled(k) for k in range(3)])
    write_partition(store, 1, 3, [sampled(k) for k in range(2)])
    write_partition(store, 2, 0, [estimated()], "values")
    store.write_job(outcome(0, [sampler_result(rng, {"meas": 2}, 50) for _ in range(3)]))
    failed = {"error": EVIL, "error_code": 9999, "info": {"tags": [EVIL]}, "options": {EVIL: EVIL}}
    store.write_job(outcome(1, None, **failed))
    store.write_job(outcome(2, [estimator_result(rng, (1,))], job_id=EVIL))
    return store.seal("partial", keep_parts=True)


def evil_header() -> Any:
    properties = {"last_update_date": EVIL, "qubits": [[{"name": EVIL, "unit": EVIL, "value": 1}]]}
    instructions = [
        {"name": EVIL, "qubits": [0, 1], "error": 0.01, "duration_s": None},
        {"name": "measure", "qubits": [0], "error": 0.02, "duration_s": None},
    ]
    return header(
        experiment=EVIL,
        config_yaml=f"# {SCRIPT}{ATTRIBUTE}\ntitle: {json.dumps(EVIL)}\n",
        overrides=(EVIL, f"circuits.depth={EVIL}"),
        sources=(SourceFile(EVIL, EVIL),),
        seeds={EVIL: EVIL},
        environment={
            "python": EVIL,
            "platform": EVIL,
            "distributions": [f"{EVIL}=={EVIL}"],
            "git_commit": EVIL,
            "git_dirty": True,
            "git_diff": EVIL,
            EVIL: EVIL,
        },
        backend={
            "name": EVIL,
            "num_qubits": 2,
            "properties": properties,
            "target": {"instructions": instructions},
            "configuration": {},
        },
        limits={EVIL: {"value": 1, "source": LINK, "checked": EVIL}},
        not_honoured={"main": {EVIL: EVIL}},
        metadata={
            "title": EVIL,
            "description": EVIL,
            "license": EVIL,
            "keywords": [EVIL],
            "creators": [{"name": EVIL, "orcid": LINK}],
        },
    )
