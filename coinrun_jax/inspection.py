"""What a testbed offers to those who look into its agents (probes) or its training set (audit)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
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
    codes: np.ndarray
    """int [N, 1 + K], its value as 0, 1, ..."""
    numbers: np.ndarray
    """float [N, 1 + K], the property as a number; its mean is"""
    unit: str = ""
    """so much of this, such as "steps from the start on average", and"""
    is_share: bool = True
    """given in percent."""


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


Start = Callable[[Any, jax.Array, jax.Array, Any], tuple[Any, dict[str, jax.Array]]]
"""(env, key, index of a level in the pool, params) -> the state of an episode that starts there,
and what is kept of it."""


def draw_starts(
    env: Any, params: Any, number: int, seed: int, start: Start
) -> dict[str, np.ndarray]:
    """Episode starts on levels as training draws them, from its first pool of levels on.

    Each level is started on once, unless the set has fewer than `number`: then in turn.

    Args:
      env, params: of training, with a pool of levels.
      number: N.
      seed: of the starts, and of the levels after those of the first pool.
      start: of one episode.

    Returns:
      what `start` keeps, [N, ...] each.
    """
    key = jax.random.key(seed)
    nowhere = jnp.zeros(0, jnp.int32)  # no episode goes on, so that all levels are renewed
    drawn: list[dict[str, np.ndarray]] = []
    missing = number
    while missing > 0:
        key, key_start, key_levels = jax.random.split(key, 3)
        states, fields = _start_all(env, start, key_start, params)
        drawn.append({name: np.asarray(values)[:missing] for name, values in fields.items()})
        missing -= len(params.pool.drawable)
        if missing > 0:
            params = env.refresh(key_levels, states.replace(level_index=nowhere), params)
    return {name: np.concatenate([part[name] for part in drawn]) for name in drawn[0]}


@partial(jax.jit, static_argnames=("env", "start"))
def _start_all(
    env: Any, start: Start, key: jax.Array, params: Any
) -> tuple[Any, dict[str, jax.Array]]:
    """One start on each level of the pool."""
    index = params.pool.drawable
    keys = jax.random.split(key, index.shape[0])
    return jax.vmap(partial(start, env), (0, 0, None))(keys, index, params)
