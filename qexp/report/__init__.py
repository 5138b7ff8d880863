"""One self-contained HTML page about a run or a sweep, with figures."""

from qexp.archive.schema import REPORT_NAME as PAGE_NAME

__all__ = ["PAGE_NAME"]
