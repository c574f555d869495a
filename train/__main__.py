"""Train an agent.

    python -m train --config FILE [--section.key value ...] --run-dir DIR [--profile]
    python -m train --resume DIR [--profile]

FILE is a YAML of settings, DIR a new directory for the run. --resume goes on from a run's newest
checkpoint, --profile writes jax's profile of a few updates into DIR. Over several hosts, the same
command on each, with --coordinator HOST:PORT --num-processes N --process-id I, or the environment
variables that jax reads; under SLURM nothing is needed.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

from train import distributed
from train.config import ConfigError, TrainConfig, TrainError, load_config
from train.overrides import Parser, override


def _default_run_dir() -> Path:
    """Of an agent of `wandb agent`, which starts many runs with one command.

    Raises:
      ConfigError: elsewhere.
    """
    sweep, run_id = os.environ.get("WANDB_SWEEP_ID"), os.environ.get("WANDB_RUN_ID")
    if not sweep or not run_id:
        raise ConfigError("--run-dir DIR is missing: where to keep the run")
    return Path("runs") / sweep / run_id


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 2 for unusable input and 1 for a run that had to stop, each in one line."""
    parser = Parser(prog="python -m train", add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--run-dir", type=Path)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--coordinator")
    parser.add_argument("--num-processes", type=int)
    parser.add_argument("--process-id", type=int)
    try:
        known, settings = parser.parse_known_args(arguments)
        if known.resume is not None:
            if known.config or known.run_dir or settings:
                raise ConfigError("--resume takes no other settings: a run keeps its own config")
        else:
            default = load_config(known.config) if known.config else TrainConfig()
            if "WANDB_SWEEP_ID" in os.environ:  # an agent's runs are there to be seen
                online = dataclasses.replace(default.wandb, mode="online")
                default = dataclasses.replace(default, wandb=online)
            config = override(default, settings, about=__doc__ or "")
            run_dir = known.run_dir or _default_run_dir()
        distributed.initialize(known.coordinator, known.num_processes, known.process_id)

        # Not before, because these touch devices as they are imported.
        from coinrun_jax.compilation import enable_compilation_cache
        from train import run

        enable_compilation_cache()
        if known.resume is not None:
            run.resume(known.resume, known.profile)
        else:
            run.start(config, run_dir, known.profile)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except TrainError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
