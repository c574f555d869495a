"""The whole board as planes: walls, the agent, the exit, and what is red, green and blue.

With view "agent" the board is shifted to centre the agent. It wraps around; the double wall shows
where it ends. The agent's own plane would then be constant, so it shows the cell that the agent
faces: an agent without memory that knows where it came from does not have to turn back.

The salience of a cue is the number of inputs that show it: the exit's plane and the three colour
planes can be repeated. Copies are equal, so no condition shows more than another.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.exit_maze.maze import marked
from coinrun_jax.exit_maze.types import MOVES, Colour, EnvState, LevelPool

MAX_COPIES = 64
DTYPES: dict[str, np.dtype] = {"float": np.dtype(np.float32), "uint8": np.dtype(np.uint8)}
VIEWS = ("board", "agent")
CHANNELS = {"red": Colour.RED, "green": Colour.GREEN, "blue": Colour.BLUE}


def plane_names(
    colour_planes: int = 1, exit_planes: int = 1, view: str = "board"
) -> tuple[str, ...]:
    """What each plane shows, copies under the same name."""
    agent = "agent" if view == "board" else "ahead"
    return ("walls", agent, *("exit",) * exit_planes, *tuple(CHANNELS) * colour_planes)


def observe(
    state: EnvState,
    pool: LevelPool,
    kind: str = "float",
    colour_planes: int = 1,
    exit_planes: int = 1,
    view: str = "board",
) -> jax.Array:
    """Observation of one state.

    Args:
      state: of one environment.
      pool: the one that `state.level_index` points into.
      kind: "float" for float32 in {0, 1}, "uint8" for uint8 in {0, 255}; static, like the rest.
      colour_planes: copies of the red, the green and the blue plane.
      exit_planes: copies of the exit's plane; with 0 it shows only as a gap in the border.
      view: of VIEWS.

    Returns:
      [S, S, 2 + exit_planes + 3 * colour_planes], in the order of `plane_names`.
    """
    size = pool.levels.walls.shape[-1]
    if view == "agent":
        shift = jnp.int32(size // 2) - state.cell

        def mark(cell: jax.Array) -> jax.Array:
            return marked((cell + shift) % size, size)

        row, column = ((jnp.arange(size, dtype=jnp.int32) - by) % size for by in shift)
        walls = pool.levels.walls[state.level_index, row[:, None], column]
    else:
        mark = partial(marked, size=size)
        walls = pool.levels.walls[state.level_index]
    exit_here = mark(pool.levels.exit_cell[state.level_index])
    decoy_here = mark(state.decoy_cell)
    gap = exit_here & state.exit_present
    shown = {
        "walls": walls & ~gap,
        "agent": mark(state.cell),
        "ahead": mark(state.cell + jnp.asarray(MOVES)[state.facing]),
        "exit": gap,
    }
    for name, colour in CHANNELS.items():
        is_exit, is_decoy = state.exit_colour == colour, state.decoy_colour == colour
        shown[name] = (exit_here & is_exit) | (decoy_here & is_decoy)
    planes = [shown[name] for name in plane_names(colour_planes, exit_planes, view)]
    dtype = DTYPES[kind]
    return jnp.stack(planes, -1).astype(dtype) * dtype.type(255 if kind == "uint8" else 1)
