"""Sets of held-out levels: by mode, difficulty, number of sections, length.

No training run draws from the held-out seeds, and they are the same for all runs and seeds: a
set of N levels is the first N held-out seeds whose level belongs to it. Short levels recur, so
many held-out seeds build the layout of a training level; those can be left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.checks import InputError, choice, whole
from coinrun_jax.coinrun.generator import FIRST_SECTION_X, MODES, generate_levels
from coinrun_jax.coinrun.types import MAX_SECTIONS, TEST_LEVELS, WORLD_SIZE, Level
from coinrun_jax.overlap import hash_seeds

DIFFICULTIES = (1, 2, 3)
_CHUNK = 4096  # seeds examined per call
_DEVIATIONS = 6
"""Standard deviations by which the number of held-out levels of a kind may exceed its mean."""


@dataclass(frozen=True)
class LevelSet:
    """Which of the held-out levels; by default all of them.

    Raises:
      InputError: if no level can belong to it.
    """

    mode: str | None = None
    """hard or easy; None for the mode that the agent was trained in."""
    difficulty: int | None = None
    sections: int | None = None
    min_length: int = 0
    """Lowest column in which the level may end."""

    def __post_init__(self) -> None:
        if self.mode is not None:
            choice("mode", self.mode, MODES)
        if self.difficulty is not None:
            whole("difficulty", self.difficulty, DIFFICULTIES[0], DIFFICULTIES[-1])
        if self.sections is not None:
            whole("sections", self.sections, 1, MAX_SECTIONS)
        whole("min_length", self.min_length, 0, WORLD_SIZE - 1)
        furthest = [first + len(chances) - 1 for first, chances in self._ends()]
        if not furthest:
            raise InputError(
                f"no level of difficulty {self.difficulty} has {self.sections} sections"
            )
        if self.min_length > max(furthest):
            raise InputError(
                f"min_length {self.min_length} is beyond the end of every such level; the furthest "
                f"lies in column {max(furthest)}"
            )

    def _ends(self) -> Iterator[tuple[int, np.ndarray]]:
        """Where levels of the set end, ignoring `min_length`: a first column, and the
        probabilities of it and of those to its right. Follows `coinrun_jax.coinrun.generator`.
        """
        for difficulty in DIFFICULTIES:
            width = np.full(2 * difficulty, 1 / (2 * difficulty))  # of a section, beyond the least
            least = 3 + difficulty // 3
            for sections in range(difficulty, 2 * difficulty):
                if self.difficulty in (None, difficulty) and self.sections in (None, sections):
                    chances = np.ones(1) / len(DIFFICULTIES) / difficulty
                    for _ in range(sections):
                        chances = np.convolve(chances, width)
                    yield FIRST_SECTION_X + sections * least, chances

    def __str__(self) -> str:
        words = [self.mode] if self.mode else []
        words += [f"of difficulty {self.difficulty}"] if self.difficulty else []
        words += [f"of {self.sections} sections"] if self.sections else []
        words += [f"with the end in column {self.min_length} or later"] if self.min_length else []
        return ", ".join(words) or "any"

    @property
    def share(self) -> float:
        """Expected share of all levels that belong to it."""
        return sum(
            float(chances[max(0, self.min_length - first) :].sum())
            for first, chances in self._ends()
        )


def require_enough(sets: Iterable[LevelSet], count: int) -> None:
    """Refuse level sets that are too small, without building a level.

    Raises:
      InputError: if there are certainly fewer than `count` held-out levels of a kind.
    """
    number = len(TEST_LEVELS)
    for level_set in sets:
        expected = number * level_set.share
        if count > min(number, expected + _DEVIATIONS * (np.sqrt(expected) + 1)):
            raise InputError(
                f"{count:,} levels were requested, but only about {expected:,.0f} of the "
                f"{number:,} held-out ones are {level_set}"
            )


def choose(
    sets: Sequence[LevelSet], mode: str, count: int, unlike: int = 0
) -> tuple[Level, np.ndarray, np.ndarray]:
    """The levels of C sets, each once, and which of them belong to each set.

    Args:
      mode: of the levels, for sets without one.
      count: levels of each set.
      unlike: leave out levels with the layout of one of the level seeds 0 ... unlike - 1.

    Returns:
      `Level` [L], their seeds uint32 [L], and int32 [C, count], indices into them.

    Raises:
      InputError: if fewer than `count` held-out levels belong to a set.
    """
    require_enough(sets, count)
    modes = {level_set: level_set.mode or mode for level_set in dict.fromkeys(sets)}
    seen = {each: hash_seeds(range(unlike), each) for each in set(modes.values()) if unlike}
    seeds = {s: _seeds_of(s, of, count, seen.get(of)) for s, of in modes.items()}
    every = sorted({(modes[s], int(seed)) for s, own in seeds.items() for seed in own})
    place = {level: index for index, level in enumerate(every)}
    index = [[place[modes[s], int(seed)] for seed in seeds[s]] for s in sets]
    parts = [
        generate_levels(np.array([seed for of, seed in every if of == each], np.uint32), each)
        for each in dict.fromkeys(of for of, _ in every)
    ]
    levels = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    return levels, np.array([seed for _, seed in every], np.uint32), np.array(index, np.int32)


def _seeds_of(level_set: LevelSet, mode: str, count: int, seen: np.ndarray | None) -> Sequence[int]:
    """The first `count` seeds that belong to the set and whose layout hash is not in `seen`."""
    if seen is None and level_set in (LevelSet(), LevelSet(mode=level_set.mode)):
        return TEST_LEVELS[:count]
    found: list[int] = []
    for start in range(0, len(TEST_LEVELS), _CHUNK):
        seeds = np.array(TEST_LEVELS[start : start + _CHUNK], np.uint32)
        belongs = _belongs(jax.device_get(generate_levels(seeds, mode)), level_set)
        if seen is not None:
            belongs &= ~np.isin(hash_seeds(TEST_LEVELS[start : start + _CHUNK], mode), seen)
        found += seeds[belongs].tolist()
        if len(found) >= count:
            return found[:count]
    new = "" if seen is None else ", with a new layout"
    raise InputError(
        f"{count:,} levels were requested, but only {len(found):,} of the {len(TEST_LEVELS):,} "
        f"held-out ones are {level_set}{new}"
    )


def _belongs(level: Level, level_set: LevelSet) -> np.ndarray:
    """Bool [n]."""
    belongs = np.asarray(level.end_cell[:, 0] >= level_set.min_length)
    if level_set.difficulty is not None:
        belongs &= level.difficulty == level_set.difficulty
    if level_set.sections is not None:
        belongs &= level.num_sections == level_set.sections
    return belongs
