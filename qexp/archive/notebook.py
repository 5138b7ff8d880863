"""An archive as a notebook shows it: a short table, and a link to the run's report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from qexp.archive.archive_file import beside
from qexp.archive.schema import REPORT_NAME
from qexp.text import html_table, short_path

_MAX_BATCHES: Final = 3


def describe_html(
    path: Path, summary: Mapping[str, Any], batch_ids: Sequence[str], workloads: Sequence[str]
) -> str:
    """Return the HTML of an archive and its `summarise_archive`; nothing in it is trusted."""
    more = "..." if len(batch_ids) > _MAX_BATCHES else ""
    backend, results = summary["backend"], summary["results"]
    pending = summary["usage_pending"]
    rows = {
        "run": f"{summary['experiment']} {summary['run_id']}",
        "status": f"{summary['status']}, {results} of {summary['pubs']} PUBs have a result",
        "started": summary["date"],
        "backend": f"{backend} ({summary['num_qubits']} qubits, engine {summary['engine']})",
        "batches": ", ".join(batch_ids[:_MAX_BATCHES]) + more,
        "jobs": f"{summary['jobs_done']} of {summary['jobs']} done",
        "usage": f"{summary['usage_s'] or 0:.1f} s" + (f", {pending} pending" if pending else ""),
        "workloads": ", ".join(workloads),
        "archive": short_path(path.absolute()),
    }
    return html_table(rows.items()) + _report_link(beside(path, REPORT_NAME))


def _report_link(page: Path) -> str:
    if not page.is_file():
        return ""
    # Relative, because a notebook's server opens no other files.
    address = quote(os.path.relpath(page))
    return f'<p><a href="{escape(address)}" target="_blank">{escape(REPORT_NAME)}</a></p>'
