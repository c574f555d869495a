"""Who plays: the agent of a run, the reference policies, and scripts.

A controller is a pytree, so that its numbers are traced: two agents with the same network
share one compiled program.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from coinrun_jax import Action
from coinrun_jax.coinrun.types import NUM_ACTIONS

ACTION_MODES = ("sample", "greedy", "both")


class Controller(Protocol):
    """A pytree with one method."""

    def act(self, keys: jax.Array, observations: jax.Array, states: Any) -> jax.Array:
        """Actions of B environments. Consumes `keys`.

        Args:
          keys: keys [B], one per environment.
          observations: [B, ...], as the environment gives them.
          states: environment states, leading axis B; for scripts that read them.

        Returns:
          int32 [B].
        """


@struct.dataclass
class AgentController:
    """Plays a network."""

    params: Any
    network: Callable[[Any, jax.Array], Any] = struct.field(pytree_node=False)
    """(params, observations [B, ...]) -> something with `logits` [B, A]."""
    greedy: bool | np.bool_ | jax.Array = False
    """Take the likeliest action instead of sampling; traced."""

    def act(self, keys: jax.Array, observations: jax.Array, states: Any) -> jax.Array:
        del states
        logits = self.network(self.params, observations).logits
        sampled = jax.vmap(jax.random.categorical)(keys, logits)
        return jnp.where(self.greedy, jnp.argmax(logits, -1), sampled).astype(jnp.int32)


@struct.dataclass
class BlindController:
    """Draws every action from the same probabilities and never looks."""

    probabilities: jax.Array  # float32 [A]

    def act(self, keys: jax.Array, observations: jax.Array, states: Any) -> jax.Array:
        del observations, states
        draws = jax.vmap(lambda key: jax.random.uniform(key, (), jnp.float32))(keys)
        bounds = jnp.cumsum(self.probabilities)[:-1]
        return jnp.sum(draws[:, None] >= bounds, -1, dtype=jnp.int32)


@struct.dataclass
class ScriptedController:
    """Plays a function of one environment: (key, observation, state) -> action."""

    function: Callable[[jax.Array, jax.Array, Any], jax.Array] = struct.field(pytree_node=False)

    def act(self, keys: jax.Array, observations: jax.Array, states: Any) -> jax.Array:
        return jax.vmap(self.function)(keys, observations, states)


def references(mirrored: bool = False) -> dict[str, Controller]:
    """The rows that every table carries: uniformly random, and eyes-closed right + jump.

    Args:
      mirrored: whether the end is seen on the left in training, so that the latter jumps left.
    """
    towards_the_end = Action.LEFT_UP if mirrored else Action.RIGHT_UP
    one_action = np.eye(NUM_ACTIONS, dtype=np.float32)[towards_the_end]
    any_action = np.full(NUM_ACTIONS, 1 / NUM_ACTIONS, np.float32)
    return {
        "right_jump": BlindController(jnp.asarray(one_action)),
        "random": BlindController(jnp.asarray(any_action)),
    }
