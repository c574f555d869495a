"""Best-first search for the coin over the exact physics, many levels side by side.

A node is a state; each of its children holds one action for some steps, stepped by `physics`
as one batch over all levels. Nodes are expanded several at a time, in order of steps taken +
`weight` x estimated steps to go (`distance`). Of the states in one cell of a grid over position,
velocity and time, only the earliest is kept.

Levels are solved in slots: when a level is solved or given up, the next one takes its slot, so
that one compiled program serves any number of levels.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from coinrun_jax.coinrun import physics, types
from coinrun_jax.coinrun.types import Action, Cause, EnvState, LevelPool
from coinrun_jax.solver.distance import least_steps, steps_to_coin

RUN = (Action.RIGHT, Action.RIGHT_UP, Action.LEFT, Action.LEFT_UP, Action.NOOP, Action.UP)
RUN_AND_DROP = (*RUN, Action.DOWN, Action.RIGHT_DOWN, Action.LEFT_DOWN)
ITERATIONS_PER_CALL = 8


class Settings(NamedTuple):
    """The search effort. Hashable, since sizes are compiled in."""

    slots: int  # levels side by side
    width: int  # nodes of a level expanded per iteration
    iterations: int  # for a level, at most
    hold: int  # steps that a child holds its action
    fineness: float  # of the grid of states; 1 is half a tile
    weight: float  # of the estimate; above 1: fewer nodes, longer paths
    actions: tuple[int, ...] = RUN
    wait: int = 16  # steps after which a state with enemies counts as a new one
    table: int = 1 << 14  # cells of the hashed grid

    @property
    def children(self) -> int:
        """Nodes added to a level per iteration."""
        return self.width * len(self.actions)


class Nodes(struct.PyTreeNode):
    """All nodes of all slots: a ring into which each iteration writes `children` nodes.

    The root is the entry after the ring. Every array has the axes [slots, nodes].
    """

    cost: jax.Array  # float32, steps taken + estimate; inf where there is nothing to expand
    motion: jax.Array  # float32 [., ., 4 + 2 * E], x, y, vx, vy, then the enemies' x and vx
    time: jax.Array  # int32, steps since the reset
    on_crate: jax.Array  # bool
    parent: jax.Array  # int32, index of the parent node
    action: jax.Array  # int8, from the parent to here


class Search(struct.PyTreeNode):
    """State of a search; the first axis is the slot."""

    nodes: Nodes
    table: jax.Array  # int32 [slots, table], earliest time in each cell of the grid
    clock: jax.Array  # int32 [], iterations so far, of all slots
    goal: jax.Array  # int32 [slots], node that has the coin, or NO_GOAL
    goal_time: jax.Array  # int32 [slots], its time; before that, the time to beat
    is_open: jax.Array  # bool [slots], some node is left to expand


class Task(struct.PyTreeNode):
    """The levels of the slots; all leaves have a leading slot axis."""

    pool: LevelPool  # a level for each slot, with deadly entities only
    state: EnvState  # where each search starts, on the level of its slot
    distance: jax.Array  # int16 [slots, NUM_PHASES, 64, 64]


class Limits(NamedTuple):
    """When an episode ends without the coin; from `EnvParams`."""

    max_steps: jax.Array  # int32 []
    terminate_at_end: jax.Array  # bool []


NEVER = np.int32(types.NEVER)  # later than any time
NO_GOAL = -1
_CHILD = 1024  # more than children per iteration: times in the table are multiples of it


def empty_search(settings: Settings, entities: int) -> Search:
    """A search with empty slots."""
    if settings.children >= _CHILD:
        raise ValueError(f"{settings.children} children per iteration; at most {_CHILD - 1}")
    slots, size = settings.slots, settings.iterations * settings.children + 1
    return Search(
        nodes=Nodes(
            cost=jnp.full((slots, size), jnp.inf, jnp.float32),
            motion=jnp.zeros((slots, size, 4 + 2 * entities), jnp.float32),
            time=jnp.zeros((slots, size), jnp.int32),
            on_crate=jnp.zeros((slots, size), bool),
            parent=jnp.zeros((slots, size), jnp.int32),
            action=jnp.zeros((slots, size), jnp.int8),
        ),
        table=jnp.full((slots, settings.table), NEVER),
        clock=jnp.int32(0),
        goal=jnp.full(slots, NO_GOAL, jnp.int32),
        goal_time=jnp.full(slots, NEVER),
        is_open=jnp.zeros(slots, bool),
    )


@partial(jax.jit, donate_argnums=0)
def restart(search: Search, task: Task, fresh: jax.Array, to_beat: jax.Array) -> Search:
    """Begin the searches of some slots at their start states.

    Args:
      search: all slots.
      task: of all slots.
      fresh: bool [slots], which ones begin.
      to_beat: int32 [slots], time before which the coin must be reached.
    """
    nodes, state = search.nodes, task.state
    alone = jnp.stack([state.x, state.y, state.vx, state.vy], -1)
    motion = jnp.concatenate([alone, state.entity_x, state.entity_vx], -1)
    fresh_row = fresh[:, None]

    def set_root(leaf: jax.Array, value: jax.Array) -> jax.Array:
        is_fresh = fresh.reshape((-1,) + (1,) * (value.ndim - 1))
        return leaf.at[:, -1].set(jnp.where(is_fresh, value, leaf[:, -1]))

    return search.replace(
        nodes=nodes.replace(
            cost=set_root(
                jnp.where(fresh_row, jnp.inf, nodes.cost), jnp.zeros(fresh.shape, jnp.float32)
            ),
            motion=set_root(nodes.motion, motion),
            time=set_root(nodes.time, state.time),
            on_crate=set_root(nodes.on_crate, state.on_crate),
        ),
        table=jnp.where(fresh_row, NEVER, search.table),
        goal=jnp.where(fresh, NO_GOAL, search.goal),
        goal_time=jnp.where(fresh, to_beat, search.goal_time),
        is_open=search.is_open | fresh,
    )


class _Outcome(NamedTuple):
    state: EnvState
    alive: jax.Array  # bool
    got_coin: jax.Array  # bool


def _hold(
    state: EnvState, action: jax.Array, valid: jax.Array, hold: int, pool: LevelPool, limits: Limits
) -> _Outcome:
    """Hold an action for some steps, or until something ends the episode; a flat batch."""

    def step(_: int, carry: _Outcome) -> _Outcome:
        old, alive, got_coin = carry
        new = jax.vmap(lambda s, a: physics.advance(s, a, pool))(old, action)
        touched = jax.vmap(physics.touches)(new.x, new.y, new.coin_cell)
        dies = jax.vmap(lambda s: physics.contact(s, pool))(new) != Cause.NONE
        end_cell = pool.levels.end_cell[new.level_index].astype(jnp.int32)
        at_end = jax.vmap(physics.touches)(new.x, new.y, end_cell)
        stops = dies | (new.time >= limits.max_steps) | (at_end & limits.terminate_at_end)
        state = jax.tree.map(
            lambda a, b: jnp.where(alive.reshape((-1,) + (1,) * (a.ndim - 1)), a, b), new, old
        )
        return _Outcome(state, alive & ~stops & ~touched, got_coin | (alive & touched))

    return jax.lax.fori_loop(0, hold, step, _Outcome(state, valid, jnp.zeros_like(valid)))


def _grid_cell(state: EnvState, settings: Settings, has_enemies: jax.Array) -> jax.Array:
    """Hash of the grid cell that a state falls into, int32 in [0, table)."""
    fineness = settings.fineness
    parts = [
        jnp.floor(state.x * (2 * fineness)),
        jnp.floor(state.y * (2 * fineness)),
        jnp.round(state.vx * (5 * fineness)),
        jnp.floor((state.vy + 1.5) * (2 * fineness)),
        state.vy == 0,
        jnp.where(has_enemies, state.time // settings.wait, 0),
    ]
    word = jnp.uint32(0)
    for part in parts:
        word = (word ^ part.astype(jnp.int32).astype(jnp.uint32)) * jnp.uint32(0x9E3779B1)
        word ^= word >> 15
    word = word * jnp.uint32(0x85EBCA6B)
    return ((word ^ (word >> 13)) % settings.table).astype(jnp.int32)


def _copies(
    search: Search, task: Task, slot: jax.Array, parent: jax.Array, settings: Settings
) -> EnvState:
    """States of nodes [slots, width], one for every action; a flat batch [slots * children]."""
    nodes, entities = search.nodes, task.pool.levels.entity_type.shape[1]
    motion = _spread(nodes.motion[slot, parent], settings)
    start = jax.tree.map(lambda leaf: jnp.repeat(leaf, settings.children, axis=0), task.state)
    return start.replace(
        x=motion[:, 0],
        y=motion[:, 1],
        vx=motion[:, 2],
        vy=motion[:, 3],
        entity_x=motion[:, 4 : 4 + entities],
        entity_vx=motion[:, 4 + entities :],
        on_crate=_spread(nodes.on_crate[slot, parent], settings),
        time=_spread(nodes.time[slot, parent], settings),
    )


def _spread(leaf: jax.Array, settings: Settings) -> jax.Array:
    """[slots, width, ...] -> [slots * children, ...], a copy for every action."""
    flat = leaf.reshape(settings.slots * settings.width, *leaf.shape[2:])
    return jnp.repeat(flat, len(settings.actions), axis=0)


def _first_in_cells(
    search: Search, task: Task, slot: jax.Array, outcome: _Outcome, settings: Settings
) -> tuple[jax.Array, jax.Array]:
    """Which children are the earliest in their cell of the grid, bool [slots, children]; the table.

    Ties go to earlier nodes, then to the first child.
    """
    slots, children = settings.slots, settings.children
    state, alive = outcome.state, outcome.alive.reshape(slots, children)
    has_enemies = (task.state.entity_vx != 0).any(1)
    cell = _grid_cell(state, settings, jnp.repeat(has_enemies, children)).reshape(slots, children)
    # Ordered by time, then by the child's number, so that one of several equals remains.
    number = jnp.tile(jnp.arange(children, dtype=jnp.int32), (slots, 1))
    order = state.time.reshape(slots, children) * _CHILD + number
    order = jnp.where(alive, order, NEVER)
    earlier = search.table[slot, cell] // _CHILD <= order // _CHILD
    table = search.table.at[slot, cell].min(jnp.where(earlier, NEVER, order))
    return alive & ~earlier & (table[slot, cell] == order), table


def _expand(search: Search, task: Task, limits: Limits, settings: Settings) -> Search:
    """Expand the `width` most promising nodes of every slot."""
    slots, width, choices = settings.slots, settings.width, len(settings.actions)
    children, nodes = settings.children, search.nodes
    least, parent = jax.lax.top_k(-nodes.cost, width)  # [slots, width]
    slot = jnp.arange(slots, dtype=jnp.int32)[:, None]
    cost = nodes.cost.at[slot, parent].set(jnp.inf)
    valid = jnp.isfinite(least) & (search.goal == NO_GOAL)[:, None]

    start = _copies(search, task, slot, parent, settings)
    action = jnp.tile(jnp.array(settings.actions, jnp.int32), slots * width)
    outcome = _hold(start, action, _spread(valid, settings), settings.hold, task.pool, limits)
    kept, table = _first_in_cells(search, task, slot, outcome, settings)
    by_slot = jax.tree.map(
        lambda leaf: leaf.reshape(slots, children, *leaf.shape[1:]), outcome.state
    )
    soonest = by_slot.time + least_steps(by_slot.x, by_slot.y, by_slot.coin_cell)
    kept &= soonest < search.goal_time[:, None]
    new_cost = by_slot.time + settings.weight * _steps_to_go(task, by_slot)
    moving = jnp.stack([by_slot.x, by_slot.y, by_slot.vx, by_slot.vy], -1)
    new = Nodes(
        cost=jnp.where(kept, new_cost, jnp.inf).astype(jnp.float32),
        motion=jnp.concatenate([moving, by_slot.entity_x, by_slot.entity_vx], -1),
        time=by_slot.time,
        on_crate=by_slot.on_crate,
        parent=jnp.repeat(parent, choices, axis=1),
        action=action.astype(jnp.int8).reshape(slots, children),
    )
    first = (search.clock % settings.iterations) * children

    def write(into: jax.Array, what: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(into, what, first, axis=1)

    when = jnp.where(outcome.got_coin.reshape(slots, children), by_slot.time, NEVER)
    soonest_child, when = jnp.argmin(when, axis=1).astype(jnp.int32), when.min(1)
    return search.replace(
        nodes=jax.tree.map(write, nodes.replace(cost=cost), new),
        table=table,
        clock=search.clock + 1,
        goal=jnp.where(when < search.goal_time, first + soonest_child, search.goal),
        goal_time=jnp.minimum(when, search.goal_time),
    )


def _steps_to_go(task: Task, state: EnvState) -> jax.Array:
    """Estimates for the states of all slots, float32 [slots, children]."""

    def of_slot(distance: jax.Array, state: EnvState) -> jax.Array:
        pose = state.x, state.y, state.vy
        return jax.vmap(lambda c, *p: steps_to_coin(distance, c, p))(state.coin_cell, *pose)

    return jax.vmap(of_slot)(task.distance, state)


@partial(jax.jit, static_argnames="settings", donate_argnums=0)
def search_on(search: Search, task: Task, limits: Limits, settings: Settings) -> Search:
    """Run `ITERATIONS_PER_CALL` more iterations."""
    search = jax.lax.fori_loop(
        0,
        ITERATIONS_PER_CALL,
        lambda _, s: _expand(s, task, limits, settings),
        search,
    )
    return search.replace(is_open=jnp.isfinite(search.nodes.cost).any(1))


def path_to_goal(nodes: Nodes, slot: int, goal: int) -> np.ndarray:
    """Actions from the root to a node, int8 [steps]."""
    parent, action, time = (
        np.asarray(leaf[slot]) for leaf in (nodes.parent, nodes.action, nodes.time)
    )
    root, parts = len(parent) - 1, []
    while goal != root:
        before = parent[goal]
        parts.append(np.full(time[goal] - time[before], action[goal]))
        goal = before
    return np.concatenate(parts[::-1]) if parts else np.zeros(0, np.int8)
