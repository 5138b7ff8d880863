from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qexp.archive.atomic_files import add_crc32, write_with_digest
from qexp.archive.schema import JOURNAL_NAME
from qexp.core.spec import ExecutionPolicy
from qexp.errors import ArchiveError, RunLockedError
from qexp.journal.events import (
    Adopted,
    BatchClosed,
    BatchOpened,
    Collected,
    Cut,
    Duplicate,
    Ended,
    Event,
    NotSubmitted,
    Planned,
    Repaired,
    Resumed,
    Sealed,
    Started,
    Submitted,
    Submitting,
)
from qexp.journal.file import Journal, complete_lines, line_of, read_event, read_ledger
from qexp.journal.ledger import Attempt, Ledger, Piece, attempt_tag
from qexp.journal.lock import lock_folder
from qexp.journal.repair import Stored, repair_journal, repaired

HERE = Path("outputs/ghz/run/journal.jsonl")
PARTS = ("aa" * 32, "bb" * 32, "cc" * 32)
TOKEN = "0123456789abcdef"


@dataclass(frozen=True)
class History:
    """What a run wrote: its journal, and the parts beside it."""

    events: tuple[Event, ...]
    stored: Stored

    @property
    def lines(self) -> list[bytes]:
        return [line_of(event) for event in self.events]

    def repaired(self, raw: bytes) -> tuple[Ledger, Repaired | None]:
        lines = repaired(raw, self.stored, HERE)
        if lines is None:
            # What is not ended was never relied upon.
            return ledger_of(*map(read_event, complete_lines(raw).splitlines())), None
        events = [read_event(one) if isinstance(one, bytes) else one for one in lines]
        assert isinstance(events[-1], Repaired)
        again = b"".join(line_of(event) for event in events)
        assert repaired(again, self.stored, HERE) is None
        return ledger_of(*events), events[-1]


def ledger_of(*events: Event) -> Ledger:
    ledger = Ledger()
    for event in events:
        ledger.apply(event)
    return ledger


def tag(partition: int, number: int) -> str:
    return attempt_tag(TOKEN, PARTS[partition], partition, number)


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Journals of runs in batches of jobs that end in every way, with kills and resumes."""
    events: list[Event] = [Started("host", 1, "0.1"), Planned(PARTS)]
    batches: dict[str, str | None] = {}
    outcomes: dict[tuple[int, int], tuple[str, str]] = {}
    left = dict.fromkeys(range(len(PARTS)), 0)
    for opened in range(draw(st.integers(1, 3))):
        batch, before = f"b{opened}", next(reversed(batches), None)
        batches[batch] = before
        events.append(BatchOpened(batch, TOKEN if opened == 0 else "other", before, 60))
        out: list[tuple[int, int]] = []
        for partition in sorted(left):
            left[partition] = number = left[partition] + 1
            events.append(Submitting(partition, number, batch, tag(partition, number)))
            if draw(st.integers(0, 4)) == 0:
                outcomes[partition, number] = ("", batch)
                events.append(NotSubmitted(partition, number, "not submitted: busy", "denied"))
                continue
            events.append(Submitted(partition, number, batch, f"job{partition}.{number}"))
            out.append((partition, number))
        events.append(BatchClosed(batch))
        if draw(st.booleans()):
            events.append(Resumed("host", 2, "0.1"))
        for partition, number in draw(st.permutations(out)):
            job, is_done = f"job{partition}.{number}", draw(st.booleans())
            outcomes[partition, number] = (job, batch)
            state, failure = ("DONE", None) if is_done else ("ERROR", "transient")
            events.append(Collected(partition, number, job, state, failure))  # type: ignore[arg-type]
            if is_done:
                del left[partition]
    if not left:
        events += [Ended("complete"), Sealed("complete")]
    length = draw(st.integers(2, len(events)))
    kept = tuple(events[:length])
    return History(kept, _stored_by(kept, batches, outcomes))


def _stored_by(
    events: tuple[Event, ...],
    batches: dict[str, str | None],
    outcomes: dict[tuple[int, int], tuple[str, str]],
) -> Stored:
    """The parts that were on disk when a journal had these events."""
    opened = {event.batch for event in events if isinstance(event, BatchOpened)}
    ended = {
        (event.partition, event.attempt)
        for event in events
        if isinstance(event, NotSubmitted | Collected)
    }
    return Stored(
        PARTS,
        {batch: before for batch, before in batches.items() if batch in opened},
        {key: value for key, value in outcomes.items() if key in ended},
    )


def assert_nothing_is_paid_twice(history: History, ledger: Ledger) -> None:
    """Each job is known, or recognised as soon as the service is asked for the run's tag."""
    before = ledger_of(*history.events)
    for attempt in before.all_attempts():
        assert ledger.part_digests == before.part_digests
        assert ledger.batches
        attempts = ledger.attempts.get(attempt.partition, [])
        if attempt.number <= len(attempts):
            _assert_known(history, attempt, attempts[attempt.number - 1], ledger)
        else:
            # Listed by the tag of the run, and recognised by the token or by its PUBs.
            assert len(attempts) == attempt.number - 1
            assert ledger.token in (TOKEN, "")
    for partition in before.done:
        assert partition in ledger.done or any(
            not attempt.is_over for attempt in ledger.attempts[partition]
        )
    assert {one.batch for one in ledger.all_attempts()} <= {one.batch for one in ledger.batches}


