"""Replay recorded episodes, and compare their outcomes with the recorded ones.

python -m eval.replay FILE [--plugins MODULE ...]

Levels are built from their seeds, starts are restored, and the recorded actions are taken: neither
the agent nor its run is needed. The exit status is 1 if an episode's outcome, or the step that
decides it, differs.
"""

from __future__ import annotations

import sys
from functools import reduce
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.arena import Arena
from coinrun_jax.checks import InputError, one_line
from coinrun_jax.cli import Parser, command
from coinrun_jax.compilation import enable_compilation_cache
from coinrun_jax.record import Record, Trace, classify, is_decided
from coinrun_jax.registry import import_plugins
from eval.export.trajectories import Trajectories, load_trajectories

_LANES = 256  # episodes side by side
_EPISODES = 4096  # in one program
_SHOWN = 5  # differences that are printed


def replay_trajectories(path: str | Path) -> list[str]:
    """Replay every episode of a file.

    Returns:
      A line for each episode that differs from the recording.

    Raises:
      InputError: for a file that holds no trajectories.
    """
    return differences(load_trajectories(path))


def differences(recorded: Trajectories) -> list[str]:
    """A line for each episode that differs from the recording."""
    outcome, steps = play(recorded)
    expected = recorded.outcomes[recorded.outcome]
    return [
        f"episode {episode} ({recorded.conditions[recorded.condition[episode]]}, level "
        f"{recorded.level_seed[episode]}): {outcome[episode]} in step {steps[episode]}, "
        f"recorded {expected[episode]} in step {recorded.steps[episode]}"
        for episode in np.flatnonzero((outcome != expected) | (steps != recorded.steps))
    ]


def play(recorded: Trajectories) -> tuple[np.ndarray, np.ndarray]:
    """Names of outcomes [E], "undecided" if there is none, and steps played, int [E].

    Raises:
      InputError: for levels or starts that the environment does not have.
    """
    try:
        arena, level = _arena(recorded)
    except ValueError as error:
        raise InputError(f"the levels cannot be built: {one_line(error)}") from error
    _require_starts(arena, recorded)
    record = _play_all(arena, recorded, level)
    decides = arena.decides[recorded.condition]
    decided = np.asarray(is_decided(record, decides))
    over = jax.tree.map(lambda leaf: leaf[decided], record)
    names = np.array([each.name for each in recorded.testbed.outcomes], object)
    outcome = np.full(recorded.steps.shape, "undecided", object)
    outcome[decided] = names[classify(recorded.testbed, arena.env, over, decides[decided])[0]]
    return outcome.astype(str), np.asarray(record.steps)


def _arena(recorded: Trajectories) -> tuple[Arena, np.ndarray]:
    """An arena of all levels played, each once, and the index of each episode's, int [E]."""
    testbed, settings = recorded.testbed, recorded.settings
    kinds = recorded.kinds[recorded.condition]
    parts, seeds, level = [], np.zeros(0, np.uint32), np.zeros(kinds.shape, int)
    for kind in np.unique(kinds):
        own = kinds == kind
        found, index = np.unique(recorded.level_seed[own], return_inverse=True)
        level[own] = seeds.size + index
        parts.append(testbed.build_levels(found, str(kind)))
        seeds = np.concatenate([seeds, found])
    env = testbed.evaluation_env(settings)
    levels = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    params = testbed.evaluation_params(env, levels)
    conditions = recorded.suite_conditions()
    every = np.arange(seeds.size, dtype=np.int32)
    arena = Arena(
        testbed=testbed,
        env=env,
        params=params,
        conditions=conditions,
        overrides=[_overrides(params, recorded, number) for number in range(len(conditions))],
        level_seeds=seeds,
        level_index=np.tile(every, (len(conditions), 1)),
        controllers={},
        key=jax.random.key(0),
        lanes=min(_LANES, recorded.steps.size),
    )
    return arena, level


def _overrides(params: Any, recorded: Trajectories, condition: int) -> dict[str, Any]:
    """Fields of params, with the recorded values that a condition's steps depend on."""
    found: dict[str, Any] = {}
    for field, values in recorded.step.items():
        first, *rest = field.split(".")
        found[first] = _replaced(found.get(first, getattr(params, first)), rest, values[condition])
    return found


def _replaced(tree: Any, path: list[str], value: np.ndarray) -> Any:
    """A tree with the leaf at a path of fields replaced."""
    if not path:
        return value.astype(np.asarray(tree).dtype)
    first, *rest = path
    return tree.replace(**{first: _replaced(getattr(tree, first), rest, value)})


def _require_starts(arena: Arena, recorded: Trajectories) -> None:
    """Refuse recorded fields that do not fit the state or the params.

    Raises:
      InputError: for the first such field.
    """
    state = jax.eval_shape(arena.env.start, arena.key, jnp.int32(0), arena.params)
    for name, values in recorded.start.items():
        wanted = getattr(state, name)
        if values.shape[1:] != wanted.shape or not np.can_cast(
            values.dtype, wanted.dtype, "same_kind"
        ):
            raise InputError(
                f"array 'start_{name}' is {values.dtype} {list(values.shape)}, which is no "
                f"{wanted.dtype} {list(wanted.shape)} for each episode"
            )
    for name, values in recorded.step.items():
        wanted = reduce(getattr, name.split("."), arena.params)
        if values.shape[1:] != np.shape(wanted):
            raise InputError(f"array 'step_{name}' has shape {list(values.shape)}")


def _play_all(arena: Arena, recorded: Trajectories, level: np.ndarray) -> Record:
    """Every episode, in batches of one size; numpy [E]."""
    begin = np.cumsum(recorded.steps, dtype=np.int64) - recorded.steps
    count, longest = recorded.steps.size, int(recorded.steps.max())
    size = min(_EPISODES, count)
    parts = []
    for first in range(0, count, size):
        # The last batch is padded, so that all share a program; the padding is cut off below.
        own = np.arange(first, first + size) % count
        actions = np.full((size, longest), -1, np.int8)
        for row, episode in zip(actions, own, strict=True):
            steps = recorded.steps[episode]
            row[:steps] = recorded.actions[begin[episode] :][:steps]
        episodes = np.stack([recorded.condition[own], level[own], np.zeros(size, int)])
        start = {name: jnp.asarray(values[own]) for name, values in recorded.start.items()}
        parts.append(arena.play_recorded(episodes, Trace(start, jnp.asarray(actions))))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; 1 if an episode differs, else see `coinrun_jax.cli`."""
    parser = Parser(prog="python -m eval.replay", description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE", help="trajectories.npz")
    parser.add_argument(
        "--plugins",
        nargs="+",
        default=[],
        metavar="MODULE",
        help="modules to import first, such as one that registers the testbed",
    )
    known = parser.parse_args(arguments)
    import_plugins(known.plugins)
    recorded = load_trajectories(known.file)
    enable_compilation_cache()
    differing = differences(recorded)
    for line in differing[:_SHOWN]:
        print(line)
    count = recorded.steps.size
    print(f"{count - len(differing):,} of {count:,} episodes replay as recorded")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
