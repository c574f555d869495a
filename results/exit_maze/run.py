"""Trains and measures agents for the question of the exit maze: do they follow green or the exit?

python -m results.exit_maze.run [--list] [--seeds N] [--steps N] [--levels N] [--out DIR]
                                 [--runs DIR] [CELL ...]

A cell is one way to train: how often the exit is green, and how many inputs show colours and the
exit. Its agents are trained side by side in one program, in runs/exit_maze, where a stopped run
resumes. Cells in cells.csv are not trained again, so the study can be done in pieces; the most
telling ones come first.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coinrun_jax.checks import InputError
from coinrun_jax.cli import Parser, command, integer
from coinrun_jax.compilation import enable_compilation_cache
from coinrun_jax.exit_maze.maze_suites import SUITES
from coinrun_jax.files import read_rows, write_rows
from coinrun_jax.hardware import device_name
from coinrun_jax.suites import CONTROL, Suite
from eval.evaluate import Protocol, evaluate, evaluate_next
from eval.results import AGENT, Evaluation
from train.config import load_config, seed_folders
from train.policy import load_policy
from train.provenance import source_commit
from train.sweep import is_done

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
RUNS = ROOT / "runs" / "exit_maze"
CONFIG = FOLDER / "config.yaml"
AGENTS, CELLS = "agents.csv", "cells.csv"
STRENGTHS = (1.0, 0.99, 0.95, 0.9, 0.75, 0.5)
SALIENCES = (1, 4, 16)
PLACES = {
    "elsewhere": "green_elsewhere",
    "corridor": "green_in_corridor",
    "border": "green_on_border",
}
"""Column -> condition: where green is, away from the exit; each is also played without green."""
CONDITIONS = (
    "exit_green",
    "green_elsewhere_exit_closed",
    *(name + suffix for name in PLACES.values() for suffix in ("", CONTROL)),
)


@dataclass(frozen=True)
class Cell:
    """One way to train."""

    exit_green: float = 1.0
    """How often the exit is green in training."""
    colour_planes: int = 1
    exit_planes: int = 1

    @property
    def name(self) -> str:
        percent = round(100 * self.exit_green)
        return f"green{percent:03d}_colour{self.colour_planes}_exit{self.exit_planes}"

    @property
    def settings(self) -> list[str]:
        """Arguments of `python -m train`."""
        values = {
            "--env.cues.exit-green": self.exit_green,
            "--env.colour-planes": self.colour_planes,
            "--env.exit-planes": self.exit_planes,
        }
        return [str(word) for pair in values.items() for word in pair]


def cells() -> dict[str, Cell]:
    """All cells by name, the most telling ones first."""
    ordered = [
        *(Cell(strength) for strength in (1.0, 0.9, 0.5)),
        *(Cell(1.0, colour_planes=number) for number in SALIENCES[1:]),
        *(Cell(1.0, exit_planes=number) for number in (0, *SALIENCES[1:])),
        Cell(1.0, colour_planes=0),
        *(Cell(strength) for strength in STRENGTHS),
        *(Cell(strength, colour_planes=4) for strength in STRENGTHS),
        *(Cell(strength, colour_planes=0) for strength in (0.9, 0.5)),
        *(Cell(strength, colour_planes=16) for strength in STRENGTHS),
    ]
    return {cell.name: cell for cell in ordered}


def train(cell: Cell, runs: Path, seeds: int, steps: int | None) -> str:
    """Train the agents of a cell, or finish their training; returns the command.

    Raises:
      SystemExit: if the run ends early.
    """
    run_dir = runs / cell.name
    words = ["--config", str(CONFIG.relative_to(ROOT)), *cell.settings, "--num-seeds", str(seeds)]
    words += ["--total-steps", str(steps)] if steps else []
    if not is_done(run_dir):
        begun = (run_dir / "config.yaml").exists()
        arguments = ["--resume", str(run_dir)] if begun else [*words, "--run-dir", str(run_dir)]
        status = subprocess.run([sys.executable, "-m", "train", *arguments], cwd=ROOT, check=False)
        if status.returncode:
            raise SystemExit(status.returncode)
    return shlex.join(["python", "-m", "train", *words, "--run-dir", f"runs/exit_maze/{cell.name}"])


def measure(cell: Cell, runs: Path, levels: int) -> list[dict[str, object]]:
    """Play every agent of a cell; a row for each."""
    run_dir = runs / cell.name
    folders = seed_folders(run_dir, load_config(run_dir / "config.yaml"))
    suite = SUITES["relocation"]
    chosen = tuple(each for each in suite.conditions if each.name in CONDITIONS)
    protocol = Protocol(Suite("relocation", chosen, suite.judged), levels)
    policies = [load_policy(folder) for folder in folders]
    first, arena = evaluate(policies[0], protocol, folders[0].name)
    played = [first]
    for folder, policy in zip(folders[1:], policies[1:], strict=True):
        played.append(evaluate_next(policy, protocol, folder.name, first, arena))
    return [agent_row(cell, each, levels) for each in played]


def agent_row(cell: Cell, evaluation: Evaluation, levels: int) -> dict[str, object]:
    """What an agent touched first, as counts of episodes."""

    def count(condition: str, column: str) -> int:
        index = evaluation.suite.index(condition)
        return int(np.sum(evaluation.came_to(AGENT, index, column)))

    return {
        "cell": cell.name,
        "exit_green": cell.exit_green,
        "colour_planes": cell.colour_planes,
        "exit_planes": cell.exit_planes,
        "seed": evaluation.config.seed,
        "episodes": levels,
        "exit_found": count("exit_green", "exit"),
        "elsewhere_exit": count("green_elsewhere", "exit"),
        "closed_exit": count("green_elsewhere_exit_closed", "exit"),
    } | {
        f"{place}_{event}": count(condition + suffix, event)
        for place, condition in PLACES.items()
        for event, suffix in (("green", ""), ("ghost", CONTROL))
    }


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a table; none if there is no such file."""
    return read_rows(path, "table") if path.exists() else []


