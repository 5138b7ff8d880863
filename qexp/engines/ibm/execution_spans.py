"""When the parts of a job were executed: IBM's formats, normalised to one schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from qexp.core.model import Span

if TYPE_CHECKING:
    from qiskit.primitives import PrimitiveResult


def spans_of(result: PrimitiveResult[Any]) -> tuple[Span, ...]:
    """The execution spans of a result, sorted by start, stop and PUB.

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


def iso_utc(moment: datetime) -> str:
    """ISO 8601 in UTC; a time without zone is UTC, as in all of IBM's metadata."""
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return aware.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _legacy_spans(metadata: Mapping[str, Any]) -> Iterator[Span]:
    execution = metadata.get("execution")
    for span in execution.get("execution_spans", ()) if isinstance(execution, Mapping) else ():
        for pub in span.pub_idxs:
            # Not filter_by_pub: it fails for TwirledSliceSpanV2 (qiskit-ibm-runtime 0.51).
            size = int(span.mask(pub).sum())
            yield Span(iso_utc(span.start), iso_utc(span.stop), int(pub), size)


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
                yield Span(iso_utc(chunk.start), iso_utc(chunk.stop), pub, size)


def _items_per_pub(metadata: Mapping[str, Any]) -> int:
    """Zero-noise extrapolation by gate folding makes one program item per noise factor."""
    from qiskit_ibm_runtime.options_models.zne import DEFAULT_NOISE_FACTORS

    resilience = metadata.get("options", {}).get("resilience", {})
    zne = resilience.get("zne", {})
    if not resilience.get("zne_mitigation") or zne.get("amplifier") == "pea":
        return 1
    factors = zne.get("noise_factors", "auto")
    return len(DEFAULT_NOISE_FACTORS if factors == "auto" else factors)


def _shots_per_element(metadata: Mapping[str, Any]) -> int:
    """Shots of one element; a Sampler's metadata has it, an Estimator's has the PUB's shots."""
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
