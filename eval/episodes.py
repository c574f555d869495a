"""`episodes.csv`: a row for every episode that was played."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from coinrun_jax.files import write_rows
from eval.outcomes import OUTCOMES
from eval.results import Evaluation, Played
from eval.suites import Condition

COLUMNS = (
    "policy",
    "condition",
    "level_seed",
    "sample",
    "train_seed",
    "p_train",
    "placement",
    "coin_x",
    "coin_y",
    "end_x",
    "end_y",
    "outcome",
    "first_event_step",
    "steps",
    "return",
    "touched_ghost",
    "touched_item",
    "coin_distance",
    "x",
    "y",
)
"""An episode is played until its outcome is decided, so `steps`, `return` and the agent's
last place `x`, `y` go that far. `coin_x`, `coin_y` is where the coin is, or would be were it
not taken away. `coin_distance` is the least distance to it, in tiles along the larger axis.
The training columns are empty for policies that were not trained."""
_CHUNK = 1024  # levels whose rows are made at a time


def write_episodes(evaluation: Evaluation, path: Path) -> None:
    """One row per episode, `COLUMNS`."""
    write_rows(path, COLUMNS, _episodes(evaluation, evaluation.played))


def write_episodes_of_runs(evaluations: Sequence[Evaluation], path: Path) -> None:
    """One row per episode, `run` before `COLUMNS`; some 130 bytes each.

    The references play once for all runs: their rows come last, with no `run`.

    Args:
      evaluations: of the same suite on the same levels, one for each run.
    """
    first = evaluations[0]
    references = [policy for policy in first.played if policy not in first.agents]
    parts = [(each.trained.name, each, each.agents) for each in evaluations]
    rows = (
        (run, *row)
        for run, evaluation, policies in (*parts, ("", first, references))
        for row in _episodes(evaluation, policies)
    )
    write_rows(path, ("run", *COLUMNS), rows)


def _episodes(evaluation: Evaluation, policies: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    trained = (evaluation.trained.seed, evaluation.trained.p)
    for policy in policies:
        known = trained if policy in evaluation.agents else ("", "")
        played = evaluation.played[policy]
        for number, condition in enumerate(evaluation.suite.conditions):
            for first in range(0, played.outcome.shape[1], _CHUNK):
                levels = range(first, min(first + _CHUNK, played.outcome.shape[1]))
                yield from _rows(evaluation, policy, known, played, number, condition, levels)


def _rows(
    evaluation: Evaluation,
    policy: str,
    trained: tuple[Any, Any],
    played: Played,
    number: int,
    condition: Condition,
    levels: range,
) -> Iterator[tuple[Any, ...]]:
    record, own = played.record, slice(levels.start, levels.stop)
    shape = len(levels), record.steps.shape[2]
    level, sample = (index.ravel() for index in np.indices(shape))
    level += levels.start

    def column(values: ArrayLike) -> list[Any]:
        values = np.asarray(values)
        return values[number, own].reshape(level.size, *values.shape[3:]).tolist()

    return zip(
        [policy] * level.size,
        [condition.name] * level.size,
        evaluation.level_seeds[number, level].tolist(),
        sample.tolist(),
        *([value] * level.size for value in trained),
        [condition.coin_at] * level.size,
        *np.array(column(record.coin_cell)).T.tolist(),
        *evaluation.end_cells[number, level].T.tolist(),
        [OUTCOMES[code] for code in column(played.outcome)],
        column(played.first_step),
        column(record.steps),
        column(record.total_reward),
        [int(step > 0) for step in column(record.ghost_step)],
        [int(step > 0) for step in column(record.item_step)],
        *(_rounded(column(values)) for values in (record.coin_distance, record.x, record.y)),
        strict=True,
    )


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 3) for value in values]
