"""Switches for what pixels show."""

from __future__ import annotations

import jax
from flax import struct


class Look(struct.PyTreeNode):
    """Switches for what is drawn; traced, so that they can change without recompiling."""

    restrict_themes: bool | jax.Array = False  # everything in its first theme
    backgrounds: bool | jax.Array = True  # black if False
    monochrome: bool | jax.Array = False  # one colour for each kind of thing, no drawings
    paint_velocity: bool | jax.Array = False  # vx and vy as grey squares, upper left corner
    enemy_trails: bool | jax.Array = True  # dust behind enemies
    greyscale: bool | jax.Array = False
