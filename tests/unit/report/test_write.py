from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from qexp.archive.writer import RunStore
from qexp.cli.main import main
from qexp.errors import ArchiveError, ConfigError
from qexp.report.write import write_report
from tests.archives import (
    header,
    properties,
    sampler_jobs,
    sampler_pub,
    write_partition,
    write_run,
)
from tests.damage import flip
from tests.unit.report.hostile import EVIL, LINK, SCRIPT, write_hostile
from tests.unit.report.pages import Page, assert_inert, has_hidden_characters


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("hostile")
    archive = write_hostile(folder)
    before = digest(archive)
    path = write_report(folder)
    assert path == folder / "report.html"
    assert digest(archive) == before
    return path.read_text(encoding="utf-8")


def test_untrusted_texts_are_shown_and_do_nothing(hostile: str):
    page = Page(hostile)
    assert_inert(page)
    assert not has_hidden_characters(hostile)
    assert page.text.count(SCRIPT) > 20
    assert LINK in page.text


def test_every_kind_of_text_is_there(hostile: str):
    text = Page(hostile).text
    for name in ("Config", "Sources", "Software", "Seeds", "Options as finalised"):
        assert name in text
    assert "Options without effect on this engine" in text
    assert "Uncommitted changes" in text


def test_a_partial_run_says_on_top_what_is_missing_and_why(hostile: str):
    text = Page(hostile).text
    alert = text.index("2 of 6 PUBs have no result.")
    assert alert < text.index("Results")
    assert "PUBs 3-4 of 'main' (1 job): ERROR, transient (code 9999): <script>" in text


def test_figures_are_inline_and_described(hostile: str):
    page = Page(hostile)
    labels = [v for t, n, v in page.attributes if (t, n) == ("svg", "aria-label") and v]
    for start in (
        "Outcomes of",
        "Time line of 3 jobs",
        "Usage of 3 jobs",
        "Coupling map of",
        "As generated",
    ):
        assert any(label.startswith(start) for label in labels), start


@pytest.mark.parametrize("error", [float("nan"), float("inf"), "abc", [1]])
def test_errors_of_a_device_that_are_not_finite_count_as_unknown(tmp_path: Path, error: object):
    one = [("measure", [0]), ("sx", [0]), ("cx", [0, 1])]
    two = [("measure", [1], 0.02), ("sx", [1], 0.03), ("cx", [1, 2], 0.04)]
    known = [*((name, qubits, error) for name, qubits in one), *two]
    target = {"instructions": [{"name": n, "qubits": q, "error": e} for n, q, e in known]}
    calibration = properties(1.0)
    calibration["qubits"][0][0]["value"] = error
    backend = {"name": "mine", "num_qubits": 3, "target": target, "properties": calibration}
    store = RunStore(tmp_path)
    store.write_header(header(backend=backend))
    write_partition(store, 0, 0, [sampler_pub()])
    store.seal("planned", keep_parts=False)
    written = write_report(tmp_path).read_text(encoding="utf-8")
    assert "not a number" not in written
    assert "∞" not in written
    assert "1–2, gate error 4.00 %" in written


def test_the_page_is_written_to_the_output_and_replaces_an_earlier_one(tmp_path: Path):
    write_run(tmp_path, sampler_jobs([2])).seal("complete", keep_parts=False)
    page = tmp_path / "my page.html"
    page.write_text("old")
    assert write_report(tmp_path / "run.h5", page) == page
    assert "complete" in page.read_text(encoding="utf-8")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("output", "error", "said"),
    [
        (".", ConfigError, "is a folder; name the page"),
        ("page.txt", ConfigError, "let its name end in .html"),
        ("nowhere/page.html", ArchiveError, "create it"),
    ],
)
def test_bad_outputs_are_refused_in_one_line(tmp_path: Path, output: str, error: type, said: str):
    write_run(tmp_path, sampler_jobs([1])).seal("complete", keep_parts=False)
    with pytest.raises(error, match=said):
        write_report(tmp_path, tmp_path / output)


def test_the_saved_accounts_are_looked_up_once_and_no_secret_is_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lookups = []

    def secrets() -> list[str]:
        lookups.append(1)
        return ["main"]

    write_run(tmp_path, sampler_jobs([2])).seal("complete", keep_parts=False)
    monkeypatch.setattr("qexp.redact._known_secrets", secrets)
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert len(lookups) == 1
    assert "[redacted]" in page.text
    assert "main" not in page.text


def test_a_planned_run_and_a_failed_run_have_pages(tmp_path: Path):
    planned, failed = tmp_path / "planned", tmp_path / "failed"
    for folder in (planned, failed):
        folder.mkdir()
    write_run(planned, []).seal("planned", keep_parts=True)
    write_run(failed, [None]).seal("failed", keep_parts=True)
    assert "this is a plan" in write_report(planned).read_text(encoding="utf-8")
    text = Page(write_report(failed).read_text(encoding="utf-8")).text
    assert "2 of 2 PUBs have no result." in text
    assert "Queue was closed" in text


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["report", *arguments])
    return int(ended.value.code or 0)


def test_the_command_says_where_the_page_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_run(tmp_path, sampler_jobs([1])).seal("complete", keep_parts=False)
    assert command(str(tmp_path)) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{tmp_path / 'report.html'} (")
    assert out.endswith(" kB)\n")


@pytest.mark.parametrize(
    ("damage", "code"), [("cut", 5), ("flipped", 5), ("unfinished", 5), ("gone", 2), ("empty", 2)]
)
def test_an_unreadable_run_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str, code: int
):
    path = write_run(tmp_path, sampler_jobs([1])).seal("complete", keep_parts=False)
    given = tmp_path
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:3000])
    elif damage == "flipped":
        path.write_bytes(flip(path.stat().st_size // 2, 3)(bytearray(path.read_bytes())))
    elif damage == "gone":
        given = tmp_path / "other"
    elif damage == "unfinished":
        path.unlink()
        (tmp_path / "journal.jsonl").write_text("")
    else:
        given = tmp_path / "empty"
        given.mkdir()
    assert command(str(given)) == code
    said = capsys.readouterr().err
    assert said.startswith("qexp: ")
    assert said.count("\n") == 1


def test_a_recorded_config_that_is_no_yaml_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    store = RunStore(tmp_path)
    store.write_header(header(config_yaml=f"title: {EVIL!r}"))
    write_partition(store, 0, 0, [sampler_pub()])
    store.seal("planned", keep_parts=False)
    assert command(str(tmp_path)) == 5
    said = capsys.readouterr().err
    assert "the recorded config is not valid YAML" in said
    assert said.count("\n") == 1
