"""Look inside an agent at one moment: what it would do with an object elsewhere, and why.

python -m eval.microscope --run DIR --level SEED --out DIR [--step N] [--condition NAME]
                          [--seed N] [--export] [--plugins MODULE ...] [--force]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import jax

import coinrun_jax
from coinrun_jax.checks import InputError, choice
from coinrun_jax.cli import Parser, add_force, command, integer
from coinrun_jax.compilation import enable_compilation_cache
from coinrun_jax.hardware import device_name
from coinrun_jax.registry import import_plugins, testbed_of
from coinrun_jax.suites import Condition
from coinrun_jax.testbed import NUM_SEEDS, Testbed
from eval import figures
from eval.microscope import pictures
from eval.microscope.examination import (
    CELLS,
    FIELDS,
    LAYERS,
    MOMENT,
    OBJECTS,
    TWINS,
    Findings,
    find,
    write,
    write_twins,
)
from eval.microscope.moments import first_sight, play_level
from eval.microscope.scope import Scope, require_microscope
from eval.staging import folder, require_folder, staging
from train.policy import Policy, load_policy
from train.provenance import source_commit

PICTURES = ("fields.png", "attribution.png", "layers.png")
WRITTEN = (MOMENT, FIELDS, CELLS, OBJECTS, LAYERS, TWINS, *PICTURES)
MOST_STEPS = 10**6


def _parse(arguments: list[str] | None) -> tuple[argparse.Namespace, Policy, Condition]:
    parser = Parser(prog="python -m eval.microscope", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--run", type=Path, required=True, metavar="DIR", help="run directory, or a policy")
    add("--level", type=integer(0, NUM_SEEDS - 1), required=True, metavar="SEED")
    add("--out", type=folder, required=True, metavar="DIR", help="where to write the results")
    add(
        "--step",
        type=integer(0, MOST_STEPS),
        metavar="N",
        help="step of the agent's episode (default: the first at which it sees the studied object)",
    )
    add(
        "--condition",
        metavar="NAME",
        help="condition of the suite relocation (default: object moved)",
    )
    add(
        "--seed",
        type=integer(0, 2**32 - 1),
        default=0,
        metavar="N",
        help="seed for the object's position and the actions (default: 0)",
    )
    add("--export", action="store_true", help=f"also write {TWINS}, all twins as arrays")
    add("--plugins", nargs="+", default=[], metavar="MODULE", help="modules to import first")
    add_force(parser)
    known = parser.parse_args(arguments)
    import_plugins(known.plugins)
    require_folder(known.out, WRITTEN, known.force)
    policy = load_policy(known.run, known.plugins)
    testbed = testbed_of(policy.env_config)
    require_microscope(policy)
    conditions = {each.name: each for each in testbed.suites()["relocation"].conditions}
    name = known.condition if known.condition is not None else testbed.look[-1]
    condition = conditions[choice("--condition", name, conditions)]
    testbed.overrides(condition, policy.env_config)
    return known, policy, condition


def _provenance(known: argparse.Namespace, policy: Policy) -> dict[str, Any]:
    return {
        "run": str(known.run),
        "environment": policy.env_config.id,
        "seed": known.seed,
        "version": f"coinrun_jax {coinrun_jax.__version__}, commit "
        f"{source_commit() or 'unknown'}, jax {jax.__version__}",
        "device": device_name(),
    }


def _examine(
    known: argparse.Namespace, policy: Policy, condition: Condition, out: Path
) -> tuple[Findings, Testbed]:
    """Play the level, examine the moment, and write the files.

    Raises:
      InputError: for a step that the episode does not have.
    """
    arena, again = play_level(policy, condition, known.level, known.seed)
    scope, last = Scope.of(policy, arena, 0), len(again.states) - 1
    step = first_sight(scope, again.states) if known.step is None else known.step
    if step > last:
        raise InputError(f"--step {step} is not within 0 ... {last}, the steps of the episode")
    state, testbed = again.states[step], scope.testbed
    cells = testbed.observed_cells(policy.env_config)
    found = find(scope, state, cells, known.level, step, condition.name)
    write(found, cells, _provenance(known, policy), out)
    if known.export:
        write_twins(scope, state, out / TWINS)
    scene = testbed.scene([state], scope.params)
    if scene is not None:
        figures.save(pictures.draw_fields(found, scene), out / PICTURES[0], "png")
        if cells is not None:
            figure = pictures.draw_attribution(
                found.attribution,
                found.hidden,
                cells,
                cells.corner(state),
                scene,
                action_title(testbed, found.attribution.action),
            )
            figures.save(figure, out / PICTURES[1], "png")
    if found.layers:
        figures.save(pictures.draw_layers(found.layers, found.noun), out / PICTURES[2], "png")
    return found, testbed


def action_title(testbed: Testbed, action: int) -> str:
    """The readable name of an action."""
    titles = testbed.action_titles
    return titles[action] if action < len(titles) else str(action)


def _print(found: Findings, testbed: Testbed) -> None:
    action = found.attribution.action
    print(f"\nLevel {found.level}, step {found.step}, {found.condition.replace('_', ' ')}:")
    print(
        f"value {found.value:.2f}, likeliest action “{action_title(testbed, action)}” with "
        f"probability {found.probabilities[action]:.2f}"
    )
    if found.without is None:
        print(f"There is no {found.noun}.")
    else:
        print(
            f"{found.without.title}: value {found.without.value:+.2f}, "
            f"{found.without.moved:.2f} of the probability moves to other actions"
        )


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `coinrun_jax.cli` for the exit status."""
    known, policy, condition = _parse(arguments)
    enable_compilation_cache()
    with staging(known.out, WRITTEN, known.force) as part:
        found, testbed = _examine(known, policy, condition, part)
    _print(found, testbed)
    print(f"\nWritten to {known.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
