"""The request of each attempt: what it runs, the tags it is known by, and its seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from qexp.archive.parts import StoredParts
from qexp.batch.ledger import Ledger, Planned
from qexp.core.model import JOB_TAG, JobRequest, Partition, Plan, PrimitiveSpec
from qexp.core.seeds import as_int, child, stream

if TYPE_CHECKING:
    from qexp.core.model import Pub

_MAX_TAG_LENGTH = 86
"""Characters of a tag (the service's published schema)."""

_DIGEST_LENGTH = 16


def run_tag(run_id: str) -> str:
    """The tag of every job of a run."""
    return f"qexp-run:{run_id}"[:_MAX_TAG_LENGTH]


def attempt_tag(partition: int, attempt: int, ledger: Ledger) -> str:
    """The tag that only the job of this attempt has.

    Its digest is of the partition's content and of the run's token, so that neither another run of
    the same name nor a partition with other circuits can be taken for it.
    """
    assert ledger.plan is not None
    content = f"{ledger.token}:{ledger.plan.parts[partition]}"
    digest = hashlib.sha256(content.encode("ascii")).hexdigest()[:_DIGEST_LENGTH]
    return f"{JOB_TAG}{partition}.{attempt}:{digest}"


@dataclass(frozen=True)
class CommittedPubs:
    """Loads the ISA PUBs of a partition, if they are those that were planned; picklable.

    A circuit that is not what was planned must never be paid for.
    """

    parts: StoredParts
    committed: Planned

    def __call__(self, partition: Partition) -> list[Pub]:
        """The PUBs, in order.

        Raises:
            ArchiveError: The partition's part is missing or damaged.
        """
        self.parts.check_part(partition.index, self.committed.parts[partition.index])
        return self.parts.load_isa_pubs(partition)


@dataclass(frozen=True)
class Requests:
    """Makes requests.

    Attributes:
        run_id: The run's id.
        seed: The experiment's seed.
        plan: The plan.
        ledger: The plan and the run's token as the journal has them.
        primitives: Workload -> its primitive.
        load_pubs: Loads and checks the ISA PUBs of a partition.
    """

    run_id: str
    seed: int
    plan: Plan
    ledger: Ledger
    primitives: Mapping[str, PrimitiveSpec]
    load_pubs: Callable[[Partition], list[Pub]]

    def __call__(self, index: int, attempt: int) -> JobRequest:
        """The request of attempt number `attempt` of partition `index`."""
        partition = self.plan.partitions[index]
        tag = attempt_tag(index, attempt, self.ledger)
        sequence = stream(self.seed, partition.workload, "simulate")
        return JobRequest(
            partition=partition,
            primitive=self.primitives[partition.workload],
            load_pubs=partial(self.load_pubs, partition),
            tags=("qexp", run_tag(self.run_id), tag),
            # Counted from the workload's first PUB, so that another workload shifts nothing; the
            # same for all attempts, so that a second one gives the same data.
            seed=as_int(child(sequence, partition.first)),
            attempt=attempt,
            tag=tag,
        )
