"""The art as lookup tables for one frame size, laid out so that a frame is cut, not computed.

A pixel is 13/size tiles wide. On a lattice of `steps` points per tile, the pixels of a row lie
`stride` points apart. The two numbers are coprime, so the positions that pixels take within a
tile are the `steps` lattice points, and a row of pixels filled with one repeated tile is a
*contiguous* cut out of one periodic row: only where the cut begins depends on the camera.
Backgrounds are drawn pixel for pixel and cut in the same way. Tables hold bytes (red, green, blue
of one pixel after another), like an observation; 0 means transparent, painted bytes are at least 1.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from flax import struct

from coinrun_jax.checks import whole
from coinrun_jax.coinrun.cues import LOOKS
from coinrun_jax.coinrun.observations import backgrounds, creatures, tiles
from coinrun_jax.coinrun.observations.canvas import Canvas, Colour, Texture, sample
from coinrun_jax.coinrun.physics import HALF_HEIGHT
from coinrun_jax.coinrun.types import (
    NUM_AGENT_THEMES,
    NUM_CRATE_THEMES,
    NUM_ENEMY_THEMES,
    NUM_WALL_THEMES,
    WORLD_SIZE,
)

VIEW = 13  # tiles that a frame shows, both ways
MAX_SIZE = 4096  # pixels: the tables then take some 100 MB
MAX_BACKGROUND_CUT = 96  # larger frames magnify the background of a frame of this size
DUST_BANDS = 8  # of the height that dust reaches, one bit each

# Sprites of the tile table, by index; the same sprites in plain colours follow.
SOLID = 0
SURFACE = SOLID + NUM_WALL_THEMES
LAVA = SURFACE + NUM_WALL_THEMES
LAVA_SURFACE = LAVA + 1
SAW = LAVA_SURFACE + 1  # and its second frame
COIN = SAW + 2  # in each of `cues.LOOKS`
CRATE = COIN + len(LOOKS)
NUM_TILE_SPRITES = CRATE + NUM_CRATE_THEMES

# Sprites of enemies are ordered by (look, frame, heading right), those of agents by
# (theme, pose, facing right). The ones in plain colours follow.
PLAIN_ENEMY = NUM_ENEMY_THEMES * 2 * 2
PLAIN_AGENT = NUM_AGENT_THEMES * len(creatures.AGENT_POSES) * 2
PLAIN_ENEMY_COLOUR: Colour = (214, 40, 90)


class Atlas(struct.PyTreeNode):
    """Lookup tables for frames of `size` x `size` pixels; bytes, except for the two int32."""

    tile_column: np.ndarray  # [steps, 3 * size], tile under each byte, by lattice point
    cut_at: np.ndarray  # int32 [steps], byte at which a row of tiles is cut, by lattice point
    tiles: np.ndarray  # [levels, 2 * NUM_TILE_SPRITES * tile_block]
    enemies: np.ndarray  # [enemy_levels + 1, (PLAIN_ENEMY + 1) * phases * enemy_block + ...]
    dust: np.ndarray  # [2 * (dust_pixels + 1), ...], by (length in pixels, heading right)
    agents: np.ndarray  # [agent rows + 1, (PLAIN_AGENT + themes) * 3 * size]
    agent_row: np.ndarray  # int32 [size], row of `agents` that a pixel row shows
    backgrounds: np.ndarray  # [..., 3 * background width], images stacked vertically, then black
    size: int = struct.field(pytree_node=False)
    steps: int = struct.field(pytree_node=False)  # lattice points per tile
    stride: int = struct.field(pytree_node=False)  # lattice points per pixel
    levels: int = struct.field(pytree_node=False)  # heights distinguished within a tile
    enemy_levels: int = struct.field(pytree_node=False)  # how many of these an enemy reaches
    enemy_pixels: int = struct.field(pytree_node=False)  # columns of a body
    dust_pixels: int = struct.field(pytree_node=False)  # columns of the longest dust
    phases: int = struct.field(pytree_node=False)  # sub-pixel positions of a body
    background_cut: int = struct.field(pytree_node=False)  # pixels of a view of the background
    background_height: int = struct.field(pytree_node=False)  # pixels of one image

    @property
    def tile_block(self) -> int:
        """Bytes of one sprite in a row of `tiles`."""
        return 3 * (self.steps + self.size)

    @property
    def enemy_block(self) -> int:
        """Bytes from one body to the next in a row of `enemies`: no cut shows two."""
        return 3 * (self.size + self.enemy_pixels)


def _plain(colour: Colour, height: float = 1.0) -> Texture:
    c = Canvas(1.0, height)
    c.paint(None, colour)
    return c.texture()


def _tile_textures() -> list[Texture]:
    themes = range(NUM_WALL_THEMES)
    drawn = [
        *(tiles.ground(theme, surface=False) for theme in themes),
        *(tiles.ground(theme, surface=True) for theme in themes),
        tiles.lava(surface=False),
        tiles.lava(surface=True),
        tiles.saw(0),
        tiles.saw(1),
        tiles.coin(),
        tiles.coin(tiles.RED),
        tiles.gem(),
        *(tiles.crate(theme) for theme in range(NUM_CRATE_THEMES)),
    ]
    colours = [
        *(theme.interior for theme in tiles.GROUND_THEMES),
        *(theme.strip for theme in tiles.GROUND_THEMES),
        *[tiles.LAVA] * 2,
        *[tiles.STEEL] * 2,
        *[tiles.GOLD, tiles.RED, tiles.AZURE],
        *[tiles.WOOD] * NUM_CRATE_THEMES,
    ]
    return drawn + [_plain(colour) for colour in colours]


def _tile_table(size: int, steps: int, stride: int, levels: int) -> np.ndarray:
    u = (np.arange(steps + size) * stride % steps + 0.5) / steps
    v = (np.arange(levels) + 0.5) / levels
    cuts = [sample(texture, u, v, VIEW / size) for texture in _tile_textures()]
    return np.concatenate([cut.reshape(levels, -1) for cut in cuts], axis=1)


def _enemy_table(
    size: int, steps: int, stride: int, levels: int, rows: int, phases: int
) -> np.ndarray:
    """Bodies separated by an empty frame's width, and an empty last row."""
    pixels = math.ceil(steps / stride)
    v = (np.arange(rows) + 0.5) / levels
    sprites = []
    for look in range(NUM_ENEMY_THEMES):
        for frame in range(2):
            left = creatures.enemy(look, frame)
            sprites += [left, left.mirrored()]
    sprites.append(_plain(PLAIN_ENEMY_COLOUR))
    gap = np.zeros((rows, size, 3), np.uint8)
    blocks = [gap]
    for texture in sprites:
        for phase in range(phases):
            u = (np.arange(pixels) + (phase + 0.5) / phases) * stride / steps
            blocks += [sample(texture, u, v, VIEW / size, (False, True)), gap]
    table = np.concatenate(blocks, axis=1).reshape(rows, -1)
    return np.concatenate([table, np.zeros_like(table[:1])])


