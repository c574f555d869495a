"""Pictures for people: a state at any size, and a whole level with paths drawn on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

import jax
import numpy as np

from coinrun_jax.checks import whole
from coinrun_jax.coinrun.levels import require_levels
from coinrun_jax.coinrun.observations import backgrounds, creatures, rgb, tiles
from coinrun_jax.coinrun.observations.atlas import MAX_SIZE, require_size
from coinrun_jax.coinrun.observations.canvas import RESOLUTION, Colour, Texture, sample
from coinrun_jax.coinrun.observations.look import Look
from coinrun_jax.coinrun.physics import HALF_HEIGHT
from coinrun_jax.coinrun.types import WORLD_SIZE, Cell, Entity, EnvState, Level, LevelPool

SKY = 5  # tiles that a map shows above the highest thing on it
BEYOND = 3  # columns that a map shows right of the level's end
HAZE = 0.45  # share of white over a map's background, so that paths stand out
PATH_COLOURS: tuple[Colour, ...] = (
    (214, 30, 90),
    (20, 90, 200),
    (18, 130, 60),
    (150, 60, 190),
    (200, 110, 0),
    (40, 40, 40),
)


def render(state: EnvState, pool: LevelPool, look: Look, size: int = 512) -> jax.Array:
    """The observation of a state at a size for people; uint8 [size, size, 3]."""
    return _render(state, pool, look, require_size(size))


@partial(jax.jit, static_argnames="size")
def _render(state: EnvState, pool: LevelPool, look: Look, size: int) -> jax.Array:
    return rgb.observe(state, pool, look, size)


@cache
def _sprite(draw: Callable[..., Texture], args: tuple, pixels: int) -> np.ndarray:
    """A texture at `pixels` per tile; uint8 [H, W, 3], top row first, 0 where transparent."""
    texture = draw(*args)
    rows, columns = (round(n * pixels / RESOLUTION) for n in texture.alpha.shape)
    u, v = (np.arange(columns) + 0.5) / pixels, (np.arange(rows) + 0.5) / pixels
    return sample(texture, u, v, 1 / pixels)[::-1]


class _Map:
    """An image of the world's lower left part; x and y in tiles, y up."""

    def __init__(self, columns: int, rows: int, pixels: int) -> None:
        self.pixels, self.rows = pixels, rows
        self.image = np.zeros((rows * pixels, columns * pixels, 3), np.uint8)

    def put(self, sprite: np.ndarray, x: float, y: float) -> None:
        """Draw a sprite with its lower left corner at (x, y), cut off at the map's edge."""
        left = round(x * self.pixels)
        top = round((self.rows - y) * self.pixels) - sprite.shape[0]
        height, width = self.image.shape[:2]
        rows = slice(max(top, 0), min(top + sprite.shape[0], height))
        columns = slice(max(left, 0), min(left + sprite.shape[1], width))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        part = sprite[rows.start - top : rows.stop - top]
        part = part[:, columns.start - left : columns.stop - left]
        here = self.image[rows, columns]
        np.copyto(here, part, where=part.any(-1, keepdims=True))

    def line(self, points: np.ndarray, colour: Colour, width: float) -> None:
        """Draw a line of `width` pixels through points [n, 2]."""
        pixels = points * self.pixels
        steps = np.maximum(1, np.ceil(np.abs(np.diff(pixels, axis=0)).max(1) * 2)).astype(int)
        legs = [
            np.linspace(a, b, n, endpoint=False)
            for a, b, n in zip(pixels[:-1], pixels[1:], steps, strict=True)
        ]
        self.dots(np.concatenate([*legs, pixels[-1:]]) / self.pixels, colour, width / 2)

    def dots(self, points: np.ndarray, colour: Colour, radius: float) -> None:
        """Draw discs of `radius` pixels around points [n, 2]."""
        reach = np.arange(-np.ceil(radius), np.ceil(radius) + 1)
        dx, dy = (d.ravel() for d in np.meshgrid(reach, reach))
        disc = np.hypot(dx, dy) <= radius
        column = np.floor(points[:, :1] * self.pixels).astype(int) + dx[disc].astype(int)
        row = np.floor((self.rows - points[:, 1:]) * self.pixels).astype(int) + dy[disc].astype(int)
        height, width = self.image.shape[:2]
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        self.image[row[inside], column[inside]] = colour


