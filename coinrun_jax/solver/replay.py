"""`replay`: verify proofs in the public environment."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.coinrun.env import CoinRun
from coinrun_jax.coinrun.params import EnvParams
from coinrun_jax.coinrun.types import Action, EnvState
from coinrun_jax.solver.proofs import Proofs

_BATCH = 64  # states played at a time
_STEPS = 256  # lengths are padded to multiples of it, so that few programs are compiled


class Replay(NamedTuple):
    """Outcome of N proofs; unsolved ones are not played."""

    collected: np.ndarray  # bool [N], the coin was collected in the proof's last step
    episode_return: np.ndarray  # float32 [N], the oracle's
    path: np.ndarray  # float32 [N, T + 1, 2], centres of the agent, the start first


@partial(jax.jit, static_argnames="env")
def _play(
    env: CoinRun, params: EnvParams, states: EnvState, actions: jax.Array, length: jax.Array
) -> tuple[jax.Array, ...]:
    """Episodes up to their length or their end: (coin_step, ended at, return, path)."""
    key = jax.random.key(0)  # a step draws nothing

    def step(number: jax.Array, carry: tuple) -> tuple:
        old, running, ended_at, total, path = carry
        move = partial(env.step_env, params=params)
        _, new, reward, terminated, _ = jax.vmap(lambda s, a: move(key, s, a))(
            old, actions[:, number].astype(jnp.int32)
        )
        running &= number < length

        def choose(a: jax.Array, b: jax.Array) -> jax.Array:
            return jnp.where(running.reshape((-1,) + (1,) * (a.ndim - 1)), a, b)

        new = jax.tree.map(choose, new, old)
        total += jnp.where(running, reward, 0.0)
        stops = running & (terminated | jax.vmap(env.is_truncated, (0, None))(new, params))
        path = path.at[:, number + 1].set(jnp.stack([new.x, new.y], -1))
        return new, running & ~stops, jnp.where(stops, number + 1, ended_at), total, path

    start = jnp.stack([states.x, states.y], -1)
    path = jnp.broadcast_to(start[:, None], (len(start), actions.shape[1] + 1, 2))
    nothing = jnp.zeros(length.shape, jnp.int32)
    carry = (states, length > 0, nothing, nothing.astype(jnp.float32), path)
    final, _, ended_at, total, path = jax.lax.fori_loop(0, length.max(), step, carry)
    return final.coin_step, ended_at, total, path


def replay(env: CoinRun, params: EnvParams, states: EnvState, proofs: Proofs) -> Replay:
    """Play proofs through `env.step_env`, with the coin present.

    Args:
      env: any environment of the same mode; only its steps are used.
      params: as given to `solve`.
      states: as given to `solve`, [N].
      proofs: from `solve`, of those states.
    """
    number, longest = proofs.actions.shape
    steps = max(1, -(-longest // _STEPS)) * _STEPS
    size = -(-number // _BATCH) * _BATCH
    actions = np.full((size, steps), Action.NOOP, np.int8)
    actions[:number, :longest] = proofs.actions
    length = np.zeros(size, np.int32)
    length[:number] = proofs.length
    states = states.replace(coin_present=jnp.ones(number, bool))
    batches = []
    for first in range(0, size, _BATCH):
        rows = np.arange(first, first + _BATCH)
        some = jax.tree.map(lambda leaf: leaf[np.minimum(rows, number - 1)], states)  # noqa: B023
        played = _play(env, params, some, jnp.asarray(actions[rows]), jnp.asarray(length[rows]))
        batches.append([np.asarray(leaf) for leaf in played])
    coin_step, ended_at, total, path = (
        np.concatenate(column)[:number] for column in zip(*batches, strict=True)
    )
    at_end = coin_step == np.asarray(states.time) + proofs.length
    return Replay(
        collected=proofs.solved & at_end & (ended_at == proofs.length),
        episode_return=total,
        path=path[:, : longest + 1],
    )
