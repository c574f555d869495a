"""Train an agent.

python -m train --config FILE [--section.key value ...] --run-dir DIR
python -m train --resume DIR
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from pathlib import Path

import tyro

from coinrun_jax.compilation import enable_compilation_cache
from train import run
from train.config import ConfigError, TrainConfig, load_config


def _override(config: TrainConfig, arguments: list[str]) -> TrainConfig:
    """Apply `--section.key value` settings, with tyro's own message as one line if it fails."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(TrainConfig, default=config, args=arguments, prog="python -m train")
    except SystemExit as stop:
        if not stop.code:
            raise  # --help
        raise ConfigError(_one_line(complaint.getvalue())) from None


def _one_line(box: str) -> str:
    """The message inside the box that tyro draws, without its title and its hint at --help."""
    lines = [line.strip("│ \n") for line in box.splitlines()[1:-1]]
    rules = [number for number, line in enumerate(lines) if set(line) == {"─"}]
    message = lines[: rules[0]] if rules else lines
    return " ".join(" ".join(message).split())


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 2 for unusable input, said in one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m train", add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--run-dir", type=Path)
    parser.add_argument("--resume", type=Path)
    known, settings = parser.parse_known_args(arguments)
    try:
        if known.resume is not None:
            if known.config or known.run_dir or settings:
                raise ConfigError("--resume takes no other settings: a run keeps its own config")
            enable_compilation_cache()
            run.resume(known.resume)
            return 0
        config = _override(load_config(known.config) if known.config else TrainConfig(), settings)
        if known.run_dir is None:
            raise ConfigError("--run-dir DIR is missing: where to keep the run")
        enable_compilation_cache()
        run.start(config, known.run_dir)
        return 0
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
