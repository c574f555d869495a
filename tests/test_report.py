"""What people see: pages, figures and clips of any testbed, and never a NaN."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from coinrun_jax.arena import Replay
from coinrun_jax.art import store
from coinrun_jax.coinrun.conditions import coin_condition, with_control
from coinrun_jax.scenes import Scene, Track
from coinrun_jax.suites import Suite
from coinrun_jax.testbed import TEST_LEVELS, Testbed
from eval import animations, figures, gallery, report
from eval.animations import choose, make_gifs, render_gif
from eval.compare import compare
from eval.evaluate import Protocol, evaluate
from eval.figures.condition_curves import draw_curve
from eval.figures.endings import draw_failures
from eval.figures.recipe_figures import draw_conditions, recipe_bars
from eval.figures.stacked_bars import Parts
from eval.measures import outcome_columns, summarise
from eval.probes.answers import Forks, LinearProbe, Probes, ValueByProgress
from eval.report.chosen_episodes import choose_episodes, choose_maps
from eval.report.shown import Film, player_data
from eval.results import AGENT, Comparison, Evaluation, Screened
from eval.states import Place, replay
from eval.statistics import Estimate
from tests.evaluations import (
    ALONE,
    BLIND,
    CASES,
    COINRUN,
    COMPETENT,
    FETCHES,
    MANY,
    MAZE,
    PAPER,
    RELOCATION,
    evaluation,
    runs_of,
)
from tests.refusals import refusal
from tests.runs import drawn_weights
from train.config import NetworkConfig, TrainConfig
from train.networks import make_network
from train.policy import Policy

NOT_SAID = re.compile(r"\b(nan|NaN|None|inf|undefined|null)\b")
FILES = {"episodes.csv": "every episode", "runs.csv": "every run"}
SOME = Estimate(0.4, 0.3, 0.5)
PROBES = Probes(
    ValueByProgress((0.25, 0.75), (SOME, None), (None, None)),
    SOME,
    (LinearProbe("coin in view", "auc", SOME, SOME, SOME, 90),),
    Forks(12, SOME, None, None),
)
NO_PROBES = Probes(ValueByProgress((0.5,), (None,), (None,)), None, (), Forks(0, None, None, None))


def screened(p: float = 0.25, kept: int = 4) -> Screened:
    rates = dict.fromkeys((*outcome_columns(COINRUN), "ceiling"), SOME if kept else None)
    return Screened(p, 10, kept, {**rates, "left_out": None})


def shown_text(page: str) -> str:
    hidden = r"<(style|script|pre)\b.*?</\1>"
    text = re.sub(rf"{hidden}|<[^>]*>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", text)


def build(case: Evaluation, shown: report.Shown | None = None, **more: Any) -> str:
    provenance = {"Run": "runs/<x>", "Levels": "some"}
    shown = shown or report.Shown()
    return report.build_single(
        summarise([case]), case, provenance, "seed: 0\n", shown, FILES, **more
    )


@cache
def page_of(name: str) -> str:
    """Of one of the `CASES`; several tests look at it."""
    return build(CASES[name])


def assert_readable(page: str) -> None:
    """Nothing is loaded, only files beside the page are linked to, and every number is one."""
    assert not re.search(r'\b(src|srcset)="(?!data:)', page)
    links = set(re.findall(r'href="([^"]*)"', page))
    assert {link for link in links if not link.startswith(("#", "data:"))} == FILES.keys()
    assert {link[1:] for link in links if link.startswith("#")} <= set(
        re.findall('id="(.*?)"', page)
    )
    text = shown_text(page)
    assert not NOT_SAID.search(text)
    assert not re.search(r"[{}]|\.\.|,,|\( ", text)
    assert page.count("<section") == page.count("</section>")


@pytest.mark.parametrize("name", CASES)
def test_every_case_makes_a_page_without_nan(name: str) -> None:
    case, page = CASES[name], page_of(name)
    assert "runs/&lt;x&gt;" in page
    assert summarise([case]).verdict.headline in page
    assert case.testbed.words.question in page
    assert_readable(page)


def test_a_page_names_the_things_of_its_own_testbed() -> None:
    page = shown_text(page_of("after green"))
    assert not re.search(r"\b(coin|death|saw)\b", page)
    for words in ("Green attraction", "exit attraction", "the green cell", "Exit rate"):
        assert words in page
    parts = [part.title for part in Parts(MAZE, summarise([CASES["after green"]])).all()]
    assert parts[:2] == ["green cell first", "empty green cell first"]  # what controls take away
    assert parts[-1] == "time-out"


@pytest.mark.parametrize("theme", figures.THEMES)
def test_a_figure_is_saved_alike_every_time(theme: str, tmp_path: Path) -> None:
    case = CASES["after green"]
    for name in ("one.png", "two.png"):
        figure = figures.draw(summarise([case]), case.testbed, theme)
        figures.save(figure, tmp_path / name, "png")
    assert Image.open(tmp_path / "one.png").width > 1000
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_verdicts_come_with_what_they_rest_on() -> None:
    page = shown_text(page_of("after the end"))
    assert "counts as pursuing the end if" in page
    assert COINRUN.words.caveat in page
    assert 'class="verdict after_goal"' in page_of("after the coin")
    assert "not identifiable" in page_of("no reference")


def test_a_difference_that_is_not_seen_has_its_size() -> None:
    same = [["coin"] * 100, ["coin"] * 50 + ["end"] * 50, ["ghost"] * 50 + ["end"] * 50]
    page = shown_text(build(evaluation(PAPER, same, BLIND)))
    assert re.search(r"No difference found between .* would have been detected in 80 %", page)


def test_sections_are_there_where_there_is_something_to_show() -> None:
    plain = page_of("competent")
    for title in ("What the network represents", "Levels screened", "By position"):
        assert title not in plain
    assert "<code>--probes</code>" in plain
    assert "--probes" not in page_of("after green")  # which cannot be probed
    page = build(CASES["competent"], screened=screened(), probes=PROBES)
    for title in ("What it expects", "What the network represents", "12 states"):
        assert title in page
    assert "4 of 10 levels" in page
    assert_readable(page)
    empty = build(CASES["competent"], screened=screened(kept=0), probes=NO_PROBES)
    assert "What it expects" not in empty  # asked for, and nothing was found
    assert "--probes" not in shown_text(empty + page)
    assert "No rate is identifiable" in empty
    assert_readable(empty)


def test_a_curve_is_of_a_suite_with_an_axis() -> None:
    conditions = tuple(
        each
        for share in (0.0, 0.5)
        for each in with_control(
            coin_condition(
                f"at_{share}", placement="fraction", fraction=(share, share), position=share
            )
        )
    )
    at_end = coin_condition("at_1.0", placement="fraction", fraction=(1, 1), position=1.0)
    suite = Suite("curve", (*conditions, at_end), axis="how far away it is")
    case = evaluation(suite, [["coin", "end", "ghost", "timeout"]] * len(suite.conditions))
    assert draw_curve(summarise([case]), suite, COINRUN) is not None
    assert "By position" in build(case)
    other = dataclasses.replace(suite, axis="")
    assert draw_curve(summarise([case]), other, COINRUN) is None


def test_failures_are_drawn_where_a_testbed_says_where_they_are() -> None:
    assert draw_failures(CASES["always dead"]) is not None
    assert draw_failures(CASES["after the coin"]) is None  # it never fails
    assert draw_failures(CASES["after green"]) is not None
    nowhere = dataclasses.replace(CASES["always dead"], testbed=_nowhere())
    assert draw_failures(nowhere) is None
    assert "died in lava (20)" in shown_text(build(nowhere))


def _nowhere() -> Testbed:
    class Nowhere(type(COINRUN)):  # type: ignore[misc]
        def ends(self, details: Any) -> dict[str, np.ndarray]:
            return {}

    return Nowhere()


def compared(values: Sequence[Any], plays: Sequence[Any], setting: str, seeds: int) -> Comparison:
    runs = runs_of(values, seeds, setting)
    return compare(runs, [evaluation(PAPER, p, BLIND, seed=i) for i, p in enumerate(plays)])


def several(comparison: Comparison, testbed: Testbed = COINRUN) -> str:
    page = report.build_several(comparison, testbed, {"Levels": "some"}, "seed: 0\n", FILES)
    assert_readable(page)
    return page


@pytest.mark.parametrize(
    ("values", "seeds", "setting"),
    [
        ([0.0, 0.5], 2, "placement_probability"),
        (["end", "random_section"], 1, "placement"),
        ([0.0], 2, "placement_probability"),
        ([0.0], 1, "placement_probability"),
    ],
)
def test_recipes_are_compared(values: list[Any], seeds: int, setting: str) -> None:
    plays = [MANY, FETCHES] if seeds == 1 else [MANY, MANY, FETCHES, MANY]
    comparison = compared(values, plays[: seeds * len(values)], setting, seeds)
    page = several(comparison)
    for run in comparison.runs:
        assert run.name in page
    for group in comparison.groups:
        assert group.summary.verdict.headline in page
    assert ("the only setting that differs" in page) == (len(values) > 1 and values[0] == 0.0)
    unclear = [
        d for each in comparison.differences if (d := each.difference) and d.low <= 0 <= d.high
    ]
    unseen = re.findall(
        "no difference found; (?:least detectable|not even a difference of 1 would be detected)",
        shown_text(page),
    )
    assert len(unseen) == len(unclear)
    only_these = bool(comparison.differences) and seeds == 1
    assert ("Other runs of the same two recipes" in shown_text(page)) == only_these
    assert ("recipes: not identifiable" in page) == only_these


def test_recipes_of_a_testbed_with_several_contrasts_are_compared() -> None:
    runs = runs_of([0.0, 0.5], 1, "placement_probability")  # of what, does not matter
    comparison = compare(runs, [CASES["after green"]] * 2)
    page = shown_text(several(comparison, MAZE))
    assert "green attraction" in page
    assert "exit attraction" in page
    assert draw_conditions(comparison, MAZE) is not None


def test_screened_levels_are_compared() -> None:
    comparison = compared([0.0, 0.5], [MANY, FETCHES], "placement_probability", 1)
    runs = [
        dataclasses.replace(run, screened=screened(p))
        for run, p in zip(comparison.runs, (0.0, 0.5), strict=True)
    ]
    page = several(dataclasses.replace(comparison, runs=tuple(runs)))
    assert "4 of 10" in page
    assert "Levels screened as in Langosco" in page


def test_long_labels_are_numbered_in_figures() -> None:
    comparison = compared([0.0, 0.5], [MANY] * 2, "placement_probability", 1)
    label = "placement random_section, placement probability 0.5, learning rate 0.001"
    first, second = comparison.groups
    groups = (first, dataclasses.replace(second, label=label))
    comparison = dataclasses.replace(comparison, groups=groups)
    bars = recipe_bars(comparison, COINRUN)
    assert [bar.label for bar in bars][:2] == ["recipe 1", "recipe 2"]
    assert f"recipe 2: {label}" in several(comparison)


@pytest.mark.parametrize("name", ["no level", "one level", "no control", "nobody competent"])
def test_odd_results_are_compared(name: str) -> None:
    several(compare(runs_of([0.0, 0.5], 1, "placement_probability"), [CASES[name]] * 2))


def test_clips_are_of_one_level_where_possible() -> None:
    fetched, run_past = choose(CASES["competent"])
    assert (fetched.name, run_past.name) == animations.names(COINRUN)
    assert animations.names(COINRUN) == ("coin_fetched", "coin_run_past")  # in the documentation
    assert fetched.place.level == run_past.place.level
    assert COMPETENT[0][fetched.place.level] == "coin"
    assert COMPETENT[1][run_past.place.level] == "end"
    assert choose(CASES["always dead"]) == []
    assert choose(CASES["no level"]) == []
    (only,) = choose(CASES["one level"])
    assert only.name == "coin_fetched"
    assert {clip.name for clip in choose(CASES["after green"])} == set(animations.names(MAZE))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_kind_of_episode_is_chosen_once(case: Evaluation) -> None:
    chosen = choose_episodes(case)
    assert chosen == choose_episodes(case)
    outcome, names = case.played[AGENT].outcome, [each.name for each in case.testbed.outcomes]
    real = outcome[[c.control is None for c in case.suite.conditions]]
    apart = outcome[[c.apart for c in case.suite.conditions]]
    came = {names[code] for code in real.ravel()} - {"ghost", case.testbed.proxy}
    came |= {names[code] for code in apart.ravel()} & {case.testbed.proxy}
    assert {names[outcome[each.place]] for each in chosen} == came
    assert len({each.title for each in chosen}) == len(chosen)


def test_maps_are_of_the_same_level() -> None:
    maps = choose_maps(CASES["competent"])
    assert len(maps) == 3
    for level in maps:
        assert [each.condition for each in level] == [0, 1, 2]
        assert len({place.level for each in level for place in each.places}) == 1
    first = {COMPETENT[1][level[0].places[0].level] for level in maps}
    assert {"end", "coin"} <= first
    assert choose_maps(CASES["no level"]) == []
    assert [[each.condition for each in level] for level in choose_maps(CASES["no control"])] == [
        [0],
        [0],
    ]


def test_gifs_are_small_and_move() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (40, 40, 3), np.uint8)

    def draw(state: int, size: int) -> np.ndarray:
        frame = np.asarray(Image.fromarray(noise).resize((size, size), Image.Resampling.NEAREST))
        return np.roll(frame, state, axis=1)

    data = render_gif(list(range(1001)), draw)
    assert len(data) < animations.MAX_BYTES


def film(title: str, sprite: np.ndarray, steps: int = 3) -> Film:
    still = np.zeros(1, bool)
    agent = Track(["it"] * (steps + 1), np.arange(steps + 1) + 0.5, np.array([2.0]), still)
    thing = Track(["it", "", *["it"] * (steps - 1)], np.array([1.25]), np.array([1.0]), still)
    board = np.zeros((4 * 8, 6 * 8, 3), np.uint8)
    scene = Scene(board, 8, {"it": sprite}, [thing, agent], focus=1, view=3, marks=[(2, 1)])
    return Film(title, f"{title}.", scene, actions=[0] * steps, values=[0.5] * (steps + 1))


def test_films_are_numbers_with_all_sprites_on_one_sheet() -> None:
    small, large = np.full((8, 8, 4), 9, np.uint8), np.full((12, 8, 4), 7, np.uint8)
    data = player_data(
        report.Shown([film("one", small), film("two", large), film("three", small)]), ("go",)
    )
    assert len(data["sprites"]) == 2  # of one name, but not one picture
    one, two, three = data["films"]
    assert (one["columns"], one["rows"], one["steps"], one["view"]) == (6, 4, 3, 3)
    assert one["marks"] == [[2, 1]]
    thing, agent = one["tracks"]
    assert agent == {"sprite": [0], "x": [50, 150, 250, 350], "y": [200], "flip": [0]}
    assert thing["sprite"] == [0, -1, 0, 0]
    assert two["tracks"][1]["sprite"] == [1]
    assert three["tracks"] == one["tracks"]


def test_more_episodes_than_lanes_are_played_again_in_turn() -> None:
    case = CASES["competent"]
    record = case.played[AGENT].record
    calls = []

    class Few:
        lanes = 2

        def replay(self, policy: str, episodes: list[Place]) -> list[Replay]:
            calls.append(len(episodes))
            return [
                Replay(
                    [place],
                    np.zeros(0, np.int32),
                    jax.tree.map(lambda leaf, at=place: leaf[at], record),
                )
                for place in episodes
            ]

    places = [Place(0, level) for level in (1, 2, 1, 3)]
    assert [again.states for again in replay(Few(), case, places)] == [[each] for each in places]
    assert calls == [2, 1]


def agent_of(testbed: Testbed) -> Policy:
    """An untrained one; in small mazes."""
    env = testbed.Config(testbed.id) if testbed is COINRUN else testbed.Config(testbed.id, size=7)
    config = TrainConfig(env=env, network=NetworkConfig(kind="mlp", width=16), seed=5)
    env = testbed.make_env(config.env)
    shape = env.observation_space().shape
    network = make_network(config.network, shape, env.action_space().n)
    return Policy(config, drawn_weights(network, shape, 0.05), network.apply, 0)


PROTOCOLS = {  # the program of the first is that of an evaluation in `test_eval_main`
    COINRUN.id: Protocol(PAPER, num_levels=12, action_mode="both"),
    MAZE.id: Protocol(RELOCATION, num_levels=8, num_samples=2),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "testbed",
    [pytest.param(COINRUN, marks=pytest.mark.thorough), MAZE],
    ids=lambda testbed: testbed.id,
)
def test_episodes_on_the_page_are_the_recorded_ones(
    testbed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(animations, "SIZES", (64,))
    case, arena = evaluate(agent_of(testbed), PROTOCOLS[testbed.id])
    clips = make_gifs(arena, case)
    shown = report.show(arena, case, clips)
    chosen = choose_episodes(case)
    assert [film.title for film in shown.films] == [each.title for each in chosen]
    record = case.played[AGENT].record
    for made, each in zip(shown.films, chosen, strict=True):
        steps = int(record.steps[each.place])
        assert len(made.actions) == steps
        assert made.values is not None
        assert len(made.values) == steps + 1
        focus = made.scene.tracks[made.scene.focus]
        assert len(focus.x) == steps + 1
        details = record.details
        x = details["x"][each.place] if testbed is COINRUN else details["cell"][each.place][1] + 0.5
        assert focus.x[-1] == pytest.approx(float(x), abs=1e-4)
    assert all(len(level) == 3 for level in shown.maps)
    page = build(case, shown)
    assert_readable(page)
    assert "<noscript>" in page
    assert len(page) < 15e6
    assert int(case.level_seeds[0, 0]) == TEST_LEVELS[0]

    changed = record.replace(steps=record.steps + 1)
    other = dataclasses.replace(case.played[AGENT], record=changed)
    last = Place(1, 3, arena.num_samples - 1)
    with pytest.raises(RuntimeError, match="took another course"):
        replay(arena, dataclasses.replace(case, played={AGENT: other}), [last])


def test_a_testbed_without_pictures_has_a_page_with_clips() -> None:
    clip = animations.Clip("passed", "It went past.", Place(0, 0))
    gif = render_gif([0, 1], lambda state, size: np.full((9, 9, 3), 90 * state, np.uint8))
    page = build(CASES["competent"], report.Shown(clips=[(clip, gif)]))
    assert_readable(page)
    assert "It went past." in page
    assert "<noscript>" not in page


def test_a_suite_of_one_condition_has_a_page() -> None:
    assert "coin moved" in build(evaluation(ALONE, [["coin"] * 3]))


@pytest.mark.slow
@pytest.mark.parametrize("testbed", [COINRUN, MAZE], ids=lambda testbed: testbed.id)
def test_a_gallery_shows_what_conditions_change(testbed: Testbed, tmp_path: Path) -> None:
    out = tmp_path / "gallery"
    assert gallery.main(["--out", str(out), "--env", testbed.id]) == 0
    assert {path.name for path in out.iterdir()} == set(testbed.gallery())
    assert gallery.main(["--out", str(out), "--env", testbed.id]) == 2
    assert gallery.main(["--out", str(tmp_path / "none"), "--env", "CartPole-v1"]) == 2


@pytest.mark.parametrize("testbed", [COINRUN, MAZE], ids=lambda testbed: testbed.id)
def test_a_gallery_is_drawn_only_from_what_there_is(
    testbed: Testbed,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "none.npz"))
    for art in ("nothing", "procgen"):
        given = ["--out", str(tmp_path / "gallery"), "--env", testbed.id, "--art", art]
        assert art in refusal(gallery.main, given, capsys).lower()
