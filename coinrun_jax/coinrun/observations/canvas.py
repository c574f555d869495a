"""A small canvas to draw sprites on: hard-edged shapes, painter's order, no files.

Lengths are in tiles, `u` to the right and `v` **up** from the lower left corner, so that a
shape lies where the game's own units put it. Rows of every array are bottom first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Colour = tuple[int, int, int]
Mask = np.ndarray  # bool [H, W]

RESOLUTION = 160  # samples per tile at which sprites are drawn before they are scaled
FOOTPRINT = 0.9  # share of a pixel that is averaged over: a little under 1 is crisper


class Texture(NamedTuple):
    """A finished drawing, rows bottom first."""

    rgb: np.ndarray  # float32 [H, W, 3], 0...255
    alpha: np.ndarray  # float32 [H, W], 1 where painted

    def mirrored(self) -> Texture:
        """Left and right exchanged."""
        return Texture(self.rgb[:, ::-1], self.alpha[:, ::-1])


def shade(colour: Colour, factor: float) -> Colour:
    """Darker for a factor below 1, towards white above it."""
    c = np.array(colour, float)
    c = c * factor if factor <= 1 else c + (255 - c) * (factor - 1)
    r, g, b = (round(x) for x in c)
    return r, g, b


class Canvas:
    """Painted through masks from its shape methods; later paint covers earlier paint.

    Args:
      width, height: in tiles.
      resolution: samples per tile.
    """

    def __init__(
        self, width: float = 1.0, height: float = 1.0, resolution: int = RESOLUTION
    ) -> None:
        columns, rows = round(width * resolution), round(height * resolution)
        self.u = ((np.arange(columns) + 0.5) / resolution)[None, :]
        self.v = ((np.arange(rows) + 0.5) / resolution)[:, None]
        self._rgb = np.zeros((rows, columns, 3), np.float32)
        self._alpha = np.zeros((rows, columns), np.float32)

    def paint(self, mask: Mask | None, colour: Colour | np.ndarray) -> None:
        """Cover `mask` (everything for None) with a colour or an image [H, W, 3]."""
        where = np.ones(self._alpha.shape, bool) if mask is None else mask
        image = np.broadcast_to(np.asarray(colour, np.float32), self._rgb.shape)
        self._rgb[where] = image[where]
        self._alpha[where] = 1.0

    def tint(self, mask: Mask, factor: float) -> None:
        """Darken (below 1) or brighten (above 1) what is already painted."""
        here = mask & (self._alpha > 0)
        rgb = self._rgb[here]
        self._rgb[here] = rgb * factor if factor <= 1 else rgb + (255 - rgb) * (factor - 1)

    def erase(self, mask: Mask) -> None:
        """Make transparent."""
        self._alpha[mask] = 0.0

    def texture(self) -> Texture:
        """The drawing so far."""
        return Texture(self._rgb.copy(), self._alpha.copy())

    def ellipse(self, u: float, v: float, ru: float, rv: float | None = None) -> Mask:
        """Inside of an ellipse around (u, v); a disc without `rv`."""
        rv = ru if rv is None else rv
        return ((self.u - u) / ru) ** 2 + ((self.v - v) / rv) ** 2 <= 1

    def box(self, u0: float, v0: float, u1: float, v1: float, radius: float = 0.0) -> Mask:
        """Inside of an upright box with rounded corners."""
        du = np.abs(self.u - (u0 + u1) / 2) - ((u1 - u0) / 2 - radius)
        dv = np.abs(self.v - (v0 + v1) / 2) - ((v1 - v0) / 2 - radius)
        return np.hypot(np.maximum(du, 0), np.maximum(dv, 0)) <= max(radius, 1e-9)

    def stroke(self, u0: float, v0: float, u1: float, v1: float, width: float) -> Mask:
        """A line of the given width with round ends."""
        du, dv = u1 - u0, v1 - v0
        along = ((self.u - u0) * du + (self.v - v0) * dv) / max(du * du + dv * dv, 1e-9)
        along = np.clip(along, 0, 1)
        return np.hypot(self.u - u0 - along * du, self.v - v0 - along * dv) <= width / 2


def _weights(
    centres: np.ndarray, width: float, extent: float, samples: int, keep: bool
) -> np.ndarray:
    """Shares of texture samples in boxes around `centres`; float32 [n, samples].

    Args:
      centres: tiles.
      width: of a box, tiles.
      extent: tiles that the samples span, from 0.
      keep: crop boxes at the texture's edge, instead of seeing nothing beyond it.
    """
    edges = np.linspace(0, extent, samples + 1)
    low, high = centres[:, None] - width / 2, centres[:, None] + width / 2
    share = np.maximum(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0) / width
    if keep:
        share /= np.maximum(share.sum(1, keepdims=True), 1e-9)
    return share.astype(np.float32)


def sample(
    texture: Texture,
    u: np.ndarray,
    v: np.ndarray,
    pixel: float,
    keep: tuple[bool, bool] = (True, True),
) -> np.ndarray:
    """A texture seen by pixels; uint8 [len(v), len(u), 3], 0 where less than half is painted.

    Args:
      texture: what to look at.
      u, v: centres of pixels, tiles.
      pixel: width of a pixel, tiles.
      keep: see `_weights`; for u and v.
    """
    rows, columns = texture.alpha.shape
    across = _weights(u, pixel * FOOTPRINT, columns / RESOLUTION, columns, keep[0])
    up = _weights(v, pixel * FOOTPRINT, rows / RESOLUTION, rows, keep[1])
    cover = up @ texture.alpha @ across.T
    premultiplied = (texture.rgb * texture.alpha[..., None]).reshape(rows, -1)
    paint = across @ (up @ premultiplied).reshape(len(v), columns, 3)
    paint = np.clip(np.rint(paint / np.maximum(cover, 1e-6)[..., None]), 1, 255)
    return np.where(cover[..., None] >= 0.5, paint, 0).astype(np.uint8)
