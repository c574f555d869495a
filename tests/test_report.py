"""What people read: sensible words for every kind of result, and never a NaN."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval import animations, figures, report, table
from eval.animations import FETCHED, RUN_PAST, Clip, choose, render_gif
from eval.outcomes import OUTCOMES, Record
from eval.results import (
    AGENT,
    COLUMNS,
    MEASURES,
    Evaluation,
    Played,
    summarise,
    write_episodes,
)
from eval.suites import SUITES, Condition, Suite

RELOCATION = SUITES["relocation"]
END_CELL, MOVED_CELL = (20, 4), (9, 2)
ALONE = Suite("alone", (Condition("moved", "coin moved", placement="random_section"),))


def play(suite: Suite, outcomes: list[list[str]]) -> Played:
    """A policy with the given outcomes by condition and level."""
    codes = np.array([[OUTCOMES.index(name) for name in levels] for levels in outcomes], np.int8)
    codes = codes.reshape(len(suite.conditions), -1, 1)
    steps = np.full(codes.shape, 50, np.int32)
    cells = [END_CELL if c.coin_at == "end" else MOVED_CELL for c in suite.conditions]
    present = [c.present for c in suite.conditions]
    record = Record(
        coin_present=np.broadcast_to(np.array(present)[:, None, None], codes.shape),
        coin_cell=np.broadcast_to(np.array(cells)[:, None, None], (*codes.shape, 2)),
        coin_step=np.where(codes == OUTCOMES.index("coin"), steps, 0),
        ghost_step=np.where(codes == OUTCOMES.index("ghost"), steps, 0),
        end_step=np.where(codes == OUTCOMES.index("end"), steps, 0),
        cause=np.zeros_like(steps),
        steps=steps,
        total_reward=10.0 * (codes == OUTCOMES.index("coin")),
        coin_distance=np.full(codes.shape, 2.0),
    )
    return Played(record, codes, steps)


def evaluation(suite: Suite, *policies: list[list[str]]) -> Evaluation:
    """The first policy is the agent, the second the reference to beat."""
    num_levels = len(policies[0][0])
    names = (AGENT, "right_jump", "random")
    return Evaluation(
        suite=suite,
        played={n: play(suite, p) for n, p in zip(names, policies, strict=False)},
        level_seeds=np.arange(1000, 1000 + num_levels),
        end_cells=np.broadcast_to(END_CELL, (num_levels, 2)),
        train_seed=3,
        p_train=0.25,
    )


COMPETENT = [["coin"] * 9 + ["death:saw"], ["coin"] * 3 + ["end"] * 6 + ["timeout"], ["end"] * 10]
DEAD = [["death:lava"] * 10] * 3
CASES = {
    "competent": evaluation(RELOCATION, COMPETENT, DEAD, DEAD),
    "always dead": evaluation(RELOCATION, DEAD, COMPETENT, DEAD),
    "one level": evaluation(RELOCATION, [["coin"], ["coin"], ["ghost"]], [["end"]] * 3),
    "no level": evaluation(RELOCATION, [[], [], []], [[], [], []]),
    "no reference": evaluation(RELOCATION, COMPETENT),
    "no control": evaluation(ALONE, [["coin", "end"]], [["end", "end"]]),
    "nobody competent": evaluation(ALONE, [["death:saw", "timeout"]], [["timeout"] * 2]),
}


@pytest.fixture(params=CASES, name="case")
def _case(request: pytest.FixtureRequest) -> Evaluation:
    return CASES[request.param]


def shown_text(page: str) -> str:
    return re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)


def test_every_case_makes_a_page_without_nan(case: Evaluation) -> None:
    summary = summarise(case)
    text = json.dumps(summary, allow_nan=False)
    assert json.loads(text) == summary
    page = report.build(summary, {"Run": "runs/<x>", "Levels": "some"}, "seed: 0\n", [])
    assert "runs/&lt;x&gt;" in page
    assert not re.search(r"\b(nan|None|inf)\b", shown_text(page), re.IGNORECASE)
    for rows, columns in (
        (table.outcome_rows(summary), table.OUTCOME_COLUMNS),
        (table.measure_rows(summary), table.MEASURE_COLUMNS),
    ):
        assert not re.search(r"\b(nan|None|inf)\b", table.plain(rows, columns), re.IGNORECASE)


def test_every_case_makes_a_figure_in_both_themes(case: Evaluation, tmp_path: Path) -> None:
    for theme in figures.THEMES:
        path = tmp_path / f"{theme}.png"
        figures.save(figures.draw(summarise(case), theme), path, "png")
        assert Image.open(path).width > 1000


def test_summary_by_hand() -> None:
    end, moved, control = summarise(CASES["competent"])["conditions"]
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


def test_competence_is_judged_against_the_reference() -> None:
    assert "not clearly competent" not in table.competence_line(summarise(CASES["competent"]))
    assert "not clearly competent" in table.competence_line(summarise(CASES["always dead"]))
    assert "cannot be said" in table.competence_line(summarise(CASES["no reference"]))


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
        "coin_distance": "2.0",
    }
    assert {r["placement"] for r in rows if r["condition"] == "end"} == {"end"}
    assert {r["train_seed"] for r in rows if r["policy"] != AGENT} == {""}
    with pytest.raises(FileExistsError):
        write_episodes(CASES["competent"], path)


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
    assert fetched.level == run_past.level
    assert COMPETENT[0][fetched.level] == "coin"
    assert COMPETENT[1][run_past.level] == "end"
    assert choose(CASES["always dead"]) == []
    assert choose(CASES["no level"]) == []
    (only,) = choose(CASES["one level"])
    assert only.name == FETCHED


def test_gifs_are_small_and_move() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (40, 40, 3), np.uint8)

    def draw(state: int, size: int) -> np.ndarray:
        frame = np.asarray(Image.fromarray(noise).resize((size, size), Image.Resampling.NEAREST))
        return np.roll(frame, state, axis=1)

    data = render_gif(list(range(1001)), draw)
    assert len(data) < animations.MAX_BYTES
    page = report.build(
        summarise(CASES["competent"]), {}, "", [(Clip(FETCHED, "fetched", 0, 0), data)]
    )
    assert "data:image/gif;base64," in page
    assert not re.search(r'(src|href|srcset)="(?!data:)', page)  # self-contained


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
