"""Batches of episodes, each with its own key, for the Gymnasium environments.

Episode number n of an environment with key k is drawn with `fold_in(k, n)`: its level and coin
depend on neither the actions nor the rest of the batch.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import struct

from coinrun_jax.coinrun.env import CoinRun
from coinrun_jax.coinrun.params import EnvParams
from coinrun_jax.coinrun.types import EnvState

Tree = TypeVar("Tree")


class Episodes(struct.PyTreeNode):
    """The running episodes of a batch of N environments."""

    keys: jax.Array  # key [N]
    number: jax.Array  # uint32 [N], episodes of that key before this one
    state: EnvState  # [N]


class Outcome(struct.PyTreeNode):
    """Result of a step."""

    observation: jax.Array  # [N, ...]
    reward: jax.Array  # float32 [N]
    terminated: jax.Array  # bool [N]
    truncated: jax.Array  # bool [N]
    info: dict[str, jax.Array]  # of the episodes that continue or have just begun
    final_state: EnvState  # [N], before auto-reset
    final_info: dict[str, jax.Array]


@jax.jit
def choose(mask: jax.Array, new: Tree, old: Tree) -> Tree:
    """The new leaves for the masked environments, the old ones for the others."""
    return jax.vmap(lambda m, a, b: jax.tree.map(partial(jnp.where, m), a, b))(mask, new, old)


@jax.jit
def take(states: Tree, index: jax.Array) -> Tree:
    """Some environments of a batch; index int [n]."""
    return jax.tree.map(lambda leaf: leaf[index], states)


@cache
def shared_env(**kwargs: Any) -> CoinRun:
    """The same `CoinRun` for equal arguments, so that compiled programs are shared."""
    return CoinRun(**kwargs)


@jax.jit
def describe(state: EnvState, params: EnvParams) -> dict[str, jax.Array]:
    """The events of a batch of states, under the names of `CoinRun`'s info; each [N]."""
    return {
        "level_seed": params.pool.levels.seed[state.level_index],
        "coin_moved": state.coin_moved,
        "outcome": state.cause.astype(jnp.int32),
        "episode_length": state.time,
        "episode_return": state.episode_return,
        "coin_step": state.coin_step,
        "end_step": state.end_step,
        "ghost_step": state.ghost_step,
    }


def _draw(env: CoinRun, keys: jax.Array, number: jax.Array, params: EnvParams) -> EnvState:
    keys = jax.vmap(jax.random.fold_in)(keys, number)
    return jax.vmap(env.reset_state, in_axes=(0, None))(keys, params)


@partial(jax.jit, static_argnames="env")
def observe(env: CoinRun, state: EnvState, params: EnvParams) -> jax.Array:
    """Observations of a batch of states."""
    return jax.vmap(lambda s: env.observe(jax.random.key(0), s, None, params))(state)


@partial(jax.jit, static_argnames=("env", "size"))
def pictures(env: CoinRun, state: EnvState, params: EnvParams, size: int) -> jax.Array:
    """Pictures of a batch of states; uint8 [N, size, size, 3]."""
    return jax.vmap(lambda s: env.render(s, params, size))(state)


@partial(jax.jit, static_argnames="env")
def begin(env: CoinRun, keys: jax.Array, params: EnvParams) -> Episodes:
    """The first episodes of these keys."""
    number = jnp.zeros(keys.shape, jnp.uint32)
    return Episodes(keys, number, _draw(env, keys, number, params))


@partial(jax.jit, static_argnames="env")
def go_on(env: CoinRun, episodes: Episodes, mask: jax.Array, params: EnvParams) -> Episodes:
    """Begin the masked environments' next episodes, whether or not the current ones have ended."""
    number = episodes.number + mask
    fresh = _draw(env, episodes.keys, number, params)
    return episodes.replace(number=number, state=choose(mask, fresh, episodes.state))


@partial(jax.jit, static_argnames="env")
def advance(
    env: CoinRun,
    episodes: Episodes,
    action: jax.Array,
    ended: jax.Array,
    params: EnvParams,
    same_step: jax.Array | bool,
) -> tuple[Episodes, Outcome]:
    """One step of a batch, observed once.

    Args:
      env: what to step.
      episodes: of N environments.
      action: int [N].
      ended: bool [N], environments whose action is ignored and whose next episode begins.
      params: of all environments.
      same_step: whether the next episode begins in the step in which one ends; the observation
        is then its first.
    """

    def step(state: EnvState, action: jax.Array) -> tuple[Any, ...]:
        state, reward, terminated, _ = env.advance(state, action, params)
        # An episode that terminates in the last step is not truncated.
        return state, reward, terminated, env.is_truncated(state, params) & ~terminated

    state, reward, terminated, truncated = jax.vmap(step)(episodes.state, action)
    reward = jnp.where(ended, 0.0, reward)
    terminated, truncated = terminated & ~ended, truncated & ~ended
    renewed = jnp.where(same_step, terminated | truncated, ended)
    number = episodes.number + renewed
    following = choose(renewed, _draw(env, episodes.keys, number, params), state)
    return episodes.replace(number=number, state=following), Outcome(
        observation=observe(env, following, params),
        reward=reward,
        terminated=terminated,
        truncated=truncated,
        info=describe(following, params),
        final_state=state,
        final_info=describe(state, params),
    )
