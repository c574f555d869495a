"""Controllers: a network, a policy that ignores observations, or a script.

A controller is a pytree, so that its numbers are traced: two agents with the same network
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
    """What a network with a memory is given."""

    seen: jax.Array  # [B, ...], observations
    memory: jax.Array  # float32 [B, M], of the step before
    fresh: jax.Array  # bool [B], whether an episode begins: then the memory does not count


class Controller(Protocol):
    """A pytree with one method."""

    def act(self, keys: jax.Array, observations: jax.Array, states: Any, params: Any) -> jax.Array:
        """Actions of B environments. Consumes `keys`.

        Args:
          keys: keys [B], one per environment.
          observations: [B, ...], as the environment gives them.
          states: environment states, leading axis B; for scripts that read them.
          params: of the environment, for scripts that read its levels; conditions' overrides
            are not in them.

        Returns:
          int32 [B].
        """


@struct.dataclass
class AgentController:
    """Plays a network."""

    params: Any
    network: Callable[[Any, Any], Any] = struct.field(pytree_node=False)
    """(params, observations [B, ...]) -> something with `logits` [B, A]; if it has an attribute
    `memory`, the size M of its memory, (params, `Remembered` [B]) -> one with `memory` [B, M], too.
    """
    greedy: bool | np.bool_ | jax.Array = False
    """Take the likeliest action instead of sampling; traced."""

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
        """As `act`, of a network with a memory: actions int32 [B], and its new memory [B, M].

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

    probabilities: np.ndarray  # float32 [A]; on no device before it plays

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
