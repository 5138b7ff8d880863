"""A device rebuilt from what an archive holds of it, for runs that are repeated years later."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qiskit_ibm_runtime.fake_provider.fake_backend import FakeBackendV2


class ArchivedDevice(FakeBackendV2):
    """A fake backend with the configuration and the calibration of an archive.

    Target and noise are made of them as those of IBM's own fake backends are.

    Example:
        >>> with qexp.open_archive("run.h5") as run:
        ...     device = ArchivedDevice(run.backend["configuration"], run.backend["properties"])

    Args:
        configuration: `QasmBackendConfiguration.to_dict()` as JSON, as in the archive.
        properties: `BackendProperties.to_dict()` as JSON, as in the archive.
    """

    conf_filename = "configuration.json"
    props_filename = "properties.json"

    def __init__(self, configuration: Mapping[str, Any], properties: Mapping[str, Any]) -> None:
        self._archived = configuration, properties
        self.backend_name = configuration["backend_name"]
        with tempfile.TemporaryDirectory() as folder:
            self.dirname = folder
            for name, content in (
                (self.conf_filename, _with_pairs(configuration)),
                (self.props_filename, properties),
            ):
                (Path(folder) / name).write_text(json.dumps(content), encoding="utf-8")
            super().__init__()
            # Both files are read now; the folder is gone afterwards.
            self.properties()
            self.target  # noqa: B018 - it is kept

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it is made of."""
        return type(self), self._archived


def _with_pairs(value: Any) -> Any:
    """Return JSON with complex numbers as the client's files have them: `[real, imag]`."""
    if isinstance(value, Mapping):
        if set(value) == {"real", "imag"}:
            return [value["real"], value["imag"]]
        return {key: _with_pairs(item) for key, item in value.items()}
    return [_with_pairs(item) for item in value] if isinstance(value, list) else value
