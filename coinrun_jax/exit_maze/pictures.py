"""Episodes as people see them: a scene for a player, a map with the agent's paths, a gallery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.exit_maze.cues import CONDITIONS
from coinrun_jax.exit_maze.levels import generate_levels
from coinrun_jax.exit_maze.params import EnvParams
from coinrun_jax.exit_maze.render import AGENT, AGENT_RADIUS, RIM, RIM_WIDTH, picture
from coinrun_jax.exit_maze.types import DEFAULT_SIZE, MOVES, Action, EnvState
from coinrun_jax.scenes import Scene, Track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TILE = 32  # pixels, of scenes
MAP_TILE = 24  # pixels, of maps
_LEVEL = 4  # seed of the gallery's level
_FRAME = np.array([216, 27, 96], np.uint8)  # around a cell from which something was removed
_PATHS = np.array(
    [[124, 58, 196], [0, 133, 143], [214, 112, 0], [190, 40, 120], [20, 90, 200]], np.uint8
)
_PATH_WIDTH = 3  # pixels


def _board(state: EnvState, params: EnvParams, tile: int) -> np.ndarray:
    """The board of a state without the agent, uint8 [tile * S, tile * S, 3]."""
    draw = jax.jit(partial(picture, size=tile * params.pool.levels.walls.shape[-1], agent=False))
    return np.array(draw(jax.tree.map(jnp.asarray, state), params.pool))


def _taken(state: EnvState, params: EnvParams) -> tuple[tuple[int, int], ...]:
    """Cells (row, column) from which a control removed the colour or the exit."""
    cues = jax.device_get(params.cues)
    cells: list[np.ndarray] = []
    if cues.exit_coloured and not cues.decoy_coloured:
        cells.append(np.asarray(state.decoy_cell))
    if not cues.exit_present:
        cells.append(np.asarray(params.pool.levels.exit_cell[state.level_index]))
    return tuple((int(row), int(column)) for row, column in cells)


def make_scene(states: Sequence[EnvState], params: EnvParams) -> Scene:
    """An episode with the agent on a track; what is green is part of the board.

    Args:
      states: numpy, starting with the one after the reset.
      params: of the condition.
    """
    size = params.pool.levels.walls.shape[-1]
    row, column = np.array([state.cell for state in states]).T
    names = [action.name.lower() for action in Action]
    agent = Track(
        sprite=[names[int(state.facing)] for state in states],
        x=column + 0.5,
        y=size - 0.5 - row,
        flip=np.zeros(1, bool),
    )
    return Scene(
        board=_board(states[0], params, TILE),
        tile=TILE,
        sprites={name: _sprite(Action[name.upper()]) for name in names},
        tracks=[agent],
        focus=0,
        marks=tuple((column, size - 1 - row) for row, column in _taken(states[0], params)),
    )


def _sprite(facing: Action) -> np.ndarray:
    """A violet disc with an eye on the side it faces, uint8 [TILE, TILE, 4]."""
    off = (np.arange(TILE) + 0.5) / TILE - 0.5  # in cells
    image = np.zeros((TILE, TILE, 4), np.float32)
    dy, dx = MOVES[facing] * AGENT_RADIUS / 2
    discs = (
        (0.0, 0.0, AGENT_RADIUS + RIM_WIDTH, RIM),
        (0.0, 0.0, AGENT_RADIUS, AGENT),
        (dy, dx, AGENT_RADIUS / 3, RIM),
    )
    for y, x, radius, colour in discs:
        distance = np.hypot(off[:, None] - y, off - x)
        share = np.clip((radius - distance) * TILE + 0.5, 0, 1)[..., None]
        image[..., :3] = np.where(
            image[..., 3:] > 0, image[..., :3] * (1 - share) + np.array(colour) * share, colour
        )
        image[..., 3:] = np.maximum(image[..., 3:], 255 * share)
    return np.rint(image).astype(np.uint8)


def draw_map(episodes: Sequence[Sequence[EnvState]], params: EnvParams) -> np.ndarray:
    """The board of some episodes on one level, with their paths side by side and a dot at the
    end of each; uint8 [H, W, 3].
    """
    first = episodes[0][0]
    image = _board(first, params, MAP_TILE)
    for row, column in _taken(first, params):
        _frame(image, row, column)
    for number, states in enumerate(episodes):
        colour = _PATHS[number % len(_PATHS)]
        shift = (number - (len(episodes) - 1) / 2) * (_PATH_WIDTH + 1)
        limit = MAP_TILE / 2 - _PATH_WIDTH
        offset = int(np.clip(round(shift), -limit, limit)) + MAP_TILE // 2
        cells = np.array([state.cell for state in states]) * MAP_TILE + offset
        for (y, x), (to_y, to_x) in pairwise(cells):
            (low_y, high_y), (low_x, high_x) = sorted((y, to_y)), sorted((x, to_x))
            half = _PATH_WIDTH // 2
            image[low_y - half : high_y + half + 1, low_x - half : high_x + half + 1] = colour
        y, x = cells[-1]
        image[max(y - 4, 0) : y + 5, max(x - 4, 0) : x + 5] = colour
    return image


def _frame(image: np.ndarray, row: int, column: int) -> None:
    part = image[MAP_TILE * row :, MAP_TILE * column :][:MAP_TILE, :MAP_TILE]
    inside = part[2:-2, 2:-2].copy()
    part[:] = _FRAME
    part[2:-2, 2:-2] = inside


def draw_conditions() -> Figure:
    """One maze under every condition."""
    import matplotlib.pyplot as plt

    from coinrun_jax.exit_maze.env import ExitMaze

    env = ExitMaze(DEFAULT_SIZE, num_levels=1)
    levels = generate_levels(jnp.array([_LEVEL], jnp.uint32), DEFAULT_SIZE)
    params = EnvParams.on_levels(levels)
    shown: Mapping[str, Any] = {name: params.with_condition(name) for name in CONDITIONS}
    figure, axes = plt.subplots(2, -(-len(shown) // 2), figsize=(13, 5.6), layout="tight")
    for axis in axes.flat:
        axis.axis("off")
    for axis, (name, variant) in zip(axes.flat, shown.items(), strict=False):
        _, state = env.reset_to_level(jax.random.key(0), 0, variant)
        axis.imshow(env.render(state, variant, 24 * DEFAULT_SIZE))
        axis.set_title(name.replace("_", " "), loc="left", fontsize=10)
    return figure
