"""The public functions: what they return, what they refuse, and what they leave as it was."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

import qexp
from qexp.config.paths import shipped_conf
from qexp.core.spec import RunSpec
from qexp.errors import ArchiveError, ConfigError, GeneratorError, PlanError
from qexp.reproduction import new_folder, reproduction_spec, run_again

QUICK: dict[str, Any] = {"engine.workers": 1, "shots": 20}
ANGLE = Parameter("angle")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is no checkout."""
    path = tmp_path / "work"
    path.mkdir()
    monkeypatch.chdir(path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return path


def rotated(measured: bool = True) -> QuantumCircuit:
    circuit = QuantumCircuit(1, name="rotated")
    circuit.rx(ANGLE, 0)
    if measured:
        circuit.measure_all()
    return circuit


def rotations(num_circuits: int, rng: np.random.Generator) -> Iterator[Any]:
    for angle in rng.uniform(0, 3, num_circuits):
        yield rotated(), [angle]


def failing(rng: np.random.Generator) -> Iterator[Any]:
    yield rotated(), [0.0]
    raise ZeroDivisionError("no more")


NAMES = """
import importlib, inspect, pkgutil
import qexp
for item in pkgutil.walk_packages(qexp.__path__, "qexp."):
    if item.name != "qexp.__main__":
        importlib.import_module(item.name)
modules = {item.name for item in pkgutil.iter_modules(qexp.__path__)}
print(sorted(modules & set(qexp.__all__)))
for name in qexp.__all__:
    value = getattr(qexp, name)
    print(name, inspect.isfunction(value) or inspect.isclass(value), value.__module__)
print(qexp.declare("ghz", shots=3).workloads[0].primitive.shots)
for call in (qexp.run, qexp.plan, qexp.resume, qexp.open_archive, qexp.runs):
    try:
        call("no-such-thing")
    except qexp.QexpError as error:
        print(type(error).__name__)
"""


def test_no_public_name_is_hidden_by_a_module():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", NAMES], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "[]",
        "Archive True qexp.archive.read",
        "ArchiveError True qexp.errors",
        "QexpError True qexp.errors",
        "RunSpec True qexp.core.spec",
        "Sweep True qexp.sweeps.opened",
        "cancel True qexp.api",
        "declare True qexp.api",
        "open_archive True qexp.archive.read",
        "open_sweep True qexp.sweeps.opened",
        "plan True qexp.api",
        "resume True qexp.api",
        "run True qexp.api",
        "runs True qexp.listing.runs",
        "status True qexp.api",
        "sweep True qexp.api",
        "3",
        *["ConfigError"] * 3,
        "ArchiveError",
        "ConfigError",
    ]


def test_a_run_returns_its_open_archive_and_prints_nothing(folder: Path, capfd):
    run = qexp.run("random_sampling", "circuits.num_circuits=3", seed=7, **QUICK)
    assert (run.status, run.seed, len(run.results["main"])) == ("complete", 7, 3)
    assert run.path.parent.parent == folder / "outputs" / "random_sampling"
    assert run.overrides == (
        "experiment=random_sampling",
        "circuits.num_circuits=3",
        "seed=7",
        "engine.workers=1",
        "primitive.shots=20",
    )
    # The same again, of what the archive records.
    again = qexp.run(*run.overrides)
    assert again.data_sha256 == run.data_sha256
    assert [found.run_id for found in qexp.runs("outputs", "seed=7")] == [again.run_id, run.run_id]
    assert capfd.readouterr() == ("", "")


def test_values_of_all_kinds_reach_the_config():
    title = "a,b 'c' \"d\" ${seed} [e] {f: 1} \\ #=é\nlast"
    metadata = {"title": title, "keywords": ["x, y", "null", "1"], "creators": [{"name": "A: B"}]}
    spec = qexp.declare("ghz", metadata=metadata, seed=np.int64(3), **{"batch.max_time": "2h 30m"})
    assert spec.metadata["title"] == title.replace("${seed}", "3")
    assert spec.metadata["keywords"] == ["x, y", "null", "1"]
    assert spec.metadata["creators"][0]["name"] == "A: B"
    assert (spec.seed, spec.max_time_s) == (3, 9000)


def test_a_spec_is_run_as_it_was_declared():
    spec = qexp.declare("ghz", shots=10, **{"engine.workers": 1})
    assert isinstance(spec, RunSpec)
    first, second = qexp.run(spec), qexp.run(spec)
    assert first.data_sha256 == second.data_sha256
    assert first.path != second.path
    assert qexp.plan(spec).total.executions == 10


