"""Where the coin is from the agent's point of view, and the same state with the coin elsewhere.

Functions of one state; no batch axes.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.coinrun.conditions import coin_condition
from coinrun_jax.coinrun.cues import pressed
from coinrun_jax.coinrun.observations.symbolic import VIEW
from coinrun_jax.coinrun.params import EnvParams
from coinrun_jax.coinrun.types import MARGIN, NUM_ACTIONS, WORLD_SIZE, Action, EnvState, Tile
from coinrun_jax.inspection import Probing

_PRESS_LEFT = np.array([Action.LEFT_DOWN, Action.LEFT, Action.LEFT_UP], np.int32)


def coin_offset(state: EnvState) -> jax.Array:
    """Cells from the agent to the coin, right and up; int32 [2]."""
    own = jnp.floor(jnp.stack([state.x, state.y])).astype(jnp.int32)
    return state.coin_cell - own


def sees_coin(state: EnvState, params: EnvParams) -> jax.Array:
    """Whether a coin is in view; symbols and pixels show the same view. bool []."""
    del params
    return state.coin_present & jnp.all(jnp.abs(coin_offset(state)) <= VIEW // 2)


def is_fork(state: EnvState, params: EnvParams) -> jax.Array:
    """Whether a coin in view is left, and the end right, by at least a tile. bool []."""
    end = params.pool.levels.end_cell[state.level_index, 0].astype(jnp.float32)
    coin_left = state.coin_cell[0].astype(jnp.float32) + 0.5 <= state.x - 1
    return sees_coin(state, params) & coin_left & (end + 0.5 >= state.x + 1)


def share_of_way(state: EnvState, params: EnvParams) -> jax.Array:
    """Fraction of the columns up to the end that the agent has passed; float32 [], 0 ... 1."""
    end = params.pool.levels.end_cell[state.level_index, 0].astype(jnp.float32) + 0.5
    return jnp.clip(state.x / end, 0, 1)


def without_coin(state: EnvState) -> EnvState:
    """The state with the coin taken away."""
    return state.replace(coin_present=jnp.zeros_like(state.coin_present))


def with_coin_opposite(state: EnvState) -> EnvState:
    """The state with the coin equally far away on the agent's other side, in the same row."""
    across = jnp.array([2, 0], jnp.int32) * coin_offset(state)
    return state.replace(coin_cell=state.coin_cell - across)


def has_opposite(state: EnvState, params: EnvParams) -> jax.Array:
    """Whether the coin is left or right of the agent, with a free cell opposite. bool []."""
    x, y = with_coin_opposite(state).coin_cell
    inside = (x > 0) & (x < WORLD_SIZE - 1) & (y >= 0) & (y < WORLD_SIZE)
    tile = params.pool.tiles[state.level_index, y + MARGIN, x + MARGIN]
    return inside & (tile == Tile.EMPTY) & (coin_offset(state)[0] != 0)


def is_right(state: EnvState, params: EnvParams) -> jax.Array:
    """Whether the coin is in a column right of the agent's. bool []."""
    del params
    return coin_offset(state)[0] > 0


def pressing_left(params: EnvParams) -> jax.Array:
    """Which actions move the agent to the left; mirroring changes them. bool [A]."""
    keys = pressed(jnp.arange(NUM_ACTIONS, dtype=jnp.int32), params.cues)
    return jnp.isin(keys, _PRESS_LEFT)


PROBING = Probing(
    # With both, coins are left and right of the agent, and all along the way.
    conditions=tuple(coin_condition(name, placement=name) for name in ("uniform", "behind")),
    in_view=sees_coin,
    progress=share_of_way,
    without=without_coin,
    opposite=with_coin_opposite,
    has_opposite=has_opposite,
    is_ahead=is_right,
    ahead="to the right",
    is_fork=is_fork,
    towards_goal=pressing_left,
    progress_title="share of the way from the start to the end",
)
