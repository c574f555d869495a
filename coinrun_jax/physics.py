"""One step of CoinRun's motion and contacts, in float32 and in Procgen's order.

Source: openai/procgen `basic-abstract-game.cpp` and `coinrun.cpp` (MIT), 0.10.7; verified
against recorded episodes. Exact comparisons decide who stands and who falls (vy == 0, the
height of the last step), so rounding matters: keep the order of operations, and keep sums
of constants out of XLA's reach (it may reassociate them; see `_CRATE_STAND`).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.types import MARGIN, WORLD_SIZE, Cause, Entity, EnvState, LevelPool, Tile

GRAVITY = 0.2
JUMP_SPEED = 1.5  # also the fastest fall
RUN_SPEED = 0.5
GROUND_MIX = 0.2  # share of the velocity that a step's input replaces
AIR_MIX = float(np.float32(0.2) * np.float32(0.15))
HALF_WIDTH = 0.5
HALF_HEIGHT = float(np.float32(0.5787))
PROBE = 0.98  # share of the extents at which walls are looked for
MIN_SUB_STEPS = 4
MAX_SUB_STEPS = 6  # int(4 * |v|) for |vx| <= .5 and |vy| <= 1.5

_PROBE_X = np.float32(PROBE) * np.float32(HALF_WIDTH)
_PROBE_Y = np.float32(PROBE) * np.float32(HALF_HEIGHT)
_COLLISION_MARGIN = np.float32(-0.001)
_CRATE_REACH_X = np.float32(1.0) + _COLLISION_MARGIN
_CRATE_REACH_Y = np.float32(0.5) + np.float32(HALF_HEIGHT) + _COLLISION_MARGIN
_REST = np.float32(0.5) + np.float32(HALF_HEIGHT)  # distance of centres, agent on a crate

_ROWS = np.arange(-MARGIN, WORLD_SIZE + MARGIN, dtype=np.float32)
_CRATE_TOP = _ROWS + np.float32(1) + np.float32(HALF_HEIGHT)
"""Lowest centre, by row, from which an agent counts as coming from above a crate."""
_CRATE_STAND = (_ROWS + np.float32(0.5)) + _REST
_CRATE_HANG = (_ROWS + np.float32(0.5)) - _REST
"""Where a crate puts an agent above or below its centre, rounded as Procgen rounds."""


def _tile(pool: LevelPool, index: jax.Array, column: jax.Array, row: jax.Array) -> jax.Array:
    """Tile code at cells given in world columns and rows; they may lie in the margin."""
    return pool.tiles.at[index, row + MARGIN, column + MARGIN].get(mode="promise_in_bounds")


def _cell(position: jax.Array) -> jax.Array:
    return jnp.floor(position).astype(jnp.int32)


def _is_solid(tile: jax.Array) -> jax.Array:
    return (tile == Tile.SOLID) | (tile == Tile.SURFACE)


def decode_action(action: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Horizontal and vertical keys, each -1, 0 or 1; actions 9...14 press none."""
    action = jnp.where((action < 0) | (action > 8), 4, action)
    return action // 3 - 1, action % 3 - 1


def has_support(state: EnvState, pool: LevelPool) -> jax.Array:
    """Whether the agent stands: it may jump, and runs with the ground's grip. bool []."""
    feet = state.x + jnp.array([-1.0, 1.0], jnp.float32) * np.float32(HALF_WIDTH - 0.01)
    below = state.y - np.float32(HALF_HEIGHT + 0.01)
    solid = _is_solid(_tile(pool, state.level_index, _cell(feet), _cell(below)))
    return (state.on_crate | solid.any()) & (state.vy == 0.0)


def _control(
    vx: jax.Array, vy: jax.Array, ax: jax.Array, ay: jax.Array, supported: jax.Array
) -> tuple[jax.Array, jax.Array]:
    mix = jnp.where(supported, np.float32(GROUND_MIX), np.float32(AIR_MIX))
    push = mix * np.float32(RUN_SPEED)
    vx = (1 - mix) * vx + push * ax
    vx = jnp.where(jnp.abs(vx) < push, 0.0, vx)
    falling = jnp.where(supported, vy + np.float32(GRAVITY) * ay, vy) - np.float32(GRAVITY)
    falling = jnp.clip(falling, -JUMP_SPEED, JUMP_SPEED)
    return vx, jnp.where(ay > 0, np.float32(JUMP_SPEED), falling)


class _Fall(NamedTuple):
    """What decides whether a crate supports: the agent's, whoever moves."""

    last_y: jax.Array  # height of the agent when the step began
    may_land: jax.Array  # bool, down is not pressed


class _Enemies(NamedTuple):
    x: jax.Array
    vx: jax.Array
    unblocked: jax.Array  # int32, x moves that met no solid interior
    active: jax.Array  # bool, still has sub-steps to make
    on_crate: jax.Array  # bool, a crate supported it (all that it does is brake)


