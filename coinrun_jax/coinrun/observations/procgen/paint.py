"""Puts a scene's pixels on the frame, in Procgen's order.

On CPU the frames of a batch are painted one after the other: only so does a frame cost what
is to be seen on it, and not what the fullest one of the batch costs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap

from coinrun_jax.coinrun.observations.procgen.cells import CELLS, TOP_COVER
from coinrun_jax.coinrun.observations.procgen.pictures import TILE, Art
from coinrun_jax.coinrun.observations.procgen.scene import Scene
from coinrun_jax.coinrun.observations.procgen.spans import Lens, Span, shown
from coinrun_jax.coinrun.observations.procgen.things import OPACITIES, PUFF_AGES, Sprite, puff_of

VELOCITY_SHARE = 0.2  # of the frame's size that each of the two velocity squares takes
_GREY_WEIGHTS = (0.299, 0.587, 0.114)  # of red, green, blue: luma of ITU-R BT.601
_EVEN = np.uint32(0x00FF00FF)  # red and blue, or green and alpha
_HALVES = np.uint32(0x00800080)
_FAR = 2**30


def _look_up(table: jax.Array, index: jax.Array) -> jax.Array:
    """table[index] of a table without rows."""
    dimensions = lax.GatherDimensionNumbers(
        offset_dims=(), collapsed_slice_dims=(0,), start_index_map=(0,)
    )
    return lax.gather(table, index[..., None], dimensions, (1,), mode="promise_in_bounds")


def _rows_of(table: jax.Array, row: jax.Array) -> jax.Array:
    """table[row] of a table [rows, columns]."""
    dimensions = lax.GatherDimensionNumbers(
        offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0,)
    )
    slices = (1, table.shape[1])
    return lax.gather(table, row[:, None], dimensions, slices, mode="promise_in_bounds")


def _faded(pixel: jax.Array, share: jax.Array) -> jax.Array:
    """All four bytes of pixels times a share of 255, as Procgen rounds it; uint32."""

    def two(bytes_: jax.Array) -> jax.Array:
        product = bytes_ * share
        return (product + ((product >> 8) & _EVEN) + _HALVES) >> 8 & _EVEN

    return two(pixel & _EVEN) | two(pixel >> 8 & _EVEN) << 8


def _still(scene: Scene, pictures: Art) -> jax.Array:
    """Background and cells without holes; uint32 [size, size]."""
    rows = scene.rows
    over, under = _rows_of(scene.cells, rows.over), _rows_of(scene.cells, rows.under)
    is_under = under // TOP_COVER > over // TOP_COVER
    found = jnp.where(is_under, under, over)
    row_pixel = jnp.where(is_under, rows.under_pixel[:, None], rows.over_pixel[:, None])
    cell = found % TOP_COVER + jnp.where(scene.monochrome, 0, TILE) * row_pixel
    row, column = scene.background_row[:, None], scene.background_column[None]
    behind = jnp.where((row >= 0) & (column >= 0), row + column, 0)
    return _look_up(pictures.pixels, jnp.where(found > 0, cell, behind))


class _Patch:
    """The part of a frame around a sprite's rectangle, of a size that holds any sprite."""

    def __init__(self, x: Span, y: Span, height: int, width: int, size: int) -> None:
        self.shape = min(height, size), min(width, size)
        self.row = jnp.minimum(y.start, size - self.shape[0])
        self.column = jnp.minimum(x.start, size - self.shape[1])
        self.rows = self.row + np.arange(self.shape[0], dtype=np.int32)
        self.columns = self.column + np.arange(self.shape[1], dtype=np.int32)
        self.inside = ((self.rows >= y.start) & (self.rows < y.stop))[:, None] & (
            (self.columns >= x.start) & (self.columns < x.stop)
        )

    def put(self, frame: jax.Array, pixel: jax.Array, where: jax.Array) -> jax.Array:
        """Paint pixels over the frame's; uint32 [size, size]."""
        below = lax.dynamic_slice(frame, (self.row, self.column), self.shape)
        mixed = pixel + _faded(below, 255 - (pixel >> 24))
        return lax.dynamic_update_slice(
            frame, jnp.where(where, mixed, below), (self.row, self.column)
        )


