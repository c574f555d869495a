"""States that an agent comes to, a few of each episode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax import EnvParams, EnvState, LevelPool
from eval.controllers import Controller
from eval.probes.scene import is_fork, sees_coin
from eval.rollout import Arena
from eval.variants import Variants

Kind = Callable[[EnvState, LevelPool], jax.Array]
KINDS: tuple[Kind, ...] = (sees_coin, is_fork)
"""Which states are kept: for each kind, KEPT of every episode."""
KEPT = 8
STEPS = 256
"""Of an episode, after which it is looked at no more."""
_LANES = 256  # episodes side by side


@dataclass(frozen=True)
class Visits:
    """States of one kind, in M slots; not all of them are filled."""

    states: EnvState  # [M], on the device
    filled: np.ndarray  # bool [M]
    level: np.ndarray  # int [M], index into the pool


class _Kept(NamedTuple):
    """A sample of the states of a kind that an episode has come to, all alike."""

    states: EnvState  # [KEPT]
    seen: jax.Array  # int32 [], those that it was drawn from


class _Episodes(NamedTuple):
    """Being played, leading axis B."""

    condition: jax.Array  # int32
    keys: jax.Array  # keys
    states: EnvState
    over: jax.Array  # bool
    kept: tuple[_Kept, ...]  # one for each of KINDS


def visits(arena: Arena, agent: Controller) -> list[Visits]:
    """Play every condition and level of the arena once.

    Returns:
      one for each of KINDS.
    """
    condition, number = (each.ravel() for each in np.indices(arena.level_index.shape, np.int32))
    level = arena.level_index[condition, number]
    lanes = min(_LANES, level.size)
    parts = []
    for start in range(0, level.size, lanes):
        # The last batch is filled up, so that all share a program, with what is cut off below.
        at = np.arange(start, start + lanes) % level.size
        parts.append(
            _visit(
                arena.env,
                arena.params,
                arena.variants,
                agent,
                arena.key,
                jnp.asarray(condition[at]),
                jnp.asarray(level[at]),
            )
        )
    kinds = jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[: level.size], *parts)
    return [_gather(kept, level) for kept in kinds]


def _gather(kept: _Kept, level: np.ndarray) -> Visits:
    filled = np.arange(KEPT) < np.asarray(kept.seen)[:, None]
    states = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), kept.states)
    return Visits(states, filled.ravel(), np.repeat(level, KEPT))


def _offer(kept: _Kept, key: jax.Array, state: EnvState, is_kind: jax.Array) -> _Kept:
    """Take one more state into account (algorithm R of Vitter 1985)."""
    seen = kept.seen + is_kind
    drawn = jax.random.randint(key, (), 0, jnp.maximum(seen, 1), jnp.int32)
    place = jnp.where(seen <= KEPT, seen - 1, drawn)
    place = jnp.where(is_kind, place, KEPT)  # beyond the last one: dropped
    states = jax.tree.map(
        lambda leaf, new: leaf.at[place].set(new, mode="drop"), kept.states, state
    )
    return _Kept(states, seen)


@partial(jax.jit, static_argnames="env")
def _visit(
    env: Any,
    params: EnvParams,
    variants: Variants,
    agent: Controller,
    key: jax.Array,
    condition: jax.Array,
    level: jax.Array,
) -> tuple[_Kept, ...]:
    """What is kept of B episodes; `condition` and `level` int32 [B], leading axis B."""

    def params_of(condition: jax.Array) -> EnvParams:
        return params.replace(**variants.pick(condition))

    def start(condition: jax.Array, level: jax.Array) -> _Episodes:
        own = jax.random.fold_in(jax.random.fold_in(key, params.pool.levels.seed[level]), condition)
        key_reset, key_play = jax.random.split(own)
        _, state = env.reset_to_level(key_reset, level, params_of(condition))
        slots = jax.tree.map(lambda leaf: jnp.zeros((KEPT, *leaf.shape), leaf.dtype), state)
        kept = tuple(_Kept(slots, jnp.int32(0)) for _ in KINDS)
        return _Episodes(condition, key_play, state, jnp.bool_(False), kept)

    def keep(own: jax.Array, state: EnvState, over: jax.Array, kept: Any) -> tuple[_Kept, ...]:
        return tuple(
            _offer(each, own, state, kind(state, params.pool) & ~over)
            for kind, each in zip(KINDS, kept, strict=True)
        )

    def see(condition: jax.Array, state: EnvState) -> jax.Array:
        return env.observe(key, state, None, params_of(condition))

    def move(
        condition: jax.Array, state: EnvState, over: jax.Array, action: jax.Array
    ) -> tuple[EnvState, jax.Array]:
        _, new, _, _, info = env.step_env(key, state, action, params_of(condition))
        state = jax.tree.map(partial(jnp.where, over), state, new)
        return state, over | (info["outcome"] > 0) | (info["end_step"] > 0)

    def step(carry: tuple[jax.Array, _Episodes]) -> tuple[jax.Array, _Episodes]:
        count, now = carry
        keys = jax.vmap(lambda own: jax.random.split(jax.random.fold_in(own, count)))(now.keys)
        kept = jax.vmap(keep)(keys[:, 0], now.states, now.over, now.kept)
        seen = jax.vmap(see)(now.condition, now.states)
        actions = agent.act(keys[:, 1], seen, now.states)
        states, over = jax.vmap(move)(now.condition, now.states, now.over, actions)
        return count + 1, now._replace(states=states, over=over, kept=kept)

    def goes_on(carry: tuple[jax.Array, _Episodes]) -> jax.Array:
        count, now = carry
        return (count < STEPS) & ~now.over.all()

    episodes = jax.vmap(start)(condition, level)
    return jax.lax.while_loop(goes_on, step, (jnp.int32(0), episodes))[1].kept
