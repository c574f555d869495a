"""What goes together with the coin, and so with the reward, in a training distribution.

python -m eval.audit --config FILE [--num-levels N] [--seed N] [--out DIR]
                     [--env.key value ...]
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import coinrun_jax
from coinrun_jax.compilation import enable_compilation_cache
from eval import figures, table
from eval.audit import figure
from eval.audit.dependence import THRESHOLDS, Dependence
from eval.audit.properties import PROPERTIES, CellProperty, mean, measure, sentence, title
from eval.audit.starts import draw_starts
from train.config import ConfigError, TrainConfig, load_config
from train.environment import make_environment
from train.overrides import Parser, override
from train.provenance import source_commit

CSV, JSON, FIGURE = "audit.csv", "audit.json", "audit.png"
FEWEST, MOST = 100, 1_000_000  # levels
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
    add("--num-levels", type=int, default=10_000, help="levels to look at (default: 10000)")
    add("--seed", type=int, default=0, help="of levels, coins and resampling (default: 0)")
    add("--out", type=Path, metavar="DIR", help=f"folder to make, for {CSV}, {JSON}, {FIGURE}")
    options, settings = parser.parse_known_args(arguments)
    if not FEWEST <= options.num_levels <= MOST:
        raise ConfigError(f"--num-levels {options.num_levels} is not within {FEWEST} ... {MOST}")
    if not 0 <= options.seed < 2**32:
        raise ConfigError(f"--seed {options.seed} is not within 0 ... 2^32 - 1")
    if options.out is not None and options.out.exists():
        raise ConfigError(f"--out {options.out} exists already; give another folder")
    return options, override(load_config(options.config), settings)


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
      ConfigError: for settings that the environment refuses, and where there is no coin.
    """
    began = time.perf_counter()
    env, params = make_environment(dataclasses.replace(config.env, pool_size=POOL_SIZE))
    starts = draw_starts(env, params, options.num_levels, options.seed)
    if not starts.present.any():
        raise ConfigError("no episode of this configuration has a coin: there is nothing to audit")
    found = measure(starts.where(starts.present), options.seed)
    rows = [_row(prop, found[prop.name]) for prop in PROPERTIES]
    number, distinct = len(starts.present), len(np.unique(starts.level_seed))
    where = f"{config.env.placement} with probability {config.env.placement_probability:g}"
    return {
        "title": f"{options.config.name}: {number:,} {config.env.mode} levels, coin {where}",
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
    with (out / CSV).open("w", newline="", encoding="utf-8") as file:
        flat = [_flat(row) for row in summary["properties"]]
        writer = csv.DictWriter(file, flat[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
    text = json.dumps(summary, indent=1, allow_nan=False, ensure_ascii=False)
    (out / JSON).write_text(text + "\n", encoding="utf-8")
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


def _remove_empty(folder: Path | None) -> None:
    if folder is not None and not any(folder.iterdir()):
        folder.rmdir()


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 2 for unusable input, said in one line on stderr, 130 if interrupted."""
    made = None
    try:
        options, config = _parse(arguments)
        if options.out is not None:
            options.out.mkdir(parents=True)
            made = options.out
        enable_compilation_cache()
        summary = _audit(options, config)
        _print(summary)
        if made is not None:
            _write(summary, made)
    except (ConfigError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        _remove_empty(made)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        _remove_empty(made)
        return 130
    if made is not None:
        print(f"\nWritten: {', '.join(str(made / name) for name in (CSV, JSON, FIGURE))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
