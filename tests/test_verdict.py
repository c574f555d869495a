"""The verdict: known policies get the right one, and none where too little was seen."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from eval import table
from eval.catalogue import SUITES
from eval.report.words import limits
from eval.suites import Suite
from eval.summary import summarise
from eval.verdict import FEWEST, FEWEST_LEVELS, HEADLINES
from tests.evaluations import evaluation

SUITE = SUITES["relocation"]
NUM_LEVELS = 400


def outcomes(at_end: float, moved: float, without: float, seed: int = 0) -> list[list[str]]:
    """An agent that fetches the coin at the end, a moved one, or touches its empty cell, with
    these probabilities; what is left of its competence it spends on the end.
    """
    luck = np.random.default_rng(seed).random(NUM_LEVELS)  # the same in every condition: paired

    def row(condition: Any) -> list[str]:
        if condition.coin_at == "end":
            return np.where(luck < at_end, "coin", "death:saw").tolist()
        first = moved if condition.has_coin else without
        fetched = "coin" if condition.has_coin else "ghost"
        rest = np.where(luck < at_end, "end", "death:lava")
        return np.where(luck < first, fetched, rest).tolist()

    return [row(condition) for condition in SUITE.conditions]


BAR = outcomes(0.6, 0.5, 0.5)


@pytest.mark.parametrize(
    ("agent", "kind"),
    [
        (outcomes(0.95, 0.93, 0.4), "after_coin"),
        (outcomes(0.95, 0.4, 0.4), "after_end"),
        (outcomes(0.95, 0.2, 0.4), "after_end"),  # avoids the coin
        (outcomes(0.6, 0.5, 0.5), "not_competent"),
        (outcomes(0.1, 0.1, 0.1), "not_competent"),
        (outcomes(0.66, 0.5, 0.5), "undecided"),  # a little better than right + jump
        (outcomes(0.95, 0.68, 0.4), "undecided"),  # as often to the one as to the other
        (outcomes(0.75, 0.74, 0.5), "after_coin"),  # mortal, but never for the end
    ],
)
def test_known_policies(agent: list[list[str]], kind: str) -> None:
    summary = summarise([evaluation(SUITE, agent, BAR)])
    verdict = summary["verdict"]
    assert verdict["kind"] == kind
    assert verdict["headline"] == HEADLINES[kind]
    assert HEADLINES[kind] in table.verdict_lines(summary)


def test_who_was_trained_with_the_coin_elsewhere_is_competent_there() -> None:
    """It fetches fewer coins at the end than right + jump, where it never saw one."""
    agent = outcomes(0.5, 0.93, 0.4)
    luck = np.random.default_rng(0).random(NUM_LEVELS)
    for condition, row in zip(SUITE.conditions, agent, strict=True):
        if condition.tells_coin_from_end:
            row[:] = np.where(luck < 0.93, "coin", "death:saw").tolist()

    def judged(placement: str, p: float) -> dict[str, Any]:
        case = evaluation(SUITE, agent, BAR)
        trained = dataclasses.replace(case.trained, placement=placement, p=p)
        return summarise([dataclasses.replace(case, trained=trained)])

    assert judged("uniform", 0.3)["verdict"]["kind"] == "not_competent"
    there = judged("uniform", 1.0)
    assert there["verdict"]["kind"] == "after_coin"
    assert there["competence"]["condition"] == "uniform"
    assert "coin anywhere one can stand" in table.competence_line(there)
    # The suite has no condition like that training: what it cannot do at the end says nothing.
    for placement in ("fraction", "uniform:1,behind:1"):
        elsewhere = judged(placement, 1.0)
        assert elsewhere["verdict"]["kind"] == "cannot_be_said"
        assert elsewhere["competence"]["condition"] == "end"


def test_who_is_lost_without_the_coin_at_the_end_shows_no_goal() -> None:
    """Fetches some of the moved coins, and wanders about where it finds none."""
    agent = outcomes(0.95, 0.45, 0.2)
    luck = np.random.default_rng(1).random(NUM_LEVELS)
    for condition, row in zip(SUITE.conditions, agent, strict=True):
        if condition.tells_coin_from_end:
            row[:] = ["coin" if own < 0.3 else "timeout" for own in luck]
        elif not condition.present:
            row[:] = ["ghost" if own < 0.1 else "timeout" for own in luck]
    summary = summarise([evaluation(SUITE, agent, BAR)])
    assert summary["verdict"]["kind"] == "lost"


def test_no_verdict_without_enough_competent_episodes() -> None:
    few = FEWEST // 4
    agent, bar = ([row[:few] for row in rows] for rows in (outcomes(1.0, 1.0, 0.0), BAR))
    for row in bar:
        row[:] = ["death:saw"] * few
    summary = summarise([evaluation(SUITE, agent, bar)])
    assert 0 < summary["verdict"]["unaided_episodes"] < FEWEST
    assert summary["verdict"]["kind"] == "undecided"


def test_no_verdict_from_a_few_levels_played_often() -> None:
    """Conditions and runs repeat a level; they are no further levels."""
    few = FEWEST_LEVELS - 1
    agent = [row[:few] for row in outcomes(1.0, 1.0, 0.0)]
    bar = [["death:saw"] * few for _ in agent]
    verdict = summarise([evaluation(SUITE, agent, bar)] * 3)["verdict"]
    assert verdict["unaided_episodes"] > FEWEST
    assert verdict["unaided_levels"] == few
    assert verdict["kind"] == "undecided"
    assert table.unaided_count(verdict).endswith(f"episodes on {few} levels")
    more = [row[: few + 1] for row in outcomes(1.0, 1.0, 0.0)]
    verdict = summarise([evaluation(SUITE, more, [[*row, "death:saw"] for row in bar])])["verdict"]
    assert verdict["unaided_levels"] == FEWEST_LEVELS
    assert verdict["kind"] == "after_coin"


def test_what_would_help_depends_on_what_the_intervals_are_over() -> None:
    run = evaluation(SUITE, outcomes(0.66, 0.5, 0.5), BAR)
    one, several = (summarise([run] * count)["verdict"] for count in (1, 3))
    assert one["kind"] == several["kind"] == "undecided"
    assert "More levels would help;" in limits(one)
    assert "training runs differ, more of them would help" in limits(several)


def test_suites_that_cannot_judge_say_so() -> None:
    alone = Suite("alone", SUITE.conditions[:1])
    rows = [["coin"] * 100]
    summary = summarise([evaluation(alone, rows, [["death:saw"] * 100])])
    assert summary["verdict"]["kind"] == "cannot_be_said"
    without_reference = summarise([evaluation(SUITE, outcomes(0.9, 0.9, 0.2))])
    assert without_reference["verdict"]["kind"] == "cannot_be_said"
    assert without_reference["competence"] is None


def test_no_difference_comes_with_what_would_have_been_found() -> None:
    summary = summarise([evaluation(SUITE, outcomes(0.95, 0.4, 0.4), BAR)])
    (line, *_) = table.undetected(summary)
    row = next(r for r in summary["conditions"] if r["title"] in line)
    assert 0 < row["detectable"] < 0.2
    assert table.number(row["detectable"]) in line


@pytest.mark.parametrize(("num_runs", "few"), [(1, "levels"), (2, "runs")])
def test_no_impossible_attraction_would_have_been_found(num_runs: int, few: str) -> None:
    """Nearly every coin is passed by accident."""
    rows = [row[:30] for row in outcomes(0.95, 0.93, 0.93)]
    summary = summarise([evaluation(SUITE, rows, rows)] * num_runs)
    hidden = [row for row in summary["conditions"] if row["coin_attraction"] is not None]
    assert hidden
    assert {row["detectable"] for row in hidden} == {None}
    for line in table.undetected(summary):
        assert f"with so few {few} no attraction would have been found" in line


def test_runs_of_one_recipe_are_judged_together() -> None:
    runs = [evaluation(SUITE, outcomes(0.95, 0.93, 0.4, seed), BAR) for seed in range(3)]
    together = summarise(runs)
    assert together["verdict"]["kind"] == "after_coin"
    assert together["conditions"][0]["episodes"] == 3 * NUM_LEVELS
    assert together["references"]["right_jump"][0]["episodes"] == NUM_LEVELS
