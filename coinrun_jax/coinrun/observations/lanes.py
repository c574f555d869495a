"""Which row the enemies of each column are in, so that a frame can draw them all at once.

Enemies never leave their lane. The lanes of a generated level lie side by side, so that a
column of the world has at most one row that enemies can be in. Levels made by hand may
have lanes above one another: then several layers are needed, with each lane in one of them.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.batches import share_programs
from coinrun_jax.coinrun.types import MARGIN, MAX_ENTITIES, WORLD_SIZE, Entity, Level

NO_ROW = -1
_COLUMNS = np.arange(-MARGIN, WORLD_SIZE + MARGIN, dtype=np.int32)  # of `LevelPool.tiles`


def lane_rows(level: Level, lane_edge: jax.Array, layers: int = 1) -> jax.Array:
    """Row of the enemy lane in each column of `LevelPool.tiles`.

    Args:
      level: one level.
      lane_edge: float32 [2, 40], see `LevelPool`.
      layers: from `layers_needed`; 1 for generated levels.

    Returns:
      int8 [layers, 64 + 2 * MARGIN], NO_ROW where there is none.
    """
    row = level.entity_xy[:, 1].astype(jnp.int8)
    left, right = (edge[:, None] for edge in lane_edge)
    is_enemy = (level.entity_type == Entity.ENEMY)[:, None]
    covered = is_enemy & (left <= _COLUMNS) & (right > _COLUMNS)  # [40, 78]
    if layers == 1:
        return jnp.where(covered, row[:, None], NO_ROW).max(0, keepdims=True)

    def add(rows: jax.Array, lane: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        """Put a lane into the first layer that it fits into, or into the last."""
        covered, row = lane
        fits = (~covered | (rows == NO_ROW) | (rows == row)).all(1).at[-1].set(True)
        mine = (jnp.arange(layers, dtype=jnp.int32) == jnp.argmax(fits))[:, None]
        return jnp.where(mine & covered, row, rows), None

    empty = jnp.full((layers, _COLUMNS.size), NO_ROW, jnp.int8)
    return jax.lax.scan(add, empty, (covered, row))[0]


def layers_needed(levels: Level, lane_edge: jax.Array) -> int:
    """Layers that all given levels [P] fit into; not for tracers."""
    rows = _all_rows((levels, lane_edge))
    return max(1, int((np.asarray(rows) != NO_ROW).any(axis=(0, 2)).sum()))


@share_programs
@jax.jit
def _all_rows(batch: tuple[Level, jax.Array]) -> jax.Array:
    return jax.vmap(partial(lane_rows, layers=MAX_ENTITIES))(*batch)
