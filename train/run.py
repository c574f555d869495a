"""A run's directory: created atomically, never overwritten, resumable.

config.yaml   every setting, resolved
run.json      versions, commit and device
metrics.csv   one row per update
checkpoints/  from which `--resume` continues
policy.npz, policy.json  the policy alone, from the last checkpoint
kept/STEPS/   policies that are kept for good (`keep_at`)
curves.png    the metrics, once the run is finished

With several seeds, each has a folder `seed_N` with all of these but checkpoints and curves, which
every reader accepts as a run directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax

import coinrun_jax
from coinrun_jax.checks import InputError, shown
from coinrun_jax.cli import Fault
from coinrun_jax.files import read_mapping, require_makeable, write_json
from coinrun_jax.hardware import device_name
from train.config import (
    CONFIG,
    TrainConfig,
    env_config,
    flat_settings,
    load_config,
    save_config,
    seed_folders,
)
from train.devices import processes
from train.initial_policy import Source, find_sources
from train.logging.wandb_logger import new_run_ids
from train.loop import Run, is_trained, train
from train.policy import MOST_DESCRIPTION
from train.provenance import source_commit
from train.stages import make_stages

DESCRIPTION, CHAIN = "run.json", "init"


def start(config: TrainConfig, run_dir: Path, profile: bool = False) -> int:
    """Start a run in a new directory.

    Returns:
      0, or the exit status of a run that a signal stopped.

    Raises:
      InputError: if the directory is not empty, or the config cannot be used; nothing remains
        of the run.
    """
    processes.on_main(partial(_require_new, run_dir))
    stages, sources = make_stages(config), find_sources(config)
    processes.on_main(partial(_make, config, run_dir, sources))
    with _locked(run_dir):
        try:
            run = Run(config, stages, run_dir, wandb_ids(run_dir, config), lambda: sources)
            return train(run, lambda: None, profile)
        except InputError as error:
            if any(is_trained(folder) for folder in seed_folders(run_dir, config)):
                raise Fault(str(error)) from error
            if processes.is_main():  # the compiled program does not fit: there was no update
                shutil.rmtree(run_dir)
            raise


def resume(run_dir: Path, profile: bool = False) -> int:
    """Continue from a run's newest readable checkpoint.

    Everything is read and checked before anything is written.

    Returns:
      as `start`.

    Raises:
      InputError: if the directory is not a run, is one of a run's seeds, is being trained by
        another process, has changed settings, or has lost its checkpoints.
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
    with _locked(run_dir):
        begin = partial(processes.on_main, partial(_note_resumption, config, run_dir))
        find = partial(_find_same_sources, config, run_dir)
        run = Run(config, make_stages(config), run_dir, wandb_ids(run_dir, config), find)
        return train(run, begin, profile)


def _find_same_sources(config: TrainConfig, run_dir: Path) -> list[Source]:
    """The sources of a run that has not begun.

    Raises:
      InputError: if they are not the ones named in run.json.
    """
    sources = find_sources(config)
    for source, folder in zip(sources, seed_folders(run_dir, config), strict=bool(sources)):
        if read_description(folder)[CHAIN][:1] != [source.as_json()]:
            raise InputError(f"init {config.init} is no longer the policy that {folder} names")
    return sources


_MAY_CHANGE = ("wandb.", "checkpoint_every", "keep_checkpoints")
"""Settings that may change on resume: how checkpoints are kept and where the run is logged."""


def _require_unchanged(config: TrainConfig, description: dict[str, Any], run_dir: Path) -> None:
    if not (begun := description["settings"]):
        raise InputError(
            f"{run_dir / DESCRIPTION} has no settings: it is damaged, or of an earlier version"
        )
    first = TrainConfig(env=env_config({"id": config.env.id}))
    now, usual = (json.loads(json.dumps(flat_settings(each))) for each in (config, first))
    begun = usual | begun  # settings added since then had their defaults
    for name in {**now, **begun}:
        if begun.get(name) != now.get(name) and not name.startswith(_MAY_CHANGE):
            raise InputError(
                f"{run_dir} was started with {name} {shown(begun.get(name))}; its {CONFIG} now "
                f"says {shown(now.get(name))}. Restore it, or start a new run in another --run-dir"
            )


