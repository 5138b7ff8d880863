"""An archive as a notebook shows it: a short table, and a link to the run's report."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from qexp.archive.header import summarise_archive
from qexp.archive.schema import REPORT_NAME
from qexp.text import html_table, short_path

if TYPE_CHECKING:
    from qexp.archive.archive_file import ArchiveFile
    from qexp.archive.read import Archive

_MOST_BATCHES: Final = 3


def describe_html(run: Archive, file: ArchiveFile) -> str:
    """Return the HTML of an open archive; nothing in it is trusted.

    Args:
        run: The archive.
        file: Its file.

    Raises:
        ArchiveError: It is damaged.
    """
    known = summarise_archive(file)
    batches = [batch.id for batch in run.batches]
    more = "..." if len(batches) > _MOST_BATCHES else ""
    rows = {
        "run": f"{known['experiment']} {known['run_id']}",
        "status": f"{run.status}, {known['results']} of {known['pubs']} PUBs have a result",
        "started": known["date"],
        "backend": f"{known['backend']} ({known['num_qubits']} qubits, engine {known['engine']})",
        "batches": ", ".join(batches[:_MOST_BATCHES]) + more,
        "jobs": f"{known['jobs_done']} of {known['jobs']} done",
        "usage": f"{known['usage_s'] or 0:.1f} s",
        "workloads": ", ".join(run.workloads),
        "archive": short_path(run.path.absolute()),
    }
    return html_table(rows.items()) + _report_link(run.path.with_name(REPORT_NAME))


def _report_link(page: Path) -> str:
    if not page.is_file():
        return ""
    # Relative, because a notebook's server opens no other files.
    address = quote(os.path.relpath(page))
    return f'<p><a href="{escape(address)}" target="_blank">{escape(REPORT_NAME)}</a></p>'
