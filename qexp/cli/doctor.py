"""`doctor`: whether this machine is fit and, with `--live`, whether IBM's service is."""

from __future__ import annotations

import argparse
import logging
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qexp.cli.output import print_json, print_line
from qexp.cli.verbs import add_json
from qexp.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from qexp.core.findings import Finding, Report

_EPILOG = """
Without --live nothing leaves this machine. With --live, qexp asks before it submits the smallest
batch on your own IBM account, checks what a crash-proof run rests on (tags, listings, closing,
cancelling, usage, results), cancels and closes what it opened, and writes all requests and replies
to a file in the current folder, without tokens, CRNs, account ids and addresses.

examples:
  python -m qexp doctor
  python -m qexp doctor --live
  python -m qexp doctor --live --yes --backend ibm_torino --json
"""
_WIDTH: Final = 100
_INDENT: Final = " " * 29


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "--live", action="store_true", help="try IBM's service, with at most 10 s of QPU time"
    )
    parser.add_argument("--backend", metavar="NAME", help="backend (the least busy one)")
    parser.add_argument("--instance", metavar="NAME", help="instance (the account's)")
    parser.add_argument("--account", metavar="NAME", help="saved account (the default one)")
    parser.add_argument(
        "--wait", metavar="TIME", default="30m", help="longest wait for the job (%(default)s)"
    )
    parser.add_argument("--yes", action="store_true", help="submit without a question")
    add_json(parser)


def run(given: argparse.Namespace) -> int:
    """Print every finding as it comes; return 1 if one is a problem."""
    from qexp.doctor import check_machine

    wait_s = _wait_s(given)
    findings: list[Finding] = []
    document: dict[str, Any] = {"transcript": None}

    def report(finding: Finding) -> None:
        findings.append(finding)
        if not given.json:
            _print_finding(finding)

    try:
        for finding in check_machine(Path("outputs")):
            report(finding)
        if given.live:
            _run_live(given, wait_s, report, document)
    finally:
        if given.json:
            print_json({"findings": [asdict(finding) for finding in findings], **document})
    problems = _names(findings, "problem")
    if not given.json:
        print_line(_verdict(problems, _names(findings, "warning"), is_live=given.live))
    return ExitCode.DIFFERENT if problems else ExitCode.DONE


def _names(findings: Sequence[Finding], state: str) -> str:
    return ", ".join(finding.name for finding in findings if finding.state == state)


def _verdict(problems: str, warnings: str, *, is_live: bool) -> str:
    fit = "this machine and IBM's service are" if is_live else "this machine is"
    verdict = f"problems: {problems}" if problems else f"{fit} fit for qexp"
    return f"{verdict}; warnings: {warnings}" if warnings else verdict


def _wait_s(given: argparse.Namespace) -> int:
    """Return the longest wait in seconds; refuse flags that mean nothing without `--live`."""
    from qexp.text import parse_duration_s

    named = [f"--{name}" for name in ("backend", "instance", "account", "yes") if vars(given)[name]]
    if named and not given.live:
        raise ConfigError(
            f"{', '.join(named)}: only with --live, as 'python -m qexp doctor --live'"
        )
    try:
        wait_s = parse_duration_s(given.wait)
    except ValueError as error:
        raise ConfigError(f"--wait: {error}") from None
    assert wait_s is not None
    return wait_s


def _run_live(
    given: argparse.Namespace, wait_s: int, report: Report, document: dict[str, Any]
) -> None:
    """Try the service, after a question; put the path of the transcript into the document."""
    from qexp.engines.ibm.doctor import check_service, proposal
    from qexp.engines.ibm.live_checks import LiveChecks
    from qexp.engines.ibm.transcript import Transcript
    from qexp.interrupts import Interrupts
    from qexp.points import Clock

    def say(line: str) -> None:
        if not given.json:
            print_line(line)

    # The client's warnings say what is printed anyway; they would go to a run's log.
    logging.getLogger().addHandler(logging.NullHandler())
    backend, settle_s = _select(given), Clock().settle_s
    for line in proposal(backend):
        say(line)
    _ask(given)
    path = Path(f"qexp-doctor-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl")
    transcript = Transcript(path, {"backend": backend.name, "settle_s": settle_s})
    document["transcript"] = str(path)
    say(f"transcript {path}: every request and reply, without secrets")
    with Interrupts(ends_process=False) as interrupts:
        stopped = interrupts.is_set
        checks = LiveChecks(backend, report, settle_s, wait_s, is_stopped=stopped, say=say)
        check_service(checks, transcript)


def _select(given: argparse.Namespace) -> Any:
    from qexp.engines.ibm.select import least_busy, named

    account = {"instance": given.instance, "account": given.account}
    return named(name=given.backend, **account) if given.backend else least_busy(**account)


def _ask(given: argparse.Namespace) -> None:
    """Ask before anything is submitted; refuse without a terminal that could answer."""
    if given.yes:
        return
    if given.json or not sys.stdin.isatty():
        raise ConfigError(
            "--live submits jobs, and nobody can be asked here; nothing was submitted: add --yes, "
            "or run it in a terminal and without --json"
        )
    sys.stdout.write("submit this? [y/N] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigError("nothing was submitted, as you did not answer 'y'")


def _print_finding(finding: Finding) -> None:
    found = f"  {finding.name:<17} {finding.state:<8} {finding.found}"
    for text, indent in ((found, _INDENT), (f"{_INDENT}-> {finding.advice}", f"{_INDENT}   ")):
        if text is found or finding.advice:
            for line in textwrap.wrap(
                text, _WIDTH, subsequent_indent=indent, break_on_hyphens=False
            ):
                print_line(line)
