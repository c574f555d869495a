"""Grid cells on a frame.

Cells are drawn a little larger than they are, column by column from the left, each from the
bottom up: what is drawn later covers the edge of what was drawn before.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.coinrun.cues import Cues, shows_coin
from coinrun_jax.coinrun.observations.procgen import pictures as art
from coinrun_jax.coinrun.observations.procgen.frame import Frame
from coinrun_jax.coinrun.observations.procgen.look_up import look_up
from coinrun_jax.coinrun.observations.procgen.pictures import TILE
from coinrun_jax.coinrun.observations.procgen.spans import Lens, Pair, Span, axis_of, shown, span_of
from coinrun_jax.coinrun.physics import is_lava
from coinrun_jax.coinrun.types import MARGIN, WORLD_SIZE, Tile

CELLS = 15  # tiles that a frame touches, both ways
NOT_DRAWN = CELLS  # stands for the cell of pixels that no cell covers
WALL_TILE, COIN_TILE, ITEM_TILE = 5, 6, 7  # codes that `Tile` lacks, or has for entities only
CRATE_TYPE = 20  # of Procgen's images
TOP_COVER = 1 << 27
"""Unit of a cell's drawing order in `cells_of`; pixels of pictures are below it."""

_GROWN = np.float32(0.02)  # tiles that a cell is drawn larger by, on each side
_TYPES = np.array([0, 15, 16, 17, 18, CRATE_TYPE, 1, 1], np.int32)  # of Procgen's, by tile code
NUM_CODES = len(_TYPES)
_EDGES = np.arange(-MARGIN - 1, WORLD_SIZE + MARGIN + 2).astype(np.float32)


class Cover(NamedTuple):
    """Which of the cells along one axis cover each pixel of the frame: at most two do.

    Both are int32 [size], TILE * cell + pixel of its picture. `over` is drawn later; where only
    one cell covers the pixel, both are the same.
    """

    over: jax.Array
    under: jax.Array


