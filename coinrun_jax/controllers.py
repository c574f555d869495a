"""Controllers: a network, a policy that ignores observations, or a script.

A controller is a pytree, so that its parameters are traced: two agents with the same network
share one compiled program.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct


class Remembered(NamedTuple):
    """Input of a network with memory."""

    seen: jax.Array  # [B, ...], observations
    memory: jax.Array  # float32 [B, M], from the previous step
    fresh: jax.Array  # bool [B], whether an episode begins, so that the memory is ignored


class Controller(Protocol):
    """A pytree with one method."""

    def act(self, keys: jax.Array, observations: jax.Array, states: Any, params: Any) -> jax.Array:
        """Actions for B environments. Consumes `keys`.

        Args:
          keys: keys [B], one per environment.
          observations: [B, ...], as the environment returns them.
          states: environment states, leading axis B; for scripts that read them.
          params: of the environment, for scripts that read its levels; without the conditions'
            overrides.

        Returns:
          int32 [B].
        """


@struct.dataclass
class AgentController:
    """Acts with a network."""

    params: Any
    network: Callable[[Any, Any], Any] = struct.field(pytree_node=False)
    """(params, observations [B, ...]) -> an object with `logits` [B, A]. A network with memory has
    an attribute `memory`, its size M, and takes (params, `Remembered` [B]); its output also has
    `memory` [B, M].
    """
    greedy: bool | np.bool_ | jax.Array = False
    """Take the most likely action instead of sampling; traced."""

    @property
    def memory(self) -> int:
        """Size of the network's memory; 0 for none."""
        return getattr(self.network, "memory", 0)

    def act(self, keys: jax.Array, observations: jax.Array, states: Any, params: Any) -> jax.Array:
        del states, params
        return self._choose(keys, self.network(self.params, observations).logits)

    def remember(
        self, keys: jax.Array, observations: jax.Array, memory: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Like `act`, for a network with memory: actions int32 [B] and the new memory [B, M].

        Args:
          memory: float32 [B, M], zeros at the start of an episode.
        """
        given = Remembered(observations, memory, jnp.zeros(memory.shape[:1], bool))
        output = self.network(self.params, given)
        return self._choose(keys, output.logits), output.memory

    def _choose(self, keys: jax.Array, logits: jax.Array) -> jax.Array:
        sampled = jax.vmap(jax.random.categorical)(keys, logits)
        return jnp.where(self.greedy, jnp.argmax(logits, -1), sampled).astype(jnp.int32)


@struct.dataclass
class BlindController:
    """Draws every action from the same probabilities, whatever it observes."""

    probabilities: np.ndarray  # float32 [A]; not on a device until it plays

    @classmethod
    def uniform(cls, num_actions: int) -> BlindController:
        """All actions with equal probability."""
        return cls(np.full(num_actions, 1 / num_actions, np.float32))

    @classmethod
    def always(cls, action: int, num_actions: int) -> BlindController:
        """One action."""
        return cls(np.eye(num_actions, dtype=np.float32)[action])

    def act(self, keys: jax.Array, observations: jax.Array, states: Any, params: Any) -> jax.Array:
        del observations, states, params
        draws = jax.vmap(lambda key: jax.random.uniform(key, (), jnp.float32))(keys)
        bounds = jnp.cumsum(self.probabilities)[:-1]
        return jnp.sum(draws[:, None] >= bounds, -1, dtype=jnp.int32)


@struct.dataclass
class ScriptedController:
    """Plays a function of one environment: (key, state, params) -> action."""

    function: Callable[[jax.Array, Any, Any], jax.Array] = struct.field(pytree_node=False)

    def act(self, keys: jax.Array, observations: jax.Array, states: Any, params: Any) -> jax.Array:
        del observations
        return jax.vmap(self.function, in_axes=(0, 0, None))(keys, states, params)
