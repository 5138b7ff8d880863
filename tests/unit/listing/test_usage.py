from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qexp.listing.read import summarise_sealed
from qexp.listing.summary import RunEntry
from qexp.listing.usage import ratio_of, usage_rows
from tests.archives import outcome, sampler_jobs, sampler_pub, started, write_partition

RUN = RunEntry(
    "complete",
    "r",
    date="2026-10-31T23:00:00+00:00",
    finished="2026-11-01T01:00:00+00:00",
    engine="ibm",
    backend="ibm_torino",
    usage_s=12.0,
    usage_pending=0,
    predicted_charged_s=10.0,
    instance="lab",
    config={"backend": {"name": "ibm_torino", "account": None}},
)


def test_runs_count_by_month_account_instance_and_backend() -> None:
    named = {"backend": {"account": "team", "instance": "old-name"}}
    rows = usage_rows(
        [
            RUN,
            replace(RUN, usage_s=8.0),
            replace(RUN, usage_s=3.0, usage_pending=2),
            replace(RUN, finished="2026-12-01T00:00:00+00:00", config=named, instance=None),
            # Not charged: simulated, not readable, not submitted.
            replace(RUN, engine="local"),
            RunEntry("damaged", "r"),
            replace(RUN, usage_s=None),
        ]
    )
    keys = ("month", "account", "instance", "backend", "runs", "predicted_s", "charged_s")
    assert [tuple(row[key] for key in keys) for row in rows] == [
        ("2026-12", "team", "old-name", "ibm_torino", 1, 10.0, 12.0),
        ("2026-11", "default", "lab", "ibm_torino", 3, 30.0, 23.0),
        ("all", "", "", "", 4, 40.0, 35.0),
    ]
    assert [row["pending"] for row in rows] == [0, 2, 2]
    # Pending charges are not compared with anything.
    assert [row["ratio"] for row in rows] == pytest.approx([1.2, 1.0, 32 / 30])
    assert rows[0]["ratio_error"] is None


def test_nothing_that_was_charged() -> None:
    [row] = usage_rows([RunEntry("unfinished", "r")])
    assert (row["runs"], row["charged_s"], row["ratio"], row["ratio_error"]) == (0, 0, None, None)


def test_the_ratio_has_the_error_of_its_scatter() -> None:
    assert ratio_of([(10.0, 11.0), (30.0, 33.0)]) == pytest.approx((1.1, 0.0))
    ratio, error = ratio_of([(10.0, 12.0), (10.0, 8.0), (20.0, 20.0)])
    # Residuals 2, -2 and 0.
    assert (ratio, error) == pytest.approx((1.0, (8 * 3 / 2) ** 0.5 / 40))


def charged(seconds: float) -> dict[str, Any]:
    return {"usage": {"qpu_charge_time_seconds": seconds, "status": "complete"}}


def test_an_archive_has_its_instance_and_what_was_predicted_for_its_charges(tmp_path: Path) -> None:
    backend = {"name": "ibm_torino", "num_qubits": 2, "instance": "lab"}
    limits = {"job_overhead_s": {"value": 2.0}}
    store = started(tmp_path, engine="ibm", backend=backend, limits=limits)
    jobs = sampler_jobs([1, 1, 1, 1])
    for index in range(4):
        write_partition(store, index, index, [sampler_pub()])
    # Alone; a quarter of a job that points share; failed without a charge; not known.
    store.write_job(outcome(0, jobs[0], metrics=charged(9.0)))
    store.write_job(outcome(1, jobs[1], metrics=charged(40.0), share=0.25))
    store.write_job(outcome(2, None, metrics=charged(0.0)))
    store.write_job(outcome(3, jobs[3], metrics={}))
    run = summarise_sealed(store.seal("partial", keep_parts=False))
    assert (run.instance, run.usage_s) == ("lab", 19.0)
    # 12.5 s each, of which 2 s are the overhead of a job.
    assert run.predicted_charged_s == 12.5 + 12.5 - 2.0 * 0.75


def test_a_simulation_has_neither(tmp_path: Path) -> None:
    store = started(tmp_path, sampler_pub())
    store.write_job(outcome(0, *sampler_jobs([1])))
    run = summarise_sealed(store.seal("complete", keep_parts=False))
    assert (run.instance, run.predicted_charged_s) == (None, None)
