"""Puts scenes' pixels on frames, in Procgen's order.

On CPU the frames of a batch are painted one after the other: only so does a frame cost what
is to be seen on it, and not what the fullest one of the batch costs. Each operation on one
frame costs some time whatever it does, so that there are few of them: all that can be known
before is in the scene, for the whole batch at once, and is looked up where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap

from coinrun_jax.coinrun.observations.procgen.cells import CELLS, TOP_COVER
from coinrun_jax.coinrun.observations.procgen.frame import Frame
from coinrun_jax.coinrun.observations.procgen.pictures import TILE, Art
from coinrun_jax.coinrun.observations.procgen.scene import AGENT_ROW, FIELDS, WORD, Scene
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
_AGES = 16  # between one enemy's puffs and the next one's
PUFFING = 16
"""Enemies near the agent whose puffs are drawn; no generated level has more so close together."""
_COVER_BITS = TOP_COVER.bit_length() - 1


def _look_up(table: jax.Array, index: jax.Array) -> jax.Array:
    """table[index] of a table without rows."""
    dimensions = lax.GatherDimensionNumbers(
        offset_dims=(), collapsed_slice_dims=(0,), start_index_map=(0,)
    )
    return lax.gather(table, index[..., None], dimensions, (1,), mode="promise_in_bounds")


class _One:
    """One scene of a batch; nothing is copied out of the batch."""

    def __init__(self, scenes: Scene, number: jax.Array) -> None:
        self._scenes, self._number = scenes, number

    def after(self, count: jax.Array) -> _One:
        """The same, once a number >= 0 is known: see `_in_turn`."""
        return _One(self._scenes, _in_turn(self._number, count))

    def at(self, name: str, index: Any = 0) -> jax.Array:
        """Some numbers of an array of the scene, which counts as one without rows."""
        leaf = getattr(self._scenes, name)
        size = leaf[0].size
        return _look_up(leaf.reshape(-1), self._number * size + jnp.asarray(index))

    def cut(self, name: str) -> jax.Array:
        """A whole array of the scene."""
        return lax.dynamic_index_in_dim(getattr(self._scenes, name), self._number, keepdims=False)


def _in_turn(number: jax.Array, count: jax.Array) -> jax.Array:
    """The number, not before a count >= 0 is known.

    XLA on CPU gives operations that do not wait for one another to several threads. To wake one
    takes longer than anything that is done here.
    """
    return number + (count >> 31)


def _faded(pixel: jax.Array, share: jax.Array) -> jax.Array:
    """All four bytes of pixels times a share of 255, as Procgen rounds it; uint32."""

    def two(bytes_: jax.Array) -> jax.Array:
        product = bytes_ * share
        return (product + ((product >> 8) & _EVEN) + _HALVES) >> 8 & _EVEN

    return two(pixel & _EVEN) | two(pixel >> 8 & _EVEN) << 8


def _rows_of(table: jax.Array, row: jax.Array) -> jax.Array:
    """table[row] of a table [rows, columns]."""
    dimensions = lax.GatherDimensionNumbers(
        offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0,)
    )
    slices = (1, table.shape[1])
    return lax.gather(table, row[:, None], dimensions, slices, mode="promise_in_bounds")


def _still(scene: _One, pixels: jax.Array, size: int) -> jax.Array:
    """Background and cells without holes; uint32 [size, size].

    What all pixels of a row or a column have in common is cut out first: a look-up for each
    pixel would cost as much as that of the pixel itself.
    """
    cells = scene.cut("cells").reshape(-1, size)
    over, under = (_rows_of(cells, scene.cut(name)) for name in ("row_over", "row_under"))
    is_under = under >> _COVER_BITS > over >> _COVER_BITS
    found = jnp.where(is_under, under, over)
    over_pixel, under_pixel, behind_row = (
        scene.cut(name)[:, None] for name in ("row_over_pixel", "row_under_pixel", "background_row")
    )
    behind_column = scene.cut("background_column")[None]
    cell = (found & (TOP_COVER - 1)) + jnp.where(is_under, under_pixel, over_pixel)
    behind = jnp.where((behind_row | behind_column) >= 0, behind_row + behind_column, 0)
    return _look_up(pixels, jnp.where(found > 0, cell, behind))


class _Patch:
    """The part of a frame around a sprite's rectangle, of a size that holds any sprite."""

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

    def put(self, frame: jax.Array, pixel: jax.Array, where: jax.Array) -> jax.Array:
        """Paint pixels over the frame's; uint32 [size, size]."""
        below = lax.dynamic_slice(frame, (self.row, self.column), self.shape)
        mixed = pixel + _faded(below, 255 - (pixel >> 24))
        return lax.dynamic_update_slice(
            frame, jnp.where(where, mixed, below), (self.row, self.column)
        )


def _patch_shape(height: float, width: float, lens: Lens) -> tuple[int, int]:
    return int(np.ceil(height * lens.unit)) + 1, int(np.ceil(width * lens.unit)) + 1


