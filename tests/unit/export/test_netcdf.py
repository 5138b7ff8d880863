"""The file opens with netCDF4 and xarray, and agrees with the archive."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import netCDF4
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from qiskit.circuit import ClassicalRegister, Parameter, QuantumCircuit
from qiskit.primitives import BitArray
from qiskit.primitives.containers.sampler_pub import SamplerPub

import qexp
from qexp.archive.store import RunStore
from qexp.errors import ArchiveError
from qexp.export.formats import export
from qexp.export.netcdf import counted, distinct_names, unpacked
from tests.unit.archive.samples import (
    header,
    outcome,
    sampler_result,
    write_batch,
    write_partition,
)


@pytest.fixture
def exported(complete: Path) -> Path:
    return export(complete, "netcdf").path


def test_xarray_has_counts_and_bits_with_coordinates(complete: Path, exported: Path) -> None:
    with xr.open_datatree(exported) as tree, qexp.open_archive(complete) as run:
        (name,) = [name for name in tree["states"].children if name.startswith("reg0")]
        data, result = tree["states"][name].to_dataset(), run.results["states"][0].data
        for point in range(3):
            counts = data["reg0_counts"].sel(pub=0).isel(sweep_0=point)
            expected = result.reg0[point].get_counts()
            assert {o: int(counts.sel(reg0_outcome=o)) for o in expected} == expected
            assert int(counts.sum()) == 100
        bits = data["reg1"].sel(pub=0, reg1_bit=0).values
        assert np.array_equal(bits, result.reg1.to_bool_array("little")[..., 0])
        assert data["reg0"].dims == ("pub", "sweep_0", "shot", "reg0_bit")
        assert data["reg1"].dims == ("pub", "sweep_0", "shot", "reg1_bit")
        assert data["circuit"].item() == "c"
        assert {"depth", "num_qubits", "isa_depth"} <= set(data["reg0"].coords)
        assert data["parameter_value"].sel(parameter="θ").shape == (1, 3)


def test_xarray_has_expectation_values_with_observables(complete: Path, exported: Path) -> None:
    with xr.open_datatree(exported) as tree, qexp.open_archive(complete) as run:
        data = tree["energy/evs-stds-2x2"].to_dataset()
        table = run.pub_table("energy")
        for index, result in enumerate(run.results["energy"]):
            assert np.array_equal(data["evs"].sel(pub=index), result.data.evs)
            assert np.array_equal(data["stds"].sel(pub=index), result.data.stds)
            assert np.array_equal(data["observable"].sel(pub=index), table.observables(index))
            values = data["parameter_value"].sel(pub=index)
            assert np.array_equal(values, table.parameter_values(index))
        assert data["parameter"].values.tolist() == ["a", "b"]


def test_netcdf4_opens_every_variable_and_finds_its_description(exported: Path) -> None:
    with netCDF4.Dataset(exported) as file:
        assert file.title == "Noise of <small> devices"
        assert (file.license, file.status) == ("CC-BY-4.0", "complete")
        assert file.creator_name == "Ada Lovelace"
        assert set(file.groups) == {"energy", "states"}
        seen = 0
        for workload in file.groups.values():
            for group in workload.groups.values():
                for variable in group.variables.values():
                    assert variable.long_name
                    assert variable[...].shape == variable.shape
                    seen += 1
        assert seen > 30


def test_a_register_with_a_reserved_name_gets_another(exported: Path) -> None:
    with netCDF4.Dataset(exported) as file:
        (group,) = [g for name, g in file["states"].groups.items() if name.startswith("a-11b")]
        assert group["field_1"].register == "pub"
        # 2^11 outcomes are too many for a table of counts.
        assert "a_counts" not in group.variables
        assert group["field_1_counts"][...].sum() == 50


@pytest.mark.parametrize(
    "registers",
    [
        ("a_bit", "a"),
        ("a", "a_bit"),
        ("a_outcome", "a"),
        ("a_shot", "a", "a_counts"),
        ("pub", "field_0", "shot"),
        ("meas", "meas_axis_0", "meas_bits"),
        ("circuit", "sweep_0", "_x", "größe"),
    ],
)
@pytest.mark.parametrize("sweep", [(), (2,)])
def test_registers_of_any_names_come_back(
    tmp_path: Path, registers: tuple[str, ...], sweep: tuple[int, ...]
) -> None:
    circuit = QuantumCircuit(2 * len(registers))
    for name in registers:
        circuit.add_register(ClassicalRegister(2, name))
    circuit.rx(Parameter("t"), 0)
    circuit.measure(circuit.qubits, circuit.clbits)
    values = np.zeros((*sweep, 1))
    sizes = dict.fromkeys(registers, 2)
    result = sampler_result(np.random.default_rng(3), sizes, 50, sweep)
    store = RunStore(tmp_path)
    store.write_header(header())
    write_batch(store)
    write_partition(store, 0, 0, [SamplerPub.coerce((circuit, values, 50))])
    store.write_job(outcome(0, [result]))
    path = export(store.seal("complete", keep_parts=False), "netcdf").path
    with xr.open_datatree(path) as tree, netCDF4.Dataset(path):
        (group,) = tree["main"].children.values()
        found = {}
        for name, variable in group.data_vars.items():
            if variable.dtype == np.uint8:
                found[variable.attrs["register"]] = variable.values[0]
                assert group[f"{name}_counts"].sum() == 50 * (sweep or (1,))[0]
    assert list(found) == list(registers)
    for name in registers:
        assert np.array_equal(found[name], result.data[name].to_bool_array("little"))


FIELDS = st.lists(
    st.from_regex(r"(a|ab|field_[0-4]|pub|sweep_0)(_(bit|counts|outcome|shot|axis_0|real)){0,2}"),
    unique=True,
    max_size=6,
)


@given(FIELDS)
def test_no_two_variables_or_dimensions_get_one_name(fields: list[str]) -> None:
    ends = ("", "_counts", "_outcome", "_bit", "_shot", "_axis_0", "_axis_1", "_real", "_imag")
    made = [f"{name}{end}" for name in distinct_names(fields) for end in ends]
    assert len(made) == len(set(made))
    assert not {"pub", "shot", "circuit", "sweep_0"} & set(made)


def test_a_name_is_changed_only_where_it_has_to_be() -> None:
    assert distinct_names(["meas", "meas_bits", "c", "c_bit"]) == [
        *("meas", "meas_bits", "c", "field_3"),
    ]


def test_parameters_have_no_units(exported: Path) -> None:
    with netCDF4.Dataset(exported) as file:
        values = file["energy/evs-stds-2x2/parameter_value"]
        assert "units" not in values.ncattrs()
        assert values.long_name == "value of the parameter"


def test_a_partial_run_names_the_pubs_that_it_has(partial: Path) -> None:
    with netCDF4.Dataset(export(partial, "netcdf").path) as file:
        (group,) = file["states"].groups.values()
        assert group["pub"][...].tolist() == [0]
        assert (file.status, int(file["states"].num_pubs)) == ("partial", 2)


def test_blocks_of_pubs_are_put_together(complete: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexp.export.netcdf._BLOCK_BYTES", 1)
    with (
        xr.open_datatree(export(complete, "netcdf").path) as tree,
        qexp.open_archive(complete) as run,
    ):
        for index, result in enumerate(run.results["energy"]):
            evs = tree["energy/evs-stds-2x2/evs"].sel(pub=index)
            assert np.array_equal(evs, result.data.evs)


def test_a_full_disk_is_noticed_before_hdf5_writes(
    complete: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=1000))
    with pytest.raises(ArchiveError, match=r"^Cannot write .*: it takes up to .* MB are free"):
        export(complete, "netcdf")
    assert [path.name for path in complete.parent.iterdir()] == ["run.h5"]


@given(st.integers(1, 10), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_bits_and_counts_are_qiskits(num_bits: int, shots: int, seed: int) -> None:
    raw = np.random.default_rng(seed).integers(0, 256, (2, shots, -(-num_bits // 8)), np.uint8)
    # The unused leading bits of a shot mean nothing.
    raw[..., 0] &= 0xFF >> (-num_bits % 8)
    bits = BitArray(raw, num_bits)
    assert np.array_equal(unpacked(bits), bits.to_bool_array("little"))
    for point in range(2):
        counts = counted(bits)[point]
        expected = bits[point].get_int_counts()
        assert {int(k): int(counts[k]) for k in np.flatnonzero(counts)} == expected