def _assert_known(history: History, before: Attempt, after: Attempt, ledger: Ledger) -> None:
    assert after.batch == before.batch
    assert after.job in (before.job, None)
    assert after.tag == before.tag or not ledger.token
    if not after.is_over:
        has_outcome = (after.partition, after.number) in history.stored.outcomes
        assert after.job or after.tag or has_outcome
    else:
        assert (after.state, after.failure) == (before.state, before.failure)


@given(history=histories(), data=st.data())
def test_a_lost_line_loses_no_job(history: History, data: st.DataObject) -> None:
    lines = history.lines
    number = data.draw(st.integers(0, len(lines) - 1))
    lines[number] = data.draw(st.sampled_from([b"\0" * 80 + b"\n", b"rubbish\n", b"\n", b""]))
    ledger, _ = history.repaired(b"".join(lines))
    if any(isinstance(event, BatchOpened) for event in history.events):
        assert_nothing_is_paid_twice(history, ledger)


@given(history=histories(), data=st.data())
def test_a_cut_loses_no_job(history: History, data: st.DataObject) -> None:
    raw = b"".join(history.lines)
    length = data.draw(st.integers(0, len(raw)))
    ledger, _ = history.repaired(raw[:length])
    if history.stored.batches:
        before = ledger_of(*history.events)
        assert ledger.part_digests == before.part_digests
        assert [one.batch for one in ledger.batches] == [one.batch for one in before.batches]
        for partition, number in history.stored.outcomes:
            after = ledger.attempts[partition][number - 1]
            assert after.job in (before.attempts[partition][number - 1].job, None)
        assert_nothing_is_paid_twice(history, ledger)


@given(history=histories(), data=st.data())
def test_a_flipped_bit_loses_nothing(history: History, data: st.DataObject) -> None:
    raw = bytearray(b"".join(history.lines))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    ledger, done = history.repaired(bytes(raw))
    assert ledger == ledger_of(*history.events)
    assert done is None or done == Repaired(0, 1)


@given(history=histories())
def test_an_undamaged_journal_is_left_as_it_is(history: History) -> None:
    assert repaired(b"".join(history.lines), history.stored, HERE) is None


def test_a_last_line_that_lacks_only_its_end_is_kept() -> None:
    history = History(EVENTS[:3], Stored(PARTS, {"b0": None}))
    ledger, done = history.repaired(b"".join(history.lines)[:-1])
    assert done == Repaired(0, 0)
    assert ledger.token == TOKEN


EVENTS: tuple[Event, ...] = (
    Started("host", 1, "0.1"),
    Planned(PARTS),
    BatchOpened("b0", TOKEN),
    Submitting(0, 1, "b0", tag(0, 1)),
    Submitted(0, 1, "b0", "job0"),
    Submitting(1, 1, "b0", tag(1, 1)),
    Submitted(1, 1, "b0", "job1"),
    Collected(0, 1, "job0", "DONE"),
    BatchClosed("b0"),
)
STORED = Stored(PARTS, {"b0": None}, {(0, 1): ("job0", "b0")})


def without(*kinds: type[Event], events: tuple[Event, ...] = EVENTS) -> Iterator[bytes]:
    for event in events:
        yield b"rubbish\n" if isinstance(event, kinds) else line_of(event)


