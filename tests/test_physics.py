"""The same actions give Procgen's trajectory."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from coinrun_jax import parity
from coinrun_jax.coinrun import physics
from coinrun_jax.coinrun.types import Action

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("name", ["traj_hard", "traj_easy", "levels"])
def test_recordings_replay_exactly(name):
    assert parity.main([str(DATA / f"{name}.npz")]) == 0


def test_a_changed_recording_is_noticed(tmp_path, capsys):
    arrays = dict(np.load(DATA / "traj_easy.npz"))
    arrays["x"] = arrays["x"].copy()
    arrays["x"][5] += 2e-4
    np.savez(tmp_path / "changed.npz", **arrays)
    assert parity.main([str(tmp_path / "changed.npz")]) == 1


@jax.jit
def walk(batch, actions, params):
    """States after each of the actions, from the first one of a batch."""

    def step(state, action):
        state = physics.advance(state, action, params.pool)
        return state, state

    return jax.lax.scan(step, jax.tree.map(lambda leaf: leaf[0], batch), actions)[1]


LONGEST_WALK = 50


def walked(seed, mode, actions):
    """States after each action, on a level by the programs that replay recordings."""
    levels = parity._generate(np.full(parity.BATCH, seed), mode)
    padded = np.full(LONGEST_WALK, Action.NOOP, np.int32)
    padded[: len(actions)] = actions
    states, params = parity._start(levels)
    return jax.tree.map(lambda leaf: leaf[: len(actions)], walk(states, padded, params))


@pytest.fixture(scope="module")
def walk_on_seed_39():
    """States after 1...30 steps of the walk whose numbers the reference gives."""
    return walked(39, "hard", [7] * 6 + [8] + [7] * 20 + [1] * 3)


@pytest.mark.parametrize(
    ("step", "field", "value"),
    [
        (6, "x", 3.024288),
        (6, "vx", 0.368928),
        (7, "y", 3.0787),
        (7, "vy", 1.5),
        (14, "x", 6.268418),
        (14, "y", 7.978701),
        (21, "y", 3.5787),
        (21, "vy", -0.78),
        (22, "vy", 0.0),
        (27, "x", 11.99744),
        (27, "vx", 0.478242),
        (30, "vx", 0.0),
    ],
)
def test_numbers_of_a_known_walk(walk_on_seed_39, step, field, value):
    assert getattr(walk_on_seed_39, field)[step - 1] == pytest.approx(value, abs=2e-6)


def test_landing_takes_a_step_before_the_grip_is_back(walk_on_seed_39):
    # Step 22 rests at exactly 0 but was still air; step 23 is the first with support.
    assert walk_on_seed_39.vy[21] == 0
    assert not walk_on_seed_39.supported[21]
    assert walk_on_seed_39.supported[22]


def test_a_crate_pushes_no_agent_into_the_ground():
    """The real game's heights on an easy level, where the agent falls past two crates, comes
    beneath the upper one's centre and is pushed down.
    """
    actions = (
        [6] * 3 + [8] * 10 + [7] * 2 + [6] * 6 + [7] * 8 + [8] * 7 + [6] * 4 + [1, 7, 8, 7, 7, 7]
    )
    heights = walked(46, "easy", actions).y
    np.testing.assert_allclose(heights[-2:], [6.5787, 4.5787], atol=1e-6)


def test_actions_decode_to_keys():
    keys = list(zip(*np.asarray(physics.decode_action(np.arange(15))).tolist(), strict=True))
    assert keys[:9] == [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)]
    assert keys[9:] == [(0, 0)] * 6
