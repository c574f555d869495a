"""Where does an agent represent the coin, and can it be steered to it? Patching and steering.

python -m results.microscope.run [--levels N] [--seed N] [--out DIR] [--force] [POLICY ...]

POLICY is a folder of results/policies, by default every one there. Writes effects.csv,
patching.csv, steering.csv, and policies.csv, which has the command, commit and hardware. Rows of
other policies are kept.
"""

from __future__ import annotations

import math
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from coinrun_jax.checks import InputError
from coinrun_jax.cli import Parser, command, integer
from coinrun_jax.compilation import enable_compilation_cache
from coinrun_jax.files import read_rows, write_rows
from coinrun_jax.hardware import device_name
from coinrun_jax.registry import testbed_of
from eval.evaluate import Protocol
from eval.microscope.amplifying import amplify
from eval.microscope.moments import collect
from eval.microscope.patching import Carried, effect, look_twice, patch_layers, patch_units
from eval.microscope.steering import Steered, difference_vector, measure, steering_suite
from eval.statistics import Estimate
from train.policy import Policy, load_policy
from train.provenance import source_commit

FOLDER = Path(__file__).parent
POLICIES = FOLDER.parent / "policies"
EFFECTS, PATCHING, STEERING = "effects.csv", "patching.csv", "steering.csv"
MADE = "policies.csv"
CONDITION = "random_section"
ACTIVATIONS = ("hidden_1", "hidden_2")
STRENGTHS = (-8.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0, 8.0)
AMPLIFIED = (-1.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Strengths at which each state's own difference is added."""
RANDOM = 2
"""Number of random vectors."""


def _estimate(name: str, found: Estimate | None) -> dict[str, Any]:
    values = ("", "", "") if found is None else (found.estimate, found.low, found.high)
    rounded = [value if value == "" else round(value, 4) for value in values]
    return dict(zip((name, f"{name}_low", f"{name}_high"), rounded, strict=True))


def _carried(name: str, found: Iterable[Carried]) -> list[dict[str, Any]]:
    return [
        {
            "policy": name,
            "activation": each.activation,
            "units": each.units,
            "of": each.of,
            "direction": each.direction,
            "output": each.output,
            **_estimate("carried", each.share),
        }
        for each in found
    ]


def _steered(name: str, each: Steered) -> dict[str, Any]:
    return {
        "policy": name,
        "activation": each.activation,
        "vector": each.vector,
        "strength": each.strength,
        "length": "" if math.isnan(each.length) else round(each.length, 4),
        **_estimate("attraction", each.row.attraction),
        **_estimate("more", each.against_none),
        **_estimate("coin", each.row.first["coin"]),
        **_estimate("end", each.row.first["end"]),
        **_estimate("competence", each.competence),
    }


def study(name: str, policy: Policy, levels: int, seed: int) -> dict[str, list[dict[str, Any]]]:
    """A policy's rows by table, except MADE."""
    suite = steering_suite(testbed_of(policy.env_config), CONDITION)
    condition = suite.index(CONDITION)
    scope, moments = collect(policy, Protocol(suite, 2 * levels, seed=seed), condition, levels)
    pair = look_twice(scope, moments)
    carried = [*patch_layers(scope, pair, seed), *patch_units(scope, pair, seed)]
    print(f"{name}: {moments.number} moments patched", flush=True)
    protocol = Protocol(suite, levels, seed=seed)
    vectors = difference_vector(policy, protocol, condition, ACTIVATIONS)
    steered = []
    for activation, vector in vectors.items():
        constant = measure(policy, protocol, activation, vector, STRENGTHS, RANDOM)
        own = amplify(policy, protocol, activation, AMPLIFIED, seed)
        for each in (*constant, *(each for each in own if each.strength)):
            steered.append(_steered(name, each))
            print(
                f"{name}: {activation} {each.strength:+g} x {each.vector}: attraction "
                f"{steered[-1]['attraction']}, competence {steered[-1]['competence']}",
                flush=True,
            )
    found = effect(pair, seed)
    effects = {
        "policy": name,
        "moments": moments.number,
        **_estimate("value", found.value),
        **_estimate("moved", found.moved),
    }
    return {EFFECTS: [effects], PATCHING: _carried(name, carried), STEERING: steered}


def _add(path: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace a policy's rows."""
    known = read_rows(path, "table") if path.exists() else []
    kept = [row for row in known if row["policy"] != name]
    every = sorted([*kept, *rows], key=lambda row: str(row["policy"]))
    write_rows(path, list(rows[0]), [list(row.values()) for row in every])


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `coinrun_jax.cli` for its exit status."""
    parser = Parser(prog="python -m results.microscope.run", description=__doc__.split("\n")[0])
    parser.add_argument("policies", nargs="*", metavar="POLICY", help="all if left out")
    parser.add_argument("--levels", type=integer(8, 100_000), default=256, metavar="N")
    parser.add_argument("--seed", type=integer(0, 2**32 - 1), default=0, metavar="N")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR")
    parser.add_argument("--force", action="store_true", help="measure known policies again")
    known = parser.parse_args(arguments)
    names = known.policies or sorted(path.name for path in POLICIES.iterdir() if path.is_dir())
    made = known.out / MADE
    done = {row["policy"] for row in read_rows(made, "table")} if made.exists() else set()
    if again := [name for name in known.policies if name in done and not known.force]:
        raise InputError(f"{again[0]} is in {MADE} already; --force measures it again")
    policies = {name: load_policy(POLICIES / name) for name in names}
    enable_compilation_cache()
    known.out.mkdir(parents=True, exist_ok=True)
    for name, policy in policies.items():
        if name in done and not known.force:
            continue
        began = time.perf_counter()
        for table, rows in study(name, policy, known.levels, known.seed).items():
            _add(known.out / table, name, rows)
        words = ["python", "-m", "results.microscope.run", "--levels", str(known.levels)]
        described = {
            "policy": name,
            "p": policy.env_config.p_apart,
            "training_seed": policy.config.seed,
            "levels": known.levels,
            "seed": known.seed,
            "commit": source_commit(),
            "device": device_name(),
            "seconds": round(time.perf_counter() - began),
            "command": shlex.join([*words, "--seed", str(known.seed), name]),
        }
        _add(made, name, [described])  # last: it marks the policy as done
    return 0


if __name__ == "__main__":
    sys.exit(main())
