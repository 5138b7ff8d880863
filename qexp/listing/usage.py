"""QPU time that runs were predicted to take and charged, and how far the prediction is off."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from qexp.listing.summary import RunEntry


def usage_rows(runs: Iterable[RunEntry]) -> list[dict[str, Any]]:
    """Return the usage by month, account, instance and backend, newest first, and of all last.

    Runs count in the month in which their last job ended, if they were charged; simulations do not.
    """
    groups: dict[tuple[str, ...], list[RunEntry]] = {}
    for run in runs:
        if not run.is_simulated and run.usage_s is not None:
            node = run.config.get("backend") or {}
            account = str(node.get("account") or "default")
            instance = run.instance or str(node.get("instance") or "")
            key = (run.finished or run.date or "")[:7], account, instance, run.backend or ""
            groups.setdefault(key, []).append(run)
    by_month = sorted(sorted(groups), key=lambda key: key[0], reverse=True)
    every = [run for group in groups.values() for run in group]
    return [_row(key, groups[key]) for key in by_month] + [_row(("all", "", "", ""), every)]


def _row(key: tuple[str, ...], runs: Sequence[RunEntry]) -> dict[str, Any]:
    of_runs = [(run.predicted_charged_s or 0.0, run.usage_s or 0.0) for run in runs]
    pending = [run.usage_pending or 0 for run in runs]
    settled = [pair for pair, open_ones in zip(of_runs, pending, strict=True) if not open_ones]
    ratio, ratio_error = ratio_of(settled)
    return {
        **dict(zip(("month", "account", "instance", "backend"), key, strict=True)),
        "runs": len(runs),
        "predicted_s": sum(predicted_s for predicted_s, _ in of_runs),
        "charged_s": sum(charged_s for _, charged_s in of_runs),
        "pending": sum(pending),
        "ratio": ratio,
        "ratio_error": ratio_error,
    }


def ratio_of(pairs: Sequence[tuple[float, float]]) -> tuple[float | None, float | None]:
    """Fit `y = ratio x` to pairs (x, y) by their sums; return the ratio and its standard error."""
    count, total = len(pairs), sum(x for x, _ in pairs)
    if not total:
        return None, None
    ratio = sum(y for _, y in pairs) / total
    squares = sum((y - ratio * x) ** 2 for x, y in pairs)
    return ratio, math.sqrt(squares * count / (count - 1)) / total if count > 1 else None
