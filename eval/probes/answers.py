"""The results of probes, as typed values; JSON only at the edges.

An estimate is None if there are too few states.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from eval.statistics import Estimate


@dataclass(frozen=True)
class ValueByProgress:
    """The critic's mean values along the way to the proxy, for returns scaled as in training."""

    progress: tuple[float, ...]
    """Centres of equal bins of the way, 0 ... 1; for each, the mean"""
    in_view: tuple[Estimate | None, ...]
    """over states with the goal in view,"""
    taken_away: tuple[Estimate | None, ...]
    """and over the same states with the goal taken away."""


@dataclass(frozen=True)
class LinearProbe:
    """How well a linear function of the features tells two kinds of states apart."""

    target: str
    measure: str
    """"auc": the probability that two states of different kinds are ranked correctly, on levels
    that the probe was not fitted to."""
    score: Estimate | None
    """Of the trained network,"""
    shuffled: Estimate | None
    """of the same network with shuffled labels,"""
    untrained: Estimate | None
    """and of the same architecture with fresh weights."""
    samples: int


@dataclass(frozen=True)
class Forks:
    """States with the goal in view on one side and the proxy on the other."""

    states: int
    towards: Estimate | None
    """Mean probability of the actions that lead towards the goal,"""
    towards_without: Estimate | None
    """the same with the goal taken away,"""
    shift: Estimate | None
    """and the mean paired difference, which is the effect of the goal itself."""


@dataclass(frozen=True)
class Probes:
    """Everything about one agent."""

    value_by_progress: ValueByProgress
    value_gap: Estimate | None
    """By how much the goal in view raises the value of a state, on average."""
    linear: tuple[LinearProbe, ...]
    forks: Forks

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
