"""The Python loop around the compiled update: rows, progress, checkpoints, signals."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from coinrun_jax.checks import InputError, one_line
from coinrun_jax.cli import Fault
from coinrun_jax.registry import testbed_of
from train import curves, distributed, metrics, policy
from train.checkpoints import CheckpointError, Checkpoints
from train.loggers import CsvLogger, has_rows, rows_of_updates
from train.ppo import Metrics, TrainState
from train.program import Program
from train.looks import Look, look_columns
from train.wandb_logger import WandbLogger

METRICS, CHECKPOINTS, PROFILE = "metrics.csv", "checkpoints", "profile"
PROFILED = range(2, 5)
"""Updates of this process that `profile` traces: the first one warms up."""


def train(
    program: Program,
    run_dir: Path,
    folders: Sequence[Path],
    run_ids: Sequence[str],
    begin: Callable[[], None],
    profile: bool = False,
) -> int:
    """Train from the newest checkpoint to the end.

    Args:
      folders: one per seed, for its metrics and policy.
      run_ids: one per seed, for wandb.
      begin: called once all that is there has been read and found usable; nothing has been
        written before.
      profile: whether to write jax's profile of a few updates.

    Returns:
      0, or 128 and the number of the signal that stopped it earlier.

    Raises:
      InputError: if the run's files do not belong together, or the compiled program does not
        fit into memory.
      Fault: if the run's files cannot be written.
    """
    stopping = _StopRequest()
    try:
        past = _Past.read(program, run_dir, folders)
        begin()
        loop = _Loop(program, run_dir, folders, past)
        try:
            if not loop.is_finished:
                loop.compile()
            wandb = WandbLogger(program.config, run_dir, folders, run_ids, distributed.is_main())
            try:
                loop.run(stopping, wandb, profile)
                if loop.is_finished:
                    wandb.log_policies()
            finally:
                wandb.close()
        finally:
            loop.close()
    except (OSError, CheckpointError) as error:
        raise Fault(
            f"{_reason(error)}; once that is mended, go on with: python -m train --resume {run_dir}"
        ) from error
    finally:
        stopping.restore()
    if loop.is_finished:
        return 0
    _say(f"stopped after {loop.done} updates; go on with: python -m train --resume {run_dir}")
    return 128 + (stopping.number or signal.SIGTERM)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'file'}: {error.strerror}"
    return one_line(error)


class _Past(NamedTuple):
    """What a run has done so far, read from its directory."""

    done: int
    """Updates."""
    packed: TrainState | None
    """Of the newest readable checkpoint, if there is one."""
    rows: list[list[dict[str, str]]]
    """Of metrics.csv, up to the checkpoint; for every seed."""
    columns: list[str]

    @classmethod
    def read(cls, program: Program, run_dir: Path, folders: Sequence[Path]) -> _Past:
        """Everything that is needed to go on; changes nothing.

        Raises:
          InputError: where something has been trained that no readable checkpoint leads to, or
            metrics.csv is not that of the checkpoint.
        """
        columns = table_of(program).columns
        restored = Checkpoints(run_dir / CHECKPOINTS).restore(program.shapes())
        if restored is None:
            # Without its checkpoints a run would begin anew, over what has been trained.
            for folder in filter(is_trained, folders):
                raise _lost(folder, run_dir, "no checkpoint")
        elif restored[0] == 0:  # before the first policy there is no other
            for folder in filter(_has_policy, folders):
                raise _lost(folder, run_dir, "only the checkpoint of its beginning")
        done, packed = restored or (0, None)
        rows = [rows_of_updates(folder / METRICS, columns, done) for folder in folders]
        return cls(done, packed, rows, columns)


def table_of(program: Program) -> metrics.Table:
    """What metrics.csv of a run holds."""
    config = program.config
    looks = look_columns(config) if config.eval_every else ()
    return metrics.Table(config, testbed_of(config.env), program.learner.env, looks)


def _lost(folder: Path, run_dir: Path, left: str) -> InputError:
    return InputError(
        f"{folder} has been trained, but {run_dir / CHECKPOINTS} holds {left} to go on from; "
        "restore them, or train anew in another --run-dir"
    )


def _has_policy(folder: Path) -> bool:
    return any(os.path.lexists(folder / name) for name in (policy.DESCRIPTION, policy.ARRAYS))


def is_trained(folder: Path) -> bool:
    """Whether any update of a seed has left its row or its policy.

    Raises:
      InputError: where metrics.csv cannot be read.
    """
    metrics_csv = folder / METRICS
    return _has_policy(folder) or (os.path.lexists(metrics_csv) and has_rows(metrics_csv))


class _Loop:
    """A run under way."""

    def __init__(
        self, program: Program, run_dir: Path, folders: Sequence[Path], past: _Past
    ) -> None:
        config = program.config
        self.program, self.config = program, config
        self.run_dir, self.folders = run_dir, folders
        self.checkpoints = Checkpoints(run_dir / CHECKPOINTS, config.keep_checkpoints)
        distributed.on_main(self.checkpoints.tidy)
        distributed.on_main(partial(self.checkpoints.set_aside_after, past.done))
        self.done = past.done
        """Updates."""
        self.recent = metrics.RecentReturn()
        self.table = table_of(program)
        self.look = Look(config, program.learner.env, program.learner.network.apply)
        state = jax.device_get(program.init())
        if past.packed is None:
            # Before anything else: whatever is trained, there is a checkpoint that leads to it.
            self.checkpoints.save(0, jax.device_get(program.pack(state)), None)
        else:
            state = program.unpack(past.packed, state)
        self.state: TrainState = program.layout.place(state)
        self.saved = self.done
        self.tables: list[CsvLogger] = []
        distributed.on_main(partial(self._open_tables, past))

    def _open_tables(self, past: _Past) -> None:
        for folder, rows in zip(self.folders, past.rows, strict=True):
            self.tables.append(CsvLogger(folder / METRICS, past.columns, rows))

    @property
    def is_finished(self) -> bool:
        return self.done >= self.config.num_updates

    def compile(self) -> None:
        _say(f"compiling for {jax.device_count()} x {jax.devices()[0].device_kind} ...")
        self.program.compile(self.state)
        _say(f"compiled in {self.program.compile_seconds:.1f} s")

    def run(self, stopping: _StopRequest, wandb: WandbLogger, profile: bool) -> None:
        """Update until the end or a signal, then save."""
        config = self.config
        batch = config.ppo.batch_size * config.num_seeds
        with (
            tqdm(
                total=config.num_updates * batch,
                initial=self.done * batch,
                unit="step",
                unit_scale=True,
                disable=not distributed.is_main(),
            ) as bar,
            _Profile(self.run_dir / PROFILE, profile and distributed.is_main()) as trace,
        ):
            while not self.is_finished and not distributed.agree_on(stopping.requested):
                trace.next_update()
                rows = self._update()
                distributed.on_main(partial(self._log, rows))
                wandb.log(rows)
                bar.set_postfix(self._summary(rows), refresh=False)
                bar.update(batch)
                if self.done % config.checkpoint_every == 0:
                    self._save()
        if self.saved < self.done:
            self._save()
        else:  # a run that was stopped between its checkpoint and its policy
            self._export()
        if self.is_finished:
            tables = [folder / METRICS for folder in self.folders]
            distributed.on_main(partial(curves.save, tables, self.table.testbed, self.run_dir / curves.NAME))

    def _log(self, rows: list[dict[str, Any]]) -> None:
        for table, row in zip(self.tables, rows, strict=True):
            table.log(row)

    def close(self) -> None:
        self.checkpoints.close()
        for table in self.tables:
            table.close()

    def _update(self) -> list[dict[str, Any]]:
        """One update; its row for every seed."""
        config = self.config
        began = time.perf_counter()
        self.state, on_devices = self.program.update(self.state)
        measured: Metrics = distributed.to_host(on_devices)
        seconds = time.perf_counter() - began
        self.done += 1
        self.recent.add(measured)
        looks = self._look()
        rate = config.ppo.batch_size * config.num_seeds / seconds
        return [
            self.table.row(metrics.of_seed(measured, index, config.num_seeds), self.done)
            | looks[index]
            | {"seconds": round(seconds, 4), "steps_per_second": round(rate)}
            for index in range(config.num_seeds)
        ]

    def _look(self) -> list[dict[str, Any]]:
        """Columns of the look at held-out levels; empty in between, none if never."""
        every = self.config.eval_every
        if not every:
            return [{} for _ in self.folders]
        if self.done % every:
            return [dict.fromkeys(self.table.looks, "") for _ in self.folders]
        params = distributed.to_host(self.state.params)  # a meeting point of all processes
        return self.look(params) if distributed.is_main() else [{} for _ in self.folders]

    def _summary(self, rows: Sequence[dict[str, Any]]) -> dict[str, str]:
        """What the bar shows: means over the seeds, where an episode has ended."""
        shown = {}
        goal = self.table.testbed
        for title, column in (("return", "return"), (goal.words.goal, f"rate_{goal.goal}")):
            values = [row[column] for row in rows if row.get(column, "") != ""]
            if values:
                shown[title] = f"{np.mean(values):.3g}"
        return shown

    def _save(self) -> None:
        state = distributed.to_host(self.program.pack(self.state))
        self.checkpoints.save(self.done, state, self.recent.take())
        self.saved = self.done
        self._export(state.params)

    def _export(self, params: Any = None) -> None:
        """Write every seed's policy."""
        params = distributed.to_host(self.state.params) if params is None else params
        distributed.on_main(partial(self._write_policies, params))

    def _write_policies(self, params: Any) -> None:
        config = self.config
        for index, (seed, folder) in enumerate(zip(config.seeds, self.folders, strict=True)):
            # A run that goes on from an older checkpoint comes by this policy again.
            if policy.updates_of(folder) <= self.done:
                own = metrics.of_seed(params, index, config.num_seeds)
                policy.save_policy(folder, own, config.of_seed(seed), self.done)


def _say(text: str) -> None:
    if distributed.is_main():
        print(text, flush=True)


class _StopRequest:
    """Turns SIGTERM and SIGINT into a wish to stop after the update in flight."""

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
    """jax's profile of a few updates, into a folder, if wanted."""

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
        elif self._is_on and self._count == PROFILED.stop:
            self._stop()

    def _stop(self) -> None:
        jax.profiler.stop_trace()
        self._is_on = False
        _say(f"profile: {self._folder}")

    def __exit__(self, *_: Any) -> None:
        if self._is_on:
            self._stop()
