"""The states of chosen episodes, and network outputs for states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from coinrun_jax.arena import Arena, Replay
from coinrun_jax.controllers import AgentController
from coinrun_jax.inspection import Describe
from eval.results import AGENT, Evaluation
from train.networks import Apply, Output

_BATCH = 64  # states per forward pass


class Place(NamedTuple):
    """Which episode: condition, level of the condition, sample."""

    condition: int
    level: int
    sample: int = 0


def replay(arena: Arena, evaluation: Evaluation, places: Sequence[Place]) -> list[Replay]:
    """Replay the agent's episodes exactly, keeping every state.

    Raises:
      RuntimeError: if an episode diverges from its record.
    """
    wanted = list(dict.fromkeys(places))
    found: dict[Place, Replay] = {}
    for start in range(0, len(wanted), arena.lanes):
        part = wanted[start : start + arena.lanes]
        found |= zip(part, arena.replay(AGENT, part), strict=True)
    for place, again in found.items():
        before = jax.tree.map(lambda leaf, at=place: leaf[at], evaluation.played[AGENT].record)
        if not jax.tree.all(jax.tree.map(np.array_equal, before, again.record)):
            raise RuntimeError(f"{place} took another course: {before}, {again.record}")
    return [found[place] for place in places]


class Model(NamedTuple):
    """A network with its weights."""

    network: Apply
    weights: Any


class Seen(NamedTuple):
    """States as seen by a network; numpy, leading axis M."""

    observations: np.ndarray
    output: Output


@dataclass(frozen=True)
class Viewer:
    """Shows states to networks as in one condition, in batches; returns numpy arrays."""

    env: Any
    params: Any
    key: jax.Array
    """For environments whose observations are random."""

    @classmethod
    def of(cls, arena: Arena, condition: int) -> Viewer:
        """As in a condition of an arena, on its levels."""
        return cls(arena.env, arena.params_of(condition), arena.key)

    def show(self, model: Model, states: Any) -> Seen:
        """Observations of states [M], and the network's output for them."""
        weights = jax.device_put(model.weights)
        return in_batches(
            partial(_show, self.env, model.network, weights, self.params, self.key), states
        )

    def describe(self, describe: Describe, states: Any) -> np.ndarray:
        """Apply a function of one state to states [M]; [M, ...]."""
        return np.asarray(in_batches(partial(_describe, describe, self.params), states))

    def change(self, change: Callable[[Any], Any], states: Any) -> Any:
        """States [M], each changed by a function of one state."""
        return in_batches(partial(_change, change), states)


def values_of(arena: Arena, condition: int, states: Sequence[Any]) -> np.ndarray | None:
    """The agent's value estimates of T states of an episode, float [T]; None for a scripted agent
    or a network with memory.
    """
    agent = arena.controllers[AGENT]
    if not isinstance(agent, AgentController) or agent.memory:
        return None
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *states)
    seen = Viewer.of(arena, condition).show(Model(agent.network, agent.params), stacked)
    return np.asarray(seen.output.value)


def in_batches(function: Callable[[Any], Any], states: Any) -> Any:
    """Apply a function of [_BATCH] states to [M] states; the last batch is padded."""
    number = len(jax.tree.leaves(states)[0])
    if number == 0:
        states = jax.tree.map(lambda leaf: np.zeros((1, *leaf.shape[1:]), leaf.dtype), states)
    parts = []
    for start in range(0, max(number, 1), _BATCH):
        at = np.arange(start, start + _BATCH) % max(number, 1)
        batch = jax.device_get(function(jax.tree.map(lambda leaf, at=at: leaf[at], states)))
        parts.append(jax.tree.map(lambda leaf, end=number - start: leaf[:end], batch))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


@partial(jax.jit, static_argnums=(0, 1))
def _show(env: Any, network: Apply, weights: Any, params: Any, key: jax.Array, states: Any) -> Seen:
    observations = jax.vmap(lambda state: env.observe(key, state, None, params))(states)
    return Seen(observations, network(weights, observations))


@partial(jax.jit, static_argnums=0)
def _describe(describe: Describe, params: Any, states: Any) -> jax.Array:
    return jax.vmap(describe, (0, None))(states, params)


@partial(jax.jit, static_argnums=0)
def _change(change: Callable[[Any], Any], states: Any) -> Any:
    return jax.vmap(change)(states)
