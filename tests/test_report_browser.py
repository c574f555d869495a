"""The page in a browser: everything loads, the player can be stepped and played by keyboard."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from coinrun_jax.scenes import Scene, Track
from eval import report
from eval.animations import Clip, render_gif
from eval.compare import compare
from eval.measures import summarise
from eval.microscope.examination import Layer
from eval.microscope.fields import Field
from eval.microscope.scope import Look
from eval.report.inside import Inside, Moment
from eval.report.shown import Aged, DrawnMap, Film
from eval.states import Place
from tests.browser import NAMES, Page, find_browser, open_browser
from tests.evaluations import CASES, COINRUN, runs_of
from tests.test_report import FILES, PROBES, screened

pytestmark = pytest.mark.skipif(
    find_browser() is None, reason=f"none of {', '.join(NAMES)} is installed"
)
STEPS = 30
GIF = render_gif([0, 1], lambda state, size: np.full((64, 64, 3), 90 * state, np.uint8))
COLUMNS, ROWS, TILE = 40, 16, 8
SIZES = {"laptop": (1280, 800), "phone": (390, 844)}
MOST_SECONDS, MOST_BYTES = 2.0, 15e6
BROKEN = """[...document.images].filter(each => !each.complete || each.naturalWidth === 0).length"""
HIDDEN = """[...document.querySelectorAll("figure img, table, canvas")]
    .filter(each => each.getClientRects().length === 0 || each.clientHeight < 10).length"""
OPEN = """document.querySelectorAll('details').forEach(each => { each.open = true });
document.getElementById('look-inside')?.click()"""
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


def film(title: str, seed: int, view: float | None = 13) -> Film:
    """An agent that walks to the right, past a thing that is taken and another that stays."""
    rng = np.random.default_rng(seed)
    board = rng.integers(40, 200, (ROWS * TILE, COLUMNS * TILE, 3), np.uint8)
    sprites = {
        name: np.full((height, TILE, 4), colour, np.uint8)
        for name, height, colour in (("agent", 10, 255), ("thing", TILE, 160))
    }
    way, still = np.linspace(3, 30, STEPS + 1), np.zeros(1, bool)
    taken = [*["thing"] * 20, *[""] * (STEPS - 19)]
    tracks = (
        Track(taken if seed else ["thing"], np.array([5.5]), np.array([2.5]), still),
        Track(["agent"] * (STEPS + 1), way, np.full(STEPS + 1, 2.5), np.ones(STEPS + 1, bool)),
    )
    scene = Scene(board, TILE, sprites, tracks, focus=1, view=view, marks=[(7, 2)])
    values = way.round(2).tolist() if seed == 0 else None
    looked_into = inside() if seed == 0 else None
    return Film(title, f"{title}: the end.", scene, [7] * STEPS, values, looked_into)


def inside() -> Inside:
    """Two moments; at the second one there is no coin."""
    draws = np.random.default_rng(0)
    cells = np.argwhere(np.ones((12, 8), bool)).astype(np.int32)
    ps = np.full((96, 15), 1 / 15, np.float32)
    moves = draws.normal(size=(96, 2)).clip(-1, 1)
    fields = [
        Field(name, cells, draws.random(96).astype(np.float32), ps, moves)
        for name in ("coin", "agent")
    ]

    def look(value: float) -> Look:
        logits = np.arange(15, dtype=np.float32)[None]
        return Look(np.zeros((1, 4)), logits, np.float32([value]), {})

    layers = [Layer("hidden_1", 0.5, 1.0, 1.0), Layer("hidden_2", 0.25, 1.0, None)]
    moments = [
        Moment(0, fields, look(2.5), look(1.25), layers),
        Moment(STEPS - 1, fields[1:], look(3.5), None, []),
    ]
    return Inside({"coin": "coin", "agent": "agent"}, moments)


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages of one agent and of several, and one of a testbed whose board is seen whole."""
    folder = tmp_path_factory.mktemp("pages")
    case, maze = CASES["after the end"], CASES["after green"]
    films = [film("Coin run past", 0), film("Coin fetched", 1)]
    shown = report.Shown(
        films=films,
        ages=[
            Aged("0 steps", [film("Early one", 2), film("Early other", 3)]),
            Aged("1M steps", films),
        ],
        clips=[(Clip("coin_run_past", "Coin moved: run past.", Place(1, 0)), GIF)],
        maps=[[DrawnMap(7, "Coin moved: end reached.", np.full((160, 640, 3), 90, np.uint8))] * 3],
    )
    square = report.Shown(
        films=[film("Green first", 0, view=None)],
        maps=[[DrawnMap(7, "Green: exit found.", np.full((160, 160, 3), 90, np.uint8))] * 3],
    )
    for name, each, seen, more in (
        ("single", case, shown, (screened(), PROBES)),
        ("maze", maze, square, ()),
    ):
        page = report.build_single(
            summarise([each]), each, {"Run": "run"}, "seed: 0\n", seen, FILES, *more
        )
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    comparison = compare(runs_of([0.0, 0.5], 1, "placement_probability"), [case] * 2)
    runs = [
        dataclasses.replace(run, screened=screened(p))
        for run, p in zip(comparison.runs, (0.0, 0.5), strict=True)
    ]
    comparison = dataclasses.replace(comparison, runs=tuple(runs))
    several = report.build_several(comparison, COINRUN, {"Levels": "some"}, "seed: 0\n", FILES)
    (folder / "several.html").write_text(several, encoding="utf-8")
    return folder


