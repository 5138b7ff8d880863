"""Archives of runs whose outcomes are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.primitives import BitArray, DataBin, PubResult, SamplerPubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

import qexp
from qexp.archive.writer import RunStore
from tests.archives import header, outcome, write_batch, write_partition


def sampled(counts: Mapping[str, int], register: str = "meas") -> SamplerPubResult:
    """A result with these counts, of one parameter set."""
    bits = BitArray.from_counts(dict(counts), len(next(iter(counts))))
    return SamplerPubResult(DataBin(shape=(), **{register: bits}), {})


def estimated(evs: Any, stds: Any) -> PubResult:
    evs, stds = np.asarray(evs, dtype=float), np.asarray(stds, dtype=float)
    return PubResult(DataBin(shape=evs.shape, evs=evs, stds=stds), {})


def measured(circuit: QuantumCircuit, **metadata: Any) -> QuantumCircuit:
    """A copy that measures all qubits and says so much of itself."""
    copy = circuit.copy()
    copy.measure_all()
    copy.metadata = metadata
    return copy


def run_of(
    folder: Path,
    workloads: Mapping[str, Sequence[tuple[Any, Any]]],
    config_yaml: str = "seed: 7\n",
) -> qexp.Archive:
    """The open archive of PUB-likes with results, None for one that has none."""
    store = RunStore(folder)
    store.write_header(header(config_yaml=config_yaml))
    write_batch(store)
    index = 0
    for name, pairs in workloads.items():
        first = 0
        for has_result, job in groupby(pairs, lambda pair: pair[1] is not None):
            likes, results = zip(*job, strict=True)
            write_partition(store, index, first, [_pub(like) for like in likes], name)
            store.write_job(outcome(index, results if has_result else None))
            index, first = index + 1, first + len(likes)
    return qexp.open_archive(store.seal("complete", keep_parts=True))


def _pub(like: Any) -> SamplerPub | EstimatorPub:
    is_estimated = isinstance(like, tuple) and not isinstance(like[1], np.ndarray)
    return (EstimatorPub if is_estimated else SamplerPub).coerce(like)
