"""Images for a page, encoded as data URLs, which need no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from eval.figures import THEMES, save

_QUALITY = 82  # of WebP
_SHEET = 1024  # pixels across


def data_url(kind: str, data: bytes) -> str:
    """Bytes as a data URL."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def webp(image: np.ndarray) -> str:
    """An image, uint8 [H, W, 3], as the data URL of a WebP file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="WEBP", quality=_QUALITY, method=4)
    return data_url("image/webp", buffer.getvalue())


def first_frame(gif: bytes) -> str:
    """The first frame of an animation, for readers who prefer reduced motion."""
    return webp(np.asarray(Image.open(io.BytesIO(gif)).convert("RGB")))


def drawings(draw: Callable[[str], Figure | None]) -> dict[str, str]:
    """A figure in every theme, by theme name; {} if there is none to draw.

    Args:
      draw: theme -> figure.
    """
    found = {}
    for theme in THEMES:
        if (figure := draw(theme)) is None:
            return {}
        buffer = io.BytesIO()
        save(figure, buffer, "svg")
        found[theme] = data_url("image/svg+xml", buffer.getvalue())
    return found


class Sheet(NamedTuple):
    """Sprites in one image."""

    address: str
    places: list[tuple[int, int, int, int]]
    """(left, top, width, height) of each."""


def sprite_sheet(sprites: Mapping[str, np.ndarray]) -> Sheet:
    """Sprites side by side, in rows of about _SHEET pixels.

    Args:
      sprites: uint8 [h, w, 4], by name.
    """
    places, left, top, line = [], 0, 0, 0
    for sprite in sprites.values():
        height, width = sprite.shape[:2]
        if left and left + width > _SHEET:
            left, top, line = 0, top + line, 0
        places.append((left, top, width, height))
        left, line = left + width, max(line, height)
    across = max((place[0] + place[2] for place in places), default=1)
    sheet = np.zeros((max(top + line, 1), across, 4), np.uint8)
    for (x, y, width, height), sprite in zip(places, sprites.values(), strict=True):
        sheet[y : y + height, x : x + width] = sprite
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, format="PNG", optimize=True)
    return Sheet(data_url("image/png", buffer.getvalue()), places)
