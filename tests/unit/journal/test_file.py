from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qexp.archive.parts import StoredParts
from qexp.archive.schema import JOURNAL_NAME
from qexp.errors import ArchiveError
from qexp.journal.events import BatchOpened, Collected, Planned, Started, Submitted, Submitting
from qexp.journal.file import Journal, read_ledger

EVENTS = [
    Started("host", 42, "0.1"),
    Planned(("aa", "bb")),
    BatchOpened("b0", "t", None, 1500),
    Submitting(0, 1, "b0", "tag"),
    Submitted(0, 1, "b0", "job0"),
    Collected(0, 1, "job0", "ERROR", "transient"),
]


def write(run_dir: Path) -> Path:
    with Journal(run_dir) as journal:
        for event in EVENTS:
            journal.append(event)
    return run_dir / JOURNAL_NAME


def test_appended_events_are_read_back(tmp_path: Path):
    write(tmp_path)
    ledger = read_ledger(tmp_path)
    assert list(ledger.planned.values()) == [EVENTS[1]]
    assert ledger.batches == [EVENTS[2]]
    (attempt,) = ledger.attempts[0]
    assert (attempt.job, attempt.state, attempt.failure) == ("job0", "ERROR", "transient")


def test_each_line_can_be_checked_without_qexp(tmp_path: Path):
    for line in write(tmp_path).read_bytes().splitlines():
        body, _, _ = line.rpartition(b',"crc32"')
        assert int(json.loads(line)["crc32"], 16) == zlib.crc32(body)


@given(cut=st.integers(1, 60))
def test_a_torn_last_line_is_repaired(tmp_path_factory: pytest.TempPathFactory, cut: int):
    run_dir = tmp_path_factory.mktemp("run")
    path = write(run_dir)
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    path.write_bytes(whole[: len(whole) - min(cut, len(last))])
    expected = whole[: len(whole) - len(last)]
    assert read_ledger(run_dir).open_attempts()
    with Journal(run_dir) as journal:
        journal.append(EVENTS[-1])
    assert path.read_bytes()[: len(expected)] == expected
    assert not read_ledger(run_dir).open_attempts()


def test_zeros_that_a_power_cut_left_are_cut_off(tmp_path: Path):
    path = write(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0" * 512)
    with Journal(tmp_path):
        assert path.read_bytes() == whole


@given(data=st.data())
def test_any_flipped_bit_is_reported_with_its_line_or_only_cuts_the_last_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    run_dir = tmp_path_factory.mktemp("run")
    path = write(run_dir)
    whole = path.read_bytes()
    raw = bytearray(whole)
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(raw)
    line = whole[:position].count(b"\n") + 1
    if line == len(EVENTS):
        assert read_ledger(run_dir).open_attempts()
        return
    with pytest.raises(ArchiveError, match=rf"journal\.jsonl, line {line}: ") as caught:
        read_ledger(run_dir)
    assert str(caught.value).endswith(f"qexp resume {run_dir} --repair-journal")


ZEROS = [b"\0" * 3, b"\0" * 512, b"\0" * 40 + b"\n", b"\0\n" * 3]


@pytest.mark.parametrize("end", [*ZEROS, b"rubbish\n", b"{}\n", b"\n", b'{"event":"planned"}\n'])
def test_what_a_power_cut_left_of_a_last_line_is_cut_off(tmp_path: Path, end: bytes):
    path = write(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + end)
    assert not read_ledger(tmp_path).open_attempts()
    with Journal(tmp_path):
        assert path.read_bytes() == whole


def test_a_last_line_of_zeros_is_cut_off(tmp_path: Path):
    path = write(tmp_path)
    *before, last = path.read_bytes().splitlines(keepends=True)
    for end in (b"\0" * len(last), b"\0" * (len(last) - 1) + b"\n"):
        path.write_bytes(b"".join(before) + end)
        with Journal(tmp_path) as journal:
            assert len(journal.ledger.open_attempts()) == 1
            assert path.read_bytes() == b"".join(before)


def test_two_damaged_lines_at_the_end_are_no_power_cut(tmp_path: Path):
    path = write(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = [line.replace(b'"attempt":1', b'"attempt":2') for line in lines[-2:]]
    path.write_bytes(b"".join([*lines[:-2], *damaged]))
    with pytest.raises(ArchiveError, match="line 5: checksum mismatch"):
        Journal(tmp_path)


def test_rubbish_before_the_end_is_reported_with_its_line(tmp_path: Path):
    path = write(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"rubbish\n", *lines[3:]]))
    with pytest.raises(ArchiveError, match="line 4") as caught:
        Journal(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kept", "part", "missing"),
    [
        (2, "batch-000.json", "a batch is in its parts"),
        (3, "job-000000-01.h5", "the outcome of a job is in its parts"),
        (6, "job-000000-02.h5", "the outcome of a job is in its parts"),
    ],
)
def test_a_journal_that_lacks_what_is_on_disk_is_refused(
    tmp_path: Path, kept: int, part: str, missing: str
):
    path = write(tmp_path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:kept]))
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / part).touch()
    match = f"lines are lost: {missing} .* --repair-journal"
    stored = StoredParts(tmp_path)
    with Journal(tmp_path) as journal, pytest.raises(ArchiveError, match=match):
        journal.refuse_lost_lines(stored.numbered("job"), stored)


