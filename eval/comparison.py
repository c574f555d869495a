"""Several training runs on the same levels: recipe against recipe, every seed kept in sight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coinrun_jax.files import write_rows
from eval import statistics
from eval.results import AGENT, Evaluation, happened
from eval.runs import Run, label, recipes
from eval.statistics import Bootstrap, Measure
from eval.suites import Suite
from eval.summary import MEASURES, bootstrap_of, summarise

COMPARED = ("coin", "capability_robustness", "goal_misgeneralisation", "coin_attraction")
"""Measures whose differences between recipes are told."""


def compare(runs: Sequence[Run], evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """What runs of one or several recipes have in common, and where recipes differ.

    Args:
      runs: the agents.
      evaluations: theirs, of the same suite on the same levels.

    Returns:
      `suite`; `settings`, names of those in which recipes differ; `groups`, one per recipe,
      with `label`, `recipe`, `runs` (names) and all that `summarise` gives; `runs`, each with
      `name`, `group` (index), `seed`, `conditions` (rows as in `summarise`) and `verdict`;
      `differences` of every recipe from the first, each with `condition`, `measure`, `group`,
      `difference`; `detectable`, the least one that would have been found four times in
      five, or None where none up to 1 would; and `of_recipes`, False where either side has
      one run only, whose difference says nothing of recipes.
    """
    suite, bootstrap = evaluations[0].suite, bootstrap_of(evaluations)
    own = recipes([run.policy.config for run in runs])
    labels = [label(recipe) for recipe in own]
    names = list(dict.fromkeys(labels))
    members = [[i for i, each in enumerate(labels) if each == name] for name in names]
    singles = [summarise([evaluation]) for evaluation in evaluations]

    def together(indices: list[int]) -> dict[str, Any]:
        if len(indices) == 1:
            return singles[indices[0]]
        return summarise([evaluations[i] for i in indices])

    groups = [
        {
            "label": name,
            "recipe": own[indices[0]],
            "runs": [runs[i].name for i in indices],
            **together(indices),
        }
        for name, indices in zip(names, members, strict=True)
    ]
    sides = [[evaluations[i] for i in indices] for indices in members]
    return {
        "suite": suite.name,
        "settings": list(own[0]),
        "groups": groups,
        "runs": [
            {
                "name": run.name,
                "group": names.index(labels[i]),
                "seed": run.policy.config.seed,
                "conditions": singles[i]["conditions"],
                "verdict": singles[i]["verdict"],
            }
            for i, run in enumerate(runs)
        ],
        "differences": [
            difference
            for group in range(1, len(groups))
            for difference in _differences(suite, sides[group], sides[0], group, bootstrap)
        ],
    }


def _differences(
    suite: Suite,
    one: Sequence[Evaluation],
    other: Sequence[Evaluation],
    group: int,
    bootstrap: Bootstrap,
) -> list[dict[str, Any]]:
    found = []
    for number, condition in enumerate(suite.conditions):
        pairs = [_rates(suite, number, side) for side in (one, other)]
        for measure in COMPARED:
            if not (condition.has_coin and measure in pairs[0] and measure in pairs[1]):
                continue
            formula, sides = _FORMULAS[measure], [pair[measure] for pair in pairs]
            difference = bootstrap.compare(formula, *sides)
            found.append(
                {
                    "condition": condition.name,
                    "title": condition.title,
                    "measure": measure,
                    "group": group,
                    "difference": statistics.as_dict(difference),
                    "detectable": difference and statistics.detectable(difference),
                    "of_recipes": min(formula.num_known(*side) for side in sides) > 1,
                }
            )
    return found


_FORMULAS = {
    "coin": Measure(lambda coin, _: coin),
    "capability_robustness": Measure(np.add),
    "goal_misgeneralisation": statistics.SHARE,
    "coin_attraction": statistics.ATTRACTION,
}


def _rates(
    suite: Suite, number: int, evaluations: Sequence[Evaluation]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Indicators that each measure is made of, as far as the condition has it."""
    plays = [evaluation.played[AGENT] for evaluation in evaluations]
    condition = suite.conditions[number]
    coin, end = happened(plays, number, "coin"), happened(plays, number, "end")
    rates = {"coin": (coin, end), "capability_robustness": (coin, end)}
    if condition.tells_coin_from_end:
        rates["goal_misgeneralisation"] = (end, coin)
    if control := suite.control_of(condition.name):
        rates["coin_attraction"] = (coin, happened(plays, suite.index(control.name), "ghost"))
    return rates


def _columns(names: Sequence[str]) -> list[str]:
    return [f"{name}{end}" for name in names for end in ("", "_low", "_high")]


def _values(row: dict[str, Any], names: Sequence[str]) -> list[float | str]:
    """Estimates and bounds, in the order of `_columns`; empty where nothing can be said."""
    return [
        "" if row[name] is None else round(row[name][end], 6)
        for name in names
        for end in ("estimate", "low", "high")
    ]


def write_runs(comparison: dict[str, Any], path: Path) -> None:
    """A row for every run and condition, and for every recipe as a whole (`run` empty)."""
    bounds, settings = _columns(MEASURES), comparison["settings"]
    columns = ["group", *settings, "run", "seed", "condition", "episodes", *bounds]
    write_rows(path, columns, _rows(comparison))


def _rows(comparison: dict[str, Any]) -> Iterator[list[Any]]:
    for number, group in enumerate(comparison["groups"]):
        own = [run for run in comparison["runs"] if run["group"] == number]
        whole = {"name": "", "seed": "", "conditions": group["conditions"]}
        for run in [*own, whole]:
            start = [group["label"], *group["recipe"].values(), run["name"], run["seed"]]
            for row in run["conditions"]:
                values = _values(row, MEASURES)
                yield [*start, row["condition"], row["episodes"], *values]
