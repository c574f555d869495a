"""Which held-out levels each condition is played on.

No training run draws from the held-out seeds, and they are the same for all runs and seeds:
a set of levels is the first N held-out seeds whose level belongs to it. Short levels recur, so
that many a held-out seed builds the layout of a training level; those can be left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import coinrun_jax
from coinrun_jax import Level
from coinrun_jax.checks import InputError
from coinrun_jax.overlap import hash_seeds
from eval.suites import LevelSet, Suite

_CHUNK = 4096  # seeds looked at in one call
_DEVIATIONS = 6
"""By so many the number of held-out levels of a kind does not exceed what is expected."""


def require_enough(sets: Iterable[LevelSet], count: int) -> None:
    """Refuse level sets that hardly any level belongs to, without building one.

    Raises:
      InputError: where there are certainly not `count` held-out levels of a kind.
    """
    number = len(coinrun_jax.TEST_LEVELS)
    for level_set in sets:
        expected = number * level_set.share
        if count > expected + _DEVIATIONS * (np.sqrt(expected) + 1):
            raise InputError(
                f"{count:,} levels are wanted, and of {number:,} held-out ones about "
                f"{expected:,.0f} are {level_set}"
            )


def choose_levels(
    suite: Suite, mode: str, count: int, unseen_by: int = 0
) -> tuple[Level, np.ndarray]:
    """The levels of a suite, each once, and which of them each condition is played on.

    Args:
      mode: of the levels, where a condition does not say.
      count: levels for each condition.
      unseen_by: leave out levels with the layout of one of the level seeds 0 ... unseen_by - 1.

    Returns:
      `Level` with a leading axis, and int32 [C, count], indices into it.

    Raises:
      InputError: where fewer than `count` of the held-out levels belong to a set.
    """
    sets = [condition.levels for condition in suite.conditions]
    require_enough(sets, count)
    modes = {level_set: level_set.mode or mode for level_set in dict.fromkeys(sets)}
    seen = {each: hash_seeds(range(unseen_by), each) for each in set(modes.values()) if unseen_by}
    seeds = {s: _seeds_of(s, of, count, seen.get(of)) for s, of in modes.items()}
    every = sorted({(modes[s], int(seed)) for s, own in seeds.items() for seed in own})
    place = {level: index for index, level in enumerate(every)}
    index = [[place[modes[s], int(seed)] for seed in seeds[s]] for s in sets]
    parts = [
        build_levels(np.array([seed for of, seed in every if of == each], np.uint32), each)
        for each in dict.fromkeys(of for of, _ in every)
    ]
    levels = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    return levels, np.array(index, np.int32)


@partial(jax.jit, static_argnames="mode")
def build_levels(seeds: jax.Array, mode: str) -> Level:
    """`Level` with a leading axis, of uint32 seeds."""
    return jax.vmap(partial(coinrun_jax.generate_level, mode=mode))(seeds)


def _seeds_of(level_set: LevelSet, mode: str, count: int, seen: np.ndarray | None) -> Sequence[int]:
    """The first `count` that belong to the set and whose layout's hash is not in `seen`."""
    held_out = coinrun_jax.TEST_LEVELS
    if seen is None and level_set in (LevelSet(), LevelSet(mode=level_set.mode)):
        return held_out[:count]
    found: list[int] = []
    # For who waits at a terminal; in a log there is nothing of it.
    with tqdm(total=count, desc=str(level_set), leave=False, delay=2, disable=None) as bar:
        for start in range(0, len(held_out), _CHUNK):
            seeds = np.array(held_out[start : start + _CHUNK], np.uint32)
            padded = np.pad(seeds, (0, _CHUNK - seeds.size), mode="edge")  # one size, one program
            level = jax.device_get(build_levels(padded, mode))
            belongs = _belongs(level, level_set)[: seeds.size]
            if seen is not None:
                belongs &= ~np.isin(hash_seeds(held_out[start : start + _CHUNK], mode), seen)
            found += seeds[belongs].tolist()
            if len(found) >= count:
                return found[:count]
            bar.update(int(belongs.sum()))
    new = "" if seen is None else ", with a new layout"
    raise InputError(
        f"{count:,} levels are wanted, and of {len(held_out):,} held-out ones {len(found):,} are "
        f"{level_set}{new}"
    )


def _belongs(level: Level, level_set: LevelSet) -> np.ndarray:
    """Bool [n]."""
    belongs = np.asarray(level.end_cell[:, 0] >= level_set.min_length)
    if level_set.difficulty is not None:
        belongs &= level.difficulty == level_set.difficulty
    if level_set.sections is not None:
        belongs &= level.num_sections == level_set.sections
    return belongs
