"""One job to be submitted: its PUBs, and the tags by which any process recognises it.

Every job carries at least four tags: `qexp`; `qexp-run:ID`, by which all jobs of a run or a sweep
are listed; `qexp-job:PARTITION.ATTEMPT:DIGEST`, which only one job of one folder has, named by its
first partition; and those that say what the job holds: `qexp-pubs:WORKLOAD:FIRST-STOP:DIGEST` for a
run, `qexp-parts:OFFSET:PARTITIONS:DIGEST` for a sweep, several where one is too short. A copy of
the folder knows the last ones, too, however it has cut its partitions by then.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from qexp.archive.parts import StoredParts
from qexp.core.model import JOB_TAG, FoundJob, JobRequest, Partition
from qexp.core.protocols import RemoteEngine
from qexp.core.seeds import as_int, child, stream
from qexp.journal.events import Cut
from qexp.journal.ledger import Piece, attempt_tag

if TYPE_CHECKING:
    from qexp.core.model import PrimitiveSpec, Pub
    from qexp.points import Experiment, Point

_MAX_TAG_LENGTH: Final = 86
"""Characters of a tag (the service's published schema)."""

_DIGEST_LENGTH: Final = 16
_LONGEST_NAME: Final = 30
_ATTEMPT_TAG: Final = re.compile(rf"{JOB_TAG}(\d+)\.(\d+):[0-9a-f]+")
_PUBS_TAG: Final = re.compile(r"qexp-pubs:([^:]+):(\d+)-(\d+):[0-9a-f]+")
_PARTS_TAG: Final = re.compile(r"qexp-parts:(\d+):([0-9.,/-]+):([0-9a-f]+)")
_NAME: Final = re.compile(r"(\d+)(?:\.(\d+)-(\d+)|-(\d+)(?:/(\d+))?)?")
_MOST_PARTS_TAGS: Final = 5
"""A job has at most 8 tags, of which three are others of qexp, and some may be the user's."""

_LONGEST_NAMES: Final = _MAX_TAG_LENGTH - len("qexp-parts:000000::") - _DIGEST_LENGTH


@dataclass(frozen=True)
class Held:
    """Consecutive PUBs of one partition that a job on the service holds."""

    piece: Piece  # the PUBs
    offset: int  # position of the first of them in the job


def make_request(experiment: Experiment, attempts: Mapping[Piece, int]) -> JobRequest:
    """Return the request of a job of an experiment that is planned and has a batch.

    `attempts` has the PUBs of each partition in it, in the order of the job, and the number of the
    attempt, from 1. PUBs of several pieces of one partition are consecutive.
    """
    members = [_member(experiment, piece, number) for piece, number in attempts.items()]
    first, last = members[0], members[-1]
    tag = _attempt_tag(experiment, first.partition.index, first.attempt)
    tags = ["qexp", run_tag(experiment.id), tag]
    if isinstance(experiment.engine, RemoteEngine):
        tags += pubs_tags(experiment, [*attempts])
    members = [replace(member, tags=tuple(tags), tag=tag) for member in members]
    if len(members) == 1:
        return members[0]
    whole = replace(
        members[0], load_pubs=lambda: [pub for each in members for pub in each.load_pubs()]
    )
    if not experiment.is_sweep:
        # Consecutive PUBs of one workload, from a copy of the folder that has cut otherwise.
        return replace(whole, partition=replace(first.partition, stop=last.partition.stop))
    return replace(whole, members=tuple(members))


def _member(experiment: Experiment, piece: Piece, number: int) -> JobRequest:
    """Return the request of one partition, or a piece of it, without tags."""
    sha256 = experiment.ledger.part_digests[piece.partition]
    partition, point = planned_piece(experiment, piece), experiment.point_of(piece.partition)
    return JobRequest(
        partition=partition,
        primitive=point.spec.primitive_of(partition.workload),
        load_pubs=partial(_load_pubs, StoredParts(point.folder), point.on_disk(partition), sha256),
        tags=(),
        seed=simulation_seed(experiment, piece),
        attempt=number,
    )


def simulation_seed(experiment: Experiment, piece: Piece) -> int:
    """Return the seed with which PUBs are simulated, the same for all attempts and jobs.

    By the index within the workload, so that adding a workload changes no seed.
    """
    partition, point = planned_piece(experiment, piece), experiment.point_of(piece.partition)
    sequence = stream(point.spec.noise_seed, partition.workload, "simulate")
    return as_int(child(sequence, partition.first))


def planned_piece(experiment: Experiment, piece: Piece) -> Partition:
    """Return a piece as a partition."""
    partition = experiment.plan.partitions[piece.partition]
    if piece.first is None or piece.stop is None:
        return partition
    return partition.piece(piece.first, piece.stop)


def cut(experiment: Experiment, partition: int, *at: int) -> None:
    """Cut a partition, which may be cut elsewhere already, before the PUBs `at` these indices.

    That holds for all later attempts. Indices of no PUB of it, or of its first, change nothing.
    """
    whole = experiment.plan.partitions[partition]
    before = experiment.ledger.cuts.get(partition, (whole.first, whole.stop))
    bounds = tuple(sorted({*before, *(one for one in at if whole.first < one < whole.stop)}))
    if bounds != before:
        experiment.journal.append(Cut(partition, bounds))


def run_tag(experiment_id: str) -> str:
    """Return the tag of every job of an experiment."""
    return f"qexp-run:{experiment_id}"[:_MAX_TAG_LENGTH]


def attempt_tags(job: FoundJob) -> list[str]:
    """Return the tags of a job that say which attempt it is."""
    return [tag for tag in job.tags if _ATTEMPT_TAG.fullmatch(tag)]


def pubs_in(experiment: Experiment, job: FoundJob) -> list[Held]:
    """Return the planned PUBs, pieces or parts of some, that a job on the service has by its tags.

    Jobs of version 0.1.0 of qexp and before have no tag of their PUBs: they hold those of their
    partition, if it is this folder that submitted them. Of other circuits, none are returned.
    """
    found = [held for tag in job.tags for held in _pubs_of_tag(experiment, tag)]
    has_tag = any(_PUBS_TAG.fullmatch(tag) or _PARTS_TAG.fullmatch(tag) for tag in job.tags)
    if found or has_tag:
        return found
    return [held for tag in attempt_tags(job) for held in _pubs_of_old_tag(experiment, tag)]


def pubs_tags(experiment: Experiment, pieces: Sequence[Piece]) -> list[str]:
    """Return the tags that say what a job holds: pieces, in this order.

    A job of a single run has one of the form `qexp-pubs`, one of a sweep as many of the form
    `qexp-parts` as its pieces need; see `fits_tags`.
    """
    if not experiment.is_sweep:
        planned = [planned_piece(experiment, piece) for piece in pieces]
        return [_pubs_tag(experiment.point_of(pieces[0].partition), *planned)]
    tags, offset = [], 0
    for names in held_names(experiment, pieces):
        held = _named(experiment, names)
        tags.append(f"qexp-parts:{offset}:{names}:{_digest_of(experiment, held)}")
        offset += sum(planned_piece(experiment, piece).num_pubs for piece in held)
    return tags


def fits_tags(experiment: Experiment, pieces: Sequence[Piece], primitive: PrimitiveSpec) -> bool:
    """Return True if the tags of a job can say that it holds these pieces."""
    declared = (primitive.options.get("environment") or {}).get("job_tags") or ()
    return len(held_names(experiment, pieces)) <= _MOST_PARTS_TAGS - len(declared)


def held_names(experiment: Experiment, pieces: Sequence[Piece]) -> list[str]:
    """Name pieces as tags do, in one text for each tag that is needed.

    `0-6/2,9,11.20-40` is partitions 0, 2, 4, 6, 9, and PUBs 20 to 39 of 11.
    """
    names: list[str] = []
    runs: list[range] = []
    for piece in pieces:
        index = piece.partition
        if piece.first is not None:
            planned = planned_piece(experiment, piece)
            runs.append(range(0))
            names.append(f"{index}.{planned.first}-{planned.stop}")
            continue
        last = runs[-1] if runs else range(0)
        step = index - last[-1] if last else 0
        if last and step > 0 and step == (last.step if len(last) > 1 else step):
            runs[-1] = range(last[0], index + 1, step)
            names[-1] = f"{last[0]}-{index}" + (f"/{step}" if step > 1 else "")
        else:
            runs.append(range(index, index + 1))
            names.append(str(index))
    packed = [""]
    for name in names:
        longer = f"{packed[-1]},{name}".lstrip(",")
        if len(longer) <= _LONGEST_NAMES:
            packed[-1] = longer
        else:
            packed.append(name)
    return packed


def _named(experiment: Experiment, names: str) -> list[Piece]:
    """Return the pieces that a text of `held_names` names; empty if one is not in the plan."""
    pieces: list[Piece] = []
    for name in names.split(","):
        match = _NAME.fullmatch(name)
        if match is None:
            return []
        index, first, stop, last, step = (
            None if one is None else int(one) for one in match.groups()
        )
        assert index is not None
        indices = range(index, (index if last is None else last) + 1, step or 1)
        if not indices or indices[-1] >= experiment.ledger.num_partitions:
            return []
        pieces += [Piece(one, first, stop) for one in indices]
    return pieces


def _digest_of(experiment: Experiment, pieces: Iterable[Piece]) -> str:
    """Return the digest of what the service is sent of some pieces, and of the experiment."""
    digests = []
    for piece in pieces:
        point = experiment.point_of(piece.partition)
        planned = point.on_disk(planned_piece(experiment, piece))
        # Points that are pairs have equal PUBs.
        primitive = point.spec.primitive_of(planned.workload)
        digests += [f"{primitive} {point.spec.noise_seed}", *point.store.pub_digests(planned)]
    text = "\n".join([experiment.identity, *digests])
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]


