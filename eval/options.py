"""The command line of `python -m eval`, checked before anything compiles."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from coinrun_jax.checks import InputError, shown
from coinrun_jax.cli import Parser, add_force, integer
from coinrun_jax.registry import import_plugins, testbed_of
from coinrun_jax.suites import Suite
from coinrun_jax.testbed import TEST_LEVELS, Testbed
from eval.evaluate import ACTION_MODES, MOST_SAMPLES, Protocol, level_kinds, require_room
from eval.export import features, trajectories
from eval.microscope.scope import require_microscope
from eval.runs import Run, find_ages, find_runs, label, recipes
from eval.staging import folder, require_folder
from eval.suite_files import find_suite
from train.policy import Policy, load_policy

MOST_UNSEEN = 10_000_000


@dataclass(frozen=True)
class Options:
    """What the user asked for."""

    runs: list[Run]
    """For a lifetime, the newest policy comes first."""
    protocol: Protocol
    out: Path
    reference: Policy | None
    """The agent that screens levels, for suites that need one."""
    probes: bool
    trajectories: bool
    features: int
    """Episodes whose observations and features are written."""
    compares: bool
    """Whether runs are compared, even if there is only one: the files written depend on what
    was asked for, not on how many runs a folder happens to hold."""
    lifetime: bool = False
    """Whether the runs are one agent over training."""
    force: bool = False
    """Whether an earlier evaluation may be overwritten."""
    microscope: bool = False
    """Whether the report's player can look inside the agent."""
    art: str | None = None
    """The art that animations are drawn from, if the testbed offers a choice."""

    @property
    def testbed(self) -> Testbed:
        return testbed_of(self.runs[0].policy.env_config)


def parse(
    arguments: list[str] | None,
    description: str,
    writes: Callable[[Testbed], Sequence[str]],
) -> Options:
    """Read the command line and load the policies.

    Args:
      writes: names of files that must not exist in the output folder yet.

    Raises:
      InputError: for options that cannot be used.
    """
    known = _parser(description).parse_args(arguments)
    import_plugins(known.plugins)
    if known.features > known.num_levels:
        raise InputError(f"--features {known.features} is not within 0 ... {known.num_levels}")
    if known.compare and (known.probes or known.microscope or known.trajectories or known.features):
        raise InputError(
            "--probes, --microscope, --trajectories and --features are for a single --run"
        )
    if known.checkpoints and (
        known.compare or known.microscope or known.trajectories or known.features
    ):
        raise InputError(
            "--checkpoints is for a single --run, without --microscope, --trajectories and "
            "--features"
        )
    require_folder(known.out, (), known.force)
    runs = _runs(known)
    if known.run and not known.checkpoints and len(runs) > 1:
        raise InputError(
            f"--run {shown(str(known.run))} holds {len(runs)} policies; give one of them, or "
            "--compare it"
        )
    _require_one_environment(runs)
    testbed = testbed_of(runs[0].policy.env_config)
    if not testbed.goal:
        raise InputError(
            f"{testbed.id} has no goal and no conditions: there is nothing to evaluate"
        )
    require_folder(known.out, writes(testbed), known.force)
    suite = find_suite(testbed, known.suite)
    _require_fitting(testbed, suite, known, runs)
    protocol = Protocol(
        suite,
        known.num_levels,
        known.samples,
        known.seed,
        known.action_mode,
        traced=known.trajectories,
        unseen_by=known.unseen_by,
    )
    _require_room(testbed, protocol, known, runs)
    return Options(
        runs=runs,
        protocol=protocol,
        out=known.out,
        reference=_reference(known, suite, runs) if suite.screened else None,
        probes=known.probes,
        microscope=known.microscope,
        art=known.art,
        trajectories=known.trajectories,
        features=known.features,
        compares=known.compare is not None,
        lifetime=known.checkpoints is not None,
        force=known.force,
    )


def _runs(known: argparse.Namespace) -> list[Run]:
    if known.checkpoints:
        return find_ages(known.run, known.plugins)
    return find_runs([known.run] if known.run else known.compare, known.plugins)


def _parser(description: str) -> Parser:
    parser = Parser(prog="python -m eval", description=description, allow_abbrev=False)
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--run", type=Path, metavar="DIR", help="run directory to evaluate")
    which.add_argument(
        "--compare", type=Path, nargs="+", metavar="DIR", help="runs, or directories of runs"
    )
    add(
        "--checkpoints",
        choices=("all",),
        help="play every policy that the run kept (train --keep-at), on the same levels",
    )
    add("--suite", required=True, help="name of one of the environment's suites, or a YAML file")
    add("--out", type=folder, required=True, metavar="DIR", help="where to write the results")
    add_force(parser)
    add(
        "--num-levels",
        type=integer(1, len(TEST_LEVELS)),
        default=1000,
        metavar="N",
        help="held-out levels to play (default: 1000)",
    )
    add(
        "--unseen-by",
        type=integer(0, MOST_UNSEEN),
        default=0,
        metavar="N",
        help="leave out levels that look like one of the first N training levels (default: 0)",
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
        help="seed for object positions, actions and resampling (default: 0)",
    )
    add("--action-mode", choices=ACTION_MODES, default="sample", help="default: sample")
    add(
        "--reference",
        type=Path,
        metavar="DIR",
        help="run whose agent screens levels, for suites that need one",
    )
    _add_outputs(parser)
    add(
        "--plugins",
        nargs="+",
        default=[],
        metavar="MODULE",
        help="your own modules to import first, such as those that register testbeds",
    )
    return parser


