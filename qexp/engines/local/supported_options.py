"""IBM's primitive options that have a meaning on the simulator.

One table covers the client's models (`qiskit_ibm_runtime.options_models`) and the legacy ones
(`qiskit_ibm_runtime.options`), version 0.51: their common keys mean the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qexp.core.model import PrimitiveSpec
from qexp.engines.options import declared_leaves

# Values that describe the simulator. `...`: any value is honoured, or changes no data.
_SUPPORTED: dict[str, Any] = {
    "default_shots": ...,
    "default_precision": ...,
    "seed_estimator": ...,
    "simulator.seed_simulator": ...,
    "simulator.angle_decimals": 5,
    "environment.job_tags": ...,
    "environment.log_level": ...,
    "environment.private": False,
    "execution.init_qubits": True,
    "execution.meas_type": "classified",
    "execution.scheduler_timing": False,
    "execution.stretch_values": False,
    "dynamical_decoupling.enable": False,
    "twirling.enable_gates": False,
    "twirling.enable_measure": False,
    "resilience_level": 0,
    "resilience.measure_mitigation": False,
    "resilience.zne_mitigation": False,
    "resilience.pec_mitigation": False,
}

# Settings of a technique that do nothing, on IBM's side either, unless one of its switches is on.
_SWITCHES: dict[str, tuple[str, ...]] = {
    "dynamical_decoupling.": ("dynamical_decoupling.enable",),
    "twirling.": ("twirling.enable_gates", "twirling.enable_measure"),
    "resilience.measure_noise_learning.": ("resilience.measure_mitigation",),
    "resilience.zne.": ("resilience.zne_mitigation",),
    "resilience.pec.": ("resilience.pec_mitigation",),
    "resilience.layer_noise_learning.": ("resilience.zne_mitigation", "resilience.pec_mitigation"),
    "simulator.warn_absent": ("simulator.layer_noise_model", "resilience.layer_noise_model"),
}

# The Estimator's switches that its resilience level turns on, and the lowest such level.
_ON_FROM_LEVEL = {
    "twirling.enable_gates": 2,
    "twirling.enable_measure": 1,
    "resilience.measure_mitigation": 1,
    "resilience.zne_mitigation": 2,
}
_DEFAULT_RESILIENCE_LEVEL = 1


def unsupported_options(primitive: PrimitiveSpec) -> dict[str, Any]:
    """Return the declared options (dotted path -> value) that the simulator would not honour.

    Left out are options that are None, that describe what the simulator does anyway, or that only
    tune a technique which is switched off.
    """
    declared = {path: value for path, value in declared_leaves(primitive.options) if value != {}}
    return {
        path: value
        for path, value in declared.items()
        if not _is_supported(path, value) and _has_effect(path, declared, primitive)
    }


def _is_supported(path: str, value: Any) -> bool:
    return path in _SUPPORTED and _SUPPORTED[path] in (..., value)


def _has_effect(path: str, declared: Mapping[str, Any], primitive: PrimitiveSpec) -> bool:
    for prefix, switches in _SWITCHES.items():
        if path.startswith(prefix) and path not in switches:
            return any(_is_on(switch, declared, primitive) for switch in switches)
    return True


def _is_on(switch: str, declared: Mapping[str, Any], primitive: PrimitiveSpec) -> bool:
    if switch in declared:
        return bool(declared[switch])
    if primitive.kind == "sampler" or switch not in _ON_FROM_LEVEL:
        return False
    level = declared.get("resilience_level", _DEFAULT_RESILIENCE_LEVEL)
    return bool(level >= _ON_FROM_LEVEL[switch])
