"""Compares every pixel of the real C++ game with ours, in all of Procgen's drawing modes.

    python -m examples.procgen_frames --procgen PYTHON --episodes 8 --csv FILE

PYTHON is any Python interpreter that has procgen 0.10.7. Both games play levels drawn at random
from all 2^31 - 1, in hard and easy mode, with every combination of `procgen_game.OPTIONS`. Half of
the episodes take uniformly random actions; in the other half the agent mostly runs and jumps to the
right, and so gets further. All frames of an episode are compared until it ends, or for --steps.

Exit status: 0 if all frames are equal, 1 if not; otherwise as in `coinrun_jax.cli`.
"""

from __future__ import annotations

import itertools
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.cli import Parser, add_force, command, integer, require_outputs
from coinrun_jax.coinrun.env import CoinRun
from coinrun_jax.coinrun.generator import MODES, generate_levels
from coinrun_jax.coinrun.observations.procgen import pictures
from coinrun_jax.coinrun.params import EnvParams
from coinrun_jax.coinrun.types import NUM_ACTIONS, TIME_LIMIT, Action, EnvState
from coinrun_jax.compilation import enable_compilation_cache
from coinrun_jax.files import write_rows
from examples.procgen_game import OPTIONS, RealGame, look_of

COLUMNS = ("mode", *OPTIONS, "episodes", "frames", "frames_differ", "pixels_differ")
NUM_SEEDS = 2**31 - 1  # values that Procgen accepts as `start_level`
MOST_EPISODES = 1000

_RIGHT = (Action.RIGHT, Action.RIGHT_UP)


class Setting(NamedTuple):
    """How both games draw."""

    mode: str
    options: tuple[str, ...]


def settings() -> Iterator[Setting]:
    """All settings."""
    for mode in MODES:
        for flags in itertools.product((False, True), repeat=len(OPTIONS)):
            yield Setting(mode, tuple(itertools.compress(OPTIONS, flags)))


def draw_actions(random: np.random.Generator, steps: int, to_the_right: bool) -> list[int]:
    """Random actions, or mostly those to the right, each held for a few steps."""
    if not to_the_right:
        return random.integers(0, NUM_ACTIONS, steps).tolist()
    chosen: list[int] = []
    while len(chosen) < steps:
        other = random.random() < 0.15
        action = int(random.integers(0, NUM_ACTIONS) if other else random.choice(_RIGHT))
        chosen += [action] * int(random.integers(1, 8))
    return chosen[:steps]


class OurGame:
    """Our game, on levels of one mode, one step at a time."""

    def __init__(self, seeds: np.ndarray, mode: str) -> None:
        levels = generate_levels(seeds.astype(np.uint32), mode)
        self._env = CoinRun(mode, "procgen")
        self.params = EnvParams.on_levels(levels).replace(art=pictures.load())
        self._start = jax.jit(self._env.reset_to_level)
        self._step = jax.jit(self._one_step)

    def start(self, index: int, params: EnvParams) -> tuple[np.ndarray, EnvState]:
        """First frame and state."""
        frame, state = self._start(jax.random.key(0), jnp.int32(index), params)
        return np.asarray(frame), state

    def step(
        self, state: EnvState, action: int, params: EnvParams
    ) -> tuple[np.ndarray, EnvState, bool]:
        """Frame, state, whether the episode is over."""
        frame, state, over = self._step(state, np.int32(action), params)
        return np.asarray(frame), state, bool(over)

    def _one_step(
        self, state: EnvState, action: jax.Array, params: EnvParams
    ) -> tuple[jax.Array, EnvState, jax.Array]:
        frame, state, _, terminated, _ = self._env.step_env(
            jax.random.key(0), state, action, params
        )
        return frame, state, terminated | self._env.is_truncated(state, params)


class Episode(NamedTuple):
    """An episode to play."""

    index: int  # of its level among ours
    seed: int
    actions: list[int]


def compare(
    ours: OurGame, params: EnvParams, real: RealGame, episode: Episode
) -> tuple[int, int, int]:
    """(frames, frames that differ, pixels that differ); where only one game ends, every pixel of
    the frame counts as different.
    """
    theirs = real.start(episode.seed)
    frame, state = ours.start(episode.index, params)
    differing = [int((frame != theirs).any(-1).sum())]
    for action in episode.actions:
        frame, state, over = ours.step(state, action, params)
        theirs, _, their_end = real.step(action)
        if over and their_end:
            break  # their frame is the next episode's
        differs = (frame != theirs).any(-1)
        differing.append(differs.size if over or their_end else int(differs.sum()))
        if over or their_end:
            break
    return len(differing), sum(each > 0 for each in differing), sum(differing)


def _arguments(arguments: list[str] | None) -> Namespace:
    parser = Parser(prog="python -m examples.procgen_frames", description=__doc__)
    add = parser.add_argument
    add("--procgen", required=True, metavar="PYTHON", help="that has procgen")
    add(
        "--episodes",
        type=integer(1, MOST_EPISODES),
        default=8,
        metavar="N",
        help="of each of the 32 settings (default: 8)",
    )
    add("--steps", type=integer(1, TIME_LIMIT), default=100, metavar="N", help="default: 100")
    add("--seed", type=integer(0, 2**32 - 1), default=0, metavar="N", help="of levels and actions")
    add("--csv", type=Path, metavar="FILE", help="a row for every setting")
    add_force(parser)
    args = parser.parse_args(arguments)
    require_outputs(args.force, args.csv)
    return args


@command
def main(arguments: list[str] | None = None) -> int:
    """Play and compare; returns the exit status."""
    args = _arguments(arguments)
    enable_compilation_cache()
    every, random = list(settings()), np.random.default_rng(args.seed)
    seeds = random.integers(0, NUM_SEEDS, (len(every), args.episodes))
    rows: list[list[Any]] = []
    for mode in MODES:
        chosen = [number for number, each in enumerate(every) if each.mode == mode]
        ours = OurGame(seeds[chosen].reshape(-1), mode)
        for block, number in enumerate(chosen):
            options = every[number].options
            params = ours.params.replace(look=look_of(options))
            counts = np.zeros(3, int)
            with RealGame(args.procgen, mode, options) as real:
                for column, seed in enumerate(seeds[number].tolist()):
                    actions = draw_actions(random, args.steps, bool(column % 2))
                    episode = Episode(block * args.episodes + column, seed, actions)
                    counts += compare(ours, params, real, episode)
            flags = [option in options for option in OPTIONS]
            rows.append([mode, *map(int, flags), args.episodes, *counts.tolist()])
            print(f"{mode} {' '.join(options) or 'default'}: {counts[1]} of {counts[0]} differ")
    frames, differing, pixels = (sum(row[-part] for row in rows) for part in (3, 2, 1))
    print(f"{differing} of {frames} frames differ, in {pixels} pixels")
    if args.csv:
        write_rows(args.csv, COLUMNS, rows)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