def test_a_spec_that_was_changed_is_refused():
    from dataclasses import replace

    spec = qexp.declare("ghz", shots=10)
    with pytest.raises(ConfigError, match=r"^seed: got 8, but the spec was declared with 0, "):
        qexp.run(replace(spec, seed=8))
    workload = replace(spec.workloads[0], primitive=replace(spec.workloads[0].primitive, shots=3))
    with pytest.raises(ConfigError, match=r"^workloads: the spec was changed"):
        qexp.run(replace(spec, workloads=(workload,)))
    with pytest.raises(ConfigError, match=r"^a spec cannot be combined with overrides"):
        qexp.run(spec, seed=3)


def test_a_plan_is_a_table_that_can_be_run(capfd):
    plan = qexp.plan("random_sampling", "circuits.num_circuits=3", **QUICK)
    assert (plan.total.circuits, plan.total.executions) == (3, 60)
    assert plan.backend == "fake_manila (5 qubits, engine local)"
    assert repr(plan).startswith("<PlanTable 1 jobs, 3 circuits, ")
    shown = str(plan)
    assert "predicted QPU time" in shown
    assert shown.endswith("Nothing was submitted. Backend: fake_manila (5 qubits, engine local)")
    assert plan._repr_html_().count("<table>") == 2
    assert plan.folder is not None
    with qexp.open_archive(plan.folder) as planned:
        assert planned.status == "planned"
    run = qexp.resume(plan.folder)
    assert (run.status, len(run.results["main"])) == ("complete", 3)
    # Nothing is left to do.
    assert qexp.resume(run.path).data_sha256 == run.data_sha256
    assert capfd.readouterr() == ("", "")


def test_a_plan_in_a_run_without_one_is_refused():
    with qexp.run("ghz", **QUICK) as run, pytest.raises(ConfigError, match="is planned already"):
        qexp.plan("ghz", run_dir=run.path.parent, **QUICK)


def test_an_earlier_run_can_be_named_with_its_config():
    plan = qexp.plan("ghz", **QUICK)
    with pytest.raises(ConfigError, match=r"^run_dir: .* seed: recorded 0, now 1"):
        qexp.run("ghz", run_dir=plan.folder, seed=1, **QUICK)
    run = qexp.run("ghz", run_dir=plan.folder, **QUICK)
    assert run.path.parent == plan.folder
    assert qexp.run("ghz", run_dir=plan.folder, **QUICK).path == run.path


def test_pubs_in_hand_of_a_sampler():
    circuit = rotated()
    pubs = [
        (circuit, [[0.1], [0.2]]),
        (circuit, {ANGLE: [0, 1, 2]}),
        (circuit, {"angle": 1}, 5),
        (circuit, [1]),
    ]
    run = qexp.run(circuits=pubs, primitive="sampler", **QUICK)
    bits = [result.data.meas for result in run.results["main"]]
    assert [(item.shape, item.num_shots) for item in bits] == [
        ((2,), 20),
        ((3,), 20),
        ((), 5),
        ((), 20),
    ]
    node = run.config["circuits"]
    assert node["_target_"] == "qexp.circuits.given.given_circuits"
    assert node["num_circuits"] == 4
    assert run.overrides[-1] == (
        f"circuits={{_target_:qexp.circuits.given.given_circuits,num_circuits:4,"
        f"sha256:'{node['sha256']}'}}"
    ).replace(f"'{node['sha256']}'", _as_typed(node["sha256"]))
    assert [pub.circuit.name for pub in run.pubs()] == ["rotated"] * 4


def _as_typed(text: str) -> str:
    return text if text[0].isalpha() else f"'{text}'"


def test_pubs_in_hand_of_an_estimator():
    pubs = [(rotated(measured=False), [["Z"], ["X"]], [[0.0, 3.0]]), (QuantumCircuit(1), "Z")]
    pubs[0] = (rotated(measured=False), ["Z", "X"], [[[0.0]], [[3.0]]])
    run = qexp.run(circuits=pubs, primitive="estimator", precision=0.1, **{"engine.workers": 1})
    assert run.results["main"][0].data.evs.shape == (2, 2)
    assert run.config["primitive"]["precision"] == 0.1


def test_a_preset_runs_pubs_instead_of_its_own_circuits():
    run = qexp.run("random_sampling", circuits=[(rotated(), [1.0])], **QUICK)
    assert (run.experiment, len(run.results["main"])) == ("random_sampling", 1)
    assert "depth" not in run.config["circuits"]


def test_pubs_in_hand_are_copied():
    circuit, values = rotated(), np.array([[0.5]])
    spec = qexp.declare(circuits=[(circuit, values)], primitive="sampler")
    circuit.x(0)
    values[:] = 7
    (pub,) = spec.workloads[0].generate(None)
    assert pub.circuit.count_ops() == {"rx": 1, "measure": 1, "barrier": 1}
    assert pub.parameter_values.as_array().tolist() == [[0.5]]

    def growing() -> Iterator[QuantumCircuit]:
        grown = rotated().assign_parameters([0.5])
        for _ in range(3):
            grown.x(0)
            yield grown

    spec = qexp.declare(circuits=growing(), primitive="sampler")
    assert [pub.circuit.count_ops()["x"] for pub in spec.workloads[0].generate(None)] == [1, 2, 3]


