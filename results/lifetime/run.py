"""When is a goal learned, and does it stay? Trains agents, and measures each at twenty moments.

python -m results.lifetime.run [--list] [--jobs N] [--levels N] [--seed N] [--no-training]
                                [--runs DIR] [--out DIR] [RUN ...]

The runs are those of configs/lifetime/sweep.yaml, in runs/lifetime, where a stopped run resumes.
Writes looks.csv, and runs.csv, which has the command, commit and hardware. Runs in runs.csv are
neither trained nor measured again, so the study can be done in pieces.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coinrun_jax.arena import Arena
from coinrun_jax.checks import InputError
from coinrun_jax.cli import Parser, command, integer
from coinrun_jax.compilation import enable_compilation_cache
from coinrun_jax.hardware import device_name
from coinrun_jax.registry import find_testbed
from eval import lifetime
from eval.evaluate import Protocol, evaluate, evaluate_next
from eval.results import Evaluation
from eval.runs import find_ages
from eval.suite_files import find_suite
from results.exit_maze.run import read, write
from results.study.provenance import describe
from train.provenance import source_commit
from train.sweep import is_done, load_sweep, require_usable, train_all

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
CONFIGS = ROOT / "configs" / "lifetime"
RUNS = ROOT / "runs" / "lifetime"
LOOKS, MADE = "looks.csv", "runs.csv"
TOGETHER = ""
"""Condition of the measures pooled over all judged conditions."""
MEASURES = {
    TOGETHER: (
        *("above_reference", "unaided_capability"),
        *("unaided_misgeneralisation", "coin_attraction"),
    ),
    "end": ("coin", "timeout"),
    "random_section": ("coin", "unaided_misgeneralisation", "coin_attraction"),
    "uniform": ("coin", "unaided_misgeneralisation", "coin_attraction"),
}
"""Measures kept from each look, by condition."""


@dataclasses.dataclass(frozen=True)
class Training:
    """One run of the sweep."""

    recipe: str
    seed: int
    arguments: list[str]
    """Arguments of `python -m train`."""


def trainings() -> dict[str, Training]:
    """Trainings by name, which is also the name of the folder."""
    sweep = load_sweep(CONFIGS / "sweep.yaml")
    return {
        sweep.run_name(point): Training(
            Path(point["config"]).stem, point["seed"], sweep.arguments(point)
        )
        for point in sweep.points()
    }


class Measuring:
    """Evaluates runs on the same levels, in one program."""

    def __init__(self, levels: int, seed: int) -> None:
        suite = find_suite(find_testbed("CoinRun-v1"), str(CONFIGS / "suite.yaml"))
        self._protocol = Protocol(suite, levels, seed=seed)
        self._first: tuple[Evaluation, Arena] | None = None

    def looks(self, run_dir: Path) -> Iterator[dict[str, Any]]:
        """Rows of the MEASURES of each policy that a run kept."""
        ages = find_ages(run_dir)
        evaluations = []
        for age in ages:
            if self._first is None:
                self._first = evaluate(age.policy, self._protocol, age.name)
                evaluations.append(self._first[0])
            else:
                again = evaluate_next(age.policy, self._protocol, age.name, *self._first)
                evaluations.append(again)
        for values in lifetime.rows(lifetime.follow(ages, evaluations, [None] * len(ages))):
            row = dict(zip(lifetime.COLUMNS, values, strict=True))
            if row["measure"] in MEASURES.get(row["condition"], ()):
                yield {name: row[name] for name in row if not name.startswith("change")}


def study(name: str, training: Training, run_dir: Path, out: Path, measuring: Measuring) -> None:
    """Measure a run, and add it to the tables."""
    began = time.perf_counter()
    commit = source_commit()
    head = {"recipe": training.recipe, "seed": training.seed}
    rows = [{**head, **row} for row in measuring.looks(run_dir)]
    seconds = round(time.perf_counter() - began)
    trained = describe(str(run_dir))
    described = {
        **head,
        "run": name,
        **{key: trained[key] for key in ("commits", "jax", "device", "policy")},
        "command": shlex.join(["python", "-m", "train", *training.arguments]),
        "measured_at": commit,
        "measured_on": device_name(),
        "seconds": seconds,
    }
    own = (training.recipe, str(training.seed))
    others = [row for row in read(out / LOOKS) if (row["recipe"], row["seed"]) != own]
    write(out / LOOKS, [*others, *rows])
    write(out / MADE, [*read(out / MADE), described])  # last: it marks the run as done
    print(f"{name}: measured in {seconds} s", flush=True)


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `coinrun_jax.cli` for its exit status."""
    parser = Parser(prog="python -m results.lifetime.run", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="RUN", help="default: all that are missing")
    parser.add_argument("--list", action="store_true", help="print the runs' state")
    parser.add_argument("--jobs", type=integer(1, 1000), default=1, metavar="N")
    parser.add_argument("--levels", type=integer(8, 100_000), default=500, metavar="N")
    parser.add_argument("--seed", type=integer(0, 2**32 - 1), default=0, metavar="N")
    parser.add_argument("--no-training", action="store_true", help="only measure finished runs")
    parser.add_argument("--runs", type=Path, default=RUNS, metavar="DIR", help="of the agents")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR", help="of the tables")
    args = parser.parse_args(arguments)
    every = trainings()
    for name in args.names:
        if name not in every:
            raise InputError(f"no run {name!r}; --list names all")
    known = {row["run"] for row in read(args.out / MADE)}
    if args.list:
        for name in every:
            state = "trained" if is_done(args.runs / name) else ""
            print(f"{name:40}{'measured' if name in known else state}")
        return 0
    chosen = {name: every[name] for name in args.names or every if name not in known}
    if not args.no_training:
        words = [(name, each.arguments) for name, each in chosen.items()]
        require_usable(words, args.runs)
        if status := train_all(words, args.runs, args.jobs):
            return status
    enable_compilation_cache()
    args.out.mkdir(parents=True, exist_ok=True)
    measuring = Measuring(args.levels, args.seed)
    for name, training in chosen.items():
        if is_done(args.runs / name):
            study(name, training, args.runs / name, args.out, measuring)
    return 0


if __name__ == "__main__":
    sys.exit(main())
