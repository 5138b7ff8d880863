"""`analyse RUN [NAME [key=value ...]]`: make analyses of a run, or of a sweep and its points."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.cli.named_runs import each_point
from qexp.cli.output import print_json, print_line, report_error
from qexp.cli.verbs import add_json, add_run, add_trust
from qexp.errors import AnalysisError, ConfigError, QexpError, UnsuitableError

if TYPE_CHECKING:
    from qexp.analysis.evaluate import Evaluated
    from qexp.config.analyses import AnalysisGroup
    from qexp.core.spec import AnalysisSpec

_EPILOG = """
Without NAME: the analyses that the run's config declares, again. With NAME: conf/analysis/NAME.yaml
of the current folder or qexp's own (exact_evs, ghz, heavy_output, ideal, survival), with its
settings changed by key=value. Results are in RUN/analysis/NAME.nc; the archive is not changed. Of a
sweep, they are made of every point that has results, and then those of the whole sweep, which NAME
may be, too: conf/sweep/analysis/NAME.yaml (crossing, decay). Theirs are in SWEEP/analysis/NAME.nc.

examples:
  python -m qexp analyse outputs/quantum_volume/20261122T094439Z-d16302
  python -m qexp analyse outputs/random_sampling/20261122T094439Z-d16302 ideal max_qubits=8
  python -m qexp analyse outputs/mirror_circuits/SWEEP decay over=circuits.depths
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    add_run(parser)
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="a choice of analysis or sweep/analysis"
    )
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
    code = (_analyse_sweep if is_sweep(given.run) else _analyse)(given.run, given, results)
    if given.json:
        print_json([to_jsonable(result) for result in results])
    return code


def _analyse_sweep(path: Path, given: argparse.Namespace, results: list[Evaluated]) -> int:
    """Make the declared analyses of all points and of the sweep, or the named one of either."""
    from qexp.archive.sweep_file import read_sweep
    from qexp.config.cleanup import LOG_NAME
    from qexp.config.paths import config_choices
    from qexp.config.recorded_config import recorded_analyses
    from qexp.sweeps.analyses import evaluate_sweep
    from qexp.sweeps.opened import open_sweep

    config_yaml, choices = read_sweep(path).points[0].config_yaml, config_choices()
    if given.name is None:
        of_sweep = bool(recorded_analyses(config_yaml, [], "sweep.analysis"))
        of_points = not of_sweep or bool(recorded_analyses(config_yaml, []))
    else:
        of_sweep = given.name in choices["sweep/analysis"]
        of_points = given.name in choices["analysis"] and not of_sweep
        if not of_points and not of_sweep:
            raise ConfigError(
                f"analysis={given.name}: no such choice; allowed for each point: "
                f"{', '.join(choices['analysis'])}; for the sweep: "
                f"{', '.join(choices['sweep/analysis'])}"
            )
    codes = [_analyse_points(path, given, results)] if of_points else [0]
    if of_sweep:
        specs = _specs(config_yaml, given, "sweep.analysis")
        with open_sweep(path) as sweep:
            if not any(record.get("num_results") for record in sweep.records):
                raise AnalysisError(f"{path} has no results, so that there is nothing to analyse")
            make = partial(evaluate_sweep, sweep=sweep)
            codes.append(_evaluated(specs, make, path / LOG_NAME, given, results))
    return max(codes)


def _analyse_points(path: Path, given: argparse.Namespace, results: list[Evaluated]) -> int:
    """Make the analyses of each point of a sweep."""
    codes, left = each_point(
        path, lambda one: _analyse(one, given, results, one.name), is_quiet=given.json
    )
    if not codes:
        raise AnalysisError(
            f"{path} has no point with results, so that there is nothing to analyse"
        )
    if left and not given.json:
        number = left + len(codes)
        print_line(f"{left} of {number} points have no results: python -m qexp show {path}")
    if not results and not max(codes):
        raise AnalysisError(f"{path} has no point with data for it; each line above says why")
    return max(codes)


def _analyse(
    path: Path, given: argparse.Namespace, results: list[Evaluated], point: str = ""
) -> int:
    """Make the analyses of one run, add their results; return the highest exit code."""
    from qexp.analysis.evaluate import evaluate
    from qexp.archive.read import open_archive
    from qexp.archive.verify import require_intact
    from qexp.config.cleanup import LOG_NAME

    with open_archive(require_intact(path)) as archive:
        specs = _specs(archive.config_yaml, given)
        if not specs:
            raise ConfigError(
                f"{archive.path} declares no analysis; name one: python -m qexp analyse "
                f"{given.run} NAME ('python -m qexp --help' lists the choices of the group "
                f"analysis)"
            )
        if not any(archive.results[workload].available for workload in archive.workloads):
            raise AnalysisError(
                f"{archive.path} is {archive.status}: it has no results, so that there is nothing "
                f"to analyse"
            )
        log = archive.path.parent / LOG_NAME
        return _evaluated(specs, partial(evaluate, run=archive), log, given, results, point)


def _evaluated(
    specs: Sequence[AnalysisSpec],
    evaluate: Callable[[AnalysisSpec], Evaluated],
    log: Path,
    given: argparse.Namespace,
    results: list[Evaluated],
    point: str = "",
) -> int:
    """Make analyses, print and add their results; return the highest exit code."""
    from qexp.runlog import logging_into
    from qexp.text import short_path

    codes = [0]
    with logging_into(log, "the analyses ended with an error"):
        for spec in specs:
            try:
                result = evaluate(spec)
            except QexpError as error:
                # One line, which stops no other analysis; a point without data is no failure.
                is_left = bool(point) and isinstance(error, UnsuitableError)
                code, _ = report_error(error, log, f"{point}: left out" if is_left else point)
                codes.append(0 if is_left else code)
                continue
            results.append(result)
            if not given.json:
                print_line(f"{result.name}: {result.summary}")
                if result.path is not None:
                    print_line(f"  {short_path(result.path.resolve())}")
    return max(codes)


def _specs(
    config_yaml: str, given: argparse.Namespace, group: AnalysisGroup = "analysis"
) -> tuple[AnalysisSpec, ...]:
    from qexp.config.analyses import chosen_analyses
    from qexp.config.paths import make_experiments_importable
    from qexp.config.recorded_config import recorded_analyses

    if given.name is not None:
        return chosen_analyses(given.name, given.settings, group)
    if given.trust:
        make_experiments_importable()
    return recorded_analyses(config_yaml, given.trust, group)
