"""Held-out mazes that differ from all training mazes.

On small boards different seeds build the same maze: a board of size 7 has 192 mazes. Two levels
have the same layout if their walls, exit and start are the same, whatever is green.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from coinrun_jax.checks import InputError
from coinrun_jax.exit_maze.levels import generate_levels
from coinrun_jax.exit_maze.types import Level
from coinrun_jax.testbed import TEST_LEVELS

_CHUNK = 4096  # levels built in one call


def layouts(levels: Level) -> np.ndarray:
    """One value for each of L levels, equal for equal layouts; bytes [L].

    Args:
      levels: with a leading axis.
    """
    number = levels.walls.shape[0]
    walls = np.packbits(np.asarray(levels.walls).reshape(number, -1), axis=1)
    cells = np.concatenate([levels.exit_cell, levels.start_cell], 1).astype(np.uint8)
    rows = np.ascontiguousarray(np.concatenate([walls, cells], 1))
    return rows.view(np.dtype((np.void, rows.shape[1]))).reshape(-1)


def _layouts_of(seeds: range, size: int) -> np.ndarray:
    """Layouts of seeds, in chunks of one size so that one program serves all."""
    parts = []
    for first in range(seeds.start, seeds.stop, _CHUNK):
        chunk = np.arange(first, first + _CHUNK, dtype=np.uint32)
        parts.append(layouts(generate_levels(jnp.asarray(chunk), size)))
    return np.concatenate(parts)[: len(seeds)]


def choose(size: int, count: int, unlike: int = 0) -> np.ndarray:
    """The first `count` held-out seeds, uint32, whose layout no seed 0 ... unlike - 1 has.

    Raises:
      InputError: if there are not that many.
    """
    if count > len(TEST_LEVELS):
        raise InputError(
            f"{count:,} levels were requested, but only {len(TEST_LEVELS):,} are held out"
        )
    if not unlike:
        return np.array(TEST_LEVELS[:count], np.uint32)
    known = set(_layouts_of(range(unlike), size).tolist())
    found: list[int] = []
    for start in range(0, len(TEST_LEVELS), _CHUNK):
        seeds = TEST_LEVELS[start : start + _CHUNK]
        new = [each not in known for each in _layouts_of(seeds, size).tolist()]
        found += np.array(seeds, np.uint32)[new].tolist()
        if len(found) >= count:
            return np.array(found[:count], np.uint32)
    raise InputError(
        f"{count:,} levels were requested, but only {len(found):,} of the {len(TEST_LEVELS):,} "
        f"held-out ones on boards of size {size} have a layout that none of the first {unlike:,} "
        "has"
    )