def test_pubs_in_hand_reproduce_and_resume(tmp_path: Path):
    pubs = [(rotated(), [[0.1], [2.0]])]
    run = qexp.run(circuits=pubs, primitive="sampler", **QUICK)
    spec, notes = reproduction_spec(run.path)
    assert notes == ("the circuits of main were given in Python; those of the archive are run",)
    again = qexp.open_archive(run_again(spec, new_folder(spec, str(tmp_path / "again"))))
    assert again.data_sha256 == run.data_sha256
    assert again.metadata["reproduces"]["circuits"] == "archived"
    plan = qexp.plan(circuits=pubs, primitive="sampler", **QUICK)
    assert plan.folder is not None
    assert qexp.resume(plan.folder).data_sha256 == run.data_sha256
    # No config can make them.
    with pytest.raises(ConfigError, match=r"^circuits: 1 PUBs were given in Python"):
        qexp.run(*run.overrides)


def test_another_pub_is_another_config():
    def node(*pub: Any, primitive: str = "sampler") -> str:
        return qexp.declare(circuits=[pub], primitive=primitive).config_yaml

    first = node(rotated(), [1.0])
    assert node(rotated(), [1.0]) == first
    others = [node(rotated(), [2.0]), node(rotated(), [1.0], 5), node(rotated().copy(), [[1.0]])]
    assert len({first, *others}) == 4


def test_a_generator_is_named_in_the_archive():
    run = qexp.run(circuits=partial(rotations, num_circuits=3), primitive="sampler", **QUICK)
    assert run.config["circuits"] == {"_target_": f"{__name__}.rotations", "num_circuits": 3}
    assert {source.name: source.text for source in run.sources}[
        f"{__name__.replace('.', '/')}.py"
    ] == Path(__file__).read_text("utf-8")
    assert len(run.results["main"]) == 3


@pytest.mark.parametrize(
    ("overrides", "values", "message"),
    [
        (["nope"], {}, r"^experiment=nope: no such choice; allowed: chsh, "),
        (["ghz", "ising"], {}, r"^ising: no override; write key=value"),
        (["ghz", "backnd"], {}, r"^backnd: no override; did you mean 'backend=\.\.\.'\?"),
        (["ghz", "-m"], {}, r"^-m: no override; .*flags such as -m are for the command line"),
        (["ghz", "circuits.num_qubits=2,3"], {}, r"^circuits\.num_qubits=2,3: several values are"),
        (["ghz", "hydra/launcher=basic"], {}, r"^hydra/launcher: has no effect in Python"),
        (["ghz"], {"hydra.mode": "MULTIRUN"}, r"^hydra\.mode: has no effect in Python; of Hydra's"),
        (["ghz"], {"sede": 3}, r"^sede: unknown key; did you mean 'seed'\?"),
        (["ghz"], {"seed": "x"}, r"^seed: got 'x'; it must be a valid integer$"),
        (["ghz"], {"seed": object()}, r"^seed: got an object of type object; a value is None"),
        (["ghz"], {"metadata": {"a b": 1}}, r"^metadata: got 'a b' as a key of a mapping"),
        (["ghz"], {"a b": 1}, r"^'a b': no key of the config; write it as in circuits\.depth$"),
        (["ghz"], {"backend": "lest_busy"}, r"^backend=lest_busy: no such choice; did you mean"),
        (["ghz"], {"precision": 0.1}, r"^primitive\.precision: got 0\.1, but a sampler takes"),
        (
            ["ghz"],
            {"stop_after": "submit"},
            r"^stop_after(=submit: the jobs of engine 'local'|: plan\(\) always)",
        ),
        ([3], {}, r"^got an object of type int as an override; write it as text"),
        ([], {}, r"^circuits: nothing is declared to run; choose an experiment"),
        ([], {"circuits": []}, r"^primitive: nothing says which primitive runs the circuits"),
        ([], {"circuits": [], "primitive": "sampler"}, r"^circuits: the list is empty"),
        ([], {"circuits": 3, "primitive": "sampler"}, r"^circuits: got an object of type int; it"),
        ([], {"circuits": rotated(), "primitive": "sampler"}, r"; for one circuit, \[circuit\]$"),
        ([], {"circuits": ["x"], "primitive": "sampler"}, r"^circuits: PUB 0 is not a Sampler PUB"),
        (
            [],
            {"circuits": [(rotated(), [1])], "primitive": "estimator"},
            r"^circuits: PUB 0 is not an Estimator PUB",
        ),
        (
            ["circuits.depth=3"],
            {"circuits": [(rotated(), [1])], "primitive": "sampler"},
            r"^circuits\.depth: has no effect beside circuits that are given in Python",
        ),
        (
            ["estimator_and_sampler"],
            {"circuits": [(rotated(), [1])]},
            r"^circuits: would have no effect, because every workload declares its own",
        ),
        (
            [],
            {"circuits": lambda rng: [], "primitive": "sampler"},
            r"^circuits: got <lambda>, which has no name in a module; .* top level",
        ),
        (
            [],
            {"circuits": partial(rotations, 3), "primitive": "sampler"},
            r"^circuits: got \(3,\) bound without a name; bind settings of a generator by name",
        ),
        (
            [],
            {"circuits": partial(rotations, num_circuit=3), "primitive": "sampler"},
            r"^circuits\.num_circuit: unknown key; did you mean 'num_circuits'\?",
        ),
    ],
)
@pytest.mark.parametrize("call", [qexp.run, qexp.plan, qexp.declare])
def test_mistakes_are_one_line_and_leave_nothing(call, overrides, values, message, folder: Path):
    with pytest.raises(ConfigError, match=message) as refused:
        call(*overrides, **values)
    assert "\n" not in str(refused.value)
    assert not list(folder.iterdir())


