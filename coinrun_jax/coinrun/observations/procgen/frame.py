"""Where a frame lies in the world."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from coinrun_jax.coinrun.observations.procgen.spans import Lens, Pair
from coinrun_jax.coinrun.physics import rounded


class Frame(struct.PyTreeNode):
    """Converts positions in the world to positions on a frame."""

    x_offset: jax.Array  # float32 []
    y_offset: jax.Array  # float32 []
    clock: jax.Array  # int32 []

    def edges(self, left: jax.Array, top: jax.Array, lens: Lens) -> tuple[Pair, Pair]:
        """The upper left corner of a rectangle, given in tiles, in pixels."""
        x = rounded(left * lens.unit, self.clock) - self.x_offset
        y = rounded((lens.view - top) * lens.unit, self.clock) + self.y_offset
        return Pair(x, jnp.zeros_like(x)), Pair(y, jnp.zeros_like(y))


def frame_of(x: jax.Array, y: jax.Array, clock: jax.Array, lens: Lens) -> Frame:
    """The frame centred on the agent, at (x, y)."""
    offsets = [rounded(lens.unit * (each - lens.view / np.float32(2)), clock) for each in (x, y)]
    return Frame(offsets[0], offsets[1], clock)
