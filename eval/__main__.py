"""Evaluate a run: move the coin, count what comes first.

python -m eval --run DIR --suite NAME --out DIR [--num-levels N] [--seed N]
               [--action-mode sample|greedy]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import jax
import yaml
from tqdm import tqdm

import coinrun_jax
from coinrun_jax.compilation import enable_compilation_cache
from eval import animations, figures, report, table
from eval.controllers import ACTION_MODES
from eval.evaluate import evaluate
from eval.results import POLICY_TITLES, summarise, write_episodes
from eval.suites import SUITES
from train.policy import Policy, PolicyError, load_policy
from train.provenance import source_commit

EPISODES, SUMMARY, REPORT, FIGURE = "episodes.csv", "summary.json", "report.html", "outcomes.png"
WRITTEN = (EPISODES, SUMMARY, REPORT, FIGURE, *(f"{n}.gif" for n in animations.NAMES))


class UsageError(ValueError):
    """Input that cannot be used: says which, and what is allowed."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="python -m eval", description=__doc__.split("\n")[0], allow_abbrev=False)
    add = parser.add_argument
    add("--run", type=Path, required=True, metavar="DIR", help="run directory to evaluate")
    add("--suite", required=True, metavar="NAME", help=f"one of {', '.join(SUITES)}")
    add("--out", type=Path, required=True, metavar="DIR", help="where to write the results")
    add("--num-levels", type=int, default=1000, help="unseen levels to play (default: 1000)")
    add("--seed", type=int, default=0, help="of coins, actions and resampling (default: 0)")
    add("--action-mode", choices=ACTION_MODES, default="sample", help="default: sample")
    options = parser.parse_args(arguments)
    available = len(coinrun_jax.TEST_LEVELS)
    if options.suite not in SUITES:
        raise UsageError(f"suite {options.suite!r} is not one of {', '.join(SUITES)}")
    if not 1 <= options.num_levels <= available:
        raise UsageError(f"--num-levels {options.num_levels} is not within 1 ... {available}")
    if not 0 <= options.seed < 2**32:
        raise UsageError(f"--seed {options.seed} is not within 0 ... 2^32 - 1")
    if options.out.exists() and not options.out.is_dir():
        raise UsageError(f"--out {options.out} is not a directory")
    for name in WRITTEN:
        if (options.out / name).exists():
            raise UsageError(f"--out {options.out} already holds {name}; give another directory")
    return options


def _run(options: argparse.Namespace, policy: Policy) -> None:
    began = time.perf_counter()
    suite = SUITES[options.suite]
    print(f"compiling for {jax.devices()[0].device_kind} ...", flush=True)
    total = len(suite.conditions) * options.num_levels * len(POLICY_TITLES)
    done_by: dict[str, int] = {}
    with tqdm(total=total, unit="episode", mininterval=0.5) as bar:

        def show(name: str, done: int) -> None:
            done_by[name] = done
            bar.update(sum(done_by.values()) - bar.n)

        evaluation, arena = evaluate(
            policy,
            suite,
            options.num_levels,
            options.seed,
            options.action_mode == "greedy",
            show,
        )
    summary = summarise(evaluation)
    clips = animations.make_gifs(
        arena, evaluation, lambda state, size: arena.env.render(state, arena.params, size)
    )
    provenance = _provenance(options, policy, time.perf_counter() - began)
    config = yaml.safe_dump(dataclasses.asdict(policy.config), sort_keys=False)
    page = report.build(summary, provenance, config, clips)
    text = json.dumps({**summary, "provenance": provenance}, indent=1, allow_nan=False)

    out = options.out
    write_episodes(evaluation, out / EPISODES)
    figures.save(figures.draw(summary), out / FIGURE, "png")
    for clip, data in clips:
        (out / f"{clip.name}.gif").write_bytes(data)
    (out / REPORT).write_text(page, encoding="utf-8")
    (out / SUMMARY).write_text(text + "\n", encoding="utf-8")
    _print(summary, provenance, out)


def _provenance(options: argparse.Namespace, policy: Policy, seconds: float) -> dict[str, str]:
    levels = coinrun_jax.TEST_LEVELS
    first, last = levels[0], levels[options.num_levels - 1]
    env = policy.env_config
    return {
        "Run": str(options.run),
        "Trained": f"{policy.update} updates, seed {policy.config.seed}, coin placement "
        f"{env.placement} with probability {env.placement_probability:g}",
        "Suite": options.suite,
        "Levels": f"{options.num_levels:,} unseen {env.mode} levels, seeds {first} to {last}",
        "Actions": "the likeliest" if options.action_mode == "greedy" else "sampled",
        "Seed": str(options.seed),
        "Version": f"coinrun_jax {coinrun_jax.__version__}, commit "
        f"{source_commit() or 'unknown'}, jax {jax.__version__}",
        "Device": jax.devices()[0].device_kind,
        "Time": f"{seconds:.0f} s",
    }


def _print(summary: dict[str, Any], provenance: dict[str, str], out: Path) -> None:
    print(f"\n{provenance['Run']} on {provenance['Levels']}; actions {provenance['Actions']}.")
    print("What came first, as a share of episodes [95 % interval]:\n")
    print(table.plain(table.outcome_rows(summary), table.OUTCOME_COLUMNS))
    print()
    print(table.plain(table.measure_rows(summary), table.MEASURE_COLUMNS))
    print(f"\n{table.competence_line(summary)}\nReport: {out / REPORT}")


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 2 for unusable input, said in one line on stderr, 130 if interrupted."""
    try:
        options = _parse(arguments)
        policy = load_policy(options.run)
        options.out.mkdir(parents=True, exist_ok=True)
    except (UsageError, PolicyError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    enable_compilation_cache()
    try:
        _run(options, policy)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
