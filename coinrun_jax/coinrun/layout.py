"""A hash of the layout: equal for levels that play the same.

Two levels have the same layout if they differ at most in looks: the same cells, the same crates,
saws and enemies in the same places, moving in the same directions, and the same start and end. A
level's seed, the order in which entities are created, and sections that leave no trace in the
cells do not count; nor does the coin, which is not part of a level.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.coinrun.levels import require_levels
from coinrun_jax.coinrun.types import MAX_ENTITIES, WORLD_SIZE, Cell, Entity, Level

_NUM_CELLS = WORLD_SIZE * WORLD_SIZE
_STREAMS = np.array([0x2545F491, 0x9E3779B9], np.uint32)  # one for each half of a hash
_CELL_FEATURES, _ENTITY_FEATURES, _LEVEL_FEATURES = 0, 1 << 20, 2 << 20


def _mix(feature: jax.Array) -> jax.Array:
    """Pseudo-random words of a feature, uint32 [2, ...]: MurmurHash3's 32-bit finaliser, twice."""
    streams = _STREAMS.reshape((2,) + (1,) * feature.ndim)
    word = feature.astype(jnp.uint32)
    for _ in range(2):
        word = word * jnp.uint32(0x9E3779B1) + streams
        word ^= word >> 16
        word *= jnp.uint32(0x85EBCA6B)
        word ^= word >> 13
        word *= jnp.uint32(0xC2B2AE35)
        word ^= word >> 16
    return word


@partial(jax.jit, static_argnames="looks")
def layout_words(level: Level, looks: bool = False) -> jax.Array:
    """The layout's hash as two words: the sum of a pseudo-random number for each feature.

    Args:
      level: one level; `vmap` for a batch.
      looks: include the themes of ground, agent, crates and enemies, and the background, but
        not its shift, which hardly any two levels share. Static.

    Returns:
      uint32 [2], the lower half first.
    """
    code = level.grid.reshape(-1).astype(jnp.int32)
    cell = _CELL_FEATURES + 128 * jnp.arange(_NUM_CELLS, dtype=jnp.int32) + code
    total = jnp.where(code != Cell.EMPTY, _mix(cell), 0).sum(1, dtype=jnp.uint32)

    # Duplicates in a cell count once; of crates, the one created last is visible.
    kind = level.entity_type.astype(jnp.int32)
    column, row = level.entity_xy.astype(jnp.int32).T
    entity = (row * WORLD_SIZE + column) * 64 + kind * 2 + (level.entity_vx > 0)
    slot = jnp.arange(MAX_ENTITIES, dtype=jnp.int32)
    made_again = ((entity[:, None] == entity) & (slot[:, None] < slot)).any(1)
    words = _mix(_ENTITY_FEATURES + entity)
    if looks:
        words = _mix(words[0] + level.entity_theme.astype(jnp.uint32))
    total += jnp.where((kind != Entity.NONE) & ~made_again, words, 0).sum(1, dtype=jnp.uint32)

    start = jax.lax.bitcast_convert_type(level.start_xy, jnp.uint32)
    numbers = [start[0], start[1], *level.end_cell]
    if looks:
        numbers += [level.wall_theme, level.agent_theme, level.background_index]
    for number, value in enumerate(numbers):
        total += _mix(_mix(jnp.uint32(_LEVEL_FEATURES + number))[0] + value.astype(jnp.uint32))
    return total


def layout_hash(levels: Level, looks: bool = False) -> np.ndarray:
    """Hashes of layouts, equal for equal layouts on every machine.

    Args:
      levels: one concrete `Level`, or a batch with a leading axis.
      looks: include the looks, see `layout_words`.

    Returns:
      uint64 [], or [N] for a batch. The probability that any two of 10^5 different layouts share
      a hash is 3e-10.

    Raises:
      ValueError: for anything but levels, as in `levels.require_levels`.
    """
    require_levels(levels)
    words = partial(layout_words, looks=looks)
    return join(np.asarray(words(levels) if levels.grid.ndim == 2 else jax.vmap(words)(levels)))


def join(words: np.ndarray) -> np.ndarray:
    """Hashes uint64 [...] from their words [..., 2], as from `layout_words`."""
    low, high = words[..., 0].astype(np.uint64), words[..., 1].astype(np.uint64)
    return low | (high << np.uint64(32))
