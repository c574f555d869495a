"""Which episodes a page shows: the same ones every time, and easy to watch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from eval.outcomes import OUTCOMES
from eval.repeat import Place
from eval.results import AGENT, Evaluation
from eval.suites import Condition

GOOD_STEPS = 70  # about how long an episode is pleasant to watch
IN_VIEW = 6  # tiles from the agent to the edge of what it sees
MAPS = 3  # levels with maps
PATHS = 4  # samples of a level that a map shows


class Chosen(NamedTuple):
    """An episode to watch."""

    title: str
    place: Place


def choose_episodes(evaluation: Evaluation) -> list[Chosen]:
    """A coin run past, coins fetched, one of each cause of death, a time-out: those there are.

    Conditions in which only the coin's place differs from training come first, and of them
    those that the verdict reads.
    """
    suite = evaluation.suite
    moved = [c for c in suite.conditions if c.tells_coin_from_end]
    at_end = [c for c in suite.conditions if c.has_coin and not c.tells_coin_from_end]
    there = [c for c in suite.conditions if c.present]
    wanted = [
        ("Coin run past", moved, "end"),
        ("Coin fetched, away from the end", moved, "coin"),
        ("Coin fetched at the end", at_end, "coin"),
        ("Killed by a saw", there, "death:saw"),
        ("Killed by an enemy", there, "death:enemy"),
        ("Died in lava", there, "death:lava"),
        ("Out of time", there, "timeout"),
    ]
    found = [(title, _best(evaluation, among, name)) for title, among, name in wanted]
    return [Chosen(title, place) for title, place in found if place is not None]


def _best(evaluation: Evaluation, among: Iterable[Condition], outcome: str) -> Place | None:
    """The episode of these conditions with this outcome that is best to watch."""
    suite, played = evaluation.suite, evaluation.played[AGENT]
    cost = np.full(played.outcome.shape, np.inf)
    for condition in among:
        number = suite.index(condition.name)
        came = played.outcome[number] == OUTCOMES.index(outcome)
        far = played.record.coin_distance[number] > IN_VIEW
        rank = 0.01 * number + (condition.name not in suite.judged) + 2 * (not condition.is_plain)
        length = np.abs(np.log(np.maximum(played.record.steps[number], 1) / GOOD_STEPS))
        cost[number] = np.where(came, length + rank + 3 * far * (outcome == "end"), np.inf)
    if not np.isfinite(cost).any():
        return None
    return Place(*(int(i) for i in np.unravel_index(cost.argmin(), cost.shape)))


class MapOf(NamedTuple):
    """One map of a level: a condition and the episodes whose paths are drawn."""

    condition: int
    places: list[Place]


def mapped_conditions(evaluation: Evaluation) -> list[int]:
    """Coin at the end, moved, taken away: positions of as many of them as the suite has.

    Of several conditions with the coin moved it is the one, of those that the verdict reads,
    in which the agent goes to the end most often.
    """
    suite, outcome = evaluation.suite, evaluation.played[AGENT].outcome

    def rank(condition: Condition) -> tuple[bool, bool, int]:
        ends = outcome[suite.index(condition.name)] == OUTCOMES.index("end")
        return condition.name not in suite.judged, not condition.is_plain, -int(ends.sum())

    able = sorted((c for c in suite.conditions if c.tells_coin_from_end), key=rank)
    names = [suite.at_the_end] if suite.at_the_end else []
    if able:
        names.append(able[0].name)
        control = suite.control_of(able[0].name)
        names += [control.name] if control else []
    return [suite.index(name) for name in names]


def choose_maps(evaluation: Evaluation) -> list[list[MapOf]]:
    """For each level to show, its maps: where the coin was run past, fetched, or not reached."""
    suite, played = evaluation.suite, evaluation.played[AGENT]
    conditions = mapped_conditions(evaluation)
    seeds = evaluation.level_seeds
    conditions = [c for c in conditions if np.array_equal(seeds[c], seeds[conditions[0]])]
    if not conditions or not seeds.shape[1]:
        return []
    moved = next((c for c in conditions if suite.conditions[c].tells_coin_from_end), conditions[0])
    steps = np.maximum(played.record.steps[conditions][..., 0], 1)  # [maps, N]
    length = np.abs(np.log(steps / GOOD_STEPS)).sum(0)
    outcome = played.outcome[moved, :, 0]
    kinds = [("end",), ("coin",), ("death:saw", "death:enemy", "death:lava")]
    levels: list[int] = []
    for names in [*kinds, *[OUTCOMES] * MAPS]:
        cost = np.where(np.isin(outcome, [OUTCOMES.index(name) for name in names]), length, np.inf)
        cost[levels] = np.inf
        if len(levels) < MAPS and np.isfinite(cost).any():
            levels.append(int(cost.argmin()))
    samples = range(min(played.outcome.shape[2], PATHS))
    return [
        [MapOf(c, [Place(c, level, sample) for sample in samples]) for c in conditions]
        for level in levels
    ]
