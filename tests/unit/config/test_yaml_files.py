from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from qexp.config.yaml_files import read_config_text
from qexp.errors import ConfigError
from tests.unit.config.conftest import composed


def written(folder: Path, content: bytes) -> Path:
    path = folder / "mine.yaml"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("a: [1:30]", "1: 1:30 would be read as 90"),
        ("a: 1\nb: {c: 12:30:45}", "2: 12:30:45 would be read as 45045"),
        ("a: 1:30.5", "1: 1:30.5 would be read as 90.5"),
        ("a: &x [-0_10]\nb: *x", "1: -0_10 would be read as -8"),
        ("010: a", "1: 010 would be read as 8"),
    ],
)
def test_a_number_of_another_base_is_refused(tmp_path: Path, text: str, refused: str):
    path = written(tmp_path, text.encode())
    with pytest.raises(ConfigError) as info:
        read_config_text(path)
    assert f"{path}:{refused} (YAML 1.1); quote it" in str(info.value)


@pytest.mark.parametrize(
    "text",
    [
        "a: '1:30'",
        'a: ["010"]',
        "a: 0",
        "a: 0.1",
        "a: 0x1f",
        "a: x1:30",
        "a: 1:99",
        "# 1:30",
        "a: [",
    ],
)
def test_anything_else_is_taken_as_it_is(tmp_path: Path, text: str):
    assert read_config_text(written(tmp_path, text.encode())) == text


@given(number=st.from_regex(r"[-+]?[0-9_:.]{1,7}", fullmatch=True))
def test_no_number_is_read_as_another(tmp_path_factory: pytest.TempPathFactory, number: str):
    """Whatever is not refused is read as its digits say."""
    path = written(tmp_path_factory.getbasetemp(), f"a: {number}".encode())
    try:
        text = read_config_text(path)
        value = OmegaConf.to_container(OmegaConf.create(text))["a"]  # type: ignore[index, call-overload]
    except (ConfigError, yaml.YAMLError):
        return
    if isinstance(value, int | float):
        assert float(value) == float(number.replace("_", ""))


def test_text_that_is_not_utf_8_names_its_line(tmp_path: Path):
    path = written(tmp_path, b"a: 1\nb: caf\xe9")
    with pytest.raises(ConfigError, match=f"^{path}:2: not UTF-8 text; save the file as UTF-8$"):
        read_config_text(path)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_files_as_windows_editors_write_them(own_process: None, mark: bytes, line_end: bytes):
    Path("conf/experiment").mkdir(parents=True)
    text = b"# @package _global_\ndefaults: [override /circuits: ghz]\nseed: 7\n"
    Path("conf/experiment/mine.yaml").write_bytes(mark + text.replace(b"\n", line_end))
    config = composed("experiment=mine")
    assert (config.seed, config.circuits.num_qubits) == (7, 5)
