"""`doctor`: whether this machine is fit and, with `--live`, whether IBM's service is."""

from __future__ import annotations

import argparse
import logging
import sys
import textwrap
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
    transcript: Path | None = None

    def report(finding: Finding) -> None:
        findings.append(finding)
        if not given.json:
            _print_finding(finding)

    try:
        for finding in check_machine(Path("outputs")):
            report(finding)
        if given.live:
            backend = _select(given)
            transcript = Path(f"qexp-doctor-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl")
            _check_service(given, backend, transcript, wait_s, report)
    finally:
        if given.json:
            written = str(transcript) if transcript else None
            print_json({"findings": [vars(each) for each in findings], "transcript": written})
    problems, warnings = (
        ", ".join(each.name for each in findings if each.state == state)
        for state in ("problem", "warning")
    )
    if not given.json:
        fit = "this machine and IBM's service are" if given.live else "this machine is"
        verdict = f"problems: {problems}" if problems else f"{fit} fit for qexp"
        print_line(f"{verdict}; warnings: {warnings}" if warnings else verdict)
    return ExitCode.DIFFERENT if problems else ExitCode.DONE


def _wait_s(given: argparse.Namespace) -> int:
    """Return the longest wait in seconds; refuse flags that mean nothing without `--live`."""
    from qexp.text import parse_duration_s

    named = [f"--{name}" for name in ("backend", "instance", "account", "yes") if vars(given)[name]]
    if named and not given.live:
        raise ConfigError(
            f"{', '.join(named)}: only with --live, as 'python -m qexp doctor --live'"
        )
    try:
        return parse_duration_s(given.wait) or 0
    except ValueError as error:
        raise ConfigError(f"--wait: {error}") from None


def _select(given: argparse.Namespace) -> Any:
    """Select the backend, say what would be submitted to it, and ask whether it may be."""
    from qexp.engines.ibm.doctor import proposal
    from qexp.engines.ibm.select import least_busy, named

    # The client's warnings say what is printed anyway; they would go to a run's log.
    logging.getLogger().addHandler(logging.NullHandler())
    account = {"instance": given.instance, "account": given.account}
    backend = named(name=given.backend, **account) if given.backend else least_busy(**account)
    for line in proposal(backend) if not given.json else ():
        print_line(line)
    if given.yes:
        return backend
    if given.json or not sys.stdin.isatty():
        raise ConfigError(
            "--live submits jobs, and nobody can be asked here; nothing was submitted: add --yes, "
            "or run it in a terminal and without --json"
        )
    sys.stdout.write("submit this? [y/N] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigError("nothing was submitted, as you did not answer 'y'")
    return backend


def _check_service(
    given: argparse.Namespace, backend: Any, path: Path, wait_s: int, report: Report
) -> None:
    from qexp.engines.ibm.doctor import LiveChecks
    from qexp.engines.ibm.transcript import Transcript
    from qexp.interrupts import Interrupts
    from qexp.points import Clock

    say = (lambda _: None) if given.json else print_line
    transcript = Transcript(path, {"backend": backend.name, "settle_s": Clock.settle_s})
    say(f"transcript {path}: every request and reply, without secrets")
    with Interrupts(ends_process=False) as interrupts:
        LiveChecks(
            backend,
            report,
            transcript,
            Clock.settle_s,
            wait_s,
            is_stopped=interrupts.is_set,
            say=say,
        ).run()


def _print_finding(finding: Finding) -> None:
    found = f"  {finding.name:<17} {finding.state:<8} {finding.found}"
    advice = f"{_INDENT}-> {finding.advice}" if finding.advice else ""
    for text, indent in ((found, _INDENT), (advice, f"{_INDENT}   ")):
        for line in textwrap.wrap(text, 100, subsequent_indent=indent, break_on_hyphens=False):
            print_line(line)
