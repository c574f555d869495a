"""Where a frame looks, and how it selects among tables."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.coinrun.observations.atlas import VIEW, Atlas
from coinrun_jax.coinrun.types import EnvState

TILES = VIEW + 1  # tiles that a frame touches, both ways


class Camera(NamedTuple):
    """Where the pixels of a frame lie in the world."""

    left: jax.Array  # float32 [], x of the first column's centres
    top: jax.Array  # float32 [], y of the first row's centres
    column: jax.Array  # int32 [], tile under the first column
    row: jax.Array  # int32 [], lowest of the 14 tile rows
    point: jax.Array  # int32 [], lattice point of the first column in its tile
    height: jax.Array  # int32 [], lattice point of the first row in its tile


class PixelRows(NamedTuple):
    """Where the pixel rows of a frame lie, top row first."""

    tile: jax.Array  # int32 [size], tile row, 0 for the lowest
    point: jax.Array  # int32 [size], lattice point above the tile's floor


def camera_of(state: EnvState, atlas: Atlas) -> Camera:
    """A camera centred on the agent, wherever it is."""
    reach = (atlas.size / 2 - 0.5) * VIEW / atlas.size
    left, top = state.x - reach, state.y + reach
    column, top_row = jnp.floor(left), jnp.floor(top)
    return Camera(
        left=left,
        top=top,
        column=column.astype(jnp.int32),
        row=top_row.astype(jnp.int32) - VIEW,
        point=jnp.floor((left - column) * atlas.steps).astype(jnp.int32),
        height=jnp.floor((top - top_row) * atlas.steps).astype(jnp.int32),
    )


def pixel_rows(camera: Camera, atlas: Atlas) -> PixelRows:
    """The pixel rows of a frame of the atlas's size."""
    point = camera.height - atlas.stride * np.arange(atlas.size, dtype=np.int32)
    return PixelRows(tile=VIEW + point // atlas.steps, point=point % atlas.steps)


def choose(choices: list[jax.Array | None], code: jax.Array) -> jax.Array:
    """choices[code], element by element; a None choice is never selected."""
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
