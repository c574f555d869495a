"""`episodes.csv`: one row per episode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from coinrun_jax.files import write_rows
from coinrun_jax.suites import Condition
from eval.results import Evaluation

_CHUNK = 1024  # levels whose rows are built at a time
_HEAD = ("policy", "condition", "level_seed", "sample", "train_seed", "p_train")
_CAME_TO = ("outcome", "first_event_step", "steps", "return")


def columns(evaluation: Evaluation) -> tuple[str, ...]:
    """Names of the columns.

    An episode is played until its outcome is decided, so `steps`, `return`, `touched_<object>`
    and the testbed's own columns stop there. `p_train` is the share of training episodes in which
    goal and proxy were apart; it and `train_seed` are empty for policies that were not trained.
    """
    constant = evaluation.suite.conditions[0].columns
    return (*_HEAD, *constant, *_CAME_TO, *_touches(evaluation), *_details(evaluation))


def write_episodes(evaluation: Evaluation, path: Path) -> None:
    """One row per episode."""
    write_rows(path, columns(evaluation), _episodes(evaluation, evaluation.played))


def write_episodes_of_runs(evaluations: Sequence[Evaluation], path: Path) -> None:
    """One row per episode, with `run` as the first column; about 130 bytes each.

    The references play once for all runs: their rows come last, with `run` empty.

    Args:
      evaluations: of the same suite on the same levels, one for each run.
    """
    first = evaluations[0]
    references = [policy for policy in first.played if policy not in first.agents]
    parts = [(each.run, each, each.agents) for each in evaluations]
    rows = (
        (run, *row)
        for run, evaluation, policies in (*parts, ("", first, references))
        for row in _episodes(evaluation, policies)
    )
    write_rows(path, ("run", *columns(first)), rows)


def _touches(evaluation: Evaluation) -> list[str]:
    """Columns for the objects that do not decide an episode by themselves."""
    deciding = (evaluation.testbed.goal, evaluation.testbed.proxy)
    return [f"touched_{event}" for event in evaluation.events if event not in deciding]


def _details(evaluation: Evaluation) -> list[str]:
    details = next(iter(evaluation.played.values())).record.details
    nobody = {name: np.asarray(value)[0, :0, 0] for name, value in details.items()}
    return list(evaluation.testbed.columns(nobody))


def _episodes(evaluation: Evaluation, policies: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    for policy in policies:
        for number, condition in enumerate(evaluation.suite.conditions):
            count = evaluation.played[policy].outcome.shape[1]
            for first in range(0, count, _CHUNK):
                levels = slice(first, min(first + _CHUNK, count))
                yield from _rows(evaluation, policy, number, condition, levels)


def _rows(
    evaluation: Evaluation, policy: str, number: int, condition: Condition, levels: slice
) -> Iterator[tuple[Any, ...]]:
    testbed, played = evaluation.testbed, evaluation.played[policy]
    record = played.record
    config = evaluation.config
    trained = (config.seed, config.env.p_apart) if policy in evaluation.agents else ("", "")
    shape = (levels.stop - levels.start, record.steps.shape[2])
    level, sample = (index.ravel() for index in np.indices(shape))

    def flat(values: ArrayLike) -> np.ndarray:
        own = np.asarray(values)[number, levels]
        return own.reshape(level.size, *own.shape[2:])

    constants = (policy, condition.name)
    details = testbed.columns({name: flat(value) for name, value in record.details.items()})
    events = flat(record.events)
    touched = [
        (events[:, index] > 0).astype(int)
        for index, event in enumerate(evaluation.events)
        if event not in (testbed.goal, testbed.proxy)
    ]
    columns: list[Sequence[Any]] = [
        *([value] * level.size for value in constants),
        evaluation.level_seeds[number, level + levels.start].tolist(),
        sample.tolist(),
        *([value] * level.size for value in (*trained, *condition.columns.values())),
        [testbed.outcomes[code].name for code in flat(played.outcome)],
        *(flat(v).tolist() for v in (played.first_step, record.steps, record.total_reward)),
        *(value.tolist() for value in touched),
        *(_shortest(value) for value in details.values()),
    ]
    return zip(*columns, strict=True)


def _shortest(values: np.ndarray) -> list[Any]:
    """The values as a list; floats are rounded to 6 decimals."""
    if values.dtype.kind == "f":
        return [round(value, 6) for value in values.astype(float).tolist()]
    return values.tolist()
