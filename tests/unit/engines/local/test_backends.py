from __future__ import annotations

import pytest
from qiskit.providers import BackendV2

from qexp.engines.local.backends import aer, fake
from qexp.errors import ConfigError


@pytest.mark.parametrize("name", ["FakeManilaV2", "fake_manila"])
def test_fake_by_class_or_backend_name(name: str) -> None:
    backend = fake(name)
    assert isinstance(backend, BackendV2)
    assert (backend.name, backend.num_qubits) == ("fake_manila", 5)


def test_the_default_is_a_small_device() -> None:
    assert fake().num_qubits == 5


def test_unknown_fake_names_key_value_and_close_matches() -> None:
    with pytest.raises(ConfigError) as caught:
        fake("FakeManila")
    message = str(caught.value)
    assert "backend.name='FakeManila'" in message
    assert "FakeManilaV2" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["nothing like it", "FakeBackendV2", "FakeProviderForBackendV2"])
def test_an_unknown_fake_backend_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="fake_provider"):
        fake(name)


def test_aer_is_ideal_and_fully_coupled() -> None:
    backend = aer(num_qubits=3, method="statevector")
    assert backend.num_qubits == 3
    assert backend.coupling_map is None
    assert backend.options.noise_model is None
    assert backend.options.method == "statevector"


def test_aer_is_as_wide_as_memory_allows() -> None:
    assert aer().num_qubits > 5