def cell_and_pixel(cover: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cells and pixels from the numbers of a `Cover`."""
    return cover >> TILE.bit_length() - 1, cover & (TILE - 1)


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
    """Where the cells that a frame touches lie.

    Args:
      centre: of the agent, float32 [] each.
      frame: around the agent.
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


def covering(span: Span, size: int) -> tuple[jax.Array, jax.Array]:
    """The last cell that begins before each pixel, and the one before it, given spans [15] in
    pixel order; int32 [size] each, as in `Cover`, -1 where the cell does not cover the pixel.
    """
    pixel = np.arange(size, dtype=np.int32)
    last = jnp.sum(span.start[:, None] <= pixel, 0, dtype=jnp.int32) - 1

    def shown_of(cell: jax.Array) -> jax.Array:
        its = Span(*(look_up(leaf, jnp.maximum(cell, 0)) for leaf in span))
        return jnp.where((cell >= 0) & (pixel < its.stop), TILE * cell + shown(its, pixel), -1)

    return shown_of(last), shown_of(last - 1)


def cover_of(last: jax.Array, before: jax.Array, upward: bool) -> Cover:
    """Which of two cells is drawn later; arguments from `covering`.

    Args:
      upward: whether the first of two cells is drawn later.
    """
    only = jnp.where(last >= 0, last, jnp.where(before >= 0, before, TILE * NOT_DRAWN))
    twice = (last >= 0) & (before >= 0)
    first, second = (before, last) if upward else (last, before)
    return Cover(jnp.where(twice, first, only), jnp.where(twice, second, only))


class Ground(NamedTuple):
    """Inputs for looking up the pictures of cells."""

    tiles: jax.Array  # uint8 [15, 15], lowest row first
    coin: jax.Array  # int32 [2], (x, y) in `tiles`; outside if there is none
    items: jax.Array  # int32 [2, 2], likewise
    end: jax.Array  # int32 [], the end's column, likewise
    theme: jax.Array  # int32 [], of the ground
    item_look: jax.Array
    monochrome: jax.Array
    cues: Cues


def tiles_of(ground: Ground) -> jax.Array:
    """Codes of cells as they are shown; entities are not cells. int32 [15, 15]."""
    cues, column = ground.cues, np.arange(CELLS, dtype=np.int32)
    row = column[:, None]
    tiles = ground.tiles.astype(jnp.int32)
    is_free = tiles == Tile.EMPTY
    tiles = jnp.where(tiles >= Tile.SAW, Tile.EMPTY, tiles)
    tiles = jnp.where(cues.hide_lava & is_lava(tiles), Tile.EMPTY, tiles)
    wall = jnp.where(cues.end_wall == 2, WALL_TILE, Tile.EMPTY)
    is_wall = (column > ground.end) & (cues.end_wall > 0)
    tiles = jnp.where(is_wall, wall, tiles)
    x, y = ground.coin
    tiles = jnp.where(shows_coin(column - x, row - y, is_free, cues), COIN_TILE, tiles)
    for x, y in ground.items:  # never in the coin's cell
        tiles = jnp.where((column == x) & (row == y), ITEM_TILE, tiles)
    return tiles


def pictures_of_cells(ground: Ground, tiles: jax.Array) -> tuple[jax.Array, jax.Array]:
    """First pixels of the cells' pictures, without holes and with holes; 0 for none.

    Args:
      tiles: from `tiles_of`.

    Returns:
      int32 [16, 16] by row from the top and column, the last ones empty, and int32 [225] as
      in `Scene.holey`.
    """
    code, area = np.arange(NUM_CODES, dtype=np.int32), TILE * TILE
    solid = {
        Tile.SOLID: art.SOLID + area * ground.theme,
        Tile.SURFACE: art.SURFACE + area * ground.theme,
        Tile.LAVA: art.LAVA,
        WALL_TILE: art.WALL_OF_CRATES,
    }
    holey = {
        Tile.LAVA_SURFACE: art.LAVA_SURFACE,
        COIN_TILE: art.COIN + area * jnp.asarray(ground.cues.coin_look),
        ITEM_TILE: art.COIN + area * jnp.asarray(ground.item_look),
    }

    def by_code(bases: dict) -> jax.Array:
        return jnp.stack([jnp.asarray(bases.get(each, 0), jnp.int32) for each in code.tolist()])

    is_ground = (code == Tile.SOLID) | (code == Tile.SURFACE)
    kind = jnp.where(code == ITEM_TILE, 1 + ground.item_look, _TYPES)
    colour = colour_of(kind, jnp.where(is_ground, ground.theme, 0))
    plain = jnp.where(code == Tile.EMPTY, 0, colour)
    opaque = jnp.where(ground.monochrome, plain, by_code(solid))
    others = jnp.where(ground.monochrome, 0, by_code(holey))
    in_order = look_up(others, tiles.T.reshape(-1))
    return jnp.pad(look_up(opaque, tiles[::-1]), (0, 1)), in_order


def cells_of(opaque: jax.Array, columns: Cover) -> jax.Array:
    """What each row of cells shows in each column of pixels; int32 [16, size].

    0 if nothing is there, else the picture's pixel that begins the column, plus `TOP_COVER` times
    the drawing order of the cell in this column of pixels, 1 or 2: of two rows of cells that
    overlap, the larger order wins, and if they are equal, the row drawn later.
    """
    (over, over_pixel), (under, under_pixel) = map(cell_and_pixel, columns)
    row = (CELLS + 1) * np.arange(CELLS + 1, dtype=np.int32)[:, None]
    above, below = (look_up(opaque.reshape(-1), row + cell) for cell in (over, under))
    later = above + over_pixel + jnp.where(over != under, 2 * TOP_COVER, TOP_COVER)
    earlier = below + under_pixel + TOP_COVER
    return jnp.where(above > 0, later, jnp.where(below > 0, earlier, 0))
