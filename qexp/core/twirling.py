"""Twirling as a primitive's options declare it, IBM's defaults applied."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from qexp.core.model import PrimitiveSpec


def is_twirled(primitive: PrimitiveSpec) -> bool:
    """Return whether a primitive twirls gates or measurements.

    A Sampler does so only on request. An Estimator twirls measurements from resilience level 1
    (its default) on, and whatever mitigates noise forces twirling:
    https://quantum.cloud.ibm.com/docs/guides/configure-error-mitigation
    """
    twirling = _section(primitive, "twirling")
    if twirling.get("enable_gates") or twirling.get("enable_measure"):
        return True
    if primitive.kind == "sampler":
        return False
    resilience = _section(primitive, "resilience")
    level = primitive.options.get("resilience_level", 1)
    mitigated = resilience.get("measure_mitigation")
    if (level >= 1 if mitigated is None else mitigated) or resilience.get("pec_mitigation"):
        return True
    gates, measurements = twirling.get("enable_gates"), twirling.get("enable_measure")
    return (gates is None and level >= 2) or (measurements is None and level >= 1)


def shots_executed(shots: int, primitive: PrimitiveSpec) -> int:
    """Return the executions of a circuit that is asked for `shots`: twirling may round up."""
    if not is_twirled(primitive):
        return shots
    twirling = _section(primitive, "twirling")
    return math.prod(
        twirling_shots(
            shots,
            twirling.get("num_randomizations", "auto"),
            twirling.get("shots_per_randomization", "auto"),
        )
    )


def twirling_shots(
    shots: int, num_randomizations: int | str, shots_per_randomization: int | str
) -> tuple[int, int]:
    """Divide shots over the randomizations of twirling.

    The rule of `TwirlingOptions`:
    https://quantum.cloud.ibm.com/docs/api/qiskit-ibm-runtime/options-twirling-options

    Args:
        shots: Shots of the PUB.
        num_randomizations: A number or `"auto"`.
        shots_per_randomization: A number or `"auto"`.

    Returns:
        Number of randomizations, and shots of each. Their product may exceed `shots`.

    Example:
        twirling_shots(4096, "auto", "auto")  # (32, 128)
    """
    if shots_per_randomization == "auto":
        if num_randomizations == "auto":
            each = max(64, math.ceil(shots / 32))
        else:
            each = math.ceil(shots / int(num_randomizations))
    else:
        each = int(shots_per_randomization)
    if num_randomizations == "auto":
        return math.ceil(shots / each), each
    return int(num_randomizations), each


def _section(primitive: PrimitiveSpec, name: str) -> Mapping[str, Any]:
    return primitive.options.get(name) or {}