@pytest.fixture(scope="module", name="page")
def _page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with open_browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["single", "maze", "several"])
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
    assert said(player).startswith(f"Step 1 of {STEPS} · action: {COINRUN.action_titles[7]}")
    after = player.evaluate(PAINTED)[1]
    assert after != before
    player.press("ArrowLeft")
    assert player.evaluate(PAINTED)[1] == before
    player.press("End")
    assert step_of(player) == STEPS
    assert "decided" in said(player)
    assert "action" not in said(player)
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


def text_of(page: Page, name: str) -> str:
    return page.evaluate(f"document.getElementById('{name}').textContent")


def test_the_player_looks_inside_by_keyboard(player: Page) -> None:
    before = player.evaluate(PAINTED)[1]
    assert player.evaluate("document.getElementById('inside').hidden")
    focus(player, "look-inside")
    player.press(" ")
    assert not player.evaluate("document.getElementById('inside').hidden")
    field = player.evaluate(PAINTED)[1]
    assert field != before
    assert text_of(player, "inside-moment") == "Step 0. Value estimate 2.50, without the coin 1.25."
    rows = "document.querySelectorAll('#inside-layers tr').length"
    assert player.evaluate(rows) == 2
    player.evaluate("document.querySelector('input[name=field]:checked').focus()")
    player.press("End")
    assert step_of(player) == STEPS
    assert "There is no coin." in text_of(player, "inside-moment")
    player.press("Home")
    player.evaluate("document.querySelector('input[name=field][value=agent]').click()")
    assert player.evaluate(PAINTED)[1] not in (before, field)
    player.evaluate("document.querySelector('input[name=field][value=\"\"]').click()")
    assert player.evaluate(PAINTED)[1] == before
    player.evaluate("document.querySelector('[data-film=\"1\"]').click()")
    assert player.evaluate("document.getElementById('look-inside').hidden")
    assert player.evaluate("document.getElementById('inside').hidden")
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


def test_the_slider_over_training_shows_the_same_episode_earlier(player: Page) -> None:
    def about() -> str:
        return player.evaluate("document.getElementById('about').textContent")

    def trained() -> str:
        return player.evaluate("document.getElementById('trained').textContent")

    late = player.evaluate(PAINTED)[1]
    assert trained() == "1M steps"
    focus(player, "stage")
    player.press("ArrowRight")
    focus(player, "age")
    player.press("ArrowLeft")
    assert trained() == "0 steps"
    assert about().startswith("Early one")
    assert step_of(player) == 1  # at the same moment
    player.evaluate("document.querySelector('[data-film=\"1\"]').click()")
    assert about().startswith("Early other")
    focus(player, "age")
    player.press("ArrowRight")
    assert about().startswith("Coin fetched")
    player.evaluate("document.querySelector('[data-film=\"0\"]').click()")
    assert player.evaluate(PAINTED)[1] == late
    assert player.problems() == []


def test_a_board_that_is_seen_whole_has_no_choice_of_view(page: Page, folder: Path) -> None:
    page.look(*SIZES["laptop"], "light")
    page.open(folder / "maze.html")
    assert page.evaluate("document.getElementById('wide').getClientRects().length") == 0
    shape = page.evaluate("(s => s.clientWidth / s.clientHeight)(document.getElementById('stage'))")
    assert shape == pytest.approx(COLUMNS / ROWS, rel=0.02)
    assert page.evaluate(PAINTED)[0] == 1


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
