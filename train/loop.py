"""The Python loop around the compiled update: rows, progress, checkpoints, signals."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from coinrun_jax.checks import InputError, one_line
from coinrun_jax.cli import Fault
from coinrun_jax.registry import testbed_of
from train import policy
from train.checkpoints import CHECKPOINTS, CheckpointError, Checkpoints
from train.config import TrainConfig, seed_folders
from train.devices import processes
from train.initial_policy import Source, start_from
from train.kept_policies import KEPT, kept_folder
from train.logging import curves
from train.logging.metrics import MetricsTable, RecentReturn, of_seed
from train.logging.metrics_csv import CsvLogger, has_rows, rows_of_updates
from train.logging.wandb_logger import WandbLogger
from train.looks import Look, look_columns
from train.ppo import Metrics, TrainState
from train.stages import Stage, carry_over

METRICS, PROFILE = "metrics.csv", "profile"
PROFILED = range(2, 5)
"""Updates of this process that are profiled; the first update is a warm-up."""


@dataclass(frozen=True)
class Run:
    """A run and its files."""

    config: TrainConfig
    stages: tuple[Stage, ...]
    folder: Path
    wandb_ids: list[str]
    """One per seed."""
    sources: Callable[[], list[Source]]
    """Finds what each seed starts from; [] for fresh networks."""

    def stage_at(self, update: int) -> Stage:
        """The stage that an update belongs to."""
        return self.stages[self.config.part_at(update)]

    @cached_property
    def seed_folders(self) -> list[Path]:
        return seed_folders(self.folder, self.config)

    @cached_property
    def table(self) -> MetricsTable:
        looks = look_columns(self.config) if self.config.eval_every else ()
        testbed = testbed_of(self.config.env)
        return MetricsTable(self.config, testbed, self.stages[0].program.learner.env, looks)


def train(run: Run, begin: Callable[[], None], profile: bool = False) -> int:
    """Train from the newest checkpoint to the end.

    Args:
      begin: called once everything has been read and validated, before anything is written.
      profile: write jax's profile of a few updates.

    Returns:
      0, or 128 plus the number of the signal that stopped it.

    Raises:
      InputError: if the run's files are inconsistent, or the compiled program does not fit into
        memory.
      Fault: if the run's files cannot be written.
    """
    stopping = _StopRequest()
    try:
        past = _Past.read(run)
        begin()
        loop = _Loop(run, past)
        try:
            if not loop.is_finished:
                loop.compile()
            wandb = WandbLogger(
                run.config, run.folder, run.seed_folders, run.wandb_ids, processes.is_main()
            )
            try:
                loop.run(stopping, wandb, profile)
                if loop.is_finished:
                    wandb.log_policies()
            finally:
                wandb.close()
        finally:
            loop.close()
    except (OSError, CheckpointError) as error:
        reason = one_line(error)
        if isinstance(error, OSError) and error.strerror:
            reason = f"{error.filename or 'file'}: {error.strerror}"
        raise Fault(
            f"{reason}; after fixing it, continue with: python -m train --resume {run.folder}"
        ) from error
    finally:
        stopping.restore()
    if loop.is_finished:
        return 0
    _say(f"stopped after {loop.done} updates; continue with: python -m train --resume {run.folder}")
    return 128 + (stopping.number or signal.SIGTERM)


@dataclass(frozen=True)
class _Past:
    """What a run has done so far, according to its directory."""

    done: int
    """Updates."""
    packed: TrainState | None
    """State of the newest readable checkpoint."""
    rows: list[list[dict[str, str]]]
    """Rows of every seed's metrics.csv, up to the checkpoint."""
    sources: list[Source]
    """What each seed starts from; [] if there is a checkpoint."""

    @classmethod
    def read(cls, run: Run) -> _Past:
        """Read everything needed to continue; changes nothing.

        Raises:
          InputError: if the run has been trained but no readable checkpoint of it is left, or
            metrics.csv does not match the checkpoint.
        """
        restored = Checkpoints(run.folder / CHECKPOINTS).restore(
            lambda update: run.stage_at(update).program.shapes()
        )
        if restored is None:
            # Without its checkpoints a run would start again and overwrite what was trained.
            for folder in filter(is_trained, run.seed_folders):
                raise _lost(folder, run, "no checkpoint")
        elif restored[0] == 0:  # older than any policy
            for folder in filter(_has_policy, run.seed_folders):
                raise _lost(folder, run, "only the initial checkpoint")
        done, packed = restored or (0, None)
        columns = run.table.columns
        rows = [rows_of_updates(folder / METRICS, columns, done) for folder in run.seed_folders]
        return cls(done, packed, rows, run.sources() if restored is None else [])


