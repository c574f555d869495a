"""Symbolic observations: what is in the 13x13 tiles around the agent.

A flat array of `SIZE` numbers, so that any agent can use it directly: `PLANES` of 13x13 cells
centred on the agent's cell, then `SCALARS`. `split` recovers the two parts for networks that
want them. Cells are ordered by column (left to right), then plane, then row (low to high), so
that a column of the world is one run of numbers.

As uint8, an observation takes a quarter of the memory, at a resolution of 1/255 (1/127 for
velocities); networks scale it to [0, 1], as they do images.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.coinrun.cues import END_WALLS, NO_ITEMS, Cues, is_procgen, make_cues, shows_coin
from coinrun_jax.coinrun.physics import (
    JUMP_SPEED,
    REACH_DOWN,
    REACH_UP,
    REACH_X,
    RUN_SPEED,
    has_support,
    is_lava,
    is_solid,
    make_window,
    tiles_around,
)
from coinrun_jax.coinrun.types import Entity, EnvState, LevelPool, Tile

VIEW = 13  # tiles, both ways
PLANES = ("solid", "lava", "saw", "crate", "enemy_left", "enemy_right", "coin", "item")
SCALARS = ("x_in_tile", "y_in_tile", "vx", "vy", "supported")
SIZE = VIEW * VIEW * len(PLANES) + len(SCALARS)
_HALF = VIEW // 2
_PROCGEN = make_cues()
_COLUMN_SIZE = VIEW * len(PLANES)
DTYPES: dict[str, np.dtype] = {
    "symbolic": np.dtype(np.float32),
    "symbolic_uint8": np.dtype(np.uint8),
}
"""By the name of the observation."""
_SCALE = np.array([255, 255, 127, 127, 255], np.float32)  # of scalars, as uint8
_ZERO = np.array([0, 0, 127, 127, 0], np.float32)  # what stands for 0


def _add_enemies(
    numbers: jax.Array,
    state: EnvState,
    pool: LevelPool,
    left: jax.Array,
    low: jax.Array,
    cues: Cues,
) -> jax.Array:
    """Write the share of each cell that enemies heading (left, right) cover.

    An enemy is one tile wide and spans two columns, so that the two shares tell exactly where
    it is.

    Args:
      numbers: of the observation, float32 or uint8 [SIZE].
      left: column of the view's first column in the world.
      low: row of the view's first row.
      cues: whether enemies are hidden, and whether the view is mirrored.
    """
    is_enemy = pool.levels.entity_type[state.level_index] == Entity.ENEMY
    is_enemy &= ~jnp.asarray(cues.hide_enemy)
    row = pool.levels.entity_xy[state.level_index, :, 1].astype(jnp.int32) - low
    edge = state.entity_x - 0.5 - left
    column = jnp.floor(edge)
    beyond = edge - column
    heads_right = (state.entity_vx > 0) ^ cues.mirrored
    plane = jnp.where(heads_right, PLANES.index("enemy_right"), PLANES.index("enemy_left"))
    at = column.astype(jnp.int32) + np.arange(2, dtype=np.int32)[:, None]
    share = jnp.stack([1.0 - beyond, beyond])
    seen = is_enemy & (row >= 0) & (row < VIEW) & (at >= 0) & (at < VIEW)
    at = jnp.where(cues.mirrored, VIEW - 1 - at, at)
    cell = jnp.where(seen, at * _COLUMN_SIZE + plane * VIEW + row, SIZE)
    return numbers.at[cell].max(_of_type(share, numbers.dtype), mode="drop")


def _of_type(share: jax.Array, dtype: np.dtype) -> jax.Array:
    """Fractions in [0, 1] as `dtype`: uint8 ones in 0 ... 255."""
    return jnp.rint(255 * share).astype(dtype) if dtype == np.uint8 else share.astype(dtype)


def observe(
    state: EnvState,
    pool: LevelPool,
    cues: Cues = _PROCGEN,
    item_look: jax.Array | int = NO_ITEMS,
    dtype: np.dtype = DTYPES["symbolic"],
) -> jax.Array:
    """Observation of one state.

    Args:
      state: of one environment.
      pool: indexed by `state.level_index`.
      cues: what is shown differently from Procgen.
      item_look: index of `cues.LOOKS`, or NO_ITEMS; whatever looks like a gold coin is in
        the coin plane.
      dtype: one of DTYPES; static.

    Returns:
      float32 [SIZE]: planes in [0, 1], positions in the tile in [0, 1), velocities as fractions
      of the running speed and of the jump speed, support 0 or 1. Or uint8 [SIZE]: 255 times
      these, rounded, but velocities as 127 + 127 times their fraction.
    """
    cued = jax.jit(  # traced once
        partial(_planes_and_scalars, pool=pool, cues=cues, item_look=item_look, dtype=dtype)
    )
    plain = partial(_planes_and_scalars, pool=pool, cues=_PROCGEN, item_look=NO_ITEMS, dtype=dtype)
    # Procgen's own look has its own branch: traced cues make a step half as long again. On a GPU,
    # the host would have to wait to learn which branch to launch.
    is_plain = (jnp.asarray(item_look) == NO_ITEMS) & is_procgen(cues)

    def by_branch(state: EnvState) -> jax.Array:
        return jax.lax.cond(is_plain, plain, cued, state)

    return jax.lax.platform_dependent(state, cuda=cued, default=by_branch)


def _planes_and_scalars(
    state: EnvState,
    pool: LevelPool,
    cues: Cues,
    item_look: jax.Array | int,
    dtype: np.dtype,
) -> jax.Array:
    column, row = jnp.floor(state.x), jnp.floor(state.y)
    left, low = column.astype(jnp.int32) - _HALF, row.astype(jnp.int32) - _HALF
    tiles = tiles_around(state, pool, _HALF, _HALF, _HALF)
    rows = slice(_HALF - REACH_DOWN, _HALF + REACH_UP + 1)
    columns = slice(_HALF - REACH_X, _HALF + REACH_X + 1)
    supported = has_support(state, make_window(state, tiles[rows, columns]))
    tiles, cells = tiles.T, np.arange(VIEW, dtype=np.int32)

    def at(cell: jax.Array, is_there: jax.Array) -> jax.Array:
        x, y = cell - jnp.stack([left, low])
        return is_there & (cells[:, None] == x) & (cells == y)

    x, y = state.coin_cell - jnp.stack([left, low])
    coin = shows_coin(cells[:, None] - x, cells - y, tiles == Tile.EMPTY, cues)
    coin &= state.coin_present
    items = jnp.zeros((VIEW, VIEW), bool)
    if item_look is not NO_ITEMS:
        due = state.item_due <= state.time
        for cell, is_due in zip(state.item_cell, due, strict=True):
            items |= at(cell, is_due)
    coin_is_gold = jnp.asarray(cues.coin_look) == 0
    item_is_gold = jnp.asarray(item_look) == 0
    beyond = left + cells[:, None] > pool.levels.end_cell[state.level_index, 0].astype(jnp.int32)
    wall_hidden = (jnp.asarray(cues.end_wall) == END_WALLS.index("hidden")) & beyond
    still = {
        "solid": is_solid(tiles) & ~wall_hidden,
        "lava": is_lava(tiles) & ~jnp.asarray(cues.hide_lava),
        "saw": (tiles == Tile.SAW) & ~jnp.asarray(cues.hide_saw),
        "crate": (tiles >= Tile.CRATE) & ~jnp.asarray(cues.hide_crate),
        "coin": (coin & coin_is_gold) | (items & item_is_gold),
        "item": (coin & ~coin_is_gold) | (items & ~item_is_gold),
    }
    nothing = jnp.zeros((VIEW, VIEW), bool)
    mirrored = jnp.asarray(cues.mirrored)
    seen = [still.get(name, nothing) for name in PLANES]
    planes = [jnp.where(mirrored, each[::-1], each).astype(jnp.uint8) for each in seen]
    flat = jnp.stack(planes, 1).reshape(-1)
    flat = flat * np.uint8(255) if dtype == np.uint8 else flat.astype(dtype)
    scalars = jnp.stack(
        [
            jnp.where(mirrored, 1 - (state.x - column), state.x - column),
            state.y - row,
            jnp.where(mirrored, -state.vx, state.vx) / RUN_SPEED,
            state.vy / JUMP_SPEED,
            supported.astype(jnp.float32),
        ]
    )
    if dtype == np.uint8:
        scalars = jnp.rint(_SCALE * scalars) + _ZERO
    numbers = jnp.concatenate([flat, scalars.astype(dtype)])
    return _add_enemies(numbers, state, pool, left, low, cues)


def split(observation: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Planes [..., 13 (column), 8, 13 (row)] and scalars [..., 5] of observations [..., SIZE]."""
    planes, scalars = jnp.split(observation, [SIZE - len(SCALARS)], -1)
    return planes.reshape(*planes.shape[:-1], VIEW, len(PLANES), VIEW), scalars
