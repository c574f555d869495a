"""An episode as a picture of its level and objects that move on it, for the player."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Track:
    """One object over the T states of an episode. Arrays of length 1 are constant."""

    sprite: Sequence[str]
    """Names of `Scene.sprites`, [T] or [1]; "" while it is invisible."""
    x: np.ndarray
    """Float [T] or [1], the centre of the sprite in tiles."""
    y: np.ndarray
    """Float [T] or [1]; upwards from the bottom of the board."""
    flip: np.ndarray
    """Bool [T] or [1], whether the sprite is mirrored."""


@dataclass(frozen=True)
class Scene:
    """Everything the player needs."""

    board: np.ndarray
    """Uint8 [H, W, 3], the level without the objects on the tracks."""
    tile: int
    """Pixels of a tile on the board, and on sprites."""
    sprites: Mapping[str, np.ndarray]
    """Uint8 [h, w, 4], by name."""
    tracks: Sequence[Track]
    """In the order in which they are drawn."""
    focus: int
    """Index of the track that is the agent."""
    view: float | None = None
    """Width and height in tiles of what the agent sees; None for the whole board."""
    marks: Sequence[tuple[int, int]] = ()
    """Cells (x, y), y up, to be framed, because an object was taken away there."""
