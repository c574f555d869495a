"""Kinds of cells where a coin may be.

Each function here reads one level and marks cells, bool [64, 64] indexed [row, column]. The
marks are stored per level as column bit masks and running counts (`Places`), so that a reset
draws one of the marked cells without reading the level again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.coinrun.physics import is_lava, is_solid
from coinrun_jax.coinrun.types import MARGIN, MAX_SECTIONS, WORLD_SIZE, Entity, Level, Places, Tile

HIGH = 4  # tiles above the ground: out of reach for an agent that stands or runs there
FLAT = 2  # columns of level ground on both sides of a coin in the air
FIRST_COLUMN_ON_THE_WAY = 5  # the spawn is left of it
START_COLUMN = 3  # lowest start column of an episode whose coin is behind the agent
_WORD = 32  # bits
_HALVES_OF_64 = (32, 16, 8, 4, 2, 1)
_COLUMN = np.arange(WORLD_SIZE, dtype=np.int32)
_ROW = _COLUMN[:, None]


class Terrain(NamedTuple):
    """A level, as input to the functions of this module."""

    level: Level
    tiles: jax.Array  # uint8 [64, 64], codes of `Tile`
    enemies: jax.Array  # int32 [64, 64], number of enemies whose lane a cell is in


def survey(level: Level, tiles: jax.Array, lane_edge: jax.Array, lane_row: jax.Array) -> Terrain:
    """The terrain of a level, from what a pool stores about it."""
    left, right = (edge[:, None] for edge in lane_edge)
    is_enemy = (level.entity_type == Entity.ENEMY)[:, None]
    row = level.entity_xy[:, 1].astype(jnp.int32)[:, None]
    covered = is_enemy & (left <= _COLUMN) & (right > _COLUMN)  # [40, 64]
    enemies = jnp.zeros((WORLD_SIZE, WORLD_SIZE), jnp.int32)
    for lane in lane_row[:, MARGIN:-MARGIN]:
        number = jnp.sum(covered & (row == lane), 0, dtype=jnp.int32)
        enemies = jnp.where(_ROW == lane, number, enemies)
    return Terrain(level, tiles[MARGIN:-MARGIN, MARGIN:-MARGIN], enemies)


def _up(cells: jax.Array, rows: int = 1) -> jax.Array:
    """Cells shifted up, with unmarked ones below."""
    return jnp.pad(cells, ((rows, 0), (0, 0)))[:WORLD_SIZE]


def _near(cells: jax.Array, columns: int) -> jax.Array:
    """Cells with a marked one within this many columns to the left or right."""
    wide = jnp.pad(cells, ((0, 0), (columns, columns)))
    shifted = [wide[:, k : k + WORLD_SIZE] for k in range(2 * columns + 1)]
    return jnp.any(jnp.stack(shifted), 0)


def _one(cell: jax.Array) -> jax.Array:
    """Only cell (x, y)."""
    return (_COLUMN == cell[0]) & (_ROW == cell[1])


def end(terrain: Terrain) -> jax.Array:
    """Where Procgen puts the coin: the last column, on the ground."""
    return _one(terrain.level.end_cell)


def section_starts(terrain: Terrain) -> jax.Array:
    """First column of each section, on the ground.

    As in procgenAISC's `coinrun_aisc` (Langosco et al. 2022). There the draw comes from the
    level's own random stream and so changes the layout, too; here the layout stays.
    """
    cells = jnp.stack([_one(cell) for cell in terrain.level.section_cell])
    wanted = np.arange(MAX_SECTIONS, dtype=np.int32) < terrain.level.num_sections
    return jnp.any(cells & wanted[:, None, None], 0)


def _on_ground(terrain: Terrain) -> jax.Array:
    return (terrain.tiles == Tile.EMPTY) & _up(is_solid(terrain.tiles))


def way(terrain: Terrain) -> jax.Array:
    """Free cells on the ground, except pits where several enemies walk."""
    return _on_ground(terrain) & (terrain.enemies < 2)


def standing(terrain: Terrain) -> jax.Array:
    """Free cells on the ground or on a crate, except pits where several enemies walk."""
    on_crate = (terrain.tiles == Tile.EMPTY) & _up(terrain.tiles >= Tile.CRATE)
    return way(terrain) | (on_crate & (terrain.enemies < 2))


def off_path(terrain: Terrain) -> jax.Array:
    """Cells that an agent does not touch while it stands, runs or falls along the path.

    On top of two or three crates (which do not stop an agent that runs through them), or `HIGH`
    tiles above harmless ground that is level for `FLAT` columns on both sides; above the spawn only
    if the level has no other such cell.
    """
    is_crate = terrain.tiles >= Tile.CRATE
    is_free = terrain.tiles == Tile.EMPTY
    on_pile = is_free & _up(is_crate) & _up(is_crate, 2)
    is_deadly = (terrain.tiles == Tile.SAW) | is_lava(terrain.tiles)
    is_floor = _up(terrain.tiles == Tile.SURFACE) & ~is_deadly
    uneven = _near(~is_floor & (_COLUMN > 0), FLAT)
    high = is_free & _up(is_floor & ~uneven & (terrain.enemies < 2), HIGH)
    on_way = on_pile | (high & (_COLUMN >= FIRST_COLUMN_ON_THE_WAY))
    return jnp.where(on_way.any(), on_way, high)


def starts(terrain: Terrain) -> jax.Array:
    """Starts of episodes with the coin behind the agent: ground away from all danger."""
    danger = _near(terrain.tiles == Tile.SAW, 2) | _near(terrain.enemies > 0, 1)
    return way(terrain) & ~danger & (_COLUMN >= START_COLUMN) & ~end(terrain)


def tabulate(lists: Sequence[jax.Array]) -> Places:
    """Lists of marked cells of one level, each bool [64, 64], in the form that resets read."""
    cells = jnp.stack(list(lists))
    bits = jnp.uint32(1) << (jnp.arange(WORLD_SIZE, dtype=jnp.uint32) % _WORD)
    words = jnp.where(cells, bits[:, None], jnp.uint32(0))
    words = words.reshape(len(lists), -1, _WORD, WORLD_SIZE)
    upto = jnp.cumsum(jnp.sum(cells, 1, dtype=jnp.int32), 1)
    return Places(rows=jnp.sum(words, 2, dtype=jnp.uint32), upto=upto.astype(jnp.int16))


def count_upto(places: Places, index: jax.Array, which: jax.Array, column: jax.Array) -> jax.Array:
    """Number of marked cells in columns 0 ... `column`; int32 []."""
    return places.upto[index, which, column].astype(jnp.int32)


def look_up(places: Places, index: jax.Array, which: jax.Array, number: jax.Array) -> jax.Array:
    """A marked cell by its number, counted from the left and, within a column, from below.

    Args:
      places: of a pool.
      index: int32 [], the level in the pool.
      which: int32 [], the list of cells.
      number: int32 [], from 0; must be below the list's length.

    Returns:
      int32 [2], (x, y).
    """

    def by_halves(number: jax.Array) -> tuple[jax.Array, jax.Array]:
        column, before = jnp.int32(0), jnp.int32(0)
        for step in _HALVES_OF_64:
            upto = count_upto(places, index, which, column + step - 1)
            beyond = number >= upto
            column = jnp.where(beyond, column + step, column)
            before = jnp.where(beyond, upto, before)
        return column, before

    def at_once(number: jax.Array) -> tuple[jax.Array, jax.Array]:
        upto = places.upto[index, which, :-1].astype(jnp.int32)
        passed = upto <= number
        return jnp.sum(passed, dtype=jnp.int32), jnp.max(jnp.where(passed, upto, 0))

    # On a GPU, launches cost more than reads; a TPU would loop over the batch to read rows.
    column, before = jax.lax.platform_dependent(number, cuda=at_once, default=by_halves)
    low, high = places.rows[index, which, :, column]
    return jnp.stack([column, _nth_bit(low, high, number - before)])


def number_of(
    places: Places, index: jax.Array, which: jax.Array, cell: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The number of a cell in `look_up`, int32 [], and whether it is marked at all, bool []."""
    column, row = cell
    low, high = places.rows[index, which, :, column]
    beyond = row >= _WORD
    word = jnp.where(beyond, high, low)
    bit = jnp.uint32(1) << (row % _WORD).astype(jnp.uint32)
    # All marked cells up to its column, minus those of the column, plus those below the cell.
    number = count_upto(places, index, which, column) - _count(low) - _count(high)
    number += _count(word & (bit - 1)) + jnp.where(beyond, _count(low), 0)
    return number, word & bit != 0


def _count(word: jax.Array) -> jax.Array:
    return jax.lax.population_count(word).astype(jnp.int32)


def _nth_bit(low: jax.Array, high: jax.Array, number: jax.Array) -> jax.Array:
    """Position of a set bit of two words by its number, counted from 0; int32 []."""
    count = _count(low)
    beyond = number >= count
    word, number = jnp.where(beyond, high, low), jnp.where(beyond, number - count, number)
    position = jnp.where(beyond, jnp.int32(_WORD), 0)
    for step in _HALVES_OF_64[1:]:
        lower = word & jnp.uint32((1 << step) - 1)
        count = _count(lower)
        beyond = number >= count
        word = jnp.where(beyond, word >> step, lower)
        number = jnp.where(beyond, number - count, number)
        position = jnp.where(beyond, position + step, position)
    return position
