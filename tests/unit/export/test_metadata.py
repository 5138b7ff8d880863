from __future__ import annotations

from pathlib import Path

import pytest

from qexp.errors import ConfigError
from qexp.export.metadata import combine, read_metadata


def test_a_file_comes_before_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("license: CC0-1.0\ncreators: [{name: Ada}]\n")
    found = read_metadata(file, ["license=CC-BY-4.0", "metadata.keywords=[a, b]"])
    assert found == {
        "license": "CC-BY-4.0",
        "creators": [{"name": "Ada"}],
        "keywords": ["a", "b"],
    }
    file.write_text("metadata: {license: CC0-1.0}\n")
    assert read_metadata(file, []) == {"license": "CC0-1.0"}
    assert read_metadata(None, []) == {}


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("a: [", [], r"^--metadata .*lab\.yaml: it is not valid YAML"),
        ("- 1", [], r"^--metadata .*lab\.yaml: it must be a mapping"),
        ("{}", ["license"], r"^--set license: write KEY=VALUE"),
        ("{}", ["creators=[{"], r"^--set creators: it is not valid YAML"),
    ],
)
def test_unreadable_metadata_are_one_line(
    text: str, settings: list[str], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_metadata(file, settings)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_metadata(tmp_path / "nothing.yaml", [])


@pytest.mark.parametrize(
    ("at_export", "message"),
    [
        ({"licence": "CC0-1.0"}, r"^metadata\.licence: unknown key; did you mean 'license'\?"),
        ({"creators": [{"name": "A", "orcid": "1"}]}, r"^metadata\.creators\.0\.orcid: got '1'"),
        ({"title": 3}, r"^metadata\.title: got 3"),
    ],
)
def test_a_mistake_is_named_as_in_the_config(at_export: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        combine({"title": "Archived"}, at_export)


def test_metadata_at_export_replace_archived_metadata() -> None:
    known = combine({"title": "Archived", "license": "CC0-1.0"}, {"license": "CC-BY-4.0"})
    assert (known.title, known.license) == ("Archived", "CC-BY-4.0")
