"""Episode starts of a training distribution, and the cells that the coin could have had."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import coinrun_jax
from coinrun_jax.coinrun import places
from coinrun_jax.coinrun.placement import lists, make_placement
from coinrun_jax.coinrun.pool import level_of
from coinrun_jax.coinrun.types import WORLD_SIZE, Cell, EnvState, LevelPool

OTHERS = 8  # other cells drawn for each coin
_GROUND = np.array([Cell.SOLID, Cell.SURFACE, Cell.LAVA, Cell.LAVA_SURFACE], np.int8)


@dataclass(frozen=True)
class Starts:
    """N episode starts. Of the 1 + `OTHERS` cells of each, the coin's is the first.

    The others are drawn from its level's standing cells but the end, all alike
    (`places.standing`).
    """

    level_seed: np.ndarray  # uint32 [N]
    present: np.ndarray  # bool [N], whether there is a coin
    cell: np.ndarray  # int32 [N, 1 + OTHERS, 2], (x, y)
    on_way: np.ndarray  # bool [N, 1 + OTHERS], in `places.way`
    over_ground: np.ndarray  # int32 [N, 1 + OTHERS], rows between the cell and ground below it
    start: np.ndarray  # int32 [N, 2], cell of the agent
    end: np.ndarray  # int32 [N, 2], the end cell
    section_x: np.ndarray  # int32 [N, 5], first column of each section
    num_sections: np.ndarray  # int32 [N]
    difficulty: np.ndarray  # int32 [N], 1...3
    theme: np.ndarray  # int32 [N, 3], of ground, background and agent
    item_cell: np.ndarray  # int32 [N, 2, 2], (x, y) of decoys
    item_there: np.ndarray  # bool [N, 2], whether they are there

    def where(self, wanted: np.ndarray) -> Starts:
        """Those marked, bool [N]."""
        return Starts(**{name: values[wanted] for name, values in vars(self).items()})


def _on_way(pool: LevelPool, index: jax.Array, cell: jax.Array) -> jax.Array:
    words = pool.places.rows[index, lists().index(places.way), :, cell[0]]
    return (words[cell[1] // 32] >> (cell[1] % 32).astype(jnp.uint32)) & 1 == 1


def _over_ground(pool: LevelPool, index: jax.Array, cell: jax.Array) -> jax.Array:
    row = np.arange(WORLD_SIZE, dtype=np.int32)
    column = pool.levels.grid[index, :, cell[0]]
    below = jnp.isin(column, _GROUND) & (row < cell[1])
    return cell[1] - 1 - jnp.max(jnp.where(below, row, -1))


@partial(jax.jit, static_argnames="env")
def _start(
    env: coinrun_jax.CoinRun,
    key: jax.Array,
    index: jax.Array,
    params: coinrun_jax.EnvParams,
) -> tuple[EnvState, dict[str, jax.Array]]:
    """One start on each level of `index` [n]: the states, and the fields of `Starts`."""
    elsewhere = params.replace(placement=make_placement("uniform"))

    def one(key: jax.Array, index: jax.Array) -> tuple[EnvState, dict[str, jax.Array]]:
        key, key_others = jax.random.split(key)
        _, state = env.reset_to_level(key, index, params)
        others = jax.vmap(lambda key: env.reset_to_level(key, index, elsewhere)[1].coin_cell)(
            jax.random.split(key_others, OTHERS)
        )
        cells = jnp.concatenate([state.coin_cell[None], others])
        level = level_of(params.pool, index)
        return state, {
            "level_seed": level.seed,
            "present": state.coin_present,
            "cell": cells,
            "on_way": jax.vmap(partial(_on_way, params.pool, index))(cells),
            "over_ground": jax.vmap(partial(_over_ground, params.pool, index))(cells),
            "start": jnp.floor(jnp.stack([state.x, state.y])).astype(jnp.int32),
            "end": level.end_cell.astype(jnp.int32),
            "section_x": level.section_cell[:, 0].astype(jnp.int32),
            "num_sections": level.num_sections.astype(jnp.int32),
            "difficulty": level.difficulty.astype(jnp.int32),
            "theme": state.theme,
            "item_cell": state.item_cell,
            "item_there": state.item_due <= 0,
        }

    return jax.vmap(one)(jax.random.split(key, index.shape[0]), index)


def draw_starts(
    env: coinrun_jax.CoinRun, params: coinrun_jax.EnvParams, number: int, seed: int
) -> Starts:
    """Episode starts on levels as training draws them, from its first pool of levels on.

    Each level is started on once, unless the set has fewer than `number`: then in turn.

    Args:
      env, params: of training.
      number: N.
      seed: of coins, and of the levels after those of the first pool.
    """
    key = jax.random.key(seed)
    nowhere = jnp.zeros(0, jnp.int32)  # no episode goes on, so that all levels are renewed
    drawn: list[dict[str, np.ndarray]] = []
    missing = number
    while missing > 0:
        key, key_start, key_levels = jax.random.split(key, 3)
        states, fields = _start(env, key_start, params.pool.drawable, params)
        drawn.append({name: np.asarray(values)[:missing] for name, values in fields.items()})
        missing -= len(params.pool.drawable)
        if missing > 0:
            params = env.refresh(key_levels, states.replace(level_index=nowhere), params)
    return Starts(**{name: np.concatenate([part[name] for part in drawn]) for name in drawn[0]})
