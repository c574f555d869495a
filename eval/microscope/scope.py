"""The microscope: shows states and their twins to a network, and keeps all it computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.arena import Arena
from coinrun_jax.checks import InputError
from coinrun_jax.registry import testbed_of
from coinrun_jax.testbed import EnvConfig, Testbed
from coinrun_jax.twins import HIDDEN, Change, Twins, repeated
from eval.states import in_batches
from train.environment import network_of
from train.networks import Network
from train.policy import Policy


class Look(NamedTuple):
    """N states as the network sees them; numpy, leading axis N."""

    observations: np.ndarray
    logits: np.ndarray  # float32 [N, A]
    values: np.ndarray  # float32 [N]
    activations: dict[str, np.ndarray]
    """By name, in the order of computation."""

    @property
    def probabilities(self) -> np.ndarray:
        """Action probabilities, float32 [N, A]."""
        return probabilities(self.logits)

    def pick(self, index: Any) -> Look:
        """Some of the states."""
        return jax.tree.map(lambda leaf: leaf[index], self)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Action probabilities, from logits [..., A]."""
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


@dataclass(frozen=True)
class Scope:
    """A network in one condition of an environment."""

    testbed: Testbed
    config: EnvConfig
    """What the agent was trained with."""
    env: Any
    params: Any
    """The condition's params, with the levels."""
    network: Network
    weights: Any
    key: jax.Array
    """For environments whose observations are random."""

    @classmethod
    def of(cls, policy: Policy, arena: Arena, condition: int) -> Scope:
        """A policy in a condition of an arena."""
        return cls(
            testbed=arena.testbed,
            config=policy.env_config,
            env=arena.env,
            params=arena.params_of(condition),
            network=network_of(policy.config.network, policy.env_config),
            weights=jax.device_put(policy.params),
            key=arena.key,
        )

    @cached_property
    def known(self) -> Any:
        """The params as numpy."""
        return jax.device_get(self.params)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the network's activations, in the order of computation."""
        space = self.env.observation_space(None)
        return self.network.names(
            self.weights, jax.ShapeDtypeStruct((1, *space.shape), space.dtype)
        )

    def twins(self, change: Change, state: Any) -> Twins:
        """Twins of one state, numpy."""
        return change.make(state, self.known)

    def without(self, state: Any, thing: str | None = None) -> Twins:
        """The twin without an object, by default the studied one; none if it is absent."""
        return self.twins(find_change(self.testbed, thing or self.testbed.studied, HIDDEN), state)

    def look(self, states: Any, overrides: Mapping[str, Any] | None = None) -> Look:
        """Show the network states [N], each with its own overrides of the params, [N]."""
        seen = in_batches(
            partial(_look, self.env, self.network, self.weights, self.key, self.params),
            (states, dict(overrides or {})),
        )
        return self._ordered(seen)

    def look_at(self, twins: Twins) -> Look:
        """Show the network the twins."""
        return self.look(twins.states, twins.overrides)

    def look_once(self, state: Any) -> Look:
        """Show the network one state; N is 1."""
        return self.look(repeated(state, 1))

    def look_unpatched(self, states: Any) -> Look:
        """Show the network states [N] with the program of `patch`, with nothing replaced."""
        seen = self.look(states)
        return self.patch(seen.observations, seen.activations, {})

    def patch(
        self, observations: np.ndarray, donors: Mapping[str, np.ndarray], chosen: Mapping[str, Any]
    ) -> Look:
        """Show the network observations [N] with some activations replaced.

        Args:
          donors: [N, ...], all activations by name.
          chosen: by name, which units are replaced: bool, broadcastable to an activation of one
            observation. Activations left out are not replaced.
        """
        masks = {
            name: np.broadcast_to(np.asarray(chosen.get(name, False), bool), donors[name].shape[1:])
            for name in self.names
        }
        seen = in_batches(
            partial(_patch, self.network, self.weights, masks), (observations, dict(donors))
        )
        return self._ordered(seen)

    def _ordered(self, seen: Any) -> Look:
        """With activations in the order of computation, which jit does not keep."""
        observations, logits, values, activations = seen
        ordered = {name: activations[name] for name in self.names}
        return Look(observations, logits, values, ordered)


def find_change(testbed: Testbed, thing: str, kind: str) -> Change:
    """The testbed's change of this kind.

    Raises:
      KeyError: if there is none.
    """
    for change in testbed.changes():
        if (change.object, change.kind) == (thing, kind):
            return change
    raise KeyError(f"{testbed.id} has no change {thing} {kind}")


def require_microscope(policy: Policy) -> None:
    """Refuse an agent that cannot be examined.

    Raises:
      InputError: if its network has a memory, or nothing can be changed in its testbed.
    """
    if policy.has_memory:
        raise InputError("the microscope needs a network without a memory; this one has one")
    testbed = testbed_of(policy.env_config)
    if not any((c.object, c.kind) == (testbed.studied, HIDDEN) for c in testbed.changes()):
        raise InputError(f"{testbed.id} has nothing for the microscope to change")


Seen = tuple[jax.Array, jax.Array, jax.Array, dict[str, jax.Array]]


def _look(
    env: Any, network: Network, weights: Any, key: jax.Array, params: Any, twins: Any
) -> Seen:
    """In two programs, so that a network is compiled once, whichever twins it is shown."""
    return _think(network, weights, _observe(env, key, params, twins))


@partial(jax.jit, static_argnums=0)
def _observe(env: Any, key: jax.Array, params: Any, twins: Any) -> jax.Array:
    def see(state: Any, fields: Mapping[str, Any]) -> jax.Array:
        return env.observe(key, state, None, params.replace(**fields))

    return jax.vmap(see)(*twins)


@partial(jax.jit, static_argnums=0)
def _think(network: Network, weights: Any, observations: jax.Array) -> Seen:
    output = network.apply(weights, observations)
    return observations, output.logits, output.value, network.activations(weights, observations)


@partial(jax.jit, static_argnums=0)
def _patch(network: Network, weights: Any, masks: Mapping[str, jax.Array], seen: Any) -> Seen:
    observations, donors = seen
    chosen = {name: jnp.asarray(mask)[None] for name, mask in masks.items()}
    output, activations = network.patch(weights, observations, donors, chosen)
    return observations, output.logits, output.value, activations