def _draw(
    frame: jax.Array,
    fields: Sequence[jax.Array],
    pixels: jax.Array,
    lens: Lens,
    tiles: tuple[float, float] = (1.0, 1.0),
    share: jax.Array | None = None,
) -> jax.Array:
    """Paint a sprite.

    Args:
      frame: uint32 [size, size].
      fields: int32 [] each, of the sprite, as in `Scene.sprites`.
      pixels: that are drawn from.
      lens: of the frame's size.
      tiles: largest height and width.
      share: of 255 that the sprite is faded by, uint32 [].
    """
    base, width, x0, x1, x_first, x_step, y0, y1, y_first, y_step, flip = fields
    patch = _Patch((x0, x1), (y0, y1), _patch_shape(*tiles, lens), lens.size)
    column = (x_first + x_step * (patch.columns - x0)) >> 16
    column = jnp.where(flip > 0, width - 1 - column, column)
    index = base + ((y_first + y_step * (patch.rows - y0)) >> 16) * width + column
    pixel = _look_up(pixels, jnp.where(patch.inside, index, 0))
    return patch.put(frame, pixel if share is None else _faded(pixel, share), patch.inside)


def _puffs(frame: jax.Array, scene: _One, pixels: jax.Array, lens: Lens) -> jax.Array:
    """The oldest puffs first; of one age those of the last enemy."""
    clock, monochrome = scene.at("clock"), scene.at("monochrome")
    number = jnp.minimum(scene.at("num_puffing"), PUFFING)
    offsets = scene.at("offsets", np.arange(2, dtype=np.int32))
    where = Frame(offsets[0], offsets[1], clock)
    age = np.arange(PUFF_AGES, dtype=np.int32)
    share = jnp.where(monochrome, 255, OPACITIES.astype(np.int32))

    def of_enemy(rank: jax.Array, found: jax.Array) -> jax.Array:
        """All puffs of an enemy, written into int32 [PUFFING, _AGES, FIELDS + 1]."""
        slot = _nth(scene, "puffing", rank)
        x = scene.at("puff_x", age * MAX_ENTITIES + slot)
        sprite = puff_of(x, scene.at("puff_y", slot), jnp.asarray(age), monochrome, where, lens)
        numbers = (sprite.base, sprite.width, *sprite.x, *sprite.y, sprite.flip, share)
        fields = jnp.stack(
            [jnp.broadcast_to(jnp.asarray(each, jnp.int32), age.shape) for each in numbers], -1
        )
        return lax.dynamic_update_slice(found, fields[None], (rank, 0, 0))

    nothing = jnp.full((PUFFING, _AGES, FIELDS + 1), _in_turn(jnp.int32(0), clock))
    puffs = lax.fori_loop(0, number, of_enemy, nothing).reshape(-1)

    # A puff's number is _AGES * (rank of its enemy) + age.
    def step(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        puff, frame = carry
        oldest = _AGES * (number - 1) + puff - 1
        following = jnp.where(puff < _AGES, jnp.where(puff > 0, oldest, -1), puff - _AGES)
        puff = _in_turn(puff, following + 1)
        fields = [_look_up(puffs, puff * (FIELDS + 1) + k) for k in range(FIELDS + 1)]
        faded = fields[FIELDS].astype(jnp.uint32)
        return following, _draw(frame, fields[:FIELDS], pixels, lens, PUFF_TILES, faded)

    ages = jnp.minimum(PUFF_AGES, clock)
    first = jnp.where(number > 0, _AGES * (number - 1) + ages - 1, -1), frame
    return lax.while_loop(lambda carry: carry[0] >= 0, step, first)[1]


def _draw_holey(
    frame: jax.Array, number: jax.Array, scene: _One, pixels: jax.Array, lens: Lens
) -> jax.Array:
    """Paint a cell whose picture has holes, where no cell without holes was drawn later."""
    size = lens.size
    column, row = number // CELLS, CELLS - 1 - number % CELLS
    x0, x1, x_first, x_step = (scene.at("cell_x", CELLS * k + column) for k in range(4))
    y0, y1, y_first, y_step = (scene.at("cell_y", CELLS * k + row) for k in range(4))
    patch = _Patch((x0, x1), (y0, y1), _patch_shape(1.04, 1.04, lens), size)

    over_row, under_row = (scene.at(name, patch.rows) for name in ("row_over", "row_under"))
    over, under = (scene.at("cells", its * size + patch.columns) for its in (over_row, under_row))
    is_under = under >> _COVER_BITS > over >> _COVER_BITS
    found = jnp.where(is_under, under, over)
    its_row = jnp.where(is_under, under_row, over_row)
    over_column, under_column = (
        scene.at(name, patch.columns) for name in ("column_over", "column_under")
    )
    is_first = (over_column != under_column) & (found >> _COVER_BITS < 2)
    its_column = jnp.where(is_first, under_column, over_column)
    later = (its_column > column) | ((its_column == column) & (its_row < row))
    where = patch.inside & ~((found > 0) & later)

    index = scene.at("holey", number) + ((x_first + x_step * (patch.columns - x0)) >> 16)
    index += ((y_first + y_step * (patch.rows - y0)) >> 16) * TILE
    pixel = _look_up(pixels, jnp.where(where, index, 0))
    return patch.put(frame, pixel, where)


def _nth(scene: _One, name: str, rank: jax.Array) -> jax.Array:
    """Where the mask `name` has its mark of this rank, counted from 0; int32 []."""
    words = getattr(scene._scenes, name).shape[-1]
    every = [scene.at(name, number) for number in range(words)]
    counts = [lax.population_count(word).astype(jnp.int32) for word in every]
    word, left, place = jnp.uint32(0), rank, jnp.int32(0)
    passed = jnp.int32(0)
    for number in range(words):
        here = (rank >= passed) & (rank < passed + counts[number])
        word = jnp.where(here, every[number], word)
        left = jnp.where(here, rank - passed, left)
        place = jnp.where(here, number * WORD, place)
        passed += counts[number]
    for width in (16, 8, 4, 2, 1):
        low = word & np.uint32((1 << width) - 1)
        inside = lax.population_count(low).astype(jnp.int32)
        up = left >= inside
        word = jnp.where(up, word >> np.uint32(width), low)
        left = jnp.where(up, left - inside, left)
        place = jnp.where(up, place + width, place)
    return place


def _each(
    scene: _One, name: str, frame: jax.Array, draw: Callable[[jax.Array, jax.Array], jax.Array]
) -> tuple[jax.Array, _One]:
    """Draw what a mask marks, in order: draw(frame, place) -> frame; the scene for what follows."""

    def is_left(carry: tuple[jax.Array, jax.Array]) -> jax.Array:
        return carry[0] < scene.at(f"num_{name}")

    def step(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        rank, frame = carry
        place = _nth(scene, name, rank)
        following = _in_turn(rank + 1, place)
        return following, draw(frame, _in_turn(place, following))

    rank, frame = lax.while_loop(is_left, step, (jnp.int32(0), frame))
    return frame, scene.after(rank)


def _change(frame: jax.Array, scene: _One, size: int) -> jax.Array:
    """Mirrored, without colour, with velocities, as asked for; uint32 [size, size]."""
    frame = jnp.where(scene.at("mirrored"), frame[:, ::-1], frame)
    channels = [(frame >> shift & 255).astype(jnp.float32) for shift in (0, 8, 16)]
    weighted = [
        channel * np.float32(weight)
        for channel, weight in zip(channels, _GREY_WEIGHTS, strict=True)
    ]
    luma = jnp.rint(weighted[0] + weighted[1] + weighted[2]).astype(jnp.uint32)
    frame = jnp.where(scene.at("greyscale"), luma * np.uint32(0x010101), frame)
    shade = scene.at("shade", np.arange(2))
    grey = jnp.clip(shade * 255, 0, 255).astype(jnp.uint32) * np.uint32(0x010101)
    pixel, side = np.arange(size), VELOCITY_SHARE * size
    first, second = round(side), round(2 * side)
    row = jnp.where(pixel < first, grey[0], grey[1])
    here = (pixel[:, None] < first) & (pixel < second) & scene.at("paint_velocity")
    return jnp.where(here, row, frame)


def _paint(number: jax.Array, scenes: Scene, pixels: jax.Array, lens: Lens) -> jax.Array:
    """One frame of a batch; uint8 [size, size, 3]."""
    scene = _One(scenes, number)
    frame = _still(scene, pixels, lens.size)

    def draw_cell(frame: jax.Array, place: jax.Array) -> jax.Array:
        return _draw_holey(frame, place, scene, pixels, lens)

    def draw_thing(frame: jax.Array, slot: jax.Array) -> jax.Array:
        return _draw(frame, _fields(scene, slot), pixels, lens)

    frame, later = _each(scene, "holes", frame, draw_cell)
    frame, later = _each(later, "things", frame, draw_thing)
    frame = _puffs(frame, later, pixels, lens)
    frame = _draw(frame, _fields(later, AGENT_ROW), pixels, lens, _AGENT_TILES)
    frame, later = _each(later, "enemies", frame, draw_thing)
    is_changed = later.at("mirrored") | later.at("greyscale") | later.at("paint_velocity")
    frame = lax.cond(is_changed, lambda f: _change(f, scene, lens.size), lambda f: f, frame)
    return (frame[..., None] >> np.array([0, 8, 16], np.uint32)).astype(jnp.uint8)


def _fields(scene: _One, row: jax.Array | int) -> list[jax.Array]:
    return [scene.at("sprites", row * FIELDS + field) for field in range(FIELDS)]


def _paint_batch(scenes: Scene, pixels: jax.Array, lens: Lens) -> jax.Array:
    """The frames of a batch of scenes [B]; uint8 [B, size, size, 3]."""

    @custom_vmap
    def call(scenes: Scene, pixels: jax.Array) -> jax.Array:
        numbers = jnp.arange(jax.tree.leaves(scenes)[0].shape[0], dtype=jnp.int32)

        def one_by_one(scenes: Scene, pixels: jax.Array) -> jax.Array:
            return lax.map(lambda number: _paint(number, scenes, pixels, lens), numbers)

        def together(scenes: Scene, pixels: jax.Array) -> jax.Array:
            return jax.vmap(lambda number: _paint(number, scenes, pixels, lens))(numbers)

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
