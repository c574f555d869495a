"""Static objects, one tile each: ground, lava, saws, crates, coins, gems."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from coinrun_jax.coinrun.observations.canvas import RESOLUTION, Canvas, Colour, Texture, shade

LAVA: Colour = (230, 106, 24)
GOLD: Colour = (247, 198, 12)
RED: Colour = (222, 48, 52)
AZURE: Colour = (42, 140, 236)
STEEL: Colour = (150, 158, 168)
WOOD: Colour = (158, 104, 52)
BLUE: Colour = (176, 194, 204)
TAN: Colour = (201, 146, 92)

STRIP = 0.24  # height of the strip along the top of a surface tile
SAW_RADIUS = 0.45
LAVA_LEVEL = 0.71  # the surface tile is empty above


def _bricks(c: Canvas, dark: float) -> None:
    rows = 4
    row = np.floor(c.v * rows)
    joint = (c.v * rows) % 1 < 0.16
    offset = (row % 2) * 0.5
    upright = ((c.u * rows / 2 + offset) % 1) < 0.08
    c.tint(joint | (upright & ~joint), dark)
    c.tint((((c.v * rows) % 1) > 0.84) & ~upright, 1.14)


def _pebbles(c: Canvas, dark: float) -> None:
    for u, v, r in (
        (0.2, 0.22, 0.09),
        (0.66, 0.13, 0.06),
        (0.5, 0.47, 0.08),
        (0.84, 0.44, 0.06),
        (0.16, 0.67, 0.06),
        (0.37, 0.86, 0.07),
        (0.76, 0.78, 0.1),
    ):
        c.tint(c.ellipse(u + 0.015, v - 0.015, r * 1.15), dark)
        c.tint(c.ellipse(u, v, r), 1.22)


def _waves(c: Canvas, dark: float) -> None:
    height = c.v + 0.03 * np.sin(2 * np.pi * 2 * c.u)
    c.tint((height * 4) % 1 < 0.22, dark)
    c.tint((height * 4 + 0.5) % 1 < 0.12, 1.15)


def _slabs(c: Canvas, dark: float) -> None:
    for u0, v0, u1, v1 in (
        (0.0, 0.0, 0.5, 0.5),
        (0.5, 0.0, 1.0, 0.25),
        (0.5, 0.25, 1.0, 0.5),
        (0.0, 0.5, 0.25, 1.0),
        (0.25, 0.5, 1.0, 0.75),
        (0.25, 0.75, 1.0, 1.0),
    ):
        c.tint(c.box(u0, v0, u1, v1) & ~c.box(u0 + 0.035, v0 + 0.035, u1, v1), dark)
        c.tint(c.box(u0 + 0.07, v1 - 0.07, u1 - 0.04, v1 - 0.035), 1.16)


def _drips(c: Canvas, depth: float, count: int) -> np.ndarray:
    """Strip along the top with a wavy lower edge that continues in the next tile."""
    edge = STRIP + depth * np.cos(2 * np.pi * count * c.u)
    return c.v > 1 - edge


def _level_strip(c: Canvas) -> np.ndarray:
    return np.broadcast_to(c.v > 1 - STRIP, (c.v.size, c.u.size))


def _teeth(c: Canvas, count: int) -> np.ndarray:
    deep = ((c.u * count) % 1) < 0.5
    return c.v > 1 - np.where(deep, STRIP * 1.35, STRIP * 0.7)


class Ground(NamedTuple):
    """Look of solid ground."""

    interior: Colour
    pattern: Callable[[Canvas], None]
    strip: Colour  # along the top of a surface tile
    strip_shape: Callable[[Canvas], np.ndarray]


GROUND_THEMES = (
    Ground(TAN, partial(_bricks, dark=0.88), (112, 186, 44), partial(_drips, depth=0.06, count=3)),
    Ground(BLUE, partial(_bricks, dark=0.9), (246, 250, 255), partial(_drips, depth=0.07, count=2)),
    Ground(BLUE, partial(_waves, dark=0.92), (146, 104, 178), _level_strip),
    Ground(TAN, partial(_waves, dark=0.9), (248, 226, 176), partial(_teeth, count=3)),
    Ground(BLUE, partial(_pebbles, dark=0.88), (150, 92, 50), partial(_teeth, count=2)),
    Ground(TAN, partial(_slabs, dark=0.86), (96, 104, 116), _level_strip),
)


def ground(theme: int, surface: bool) -> Texture:
    """Solid ground; the surface tile carries the theme's strip along its top."""
    look = GROUND_THEMES[theme]
    c = Canvas()
    c.paint(None, look.interior)
    look.pattern(c)
    if surface:
        strip = look.strip_shape(c)
        drop = RESOLUTION // 20
        shadow = np.zeros_like(strip)
        shadow[:-drop] = strip[drop:]
        c.tint(shadow & ~strip, 0.72)
        c.paint(strip, look.strip)
        c.tint(strip & (c.v > 0.94), 1.3)
    return c.texture()


