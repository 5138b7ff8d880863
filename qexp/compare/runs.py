"""Compare two archives: configs, circuits, software, calibrations, data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from qexp.archive.pubs import pub_identities
from qexp.archive.read import Archive, open_archive
from qexp.archive.verify import require_intact
from qexp.compare.calibration import compare_calibrations
from qexp.compare.changes import config_changes, mapping_changes, software_changes
from qexp.compare.data import compare_data
from qexp.compare.matching import Identities, common_results, match_pubs
from qexp.compare.model import ALPHA, Comparison, Side

_COMPARED = ("experiment", "status", "engine", "backend", "seed")


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
        facts_a, facts_b = asdict(side_a), asdict(side_b)
        matches = tuple(
            match_pubs(name, pubs_a[name], pubs_b[name])
            for name in run_a.workloads
            if name in pubs_b
        )
        return Comparison(
            a=side_a,
            b=side_b,
            run=mapping_changes(
                {name: facts_a[name] for name in _COMPARED},
                {name: facts_b[name] for name in _COMPARED},
            ),
            config=config_changes(run_a.config, run_b.config),
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
                common_results(matches, pubs_a, pubs_b),
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
    )
