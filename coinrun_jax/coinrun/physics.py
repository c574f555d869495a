"""One step of CoinRun's motion and contacts, in float32 and in Procgen's order.

Source: openai/procgen `basic-abstract-game.cpp` and `coinrun.cpp` (MIT), 0.10.7; verified
against recorded episodes. Exact comparisons decide who stands and who falls (vy == 0, the
height of the last step), so rounding matters: keep the order of operations, and avoid sums of
constants, which XLA may reassociate (see `_crate_centre`).

What a step can touch is looked up once, as a small window around the agent; the sub-steps
then work on bits and small numbers. The loop over sub-steps is unrolled only on GPUs, where each
round would need launches of its own: elsewhere, XLA would recompute the whole chain for each of
its results.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.coinrun.cuts import cut_rectangle
from coinrun_jax.coinrun.types import MARGIN, Cause, Entity, EnvState, LevelPool, Tile

GRAVITY = 0.2
JUMP_SPEED = 1.5  # also the fastest fall
RUN_SPEED = 0.5
GROUND_MIX = 0.2  # fraction of the velocity that a step's input replaces
AIR_MIX = float(np.float32(0.2) * np.float32(0.15))
HALF_WIDTH = 0.5
HALF_HEIGHT = float(np.float32(0.5787))
PROBE = 0.98  # fraction of the extents at which walls are probed
MIN_SUB_STEPS = 4
MAX_SUB_STEPS = 6  # int(4 * |v|) for |vx| <= .5 and |vy| <= 1.5

_PROBE_X = np.float32(PROBE) * np.float32(HALF_WIDTH)
_PROBE_Y = np.float32(PROBE) * np.float32(HALF_HEIGHT)
_COLLISION_MARGIN = np.float32(-0.001)
_CRATE_REACH_X = np.float32(1.0) + _COLLISION_MARGIN
_CRATE_REACH_Y = np.float32(0.5) + np.float32(HALF_HEIGHT) + _COLLISION_MARGIN
_TOUCH_MARGIN = np.float32(0.001)  # of coin and lava
_REST = np.float32(0.5) + np.float32(HALF_HEIGHT)  # distance of centres, agent on a crate


def _cell(position: jax.Array) -> jax.Array:
    return jnp.floor(position).astype(jnp.int32)


def is_solid(tile: jax.Array) -> jax.Array:
    """Whether codes of `Tile` are ground, inside or at its surface."""
    return (tile == Tile.SOLID) | (tile == Tile.SURFACE)


def is_lava(tile: jax.Array) -> jax.Array:
    """Whether codes of `Tile` are lava, below or at the surface."""
    return (tile == Tile.LAVA) | (tile == Tile.LAVA_SURFACE)


def _crate_centre(row: jax.Array) -> jax.Array:
    """Height of the centre of a crate in a row; exact, without a sum that XLA could fold."""
    return (2 * row + 1).astype(jnp.float32) * np.float32(0.5)


def _crate_top(row: jax.Array) -> jax.Array:
    """Lowest centre of an agent that counts as above a crate in a row."""
    return (row + 1).astype(jnp.float32) + np.float32(HALF_HEIGHT)


def decode_action(action: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Horizontal and vertical keys, each -1, 0 or 1; actions 9...14 press no key."""
    action = jnp.where((action < 0) | (action > 8), 4, action)
    return action // 3 - 1, action % 3 - 1


REACH_X, REACH_UP, REACH_DOWN = 1, 3, 5
"""Cells around the agent's own that one step can touch: it moves by at most half a tile sideways
and 1.5 tiles up or down, and crates can push it further down."""
_COLUMNS = 2 * REACH_X + 1
_CRATE_ROWS = range(REACH_DOWN - 3, REACH_DOWN)
"""Of the window: a crate that supports the agent is in one of the three rows below its cell."""
_PUSHES = 5
"""Most pushes that a move can lead to: Procgen ends its recursion there."""


class Window(NamedTuple):
    """Static objects within reach of a step; the bits of masks are cells, row by row."""

    column: jax.Array  # int32 [], of the lower left cell in the world
    row: jax.Array  # int32 []
    solid: jax.Array  # int32 [], mask
    lava: jax.Array  # int32 [], mask
    crate: jax.Array  # int32 [3, _COLUMNS], of _CRATE_ROWS, codes of `Tile`, 0 for no crate


