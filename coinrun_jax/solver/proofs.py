"""`solve`: search for actions that collect the coin, for many states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.coinrun.cues import pressed
from coinrun_jax.coinrun.params import EnvParams
from coinrun_jax.coinrun.types import MAX_ENTITIES, Action, EnvState, LevelPool
from coinrun_jax.solver.distance import distance_map
from coinrun_jax.solver.hazards import count_hazards, levels_of
from coinrun_jax.solver.search import (
    ITERATIONS_PER_CALL,
    NEVER,
    NO_GOAL,
    RUN_AND_DROP,
    Limits,
    Settings,
    Task,
    empty_search,
    path_to_goal,
    restart,
    search_on,
)

QUICK = Settings(slots=32, width=16, iterations=128, hold=4, fineness=1.0, weight=1.5)
THOROUGH = Settings(
    slots=4,
    width=32,
    iterations=1024,
    hold=2,
    fineness=2.0,
    weight=1.5,
    actions=RUN_AND_DROP,
    wait=8,
    table=1 << 17,
)
STAGES = (QUICK, THOROUGH)
"""States that one stage does not solve go to the next."""
SHORTER = Settings(
    slots=8, width=32, iterations=256, hold=2, fineness=2.0, weight=1.1, table=1 << 17
)

_FEW_HAZARDS = 8  # most levels have no more; stepping so few is twice as fast
_BLOCK = 1024  # states in memory at a time
_MAP_BATCH = 32


_Paths = dict[int, np.ndarray]
"""Actions, int8 [steps], by index of the state."""


class Proofs(NamedTuple):
    """What was found for N states; `replay` verifies it.

    Lengths are those of the best paths found: upper bounds of the shortest possible.
    """

    solved: np.ndarray  # bool [N]
    actions: np.ndarray  # int8 [N, T], codes of `Action`; NOOP from the length on
    length: np.ndarray  # int32 [N], steps after which the coin is collected; 0 where unsolved


def solve(
    params: EnvParams,
    states: EnvState,
    stages: Sequence[Settings] = STAGES,
    shorten: bool = False,
) -> Proofs:
    """Search for actions that collect the coin, whether or not it is present.

    Args:
      params: for the pool, the end of episodes, and mirroring. The placement is ignored.
      states: `EnvState` with one leading axis N, as resets give them: where the agent
        starts and in which cell the coin is. Any running state will do.
      stages: searches, each for the states that those before it left unsolved.
      shorten: search once more, for shorter paths.

    Returns:
      `Proofs` of the N states.

    Raises:
      ValueError: for a single state or an empty batch.
    """
    if np.ndim(states.x) != 1 or not len(states.x):
        raise ValueError(f"solve takes states with one leading axis, not shape {states.x.shape}")
    number = len(states.x)
    params, states = jax.device_get((params, states))
    paths: _Paths = {}
    for stage in stages:
        left = np.array([index for index in range(number) if index not in paths], int)
        paths |= _search_all(params, states, left, stage, {})
    if shorten:
        paths |= _search_all(params, states, np.array(sorted(paths), int), SHORTER, paths)

    length = np.array([len(paths.get(index, ())) for index in range(number)], np.int32)
    actions = np.full((number, length.max()), Action.NOOP, np.int8)
    for index, path in paths.items():
        actions[index, : len(path)] = path
    actions = np.asarray(pressed(jnp.asarray(actions), params.cues))  # mirroring is its own inverse
    return Proofs(solved=length > 0, actions=actions, length=length)


def _search_all(
    params: EnvParams, states: EnvState, which: np.ndarray, settings: Settings, known: _Paths
) -> _Paths:
    """Paths from the states with indices `which`, shorter than the `known` ones."""
    if not len(which):
        return {}
    few = count_hazards(params.pool)[states.level_index[which]] <= _FEW_HAZARDS
    # A second program is not worth compiling for a handful of levels.
    groups = [which[few], which[~few]] if len(which) > 2 * settings.slots else [which[:0], which]
    found: _Paths = {}
    for size, group in zip((_FEW_HAZARDS, MAX_ENTITIES), groups, strict=True):
        for first in range(0, len(group), _BLOCK):
            block = group[first : first + _BLOCK]
            found |= _search(params, states, block, size, settings, known)
    return found


@jax.jit
def _distance_maps(pool: LevelPool, coin_cell: jax.Array) -> jax.Array:
    index = jnp.arange(len(coin_cell), dtype=jnp.int32)
    return jax.vmap(distance_map, in_axes=(None, 0, 0))(pool, index, coin_cell)


def _take(states: EnvState, which: np.ndarray) -> EnvState:
    return jax.tree.map(lambda leaf: leaf[which], states)


def distance_maps(pool: LevelPool, states: EnvState, which: np.ndarray) -> np.ndarray:
    """`distance_map` of the states with indices `which`, [len(which), ...]; all in numpy."""
    parts = []
    filled = np.resize(which, -(-len(which) // _MAP_BATCH) * _MAP_BATCH)
    for batch in filled.reshape(-1, _MAP_BATCH):
        levels, there = levels_of(pool, _take(states, batch), MAX_ENTITIES)
        parts.append(np.asarray(_distance_maps(levels, there.coin_cell)))
    return np.concatenate(parts)[: len(which)]


def _search(
    params: EnvParams,
    states: EnvState,
    which: np.ndarray,
    entities: int,
    settings: Settings,
    known: _Paths,
) -> _Paths:
    limits = Limits(jnp.int32(params.max_steps_in_episode), jnp.bool_(params.terminate_at_end))
    maps = distance_maps(params.pool, states, which)
    to_beat = np.array(
        [states.time[i] + len(known[i]) if i in known else NEVER for i in which], np.int32
    )
    found: _Paths = {}
    slots = settings.slots
    search = empty_search(settings, entities)
    held = np.full(slots, -1)  # position in `which` of each slot's state, or -1
    age = np.zeros(slots, int)  # iterations
    queue = list(range(len(which)))[::-1]
    while queue or (held >= 0).any():
        fresh = np.zeros(slots, bool)
        for slot in np.flatnonzero(held < 0)[: len(queue)]:
            held[slot], age[slot], fresh[slot] = queue.pop(), 0, True
        if fresh.any():
            now = np.maximum(held, 0)
            levels, starts = levels_of(params.pool, _take(states, which[now]), entities)
            task = jax.device_put(Task(levels, starts, maps[now]))
            search = restart(search, task, fresh, to_beat[now])
        search = search_on(search, task, limits, settings)
        age += ITERATIONS_PER_CALL
        goal, is_open = np.asarray(search.goal), np.asarray(search.is_open)
        over = (goal != NO_GOAL) | ~is_open | (age + ITERATIONS_PER_CALL > settings.iterations)
        for slot in np.flatnonzero(over & (held >= 0)).tolist():
            if goal[slot] != NO_GOAL:
                found[int(which[held[slot]])] = path_to_goal(search.nodes, slot, int(goal[slot]))
            held[slot] = -1
    return found
