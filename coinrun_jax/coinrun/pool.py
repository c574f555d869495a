"""A pool of levels, with the tables that steps read, computed once per level.

A reset picks an index into the pool instead of building a level, so that stepping costs the same
however often episodes end, and an environment's state holds only what moves.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.batches import share_programs
from coinrun_jax.coinrun.observations.lanes import lane_rows
from coinrun_jax.coinrun.placement import PlacementFn, lists, tabulate
from coinrun_jax.coinrun.types import (
    MARGIN,
    NUM_CRATE_THEMES,
    WORLD_SIZE,
    Cell,
    Entity,
    Level,
    LevelPool,
    Tile,
)

_TILE_OF_CELL = {
    Cell.SOLID: Tile.SOLID,
    Cell.SURFACE: Tile.SURFACE,
    Cell.LAVA: Tile.LAVA,
    Cell.LAVA_SURFACE: Tile.LAVA_SURFACE,
}


def tile_map(level: Level) -> jax.Array:
    """Static content of each cell, with a margin of solid ground around the world.

    Returns:
      uint8 [64 + 2 * MARGIN, 64 + 2 * MARGIN], codes of `Tile`.
    """
    tiles = jnp.zeros((WORLD_SIZE, WORLD_SIZE), jnp.uint8)
    for cell, tile in _TILE_OF_CELL.items():
        tiles = jnp.where(level.grid == cell, jnp.uint8(tile), tiles)

    is_crate = level.entity_type == Entity.CRATE
    order = jnp.cumsum(is_crate, dtype=jnp.int32) - 1
    crate = Tile.CRATE + NUM_CRATE_THEMES * order + level.entity_theme
    code = jnp.where(is_crate, crate, jnp.where(level.entity_type == Entity.SAW, Tile.SAW, 0))
    column, row = level.entity_xy.astype(jnp.int32).T
    tiles = tiles.at[row, column].max(code.astype(jnp.uint8))
    return jnp.pad(tiles, MARGIN, constant_values=Tile.SOLID)


def enemy_lanes(level: Level) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The lane of every entity slot, as if it were an enemy.

    An enemy turns around at solid cells and barriers in its row, so its row contains everything
    it can meet: two edges, and crates it walks through (which matter for the agent's support,
    see `physics`). Two runs of adjacent crates are kept; generated levels have no more.

    Returns:
      edge float32 [2, 40], wall bool [2, 40], crates float32 [2, 2, 40] (inf for none), as
      in `LevelPool`.
    """
    column = jnp.arange(WORLD_SIZE, dtype=jnp.int32)

    def lane(xy: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        own_column, own_row = xy.astype(jnp.int32)
        row = level.grid[own_row]
        turns = (row == Cell.SOLID) | (row == Cell.SURFACE) | (row == Cell.BARRIER)
        left = jnp.max(jnp.where(turns & (column < own_column), column, -1))
        right = jnp.min(jnp.where(turns & (column > own_column), column, WORLD_SIZE))
        wall = jnp.where(
            jnp.array([left < 0, right >= WORLD_SIZE]),
            True,  # everything outside the world is solid
            row[jnp.stack([left, right])] == Cell.SOLID,
        )
        same_row = (level.entity_type == Entity.CRATE) & (level.entity_xy[:, 1] == xy[1])
        crate = jnp.zeros(WORLD_SIZE + 2, bool)  # one column of padding on either side
        crate = crate.at[level.entity_xy[:, 0].astype(jnp.int32) + 1].max(same_row)
        crate &= jnp.pad((column > left) & (column < right), 1)
        starts = crate[1:-1] & ~crate[:-2]
        stops = crate[1:-1] & ~crate[2:]
        centre = column.astype(jnp.float32) + 0.5
        runs = jnp.array(
            [
                [jnp.min(jnp.where(edge, centre, jnp.inf)) for edge in (starts, stops)],
                [jnp.max(jnp.where(edge, centre, -jnp.inf)) for edge in (starts, stops)],
            ]
        )
        return jnp.stack([left + 1, right]), wall, jnp.where(crate.any(), runs, jnp.inf)

    edge, wall, crates = jax.vmap(lane, out_axes=-1)(level.entity_xy)
    return edge.astype(jnp.float32), wall, crates.astype(jnp.float32)


def build_pool(levels: Level, layers: int = 1) -> LevelPool:
    """A pool of the given levels, all available to resets.

    Args:
      levels: `Level` with one leading axis P, or a single level.
      layers: of lanes, from `lanes.layers_needed`; 1 for generated levels.
    """
    if levels.grid.ndim == 2:
        levels = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], levels)
    size = levels.grid.shape[0]
    return LevelPool(
        levels=jax.tree.map(jnp.asarray, levels),
        **_tables(levels, layers, tuple(lists())),
        drawable=jnp.asarray(np.arange(size, dtype=np.int32)),
        num_drawable=jnp.int32(size),
    )


@share_programs
@partial(jax.jit, static_argnames=("layers", "kinds"))
def _tables(levels: Level, layers: int, kinds: tuple[PlacementFn, ...]) -> dict[str, Any]:
    """Recompiled if `kinds` changes, the kinds of places that `tabulate` reads."""
    edge, wall, crates = jax.vmap(enemy_lanes)(levels)
    tiles = jax.vmap(tile_map)(levels)
    rows = jax.vmap(partial(lane_rows, layers=layers))(levels, edge)
    return {
        "tiles": tiles,
        "lane_edge": edge,
        "lane_wall": wall,
        "lane_crates": crates,
        "lane_row": rows,
        "places": jax.vmap(tabulate)(levels, tiles, edge, rows),
    }


def level_of(pool: LevelPool, index: jax.Array) -> Level:
    """One level of the pool; under jit, only the fields in use are gathered."""
    return jax.tree.map(lambda leaf: leaf[index], pool.levels)