def make_window(state: EnvState, tiles: jax.Array) -> Window:
    """Window of the tiles within reach, uint8 [REACH_DOWN + 1 + REACH_UP, _COLUMNS]."""
    crate = tiles[_CRATE_ROWS.start : _CRATE_ROWS.stop].astype(jnp.int32)

    def mask(cells: jax.Array) -> jax.Array:
        bits = jnp.int32(0)
        for number, cell in enumerate(cells.reshape(-1)):
            bits |= cell.astype(jnp.int32) << number
        return bits

    return Window(
        column=_cell(state.x) - REACH_X,
        row=_cell(state.y) - REACH_DOWN,
        solid=mask(is_solid(tiles)),
        lava=mask(is_lava(tiles)),
        crate=jnp.where(crate >= Tile.CRATE, crate, 0),
    )


def tiles_around(
    state: EnvState, pool: LevelPool, reach_x: int, reach_down: int, reach_up: int
) -> jax.Array:
    """Tiles around the agent's cell, lowest row first.

    uint8 [reach_down + 1 + reach_up, 2 * reach_x + 1].
    """
    return cut_rectangle(
        pool.tiles,
        state.level_index,
        _cell(state.y) - reach_down + MARGIN,
        _cell(state.x) - reach_x + MARGIN,
        height=reach_down + 1 + reach_up,
        width=2 * reach_x + 1,
    )


def _look_around(state: EnvState, pool: LevelPool) -> Window:
    return make_window(state, tiles_around(state, pool, REACH_X, REACH_DOWN, REACH_UP))


def _covers(
    mask: jax.Array,
    window: Window,
    x: jax.Array,
    y: jax.Array,
    half_width: np.float32,
    rows: tuple[np.float32, ...],
) -> jax.Array:
    """Whether the cells at x -+ half_width, in each of the rows y + `rows`, hold a set bit."""
    left, right = (_cell(x + side) - window.column for side in (-half_width, half_width))
    sides = (1 << left) | (1 << right)
    seen = jnp.int32(0)
    for offset in rows:
        seen |= mask >> (_COLUMNS * (_cell(y + offset) - window.row))
    return seen & sides != 0


def has_support(state: EnvState, window: Window) -> jax.Array:
    """Whether the agent stands on something, so that it can jump and has grip. bool []."""
    feet, below = np.float32(HALF_WIDTH - 0.01), -np.float32(HALF_HEIGHT + 0.01)
    on_ground = _covers(window.solid, window, state.x, state.y, feet, (below,))
    return (state.on_crate | on_ground) & (state.vy == 0.0)


def rounded(value: jax.Array, clock: jax.Array) -> jax.Array:
    """A float32 product, rounded before anything is added to it.

    Compilers fuse a product and a sum into one operation if the machine has one, which skips a
    rounding that Procgen does. A number that passes through integers is not fused.

    Args:
      value: float32, any shape.
      clock: int32 [], never negative, which the compiler cannot know.
    """
    bits = jax.lax.bitcast_convert_type(value, jnp.int32) ^ (clock >> 31)
    return jax.lax.bitcast_convert_type(bits, jnp.float32)


def _control(
    state: EnvState, ax: jax.Array, ay: jax.Array, supported: jax.Array
) -> tuple[jax.Array, jax.Array]:
    vy = state.vy
    mix = jnp.where(supported, np.float32(GROUND_MIX), np.float32(AIR_MIX))
    push = mix * np.float32(RUN_SPEED)
    vx = rounded((1 - mix) * state.vx, state.time) + push * ax
    vx = jnp.where(jnp.abs(vx) < push, 0.0, vx)
    falling = jnp.where(supported, vy + np.float32(GRAVITY) * ay, vy) - np.float32(GRAVITY)
    falling = jnp.clip(falling, -JUMP_SPEED, JUMP_SPEED)
    return vx, jnp.where(ay > 0, np.float32(JUMP_SPEED), falling)


class _Fall(NamedTuple):
    """What determines whether a crate supports an object; always the agent's own values."""

    last_y: jax.Array  # height of the agent when the step began
    may_land: jax.Array  # bool, down is not pressed


