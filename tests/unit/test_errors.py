from __future__ import annotations

import re
from pathlib import Path

import pytest

from qexp import errors
from qexp.errors import ExitCode, QexpError, exit_code, is_explained_by_traceback

ROOT = Path(__file__).parents[2]


def table() -> str:
    """The table of docs/configuration.md; paste it there if it differs."""
    rows = [f"| {code.value} | {code.meaning} |" for code in ExitCode]
    return "\n".join(["| code | meaning |", "| --- | --- |", *rows])


def test_the_docs_have_the_table_of_exit_codes() -> None:
    assert table() in (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8"), table()


def test_the_readme_names_every_exit_code() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (named,) = re.findall(r"^- \*\*Exit codes\.\*\*.*?(?=^\S)", readme, flags=re.M | re.S)
    assert [int(code) for code in re.findall(r"\b\d+\b", named)] == [
        code.value for code in ExitCode
    ]


@pytest.mark.parametrize(
    "error", [item for item in vars(errors).values() if isinstance(item, type)], ids=str
)
def test_every_error_has_a_code_of_the_table(error: type) -> None:
    if issubclass(error, QexpError):
        assert error.exit_code in list(ExitCode)


@pytest.mark.parametrize(
    ("error", "code", "has_traceback"),
    [
        (errors.ConfigError("x"), 2, False),
        (errors.GeneratorError("x"), 2, True),
        (errors.AnalysisFailedError("x"), 2, True),
        (errors.NotReproducedError("x"), 1, False),
        (errors.BusyError("x"), 3, False),
        (KeyError("x"), 70, True),
        (SystemExit(0), 70, True),
        (KeyboardInterrupt(), 130, True),
    ],
)
def test_codes_of_errors(error: BaseException, code: int, has_traceback: bool) -> None:
    assert exit_code(error) == code
    assert is_explained_by_traceback(error) is has_traceback
