"""Distance to the coin in a coarse motion model, which guides the search.

The model moves from cell to cell in ticks of two steps. A jump has phases, one per tick: it
rises 3, 2, 1 cells, stays, and falls 1, 2, 3, 3, ... cells, like the jump of
6.4 tiles in the physics; each tick can also move one column to either side. So the
distance accounts for high ledges that take a jump, for crates, on which an agent can stand, and
for saws, lava and rows full of enemies, which must be avoided. It ignores the time needed to
accelerate.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.coinrun.physics import (
    GRAVITY,
    HALF_HEIGHT,
    HALF_WIDTH,
    JUMP_SPEED,
    RUN_SPEED,
    is_lava,
    is_solid,
)
from coinrun_jax.coinrun.types import MARGIN, WORLD_SIZE, Entity, LevelPool, Tile

STEPS_PER_TICK = 2
STANDING = 9  # the phases before it are those of a jump; the last one repeats
NUM_PHASES = 10
FAR = np.int16(8000)  # ticks: no path in the model
_TURN = 4  # phase in which a jump begins to fall
_RISE = (3, 2, 1, 0)  # cells, in phases 0 ... 3
_FALL = (0, 1, 2, 3, 3)  # in phases 4 ... 8
_ENEMY_TICKS = 1  # added to a cell that an enemy walks through
_ENEMIES_TICKS = 12  # and that several walk through
_MOST_SWEEPS = 128


def _at(values: jax.Array, dx: int, dy: int) -> jax.Array:
    """values[y + dy, x + dx] at [y, x]; FAR outside."""
    padded = jnp.pad(values, 3, constant_values=FAR)
    return padded[3 + dy : 3 + dy + WORLD_SIZE, 3 + dx : 3 + dx + WORLD_SIZE]


def _enemy_ticks(pool: LevelPool, index: jax.Array) -> jax.Array:
    column = row = np.arange(WORLD_SIZE, dtype=np.int32)
    left, right = pool.lane_edge[index]
    is_enemy = pool.levels.entity_type[index] == Entity.ENEMY
    in_lane = is_enemy[:, None] & (left[:, None] <= column) & (column < right[:, None])
    in_row = pool.levels.entity_xy[index, :, 1].astype(jnp.int32)[:, None] == row
    number = (in_row[:, :, None] & in_lane[:, None, :]).sum(0, dtype=jnp.int32)
    return jnp.where(number > 1, _ENEMIES_TICKS, _ENEMY_TICKS * number).astype(jnp.int16)


def distance_map(pool: LevelPool, index: jax.Array, coin_cell: jax.Array) -> jax.Array:
    """Ticks from every cell and phase to the coin's cell.

    Args:
      pool: the levels.
      index: int32 [], of the level in the pool.
      coin_cell: int32 [2], (x, y).

    Returns:
      int16 [NUM_PHASES, 64, 64], FAR where the model has no path.
    """
    inside = slice(MARGIN, MARGIN + WORLD_SIZE)
    tiles = pool.tiles[index][inside, inside]
    solid, deadly = is_solid(tiles), is_lava(tiles) | (tiles == Tile.SAW)
    crate = tiles >= Tile.CRATE
    solid_below = jnp.pad(solid, ((1, 0), (0, 0)), constant_values=True)[:-1]
    solid_above = jnp.pad(solid, ((0, 1), (0, 0)), constant_values=True)[1:]
    crate_below = jnp.pad(crate, ((1, 0), (0, 0)))[:-1]
    support = solid_below | crate_below
    closed = solid | deadly
    ticks = 1 + _enemy_ticks(pool, index)

    column = np.arange(WORLD_SIZE, dtype=np.int32)
    row = column[:, None]
    # The head of an agent that stands below the coin reaches it.
    goal = (column == coin_cell[0]) & ((row == coin_cell[1]) | (row == coin_cell[1] - 1)) & ~closed

    def settle(values: jax.Array) -> jax.Array:
        values = jnp.where(closed, FAR, jnp.minimum(values + ticks, FAR))
        return jnp.where(goal, jnp.int16(0), values)

    def sweep(phases: list[jax.Array]) -> list[jax.Array]:
        phases = list(phases)
        for phase in range(STANDING - 1, -1, -1):
            values = phases[min(phase + 1, STANDING - 1)]
            if phase < _TURN:
                for _ in range(_RISE[phase]):
                    values = jnp.where(solid_above, phases[_TURN], _at(values, 0, 1))
            else:
                for _ in range(_FALL[phase - _TURN]):
                    below = _at(values, 0, -1)
                    below = jnp.where(crate_below, jnp.minimum(phases[STANDING], below), below)
                    values = jnp.where(solid_below, phases[STANDING], below)
                if _FALL[phase - _TURN] == 0:
                    landed = jnp.minimum(values, phases[STANDING])
                    values = jnp.where(support, landed, values)
            values = jnp.where(closed, FAR, values)
            for dx in (-1, 1):
                values = jnp.minimum(values, _at(jnp.where(closed, FAR, values), dx, 0))
            phases[phase] = settle(values)
        walk = jnp.where(support, phases[STANDING], phases[_TURN])
        drop = jnp.where(crate_below, _at(phases[_TURN + 1], 0, -1), FAR)
        stand = jnp.minimum(jnp.minimum(_at(walk, -1, 0), _at(walk, 1, 0)), drop)
        stand = jnp.minimum(settle(stand), phases[0])
        phases[STANDING] = jnp.where(support, stand, phases[_TURN])
        return phases

    def again(carry: tuple) -> jax.Array:
        number, changed, _ = carry
        return changed & (number < _MOST_SWEEPS)

    def body(carry: tuple) -> tuple:
        number, _, phases = carry
        new = sweep(phases)
        changed = jnp.array([(a != b).any() for a, b in zip(new, phases, strict=True)]).any()
        return number + 1, changed, new

    nowhere = jnp.full((WORLD_SIZE, WORLD_SIZE), FAR)
    start = (jnp.int32(0), jnp.bool_(True), [nowhere] * NUM_PHASES)
    return jnp.stack(jax.lax.while_loop(again, body, start)[2])


def steps_to_coin(
    distance: jax.Array,
    coin_cell: jax.Array,
    pose: tuple[jax.Array, jax.Array, jax.Array],
) -> jax.Array:
    """An estimate of the steps from a state to its coin; float32 [].

    Args:
      distance: from `distance_map`.
      coin_cell: int32 [2].
      pose: float32 [] each, the agent's x, y and vy.
    """
    x, y, vy = pose
    column = jnp.floor(x - 0.5)
    share = x - 0.5 - column
    column, row = column.astype(jnp.int32), jnp.floor(y).astype(jnp.int32)
    row = jnp.clip(row, 0, WORLD_SIZE - 1)
    # Phase p begins when 2p steps of the jump are over.
    phase = (JUMP_SPEED - vy) / (STEPS_PER_TICK * GRAVITY) + 0.5
    phase = jnp.clip(phase, 0, STANDING - 1)
    first = jnp.minimum(jnp.floor(phase).astype(jnp.int32), STANDING - 2)
    stands = vy == 0
    between = jnp.where(stands, 0.0, phase - first)
    earlier = jnp.where(stands, STANDING, first)
    later = jnp.where(stands, STANDING, first + 1)

    def blend(a: jax.Array, b: jax.Array, share: jax.Array) -> jax.Array:
        """Interpolate between a and b; if only one is known, return it."""
        mixed = (1 - share) * a + share * b
        return jnp.where((a < FAR) & (b < FAR), mixed, jnp.minimum(a, b))

    def ticks(column: jax.Array) -> jax.Array:
        column = jnp.clip(column, 0, WORLD_SIZE - 1)
        a, b = (distance[p, row, column].astype(jnp.float32) for p in (earlier, later))
        return blend(a, b, between)

    steps = STEPS_PER_TICK * blend(ticks(column), ticks(column + 1), share)
    # Where the model has no path: a straight line, ranked after the paths it has.
    gap_x, gap_y = _gaps(x, y, (coin_cell[0], coin_cell[1]))
    straight = gap_x / RUN_SPEED + gap_y / JUMP_SPEED
    return jnp.where(steps < FAR, jnp.maximum(steps, straight), 400.0 + 2 * straight)


def _gaps(
    x: jax.Array, y: jax.Array, coin_cell: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Tiles short of a touch, horizontally and vertically; 0 where the boxes overlap."""
    gap_x = jnp.abs(x - coin_cell[0] - 0.5) - (0.5 + HALF_WIDTH)
    gap_y = jnp.abs(y - coin_cell[1] - 0.5) - (0.5 + HALF_HEIGHT)
    return jnp.maximum(gap_x, 0.0), jnp.maximum(gap_y, 0.0)


def least_steps(x: jax.Array, y: jax.Array, coin_cell: jax.Array) -> jax.Array:
    """A lower bound on the steps to a coin, at full speed through everything.

    Args:
      x, y: float32 [...], centre of the agent.
      coin_cell: int32 [..., 2].

    Returns:
      int32 [...].
    """
    gap_x, gap_y = _gaps(x, y, (coin_cell[..., 0], coin_cell[..., 1]))
    steps = jnp.maximum(gap_x / RUN_SPEED, gap_y / JUMP_SPEED)
    return jnp.ceil(steps - 1e-3).astype(jnp.int32)  # tolerates rounding errors