def write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows of one kind as a table."""
    write_rows(path, list(rows[0]), [list(row.values()) for row in rows])


def study(cell: Cell, runs: Path, out: Path, seeds: int, steps: int | None, levels: int) -> None:
    """Train and measure a cell, and add it to the tables."""
    line = train(cell, runs, seeds, steps)
    rows = measure(cell, runs, levels)
    agents = [row for row in read(out / AGENTS) if row["cell"] != cell.name]
    write(out / AGENTS, [*agents, *rows])
    described = {
        "cell": cell.name,
        "seeds": seeds,
        "commit": source_commit(),
        "device": device_name(),
        "command": line,
    }
    write(out / CELLS, [*read(out / CELLS), described])  # last: it marks the cell as done


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `cli` for its exit status."""
    parser = Parser(prog="python -m results.exit_maze.run", description=__doc__)
    parser.add_argument("cells", nargs="*", metavar="CELL", help="default: all that are missing")
    parser.add_argument("--list", action="store_true", help="print the cells' state")
    parser.add_argument("--seeds", type=integer(1, 1000), default=20)
    parser.add_argument("--steps", type=integer(1, 10**9), help="of each agent")
    parser.add_argument("--levels", type=integer(1, 100_000), default=256)
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR", help="of the tables")
    parser.add_argument("--runs", type=Path, default=RUNS, metavar="DIR", help="of the agents")
    args = parser.parse_args(arguments)
    every = cells()
    for name in args.cells:
        if name not in every:
            raise InputError(f"no cell {name!r}; --list names all")
    known = {row["cell"] for row in read(args.out / CELLS)}
    chosen = {name: every[name] for name in args.cells or every if name not in known}
    if args.list:
        for name in every:
            print(f"{name:32}{'measured' if name in known else ''}")
        return 0
    enable_compilation_cache()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, cell in chosen.items():
        print(f"cell {name}", flush=True)
        study(cell, args.runs.resolve(), args.out, args.seeds, args.steps, args.levels)
    return 0


if __name__ == "__main__":
    sys.exit(main())
