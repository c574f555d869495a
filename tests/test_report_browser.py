"""The page in a browser: everything loads, the player can be stepped and played by keyboard."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval import report
from eval.animations import Clip
from eval.comparison import compare
from eval.states import Place
from eval.report.maps import DrawnMap
from eval.report.pictures import webp
from eval.report.player import UNIT, Film
from eval.summary import summarise
from tests.browser import NAMES, Page, find_browser, open_browser
from tests.evaluations import CASES, PAPER
from tests.test_report import FILES, PROBES, PUBLISHED, runs_of

pytestmark = pytest.mark.skipif(
    find_browser() is None, reason=f"none of {', '.join(NAMES)} is installed"
)
STEPS = 30
COLUMNS, ROWS, TILE = 40, 16, 8
SIZES = {"laptop": (1280, 800), "phone": (390, 844)}
MOST_SECONDS, MOST_BYTES = 2.0, 15e6
BROKEN = """[...document.images].filter(each => !each.complete || each.naturalWidth === 0).length"""
HIDDEN = """[...document.querySelectorAll("figure img, table, canvas")]
    .filter(each => each.getClientRects().length === 0 || each.clientHeight < 10).length"""
OPEN = "document.querySelectorAll('details').forEach(each => { each.open = true })"
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Of the canvas: how many of its pixels are painted, and a number that changes with any of them.
PAINTED = """(() => {
  const stage = document.getElementById("stage");
  const copy = new OffscreenCanvas(stage.width, stage.height)
    .getContext("2d", { willReadFrequently: true });
  copy.drawImage(stage, 0, 0);
  const { data } = copy.getImageData(0, 0, stage.width, stage.height);
  let painted = 0, sum = 0;
  for (let i = 0; i < data.length; i += 4) {
    painted += data[i + 3] > 0;
    sum = (sum * 31 + data[i] + 3 * data[i + 1] + 7 * data[i + 2]) % 1000003;
  }
  return [painted / (data.length / 4), sum];
})()"""
# Contrast of every text with what lies behind it (WCAG 2).
CONTRAST = """(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = rgb(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  let least = [21, ""];
  for (const element of document.querySelectorAll("main *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || element.disabled || !element.getClientRects().length) continue;
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < least[0]) least = [ratio, element.outerHTML.slice(0, 80)];
  }
  return least;
})()"""


def film(title: str, seed: int) -> Film:
    """An agent that walks to the right past a coin, an enemy and an item."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(40, 200, (ROWS * TILE, COLUMNS * TILE, 3), np.uint8)
    way = np.linspace(3, 30, STEPS + 1)
    data: dict[str, Any] = {
        "about": f"{title}: it reaches the end of the level.",
        "steps": STEPS,
        "picture": webp(picture),
        "columns": COLUMNS,
        "rows": ROWS,
        "theme": seed,
        "x": (way * UNIT).astype(int).tolist(),
        "y": [2 * UNIT] * (STEPS + 1),
        "right": "1" * (STEPS + 1),
        "pose": "012" * 10 + "0",
        "coin": {"cell": [5, 2], "look": "gold", "there": seed == 0, "until": 20 if seed else None},
        "items": [{"cell": [6, 2], "look": "gem", "there": "1" * (STEPS + 1)}],
        "enemies": [{"look": 2, "y": 200, "x": [700] * (STEPS + 1), "right": "0" * (STEPS + 1)}],
        "actions": [7] * STEPS,
        "values": way.round(2).tolist() if seed == 0 else None,
    }
    return Film(title, data)


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pages: of one agent and of several."""
    folder = tmp_path_factory.mktemp("pages")
    case = CASES["after the end"]
    picture = webp(np.full((160, 640, 3), 90, np.uint8))
    gif = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(gif, format="GIF")
    shown = report.Shown(
        films=[film("Coin run past", 0), film("Coin fetched", 1)],
        clips=[(Clip("coin_run_past", "Coin moved: run past.", Place(1, 0)), gif.getvalue())],
        maps=[[DrawnMap(7, "Coin moved: end reached.", picture, 640, 160)] * 3],
    )
    summary = {**summarise([case]), "probes": PROBES, "published": PUBLISHED}
    single = report.build_single(summary, case, {"Run": "run"}, "seed: 0\n", shown, FILES)
    (folder / "single.html").write_text(single, encoding="utf-8")
    comparison = compare(runs_of([0.0, 0.5], 1, "placement_probability"), [case] * 2)
    for run, p in zip(comparison["runs"], (0.0, 0.5), strict=True):
        run["published"] = PUBLISHED | {"p_train": p}
    several = report.build_several(comparison, PAPER, {"Levels": "some"}, "seed: 0\n", FILES)
    (folder / "several.html").write_text(several, encoding="utf-8")
    return folder


@pytest.fixture(scope="module", name="page")
def _page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with open_browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["single", "several"])
def test_everything_is_there_and_can_be_read(
    page: Page, folder: Path, name: str, size: str, scheme: str
) -> None:
    path = folder / f"{name}.html"
    page.look(*SIZES[size], scheme)
    seconds = min(page.open(path) for _ in range(2))
    page.evaluate(OPEN)
    assert page.evaluate(BROKEN) == 0
    assert page.evaluate("document.images.length") >= 3
    assert page.evaluate(HIDDEN) == 0
    assert page.evaluate(TOO_WIDE) == 0
    ratio, where = page.evaluate(CONTRAST)
    assert ratio >= 4.5, where
    assert page.problems() == []
    assert seconds < MOST_SECONDS
    assert path.stat().st_size < MOST_BYTES


def step_of(page: Page) -> int:
    return int(page.evaluate("document.getElementById('step').value"))


def said(page: Page) -> str:
    return page.evaluate("document.getElementById('now').textContent")


def focus(page: Page, name: str) -> None:
    page.evaluate(f"document.getElementById('{name}').focus()")


@pytest.fixture(name="player")
def _player(page: Page, folder: Path) -> Page:
    page.look(*SIZES["laptop"], "light")
    page.open(folder / "single.html")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_player_moves_when_stepped(player: Page, scheme: str) -> None:
    player.look(*SIZES["laptop"], scheme)
    share, before = player.evaluate(PAINTED)
    assert share == 1
    focus(player, "stage")
    player.press("ArrowRight")
    assert step_of(player) == 1
    assert said(player).startswith(f"Step 1 of {STEPS}")
    after = player.evaluate(PAINTED)[1]
    assert after != before
    player.press("ArrowLeft")
    assert player.evaluate(PAINTED)[1] == before
    player.press("End")
    assert step_of(player) == STEPS
    assert "decided" in said(player)
    player.press("ArrowRight")
    assert step_of(player) == STEPS
    player.press("Home")
    assert step_of(player) == 0
    assert player.problems() == []


def test_the_player_plays_and_pauses_by_keyboard_and_never_by_itself(player: Page) -> None:
    time.sleep(0.3)
    assert step_of(player) == 0
    focus(player, "stage")
    player.press(" ")
    assert player.evaluate("document.getElementById('play').textContent") == "Pause"
    while step_of(player) == 0:
        time.sleep(0.01)
    player.press(" ")
    paused = step_of(player)
    assert paused < STEPS
    time.sleep(0.3)
    assert step_of(player) == paused
    assert player.evaluate("scrollY") == player.evaluate("(scrollBy(0, 0), scrollY)")
    player.press("End")
    player.press(" ")  # from the start again
    assert step_of(player) == 0
    player.press(" ")
    assert player.problems() == []


def test_native_controls_keep_their_keys(player: Page) -> None:
    focus(player, "forward")
    player.press(" ")
    assert step_of(player) == 1
    focus(player, "step")
    player.press("ArrowRight")
    assert step_of(player) == 2
    focus(player, "play")
    player.press(" ")
    assert player.evaluate("document.getElementById('play').textContent") == "Pause"
    player.press(" ")
    assert player.evaluate("document.getElementById('play').textContent") == "Play"
    focus(player, "whole")
    near = player.evaluate(PAINTED)[1]
    player.press(" ")
    assert player.evaluate("document.getElementById('whole').checked")
    assert player.evaluate(PAINTED)[1] != near
    player.press("Tab")
    player.evaluate("document.querySelector('[data-film=\"1\"]').focus()")
    player.press(" ")
    assert player.evaluate("document.getElementById('about').textContent").startswith(
        "Coin fetched"
    )
    assert step_of(player) == 0
    assert player.evaluate("document.getElementById('values').hidden")
    assert player.problems() == []


def test_recordings_remain_without_scripts(page: Page, folder: Path) -> None:
    page.look(*SIZES["laptop"], "light")
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(folder / "single.html")
        assert "needs JavaScript" in page.evaluate("document.querySelector('main').innerText")
        assert page.evaluate("document.querySelector('.clips img').naturalWidth") == 64
        assert page.evaluate("document.getElementById('player').getClientRects().length") == 0
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)