@pytest.mark.parametrize(
    ("kind", "assumed"),
    [
        (Started, ()),
        (BatchClosed, ()),
        (Planned, ("the plan has the 3 partitions that are on disk",)),
        (BatchOpened, ("batch b0 was opened; no token",)),
        (
            Submitting,
            (
                "attempt 1 of partition 0 was submitted to batch b0",
                "attempt 1 of partition 1 was submitted to batch b0",
            ),
        ),
        (Submitted, ("attempt 1 of partition 0 is job job0",)),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_what_is_assumed_is_written(kind: type[Event], assumed: tuple[str, ...]) -> None:
    ledger, done = History(EVENTS, STORED).repaired(b"".join(without(kind)))
    lost = sum(isinstance(event, kind) for event in EVENTS)
    assert done == Repaired(lost, 0, assumed)
    assert ledger.done == {0}
    (other,) = ledger.open_attempts()
    assert (other.partition, other.number, other.tag) == (1, 1, tag(1, 1))
    assert other.job == (None if kind is Submitted else "job1")


def test_what_is_readable_stays_as_it_is() -> None:
    raw = b"".join(without(BatchOpened))
    lines = repaired(raw, STORED, HERE)
    assert lines is not None
    assert [one for one in lines if isinstance(one, bytes)] == [
        line for line in raw.splitlines() if line != b"rubbish"
    ]


def test_the_job_that_was_kept_beside_a_duplicate_is_the_attempt_s() -> None:
    events = (*EVENTS[:4], EVENTS[4], Duplicate(0, 1, "job9", "job0", "cancelled"))
    ledger, _ = History(events, STORED).repaired(b"".join(without(Submitted, events=events)))
    assert ledger.attempts[0][0].job == "job0"
    assert ledger.duplicates == {"job9"}


def test_batches_are_opened_in_their_order() -> None:
    events = (*EVENTS, BatchOpened("b1", "u", "b0"), Submitting(2, 1, "b1", "t"))
    stored = Stored(PARTS, {"b0": None, "b1": "b0", "b2": "b1"})
    ledger, _ = History(events, stored).repaired(b"".join(without(BatchOpened, events=events)))
    assert [(one.batch, one.token, one.follows) for one in ledger.batches] == [
        ("b0", "", None),
        ("b1", "", "b0"),
        ("b2", "", "b1"),
    ]


def test_a_partition_is_cut_where_its_pieces_were_submitted() -> None:
    events = (
        *EVENTS[:3],
        Cut(0, (0, 2, 4)),
        Submitting(0, 1, "b0", "t1", first=0, stop=2),
        Submitting(0, 2, "b0", "t2", first=2, stop=4),
    )
    stored = Stored(PARTS, {"b0": None}, pubs={0: (0, 4)})
    ledger, done = History(events, stored).repaired(b"".join(without(Cut, events=events)))
    assert done is not None
    assert done.assumed == ("partition 0 was cut before PUBs 0, 2, 4",)
    assert ledger.cuts == {0: (0, 2, 4)}
    assert {piece.partition for piece in ledger.wanted(ExecutionPolicy())} == {1, 2}


@pytest.mark.parametrize("parts", [(), (PARTS[0], None, PARTS[2])])
def test_a_plan_that_is_not_whole_is_not_guessed(parts: tuple[str | None, ...]) -> None:
    with pytest.raises(ArchiveError, match="the line of the plan is lost") as caught:
        repaired(b"".join(without(Planned)), Stored(parts, {"b0": None}), HERE)
    assert str(HERE) in str(caught.value)


def test_a_plan_that_was_not_used_is_made_anew() -> None:
    lines = [line_of(EVENTS[0]), b"rubbish\n"]
    assert repaired(b"".join(lines), Stored(PARTS), HERE) == [lines[0].strip(), Repaired(1, 0)]


def test_a_line_of_a_newer_version_is_no_damage(tmp_path: Path) -> None:
    line = line_of(EVENTS[0]).replace(b"started", b"teleported")
    line = add_crc32(line.rpartition(b',"crc32"')[0] + b"}") + b"\n"
    with pytest.raises(ArchiveError, match="no event that this version of qexp knows; repair it"):
        repaired(line, Stored(), HERE)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(b"".join(without(BatchOpened)))
    (tmp_path / "parts").mkdir()
    write_with_digest(tmp_path / "parts" / "batch-000.json", b'{"id": "b0", "follows": null}')
    return path


def test_the_damaged_journal_is_kept_beside_the_repaired_one(damaged: Path) -> None:
    folder, raw = damaged.parent, damaged.read_bytes()
    with pytest.raises(ArchiveError, match=r"line 3: .* qexp resume .* --repair-journal"):
        read_ledger(folder)
    done = repair_journal(folder)
    assert done is not None
    assert "assumed: batch b0 was opened; no token; the damaged journal is kept as jour" in done
    assert (folder / "journal.jsonl.damaged").read_bytes() == raw
    with Journal(folder) as journal:
        assert journal.ledger.done == {0}
    assert repair_journal(folder) is None
    damaged.write_bytes(raw)
    assert str(repair_journal(folder)).endswith("journal.jsonl.damaged-2")
    assert (folder / "journal.jsonl.damaged-2").read_bytes() == raw


def test_a_run_that_a_process_works_on_is_left_alone(damaged: Path) -> None:
    raw = damaged.read_bytes()
    with lock_folder(damaged.parent), pytest.raises(RunLockedError):
        repair_journal(damaged.parent)
    assert damaged.read_bytes() == raw


def test_a_journal_that_is_gone_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="cannot be read"):
        repair_journal(tmp_path)


PIECES: tuple[Event, ...] = (
    *EVENTS[:3],
    Cut(0, (0, 2, 4)),
    Submitting(0, 1, "b0", tag(0, 1), first=0, stop=2),
    Submitted(0, 1, "b0", "job0"),
    Submitting(0, 2, "b0", tag(0, 2), first=2, stop=4),
    Submitted(0, 2, "b0", "job1"),
    Collected(0, 1, "job0", "DONE"),
)


def test_an_attempt_of_a_piece_does_not_become_one_of_the_partition() -> None:
    """The PUBs of what is on disk are told there; of the other one, only the service can tell."""
    stored = Stored(
        PARTS, {"b0": None}, {(0, 1): ("job0", "b0")}, {0: (0, 4)}, pieces={(0, 1): (0, 2)}
    )
    raw = b"".join(without(Submitting, Cut, events=PIECES))
    ledger, _ = History(PIECES, stored).repaired(raw)
    first, second = ledger.attempts[0]
    assert (first.first, first.stop, first.job, first.state) == (0, 2, "job0", "DONE")
    assert ledger.cuts == {0: (0, 2, 4)}
    assert ledger.done == set()
    # The service is asked what job1 holds, and it is adopted.
    assert second.is_over
    assert not ledger.attempts_with("job1")
    assert Piece(0, 2, 4) in ledger.wanted(ExecutionPolicy())


def test_a_piece_of_a_partition_without_its_part_is_not_taken_for_all_of_it() -> None:
    raw = b"".join(without(Cut, events=PIECES))
    with pytest.raises(ArchiveError, match="partition 0 was cut, and its part"):
        repaired(raw, Stored(PARTS, {"b0": None}), HERE)


def test_a_lost_piece_of_an_adopted_job_can_be_adopted_once_more() -> None:
    events = (
        *EVENTS[:3],
        Adopted(0, 1, "b0", "t", "job7"),
        Adopted(1, 1, "b0", "t", "job7", offset=1),
        Collected(0, 1, "job7", "DONE"),
    )
    stored = Stored(PARTS, {"b0": None}, {(0, 1): ("job7", "b0")})
    ledger, _ = History(events, stored).repaired(b"".join(without(Adopted, events=events)))
    (attempt,) = ledger.attempts_with("job7")
    assert (attempt.partition, attempt.is_adopted, attempt.state) == (0, True, "DONE")


def test_a_batch_of_another_copy_does_not_become_an_own_one() -> None:
    events = (
        *EVENTS,
        BatchOpened("theirs", "", is_foreign=True),
        Adopted(2, 1, "theirs", "t", "job9"),
        BatchOpened("b1", "u", "theirs"),
    )
    stored = Stored(PARTS, {"b0": None, "theirs": None, "b1": "theirs"})
    for adopted in ((), (Adopted,)):
        raw = b"".join(without(BatchOpened, *adopted, events=events))
        ledger, done = History(events, stored).repaired(raw)
        assert done is not None
        assert "batch theirs was opened by another copy of the folder" in done.assumed
        assert ledger.own_batches == ["b0", "b1"]
        assert [one.batch for one in ledger.batches] == ["b0", "theirs", "b1"]
