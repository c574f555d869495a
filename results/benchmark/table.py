"""Prints the table in docs/speed.md from `cpu.csv`: python results/benchmark/table.py."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # folders of the checkout

from coinrun_jax.checks import InputError
from coinrun_jax.cli import Parser, command
from coinrun_jax.files import shortened
from eval.reading import read_numbers

CSV = Path(__file__).resolve().parent / "cpu.csv"
_NAMES = ("environment", "observation", "num_envs", "episodes")


def table(path: Path = CSV) -> str:
    """The best row of each environment and observation, and its ratio to Procgen's, as Markdown.

    Raises:
      InputError: if there is no such table.
    """
    best: dict[tuple[str, str], dict[str, str]] = {}
    for row in read_numbers(path, "table of speeds", ("steps_per_second",), texts=_NAMES):
        key = row["environment"], row["observation"]
        if row["episodes"] == "random play" and speed(row) > speed(best.get(key)):
            best[key] = row
    if ("procgen", "rgb") not in best:
        raise InputError(f"table of speeds {shortened(path)} has no row of procgen's")
    procgen = speed(best["procgen", "rgb"])
    lines = ["| | observation | environments | steps/s | × Procgen |", "|---|---|---|---|---|"]
    for row in sorted(best.values(), key=speed, reverse=True):
        name, observation = row["environment"], row["observation"]
        ratio = speed(row) / procgen
        lines.append(
            f"| {name} | {observation} | {row['num_envs']} | {speed(row):,.0f} | {ratio:.1f} |"
        )
    return "\n".join(lines)


def speed(row: dict[str, str] | None) -> float:
    """Steps per second; 0 for no row."""
    return float(row["steps_per_second"]) if row else 0.0


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `coinrun_jax.cli` for the exit status."""
    Parser(description=(__doc__ or "").split("\n")[0]).parse_args(arguments)
    print(table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
