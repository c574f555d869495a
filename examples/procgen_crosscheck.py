"""A policy trained here plays the real C++ game, in lockstep with ours.

    python -m examples.procgen_crosscheck --procgen PYTHON --policy FOLDER --levels A:B

PYTHON is any Python interpreter that has procgen 0.10.7, FOLDER a run directory or another folder
with a policy. Both games start each level, get the same greedy actions, and must agree in
every pixel, reward and end until the episode is over. A policy that was trained on
`observation: procgen` is asked twice, for the real game's frame and for ours, and must give
the same action; other policies get their own observation of our state. The first frame after an
episode, of the same level again, is compared too.

With --picture a PNG file shows frames of the first levels: the real game's in the upper row,
ours in the middle, and the same moments in our own art below. It contains Procgen's art: look at
it, but do not redistribute it without that art's licences.

--options draws both games with some of Procgen's options. The protocol of the other process is
in `procgen_game`.

Exit status: 0 if everything agrees, 1 if not; otherwise as in `coinrun_jax.cli`.
"""

from __future__ import annotations

import dataclasses
import sys
from argparse import Namespace
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.checks import InputError
from coinrun_jax.cli import Parser, add_force, command, require_outputs, seed_range
from coinrun_jax.coinrun.env import CoinRun
from coinrun_jax.coinrun.generator import MODES
from coinrun_jax.coinrun.observations.png import write_png
from coinrun_jax.coinrun.params import EnvParams
from coinrun_jax.coinrun.types import TIME_LIMIT, Cause, EnvState
from coinrun_jax.compilation import enable_compilation_cache
from coinrun_jax.files import write_rows
from examples.procgen_game import FRAME, OPTIONS, RealGame, look_of
from train.policy import Policy, load_policy

MOST_LEVELS = 10_000
SHOWN_LEVELS, SHOWN_STEP = 8, 20  # of --picture
COLUMNS = ("level_seed", "steps", "outcome", "return", "frames_differ", "first_difference")


@dataclasses.dataclass(frozen=True)
class Ours:
    """Our game and the policy, compiled."""

    env: CoinRun
    params: EnvParams
    policy: Policy

    @property
    def sees_frames(self) -> bool:
        """Whether the policy plays from Procgen's pixels."""
        return self.policy.config.env.observation == "procgen"

    @partial(jax.jit, static_argnums=0)
    def start(self, index: jax.Array, params: EnvParams) -> tuple[jax.Array, EnvState]:
        """Frame and state at the start of a level."""
        return self.env.reset_to_level(jax.random.key(0), index, params)

    @partial(jax.jit, static_argnums=0)
    def step(
        self, state: EnvState, action: jax.Array, params: EnvParams
    ) -> tuple[jax.Array, EnvState, jax.Array, jax.Array]:
        """Frame, state, reward, whether the episode is over."""
        frame, state, reward, terminated, _ = self.env.step_env(
            jax.random.key(0), state, action, params
        )
        return frame, state, reward, terminated | self.env.is_truncated(state, params)

    @partial(jax.jit, static_argnums=0)
    def see(self, state: EnvState, params: EnvParams) -> jax.Array:
        """The policy's observation of our state."""
        env = CoinRun(mode=self.env.mode, observation=self.policy.config.env.observation)
        return env.observe(jax.random.key(0), state, None, params)

    @partial(jax.jit, static_argnums=0)
    def decide(self, observation: jax.Array) -> jax.Array:
        """The greedy action."""
        logits, _ = self.policy.apply(observation[None])
        return jnp.argmax(logits[0]).astype(jnp.int32)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


