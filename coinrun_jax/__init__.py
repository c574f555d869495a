"""CoinRun in JAX: Procgen's levels and physics exactly, with the coin apart from the level."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import gymnax

from coinrun_jax.env import TEST_LEVELS, CoinRun
from coinrun_jax.generator import generate_level
from coinrun_jax.levels import level_to_arrays
from coinrun_jax.params import EnvParams
from coinrun_jax.placement import CoinPlacement, make_placement
from coinrun_jax.types import Action, Cause, EnvState, Level, LevelPool

__version__ = "0.1.0"

__all__ = [
    "ENV_ID",
    "TEST_LEVELS",
    "Action",
    "Cause",
    "CoinPlacement",
    "CoinRun",
    "EnvParams",
    "EnvState",
    "Level",
    "LevelPool",
    "generate_level",
    "level_to_arrays",
    "make",
    "make_placement",
]

ENV_ID = "CoinRun-v1"
"""The version changes whenever an old policy would mean something else, and only then."""


def make(env_id: str = ENV_ID, **kwargs: Any) -> tuple[CoinRun, EnvParams]:
    """An environment and its default params, as `gymnax.make` gives them.

    Args:
      env_id: "CoinRun-v1".
      **kwargs: arguments of `CoinRun`.

    Raises:
      ValueError: for another id.
    """
    if env_id != ENV_ID:
        raise ValueError(f"environment {env_id!r} is not {ENV_ID!r}")
    env = CoinRun(**kwargs)
    return env, env.default_params


if ENV_ID not in gymnax.registered_envs:
    gymnax.register(ENV_ID, CoinRun)
if "gymnasium" in sys.modules:  # gymnax loads it, today: an extra of ours all the same
    importlib.import_module("coinrun_jax.adapters")
