"""A run's directory: made whole or not at all, never overwritten, gone on with.

config.yaml   every setting, resolved
run.json      versions, commit and device that it was made with
metrics.csv   a row per update
checkpoints/  from which `--resume` goes on
policy.npz, policy.json  the policy alone, as of the last checkpoint
curves.png    the metrics, once it has ended

With several seeds each has a folder `seed_N` of its own, with all of these that are its
own; it is a run directory to everything that reads one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax

import coinrun_jax
from coinrun_jax.checks import InputError, shown
from coinrun_jax.cli import Fault
from coinrun_jax.files import read_mapping, require_makeable, write_json
from coinrun_jax.hardware import device_name
from train import distributed
from train.config import CONFIG, TrainConfig, flat_settings, load_config, save_config
from train.loop import is_trained, train
from train.policy import MOST_DESCRIPTION
from train.program import Program
from train.provenance import source_commit
from train.wandb_logger import new_run_ids

DESCRIPTION = "run.json"


def seed_folders(run_dir: Path, config: TrainConfig) -> list[Path]:
    """Where each seed's own files are."""
    if config.num_seeds == 1:
        return [run_dir]
    return [run_dir / f"seed_{seed}" for seed in config.seeds]


def start(config: TrainConfig, run_dir: Path, profile: bool = False) -> int:
    """Train from scratch into a new directory.

    Returns:
      0, or the exit status of a run that a signal stopped before its end.

    Raises:
      InputError: if the directory has anything in it, or the config cannot be used; nothing
        is left of the run then.
    """
    distributed.on_main(partial(_require_new, run_dir))
    program = Program(config)
    distributed.on_main(partial(_make, config, run_dir))
    with _held(run_dir):
        try:
            return _train(program, config, run_dir, lambda: None, profile)
        except InputError as error:
            if any(is_trained(folder) for folder in seed_folders(run_dir, config)):
                raise Fault(str(error)) from error
            if distributed.is_main():  # the compiled program does not fit: no update was made
                shutil.rmtree(run_dir)
            raise


def resume(run_dir: Path, profile: bool = False) -> int:
    """Go on from a run's newest whole checkpoint, or from its beginning if it has not begun.

    Everything is read and checked before anything is written.

    Returns:
      as `start`.

    Raises:
      InputError: if the directory is no run, is one of a run's seeds, is being trained already,
        is not what it was when it was begun, or holds what has been trained without the
        checkpoints to go on from.
    """
    if not os.path.isfile(run_dir / CONFIG):
        raise InputError(f"{run_dir} is not a run directory: it has no {CONFIG}")
    config = load_config(run_dir / CONFIG)
    description = read_description(run_dir)
    if "one_of" in description:
        raise InputError(
            f"{run_dir} is one of several seeds of one program; give --resume {run_dir.parent}"
        )
    _require_unchanged(config, description, run_dir)
    with _held(run_dir):
        program = Program(config)

        begin = partial(distributed.on_main, partial(_describe_again, config, run_dir))
        return _train(program, config, run_dir, begin, profile)


_FREE = ("wandb.", "checkpoint_every", "keep_checkpoints")
"""Settings that may change between a run's beginning and its going on: how it is kept and where
it is logged. Any other one would make of it what no config describes."""


def _require_unchanged(config: TrainConfig, description: dict[str, Any], run_dir: Path) -> None:
    if not (begun := description["settings"]):
        raise InputError(
            f"{run_dir / DESCRIPTION} has no settings: it is damaged, or of an earlier version"
        )
    now = json.loads(json.dumps(flat_settings(config)))  # lists for tuples
    for name in {**now, **begun}:
        if begun.get(name) != now.get(name) and not name.startswith(_FREE):
            raise InputError(
                f"{run_dir} was begun with {name} {shown(begun.get(name))}; its {CONFIG} now says "
                f"{shown(now.get(name))}. Put it back, or train anew in another --run-dir"
            )


@contextlib.contextmanager
def _held(run_dir: Path) -> Iterator[None]:
    """Keeps other processes from training there meanwhile; a killed one holds nothing.

    Raises:
      InputError: if one does.
    """
    folder = os.open(run_dir, os.O_RDONLY) if distributed.is_main() else None
    try:
        if distributed.agree_on(folder is not None and not _lock(folder)):
            raise InputError(f"{run_dir} is being trained by another process")
        yield
    finally:
        if folder is not None:
            os.close(folder)


def _lock(folder: int) -> bool:
    """False if another process has it."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system that has no locks
    return True


def _train(
    program: Program, config: TrainConfig, run_dir: Path, begin: Callable[[], None], profile: bool
) -> int:
    run_ids = wandb_ids(run_dir, config)
    return train(program, run_dir, seed_folders(run_dir, config), run_ids, begin, profile)


def _require_new(run_dir: Path) -> None:
    require_makeable(run_dir, "run directory")
    if run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
        raise InputError(
            f"run directory {run_dir} exists and is not empty; give another --run-dir, or go on "
            f"with --resume {run_dir}"
        )


def _make(config: TrainConfig, run_dir: Path) -> None:
    """Fill the directory beside its place first: it appears whole or not at all."""
    part = run_dir.parent / f".{run_dir.name}.{os.getpid()}.part"
    try:
        part.mkdir(parents=True)
        description = _describe(config) | {"wandb_ids": new_run_ids(config.num_seeds)}
        _write(config, description, part)
        if config.num_seeds > 1:
            for seed, folder in zip(config.seeds, seed_folders(part, config), strict=True):
                folder.mkdir()
                of_seed = {**_describe(config), "one_of": config.num_seeds}
                _write(config.of_seed(seed), of_seed, folder)
        os.replace(part, run_dir)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise Fault(f"run directory {run_dir} cannot be made: {error.strerror}") from error


def _write(config: TrainConfig, description: dict[str, Any], folder: Path) -> None:
    save_config(config, folder / CONFIG)
    write_json(folder / DESCRIPTION, description | {"settings": flat_settings(config)})


def read_description(run_dir: Path) -> dict[str, Any]:
    """What run.json says of a run.

    Raises:
      InputError: where it is missing or damaged.
    """
    path = run_dir / DESCRIPTION
    description = read_mapping(path, "run description", MOST_DESCRIPTION)
    for name, kind in (("settings", dict), ("wandb_ids", list), ("resumed", list)):
        if not isinstance(description.setdefault(name, kind()), kind):
            word = "object" if kind is dict else "array"
            raise InputError(f"{path}: {name} is {shown(description[name])}, not a JSON {word}")
    return description


def wandb_ids(run_dir: Path, config: TrainConfig) -> list[str]:
    """Of a run, one for each seed.

    Raises:
      InputError: where run.json does not have them.
    """
    ids = read_description(run_dir)["wandb_ids"]
    if len(ids) != config.num_seeds or not all(isinstance(each, str) for each in ids):
        raise InputError(
            f"{run_dir / DESCRIPTION}: wandb_ids are not {config.num_seeds} names, one a seed"
        )
    return ids


def _describe_again(config: TrainConfig, run_dir: Path) -> None:
    """Note in run.json that the run goes on, and with what."""
    description = read_description(run_dir)
    description["resumed"].append(_describe(config))
    write_json(run_dir / DESCRIPTION, description)


def _describe(config: TrainConfig) -> dict[str, Any]:
    return {
        "environment": config.env.id,
        "coinrun_jax": coinrun_jax.__version__,
        "commit": source_commit(),
        "jax": jax.__version__,
        "device": device_name(),
        "devices": jax.device_count(),
        "hosts": jax.process_count(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
