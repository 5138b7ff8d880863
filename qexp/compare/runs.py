"""Compare two archives: configs, PUBs, software, calibrations, data."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from qexp.archive.pubs import PubIdentity, pub_identities
from qexp.archive.read import Archive, open_archive
from qexp.archive.verify import require_intact
from qexp.compare.changes import compare_calibrations, mapping_changes, software_changes
from qexp.compare.data import compare_data
from qexp.compare.model import ALPHA, Comparison, PubComparison, Side, WorkloadMatch
from qexp.core.flatten import flatten

Identities: TypeAlias = Mapping[str, Sequence[PubIdentity]]
"""Workload -> identity of each of its PUBs."""

_COMPARED = ("experiment", "status", "engine", "backend", "seed")
_PARTS = ("kind", "circuit", "parameters", "observables")


def compare_runs(a: str | Path, b: str | Path, *, alpha: float = ALPHA) -> Comparison:
    """Compare two archives, as far as both have results.

    Example:
        `compare_runs("outputs/ghz/A", "outputs/ghz/B").data.verdict` is `"identical"` for two runs
        of one config.

    Args:
        a: The first `run.h5`, or its run's folder.
        b: The second one.
        alpha: Level of the verdict on the data, between 0 and 1.

    Raises:
        ArchiveError: An archive is missing, damaged, or no archive.
    """
    pubs_a, pubs_b = pub_identities(require_intact(a)), pub_identities(require_intact(b))
    with open_archive(a) as run_a, open_archive(b) as run_b:
        # Read once: its JSON is most of a small archive.
        backend_a, backend_b = run_a.backend, run_b.backend
        side_a = _side(run_a, str(backend_a["name"]), pubs_a)
        side_b = _side(run_b, str(backend_b["name"]), pubs_b)
        matches = tuple(
            match_pubs(name, pubs_a[name], pubs_b[name])
            for name in run_a.workloads
            if name in pubs_b
        )
        return Comparison(
            a=side_a,
            b=side_b,
            run=mapping_changes(
                *({name: getattr(side, name) for name in _COMPARED} for side in (side_a, side_b))
            ),
            config=mapping_changes(flatten(run_a.config), flatten(run_b.config)),
            circuits=matches,
            workloads_only_a=tuple(name for name in run_a.workloads if name not in pubs_b),
            workloads_only_b=tuple(name for name in run_b.workloads if name not in pubs_a),
            software=software_changes(run_a.environment, run_b.environment),
            calibration=compare_calibrations(
                backend_a["properties"],
                backend_b["properties"],
                same_device=side_a.backend == side_b.backend,
            ),
            data=compare_data(
                run_a,
                run_b,
                _common_results(matches, pubs_a, pubs_b),
                (side_a.num_results, side_b.num_results),
                alpha,
            ),
        )


def _side(run: Archive, backend: str, identities: Identities) -> Side:
    pubs = [pub for workload in identities.values() for pub in workload]
    return Side(
        path=str(run.path),
        run_id=run.run_id,
        experiment=run.experiment,
        status=run.status,
        engine=run.engine,
        backend=backend,
        seed=run.seed,
        created=run.created,
        num_pubs=len(pubs),
        num_results=sum(bool(pub.result) for pub in pubs),
        data_sha256=run.data_sha256,
        simulator_version=_simulator_version(run),
    )


def _simulator_version(run: Archive) -> int | None:
    """Return the version of the local engine's simulator; 1 where it recorded none."""
    if run.engine != "local" or not len(run.jobs):
        return None
    return int(run.jobs[0].info.get("simulator_version", 1))


def match_pubs(workload: str, a: Sequence[PubIdentity], b: Sequence[PubIdentity]) -> WorkloadMatch:
    """Pair the PUBs that ask for the same: by index, then the others in order.

    A PUB that occurs several times is paired as often as both runs have it.
    """
    in_place = {
        k
        for k, (x, y) in enumerate(zip(a, b, strict=False))
        if x.measurement_key == y.measurement_key
    }
    left: dict[tuple[str, ...], deque[int]] = defaultdict(deque)
    for index, pub in enumerate(b):
        if index not in in_place:
            left[pub.measurement_key].append(index)
    pairs, only_a = [], []
    for index, pub in enumerate(a):
        if index in in_place:
            pairs.append((index, index))
        elif left[pub.measurement_key]:
            pairs.append((index, left[pub.measurement_key].popleft()))
        else:
            only_a.append(index)
    only_b = sorted(index for rest in left.values() for index in rest)
    return WorkloadMatch(
        workload=workload,
        num_a=len(a),
        num_b=len(b),
        pairs=tuple(pairs),
        only_a=tuple(only_a),
        only_b=tuple(only_b),
        other_isa=tuple(i for i, j in pairs if a[i].isa != b[j].isa),
        other_target=tuple(
            i for i, j in pairs if (a[i].shots, a[i].precision) != (b[j].shots, b[j].precision)
        ),
        reasons={
            k: tuple(
                part
                for part, of_a, of_b in zip(
                    _PARTS, a[k].measurement_key, b[k].measurement_key, strict=True
                )
                if of_a != of_b
            )
            for k in sorted({*only_a} & {*only_b})
        },
    )


def _common_results(
    matches: Sequence[WorkloadMatch], a: Identities, b: Identities
) -> list[PubComparison]:
    """Return the PUBs of which both runs have a result, their data not compared yet."""
    return [
        PubComparison(name, i, j, x.kind, identical=x.result == y.result, same_isa=x.isa == y.isa)
        for match in matches
        for name in (match.workload,)
        for i, j in match.pairs
        for x, y in ((a[name][i], b[name][j]),)
        if x.result and y.result
    ]