def _lost(folder: Path, run: Run, left: str) -> InputError:
    return InputError(
        f"{folder} has been trained, but {run.folder / CHECKPOINTS} has {left} to resume from; "
        "restore them, or start a new run in another --run-dir"
    )


def _has_policy(folder: Path) -> bool:
    return any(os.path.lexists(folder / name) for name in (policy.DESCRIPTION, policy.ARRAYS))


def is_trained(folder: Path) -> bool:
    """Whether any update of a seed has left a metrics row or a policy, kept ones included.

    Raises:
      InputError: if metrics.csv cannot be read.
    """
    metrics_csv = folder / METRICS
    keeps = any(path.name != "0" for path in (folder / KEPT).glob("*"))
    return keeps or _has_policy(folder) or (os.path.lexists(metrics_csv) and has_rows(metrics_csv))


class _Loop:
    """A run in progress."""

    def __init__(self, run: Run, past: _Past) -> None:
        config = run.config
        self._run, self._config, self._stage = run, config, run.stage_at(past.done)
        self._checkpoints = Checkpoints(run.folder / CHECKPOINTS, config.keep_checkpoints)
        processes.on_main(self._checkpoints.tidy)
        processes.on_main(partial(self._checkpoints.set_aside_after, past.done))
        self.done = past.done
        """Updates."""
        self._recent = RecentReturn()
        program = self._stage.program
        self._look = self._look_of(self._stage)
        state = jax.device_get(program.init())
        if past.packed is None:
            state = start_from(past.sources, state, config) if past.sources else state
            # Before anything else, so that there is always a checkpoint to resume from.
            self._checkpoints.save(0, jax.device_get(program.pack(state)), None)
        else:
            state = program.unpack(past.packed, state)
        self._state: TrainState = program.place(state)
        self._saved = self.done
        self._csv: list[CsvLogger] = []
        processes.on_main(partial(self._open_csv, past))
        if not self.done:
            self._keep_if_due()

    def _open_csv(self, past: _Past) -> None:
        for folder, rows in zip(self._run.seed_folders, past.rows, strict=True):
            self._csv.append(CsvLogger(folder / METRICS, self._run.table.columns, rows))

    @property
    def is_finished(self) -> bool:
        return self.done >= self._config.num_updates

    def _look_of(self, stage: Stage) -> Look:
        return Look(stage.program.config, stage.program.learner.network.apply)

    def _begin_stage(self) -> None:
        """Move on to the next stage.

        Its initial state depends only on what the previous stage learned, so a run interrupted
        here reproduces it.
        """
        learned = processes.to_host(self._state)
        self._stage = self._run.stage_at(self.done + 1)
        program = self._stage.program
        first = jax.device_get(program.init())
        keeps = program.config.optimizer == "kept"
        self._state = program.place(carry_over(learned, first, keeps))
        self._look = self._look_of(self._stage)

    @property
    def _is_at_border(self) -> bool:
        return self.done == self._stage.end and not self.is_finished

    def compile(self) -> None:
        """Compile the program of the next update."""
        if self._is_at_border:
            self._begin_stage()
        _say(f"compiling for {jax.device_count()} x {jax.devices()[0].device_kind} ...")
        self._stage.program.compile(self._state)
        _say(f"compiled in {self._stage.program.compile_seconds:.1f} s")

    def run(self, stopping: _StopRequest, wandb: WandbLogger, profile: bool) -> None:
        """Update until the end or a signal, then save."""
        config = self._config
        is_main = processes.is_main()
        with (
            tqdm(
                total=config.steps_at(config.num_updates) * config.num_seeds,
                initial=config.steps_at(self.done) * config.num_seeds,
                unit="step",
                unit_scale=True,
                disable=not is_main,
            ) as bar,
            _Profile(self._run.folder / PROFILE, profile and is_main) as trace,
        ):
            while not self.is_finished and not processes.agree_on(stopping.requested):
                if self._is_at_border:
                    self.compile()
                trace.next_update()
                rows = self._update()
                processes.on_main(partial(self._log, rows))
                self._keep_if_due()  # before any checkpoint that a run could resume from
                wandb.log(rows)
                bar.set_postfix(self._run.table.summary(rows), refresh=False)
                bar.update(self._batch)
                if self.done % config.checkpoint_every == 0 or self._is_at_border:
                    self._save()
        if self._saved < self.done:
            self._save()
        else:  # the run was stopped between writing its checkpoint and its policy
            self._export()
        if self.is_finished:
            tables = [folder / METRICS for folder in self._run.seed_folders]
            path = self._run.folder / curves.NAME
            processes.on_main(partial(curves.save, tables, self._run.table.testbed, path))

    def _log(self, rows: list[dict[str, Any]]) -> None:
        for file, row in zip(self._csv, rows, strict=True):
            file.log(row)

    def close(self) -> None:
        self._checkpoints.close()
        for file in self._csv:
            file.close()

    @property
    def _batch(self) -> int:
        """Environment steps per update, over all seeds."""
        return self._stage.program.config.ppo.batch_size * self._config.num_seeds

    def _update(self) -> list[dict[str, Any]]:
        """Run one update; returns every seed's row."""
        config, table = self._config, self._run.table
        began = time.perf_counter()
        self._state, on_devices = self._stage.program.update(self._state)
        measured: Metrics = processes.to_host(on_devices)
        seconds = time.perf_counter() - began
        self.done += 1
        self._recent.add(measured)
        times = {"seconds": round(seconds, 4), "steps_per_second": round(self._batch / seconds)}
        return [
            table.row(of_seed(measured, index, config.num_seeds), self.done) | look | times
            for index, look in enumerate(self._look_if_due())
        ]

    def _look_if_due(self) -> list[dict[str, Any]]:
        """Every seed's columns of a held-out evaluation; blank between evaluations."""
        every, looks = self._config.eval_every, self._run.table.looks
        blank: list[dict[str, Any]] = [dict.fromkeys(looks, "") for _ in self._config.seeds]
        if not every or self.done % every:
            return blank
        params = processes.to_host(self._state.params)  # all processes must take part
        return self._look(params) if processes.is_main() else blank

    def _save(self) -> None:
        state = processes.to_host(self._stage.program.pack(self._state))
        self._checkpoints.save(self.done, state, self._recent.take())
        self._saved = self.done
        self._export(state.params)

    def _export(self, params: Any = None) -> None:
        """Write every seed's policy."""
        params = processes.to_host(self._state.params) if params is None else params
        processes.on_main(partial(self._write_policies, params))

    def _write_policies(self, params: Any) -> None:
        for index, folder in enumerate(self._run.seed_folders):
            # A run resumed from an older checkpoint will reach a newer policy again.
            if policy.updates_of(folder) <= self.done:
                self._write_policy(folder, params, index)

    def _write_policy(self, folder: Path, params: Any, index: int) -> None:
        """Write one seed's policy.

        Args:
          params: parameters of all seeds.
          index: index of the seed.
        """
        config = self._config.of_seed(self._config.seeds[index])
        own = of_seed(params, index, self._config.num_seeds)
        policy.save_policy(folder, own, config, self.done)

    def _keep_if_due(self) -> None:
        """Keep every seed's policy for good, if the config says so."""
        if self.done in self._config.kept_updates:
            params = processes.to_host(self._state.params)
            processes.on_main(partial(self._keep, params))

    def _keep(self, params: Any) -> None:
        for index, run_folder in enumerate(self._run.seed_folders):
            folder = kept_folder(run_folder, self._config.steps_at(self.done))
            folder.mkdir(parents=True, exist_ok=True)
            self._write_policy(folder, params, index)


