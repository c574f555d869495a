"""How long the microscope takes for one moment, and to patch all layers on 500 levels.

python -m results.microscope.speed

Writes speed.csv. Warm means that everything has run once, so nothing is compiled.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import jax

from coinrun_jax.cli import Parser, command
from coinrun_jax.files import write_rows
from coinrun_jax.hardware import device_name
from coinrun_jax.registry import testbed_of
from eval.evaluate import Protocol
from eval.microscope.fields import fields_of
from eval.microscope.moments import collect
from eval.microscope.patching import look_twice, patch_layers
from eval.microscope.steering import steering_suite
from results.microscope.run import CONDITION, FOLDER, POLICIES
from train.policy import load_policy
from train.provenance import source_commit

POLICY, LEVELS, RUNS = "p100", 500, 5


def measure(path: Path) -> None:
    """Time both and write the table."""
    policy = load_policy(POLICIES / POLICY)
    suite = steering_suite(testbed_of(policy.env_config), CONDITION)
    scope, moments = collect(policy, Protocol(suite, LEVELS, seed=0), suite.index(CONDITION))
    state = jax.tree.map(lambda leaf: leaf[0], moments.states)
    seconds: dict[str, list[float]] = {"fields of one moment": [], "patching": []}
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        fields_of(scope, state)
        seconds["fields of one moment"].append(time.perf_counter() - began)
    for _ in range(2):
        began = time.perf_counter()
        patch_layers(scope, look_twice(scope, moments))
        seconds["patching"].append(time.perf_counter() - began)
    made = [source_commit() or "unknown", device_name(), POLICY, moments.number]
    rows = [(what, round(t[0], 3), round(max(t[1:]), 3), *made) for what, t in seconds.items()]
    head = ("what", "first", "slowest_warm", "commit", "hardware", "policy", "moments")
    write_rows(path, head, rows)


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `coinrun_jax.cli` for the exit status."""
    Parser(description=(__doc__ or "").splitlines()[0]).parse_args(arguments)
    measure(FOLDER / "speed.csv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