def level_map(
    level: Level,
    coin_cell: Sequence[int] | np.ndarray | None = None,
    trajectories: Sequence[np.ndarray] = (),
    pixels_per_tile: int = 16,
    colours: Sequence[Colour] = PATH_COLOURS,
    agent: bool = True,
) -> np.ndarray:
    """A whole level at the start of an episode, with paths through it.

    Args:
      level: one concrete level.
      coin_cell: (x, y) of the coin; by default where Procgen puts it.
      trajectories: centres of the agent, float [steps, 2] each; a dot marks the last.
      pixels_per_tile: scale.
      colours: of the trajectories, in turn.
      agent: whether the agent is drawn, where it starts.

    Returns:
      uint8 [H, W, 3], top row first; from the world's lower left corner to a little beyond
      what is drawn.

    Raises:
      ValueError: for an invalid level, as in `levels.require_levels`, and for a scale that is
        not within 1 ... 64.
    """
    whole("pixels_per_tile", pixels_per_tile, 1, MAX_SIZE // WORLD_SIZE)
    require_levels(level, one=True)
    level = jax.tree.map(np.asarray, level)
    coin = np.asarray(level.end_cell if coin_cell is None else coin_cell, int)
    paths = [np.asarray(path, float).reshape(-1, 2) for path in trajectories]
    picture = _blank(level, coin, paths, pixels_per_tile)
    sprite = partial(_sprite, pixels=pixels_per_tile)
    theme = int(level.wall_theme)
    looks: dict[int, tuple[Callable[..., Texture], tuple]] = {
        Cell.SOLID: (tiles.ground, (theme, False)),
        Cell.SURFACE: (tiles.ground, (theme, True)),
        Cell.LAVA: (tiles.lava, (False,)),
        Cell.LAVA_SURFACE: (tiles.lava, (True,)),
    }
    for y, x in np.argwhere(np.isin(level.grid, list(looks))):
        picture.put(sprite(*looks[int(level.grid[y, x])]), x, y)
    for kind, (x, y), look, vx in zip(
        level.entity_type, level.entity_xy, level.entity_theme, level.entity_vx, strict=True
    ):
        if kind == Entity.NONE:
            continue
        things: dict[int, tuple[Callable[..., Texture], tuple]] = {
            Entity.SAW: (tiles.saw, (0,)),
            Entity.CRATE: (tiles.crate, (int(look),)),
            Entity.ENEMY: (creatures.enemy, (int(look), 0)),
        }
        image = sprite(*things[int(kind)])
        picture.put(image[:, ::-1] if vx > 0 else image, float(x) - 0.5, float(y) - 0.5)
    picture.put(sprite(tiles.coin, ()), *coin)
    if agent:
        image = sprite(creatures.agent, (int(level.agent_theme), "stand"))
        picture.put(image, float(level.start_xy[0]) - 0.5, float(level.start_xy[1]) - HALF_HEIGHT)
    for number, path in enumerate(paths):
        colour = colours[number % len(colours)]
        if len(path):
            picture.line(path, colour, max(1.5, pixels_per_tile / 7))
            picture.dots(path[-1:], (255, 255, 255), pixels_per_tile / 3.2)
            picture.dots(path[-1:], colour, pixels_per_tile / 4.5)
    return picture.image


def _blank(level: Level, coin: np.ndarray, paths: list[np.ndarray], pixels: int) -> _Map:
    """The part of the world that is worth showing, with only the background."""
    column = np.arange(WORLD_SIZE)
    end = int(level.end_cell[0])
    open_column = (column > 0) & (column <= max(end, coin[0]))
    solid = (level.grid == Cell.SURFACE) & open_column
    heights = [np.flatnonzero(solid.any(1)).max(initial=0), coin[1], level.start_xy[1]]
    heights += [level.entity_xy[level.entity_type != Entity.NONE, 1].max(initial=0)]
    heights += [path[:, 1].max(initial=0) for path in paths]
    rows = int(min(WORLD_SIZE, np.ceil(max(heights)) + SKY))
    columns = int(min(WORLD_SIZE, max(end, coin[0]) + 1 + BEYOND))
    blank = _Map(columns, rows, pixels)
    index = int(level.background_index) % len(backgrounds.PAINTERS)
    # Under the haze, half the pixels each way are enough, in a quarter of the time.
    half = backgrounds.background(index, WORLD_SIZE * pixels // 2)
    image = half.repeat(2, 0).repeat(2, 1)
    free = image.shape[1] - WORLD_SIZE * pixels
    left = round(float(level.background_shift) * free)
    view = image[-rows * pixels :, left : left + columns * pixels]
    blank.image[:] = view + ((255 - view) * HAZE).astype(np.uint8)
    return blank
