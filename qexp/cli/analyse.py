"""`analyse RUN [NAME [key=value ...]]`: make analyses of a run, or of each point of a sweep."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.cli.output import print_json, print_line, report_error
from qexp.cli.verbs import add_json, add_trust
from qexp.errors import AnalysisError, ConfigError, QexpError
from qexp.text import typed_path

if TYPE_CHECKING:
    from qexp.analysis.evaluate import Evaluated
    from qexp.archive.read import Archive
    from qexp.core.spec import AnalysisSpec

_EPILOG = """
Without NAME: the analyses that the run's config declares, again. With NAME: conf/analysis/NAME.yaml
of the current folder or qexp's own (exact_evs, ghz, heavy_output, ideal, survival), with its
settings changed by key=value. Results are in RUN/analysis/NAME.nc; the archive is not changed. Of a
sweep, they are made of every point that has results.

examples:
  python -m qexp analyse outputs/quantum_volume/20261122T094439Z-d16302
  python -m qexp analyse outputs/random_sampling/20261122T094439Z-d16302 ideal max_qubits=8
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "run", metavar="RUN|SWEEP", help="folder of a run, the run.h5 in it, or folder of a sweep"
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="a choice in conf/analysis")
    parser.add_argument(
        "settings", metavar="key=value", nargs="*", default=[], help="a setting of the choice"
    )
    add_trust(parser)
    add_json(parser)


def run(given: argparse.Namespace) -> int:
    """Make the analyses, and return the highest of their exit codes."""
    from qexp.archive.sweep_file import is_sweep
    from qexp.core.jsonable import to_jsonable

    results: list[Evaluated] = []
    path = typed_path(given.run)
    code = (_analyse_points if is_sweep(path) else _analyse)(path, given, results)
    if given.json:
        print_json([to_jsonable(result) for result in results])
    return code


def _analyse_points(path: Path, given: argparse.Namespace, results: list[Evaluated]) -> int:
    """Make the analyses of each point of a sweep; what fails of one stops no other."""
    from qexp.sweeps.opened import open_sweep

    codes = [0]
    points = open_sweep(path).points
    with_results = [point for point in points if point.status in ("complete", "partial")]
    for point in with_results:
        if not given.json:
            print_line(f"point {point.index}: {point.folder.name}")
        try:
            codes.append(_analyse(point.folder, given, results))
        except QexpError as error:
            codes.append(report_error(error, subject=point.folder.name)[0])
    if not with_results:
        raise AnalysisError(
            f"{path} has no point with results, so that there is nothing to analyse"
        )
    if (left := len(points) - len(with_results)) and not given.json:
        print_line(f"{left} of {len(points)} points have no results: python -m qexp show {path}")
    return max(codes)


def _analyse(path: Path, given: argparse.Namespace, results: list[Evaluated]) -> int:
    """Make the analyses of one run, add their results; return the highest exit code."""
    from qexp.analysis.evaluate import evaluate
    from qexp.archive.read import open_archive
    from qexp.archive.verify import require_intact
    from qexp.config.cleanup import LOG_NAME
    from qexp.runlog import logging_into
    from qexp.text import short_path

    codes = [0]
    with open_archive(require_intact(path)) as archive:
        specs = _specs(archive, given)
        if not any(archive.results[workload].available for workload in archive.workloads):
            raise AnalysisError(
                f"{archive.path} is {archive.status}: it has no results, so that there is nothing "
                f"to analyse"
            )
        log = archive.path.parent / LOG_NAME
        with logging_into(log, "the analyses ended with an error"):
            for spec in specs:
                try:
                    result = evaluate(spec, archive)
                except QexpError as error:
                    # One line, which stops no other analysis.
                    codes.append(report_error(error, log)[0])
                    continue
                results.append(result)
                if not given.json:
                    print_line(f"{result.name}: {result.summary}")
                    if result.path is not None:
                        print_line(f"  {short_path(result.path.resolve())}")
    return max(codes)


def _specs(archive: Archive, given: argparse.Namespace) -> tuple[AnalysisSpec, ...]:
    from qexp.config.analyses import chosen_analyses
    from qexp.config.paths import make_experiments_importable
    from qexp.config.recorded_config import recorded_analyses

    if given.name is not None:
        return chosen_analyses(given.name, given.settings)
    if given.trust:
        make_experiments_importable()
    specs = recorded_analyses(archive.config_yaml, given.trust)
    if not specs:
        raise ConfigError(
            f"{archive.path} declares no analysis; name one: python -m qexp analyse "
            f"{given.run} NAME ('python -m qexp --help' lists the choices of the group analysis)"
        )
    return specs
