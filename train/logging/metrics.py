"""Turns the sums of an update into a row of metrics.csv."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Any

import jax
import numpy as np

from coinrun_jax.testbed import Testbed
from train.config import TrainConfig
from train.ppo import Metrics
from train.rollout import EpisodeSums


@dataclasses.dataclass(frozen=True)
class MetricsTable:
    """The columns and rows of metrics.csv: one row per update of a seed."""

    config: TrainConfig
    testbed: Testbed
    env: Any
    looks: tuple[str, ...] = ()
    """Columns of the evaluations on held-out levels."""

    @cached_property
    def _objects(self) -> dict[str, tuple[int, int]]:
        """Goal and proxy, unless they are outcomes: indices of their own and the other's event."""
        pair = self.testbed.goal, self.testbed.proxy
        index = self.env.events.index
        return {
            one: (index(one), index(other))
            for one, other in ((pair, pair[::-1]) if all(pair) else ())
            if one not in self.env.outcomes
        }

    def _counts(self, sums: EpisodeSums) -> dict[str, Any]:
        """Number of episodes by outcome, and by object that was touched before the other."""
        counts = dict(zip(self.env.outcomes[1:], sums.outcomes[1:], strict=True))
        return counts | {name: sums.before[index] for name, index in self._objects.items()}

    @property
    def columns(self) -> list[str]:
        rates = (f"rate_{name}" for name in (*self.env.outcomes[1:], *self._objects))
        losses = (name for name in Metrics._fields if name != "episodes")
        stage = ("stage",) if self.config.stages else ()
        episodes = ("update", *stage, "steps", "episodes", "return", "length", *rates)
        return [*episodes, *losses, *self.looks, "seconds", "steps_per_second"]

    def row(self, metrics: Metrics, update: int) -> dict[str, Any]:
        """A row without evaluations and timings; rates and means are empty if no episode ended.

        Args:
          metrics: numpy arrays of one seed.
        """
        episodes = metrics.episodes
        number = int(episodes.episodes)

        def mean(total: Any) -> float | str:
            return round(float(total) / number, 6) if number else ""

        losses = {name: value for name, value in metrics._asdict().items() if name != "episodes"}
        return {
            "update": update,
            **({"stage": self.config.part_at(update) + 1} if self.config.stages else {}),
            "steps": self.config.steps_at(update),
            "episodes": number,
            "return": mean(episodes.reward),
            "length": mean(episodes.length),
            **{f"rate_{name}": mean(count) for name, count in self._counts(episodes).items()},
            **{name: float(f"{float(value):.6g}") for name, value in losses.items()},
        }

    def summary(self, rows: list[dict[str, Any]]) -> dict[str, str]:
        """Mean return and goal rate of the rows in which episodes ended, for a progress bar."""
        shown = {}
        goal = self.testbed.goal
        for title, column in (("return", "return"), (self.testbed.words.goal, f"rate_{goal}")):
            values = [row[column] for row in rows if row.get(column, "") != ""]
            if values:
                shown[title] = f"{np.mean(values):.3g}"
        return shown


def of_seed(tree: Any, index: int, num_seeds: int) -> Any:
    """One seed's part of a tree that has a leading seed axis if there are several seeds."""
    if num_seeds == 1:
        return tree
    return jax.tree.map(lambda leaf: leaf[index], tree)


class RecentReturn:
    """Mean return of all seeds' episodes since the last checkpoint: the checkpoint's score."""

    def __init__(self) -> None:
        self._total, self._episodes = 0.0, 0

    def add(self, metrics: Metrics) -> None:
        self._total += float(np.sum(metrics.episodes.reward))
        self._episodes += int(np.sum(metrics.episodes.episodes))

    def take(self) -> float | None:
        """The mean, or None without episodes; resets it."""
        mean = self._total / self._episodes if self._episodes else None
        self._total, self._episodes = 0.0, 0
        return mean
