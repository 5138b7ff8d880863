"""The crate passes the validator, and agrees with the archive."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import xarray as xr

import qexp
from qexp.archive.analyses import write_analysis
from qexp.archive.writer import RunStore
from qexp.core.model import SourceFile
from qexp.core.spec import AnalysisSpec
from qexp.errors import ConfigError
from qexp.export import rocrate
from qexp.export.formats import export
from tests.archives import header, outcome, sampler_pub, write_batch, write_partition
from tests.unit.export.conftest import PUBLISHED, write_two_workloads
from tests.unit.export.crates import validate

SPEC = AnalysisSpec("fidelity", "mine.fidelity", {}, lambda run: None)


def entities(crate: Path) -> dict[str, dict[str, Any]]:
    graph = json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"]
    return {entity["@id"]: entity for entity in graph}


def ids(value: Any) -> list[str]:
    return [item["@id"] for item in (value if isinstance(value, list) else [value])]


def test_the_crate_passes_every_required_and_recommended_check(
    complete: Path, tmp_path: Path
) -> None:
    exported = export(complete, "rocrate")
    assert exported.notes == ()
    report = tmp_path / "report.json"
    done = validate(
        exported.path, tmp_path / "cache", "--output-format", "json", "--output-file", str(report)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())
    assert found["issues"] == []
    counts = found["statistics"]
    assert set(counts["profiles"]) == {"process-run-crate-0.5", "ro-crate-1.1"}
    assert counts["total_passed_checks"] == counts["total_checks"]
    assert counts["total_skipped_checks"] == 0
    by_severity = counts["total_checks_by_severity"]
    assert by_severity["REQUIRED"] >= 42
    assert by_severity["RECOMMENDED"] >= 57


def test_a_zipped_crate_of_a_partial_run_passes_too(partial: Path, tmp_path: Path) -> None:
    exported = export(partial, "rocrate", tmp_path / "crate.zip", metadata=PUBLISHED)
    assert len(exported.notes) == 1
    done = validate(exported.path, tmp_path / "cache", "--verbose")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is a valid process-run-crate-0.5" in done.stdout


def test_the_validator_refuses_a_wrong_crate(complete: Path, tmp_path: Path) -> None:
    folder = export(complete, "rocrate").path
    path = folder / "ro-crate-metadata.json"
    path.write_text(path.read_text().replace('"instrument"', '"madeWith"'))
    done = validate(folder, tmp_path / "cache", "--fail-fast")
    assert done.returncode == 1


def test_the_crate_describes_the_run(complete: Path) -> None:
    (complete.parent / "run.log").write_text("a line\n")
    with qexp.open_archive(complete) as run:
        write_analysis(run, SPEC, xr.Dataset({"fidelity": 0.5}))
    (complete.parent / "journal.jsonl").write_text("private\n")
    crate = export(complete, "rocrate").path
    about = entities(crate)
    root = about["./"]
    assert (root["name"], root["description"]) == ("Noise of <small> devices", "Two workloads.")
    assert set(ids(root["hasPart"])) == {
        *("run.h5", "run.log", "analysis/fidelity.nc", "config.yaml", "verify_run.py"),
        "sources/random_sampling.yaml",
    }
    assert ids(root["license"]) == ["https://spdx.org/licenses/CC-BY-4.0"]
    (author,) = ids(root["author"])
    assert author == "https://orcid.org/0000-0002-1825-0097"
    assert ids(about[author]["affiliation"]) == ["https://ror.org/02mhbdp94"]
    (grant,) = ids(root["funding"])
    assert about[grant]["identifier"] == "12a"
    assert ids(about[grant]["funder"]) == ids(root["funder"]) == ["https://agency.example"]
    (action,) = ids(root["mentions"])
    done = about[action]
    assert done["actionStatus"] == "http://schema.org/CompletedActionStatus"
    assert done["startTime"] == "2026-01-01T00:00:00.000+00:00"
    assert done["endTime"] == "2026-01-01T00:00:12.000+00:00"
    assert ids(done["agent"]) == [author]
    assert ids(done["result"]) == ["run.h5"]
    values = {about[one].get("name"): about[one].get("value") for one in ids(done["object"])}
    assert values["circuits.depth"] == "[5]"
    assert (values["seed"], values["backend"]) == (7, "fake_lima")
    (instrument,) = ids(done["instrument"])
    needed = [about[one]["name"] for one in ids(about[instrument]["softwareRequirements"])]
    assert (about[instrument]["name"], needed) == ("qexp", ["python", "qiskit"])


def test_the_crate_of_a_repeated_run_names_the_first(tmp_path: Path) -> None:
    reproduces = {"run_id": "r 1", "data_sha256": "ab12", "circuits": "archived"}
    archive = write_two_workloads(
        tmp_path / "run", complete=True, metadata=PUBLISHED | {"reproduces": reproduces}
    )
    exported = export(archive, "rocrate")
    assert exported.notes == ()
    about = entities(exported.path)
    (earlier,) = ids(about["./"]["isBasedOn"])
    assert earlier == "#reproduced-r%201"
    assert about[earlier]["identifier"] == "r 1"
    assert "circuits archived" in about[earlier]["description"]
    assert "ab12" in about[earlier]["description"]
    done = validate(exported.path, tmp_path / "cache")
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_analyses_of_these_data_are_published(complete: Path, tmp_path: Path) -> None:
    folder = complete.parent / "analysis"
    with qexp.open_archive(complete) as run:
        for name in ("fidelity", "cut", "linked"):
            write_analysis(run, replace(SPEC, name=name), xr.Dataset({"fidelity": 0.5}))
        for name, changes in {
            "old": {"data_sha256": "0" * 64, "run_id": run.run_id},
            "foreign": {"data_sha256": run.data_sha256, "run_id": "another"},
        }.items():
            other = SimpleNamespace(path=complete, **changes)
            write_analysis(other, replace(SPEC, name=name), xr.Dataset({"fidelity": 0.5}))
    (folder / "cut.nc").write_bytes((folder / "cut.nc").read_bytes()[:-9])
    (folder / "linked.nc").rename(tmp_path / "linked.nc")
    (folder / "linked.nc").symlink_to(tmp_path / "linked.nc")
    (folder / "notes.txt").write_text("private")
    (folder / ".fidelity.nc.tmp").write_text("half")
    exported = export(complete, "rocrate")
    assert exported.notes == (
        "left out of the crate: analysis/cut.nc (damaged), analysis/foreign.nc (of another run), "
        "analysis/linked.nc (a link), analysis/notes.txt (no analysis), "
        "analysis/old.nc (of other data)",
    )
    published = exported.path / "analysis"
    assert [path.name for path in published.iterdir()] == ["fidelity.nc"]


def test_links_beside_the_archive_are_not_followed(complete: Path, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    (private / "key").write_text("secret")
    with qexp.open_archive(complete) as run:
        write_analysis(run, SPEC, xr.Dataset({"fidelity": 0.5}))
    (complete.parent / "analysis" / "fidelity.nc").rename(private / "fidelity.nc")
    (complete.parent / "analysis").rmdir()
    (complete.parent / "analysis").symlink_to(private)
    (complete.parent / "run.log").symlink_to(private / "key")
    (complete.parent / "report.html").symlink_to(private / "nothing")
    exported = export(complete, "rocrate")
    assert exported.notes == (
        "left out of the crate: run.log (a link), report.html (a link), analysis (a link)",
    )
    written = {path.name for path in exported.path.iterdir()}
    assert written == {
        "run.h5",
        "config.yaml",
        "sources",
        "ro-crate-metadata.json",
        "verify_run.py",
    }


@pytest.mark.parametrize("name", ["crate.zip", "crate.ZIP"])
def test_a_zip_is_a_zip_in_any_case(complete: Path, tmp_path: Path, name: str) -> None:
    path = export(complete, "rocrate", tmp_path / name).path
    assert path.is_file()
    with zipfile.ZipFile(path) as file:
        assert {"run.h5", "ro-crate-metadata.json"} <= set(file.namelist())


def test_the_files_of_the_crate_are_as_described(complete: Path) -> None:
    before = complete.read_bytes()
    crate = export(complete, "rocrate").path
    assert (crate / "run.h5").read_bytes() == before
    for name, entity in entities(crate).items():
        if entity["@type"] == "File":
            raw = (crate / name).read_bytes()
            assert entity["contentSize"] == str(len(raw))
            assert entity["sha256"] == hashlib.sha256(raw).hexdigest()
    with qexp.open_archive(crate / "run.h5") as run:
        assert (crate / "config.yaml").read_text() == run.config_yaml


def test_without_a_licence_there_is_no_crate(partial: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs a licence .* --set license=CC-BY-4\.0"):
        export(partial, "rocrate")
    assert not (partial.parent / "run-rocrate").exists()


def test_missing_recommended_metadata_are_named_in_one_line(partial: Path) -> None:
    exported = export(partial, "rocrate", metadata={"license": "LicenseRef-lab"})
    assert exported.notes[1].startswith(
        "RO-Crate recommends what is not known here: creators, publisher; add it with --set"
    )
    about = entities(exported.path)
    assert ids(about["./"]["license"]) == ["#license"]
    (action,) = ids(about["./"]["mentions"])
    assert about[action]["actionStatus"] == "http://schema.org/FailedActionStatus"
    assert about[action]["error"].startswith("3 of 4 PUBs of the experiment random_sampling")
    more = export(
        partial,
        "rocrate",
        force=True,
        metadata={
            "license": "https://lab.example/terms",
            "creators": [{"name": "Ada"}, {"name": "Bob", "affiliation": "Lab"}],
            "publisher": {"name": 'The "Lab" of <ü>'},
            "funding": [{"funder": "Agency"}],
        },
    )
    assert (
        "creators[].affiliation, creators[].affiliation_url, creators[].orcid, publisher.url, "
        "funding[].funder_url;"
    ) in more.notes[1]
    about = entities(more.path)
    assert ids(about["./"]["author"]) == ["#creator-0", "#creator-1"]
    (publisher,) = ids(about["./"]["publisher"])
    assert publisher == "#organisation-The%20%22Lab%22%20of%20%3C%C3%BC%3E"
    assert about[publisher]["name"] == 'The "Lab" of <ü>'


def test_names_in_the_archive_cannot_lead_outside_the_crate(tmp_path: Path) -> None:
    sources = [
        SourceFile("../../outside.py", "a"),
        SourceFile("/etc/passwd", "b"),
        SourceFile("conf/ok.yaml", "c"),
        SourceFile("conf/ok.yaml", "d"),
        SourceFile("with space\n.py", "e"),
    ]
    store = RunStore(tmp_path / "run")
    store.write_header(header(sources=sources, metadata={"license": "MIT"}, created="yesterday"))
    write_batch(store)
    write_partition(store, 0, 0, [sampler_pub(0)])
    store.write_job(outcome(0, None, metrics={}))
    crate = export(store.seal("failed", keep_parts=False), "rocrate", tmp_path / "crate").path
    written = {path.relative_to(crate).as_posix() for path in crate.rglob("*") if path.is_file()}
    assert written == {
        *("run.h5", "config.yaml", "ro-crate-metadata.json", "sources/conf/ok.yaml"),
        "verify_run.py",
        *(f"sources/source_{number}.txt" for number in (0, 1, 3, 4)),
    }
    assert entities(crate)["sources/source_0.txt"]["name"] == "Source ../../outside.py"
    assert not (tmp_path / "outside.py").exists()


def test_the_home_page_is_the_one_that_the_package_declares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from email.message import Message

    message = Message()
    message["Project-URL"] = "Homepage, https://qexp.example"
    monkeypatch.setattr(rocrate, "package_metadata", lambda _name: message)
    assert rocrate.home_page() == "https://qexp.example"
    monkeypatch.setattr(rocrate, "package_metadata", lambda _name: Message())
    assert rocrate.home_page() == "https://qexp.invalid"


@pytest.mark.parametrize(
    ("at_export", "message"),
    [
        ({"licence": "CC0-1.0"}, r"^metadata\.licence: unknown key; did you mean 'license'\?"),
        ({"creators": [{"name": "A", "orcid": "1"}]}, r"^metadata\.creators\.0\.orcid: got '1'"),
        ({"title": 3}, r"^metadata\.title: got 3"),
    ],
)
def test_a_mistake_is_named_as_in_the_config(at_export: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rocrate.combine_metadata({"title": "Archived"}, at_export)


def test_metadata_at_export_replace_archived_metadata() -> None:
    known = rocrate.combine_metadata(
        {"title": "Archived", "license": "CC0-1.0"}, {"license": "CC-BY-4.0"}
    )
    assert (known.title, known.license) == ("Archived", "CC-BY-4.0")
