"""Showing states to networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax import EnvParams, EnvState, LevelPool
from coinrun_jax.coinrun.cues import pressed
from coinrun_jax.coinrun.types import NUM_ACTIONS, Action
from eval.rollout import Arena
from train.networks import Apply, Output, make_network
from train.policy import Policy

_BATCH = 256  # states that a network looks at at a time

Describe = Callable[[EnvState, LevelPool], jax.Array]
"""Something about one state."""


class Model(NamedTuple):
    """A network with its weights."""

    network: Apply
    weights: Any


@dataclass(frozen=True)
class Reader:
    """Shows states of an arena's levels to networks, with all but the coin as in training."""

    env: Any
    params: EnvParams

    def outputs(self, model: Model, states: EnvState) -> Output:
        """Of states [M]; numpy."""
        found = _outputs(self.env, model.network, model.weights, self.params, states)
        return jax.tree.map(np.asarray, found)

    def describe(self, states: EnvState, *functions: Describe) -> list[np.ndarray]:
        """What each function says of states [M]; numpy [M, ...]."""
        return [np.asarray(each) for each in _describe(functions, states, self.params.pool)]

    @property
    def pressing_left(self) -> np.ndarray:
        """Which actions move the agent to the left; they differ in a mirror. bool [A]."""
        keys = np.asarray(pressed(jnp.arange(NUM_ACTIONS, dtype=jnp.int32), self.params.cues))
        return np.isin(keys, [Action.LEFT_DOWN, Action.LEFT, Action.LEFT_UP])


def reader(arena: Arena) -> Reader:
    """Of an arena whose conditions differ in the coin's place alone."""
    return Reader(arena.env, arena.params_of(0))


def untrained(policy: Policy, env: Any, key: jax.Array) -> Model:
    """The policy's architecture with fresh weights; consumes `key`."""
    space = env.observation_space()
    network = make_network(policy.config.network, space.shape, env.num_actions)
    weights = jax.jit(network.init)(key, jnp.zeros((1, *space.shape), space.dtype))
    return Model(network.apply, weights)


@partial(jax.jit, static_argnames="change")
def changed(states: EnvState, change: Callable[[EnvState], EnvState]) -> EnvState:
    """States [M], each put through a change of one state."""
    return jax.vmap(change)(states)


@partial(jax.jit, static_argnames=("env", "network"))
def _outputs(env: Any, network: Apply, weights: Any, params: EnvParams, states: EnvState) -> Output:
    def show(state: EnvState) -> Output:
        seen = env.observe(None, state, None, params)
        return jax.tree.map(lambda leaf: leaf[0], network(weights, seen[None]))

    return jax.lax.map(show, states, batch_size=_BATCH)


@partial(jax.jit, static_argnames="functions")
def _describe(
    functions: tuple[Describe, ...], states: EnvState, pool: LevelPool
) -> list[jax.Array]:
    return [jax.vmap(function, (0, None))(states, pool) for function in functions]
