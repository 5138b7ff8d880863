"""Results as the JSON in which IBM's client itself keeps them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from qiskit.primitives import PrimitiveResult


def write_result(result: PrimitiveResult[Any], stream: TextIO) -> None:
    """Write a `PrimitiveResult` so that `json.load(stream, cls=RuntimeDecoder)` returns it.

    This is what https://quantum.cloud.ibm.com/docs/guides/save-jobs documents for keeping results.
    """
    from qiskit_ibm_runtime import RuntimeEncoder

    json.dump(result, stream, cls=RuntimeEncoder)
