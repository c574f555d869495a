"""A config's `init`: the policies of another run that a run starts from."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from coinrun_jax.checks import InputError, shown
from train.checkpoints import CHECKPOINTS, Checkpoints, UnreadableCheckpoint
from train.config import TrainConfig
from train.environment import num_actions, observation_shape
from train.kept_policies import find_kept
from train.logging.metrics import of_seed
from train.policy import DESCRIPTION, Policy, load_policy
from train.ppo import TrainState
from train.program import Program
from train.stages import carry_over


@dataclass(frozen=True)
class Source:
    """What one seed of a run starts from."""

    folder: Path
    """Folder of a run, or of one of its seeds."""
    policy: Policy
    state: TrainState | None
    """Training state at this policy, without the seed axis; None if only the policy is used."""

    def as_json(self) -> dict[str, Any]:
        """The entry in run.json."""
        policy = self.policy
        about = {"update": policy.update, "steps": policy.steps, "sha256": policy.sha256}
        return {"run": str(self.folder), **about}


def find_sources(config: TrainConfig) -> list[Source]:
    """The source of each seed of a run; [] if `init` is not set. Compiles nothing.

    If `init` is a run of several seeds, each seed starts from its own policy there.

    Raises:
      InputError: for a policy that was not kept or does not fit the run, or an optimiser state
        that no checkpoint holds.
    """
    if config.init is None:
        return []
    try:
        run_dir, update = _run_and_update(config.init)
        folders = [run_dir] * config.num_seeds
        if config.num_seeds > 1 and not os.path.lexists(run_dir / DESCRIPTION):
            folders = [run_dir / f"seed_{seed}" for seed in config.seeds]
        found = {folder: _source(folder, update, config) for folder in dict.fromkeys(folders)}
    except InputError as error:
        raise InputError(f"init {shown(config.init)}: {error}") from error
    return [found[folder] for folder in folders]


def _run_and_update(init: str) -> tuple[Path, int | None]:
    folder, at, update = init.rpartition("@")
    if not at or os.path.isdir(init):
        return Path(init), None
    if not update.isdecimal() or len(update) > 10:
        raise InputError(f"{shown(update)} is not an update; give RUN or RUN@UPDATE")
    return Path(folder), int(update)


def _source(folder: Path, update: int | None, config: TrainConfig) -> Source:
    kept = {} if update is None else find_kept(folder)
    if kept and update not in kept:
        there = ", ".join(map(str, kept))
        raise InputError(f"the policy of update {update} was not kept; kept updates: {there}")
    policy = load_policy(folder if update is None else kept.get(update, folder), config.plugins)
    _require_fit(policy.config, config)
    keeps = config.parts[0].optimizer == "kept"
    return Source(folder, policy, _state(folder, policy) if keeps else None)


def _require_fit(theirs: TrainConfig, ours: TrainConfig) -> None:
    for what, one, other in (
        ("network.kind", theirs.network.kind, ours.network.kind),
        ("network.width", theirs.network.width, ours.network.width),
        ("observations of shape", observation_shape(theirs.env), observation_shape(ours.env)),
        ("actions:", num_actions(theirs.env), num_actions(ours.env)),
    ):
        if one != other:
            raise InputError(f"it has {what} {one}, this run {other}: the policy does not fit")


def _state(folder: Path, policy: Policy) -> TrainState:
    """The seed's state in the checkpoint of the policy's update."""
    run_dir, num_seeds, index = folder, 1, 0
    if not (folder / CHECKPOINTS).is_dir():  # one of several seeds
        run_dir = folder.parent
        names = sorted(run_dir.glob("seed_*"), key=lambda path: (len(path.name), path.name))
        num_seeds, index = max(len(names), 1), names.index(folder) if folder in names else 0
    config = policy.config
    part = dataclasses.replace(config.parts[config.part_at(policy.update)], num_seeds=num_seeds)
    checkpoints = Checkpoints(run_dir / CHECKPOINTS)
    try:
        if policy.update not in (there := checkpoints.updates):
            known = ", ".join(map(str, there)) or "none"
            raise InputError(
                f"optimizer kept needs checkpoint {policy.update}, but the run has {known}; use "
                "--optimizer fresh"
            )
        state = checkpoints.read(policy.update, Program(part).shapes())
    except UnreadableCheckpoint as error:
        raise InputError(f"checkpoint {policy.update} cannot be read ({error})") from error
    finally:
        checkpoints.close()
    return of_seed(state, index, num_seeds)


def start_from(sources: Sequence[Source], first: TrainState, config: TrainConfig) -> TrainState:
    """A run's initial state with what its sources have learned.

    Args:
      first: the initial state without them, numpy arrays.
    """
    each = []
    for index, source in enumerate(sources):
        own = of_seed(first, index, config.num_seeds)
        learned = source.state or own.replace(params=source.policy.params)
        each.append(carry_over(learned, own, source.state is not None))
    if config.num_seeds == 1:
        return each[0]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *each)
