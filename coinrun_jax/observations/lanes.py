"""Which enemies a frame can show, and where: what lets it draw them all at once.

Enemies never leave their lane. The lanes of a generated level lie side by side, so that a
column of the world has at most one row that enemies can be in. Levels made by hand may
have lanes above one another: then several layers are needed, each lane being in one.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.types import MARGIN, MAX_ENTITIES, WORLD_SIZE, Entity, Level

NO_ROW = -1
NO_SLOT = MAX_ENTITIES
VIEW_COLUMNS = 14  # of the world that a frame touches
MAX_VISIBLE = 21
"""Enemies whose lanes a frame can touch in a generated level: three pits of seven."""

_COLUMNS = np.arange(-MARGIN, WORLD_SIZE + MARGIN)  # those of `LevelPool.tiles`


def _covers(level: Level, lane_edge: jax.Array, reach: int) -> jax.Array:
    """Whether a slot's enemy has its lane in `reach` columns from each; bool [40, 78]."""
    left, right = (edge[:, None] for edge in lane_edge)
    is_enemy = (level.entity_type == Entity.ENEMY)[:, None]
    return is_enemy & (left < _COLUMNS + reach) & (right > _COLUMNS)


def _place(level: Level, lane_edge: jax.Array, layers: int) -> tuple[jax.Array, jax.Array]:
    """Rows as in `lane_rows`, and the layer that each slot's lane is in; int32 [40]."""
    row = level.entity_xy[:, 1].astype(jnp.int8)
    covered = _covers(level, lane_edge, 1)
    if layers == 1:
        rows = jnp.where(covered, row[:, None], NO_ROW).max(0, keepdims=True)
        return rows, jnp.zeros(MAX_ENTITIES, jnp.int32)

    def add(rows: jax.Array, lane: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        """Put a lane into the first layer that it fits into, or into the last."""
        covered, row = lane
        fits = (~covered | (rows == NO_ROW) | (rows == row)).all(1).at[-1].set(True)
        layer = jnp.argmax(fits)
        mine = (jnp.arange(layers) == layer)[:, None]
        return jnp.where(mine & covered, row, rows), layer

    empty = jnp.full((layers, _COLUMNS.size), NO_ROW, jnp.int8)
    return jax.lax.scan(add, empty, (covered, row))


def lane_rows(level: Level, lane_edge: jax.Array, layers: int = 1) -> jax.Array:
    """Row of the enemy lane in each column of `LevelPool.tiles`.

    Args:
      level: one level.
      lane_edge: float32 [2, 40], see `LevelPool`.
      layers: as `sizes_needed` says; 1 for generated levels.

    Returns:
      int8 [layers, 64 + 2 * MARGIN], NO_ROW where there is none.
    """
    return _place(level, lane_edge, layers)[0]


def lane_slots(
    level: Level, lane_edge: jax.Array, layers: int = 1, visible: int = MAX_VISIBLE
) -> jax.Array:
    """Entity slots of the enemies whose lanes a frame can touch that begins in a column.

    Args:
      level: one level.
      lane_edge: float32 [2, 40], see `LevelPool`.
      layers, visible: as `sizes_needed` says; the defaults do for generated levels.

    Returns:
      int8 [layers, 64 + 2 * MARGIN, visible], in creation order, then NO_SLOT.
    """
    _, layer = _place(level, lane_edge, layers)
    seen = _covers(level, lane_edge, VIEW_COLUMNS)
    seen = seen & (jnp.arange(layers)[:, None, None] == layer[:, None])  # [layers, 40, 78]
    rank = jnp.where(seen, jnp.cumsum(seen, axis=1) - 1, visible)
    at = (np.arange(layers)[:, None, None], _COLUMNS + MARGIN, rank)
    slots = jnp.full((layers, _COLUMNS.size, visible), NO_SLOT, jnp.int8)
    return slots.at[at].set(jnp.arange(MAX_ENTITIES, dtype=jnp.int8)[:, None], mode="drop")


def sizes_needed(levels: Level, lane_edge: jax.Array) -> tuple[int, int]:
    """Layers and visible slots that all given levels [P] fit into; not for tracers."""
    most = MAX_ENTITIES
    rows = jax.vmap(lane_rows, in_axes=(0, 0, None))(levels, lane_edge, most)
    layers = int((np.asarray(rows) != NO_ROW).any(axis=(0, 2)).sum())
    slots = jax.vmap(lane_slots, in_axes=(0, 0, None, None))(levels, lane_edge, most, most)
    visible = int((np.asarray(slots) != NO_SLOT).any(axis=(0, 1, 2)).sum())
    return max(1, layers), max(MAX_VISIBLE, visible)
