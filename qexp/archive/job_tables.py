"""What becomes of a job as tables: its row, its spans; and the row of its partition."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.archive.tables import Column, Table, numbers, texts
from qexp.core.jsonable import dumps

if TYPE_CHECKING:
    from qexp.core.model import JobOutcome, Partition


def partition_table(partition: Partition) -> Table:
    """One row of `/partitions`."""
    dim = "partition"
    shots = -1 if partition.shots is None else partition.shots
    precision = math.nan if partition.precision is None else partition.precision
    return Table(
        {
            "partition": numbers([partition.index], dim, "<i4"),
            "workload": texts([partition.workload], dim),
            "first": numbers([partition.first], dim, "<i8"),
            "stop": numbers([partition.stop], dim, "<i8"),
            "shots": numbers([shots], dim, "<i8"),
            "precision": numbers([precision], dim, "<f8", "1"),
            "predicted_executions": numbers([partition.executions], dim, "<i8"),
            "payload_bytes": numbers([partition.payload_bytes], dim, "<i8", "byte"),
            "predicted_qpu_s": numbers([partition.qpu_s], dim, "<f8", "s"),
            "closed_by": texts([partition.closed_by], dim),
        }
    )


def job_table(
    outcome: JobOutcome,
    planned: Mapping[str, Any],
    snapshot: str,
    redact: Callable[[str], str],
) -> Table:
    """One row of `/jobs`, as a part holds it.

    Args:
        outcome: The job.
        planned: Row of its partition.
        snapshot: SHA-256 of its calibration, `""` for none.
        redact: Applied to every text.
    """
    dim = "job"
    times = outcome.metrics.get("timestamps") or {}
    usage_s = math.nan if outcome.usage_s is None else outcome.usage_s
    columns: dict[str, Column] = {
        "partition": numbers([outcome.partition], dim, "<i4"),
        "attempt": numbers([outcome.attempt], dim, "<i4"),
        "first": numbers([planned["first"]], dim, "<i8"),
        "stop": numbers([planned["stop"]], dim, "<i8"),
        "num_results": numbers([len(outcome.result or ())], dim, "<i8"),
        "error_code": numbers([outcome.error_code or 0], dim, "<i8"),
        "usage_s": numbers([usage_s], dim, "<f8", "s"),
        "predicted_qpu_s": numbers([planned["predicted_qpu_s"]], dim, "<f8", "s"),
        "predicted_executions": numbers([planned["predicted_executions"]], dim, "<i8"),
        "payload_bytes": numbers([planned["payload_bytes"]], dim, "<i8", "byte"),
    }
    plain = {
        "job_id": outcome.job_id,
        "workload": planned["workload"],
        "state": outcome.state,
        "error": outcome.error or "",
        "failure": outcome.failure or "",
        "batch_id": outcome.batch_id,
        "closed_by": planned["closed_by"],
        "snapshot_sha256": snapshot,
        **{name: str(times.get(name) or "") for name in ("created", "running", "finished")},
    }
    metadata = outcome.result.metadata if outcome.result is not None else None
    documents = {
        "options_json": outcome.options,
        "metrics_json": outcome.metrics,
        "info_json": outcome.info,
        "result_metadata_json": metadata,
    }
    columns |= {name: texts([redact(value)], dim) for name, value in plain.items()}
    columns |= {name: texts([dumps(value, redact)], dim) for name, value in documents.items()}
    return Table(columns)


def span_table(outcome: JobOutcome) -> Table:
    """The rows of `/spans` of one job."""
    dim, spans = "span", outcome.spans
    job = Column(np.zeros(len(spans), dtype="<i4"), (dim,), base="jobs#job")
    return Table(
        {
            "job": job,
            "pub": numbers([span.pub for span in spans], dim, "<i8"),
            "start": texts([span.start for span in spans], dim),
            "stop": texts([span.stop for span in spans], dim),
            "size": numbers([span.size for span in spans], dim, "<i8"),
        }
    )
