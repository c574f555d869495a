"""Tiny runs for tests: in this process or as commands, and what they wrote."""

from __future__ import annotations

import csv
import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from coinrun_jax.coinrun.env_config import CoinRunConfig
from tests.conftest import QUICK_COMPILE, ROOT
from tests.tiny_testbed import CorridorConfig
from train.config import NetworkConfig, PPOConfig, TrainConfig
from train.networks import Network

UPDATES = 4
CONFIG = TrainConfig(
    env=CoinRunConfig(pool_size=16),
    network=NetworkConfig(width=16),
    ppo=PPOConfig(num_envs=8, num_steps=8, num_minibatches=2, num_epochs=2),
    total_steps=UPDATES * 64,
    checkpoint_every=2,
)
TINY = dataclasses.replace(CONFIG, env=CorridorConfig(pool_size=16))
"""What is shown of runs as such is shown of this one: it compiles in a fifth of `CONFIG`'s time."""
IN_CORRIDOR = ("--plugins", "tests.tiny_testbed", "--env.id", CorridorConfig.id)


def arguments(*more: str, updates: int = UPDATES, checkpoint_every: int = 2) -> list[str]:
    """`CONFIG` on the command line; with `IN_CORRIDOR` it is `TINY`."""
    settings = {
        "--env.pool-size": 16,
        "--network.width": 16,
        "--ppo.num-envs": 8,
        "--ppo.num-steps": 8,
        "--ppo.num-minibatches": 2,
        "--ppo.num-epochs": 2,
        "--total-steps": updates * 64,
        "--checkpoint-every": checkpoint_every,
    }
    return [str(word) for pair in settings.items() for word in pair] + list(more)


def drawn_weights(network: Network, shape: tuple[int, ...], scale: float) -> Any:
    """Parameters of a network that has learned nothing, for observations of a shape.

    NumPy draws them: to draw them as a training does compiles a program for each layer.
    """
    rng, key = np.random.default_rng(0), jax.eval_shape(lambda: jax.random.key(0))
    seen = jax.ShapeDtypeStruct((1, *shape), np.float32)
    return jax.tree.map(
        lambda leaf: rng.normal(0, scale, leaf.shape).astype(leaf.dtype),
        jax.eval_shape(network.init, key, seen),
    )


def launch(*words: str, **environment: str) -> subprocess.Popen[str]:
    """`python -m train` with its output kept."""
    return subprocess.Popen(
        [sys.executable, "-m", "train", *words],
        cwd=ROOT,
        env={**os.environ, **QUICK_COMPILE, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str], timeout: float = 300) -> str:
    """Its output, once it has ended well."""
    output = process.communicate(timeout=timeout)[0]
    assert process.returncode == 0, output
    return output


def read_metrics(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def without_clock(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if "second" not in k} for row in rows]


def read_policy(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "policy.npz", allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def assert_same_policy(a: Path, b: Path, atol: float = 0.0) -> None:
    left, right = read_policy(a), read_policy(b)
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_allclose(left[name], right[name], rtol=0, atol=atol, err_msg=name)
