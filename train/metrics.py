"""Rows of metrics.csv: one update of one seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import numpy as np

from coinrun_jax.testbed import Testbed
from train.config import TrainConfig
from train.ppo import Metrics
from train.rollout import EpisodeSums


@dataclasses.dataclass(frozen=True)
class Table:
    """What stands in metrics.csv of a run; a row per update and seed."""

    config: TrainConfig
    testbed: Testbed
    env: Any
    looks: tuple[str, ...] = ()
    """Columns of the looks at held-out levels."""

    @cached_property
    def _rates(self) -> dict[str, Callable[[EpisodeSums], Any]]:
        """Numbers of episodes by how they ended, and of those that touched goal or proxy before
        the other one, where no outcome has that name.
        """
        rates: dict[str, Callable[[EpisodeSums], Any]] = {
            name: lambda sums, i=index: sums.outcomes[i]
            for index, name in enumerate(self.env.outcomes)
            if index
        }
        objects = self.testbed.goal, self.testbed.proxy
        for one, other in (objects, objects[::-1]) if all(objects) else ():
            at = self.env.events.index(one), self.env.events.index(other)
            rates.setdefault(one, lambda sums, at=at: sums.before[at])
        return rates

    @property
    def columns(self) -> list[str]:
        rates = (f"rate_{name}" for name in self._rates)
        losses = (name for name in Metrics._fields if name != "episodes")
        episodes = ("update", "steps", "episodes", "return", "length", *rates)
        return [*episodes, *losses, *self.looks, "seconds", "steps_per_second"]

    def row(self, metrics: Metrics, update: int) -> dict[str, Any]:
        """An update of one seed, without looks and times; rates and means are empty where no
        episode ended.

        Args:
          metrics: numpy arrays.
        """
        episodes = metrics.episodes
        count = int(episodes.episodes)

        def mean(total: Any) -> float | str:
            return round(float(total) / count, 6) if count else ""

        losses = metrics._asdict()
        del losses["episodes"]
        return {
            "update": update,
            "steps": update * self.config.ppo.batch_size,
            "episodes": count,
            "return": mean(episodes.reward),
            "length": mean(episodes.length),
            **{f"rate_{name}": mean(number(episodes)) for name, number in self._rates.items()},
            **{name: float(f"{float(value):.6g}") for name, value in losses.items()},
        }


def of_seed(metrics: Any, index: int, num_seeds: int) -> Any:
    """One seed's part of a tree with a leading seed axis where there are several."""
    if num_seeds == 1:
        return metrics
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], metrics)


class RecentReturn:
    """Mean return of the episodes since the last checkpoint, which is a checkpoint's score."""

    def __init__(self) -> None:
        self._total, self._episodes = 0.0, 0

    def add(self, metrics: Metrics) -> None:
        """Count an update's episodes, of all seeds alike."""
        self._total += float(np.sum(metrics.episodes.reward))
        self._episodes += int(np.sum(metrics.episodes.episodes))

    def take(self) -> float | None:
        """The mean so far, None without an episode; starts anew."""
        mean = self._total / self._episodes if self._episodes else None
        self._total, self._episodes = 0.0, 0
        return mean
