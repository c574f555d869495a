"""Pictures of a board for people; no agent sees them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.checks import InputError
from coinrun_jax.exit_maze.maze import marked
from coinrun_jax.exit_maze.types import EnvState, LevelPool

_WALL, _FLOOR, _RING = (58, 64, 78), (243, 241, 235), (30, 33, 40)
_OF_COLOUR = ((255, 255, 255), (221, 62, 58), (52, 168, 83), (66, 110, 214))  # by `Colour`
AGENT, RIM = (124, 58, 196), (255, 255, 255)
_RING_FROM, _RING_TO = 0.2, 0.3  # from the centre of the exit, in cells
AGENT_RADIUS, RIM_WIDTH = 0.34, 0.08  # in cells


def picture(state: EnvState, pool: LevelPool, size: int, agent: bool = True) -> jax.Array:
    """A board in colours: walls dark, the exit a gap with a square ring, the agent a violet disc.

    Args:
      state: of one environment.
      pool: the one that `state.level_index` points into.
      size: height and width of the picture in pixels; static, as is `agent`.
      agent: whether to draw the agent.

    Returns:
      uint8 [size, size, 3].

    Raises:
      InputError: if the picture has fewer pixels than the board has cells.
    """
    walls = pool.levels.walls[state.level_index]
    board = walls.shape[0]
    if size < board:
        raise InputError(f"size {size} of a picture is smaller than its board, {board}")
    exit_cell = pool.levels.exit_cell[state.level_index].astype(jnp.int32)
    gap = marked(exit_cell, board) & state.exit_present
    fill = jnp.where(walls[..., None], _rgb(_WALL), _rgb(_FLOOR))
    of_colour = jnp.asarray(_OF_COLOUR, jnp.uint8)
    fill = jnp.where(gap[..., None], of_colour[state.exit_colour], fill)
    decoy = marked(state.decoy_cell, board) & (state.decoy_colour > 0)
    fill = jnp.where(decoy[..., None], of_colour[state.decoy_colour], fill)

    at = (np.arange(size) * board) // size  # the cell of each line of pixels
    middle = ((np.arange(size) + 0.5) * board / size).astype(np.float32)  # in cells
    image = fill[at][:, at]
    off = np.abs(middle - at - np.float32(0.5))
    off = np.maximum(off[:, None], off)
    ring = (_RING_FROM <= off) & (off < _RING_TO)
    image = jnp.where((gap[at][:, at] & ring)[..., None], _rgb(_RING), image)

    if not agent:
        return image
    centre = state.cell.astype(jnp.float32) + jnp.float32(0.5)
    distance = jnp.hypot(middle[:, None] - centre[0], middle - centre[1])[..., None]
    for radius, colour in ((AGENT_RADIUS + RIM_WIDTH, RIM), (AGENT_RADIUS, AGENT)):
        # A one-pixel edge, so that it looks smooth.
        share = jnp.clip((radius - distance) * np.float32(size / board) + 0.5, 0, 1)
        mixed = image.astype(jnp.float32) * (1 - share) + _rgb(colour).astype(jnp.float32) * share
        image = jnp.rint(mixed).astype(jnp.uint8)
    return image


def _rgb(colour: tuple[int, int, int]) -> jax.Array:
    return jnp.asarray(colour, jnp.uint8)
