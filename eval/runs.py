"""The agents to evaluate: one, several, or all of a sweep."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coinrun_jax.checks import InputError, shown
from train.config import TrainConfig, flat_settings
from train.kept_policies import KEPT, find_kept
from train.policy import DESCRIPTION, Policy, load_policy

_NOT_A_RECIPE = ("seed", "num_seeds", "wandb", "checkpoint_every", "keep_checkpoints", "keep_at")
"""Settings that may differ between runs of the same recipe, as may all `eval_*` settings."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained agent."""

    name: str
    policy: Policy


def find_runs(folders: Sequence[Path], plugins: Sequence[str] = ()) -> list[Run]:
    """The newest policy of every run in and below the folders, each once.

    Args:
      plugins: those already imported.

    Raises:
      InputError: if there is none, or one cannot be loaded.
    """
    found: dict[Path, Run] = {}
    for folder in folders:
        if not os.path.isdir(folder):
            load_policy(folder, plugins)  # raises an error that names what is missing
        every = (path.parent for path in folder.rglob(DESCRIPTION))
        paths = sorted(path for path in every if KEPT not in path.relative_to(folder).parts)
        if not paths:
            load_policy(folder, plugins)
        for path in paths:
            _require_printable(path)
            if path.resolve() not in found:
                found[path.resolve()] = Run(str(path), load_policy(path, plugins))
    return list(found.values())


def find_ages(run_dir: Path, plugins: Sequence[str] = ()) -> list[Run]:
    """The policies that a run kept and its newest one, newest first.

    All are given the newest one's config, so that they are evaluated alike.

    Args:
      plugins: those already imported.

    Raises:
      InputError: if the run kept none, or one cannot be loaded.
    """
    load_policy(run_dir, plugins)  # raises an error that names what is missing
    _require_printable(run_dir)
    folders = find_kept(run_dir)
    if set(folders.values()) == {run_dir}:
        raise InputError(f"{run_dir} has kept no policies: train it with --keep-at")
    policies = [load_policy(folders[update], plugins) for update in sorted(folders, reverse=True)]
    return [
        Run(f"{run_dir}@{each.update}", dataclasses.replace(each, config=policies[0].config))
        for each in policies
    ]


def _require_printable(path: Path) -> None:
    """Refuse a path that cannot be printed in tables.

    Raises:
      InputError: for such a path.
    """
    if not str(path).isprintable():
        raise InputError(f"run {shown(str(path))} has characters that cannot be printed")


def recipes(configs: Sequence[TrainConfig]) -> list[dict[str, Any]]:
    """For each run's config, the settings in which the recipes differ, by dotted name."""
    flat = [flat_settings(config) for config in configs]
    differing = [
        name
        for name in flat[0]
        if _is_of_the_recipe(name) and len({repr(each[name]) for each in flat}) > 1
    ]
    return [{name: each[name] for name in differing} for each in flat]


def _is_of_the_recipe(setting: str) -> bool:
    return setting.partition(".")[0] not in _NOT_A_RECIPE and not setting.startswith("eval_")


def label(recipe: dict[str, Any]) -> str:
    """A label for a recipe, from the last part of its settings' names."""
    words = [
        f"{name.rpartition('.')[2].replace('_', ' ')} {_word(recipe[name])}" for name in recipe
    ]
    return ", ".join(words) or "all runs"


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
