"""The observation that Procgen's agents see: pixels, 13x13 tiles around the agent.

A frame is put together from contiguous cuts of the tables in `atlas`, chosen byte by byte:
no pixel is computed and none is gathered, so that the loop over a frame is vector loads and
selects. Back to front: background, tiles (ground, lava, saws, crates, coin), dust behind
enemies, the agent, enemies, velocity.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax

from coinrun_jax.observations import atlas as art
from coinrun_jax.observations import backgrounds, creatures
from coinrun_jax.observations.atlas import VIEW, Atlas
from coinrun_jax.observations.fusion import written_out
from coinrun_jax.physics import JUMP_SPEED, RUN_SPEED
from coinrun_jax.types import (
    MARGIN,
    MAX_ENTITIES,
    NUM_CRATE_THEMES,
    WORLD_SIZE,
    Entity,
    EnvState,
    LevelPool,
    Tile,
)

SIZE = 64  # pixels of an observation, both ways
TILES = VIEW + 1  # tiles that a frame touches, both ways
STILL_SPEED = 0.01  # tiles per step, below which an agent on the ground stands
ANIMATION_STEPS = 5  # steps per frame of agents and enemies
DUST_COLOUR = 250  # of every channel
VELOCITY_SHARE = 0.2  # of the frame's size that each of the two velocity squares takes
_NOWHERE = 255  # tile row of pixel rows that no enemy reaches
_NOBODY = 254  # tile row of columns without enemies

_COIN_TILE = 6  # code that no `Tile` has
_SPRITE_OF_TILE = (  # by tile code; None where there is none
    None,
    art.SOLID,
    art.SURFACE,
    art.LAVA,
    art.LAVA_SURFACE,
    art.SAW,
    art.COIN,
    None,
    *(art.CRATE + theme for theme in range(NUM_CRATE_THEMES)),
)


class Look(struct.PyTreeNode):
    """Switches of what is drawn; traced, so that they change without recompiling."""

    restrict_themes: bool | jax.Array = False  # everything in its first theme
    backgrounds: bool | jax.Array = True  # black without
    monochrome: bool | jax.Array = False  # one colour for each kind of thing, no drawings
    paint_velocity: bool | jax.Array = False  # vx and vy as grey squares, upper left corner
    enemy_trails: bool | jax.Array = True  # dust behind enemies


class _Camera(NamedTuple):
    """What the pixels of a frame look at."""

    left: jax.Array  # float32 [], x of the first column's centres
    top: jax.Array  # float32 [], y of the first row's centres
    column: jax.Array  # int32 [], tile under the first column
    row: jax.Array  # int32 [], lowest of the 14 tile rows
    point: jax.Array  # int32 [], lattice point of the first column in its tile
    height: jax.Array  # int32 [], lattice point of the first row in its tile


class _PixelRows(NamedTuple):
    """Where the pixel rows of a frame lie, top row first."""

    tile: jax.Array  # int32 [size], tile row, 0 for the lowest
    point: jax.Array  # int32 [size], lattice point over the tile's floor


def _camera(state: EnvState, atlas: Atlas) -> _Camera:
    reach = (atlas.size / 2 - 0.5) * VIEW / atlas.size
    left, top = state.x - reach, state.y + reach
    column, top_row = jnp.floor(left), jnp.floor(top)
    return _Camera(
        left=left,
        top=top,
        column=column.astype(jnp.int32),
        row=top_row.astype(jnp.int32) - VIEW,
        point=jnp.floor((left - column) * atlas.steps).astype(jnp.int32),
        height=jnp.floor((top - top_row) * atlas.steps).astype(jnp.int32),
    )


def _pixel_rows(camera: _Camera, atlas: Atlas) -> _PixelRows:
    point = camera.height - atlas.stride * np.arange(atlas.size)
    return _PixelRows(tile=VIEW + point // atlas.steps, point=point % atlas.steps)


def _cut(table: jax.Array | np.ndarray, row: jax.Array, start: jax.Array, width: int) -> jax.Array:
    """Bytes start ... start + width of the given rows; [..., width]."""
    return _cut_at(table, _corners(row, start), width)


def _corners(row: jax.Array, start: jax.Array) -> jax.Array:
    """Rows and starts next to one another, as `_cut_at` takes them; int32 [..., 2]."""
    return jnp.stack(jnp.broadcast_arrays(row, start), axis=-1)


def _cut_at(table: jax.Array | np.ndarray, corners: jax.Array, width: int) -> jax.Array:
    dimensions = lax.GatherDimensionNumbers(
        offset_dims=(corners.ndim - 1,), collapsed_slice_dims=(0,), start_index_map=(0, 1)
    )
    return lax.gather(
        jnp.asarray(table), corners, dimensions, (1, width), mode="promise_in_bounds"
    )


def _tile_codes(state: EnvState, pool: LevelPool, camera: _Camera, look: Look) -> jax.Array:
    """Codes of `_SPRITE_OF_TILE` around the agent, lowest row first; uint8 [14, 14]."""
    corner = (state.level_index, camera.row + MARGIN, camera.column + MARGIN)
    tiles = lax.dynamic_slice(pool.tiles, corner, (1, TILES, TILES))[0]
    theme = jnp.where(look.restrict_themes, 0, tiles % NUM_CRATE_THEMES)
    tiles = jnp.where(tiles >= Tile.CRATE, Tile.CRATE + theme, tiles)
    x, y = state.coin_cell - jnp.stack([camera.column, camera.row])
    at_coin = (np.arange(TILES) == x) & (np.arange(TILES)[:, None] == y)
    return jnp.where(at_coin & state.coin_present, _COIN_TILE, tiles).astype(jnp.uint8)


def _lanes(state: EnvState, pool: LevelPool, camera: _Camera) -> jax.Array:
    """Tile row that the enemies of each column of tiles are in; uint8 [layers, 14]."""
    corner = (state.level_index, jnp.int32(0), camera.column + MARGIN)
    rows = lax.dynamic_slice(pool.lane_row, corner, (1, pool.lane_row.shape[1], TILES))[0]
    tile = rows - camera.row
    return jnp.where((rows >= 0) & (tile >= 0) & (tile < TILES), tile, _NOBODY).astype(jnp.uint8)


def _spread(tiles: jax.Array, tile_column: jax.Array) -> jax.Array:
    """Repeat columns of tiles over the bytes that show them; [rows, bytes].

    A tree of selects by the bits of the tile's column: cheaper than a gather.
    """
    choices = [tiles[:, k : k + 1] for k in range(TILES)]
    return _choose(choices, tile_column[None, :])


def _choose(choices: list[jax.Array | None], code: jax.Array) -> jax.Array:
    """choices[code], element by element; a choice of None is never asked for."""
    bit = 1
    while len(choices) > 1:
        choices += [None] * (len(choices) % 2)
        is_odd = (code & bit) != 0
        choices = [
            a if b is None else b if a is None else jnp.where(is_odd, b, a)
            for a, b in zip(choices[::2], choices[1::2], strict=True)
        ]
        bit *= 2
    return choices[0]


class _Bodies(NamedTuple):
    """Where on the frame the enemy of each entity slot is; all int32."""

    level: jax.Array  # [40, strip rows], row of `Atlas.enemies`
    start: jax.Array  # [40], byte of `Atlas.enemies` that the first pixel column shows
    dust: jax.Array  # [40], row of `Atlas.dust`
    dust_start: jax.Array  # [40], byte of `Atlas.dust` that the first pixel column shows


class _Strip(NamedTuple):
    """Enemies over the floor of their tiles, whichever row of tiles that is.

    A column of pixels shows the enemies of one lane only (see `lanes`), so that one strip
    serves all rows.
    """

    bodies: jax.Array  # uint8 [strip rows, bytes], lowest row first
    dust: jax.Array  # uint8 [bytes], a bit for each band of height


def _strip_rows(atlas: Atlas) -> int:
    """Pixel rows over a tile's floor that an enemy reaches."""
    return -(-atlas.enemy_levels * atlas.steps // (atlas.levels * atlas.stride))


def _bodies(
    state: EnvState, pool: LevelPool, camera: _Camera, look: Look, atlas: Atlas
) -> _Bodies:
    levels, index = pool.levels, state.level_index
    tile = jnp.floor(levels.entity_xy[index, :, 1]).astype(jnp.int32) - camera.row
    seen = (levels.entity_type[index] == Entity.ENEMY) & (tile >= 0) & (tile < TILES)

    floor = (camera.height - atlas.steps * (tile - VIEW)) % atlas.stride  # of the lowest row
    point = floor[:, None] + atlas.stride * np.arange(_strip_rows(atlas))
    level = jnp.minimum(point * atlas.levels // atlas.steps, atlas.enemy_levels)

    edge = jnp.ceil((state.entity_x - 0.5 - camera.left) * atlas.steps).astype(jnp.int32)
    first = -(-edge // atlas.stride)  # pixel column
    phase = (atlas.stride * first - edge) * atlas.phases // atlas.stride
    theme = jnp.where(look.restrict_themes, 0, levels.entity_theme[index].astype(jnp.int32))
    heading = (state.entity_vx > 0).astype(jnp.int32)
    sprite = (theme * 2 + state.time // ANIMATION_STEPS % 2) * 2 + heading
    sprite = jnp.where(look.monochrome, art.PLAIN_ENEMY, sprite)
    start = 3 * (atlas.size - first) + (sprite * atlas.phases + phase) * atlas.enemy_block
    on_frame = seen & (first > -atlas.enemy_pixels) & (first < atlas.size)

    # Dust lies where the enemy has been: at most from the edge of its lane.
    edges = jnp.ceil((pool.lane_edge[index] - camera.left) * (atlas.size / VIEW))
    left, right = edges.astype(jnp.int32)
    behind = jnp.where(heading == 1, first - left, right - first - atlas.enemy_pixels)
    length = jnp.where(seen & look.enemy_trails, jnp.clip(behind, 0, atlas.dust_pixels), 0)
    pad = atlas.size + atlas.dust_pixels
    return _Bodies(
        level=level,
        start=jnp.where(on_frame, start, 0),  # the first cut of the table shows nothing
        dust=2 * length + heading,
        dust_start=3 * (pad - jnp.clip(first, -atlas.enemy_pixels - atlas.dust_pixels, pad)),
    )


def _of_layer(bodies: _Bodies, state: EnvState, pool: LevelPool, layer: int) -> _Bodies:
    """The enemies whose lane is in a layer of lanes; the others show nothing."""
    if pool.lane_row.shape[1] == 1:
        return bodies
    column, row = pool.levels.entity_xy[state.level_index].T
    lane = pool.lane_row[state.level_index, layer, column.astype(jnp.int32) + MARGIN]
    inside = lane == row.astype(jnp.int32)
    return bodies._replace(
        start=jnp.where(inside, bodies.start, 0), dust=jnp.where(inside, bodies.dust, 0)
    )


def _strip(bodies: _Bodies, atlas: Atlas) -> _Strip:
    """Put enemies together, later ones on top."""
    width = 3 * atlas.size
    strip = jnp.zeros((_strip_rows(atlas), width), jnp.uint8)
    dust = jnp.zeros(width, jnp.uint8)
    enemies, dusts = jnp.asarray(atlas.enemies), jnp.asarray(atlas.dust)
    body_at = _corners(bodies.level, bodies.start[:, None])
    dust_at = _corners(bodies.dust, bodies.dust_start)
    for slot in range(bodies.start.shape[0]):
        body = _cut_at(enemies, body_at[slot], width)
        strip = jnp.where(body != 0, body, strip)
        dust |= _cut_at(dusts, dust_at[slot], width)
    return _Strip(strip, dust)


def _agent_start(state: EnvState, theme: jax.Array, look: Look, atlas: Atlas) -> jax.Array:
    """Byte of a row of `Atlas.agents` at which the agent's sprite begins. int32 []."""
    still = (jnp.abs(state.vx) < STILL_SPEED) & ~state.walking & state.supported
    strides = (state.time // ANIMATION_STEPS % 2 == 0) | ~state.supported
    pose = jnp.where(still, 0, jnp.where(strides, 1, 2))
    theme = jnp.where(look.restrict_themes, 0, theme.astype(jnp.int32))
    sprite = (theme * len(creatures.AGENT_POSES) + pose) * 2 + state.facing_right
    return 3 * atlas.size * jnp.where(look.monochrome, art.PLAIN_AGENT + theme, sprite)


def _velocity_rows(vx: jax.Array, vy: jax.Array, painted: jax.Array, atlas: Atlas) -> jax.Array:
    """A row of pixels without and one with the velocities, if `painted`; uint8 [2, bytes]."""
    share = jnp.stack([vx / RUN_SPEED, vy / JUMP_SPEED])
    grey = jnp.clip(255 * (0.5 * share + 0.5), 1, 255).astype(jnp.uint8)
    byte, square = np.arange(3 * atlas.size), 3 * _velocity_square(atlas)
    row = jnp.where(byte < square, grey[0], jnp.where(byte < 2 * square, grey[1], 0))
    return jnp.where(np.array([[False], [True]]) & painted, row[None, :], jnp.uint8(0))


def _velocity_square(atlas: Atlas) -> int:
    return round(VELOCITY_SHARE * atlas.size)


def _background(
    camera: _Camera, index: jax.Array, shift: jax.Array, shown: jax.Array, atlas: Atlas
) -> jax.Array:
    """What the frame sees of the level's background; uint8 [size, bytes]."""
    cut, height = atlas.background_cut, atlas.background_height
    count = len(backgrounds.PAINTERS)
    scale = cut / VIEW  # pixels per tile
    slide = shift * ((backgrounds.ASPECT - 1) * WORLD_SIZE)
    x, y = (camera.left + slide) * scale, (WORLD_SIZE - camera.top) * scale
    column, row = jnp.floor(x), jnp.floor(y)
    first = jnp.where(shown, index % count * height + row.astype(jnp.int32), count * height)
    start = 3 * (column.astype(jnp.int32) + cut // 2)
    if cut == atlas.size:
        return _cut(atlas.backgrounds, first + cut // 2 + np.arange(cut), start, 3 * cut)

    coarse = _cut(atlas.backgrounds, first + cut // 2 + np.arange(cut + 1), start, 3 * (cut + 1))
    image = coarse.reshape(cut + 1, cut + 1, 3).astype(jnp.float32)
    ratio = cut / atlas.size

    def weights(offset: jax.Array) -> jax.Array:
        """Linear interpolation; float32 [size, cut + 1]."""
        position = (np.arange(atlas.size) * ratio + offset)[:, None]
        return jnp.maximum(0, 1 - jnp.abs(position - np.arange(cut + 1)))

    image = jnp.einsum("yr,rcb,xc->yxb", weights(y - row), image, weights(x - column))
    return jnp.rint(image).astype(jnp.uint8).reshape(atlas.size, -1)


def _tile_starts(
    state: EnvState, wall_theme: jax.Array, camera: _Camera, look: Look, atlas: Atlas
) -> list[jax.Array | None]:
    """Byte of a row of `Atlas.tiles` at which a frame full of each tile code begins."""
    theme = jnp.where(look.restrict_themes, 0, wall_theme.astype(jnp.int32))
    variant = {art.SOLID: theme, art.SURFACE: theme, art.SAW: state.time % 2}
    plain = jnp.where(look.monochrome, art.NUM_TILE_SPRITES, 0)
    cut_at = jnp.asarray(atlas.cut_at)[camera.point]
    return [
        None if sprite is None else cut_at + (plain + sprite + variant.get(sprite, 0)) * atlas.tile_block
        for sprite in _SPRITE_OF_TILE
    ]


class _Layers(NamedTuple):
    """What `_compose` puts together, of one frame."""

    camera: _Camera
    codes: jax.Array  # uint8 [14 + layers, bytes], tile codes, then rows of enemy lanes
    tile_starts: list[jax.Array | None]  # int32 [], by tile code
    strips: list[_Strip]  # of each layer of lanes
    agent_start: jax.Array  # int32 []
    velocity: jax.Array  # uint8 [2, bytes]
    background: tuple[jax.Array, jax.Array, jax.Array]  # index, shift, whether it is shown


def _compose(layers: _Layers, atlas: Atlas) -> jax.Array:
    """All layers, back to front; uint8 [size, bytes]."""
    size, width = atlas.size, 3 * atlas.size
    whole = partial(_cut, start=jnp.int32(0), width=width)
    rows = _pixel_rows(layers.camera, atlas)
    level = rows.point * atlas.levels // atlas.steps
    choices = [
        None if start is None else _cut(atlas.tiles, level, start, width)
        for start in layers.tile_starts
    ]
    choices[Tile.EMPTY] = jnp.zeros((size, width), jnp.uint8)
    codes = whole(layers.codes, rows.tile)
    tiles = _choose(choices, codes)
    frame = jnp.where(tiles != 0, tiles, _background(layers.camera, *layers.background, atlas))

    over_floor = rows.point // atlas.stride
    strip_rows = _strip_rows(atlas)
    strip_row = jnp.minimum(over_floor, strip_rows - 1)
    tile = jnp.where(over_floor < strip_rows, rows.tile, _NOWHERE).astype(jnp.uint8)
    band_height = creatures.MAX_ENEMY_HEIGHT / art.DUST_BANDS
    heights = (np.arange(strip_rows) + 0.5) * atlas.stride / atlas.steps
    bits = 1 << np.minimum(heights / band_height, art.DUST_BANDS).astype(int)
    band = jnp.asarray(bits.astype(np.uint8))[strip_row][:, None]

    here = [lane == tile[:, None] for lane in layers.codes[TILES:]]
    for strip, inside in zip(layers.strips, here, strict=True):
        frame = jnp.where(inside & ((strip.dust & band) != 0), DUST_COLOUR, frame)
    agent = _cut(atlas.agents, jnp.asarray(atlas.agent_row), layers.agent_start, width)
    frame = jnp.where(agent != 0, agent, frame)
    for strip, inside in zip(layers.strips, here, strict=True):
        body = whole(strip.bodies, strip_row)
        frame = jnp.where(inside & (body != 0), body, frame)
    in_square = np.arange(size) < _velocity_square(atlas)
    velocity = whole(layers.velocity, jnp.asarray(in_square.astype(np.int32)))
    return jnp.where(velocity != 0, velocity, frame).astype(jnp.uint8)


def observe(state: EnvState, pool: LevelPool, look: Look, size: int = SIZE) -> jax.Array:
    """Frame of one state.

    Args:
      state: of one environment.
      pool: that `state.level_index` points into.
      look: switches.
      size: pixels, both ways; static.

    Returns:
      uint8 [size, size, 3], top row first.
    """
    atlas = art.load(size)
    index, levels = state.level_index, pool.levels
    camera = _camera(state, atlas)
    tile_column = _cut(atlas.tile_column, camera.point, jnp.int32(0), 3 * size)
    lanes = _lanes(state, pool, camera)
    tiles = jnp.concatenate([_tile_codes(state, pool, camera, look), lanes])
    bodies = _bodies(state, pool, camera, look, atlas)
    clock = state.time
    layers = _Layers(
        camera=camera,
        codes=written_out(_spread, clock, tiles, tile_column),
        tile_starts=_tile_starts(state, levels.wall_theme[index], camera, look, atlas),
        strips=[
            written_out(partial(_strip, atlas=atlas), clock, _of_layer(bodies, state, pool, layer))
            for layer in range(lanes.shape[0])
        ],
        agent_start=_agent_start(state, levels.agent_theme[index], look, atlas),
        velocity=written_out(
            partial(_velocity_rows, atlas=atlas), clock, state.vx, state.vy, look.paint_velocity
        ),
        background=(
            levels.background_index[index].astype(jnp.int32),
            levels.background_shift[index],
            jnp.asarray(look.backgrounds),
        ),
    )
    frame = written_out(partial(_compose, atlas=atlas), clock, layers)
    return frame.reshape(size, size, 3)
