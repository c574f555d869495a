"""Paints scenes onto frames, in Procgen's order.

On CPU, things are painted one after another, through the frames of the whole batch: this way, a
frame costs only what it shows, not what the fullest frame of the batch shows. Each operation on
one thing takes some time whatever it does, so there are few of them: whatever can be known in
advance is in the scene, computed for the whole batch at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap

from coinrun_jax.coinrun.observations.fusion import written_out
from coinrun_jax.coinrun.observations.procgen.cells import CELLS, TOP_COVER, cell_and_pixel
from coinrun_jax.coinrun.observations.procgen.frame import Frame
from coinrun_jax.coinrun.observations.procgen.look_up import look_up, rows_of
from coinrun_jax.coinrun.observations.procgen.pictures import TILE, Art
from coinrun_jax.coinrun.observations.procgen.scene import (
    AGENT,
    FIELDS,
    MASK_WORDS,
    NUM_SPRITES,
    WORD,
    Scene,
)
from coinrun_jax.coinrun.observations.procgen.spans import Lens
from coinrun_jax.coinrun.observations.procgen.things import (
    OPACITIES,
    PUFF_AGES,
    PUFF_TILES,
    puff_of,
)
from coinrun_jax.coinrun.types import MAX_ENTITIES

VELOCITY_SHARE = 0.2  # of the frame's size that each of the two velocity squares takes
_GREY_WEIGHTS = (0.299, 0.587, 0.114)  # of red, green, blue: luma of ITU-R BT.601
_EVEN = np.uint32(0x00FF00FF)  # red and blue, or green and alpha
_HALVES = np.uint32(0x00800080)
_AGENT_TILES = (2.02, 1.0)  # height and width
_AGES = 16  # stride from one enemy's puffs to the next one's
PUFFING = 16
"""Most enemies near the agent whose puffs are drawn; no generated level has more that close."""
_COVER_BITS = TOP_COVER.bit_length() - 1


class _One:
    """One scene of a batch; nothing is copied out of the batch."""

    def __init__(self, scenes: Scene, number: jax.Array) -> None:
        self._scenes, self.number = scenes, number

    def at(self, name: str, index: Any = 0) -> jax.Array:
        """Some numbers of one of the scene's arrays, indexed as if flattened."""
        leaf = getattr(self._scenes, name)
        size = leaf[0].size
        return look_up(leaf.reshape(-1), self.number * size + jnp.asarray(index))


def _in_turn(number: jax.Array, count: jax.Array) -> jax.Array:
    """The number, but only once a count >= 0 is known.

    XLA on CPU spreads independent operations over several threads. Waking one takes longer than
    anything that is done here.
    """
    return number + (count >> 31)


def _faded(pixel: jax.Array, share: jax.Array) -> jax.Array:
    """All four bytes of pixels times a share of 255, as Procgen rounds it; uint32."""

    def two(bytes_: jax.Array) -> jax.Array:
        product = bytes_ * share
        return (product + ((product >> 8) & _EVEN) + _HALVES) >> 8 & _EVEN

    return two(pixel & _EVEN) | two(pixel >> 8 & _EVEN) << 8


def _still_index(scene: Scene, size: int) -> jax.Array:
    """The pixel that the background and cells without holes show; int32 [size, size].

    Whatever all pixels of a row or a column share is cut out first: looking it up for each pixel
    would cost as much as looking up the pixel itself.
    """
    cells = scene.cells.reshape(-1, size)
    (over_row, over_pixel), (under_row, under_pixel) = map(cell_and_pixel, scene.rows)
    over, under = rows_of(cells, over_row), rows_of(cells, under_row)
    is_under = under >> _COVER_BITS > over >> _COVER_BITS
    found = jnp.where(is_under, under, over)
    its_row = TILE * jnp.where(is_under, under_pixel[:, None], over_pixel[:, None])
    cell = (found & (TOP_COVER - 1)) + its_row
    behind_row, behind_column = scene.background_row[:, None], scene.background_column[None]
    behind = jnp.where((behind_row | behind_column) >= 0, behind_row + behind_column, 0)
    return jnp.where(found > 0, cell, behind)


def _still(scenes: Scene, pixels: jax.Array, size: int) -> jax.Array:
    """Backgrounds and cells without holes of a batch of scenes; uint32 [B, size, size]."""
    find = jax.vmap(partial(_still_index, size=size))
    # With the look-up in the same loop, none of it would be vectorised.
    return look_up(pixels, written_out(find, scenes.clock.reshape(-1)[0], scenes))


