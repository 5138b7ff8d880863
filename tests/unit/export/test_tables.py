"""CSV and Parquet: every count and expectation value once, and nothing else."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.primitives.containers.estimator_pub import EstimatorPub

import qexp
from qexp.archive.writer import RunStore
from qexp.errors import ConfigError
from qexp.export.formats import export
from qexp.export.tables import guarded
from tests.archives import (
    estimator_result,
    header,
    outcome,
    write_batch,
    write_partition,
)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_counts_are_those_of_the_results(complete: Path) -> None:
    rows = read_csv(export(complete, "csv").path / "counts.csv")
    assert list(rows[0]) == [
        *("workload", "pub", "circuit", "sweep_0", "sweep_1"),
        *("register", "bitstring", "count", "shots"),
    ]
    found: dict[tuple[str, ...], Counter[str]] = {}
    for row in rows:
        key = (row["pub"], row["sweep_0"], row["register"])
        found.setdefault(key, Counter())[row["bitstring"]] += int(row["count"])
        assert (row["workload"], row["sweep_1"]) == ("states", "")
    with qexp.open_archive(complete) as run:
        first, second = run.results["states"]
        assert len(found) == 3 * 2 + 2
        for point in range(3):
            for register in ("reg0", "reg1"):
                counts = first.data[register][point].get_counts()
                assert found["0", str(point), register] == counts
        for register in ("a", "pub"):
            assert found["1", "", register] == second.data[register].get_counts()
    assert {(row["pub"], row["shots"]) for row in rows} == {("0", "100"), ("1", "50")}


def test_expectation_values_come_with_observables_and_parameters(complete: Path) -> None:
    folder = export(complete, "csv").path
    evs, parameters = read_csv(folder / "evs.csv"), read_csv(folder / "parameters.csv")
    with qexp.open_archive(complete) as run:
        expected, table = run.results["energy"][1].data, run.pub_table("energy")
        rows = [row for row in evs if row["pub"] == "1"]
        for row, point in zip(rows, np.ndindex(2, 2), strict=True):
            assert (int(row["sweep_0"]), int(row["sweep_1"])) == point
            assert float(row["ev"]) == expected.evs[point]
            assert float(row["std"]) == expected.stds[point]
            assert row["observable"] == table.observables(1)[point]
        values = [
            float(row["value"])
            for row in parameters
            if (row["workload"], row["pub"]) == ("energy", "1")
        ]
        assert values == table.parameter_values(1).ravel().tolist()
    assert [row["parameter"] for row in parameters if row["workload"] == "states"] == ["θ"] * 3


def test_a_partial_run_has_rows_of_its_results_only(partial: Path) -> None:
    rows = read_csv(export(partial, "csv").path / "counts.csv")
    assert {row["pub"] for row in rows} == {"0"}


@pytest.mark.parametrize(
    "name", ['=HYPERLINK("http://x","y")', "+1", "-1", "@SUM(1)", "\ta", "\ra\r\n=1"]
)
def test_no_name_becomes_a_formula(tmp_path: Path, name: str) -> None:
    store = RunStore(tmp_path)
    store.write_header(header())
    write_batch(store)
    circuit = QuantumCircuit(2, name=name)
    circuit.rx(Parameter(name), 0)
    circuit.rx(Parameter("=ok"), 1)
    observables = [["+-"], ["ZZ"], [{"XX": -0.5, "YY": 1.0}]]
    pub = EstimatorPub.coerce((circuit, observables, [-1.5, -2.5], 0.01))
    write_partition(store, 0, 0, [pub])
    store.write_job(outcome(0, [estimator_result(np.random.default_rng(0), (3, 1))]))
    folder = export(store.seal("complete", keep_parts=False), "csv").path
    evs, parameters = read_csv(folder / "evs.csv"), read_csv(folder / "parameters.csv")
    assert {row["circuit"] for row in (*evs, *parameters)} == {f"'{name}"}
    assert {row["parameter"] for row in parameters} == {f"'{name}", "'=ok"}
    assert {row["value"] for row in parameters} == {"-1.5", "-2.5"}
    assert [row["observable"] for row in evs[:2]] == ["+-", "ZZ"]
    assert json.loads(evs[2]["observable"]) == {"XX": -0.5, "YY": 1.0}


def test_only_observables_may_begin_with_a_sign() -> None:
    assert guarded("+-Z", "observable") == "+-Z"
    assert guarded("+-Z", "circuit") == "'+-Z"
    assert guarded("-1+A1", "observable") == "'-1+A1"
    assert guarded("0101", "bitstring") == "0101"


def test_parquet_holds_the_same_with_types(complete: Path) -> None:
    as_csv, as_parquet = export(complete, "csv"), export(complete, "parquet")
    assert [note.replace(".parquet", ".csv") for note in as_parquet.notes] == list(as_csv.notes)
    for name in ("counts", "evs", "parameters"):
        table = parquet.read_table(as_parquet.path / f"{name}.parquet")
        texts = [
            {key: "" if value is None else str(value) for key, value in row.items()}
            for row in table.to_pylist()
        ]
        assert texts == read_csv(as_csv.path / f"{name}.csv")
    assert str(table.schema.field("value").type) == "double"
    assert str(table.schema.field("pub").type) == "int64"


def test_large_tables_are_written_in_row_groups(
    complete: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qexp.export.tables._ROW_GROUP", 10)
    path = export(complete, "parquet").path / "counts.parquet"
    file = parquet.ParquetFile(path)
    assert file.metadata.num_row_groups == -(-file.metadata.num_rows // 10)


def test_without_pyarrow_one_line_says_what_to_install(
    complete: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"python -m pip install 'qexp\[parquet\]'"):
        export(complete, "parquet")
    assert not (complete.parent / "run-parquet").exists()
