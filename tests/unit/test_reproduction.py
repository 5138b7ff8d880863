"""An archived run is run again from its file alone."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import qexp.experiment
from qexp.archive.read import open_archive
from qexp.compare.model import Comparison, PubComparison
from qexp.compare.runs import compare_runs
from qexp.config.load import load
from qexp.core.model import SourceFile
from qexp.errors import ArchiveError, ConfigError, GeneratorError, NotReproducedError
from qexp.reproduction import (
    installed_changes,
    new_folder,
    reproduction_spec,
    reproduction_verdict,
    run_again,
    write_requirements,
)
from tests.archives import header
from tests.unit.compare.runs import sampled, write
from tests.unit.config.conftest import composed
from tests.unit.config.test_recorded_config import EVIL, changed, recorded

GHZ = ("experiment=ghz", "primitive.shots=100", "engine.workers=1")


pytestmark = pytest.mark.usefixtures("own_process")


@pytest.fixture(scope="module")
def ghz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of a real run."""
    folder = tmp_path_factory.mktemp("ghz") / "r1"
    folder.mkdir()
    report = qexp.experiment.run(load(composed(*GHZ)), folder)
    assert report.archive is not None
    return report.archive


def archive(folder: Path, config_yaml: str, **changes: Any) -> Path:
    return write(folder, [sampled(1)], config_yaml=config_yaml, **changes)


@pytest.mark.parametrize("circuits", ["generated", "archived"])
def test_a_local_run_is_bit_identical(ghz: Path, tmp_path: Path, circuits: Any) -> None:
    before = ghz.read_bytes()
    spec, notes = reproduction_spec(ghz, circuits=circuits)
    folder = new_folder(spec, None)
    assert folder.parent == tmp_path / "outputs" / "ghz"
    again = run_again(spec, folder, circuits)
    found = compare_runs(ghz, again)
    assert notes == ()
    assert reproduction_verdict(found) == "reproduced: bit-identical"
    assert found.config == ()
    assert ghz.read_bytes() == before
    with open_archive(ghz) as first, open_archive(again) as second:
        assert second.overrides == first.overrides
        assert second.sources == first.sources
        assert second.metadata["reproduces"] == {
            "run_id": first.run_id,
            "data_sha256": first.data_sha256,
            "circuits": circuits,
        }
        assert second.metadata["title"] == first.metadata["title"]


def test_a_device_from_the_archive_gives_the_same_bits(ghz: Path, tmp_path: Path) -> None:
    spec, notes = reproduction_spec(ghz, device="archived")
    assert notes == ("fake_manila is rebuilt from the archive",)
    again = run_again(spec, new_folder(spec, None))
    assert reproduction_verdict(compare_runs(ghz, again)) == "reproduced: bit-identical"


def test_a_device_whose_name_is_gone_is_rebuilt(ghz: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_name: str) -> Any:
        raise ConfigError("backend.name='FakeManilaV2' is none of the 70 fake backends")

    monkeypatch.setattr("qexp.engines.local.backends._fake", gone)
    spec, notes = reproduction_spec(ghz)
    assert notes == (
        "fake_manila is rebuilt from the archive: backend.name='FakeManilaV2' is none of the 70 "
        "fake backends",
    )
    assert spec.select_backend(None).name == "fake_manila"
    spec, notes = reproduction_spec(ghz, device="installed")
    assert notes == ()
    with pytest.raises(ConfigError, match="is none of"):
        spec.select_backend(None)


def test_a_device_without_calibration_cannot_be_rebuilt(tmp_path: Path) -> None:
    path = archive(tmp_path, recorded(*GHZ))
    with pytest.raises(ConfigError, match=r"--device archived: .* has no simulated device"):
        reproduction_spec(path, device="archived")