def _say(text: str) -> None:
    if processes.is_main():
        print(text, flush=True)


class _StopRequest:
    """Turns SIGTERM and SIGINT into a request to stop after the current update."""

    def __init__(self) -> None:
        self.requested = False
        self.number: int | None = None
        self._before = {
            number: signal.signal(number, self._request)
            for number in (signal.SIGTERM, signal.SIGINT)
        }

    def _request(self, number: int, frame: Any) -> None:
        self.requested, self.number = True, number
        signal.signal(number, signal.SIG_DFL)  # a second one stops at once

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class _Profile:
    """Writes jax's profile of a few updates into a folder, if wanted."""

    def __init__(self, folder: Path, is_wanted: bool) -> None:
        self._folder, self._is_wanted = folder, is_wanted
        self._count, self._is_on = 0, False

    def __enter__(self) -> _Profile:
        return self

    def next_update(self) -> None:
        """Called before every update."""
        self._count += 1
        if self._is_wanted and self._count == PROFILED.start:
            jax.profiler.start_trace(str(self._folder))
            self._is_on = True
        elif self._count == PROFILED.stop:
            self.__exit__()

    def __exit__(self, *_: Any) -> None:
        if self._is_on:
            jax.profiler.stop_trace()
            self._is_on = False
            _say(f"profile: {self._folder}")
