"""`analyse RUN [NAME [key=value ...]]`: make analyses of a run from its archive."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from qexp.errors import AnalysisError, ConfigError, QexpError

if TYPE_CHECKING:
    from qexp.analysis.evaluate import Evaluated
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
    parser.add_argument(
        "--trust",
        metavar="PREFIX",
        action="append",
        default=[],
        help="allow the recorded config to name analyses of this module or package, besides qexp's "
        "own; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(given: argparse.Namespace) -> int:
    """Make the analyses; the highest exit code of them."""
    from qexp.analysis.evaluate import evaluate
    from qexp.archive.read import open_archive
    from qexp.archive.verify import intact
    from qexp.cli.main import say_error
    from qexp.config import problems
    from qexp.config.runs import log_into

    codes, results = [0], []
    with open_archive(intact(given.run)) as archive:
        specs = _specs(archive, given)
        if not any(archive.results[workload].available for workload in archive.workloads):
            raise AnalysisError(
                f"{archive.path} is {archive.status}: it has no results, so that there is nothing "
                f"to analyse"
            )
        log = log_into(archive.path.parent)
        for spec in specs:
            try:
                result = evaluate(spec, archive)
            except QexpError as error:
                # One line, which stops no other analysis.
                say_error(problems.of_error(error, log))
                codes.append(problems.exit_code(error))
                continue
            results.append(result)
            if not given.json:
                _print(result)
    if given.json:
        listed = [{**vars(result), "path": result.path and str(result.path)} for result in results]
        sys.stdout.write(json.dumps(listed, indent=1) + "\n")
    return max(codes)


def _specs(archive: Archive, given: argparse.Namespace) -> tuple[AnalysisSpec, ...]:
    from qexp.config.analyses import chosen_analyses
    from qexp.config.hydra_setup import make_experiments_importable
    from qexp.config.recorded import recorded_analyses

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


def _print(result: Evaluated) -> None:
    from qexp.ending import shown_path
    from qexp.text import printable

    sys.stdout.write(f"{printable(f'{result.name}: {result.summary}')}\n")
    if result.path is not None:
        sys.stdout.write(f"  {printable(shown_path(result.path.resolve()))}\n")
