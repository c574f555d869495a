"""Evaluate a run: move the coin, count what comes first.

python -m eval --run DIR --suite NAME --out DIR [--num-levels N] [--seed N]
               [--action-mode sample|greedy]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
import yaml
from tqdm import tqdm

import coinrun_jax
from coinrun_jax.compilation import enable_compilation_cache
from eval import animations, figures, report, table
from eval.controllers import ACTION_MODES, AgentController, references
from eval.outcomes import classify
from eval.results import AGENT, Evaluation, Played, summarise, write_episodes
from eval.rollout import Arena
from eval.suites import SUITES, Suite, stack_placements
from train.policy import Policy, PolicyError, load_policy

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
