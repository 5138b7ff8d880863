"""Mitigation and twirling that a primitive's options, or its resilience level, switch on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from qexp.core.model import PrimitiveSpec

_ON_FROM_LEVEL: Final = {
    "twirling.enable_gates": 2,
    "twirling.enable_measure": 1,
    "resilience.measure_mitigation": 1,
    "resilience.zne_mitigation": 2,
}
"""Switches of an Estimator that its resilience level turns on, and the lowest such level."""

_DEFAULT_RESILIENCE_LEVEL: Final = 1
"""https://quantum.cloud.ibm.com/docs/guides/configure-error-mitigation"""


def is_on(primitive: PrimitiveSpec, switch: str) -> bool:
    """Return True if a switch, such as `"resilience.zne_mitigation"`, is on."""
    declared = _leaf(primitive.options, switch)
    if declared is not None:
        return bool(declared)
    if primitive.kind == "sampler" or switch not in _ON_FROM_LEVEL:
        return False
    level = _leaf(primitive.options, "resilience_level")
    return bool((_DEFAULT_RESILIENCE_LEVEL if level is None else level) >= _ON_FROM_LEVEL[switch])


def is_calibrated_per_job(primitive: PrimitiveSpec) -> bool:
    """Return True if a job of a primitive begins with a calibration that all its PUBs share.

    TREX calibrates the readout, PEA and PEC learn the noise of layers. A value then depends on the
    other PUBs of its job.
    """
    if is_on(primitive, "resilience.measure_mitigation"):
        return True
    amplifier = _leaf(primitive.options, "resilience.zne.amplifier")
    is_pea = amplifier == "pea" and is_on(primitive, "resilience.zne_mitigation")
    return is_pea or is_on(primitive, "resilience.pec_mitigation")


def is_twirled(primitive: PrimitiveSpec) -> bool:
    """Return True if a primitive twirls gates or measurements.

    A Sampler does so only on request; TREX and PEC force an Estimator to.
    """
    forcing = "resilience.measure_mitigation", "resilience.pec_mitigation"
    switches = "twirling.enable_gates", "twirling.enable_measure", *forcing
    return any(is_on(primitive, switch) for switch in switches)


def shots_executed(shots: int, primitive: PrimitiveSpec) -> int:
    """Return the executions of a circuit that is asked for `shots`: twirling may round up."""
    if not is_twirled(primitive):
        return shots
    declared = primitive.options.get("twirling") or {}
    names = "num_randomizations", "shots_per_randomization"
    return math.prod(twirling_shots(shots, *(declared.get(name, "auto") for name in names)))


def twirling_shots(
    shots: int, num_randomizations: int | str, shots_per_randomization: int | str
) -> tuple[int, int]:
    """Divide the shots of a PUB: number of randomizations, and shots of each; maybe more in all.

    The rule of `TwirlingOptions`, for numbers or `"auto"`:
    https://quantum.cloud.ibm.com/docs/api/qiskit-ibm-runtime/options-twirling-options

    Example:
        twirling_shots(4096, "auto", "auto")  # (32, 128)
    """
    if shots_per_randomization != "auto":
        each = int(shots_per_randomization)
    elif num_randomizations == "auto":
        each = max(64, math.ceil(shots / 32))
    else:
        each = math.ceil(shots / int(num_randomizations))
    if num_randomizations == "auto":
        return math.ceil(shots / each), each
    return int(num_randomizations), each


def _leaf(options: Mapping[str, Any], path: str) -> Any:
    node: Any = options
    for name in path.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node
