"""Rows of metrics.csv: one update of one seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from train.config import TrainConfig
from train.ppo import Metrics


def row(metrics: Metrics, update: int, config: TrainConfig, names: tuple[str, ...]) -> dict:
    """One line of metrics.csv; rates and means are empty where no episode ended.

    Args:
      metrics: numpy arrays of one seed.
      names: the environment's outcomes; each has the share of episodes that ended so.
        `rate_end` counts episodes that reached the end before a coin that lay elsewhere.
    """
    episodes = metrics.episodes
    count = int(episodes.episodes)

    def mean(total: Any) -> float | str:
        return round(float(total) / count, 6) if count else ""

    losses = metrics._asdict()
    del losses["episodes"]
    return {
        "update": update,
        "steps": update * config.ppo.batch_size,
        "episodes": count,
        "return": mean(episodes.reward),
        "length": mean(episodes.length),
        **{f"rate_{name}": mean(episodes.outcomes[i]) for i, name in enumerate(names) if i},
        "rate_end": mean(episodes.ends),
        **{name: float(f"{float(value):.6g}") for name, value in losses.items()},
    }


def columns(names: tuple[str, ...], looks: Sequence[str]) -> list[str]:
    """Names of all columns of metrics.csv.

    Args:
      names: the environment's outcomes.
      looks: columns of the look at held-out levels.
    """
    rates = (f"rate_{name}" for name in names[1:])
    losses = (name for name in Metrics._fields if name != "episodes")
    episodes = ("update", "steps", "episodes", "return", "length", *rates, "rate_end")
    return [*episodes, *losses, *looks, "seconds", "steps_per_second"]


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