def test_the_backend_that_was_chosen_is_asked_for(tmp_path: Path, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(
        "qexp.config.load._select_backend", lambda _node, _outage_s, name: asked.append(name)
    )
    path = archive(tmp_path / "a", recorded(*GHZ))
    reproduction_spec(path)[0].select_backend(None)
    assert asked == [header().backend["name"]]


def test_stop_after_of_the_archived_run_is_ignored(tmp_path: Path) -> None:
    path = archive(tmp_path / "a", changed(recorded(*GHZ), stop_after="plan"))
    assert reproduction_spec(path)[0].stop_after is None


@pytest.mark.parametrize("circuits", ["generated", "archived"])
@pytest.mark.parametrize("key", ["circuits___target_", "engine___target_", "backend___target_"])
def test_nothing_of_an_archive_is_executed(tmp_path: Path, key: str, circuits: Any) -> None:
    (tmp_path / "evil_module.py").write_text(EVIL)
    path = archive(tmp_path / "a", changed(recorded(*GHZ), **{key: "evil_module.run"}))
    if key.startswith("circuits") and circuits == "archived":
        assert reproduction_spec(path, circuits=circuits)[0].experiment == "ghz"
    else:
        with pytest.raises(ConfigError, match="--trust evil_module"):
            reproduction_spec(path, circuits=circuits)
    assert "evil_module" not in sys.modules
    assert not (tmp_path / "evil.txt").exists()


@pytest.mark.parametrize("trust", [(), ("os",), ("posix",)])
def test_a_system_call_is_no_generator(tmp_path: Path, trust: tuple[str, ...]) -> None:
    path = archive(tmp_path / "a", changed(recorded(*GHZ), circuits___target_="os.system"))
    with pytest.raises(ConfigError, match=r"os\.system"):
        reproduction_spec(path, trust)


def test_an_untrusted_target_is_named_with_the_place_of_its_source(tmp_path: Path) -> None:
    config = changed(recorded(*GHZ), circuits___target_="experiments.mine.pubs")
    sources = (SourceFile("experiments/mine.py", "def pubs(): ...\n"),)
    path = archive(tmp_path / "a", config, sources=sources)
    with pytest.raises(ConfigError) as caught:
        reproduction_spec(path)
    assert "--trust experiments.mine; its source is experiments/mine.py in " in str(caught.value)
    assert "--circuits archived" in str(caught.value)
    with pytest.raises(ConfigError, match=r"cannot import 'experiments.mine'.*--circuits archived"):
        reproduction_spec(path, ("experiments.mine",))


@pytest.mark.parametrize("trust", ["own_code", "own_code.mine", "own_code.mine.pubs"])
def test_a_trusted_module_that_has_changed_is_named_and_recorded(
    tmp_path: Path, trust: str
) -> None:
    (tmp_path / "own_code").mkdir()
    text = "def pubs(num_qubits, num_circuits, method):\n    yield None\n"
    (tmp_path / "own_code" / "mine.py").write_text(text)
    config = changed(recorded(*GHZ), circuits___target_="own_code.mine.pubs")
    sources = (SourceFile("conf/qexp.yaml", "x"), SourceFile("own_code/mine.py", "older"))
    path = archive(tmp_path / "a", config, sources=sources)
    spec, notes = reproduction_spec(path, (trust,))
    assert [source.text for source in spec.sources] == ["x", text]
    assert notes == ("own_code/mine.py is not what it was: the archive holds another text",)
    assert reproduction_spec(path, circuits="archived")[0].sources == sources
    for name in [name for name in sys.modules if name.startswith("own_code")]:
        del sys.modules[name]


def test_time_on_a_qpu_is_spent_only_if_allowed(tmp_path: Path) -> None:
    path = archive(tmp_path / "a", recorded(*GHZ[:2], "backend=ibm", "backend.name=ibm_real"))
    with pytest.raises(ConfigError, match=r"4 s were charged, 12 s predicted.*add --submit"):
        reproduction_spec(path)
    spec, _ = reproduction_spec(path, submit=True)
    assert spec.engine.uses_qpu


def test_a_run_without_data_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, [None], status="failed", config_yaml=recorded(*GHZ))
    with pytest.raises(ArchiveError, match="is failed and holds no results"):
        reproduction_spec(path)


def test_a_partial_run_has_a_note(tmp_path: Path) -> None:
    path = write(tmp_path, [sampled(1), None, None], status="partial", config_yaml=recorded(*GHZ))
    (note,) = reproduction_spec(path)[1]
    assert note.startswith("the archive is partial: 1 of 3 PUBs have a result")


def test_a_folder_with_something_in_it_is_left_alone(ghz: Path, tmp_path: Path) -> None:
    spec, _ = reproduction_spec(ghz)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ConfigError, match=r"--into: \. is not empty"):
        new_folder(spec, ".")
    assert new_folder(spec, "new/folder") == tmp_path / "new" / "folder"
    for below in ("notes.txt/new", "notes.txt/new/folder"):
        with pytest.raises(
            ConfigError, match=f"{below} cannot be a folder: .*notes.txt is a file; name"
        ):
            new_folder(spec, below)


