"""Train an agent.

    python -m train --config FILE [--section.key value ...] --run-dir DIR [--profile]
                    [--init RUN[@UPDATE]] [--keep-at 0,1e5,1e6|log:N]
    python -m train --resume DIR [--profile]

FILE is a YAML file of settings, DIR a new directory for the run. --init starts from another run's
policy, --keep-at keeps policies along the way, `stages:` in FILE changes settings during the run:
see docs/goals_over_training.md. --resume continues from a run's newest checkpoint, --profile writes
jax's profile of a few updates into DIR. On several hosts, run the same command on each with
--coordinator HOST:PORT --num-processes N --process-id I, or with the environment variables that
jax reads; SLURM needs neither, --distributed joins a TPU pod.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from coinrun_jax.checks import InputError
from coinrun_jax.cli import Parser, command
from train.devices import processes
from train.overrides import configure


def _default_run_dir() -> Path:
    """The run directory under `wandb agent`, which starts many runs with one command.

    Raises:
      InputError: if no wandb agent started this run.
    """
    sweep, run_id = os.environ.get("WANDB_SWEEP_ID"), os.environ.get("WANDB_RUN_ID")
    if not sweep or not run_id:
        raise InputError("--run-dir DIR is missing: the directory to create for the run")
    return Path("runs") / sweep / run_id


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `cli` for its exit status."""
    parser = Parser(prog="python -m train", add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--run-dir", type=Path)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--coordinator")
    parser.add_argument("--num-processes", type=int)
    parser.add_argument("--process-id", type=int)
    parser.add_argument("--distributed", action="store_true")
    known, settings = parser.parse_known_args(arguments)
    processes.initialize(
        known.coordinator, known.num_processes, known.process_id, known.distributed
    )
    if known.resume is not None:
        if known.config or known.run_dir or settings:
            raise InputError("--resume takes no other settings: a run keeps its config")
    else:
        if "WANDB_SWEEP_ID" in os.environ:  # a wandb agent's runs belong there
            settings = ["--wandb.mode", "online", *settings]
        config = configure(known.config, settings, about=__doc__ or "")
        run_dir = known.run_dir or _default_run_dir()

    from coinrun_jax.compilation import enable_compilation_cache
    from train import run  # its imports initialize the backend

    enable_compilation_cache()
    if known.resume is not None:
        return run.resume(known.resume, known.profile)
    return run.start(config, run_dir, known.profile)


if __name__ == "__main__":
    sys.exit(main())