def _add_outputs(parser: Parser) -> None:
    """What is written besides the report, and how its animations are drawn."""
    add = parser.add_argument
    add("--probes", action="store_true", help="also probe what the network represents")
    add("--microscope", action="store_true", help="also let the player look inside the agent")
    add("--trajectories", action="store_true", help="also write every episode's actions")
    add(
        "--features",
        type=integer(0, len(TEST_LEVELS)),
        default=0,
        metavar="N",
        help="also write observations, features and logits of N episodes of each condition",
    )
    add(
        "--art",
        metavar="NAME",
        help="art for animations, such as procgen (default: that of the observations)",
    )


def _require_one_environment(runs: list[Run]) -> None:
    ids = {run.policy.env_config.id: run.name for run in runs}
    if len(ids) > 1:
        trained = ", ".join(f"{shown(name)} on {each}" for each, name in ids.items())
        raise InputError(f"runs of different environments cannot be compared: {trained}")


def _require_fitting(
    testbed: Testbed, suite: Suite, known: argparse.Namespace, runs: list[Run]
) -> None:
    """Check that testbed, suite, options and runs fit together."""
    if known.reference and not suite.screened:
        names = [name for name, each in testbed.suites().items() if each.screened]
        raise InputError(f"--reference is for suites with screened levels: {', '.join(names)}")
    if known.checkpoints and suite.screened:
        raise InputError(
            f"--checkpoints cannot be used with suite {suite.name}, whose levels are screened by "
            "one agent"
        )
    if (known.probes or known.features) and runs[0].policy.has_memory:
        raise InputError(
            "--probes and --features need a network without a memory; "
            f"{shown(runs[0].name)} has one"
        )
    if known.probes and testbed.probing is None:
        raise InputError(f"--probes: {testbed.id} has no probes")
    if known.art is not None:
        if known.compare:
            raise InputError("--art is for a single --run: comparisons have no animations")
        testbed.require_art(known.art)
    if known.microscope:
        require_microscope(runs[0].policy)
    testbed.require_enough_levels(suite.conditions, known.num_levels)
    kinds = [level_kinds(run.policy.env_config, suite) for run in runs]
    for run, kind in zip(runs, kinds, strict=True):
        if kind != kinds[0]:
            raise InputError(
                f"runs on different levels cannot be compared: {shown(runs[0].name)} is played on "
                f"{kinds[0][0]} levels, {shown(run.name)} on {kind[0]} ones"
            )
    _require_different(runs)
    _require_settings(testbed, suite, runs)


def _require_different(runs: list[Run]) -> None:
    """One agent under two names would count as two training runs of its recipe."""
    known: dict[tuple[str, bytes], str] = {}
    for run, recipe in zip(runs, recipes([run.policy.config for run in runs]), strict=True):
        leaves = jax.tree.leaves(run.policy.params)
        content = hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in leaves)).digest()
        other = known.setdefault((label(recipe), content), run.name)
        if other != run.name:
            raise InputError(
                f"{shown(other)} and {shown(run.name)} are the same agent; give only one of them"
            )


def _require_settings(testbed: Testbed, suite: Suite, runs: list[Run]) -> None:
    """Check that every condition is valid with every agent's training config."""
    for run in runs:
        for condition in suite.conditions:
            try:
                testbed.overrides(condition, run.policy.env_config)
            except InputError as error:
                raise InputError(f"{shown(run.name)}: {error}") from error


def _require_room(
    testbed: Testbed, protocol: Protocol, known: argparse.Namespace, runs: list[Run]
) -> None:
    require_room(protocol, len(runs), testbed.references(runs[0].policy.env_config))
    if protocol.traced:
        most_steps = testbed.most_steps(runs[0].policy.env_config)
        trajectories.require_room(protocol.num_episodes, most_steps)
    if known.features:
        conditions = len(protocol.suite.conditions)
        features.require_room(runs[0].policy, conditions, known.features)


def _reference(known: argparse.Namespace, suite: Suite, runs: list[Run]) -> Policy:
    """The agent that screens levels: the one given, or the first run trained with goal and proxy
    always together.
    """
    if known.reference:
        policy = load_policy(known.reference, known.plugins)
        name = shown(str(known.reference))
        if (p := policy.env_config.p_apart) > 0:
            raise InputError(
                f"--reference {name} was trained with p = {p:g}; suite {suite.name} needs one "
                "with p = 0"
            )
        ours = runs[0].policy.env_config
        if policy.env_config.id != ours.id or level_kinds(policy.env_config, suite) != level_kinds(
            ours, suite
        ):
            raise InputError(f"--reference {name} was trained on other levels")
        return policy
    for run in runs:
        if run.policy.env_config.p_apart == 0:
            return run.policy
    raise InputError(
        f"suite {suite.name} screens its levels with an agent trained with goal and proxy always "
        "together; give one with --reference DIR"
    )