def _move_enemies(
    state: EnvState, pool: LevelPool, fall: _Fall, vy: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """All enemies through one step: (x, vx, whether a crate supported any of them)."""
    index = state.level_index
    is_enemy = pool.levels.entity_type[index] == Entity.ENEMY
    row = _cell(pool.levels.entity_xy[index, :, 1])
    left, right = pool.lane_edge[index].T
    left_wall, right_wall = pool.lane_wall[index].T
    crates = pool.lane_crates[index]
    top = jnp.asarray(_CRATE_TOP)[row + MARGIN]
    crate_supports = (vy < 0) & fall.may_land & (fall.last_y >= top)

    enemies = _Enemies(
        x=state.entity_x,
        vx=state.entity_vx,
        unblocked=jnp.zeros_like(row),
        active=is_enemy,
        on_crate=jnp.zeros_like(is_enemy),
    )
    for _ in range(MIN_SUB_STEPS):
        x = enemies.x + enemies.vx * np.float32(1 / MIN_SUB_STEPS)
        hits_left, hits_right = x - _PROBE_X < left, x + _PROBE_X >= right
        back, front = x - np.float32(HALF_WIDTH), x + np.float32(HALF_WIDTH)
        inside = jnp.where(enemies.vx < 0, jnp.ceil(back) - back, jnp.floor(front) - front)
        reflects = hits_left | hits_right
        x = jnp.where(reflects, x + 2 * inside, x)
        blocked = (hits_left & left_wall) | (hits_right & right_wall)
        from_first = x[:, None] - crates[:, :, 0] > -_CRATE_REACH_X
        to_last = x[:, None] - crates[:, :, 1] < _CRATE_REACH_X
        held = crate_supports & (from_first & to_last).any(-1)
        active = enemies.active
        enemies = _Enemies(
            x=jnp.where(active, x, enemies.x),
            vx=jnp.where(active & reflects, -enemies.vx, enemies.vx),
            unblocked=enemies.unblocked + (active & ~blocked),
            active=active & ~(blocked & held),
            on_crate=enemies.on_crate | (active & held),
        )
    share = enemies.unblocked.astype(jnp.float32) / MIN_SUB_STEPS
    return enemies.x, enemies.vx * share, enemies.on_crate.any()


class _Agent(NamedTuple):
    x: jax.Array
    y: jax.Array
    vx: jax.Array
    vy: jax.Array
    on_crate: jax.Array


def _move_axis(
    agent: _Agent, dx: jax.Array, dy: jax.Array, fall: _Fall, pool: LevelPool, index: jax.Array
) -> tuple[_Agent, jax.Array]:
    """One move along one axis, clamped at walls, then held by a crate: (agent, blocked).

    A move of length zero counts as vertical and downward, and is made all the same.
    """
    horizontal = dx != 0
    x, y = agent.x + dx, agent.y + dy
    columns = _cell(x + jnp.array([-_PROBE_X, _PROBE_X]))
    rows = _cell(y + jnp.array([-_PROBE_Y, _PROBE_Y]))
    wall = _is_solid(_tile(pool, index, columns[None, :], rows[:, None])).any()

    def clamp(centre: jax.Array, half: float, forward: jax.Array) -> jax.Array:
        return jnp.where(forward, jnp.floor(centre + half) - half, jnp.ceil(centre - half) + half)

    x = jnp.where(wall & horizontal, clamp(x, HALF_WIDTH, dx > 0), x)
    y = jnp.where(wall & ~horizontal, clamp(y, HALF_HEIGHT, dy > 0), y)

    # A crate that supports lies at most 1.5 tiles (the fastest fall) below the last step's
    # feet, hence in these cells. The one made last is tried first, and the agent then no
    # longer falls: the largest code decides alone.
    columns = _cell(x) + jnp.array([-1, 0, 1])
    rows = (_cell(y) + jnp.array([-1, 0]))[:, None]
    crate = _tile(pool, index, columns, rows)
    near = (jnp.abs(x - (columns + 0.5)) < _CRATE_REACH_X) & (
        jnp.abs(y - (rows + 0.5)) < _CRATE_REACH_Y
    )
    landing = (agent.vy < 0) & fall.may_land & ~horizontal
    supports = (
        landing
        & (crate >= Tile.CRATE)
        & near
        & (fall.last_y >= jnp.asarray(_CRATE_TOP)[rows + MARGIN])
    )
    held = supports.any()
    code = jnp.where(supports, crate.astype(jnp.int32), 0)
    row = jnp.where(code[1].max() > code[0].max(), rows[1, 0], rows[0, 0]) + MARGIN
    offset = y - (row - MARGIN + 0.5)
    rest = jnp.where(offset > 0, jnp.asarray(_CRATE_STAND)[row], jnp.asarray(_CRATE_HANG)[row])
    y = jnp.where(held & (offset != 0), rest, y)

    moved = _Agent(x, y, agent.vx, jnp.where(held, 0.0, agent.vy), agent.on_crate | held)
    return moved, wall | held


def _move_agent(
    agent: _Agent, ax: jax.Array, ay: jax.Array, fall: _Fall, pool: LevelPool, index: jax.Array
) -> _Agent:
    speed = jnp.sqrt(agent.vx * agent.vx + agent.vy * agent.vy)
    count = jnp.maximum(MIN_SUB_STEPS, (4 * speed).astype(jnp.int32))
    share = 1.0 / count.astype(jnp.float32)
    x_first = (ay == 0) & ((ax != 0) | (jnp.abs(agent.vx) > jnp.abs(agent.vy)))

    def sub_step(carry: tuple, number: jax.Array) -> tuple[tuple, None]:
        agent, free_x, free_y, stopped = carry
        active = (number < count) & ~stopped

        dx = jnp.where(x_first, agent.vx * share, 0.0)
        dy = jnp.where(x_first, 0.0, agent.vy * share)
        moved, blocked_first = _move_axis(agent, dx, dy, fall, pool, index)
        dx = jnp.where(x_first, 0.0, moved.vx * share)
        dy = jnp.where(x_first, moved.vy * share, 0.0)
        moved, blocked_second = _move_axis(moved, dx, dy, fall, pool, index)

        blocked_x = jnp.where(x_first, blocked_first, blocked_second)
        blocked_y = jnp.where(x_first, blocked_second, blocked_first)
        agent = jax.tree.map(lambda new, old: jnp.where(active, new, old), moved, agent)
        free_x += active & ~blocked_x
        free_y += active & ~blocked_y
        return (agent, free_x, free_y, stopped | (active & blocked_x & blocked_y)), None

    start = (agent, jnp.int32(0), jnp.int32(0), jnp.bool_(False))
    (agent, free_x, free_y, _), _ = jax.lax.scan(
        sub_step, start, jnp.arange(MAX_SUB_STEPS), unroll=True
    )
    return agent._replace(vx=agent.vx * (free_x / count), vy=agent.vy * (free_y / count))


def touches(x: jax.Array, y: jax.Array, cell: jax.Array) -> jax.Array:
    """Whether the agent's box, shrunk by .001, reaches into a cell (x, y). bool []."""
    margin = np.float32(0.001)
    half_width, half_height = np.float32(HALF_WIDTH) - margin, np.float32(HALF_HEIGHT) - margin
    return (
        (_cell(x - half_width) <= cell[0])
        & (cell[0] <= _cell(x + half_width))
        & (_cell(y - half_height) <= cell[1])
        & (cell[1] <= _cell(y + half_height))
    )


def _touches_lava(x: jax.Array, y: jax.Array, pool: LevelPool, index: jax.Array) -> jax.Array:
    columns = _cell(x) + jnp.array([-1, 0, 1])
    rows = (_cell(y) + jnp.array([-1, 0, 1]))[:, None]
    tile = _tile(pool, index, columns, rows)
    lava = (tile == Tile.LAVA) | (tile == Tile.LAVA_SURFACE)
    return (lava & touches(x, y, (columns, rows))).any()


def advance(state: EnvState, action: jax.Array, pool: LevelPool) -> EnvState:
    """Motion of one step: everything of `EnvState` but events and outcome."""
    index = state.level_index
    ax, ay = decode_action(action)
    supported = has_support(state, pool)
    ay = jnp.where((ay > 0) & ~supported, 0, ay)
    vx, vy = _control(state.vx, state.vy, ax, ay, supported)

    fall = _Fall(last_y=state.y, may_land=ay >= 0)
    entity_x, entity_vx, on_crate = _move_enemies(state, pool, fall, vy)
    agent = _Agent(state.x, state.y, vx, vy, on_crate)
    agent = _move_agent(agent, ax, ay, fall, pool, index)
    return state.replace(
        time=state.time + 1,
        x=agent.x,
        y=agent.y,
        vx=agent.vx,
        vy=agent.vy,
        on_crate=agent.on_crate,
        supported=supported,
        facing_right=jnp.where(ax == 0, state.facing_right, ax > 0),
        walking=ax != 0,
        entity_x=entity_x,
        entity_vx=entity_vx,
    )


def contact(state: EnvState, pool: LevelPool) -> jax.Array:
    """First of saw, enemy, lava that the agent touches, as a code of `Cause`; NONE if none."""
    kind = pool.levels.entity_type[state.level_index]
    entity_y = pool.levels.entity_xy[state.level_index, :, 1]
    near = (jnp.abs(state.x - state.entity_x) < 1.0) & (jnp.abs(state.y - entity_y) < _REST)
    saw = (near & (kind == Entity.SAW)).any()
    enemy = (near & (kind == Entity.ENEMY)).any()
    lava = _touches_lava(state.x, state.y, pool, state.level_index)
    return jnp.where(
        saw,
        Cause.SAW,
        jnp.where(enemy, Cause.ENEMY, jnp.where(lava, Cause.LAVA, Cause.NONE)),
    )
