"""`trajectories.npz`: all that is needed to replay the agent's episodes, without the agent.

Level seeds and actions outlive refactors and are small. Arrays, for C conditions, E episodes and A
actions in all (text is Unicode; nothing in the file can carry code):

- `format` int, `environment` text: version of this file, and id of the environment; `settings`
  text: those that the agent was trained with, as JSON;
- `conditions` text [C], `kinds` text [C] (what a level depends on besides its seed), `takes` and
  `watched` text [C] (for a control, the object taken away and the event of its empty cell; else
  empty), and `step_<field>` [C, ...] for each field of the params that the steps depend on;
- `policies` text [P], `outcomes` text [O]: what the episodes' codes mean;
- for every episode: `policy` int8 [E], `condition` int16 [E], `sample` int16 [E], `level_seed`
  uint32 [E], `outcome` int8 [E], `steps` int32 [E] up to the outcome, and `start_<field>` [E, ...]
  for each field of the first state that differs between starts on a level;
- `actions` int8 [A]: those of the first episode, then those of the second, and so on.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from coinrun_jax.checks import InputError, shown
from coinrun_jax.files import Array, parse_json, read_arrays, write_arrays
from coinrun_jax.registry import find_testbed
from coinrun_jax.settings import from_mapping
from coinrun_jax.suites import Condition, Control
from coinrun_jax.testbed import NUM_SEEDS, EnvConfig, Testbed
from eval.results import Evaluation
from train.environment import num_actions

TRAJECTORIES = "trajectories.npz"
MOST_BYTES = 2**31
"""Bytes of one policy's traces, which are held at full length while it plays."""
_FORMAT = 2
_START, _STEP = "start_", "step_"
_MOST_STEPS = 10**6
_MOST_SETTINGS = 2**16  # characters
_HEAD = {"format": Array("iu"), "environment": Array("U"), "settings": Array("U")}
_ARRAYS = {
    "conditions": Array("U", ("C",)),
    "kinds": Array("U", ("C",)),
    "takes": Array("U", ("C",)),
    "watched": Array("U", ("C",)),
    "policies": Array("U", ("P",)),
    "outcomes": Array("U", ("O",)),
    "policy": Array("iu", ("E",), 0),
    "condition": Array("iu", ("E",), 0),
    "sample": Array("iu", ("E",), 0, 2**15 - 1),
    "level_seed": Array("iu", ("E",), 0, NUM_SEEDS - 1),
    "outcome": Array("iu", ("E",), 0),
    "steps": Array("iu", ("E",), 1, _MOST_STEPS),
    "actions": Array("iu", ("A",), 0),
}
_AS_PLAYED = {"level_seed": np.uint32, "steps": np.int32, "condition": np.int32}


@dataclass(frozen=True)
class Trajectories:
    """What the file holds, under the names of its arrays."""

    testbed: Testbed
    settings: EnvConfig
    conditions: np.ndarray
    kinds: np.ndarray
    takes: np.ndarray
    watched: np.ndarray
    policies: np.ndarray
    outcomes: np.ndarray
    policy: np.ndarray
    condition: np.ndarray
    sample: np.ndarray
    level_seed: np.ndarray
    outcome: np.ndarray
    steps: np.ndarray
    actions: np.ndarray
    start: Mapping[str, np.ndarray]
    """By field."""
    step: Mapping[str, np.ndarray]
    """By field."""

    def suite_conditions(self) -> tuple[Condition, ...]:
        """The conditions, as far as outcomes depend on them."""
        return tuple(
            Condition(str(name), control=Control("", str(takes), str(watched)) if takes else None)
            for name, takes, watched in zip(self.conditions, self.takes, self.watched, strict=True)
        )


def require_room(num_episodes: int, most_steps: int) -> None:
    """Refuse more traces than fit into memory.

    Args:
      most_steps: of an episode.

    Raises:
      InputError: if they exceed MOST_BYTES.
    """
    if num_episodes > MOST_BYTES // most_steps:
        raise InputError(
            f"the actions of {num_episodes:,} episodes do not fit into memory; at most "
            f"{MOST_BYTES // most_steps:,} episodes do"
        )


def write_trajectories(evaluation: Evaluation, path: Path) -> None:
    """Write the agent's episodes.

    Args:
      evaluation: with traces.
    """
    testbed, config = evaluation.testbed, evaluation.config.env
    conditions = evaluation.suite.conditions
    controls = [each.control for each in conditions]
    overrides = [testbed.overrides(each, config) for each in conditions]
    parts = [_episodes(evaluation, number) for number in range(len(evaluation.agents))]
    arrays = {
        "format": np.int32(_FORMAT),
        "environment": np.array(config.id),
        "settings": np.array(json.dumps(dataclasses.asdict(config))),
        "conditions": np.array([each.name for each in conditions]),
        "kinds": np.array([testbed.level_kind(each, config) for each in conditions]),
        "takes": np.array([each.takes if each else "" for each in controls]),
        "watched": np.array([each.watched if each else "" for each in controls]),
        "policies": np.array(evaluation.agents),
        "outcomes": np.array([each.name for each in testbed.outcomes]),
        **{
            _STEP + field: np.stack([np.asarray(_field(each, field)) for each in overrides])
            for field in testbed.step_fields
        },
        **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
    }
    write_arrays(path, arrays)


