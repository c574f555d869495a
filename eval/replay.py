"""Play recorded episodes again, and see whether they come to what was recorded.

python -m eval.replay FILE

Levels are built from their seeds, the coin and the agent are put where they were, and the
recorded actions are pressed: neither the agent nor the run that it is from is needed. Exit
status 1 where an episode comes to another outcome, or to it in another step.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import coinrun_jax
from coinrun_jax import EnvParams, EnvState, Level
from coinrun_jax.cli import Parser, command
from coinrun_jax.coinrun.types import TIME_LIMIT
from coinrun_jax.compilation import enable_compilation_cache
from eval.levels import build_levels
from eval.outcomes import OUTCOMES, Record, classify, is_decided, start_record, update_record
from eval.trajectories import Trajectories, load_trajectories

if TYPE_CHECKING:
    from coinrun_jax import CoinRun

_LANES = 256  # episodes side by side
_SHOWN = 5  # differences that are printed


class _Script(NamedTuple):
    """What is played, leading axis B."""

    level: jax.Array  # int32, index into the pool
    coin_cell: jax.Array  # int32 [.., 2]
    coin_present: jax.Array  # bool
    start_xy: jax.Array  # float32 [.., 2]
    mirrored: jax.Array  # bool
    actions: jax.Array  # int32 [.., TIME_LIMIT]
    steps: jax.Array  # int32


def replay_trajectories(path: str | Path) -> list[str]:
    """Play every episode of a file again.

    Returns:
      a line for each episode that does not come to what was recorded.

    Raises:
      InputError: for a file that holds no trajectories.
    """
    return differences(load_trajectories(path))


def differences(recorded: Trajectories) -> list[str]:
    """A line for each episode that does not come to what was recorded."""
    outcome, steps = play(recorded)
    expected = recorded.outcomes[recorded.outcome]
    return [
        f"episode {episode} ({recorded.conditions[recorded.condition[episode]]}, level "
        f"{recorded.level_seed[episode]}): {outcome[episode]} in step {steps[episode]}, "
        f"recorded {expected[episode]} in step {recorded.steps[episode]}"
        for episode in np.flatnonzero((outcome != expected) | (steps != recorded.steps))
    ]


def play(recorded: Trajectories) -> tuple[np.ndarray, np.ndarray]:
    """Names of outcomes [E], "undecided" where there is none, and steps played, int [E]."""
    env = coinrun_jax.CoinRun()  # of either mode: what a mode changes is in the level
    levels, level = _levels_of(recorded)
    record = _play_all(env, EnvParams.on_levels(levels), recorded, level)
    decided = np.asarray(is_decided(record))
    over = jax.tree.map(lambda leaf: leaf[decided], record)
    outcome = np.full(recorded.steps.shape, "undecided", object)
    outcome[decided] = np.array(OUTCOMES, object)[classify(over, env.outcomes)[0]]
    return outcome.astype(str), np.asarray(record.steps)


def _levels_of(recorded: Trajectories) -> tuple[Level, np.ndarray]:
    """The levels that were played, each once, and the index of each episode's, int [E]."""
    modes = recorded.modes[recorded.condition]
    parts, level = [], np.zeros(modes.shape, int)
    count = 0
    for mode in np.unique(modes):
        own = modes == mode
        seeds, index = np.unique(recorded.level_seed[own], return_inverse=True)
        parts.append(build_levels(jnp.asarray(seeds), str(mode)))
        level[own] = count + index
        count += seeds.size
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts), level


def _play_all(env: CoinRun, params: EnvParams, recorded: Trajectories, level: np.ndarray) -> Record:
    """`_play` of every episode in batches; numpy [E]."""
    start = np.concatenate([[0], np.cumsum(recorded.steps, dtype=np.int64)])
    count = recorded.steps.size
    lanes = min(_LANES, count)
    by_length = np.argsort(recorded.steps, kind="stable")  # little waiting in a batch
    parts = []
    for first in range(0, count, lanes):
        # The last batch is filled up, so that all share a program, with what is cut off below.
        own = by_length[np.arange(first, first + lanes) % count]
        actions = np.zeros((lanes, TIME_LIMIT), np.int32)
        for row, episode in zip(actions, own, strict=True):
            row[: recorded.steps[episode]] = recorded.actions[start[episode] : start[episode + 1]]
        script = _Script(
            level=jnp.asarray(level[own], jnp.int32),
            coin_cell=jnp.asarray(recorded.coin_cell[own], jnp.int32),
            coin_present=jnp.asarray(recorded.coin_present[own]),
            start_xy=jnp.asarray(recorded.start_xy[own]),
            mirrored=jnp.asarray(recorded.mirrored[recorded.condition[own]]),
            actions=jnp.asarray(actions),
            steps=jnp.asarray(recorded.steps[own], jnp.int32),
        )
        parts.append(jax.device_get(_play(env, params, script)))
    played = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)
    return jax.tree.map(lambda leaf: leaf[np.argsort(by_length)], played)


@partial(jax.jit, static_argnames="env")
def _play(env: CoinRun, params: EnvParams, script: _Script) -> Record:
    """Records of B episodes, each up to its outcome or the last of its actions."""
    key = jax.random.key(0)  # of a coin that is put elsewhere

    def start(script: _Script) -> EnvState:
        _, state = env.reset_to_level(key, script.level, params)
        return state.replace(
            x=script.start_xy[0],
            y=script.start_xy[1],
            coin_cell=script.coin_cell,
            coin_present=script.coin_present,
            ghost_cell=jnp.where(script.coin_present, state.ghost_cell, script.coin_cell),
        )

    def step(script: _Script, state: EnvState, record: Record) -> tuple[EnvState, Record]:
        over = is_decided(record) | (record.steps >= script.steps)
        seen = params.replace(cues=params.cues.replace(mirrored=script.mirrored))
        action = script.actions[record.steps]
        _, new, reward, _, info = env.step_env(key, state, action, seen)
        moved = new, update_record(record, new, reward, info)
        return jax.tree.map(partial(jnp.where, over), (state, record), moved)

    def body(_: jax.Array, now: tuple[EnvState, Record]) -> tuple[EnvState, Record]:
        return jax.vmap(step)(script, *now)

    states = jax.vmap(start)(script)
    begun = states, jax.vmap(start_record)(states)
    return jax.lax.fori_loop(0, script.steps.max(), body, begun)[1]


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; 1 if an episode differs, else see `coinrun_jax.cli`."""
    parser = Parser(prog="python -m eval.replay", description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE", help="trajectories.npz")
    recorded = load_trajectories(parser.parse_args(arguments).file)
    enable_compilation_cache()
    differing = differences(recorded)
    for line in differing[:_SHOWN]:
        print(line)
    count = recorded.steps.size
    print(f"{count - len(differing):,} of {count:,} episodes come to what was recorded")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