@contextlib.contextmanager
def _locked(run_dir: Path) -> Iterator[None]:
    """Keep other processes from training there; the lock of a killed process is released.

    Raises:
      InputError: if another process holds it.
    """
    folder = os.open(run_dir, os.O_RDONLY) if processes.is_main() else None
    try:
        if processes.agree_on(folder is not None and not _lock(folder)):
            raise InputError(f"{run_dir} is being trained by another process")
        yield
    finally:
        if folder is not None:
            os.close(folder)


def _lock(folder: int) -> bool:
    """False if another process holds the lock."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks
    return True


def _require_new(run_dir: Path) -> None:
    require_makeable(run_dir, "run directory")
    if run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
        raise InputError(
            f"run directory {run_dir} exists and is not empty; give another --run-dir, or continue "
            f"it with --resume {run_dir}"
        )


def _make(config: TrainConfig, run_dir: Path, sources: list[Source]) -> None:
    """Create the directory atomically: filled under another name, then renamed."""
    part = run_dir.parent / f".{run_dir.name}.{os.getpid()}.part"
    chains = [{CHAIN: _chain(source)} for source in sources] or [{}] * config.num_seeds
    try:
        part.mkdir(parents=True)
        description = _describe(config) | {"wandb_ids": new_run_ids(config.num_seeds)}
        if config.num_seeds == 1:
            description |= chains[0]
        _write(config, description, part)
        if config.num_seeds > 1:
            folders = seed_folders(part, config)
            for seed, folder, chain in zip(config.seeds, folders, chains, strict=True):
                folder.mkdir()
                of_seed = {**_describe(config), "one_of": config.num_seeds, **chain}
                _write(config.of_seed(seed), of_seed, folder)
        os.replace(part, run_dir)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise Fault(f"run directory {run_dir} cannot be created: {error.strerror}") from error


def _chain(source: Source) -> list[dict[str, Any]]:
    """The policy that a seed starts from, then the one its run had started from, and so on."""
    there = source.folder / DESCRIPTION
    earlier = read_description(source.folder)[CHAIN] if os.path.lexists(there) else []
    return [source.as_json(), *earlier]


def _write(config: TrainConfig, description: dict[str, Any], folder: Path) -> None:
    save_config(config, folder / CONFIG)
    write_json(folder / DESCRIPTION, description | {"settings": flat_settings(config)})


def read_description(run_dir: Path) -> dict[str, Any]:
    """The contents of a run's run.json.

    Raises:
      InputError: if it is missing or damaged.
    """
    path = run_dir / DESCRIPTION
    description = read_mapping(path, "run description", MOST_DESCRIPTION)
    for name, kind in (("settings", dict), ("wandb_ids", list), ("resumed", list), (CHAIN, list)):
        if not isinstance(description.setdefault(name, kind()), kind):
            word = "object" if kind is dict else "array"
            raise InputError(f"{path}: {name} is {shown(description[name])}, not a JSON {word}")
    return description


def wandb_ids(run_dir: Path, config: TrainConfig) -> list[str]:
    """The wandb ids of a run, one per seed.

    Raises:
      InputError: if run.json does not have them.
    """
    ids = read_description(run_dir)["wandb_ids"]
    if len(ids) != config.num_seeds or not all(isinstance(each, str) for each in ids):
        raise InputError(
            f"{run_dir / DESCRIPTION}: wandb_ids are not {config.num_seeds} names, one per seed"
        )
    return ids


def _note_resumption(config: TrainConfig, run_dir: Path) -> None:
    """Record in run.json when, and with which versions, the run is resumed."""
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
