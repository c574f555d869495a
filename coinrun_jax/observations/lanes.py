"""Which row of tiles enemies walk in, column by column: what lets a frame draw them at once.

Enemies never leave their lane, and the lanes of a generated level lie side by side, so that
a column of the world has at most one row that enemies can be in. Levels made by hand may
stack lanes; then several layers of rows are needed, each lane being wholly in one of them.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.types import MARGIN, WORLD_SIZE, Entity, Level

NO_ROW = -1
MAX_LAYERS = 8


def lane_rows(level: Level, lane_edge: jax.Array, layers: int = 1) -> jax.Array:
    """Row of the enemy lane in each column of `LevelPool.tiles`.

    Args:
      level: one level.
      lane_edge: float32 [2, 40], see `LevelPool`.
      layers: as many as `layers_needed` says; 1 for generated levels. Lanes that find no
        room share the last layer, where the later one wins.

    Returns:
      int8 [layers, 64 + 2 * MARGIN], NO_ROW where there is none.
    """
    column = np.arange(-MARGIN, WORLD_SIZE + MARGIN)
    left, right = lane_edge
    row = level.entity_xy[:, 1].astype(jnp.int8)
    is_enemy = (level.entity_type == Entity.ENEMY)[:, None]
    covered = is_enemy & (column >= left[:, None]) & (column < right[:, None])  # [40, 78]
    if layers == 1:
        return jnp.where(covered, row[:, None], NO_ROW).max(0, keepdims=True)

    def add(rows: jax.Array, lane: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        covered, row = lane
        fits = (~covered | (rows == NO_ROW) | (rows == row)).all(1).at[-1].set(True)
        first = jnp.arange(layers) == jnp.argmax(fits)
        return jnp.where(first[:, None] & covered, row, rows), None

    empty = jnp.full((layers, column.size), NO_ROW, jnp.int8)
    return jax.lax.scan(add, empty, (covered, row))[0]


def layers_needed(levels: Level, lane_edge: jax.Array) -> int:
    """Layers that hold the lanes of all given levels; for concrete levels [P], not for tracers.

    Raises:
      ValueError: if more than MAX_LAYERS are needed.
    """
    rows = jax.vmap(lane_rows, in_axes=(0, 0, None))(levels, lane_edge, MAX_LAYERS + 1)
    used = np.flatnonzero((np.asarray(rows) != NO_ROW).any(axis=(0, 2)))
    needed = int(used.max(initial=0)) + 1
    if needed > MAX_LAYERS:
        raise ValueError(f"enemies walk in more than {MAX_LAYERS} rows above one another")
    return needed
