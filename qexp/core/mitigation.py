"""Mitigation and twirling that a primitive's options, or its resilience level, switch on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
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

_NOISE_FACTORS: Final = (1.0, 3.0, 5.0)
_MAX_OVERHEAD: Final = 100.0
_MAX_LAYERS: Final = 4
_DEPTHS_OF_LAYERS: Final = (0, 1, 2, 4, 16, 32)
_BASES_OF_LAYERS: Final = 9
_PEC_SHOTS: Final = 64
_LEARNING: Final = {"num_randomizations": 32, "shots_per_randomization": 128}
"""Defaults of IBM's options: `ZneOptions`, `PecOptions`, `LayerNoiseLearningOptions`."""


@dataclass(frozen=True)
class Executions:
    """The circuit executions that the shots of a PUB become.

    `bounded_by` has the options that bound `randomizations` and `learning`, as no noise was learned
    yet: path and value, None where the option sets no bound and its default was taken instead.
    """

    randomizations: int  # circuits of a parameter set in one basis, at one noise factor
    shots: int  # shots of each of them
    noise_factors: tuple[float, ...] = (1.0,)  # by which ZNE amplifies the noise
    readout: int = 0  # executions by which TREX calibrates the readout for all PUBs of a job
    learning: int = 0  # executions that learn the noise of layers for all PUBs of a job, at most
    bounded_by: tuple[tuple[str, float | None], ...] = ()

    @property
    def each(self) -> int:
        """Executions of a parameter set in one basis, at one noise factor."""
        return self.randomizations * self.shots

    @property
    def of_configuration(self) -> int:
        """Executions of a parameter set in one basis."""
        return self.each * len(self.noise_factors)


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
    return is_on(primitive, "resilience.measure_mitigation") or injects_noise(primitive)


def injects_noise(primitive: PrimitiveSpec) -> bool:
    """Return True for PEA and PEC, which inject the noise of layers once it was learned."""
    amplifier = _leaf(primitive.options, "resilience.zne.amplifier")
    is_pea = amplifier == "pea" and is_on(primitive, "resilience.zne_mitigation")
    return is_pea or is_on(primitive, "resilience.pec_mitigation")


def unseeded_folding(primitive: PrimitiveSpec) -> str | None:
    """Return why the circuits of ZNE cannot be made again, or None: IBM's client has no seed."""
    amplifier = _leaf(primitive.options, "resilience.zne.amplifier") or "gate_folding"
    between = [factor for factor in _noise_factors(primitive) if factor % 2 != 1]
    if amplifier != "gate_folding" or not between:
        return None
    return (
        f"IBM's client folds gates at random and without a seed for noise factor {between[0]:g}; "
        f"take odd integers, or resilience.zne.amplifier=gate_folding_front or gate_folding_back"
    )


def is_twirled(primitive: PrimitiveSpec) -> bool:
    """Return True if a primitive twirls gates or measurements.

    A Sampler does so only on request; TREX, PEA and PEC force an Estimator to.
    """
    switches = "twirling.enable_gates", "twirling.enable_measure", "resilience.measure_mitigation"
    return any(is_on(primitive, switch) for switch in switches) or injects_noise(primitive)


def executions(shots: int, primitive: PrimitiveSpec, gamma: float | None = None) -> Executions:
    """Return the executions of a PUB that is asked for `shots`.

    Those of a client-side primitive are what IBM's client prepares. It takes noise as learned
    before; a legacy Estimator learns it in the job.

    Args:
        shots: The shots.
        primitive: The primitive with its options.
        gamma: Of PEC: the factor of the noise that is cancelled in the PUB's circuit. None: not
            known before the noise is learned, so that `resilience.pec.max_overhead` bounds it.
    """
    options, is_legacy = primitive.options, primitive.implementation == "legacy"
    is_pec = is_on(primitive, "resilience.pec_mitigation")
    declared = _leaf(options, "twirling") or {}
    names = "num_randomizations", "shots_per_randomization"
    split = [_or(declared.get(name), "auto") for name in names]
    if is_pec and split == ["auto", "auto"]:
        split[1] = _PEC_SHOTS
    randomizations, each = twirling_shots(shots, *split) if is_twirled(primitive) else (1, shots)
    readout = learning = 0
    overhead, bounded_by = gamma**2 if is_pec and gamma is not None else 1.0, []
    if is_on(primitive, "resilience.measure_mitigation"):
        calibration = _leaf(options, "resilience.measure_noise_learning") or {}
        number, of_each = (_or(calibration.get(name), "auto") for name in names)
        if number == "auto":
            number = _LEARNING[names[0]] if is_legacy else randomizations
        readout = number * (each if of_each == "auto" else of_each)
    if is_pec:
        most = (_leaf(options, "resilience.pec") or {}).get("max_overhead", _MAX_OVERHEAD)
        if gamma is None:
            overhead = _or(most, _MAX_OVERHEAD)
            bounded_by.append(("resilience.pec.max_overhead", most))
        elif most is not None:
            overhead = min(most, overhead)
    if is_legacy and injects_noise(primitive):
        layers = _leaf(options, "resilience.layer_noise_learning") or {}
        most = layers.get("max_layers_to_learn", _MAX_LAYERS)
        learning = _or(most, _MAX_LAYERS) * _executions_per_layer(layers)
        bounded_by.append(("resilience.layer_noise_learning.max_layers_to_learn", most))
    return Executions(
        math.ceil(randomizations * overhead),
        each,
        _noise_factors(primitive),
        readout,
        learning,
        tuple(bounded_by),
    )


def describe_bounds(primitive: PrimitiveSpec) -> str | None:
    """Describe the bounds that executions are computed from; None if they are exact."""
    bounds = executions(1, primitive).bounded_by
    listed = " and ".join(
        f"{path}={'null (no bound: its default is taken)' if value is None else f'{value:g}'}"
        for path, value in bounds
    )
    text = "its noise is not learned yet, so that executions and QPU time are upper bounds"
    return f"{text}, from {listed}" if bounds else None


def _noise_factors(primitive: PrimitiveSpec) -> tuple[float, ...]:
    if not is_on(primitive, "resilience.zne_mitigation"):
        return (1.0,)
    factors = _or(_leaf(primitive.options, "resilience.zne.noise_factors"), "auto")
    return _NOISE_FACTORS if factors == "auto" else tuple(map(float, factors))


def _executions_per_layer(declared: Mapping[str, Any]) -> int:
    depths = _or(declared.get("layer_pair_depths"), _DEPTHS_OF_LAYERS)
    of_circuit = math.prod(_or(declared.get(name), usual) for name, usual in _LEARNING.items())
    return int(len(depths) * _BASES_OF_LAYERS * of_circuit)


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


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
