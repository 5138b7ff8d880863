"""Archives that several tests read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.archives import (
    estimator_pub,
    estimator_result,
    outcome,
    sampler_pub,
    sampler_result,
    started,
    write_batch,
    write_partition,
)


@pytest.fixture
def two_workloads(tmp_path: Path) -> Path:
    """A sampler and an estimator workload, registers of different sizes, one job failed."""
    rng = np.random.default_rng(3)
    store = started(tmp_path)
    write_batch(store)
    write_partition(store, 0, 0, [estimator_pub(), estimator_pub(3)], "evs-of")
    write_partition(store, 1, 0, [sampler_pub(k) for k in range(2)], "counts")
    write_partition(store, 2, 2, [sampler_pub(k) for k in range(2)], "counts")
    store.write_job(
        outcome(1, [sampler_result(rng, {"alpha": 1, "beta": 9}, 8, (3,)) for _ in range(2)])
    )
    store.write_job(outcome(2, None, error="Too long", error_code=1305, state="CANCELLED"))
    store.write_job(outcome(0, [estimator_result(rng, (2, 2)), estimator_result(rng, (3, 2))]))
    return store.seal("partial", keep_parts=False)
