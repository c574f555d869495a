"""Playing: a rollout of all environments, and what its episodes came to."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from train.networks import Apply


class Transition(NamedTuple):
    """One step of every environment; in a rollout with a time axis T in front."""

    observation: jax.Array  # [N, ...], as the environment gives it
    action: jax.Array  # int32 [N]
    log_prob: jax.Array  # float32 [N]
    value: jax.Array  # float32 [N], of `observation`
    reward: jax.Array  # float32 [N]
    terminated: jax.Array  # bool [N]
    truncated: jax.Array  # bool [N]
    final_value: jax.Array  # float32 [N], of the last observation where truncated, else 0


class EpisodeSums(NamedTuple):
    """Sums over the episodes that ended in a rollout; divide by `episodes`."""

    episodes: jax.Array  # int32 []
    length: jax.Array  # int32 [], steps
    reward: jax.Array  # float32 []
    outcomes: jax.Array  # int32 [K], by the environment's named outcomes


def rollout(
    env: Any,
    apply: Apply,
    network_params: Any,
    key: jax.Array,
    env_state: Any,
    observation: jax.Array,
    env_params: Any,
    num_steps: int,
) -> tuple[Any, jax.Array, Transition, EpisodeSums]:
    """Step N environments `num_steps` times with sampled actions. Consumes `key`.

    Args:
      env: a gymnax environment with `outcomes`, a tuple of names for `info["outcome"]`.
      env_state, observation: of N environments, leading axis N.

    Returns:
      The last states and observations, `Transition` [T, N], and `EpisodeSums`.
    """
    num_envs = observation.shape[0]

    def final_value(final_state: Any, truncated: jax.Array, key: jax.Array) -> jax.Array:
        """Values of the observations that time-outs ended on.

        Computed only in steps that have a time-out: they are rare once an agent is able.
        """

        def evaluate(states: Any) -> jax.Array:
            see = jax.vmap(env.observe, in_axes=(None, 0, None, None))
            last = apply(network_params, see(key, states, None, env_params)).value
            return jnp.where(truncated, last, 0.0)

        return jax.lax.cond(truncated.any(), evaluate, lambda _: jnp.zeros(num_envs), final_state)

    def step(carry: tuple, key: jax.Array) -> tuple[tuple, tuple[Transition, EpisodeSums]]:
        env_state, observation = carry
        key_action, key_step = jax.random.split(key)
        output = apply(network_params, observation)
        action = jax.random.categorical(key_action, output.logits)
        log_prob = jnp.take_along_axis(jax.nn.log_softmax(output.logits), action[:, None], axis=-1)[
            :, 0
        ]
        next_observation, env_state, reward, terminated, truncated, info = jax.vmap(
            env.step, in_axes=(0, 0, 0, None)
        )(jax.random.split(key_step, num_envs), env_state, action, env_params)
        truncated &= ~terminated
        transition = Transition(
            observation=observation,
            action=action,
            log_prob=log_prob,
            value=output.value,
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            final_value=final_value(info["final_state"], truncated, key),
        )
        done = terminated | truncated
        names = jnp.arange(len(env.outcomes))
        sums = EpisodeSums(
            episodes=done.sum(),
            length=jnp.where(done, info["episode_length"], 0).sum(),
            reward=jnp.where(done, info["episode_return"], 0.0).sum(),
            outcomes=(done[:, None] & (info["outcome"][:, None] == names)).sum(0),
        )
        return (env_state, next_observation), (transition, sums)

    (env_state, observation), (transitions, sums) = jax.lax.scan(
        step, (env_state, observation), jax.random.split(key, num_steps)
    )
    return env_state, observation, transitions, jax.tree.map(lambda leaf: leaf.sum(0), sums)
