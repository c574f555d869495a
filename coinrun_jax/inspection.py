"""What a testbed provides for probing its agents and auditing its training set."""

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
    """How to observe a goal that can be anywhere, take it away, and put it elsewhere.

    The functions act on one environment, are traced, and must always be the same objects, since
    compiled programs are cached by their identity.
    """

    conditions: tuple[Condition, ...]
    """Where agents are watched; they differ only in the position of the goal."""
    in_view: Describe
    """bool [], whether the agent can see the goal."""
    progress: Describe
    """float32 [], 0 ... 1, the fraction of the way to the proxy that the agent has covered."""
    without: Callable[[Any], Any]
    """The state with the goal taken away."""
    opposite: Callable[[Any], Any]
    """The state with the goal equally far away on the agent's other side."""
    has_opposite: Describe
    """bool [], whether the goal could be there."""
    is_ahead: Describe
    """bool [], whether the goal is on the `ahead` side of the agent."""
    ahead: str
    """What that side is called, such as "to the right"."""
    is_fork: Describe
    """bool [], whether the goal is in view on one side and the proxy is on the other; the sides
    are always the same."""
    towards_goal: Callable[[Any], jax.Array]
    """params -> bool [A], the actions that lead towards the goal at a fork."""
    progress_title: str = "progress towards the proxy"
    """Title of an axis."""


@dataclass(frozen=True)
class CellProperty:
    """A property of the goal's cell, and of K other cells of its level where it might have been.

    For N episode starts; the goal's cell comes first.
    """

    name: str
    title: str
    """For high values, such as "far from the start"."""
    opposite: str
    """For low values, such as "near the start"."""
    codes: np.ndarray
    """int [N, 1 + K], its value as 0, 1, ..."""
    numbers: np.ndarray
    """float [N, 1 + K], the property as a number, whose mean is reported."""
    unit: str = ""
    """Unit of that mean, such as "steps from the start on average"."""
    is_share: bool = True
    """Whether the mean is given in percent."""


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
    """N episode starts from a training distribution, all with a goal."""

    level_seeds: np.ndarray
    """uint32 [N]."""
    properties: Sequence[Property]
    places: Sequence[np.ndarray]
    """Encodings of where a cell is, each int [N, 1 + K] with values 0, 1, ..., the goal's first.
    A property that is informative about one of them is associated with the goal."""
    num_levels: int
    """Distinct levels, including those without a goal."""
    present: float
    """Share of episodes that have a goal."""
    description: str
    """Of the distribution, for a title."""
    reward: str
    """A sentence on the rewards."""
    others: str = "other cells"
    """What the K cells are called."""


Start = Callable[[Any, jax.Array, jax.Array, Any], tuple[Any, dict[str, jax.Array]]]
"""(env, key, index of a level in the pool, params) -> the start state of an episode there, and
the fields to keep."""


def draw_starts(
    env: Any, params: Any, number: int, seed: int, start: Start
) -> dict[str, np.ndarray]:
    """Episode starts on levels as training draws them, beginning with its first pool.

    Each level is used once, unless the set has fewer than `number`; then they repeat in turn.

    Args:
      env, params: of training, with a pool of levels.
      number: N.
      seed: for the starts, and for the levels after the first pool.
      start: starts one episode.

    Returns:
      The fields from `start`, [N, ...] each.
    """
    key = jax.random.key(seed)
    nowhere = jnp.zeros(0, jnp.int32)  # no episode is running, so all levels are renewed
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
