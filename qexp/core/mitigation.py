"""Error mitigation that a primitive's options switch on, by themselves or by a resilience level."""

from __future__ import annotations

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


def _leaf(options: Mapping[str, Any], path: str) -> Any:
    node: Any = options
    for name in path.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node
