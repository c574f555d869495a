"""Levels by seed: the maze, its exit, where the agent starts, and cells for the decoy.

Each part has its own random words, which depend on the seed alone. Conditions never change a
level's walls, exit or start, whatever they show, so comparisons are paired.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.batches import share_programs
from coinrun_jax.checks import whole_or_traced
from coinrun_jax.exit_maze.maze import (
    around,
    check_size,
    distances,
    generate_walls,
    level_key,
    marked,
    words,
)
from coinrun_jax.exit_maze.types import DEFAULT_SIZE, FAR, PLACES, Level, LevelPool

_MAZE, _CELLS = range(2)  # streams


def generate_level(seed: jax.typing.ArrayLike, size: int = DEFAULT_SIZE) -> Level:
    """The level of a seed, also under `jit` and `vmap`.

    Exit and start are uniform: the exit among the border's cells next to a room, the start
    among the rooms, except the one next to the exit (and except a dead end that is the maze's only
    one, which the decoy needs). A decoy is drawn from the cells of its kind whose distance
    from the start is closest to the exit's: on boards of size 13 the two differ by at most 3 steps
    in nine levels out of ten, mostly by 1 for a dead end and mostly by 0 for the others.

    Args:
      seed: uint32 [].
      size: of the board, odd, 7 ... 25; static.

    Raises:
      InputError: for another size, and for a concrete seed outside 0 ... 2^32 - 1.
    """
    size = check_size(size)
    seed = whole_or_traced("level seed", seed, 0, 2**32 - 1)
    return _generate(jnp.asarray(seed, jnp.uint32), size)


@share_programs
@partial(jax.jit, static_argnames="size")
def generate_levels(seeds: jax.Array, size: int) -> Level:
    """The levels of seeds uint32 [P], with a leading axis P; see `generate_level`."""
    return jax.vmap(partial(_generate, size=size))(seeds)


@partial(jax.jit, static_argnames="size")
def _generate(seed: jax.Array, size: int) -> Level:
    key = level_key(seed)
    walls = generate_walls(jax.random.fold_in(key, _MAZE), size)
    border, beside = border_cells(size)
    for_exit, for_start, *for_decoys = words(jax.random.fold_in(key, _CELLS), 2 + len(PLACES))
    which = for_exit % jnp.uint32(len(border))
    exit_cell, door = jnp.asarray(border)[which], jnp.asarray(beside)[which]

    ways_out = jnp.sum(around(~walls, False), 0, dtype=jnp.int32)
    dead_ends = _rooms(size) & (ways_out == 1) & ~marked(door, size)
    # There must be a dead end besides the start; it implies a corridor too, leading to it.
    only_one = jnp.sum(dead_ends, dtype=jnp.int32) == 1
    starts = _rooms(size) & ~marked(door, size) & ~(dead_ends & only_one)
    start = _pick(starts, for_start)

    reach, to_door = jax.vmap(distances, in_axes=(None, 0))(walls, jnp.stack([start, door]))
    at_start = marked(start, size)
    exit_steps = reach[door[0], door[1]] + jnp.int16(1)
    off_path = reach + to_door + jnp.int16(1) > exit_steps
    gates = jnp.zeros((size, size), bool).at[border[:, 0], border[:, 1]].set(True)
    kinds = jnp.stack(
        [  # in the order of PLACES
            dead_ends & ~at_start,
            ~walls & (ways_out == 2) & off_path & ~at_start,
            gates & ~around(marked(door, size), False).any(0),
        ]
    )
    into = jnp.where(walls, around(reach, FAR).min(0) + jnp.int16(1), reach)
    gap = jnp.where(kinds, jnp.abs(into - exit_steps), FAR)
    closest = kinds & (gap == gap.min((1, 2), keepdims=True))
    decoys = jax.vmap(_pick)(closest, jnp.stack(for_decoys))
    return Level(
        seed=seed,
        walls=walls,
        exit_cell=exit_cell.astype(jnp.int8),
        start_cell=start.astype(jnp.int8),
        decoy_cells=decoys.astype(jnp.int8),
        exit_steps=exit_steps,
        decoy_steps=into[decoys[:, 0], decoys[:, 1]],
        num_dead_ends=jnp.sum(dead_ends, dtype=jnp.int16),
    )


def border_cells(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cells of the border next to a room, and those rooms; int32 [2 * (size - 1), 2] each."""
    odd, last = np.arange(1, size, 2), size - 1
    low, high = np.zeros_like(odd), np.full_like(odd, last)
    sides = [(low, odd), (high, odd), (odd, low), (odd, high)]
    cells = np.concatenate([np.stack(side, 1) for side in sides]).astype(np.int32)
    return cells, np.clip(cells, 1, last - 1)


def _rooms(size: int) -> jax.Array:
    odd = jnp.arange(size, dtype=jnp.int32) % 2 == 1
    return odd[:, None] & odd


def _pick(mask: jax.Array, word: jax.Array) -> jax.Array:
    """One of the marked cells, int32 [2]; uniform if the word is random."""
    upto = jnp.cumsum(mask.reshape(-1), dtype=jnp.int32)
    which = (word % upto[-1].astype(jnp.uint32)).astype(jnp.int32)
    index = jnp.sum(upto <= which, dtype=jnp.int32)
    return jnp.stack(jnp.divmod(index, jnp.int32(mask.shape[1])))


def build_pool(levels: Level) -> LevelPool:
    """A pool of the given levels, all available to resets.

    Args:
      levels: `Level` with one leading axis P, or a single level.
    """
    if levels.walls.ndim == 2:
        levels = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], levels)
    size = levels.walls.shape[0]
    return LevelPool(
        levels=jax.tree.map(jnp.asarray, levels),
        **_tables(levels),
        drawable=jnp.asarray(np.arange(size, dtype=np.int32)),
        num_drawable=jnp.int32(size),
    )


@share_programs
@jax.jit
def _tables(levels: Level) -> dict[str, jax.Array]:
    to_each = jax.vmap(distances, in_axes=(None, 0))
    return {
        "exit_distance": jax.vmap(distances)(levels.walls, levels.exit_cell),
        "decoy_distance": jax.vmap(to_each)(levels.walls, levels.decoy_cells),
    }
