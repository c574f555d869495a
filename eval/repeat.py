"""Episodes played again: the same to the last bit, with every state, action and value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from eval.controllers import AgentController
from eval.results import AGENT, Evaluation
from eval.rollout import Arena, Replay, episode_keys

_CHUNK = 64  # states looked at in one call
_ROUNDING = 1e-4  # tiles


class Place(NamedTuple):
    """Which episode: condition, level of the condition, sample."""

    condition: int
    level: int
    sample: int = 0


def replay(arena: Arena, evaluation: Evaluation, places: Sequence[Place]) -> list[Replay]:
    """The agent's episodes, played again.

    Raises:
      RuntimeError: if an episode does not repeat itself.
    """
    wanted = list(dict.fromkeys(places))
    found: dict[Place, Replay] = {}
    for start in range(0, len(wanted), arena.lanes):
        part = wanted[start : start + arena.lanes]
        found |= zip(part, arena.replay(AGENT, part), strict=True)
    for place, again in found.items():
        before = jax.tree.map(lambda leaf, at=place: leaf[at], evaluation.played[AGENT].record)
        if not jax.tree.all(jax.tree.map(np.array_equal, before, again.record)):
            raise RuntimeError(f"{place} did not repeat itself: {before}, {again.record}")
    return [found[place] for place in places]


@dataclass(frozen=True)
class Thoughts:
    """What the agent did and expected."""

    actions: np.ndarray
    """int [T], the one taken in each state but the last."""
    values: np.ndarray
    """float [T + 1], its value estimate of each state."""


def thoughts_of(arena: Arena, place: Place, states: Sequence[Any]) -> Thoughts | None:
    """The agent's actions and values in a replay; None where it does not show them.

    The actions are drawn again from the same keys, and have to lead from each state to the
    next.

    Args:
      states: of the replay.
    """
    agent = arena.controllers[AGENT]
    if not isinstance(agent, AgentController):
        return None
    seed = arena.params.pool.levels.seed[arena.level_index[place.condition, place.level]]
    _, key = episode_keys(arena.key, seed, jnp.int32(place.sample))
    params = arena.params_of(place.condition)
    parts = []
    for start in range(0, len(states), _CHUNK):
        part = states[start : start + _CHUNK]
        padded = [*part, *[part[-1]] * (_CHUNK - len(part))]
        batch = jax.tree.map(lambda *leaves: np.stack(leaves), *padded)
        seen = jax.device_get(_look_back(arena.env, agent, params, key, batch))
        parts.append([each[: len(part)] for each in seen])
    actions, values, x, y = (np.concatenate(each) for each in zip(*parts, strict=True))
    led_to = np.stack([x, y], 1)[:-1]
    came = np.array([(state.x, state.y) for state in states[1:]]).reshape(-1, 2)
    if not np.allclose(led_to, came, rtol=0, atol=_ROUNDING):
        return None
    return Thoughts(actions[:-1], values)


@partial(jax.jit, static_argnames="env")
def _look_back(
    env: Any, agent: AgentController, params: Any, key: jax.Array, states: Any
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """(actions, values, x and y of the next states), [B] each."""

    def see(state: Any) -> jax.Array:
        return env.observe(key, state, None, params)

    def move(state: Any, action: jax.Array) -> tuple[jax.Array, jax.Array]:
        after = env.step_env(key, state, action, params)[1]
        return after.x, after.y

    observations = jax.vmap(see)(states)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, states.time)
    actions = agent.act(keys, observations, states)
    values = agent.network(agent.params, observations).value
    return actions, values, *jax.vmap(move)(states, jnp.asarray(actions))