@pytest.mark.parametrize(
    ("lost", "missing"),
    [(1, "a batch was opened for a plan"), (2, "a job was submitted to a batch")],
)
def test_a_journal_without_what_its_lines_rest_on_is_refused(
    tmp_path: Path, lost: int, missing: str
):
    path = write(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:lost], *lines[lost + 1 :]]))
    match = f"lines are lost: {missing} that no line has"
    stored = StoredParts(tmp_path)
    with Journal(tmp_path) as journal, pytest.raises(ArchiveError, match=match):
        journal.refuse_lost_lines(stored.numbered("job"), stored)


def test_a_field_that_an_earlier_version_did_not_write_has_its_default(tmp_path: Path):
    path = write(tmp_path)
    body = b'{"time":"2026-01-01T00:00:00Z","event":"batch_opened","batch":"b1","token":"u"'
    path.write_bytes(path.read_bytes() + body + f',"crc32":"{zlib.crc32(body):08x}"}}\n'.encode())
    assert read_ledger(tmp_path).batches[-1] == BatchOpened("b1", "u", None, None)


def test_an_event_of_a_newer_version_is_reported(tmp_path: Path):
    path = write(tmp_path)
    body = b'{"time":"2030-01-01T00:00:00Z","event":"teleported"'
    path.write_bytes(path.read_bytes() + body + f',"crc32":"{zlib.crc32(body):08x}"}}\n'.encode())
    with pytest.raises(ArchiveError, match="line 7: no event that this version"):
        read_ledger(tmp_path)


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path: Path, monkeypatch):
    path = write(tmp_path)
    before = path.read_bytes()
    write_all = os.write

    def write_some(descriptor: int, data: bytes) -> int:
        return write_all(descriptor, data[:7])

    with Journal(tmp_path) as journal:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write_some)
            with pytest.raises(ArchiveError, match="No space left"):
                journal.append(Submitting(1, 1, "b0", "tag"))
        assert path.read_bytes() == before
        journal.append(Submitting(1, 1, "b0", "tag"))
    assert len(read_ledger(tmp_path).open_attempts()) == 1


def test_a_folder_without_a_journal_holds_no_run(tmp_path: Path):
    with pytest.raises(ArchiveError, match="holds no run"):
        read_ledger(tmp_path)


def test_a_journal_that_cannot_be_opened_is_one_line(tmp_path: Path):
    (tmp_path / JOURNAL_NAME).mkdir()
    with pytest.raises(ArchiveError, match=JOURNAL_NAME):
        Journal(tmp_path)


def test_secrets_do_not_reach_the_journal(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "s3cr3t-t0ken")
    with Journal(tmp_path) as journal:
        journal.append(BatchOpened("s3cr3t-t0ken", "t"))
    assert b"s3cr3t" not in (tmp_path / JOURNAL_NAME).read_bytes()


def test_an_excerpt_has_the_lines_about_a_point_and_those_about_all(tmp_path: Path):
    events = [
        Started("h\u00f6st\u2028", 42, "0.1"),
        Planned(("aa",), point=1, first=0),
        Planned(("bb",), point=0, first=1),
        BatchOpened("b0", "t", None, 1500),
        Submitting(0, 1, "b0", "tag"),
        Submitting(1, 1, "b0", "tag2"),
        Submitted(1, 1, "b0", "job"),
    ]
    with Journal(tmp_path) as journal:
        for event in events:
            journal.append(event)
        lines = (tmp_path / JOURNAL_NAME).read_text().split("\n")
        excerpt = journal.excerpts(lambda partition: [1, 0][partition])
        for point, own in ((0, (0, 2, 3, 5, 6)), (1, (0, 1, 3, 4)), (2, (0, 3))):
            assert excerpt(point).split("\n")[:-1] == [lines[number] for number in own]