class _Patch:
    """The part of a frame around a sprite's rectangle, large enough for any sprite."""

    def __init__(
        self, x: tuple[Any, Any], y: tuple[Any, Any], shape: tuple[int, int], size: int
    ) -> None:
        self.shape = min(shape[0], size), min(shape[1], size)
        self.row = jnp.minimum(y[0], size - self.shape[0])
        self.column = jnp.minimum(x[0], size - self.shape[1])
        self.rows = (self.row + np.arange(self.shape[0], dtype=np.int32))[:, None]
        self.columns = (self.column + np.arange(self.shape[1], dtype=np.int32))[None]
        self.inside = (self.rows >= y[0]) & (self.rows < y[1])
        self.inside &= (self.columns >= x[0]) & (self.columns < x[1])

    def put(
        self, frames: jax.Array, number: jax.Array, pixel: jax.Array, where: jax.Array
    ) -> jax.Array:
        """Paint pixels over those of a frame; uint32 [B, size, size]."""
        begin = (number, self.row, self.column)
        below = lax.dynamic_slice(frames, begin, (1, *self.shape))[0]
        mixed = pixel + _faded(below, 255 - (pixel >> 24))
        return lax.dynamic_update_slice(frames, jnp.where(where, mixed, below)[None], begin)


def _patch_shape(height: float, width: float, lens: Lens) -> tuple[int, int]:
    return int(np.ceil(height * lens.unit)) + 1, int(np.ceil(width * lens.unit)) + 1


def _draw(
    frames: jax.Array,
    number: jax.Array,
    fields: jax.Array,
    pixels: jax.Array,
    lens: Lens,
    tiles: tuple[float, float] = (1.0, 1.0),
    share: jax.Array | None = None,
) -> jax.Array:
    """Paint a sprite.

    Args:
      frames: uint32 [B, size, size].
      number: of the frame, int32 [].
      fields: int32 [FIELDS], of the sprite, as in `Scene.sprites`.
      pixels: to draw from.
      lens: of the frames' size.
      tiles: largest height and width.
      share: of 255 that the sprite is faded by, uint32 [].
    """
    base, width, x0, x1, x_first, x_step, y0, y1, y_first, y_step, flip = fields
    patch = _Patch((x0, x1), (y0, y1), _patch_shape(*tiles, lens), lens.size)
    column = (x_first + x_step * (patch.columns - x0)) >> 16
    column = jnp.where(flip > 0, width - 1 - column, column)
    index = base + ((y_first + y_step * (patch.rows - y0)) >> 16) * width + column
    pixel = look_up(pixels, jnp.where(patch.inside, index, 0))
    pixel = pixel if share is None else _faded(pixel, share)
    return patch.put(frames, number, pixel, patch.inside)


