"""Grid cells on a frame.

Cells are drawn a little larger than they are, column by column from the left and in each from
below: what is drawn later covers the edge of what was drawn before.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.coinrun.cues import Cues, shows_coin
from coinrun_jax.coinrun.observations.procgen import pictures as art
from coinrun_jax.coinrun.observations.procgen.frame import Frame
from coinrun_jax.coinrun.observations.procgen.pictures import TILE
from coinrun_jax.coinrun.observations.procgen.spans import Lens, Pair, Span, axis_of, shown, span_of
from coinrun_jax.coinrun.physics import is_lava
from coinrun_jax.coinrun.types import MARGIN, WORLD_SIZE, Tile

CELLS = 15  # tiles that a frame touches, both ways
NOT_DRAWN = CELLS  # cell of pixels that no cell covers
COIN_TILE, ITEM_TILE = 6, 7  # codes that no `Tile` has
CRATE_TYPE = 20  # of Procgen's images
TOP_COVER = 1 << 27
"""Units of a cell's order in `cells_of`; pixels of pictures are below it."""

_GROWN = np.float32(0.02)  # tiles that a cell is drawn larger by, on each side
_GRID_CODE = np.array([0, 15, 16, 17, 18, 0, 1, 1], np.int32)  # Procgen's, by tile code
_EDGES = np.arange(-MARGIN - 1, WORLD_SIZE + MARGIN + 2).astype(np.float32)


class Cover(NamedTuple):
    """Which of the cells along one axis cover each pixel: at most two do; int32 [size].

    The *over* one is drawn later. Where only one does, both are the same.
    """

    over: jax.Array
    under: jax.Array
    over_pixel: jax.Array  # of its picture
    under_pixel: jax.Array
    twice: jax.Array  # bool


def colour_of(kind: jax.Array | int, theme: jax.Array | int = 0) -> jax.Array:
    """Pixel of the colour that stands for all images of a type and theme; int32."""
    return art.COLOUR + (29 * (jnp.asarray(kind) + 1) % 64 + 19 * jnp.asarray(theme)) % 64


class CellSpans(NamedTuple):
    """The cells that a frame touches."""

    column: jax.Array  # int32 [], of the first one in the world
    row: jax.Array  # int32 [], the lowest
    x: Span  # [15], from the left
    y: Span  # [15], from above


def cell_spans(
    centre: tuple[jax.Array, jax.Array],
    frame: Frame,
    monochrome: jax.Array,
    lens: Lens,
) -> CellSpans:
    """Where the cells are that a frame touches.

    Args:
      centre: of the agent, float32 [] each.
      frame: around it.
      monochrome: whether cells are filled with a colour.
      lens: of the frame's size.
    """
    reach = lens.view / 2 + 2 * _GROWN
    column, row = (jnp.floor(each - reach).astype(jnp.int32) for each in centre)
    lefts = (_EDGES - _GROWN) * lens.unit
    tops = ((lens.view - (_EDGES + 1)) - _GROWN) * lens.unit
    axis = axis_of(TILE, lens.pixels(np.float32(1) + 2 * _GROWN))
    number = np.arange(CELLS, dtype=np.int32)
    left = jnp.asarray(lefts)[column + MARGIN + 1 + number] - frame.x_offset
    top = jnp.asarray(tops)[row + MARGIN + 1 + number[::-1]] + frame.y_offset
    x, y = (
        span_of(Pair(edge, jnp.zeros_like(edge)), axis, lens.size, monochrome)
        for edge in (left, top)
    )
    return CellSpans(column, row, x, y)


def cover_of(span: Span, size: int, upward: bool) -> Cover:
    """Which cells cover each pixel, given their spans in the order of pixels.

    Args:
      span: int32 [15].
      size: pixels of the frame.
      upward: whether the first of two cells is drawn later.
    """
    pixel = np.arange(size, dtype=np.int32)
    last = jnp.sum(span.start[:, None] <= pixel, 0, dtype=jnp.int32) - 1
    before = jnp.maximum(last - 1, 0)
    has_last, has_before = pixel < span.stop[last], (last > 0) & (pixel < span.stop[before])
    last_pixel, before_pixel = (
        shown(jax.tree.map(lambda leaf, at=at: leaf[at], span), pixel) for at in (last, before)
    )
    only = jnp.where(has_last, last, jnp.where(has_before, before, NOT_DRAWN))
    only_pixel = jnp.where(has_last, last_pixel, before_pixel)
    twice = has_last & has_before
    first, second = (before, last) if upward else (last, before)
    first_pixel, second_pixel = (before_pixel, last_pixel) if upward else (last_pixel, before_pixel)
    return Cover(
        over=jnp.where(twice, first, only),
        under=jnp.where(twice, second, only),
        over_pixel=jnp.where(twice, first_pixel, only_pixel),
        under_pixel=jnp.where(twice, second_pixel, only_pixel),
        twice=jnp.asarray(twice),
    )


