"""The tags of a shared job: what it holds can be read from them, and they are short enough."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qexp.batch.packing import jobs_of
from qexp.batch.request import Held, fits_tags, held_names, make_request, pubs_in
from qexp.core.model import FoundJob
from qexp.journal.events import BatchOpened, Cut
from qexp.journal.ledger import Piece
from qexp.points import Experiment
from tests.unit.batch.service import Service
from tests.unit.batch.sweeps import Disk, SweepProcess

POINTS, EACH = 150, 2
MOST_TAGS, LONGEST_TAG = 8, 86


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """A sweep of many points, of which two partitions are cut."""
    sizes = tuple([(3, 1)] * POINTS)
    folder = tmp_path_factory.mktemp("sweep")
    process = SweepProcess(folder, Service(), Disk.of(POINTS), sizes=sizes, most=10_000)
    made = process.experiment()
    with made.journal as journal:
        journal.append(BatchOpened("b", "token"))
        journal.append(Cut(0, (0, 1, 3)))
        journal.append(Cut(200, (0, 2, 3)))
    return made


def pieces_of(experiment: Experiment, partitions: list[int]) -> list[Piece]:
    return [piece for index in partitions for piece in experiment.ledger.pieces(index)]


def found(tags: tuple[str, ...]) -> FoundJob:
    return FoundJob("job", tags, "QUEUED")


def held_by(experiment: Experiment, pieces: list[Piece]) -> list[Held]:
    """All that a job of these pieces holds."""
    held, offset = [], 0
    for piece in pieces:
        planned = experiment.plan.partitions[piece.partition]
        first = planned.first if piece.first is None else piece.first
        stop = planned.stop if piece.stop is None else piece.stop
        held.append(Held(Piece(piece.partition, first, stop), offset))
        offset += stop - first
    return held


PARTITIONS = st.lists(st.integers(0, POINTS * EACH - 1), min_size=1, max_size=12, unique=True)
STRIDES = st.builds(
    lambda first, step, count: [*range(first, POINTS * EACH, step)][:count],
    st.integers(0, 50),
    st.integers(1, 7),
    st.integers(1, POINTS),
)


@settings(max_examples=50)
@given(
    partitions=st.one_of(
        PARTITIONS, STRIDES, st.builds(lambda a, b: list(dict.fromkeys(a + b)), STRIDES, PARTITIONS)
    )
)
def test_tags_tell_what_a_job_holds(experiment: Experiment, partitions: list[int]):
    pieces = pieces_of(experiment, partitions)
    primitive = experiment.points[0].spec.workloads[0].primitive
    request = make_request(experiment, dict.fromkeys(pieces, 1))
    assert all(len(tag) <= LONGEST_TAG for tag in request.tags)
    if fits_tags(experiment, pieces, primitive):
        assert len(request.tags) <= MOST_TAGS
    assert pubs_in(experiment, found(request.tags)) == held_by(experiment, pieces)
    assert request.num_pubs == sum(
        held.piece.stop - held.piece.first for held in held_by(experiment, pieces)
    )


@settings(max_examples=15)
@given(tags=st.lists(st.text(min_size=1, max_size=5), max_size=4))
def test_a_job_with_tags_of_the_user_has_no_more_than_allowed(
    experiment: Experiment, tags: list[str]
):
    scattered = [index * index % 299 for index in range(150)]
    pieces = pieces_of(experiment, list(dict.fromkeys(scattered)))
    options = {"environment": {"job_tags": tags}}
    for point in experiment.points:
        workload = point.spec.workloads[0]
        primitive = replace(workload.primitive, options=options)
        point.spec = replace(point.spec, workloads=(replace(workload, primitive=primitive),))
    try:
        jobs = jobs_of(experiment, pieces)
        assert len(jobs) > 1
        for job in jobs:
            assert (
                len(make_request(experiment, dict.fromkeys(job, 1)).tags) + len(tags) <= MOST_TAGS
            )
    finally:
        for point in experiment.points:
            workload = point.spec.workloads[0]
            primitive = replace(workload.primitive, options={})
            point.spec = replace(point.spec, workloads=(replace(workload, primitive=primitive),))


@pytest.mark.parametrize(
    ("partitions", "names"),
    [
        ([2], ["2"]),
        ([2, 3, 4], ["2-4"]),
        ([2, 4, 6, 3], ["2-6/2,3"]),
        ([4, 2], ["4,2"]),
        ([2, 0, 4], ["2,0.0-1,0.1-3,4"]),
    ],
)
def test_names_of_partitions(experiment: Experiment, partitions: list[int], names: list[str]):
    assert held_names(experiment, pieces_of(experiment, partitions)) == names


def test_a_tag_of_another_sweep_or_of_other_circuits_names_nothing(experiment: Experiment):
    request = make_request(experiment, {Piece(2): 1, Piece(4): 1})
    (tag,) = [tag for tag in request.tags if tag.startswith("qexp-parts")]
    assert pubs_in(experiment, found((tag,)))
    start, _, digest = tag.rpartition(":")
    for other in (
        f"{start}:{'0' * len(digest)}",
        tag.replace(":2-4/2:", ":2-6/2:"),
        tag.replace(":2-4/2:", ":2,9999:"),
        tag.replace(":2-4/2:", ":4-2:"),
    ):
        assert other != tag
        assert pubs_in(experiment, found((other,))) == []
