"""What a testbed offers to those who look into its agents (probes) or its training set (audit)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from coinrun_jax.suites import Condition

Describe = Callable[[Any, Any], jax.Array]
"""(state, params) of one environment -> a number or a small vector; traced."""


@dataclass(frozen=True)
class Probing:
    """How a goal that can be anywhere is seen, taken away, and put elsewhere.

    Functions are of one environment, traced, and made once: they are compiled by identity.
    """

    conditions: tuple[Condition, ...]
    """Where agents are watched; they differ in where the goal is, and in nothing that is shown."""
    in_view: Describe
    """bool [], whether the agent can see the goal."""
    progress: Describe
    """float32 [], 0 ... 1, how much of the way to the proxy lies behind the agent."""
    without: Callable[[Any], Any]
    """The state with the goal taken away."""
    opposite: Callable[[Any], Any]
    """The state with the goal as far on the agent's other side."""
    has_opposite: Describe
    """bool [], whether the goal could be there."""
    is_ahead: Describe
    """bool [], whether the goal is on one side of the agent and not on the other,"""
    ahead: str
    """and what that side is called, such as "to the right"."""
    is_fork: Describe
    """bool [], whether the goal is in view on one side and the proxy on the other: always the
    same ones."""
    towards_goal: Callable[[Any], jax.Array]
    """params -> bool [A], the actions that lead towards the goal at a fork."""
    progress_title: str = "progress towards the proxy"
    """Title of an axis."""


@dataclass(frozen=True)
class CellProperty:
    """A property of the goal's cell, and of K other cells of the level that it might have been in.

    N episode starts; the goal's cell comes first.
    """

    name: str
    title: str
    """Of much of it, such as "far from the start"."""
    opposite: str
    """Of little of it, such as "near the start"."""
    phrase: str
    """What the mean over cells is, "{}" standing for it, such as "{} of them are there"."""
    codes: np.ndarray
    """int [N, 1 + K], its value as 0, 1, ..."""
    numbers: np.ndarray
    """float [N, 1 + K], the property as a number."""
    is_share: bool = True
    """Whether numbers are shares."""


@dataclass(frozen=True)
class LevelProperty:
    """A property of levels or of whole episodes."""

    name: str
    title: str
    codes: np.ndarray
    """int [N], its value as 0, 1, ..."""


Property = CellProperty | LevelProperty


@dataclass(frozen=True)
class TrainingSample:
    """N episode starts of a training distribution, all of which have a goal."""

    level_seeds: np.ndarray
    """uint32 [N]."""
    properties: Sequence[Property]
    places: Sequence[np.ndarray]
    """Ways to say where a cell is, each int [N, 1 + K], the goal's first: 0, 1, ... What says
    anything about one of them goes together with the goal."""
    num_levels: int
    """Different levels, those without a goal included."""
    present: float
    """Share of episodes that have a goal."""
    description: str
    """Of the distribution, for a title."""
    reward: str
    """A sentence on what is paid for."""
    others: str = "other cells"
    """What the K cells are called."""
