"""Where the background is seen: one picture stretched over the whole world."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.coinrun.observations.procgen import pictures as art
from coinrun_jax.coinrun.observations.procgen.frame import Frame
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
from coinrun_jax.coinrun.types import WORLD_SIZE


class Backdrop(NamedTuple):
    """What the position of a background on the frame depends on."""

    number: jax.Array  # int32 []
    shift: jax.Array  # float32 [], see `Level.background_shift`
    is_shown: jax.Array  # bool []
    first: jax.Array  # int32 [62], of `Art`
    top: jax.Array  # int32 [62], of `Art`
    frame: Frame


def background_of(backdrop: Backdrop, lens: Lens) -> tuple[jax.Array, jax.Array]:
    """`Scene.background_row` and `background_column`."""
    number, frame = backdrop.number, backdrop.frame
    height, width = art.BACKGROUND_HEIGHT, art.BACKGROUND_WIDTH
    ratio = width.astype(np.float32) / height.astype(np.float32)
    side = lens.pixels(np.float32(WORLD_SIZE))
    x_axis, y_axis = (
        jax.tree.map(lambda leaf: jnp.asarray(leaf)[number], axis)
        for axis in (
            axis_of(width, side * ratio.astype(np.float64), exact=True),
            axis_of(height, np.full(len(height), side), exact=True),
        )
    )
    slide = rounded(backdrop.shift * jnp.asarray(ratio - np.float32(1))[number], frame.clock)
    slid = multiply(slide, jnp.float32(side), rounded(slide * np.float32(side), frame.clock))
    left = add(-frame.x_offset, -slid.high)
    left = Pair(left.high, left.low - slid.low)
    top = ((lens.view - np.float32(WORLD_SIZE)) * lens.unit) + frame.y_offset
    pixel = np.arange(lens.size, dtype=np.int32)

    def seen(edge: Pair, axis: Axis) -> tuple[jax.Array, jax.Array]:
        span = span_of(edge, axis, lens.size)
        inside = jnp.asarray(pixel >= span.start) & (pixel < span.stop)
        return inside, shown(span, pixel)

    in_row, row = seen(Pair(top, jnp.zeros_like(top)), y_axis)
    in_column, column = seen(left, x_axis)
    first, highest = backdrop.first[number], backdrop.top[number]
    row = first + jnp.maximum(row, highest) * jnp.asarray(width)[number]
    is_held = backdrop.is_shown & (first > art.NOT_HELD)
    return jnp.where(in_row & is_held, row, -1), jnp.where(in_column, column, -1)