def _field(overrides: Mapping[str, Any], field: str) -> Any:
    """A leaf of the params by its path, such as "a.b"."""
    first, *rest = field.split(".")
    return reduce(getattr, rest, overrides[first])


def _episodes(evaluation: Evaluation, policy: int) -> dict[str, np.ndarray]:
    """Arrays of one agent's episodes."""
    played = evaluation.played[evaluation.agents[policy]]
    record = played.record
    if record.trace is None:
        raise ValueError("the episodes were played without traces")
    condition, level, sample = (each.ravel() for each in np.indices(played.outcome.shape))
    actions = np.asarray(record.trace.actions).reshape(level.size, -1)
    steps = np.asarray(record.steps).ravel()
    starts = {
        _START + name: np.asarray(value).reshape(level.size, *value.shape[3:])
        for name, value in record.trace.start.items()
    }
    return {
        "policy": np.full(level.size, policy, np.int8),
        "condition": condition.astype(np.int16),
        "sample": sample.astype(np.int16),
        "level_seed": evaluation.level_seeds[condition, level].astype(np.uint32),
        **starts,
        "outcome": played.outcome.ravel(),
        "steps": steps.astype(np.int32),
        "actions": actions[np.arange(actions.shape[1]) < steps[:, None]],
    }


def load_trajectories(path: str | Path) -> Trajectories:
    """Read the file.

    Raises:
      InputError: if it cannot be read, has another version, or contradicts itself.
    """
    path = Path(path)
    head = read_arrays(path, "trajectories", _HEAD)
    where = shown(str(path))
    if (version := int(head["format"])) != _FORMAT:
        raise InputError(f"{where} has format {version}, not {_FORMAT}")
    try:
        testbed = find_testbed(str(head["environment"]))
        settings = _settings(testbed, str(head["settings"]))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    arrays = read_arrays(path, "trajectories", {**_ARRAYS, **_fields(testbed)})
    for name, dtype in _AS_PLAYED.items():
        arrays[name] = arrays[name].astype(dtype)
    found = Trajectories(
        testbed=testbed,
        settings=settings,
        **{name: arrays[name] for name in _ARRAYS},
        start={name: arrays[_START + name] for name in testbed.start_fields},
        step={name: arrays[_STEP + name] for name in testbed.step_fields},
    )
    if fault := _fault(found):
        raise InputError(f"{where} contradicts itself: {fault}")
    return found


def _settings(testbed: Testbed, text: str) -> EnvConfig:
    """The config that a JSON text describes.

    Raises:
      InputError: if it does not describe one.
    """
    if len(text) > _MOST_SETTINGS:
        raise InputError(f"its settings have {len(text):,} characters; at most {_MOST_SETTINGS:,}")
    values = parse_json(text, "the text of its settings")
    config = from_mapping(testbed.Config, values, "env")
    testbed.require_id(config.id)
    return config


def _fields(testbed: Testbed) -> dict[str, Array]:
    """The arrays of the testbed's fields."""
    starts = {_START + name: Array("biuf", ("E", ...)) for name in testbed.start_fields}
    steps = {_STEP + name: Array("biuf", ("C", ...)) for name in testbed.step_fields}
    return {**starts, **steps}


def _fault(found: Trajectories) -> str | None:
    """A contradiction between arrays that are valid on their own, if there is one."""
    if not found.steps.size:
        return "it has no episodes"
    if found.actions.size != (steps := int(found.steps.sum(dtype=np.int64))):
        return f"{found.actions.size} actions for {steps} steps"
    codes = {
        "policy": (found.policy, found.policies),
        "condition": (found.condition, found.conditions),
        "outcome": (found.outcome, found.outcomes),
    }
    sizes = {name: (code, names.size) for name, (code, names) in codes.items()}
    sizes["action"] = (found.actions, num_actions(found.settings))
    for name, (code, size) in sizes.items():
        if code.max() >= size:
            return f"{name} {code.max()} is not within 0 ... {size - 1}"
    if not all(str(name).isprintable() for name in found.conditions):
        return "the name of a condition has characters that cannot be printed"
    known = [each.name for each in found.testbed.outcomes]
    for name in found.outcomes[~np.isin(found.outcomes, known)]:
        return f"outcome {shown(str(name))} is not one of {', '.join(known)}"
    events = {each.event for each in found.testbed.outcomes if each.event}
    for takes, watched in zip(found.takes, found.watched, strict=True):
        if takes and not {str(takes), str(watched)} <= events:
            return f"a control takes {shown(str(takes))} away and watches {shown(str(watched))}"
    return None
