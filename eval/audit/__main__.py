"""What goes together with the coin, and so with the reward, in a training distribution.

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
import numpy as np

import coinrun_jax
from coinrun_jax.checks import InputError, one_line
from coinrun_jax.cli import Parser, add_force, command, integer
from coinrun_jax.coinrun.placement import weight_of
from coinrun_jax.compilation import enable_compilation_cache
from coinrun_jax.files import write_json, write_rows
from coinrun_jax.plugins import import_plugins
from eval import figures, table
from eval.audit import figure
from eval.audit.dependence import THRESHOLDS, Dependence
from eval.audit.properties import PROPERTIES, CellProperty, mean, measure, sentence, title
from eval.audit.starts import draw_starts
from eval.staging import folder, require_folder, staging
from train.config import TrainConfig, load_config
from train.environment import make_environment, settings_of
from train.overrides import override
from train.provenance import source_commit

CSV, JSON, FIGURE = FILES = ("audit.csv", "audit.json", "audit.png")
FEWEST, MOST = 100, 1_000_000  # levels
_NO_COIN = "no episode of this configuration has a coin: there is nothing to audit"
POOL_SIZE = 1024  # levels built at a time; which ones are drawn does not depend on it


def _parse(arguments: list[str] | None) -> tuple[argparse.Namespace, TrainConfig]:
    summary = __doc__.split("\n")[0]
    parser = Parser(
        prog="python -m eval.audit",
        description=summary,
        epilog="Settings of training (--env.key value) can be given as to python -m train.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--config", type=Path, required=True, metavar="FILE", help="of training")
    add(
        "--num-levels",
        type=integer(FEWEST, MOST),
        default=10_000,
        metavar="N",
        help="levels to look at (default: 10000)",
    )
    add(
        "--seed",
        type=integer(0, 2**32 - 1),
        default=0,
        metavar="N",
        help="of levels, coins and resampling (default: 0)",
    )
    add("--out", type=folder, metavar="DIR", help=f"folder for {', '.join(FILES)}")
    add_force(parser)
    options, settings = parser.parse_known_args(arguments)
    if options.out is not None:
        require_folder(options.out, FILES, options.force)
    config = override(load_config(options.config), settings)
    _require_auditable(config)
    return options, config


def _require_auditable(config: TrainConfig) -> None:
    """Whether the environment takes the settings, and there is a coin to ask about.

    Raises:
      InputError: without anything having been compiled.
    """
    import_plugins(config.plugins)
    placement = settings_of(config.env)["placement"]
    if placement.probability * weight_of(placement, "absent") == 1:
        raise InputError(_NO_COIN)


def reward_line(params: coinrun_jax.EnvParams) -> str:
    """What the coin's place says about the reward."""
    parts = {
        "progress": float(params.reward.progress),
        "every step": float(params.reward.step),
        "the end": float(params.reward.end),
        "items": float(params.items.worth) * (int(params.items.number) > 0),
    }
    besides = ", ".join(f"{name} {value:g}" for name, value in parts.items() if value)
    coin = f"{float(params.reward.coin):g} for touching the coin"
    if not besides:
        return f"The reward is {coin} and nothing else: what goes with the coin goes with it."
    return f"The reward is {coin}, and for other things ({besides}); this is about the coin's part."


def _row(prop: Any, found: Dependence) -> dict[str, Any]:
    of_cell = isinstance(prop, CellProperty)
    coin, other = mean(prop, found.coin), mean(prop, found.other)
    return {
        "property": prop.name,
        "title": title(prop, found),
        "kind": "cell" if of_cell else "level",
        **dataclasses.asdict(found),
        "figures": f"coin {coin}, other cells {other}"
        if of_cell
        else f"Cramér's V: coin {coin}, other cells {other}",
        "sentence": sentence(prop, found),
    }


def _audit(options: argparse.Namespace, config: TrainConfig) -> dict[str, Any]:
    """Everything that is shown and written.

    Raises:
      InputError: for settings that the environment refuses, and where there is no coin.
    """
    began = time.perf_counter()
    env, params = make_environment(dataclasses.replace(config.env, pool_size=POOL_SIZE))
    starts = draw_starts(env, params, options.num_levels, options.seed)
    if not starts.present.any():
        raise InputError(_NO_COIN)
    found = measure(starts.where(starts.present), options.seed)
    rows = [_row(prop, found[prop.name]) for prop in PROPERTIES]
    number, distinct = len(starts.present), len(np.unique(starts.level_seed))
    name = one_line(options.config.name)
    where = f"{config.env.placement} with probability {config.env.placement_probability:g}"
    return {
        "title": f"{name}: {number:,} {config.env.mode} levels, coin {where}",
        "levels": number,
        "distinct_levels": distinct,
        "coin_present": float(starts.present.mean()),
        "reward": reward_line(params),
        "thresholds": THRESHOLDS,
        "confounded": [row["title"] for row in rows if row["verdict"] == "confounded"],
        "properties": rows,
        "provenance": {
            "config": str(options.config),
            "env": dataclasses.asdict(config.env),
            "seed": options.seed,
            "version": f"coinrun_jax {coinrun_jax.__version__}, commit "
            f"{source_commit() or 'unknown'}, jax {jax.__version__}",
            "seconds": round(time.perf_counter() - began, 1),
        },
    }


def _print(summary: dict[str, Any]) -> None:
    print(f"\n{summary['title']}")
    print(
        f"{summary['distinct_levels']:,} different levels; a coin in "
        f"{summary['coin_present']:.1%} of episodes. {summary['reward']}\n"
    )
    columns = ("", "verdict", "bits", "tied", "p", "coin", "other", "difference", "predicts")
    cells = [columns]
    for row in summary["properties"]:
        cells.append(
            (
                row["title"],
                row["verdict"],
                table.estimate(row["bits"]),
                table.estimate(row["tied"]),
                table.number(row["p"]),
                table.number(row["coin"]),
                table.number(row["other"]),
                table.estimate(row["effect"], signed=True),
                f"{table.number(row['predicted'])} ({table.number(row['chance'])})",
            )
        )
    widths = [max(len(line[column]) for line in cells) for column in range(len(columns))]
    for line in cells:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )
    print(f"\n{summary['thresholds']}.")
    print("tied: 0 independent, 1 fully. coin, other: mean over cells; of levels, Cramér's V.")
    print("predicts: how often the property tells coin from other cell, or the coin's place")
    print("(without it). [95 % intervals over levels]\n")
    for row in summary["properties"]:
        print(f"- {row['sentence']}")


def _write(summary: dict[str, Any], out: Path) -> None:
    flat = [_flat(row) for row in summary["properties"]]
    write_rows(out / CSV, list(flat[0]), [list(row.values()) for row in flat])
    write_json(out / JSON, summary)
    figures.save(figure.draw(summary), out / FIGURE, "png")


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


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `coinrun_jax.cli` for the exit status."""
    options, config = _parse(arguments)
    enable_compilation_cache()
    if options.out is None:
        _print(_audit(options, config))
        return 0
    with staging(options.out, force=options.force) as part:
        summary = _audit(options, config)
        _write(summary, part)
    _print(summary)
    print(f"\nWritten: {', '.join(str(options.out / name) for name in FILES)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
