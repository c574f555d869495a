"""Looks at held-out levels during training: their columns, and that they compile once."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from coinrun_jax import arena
from coinrun_jax.checks import InputError
from train.config import NetworkConfig, PPOConfig, TrainConfig, env_config
from train.looks import Look, look_columns
from train.networks import Output

MAZE = TrainConfig(
    env=env_config({"id": "ExitMaze-v1", "size": 7, "pool_size": 16}),
    network=NetworkConfig(width=16),
    ppo=PPOConfig(num_envs=8, num_steps=8, num_minibatches=2, num_epochs=1),
    total_steps=4 * 64,
    checkpoint_every=2,
    eval_every=2,
    eval_levels=16,
    num_seeds=2,
)
COLUMNS = ("eval_exit_green_exit", "eval_green_elsewhere_exit", "eval_green_elsewhere_green")


def uniform(params: Any, observations: jax.Array) -> Output:
    """Draws actions by the params, a vector of logits, whatever it observes."""
    size = observations.shape[0]
    return Output(jnp.tile(params, (size, 1)), jnp.zeros(size), jnp.zeros((size, 1)))


def test_a_look_tells_which_object_was_touched_first_and_compiles_once():
    assert look_columns(MAZE) == COLUMNS
    look, before = Look(MAZE, uniform), arena._advance._cache_size()
    right, wander = jnp.array([0.0, 99.0, 0.0, 0.0]), jnp.zeros(4)
    first, second = look(jnp.stack([wander, right]))
    assert arena._advance._cache_size() == before + 1
    assert tuple(first) == COLUMNS
    assert max(second.values()) < first["eval_exit_green_exit"]  # always to the right
    assert first["eval_exit_green_exit"] > 0.5
    assert first["eval_green_elsewhere_green"] > 0
    assert first["eval_green_elsewhere_exit"] + first["eval_green_elsewhere_green"] <= 1
    alone = Look(dataclasses.replace(MAZE, num_seeds=1), uniform)
    assert alone(wander) == [first]
    assert arena._advance._cache_size() == before + 1


def test_there_must_be_something_to_look_at():
    with pytest.raises(InputError, match="eval_every must be 0: CartPole-v1"):
        look_columns(dataclasses.replace(MAZE, env=env_config({"id": "CartPole-v1"})))
