"""The command line of `python -m eval`, checked before anything compiles."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

import coinrun_jax
from coinrun_jax.checks import InputError, shown
from coinrun_jax.cli import Parser, add_force, integer
from coinrun_jax.plugins import import_plugins
from eval import features, trajectories
from eval.catalogue import PUBLISHED, SUITES
from eval.controllers import ACTION_MODES
from eval.evaluate import MOST_SAMPLES, Protocol, require_room
from eval.levels import require_enough
from eval.runs import Run, find_runs, label, recipes
from eval.staging import folder, require_folder
from eval.suite_files import find_suite
from eval.suites import Suite
from train.policy import Policy, load_policy

MOST_UNSEEN = 10_000_000


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
    force: bool = False
    """Whether an earlier evaluation may be overwritten."""


def parse(arguments: list[str] | None, description: str, writes: tuple[str, ...]) -> Options:
    """Read the command line and load the policies.

    Args:
      writes: names of files that must not be in the output folder yet.

    Raises:
      InputError: for what cannot be used.
    """
    known = _parser(description).parse_args(arguments)
    import_plugins(known.plugins)
    suite = find_suite(known.suite)
    if known.features > known.num_levels:
        raise InputError(f"--features {known.features} is not within 0 ... {known.num_levels}")
    if known.reference and suite.name != PUBLISHED:
        raise InputError(f"--reference is for the suite {PUBLISHED}")
    if known.compare and (known.probes or known.trajectories or known.features):
        raise InputError("--probes, --trajectories and --features are for a single --run")
    require_enough((condition.levels for condition in suite.conditions), known.num_levels)
    require_folder(known.out, writes, known.force)

    runs = find_runs([known.run] if known.run else known.compare, known.plugins)
    if known.run and len(runs) > 1:
        raise InputError(
            f"--run {shown(str(known.run))} holds {len(runs)} policies; give one of them, or "
            "--compare it"
        )
    _require_alike(runs)
    _require_different(runs)
    _require_settings(suite, runs)
    protocol = Protocol(
        suite,
        known.num_levels,
        known.samples,
        known.seed,
        known.action_mode,
        traced=known.trajectories or known.features > 0,
        unseen_by=known.unseen_by,
    )
    require_room(protocol, len(runs))
    if protocol.traced:
        trajectories.require_room(protocol.num_episodes)
    if known.features:
        features.require_room(runs[0].policy, len(suite.conditions), known.features)
    return Options(
        runs=runs,
        protocol=protocol,
        out=known.out,
        reference=_reference(known, runs) if suite.name == PUBLISHED else None,
        probes=known.probes,
        trajectories=known.trajectories,
        features=known.features,
        compares=known.compare is not None,
        force=known.force,
    )


def _parser(description: str) -> Parser:
    parser = Parser(prog="python -m eval", description=description, allow_abbrev=False)
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--run", type=Path, metavar="DIR", help="run directory to evaluate")
    which.add_argument(
        "--compare", type=Path, nargs="+", metavar="DIR", help="runs, or directories of runs"
    )
    add("--suite", required=True, help=f"{', '.join(SUITES)}, or a YAML file")
    add("--out", type=folder, required=True, metavar="DIR", help="where to write the results")
    add_force(parser)
    add(
        "--num-levels",
        type=integer(1, len(coinrun_jax.TEST_LEVELS)),
        default=1000,
        metavar="N",
        help="held-out levels to play (default: 1000)",
    )
    add(
        "--unseen-by",
        type=integer(0, MOST_UNSEEN),
        default=0,
        metavar="N",
        help="leave out levels with the layout of one of the first N training levels (default: 0)",
    )
    add(
        "--samples",
        type=integer(1, MOST_SAMPLES),
        default=1,
        metavar="N",
        help="episodes per level (default: 1)",
    )
    add(
        "--seed",
        type=integer(0, 2**32 - 1),
        default=0,
        metavar="N",
        help="of coins, actions and resampling (default: 0)",
    )
    add("--action-mode", choices=ACTION_MODES, default="sample", help="default: sample")
    add("--reference", type=Path, metavar="DIR", help=f"p = 0 run, for the suite {PUBLISHED}")
    add("--probes", action="store_true", help="also ask what the network knows of the coin")
    add("--trajectories", action="store_true", help="also write every episode's actions")
    add(
        "--features",
        type=integer(0, len(coinrun_jax.TEST_LEVELS)),
        default=0,
        metavar="N",
        help="also write observations, features and logits of N episodes of each condition",
    )
    add(
        "--plugins",
        nargs="+",
        default=[],
        metavar="MODULE",
        help="modules to import first, which register placements of one's own",
    )
    return parser


def _require_alike(runs: list[Run]) -> None:
    modes = {run.policy.env_config.mode: run.name for run in runs}
    if len(modes) > 1:
        trained = ", ".join(f"{shown(name)} on {mode} levels" for mode, name in modes.items())
        raise InputError(f"runs of different modes cannot be compared: {trained}")


def _require_different(runs: list[Run]) -> None:
    """One agent under two names would count as two training runs of its recipe."""
    known: dict[tuple[str, bytes], str] = {}
    for run, recipe in zip(runs, recipes([run.policy.config for run in runs]), strict=True):
        leaves = jax.tree.leaves(run.policy.params)
        content = hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in leaves)).digest()
        other = known.setdefault((label(recipe), content), run.name)
        if other != run.name:
            raise InputError(
                f"{shown(other)} and {shown(run.name)} are the same agent; give one of them"
            )


def _require_settings(suite: Suite, runs: list[Run]) -> None:
    """Whether every condition makes sense with what every agent was trained with."""
    for run in runs:
        env = run.policy.env_config
        for condition in suite.conditions:
            try:
                condition.settings(env.cues.arguments(), env.items.arguments())
            except InputError as error:
                raise InputError(f"{shown(run.name)}: {error}") from error


def _reference(known: argparse.Namespace, runs: list[Run]) -> Policy:
    """The p = 0 agent: the one that is given, or the first of the runs that is one."""
    if known.reference:
        policy = load_policy(known.reference, known.plugins)
        name = shown(str(known.reference))
        if policy.config.env.p_moved > 0:
            raise InputError(
                f"--reference {name} was trained with p = {policy.config.env.p_moved:g}; suite "
                f"{PUBLISHED} needs one with p = 0"
            )
        if policy.env_config.mode != runs[0].policy.env_config.mode:
            raise InputError(f"--reference {name} was trained in another mode")
        return policy
    for run in runs:
        if run.policy.config.env.p_moved == 0:
            return run.policy
    raise InputError(
        f"suite {PUBLISHED} chooses its levels by an agent trained with the coin always at the "
        "end; give one with --reference DIR"
    )