# A moving object's progress through its sub-steps, as one number, which is cheaper than four.
_STOPPED, _HELD = 1, 2  # flags
_FREE_X, _FREE_Y = 4, 32  # units of the counts of unblocked moves, at most 6 each


def _number(flag: jax.Array, value: int) -> jax.Array:
    return jnp.where(flag, jnp.int32(value), 0)


def _repeated(count: int, sub_step: Callable[[Any, Any], Any], start: Any) -> Any:
    """`jax.lax.fori_loop` over sub-steps 0 ... count - 1, unrolled on GPUs."""
    sub_step = jax.jit(sub_step)  # traced once for both

    def loop(carry: Any, unroll: bool = False) -> Any:
        return jax.lax.fori_loop(0, count, sub_step, carry, unroll=unroll)

    return jax.lax.platform_dependent(start, cuda=partial(loop, unroll=True), default=loop)


def _count(progress: jax.Array, unit: int) -> jax.Array:
    return (progress // unit) & 7


def _move_enemies(
    state: EnvState, pool: LevelPool, fall: _Fall, vy: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Move all enemies by one step: (x, vx, whether a crate supported any of them)."""
    index = state.level_index
    left, right = pool.lane_edge[index]
    left_wall, right_wall = pool.lane_wall[index]
    runs = pool.lane_crates[index]
    top = _crate_top(_cell(pool.levels.entity_xy[index, :, 1]))
    crate_supports = (vy < 0) & fall.may_land & (fall.last_y >= top)

    def sub_step(_: int, carry: tuple) -> tuple:
        old_x, vx, progress = carry
        active = progress & _STOPPED == 0
        x = old_x + vx * np.float32(1 / MIN_SUB_STEPS)
        hits_left, hits_right = x - _PROBE_X < left, x + _PROBE_X >= right
        back, front = x - np.float32(HALF_WIDTH), x + np.float32(HALF_WIDTH)
        inside = jnp.where(vx < 0, jnp.ceil(back) - back, jnp.floor(front) - front)
        reflects = hits_left | hits_right
        x = jnp.where(reflects, x + 2 * inside, x)
        blocked = (hits_left & left_wall) | (hits_right & right_wall)
        held = jnp.zeros_like(blocked)
        for first, last in runs:
            held |= (x - first > -_CRATE_REACH_X) & (x - last < _CRATE_REACH_X)
        held &= crate_supports
        after = progress | _number(blocked & held, _STOPPED) | _number(held, _HELD)
        after += _number(~blocked, _FREE_X)
        return (
            jnp.where(active, x, old_x),
            jnp.where(active & reflects, -vx, vx),
            jnp.where(active, after, progress),
        )

    is_enemy = pool.levels.entity_type[index] == Entity.ENEMY
    start = (state.entity_x, state.entity_vx, _number(~is_enemy, _STOPPED))
    x, vx, progress = _repeated(MIN_SUB_STEPS, sub_step, start)
    share = _count(progress, _FREE_X).astype(jnp.float32) / MIN_SUB_STEPS
    return x, vx * share, (progress & _HELD > 0).any()


_Supports = list[list[jax.Array]]
"""By row and column of a window's crates: 0, or a code if the crate would hold the agent when
near. The one created last is tried first, and once a crate holds it, the agent no longer falls, so
only the largest code matters. Its lowest bits, `_CODE_ROW`, are the row."""
_CODE_ROW = 3


def _clamp(centre: jax.Array, half: float, forward: jax.Array) -> jax.Array:
    """Where a wall stops a move: at its face, with the full extent."""
    return jnp.where(forward, jnp.floor(centre + half) - half, jnp.ceil(centre - half) + half)


def _hits_wall(window: Window, x: jax.Array, y: jax.Array) -> jax.Array:
    return _covers(window.solid, window, x, y, _PROBE_X, (-_PROBE_Y, _PROBE_Y))


def _move_x(
    x: jax.Array, y: jax.Array, dx: jax.Array, window: Window
) -> tuple[jax.Array, jax.Array]:
    """A horizontal move: (x, blocked).

    In Procgen a move of length zero counts as a vertical one. After the preceding vertical move
    it has no effect, so it is left out.
    """
    moved = x + dx
    wall = _hits_wall(window, moved, y) & (dx != 0)
    return jnp.where(wall, _clamp(moved, HALF_WIDTH, dx > 0), moved), wall


def _stopped_y(
    x: jax.Array, y: jax.Array, up: jax.Array, window: Window
) -> tuple[jax.Array, jax.Array]:
    """A vertical move that has reached y: (y, whether a wall stops it)."""
    wall = _hits_wall(window, x, y)
    return jnp.where(wall, _clamp(y, HALF_HEIGHT, up), y), wall


def _move_y(
    x: jax.Array,
    y: jax.Array,
    dy: jax.Array,
    window: Window,
    supports: _Supports,
    falls: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A vertical move, stopped by walls, then held by a crate if there is one: (y, blocked, held).

    A move of length zero counts as downward, and has an effect. Nothing holds an agent that does
    not fall.

    A crate pushes the agent out, up or down, whichever is nearer. That is a move in turn, and the
    agent counts as falling until it is over: walls stop it, and it can lead to further pushes.
    """
    near_x = [
        jnp.abs(x - _crate_centre(window.column + column)) < _CRATE_REACH_X
        for column in range(_COLUMNS)
    ]
    codes = [
        jnp.stack([jnp.where(near, code, 0) for near, code in zip(near_x, row, strict=True)]).max(0)
        for row in supports
    ]

    def holder(y: jax.Array) -> jax.Array:
        found = jnp.int32(0)
        for row, code in zip(_CRATE_ROWS, codes, strict=True):
            near = jnp.abs(y - _crate_centre(window.row + row)) < _CRATE_REACH_Y
            found = jnp.maximum(found, jnp.where(near, code, 0))
        return found

    def push(y: jax.Array, code: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Where a crate pushes the agent, and the code of the crate that holds it there, or 0."""
        centre = _crate_centre(window.row + _CRATE_ROWS.start + (code & _CODE_ROW))
        out = jnp.where(y > centre, centre + _REST, centre - _REST)
        out, _ = _stopped_y(x, jnp.where(y == centre, y, out), y > centre, window)
        return jnp.where(code > 0, out, y), jnp.where(code > 0, holder(out), 0)

    y, wall = _stopped_y(x, y + dy, dy > 0, window)
    code = jnp.where(falls, holder(y), 0)
    held = code > 0

    def in_a_loop(y: jax.Array, code: jax.Array) -> jax.Array:
        return jax.lax.while_loop(
            lambda carry: (carry[0] < _PUSHES) & (carry[2] > 0),
            lambda carry: (carry[0] + 1, *push(*carry[1:])),
            (jnp.int32(1), *push(y, code)),
        )[1]

    def written_out(y: jax.Array, code: jax.Array) -> jax.Array:
        for _ in range(_PUSHES):
            y, code = push(y, code)
        return y

    # Rarely more than one push: a loop skips the others on CPU; on GPU, the host would wait for it.
    y = jax.lax.platform_dependent(y, code, cpu=in_a_loop, default=written_out)
    return y, wall | held, held


def _crates_below(window: Window, fall: _Fall) -> _Supports:
    supports = []
    for row, crates in enumerate(window.crate):
        top = _crate_top(window.row + _CRATE_ROWS.start + row)
        may_hold = fall.may_land & (fall.last_y >= top)
        code = jnp.where(may_hold & (crates > 0), (_CODE_ROW + 1) * crates + row, 0)
        supports.append(list(code))
    return supports


def _move_agent(
    state: EnvState,
    vx: jax.Array,
    vy: jax.Array,
    keys: tuple[jax.Array, jax.Array],
    fall: _Fall,
    window: Window,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """Move the agent by one step: (x, y, vx, vy, whether a crate supported it)."""
    ax, ay = keys
    speed = jnp.sqrt(rounded(vx * vx, state.time) + rounded(vy * vy, state.time))
    count = jnp.maximum(MIN_SUB_STEPS, (4 * speed).astype(jnp.int32))
    share = 1.0 / count.astype(jnp.float32)
    x_first = (ay == 0) & ((ax != 0) | (jnp.abs(vx) > jnp.abs(vy)))
    dx, dy = vx * share, vy * share
    dx_before, dx_after = jnp.where(x_first, dx, 0.0), jnp.where(x_first, 0.0, dx)
    supports = _crates_below(window, fall)

    def sub_step(number: jax.Array, carry: tuple) -> tuple:
        old_x, old_y, progress = carry
        active = (number < count) & (progress & _STOPPED == 0)
        was_held = progress & _HELD > 0
        x, blocked_before = _move_x(old_x, old_y, dx_before, window)
        y, blocked_y, held = _move_y(
            x, old_y, jnp.where(was_held, 0.0, dy), window, supports, (vy < 0) & ~was_held
        )
        x, blocked_after = _move_x(x, y, dx_after, window)
        blocked_x = blocked_before | blocked_after
        after = progress | _number(blocked_x & blocked_y, _STOPPED) | _number(held, _HELD)
        after += _number(~blocked_x, _FREE_X) + _number(~blocked_y, _FREE_Y)
        return (
            jnp.where(active, x, old_x),
            jnp.where(active, y, old_y),
            jnp.where(active, after, progress),
        )

    start = (state.x, state.y, jnp.int32(0))
    x, y, progress = _repeated(MAX_SUB_STEPS, sub_step, start)
    held = progress & _HELD > 0
    free_x, free_y = _count(progress, _FREE_X) / count, _count(progress, _FREE_Y) / count
    return x, y, vx * free_x, jnp.where(held, 0.0, vy) * free_y, held


def advance(state: EnvState, action: jax.Array, pool: LevelPool) -> EnvState:
    """Motion of one step: everything in `EnvState` except events and outcome."""
    ax, ay = decode_action(action)
    window = _look_around(state, pool)
    supported = has_support(state, window)
    ay = jnp.where((ay > 0) & ~supported, 0, ay)
    vx, vy = _control(state, ax, ay, supported)

    fall = _Fall(last_y=state.y, may_land=ay >= 0)
    entity_x, entity_vx, enemy_held = _move_enemies(state, pool, fall, vy)
    x, y, vx, vy, held = _move_agent(state, vx, vy, (ax, ay), fall, window)
    return state.replace(
        time=state.time + 1,
        x=x,
        y=y,
        vx=vx,
        vy=vy,
        on_crate=enemy_held | held,
        supported=supported,
        facing_right=jnp.where(ax == 0, state.facing_right, ax > 0),
        walking=ax != 0,
        entity_x=entity_x,
        entity_vx=entity_vx,
        trail=_remember(state),
    )


def _remember(state: EnvState) -> jax.Array | None:
    """`EnvState.trail` after a step from this state."""
    if state.trail is None:
        return None
    return jnp.concatenate([state.entity_x[None], state.trail[:-1]])


def touches(x: jax.Array, y: jax.Array, cell: jax.Array | tuple[jax.Array, jax.Array]) -> jax.Array:
    """Whether the agent's box, shrunk by .001, reaches into a cell (x, y). bool []."""
    half_width = np.float32(HALF_WIDTH) - _TOUCH_MARGIN
    half_height = np.float32(HALF_HEIGHT) - _TOUCH_MARGIN
    return (
        (_cell(x - half_width) <= cell[0])
        & (cell[0] <= _cell(x + half_width))
        & (_cell(y - half_height) <= cell[1])
        & (cell[1] <= _cell(y + half_height))
    )


def contact(state: EnvState, pool: LevelPool) -> jax.Array:
    """The first of saw, enemy, lava that the agent touches, as a code of `Cause`, or NONE."""
    kind = pool.levels.entity_type[state.level_index]
    entity_y = pool.levels.entity_xy[state.level_index, :, 1]
    near = (jnp.abs(state.x - state.entity_x) < 1.0) & (jnp.abs(state.y - entity_y) < _REST)
    saw = (near & (kind == Entity.SAW)).any()
    enemy = (near & (kind == Entity.ENEMY)).any()
    window, half_width = _look_around(state, pool), np.float32(HALF_WIDTH) - _TOUCH_MARGIN
    half_height = np.float32(HALF_HEIGHT) - _TOUCH_MARGIN
    rows = (-half_height, np.float32(0), half_height)
    lava = _covers(window.lava, window, state.x, state.y, half_width, rows)
    return jnp.where(
        saw,
        Cause.SAW,
        jnp.where(enemy, Cause.ENEMY, jnp.where(lava, Cause.LAVA, Cause.NONE)),
    )