def lava(surface: bool) -> Texture:
    """Molten rock; the surface tile is empty in its upper 29 %."""
    c = Canvas()
    c.paint(None, LAVA)
    tau = 2 * np.pi
    flow = np.sin(tau * (c.u + 2 * c.v)) + np.sin(tau * (2 * c.u - c.v) + 1) + np.sin(tau * 2 * c.v)
    c.tint(flow < -1.25, 0.82)
    c.paint(flow > 1.45, (250, 150, 40))
    if surface:
        level = LAVA_LEVEL - 0.045 * (1 - np.cos(tau * 2 * c.u))
        c.paint((c.v > level - 0.17) & (c.v <= level), (255, 196, 64))
        c.erase(c.v > level)
    return c.texture()


def saw(frame: int) -> Texture:
    """Half of a toothed disc that stands on the tile's floor."""
    c = Canvas()
    teeth = 11
    angle = np.arctan2(c.v, c.u - 0.5) / np.pi * teeth + 0.5 * frame
    reach = SAW_RADIUS - 0.11 * (angle % 1)
    radius = np.hypot(c.u - 0.5, c.v)
    c.paint(radius <= reach, STEEL)
    c.paint((radius <= reach) & (radius > reach - 0.05), (226, 232, 238))
    spoke = ((angle * 3 / teeth) % 1 < 0.5) & (radius < 0.3)
    c.paint(spoke & (c.v >= 0), (112, 119, 130))
    c.paint(radius < 0.13, (58, 62, 72))
    return c.texture()


def coin(colour: Colour = GOLD) -> Texture:
    """A disc in the central half of its tile."""
    c = Canvas()
    c.paint(c.ellipse(0.5, 0.5, 0.28), shade(colour, 0.8))
    c.paint(c.ellipse(0.5, 0.5, 0.24), colour)
    c.paint(c.box(0.455, 0.37, 0.545, 0.63, 0.03), shade(colour, 0.8))
    c.paint(c.stroke(0.36, 0.55, 0.44, 0.65, 0.05), shade(colour, 1.5))
    return c.texture()


def gem() -> Texture:
    """A blue stone on its tip."""
    c = Canvas()
    lean = np.abs(c.u - 0.5)
    c.paint((c.v <= 0.78) & (lean <= 0.34 - np.maximum(c.v - 0.58, 0)) & (c.v >= lean), AZURE)
    inside = (c.v <= 0.72) & (lean <= 0.26 - np.maximum(c.v - 0.58, 0)) & (c.v >= 0.1 + lean)
    c.paint(inside & (c.v > 0.58), shade(AZURE, 1.5))
    c.tint(inside & (c.v <= 0.58) & (c.u > 0.5), 0.75)
    return c.texture()


def crate(theme: int) -> Texture:
    """A wooden box: with crossed braces, one brace, horizontal boards, or a warning band."""
    c = Canvas()
    c.paint(None, shade(WOOD, 0.62))
    inside = c.box(0.04, 0.04, 0.96, 0.96)
    c.paint(inside, WOOD)
    dark, light = shade(WOOD, 0.74), shade(WOOD, 1.22)
    boards = (c.v * 5) % 1 < 0.1 if theme == 2 else (c.u * 5) % 1 < 0.1
    c.paint(inside & boards, dark)
    if theme in (0, 1):
        braces = [(0.14, 0.86)] if theme == 1 else [(0.14, 0.86), (0.86, 0.14)]
        for start, end in braces:
            c.paint(c.stroke(0.14, start, 0.86, end, 0.2), dark)
            c.paint(c.stroke(0.14, start, 0.86, end, 0.13), light)
    elif theme == 2:
        c.paint(c.box(0.4, 0.06, 0.6, 0.94), light)
        c.tint(c.box(0.4, 0.06, 0.43, 0.94) | c.box(0.57, 0.06, 0.6, 0.94), 0.7)
    else:
        stripes = ((c.u + c.v) * 4) % 1 < 0.5
        band = c.box(0.04, 0.34, 0.96, 0.66)
        c.paint(band, (52, 46, 42))
        c.paint(band & stripes, (236, 184, 48))
    frame = c.box(0.04, 0.04, 0.96, 0.96) & ~c.box(0.15, 0.15, 0.85, 0.85)
    c.paint(frame, shade(WOOD, 1.08))
    c.tint(c.box(0.12, 0.12, 0.88, 0.88) & ~c.box(0.15, 0.15, 0.85, 0.85), 0.7)
    for u in (0.095, 0.905):
        for v in (0.095, 0.905):
            c.paint(c.ellipse(u, v, 0.025), shade(WOOD, 0.5))
    return c.texture()
