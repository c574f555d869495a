"""JAX environments for studying which goal an agent has learned.

CoinRun with Procgen's levels and physics, and a coin that can be moved; and a maze whose exit is
always green, until it is not.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from coinrun_jax.checks import choice
from coinrun_jax.coinrun.types import ENV_ID
from coinrun_jax.testbed import TEST_LEVELS

if TYPE_CHECKING:
    from coinrun_jax.coinrun.env import CoinRun
    from coinrun_jax.coinrun.generator import generate_level
    from coinrun_jax.coinrun.levels import level_to_arrays
    from coinrun_jax.coinrun.params import EnvParams
    from coinrun_jax.coinrun.placement import CoinPlacement, make_placement, register_placement
    from coinrun_jax.coinrun.types import Action, Cause, EnvState, Level, LevelPool
    from coinrun_jax.exit_maze.env import ExitMaze

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
    "ExitMaze",
    "Level",
    "LevelPool",
    "generate_level",
    "level_to_arrays",
    "make",
    "make_placement",
    "register_placement",
]

# Imported on first use: importing gymnax starts JAX's backend, which takes seconds and most of a
# GPU's memory, and rules out joining other hosts.
_HOMES = {
    "CoinRun": "coinrun.env",
    "ExitMaze": "exit_maze.env",
    "generate_level": "coinrun.generator",
    "level_to_arrays": "coinrun.levels",
    "EnvParams": "coinrun.params",
    "CoinPlacement": "coinrun.placement",
    "make_placement": "coinrun.placement",
    "register_placement": "coinrun.placement",
    **dict.fromkeys(("Action", "Cause", "EnvState", "Level", "LevelPool"), "coinrun.types"),
}


_ENVIRONMENTS = {ENV_ID: "CoinRun", "ExitMaze-v1": "ExitMaze"}


def make(env_id: str = ENV_ID, **kwargs: Any) -> tuple[Any, Any]:
    """An environment and its default params, like `gymnax.make`.

    Args:
      env_id: "CoinRun-v1" or "ExitMaze-v1".
      **kwargs: arguments of `CoinRun` or `ExitMaze`.

    Raises:
      ValueError: for an unknown id, or an argument out of range.
    """
    env = __getattr__(_ENVIRONMENTS[choice("environment", env_id, _ENVIRONMENTS)])(**kwargs)
    return env, env.default_params


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# Registered with gymnax if it is already imported, otherwise on first use; and with gymnasium if
# it is installed.
if "gymnax" in sys.modules:
    for _home in ("coinrun.env", "exit_maze.env"):
        importlib.import_module(f"{__name__}.{_home}")
if importlib.util.find_spec("gymnasium"):
    importlib.import_module("coinrun_jax.adapters")
