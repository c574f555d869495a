"""Which episodes a page shows: the same ones every time, and easy to watch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from coinrun_jax.suites import Condition
from eval.animations import came_near, sentence, unpleasant
from eval.results import AGENT, Evaluation
from eval.states import Place

MAPS = 3  # levels with maps
PATHS = 4  # samples of a level that a map shows


class Chosen(NamedTuple):
    """An episode to watch."""

    title: str
    place: Place


def choose_episodes(evaluation: Evaluation) -> list[Chosen]:
    """Episodes with the proxy first, the goal first, and each way to fail, if there are any.

    Conditions in which only an object's place differs from training come first, and among them
    those that the verdict is based on.
    """
    testbed, words = evaluation.testbed, evaluation.testbed.words
    real = [c for c in evaluation.suite.conditions if c.control is None]
    apart = [c for c in real if c.apart]
    together = [c for c in real if c.has_goal and not c.apart]
    wanted = [
        (words.passed, apart, testbed.proxy),
        (f"{words.fetched}, {words.proxy} elsewhere", apart, testbed.goal),
        (f"{words.fetched}, as in training", together, testbed.goal),
        *((each.title, real, each.name) for each in testbed.outcomes if each.event is None),
    ]
    found = [(sentence(title), _best(evaluation, among, name)) for title, among, name in wanted]
    return [Chosen(title, place) for title, place in found if place is not None]


def _best(evaluation: Evaluation, among: Iterable[Condition], outcome: str) -> Place | None:
    """The most watchable episode of these conditions with this outcome."""
    suite, played = evaluation.suite, evaluation.played[AGENT]
    code = [each.name for each in evaluation.testbed.outcomes].index(outcome)
    far = ~came_near(evaluation) & (outcome == evaluation.testbed.proxy)
    length, cost = unpleasant(evaluation), np.full(played.outcome.shape, np.inf)
    for condition in among:
        number = suite.index(condition.name)
        rank = 0.01 * number + (condition.name not in suite.judged) + 2 * (not condition.plain)
        came = played.outcome[number] == code
        cost[number] = np.where(came, length[number] + rank + 3 * far[number], np.inf)
    if not np.isfinite(cost).any():
        return None
    return Place(*(int(i) for i in np.unravel_index(cost.argmin(), cost.shape)))


class MapOf(NamedTuple):
    """One map of a level: a condition and the episodes whose paths are drawn."""

    condition: int
    places: list[Place]


def mapped_conditions(evaluation: Evaluation) -> list[int]:
    """Indices of three conditions, if the suite has them: as in training, goal and proxy apart,
    and a control of the latter.

    Of several conditions with goal and proxy apart, it is the one in which the proxy comes first
    most often, preferably one that the verdict is based on.
    """
    suite = evaluation.suite

    def rank(condition: Condition) -> tuple[bool, bool, int]:
        number = suite.index(condition.name)
        came = evaluation.came_to(AGENT, number, evaluation.testbed.proxy)
        return condition.name not in suite.judged, not condition.plain, -int(came.sum())

    trained, _ = evaluation.testbed.trained_condition(suite, evaluation.config.env)
    names = [trained] if trained else []
    for condition in sorted((c for c in suite.conditions if c.apart), key=rank)[:1]:
        names += [condition.name, *(c.name for c in suite.controls_of(condition.name)[:1])]
    return [suite.index(name) for name in dict.fromkeys(names)]


def choose_maps(evaluation: Evaluation) -> list[list[MapOf]]:
    """The maps of each level to show: with the proxy first, the goal first, or neither."""
    suite, played, testbed = evaluation.suite, evaluation.played[AGENT], evaluation.testbed
    conditions, seeds = mapped_conditions(evaluation), evaluation.level_seeds
    conditions = [c for c in conditions if np.array_equal(seeds[c], seeds[conditions[0]])]
    if not conditions or not seeds.shape[1]:
        return []
    apart = next((c for c in conditions if suite.conditions[c].apart), conditions[0])
    length = unpleasant(evaluation)[conditions, :, 0].sum(0)
    objects = [[testbed.proxy], [testbed.goal]]
    every = [outcome.column for outcome in testbed.outcomes]
    failures = [outcome.column for outcome in testbed.outcomes if outcome.event is None]
    levels: list[int] = []
    for columns in [*objects, failures, *[every] * MAPS]:
        came = evaluation.came_to(AGENT, apart, *columns)[:, 0]
        cost = np.where(came, length, np.inf)
        cost[levels] = np.inf
        if len(levels) < MAPS and np.isfinite(cost).any():
            levels.append(int(cost.argmin()))
    samples = range(min(played.outcome.shape[2], PATHS))
    return [
        [MapOf(c, [Place(c, level, sample) for sample in samples]) for c in conditions]
        for level in levels
    ]
