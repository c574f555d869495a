"""Where the background is seen: one picture stretched over the whole world."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.coinrun.observations.procgen import pictures as art
from coinrun_jax.coinrun.observations.procgen.pictures import Art
from coinrun_jax.coinrun.observations.procgen.spans import (
    Axis,
    Lens,
    Pair,
    add,
    axis_of,
    multiply,
    shown,
    span_of,
)
from coinrun_jax.coinrun.physics import rounded
from coinrun_jax.coinrun.types import WORLD_SIZE, EnvState, LevelPool


def background_of(
    state: EnvState,
    pool: LevelPool,
    offsets: tuple[jax.Array, jax.Array],
    is_shown: jax.Array,
    pictures: Art,
    lens: Lens,
) -> tuple[jax.Array, jax.Array]:
    """`Scene.background_row` and `background_column`."""
    x_offset, y_offset = offsets
    height, width = art.BACKGROUND_HEIGHT, art.BACKGROUND_WIDTH
    ratio = width.astype(np.float32) / height.astype(np.float32)
    side = lens.pixels(np.float32(WORLD_SIZE))
    number = state.theme[1]
    x_axis, y_axis = (
        jax.tree.map(lambda leaf: jnp.asarray(leaf)[number], axis)
        for axis in (
            axis_of(width, side * ratio.astype(np.float64), exact=True),
            axis_of(height, np.full(len(height), side), exact=True),
        )
    )
    shift = pool.levels.background_shift[state.level_index]
    slide = rounded(shift * jnp.asarray(ratio - np.float32(1))[number], state.time)
    slid = multiply(slide, jnp.float32(side), rounded(slide * np.float32(side), state.time))
    left = add(-x_offset, -slid.high)
    left = Pair(left.high, left.low - slid.low)
    top = ((lens.view - np.float32(WORLD_SIZE)) * lens.unit) + y_offset
    pixel = np.arange(lens.size, dtype=np.int32)

    def seen(edge: Pair, axis: Axis) -> tuple[jax.Array, jax.Array]:
        span = span_of(edge, axis, lens.size)
        inside = jnp.asarray(pixel >= span.start) & (pixel < span.stop)
        return inside, shown(span, pixel)

    in_row, row = seen(Pair(top, jnp.zeros_like(top)), y_axis)
    in_column, column = seen(left, x_axis)
    first, highest = pictures.first[number], pictures.top[number]
    row = first + jnp.maximum(row, highest) * jnp.asarray(width)[number]
    is_held = is_shown & (first > art.NOT_HELD)
    return jnp.where(in_row & is_held, row, -1), jnp.where(in_column, column, -1)
