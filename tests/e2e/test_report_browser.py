"""Reports in a real browser: a headless Chromium, from disk, in every width and colour scheme."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from qexp.report.write import write_report
from tests.e2e.conftest import _command
from tests.unit.report.hostile import write_hostile

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDTHS = {"phone": 390, "desktop": 1280}
MOST_BYTES = 2_000_000

pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None and "CI" not in os.environ,
        reason="there is no Chromium on this machine (Debian: apt-get install chromium)",
    ),
    # One browser and one set of pages for all.
    pytest.mark.xdist_group("chromium"),
]


@dataclass
class Shown:
    """A page that is open, and what the browser said of it."""

    page: Any
    address: str
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def evaluate(self, script: str) -> Any:
        return self.page.evaluate(script)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages by name: of a run, of sweeps of 2 and 12, of an Estimator's run, of a stranger's."""
    folder = tmp_path_factory.mktemp("report")
    cli = companion = _command(folder)
    size = ("circuits.num_circuits=14", "partition.max_circuits=5", "primitive.shots=300")
    for command in (
        ("-m", "experiment=random_sampling", "circuits.depth=2,4", *size),
        ("experiment=ising", "circuits.num_qubits=3", "primitive.precision=0.05"),
        (
            *(
                "-m",
                "experiment=mirror_circuits",
                "circuits.num_circuits=3",
                "circuits.num_qubits=2",
            ),
            *("circuits.depths=1,4,8,16", "primitive.shots=100,200,400", "sweep/analysis=decay"),
            *("sweep.analysis.decay.over=circuits.depths", "sweep.analysis.decay.floor=0.25"),
        ),
    ):
        done = cli(*command)
        assert done.code == 0, done.err
    sweep = next((folder / "work" / "outputs" / "random_sampling").iterdir())
    (ising,) = (folder / "work" / "outputs" / "ising").iterdir()
    (folder / "hostile").mkdir()
    write_hostile(folder / "hostile")
    (grid,) = (folder / "work" / "outputs" / "mirror_circuits").iterdir()
    given = {"run": min(path.parent for path in sweep.rglob("run.h5")), "estimator": ising}
    given |= {"hostile": folder / "hostile", "sweep": sweep, "grid": grid}
    for each in (given["run"], grid):
        done = companion("report", str(each))
        assert done.code == 0, done.err
    for name in ("estimator", "hostile", "sweep"):
        write_report(given[name])
    return {name: path / "report.html" for name, path in given.items()}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    assert CHROMIUM, "CI needs a Chromium: apt-get install chromium"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield running
        running.close()


def show(browser: Any, path: Path, width: int = 1280, scheme: str = "light") -> Shown:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    shown = Shown(page, path.resolve().as_uri())
    page.on("console", lambda message: shown.messages.append(message.text))
    page.on("pageerror", lambda error: shown.messages.append(str(error)))
    page.on("request", lambda request: shown.requests.append(request.url))
    page.on("dialog", lambda dialog: shown.messages.append(dialog.message))
    page.goto(shown.address)
    # Everything that is folded is laid out too.
    shown.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    return shown


