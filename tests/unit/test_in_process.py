"""Experiments from a script of the user's own: no guard, a thread, a running event loop, twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import asyncio, sys, threading
from dataclasses import replace
from pathlib import Path

from qexp.core.model import PrimitiveSpec
from qexp.core.spec import PartitionLimits, RunSpec, TranspileSpec, WorkloadSpec
from qexp.engines.local.backends import fake
from qexp.engines.local.engine import LocalEngine
from qexp.experiment import resume, run

print("running", __name__, "qiskit" in sys.modules)


def circuits(sequence):
    from qiskit import QuantumCircuit

    for index in range(80):
        circuit = QuantumCircuit(2)
        circuit.ry(index / 80, 0)
        circuit.cx(0, 1)
        circuit.measure_all()
        yield circuit


def spec(workers):
    primitive = PrimitiveSpec("sampler", shots=20)
    workload = WorkloadSpec("main", circuits, primitive, TranspileSpec(), 80)
    return RunSpec(
        experiment="own", seed=1, workloads=(workload,), engine=LocalEngine(workers=workers),
        select_backend=lambda recorded: fake("FakeManilaV2"),
        partition=PartitionLimits(max_circuits=80), limits={}, config=("seed: 1",),
    )


def digest(report):
    import qexp

    with qexp.open_archive(report.archive) as archive:
        return report.status, archive.data_sha256


found = []


def in_thread():
    found.append(digest(run(spec(2), Path("thread"))))


async def in_loop():
    found.append(digest(run(spec(2), Path("loop"))))


thread = threading.Thread(target=in_thread)
thread.start()
thread.join()
asyncio.run(in_loop())
planned = run(replace(spec(1), stop_after="plan"), Path("alone"))
print(planned.status, len(planned.plan.partitions))
found.append(digest(resume(spec(1), Path("alone"))))
print(found[0][0], len(set(found)))
"""


def test_a_script_without_a_guard_runs_it_in_a_thread_in_a_loop_and_again(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["running __main__ False", "planned 1", "complete 1"]
