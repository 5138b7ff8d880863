from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from qiskit.providers import BackendV2
from qiskit_ibm_runtime.fake_provider import FakeFractionalBackend, FakeManilaV2

from qexp.core.model import PayloadBytes, PrimitiveKind, PrimitiveSpec
from qexp.core.spec import Limit, TranspileSpec, WorkloadSpec

CONF = Path(__file__).parents[3] / "conf"


def read_conf(choice: str) -> dict[str, Any]:
    """One choice of a config group, say `limits/ibm`."""
    node = OmegaConf.to_container(OmegaConf.load(CONF / f"{choice}.yaml"))
    assert isinstance(node, dict)
    return {str(key): value for key, value in node.items()}


@dataclass(frozen=True)
class StubEngine:
    """An engine that only knows how large a PUB is."""

    size: int = 1000
    name: str = "stub"
    allow_ignored_options: bool = False

    def ignored_options(self, primitive: PrimitiveSpec) -> dict[str, Any]:
        return {}

    def check_backend(self, backend: BackendV2) -> None:
        return None

    def pub_objection(
        self, backend: BackendV2, primitive: PrimitiveSpec
    ) -> Callable[[Any], str | None]:
        return lambda _pub: None

    def payload_bytes(
        self,
        primitive: PrimitiveSpec,
        pub: Any,
        backend: BackendV2,
        qpy: bytes,
        bound_bytes: float,
    ) -> PayloadBytes:
        return PayloadBytes(self.size)

    def open_batch(self, backend: BackendV2, *, max_time_s: int | None) -> Any:
        raise AssertionError("the plan opens no batch")


def workload(
    generate: Callable[[Any], Iterable[Any]],
    *,
    name: str = "main",
    kind: PrimitiveKind = "sampler",
    options: Mapping[str, Any] | None = None,
    transpile: TranspileSpec | None = None,
) -> WorkloadSpec:
    primitive = PrimitiveSpec(
        kind,
        shots=100 if kind == "sampler" else None,
        precision=0.1 if kind == "estimator" else None,
        options=options or {},
    )
    return WorkloadSpec(name, generate, primitive, transpile or TranspileSpec())


@pytest.fixture(scope="session")
def manila() -> BackendV2:
    return FakeManilaV2()


@pytest.fixture(scope="session")
def fractional() -> BackendV2:
    return FakeFractionalBackend()


@pytest.fixture(scope="session")
def service_limits() -> dict[str, Limit]:
    nodes = read_conf("limits/ibm")
    return {name: Limit(**node) for name, node in nodes.items()}