def _draw(
    frame: jax.Array,
    sprite: Sprite,
    pictures: Art,
    tiles: tuple[float, float],
    lens: Lens,
    share: jax.Array | None = None,
) -> jax.Array:
    """Paint one sprite.

    Args:
      frame: uint32 [size, size].
      sprite: of shape [].
      pictures: that are drawn from.
      tiles: its largest height and width.
      lens: of the frame's size.
      share: of 255 that it is faded by, uint32 [].
    """
    height, width = (int(np.ceil(each * lens.unit)) + 1 for each in tiles)
    patch = _Patch(sprite.x, sprite.y, height, width, lens.size)
    row, column = shown(sprite.y, patch.rows), shown(sprite.x, patch.columns)
    column = jnp.where(sprite.flip, sprite.width - 1 - column, column)
    index = sprite.base + row[:, None] * sprite.width + column
    pixel = _look_up(pictures.pixels, jnp.where(patch.inside, index, 0))
    if share is not None:
        pixel = _faded(pixel, share)
    return patch.put(frame, pixel, patch.inside)


def _draw_holey(
    frame: jax.Array, number: jax.Array, scene: Scene, pictures: Art, lens: Lens
) -> jax.Array:
    """Paint a cell whose picture has holes, where no cell without holes was drawn later."""
    column, row_from_below = number // CELLS, number % CELLS
    row = CELLS - 1 - row_from_below
    x = Span(*(leaf[column] for leaf in scene.cell_x))
    y = Span(*(leaf[row] for leaf in scene.cell_y))
    side = int(np.ceil(1.04 * lens.unit)) + 1
    patch = _Patch(x, y, side, side, lens.size)

    rows, columns = scene.rows, scene.columns
    size = lens.size
    flat = scene.cells.reshape(-1)
    over_row, under_row = rows.over[patch.rows], rows.under[patch.rows]
    over = _look_up(flat, over_row[:, None] * size + patch.columns)
    under = _look_up(flat, under_row[:, None] * size + patch.columns)
    is_under = under // TOP_COVER > over // TOP_COVER
    found = jnp.where(is_under, under, over)
    its_row = jnp.where(is_under, under_row[:, None], over_row[:, None])
    twice = columns.twice[patch.columns]
    is_first = twice & (found // TOP_COVER < 2)
    its_column = jnp.where(is_first, columns.under[patch.columns], columns.over[patch.columns])
    later = (its_column > column) | ((its_column == column) & (its_row < row))
    where = patch.inside & ~((found > 0) & later)

    index = scene.holey[number] + shown(y, patch.rows)[:, None] * TILE + shown(x, patch.columns)
    pixel = _look_up(pictures.pixels, jnp.where(where, index, 0))
    return patch.put(frame, pixel, where)


def _each(
    mask: jax.Array, frame: jax.Array, draw: Callable[[jax.Array, jax.Array], jax.Array]
) -> jax.Array:
    """Draw what a mask [n] marks, in order: draw(frame, number) -> frame."""
    numbers = np.arange(mask.size, dtype=np.int32)

    def following(number: jax.Array) -> jax.Array:
        return jnp.min(jnp.where(mask & (numbers > number), numbers, _FAR))

    def step(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        number, frame = carry
        return following(number), draw(frame, number)

    start = following(jnp.int32(-1)), frame
    return lax.while_loop(lambda carry: carry[0] < _FAR, step, start)[1]


def _puffs(frame: jax.Array, scene: Scene, pictures: Art, lens: Lens) -> jax.Array:
    """The oldest puffs first; of one age those of the last enemy."""
    mask = scene.leaves_puffs
    numbers = np.arange(mask.size, dtype=np.int32)

    def before(number: jax.Array) -> jax.Array:
        return jnp.max(jnp.where(mask & (numbers < number), numbers, -1))

    last, first = before(jnp.int32(mask.size)), jnp.min(jnp.where(mask, numbers, _FAR))
    ages = jnp.minimum(PUFF_AGES, scene.frame.clock)
    sizes = 2 * 0.59, 2 * 0.45

    def step(carry: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        age, number, frame = carry
        sprite = puff_of(
            scene.puff_x[age, number],
            scene.puff_y[number],
            age,
            scene.monochrome,
            scene.frame,
            lens,
        )
        share = jnp.where(scene.monochrome, 255, jnp.asarray(OPACITIES)[age]).astype(jnp.uint32)
        frame = _draw(frame, sprite, pictures, sizes[::-1], lens, share)
        is_first = number == first
        return (
            age - is_first.astype(jnp.int32),
            jnp.where(is_first, last, before(number)),
            frame,
        )

    start = jnp.where(mask.any(), ages - 1, -1), last, frame
    return lax.while_loop(lambda carry: carry[0] >= 0, step, start)[2]


def _paint(scene: Scene, pictures: Art, lens: Lens) -> jax.Array:
    """One frame; uint8 [size, size, 3]."""
    frame = _still(scene, pictures)
    frame = _each(
        scene.holey > 0, frame, lambda f, number: _draw_holey(f, number, scene, pictures, lens)
    )

    def draw_thing(frame: jax.Array, number: jax.Array) -> jax.Array:
        sprite = jax.tree.map(lambda leaf: leaf[number], scene.things)
        return _draw(frame, sprite, pictures, (1, 1), lens)

    frame = _each(scene.is_static, frame, draw_thing)
    frame = _puffs(frame, scene, pictures, lens)
    frame = _draw(frame, scene.agent, pictures, (2.02, 1), lens)
    frame = _each(scene.is_enemy, frame, draw_thing)
    is_changed = scene.mirrored | scene.greyscale | scene.paint_velocity
    frame = lax.cond(is_changed, lambda f: _change(f, scene, lens), lambda f: f, frame)
    shifts = np.array([0, 8, 16], np.uint32)
    return (frame[..., None] >> shifts).astype(jnp.uint8)


def _change(frame: jax.Array, scene: Scene, lens: Lens) -> jax.Array:
    """Mirrored, without colour, with velocities, as asked for; uint32 [size, size]."""
    frame = jnp.where(scene.mirrored, frame[:, ::-1], frame)
    channels = [(frame >> shift & 255).astype(jnp.float32) for shift in (0, 8, 16)]
    weighted = [
        channel * np.float32(weight)
        for channel, weight in zip(channels, _GREY_WEIGHTS, strict=True)
    ]
    luma = jnp.rint(weighted[0] + weighted[1] + weighted[2]).astype(jnp.uint32)
    frame = jnp.where(scene.greyscale, luma * np.uint32(0x010101), frame)
    grey = jnp.clip(scene.shade * 255, 0, 255).astype(jnp.uint32) * np.uint32(0x010101)
    pixel = np.arange(lens.size)
    side = VELOCITY_SHARE * lens.size
    first, second = round(side), round(2 * side)
    row = jnp.where(pixel < first, grey[0], grey[1])
    here = (pixel[:, None] < first) & (pixel < second) & scene.paint_velocity
    return jnp.where(here, row, frame)


def _one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose batches are worked through one by one on CPU, and together elsewhere."""

    @custom_vmap
    def call(*args: Any) -> Any:
        return function(*args)

    @call.def_vmap
    def rule(size: int, batched: list[Any], *args: Any) -> tuple[Any, Any]:
        leaves, tree = jax.tree.flatten(args)
        is_batched = jax.tree.leaves(batched)
        moving = [leaf for leaf, moves in zip(leaves, is_batched, strict=True) if moves]
        fixed = [leaf for leaf, moves in zip(leaves, is_batched, strict=True) if not moves]

        def joined(moving: list[Any], fixed: list[Any]) -> Any:
            rest, still = iter(moving), iter(fixed)
            parts = [next(rest) if moves else next(still) for moves in is_batched]
            return jax.tree.unflatten(tree, parts)

        def on_cpu(moving: list[Any], fixed: list[Any]) -> Any:
            return lax.map(lambda each: function(*joined(each, fixed)), moving)

        def together(moving: list[Any], fixed: list[Any]) -> Any:
            return jax.vmap(lambda each: function(*joined(each, fixed)))(moving)

        def all_of(moving: list[Any], fixed: list[Any]) -> Any:
            return lax.platform_dependent(moving, fixed, cpu=on_cpu, default=together)

        out = _one_by_one(all_of)(moving, fixed)
        return out, jax.tree.map(lambda _: True, out)

    return call


def paint(scene: Scene, pictures: Art, lens: Lens) -> jax.Array:
    """The frame of a scene; uint8 [size, size, 3], top row first."""
    return _one_by_one(lambda scene, pictures: _paint(scene, pictures, lens))(scene, pictures)
