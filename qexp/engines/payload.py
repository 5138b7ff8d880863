"""The size of a PUB on the wire, without encoding its circuit once more."""

from __future__ import annotations

import base64
import io
import json
import zlib
from typing import TYPE_CHECKING

from qexp.core.model import PrimitiveSpec

if TYPE_CHECKING:
    from qexp.core.model import Pub


def wire_bytes(primitive: PrimitiveSpec, pub: Pub, qpy: bytes) -> int:
    """Size of a PUB whose circuit is sent as it is.

    The encoding of IBM's legacy primitives: the circuit as base64 of compressed QPY, the parameter
    values as base64 of a compressed `.npy` file, observables as JSON. The client-side Sampler's is
    about the same for a single PUB.

    Args:
        primitive: The primitive that runs it.
        pub: The ISA PUB.
        qpy: Its circuit in QPY.

    Returns:
        Bytes.
    """
    import numpy as np

    values = io.BytesIO()
    np.save(values, pub.parameter_values.as_array(pub.circuit.parameters))
    size = _encoded_bytes(qpy) + _encoded_bytes(values.getvalue())
    if primitive.kind == "estimator":
        size += len(json.dumps(pub.observables.tolist()))
    return size


def _encoded_bytes(data: bytes) -> int:
    return len(base64.standard_b64encode(zlib.compress(data)))