def _pubs_of_tag(experiment: Experiment, tag: str) -> list[Held]:
    if match := _PARTS_TAG.fullmatch(tag):
        return _held_by_parts(experiment, int(match[1]), match[2], match[3])
    match = _PUBS_TAG.fullmatch(tag)
    if match is None:
        return []
    name, first, stop = match[1], int(match[2]), int(match[3])
    for point in experiment.points:
        held = [
            Held(Piece(each.index, begin, end), begin - first)
            for each in point.partitions
            if _short_name(each.workload) == name
            and (begin := max(each.first, first)) < (end := min(each.stop, stop))
        ]
        pieces = [planned_piece(experiment, one.piece) for one in held]
        has_all = sum(piece.num_pubs for piece in pieces) == stop - first
        if has_all and _pubs_tag(point, *pieces) == tag:
            return held
    return []


def _held_by_parts(experiment: Experiment, offset: int, names: str, digest: str) -> list[Held]:
    pieces = _named(experiment, names)
    if not pieces or _digest_of(experiment, pieces) != digest:
        return []
    held = []
    for piece in pieces:
        planned = planned_piece(experiment, piece)
        held.append(Held(Piece(piece.partition, planned.first, planned.stop), offset))
        offset += planned.num_pubs
    return held


def _pubs_of_old_tag(experiment: Experiment, tag: str) -> list[Held]:
    match = _ATTEMPT_TAG.fullmatch(tag)
    assert match is not None
    index, number = int(match[1]), int(match[2])
    if index >= experiment.ledger.num_partitions:
        return []
    # Without the token, which was lost with its line of the journal, nothing else tells.
    if experiment.ledger.token and _attempt_tag(experiment, index, number) != tag:
        return []
    partition = experiment.plan.partitions[index]
    return [Held(Piece(index, partition.first, partition.stop), 0)]