OUTSIDE = """() => [...document.querySelectorAll('svg text')].flatMap(text => {
  const box = text.getBoundingClientRect(), frame = text.ownerSVGElement.getBoundingClientRect();
  if (!box.width) return [];
  const out = Math.max(frame.left - box.left, box.right - frame.right,
                       frame.top - box.top, box.bottom - frame.bottom);
  return out > 2 ? [`${text.textContent} by ${out.toFixed(1)} px`] : [];
})"""
COVERED = """() => [...document.querySelectorAll('svg.plot, svg.device')].flatMap(svg => {
  const seen = [];
  for (const kind of ['.tick', '.axis']) {
    const boxes = [...svg.querySelectorAll(kind)]
      .map(text => [text.textContent, text.getBoundingClientRect()]);
    boxes.forEach(([name, a], k) => boxes.slice(k + 1).forEach(([other, b]) => {
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (a.width && b.width && wide > 1 && high > 3) seen.push(`${name} / ${other}`);
    }));
  }
  return seen;
})"""
FIGURES = """() => [...document.querySelectorAll('figure')].map(figure => {
  const drawn = [...figure.querySelectorAll('svg, table')]
    .filter(each => each.getBoundingClientRect().width);
  const box = (drawn[0] || figure).getBoundingClientRect();
  return [figure.innerText.slice(0, 40), drawn.length, box.width, box.height];
})"""
LEAST_FIGURES = {"run": 12, "estimator": 8, "hostile": 8, "sweep": 3, "grid": 10}
NAMES = sorted(LEAST_FIGURES)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_a_page_shows_all_its_figures_and_asks_for_nothing(
    browser: Any, pages: dict[str, Path], name: str, width: str, scheme: str
):
    shown = show(browser, pages[name], WIDTHS[width], scheme)
    assert shown.messages == []
    assert shown.requests == [shown.address]
    figures = shown.evaluate(FIGURES)
    assert len(figures) >= LEAST_FIGURES[name]
    for title, count, wide, high in figures:
        assert count >= 1, title
        assert wide > 60, title
        assert high > 30, title
    scroll, inner = shown.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert scroll <= inner
    assert shown.evaluate(OUTSIDE) == []
    if name != "hostile":
        assert shown.evaluate(COVERED) == []
    shown.page.context.close()


LUMINANCE = """colour => {
  const [r, g, b] = colour.match(/[0-9.]+/g).slice(0, 3)
    .map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}"""
INKS = "() => [...new Set([...document.querySelectorAll('%s')].map(e => getComputedStyle(e).%s))]"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_the_page(browser: Any, pages: dict[str, Path], scheme: str):
    shown = show(browser, pages["run"], scheme=scheme)
    background = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    ground = shown.page.evaluate(LUMINANCE, background)
    assert (ground < 0.05) == (scheme == "dark")
    inks = shown.evaluate(INKS % ("p, h1, h2, td, dd, figcaption", "color"))
    inks += shown.evaluate(INKS % ("svg.plot text, svg.circuit .wire-name", "fill"))
    for ink in inks:
        light, dark = sorted((shown.page.evaluate(LUMINANCE, ink), ground), reverse=True)
        # WCAG 2.2, 1.4.3: contrast of texts.
        assert (light + 0.05) / (dark + 0.05) >= 4.5, ink
    shown.page.context.close()


def test_a_stranger_s_texts_run_nothing(browser: Any, pages: dict[str, Path]):
    shown = show(browser, pages["hostile"])
    assert shown.evaluate("typeof window.hacked") == "undefined"
    assert shown.evaluate("document.scripts.length + document.images.length") == 0
    assert "window.hacked=1" in shown.page.inner_text("h1")
    for link in shown.page.query_selector_all("a"):
        link.click()
    assert shown.evaluate("typeof window.hacked") == "undefined"
    assert shown.messages == []
    shown.page.context.close()


def test_the_policy_would_stop_a_script(browser: Any, pages: dict[str, Path], tmp_path: Path):
    source = pages["run"].read_text(encoding="utf-8")
    page = tmp_path / "page.html"
    page.write_text(source.replace("</body>", "<script>window.hacked = 1</script></body>"))
    shown = show(browser, page)
    assert shown.evaluate("typeof window.hacked") == "undefined"
    assert any("Content Security Policy" in message for message in shown.messages)
    shown.page.context.close()


def test_a_sweep_leads_to_the_page_of_a_run_and_tips_are_there(
    browser: Any, pages: dict[str, Path]
):
    shown = show(browser, pages["sweep"])
    shown.page.click("td a")
    assert shown.page.url == pages["run"].resolve().as_uri()
    tips = shown.evaluate("document.querySelectorAll('svg rect title, svg circle title').length")
    assert tips > 100
    shown.page.context.close()


def test_it_prints_on_white_paper_even_in_the_dark(browser: Any, pages: dict[str, Path]):
    shown = show(browser, pages["run"], scheme="dark")
    shown.page.emulate_media(media="print", color_scheme="dark")
    background = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    assert shown.page.evaluate(LUMINANCE, background) > 0.95
    printed = shown.page.pdf(prefer_css_page_size=True)
    assert printed.startswith(b"%PDF")
    assert shown.messages == []
    shown.page.context.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_small(pages: dict[str, Path], name: str):
    assert pages[name].stat().st_size < MOST_BYTES
