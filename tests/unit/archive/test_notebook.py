"""The HTML of an archive: what is in it, and that nothing of the archive can act in it."""

from __future__ import annotations

from pathlib import Path

import pytest

import qexp
from tests.archives import header, sampler_jobs, write_run

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    store = write_run(tmp_path / "a run", sampler_jobs([2, 1]))
    store.write_header(header(backend={**header().backend, "name": HOSTILE}))
    return store.seal("complete", keep_parts=False)


def test_it_shows_the_run_as_text(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent.parent)
    html = qexp.open_archive(path)._repr_html_() or ""
    for text in ("random_sampling 20260101-abc", "complete, 3 of 3 PUBs", "2 of 2 done", "a run/"):
        assert text in html
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert "href" not in html


def test_it_links_the_report(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent.parent)
    path.with_name("report.html").touch()
    html = qexp.open_archive(path)._repr_html_() or ""
    assert '<a href="a%20run/report.html" target="_blank">report.html</a>' in html


def test_a_closed_archive_is_shown_by_its_repr(path: Path) -> None:
    run = qexp.open_archive(path)
    run.close()
    assert run._repr_html_() is None
    assert repr(run) == f"<Archive closed: {path}>"
