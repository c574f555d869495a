"""Run a sweep's YAML without a server.

python -m train.sweep FILE [--out DIR] [--jobs N] [--shard I/N] [--section.key value ...]

Runs what `wandb sweep FILE` and its agents would for a grid: one run per combination, in DIR/NAME
(default: runs/ and the sweep's name). Finished runs are skipped, interrupted ones are resumed.
`--jobs` trains several at a time, each with its share of the cores and GPUs: two runs on one core
each get more done than one run on two cores (`results/train`). `--shard` takes every N-th
combination from the I-th, counted from 0, for cluster job arrays. Further settings apply to every
run.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import math
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax

from coinrun_jax.checks import InputError, shown
from coinrun_jax.cli import Parser, command, integer
from coinrun_jax.files import read_yaml, require_makeable, require_plain_name
from train.config import CONFIG, TrainConfig, flat_settings, load_config, seed_folders
from train.devices.worker_resources import Resources, divide_machine
from train.environment import require_usable as require_usable_settings
from train.overrides import configure
from train.policy import updates_of

ARGS, ENV = "${args}", "${env}"
MOST_RUNS = 10_000


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A grid of runs."""

    name: str
    words: tuple[str, ...]
    """Arguments of `python -m train` before the parameters."""
    parameters: dict[str, tuple[Any, ...]]

    def points(self) -> list[dict[str, Any]]:
        """Every combination, in the file's order."""
        combinations = itertools.product(*self.parameters.values())
        return [dict(zip(self.parameters, values, strict=True)) for values in combinations]

    def arguments(self, point: dict[str, Any]) -> list[str]:
        """Arguments of `python -m train`, as wandb's agents would pass them."""
        return [*self.words, *(f"--{name}={value}" for name, value in point.items())]

    def run_name(self, point: dict[str, Any]) -> str:
        """A name from the parameters that vary, such as `num_levels-500_seed-2`."""
        parts = [
            f"{name.rpartition('.')[2]}-{_in_a_name(value, is_path=name == 'config')}"
            for name, value in point.items()
            if len(self.parameters[name]) > 1
        ]
        return "_".join(parts) or self.name


def load_sweep(path: Path) -> Sweep:
    """Read a sweep in wandb's format.

    Raises:
      InputError: if it cannot be read, is not a grid, or does not run `python -m train`.
    """
    values = read_yaml(path, "sweep")
    try:
        return _sweep(values, path.stem)
    except InputError as error:
        raise InputError(f"sweep {path}: {error}") from error


def _sweep(values: Any, name: str) -> Sweep:
    if not isinstance(values, dict) or not isinstance(values.get("parameters"), dict):
        raise InputError("it has no section 'parameters'")
    if values.get("method") != "grid":
        raise InputError(f"method {shown(values.get('method'))} needs wandb; only grid works here")
    command = values.get("command")
    words = [str(word) for word in command if word != ENV] if isinstance(command, list) else []
    if words[:3] != ["python", "-m", "train"] or words[-1] != ARGS:
        raise InputError(f"command {shown(command)} is not [python, -m, train, ..., {ARGS}]")
    parameters = {}
    for key, choice in values["parameters"].items():
        choices = choice.get("values", [choice.get("value")]) if isinstance(choice, dict) else None
        if not isinstance(choices, list) or not choices or None in choices:
            raise InputError(f"parameter {shown(key)} has neither value nor values")
        if not isinstance(key, str):
            raise InputError(f"parameter {shown(key)} is not the name of a setting")
        parameters[key] = tuple(choices)
    count = math.prod(len(choices) for choices in parameters.values())
    if count > MOST_RUNS:
        raise InputError(f"it has {count:,} combinations; at most {MOST_RUNS:,} are run")
    name = require_plain_name("name", str(values.get("name", name)))
    return Sweep(name, tuple(words[3:-1]), parameters)


def config_of(arguments: list[str]) -> TrainConfig:
    """The config of `python -m train` with these arguments."""
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    known, settings = parser.parse_known_args(arguments)
    try:
        return configure(known.config, settings)
    except SystemExit as stop:
        raise InputError("--help is not a setting") from stop


def is_done(run_dir: Path) -> bool:
    """Whether every policy of a run is fully trained."""
    try:
        config = load_config(run_dir / CONFIG)
    except InputError:
        return False
    updates = [updates_of(folder) for folder in seed_folders(run_dir, config)]
    return min(updates) >= config.num_updates


def require_usable(runs: list[tuple[str, list[str]]], out: Path) -> None:
    """Refuse a sweep before any run starts if a run's settings cannot be used, or its folder
    belongs to another run.

    Raises:
      InputError: for the first such run.
    """
    jax.config.update("jax_platforms", "cpu")  # leave the other devices' memory to the workers
    _require_names(runs)
    for name, words in runs:
        config = config_of(words)
        require_usable_settings(config)
        if (out / name / CONFIG).exists():
            _require_same(config, load_config(out / name / CONFIG), out / name)


