"""One self-contained HTML page about a run or a sweep, with figures."""

PAGE_NAME = "report.html"
