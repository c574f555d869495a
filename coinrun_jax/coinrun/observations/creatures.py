"""Moving sprites: the agent and the enemies, drawn facing right and left respectively.

Feet stand on v = 0. The renderer mirrors the agent after a left input, and an enemy that walks
to the right.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from coinrun_jax.coinrun.observations.canvas import Canvas, Colour, Texture, shade

AGENT_HEIGHT = 1.25  # tiles that an agent's texture spans, its width being 1
AGENT_COLOURS: tuple[Colour, ...] = (
    (242, 214, 174),  # sand
    (134, 182, 250),  # sky
    (132, 226, 176),  # mint
    (250, 158, 196),  # rose
    (252, 220, 76),  # straw
)
AGENT_POSES = ("stand", "stride", "pass")
INK: Colour = (34, 30, 44)

TRAIL = 1.15  # tiles that the puffs behind an enemy reach back from its body
MAX_ENEMY_HEIGHT = 0.72  # tiles


def agent(theme: int, pose: str) -> Texture:
    """A pastel visitor with one antenna, looking to the right."""
    c = Canvas(1.0, AGENT_HEIGHT)
    skin = AGENT_COLOURS[theme]
    limb, belly = shade(skin, 0.66), shade(skin, 1.45)
    feet = {  # centres (u, v) of the back and front foot
        "stand": ((0.37, 0.055), (0.65, 0.055)),
        "stride": ((0.2, 0.1), (0.8, 0.06)),
        "pass": ((0.42, 0.055), (0.56, 0.1)),
    }[pose]
    hip = 0.3
    for u, v in feet:
        c.paint(c.stroke(0.5, hip, u, v, 0.16), limb)
        c.paint(c.box(u - 0.1, v - 0.06, u + 0.14, v + 0.07, 0.06), limb)
    swing = {"stand": 0.0, "stride": 0.14, "pass": -0.05}[pose]
    c.paint(c.stroke(0.36, 0.5, 0.17, 0.32 + swing, 0.13), limb)
    c.paint(c.box(0.27, 0.16, 0.74, 0.62, 0.2), shade(skin, 0.86))
    c.paint(c.ellipse(0.54, 0.33, 0.14, 0.15), belly)
    c.paint(c.stroke(0.64, 0.5, 0.84, 0.32 + swing, 0.13), limb)
    c.paint(c.stroke(0.42, 1.05, 0.33, 1.17, 0.05), limb)
    c.paint(c.ellipse(0.33, 1.17, 0.055), limb)
    head = c.ellipse(0.5, 0.82, 0.41, 0.33)
    c.paint(head, skin)
    c.tint(head & ~c.ellipse(0.53, 0.86, 0.41, 0.33), 0.86)
    c.tint(c.ellipse(0.36, 0.98, 0.12, 0.07), 1.5)
    for u in (0.55, 0.78):
        c.paint(c.ellipse(u, 0.83, 0.075, 0.12), INK)
        c.paint(c.ellipse(u + 0.02, 0.88, 0.028), (255, 255, 255))
    c.paint(c.stroke(0.6, 0.62, 0.74, 0.64, 0.035), INK)
    return c.texture()


def _eyes(c: Canvas, places: list[tuple[float, float]], size: float) -> None:
    for u, v in places:
        c.paint(c.ellipse(u, v, size), (255, 255, 255))
        c.paint(c.ellipse(u - 0.35 * size, v, 0.62 * size), INK)


def _slime(colour: Colour) -> Callable[[Canvas, int], None]:
    """A drop that stretches and squats."""

    def draw(c: Canvas, frame: int) -> None:
        width, height = ((0.42, 0.56), (0.48, 0.42))[frame]
        body = c.ellipse(0.5, 0.1, width, height - 0.1)
        body |= c.box(0.5 - width, 0, 0.5 + width, 0.14, 0.07)
        c.paint(body, shade(colour, 0.7))
        c.paint(body & c.ellipse(0.48, 0.12, width * 0.9, (height - 0.12) * 0.9), colour)
        c.paint(c.ellipse(0.62, height * 0.66, 0.1, 0.05), shade(colour, 1.6))
        _eyes(c, [(0.28, height * 0.55), (0.5, height * 0.55)], 0.1)

    return draw


def _cube(c: Canvas, frame: int) -> None:
    """A jelly cube that bounces."""
    lift, height = ((0.0, 0.6), (0.0, 0.68))[frame]
    colour: Colour = (58, 190, 178)
    side = 0.4 - 0.03 * frame
    c.paint(c.box(0.5 - side, lift, 0.5 + side, height, 0.07), shade(colour, 0.6))
    c.paint(c.box(0.55 - side, lift + 0.05, 0.45 + side, height - 0.05, 0.05), colour)
    c.paint(c.box(0.6 - side, height - 0.15, 0.4 + side, height - 0.08, 0.03), shade(colour, 1.5))
    _eyes(c, [(0.3, height * 0.55), (0.56, height * 0.55)], 0.1)
    c.paint(c.box(0.24, height * 0.25, 0.6, height * 0.33), INK)


def _mouse(c: Canvas, frame: int) -> None:
    grey: Colour = (142, 146, 160)
    for u in (0.3 + 0.06 * frame, 0.66 - 0.06 * frame):
        c.paint(c.ellipse(u, 0.045, 0.08, 0.045), (240, 150, 165))
    c.paint(c.stroke(0.82, 0.14, 0.97, 0.26 - 0.12 * frame, 0.06), (240, 150, 165))
    body = c.ellipse(0.52, 0.2, 0.38, 0.17) | c.ellipse(0.24, 0.2, 0.2, 0.14)
    c.paint(body & (c.v > 0.03), grey)
    c.tint(body & (c.v < 0.12), 0.75)
    c.paint(c.ellipse(0.36, 0.36, 0.12), shade(grey, 0.8))
    c.paint(c.ellipse(0.35, 0.35, 0.075), (246, 160, 176))
    c.paint(c.ellipse(0.22, 0.24, 0.04), INK)
    c.paint(c.ellipse(0.05, 0.19, 0.045), (238, 110, 130))


def _snail(c: Canvas, frame: int) -> None:
    stretch = 0.05 * frame
    flesh: Colour = (246, 208, 160)
    foot = c.box(0.04 - stretch / 2, 0, 0.92 + stretch, 0.14, 0.07)
    c.paint(foot | c.stroke(0.13 - stretch / 2, 0.08, 0.15 - stretch / 2, 0.36, 0.17), flesh)
    for u in (0.08, 0.2):
        c.paint(c.stroke(u + 0.02, 0.4, u - stretch, 0.54, 0.045), flesh)
        c.paint(c.ellipse(u - stretch, 0.55, 0.045), INK)
    shell: Colour = (222, 84, 48)
    c.paint(c.ellipse(0.58, 0.36, 0.32, 0.29), shade(shell, 0.65))
    c.paint(c.ellipse(0.58, 0.36, 0.27, 0.24), shell)
    radius = np.hypot((c.u - 0.58) / 0.27, (c.v - 0.36) / 0.24)
    angle = np.arctan2(c.v - 0.36, c.u - 0.58) / (2 * np.pi)
    c.paint((radius < 0.95) & ((radius * 2.2 - angle) % 1 < 0.3), (255, 206, 120))


def _ladybird(c: Canvas, frame: int) -> None:
    for i, u in enumerate((0.3, 0.52, 0.74)):
        c.paint(c.stroke(u, 0.14, u + (0.05 if (i + frame) % 2 else -0.05), 0.02, 0.07), INK)
    c.paint(c.ellipse(0.17, 0.2, 0.15, 0.15), INK)
    dome = c.ellipse(0.55, 0.12, 0.4, 0.38) & (c.v > 0.1)
    c.paint(dome, (214, 36, 42))
    c.tint(dome & (c.v < 0.17), 0.7)
    c.paint(dome & c.stroke(0.36, 0.5, 0.42, 0.1, 0.045), INK)
    for u, v, r in ((0.58, 0.38, 0.06), (0.5, 0.2, 0.055), (0.72, 0.25, 0.065), (0.86, 0.17, 0.04)):
        c.paint(dome & c.ellipse(u, v, r), INK)
    c.paint(c.ellipse(0.12, 0.23, 0.05), (255, 255, 255))


def _worm(colour: Colour, spikes: bool) -> Callable[[Canvas, int], None]:
    """A row of segments, flat or arched."""

    def draw(c: Canvas, frame: int) -> None:
        for i in (4, 3, 2, 1, 0):
            u = 0.17 + 0.165 * i + (0.0, 0.03 * (2 - i))[frame]
            v = 0.15 + (0.02 * (i % 2), 0.14 * np.sin(np.pi * i / 4))[frame]
            radius = 0.17 if i == 0 else 0.145
            c.paint(c.ellipse(u, v, radius), shade(colour, 0.62))
            c.paint(c.ellipse(u, v + 0.015, radius * 0.82), shade(colour, 1.3) if i % 2 else colour)
            if spikes and i:
                c.paint(c.stroke(u, v + 0.1, u, v + 0.22, 0.05), shade(colour, 0.5))
        u = 0.17 + (0.0, 0.06)[frame]
        _eyes(c, [(u - 0.03, 0.2)], 0.075)

    return draw


ENEMIES: tuple[Callable[[Canvas, int], None], ...] = (
    _cube,
    _slime((168, 92, 214)),
    _slime((70, 136, 236)),
    _slime((98, 190, 62)),
    _mouse,
    _snail,
    _ladybird,
    _worm((120, 196, 40), spikes=True),
    _worm((244, 122, 172), spikes=False),
)


def enemy(look: int, frame: int) -> Texture:
    """One of nine walkers, heading left."""
    c = Canvas()
    ENEMIES[look](c, frame)
    return c.texture()


def puffs() -> Texture:
    """Dust behind an enemy that heads left: TRAIL tiles from its back (u = 0) to the right."""
    c = Canvas(TRAIL, MAX_ENEMY_HEIGHT)
    for u, v, r in (
        (0.1, 0.22, 0.2),
        (0.38, 0.34, 0.13),
        (0.45, 0.14, 0.14),
        (0.72, 0.23, 0.14),
        (1.0, 0.16, 0.12),
    ):
        c.paint(c.ellipse(u, v, r), (255, 255, 255))
    return c.texture()
