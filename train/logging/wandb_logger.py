"""Weights & Biases, isolated: whatever the service does, training continues.

All calls happen on a separate thread. If one fails, or takes longer than `PATIENCE`, there is one
warning, and the run continues without wandb.
"""

from __future__ import annotations

import dataclasses
import os
import queue
import secrets
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from train.config import CONFIG, TrainConfig

PATIENCE = 120.0
"""Seconds after which a call counts as hanging."""
_QUEUE_SIZE = 100_000

Job = Callable[[list[Any]], None]


def new_run_ids(num_seeds: int) -> list[str]:
    """One id per seed; the first is given by `wandb agent` if it started this run."""
    ids = [secrets.token_hex(4) for _ in range(num_seeds)]
    return [os.environ.get("WANDB_RUN_ID") or ids[0], *ids[1:]]


class WandbLogger:
    """One wandb run per seed; those of several seeds form a group.

    Args:
      folders: one per seed, holding the policy's files once training ends.
      run_ids: one per seed; known ids continue their runs.
      enabled: False for processes that do not log.
    """

    def __init__(
        self,
        config: TrainConfig,
        run_dir: Path,
        folders: Sequence[Path],
        run_ids: Sequence[str],
        enabled: bool = True,
        patience: float = PATIENCE,
    ) -> None:
        self.failed = False
        self._patience = patience
        self._busy_since: float | None = None
        self._jobs: queue.Queue[Job | None] = queue.Queue(_QUEUE_SIZE)
        self._lock = threading.Lock()
        self._enabled = enabled and config.wandb.mode != "disabled"
        if self._enabled:
            self._folders = folders
            for index in range(config.num_seeds):
                self._submit(partial(_open, config, run_dir, folders[index], run_ids[index], index))
            self._thread = threading.Thread(target=self._work, name="wandb", daemon=True)
            self._thread.start()

    def log(self, rows: Sequence[dict[str, Any]]) -> None:
        """Log one row per seed, without waiting."""

        def job(runs: list[Any]) -> None:
            for run, row in zip(runs, rows, strict=True):
                values = {name: value for name, value in row.items() if value != ""}
                run.log(values, step=row["update"])

        self._submit(job)

    def log_policies(self) -> None:
        """Upload every seed's policy as an artifact."""

        def job(index: int, runs: list[Any]) -> None:
            import wandb

            artifact = wandb.Artifact(f"policy-{runs[index].id}", type="policy")
            for name in ("policy.npz", "policy.json", CONFIG):
                artifact.add_file(str(self._folders[index] / name))
            runs[index].log_artifact(artifact)

        self._for_each_run(job)

    def close(self) -> None:
        """Wait for pending calls, as long as they make progress."""
        self._for_each_run(lambda index, runs: runs[index].finish())
        self._submit(None)
        while self._enabled and not self.failed and self._thread.is_alive():
            self._thread.join(timeout=0.05)
            self._check_clock()

    def _for_each_run(self, job: Callable[[int, list[Any]], None]) -> None:
        """Submit a job per run: `PATIENCE` applies to each, however many seeds there are."""
        for index in range(len(self._folders) if self._enabled else 0):
            self._submit(partial(job, index))

    def _submit(self, job: Job | None) -> None:
        if not self._enabled or self.failed:
            return
        self._check_clock()
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            self._give_up("it is too slow")

    def _check_clock(self) -> None:
        since = self._busy_since
        if since is not None and time.monotonic() - since > self._patience:
            self._give_up(f"it has not answered for {self._patience:.0f} s")

    def _give_up(self, reason: str) -> None:
        with self._lock:
            if not self.failed:
                self.failed = True
                print(f"warning: wandb is disabled from now on: {reason}", file=sys.stderr)

    def _work(self) -> None:
        runs: list[Any] = []
        while (job := self._jobs.get()) is not None and not self.failed:
            self._busy_since = time.monotonic()
            try:
                job(runs)
            except Exception as error:  # any type, from the service
                self._give_up(" ".join(str(error).split()) or repr(error))
            self._busy_since = None


def _open(
    config: TrainConfig, run_dir: Path, folder: Path, run_id: str, index: int, runs: list[Any]
) -> None:
    """Start the run of a seed."""
    import wandb

    seed, several = config.seeds[index], config.num_seeds > 1
    name = config.wandb.name or run_dir.name
    runs.append(
        wandb.init(
            mode=config.wandb.mode,
            project=config.wandb.project,
            group=config.wandb.group or (run_dir.name if several else None),
            name=f"{name}-seed-{seed}" if several else name,
            id=run_id,
            resume="allow" if config.wandb.mode == "online" else None,
            reinit="create_new",
            dir=folder,
            config=dataclasses.asdict(config.of_seed(seed)),
            settings=wandb.Settings(console="off", silent=True, init_timeout=60),
        )
    )
