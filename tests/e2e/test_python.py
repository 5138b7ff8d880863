"""qexp from Python as people use it: scripts without a guard, standard input, a notebook."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import qexp

SCRIPT = """
from functools import partial

import qexp
from qiskit import QuantumCircuit

print("running", __name__)


def rotations(num_circuits: int, rng):
    for angle in rng.uniform(0, 3.14, num_circuits):
        circuit = QuantumCircuit(1)
        circuit.rx(angle, 0)
        circuit.measure_all()
        yield circuit


own = partial(rotations, num_circuits=80)
# Two worker processes, which have another __main__.
run = qexp.run(circuits=own, primitive="sampler", shots=10, **{"engine.workers": 2})
print(run.status, len(run.results["main"]))
print([source.name for source in run.sources if "__main__" in source.name])
try:
    qexp.run("ghz", sede=3)
except qexp.QexpError as error:
    print(str(error).partition(";")[0])
"""
PRINTED = ["running __main__", "complete 80", "sede: unknown key"]


def python(folder: Path, *arguments: str, stdin: str = "") -> list[str]:
    """Run an interpreter in a folder that has nothing of qexp; return the lines that it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("QISKIT_")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**clean, "PYTHONPATH": str(Path(qexp.__file__).parents[1]), "HOME": str(folder)},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_a_script_without_a_guard(tmp_path: Path):
    script = tmp_path / "scripts" / "mine.py"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    first, second, sources, last = python(tmp_path, str(script))
    assert [first, second, last] == PRINTED
    assert sources == "['__main__.py']"
    # In the current folder, and with the text of the script.
    (path,) = (tmp_path / "outputs" / "adhoc").rglob("run.h5")
    with qexp.open_archive(path) as run:
        assert SCRIPT in [source.text for source in run.sources]


@pytest.mark.parametrize("arguments", [["-c", SCRIPT], ["-"]], ids=["-c", "stdin"])
def test_code_that_is_in_no_file(tmp_path: Path, arguments: list[str]):
    first, second, _, last = python(tmp_path, *arguments, stdin=SCRIPT)
    assert [first, second, last] == PRINTED


def test_a_users_own_conf_and_experiments(tmp_path: Path):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(
        "# @package _global_\n"
        "defaults: [override /primitive: sampler]\n"
        "circuits: {_target_: experiments.mine.ones, num_circuits: 2}\n"
    )
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.py").write_text(
        "from qiskit import QuantumCircuit\n\n\n"
        "def ones(num_circuits: int, rng):\n"
        "    for _ in range(num_circuits):\n"
        "        circuit = QuantumCircuit(1)\n"
        "        circuit.x(0)\n"
        "        circuit.measure_all()\n"
        "        yield circuit\n"
    )
    script = tmp_path / "elsewhere" / "go.py"
    script.parent.mkdir()
    script.write_text(
        "import qexp\n"
        "run = qexp.run('mine', 'circuits.num_circuits=3', shots=10, backend='aer')\n"
        "print([counts for counts in run.counts()])\n"
        "print(qexp.run('chsh', 'stop_after=plan').status)\n"
    )
    assert python(tmp_path, str(script)) == ["[{'1': 10}, {'1': 10}, {'1': 10}]", "planned"]


CELLS = [
    "import qexp\nrun = qexp.run('random_sampling', 'circuits.num_circuits=5', shots=20)\nrun",
    "qexp.plan('ghz')",
    SCRIPT,
    "qexp.run('ghz', shots=10)\nassert False, 'no other cell'",
    "import asyncio\nasyncio.get_running_loop()\n[item.status for item in qexp.runs()]",
]


def test_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "notebooks"
    folder.mkdir()
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(
        notebook,
        timeout=540,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    run, plan, script, failed, listed = (cell.outputs for cell in notebook.cells)
    # The bars, at their end, then what the cell returns.
    bars, archive = (output["data"]["text/html"] for output in run)
    assert "<td>collecting</td>" in bars
    assert 'value="1" max="1"' in bars
    assert "complete, 5 of 5 PUBs have a result" in archive
    assert "Nothing was submitted. Backend: fake_manila" in plan[-1]["data"]["text/html"]
    printed = [line for item in script for line in item.get("text", "").splitlines()]
    assert [line for line in printed if "[" not in line] == PRINTED
    assert "['__main__/rotations.py']" in printed
    # An error in a cell is the only one; nothing was printed on stderr.
    assert [item["ename"] for item in failed if item["output_type"] == "error"] == [
        "AssertionError"
    ]
    outputs = [item for cell in notebook.cells for item in cell.outputs]
    assert not [item for item in outputs if item.get("name") == "stderr"]
    assert listed[0]["data"]["text/plain"] == str(["complete", "complete", "planned", "complete"])
