"""How fast the environment steps: `python -m coinrun_jax.benchmark [--procgen PYTHON] ...`.

A program of many `step` calls under random play, auto-reset included, is compiled (timed
apart) and then run in rounds until the device is done. Every observation is written to
memory, as a policy would need it. The real Procgen (`--procgen`) and EnvPool's build of it
(`--envpool`) are timed by the interpreter that has them, in the same rounds, so that all
meet the same machine; each program counts with its best round, and the ratio is between the
best configurations.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from coinrun_jax.commands import Parser, output_path
from coinrun_jax.env import OBSERVATIONS, CoinRun
from coinrun_jax.generator import MODES
from coinrun_jax.params import EnvParams
from coinrun_jax.types import NUM_ACTIONS, Action, EnvState

CHUNK = 32  # steps per call of the compiled program
ROUNDS = 4
SHORT_EPISODE = 20  # steps
ENDLESS = 2**30  # steps
RIVAL_NUM_ENVS = (64, 256)


@dataclass
class Measured:
    """A program and its best round."""

    implementation: str
    observation: str
    num_envs: int
    threads: int | None
    run: Callable[[], float]  # one round: steps per second
    compile_seconds: float | None = None
    state_bytes: int | None = None
    steps_per_second: float = field(default=0.0)

    def play_round(self) -> None:
        self.steps_per_second = max(self.steps_per_second, self.run())


def device_name() -> str:
    """Kind and number of the devices, with the processor's name where that is the device."""
    devices = jax.devices()
    name = devices[0].device_kind
    if devices[0].platform == "cpu":
        name = f"{_processor()}, {len(os.sched_getaffinity(0))} cores"
    return f"{len(devices)} x {name}" if len(devices) > 1 else name


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def state_bytes(state: EnvState) -> int:
    """Bytes that one environment keeps between steps; the pool is shared and not counted."""
    return sum(leaf.dtype.itemsize * leaf.size for leaf in jax.tree.leaves(state))


def _sharding() -> tuple[NamedSharding, NamedSharding]:
    """Of what has a leading axis of environments, and of what all devices hold whole."""
    mesh = Mesh(np.array(jax.devices()), ("envs",))
    return NamedSharding(mesh, PartitionSpec("envs")), NamedSharding(mesh, PartitionSpec())


def measure_ours(
    env: CoinRun,
    params: EnvParams,
    num_envs: int,
    seconds: float,
    action: Action | None = None,
) -> Measured:
    """Compile `num_envs` environments, split over all devices.

    Args:
      env: what to step.
      params: of all environments.
      num_envs: a multiple of the number of devices.
      seconds: least duration of a round.
      action: what all environments do; at random if None.
    """
    split, whole = _sharding()
    share = num_envs // len(jax.devices())

    def play(key: jax.Array, state: EnvState, params: EnvParams) -> tuple[Any, ...]:
        def step(carry: tuple[Any, ...], _: None) -> tuple[tuple[Any, ...], None]:
            key, state, *_ = carry
            key, key_action, key_step = jax.random.split(key, 3)
            actions = jax.random.randint(key_action, (share,), 0, NUM_ACTIONS)
            if action is not None:
                actions = jnp.full_like(actions, action)
            keys = jax.random.split(key_step, share)
            observation, state, reward, terminated, truncated, _ = jax.vmap(
                env.step, in_axes=(0, 0, 0, None)
            )(keys, state, actions, params)
            # The observation is carried, not folded into a number, so that it is written.
            return (key, state, observation, reward, terminated | truncated), None

        observation, _ = jax.vmap(env.reset, in_axes=(0, None))(
            jax.random.split(key, share), params
        )
        nothing = jnp.zeros(share), jnp.zeros(share, bool)
        carry, _ = jax.lax.scan(step, (key, state, observation, *nothing), None, CHUNK)
        return carry[1:]

    def on_one_device(key: jax.Array, state: EnvState, params: EnvParams) -> tuple[Any, ...]:
        return play(key[0], state, params)

    mesh = split.mesh
    sharded = jax.jit(
        jax.shard_map(
            on_one_device,
            mesh=mesh,
            in_specs=(PartitionSpec("envs"), PartitionSpec("envs"), PartitionSpec()),
            out_specs=PartitionSpec("envs"),
            check_vma=False,
        )
    )
    return sharded, split, whole


def main() -> None: ...