def _draw_puffs(frames: jax.Array, scene: _One, pixels: jax.Array, lens: Lens) -> jax.Array:
    """Paint a scene's puffs, oldest first; of equal age, the last enemy's first."""
    clock, monochrome = scene.at("clock"), scene.at("monochrome")
    offsets = scene.at("offsets", np.arange(2, dtype=np.int32))
    where = Frame(offsets[0], offsets[1], clock)
    age = np.arange(PUFF_AGES, dtype=np.int32)
    share = jnp.where(monochrome, 255, OPACITIES.astype(np.int32))

    def of_enemy(carry: tuple[jax.Array, jax.Array], _: Any, slot: jax.Array) -> Any:
        """All puffs of an enemy, written into int32 [PUFFING, _AGES, FIELDS + 1]."""
        rank, found = carry
        x = scene.at("puff_x", age * MAX_ENTITIES + slot)
        sprite = puff_of(x, scene.at("puff_y", slot), jnp.asarray(age), monochrome, where, lens)
        numbers = (sprite.base, sprite.width, *sprite.x, *sprite.y, sprite.flip, share)
        fields = jnp.stack(
            [jnp.broadcast_to(jnp.asarray(each, jnp.int32), age.shape) for each in numbers], -1
        )
        return rank + 1, lax.dynamic_update_slice(found, fields[None], (rank, 0, 0))

    words = scene.at("puffing", np.arange(MASK_WORDS, dtype=np.int32))[None]
    nothing = jnp.full((PUFFING, _AGES, FIELDS + 1), _in_turn(jnp.int32(0), clock))
    number, puffs = _each(words, (jnp.int32(0), nothing), of_enemy)
    number = jnp.minimum(number, PUFFING)
    puffs = puffs.reshape(-1, FIELDS + 1)

    # A puff's number is _AGES * (rank of its enemy) + age.
    def step(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        puff, frames = carry
        oldest = _AGES * (number - 1) + puff - 1
        following = jnp.where(puff < _AGES, jnp.where(puff > 0, oldest, -1), puff - _AGES)
        fields = puffs[_in_turn(puff, following + 1)]
        faded = fields[FIELDS].astype(jnp.uint32)
        drawn = _draw(frames, scene.number, fields[:FIELDS], pixels, lens, PUFF_TILES, faded)
        return following, drawn

    ages = jnp.minimum(PUFF_AGES, clock)
    first = jnp.where(number > 0, _AGES * (number - 1) + ages - 1, -1), frames
    return lax.while_loop(lambda carry: carry[0] >= 0, step, first)[1]


def _draw_holey(
    frames: jax.Array, scene: _One, number: jax.Array, pixels: jax.Array, lens: Lens
) -> jax.Array:
    """Paint a cell whose picture has holes, where no cell without holes is drawn later."""
    size = lens.size
    column, row = number // CELLS, CELLS - 1 - number % CELLS
    x0, x1, x_first, x_step = (scene.at("cell_x", CELLS * k + column) for k in range(4))
    y0, y1, y_first, y_step = (scene.at("cell_y", CELLS * k + row) for k in range(4))
    patch = _Patch((x0, x1), (y0, y1), _patch_shape(1.04, 1.04, lens), size)

    over_row, under_row = (
        cell_and_pixel(scene.at("rows", size * k + patch.rows))[0] for k in range(2)
    )
    over, under = (scene.at("cells", its * size + patch.columns) for its in (over_row, under_row))
    is_under = under >> _COVER_BITS > over >> _COVER_BITS
    found = jnp.where(is_under, under, over)
    its_row = jnp.where(is_under, under_row, over_row)
    over_column, under_column = (
        cell_and_pixel(scene.at("columns", size * k + patch.columns))[0] for k in range(2)
    )
    is_first = (over_column != under_column) & (found >> _COVER_BITS < 2)
    its_column = jnp.where(is_first, under_column, over_column)
    later = (its_column > column) | ((its_column == column) & (its_row < row))
    where = patch.inside & ~((found > 0) & later)

    index = scene.at("holey", number) + ((x_first + x_step * (patch.columns - x0)) >> 16)
    index += ((y_first + y_step * (patch.rows - y0)) >> 16) * TILE
    pixel = look_up(pixels, jnp.where(where, index, 0))
    return patch.put(frames, scene.number, pixel, where)


def _each(words: jax.Array, carry: Any, draw: Callable[[Any, jax.Array, jax.Array], Any]) -> Any:
    """Draw what masks mark, mask by mask, each from its first mark to its last.

    Args:
      words: uint32 [B, W], the masks of B scenes.
      carry: to draw on.
      draw: (carry, number of the mask, int32 [], place of the mark, int32 []) -> carry.
    """
    count, flat = words.shape[1], jnp.append(words.reshape(-1), np.uint32(0))
    last = flat.size - 1
    number = np.arange(flat.size, dtype=np.int32)
    marked = lax.cummin(jnp.where(flat > 0, number, last), reverse=True)  # next such word

    def step(state: tuple[jax.Array, jax.Array, Any]) -> tuple[jax.Array, jax.Array, Any]:
        word, bits, carry = state
        others = bits & (bits - 1)
        place = lax.population_count((bits ^ others) - 1).astype(jnp.int32)
        following = jnp.where(others > 0, word, marked[word + 1])
        others = jnp.where(others > 0, others, flat[following])
        word = _in_turn(word, following)
        return following, others, draw(carry, word // count, WORD * (word % count) + place)

    begin = (marked[0], flat[marked[0]], carry)
    return lax.while_loop(lambda state: state[0] < last, step, begin)[2]


def _change(frame: jax.Array, scene: Scene, size: int) -> jax.Array:
    """Mirrored, in greyscale and with velocities, as requested; uint32 [size, size]."""
    frame = jnp.where(scene.mirrored, frame[:, ::-1], frame)
    channels = [(frame >> shift & 255).astype(jnp.float32) for shift in (0, 8, 16)]
    weighted = [
        channel * np.float32(weight)
        for channel, weight in zip(channels, _GREY_WEIGHTS, strict=True)
    ]
    luma = jnp.rint(weighted[0] + weighted[1] + weighted[2]).astype(jnp.uint32)
    frame = jnp.where(scene.greyscale, luma * np.uint32(0x010101), frame)
    grey = jnp.clip(scene.shade * 255, 0, 255).astype(jnp.uint32) * np.uint32(0x010101)
    pixel, side = np.arange(size), VELOCITY_SHARE * size
    first, second = round(side), round(2 * side)
    row = jnp.where(pixel < first, grey[0], grey[1])
    here = (pixel[:, None] < first) & (pixel < second) & scene.paint_velocity
    return jnp.where(here, row, frame)


def _paint(scenes: Scene, pixels: jax.Array, lens: Lens) -> jax.Array:
    """The frames of scenes [B]; uint8 [B, size, size, 3]."""
    frames = _still(scenes, pixels, lens.size)
    many = len(frames)

    def draw_hole(frames: jax.Array, number: jax.Array, place: jax.Array) -> jax.Array:
        return _draw_holey(frames, _One(scenes, number), place, pixels, lens)

    def draw_thing(frames: jax.Array, number: jax.Array, slot: jax.Array) -> jax.Array:
        return _draw(frames, number, _fields(_One(scenes, number), slot), pixels, lens)

    def draw_puffs(frames: jax.Array, number: jax.Array, place: jax.Array) -> jax.Array:
        return _draw_puffs(frames, _One(scenes, _in_turn(number, place)), pixels, lens)

    def draw_agent(number: jax.Array, frames: jax.Array) -> jax.Array:
        fields = _fields(_One(scenes, number), AGENT)
        return _draw(frames, number, fields, pixels, lens, _AGENT_TILES)

    frames = _each(scenes.holes, frames, draw_hole)
    frames = _each(scenes.things, frames, draw_thing)
    has_puffs = (scenes.puffing > 0).any(1, keepdims=True)
    frames = _each(has_puffs.astype(jnp.uint32), frames, draw_puffs)
    frames = lax.fori_loop(0, many, draw_agent, frames)
    frames = _each(scenes.enemies, frames, draw_thing)
    is_changed = (scenes.mirrored | scenes.greyscale | scenes.paint_velocity).any()
    change = jax.vmap(partial(_change, size=lens.size))
    frames = lax.cond(is_changed, change, lambda frames, _: frames, frames, scenes)
    return (frames[..., None] >> np.array([0, 8, 16], np.uint32)).astype(jnp.uint8)


def _fields(scene: _One, row: jax.Array | int) -> jax.Array:
    return scene.at("sprites", np.arange(FIELDS, dtype=np.int32) * NUM_SPRITES + row)


def _paint_batch(scenes: Scene, pixels: jax.Array, lens: Lens) -> jax.Array:
    """The frames of a batch of scenes [B]; uint8 [B, size, size, 3]."""

    @custom_vmap
    def call(scenes: Scene, pixels: jax.Array) -> jax.Array:
        def together(scenes: Scene, pixels: jax.Array) -> jax.Array:
            each = jax.tree.map(lambda leaf: leaf[:, None], scenes)
            return jax.vmap(lambda scene: _paint(scene, pixels, lens)[0])(each)

        one_by_one = partial(_paint, lens=lens)
        return lax.platform_dependent(scenes, pixels, cpu=one_by_one, default=together)

    @call.def_vmap
    def rule(size: int, batched: list[Any], scenes: Scene, pixels: jax.Array) -> tuple[Any, Any]:
        def spread(leaf: jax.Array, moves: bool) -> jax.Array:
            return leaf if moves else jnp.broadcast_to(leaf, (size, *leaf.shape))

        scenes = jax.tree.map(spread, scenes, batched[0])
        if batched[1]:
            out = lax.map(lambda args: _paint_batch(args[0], args[1], lens), (scenes, pixels))
            return out, True
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), scenes)
        out = _paint_batch(flat, pixels, lens)
        return out.reshape(size, -1, *out.shape[1:]), True

    return call(scenes, pixels)


def paint(scene: Scene, pictures: Art, lens: Lens) -> jax.Array:
    """The frame of a scene; uint8 [size, size, 3], top row first."""
    scenes = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], scene)
    return _paint_batch(scenes, pictures.pixels, lens)[0]
