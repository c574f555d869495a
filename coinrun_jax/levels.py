"""Levels in and out: Procgen's own codes, and what two layouts have in common."""

from __future__ import annotations

from typing import Any

import numpy as np

from coinrun_jax.types import Cell, Entity, Level


def level_to_arrays(level: Level) -> dict[str, Any]:
    """One level in Procgen's codes, with the coin at the end; entities in creation order.

    Returns:
      `grid` int8 [64, 64] (row 0 lowest), `saw_xy`, `crate_xy`, `enemy_xy` float32 [n, 2],
      `enemy_vx` float32 [n], `crate_theme`, `enemy_theme` int8 [n], `entity_type` int8 [n],
      and the scalars `level_seed`, `wall_theme`, `agent_theme`, `background_index`,
      `background_shift`.

    Raises:
      ValueError: for a batch of levels.
    """
    if np.ndim(level.grid) != 2:
        raise ValueError(f"level_to_arrays takes one level, not a batch {np.shape(level.grid)}")
    grid = np.array(level.grid)
    x, y = np.asarray(level.end_cell)
    grid[y, x] = Cell.COIN
    kind = np.asarray(level.entity_type)
    of = {name: kind == name for name in (Entity.SAW, Entity.CRATE, Entity.ENEMY)}
    xy, vx, theme = (np.asarray(a) for a in (level.entity_xy, level.entity_vx, level.entity_theme))
    return {
        "grid": grid,
        "saw_xy": xy[of[Entity.SAW]],
        "crate_xy": xy[of[Entity.CRATE]],
        "crate_theme": theme[of[Entity.CRATE]],
        "enemy_xy": xy[of[Entity.ENEMY]],
        "enemy_vx": vx[of[Entity.ENEMY]],
        "enemy_theme": theme[of[Entity.ENEMY]],
        "entity_type": kind[kind != Entity.NONE],
        "level_seed": int(level.seed),
        "wall_theme": int(level.wall_theme),
        "agent_theme": int(level.agent_theme),
        "background_index": int(level.background_index),
        "background_shift": float(level.background_shift),
    }