def _attempt_tag(experiment: Experiment, index: int, number: int) -> str:
    ledger = experiment.ledger
    return attempt_tag(ledger.token, ledger.part_digests[index], index, number)


def _pubs_tag(point: Point, *pieces: Partition) -> str:
    """Return the tag of consecutive PUBs of a workload.

    Its digest is of what the service is sent of each PUB, and of the run, which a copy of the
    folder shares, and a later run in a folder of the same name does not.
    """
    stored = (point.store.pub_digests(point.on_disk(piece)) for piece in pieces)
    digests = [digest for each in stored for digest in each]
    text = "\n".join([point.identity, *digests])
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
    name, first, stop = _short_name(pieces[0].workload), pieces[0].first, pieces[-1].stop
    return f"qexp-pubs:{name}:{first}-{stop}:{digest}"


def _short_name(workload: str) -> str:
    if len(workload) <= _LONGEST_NAME:
        return workload
    digest = hashlib.sha256(workload.encode()).hexdigest()
    return f"{workload[: _LONGEST_NAME - 9]}~{digest[:8]}"


def _load_pubs(parts: StoredParts, partition: Partition, sha256: str) -> list[Pub]:
    """Load the ISA PUBs of a partition, after a check that its part is the planned one.

    A circuit that was not planned must never be paid for.
    """
    parts.check_part(partition.index, sha256)
    return parts.load_isa_pubs(partition)
