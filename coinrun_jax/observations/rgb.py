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


def _cut(
    table: jax.Array | np.ndarray, row: jax.Array | np.ndarray, start: jax.Array | int, width: int
) -> jax.Array:
    """Bytes start ... start + width of rows of a table; [..., width]."""
    first = jnp.asarray(row * table.shape[1] + start)
    return _cut_flat(jnp.asarray(table).reshape(-1), first, width)


def _cut_flat(table: jax.Array, start: jax.Array, width: int) -> jax.Array:
    """Bytes start ... start + width of a table without rows; [..., width]."""
    dimensions = lax.GatherDimensionNumbers(
        offset_dims=(start.ndim,), collapsed_slice_dims=(), start_index_map=(0,)
    )
    return lax.gather(table, start[..., None], dimensions, (width,), mode="promise_in_bounds")


class _Window(NamedTuple):
    """What the tiles that a frame touches are looked up by."""

    tiles: jax.Array  # uint8 [P, 78, 78]
    lane_row: jax.Array  # int8 [P, layers, 78]
    level_index: jax.Array  # int32 []
    camera: _Camera
    coin: jax.Array  # int32 [2], (x, y) in the window; outside of it if there is none
    restrict_themes: jax.Array  # bool []


def _window(state: EnvState, pool: LevelPool, camera: _Camera, look: Look) -> _Window:
    coin = state.coin_cell - jnp.stack([camera.column, camera.row])
    return _Window(
        tiles=pool.tiles,
        lane_row=pool.lane_row,
        level_index=state.level_index,
        camera=camera,
        coin=jnp.where(state.coin_present, coin, -1),
        restrict_themes=jnp.asarray(look.restrict_themes),
    )


def _tile_codes(window: _Window, tile_column: jax.Array) -> jax.Array:
    """Codes of `_SPRITE_OF_TILE` under each byte, lowest row first; uint8 [14, bytes]."""
    camera = window.camera
    corner = (window.level_index, camera.row + MARGIN, camera.column + MARGIN)
    tiles = lax.dynamic_slice(window.tiles, corner, (1, TILES, TILES))[0]
    theme = jnp.where(window.restrict_themes, 0, tiles % NUM_CRATE_THEMES)
    tiles = jnp.where(tiles >= Tile.CRATE, Tile.CRATE + theme, tiles)
    at_coin = (np.arange(TILES) == window.coin[0]) & (np.arange(TILES)[:, None] == window.coin[1])
    return _spread(jnp.where(at_coin, _COIN_TILE, tiles).astype(jnp.uint8), tile_column)


def _lane_tiles(window: _Window, tile_column: jax.Array) -> jax.Array:
    """Tile row that the enemies under each byte are in; uint8 [layers, bytes]."""
    camera = window.camera
    corner = (window.level_index, jnp.int32(0), camera.column + MARGIN)
    rows = lax.dynamic_slice(window.lane_row, corner, (1, window.lane_row.shape[1], TILES))[0]
    tile = rows - camera.row
    seen = (rows >= 0) & (tile >= 0) & (tile < TILES)
    return _spread(jnp.where(seen, tile, _NOBODY).astype(jnp.uint8), tile_column)


def _spread(tiles: jax.Array, tile_column: jax.Array) -> jax.Array:
    """Repeat columns of tiles over the bytes that show them; [rows, bytes].

    A tree of selects by the bits of the tile's column: cheaper than a gather.
    """
    return _choose([tiles[:, k : k + 1] for k in range(TILES)], tile_column[None, :])


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
    (choice,) = choices
    assert choice is not None
    return choice


