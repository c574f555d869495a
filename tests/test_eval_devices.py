"""Several devices play what one plays, whatever the number of lanes."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax.arena import Arena
from coinrun_jax.controllers import ScriptedController
from eval.evaluate import Protocol, make_arena
from tests.conftest import QUICK_COMPILE, ROOT
from tests.tiny_testbed import CorridorConfig, CorridorTestbed

DEVICES = 4
PROTOCOL = Protocol(CorridorTestbed().suites()["relocation"], num_levels=7, num_samples=2)


def build(lanes: int) -> Arena:
    def act(key: jax.Array, state: Any, params: Any) -> jax.Array:
        """Looks and is random: whatever is mixed up shows."""
        seed = params.pool.levels.seed[state.level_index].astype(jnp.float32)
        place = seed + 0.1 * state.cell
        return jax.random.categorical(key, jnp.cos(jnp.arange(2.0) * place))

    controllers = {"agent": ScriptedController(act)}
    return dataclasses.replace(
        make_arena(CorridorConfig(), controllers, PROTOCOL), lanes=lanes, traced=True
    )


def play(lanes: int, path: Path) -> None:
    """What every lane count and device count should agree on."""
    record = build(lanes).play("agent")
    known = {name: getattr(record, name) for name in ("steps", "cause", "events")}
    np.savez(path, **known, **record.details)


def play_again(lanes: int, path: Path) -> None:
    """As `play`, and what replays check: on several devices they are played on one of them."""
    arena = build(lanes)
    record = arena.play("agent")
    (again,) = arena.replay("agent", [(2, 5, 1)])
    assert int(again.record.steps) == int(record.steps[2, 5, 1])
    assert len(again.states) == int(again.record.steps) + 1
    some = [(2, 5, 1), (0, 0, 0), (1, 3, 1)]
    at = tuple(np.array(some).T)
    trace = jax.tree.map(lambda leaf: leaf[at], record.trace)
    recorded = arena.play_recorded(np.array(some).T, trace)
    for name in ("steps", "cause", "events"):
        np.testing.assert_array_equal(getattr(recorded, name), getattr(record, name)[at])
    known = {name: getattr(record, name) for name in ("steps", "cause", "events")}
    np.savez(path, **known, **record.details)


@pytest.mark.slow
def test_devices_and_lanes_do_not_matter(tmp_path: Path) -> None:
    here, there = tmp_path / "here.npz", tmp_path / "there.npz"
    play(16, here)
    command = (
        "import jax, pathlib; from tests.test_eval_devices import DEVICES, play_again; "
        f"assert jax.device_count() == DEVICES; play_again(5, pathlib.Path({str(there)!r}))"
    )
    flags = f"--xla_force_host_platform_device_count={DEVICES}"
    subprocess.run(
        [sys.executable, "-c", command],
        cwd=ROOT,
        env={**os.environ, **QUICK_COMPILE, "XLA_FLAGS": flags},
        check=True,
    )
    with np.load(here) as one, np.load(there) as other:
        assert one.files == other.files
        for name in one.files:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
        assert one["steps"].shape == (3, 7, 2)
        assert np.unique(one["steps"]).size > 5
