"""Where metrics go: a CSV that is always complete, and Weights & Biases on request."""

from __future__ import annotations

import csv
import dataclasses
import sys
from pathlib import Path
from typing import Any

from train.config import TrainConfig


class CsvLogger:
    """One row per update. After a resume the rows past the checkpoint are dropped first."""

    def __init__(self, path: Path, done_updates: int = 0) -> None:
        kept: list[dict[str, str]] = []
        if path.exists():
            with open(path, newline="") as file:
                kept = [row for row in csv.DictReader(file) if int(row["update"]) <= done_updates]
        self._file = open(path, "w", newline="")  # noqa: SIM115, open as long as the run
        self._writer: csv.DictWriter | None = None
        for row in kept:
            self.log(row)

    def log(self, row: dict[str, Any]) -> None:
        if self._writer is None:
            self._writer = csv.DictWriter(self._file, fieldnames=list(row))
            self._writer.writeheader()
        self._writer.writerow(row)
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class WandbLogger:
    """Weights & Biases; if it fails, one warning, and the run goes on without it."""

    def __init__(self, config: TrainConfig, run_dir: Path) -> None:
        self._run: Any = None
        if config.wandb.mode == "disabled":
            return
        try:
            import wandb

            self._run = wandb.init(
                mode=config.wandb.mode,
                project=config.wandb.project,
                group=config.wandb.group,
                name=config.wandb.name or run_dir.name,
                dir=run_dir,
                config=dataclasses.asdict(config),
            )
        except Exception as error:  # whatever the service does, training is worth more
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        print(f"warning: wandb failed and is off from here on: {error}", file=sys.stderr)
        self._run = None

    def log(self, row: dict[str, Any]) -> None:
        if self._run is not None:
            try:
                self._run.log(row, step=row["update"])
            except Exception as error:
                self._give_up(error)

    def close(self) -> None:
        if self._run is not None:
            try:
                self._run.finish()
            except Exception as error:
                self._give_up(error)
