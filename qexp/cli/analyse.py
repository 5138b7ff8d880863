"""`analyse RUN [NAME [key=value ...]]`: make analyses of a run from its archive."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from qexp.cli.output import print_json, print_line, report_error
from qexp.cli.verbs import add_json, add_trust
from qexp.errors import AnalysisError, ConfigError, QexpError

if TYPE_CHECKING:
    from qexp.archive.read import Archive
    from qexp.core.spec import AnalysisSpec

_EPILOG = """
Without NAME: the analyses that the run's config declares, again. With NAME: conf/analysis/NAME.yaml
of the current folder or qexp's own (exact_evs, ghz, heavy_output, ideal, survival), with its
settings changed by key=value. Results are in RUN/analysis/NAME.nc; the archive is not changed.

examples:
  python -m qexp analyse outputs/quantum_volume/20261122T094439Z-d16302
  python -m qexp analyse outputs/random_sampling/20261122T094439Z-d16302 ideal max_qubits=8
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    parser.add_argument("run", metavar="RUN", help="folder of a run, or the run.h5 in it")
    parser.add_argument("name", metavar="NAME", nargs="?", help="a choice in conf/analysis")
    parser.add_argument(
        "settings", metavar="key=value", nargs="*", default=[], help="a setting of the choice"
    )
    add_trust(parser)
    add_json(parser)


def run(given: argparse.Namespace) -> int:
    """Make the analyses, and return the highest of their exit codes."""
    from qexp.analysis.evaluate import evaluate
    from qexp.archive.read import open_archive
    from qexp.archive.verify import require_intact
    from qexp.config.cleanup import LOG_NAME
    from qexp.core.jsonable import to_jsonable
    from qexp.runlog import logging_into
    from qexp.text import short_path

    codes, results = [0], []
    with open_archive(require_intact(given.run)) as archive:
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
    if given.json:
        print_json([to_jsonable(result) for result in results])
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
