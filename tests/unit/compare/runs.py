"""Archives to compare, with results drawn from known distributions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from qiskit.primitives import BitArray, DataBin, PubResult, SamplerPubResult

from qexp.archive.store import RunStore
from tests.unit.archive.samples import (
    estimator_pub,
    header,
    outcome,
    sampler_pub,
    write_batch,
    write_partition,
)


def sampled(seed: int, shots: int = 2000, bias: float = 0.5) -> SamplerPubResult:
    """A result of `sampler_pub`: registers of 2 and 1 bits, 3 points; bits are 1 with `bias`."""
    rng = np.random.default_rng(seed)
    data = {
        name: BitArray.from_bool_array(rng.random((3, shots, bits)) < bias, order="little")
        for name, bits in (("reg0", 2), ("reg1", 1))
    }
    return SamplerPubResult(DataBin(shape=(3,), **data), {})


def estimated(seed: int, shift: float = 0.0) -> PubResult:
    """A result of `estimator_pub`: 2 points, two observables."""
    stds = np.full((2, 2), 0.01)
    evs = shift + stds * np.random.default_rng(seed).normal(size=(2, 2))
    return PubResult(DataBin(shape=(2, 2), evs=evs, stds=stds), {})


def write(
    folder: Path,
    results: Sequence[Any],
    *,
    pubs: Sequence[Any] | None = None,
    status: Any = "complete",
    keep_parts: bool = False,
    **changes: Any,
) -> Path:
    """Write an archive of one workload; a result of None stands for a failed job."""
    store = RunStore(folder)
    store.write_header(header(**changes))
    write_batch(store)
    asked = list(pubs or (sampler_pub(k, shots=2000) for k in range(len(results))))
    first = 0
    # As few jobs as possible: each is a file that is synced.
    for index, (failed, group) in enumerate(groupby(results, key=lambda result: result is None)):
        job = list(group)
        write_partition(store, index, first, asked[first : first + len(job)])
        store.write_job(outcome(index, None if failed else job))
        first += len(job)
    return store.seal(status, keep_parts=keep_parts)


def write_estimator(folder: Path, results: Sequence[Any], **changes: Any) -> Path:
    return write(folder, results, pubs=[estimator_pub() for _ in results], **changes)
