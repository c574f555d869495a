"""The published protocol: how levels are chosen, its rows, and the figure drawn from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import ttest_1samp

from coinrun_jax import Action
from coinrun_jax.coinrun.types import NUM_ACTIONS
from eval.catalogue import SUITES
from eval.controllers import AgentController
from eval.evaluate import Protocol, make_arena
from eval.figures import THEMES, draw_published
from eval.figures.published import draw_published_agent
from eval.published import (
    MOST_TOUCHED,
    RATES,
    RUNS,
    published,
    published_rows,
    read_published,
    spot_touches,
    write_published,
)
from eval.results import AGENT
from eval.suites import Suite
from tests.evaluations import CASES
from train.config import TrainConfig
from train.networks import Output
from train.policy import Policy

AT_END, MOVED = range(2)
COUNTED, LATER = 4, 12  # samples
LEVELS = 512


def blind_policy() -> Policy:
    """Runs right, jumping now and then at random, and sees nothing."""
    logits = np.full(NUM_ACTIONS, -30.0, np.float32)
    logits[[Action.RIGHT, Action.RIGHT_UP]] = 1.0, 0.0

    def network(params: Any, observation: Any) -> Output:
        number = observation.shape[0]
        nothing = jnp.zeros(number)
        return Output(jnp.broadcast_to(params, (number, NUM_ACTIONS)), nothing, nothing[:, None])

    return Policy(TrainConfig(), jnp.asarray(logits), network, 0)


@pytest.mark.slow
def test_levels_are_chosen_by_other_episodes_than_are_counted() -> None:
    policy, both = blind_policy(), Suite("both", SUITES["paper"].conditions[:2])
    touches = spot_touches(policy, Protocol(both, LEVELS, COUNTED, seed=3))

    agent = AgentController(policy.params, policy.network)
    protocol = Protocol(both, LEVELS, COUNTED + RUNS + LATER, seed=3)
    record = make_arena(policy.env_config, {AGENT: agent}, protocol).play(AGENT)
    touched, fetched = record.ghost_step[AT_END] > 0, record.coin_step[MOVED] > 0
    assert (touches == touched[:, COUNTED : COUNTED + RUNS].mean(-1)).all()

    # It does not see the coin, and so fetches it as often as it passes the spot in other runs.
    keep = touches < MOST_TOUCHED
    assert keep.sum() > 50
    rate, by_accident = fetched[keep, :COUNTED].mean(), touched[keep, COUNTED + RUNS :].mean()
    assert rate > 0.01
    assert rate == pytest.approx(by_accident, abs=0.02)
    # Which it does not on levels that the counted episodes themselves have chosen.
    assert fetched[touched[:, :RUNS].mean(-1) < MOST_TOUCHED, :COUNTED].mean() == 0


def rate(value: float) -> dict[str, float]:
    return {"estimate": value, "low": value - 0.02, "high": value + 0.01}


def comparison(recipes: list[dict[str, Any]], seeds: int) -> dict[str, Any]:
    """Runs by recipe; the more of training has the coin moved, the more coins come first."""
    runs = []
    for group, recipe in enumerate(recipes):
        moved = recipe.get("env.placement") != "end"
        p = recipe["env.placement_probability"] if moved else 0.0
        for seed in range(seeds):
            found = dict.fromkeys(RATES, rate(0.05)) | {"ceiling": rate(0.9)}
            found |= {"coin": rate(0.1 + p / 2 + seed / 100), "end": rate(0.8 - p / 2)}
            found |= {"p_train": p, "levels": 10, "kept": 4}
            name = f"{group}/{seed}"
            runs.append({"name": name, "group": group, "seed": seed, "published": found})
    return {"groups": [{"label": "some", "recipe": each} for each in recipes], "runs": runs}


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
    rows = published_rows(comparison(recipes, seeds=3))
    write_published(rows, tmp_path / "published.csv")
    read = read_published(tmp_path / "published.csv")
    assert [float(row["p_train"]) for row in read] == [p for p in shares for _ in range(3)]
    for theme in THEMES:
        figure = draw_published(read, theme)
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
        ((_, ceiling),) = lines_of(figure, "coin fetched at the end of the same levels")
        assert ceiling == pytest.approx([0.9] * 7)
        dots = [line.get_ydata() for line in axes.get_lines() if line.get_linestyle() == "None"]
        expected = [rate for row in rows for rate in (row["coin"], row["end"])]
        assert sorted(y for each in dots for y in each) == pytest.approx(sorted(expected))


def test_recipes_that_differ_otherwise_have_panels_that_share_the_coin_at_the_end() -> None:
    recipes = [
        {"env.placement": place, "env.placement_probability": p}
        for place, p in (("end", 1.0), ("uniform", 0.5), ("behind", 0.5), ("behind", 1.0))
    ]
    figure = draw_published(published_rows(comparison(recipes, seeds=1)))
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
        figure = draw_published(published_rows(comparison(recipes, seeds)))
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


def test_where_no_level_is_kept_there_is_no_rate_and_no_figure() -> None:
    case = CASES["competent"]
    found = published(case, np.ones(10))
    assert (found["kept"], found["coin"], found["p_train"]) == (0, None, 0.25)
    assert draw_published_agent(found) is None
    run = {"name": "a", "group": 0, "seed": 3, "published": found}
    rows = published_rows({"groups": [{"label": "all runs", "recipe": {}}], "runs": [run] * 2})
    assert [row["coin_low"] for row in rows] == ["", ""]
    assert draw_published(rows) is None
    kept = published(case, np.zeros(10))
    assert kept["kept"] == 10
    assert draw_published_agent(kept) is not None
