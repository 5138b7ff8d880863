"""The request of each attempt: what it runs, the tags it is known by, and its seed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qexp.archive.parts import StoredParts
from qexp.core.model import JOB_TAG, JobRequest, Partition
from qexp.core.seeds import as_int, child, stream
from qexp.points import Experiment

if TYPE_CHECKING:
    from qexp.core.model import Pub

_MAX_TAG_LENGTH = 86
"""Characters of a tag (the service's published schema)."""

_DIGEST_LENGTH = 16


def make_request(experiment: Experiment, index: int, attempt: int) -> JobRequest:
    """Return the request of an attempt to run a partition.

    Args:
        experiment: The experiment, planned; a batch was opened, so that its tags are known.
        index: Index of the partition.
        attempt: Number of the attempt, from 1.
    """
    planned = experiment.ledger.plan
    assert planned is not None
    partition, point = experiment.plan.partitions[index], experiment.point_of(index)
    tag = _attempt_tag(index, attempt, experiment.ledger.token, planned.parts[index])
    sequence = stream(point.spec.seed, partition.workload, "simulate")
    return JobRequest(
        partition=partition,
        primitive=point.spec.primitive_of(partition.workload),
        load_pubs=PlannedPubs(StoredParts(point.folder), partition, planned.parts[index]),
        tags=("qexp", run_tag(experiment.id), tag),
        # Counted from the workload's first PUB, so that another workload shifts nothing; the
        # same for all attempts, so that a second one gives the same data.
        seed=as_int(child(sequence, partition.first)),
        attempt=attempt,
        tag=tag,
    )


def run_tag(experiment_id: str) -> str:
    """Return the tag of every job of an experiment."""
    return f"qexp-run:{experiment_id}"[:_MAX_TAG_LENGTH]


def _attempt_tag(partition: int, attempt: int, token: str, part: str) -> str:
    """Return the tag that only the job of this attempt has.

    Its digest is of the partition's content and of the experiment's token, so that neither
    another experiment of the same name nor a partition with other circuits can be taken for it.
    """
    digest = hashlib.sha256(f"{token}:{part}".encode("ascii")).hexdigest()[:_DIGEST_LENGTH]
    return f"{JOB_TAG}{partition}.{attempt}:{digest}"


@dataclass(frozen=True)
class PlannedPubs:
    """Loads the ISA PUBs of a partition, if they are those that were planned; picklable.

    A circuit that is not what was planned must never be paid for.

    Attributes:
        parts: The parts of the partition's point.
        partition: The partition.
        sha256: The digest of its part, as the journal has it.
    """

    parts: StoredParts
    partition: Partition
    sha256: str

    def __call__(self) -> list[Pub]:
        """Return the PUBs, in order.

        Raises:
            ArchiveError: The partition's part is missing or damaged.
        """
        self.parts.check_part(self.partition.index, self.sha256)
        return self.parts.load_isa_pubs(self.partition)