def test_errors_of_a_run_keep_their_cause_and_clean_up(folder: Path):
    with pytest.raises(GeneratorError, match="failed at PUB 1: ZeroDivisionError") as failed:
        qexp.run(circuits=failing, primitive="sampler", **QUICK)
    assert isinstance(failed.value.__cause__, ZeroDivisionError)
    # The log has the traceback, as on the command line.
    (log,) = (path for path in folder.rglob("*") if path.is_file())
    assert log.name == "run.log"
    assert "ZeroDivisionError: no more" in log.read_text()
    wide = QuantumCircuit(9)
    wide.measure_all()
    with pytest.raises(PlanError, match="9 qubits"):
        qexp.run(circuits=[wide], primitive="sampler", name="wide", **QUICK)
    assert not (folder / "outputs" / "wide").exists()


def test_a_folder_that_cannot_be_written_is_one_line(folder: Path):
    (folder / "outputs").write_text("in the way")
    with pytest.raises(ConfigError, match=r"outputs.*; choose a folder that you can write to$"):
        qexp.run("ghz", **QUICK)


@pytest.mark.parametrize("call", [qexp.resume, qexp.open_archive])
def test_what_is_not_there_is_named(call):
    with pytest.raises((ConfigError, ArchiveError), match=r"nowhere"):
        call("nowhere")


def test_all_that_the_caller_has_stays_as_it_was(folder: Path):
    OmegaConf.register_new_resolver("now", lambda *_: "mine", replace=True)
    OmegaConf.register_new_resolver("qexp.run_id", lambda: "mine", replace=True)
    GlobalHydra.instance().clear()
    logging.getLogger("mine").setLevel(logging.DEBUG)

    def state() -> list[Any]:
        loggers = [logging.getLogger(name) for name in (None, "qexp", "mine")]
        return [
            {kind: id(instance) for kind, instance in Singleton._instances.items()},
            HydraConfig.instance().cfg,
            dict(BaseContainer._resolvers),
            [(logger.level, logger.handlers[:], logger.propagate) for logger in loggers],
            dict(os.environ),
            sys.argv[:],
            [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
            os.getcwd(),
        ]

    try:
        with initialize_config_dir(str(shipped_conf()), version_base="1.2"):
            HydraConfig.instance()
            before = state()
            qexp.run("ghz", **QUICK)
            with pytest.raises(ConfigError):
                qexp.run("ghz", sede=3)
            assert state() == before
    finally:
        for name in ("now", "qexp.run_id"):
            OmegaConf.clear_resolver(name)


def test_it_runs_in_threads_at_once_and_in_a_running_loop():
    found: dict[str, str] = {}

    def call(name: str) -> None:
        found[name] = qexp.run("random_sampling", "circuits.num_circuits=3", **QUICK).data_sha256

    async def in_loop() -> None:
        call("loop")
        await asyncio.to_thread(call, "thread of the loop")

    threads = [threading.Thread(target=call, args=(f"thread {k}",)) for k in range(3)]
    for thread in threads:
        thread.start()
    asyncio.run(in_loop())
    for thread in threads:
        thread.join()
    assert len(found) == 5
    assert len(set(found.values())) == 1


def test_the_functions_are_typed_and_documented():
    for name in ("run", "plan", "declare", "resume", "open_archive", "runs"):
        function = getattr(qexp, name)
        assert inspect.signature(function).return_annotation is not inspect.Signature.empty
        assert "Example" in (function.__doc__ or "") or name == "resume"