class Ground(NamedTuple):
    """What the pictures of cells are looked up by."""

    tiles: jax.Array  # uint8 [15, 15], lowest row first
    coin: jax.Array  # int32 [2], (x, y) in these; outside of them if there is none
    items: jax.Array  # int32 [2, 2], alike
    end: jax.Array  # int32 [], the end's column, alike
    theme: jax.Array  # int32 [], of the ground
    item_look: jax.Array
    monochrome: jax.Array
    cues: Cues


def _tiles(ground: Ground) -> jax.Array:
    """Codes of cells as they are shown; entities are not cells. int32 [15, 15]."""
    cues, column = ground.cues, np.arange(CELLS, dtype=np.int32)
    row = column[:, None]
    tiles = ground.tiles.astype(jnp.int32)
    is_free = tiles == Tile.EMPTY
    tiles = jnp.where(tiles >= Tile.SAW, Tile.EMPTY, tiles)
    tiles = jnp.where(cues.hide_lava & is_lava(tiles), Tile.EMPTY, tiles)
    wall = jnp.array([0, Tile.EMPTY, Tile.CRATE], jnp.int32)[cues.end_wall]
    is_wall = (column > ground.end) & (cues.end_wall > 0)
    tiles = jnp.where(is_wall, wall, tiles)
    x, y = ground.coin
    tiles = jnp.where(shows_coin(column - x, row - y, is_free, cues), COIN_TILE, tiles)
    for x, y in ground.items:  # never in the coin's cell
        tiles = jnp.where((column == x) & (row == y), ITEM_TILE, tiles)
    return tiles


def pictures_of_cells(ground: Ground) -> tuple[jax.Array, jax.Array]:
    """Their first pixels: of pictures without holes, and of others; 0 for none.

    Returns:
      int32 [16, 16] by row from above and column, the last ones empty, and int32 [225] as
      in `Scene.holey`.
    """
    tiles, area = _tiles(ground), TILE * TILE
    coin = art.COIN + area * jnp.asarray(ground.cues.coin_look)
    item = art.COIN + area * jnp.asarray(ground.item_look)
    solid = {
        Tile.SOLID: art.SOLID + area * ground.theme,
        Tile.SURFACE: art.SURFACE + area * ground.theme,
        Tile.LAVA: art.LAVA,
        Tile.CRATE: art.WALL_OF_CRATES,
    }
    holey = {Tile.LAVA_SURFACE: art.LAVA_SURFACE, COIN_TILE: coin, ITEM_TILE: item}

    def choose(bases: dict) -> jax.Array:
        found = jnp.zeros_like(tiles)
        for code, base in bases.items():
            found = jnp.where(tiles == code, base, found)
        return found

    is_ground = (tiles == Tile.SOLID) | (tiles == Tile.SURFACE)
    kind = jnp.where(tiles == Tile.CRATE, CRATE_TYPE, jnp.asarray(_GRID_CODE)[tiles % 8])
    kind = jnp.where(tiles == ITEM_TILE, 1 + ground.item_look, kind)
    colour = colour_of(kind, jnp.where(is_ground, ground.theme, 0))
    plain = jnp.where(tiles == Tile.EMPTY, 0, colour)
    opaque = jnp.where(ground.monochrome, plain, choose(solid))[::-1]
    others = jnp.where(ground.monochrome, 0, choose(holey))
    return jnp.pad(opaque, (0, 1)), others.T.reshape(-1)


def cells_of(opaque: jax.Array, columns: Cover) -> jax.Array:
    """What each row of cells shows in each column of pixels; int32 [16, size].

    0 where nothing is, else the picture's pixel that begins the column, plus `TOP_COVER` for
    each cell in this column of pixels that the one shown is drawn after: of two rows of cells
    that overlap the larger number wins, and if they are alike the one that is drawn later.
    """
    over, under = opaque[:, columns.over], opaque[:, columns.under]
    later = over + columns.over_pixel + jnp.where(columns.twice, 2 * TOP_COVER, TOP_COVER)
    earlier = under + columns.under_pixel + TOP_COVER
    return jnp.where(over > 0, later, jnp.where(under > 0, earlier, 0))