def test_a_generator_that_fails_leaves_its_log_and_a_way_out(ghz: Path, tmp_path: Path) -> None:
    spec, _ = reproduction_spec(ghz)

    def fails(_sequence: Any) -> Any:
        raise ZeroDivisionError("no such file")

    failing = replace(spec, workloads=(replace(spec.workloads[0], generate=fails),))
    folder = tmp_path / "outputs" / "ghz" / "r2"
    with pytest.raises(GeneratorError, match=r"the traceback is in .*run\.log; .*--circuits arch"):
        run_again(failing, folder)
    assert [path.name for path in folder.iterdir()] == ["run.log"]
    assert "ZeroDivisionError: no such file" in (folder / "run.log").read_text()


def test_a_run_that_cannot_begin_leaves_nothing(ghz: Path, tmp_path: Path) -> None:
    spec, _ = reproduction_spec(ghz)

    def gone(_name: str | None) -> Any:
        raise ConfigError("backend: there is none of that name")

    with pytest.raises(ConfigError, match="none of that name"):
        run_again(replace(spec, select_backend=gone), tmp_path / "outputs" / "ghz" / "r3")
    assert not (tmp_path / "outputs" / "ghz").exists()


def test_requirements_hold_nothing_but_versions(tmp_path: Path) -> None:
    distributions = [
        "numpy==2.0",
        "qexp==0.1.0",
        "--index-url=http://evil==1",
        "a==1 --pre",
        "b @ file:///x",
        "Local==1.0+abc",
        "two==1\nthree==2",
    ]
    environment = header().environment | {"distributions": distributions}
    path = write(tmp_path, [sampled(1)], environment=environment)
    write_requirements(path, tmp_path / "then.txt")
    text = (tmp_path / "then.txt").read_text()
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        "numpy==2.0",
        "Local==1.0+abc",
    ]
    assert text.startswith("# Packages of run 20260101-abc, Python 3.11.7.\n")
    assert "# qexp==0.1.0\n" in text


def test_no_requirements_without_packages(tmp_path: Path) -> None:
    path = write(tmp_path, [sampled(1)], environment=header().environment | {"distributions": []})
    with pytest.raises(ArchiveError, match="records no packages"):
        write_requirements(path, tmp_path / "then.txt")
    assert not (tmp_path / "then.txt").exists()


def test_installed_software_is_compared_with_the_recorded_one(ghz: Path, tmp_path: Path) -> None:
    assert installed_changes(ghz) == ()
    environment = header().environment | {"distributions": ["numpy==0.1", "gone==1"]}
    found = installed_changes(write(tmp_path, [sampled(1)], environment=environment))
    by_name = {change.key: (change.a, change.kind) for change in found}
    assert by_name["numpy"] == ("0.1", "changed")
    assert by_name["gone"] == ("1", "removed")
    assert sum(change.kind == "added" for change in found) > 20


ODD = PubComparison("main", 0, 0, "sampler", identical=False, same_isa=True, problem="no shots")


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    path = write(tmp_path_factory.mktemp("run"), [sampled(1), sampled(2)])
    return compare_runs(path, path)


def with_data(found: Comparison, **changes: Any) -> Comparison:
    return replace(found, data=replace(found.data, **changes))


def test_compatible_data_are_reproduced(same: Comparison) -> None:
    verdict = reproduction_verdict(with_data(same, verdict="compatible"))
    assert verdict == "reproduced: statistically compatible, not bit-identical"
    sides = replace(same.a, simulator_version=1), replace(same.b, simulator_version=2)
    other = replace(same, a=sides[0], b=sides[1])
    verdict = reproduction_verdict(with_data(other, verdict="compatible"))
    assert verdict.endswith("(simulator version 1 then, 2 now)")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"verdict": "different"}, "the data are not compatible"),
        ({"verdict": "untested", "pubs": (ODD,)}, "of 1 of 2 PUBs .* cannot be tested: no shots"),
        ({"num_common": 1}, "for 1 of 2 PUBs the new run has another circuit or no result"),
    ],
)
def test_other_data_are_not_reproduced(
    same: Comparison, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(NotReproducedError, match=message) as error:
        reproduction_verdict(with_data(same, **changes))
    assert error.value.exit_code == 1
