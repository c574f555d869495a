"""Scale the studied object's effect on an activation, recomputed in every state.

A vector that is the same in every state cannot say where the object is. Here each state has its
own: with d the activation minus that of the twin without the object, s d is added. At s = -1 the
agent acts as if the object were absent; at 0 it is unchanged. Where the object is out of view, d
is 0 and the agent is unaffected. The baseline is a random direction of the same length as s d.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from coinrun_jax.arena import Arena
from coinrun_jax.checks import InputError
from coinrun_jax.record import classify
from eval.evaluate import Protocol, evaluate
from eval.microscope.steering import NONE, Steered, random_like, steered
from eval.results import AGENT, Played
from train.environment import network_of
from train.networks import Network
from train.policy import Policy

OWN, OWN_RANDOM = "own difference", "random of that length"


@struct.dataclass
class AmplifyingController:
    """Plays a network with s d, or a vector of that length, added to an activation."""

    weights: Any
    strength: jax.Array | np.float32
    direction: jax.Array | np.ndarray  # the activation's shape; unit length, or zeros for d
    network: Network = struct.field(pytree_node=False)
    activation: str = struct.field(pytree_node=False)
    env: Any = struct.field(pytree_node=False)
    without: Callable[[Any], Any] = struct.field(pytree_node=False)

    def act(self, keys: jax.Array, observations: jax.Array, states: Any, params: Any) -> jax.Array:
        def see(key: jax.Array, state: Any) -> jax.Array:
            return self.env.observe(key, self.without(state), None, params)

        twins = self.network.activations(self.weights, jax.vmap(see)(keys, states))
        twin = twins[self.activation]

        def push(own: jax.Array) -> jax.Array:
            difference = own - twin
            axes = tuple(range(1, difference.ndim))
            length = jnp.sqrt((difference**2).sum(axes, keepdims=True))
            other = length * jnp.asarray(self.direction)
            is_own = ~jnp.any(jnp.asarray(self.direction))
            return own + self.strength * jnp.where(is_own, difference, other)

        output = self.network.intervene(self.weights, observations, {self.activation: push})
        return jax.vmap(jax.random.categorical)(keys, output.logits).astype(jnp.int32)


def amplify(
    policy: Policy, protocol: Protocol, activation: str, strengths: Sequence[float], seed: int = 0
) -> Iterator[Steered]:
    """Play a policy with the object's effect on an activation amplified, at each strength.

    Args:
      protocol: with a `steering.steering_suite`.
      seed: of the random direction.

    Raises:
      InputError: for a condition that changes what agents see other than by moving things.
    """
    none, arena = evaluate(policy, protocol, NONE)
    _require_plain(arena)
    network = network_of(policy.config.network, policy.env_config)
    space = arena.env.observation_space(None)
    one = jnp.zeros((1, *space.shape), space.dtype)
    shape = jax.eval_shape(network.activations, policy.params, one)[activation].shape[1:]
    directions = {OWN: np.zeros(shape, np.float32), OWN_RANDOM: _unit(shape, seed)}
    for strength in strengths:
        for name, direction in directions.items() if strength else [(NONE, directions[OWN])]:
            controller = AmplifyingController(
                weights=jax.device_put(policy.params),
                strength=np.float32(strength),
                direction=direction,
                network=network,
                activation=activation,
                env=arena.env,
                without=arena.testbed.without_studied,
            )
            record = replace(arena, controllers={AGENT: controller}).play(AGENT)
            decides = arena.decides[:, None, None]
            played = Played(record, *classify(arena.testbed, arena.env, record, decides))
            pushed = replace(none, played={**none.played, AGENT: played})
            yield steered(activation, name, strength, float("nan"), pushed, none)


def _unit(shape: tuple[int, ...], seed: int) -> np.ndarray:
    ones = np.ones(shape, np.float32)
    return random_like(ones / np.linalg.norm(ones), seed)


def _require_plain(arena: Arena) -> None:
    """Controllers get params without a condition's overrides, so these must not be visible."""
    for number, condition in enumerate(arena.conditions):
        params = arena.params_of(number)
        _, state = arena.env.reset_to_level(arena.key, 0, params)
        views = [arena.env.observe(arena.key, state, None, each) for each in (params, arena.params)]
        if not np.array_equal(*views):
            raise InputError(f"condition {condition.name!r} changes what the agent sees")
