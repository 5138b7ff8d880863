"""Two runs side by side: what differs between them, and whether their data do."""

from __future__ import annotations

from pathlib import Path

from qexp.archive.pub_table import pub_identities
from qexp.archive.read import Archive, open_archive
from qexp.archive.verify import require_intact
from qexp.compare.calibration import compare_calibrations
from qexp.compare.changes import of_configs, of_environments, of_mappings
from qexp.compare.circuits import match
from qexp.compare.data import Identities, compare_data
from qexp.compare.model import Comparison, Side

#: Largest probability of calling the data of two runs different although they are not.
ALPHA = 0.01


def compare_runs(a: str | Path, b: str | Path, *, alpha: float = ALPHA) -> Comparison:
    """Compare two archives, as far as both go.

    Args:
        a: The first `run.h5`, or its run's folder.
        b: The second one.
        alpha: Level of the verdict on the data, between 0 and 1.

    Raises:
        ArchiveError: One of them is not there, damaged, or no archive.
    """
    of_a, of_b = pub_identities(require_intact(a)), pub_identities(require_intact(b))
    with open_archive(a) as run_a, open_archive(b) as run_b:
        # Read once: its JSON is most of a small archive.
        backend_a, backend_b = run_a.backend, run_b.backend
        side_a = _side(run_a, str(backend_a["name"]), of_a)
        side_b = _side(run_b, str(backend_b["name"]), of_b)
        matches = tuple(
            match(name, of_a[name], of_b[name]) for name in run_a.workloads if name in of_b
        )
        return Comparison(
            a=side_a,
            b=side_b,
            run=of_mappings(_facts(side_a), _facts(side_b)),
            config=of_configs(run_a.config, run_b.config),
            circuits=matches,
            workloads_only_a=tuple(name for name in run_a.workloads if name not in of_b),
            workloads_only_b=tuple(name for name in run_b.workloads if name not in of_a),
            software=of_environments(run_a.environment, run_b.environment),
            calibration=compare_calibrations(
                backend_a["properties"],
                backend_b["properties"],
                same_device=side_a.backend == side_b.backend,
            ),
            data=compare_data(run_a, run_b, matches, of_a, of_b, alpha),
        )


def _side(run: Archive, backend: str, identities: Identities) -> Side:
    pubs = [pub for of_workload in identities.values() for pub in of_workload]
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


def _facts(side: Side) -> dict[str, object]:
    names = ("experiment", "status", "engine", "backend", "seed")
    return {name: getattr(side, name) for name in names}
