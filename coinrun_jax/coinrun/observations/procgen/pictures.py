"""Procgen's pictures as one table of pixels, and where each begins in it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from coinrun_jax.art import manifest
from coinrun_jax.art.store import read_backgrounds, read_sprites, require_art
from coinrun_jax.coinrun.types import WORLD_SIZE, Cell, Entity, Level

ALL = tuple(range(len(manifest.BACKGROUND_PATHS)))
GROUND_HEIGHT = 28  # rows of a generated level that can be stood on, crates included
SEEN_HEIGHT = 44
"""Tiles of the world's height that a frame of a generated level can show: a jump from there rises
6.4 tiles, and a view reaches 6.5 tiles up."""

TILE = 128  # pixels of a tile's picture, both ways
AGENT_HEIGHT = 256
PUFF = 17
NUM_COLOURS = 64  # for things drawn in one colour
NOT_HELD = -(2**30)

# Where pictures begin, in pixels. The first pixel is transparent black, then come the colours.
COLOUR = 1
PUFF_AT = COLOUR + NUM_COLOURS
SOLID = PUFF_AT + PUFF * PUFF
_AREA = TILE * TILE
SURFACE = SOLID + len(manifest.GROUNDS) * _AREA
LAVA = SURFACE + len(manifest.GROUNDS) * _AREA
LAVA_SURFACE = LAVA + _AREA
COIN = LAVA_SURFACE + _AREA  # in each of `cues.LOOKS`
CRATE = COIN + len(manifest.COINS) * _AREA
SAW = CRATE + len(manifest.CRATES) * _AREA  # two images
ENEMY = SAW + 2 * _AREA  # by look, two images each
AGENT = ENEMY + 2 * len(manifest.ENEMIES) * _AREA  # by theme, three poses each
WALL_OF_CRATES = AGENT + len(manifest.AGENTS) * len(manifest.POSES) * 2 * _AREA
NUM_SPRITE_PIXELS = WALL_OF_CRATES + _AREA

_sizes = manifest.pictures()[len(manifest.SPRITE_PATHS) :]
BACKGROUND_HEIGHT = np.array([each.height for each in _sizes], np.int32)
BACKGROUND_WIDTH = np.array([each.width for each in _sizes], np.int32)


class Art(struct.PyTreeNode):
    """All pictures to draw from, held once on every device and shared by all environments.

    A pixel is red, green, blue and alpha from the lowest byte up; colours are premultiplied by
    alpha.
    """

    pixels: jax.Array  # uint32 [N], sprites and then the backgrounds that are held
    first: jax.Array  # int32 [62], where row 0 of a background would be, or NOT_HELD
    top: jax.Array  # int32 [62], the highest row held of each

    def with_all_backgrounds(self) -> Art:
        """The same art with all backgrounds held."""
        if (np.asarray(self.first) > NOT_HELD).all():
            return self
        return load(height=WORLD_SIZE if not np.asarray(self.top).any() else SEEN_HEIGHT)


def scaled(channel: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Procgen's product of two bytes as shares of 255; uint32."""
    product = channel.astype(np.uint32) * by
    return (product + (product >> 8) + 128) >> 8


def _packed(image: np.ndarray) -> np.ndarray:
    """Pixels of an image, uint8 [H, W, 4], alpha not premultiplied; uint32 [H * W]."""
    alpha = image[..., 3].astype(np.uint32)
    red, green, blue = (scaled(image[..., channel], alpha) for channel in range(3))
    return (red | green << 8 | blue << 16 | alpha << 24).reshape(-1)


def _opaque(image: np.ndarray) -> np.ndarray:
    """Pixels of an image, uint8 [H, W, 3]; uint32 [H * W]."""
    padded = np.full((*image.shape[:2], 4), 255, np.uint8)
    padded[..., :3] = image
    return padded.view("<u4").astype(np.uint32).reshape(-1)


def _colours() -> np.ndarray:
    """The colours of `Look.monochrome`; uint32 [64]."""
    number = np.arange(NUM_COLOURS)
    digits = np.stack([number // 16, number // 4 % 4, number % 4], -1)
    return _opaque((64 * (digits + 1) - 1).astype(np.uint8)[None])


def load(backgrounds: Iterable[int] = ALL, height: int = SEEN_HEIGHT) -> Art:
    """The pictures, on JAX's default device; cached.

    Args:
      backgrounds: numbers of those to hold; the others are black.
      height: tiles, from the bottom of the world, over which they are held.

    Raises:
      InputError: if the pictures are not available.
    """
    path = require_art()
    return _load(path, os.stat(path).st_mtime_ns, tuple(sorted(set(backgrounds))), height)


def load_for(levels: Level) -> Art:
    """The pictures that given levels can show, one level or a batch; see `load`."""
    grid = np.asarray(levels.grid).reshape(-1, WORLD_SIZE, WORLD_SIZE)
    entities = np.asarray(levels.entity_type).reshape(len(grid), -1)
    cells = np.asarray(levels.entity_xy).reshape(len(grid), -1, 2).astype(int)
    end, start = (np.asarray(each).reshape(-1, 2) for each in (levels.end_cell, levels.start_xy))
    carries = np.isin(grid, (Cell.SOLID, Cell.SURFACE))
    level, slot = np.nonzero(entities == Entity.CRATE)
    carries[level, cells[level, slot, 1], cells[level, slot, 0]] = True
    free = ~np.isin(grid, (Cell.SOLID, Cell.SURFACE))
    on_the_way = np.arange(WORLD_SIZE) <= end[:, :1]
    stands = free[:, 1:] & carries[:, :-1] & on_the_way[:, None, :]
    is_tall = stands[:, GROUND_HEIGHT:].any() or (start[:, 1] > GROUND_HEIGHT).any()
    numbers = np.unique(np.asarray(levels.background_index)).tolist()
    return load(numbers, WORLD_SIZE if is_tall else SEEN_HEIGHT)


@cache
def _load(path: Path, changed: int, backgrounds: tuple[int, ...], height: int) -> Art:
    del changed  # only part of the cache key
    top = np.maximum(0, BACKGROUND_HEIGHT * (WORLD_SIZE - height) // WORLD_SIZE - 1)
    held = np.array([number in backgrounds for number in ALL])
    sizes = np.where(held, (BACKGROUND_HEIGHT - top) * BACKGROUND_WIDTH, 0)
    begin = NUM_SPRITE_PIXELS + np.cumsum(sizes) - sizes
    pixels = np.zeros(NUM_SPRITE_PIXELS + sizes.sum(), np.uint32)

    sprites = [_packed(image) for image in read_sprites(path)]
    crate = pixels[WALL_OF_CRATES:NUM_SPRITE_PIXELS]
    number = manifest.SPRITE_PATHS.index(f"kenney/Tiles/{manifest.CRATES[0]}.png")
    crate[:] = sprites[number] | np.uint32(0xFF000000)
    parts = np.concatenate([_colours(), *sprites])
    pixels[COLOUR : COLOUR + len(parts)] = parts
    for number in backgrounds:  # one by one: unpacked, each takes that much memory again
        image = read_backgrounds(path, [number])[number][top[number] :]
        pixels[begin[number] : begin[number] + sizes[number]] = _opaque(image)
    with jax.ensure_compile_time_eval():
        return Art(
            pixels=jnp.asarray(pixels),
            first=jnp.asarray(np.where(held, begin - top * BACKGROUND_WIDTH, NOT_HELD), jnp.int32),
            top=jnp.asarray(top, jnp.int32),
        )
