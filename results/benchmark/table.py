"""Prints README's table of speeds from `cpu.csv`: python results/benchmark/table.py."""

from __future__ import annotations

import csv
from pathlib import Path

CSV = Path(__file__).resolve().parent / "cpu.csv"


def table(path: Path = CSV) -> str:
    """The best row of each environment and observation, and its ratio to Procgen's, as Markdown."""
    best: dict[tuple[str, str], dict[str, str]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            key = row["environment"], row["observation"]
            if row["episodes"] == "random play" and speed(row) > speed(best.get(key)):
                best[key] = row
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
    """Steps per second; 0 of no row."""
    return float(row["steps_per_second"]) if row else 0.0


if __name__ == "__main__":
    print(table())
