"""The data types of the game: `Level`, `LevelPool`, `EnvState`, and their codes.

Units: tiles and tiles per step. The world is 64x64 tiles, x to the right, **y up**,
cell (cx, cy) covers [cx, cx+1) x [cy, cy+1). Positions are centres. Arrays of cells are
indexed `[row, column]`, row 0 at the bottom. Shapes are for one level and one
environment; `vmap` adds leading batch axes.
"""

from __future__ import annotations

from enum import IntEnum

import jax
from flax import struct

from coinrun_jax.testbed import NUM_SEEDS as NUM_SEEDS
from coinrun_jax.testbed import TEST_LEVELS as TEST_LEVELS

ENV_ID = "CoinRun-v1"
"""The version changes if and only if old policies would behave differently."""

WORLD_SIZE = 64  # tiles, both ways
MAX_SECTIONS = 5
MAX_ENTITIES = 40  # per level: 5 sections of 1 saw + 1 enemy + 6 crates
NUM_ACTIONS = 15
TIME_LIMIT = 1000  # steps
COIN_REWARD = 10.0
NUM_ITEMS = 2
NEVER = 2**30  # a step that no episode reaches

NUM_WALL_THEMES = 6
NUM_AGENT_THEMES = 5
NUM_ENEMY_THEMES = 9
NUM_CRATE_THEMES = 4
MARGIN = 7  # tiles around the world in `LevelPool.tiles`: a 13x13 view never leaves it

NUM_BACKGROUNDS = 62  # 49 of Procgen's platform list and 13 of its space list


class Cell(IntEnum):
    """Procgen's codes of grid cells."""

    COIN = 1
    SOLID = 15
    SURFACE = 16
    LAVA = 17
    LAVA_SURFACE = 18
    BARRIER = 19  # turns enemies around; never drawn
    EMPTY = 100


class Entity(IntEnum):
    """Procgen's codes of things that are not in the grid; 0 marks an unused slot."""

    NONE = 0
    SAW = 2
    ENEMY = 5
    CRATE = 20


class Tile(IntEnum):
    """Codes of `LevelPool.tiles`: the static content of a cell, static entities included.

    A crate is `CRATE + NUM_CRATE_THEMES * order + theme`, `order` counting the level's crates
    in creation order: of several crates the one created last has the largest code, and is kept
    where two coincide.
    """

    EMPTY = 0
    SOLID = 1
    SURFACE = 2
    LAVA = 3
    LAVA_SURFACE = 4
    SAW = 5
    CRATE = 8


class Action(IntEnum):
    """Procgen's actions 0...8 as (horizontal, vertical) keys; 9...14 do nothing, like 4."""

    LEFT_DOWN = 0
    LEFT = 1
    LEFT_UP = 2
    DOWN = 3
    NOOP = 4
    UP = 5
    RIGHT_DOWN = 6
    RIGHT = 7
    RIGHT_UP = 8


class Cause(IntEnum):
    """What ended an episode; if several coincide, the first in this order."""

    NONE = 0  # still running
    COIN = 1
    SAW = 2
    ENEMY = 3
    LAVA = 4
    TIMEOUT = 5


class Level(struct.PyTreeNode):
    """A frozen layout, without the coin, whose position belongs to `EnvState`.

    Entities are in creation order: the game paints them in this order, and moves them in reverse.
    """

    seed: jax.Array  # uint32 []
    grid: jax.Array  # int8 [64, 64], codes of `Cell`
    entity_type: jax.Array  # int8 [40], codes of `Entity`
    entity_xy: jax.Array  # float32 [40, 2], centres at the start
    entity_vx: jax.Array  # float32 [40], +-0.15 for enemies, else 0
    entity_theme: jax.Array  # int8 [40], 0 for saws
    start_xy: jax.Array  # float32 [2], centre of the agent at the start
    end_cell: jax.Array  # int8 [2], (x, y) where Procgen puts the coin
    section_cell: jax.Array  # int8 [5, 2], (x, ground height) of each section's first column
    num_sections: jax.Array  # int8 []
    difficulty: jax.Array  # int8 [], 1...3
    wall_theme: jax.Array  # int8 [], 0...5
    agent_theme: jax.Array  # int8 [], 0...4
    background_index: jax.Array  # int8 [], 0...61
    background_shift: jax.Array  # float32 [], share of the background's free width


class Places(struct.PyTreeNode):
    """Lists of cells of a level, one for each of `placement.lists`; see `places`."""

    rows: jax.Array  # uint32 [lists, 2, 64], bit r of a column: the cell in row r is marked
    upto: jax.Array  # int16 [lists, 64], number of marked cells in columns up to each


class LevelPool(struct.PyTreeNode):
    """Levels that an environment resets to, with precomputed tables for its steps.

    Held once and shared by all environments; every array has a leading level axis P.
    A *lane* is the run of cells between the two cells that turn an enemy around; `lane_*`
    have one for every entity slot, and are meaningful for enemies only.
    """

    levels: Level  # [P]
    tiles: jax.Array  # uint8 [P, 64 + 2 * MARGIN, 64 + 2 * MARGIN], codes of `Tile`
    lane_edge: jax.Array  # float32 [P, 2, 40], x of the (left, right) edge
    lane_wall: jax.Array  # bool [P, 2, 40], whether that edge is solid interior, which brakes
    lane_crates: jax.Array  # float32 [P, 2, 2, 40], centres of the (first, last) crate of two runs
    lane_row: jax.Array  # int8 [P, layers, 64 + 2 * MARGIN], row of the lane in each column, or -1
    places: Places  # [P], where a coin may be
    drawable: jax.Array  # int32 [P], whose first `num_drawable` entries a reset may draw
    num_drawable: jax.Array  # int32 []


class EnvState(struct.PyTreeNode):
    """What moves in an episode. Step counts start at 1; 0 means not yet."""

    time: jax.Array  # int32 [], steps since the reset
    level_index: jax.Array  # int32 [], into the pool
    x: jax.Array  # float32 [], centre of the agent
    y: jax.Array  # float32 []
    vx: jax.Array  # float32 [], tiles per step
    vy: jax.Array  # float32 []
    on_crate: jax.Array  # bool [], a crate held something up in the last step
    facing_right: jax.Array  # bool []
    walking: jax.Array  # bool [], the last action pressed left or right
    supported: jax.Array  # bool [], the agent stood on something when the last step began
    entity_x: jax.Array  # float32 [40], by entity slot; only enemies ever move
    entity_vx: jax.Array  # float32 [40]
    coin_cell: jax.Array  # int32 [2], (x, y)
    coin_present: jax.Array  # bool []
    coin_moved: jax.Array  # bool [], the placement did not leave the coin at the end
    ghost_cell: jax.Array  # int32 [2], where the coin could have been but is not, or (-1, -1)
    coin_step: jax.Array  # int32 [], step of the first touch of the coin
    end_step: jax.Array  # int32 [], of the end cell, with or without a coin in it
    ghost_step: jax.Array  # int32 [], of the ghost cell
    item_cell: jax.Array  # int32 [2, 2], (x, y) of each piece
    item_due: jax.Array  # int32 [2], step from which a piece is present, or NEVER
    item_step: jax.Array  # int32 [], step of the first touch of a piece
    theme: jax.Array  # int32 [3], of ground, background and agent, in the order of `cues.TIED`
    episode_return: jax.Array  # float32 [], rewards so far
    cause: jax.Array  # int8 [], code of `Cause`
    trail: jax.Array | None = None
    """float32 [8, 40], `entity_x` of the previous steps, latest first: where Procgen's enemies
    have left puffs. None if nothing is drawn from it."""
