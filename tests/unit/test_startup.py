"""What is imported to answer: a typo must not cost the seconds that importing Qiskit takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "qiskit",
    "qiskit_aer",
    "qiskit_ibm_runtime",
    "h5netcdf",
    "h5py",
    "matplotlib",
    "netCDF4",
    "pandas",
    "rich",
    "scipy",
    "xarray",
)

NOT_TO_ANSWER = (
    *HEAVY,
    "concurrent.futures",
    "filelock",
    "multiprocessing",
    "numpy",
    "qexp.journal.file",
    "qexp.experiment",
)

PROBE = """
import atexit, sys
atexit.register(lambda: print("IMPORTED", *sorted(set(sys.modules) & set({names!r}))))
{code}
"""

RANDOM = "experiment=random_sampling"


def imported(code: str, folder: Path, *arguments: str, names: tuple[str, ...] = HEAVY):
    """Run code in a fresh interpreter: the listed modules that it imported, what it printed."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HYDRA_")}
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(names=names, code=code), *arguments],
        cwd=folder,
        env=clean,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    *printed, last = done.stdout.splitlines()
    assert last.startswith("IMPORTED"), done.stderr
    return last.split()[1:], "\n".join(printed) + done.stderr


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["--help"], "experiment=random_sampling"),
        ([RANDOM, "--cfg", "job"], "num_circuits: 500"),
        ([RANDOM, "circuits.dept=8"], "did you mean 'depth'?"),
        ([RANDOM, "sede=8"], "did you mean 'seed'?"),
        ([RANDOM, "backend=lest_busy"], "backend=lest_busy: no such choice"),
        ([RANDOM, "circuits.depth=abc"], "circuits.depth: got 'abc'"),
        ([RANDOM, "circuits.depth=-1"], "circuits.depth: got -1"),
        ([RANDOM, "backend=ibm"], "backend.name: a value is needed"),
        ([RANDOM, "batch.max_time=soon"], "batch.max_time: "),
        (["-m", RANDOM, "circuits.depth=2,-1"], "sweep point 'circuits.depth=-1'"),
        (["experiment=efficient_su2", "primitive.shots=3"], "primitive.shots: got 3"),
        (["experiment=ghz", "backend=ibm", "backend.name=x", "backend.instanc=y"], "'instance'"),
        (["experiment=ghz", "engine.worker=2"], "did you mean 'workers'?"),
        ([RANDOM, "partition.max_circuits=0"], "partition.max_circuits: got 0"),
    ],
)
def test_an_answer_about_the_config_imports_nothing_heavy(
    tmp_path: Path, arguments: list[str], answer: str
):
    code = "from qexp.__main__ import main; main()"
    modules, output = imported(code, tmp_path, *arguments, names=NOT_TO_ANSWER)
    assert answer in output
    assert modules == []


@pytest.mark.parametrize("verb", ["ls", "resume"])
def test_the_verbs_explain_themselves_with_next_to_nothing(tmp_path: Path, verb: str):
    names = (*NOT_TO_ANSWER, "hydra", "omegaconf", "pydantic", "yaml")
    code = "from qexp.__main__ import main; main()"
    modules, output = imported(code, tmp_path, verb, "--help", names=names)
    assert output.startswith(f"usage: python -m qexp {verb}")
    assert modules == []


def test_a_refused_config_leaves_no_folder(tmp_path: Path):
    imported("from qexp.__main__ import main; main()", tmp_path, RANDOM, "circuits.depth=-1")
    assert list(tmp_path.iterdir()) in ([], [tmp_path / "outputs"])
    assert not list(tmp_path.glob("outputs/*"))


def test_importing_qexp_imports_nothing_but_itself(tmp_path: Path):
    others = (*HEAVY, "hydra", "numpy", "omegaconf", "pydantic")
    modules, _ = imported("import qexp; dir(qexp); qexp.QexpError", tmp_path, names=others)
    assert modules == []


def test_opening_an_archive_needs_no_hydra(tmp_path: Path):
    names = ("hydra", "omegaconf", "pydantic", "qiskit_aer", "qiskit_ibm_runtime", "rich")
    modules, _ = imported("import qexp; qexp.open_archive", tmp_path, names=names)
    assert modules == []


def test_a_declaration_imports_nothing_heavy(tmp_path: Path):
    modules, _ = imported("import qexp; qexp.declare('random_sampling', seed=3)", tmp_path)
    assert modules == []


def test_a_listing_reads_archives_in_another_process(tmp_path: Path):
    (tmp_path / "outputs" / "run").mkdir(parents=True)
    (tmp_path / "outputs" / "run" / "run.h5").write_bytes(b"")
    code = f"import os; os.environ['XDG_CACHE_HOME'] = {str(tmp_path / 'cache')!r}"
    code += "; from qexp.__main__ import main; main()"
    modules, output = imported(code, tmp_path, "ls")
    assert "1 run in outputs: 1 damaged" in output
    assert modules == ["rich"]


EVERY_MODULE = """
import importlib, pkgutil, qexp
found = {item.name for item in pkgutil.walk_packages(qexp.__path__, "qexp.")}
# These are themselves only imported where something is simulated or read; the last is a program.
used_late = (
    "qexp.engines.local.archived_device",
    "qexp.engines.local.preload",
    "qexp.engines.local.programs",
    "qexp.simulator.",
    "qexp.sweeps.point_arrays",
    "qexp.archive.verify_run",
)
for name in found - {"qexp.__main__"}:
    if not name.startswith(used_late):
        importlib.import_module(name)
print(*found)
"""


def test_heavy_imports_happen_where_they_are_used(tmp_path: Path):
    modules, printed = imported(EVERY_MODULE, tmp_path)
    assert {"qexp.experiment", "qexp.planning.transpile", "qexp.archive.read"} <= set(
        printed.split()
    )
    # The terminal is itself imported only when a run begins.
    assert modules == ["rich"]
