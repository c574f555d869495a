"""The tiles that a frame touches: their static content, and where enemy lanes run."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.coinrun.cues import MAX_SPREAD, Cues, shows_coin
from coinrun_jax.coinrun.cuts import cut_rectangle
from coinrun_jax.coinrun.observations import atlas as art
from coinrun_jax.coinrun.observations.camera import TILES, Camera, choose
from coinrun_jax.coinrun.observations.look import Look
from coinrun_jax.coinrun.physics import is_lava
from coinrun_jax.coinrun.types import MARGIN, NUM_CRATE_THEMES, EnvState, LevelPool, Tile

NOBODY = 254  # tile row of columns without enemies
COIN_TILE, ITEM_TILE = 6, 7  # codes that no `Tile` has
SPRITE_OF_TILE = (  # by tile code; None where there is none
    None,
    art.SOLID,
    art.SURFACE,
    art.LAVA,
    art.LAVA_SURFACE,
    art.SAW,
    art.COIN,
    art.COIN,
    *(art.CRATE + theme for theme in range(NUM_CRATE_THEMES)),
)


class Window(NamedTuple):
    """Inputs for looking up the tiles that a frame touches."""

    tiles: jax.Array  # uint8 [P, 78, 78]
    lane_row: jax.Array  # int8 [P, layers, 78]
    level_index: jax.Array  # int32 []
    camera: Camera
    coin: jax.Array  # int32 [2], (x, y) in the window; outside it if there is none
    items: jax.Array  # int32 [2, 2], likewise
    end: jax.Array  # int32 [], the end's column in the window
    cues: Cues
    restrict_themes: jax.Array  # bool []


def window_of(state: EnvState, pool: LevelPool, camera: Camera, look: Look, cues: Cues) -> Window:
    """The window that a camera sees."""
    corner = jnp.stack([camera.column, camera.row])
    due = state.item_due <= state.time
    end = pool.levels.end_cell[state.level_index, 0].astype(jnp.int32)
    return Window(
        tiles=pool.tiles,
        lane_row=pool.lane_row,
        level_index=state.level_index,
        camera=camera,
        coin=jnp.where(state.coin_present, state.coin_cell - corner, -1 - MAX_SPREAD),
        items=jnp.where(due[:, None], state.item_cell - corner, -1),
        end=end - camera.column,
        cues=jax.tree.map(jnp.asarray, cues),
        restrict_themes=jnp.asarray(look.restrict_themes),
    )


def tile_codes(window: Window, tile_column: jax.Array) -> jax.Array:
    """Indices into `SPRITE_OF_TILE` under each byte, lowest row first; uint8 [14, bytes]."""
    camera = window.camera
    corner = (camera.row + MARGIN, camera.column + MARGIN)
    tiles = cut_rectangle(window.tiles, window.level_index, *corner, TILES, TILES)
    is_free = tiles == Tile.EMPTY
    theme = jnp.where(window.restrict_themes, 0, tiles % NUM_CRATE_THEMES)
    tiles = jnp.where(tiles >= Tile.CRATE, Tile.CRATE + theme, tiles)
    cues, column = window.cues, np.arange(TILES, dtype=np.int32)
    row = column[:, None]
    hidden = (cues.hide_saw & (tiles == Tile.SAW)) | (cues.hide_lava & is_lava(tiles))
    tiles = jnp.where(hidden | (cues.hide_crate & (tiles >= Tile.CRATE)), Tile.EMPTY, tiles)
    wall = jnp.array([0, Tile.EMPTY, Tile.CRATE], jnp.int32)[cues.end_wall]
    tiles = jnp.where((column > window.end) & (cues.end_wall > 0), wall, tiles)
    x, y = window.coin
    is_coin = shows_coin(column - x, row - y, is_free, cues)
    tiles = jnp.where(is_coin, COIN_TILE, tiles)
    for x, y in window.items:  # never in the coin's cell
        tiles = jnp.where((column == x) & (row == y), ITEM_TILE, tiles)
    return _spread(tiles.astype(jnp.uint8), tile_column)


def lane_tiles(window: Window, tile_column: jax.Array) -> jax.Array:
    """Tile row of the enemies under each byte; uint8 [layers, bytes]."""
    camera = window.camera
    layers = window.lane_row.shape[1]
    corner = (jnp.int32(0), camera.column + MARGIN)
    rows = cut_rectangle(window.lane_row, window.level_index, *corner, layers, TILES)
    tile = rows - camera.row
    seen = (rows >= 0) & (tile >= 0) & (tile < TILES)
    return _spread(jnp.where(seen, tile, NOBODY).astype(jnp.uint8), tile_column)


def _spread(tiles: jax.Array, tile_column: jax.Array) -> jax.Array:
    """Repeat columns of tiles over the bytes that show them; [rows, bytes].

    A tree of selects by the bits of the tile's column: cheaper than a gather.
    """
    return choose([tiles[:, k : k + 1] for k in range(TILES)], tile_column[None, :])
