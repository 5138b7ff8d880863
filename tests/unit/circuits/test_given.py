from __future__ import annotations

import numpy as np
import pytest

from qexp.circuits.given import GIVEN_CIRCUITS, given_circuits
from qexp.config.instantiate import locate
from qexp.errors import ConfigError


def test_a_config_that_names_them_says_where_they_are():
    assert locate(GIVEN_CIRCUITS, "circuits") is given_circuits
    with pytest.raises(ConfigError, match=r"^circuits: 3 PUBs were given in Python .* reproduce"):
        given_circuits(num_circuits=3, sha256="0", seed_sequence=np.random.SeedSequence(0))