class _Bodies(NamedTuple):
    """Where on the frame the enemies of one layer of lanes are; all int32."""

    cut: jax.Array  # [strip rows, 40], byte of `Atlas.enemies`
    dust_cut: jax.Array  # [40], byte of `Atlas.dust`


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
    state: EnvState, pool: LevelPool, layer: int, camera: _Camera, look: Look, atlas: Atlas
) -> _Bodies:
    levels, index = pool.levels, state.level_index
    x, heading = state.entity_x, (state.entity_vx > 0).astype(jnp.int32)
    theme = levels.entity_theme[index].astype(jnp.int32)
    column, row = levels.entity_xy[index].astype(jnp.int32).T
    tile = row - camera.row
    in_layer = pool.lane_row[index, layer, column + MARGIN] == row
    is_enemy = levels.entity_type[index] == Entity.ENEMY
    seen = is_enemy & in_layer & (tile >= 0) & (tile < TILES)

    floor = (camera.height - atlas.steps * (tile - VIEW)) % atlas.stride  # of the lowest row
    point = floor + atlas.stride * np.arange(_strip_rows(atlas))[:, None]
    level = jnp.minimum(point * atlas.levels // atlas.steps, atlas.enemy_levels)

    edge = jnp.ceil((x - 0.5 - camera.left) * atlas.steps).astype(jnp.int32)
    first = -(-edge // atlas.stride)  # pixel column
    phase = (atlas.stride * first - edge) * atlas.phases // atlas.stride
    frame = state.time // ANIMATION_STEPS % 2
    sprite = (jnp.where(look.restrict_themes, 0, theme) * 2 + frame) * 2 + heading
    sprite = jnp.where(look.monochrome, art.PLAIN_ENEMY, sprite)
    start = 3 * (atlas.size - first) + (sprite * atlas.phases + phase) * atlas.enemy_block
    on_frame = seen & (first > -atlas.enemy_pixels) & (first < atlas.size)
    start = jnp.where(on_frame, start, 0)  # the first cut of the table shows nothing

    # Dust lies where the enemy has been: at most from the edge of its lane.
    edges = jnp.ceil((pool.lane_edge[index] - camera.left) * (atlas.size / VIEW))
    left, right = edges.astype(jnp.int32)
    behind = jnp.where(heading == 1, first - left, right - first - atlas.enemy_pixels)
    length = jnp.where(seen & look.enemy_trails, jnp.clip(behind, 0, atlas.dust_pixels), 0)
    pad = atlas.size + atlas.dust_pixels
    beside = pad - jnp.clip(first, -atlas.enemy_pixels - atlas.dust_pixels, pad)
    return _Bodies(
        cut=level * atlas.enemies.shape[1] + start,
        dust_cut=(2 * length + heading) * atlas.dust.shape[1] + 3 * beside,
    )


def _strip(bodies: _Bodies, atlas: Atlas) -> _Strip:
    """Put enemies together, later ones on top."""
    width = 3 * atlas.size
    enemies, dusts = (jnp.asarray(table).reshape(-1) for table in (atlas.enemies, atlas.dust))
    strip = jnp.zeros((_strip_rows(atlas), width), jnp.uint8)
    dust = jnp.zeros(width, jnp.uint8)
    for number in range(bodies.dust_cut.size):
        body = _cut_flat(enemies, bodies.cut[:, number], width)
        strip = jnp.where(body != 0, body, strip)
        dust |= _cut_flat(dusts, bodies.dust_cut[number], width)
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
    starts: list[jax.Array | None] = []
    for sprite in _SPRITE_OF_TILE:
        if sprite is None:
            starts.append(None)
        else:
            number = plain + sprite + variant.get(sprite, 0)
            starts.append(cut_at + number * atlas.tile_block)
    return starts


class _Layers(NamedTuple):
    """What `_compose` puts together, of one frame."""

    camera: _Camera
    codes: jax.Array  # uint8 [14, bytes]
    lane_tiles: jax.Array  # uint8 [layers, bytes]
    tile_starts: list[jax.Array | None]  # int32 [], by tile code
    strips: list[_Strip]  # of each layer of lanes
    agent_start: jax.Array  # int32 []
    velocity: jax.Array  # uint8 [2, bytes]
    paint_velocity: jax.Array  # bool []; otherwise `velocity` is empty
    background: tuple[jax.Array, jax.Array, jax.Array]  # index, shift, whether it is shown


def _compose(layers: _Layers, atlas: Atlas) -> jax.Array:
    """All layers; uint8 [size, bytes]."""
    painted = partial(_paint, atlas=atlas, with_velocity=True)
    plain = partial(_paint, atlas=atlas, with_velocity=False)
    return lax.platform_dependent(
        layers,
        cpu=lambda layers: lax.cond(layers.paint_velocity, painted, plain, layers),
        default=painted,
    )


def _paint(layers: _Layers, atlas: Atlas, with_velocity: bool) -> jax.Array:
    """All layers, back to front; uint8 [size, bytes]."""
    size, width = atlas.size, 3 * atlas.size
    whole = partial(_cut, start=0, width=width)
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

    here = [lane == tile[:, None] for lane in layers.lane_tiles]
    for strip, inside in zip(layers.strips, here, strict=True):
        frame = jnp.where(inside & ((strip.dust & band) != 0), DUST_COLOUR, frame)
    agent = _cut(atlas.agents, jnp.asarray(atlas.agent_row), layers.agent_start, width)
    frame = jnp.where(agent != 0, agent, frame)
    for strip, inside in zip(layers.strips, here, strict=True):
        body = whole(strip.bodies, strip_row)
        frame = jnp.where(inside & (body != 0), body, frame)
    if not with_velocity:
        return frame.astype(jnp.uint8)
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
    tile_column = _cut(atlas.tile_column, camera.point, 0, 3 * size)
    window = _window(state, pool, camera, look)
    bodies = [
        _bodies(state, pool, layer, camera, look, atlas) for layer in range(pool.lane_row.shape[1])
    ]
    clock = state.time
    layers = _Layers(
        camera=camera,
        codes=written_out(_tile_codes, clock, window, tile_column),
        lane_tiles=written_out(_lane_tiles, clock, window, tile_column),
        tile_starts=_tile_starts(state, levels.wall_theme[index], camera, look, atlas),
        strips=[written_out(partial(_strip, atlas=atlas), clock, each) for each in bodies],
        agent_start=_agent_start(state, levels.agent_theme[index], look, atlas),
        velocity=written_out(
            partial(_velocity_rows, atlas=atlas), clock, state.vx, state.vy, look.paint_velocity
        ),
        paint_velocity=jnp.asarray(look.paint_velocity),
        background=(
            levels.background_index[index].astype(jnp.int32),
            levels.background_shift[index],
            jnp.asarray(look.backgrounds),
        ),
    )
    frame = written_out(partial(_compose, atlas=atlas), clock, layers)
    return frame.reshape(size, size, 3)
