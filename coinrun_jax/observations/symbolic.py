"""Symbols instead of pixels: what stands in the 13x13 tiles around the agent.

A flat float32 array of `SIZE` numbers, so that any agent can take it as it is: `PLANES`
of 13x13 cells centred on the agent's cell (row 0 lowest), then `SCALARS`. `split` gives
the two parts back to networks that want them.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.physics import JUMP_SPEED, RUN_SPEED, has_support
from coinrun_jax.types import MARGIN, Entity, EnvState, LevelPool, Tile

VIEW = 13  # tiles, both ways
PLANES = ("solid", "lava", "saw", "crate", "enemy_left", "enemy_right", "coin")
SCALARS = ("x_in_tile", "y_in_tile", "vx", "vy", "supported")
SIZE = VIEW * VIEW * len(PLANES) + len(SCALARS)
_HALF = VIEW // 2


def _enemy_planes(state: EnvState, pool: LevelPool, left: jax.Array, low: jax.Array) -> jax.Array:
    """Share of each cell that enemies heading (left, right) cover; float32 [13, 13, 2].

    An enemy is one tile wide and between two columns, so that the two shares tell exactly
    where it is.
    """
    is_enemy = pool.levels.entity_type[state.level_index] == Entity.ENEMY
    row = pool.levels.entity_xy[state.level_index, :, 1].astype(jnp.int32) - low
    edge = state.entity_x - 0.5 - left
    column = jnp.floor(edge)
    beyond = edge - column
    column = column.astype(jnp.int32)
    row = jnp.where(is_enemy & (row >= 0), row, VIEW)  # out of range: dropped
    heading = (state.entity_vx > 0).astype(jnp.int32)
    planes = jnp.zeros((VIEW, VIEW, 2), jnp.float32)
    for shift, share in ((0, 1.0 - beyond), (1, beyond)):
        at = jnp.where(column + shift >= 0, column + shift, VIEW)
        planes = planes.at[row, at, heading].max(share, mode="drop")
    return planes


def observe(state: EnvState, pool: LevelPool) -> jax.Array:
    """Observation of one state.

    Returns:
      float32 [SIZE]; planes in [0, 1], positions in the tile in [0, 1), velocities as shares
      of the running speed and of the jump speed, support 0 or 1.
    """
    column, row = jnp.floor(state.x), jnp.floor(state.y)
    left, low = column.astype(jnp.int32) - _HALF, row.astype(jnp.int32) - _HALF
    cells = np.arange(VIEW)
    tiles = pool.tiles.at[
        state.level_index, (low + MARGIN + cells)[:, None], (left + MARGIN + cells)[None, :]
    ].get(mode="promise_in_bounds")
    coin_x, coin_y = state.coin_cell - jnp.stack([left, low])
    coin = state.coin_present & (cells[:, None] == coin_y) & (cells[None, :] == coin_x)
    static = [
        (tiles == Tile.SOLID) | (tiles == Tile.SURFACE),
        (tiles == Tile.LAVA) | (tiles == Tile.LAVA_SURFACE),
        tiles == Tile.SAW,
        tiles >= Tile.CRATE,
    ]
    planes = jnp.concatenate(
        [
            jnp.stack(static, -1).astype(jnp.float32),
            _enemy_planes(state, pool, left, low),
            coin[..., None].astype(jnp.float32),
        ],
        -1,
    )
    scalars = jnp.stack(
        [
            state.x - column,
            state.y - row,
            state.vx / RUN_SPEED,
            state.vy / JUMP_SPEED,
            has_support(state, pool).astype(jnp.float32),
        ]
    )
    return jnp.concatenate([planes.reshape(-1), scalars])


def split(observation: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Planes [..., 13, 13, 7] and scalars [..., 5] of observations [..., SIZE]."""
    planes, scalars = jnp.split(observation, [SIZE - len(SCALARS)], -1)
    return planes.reshape(*planes.shape[:-1], VIEW, VIEW, len(PLANES)), scalars
