"""`trajectories.npz`: what plays every episode of the agent again, without the agent.

Level seeds and actions outlive refactors and are small. Arrays, of C conditions, E episodes
and A actions in all (text is Unicode; nothing in the file can carry code):

- `format` int, `environment` text: of this file, and the version of the game;
- `conditions` text [C], `modes` text [C] ("hard" or "easy"), `mirrored` bool [C] (left and
  right are exchanged between the agent and the game);
- `policies` text [P], `outcomes` text [O]: what the episodes' codes mean;
- of every episode: `policy` int8 [E], `condition` int16 [E], `sample` int16 [E], `level_seed`
  uint32 [E], `coin_cell` int8 [E, 2] (x, y), `coin_present` bool [E], `start_xy` float32
  [E, 2] (centre of the agent), `outcome` int8 [E], `steps` int16 [E] up to the outcome;
- `actions` int8 [A]: those of the first episode, then those of the second, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

import coinrun_jax
from coinrun_jax.archive import DAMAGED
from coinrun_jax.generator import MODES
from coinrun_jax.types import NUM_ACTIONS, TIME_LIMIT, WORLD_SIZE
from eval.outcomes import OUTCOMES
from eval.results import Evaluation
from train.config import EnvConfig

TRAJECTORIES = "trajectories.npz"
MOST_BYTES = 2**31
"""Of the traces of one policy, which are held at full length while it plays."""
_FORMAT = 1


class TrajectoryError(ValueError):
    """A file that holds no trajectories: says what is wrong with it."""


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


_PER_CONDITION = ("conditions", "modes", "mirrored")
_PER_EPISODE = {
    "policy": (),
    "condition": (),
    "sample": (),
    "level_seed": (),
    "coin_cell": (2,),
    "coin_present": (),
    "start_xy": (2,),
    "outcome": (),
    "steps": (),
}


def require_room(num_episodes: int) -> None:
    """Whether the traces of so many episodes are few enough to hold.

    Raises:
      ValueError: where they come to more than MOST_BYTES.
    """
    if num_episodes > MOST_BYTES // TIME_LIMIT:
        raise ValueError(
            f"the actions of {num_episodes:,} episodes do not fit; at most "
            f"{MOST_BYTES // TIME_LIMIT:,} do"
        )


def write_trajectories(evaluation: Evaluation, env_config: EnvConfig, path: Path) -> None:
    """The agent's episodes.

    Args:
      evaluation: with traces.
      env_config: of the agent's training.
      path: of the file.

    Raises:
      FileExistsError: rather than overwrite.
    """
    cues, items = env_config.cues.arguments(), env_config.items.arguments()
    conditions = evaluation.suite.conditions
    parts = [_episodes(evaluation, number) for number in range(len(evaluation.agents))]
    every = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    settings = [condition.settings(cues, items)["cues"] for condition in conditions]
    with path.open("xb") as file:
        np.savez_compressed(
            file,
            allow_pickle=False,
            format=np.int32(_FORMAT),
            environment=np.array(coinrun_jax.ENV_ID),
            conditions=np.array([condition.name for condition in conditions]),
            modes=np.array([condition.levels.mode or env_config.mode for condition in conditions]),
            mirrored=np.array([bool(shown.mirrored) for shown in settings]),
            policies=np.array(evaluation.agents),
            outcomes=np.array(OUTCOMES),
            **every,
        )


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
      TrajectoryError: where it cannot be read, is of another version, or contradicts itself.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            version, environment = int(file["format"]), str(file["environment"])
            if version != _FORMAT:
                raise TrajectoryError(f"{path} has format {version}, not {_FORMAT}")
            if environment != coinrun_jax.ENV_ID:
                raise TrajectoryError(
                    f"{path} was recorded on {environment}; this is {coinrun_jax.ENV_ID}"
                )
            arrays = {field.name: file[field.name] for field in fields(Trajectories)}
    except TrajectoryError:
        raise
    except OSError as error:
        raise TrajectoryError(f"cannot read {path}: {error.strerror or error}") from error
    except (TypeError, KeyError, AttributeError, *DAMAGED) as error:
        raise TrajectoryError(f"{path} holds no trajectories: {error}") from error
    trajectories = Trajectories(**arrays)
    if fault := _fault(trajectories):
        raise TrajectoryError(f"{path} contradicts itself: {fault}")
    return trajectories


def _fault(found: Trajectories) -> str | None:
    """What cannot be, if anything."""
    count, own = found.steps.size, vars(found)
    for name in _PER_CONDITION:
        if own[name].shape != found.conditions.shape or own[name].ndim != 1:
            return f"{name} has shape {own[name].shape}, conditions {found.conditions.shape}"
    for name, shape in _PER_EPISODE.items():
        if own[name].shape != (count, *shape):
            return f"{name} has shape {own[name].shape}, not {(count, *shape)}"
    if found.actions.shape != (int(found.steps.sum(dtype=np.int64)),):
        return f"{found.actions.size} actions for {found.steps.sum(dtype=np.int64)} steps"
    if not count:
        return "it has no episodes"
    limits = {
        "policy": found.policies.size - 1,
        "condition": found.conditions.size - 1,
        "coin_cell": WORLD_SIZE - 1,
        "outcome": found.outcomes.size - 1,
        "steps": TIME_LIMIT,
        "actions": NUM_ACTIONS - 1,
    }
    for name, most in limits.items():
        if own[name].dtype.kind not in "iu":
            return f"{name} is of type {own[name].dtype}"
        if own[name].size and (own[name].min() < 0 or own[name].max() > most):
            return f"{name} is not within 0 ... {most}"
    if not np.isin(found.modes, list(MODES)).all():
        return f"modes are {', '.join(map(str, found.modes))}, not of {', '.join(MODES)}"
    if not np.isin(found.outcomes, OUTCOMES).all():
        return f"outcomes are {', '.join(map(str, found.outcomes))}, not of {', '.join(OUTCOMES)}"
    return None
