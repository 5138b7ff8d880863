from __future__ import annotations

import subprocess
import sys

import pytest

FAKE = """
import sys
from qexp.engines.local.backends import fake
backend = fake()
assert "qiskit_ibm_runtime.fake_provider" in sys.modules
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", FAKE + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_fake_backend_does_without_the_client() -> None:
    run("""
heavy = {"qiskit_ibm_runtime.qiskit_runtime_service", "ibm_cloud_sdk_core", "scipy.optimize"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
""")


@pytest.mark.parametrize(
    "code",
    [
        "from qiskit_ibm_runtime import QiskitRuntimeService as found",
        "import qiskit_ibm_runtime as client; found = client.QiskitRuntimeService",
        "from qiskit_ibm_runtime import *; found = QiskitRuntimeService",
        "from qiskit_ibm_runtime.qiskit_runtime_service import QiskitRuntimeService as found",
    ],
)
def test_the_client_is_complete_at_first_use(code: str) -> None:
    assert run(code + "; print(found.__name__)") == "QiskitRuntimeService"


def test_early_and_late_imports_are_of_one_package() -> None:
    run("""
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
import qiskit_ibm_runtime
from qiskit_ibm_runtime import Batch, fake_provider, __version__
from qiskit_ibm_runtime.executor_sampler import Sampler
assert type(backend) is FakeManilaV2 is fake_provider.FakeManilaV2
assert isinstance(__version__, str) and qiskit_ibm_runtime.Batch is Batch
assert dir(qiskit_ibm_runtime).count("Batch") == 1
""")


def test_a_missing_name_is_an_import_error() -> None:
    message = run("""
try:
    from qiskit_ibm_runtime import NoSuchThing
except ImportError as error:
    print(error)
""")
    assert "cannot import name 'NoSuchThing'" in message


def test_a_package_that_is_there_already_is_left_alone() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, qiskit_ibm_runtime as before\n"
            "from qexp.engines.lazy_client import defer_client\n"
            "defer_client()\n"
            "assert sys.modules['qiskit_ibm_runtime'] is before",
        ],
        check=False,
    )
    assert done.returncode == 0


def test_an_interrupted_import_is_tried_again() -> None:
    run("""
import builtins, qiskit_ibm_runtime
original = builtins.__import__
def interrupted(name, *arguments, **keywords):
    if "qiskit_runtime_service" in name:
        raise KeyboardInterrupt
    return original(name, *arguments, **keywords)
builtins.__import__ = interrupted
try:
    qiskit_ibm_runtime.Batch
except KeyboardInterrupt:
    pass
else:
    raise AssertionError("it was not interrupted")
builtins.__import__ = original
from qiskit_ibm_runtime import Batch
assert Batch.__name__ == "Batch"
""")
