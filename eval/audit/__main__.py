"""What is associated with the goal, and so with the reward, in a training distribution.

python -m eval.audit --config FILE [--num-levels N] [--seed N] [--out DIR] [--force]
                     [--env.key value ...]
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import jax

import coinrun_jax
from coinrun_jax.checks import one_line
from coinrun_jax.cli import Parser, add_force, command, integer
from coinrun_jax.compilation import enable_compilation_cache
from coinrun_jax.files import write_json, write_rows
from coinrun_jax.registry import testbed_of
from eval import figures, table
from eval.audit import figure
from eval.audit.dependence import THRESHOLDS
from eval.audit.findings import Audit, examine
from eval.staging import folder, require_folder, staging
from train.config import TrainConfig, load_config
from train.overrides import override
from train.provenance import source_commit

CSV, JSON, FIGURE = FILES = ("audit.csv", "audit.json", "audit.png")
FEWEST, MOST = 100, 1_000_000  # levels


def _parse(arguments: list[str] | None) -> tuple[argparse.Namespace, TrainConfig]:
    parser = Parser(
        prog="python -m eval.audit",
        description=__doc__.split("\n")[0],
        epilog="Settings of training (--env.key value) can be given as to python -m train.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--config", type=Path, required=True, metavar="FILE", help="training config")
    add(
        "--num-levels",
        type=integer(FEWEST, MOST),
        default=10_000,
        metavar="N",
        help="levels to examine (default: 10000)",
    )
    add(
        "--seed",
        type=integer(0, 2**32 - 1),
        default=0,
        metavar="N",
        help="seed for levels, starts and resampling (default: 0)",
    )
    add("--out", type=folder, metavar="DIR", help=f"folder for {', '.join(FILES)}")
    add_force(parser)
    options, settings = parser.parse_known_args(arguments)
    if options.out is not None:
        require_folder(options.out, FILES, options.force)
    config = override(load_config(options.config), settings)
    testbed_of(config.env).require_auditable(config.env)
    return options, config


def _audit(options: argparse.Namespace, config: TrainConfig) -> Audit:
    """Draw a training sample and measure it.

    Raises:
      InputError: if no episode has a goal.
    """
    testbed, number, seed = testbed_of(config.env), options.num_levels, options.seed
    sample = testbed.training_sample(config.env, number, seed)
    name = one_line(options.config.name)
    return examine(name, sample, testbed.noun(testbed.goal), number, seed)


def _print(audit: Audit) -> None:
    print(f"\n{audit.title}")
    print(f"{audit.summary}\n")
    goal = audit.goal
    cells = [("", "verdict", "bits", "tied", "p", goal, "other", "difference", "predicts")]
    for each in audit.findings:
        found = each.found
        cells.append(
            (
                each.title,
                found.verdict,
                table.estimate(found.bits),
                table.estimate(found.tied),
                table.number(found.p),
                table.number(found.goal),
                table.number(found.other),
                table.estimate(found.effect, signed=True),
                f"{table.number(found.predicted)} ({table.number(found.chance)})",
            )
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )
    print(f"\n{THRESHOLDS}.")
    print(f"tied: 0 independent, 1 fully. {goal}, other: mean over cells; for levels, Cramér's V.")
    print(f"predicts: how often the property tells the {goal} from another cell, or gives away")
    print("its place (without the property). [95 % intervals over levels]\n")
    for each in audit.findings:
        print(f"- {each.sentence}")


def _write(audit: Audit, provenance: dict[str, Any], out: Path) -> None:
    flat = [_flat(each.as_json()) for each in audit.findings]
    write_rows(out / CSV, list(flat[0]), [list(row.values()) for row in flat])
    write_json(out / JSON, {**audit.as_json(), "provenance": provenance})
    figures.save(figure.draw(audit), out / FIGURE, "png")


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row without nesting: an estimate x becomes x, x_low and x_high."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat[name] = round(value["estimate"], 6)
            flat |= {f"{name}_{side}": round(value[side], 6) for side in ("low", "high")}
        elif name != "figures":
            flat[name] = round(value, 6) if isinstance(value, float) else value
    return flat


def _provenance(options: argparse.Namespace, config: TrainConfig, began: float) -> dict[str, Any]:
    return {
        "config": str(options.config),
        "env": dataclasses.asdict(config.env),
        "seed": options.seed,
        "version": f"coinrun_jax {coinrun_jax.__version__}, commit "
        f"{source_commit() or 'unknown'}, jax {jax.__version__}",
        "seconds": round(time.perf_counter() - began, 1),
    }


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `coinrun_jax.cli` for the exit status."""
    options, config = _parse(arguments)
    enable_compilation_cache()
    began = time.perf_counter()
    if options.out is None:
        _print(_audit(options, config))
        return 0
    with staging(options.out, force=options.force) as part:
        audit = _audit(options, config)
        _write(audit, _provenance(options, config, began), part)
    _print(audit)
    print(f"\nWritten: {', '.join(str(options.out / name) for name in FILES)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
