"""Where the study's agents come from: `agents.csv`, a row for each one in its tables.

A run's policy has a hash, so that one can tell whether retraining gave the same agent. A run
that was trained on two machines may be two agents; `experiments` lists the tables that each is
in, with the commit of the evaluation: NAME@COMMIT.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path

import flax.traverse_util
import numpy as np

from coinrun_jax.checks import InputError, shown
from coinrun_jax.files import read_mapping, shortened
from results.study import tables
from results.study.experiments import RESULTS, ROOT
from train.policy import load_policy

AGENTS = "agents.csv"
COLUMNS = ("run", "policy", "experiments")


def policy_hash(run_dir: Path) -> str:
    """Hash of the names and bytes of the policy's arrays; 16 hexadecimal digits."""
    digest = hashlib.sha256()
    arrays = flax.traverse_util.flatten_dict(load_policy(run_dir).params, sep="/")
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.asarray(arrays[name]).tobytes())
    return digest.hexdigest()[:16]


def describe(name: str) -> tables.Row:
    """A run's row, with commits, versions and devices at its start and each time it resumed."""
    stages = _stages(ROOT / name / "run.json")

    def each(key: str, between: str) -> str:
        return between.join(dict.fromkeys(stage[key] or "unknown" for stage in stages))

    return {
        "run": name,
        "commits": each("commit", " "),
        "jax": each("jax", " "),
        "device": each("device", "; "),
        "began": stages[0]["started"],
        "policy": policy_hash(ROOT / name),
        "experiments": "",
    }


def _stages(path: Path) -> list[dict[str, str]]:
    """The run's start, and each time it resumed."""
    began = read_mapping(path, "description of a run")
    resumed = began.get("resumed", [])
    stages = [began, *resumed] if isinstance(resumed, list) else [resumed]
    for stage in stages:
        for key in ("commit", "jax", "device", "started"):
            if not isinstance(stage, dict) or not isinstance(stage.get(key, 0), str | None):
                raise InputError(f"description of a run {shortened(path)} does not say its {key}")
    return stages


def record(
    experiment: str, runs: Iterable[str], commit: str, path: Path = RESULTS / AGENTS
) -> None:
    """Record runs that an experiment has evaluated with the code of a commit."""
    rows = tables.read(path, COLUMNS)
    for new in map(describe, runs):
        known = [row for row in rows if _agent(row) == _agent(new)]
        rows += [] if known else [new]
        _take(rows, (known or [new])[0], experiment, commit)
    _write(rows, path)


def share(
    runs: Collection[str], source: str, experiment: str, path: Path = RESULTS / AGENTS
) -> None:
    """Record that an experiment took its rows of some runs from another one's table."""
    rows = tables.read(path, COLUMNS)
    for row in rows:
        if row["run"] in runs and (commit := evaluations(row).get(source)):
            _take(rows, row, experiment, commit)
    _write(rows, path)


def evaluations(row: tables.Row) -> dict[str, str]:
    """Experiments that an agent is in, and the commits that it was evaluated with.

    Raises:
      InputError: for an entry that is not NAME@COMMIT.
    """
    entries = [entry.partition("@") for entry in row["experiments"].split()]
    if not all(name and commit for name, _, commit in entries):
        raise InputError(
            f"experiments {shown(row['experiments'])} must all have the form NAME@COMMIT"
        )
    return {name: commit for name, _, commit in entries}


def _agent(row: tables.Row) -> tuple[str, str]:
    return row["run"], row["policy"]


def _take(rows: list[tables.Row], chosen: tables.Row, experiment: str, commit: str) -> None:
    """Assign the experiment to the chosen one among this run's agents."""
    for row in rows:
        if row["run"] == chosen["run"]:
            known = evaluations(row)
            known.pop(experiment, None)
            if row is chosen:
                known[experiment] = commit
            row["experiments"] = " ".join(f"{name}@{known[name]}" for name in sorted(known))


def _write(rows: list[tables.Row], path: Path) -> None:
    """Write the rows, without agents that are no longer in any table."""
    tables.write(sorted((row for row in rows if row["experiments"]), key=_agent), path)
