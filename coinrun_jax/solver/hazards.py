"""The part of a pool that the search needs: some levels, with deadly entities only.

Computed on the host in numpy, so that compiled programs do not depend on the pool's size.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from coinrun_jax.coinrun.types import Entity, EnvState, LevelPool


def count_hazards(pool: LevelPool) -> np.ndarray:
    """Saws and enemies of every level, int [P]."""
    return _is_hazard(pool).sum(1)


def _is_hazard(pool: LevelPool) -> np.ndarray:
    kind = np.asarray(pool.levels.entity_type)
    return (kind == Entity.SAW) | (kind == Entity.ENEMY)


def levels_of(pool: LevelPool, states: EnvState, size: int) -> tuple[LevelPool, EnvState]:
    """A pool with one level for each state, and only saws and enemies as entities.

    The dynamics are unchanged: crates are looked up in `pool.tiles`, and no entity depends on
    another's slot.

    Args:
      pool: numpy arrays, P levels.
      states: numpy arrays, [N].
      size: entity slots to keep, at least the number of saws and enemies of each level.

    Returns:
      The pool of N levels, and the states with `level_index` 0 ... N - 1.
    """
    number = len(pool.levels.seed)
    pool = jax.tree.map(
        lambda leaf: leaf[states.level_index] if leaf.shape[:1] == (number,) else leaf, pool
    )
    hazard = _is_hazard(pool)
    order = np.argsort(~hazard, axis=1, kind="stable")[:, :size]

    def first(leaf: Any) -> np.ndarray:
        return np.take_along_axis(leaf, order, 1)

    def last(leaf: Any) -> np.ndarray:
        return np.take_along_axis(leaf, order.reshape(len(order), *(1,) * (leaf.ndim - 2), -1), -1)

    levels = pool.levels
    levels = levels.replace(
        entity_type=np.where(first(hazard), first(levels.entity_type), Entity.NONE).astype(np.int8),
        entity_xy=np.take_along_axis(np.asarray(levels.entity_xy), order[..., None], 1),
        entity_vx=first(levels.entity_vx),
        entity_theme=first(levels.entity_theme),
    )
    lanes = {name: last(getattr(pool, name)) for name in ("lane_edge", "lane_wall", "lane_crates")}
    return pool.replace(levels=levels, **lanes), states.replace(
        level_index=np.arange(len(order), dtype=np.int32),
        entity_x=first(states.entity_x),
        entity_vx=first(states.entity_vx),
    )
