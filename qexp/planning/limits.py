"""The bounds of one job: those of the user or of the service, whichever are smaller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from qexp.core.model import PrimitiveSpec
from qexp.core.spec import Limit, PartitionLimits

# Field of PartitionLimits -> the service's limit on the same dimension of one job.
_SERVICE_LIMITS: Mapping[str, str] = {
    "max_executions": "sampler_executions_per_job",
    "max_payload_bytes": "payload_bytes_per_job",
    "max_qpu_s": "job_qpu_s",
    "max_control_instructions": "control_instructions_per_qubit_and_job",
}


def effective_limits(
    primitive: PrimitiveSpec, partition: PartitionLimits, limits: Mapping[str, Limit]
) -> tuple[PartitionLimits, dict[str, str]]:
    """Return the smaller of the user's bound and the service's limit, in each dimension.

    Args:
        primitive: Decides which limits apply: that on executions is not for Estimators, and
            `max_execution_time` bounds the QPU seconds of a job.
        partition: The user's bounds.
        limits: The service's limits.

    Returns:
        The bounds of one job, and the config key behind each.
    """
    bounds: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, service_name in _SERVICE_LIMITS.items():
        candidates = [(getattr(partition, name), f"partition.{name}")]
        if service_name in limits and _applies(service_name, primitive):
            candidates.append((limits[service_name].value, f"limits.{service_name}"))
        if name == "max_qpu_s":
            declared = primitive.options.get("max_execution_time")
            candidates.append((declared, "primitive.options.max_execution_time"))
        given = [candidate for candidate in candidates if candidate[0] is not None]
        if given:
            bounds[name], origins[name] = min(given, key=lambda candidate: candidate[0])
    if "job_overhead_s" in limits:
        bounds["job_overhead_s"] = limits["job_overhead_s"].value
    return replace(partition, **bounds), origins


def _applies(service_name: str, primitive: PrimitiveSpec) -> bool:
    # The service splits Estimator jobs: https://quantum.cloud.ibm.com/docs/guides/job-limits
    return service_name != "sampler_executions_per_job" or primitive.kind == "sampler"
