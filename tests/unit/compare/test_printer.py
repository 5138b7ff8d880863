from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from qexp.compare.printer import WIDTH, Printer
from qexp.compare.runs import compare_runs
from tests.unit.archive.samples import header
from tests.unit.compare.runs import sampled, write

CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/0123456789abcdef:1234::"


def printed(a: Path, b: Path, top: int = 10) -> str:
    out = io.StringIO()
    Printer(out, top).comparison(compare_runs(a, b))
    return out.getvalue()


def test_sections_without_a_difference_take_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, [sampled(1)])
    assert printed(path, path).splitlines()[5:] == [
        "run: same experiment, status, engine, backend and seed",
        "config: the same",
        "circuits: the same, 1 PUB",
        "software: the same Python, platform, packages and repository",
        "calibration: the same",
        "data: bit-identical (1 PUB)",
    ]


def test_tables_are_no_wider_than_80_columns_and_no_longer_than_asked(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [sampled(k) for k in range(4)])
    b = write(
        tmp_path / "b",
        [sampled(k, bias=0.6) for k in range(4)],
        experiment="x" * 60,
        config_yaml=f"circuits:\n  {'k' * 50}: {'v' * 300}\n",
    )
    text = printed(a, b, top=2)
    assert max(len(line) for line in text.splitlines()) <= WIDTH
    assert sum("main" in line for line in text.splitlines()) == 2
    assert "2 of 4 PUBs, those that differ most first; --top 4 shows all" in text
    assert "statistically different: 4 by themselves" in text


def test_no_secret_no_markup_and_nothing_that_steers_a_terminal(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [sampled(1)])
    evil = f"crn: '{CRN}'\nmark: '[bold]not markup[/]'\nescape: \"a\\eb\\nc\"\n"
    text = printed(a, write(tmp_path / "b", [sampled(1)], config_yaml=evil))
    assert CRN not in text
    assert "[bold]not markup[/]" in text
    assert "\x1b" not in text
    assert "a\\x1bb\\nc" in text


def test_calibrations_of_other_devices_and_missing_ones(tmp_path: Path) -> None:
    backend = header().backend
    a = write(tmp_path / "a", [sampled(1)])
    other = write(tmp_path / "b", [sampled(1)], backend=backend | {"name": "other"})
    assert "of different devices, so that only medians are compared" in printed(a, other)
    properties = backend["properties"]
    fewer = properties | {"qubits": [properties["qubits"][0], properties["qubits"][1][1:]]}
    less = write(tmp_path / "d", [sampled(1)], backend=backend | {"properties": fewer})
    assert "calibration: 0 values differ, 1 in one run only" in printed(a, less)
    none = write(tmp_path / "c", [sampled(1)], backend=backend | {"properties": None})
    assert "calibration: B has none recorded" in printed(a, none)


def test_other_transpiled_circuits_are_counted_separately(tmp_path: Path) -> None:
    path = write(tmp_path / "a", [sampled(1), sampled(2)])
    found = compare_runs(path, write(tmp_path / "b", [sampled(3), sampled(4, bias=0.7)]))
    assert [pub.a for pub in found.data.different] == [1]
    pubs = [replace(pub, same_isa=pub.a == 0) for pub in found.data.pubs]
    out = io.StringIO()
    Printer(out).data(replace(found.data, pubs=tuple(pubs)))
    text = " ".join(out.getvalue().split())
    assert "1 of them were transpiled to other circuits, with other noise" in text
    assert "of the 1 that were not, 0 differ by themselves" in text