def _require_names(runs: list[tuple[str, list[str]]]) -> None:
    names = set()
    for name, _ in runs:
        if name in names:
            raise InputError(f"two of the runs would be called {name}")
        names.add(require_plain_name("name of a run", name))


def _require_same(asked: TrainConfig, there: TrainConfig, run_dir: Path) -> None:
    """Settings may differ only in where a run is logged."""
    wanted = flat_settings(asked)
    for name, value in flat_settings(there).items():
        if value != wanted.get(name) and not name.startswith("wandb."):
            raise InputError(
                f"{run_dir} was started with {name} {value}, not {wanted.get(name)}; "
                "give another --out"
            )


def _in_a_name(value: Any, is_path: bool) -> str:
    if is_path:
        return Path(str(value)).stem
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


class _Runner:
    """Trains each run in its own process; a signal makes all of them save and stop."""

    def __init__(self, out: Path, jobs: int) -> None:
        self._out = out
        self._free: queue.SimpleQueue[Resources] = queue.SimpleQueue()
        for resources in divide_machine(jobs):
            self._free.put(resources)
        self.stopped_by: int | None = None
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """Within this context, SIGTERM and SIGINT stop the processes."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(number, self._stop) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def _stop(self, number: int, frame: Any) -> None:
        self.stopped_by = number
        for process in list(self._processes):
            process.send_signal(signal.SIGTERM)

    @contextlib.contextmanager
    def _resources(self) -> Iterator[Resources]:
        resources = self._free.get()
        try:
            yield resources
        finally:
            self._free.put(resources)

    def run(self, name: str, arguments: list[str]) -> bool:
        """Train a run to its end, or resume it; returns whether it is done."""
        run_dir = self._out / name
        if is_done(run_dir):
            print(f"{name}: already done", flush=True)
            return True
        exists = (run_dir / CONFIG).exists()
        words = ["--resume", str(run_dir)] if exists else [*arguments, "--run-dir", str(run_dir)]
        with self._resources() as resources, open(self._out / f"{name}.log", "ab") as log:
            with self._lock:
                if self.stopped_by is not None:
                    return False
                process = subprocess.Popen(
                    [sys.executable, "-m", "train", *words],
                    env={**os.environ, **resources.environment},
                    stdout=log,
                    stderr=log,
                )
                self._processes.add(process)
            if resources.cores:  # before jax counts them
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(process.pid, resources.cores)
            print(f"{name}: {'resumed' if exists else 'started'}", flush=True)
            process.wait()
            self._processes.discard(process)
        done = process.returncode == 0 and is_done(run_dir)
        print(f"{name}: {'done' if done else f'not done, see {log.name}'}", flush=True)
        return done


def train_all(runs: list[tuple[str, list[str]]], out: Path, jobs: int) -> int:
    """Train unfinished runs, `jobs` at a time.

    Args:
      runs: names of folders in `out`, and arguments of `python -m train`, checked by
        `require_usable`.

    Returns:
      0; 1 if some run is not done; 128 plus the number of the signal that stopped them.
    """
    for name, _ in runs:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
    runner = _Runner(out, jobs)
    with runner.stopped_by_signals(), ThreadPoolExecutor(jobs) as executor:
        done = list(executor.map(lambda run: runner.run(*run), runs))
    if runner.stopped_by is not None:
        return 128 + runner.stopped_by
    return 0 if all(done) else 1


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with 0 <= I < N")
    return int(index), int(count)


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; 1 if a run is not done."""
    parser = Parser(
        prog="python -m train.sweep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="YAML in wandb's format, method grid")
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the runs (default: runs/ and the sweep's name)",
    )
    add("--jobs", type=integer(1, 1024), default=1, metavar="N", help="runs at a time (default: 1)")
    add(
        "--shard",
        type=_shard,
        default=(0, 1),
        metavar="I/N",
        help="every N-th run, starting with the I-th (from 0)",
    )
    known, settings = parser.parse_known_args(arguments)
    sweep = load_sweep(known.file)
    index, count = known.shard
    runs = [
        (sweep.run_name(point), [*sweep.arguments(point), *settings]) for point in sweep.points()
    ]
    out = known.out or Path("runs") / sweep.name
    require_makeable(out, "--out")
    _require_names(runs)
    own = runs[index::count]
    require_usable(own, out)
    out.mkdir(parents=True, exist_ok=True)
    print(f"{len(own)} of {len(runs)} runs, in {out}", flush=True)
    return train_all(own, out, known.jobs)


if __name__ == "__main__":
    sys.exit(main())
