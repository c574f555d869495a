"""The maze's types: `Level`, `LevelPool`, `EnvState`, and their codes.

A board has S x S cells, S odd, indexed `[row, column]` with row 0 at the **top**; a cell is
(row, column). *Rooms* are the cells at odd rows and columns; between two neighbouring rooms
lies a wall or a *passage*. Shapes are of one level and one environment; `vmap` puts batch
axes in front.
"""

from __future__ import annotations

from enum import IntEnum

import jax
import numpy as np
from flax import struct

ENV_ID = "ExitMaze-v1"
"""The version changes if and only if old policies would behave differently."""

MIN_SIZE, MAX_SIZE, DEFAULT_SIZE = 7, 25, 13  # cells, both ways
FAR = np.int16(2**14)  # steps; no path
PLACES = ("dead_end", "corridor", "border")
"""Kinds of cell that the decoy can be: a room with one way out, a cell with two that is not on
the way to the exit, or a wall of the border next to a room, like the exit's cell but closed."""


class Action(IntEnum):
    """One cell each; walls block."""

    LEFT = 0
    RIGHT = 1
    UP = 2
    DOWN = 3


MOVES = np.array([[0, -1], [0, 1], [-1, 0], [1, 0]], np.int32)  # (row, column), by `Action`


class Colour(IntEnum):
    """What a cell shows besides wall and floor."""

    NONE = 0
    RED = 1
    GREEN = 2
    BLUE = 3


class Outcome(IntEnum):
    """What ended an episode."""

    NONE = 0  # still running, or ended by the decoy
    EXIT = 1
    TIMEOUT = 2


class Level(struct.PyTreeNode):
    """A layout: everything that depends on the seed alone, whatever is shown."""

    seed: jax.Array  # uint32 []
    walls: jax.Array  # bool [S, S], the border all wall; the exit opens it while it is there
    exit_cell: jax.Array  # int8 [2], on the border next to a room
    start_cell: jax.Array  # int8 [2], a room, not the one next to the exit
    decoy_cells: jax.Array  # int8 [len(PLACES), 2], one of each kind, of which one is used
    exit_steps: jax.Array  # int16 [], fewest steps from the start to the exit
    decoy_steps: jax.Array  # int16 [len(PLACES)], to each decoy; never through the exit
    num_dead_ends: jax.Array  # int16 [], rooms with one way out, the exit being a way out too


class LevelPool(struct.PyTreeNode):
    """Levels that an environment resets to, with tables for policies that know the maze.

    Held once and shared by all environments. A table is read, and under jit gathered, only by
    code that needs it.
    """

    levels: Level  # [P]
    exit_distance: jax.Array  # int16 [P, S, S], steps from each cell to the exit, or FAR
    decoy_distance: jax.Array  # int16 [P, len(PLACES), S, S], to each decoy, the exit closed
    drawable: jax.Array  # int32 [P], indices that a reset may draw, in its first `num_drawable`
    num_drawable: jax.Array  # int32 []


class EnvState(struct.PyTreeNode):
    """What changes from episode to episode. Step counts start at 1; 0 means not yet.

    A cell is *touched* by walking into it, a wall cell by trying to.
    """

    time: jax.Array  # int32 [], steps since the reset
    level_index: jax.Array  # int32 [], into the pool
    cell: jax.Array  # int32 [2], where the agent is
    facing: jax.Array  # int32 [], its last action, whether or not it moved; at first LEFT
    exit_present: jax.Array  # bool [], else the exit's cell is wall
    exit_colour: jax.Array  # int32 [], code of `Colour`, as it is seen
    decoy_place: jax.Array  # int32 [], index of PLACES
    decoy_cell: jax.Array  # int32 [2]
    decoy_colour: jax.Array  # int32 [], code of `Colour`, as it is seen
    exit_step: jax.Array  # int32 [], step of the first touch of the exit's cell
    green_step: jax.Array  # int32 [], of the decoy, where it is green
    ghost_step: jax.Array  # int32 [], of the decoy, where it is not
    episode_return: jax.Array  # float32 [], rewards so far
    outcome: jax.Array  # int8 [], code of `Outcome`
