"""Prints the table of the README from `targets.csv`: python results/targets/table.py."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # folders of the checkout

from coinrun_jax.cli import Parser, command
from coinrun_jax.files import read_rows

CSV = Path(__file__).resolve().parent / "targets.csv"
_USED = ("config", "target", "devices", "program", "memory", "steps_per_second_low")


def table(path: Path = CSV) -> str:
    """A line per program and target, as Markdown.

    Raises:
      InputError: if there is no such table.
    """
    lines = [
        "| config | program | environments | for | compile | memory | kernels a step "
        "| loops over environments | host transfers | collectives | estimated steps/s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in read_rows(path, "table of targets", _USED):
        low, high = (float(row[f"steps_per_second_{end}"]) for end in ("low", "high"))
        cells = [
            row["config"],
            row["program"],
            row["num_envs"],
            f"{row['devices']} × {row['target']}",
            f"{float(row['compile_seconds']):.0f} s",
            f"{float(row['memory']) / 1e9:.2f} of {float(row['memory_available']) / 1e9:.0f} GB",
            f"{int(row['kernels_per_step']):,}",
            row["loops_over_environments"],
            row["host_transfers"],
            row["collectives"],
            f"{low:,.0f} … {high:,.0f} ({row['bound']})",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `coinrun_jax.cli` for the exit status."""
    Parser(description=(__doc__ or "").split("\n")[0]).parse_args(arguments)
    print(table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
