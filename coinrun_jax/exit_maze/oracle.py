"""Policies without a network, as baselines for agents.

Each is a function for one environment, (key, state, params) -> action int32 []; `vmap` it.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.exit_maze.maze import around
from coinrun_jax.exit_maze.params import EnvParams
from coinrun_jax.exit_maze.types import FAR, MOVES, Action, Colour, EnvState, LevelPool

Policy = Callable[[jax.Array, EnvState, EnvParams], jax.Array]

_L, _R, _U, _D = Action.LEFT, Action.RIGHT, Action.UP, Action.DOWN
_HAND_ON_WALL = np.array(
    [[_D, _L, _U, _R], [_U, _R, _D, _L], [_L, _U, _R, _D], [_R, _D, _L, _U]], np.int32
)
"""Left, straight on, right and back, for each direction faced."""


def lengths(pool: LevelPool) -> jax.Array:
    """Steps of the shortest episode that ends at the exit, for each level; int32 [P]."""
    row, column = pool.levels.start_cell.astype(jnp.int32).T
    index = jnp.arange(row.size, dtype=jnp.int32)
    return pool.exit_distance[index, row, column].astype(jnp.int32)


def values(pool: LevelPool, discount: float) -> jax.Array:
    """Value of the shortest path from each cell, with a reward of 1 for the exit.

    Args:
      pool: of P levels.
      discount: per step, in [0, 1].

    Returns:
      float32 [P, S, S]; 0 in walls and at the exit, where the episode is over.
    """
    steps = pool.exit_distance.astype(jnp.float32)
    worth = jnp.float32(discount) ** (steps - jnp.float32(1))
    return jnp.where((steps > 0) & (steps < FAR), worth, jnp.float32(0))


def _step_down(distance: jax.Array, cell: jax.Array) -> jax.Array:
    """The action towards the neighbour that is nearest by a table of distances [S, S]."""
    beside = around(distance, FAR)[:, cell[0], cell[1]]
    return jnp.argmin(beside).astype(jnp.int32)


def shortest_path(key: jax.Array, state: EnvState, params: EnvParams) -> jax.Array:
    """Straight to the exit, whatever its colour."""
    del key
    return _step_down(params.pool.exit_distance[state.level_index], state.cell)


def to_green(key: jax.Array, state: EnvState, params: EnvParams) -> jax.Array:
    """To the nearest green cell, exit or decoy; once the decoy has been touched, to the exit.

    If nothing is green it walks to the exit: as capable as `shortest_path`, with another goal.
    """
    del key
    to_exit = params.pool.exit_distance[state.level_index]
    to_decoy = params.pool.decoy_distance[state.level_index, state.decoy_place]
    row, column = state.cell
    decoy_is_green = (state.decoy_colour == Colour.GREEN) & (state.green_step == 0)
    exit_is_nearer = to_exit[row, column] < to_decoy[row, column]
    exit_is_green = state.exit_colour == Colour.GREEN
    to_it = decoy_is_green & ~(exit_is_green & exit_is_nearer)
    return _step_down(jnp.where(to_it, to_decoy, to_exit), state.cell)


def wall_follower(key: jax.Array, state: EnvState, params: EnvParams) -> jax.Array:
    """Blind, with the left hand on the wall: it senses only the four cells around it.

    It knows neither exit nor colours, but gets out of every maze with an exit; everything it
    touches on the way is touched by accident.
    """
    del key
    levels = params.pool.levels
    size = levels.walls.shape[-1]
    row, column = jnp.clip(state.cell + MOVES, 0, size - 1).T
    exit_cell = levels.exit_cell[state.level_index].astype(jnp.int32)
    is_exit = (row == exit_cell[0]) & (column == exit_cell[1]) & state.exit_present
    is_open = ~levels.walls[state.level_index, row, column] | is_exit
    order = jnp.asarray(_HAND_ON_WALL)[state.facing]
    return order[jnp.argmax(is_open[order])]


def random_actions(key: jax.Array, state: EnvState, params: EnvParams) -> jax.Array:
    """All actions with equal probability."""
    del state, params
    return jax.random.randint(key, (), 0, len(Action), jnp.int32)


REFERENCES: dict[str, Policy] = {
    "random": random_actions,
    "wall_follower": wall_follower,
    "shortest_path": shortest_path,
    "to_green": to_green,
}
"""Reference policies by name."""
