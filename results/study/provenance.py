"""Where the study's agents come from: `agents.csv`, a row for each one that is done.

A run's policy has a hash, so that who trains it anew can tell whether it is the same agent.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from results.study.experiments import RESULTS

AGENTS = "agents.csv"
COLUMNS = ("run", "commits", "jax", "device", "began", "policy")


def policy_hash(run_dir: Path) -> str:
    """Of the names and bytes of the policy's arrays; 16 hexadecimal digits."""
    digest = hashlib.sha256()
    with np.load(run_dir / "policy.npz", allow_pickle=False) as arrays:
        for name in sorted(arrays.files):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()[:16]


def describe(name: str, run_dir: Path) -> dict[str, str]:
    """A row: the commits are of the run's start, and of each time that it went on."""
    began = json.loads((run_dir / "run.json").read_text())
    commits = [each["commit"] or "unknown" for each in (began, *began.get("resumed", ()))]
    return {
        "run": name,
        "commits": " ".join(dict.fromkeys(commits)),
        "jax": began["jax"],
        "device": began["device"],
        "began": began["started"],
        "policy": policy_hash(run_dir),
    }


def record(runs: Iterable[tuple[str, Path]], path: Path = RESULTS / AGENTS) -> None:
    """Enter runs that are done, by name and folder; rows of runs that are elsewhere stay."""
    rows = {}
    if path.exists():
        with path.open(newline="") as file:
            rows = {row["run"]: row for row in csv.DictReader(file)}
    rows |= {name: describe(name, run_dir) for name, run_dir in runs}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[name] for name in sorted(rows))
