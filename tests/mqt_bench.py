"""The families of MQT Bench: `pip install mqt.bench`, then `python -m tests.mqt_bench`.

Every circuit is run, verified and reproduced from its archive, or refused in the plan. It takes a
minute or two; runs land in `outputs/` of the current folder.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from qiskit import QuantumCircuit

import qexp
from qexp.errors import QexpError
from qexp.reproduction import new_folder, reproduction_spec, run_again

SIZES = range(3, 13)


def circuits() -> Iterator[tuple[str, QuantumCircuit]]:
    """Yield each family's smallest circuit."""
    from mqt.bench import BenchmarkLevel, get_benchmark
    from mqt.bench.benchmarks import get_available_benchmark_names

    for name in get_available_benchmark_names():
        for size in SIZES:
            try:
                circuit = get_benchmark(name, level=BenchmarkLevel.ALG, circuit_size=size)
            except (ValueError, AssertionError, IndexError):
                continue
            if not circuit.num_clbits:
                circuit.measure_all()
            yield name, circuit
            break


def outcome(circuit: QuantumCircuit, folder: Path) -> str:
    """Return how a circuit ended: reproduced bit by bit, or the first thing that is wrong."""
    backend = "local" if circuit.num_qubits <= 5 else "aer"
    try:
        with qexp.run(circuits=[circuit], primitive="sampler", shots=200, backend=backend) as run:
            if problems := run.verify():
                return f"damaged: {problems[0]}"
            path, digest = run.path, run.data_sha256
    except QexpError as error:
        return f"refused: {error}" if error.exit_code == 2 else f"failed: {error}"
    spec, _ = reproduction_spec(path, circuits="archived")
    again = run_again(spec, new_folder(spec, str(folder)), "archived")
    with qexp.open_archive(again) as run:
        return "bit-identical" if run.data_sha256 == digest else "other data"


def main() -> None:
    """Print a line for each family; exit code 1 if one neither ran nor was refused."""
    ends: Counter[str] = Counter()
    for name, circuit in circuits():
        with tempfile.TemporaryDirectory() as folder:
            found = outcome(circuit, Path(folder) / "again")
        ends[found.partition(":")[0]] += 1
        sys.stdout.write(f"{name} ({circuit.num_qubits} qubits): {found}\n")
    sys.stdout.write(f"{dict(ends)}\n")
    raise SystemExit(0 if set(ends) <= {"bit-identical", "refused"} else 1)


if __name__ == "__main__":
    main()
