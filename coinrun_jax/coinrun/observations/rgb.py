"""The observation that Procgen's agents see: pixels, 13x13 tiles around the agent.

A frame is assembled from contiguous cuts of the tables in `atlas`, selected byte by byte:
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
from jax import lax

from coinrun_jax.coinrun.cues import NO_ITEMS, Cues, make_cues
from coinrun_jax.coinrun.cuts import cut_block, cut_rows
from coinrun_jax.coinrun.observations import atlas as art
from coinrun_jax.coinrun.observations import backgrounds, creatures
from coinrun_jax.coinrun.observations.atlas import VIEW, Atlas
from coinrun_jax.coinrun.observations.bodies import (
    ANIMATION_STEPS,
    Strip,
    bodies_of,
    rows_of_strip,
    strip_of,
)
from coinrun_jax.coinrun.observations.camera import Camera, camera_of, choose, pixel_rows
from coinrun_jax.coinrun.observations.fusion import written_out
from coinrun_jax.coinrun.observations.look import Look
from coinrun_jax.coinrun.observations.window import (
    COIN_TILE,
    ITEM_TILE,
    SPRITE_OF_TILE,
    lane_tiles,
    tile_codes,
    window_of,
)
from coinrun_jax.coinrun.physics import JUMP_SPEED, RUN_SPEED
from coinrun_jax.coinrun.types import (
    WORLD_SIZE,
    EnvState,
    LevelPool,
    Tile,
)

SIZE = 64  # pixels of an observation, both ways
STILL_SPEED = 0.01  # tiles per step, below which an agent on the ground stands
DUST_COLOUR = 250  # of every channel
VELOCITY_SHARE = 0.2  # of the frame's size that each of the two velocity squares takes
NOWHERE = 255  # tile row of pixel rows that no enemy reaches

_GREY_WEIGHTS = (0.299, 0.587, 0.114)  # of red, green, blue: luma of ITU-R BT.601
_PROCGEN = make_cues()


def _agent_start(state: EnvState, theme: jax.Array, look: Look, atlas: Atlas) -> jax.Array:
    """Byte in a row of `Atlas.agents` at which the agent's sprite begins. int32 []."""
    still = (jnp.abs(state.vx) < STILL_SPEED) & ~state.walking & state.supported
    strides = (state.time // ANIMATION_STEPS % 2 == 0) | ~state.supported
    pose = jnp.where(still, 0, jnp.where(strides, 1, 2))
    theme = jnp.where(look.restrict_themes, 0, theme.astype(jnp.int32))
    sprite = (theme * len(creatures.AGENT_POSES) + pose) * 2 + state.facing_right
    return 3 * atlas.size * jnp.where(look.monochrome, art.PLAIN_AGENT + theme, sprite)


def _velocity_rows(vx: jax.Array, vy: jax.Array, painted: jax.Array, atlas: Atlas) -> jax.Array:
    """An empty row of pixels, and one with the velocities if `painted`; uint8 [2, bytes]."""
    share = jnp.stack([vx / RUN_SPEED, vy / JUMP_SPEED])
    grey = jnp.clip(255 * (0.5 * share + 0.5), 1, 255).astype(jnp.uint8)
    byte, square = np.arange(3 * atlas.size), 3 * _velocity_square(atlas)
    row = jnp.where(byte < square, grey[0], jnp.where(byte < 2 * square, grey[1], 0))
    return jnp.where(np.array([[False], [True]]) & painted, row[None, :], jnp.uint8(0))


def _velocity_square(atlas: Atlas) -> int:
    return round(VELOCITY_SHARE * atlas.size)


def _background(
    camera: Camera, index: jax.Array, shift: jax.Array, shown: jax.Array, atlas: Atlas
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
    first += cut // 2
    if cut == atlas.size:
        return cut_block(atlas.backgrounds, first, start, cut, 3 * cut)

    coarse = cut_block(atlas.backgrounds, first, start, cut + 1, 3 * (cut + 1))
    image = coarse.reshape(cut + 1, cut + 1, 3).astype(jnp.float32)
    ratio = cut / atlas.size

    def weights(offset: jax.Array) -> jax.Array:
        """Linear interpolation; float32 [size, cut + 1]."""
        position = ((np.arange(atlas.size) * ratio).astype(np.float32) + offset)[:, None]
        return jnp.maximum(0, 1 - jnp.abs(position - np.arange(cut + 1, dtype=np.float32)))

    image = jnp.einsum("yr,rcb,xc->yxb", weights(y - row), image, weights(x - column))
    return jnp.rint(image).astype(jnp.uint8).reshape(atlas.size, -1)


def _tile_starts(
    state: EnvState,
    coin_look: jax.Array,
    item_look: jax.Array,
    camera: Camera,
    look: Look,
    atlas: Atlas,
) -> list[jax.Array | None]:
    """Byte in a row of `Atlas.tiles` at which a frame full of each tile code begins."""
    theme = jnp.where(look.restrict_themes, 0, state.theme[0])
    variant = {
        Tile.SOLID: theme,
        Tile.SURFACE: theme,
        Tile.SAW: state.time % 2,
        COIN_TILE: coin_look,
        ITEM_TILE: item_look,
    }
    plain = jnp.where(look.monochrome, art.NUM_TILE_SPRITES, 0)
    cut_at = jnp.asarray(atlas.cut_at)[camera.point]
    starts: list[jax.Array | None] = []
    for code, sprite in enumerate(SPRITE_OF_TILE):
        if sprite is None:
            starts.append(None)
        else:
            number = plain + sprite + variant.get(code, 0)
            starts.append(cut_at + number * atlas.tile_block)
    return starts


class _Layers(NamedTuple):
    """What `_compose` puts together for one frame."""

    camera: Camera
    codes: jax.Array  # uint8 [14, bytes]
    lane_tiles: jax.Array  # uint8 [layers, bytes]
    tile_starts: list[jax.Array | None]  # int32 [], by tile code
    strips: list[Strip]  # one per layer of lanes
    agent_start: jax.Array  # int32 []
    velocity: jax.Array  # uint8 [2, bytes]
    paint_velocity: jax.Array  # bool []; otherwise `velocity` is empty
    mirrored: jax.Array  # bool []
    greyscale: jax.Array  # bool []
    background: tuple[jax.Array, jax.Array, jax.Array]  # index, shift, whether it is shown


def _compose(layers: _Layers, atlas: Atlas) -> jax.Array:
    """All layers; uint8 [size, bytes]."""
    changed = partial(_change, atlas=atlas)
    plain = partial(_paint, atlas=atlas)

    def on_cpu(layers: _Layers) -> jax.Array:
        is_changed = layers.paint_velocity | layers.mirrored | layers.greyscale
        return lax.cond(is_changed, changed, plain, layers)

    return lax.platform_dependent(layers, cpu=on_cpu, default=changed)


def _change(layers: _Layers, atlas: Atlas) -> jax.Array:
    """All layers; mirrored, in greyscale and with velocity painted, as requested."""
    size, width = atlas.size, 3 * atlas.size
    frame = _paint(layers, atlas)
    flipped = frame.reshape(size, size, 3)[:, ::-1].reshape(size, width)
    frame = jnp.where(layers.mirrored, flipped, frame)
    colours = frame.reshape(size, size, 3).astype(jnp.float32)
    luma = jnp.rint(jnp.sum(colours * np.array(_GREY_WEIGHTS, np.float32), -1)).astype(jnp.uint8)
    frame = jnp.where(layers.greyscale, jnp.repeat(luma, 3, axis=1), frame)
    in_square = np.arange(size) < _velocity_square(atlas)
    velocity = cut_rows(layers.velocity, jnp.asarray(in_square.astype(np.int32)), 0, width)
    return jnp.where(velocity != 0, velocity, frame).astype(jnp.uint8)


def _paint(layers: _Layers, atlas: Atlas) -> jax.Array:
    """All layers, back to front; uint8 [size, bytes]."""
    size, width = atlas.size, 3 * atlas.size
    whole = partial(cut_rows, start=0, width=width)
    rows = pixel_rows(layers.camera, atlas)
    level = rows.point * atlas.levels // atlas.steps
    choices = [
        None if start is None else cut_rows(atlas.tiles, level, start, width)
        for start in layers.tile_starts
    ]
    choices[Tile.EMPTY] = jnp.zeros((size, width), jnp.uint8)
    codes = whole(layers.codes, rows.tile)
    tiles = choose(choices, codes)
    frame = jnp.where(tiles != 0, tiles, _background(layers.camera, *layers.background, atlas))

    over_floor = rows.point // atlas.stride
    strip_rows = rows_of_strip(atlas)
    strip_row = jnp.minimum(over_floor, strip_rows - 1)
    tile = jnp.where(over_floor < strip_rows, rows.tile, NOWHERE).astype(jnp.uint8)
    band_height = creatures.MAX_ENEMY_HEIGHT / art.DUST_BANDS
    heights = (np.arange(strip_rows) + 0.5) * atlas.stride / atlas.steps
    bits = 1 << np.minimum(heights / band_height, art.DUST_BANDS).astype(int)
    band = jnp.asarray(bits.astype(np.uint8))[strip_row][:, None]

    here = [lane == tile[:, None] for lane in layers.lane_tiles]
    for strip, inside in zip(layers.strips, here, strict=True):
        frame = jnp.where(inside & ((strip.dust & band) != 0), DUST_COLOUR, frame)
    agent = cut_rows(atlas.agents, jnp.asarray(atlas.agent_row), layers.agent_start, width)
    frame = jnp.where(agent != 0, agent, frame)
    for strip, inside in zip(layers.strips, here, strict=True):
        body = whole(strip.bodies, strip_row)
        frame = jnp.where(inside & (body != 0), body, frame)
    return frame.astype(jnp.uint8)


def observe(
    state: EnvState,
    pool: LevelPool,
    look: Look,
    size: int = SIZE,
    cues: Cues = _PROCGEN,
    item_look: jax.Array | int = NO_ITEMS,
) -> jax.Array:
    """Frame of one state.

    Args:
      state: of one environment.
      pool: indexed by `state.level_index`.
      look: switches.
      size: pixels, both ways; static.
      cues: what is shown differently from Procgen.
      item_look: index of `cues.LOOKS`, or NO_ITEMS.

    Returns:
      uint8 [size, size, 3], top row first.
    """
    atlas = art.load(size)
    index, levels = state.level_index, pool.levels
    camera = camera_of(state, atlas)
    tile_column = cut_rows(atlas.tile_column, camera.point, 0, 3 * size)
    window = window_of(state, pool, camera, look, cues)
    bodies = [
        bodies_of(state, pool, layer, camera, look, cues, atlas)
        for layer in range(pool.lane_row.shape[1])
    ]
    clock, mirrored = state.time, jnp.asarray(cues.mirrored)
    vx = jnp.where(mirrored, -state.vx, state.vx)
    looks = (jnp.asarray(cues.coin_look), jnp.asarray(item_look))
    layers = _Layers(
        camera=camera,
        codes=written_out(tile_codes, clock, window, tile_column),
        lane_tiles=written_out(lane_tiles, clock, window, tile_column),
        tile_starts=_tile_starts(state, *looks, camera, look, atlas),
        strips=[written_out(partial(strip_of, atlas=atlas), clock, each) for each in bodies],
        agent_start=_agent_start(state, state.theme[2], look, atlas),
        velocity=written_out(
            partial(_velocity_rows, atlas=atlas), clock, vx, state.vy, look.paint_velocity
        ),
        paint_velocity=jnp.asarray(look.paint_velocity),
        mirrored=mirrored,
        greyscale=jnp.asarray(look.greyscale),
        background=(
            state.theme[1],
            levels.background_shift[index],
            jnp.asarray(look.backgrounds),
        ),
    )
    frame = written_out(partial(_compose, atlas=atlas), clock, layers)
    return frame.reshape(size, size, 3)
