"""Execution spans of a job: IBM's formats, normalised to one schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from qexp.core.model import Span
from qexp.text import utc_text

if TYPE_CHECKING:
    from qiskit.primitives import PrimitiveResult


def read_spans(result: PrimitiveResult[Any]) -> tuple[Span, ...]:
    """Read the execution spans of a result, sorted by start, stop and PUB.

    The legacy Sampler reports `ExecutionSpans`, whose slices count shots. The client-side
    primitives report chunks of program items, counted in elements (parameter set x
    randomization); each is multiplied by its shots. Items that belong to no PUB (circuits that
    learn the measurement noise) are left out.

    Args:
        result: A job's result.

    Returns:
        Spans with times in ISO 8601 UTC; empty where the result has none.
    """
    metadata: Mapping[str, Any] = result.metadata or {}
    spans = [*_legacy_spans(metadata), *_chunk_spans(result, metadata)]
    return tuple(sorted(spans, key=lambda span: (span.start, span.stop, span.pub)))


def _legacy_spans(metadata: Mapping[str, Any]) -> Iterator[Span]:
    execution = metadata.get("execution")
    for span in execution.get("execution_spans", ()) if isinstance(execution, Mapping) else ():
        for pub in span.pub_idxs:
            # Not filter_by_pub: it fails for TwirledSliceSpanV2 (qiskit-ibm-runtime 0.51).
            size = int(span.mask(pub).sum())
            yield Span(utc_text(span.start), utc_text(span.stop), int(pub), size)


def _chunk_spans(result: PrimitiveResult[Any], metadata: Mapping[str, Any]) -> Iterator[Span]:
    chunks = getattr(metadata.get("executor"), "chunk_timing", ())
    if not chunks:
        return
    items_per_pub, shots = _items_per_pub(metadata), _shots_per_element(metadata)
    for chunk in chunks:
        sizes: dict[int, int] = {}
        for part in chunk.parts:
            pub = part.idx_item // items_per_pub
            sizes[pub] = sizes.get(pub, 0) + part.size * shots
        for pub, size in sizes.items():
            if pub < len(result):
                yield Span(utc_text(chunk.start), utc_text(chunk.stop), pub, size)


def _items_per_pub(metadata: Mapping[str, Any]) -> int:
    """Return the program items of a PUB: one per noise factor of gate folding, else one."""
    from qiskit_ibm_runtime.options_models.zne import DEFAULT_NOISE_FACTORS

    resilience = metadata.get("options", {}).get("resilience", {})
    zne = resilience.get("zne", {})
    if not resilience.get("zne_mitigation") or zne.get("amplifier") == "pea":
        return 1
    factors = zne.get("noise_factors", "auto")
    return len(DEFAULT_NOISE_FACTORS if factors == "auto" else factors)


def _shots_per_element(metadata: Mapping[str, Any]) -> int:
    """Return the shots of one element: in a Sampler's metadata, but not in an Estimator's."""
    options, shots = metadata.get("options", {}), int(metadata.get("shots") or 1)
    twirling, resilience = options.get("twirling", {}), options.get("resilience")
    if resilience is None:
        return shots
    if not (twirling.get("enable_gates") or twirling.get("enable_measure")):
        return shots
    from qiskit_ibm_runtime.executor.calculate_twirling_shots import calculate_twirling_shots
    from qiskit_ibm_runtime.executor_estimator.pec import calculate_pec_twirling_shots

    pec = resilience.get("pec_mitigation")
    split = calculate_pec_twirling_shots if pec else calculate_twirling_shots
    randomizations = twirling["num_randomizations"], twirling["shots_per_randomization"]
    return int(split(shots, *randomizations)[1])
