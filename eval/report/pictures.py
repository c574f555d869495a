"""Images for the page: encoded, as data URLs."""

from __future__ import annotations

import base64
import io
from functools import cache
from html import escape

import numpy as np
from PIL import Image

from coinrun_jax.coinrun.cues import LOOKS
from coinrun_jax.coinrun.observations import creatures, tiles
from coinrun_jax.coinrun.observations.canvas import RESOLUTION, Texture, sample
from coinrun_jax.coinrun.types import NUM_AGENT_THEMES, NUM_ENEMY_THEMES

SPRITE_PIXELS = 48  # a tile
_COLUMNS = 12
_QUALITY = 82  # of WebP


def data_url(kind: str, data: bytes) -> str:
    """Bytes as an address that needs no network."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def webp(image: np.ndarray) -> str:
    """An image, uint8 [H, W, 3], as a data URL."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="WEBP", quality=_QUALITY, method=4)
    return data_url("image/webp", buffer.getvalue())


def moving(gif: bytes, words: str) -> str:
    """An animation, and its first frame for readers who want nothing to move; HTML."""
    still = np.asarray(Image.open(io.BytesIO(gif)).convert("RGB"))
    return (
        f'<picture><source media="(prefers-reduced-motion: reduce)" srcset="{webp(still)}">'
        f'<img src="{data_url("image/gif", gif)}" alt="{escape(words)}"></picture>'
    )


def _textures() -> dict[str, Texture]:
    coins = {"gold": tiles.coin(), "red": tiles.coin(tiles.RED), "gem": tiles.gem()}
    agents = {
        f"agent {theme} {pose}": creatures.agent(theme, name)
        for theme in range(NUM_AGENT_THEMES)
        for pose, name in enumerate(creatures.AGENT_POSES)
    }
    enemies = {
        f"enemy {look} {frame}": creatures.enemy(look, frame)
        for look in range(NUM_ENEMY_THEMES)
        for frame in range(2)
    }
    return {**{look: coins[look] for look in LOOKS}, **agents, **enemies}


@cache
def sprite_sheet() -> tuple[str, dict[str, tuple[int, int, int, int]]]:
    """All that moves, and the coins: a PNG, and (left, top, width, height) by name.

    Agents look to the right, enemies head left.
    """
    textures = _textures()
    cell = round(creatures.AGENT_HEIGHT * SPRITE_PIXELS)
    rows = -(-len(textures) // _COLUMNS)
    sheet = np.zeros((rows * cell, _COLUMNS * SPRITE_PIXELS, 4), np.uint8)
    places = {}
    for number, (name, texture) in enumerate(textures.items()):
        sprite = _rgba(texture)
        height, width = sprite.shape[:2]
        row, column = divmod(number, _COLUMNS)
        top, left = row * cell, column * SPRITE_PIXELS
        sheet[top : top + height, left : left + width] = sprite
        places[name] = (left, top, width, height)
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, format="PNG", optimize=True)
    return data_url("image/png", buffer.getvalue()), places


def _rgba(texture: Texture) -> np.ndarray:
    """A texture at SPRITE_PIXELS a tile; uint8 [H, W, 4], top row first."""
    rows, columns = (round(n * SPRITE_PIXELS / RESOLUTION) for n in texture.alpha.shape)
    u, v = ((np.arange(n) + 0.5) / SPRITE_PIXELS for n in (columns, rows))
    rgb = sample(texture, u, v, 1 / SPRITE_PIXELS)[::-1]
    alpha = np.where(rgb.any(-1, keepdims=True), np.uint8(255), np.uint8(0))
    return np.concatenate([rgb, alpha], -1)