def _dust_table(size: int, steps: int, stride: int, pixels: int) -> np.ndarray:
    """Dust around a body, with an empty frame's width on either side."""
    body = math.ceil(steps / stride)
    pad = size + pixels
    column = np.arange(body + 2 * pad) - pad
    u = (column + 0.5) * stride / steps - 1  # 0 is the back of a body that heads left
    v = (np.arange(DUST_BANDS) + 0.5) / DUST_BANDS * creatures.MAX_ENEMY_HEIGHT
    seen = sample(creatures.puffs(), u, v, VIEW / size, (False, True))[..., 0] > 0
    bits = (seen << np.arange(DUST_BANDS)[:, None]).sum(0) * (column >= body)
    rows = [bits * (column < body + length) for length in range(pixels + 1)]
    both = np.stack([row[::step] for row in rows for step in (1, -1)])
    return np.repeat(both, 3, axis=1).astype(np.uint8)


def _agent_tables(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Agents where a frame shows them, always in its middle; and `agent_row`."""
    pixel = VIEW / size
    offset = (np.arange(size) + 0.5 - size / 2) * pixel  # tiles right of or below the centre
    u, v = 0.5 + offset, HALF_HEIGHT - offset
    shown = np.flatnonzero((v > -pixel) & (v < creatures.AGENT_HEIGHT + pixel))
    sprites = []
    for theme in range(NUM_AGENT_THEMES):
        for pose in creatures.AGENT_POSES:
            right = creatures.agent(theme, pose)
            sprites += [right.mirrored(), right]
    sprites += [_plain(colour, 2 * HALF_HEIGHT) for colour in creatures.AGENT_COLOURS]
    cuts = [sample(texture, u, v[shown], pixel, (False, False)) for texture in sprites]
    table = np.concatenate([cut.reshape(len(shown), -1) for cut in cuts], axis=1)
    rows = np.full(size, len(shown), np.int32)  # the last row shows nothing
    rows[shown] = np.arange(len(shown))
    return np.concatenate([table, np.zeros_like(table[:1])]), rows


def _background_table(cut: int) -> np.ndarray:
    """Images stacked vertically, then a black one, with a margin of half a view on each side.

    The margin is there because a camera may look past the edge of the world. Its content does
    not matter: solid ground covers it.
    """
    height = round(WORLD_SIZE * cut / VIEW)
    images = [backgrounds.background(i, height) for i in range(len(backgrounds.PAINTERS))]
    side = cut // 2
    column = np.pad(np.concatenate(images), ((side, 2 * cut), (side, side), (0, 0)))
    return column.reshape(len(column), -1)


def require_size(size: int) -> int:
    """A frame's size in pixels, at least one per tile.

    Raises:
      ValueError: for anything but a whole number within 13 ... 4096.
    """
    return whole("frame size", size, VIEW, MAX_SIZE)


def load(size: int) -> Atlas:
    """Tables for frames of `size` x `size` pixels, drawn on first use.

    Raises:
      ValueError: as in `require_size`.
    """
    return _load(require_size(size))


@cache
def _load(size: int) -> Atlas:
    common = math.gcd(VIEW, size)
    steps, stride = size // common, VIEW // common
    levels = min(steps, 16 if size <= MAX_BACKGROUND_CUT else 64)
    enemy_levels = math.ceil(creatures.MAX_ENEMY_HEIGHT * levels)
    phases = max(1, min(stride, 256 // size))
    points = np.arange(steps)
    columns = (points[:, None] + stride * np.arange(size)) // steps
    dust_pixels = math.ceil(creatures.TRAIL * steps / stride)
    agents, agent_row = _agent_tables(size)
    cut = min(size, MAX_BACKGROUND_CUT)
    return Atlas(
        tile_column=np.repeat(columns, 3, axis=1).astype(np.uint8),
        # pixel c of a cut that begins at pixel b lies on point stride * (b + c)
        cut_at=(3 * (points * pow(stride, -1, steps) % steps)).astype(np.int32),
        tiles=_tile_table(size, steps, stride, levels),
        enemies=_enemy_table(size, steps, stride, levels, enemy_levels, phases),
        dust=_dust_table(size, steps, stride, dust_pixels),
        agents=agents,
        agent_row=agent_row,
        backgrounds=_background_table(cut),
        size=size,
        steps=steps,
        stride=stride,
        levels=levels,
        enemy_levels=enemy_levels,
        enemy_pixels=math.ceil(steps / stride),
        dust_pixels=dust_pixels,
        phases=phases,
        background_cut=cut,
        background_height=round(WORLD_SIZE * cut / VIEW),
    )
