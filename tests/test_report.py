"""What people read: sensible words for every kind of result, and never a NaN."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from coinrun_jax import TEST_LEVELS
from eval import animations, figures, report, table
from eval.animations import FETCHED, RUN_PAST, choose, make_gifs, render_gif
from eval.comparison import compare
from eval.episodes import COLUMNS, write_episodes
from eval.evaluate import Protocol, evaluate
from eval.figures.placement_curve import draw_placement_curve
from eval.figures.recipes import recipe_bars
from eval.outcomes import OUTCOMES
from eval.repeat import Place, replay, thoughts_of
from eval.report.choice import choose_episodes, choose_maps
from eval.results import AGENT, Evaluation
from eval.rollout import Replay
from eval.runs import Run
from eval.suites import Condition, Suite, with_control
from eval.summary import MEASURES, summarise
from tests.evaluations import ALONE, BLIND, CASES, COMPETENT, FETCHES, MANY, PAPER, evaluation
from train.config import EnvConfig, NetworkConfig, TrainConfig
from train.networks import make_network
from train.policy import Policy

NOT_SAID = re.compile(r"\b(nan|NaN|None|inf|undefined|null)\b")
FILES = {"episodes.csv": "every episode", "runs.csv": "every run"}
SOME = {"estimate": 0.4, "low": 0.3, "high": 0.5}
PROBES = {
    "value_by_position": {
        "share": [0.25, 0.75],
        "coin_seen": [SOME, None],
        "coin_away": [None] * 2,
    },
    "value_gap": SOME,
    "linear": [
        {"target": "coin seen", "measure": "auc", "samples": 90}
        | dict.fromkeys(("score", "shuffled", "untrained"), SOME)
    ],
    "forks": {"states": 12, "towards_coin": SOME, "towards_coin_without": None, "shift": None},
}
NO_PROBES = {
    "value_by_position": {"share": [0.5], "coin_seen": [None], "coin_away": [None]},
    "value_gap": None,
    "linear": [],
    "forks": {"states": 0, "towards_coin": None, "towards_coin_without": None, "shift": None},
}
PUBLISHED = {"levels": 10, "kept": 4} | dict.fromkeys(("coin", "end", "death", "timeout"), SOME)
PUBLISHED |= {"ceiling": SOME, "coin_left_out": None}


@pytest.fixture(params=CASES, name="case")
def _case(request: pytest.FixtureRequest) -> Evaluation:
    return CASES[request.param]


def shown_text(page: str) -> str:
    hidden = r"<(style|script|pre)\b.*?</\1>"
    return re.sub(rf"{hidden}|<[^>]*>", " ", page, flags=re.DOTALL)


def build(case: Evaluation, shown: report.Shown | None = None, **more: Any) -> str:
    summary = {**summarise([case]), **more}
    provenance = {"Run": "runs/<x>", "Levels": "some"}
    return report.build_single(
        summary, case, provenance, "seed: 0\n", shown or report.Shown(), FILES
    )


def assert_readable(page: str) -> None:
    """Nothing is loaded, only files beside the page are linked to, and every number is one."""
    assert not re.search(r'\b(src|srcset)="(?!data:)', page)
    links = set(re.findall(r'href="([^"]*)"', page))
    assert {link for link in links if not link.startswith(("#", "data:"))} == FILES.keys()
    assert {link[1:] for link in links if link.startswith("#")} <= set(
        re.findall('id="(.*?)"', page)
    )
    assert not NOT_SAID.search(shown_text(page))
    assert page.count("<section") == page.count("</section>")


def test_every_case_makes_a_page_without_nan(case: Evaluation) -> None:
    summary = summarise([case])
    text = json.dumps(summary, allow_nan=False)
    assert json.loads(text) == summary
    page = build(case)
    assert "runs/&lt;x&gt;" in page
    assert summary["verdict"]["headline"] in page
    assert_readable(page)
    for rows, columns in (
        (table.outcome_rows(summary), table.OUTCOME_COLUMNS),
        (table.measure_rows(summary), table.MEASURE_COLUMNS),
    ):
        assert not NOT_SAID.search(table.plain(rows, columns))


def test_every_case_makes_a_figure_in_both_themes(case: Evaluation, tmp_path: Path) -> None:
    for theme in figures.THEMES:
        path = tmp_path / f"{theme}.png"
        figures.save(figures.draw(summarise([case]), theme), path, "png")
        assert Image.open(path).width > 1000


def test_verdicts_come_with_what_they_rest_on() -> None:
    page = build(CASES["after the end"])
    assert "It is after the end if" in page
    assert "not why" in page
    assert "after_coin" in build(CASES["after the coin"])
    assert "cannot be said" in build(CASES["no reference"])


def test_a_difference_that_is_not_seen_has_its_size() -> None:
    same = [["coin"] * 100, ["coin"] * 50 + ["end"] * 50, ["ghost"] * 50 + ["end"] * 50]
    page = shown_text(build(evaluation(PAPER, same, BLIND)))
    assert re.search(r"No difference found between .* would have been found four times", page)


def test_sections_are_there_where_there_is_something_to_show() -> None:
    plain = build(CASES["competent"])
    for title in ("What the network knows", "As published", "coin along the way"):
        assert title not in plain
    assert "Evaluated with <code>--probes</code>" in plain
    page = build(CASES["competent"], probes=PROBES, published=PUBLISHED)
    for title in ("What it expects", "What the network knows", "As published"):
        assert title in page
    assert "12 states" in page
    assert "4 of 10 levels" in page
    assert_readable(page)
    empty = build(CASES["competent"], probes=NO_PROBES, published=PUBLISHED | {"kept": 0})
    assert "What it expects" not in empty  # asked for, and nothing was found
    assert "--probes" not in shown_text(empty + page)
    assert "Nothing can be said" in empty
    assert_readable(empty)


def test_the_placement_curve_is_of_its_suite() -> None:
    conditions = tuple(
        each
        for share in (0.0, 0.5)
        for each in with_control(
            Condition(f"at_{share}", placement="fraction", fraction=(share, share))
        )
    )
    at_end = Condition("at_1.0", placement="fraction", fraction=(1, 1))
    suite = Suite("curve", (*conditions, at_end))
    case = evaluation(suite, [["coin", "end", "ghost", "timeout"]] * len(suite.conditions))
    assert draw_placement_curve(suite, summarise([case])) is not None
    assert "along the way" in build(case)
    assert draw_placement_curve(PAPER, summarise([CASES["competent"]])) is None


def runs_of(probabilities: list[Any], seeds: int, setting: str) -> list[Run]:
    """Runs of recipes that differ in one setting of the environment."""
    return [
        Run(
            f"runs/{value}/{seed}",
            Policy(TrainConfig(env=EnvConfig(**{setting: value}), seed=seed), None, None, 1),  # type: ignore[arg-type]
        )
        for value in probabilities
        for seed in range(seeds)
    ]


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
    runs = runs_of(values, seeds, setting)
    plays = [MANY, FETCHES] if seeds == 1 else [MANY, MANY, FETCHES, MANY]
    cases = [evaluation(PAPER, p, BLIND, seed=i) for i, p in enumerate(plays[: len(runs)])]
    comparison = compare(runs, cases)
    page = report.build_several(comparison, PAPER, {"Levels": "some"}, "seed: 0\n", FILES)
    assert_readable(page)
    for run in runs:
        assert run.name in page
    for group in comparison["groups"]:
        assert group["verdict"]["headline"] in page
    assert ("the only setting that differs" in page) == (len(values) > 1 and values[0] == 0.0)
    unclear = [
        each
        for each in comparison["differences"]
        if (d := each["difference"]) and d["low"] <= 0 <= d["high"]
    ]
    unseen = re.findall("no difference found; (?:least|none up to 1) detectable", shown_text(page))
    assert len(unseen) == len(unclear)
    only_these = bool(comparison["differences"]) and seeds == 1
    assert ("Other runs of the same two recipes" in page) == only_these


@pytest.mark.parametrize(
    ("sizes", "of_recipes"), [((1, 1), False), ((3, 1), False), ((2, 2), True)]
)
def test_single_runs_say_nothing_of_recipes(sizes: tuple[int, int], of_recipes: bool) -> None:
    """However much they differ: other runs of the two recipes may differ the other way."""
    runs = [
        run
        for value, seeds in zip((0.0, 0.5), sizes, strict=True)
        for run in runs_of([value], seeds, "placement_probability")
    ]
    plays = [MANY] * sizes[0] + [FETCHES] * sizes[1]
    cases = [evaluation(PAPER, play, BLIND, seed=i) for i, play in enumerate(plays)]
    comparison = compare(runs, cases)
    assert {each["of_recipes"] for each in comparison["differences"]} == {of_recipes}
    clear = next(each for each in comparison["differences"] if each["measure"] == "coin_attraction")
    assert clear["difference"]["low"] > 0
    words = "higher"
    if not of_recipes:
        words = "these runs on these levels: higher; recipes: cannot be said"
    page = report.build_several(comparison, PAPER, {}, "", FILES)
    assert f"<td>{words}</td>" in page
    assert f", {words}\n" in table.comparison_lines(comparison) + "\n"


def test_long_labels_are_numbered_in_figures() -> None:
    runs = runs_of([0.0, 0.5], 1, "placement_probability")
    comparison = compare(runs, [CASES["competent"]] * 2)
    label = "placement random_section, placement probability 0.5, learning rate 0.001"
    comparison["groups"][1]["label"] = label
    assert [bar.label for bar in recipe_bars(comparison)][:2] == ["recipe 1", "recipe 2"]
    page = report.build_several(comparison, PAPER, {}, "", FILES)
    assert f"recipe 2: {label}" in page


@pytest.mark.parametrize("name", ["no level", "one level", "no control", "nobody competent"])
def test_odd_results_are_compared(name: str) -> None:
    runs = runs_of([0.0, 0.5], 1, "placement_probability")
    comparison = compare(runs, [CASES[name]] * 2)
    page = report.build_several(comparison, CASES[name].suite, {}, "", FILES)
    assert_readable(page)


def test_summary_by_hand() -> None:
    end, moved, control = summarise([CASES["competent"]])["conditions"]
    assert set(MEASURES) < set(moved)
    assert end["coin"]["estimate"] == 0.9
    assert end["goal_misgeneralisation"] is None  # the coin and the end are one
    assert end["accidental"] is None
    assert moved["capability_robustness"]["estimate"] == 0.9
    assert moved["goal_misgeneralisation"]["estimate"] == pytest.approx(6 / 9)
    assert moved["accidental"]["estimate"] == 0
    assert moved["coin_attraction"]["estimate"] == pytest.approx(0.3)
    assert control["coin"] is None
    assert control["accidental"]["estimate"] == 0
    for row in (end, moved, control):
        first = row["coin"] or row["accidental"]
        parts = [first, row["end"], row["death"], row["timeout"]]
        assert sum(part["estimate"] for part in parts) == pytest.approx(1)
        assert all(p["low"] <= p["estimate"] <= p["high"] for p in parts)


def test_episodes_file(tmp_path: Path) -> None:
    path = tmp_path / "episodes.csv"
    write_episodes(CASES["competent"], path)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 3 * 3 * 10
    moved = [r for r in rows if r["policy"] == AGENT and r["condition"] == "random_section"]
    assert [r["outcome"] for r in moved] == COMPETENT[1]
    assert moved[4] == {
        "policy": "agent",
        "condition": "random_section",
        "level_seed": "1004",
        "sample": "0",
        "train_seed": "3",
        "p_train": "0.25",
        "placement": "random_section",
        "coin_x": "9",
        "coin_y": "2",
        "end_x": "20",
        "end_y": "4",
        "outcome": "end",
        "first_event_step": "50",
        "steps": "50",
        "return": "0.0",
        "touched_ghost": "0",
        "touched_item": "0",
        "coin_distance": "2.0",
        "x": "9.667",
        "y": "2.5",
    }
    assert {r["placement"] for r in rows if r["condition"] == "end"} == {"end"}
    assert {r["train_seed"] for r in rows if r["policy"] != AGENT} == {""}


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (0.8714, False, ".871"),
        (1.0, False, "1.000"),
        (-0.0123, False, "-.012"),
        (-0.0001, False, ".000"),
        (-2.5, False, "-2.500"),
        (0.25, True, "+.250"),
        (-0.25, True, "-.250"),
    ],
)
def test_numbers(value: float, signed: bool, text: str) -> None:
    assert table.number(value, signed) == text


def test_clips_are_of_one_level_where_possible() -> None:
    fetched, run_past = choose(CASES["competent"])
    assert (fetched.name, run_past.name) == (FETCHED, RUN_PAST)
    assert fetched.place.level == run_past.place.level
    assert COMPETENT[0][fetched.place.level] == "coin"
    assert COMPETENT[1][run_past.place.level] == "end"
    assert choose(CASES["always dead"]) == []
    assert choose(CASES["no level"]) == []
    (only,) = choose(CASES["one level"])
    assert only.name == FETCHED


def test_every_kind_of_episode_is_chosen_once(case: Evaluation) -> None:
    chosen = choose_episodes(case)
    assert chosen == choose_episodes(case)
    outcome = case.played[AGENT].outcome
    came = {OUTCOMES[code] for code in outcome[[c.present for c in case.suite.conditions]].ravel()}
    assert {OUTCOMES[outcome[each.place]] for each in chosen} == came - {"ghost"}
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


@pytest.mark.slow
def test_episodes_on_the_page_are_the_recorded_ones() -> None:
    config = TrainConfig(network=NetworkConfig(kind="mlp", width=16), seed=5)
    network = make_network(config.network, (1357,), 15)
    params = network.init(jax.random.key(0), np.zeros((1, 1357), np.float32))
    policy = Policy(config, params, network.apply, 0)
    case, arena = evaluate(policy, Protocol(PAPER, num_levels=8, num_samples=2))
    shown = report.show(arena, case, make_gifs(arena, case))
    chosen = choose_episodes(case)
    assert [film.title for film in shown.films] == [each.title for each in chosen]
    record = case.played[AGENT].record
    for film, each in zip(shown.films, chosen, strict=True):
        data, steps = film.data, int(record.steps[each.place])
        assert data["steps"] == steps
        assert len(data["x"]) == len(data["pose"]) == len(data["values"]) == steps + 1
        assert len(data["actions"]) == steps
        assert data["x"][-1] == round(float(record.x[each.place]) * 100)
        assert data["coin"]["cell"] == record.coin_cell[each.place].tolist()
    assert all(len(level) == 3 for level in shown.maps)
    page = build(case, shown)
    assert_readable(page)
    assert "<noscript>" in page
    assert len(page) < 15e6
    assert int(case.level_seeds[0, 0]) == TEST_LEVELS[0]

    place = Place(1, 3, 1)
    (again,) = replay(arena, case, [place])
    thoughts = thoughts_of(arena, place, again.states)
    assert thoughts is not None
    before = case.played[AGENT].record
    changed = dataclasses.replace(before, steps=before.steps + 1)
    other = dataclasses.replace(case.played[AGENT], record=changed)
    with pytest.raises(RuntimeError, match="did not repeat itself"):
        replay(arena, dataclasses.replace(case, played={AGENT: other}), [place])


def test_more_episodes_than_lanes_are_played_again_in_turn() -> None:
    case = CASES["competent"]
    record = case.played[AGENT].record
    calls = []

    class Few:
        lanes = 2

        def replay(self, policy: str, episodes: list[Place]) -> list[Replay]:
            calls.append(len(episodes))
            return [
                Replay([place], jax.tree.map(lambda leaf, at=place: leaf[at], record))
                for place in episodes
            ]

    places = [Place(0, level) for level in (1, 2, 1, 3)]
    assert [again.states for again in replay(Few(), case, places)] == [[each] for each in places]
    assert calls == [2, 1]


@pytest.mark.parametrize(
    "conditions",
    [
        (),
        (Condition("a", "a", "end"), Condition("a", "a", "end")),
        (Condition("a", "a", "end"), Condition("b", "b", "end", present=False, control_of="c")),
        (Condition("a", "a", "end"), Condition("b", "b", "end", control_of="a")),
    ],
)
def test_suites_that_make_no_sense_are_refused(conditions: Any) -> None:
    with pytest.raises(ValueError, match="suite 'bad'"):
        Suite("bad", conditions)


def test_a_suite_of_one_condition_has_a_page() -> None:
    assert "coin moved" in build(evaluation(ALONE, [["coin"] * 3]))
