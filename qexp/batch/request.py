"""One job to be submitted: its PUBs, and the tags by which any process recognises it.

Every job carries four tags: `qexp`; `qexp-run:RUN_ID`, by which all jobs of a run are listed;
`qexp-job:PARTITION.ATTEMPT:DIGEST`, which only one attempt of one folder has; and
`qexp-pubs:WORKLOAD:FIRST-STOP:DIGEST`, which says what the job holds. A copy of the folder knows
the last one, too, however it has cut its partitions by then.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from qexp.archive.parts import StoredParts
from qexp.core.model import JOB_TAG, FoundJob, JobRequest, Partition
from qexp.core.protocols import RemoteEngine
from qexp.core.seeds import as_int, child, stream
from qexp.journal.events import Cut
from qexp.journal.ledger import Attempt, Piece, attempt_tag

if TYPE_CHECKING:
    from qexp.core.model import Pub
    from qexp.points import Experiment, Point

_MAX_TAG_LENGTH: Final = 86
"""Characters of a tag (the service's published schema)."""

_DIGEST_LENGTH: Final = 16
_LONGEST_NAME: Final = 30
_ATTEMPT_TAG: Final = re.compile(rf"{JOB_TAG}(\d+)\.(\d+):[0-9a-f]+")
_PUBS_TAG: Final = re.compile(r"qexp-pubs:([^:]+):(\d+)-(\d+):[0-9a-f]+")


@dataclass(frozen=True)
class Held:
    """Consecutive PUBs of one partition that a job on the service holds.

    Attributes:
        piece: The PUBs.
        offset: Position of the first of them in the job.
    """

    piece: Piece
    offset: int


def make_request(experiment: Experiment, piece: Piece, attempt: int) -> JobRequest:
    """Return the `JobRequest` of one attempt.

    Args:
        experiment: The experiment; its plan is committed, and a batch is open.
        piece: The PUBs.
        attempt: Number of the attempt, from 1.
    """
    index, sha256 = piece.partition, experiment.ledger.part_digests[piece.partition]
    partition, point = planned_piece(experiment, piece), experiment.point_of(index)
    tag = _attempt_tag(experiment, index, attempt)
    tags = ["qexp", run_tag(experiment.id), tag]
    if isinstance(experiment.engine, RemoteEngine):
        tags.append(_pubs_tag(point, partition))
    return JobRequest(
        partition=partition,
        primitive=point.spec.primitive_of(partition.workload),
        load_pubs=partial(_load_pubs, StoredParts(point.folder), partition, sha256),
        tags=tuple(tags),
        # By the index within the workload, so that adding a workload changes no seed; the same
        # for all attempts, so that a second one gives the same data.
        seed=as_int(
            child(stream(point.spec.noise_seed, partition.workload, "simulate"), partition.first)
        ),
        attempt=attempt,
        tag=tag,
    )


def adopted_request(experiment: Experiment, attempts: Sequence[Attempt]) -> JobRequest:
    """Return the request of a job that attempts share, as if it had been submitted as one.

    Args:
        experiment: The experiment.
        attempts: The attempts, at least one, in the order of their PUBs in the job.
    """
    requests = [make_request(experiment, one.piece, one.number) for one in attempts]
    first, last = requests[0], requests[-1]
    if len(requests) == 1:
        return replace(first, tag=attempts[0].tag)
    whole = replace(first.partition, stop=last.partition.stop)
    return replace(
        first,
        partition=whole,
        load_pubs=lambda: [pub for request in requests for pub in request.load_pubs()],
    )


def planned_piece(experiment: Experiment, piece: Piece) -> Partition:
    """Return a piece as a partition."""
    partition = experiment.plan.partitions[piece.partition]
    if piece.first is None or piece.stop is None:
        return partition
    return partition.piece(piece.first, piece.stop)


def cut(experiment: Experiment, partition: int, *at: int) -> None:
    """Cut a partition before some of its PUBs, for all later attempts.

    Args:
        experiment: The experiment.
        partition: Index of the partition, which may be cut elsewhere already.
        at: Indices of PUBs; those that are no PUB of it, or its first one, change nothing.
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
    """Return the planned PUBs that a job on the service holds, by its tags.

    Jobs of version 0.1.0 of qexp and before have no tag of their PUBs: they hold those of their
    partition, if it is this folder that submitted them.

    Returns:
        Whole pieces or parts of pieces; empty where the job holds other circuits.
    """
    found = [held for tag in job.tags for held in _pubs_of_tag(experiment, tag)]
    if found or any(_PUBS_TAG.fullmatch(tag) for tag in job.tags):
        return found
    return [held for tag in attempt_tags(job) for held in _pubs_of_old_tag(experiment, tag)]


def _pubs_of_tag(experiment: Experiment, tag: str) -> list[Held]:
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
    digests = [digest for piece in pieces for digest in point.store.pub_digests(piece)]
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

    Raises:
        ArchiveError: The part has another digest, or is missing or damaged.
    """
    parts.check_part(partition.index, sha256)
    return parts.load_isa_pubs(partition)