Moment = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Frames of the real game, of ours, and of ours in its own art; uint8 [64, 64, 3]."""


def play(ours: Ours, real: RealGame, index: int, seed: int) -> tuple[dict[str, Any], Moment]:
    """One episode in both games: a row of COLUMNS, and a moment of it."""
    params = ours.params
    frame, state = ours.start(index, params)
    first = np.asarray(frame)
    theirs = real.start(seed)
    differ, where, total = 0, "", 0.0
    for step in range(TIME_LIMIT + 1):
        found = []
        if not np.array_equal(theirs, np.asarray(frame)):
            differ += 1
            found.append("frame")
        observation = frame if ours.sees_frames else ours.see(state, params)
        action = int(ours.decide(observation))
        if ours.sees_frames and int(ours.decide(jnp.asarray(theirs))) != action:
            found.append("action")
        if step <= SHOWN_STEP:
            moment = theirs, np.asarray(frame), state
        frame, state, reward, over = ours.step(state, action, params)
        theirs, their_reward, their_end = real.step(action)
        total += float(reward)
        if float(reward) != their_reward:
            found.append("reward")
        if bool(over) != their_end:
            found.append("end")
        if found and not where:
            where = f"{'+'.join(found)} of step {step}"
        if bool(over) or their_end:
            break
    if not np.array_equal(theirs, first):
        differ += 1
        where = where or "first frame of the next episode"
    outcome = Cause(int(state.cause)).name.lower()
    row = (seed, int(state.time), outcome, total, differ, where)
    shown_theirs, shown_ours, state = moment
    own = np.asarray(ours.env.render(state, params, FRAME[0], art="own"))
    return dict(zip(COLUMNS, row, strict=True)), (shown_theirs, shown_ours, own)


def _arguments(arguments: list[str] | None) -> Namespace:
    parser = Parser(prog="python -m examples.procgen_crosscheck", description=__doc__)
    parser.add_argument("--procgen", required=True, metavar="PYTHON", help="that has procgen")
    parser.add_argument("--policy", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--levels", type=seed_range, default=range(200), metavar="A:B")
    parser.add_argument("--mode", choices=MODES, default="hard")
    parser.add_argument("--options", nargs="+", choices=OPTIONS, default=[], help="of drawing")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="a row for every episode")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="a PNG of some frames")
    add_force(parser)
    args = parser.parse_args(arguments)
    if len(args.levels) > MOST_LEVELS:
        raise InputError(f"--levels has {len(args.levels):,} levels; at most {MOST_LEVELS:,}")
    require_outputs(args.force, args.csv, args.picture)
    return args


@command
def main(arguments: list[str] | None = None) -> int:
    """Play all levels in both games; returns the exit status."""
    args = _arguments(arguments)
    enable_compilation_cache()
    env = CoinRun(
        mode=args.mode,
        observation="procgen",
        num_levels=len(args.levels),
        start_level=args.levels.start,
        pool_size=len(args.levels),
    )
    params = env.default_params.replace(look=look_of(args.options))
    ours = Ours(env, params, load_policy(args.policy))
    rows, moments = [], []
    with RealGame(args.procgen, args.mode, args.options) as real:
        for index, seed in enumerate(args.levels):
            row, moment = play(ours, real, index, seed)
            rows.append(row)
            moments.append(moment)
            if row["first_difference"]:
                print(f"level {seed}: {row['first_difference']}", flush=True)
            if sys.stderr.isatty():
                print(f"\r{index + 1} of {len(args.levels)}", end="", file=sys.stderr)
    equal = sum(not row["first_difference"] for row in rows)
    steps = sum(row["steps"] for row in rows)
    outcomes = Counter(row["outcome"] for row in rows)
    ends = ", ".join(f"{name} {number}" for name, number in outcomes.most_common())
    print(f"{equal} of {len(rows)} episodes equal at every one of {steps} steps ({ends})")
    if args.csv:
        write_rows(args.csv, COLUMNS, [list(row.values()) for row in rows])
    if args.picture:
        columns = [np.concatenate(moment) for moment in moments[:SHOWN_LEVELS]]
        image = np.concatenate(columns, axis=1).repeat(3, axis=0).repeat(3, axis=1)
        write_png(args.picture, image)
    return 0 if equal == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
