"""Compiles two configs and two environments for several targets: python -m results.targets.measure.

Each row is a separate command and takes minutes on one processor. Rows already in `targets.csv`
are skipped, so an interrupted measurement resumes; delete the file to start over.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

from coinrun_jax.cli import Fault, Parser, command
from coinrun_jax.files import read_rows, write_rows
from coinrun_jax.hardware import device_name

HERE = Path(__file__).resolve().parent
CSV = HERE / "targets.csv"
PLAIN = (
    *("target", "devices", "program", "observation", "num_envs", "compile_seconds", "memory"),
    *("memory_available", "flops", "bytes", "kernels_per_step", "loops_per_step"),
    *("host_predicates_per_step", "kernels", "host_transfers", "collectives", "collective_bytes"),
)
COLUMNS = (
    *("config", *PLAIN, "loops_over_environments", "bound", "steps_per_second_low"),
    *("steps_per_second_high", "jax", "commit", "hardware", "command"),
)
QUICKSTART, PAPER = "configs/quickstart.yaml", "configs/paper_rgb.yaml"
ENVIRONMENT = ("--program", "environment", "--ppo.num-envs", "1024")


def on_devices(count: int) -> tuple[str, ...]:
    """Settings for so many devices of 1,024 environments each, with a level for every one."""
    envs = str(1024 * count)
    return "--devices", str(count), "--ppo.num-envs", envs, "--env.pool-size", envs


ROWS: list[list[str]] = [
    ["--for", target, "--config", config, *more]
    for config, more, targets in (
        (QUICKSTART, (), ("h100",)),
        (QUICKSTART, ENVIRONMENT, ("h100", "v5e")),
        (PAPER, ENVIRONMENT, ("h100", "v5e")),
        (PAPER, (), ("h100",)),
        (QUICKSTART, (), ("v5e",)),
        *((QUICKSTART, on_devices(count), ("h100",)) for count in (8, 64, 512)),
        *((QUICKSTART, on_devices(count), ("v5e",)) for count in (8, 64, 256)),
        (PAPER, (), ("v5e",)),
        (QUICKSTART, (), ("a100", "h200", "v5p", "v6e")),
    )
    for target in targets
]


def row_of(found: dict[str, Any], config: str) -> dict[str, Any]:
    """A line of the CSV from the command's JSON."""
    low, high = found["estimate"]["steps_per_second"]
    return {
        "config": Path(config).stem,
        **{name: found[name] for name in PLAIN},
        "loops_over_environments": sum(one["count"] for one in found["loops_over_environments"]),
        "bound": found["estimate"]["bound"],
        "steps_per_second_low": round(low),
        "steps_per_second_high": round(high),
        "jax": found["jax"],
        "commit": found["commit"],
        "hardware": device_name(),
        "command": found["command"],
    }


def measure(python: str, words: list[str]) -> None:
    """Run one command and append its row.

    Raises:
      Fault: if it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        command = [python, "-m", "train.targets", *words, "--json", str(out)]
        status = subprocess.run(command, cwd=HERE.parents[1]).returncode
        if status:
            raise Fault(f"{' '.join(words)} failed with exit status {status}, see above")
        found = json.loads(out.read_text())
    row = row_of(found | {"command": command_of(words)}, words[words.index("--config") + 1])
    rows = [*known_rows(), row]
    write_rows(CSV, COLUMNS, [[row[name] for name in COLUMNS] for row in rows])


def command_of(words: list[str]) -> str:
    """The command as a user types it and the CSV has it."""
    return " ".join(["python -m train.targets", *words])


def known_rows() -> list[dict[str, str]]:
    """Rows of the CSV, if there is one."""
    return read_rows(CSV, "table of targets", COLUMNS) if CSV.exists() else []


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `coinrun_jax.cli` for its exit status."""
    parser = Parser(prog="python -m results.targets.measure", description=__doc__)
    parser.add_argument(
        "--python", default=sys.executable, help="the interpreter that has the compilers"
    )
    args: Namespace = parser.parse_args(arguments)
    done = {row["command"] for row in known_rows()}
    for words in ROWS:
        if command_of(words) not in done:
            measure(args.python, words)
    return 0


if __name__ == "__main__":
    sys.exit(main())
