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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

import coinrun_jax
from coinrun_jax.hardware import device_name
from train import distributed, policy
from train.config import CONFIG, ConfigError, TrainConfig, load_config, save_config
from train.loop import CHECKPOINTS, train
from train.program import Program
from train.provenance import source_commit
from train.wandb_logger import new_run_ids

DESCRIPTION = "run.json"


def seed_folders(run_dir: Path, config: TrainConfig) -> list[Path]:
    """Where each seed's own files are."""
    if config.num_seeds == 1:
        return [run_dir]
    return [run_dir / f"seed_{seed}" for seed in config.seeds]


def start(config: TrainConfig, run_dir: Path, profile: bool = False) -> bool:
    """Train from scratch into a new directory; False if it was stopped before its end.

    Raises:
      ConfigError: if the directory has anything in it, or the config cannot be used; nothing
        is left of the run then.
    """
    if distributed.agree_on(distributed.is_main() and _is_taken(run_dir)):
        raise ConfigError(
            f"run directory {run_dir} exists and is not empty; give another --run-dir, or go on "
            f"with --resume {run_dir}"
        )
    program = Program(config)
    if distributed.is_main():
        _make(config, run_dir)
    distributed.agree_on(False)  # the others wait for the directory
    with _held(run_dir):
        try:
            return _train(program, config, run_dir, profile)
        except ConfigError:  # the compiled program does not fit: no update was made
            if distributed.is_main():
                shutil.rmtree(run_dir)
            raise


def resume(run_dir: Path, profile: bool = False) -> bool:
    """Go on from a run's newest whole checkpoint, or from its beginning if it has none.

    Raises:
      ConfigError: if the directory is no run, is one of a run's seeds, is being trained
        already, or holds what has been trained without the checkpoints to go on from.
    """
    if not (run_dir / CONFIG).is_file():
        raise ConfigError(f"{run_dir} is not a run directory: it has no {CONFIG}")
    if "one_of" in _read_description(run_dir):
        raise ConfigError(
            f"{run_dir} is one of several seeds of one program; give --resume {run_dir.parent}"
        )
    config = load_config(run_dir / CONFIG)
    _require_checkpoints(run_dir, config)
    with _held(run_dir):
        program = Program(config)
        if distributed.is_main():
            _describe_again(run_dir)
        return _train(program, config, run_dir, profile)


def _require_checkpoints(run_dir: Path, config: TrainConfig) -> None:
    """A run copied without them would begin anew, over the metrics of the one that was."""
    checkpoints = run_dir / CHECKPOINTS
    if not checkpoints.is_dir() or not any(checkpoints.iterdir()):
        for folder in seed_folders(run_dir, config):
            if (folder / policy.DESCRIPTION).exists():
                raise ConfigError(
                    f"{folder} holds a trained policy, but {checkpoints} no checkpoint to go on "
                    "from; restore them, or train anew in another --run-dir"
                )


@contextlib.contextmanager
def _held(run_dir: Path) -> Iterator[None]:
    """Keeps other processes from training there meanwhile; a killed one holds nothing.

    Raises:
      ConfigError: if one does.
    """
    folder = os.open(run_dir, os.O_RDONLY) if distributed.is_main() else None
    try:
        if distributed.agree_on(folder is not None and not _lock(folder)):
            raise ConfigError(f"{run_dir} is being trained by another process")
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


def _train(program: Program, config: TrainConfig, run_dir: Path, profile: bool) -> bool:
    run_ids = _read_description(run_dir).get("wandb_ids") or new_run_ids(config.num_seeds)
    return train(program, run_dir, seed_folders(run_dir, config), run_ids, profile)


def _is_taken(run_dir: Path) -> bool:
    return run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir()))


def _make(config: TrainConfig, run_dir: Path) -> None:
    """Fill the directory beside its place first: it appears whole or not at all."""
    part = run_dir.parent / f".{run_dir.name}.{os.getpid()}.part"
    try:
        part.mkdir(parents=True)
        description = _describe() | {"wandb_ids": new_run_ids(config.num_seeds)}
        _write(config, description, part)
        if config.num_seeds > 1:
            for seed, folder in zip(config.seeds, seed_folders(part, config), strict=True):
                folder.mkdir()
                of_seed = {**_describe(), "one_of": config.num_seeds}
                _write(config.of_seed(seed), of_seed, folder)
        os.replace(part, run_dir)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        reason = error.strerror or error
        raise ConfigError(f"run directory {run_dir} cannot be made: {reason}") from error


def _write(config: TrainConfig, description: dict[str, Any], folder: Path) -> None:
    save_config(config, folder / CONFIG)
    _write_description(folder, description)


def _write_description(folder: Path, description: dict[str, Any]) -> None:
    part = folder / f"{DESCRIPTION}.part"
    part.write_text(json.dumps(description, indent=1) + "\n")
    os.replace(part, folder / DESCRIPTION)


def _read_description(run_dir: Path) -> dict[str, Any]:
    try:
        return json.loads((run_dir / DESCRIPTION).read_text())
    except (OSError, json.JSONDecodeError):
        return {}  # nothing in it is needed to go on


def _describe_again(run_dir: Path) -> None:
    """Note in run.json that the run goes on, and with what."""
    description = _read_description(run_dir)
    description.setdefault("resumed", []).append(_describe())
    _write_description(run_dir, description)


def _describe() -> dict[str, Any]:
    return {
        "environment": coinrun_jax.ENV_ID,
        "coinrun_jax": coinrun_jax.__version__,
        "commit": source_commit(),
        "jax": jax.__version__,
        "device": device_name(),
        "devices": jax.device_count(),
        "hosts": jax.process_count(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
