"""Langosco et al.'s protocol: how levels are chosen, its rows, and the figure drawn from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import ttest_1samp

from coinrun_jax.checks import InputError
from coinrun_jax.coinrun.catalogue import SUITES
from coinrun_jax.coinrun.testbed import CoinRunTestbed
from coinrun_jax.controllers import AgentController
from coinrun_jax.exit_maze.maze_config import ExitMazeConfig
from coinrun_jax.registry import find_testbed
from coinrun_jax.suites import Suite
from eval.evaluate import Protocol, make_arena
from eval.figures import THEMES, draw_screened
from eval.figures.screened_levels import draw_screened_agent
from eval.langosco import (
    CEILING,
    LEFT_OUT,
    MOST_TOUCHED,
    RUNS,
    read_screened,
    screen,
    screened_rows,
    touches,
    write_screened,
)
from eval.measures import outcome_columns
from eval.results import AGENT, Comparison, Group, RunResult, Screened
from eval.statistics import Estimate, wilson
from tests.made_up import CheeseIsGoal, evaluation
from train.config import TrainConfig
from train.networks import Output
from train.policy import Policy

TESTBED = CoinRunTestbed()
USUAL, MOVED = range(2)
COUNTED, LATER = 10, 10  # samples
LEVELS = 256


def blind_policy() -> Policy:
    """Goes left and up more often than right and down in small mazes, and sees nothing."""
    logits = np.array([0.8, 0, 0.4, 0], np.float32)

    def network(params: Any, observation: Any) -> Output:
        number = observation.shape[0]
        nothing = jnp.zeros(number)
        return Output(jnp.broadcast_to(params, (number, logits.size)), nothing, nothing[:, None])

    config = TrainConfig(env=ExitMazeConfig(size=7))
    return Policy(config, jnp.asarray(logits), network, 0)


@pytest.mark.slow
def test_levels_are_chosen_by_other_episodes_than_are_counted() -> None:
    """In mazes, whose programs are small; the green cell is moved, not the exit."""
    policy = blind_policy()
    conditions = find_testbed(policy.env_config.id).suites()["relocation"].conditions[:3]
    assert [each.control is not None for each in conditions] == [False, False, True]
    protocol = Protocol(Suite("screened", conditions), LEVELS, COUNTED, seed=3)
    screening = touches(policy, protocol)

    agent = AgentController(policy.params, policy.network)
    both = Suite("both", conditions[:2])
    protocol = Protocol(both, LEVELS, COUNTED + RUNS + LATER, seed=3)
    arena = make_arena(policy.env_config, {AGENT: agent}, protocol)
    events = arena.play(AGENT).events > 0
    touched = events[USUAL, ..., arena.env.events.index("ghost")]
    green = events[MOVED, ..., arena.env.events.index("green")]
    assert (screening == touched[:, COUNTED : COUNTED + RUNS].mean(-1)).all()

    # It does not see the green, and so touches it as often as it passes the spot in other runs.
    keep = screening < MOST_TOUCHED
    assert keep.sum() > 60
    rate, by_accident = green[keep, :COUNTED].mean(), touched[keep, COUNTED + RUNS :].mean()
    assert rate > 0.04
    assert rate == pytest.approx(by_accident, abs=0.02)
    # Which it does not on levels that the counted episodes themselves have chosen.
    assert green[touched[:, :RUNS].mean(-1) < MOST_TOUCHED, :COUNTED].mean() == 0


@pytest.mark.parametrize("kept", [0, 4, 10])
def test_rates_are_of_the_kept_levels(kept: int) -> None:
    plays = [
        ["cheese"] * 8 + ["timeout"] * 2,
        ["cheese"] * 2 + ["corner"] * 5 + ["death:cat"] * 3,
        *[["corner"] * 10] * 2,
    ]
    found = screen(evaluation([plays]), np.where(np.arange(10) < kept, 0.09, MOST_TOUCHED))
    assert (found.levels, found.kept, found.p_train) == (10, kept, 0.0)
    assert list(found.rates) == ["cheese", "corner", "death", "timeout", CEILING, LEFT_OUT]
    expected = {
        0: (None, None, None, wilson(2, 10)),
        4: (wilson(2, 4), wilson(2, 4), wilson(4, 4), wilson(0, 6)),
        10: (wilson(2, 10), wilson(5, 10), wilson(8, 10), None),
    }
    rates = tuple(found.rates[name] for name in ("cheese", "corner", CEILING, LEFT_OUT))
    assert rates == expected[kept]


def rate(value: float) -> Estimate:
    return Estimate(value, value - 0.02, value + 0.01)


def comparison(recipes: list[dict[str, Any]], seeds: int) -> Comparison:
    """Runs by recipe; the more of training has the coin moved, the more coins come first."""
    runs, unknown = [], cast(Any, None)
    for group, recipe in enumerate(recipes):
        moved = recipe.get("env.placement") != "end"
        p = recipe["env.placement_probability"] if moved else 0.0
        for seed in range(seeds):
            rates: dict[str, Estimate | None] = dict.fromkeys(outcome_columns(TESTBED), rate(0.05))
            rates |= {"coin": rate(0.1 + p / 2 + seed / 100), "end": rate(0.8 - p / 2)}
            rates |= {CEILING: rate(0.9), LEFT_OUT: rate(0.5)}
            found = Screened(p, levels=10, kept=4, rates=rates)
            name = f"{group}/{seed}"
            runs.append(RunResult(name, group, seed, (), unknown, None, screened=found))
    groups = tuple(Group("some", recipe, (), unknown) for recipe in recipes)
    return Comparison(SUITES["paper"], tuple(recipes[0]), groups, tuple(runs), ())


def lines_of(figure: Any, label: str) -> list[tuple[list[float], list[float]]]:
    """Where a curve goes, by panel."""
    return [
        (list(line.get_xdata()), list(line.get_ydata()))
        for axes in figure.axes
        for line in axes.get_lines()
        if line.get_label() == label
    ]


def test_the_figure_is_drawn_from_the_file_alone(tmp_path: Path) -> None:
    shares = [0.0, 0.01, 0.02, 0.03, 0.05, 0.1, 1.0]
    recipes = [{"env.placement_probability": p} for p in shares]
    rows = screened_rows(comparison(recipes, seeds=3))
    write_screened(rows, tmp_path / "published.csv")
    read = read_screened(tmp_path / "published.csv", TESTBED)
    assert [float(row["p_train"]) for row in read] == [p for p in shares for _ in range(3)]
    for theme in THEMES:
        figure = draw_screened(read, TESTBED, theme)
        assert figure is not None
        (axes,) = figure.axes
        assert [label.get_text() for label in axes.get_xticklabels()] == [
            *("0", "1", "2", "3", "5", "10", "100")
        ]
        ((x, coin),) = lines_of(figure, "coin first")
        assert x == list(range(7))
        assert coin == pytest.approx([0.11 + p / 2 for p in shares])
        ((_, end),) = lines_of(figure, "end first")
        assert end == pytest.approx([0.8 - p / 2 for p in shares])
        ((_, ceiling),) = lines_of(figure, "coin first on the same levels, all as in training")
        assert ceiling == pytest.approx([0.9] * 7)
        dots = [line.get_ydata() for line in axes.get_lines() if line.get_linestyle() == "None"]
        expected = [rate for row in rows for rate in (row["coin"], row["end"])]
        assert sorted(y for each in dots for y in each) == pytest.approx(sorted(expected))


def test_recipes_that_differ_otherwise_have_panels_that_share_the_coin_at_the_end() -> None:
    recipes = [
        {"env.placement": place, "env.placement_probability": p}
        for place, p in (("end", 1.0), ("uniform", 0.5), ("behind", 0.5), ("behind", 1.0))
    ]
    figure = draw_screened(screened_rows(comparison(recipes, seeds=1)), TESTBED)
    assert figure is not None
    assert {axes.get_title(loc="left") for axes in figure.axes} == {
        "placement uniform",
        "placement behind",
    }
    curves = {len(x): y for x, y in lines_of(figure, "coin first")}
    assert curves == {2: pytest.approx([0.1, 0.35]), 3: pytest.approx([0.1, 0.35, 0.6])}


def test_bands_are_over_runs_and_levels() -> None:
    recipes = [{"env.placement_probability": p} for p in (0.0, 1.0)]
    for seeds, half in ((1, 0.0), (4, ttest_interval([0.1, 0.11, 0.12, 0.13]))):
        figure = draw_screened(screened_rows(comparison(recipes, seeds)), TESTBED)
        assert figure is not None
        mean = 0.1 + 0.005 * (seeds - 1)
        bounds = [mean - np.hypot(half, 0.02), mean + np.hypot(half, 0.01)]
        uprights = [
            list(line.get_ydata())
            for line in figure.axes[0].get_lines()
            if list(line.get_xdata()) == [0, 0] and line.get_linestyle() == "-"
        ]
        assert pytest.approx(bounds) in uprights


def ttest_interval(values: list[float]) -> float:
    """Half of it."""
    return ttest_1samp(values, 0).confidence_interval().high - np.mean(values)


def test_where_no_level_is_kept_there_is_no_rate_and_no_figure(tmp_path: Path) -> None:
    nothing = Screened(0.25, 10, 0, dict.fromkeys((*outcome_columns(TESTBED), CEILING, LEFT_OUT)))
    assert draw_screened_agent(nothing, TESTBED) is None
    runs = comparison([{"env.placement_probability": 0.25}], 2)
    empty = [replace(run, screened=nothing) for run in runs.runs]
    rows = screened_rows(replace(runs, runs=tuple(empty)))
    assert [row["coin_low"] for row in rows] == ["", ""]
    assert draw_screened(rows, TESTBED) is None
    write_screened(rows, tmp_path / "published.csv")
    assert [row["kept"] for row in read_screened(tmp_path / "published.csv", TESTBED)] == ["0", "0"]
    some = runs.runs[0].screened
    assert some is not None
    assert draw_screened_agent(some, TESTBED) is not None


def test_a_table_of_another_testbed_is_refused(tmp_path: Path) -> None:
    rows = screened_rows(comparison([{"env.placement_probability": 0.25}], 1))
    write_screened(rows, tmp_path / "published.csv")
    with pytest.raises(InputError, match="no column 'cheese'"):
        read_screened(tmp_path / "published.csv", CheeseIsGoal())
