"""The command line of `python -m eval`, checked before anything compiles."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import jax
import numpy as np

import coinrun_jax
from eval import features, trajectories
from eval.catalogue import PUBLISHED, SUITES
from eval.controllers import ACTION_MODES
from eval.evaluate import Protocol
from eval.runs import Run, find_runs, label, recipes
from eval.suite_files import find_suite
from eval.suites import Suite
from train.policy import Policy, load_policy

MOST_SAMPLES = 1000
MOST_UNSEEN = 10_000_000


class UsageError(ValueError):
    """Input that cannot be used: says which, and what is allowed."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


@dataclass(frozen=True)
class Options:
    """What is asked for."""

    runs: list[Run]
    protocol: Protocol
    out: Path
    reference: Policy | None
    """The p = 0 agent that chooses the levels of the suite "paper"."""
    probes: bool
    trajectories: bool
    features: int
    """Episodes whose observations and features are written."""
    compares: bool
    """Whether runs are compared, if only one with itself: which files are written depends on
    what was asked, and not on how many runs a folder happens to hold."""


def parse(arguments: list[str] | None, description: str, writes: tuple[str, ...]) -> Options:
    """Read the command line and load the policies.

    Args:
      writes: names of files that must not be in the output folder yet.

    Raises:
      UsageError: for what cannot be used.
      SuiteError: for a suite that makes no sense.
      PolicyError: for a run without a policy.
    """
    parser = _Parser(prog="python -m eval", description=description, allow_abbrev=False)
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--run", type=Path, metavar="DIR", help="run directory to evaluate")
    which.add_argument(
        "--compare", type=Path, nargs="+", metavar="DIR", help="runs, or directories of runs"
    )
    add("--suite", required=True, help=f"{', '.join(SUITES)}, or a YAML file")
    add("--out", type=Path, required=True, metavar="DIR", help="where to write the results")
    add("--num-levels", type=int, default=1000, help="held-out levels to play (default: 1000)")
    add(
        "--unseen-by",
        type=int,
        default=0,
        metavar="N",
        help="leave out levels with the layout of one of the first N training levels (default: 0)",
    )
    add("--samples", type=int, default=1, help="episodes per level (default: 1)")
    add("--seed", type=int, default=0, help="of coins, actions and resampling (default: 0)")
    add("--action-mode", choices=ACTION_MODES, default="sample", help="default: sample")
    add("--reference", type=Path, metavar="DIR", help=f"p = 0 run, for the suite {PUBLISHED}")
    add("--probes", action="store_true", help="also ask what the network knows of the coin")
    add("--trajectories", action="store_true", help="also write every episode's actions")
    add(
        "--features",
        type=int,
        default=0,
        metavar="N",
        help="also write observations, features and logits of N episodes of each condition",
    )
    known = parser.parse_args(arguments)

    suite = find_suite(known.suite)
    _require_within("--num-levels", known.num_levels, 1, len(coinrun_jax.TEST_LEVELS))
    _require_within("--samples", known.samples, 1, MOST_SAMPLES)
    _require_within("--unseen-by", known.unseen_by, 0, MOST_UNSEEN)
    _require_within("--features", known.features, 0, known.num_levels)
    if not 0 <= known.seed < 2**32:
        raise UsageError(f"--seed {known.seed} is not within 0 ... 2^32 - 1")
    _require_free(known.out, writes)
    runs = find_runs([known.run] if known.run else known.compare)
    if known.run and len(runs) > 1:
        raise UsageError(
            f"--run {known.run} holds {len(runs)} policies; give one of them, or --compare it"
        )
    _require_alike(runs)
    _require_different(runs)
    _require_settings(suite, runs)
    if known.reference and suite.name != PUBLISHED:
        raise UsageError(f"--reference is for the suite {PUBLISHED}")
    if known.compare and (known.probes or known.trajectories or known.features):
        raise UsageError("--probes, --trajectories and --features are for a single --run")
    protocol = Protocol(
        suite,
        known.num_levels,
        known.samples,
        known.seed,
        known.action_mode,
        traced=known.trajectories or known.features > 0,
        unseen_by=known.unseen_by,
    )
    _require_room(protocol, runs[0].policy, known.features)
    return Options(
        runs=runs,
        protocol=protocol,
        out=known.out,
        reference=_reference(known, runs) if suite.name == PUBLISHED else None,
        probes=known.probes,
        trajectories=known.trajectories,
        features=known.features,
        compares=known.compare is not None,
    )


def _require_within(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise UsageError(f"{name} {value} is not within {least} ... {most}")


def _require_room(protocol: Protocol, policy: Policy, num_features: int) -> None:
    """Whether what is asked for besides rates can be held in memory."""
    num_conditions = len(protocol.suite.conditions)
    try:
        if protocol.traced:
            trajectories.require_room(num_conditions * protocol.num_levels * protocol.num_samples)
        if num_features:
            features.require_room(policy, num_conditions, num_features)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _require_free(out: Path, writes: tuple[str, ...]) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is not a directory")
    for name in writes:
        if (out / name).exists():
            raise UsageError(f"--out {out} already holds {name}; give another directory")


def _require_alike(runs: list[Run]) -> None:
    modes = {run.policy.env_config.mode: run.name for run in runs}
    if len(modes) > 1:
        trained = ", ".join(f"{name} on {mode} levels" for mode, name in modes.items())
        raise UsageError(f"runs of different modes cannot be compared: {trained}")


def _require_different(runs: list[Run]) -> None:
    """One agent under two names would count as two training runs of its recipe."""
    known: dict[tuple[str, bytes], str] = {}
    for run, recipe in zip(runs, recipes([run.policy.config for run in runs]), strict=True):
        leaves = jax.tree.leaves(run.policy.params)
        content = hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in leaves)).digest()
        other = known.setdefault((label(recipe), content), run.name)
        if other != run.name:
            raise UsageError(f"{other} and {run.name} are the same agent; give one of them")


def _require_settings(suite: Suite, runs: list[Run]) -> None:
    """Whether every condition makes sense with what every agent was trained with."""
    for run in runs:
        env = run.policy.env_config
        for condition in suite.conditions:
            try:
                condition.settings(env.cues.arguments(), env.items.arguments())
            except ValueError as error:
                raise UsageError(f"{run.name}: {error}") from error


def _reference(known: argparse.Namespace, runs: list[Run]) -> Policy:
    """The p = 0 agent: the one that is given, or the first of the runs that is one."""
    if known.reference:
        policy = load_policy(known.reference)
        if policy.config.env.p_moved > 0:
            raise UsageError(
                f"--reference {known.reference} was trained with p = "
                f"{policy.config.env.p_moved:g}; suite {PUBLISHED} needs one with p = 0"
            )
        if policy.env_config.mode != runs[0].policy.env_config.mode:
            raise UsageError(f"--reference {known.reference} was trained in another mode")
        return policy
    for run in runs:
        if run.policy.config.env.p_moved == 0:
            return run.policy
    raise UsageError(
        f"suite {PUBLISHED} chooses its levels by an agent trained with the coin always at the "
        "end; give one with --reference DIR"
    )
