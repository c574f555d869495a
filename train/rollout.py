"""Rollouts of all environments, and sums over the episodes that end in them."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from coinrun_jax.controllers import Remembered
from train.networks import Apply


class Transition(NamedTuple):
    """One step of every environment; a rollout adds a leading time axis T."""

    observation: Any  # [N, ...], as the environment gives it, or `Remembered`
    action: jax.Array  # int32 [N]
    log_prob: jax.Array  # float32 [N]
    value: jax.Array  # float32 [N], of `observation`
    reward: jax.Array  # float32 [N]
    terminated: jax.Array  # bool [N]
    truncated: jax.Array  # bool [N]
    final_value: jax.Array  # float32 [N], of the final observation if truncated, else 0


class EpisodeSums(NamedTuple):
    """Sums over the episodes that ended in a rollout; divide by `episodes`."""

    episodes: jax.Array  # int32 []
    length: jax.Array  # int32 [], steps
    reward: jax.Array  # float32 []
    outcomes: jax.Array  # int32 [O], by the environment's `outcomes`
    before: jax.Array  # int32 [K, K], episodes with event i before event j, or without j


def _of_ended(done: jax.Array, info: dict[str, jax.Array], num_outcomes: int) -> EpisodeSums:
    """Sums over those of the N environments whose episodes end in this step."""
    count = partial(jnp.sum, axis=0, dtype=jnp.int32)
    names = jnp.arange(num_outcomes, dtype=jnp.int32)
    one, other = info["events"][:, :, None], info["events"][:, None, :]
    before = (one > 0) & ((other == 0) | (one < other))
    return EpisodeSums(
        episodes=count(done),
        length=count(jnp.where(done, info["episode_length"], 0)),
        reward=jnp.where(done, info["episode_return"], 0.0).sum(),
        outcomes=count(done[:, None] & (info["outcome"][:, None] == names)),
        before=count(done[:, None, None] & before),
    )


def _with_memory(seen: jax.Array, memory: jax.Array | None, fresh: jax.Array) -> Any:
    """Observations as the network takes them."""
    return seen if memory is None else Remembered(seen, memory, fresh)


def rollout(
    env: Any,
    apply: Apply,
    network_params: Any,
    keys: jax.Array,
    env_state: Any,
    observation: Any,
    env_params: Any,
    num_steps: int,
    seeds: str | None = None,
) -> tuple[Any, Any, Transition, EpisodeSums]:
    """Step N environments `num_steps` times with sampled actions.

    Environments are independent, so any shard of them can run anywhere.

    Args:
      keys: [N], one per environment; consumed.
      env: a gymnax environment; see `coinrun_jax.testbed` for what it adds.
      env_state, observation: of N environments, leading axis N; the observation is `Remembered` for
        a recurrent network.
      seeds: name of the `vmap` axis over seeds, if there is one.

    Returns:
      The last states and observations, `Transition` [T, N], and `EpisodeSums`.
    """
    num_envs = keys.shape[0]

    def final_value(
        info: dict[str, Any], truncated: jax.Array, memory: jax.Array | None
    ) -> jax.Array:
        """Values of the final observations of truncated episodes.

        Computed only in steps with a time-out, which are rare for a competent agent. Vmapped
        agents must decide together, or `vmap` would always compute it for all of them.
        """
        is_needed = truncated.any()
        if seeds is not None:
            is_needed = jax.lax.pmax(is_needed.astype(jnp.int32), seeds) > 0

        def evaluate(final: Any) -> jax.Array:
            if has_states:
                see = jax.vmap(env.observe, in_axes=(0, 0, None, None))
                final = see(keys, final, None, env_params)
            final = _with_memory(final, memory, jnp.zeros(num_envs, bool))
            return jnp.where(truncated, apply(network_params, final).value, 0.0)

        has_states = "final_state" in info
        final = info["final_state" if has_states else "final_observation"]
        nothing = jnp.zeros(num_envs, jnp.float32)
        return jax.lax.cond(is_needed, evaluate, lambda _: nothing, final)

    def step(carry: tuple, time: jax.Array) -> tuple[tuple, tuple[Transition, EpisodeSums]]:
        env_state, observation = carry
        fold = jax.vmap(jax.random.fold_in, in_axes=(0, None))
        keys_action, keys_step = fold(keys, 2 * time), fold(keys, 2 * time + 1)
        output = apply(network_params, observation)
        action = jax.vmap(jax.random.categorical)(keys_action, output.logits).astype(jnp.int32)
        log_prob = jnp.take_along_axis(jax.nn.log_softmax(output.logits), action[:, None], axis=-1)[
            :, 0
        ]
        next_observation, env_state, reward, terminated, truncated, info = jax.vmap(
            env.step, in_axes=(0, 0, 0, None)
        )(keys_step, env_state, action, env_params)
        truncated &= ~terminated  # gymnax's own environments may set both
        transition = Transition(
            observation=observation,
            action=action,
            log_prob=log_prob,
            value=output.value,
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            final_value=final_value(info, truncated, output.memory),
        )
        done = terminated | truncated
        sums = _of_ended(done, info, len(env.outcomes))
        observation = _with_memory(next_observation, output.memory, done)
        return (env_state, observation), (transition, sums)

    (env_state, observation), (transitions, sums) = jax.lax.scan(
        step, (env_state, observation), jnp.arange(num_steps, dtype=jnp.int32)
    )
    sums = jax.tree.map(lambda leaf: leaf.sum(0, dtype=leaf.dtype), sums)
    return env_state, observation, transitions, sums
