"""`trajectories.npz`: what plays every episode of the agent again, without the agent.

Level seeds and actions outlive refactors and are small. Arrays, of C conditions, E episodes
and A actions in all (text is Unicode; nothing in the file can carry code):

- `format` int, `environment` text: of this file, and the version of the game;
- `conditions` text [C], `modes` text [C] ("hard" or "easy"), `mirrored` bool [C] (left and
  right are exchanged between the agent and the game);
- `policies` text [P], `outcomes` text [O]: what the episodes' codes mean;
- of every episode: `policy` int8 [E], `condition` int16 [E], `sample` int16 [E], `level_seed`
  uint32 [E], `coin_cell` int8 [E, 2] (x, y; -1 where there is no coin, and no cell to watch for
  it), `coin_present` bool [E], `start_xy` float32 [E, 2] (centre of the agent), `outcome` int8
  [E], `steps` int16 [E] up to the outcome;
- `actions` int8 [A]: those of the first episode, then those of the second, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coinrun_jax.checks import InputError, shown
from coinrun_jax.coinrun.generator import MODES
from coinrun_jax.coinrun.types import ENV_ID, NUM_ACTIONS, NUM_SEEDS, TIME_LIMIT, WORLD_SIZE
from coinrun_jax.files import Array, read_arrays, write_arrays
from eval.outcomes import OUTCOMES
from eval.results import Evaluation
from train.config import EnvConfig

TRAJECTORIES = "trajectories.npz"
MOST_BYTES = 2**31
"""Of the traces of one policy, which are held at full length while it plays."""
_FORMAT = 1
_LAST_CELL = WORLD_SIZE - 1
_ARRAYS = {
    "format": Array("iu"),
    "environment": Array("U"),
    "conditions": Array("U", ("C",)),
    "modes": Array("U", ("C",)),
    "mirrored": Array("b", ("C",)),
    "policies": Array("U", ("P",)),
    "outcomes": Array("U", ("O",)),
    "policy": Array("iu", ("E",), 0),
    "condition": Array("iu", ("E",), 0),
    "sample": Array("iu", ("E",), 0),
    "level_seed": Array("iu", ("E",), 0, NUM_SEEDS - 1),
    "coin_cell": Array("iu", ("E", 2), -1, _LAST_CELL),
    "coin_present": Array("b", ("E",)),
    "start_xy": Array("f", ("E", 2), 0, WORLD_SIZE),
    "outcome": Array("iu", ("E",), 0),
    "steps": Array("iu", ("E",), 1, TIME_LIMIT),
    "actions": Array("iu", ("A",), 0, NUM_ACTIONS - 1),
}
_AS_PLAYED = {"level_seed": np.uint32, "start_xy": np.float32, "steps": np.int32}


@dataclass(frozen=True)
class Trajectories:
    """The arrays of the file, without its first two."""

    conditions: np.ndarray
    modes: np.ndarray
    mirrored: np.ndarray
    policies: np.ndarray
    outcomes: np.ndarray
    policy: np.ndarray
    condition: np.ndarray
    sample: np.ndarray
    level_seed: np.ndarray
    coin_cell: np.ndarray
    coin_present: np.ndarray
    start_xy: np.ndarray
    outcome: np.ndarray
    steps: np.ndarray
    actions: np.ndarray


def require_room(num_episodes: int) -> None:
    """Whether the traces of so many episodes are few enough to hold.

    Raises:
      InputError: where they come to more than MOST_BYTES.
    """
    if num_episodes > MOST_BYTES // TIME_LIMIT:
        raise InputError(
            f"the actions of {num_episodes:,} episodes do not fit; at most "
            f"{MOST_BYTES // TIME_LIMIT:,} do"
        )


def write_trajectories(evaluation: Evaluation, env_config: EnvConfig, path: Path) -> None:
    """The agent's episodes.

    Args:
      evaluation: with traces.
      env_config: of the agent's training.
      path: of the file.
    """
    cues, items = env_config.cues.arguments(), env_config.items.arguments()
    conditions = evaluation.suite.conditions
    parts = [_episodes(evaluation, number) for number in range(len(evaluation.agents))]
    every = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    settings = [condition.settings(cues, items)["cues"] for condition in conditions]
    arrays = {
        "format": np.int32(_FORMAT),
        "environment": np.array(ENV_ID),
        "conditions": np.array([condition.name for condition in conditions]),
        "modes": np.array([condition.levels.mode or env_config.mode for condition in conditions]),
        "mirrored": np.array([bool(each.mirrored) for each in settings]),
        "policies": np.array(evaluation.agents),
        "outcomes": np.array(OUTCOMES),
        **every,
    }
    write_arrays(path, arrays)


def _episodes(evaluation: Evaluation, policy: int) -> dict[str, np.ndarray]:
    """Of one of the agents."""
    played = evaluation.played[evaluation.agents[policy]]
    record = played.record
    if record.trace is None:
        raise ValueError("the episodes were played without traces")
    condition, level, sample = (each.ravel() for each in np.indices(played.outcome.shape))
    actions = np.asarray(record.trace.actions).reshape(level.size, -1)
    steps = np.asarray(record.steps).ravel()
    return {
        "policy": np.full(level.size, policy, np.int8),
        "condition": condition.astype(np.int16),
        "sample": sample.astype(np.int16),
        "level_seed": evaluation.level_seeds[condition, level].astype(np.uint32),
        "coin_cell": np.asarray(record.coin_cell).reshape(-1, 2).astype(np.int8),
        "coin_present": np.asarray(record.coin_present).ravel(),
        "start_xy": np.asarray(record.trace.start_xy).reshape(-1, 2),
        "outcome": played.outcome.ravel(),
        "steps": steps.astype(np.int16),
        "actions": actions[np.arange(actions.shape[1]) < steps[:, None]],
    }


def load_trajectories(path: str | Path) -> Trajectories:
    """Read the file.

    Raises:
      InputError: where it cannot be read, is of another version, or contradicts itself.
    """
    path = Path(path)
    arrays = read_arrays(path, "trajectories", _ARRAYS)
    version, environment = int(arrays.pop("format")), str(arrays.pop("environment"))
    where = shown(str(path))
    if version != _FORMAT:
        raise InputError(f"{where} has format {version}, not {_FORMAT}")
    if environment != ENV_ID:
        raise InputError(f"{where} was recorded on {shown(environment)}; this is {ENV_ID}")
    for name, dtype in _AS_PLAYED.items():
        arrays[name] = arrays[name].astype(dtype)
    trajectories = Trajectories(**arrays)
    if fault := _fault(trajectories):
        raise InputError(f"{where} contradicts itself: {fault}")
    return trajectories


def _fault(found: Trajectories) -> str | None:
    """What cannot be although every array is what it should be, if anything."""
    if not found.steps.size:
        return "it has no episodes"
    if found.actions.size != (steps := int(found.steps.sum(dtype=np.int64))):
        return f"{found.actions.size} actions for {steps} steps"
    codes = {
        "policy": (found.policy, found.policies),
        "condition": (found.condition, found.conditions),
        "outcome": (found.outcome, found.outcomes),
    }
    for name, (code, names) in codes.items():
        if code.max() >= names.size:
            return f"{name} {code.max()} is not within 0 ... {names.size - 1}"
    if (found.coin_cell[found.coin_present] < 0).any():
        return "a coin that is there has no cell"
    if not all(str(name).isprintable() for name in found.conditions):
        return "the name of a condition has characters that cannot be printed"
    for what, names, known in (("mode", found.modes, MODES), ("outcome", found.outcomes, OUTCOMES)):
        for name in names[~np.isin(names, known)]:
            return f"{what} {shown(str(name))} is not one of {', '.join(known)}"
    return None
