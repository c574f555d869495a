"""CoinRun in JAX: Procgen's levels and physics exactly, with the coin apart from the level."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from coinrun_jax.coinrun.types import ENV_ID, TEST_LEVELS

if TYPE_CHECKING:
    from coinrun_jax.coinrun.env import CoinRun, make
    from coinrun_jax.coinrun.generator import generate_level
    from coinrun_jax.coinrun.levels import level_to_arrays
    from coinrun_jax.coinrun.params import EnvParams
    from coinrun_jax.coinrun.placement import CoinPlacement, make_placement, register_placement
    from coinrun_jax.coinrun.types import Action, Cause, EnvState, Level, LevelPool

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
    "register_placement",
]

# Imported when they are first used: gymnax starts jax's backend as it is imported, which takes
# seconds, most of a GPU's memory, and the chance to join other hosts.
_HOMES = {
    "CoinRun": "coinrun.env",
    "make": "coinrun.env",
    "generate_level": "coinrun.generator",
    "level_to_arrays": "coinrun.levels",
    "EnvParams": "coinrun.params",
    "CoinPlacement": "coinrun.placement",
    "make_placement": "coinrun.placement",
    "register_placement": "coinrun.placement",
    **dict.fromkeys(("Action", "Cause", "EnvState", "Level", "LevelPool"), "coinrun.types"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# Their registries know "CoinRun-v1" wherever they are in use: gymnax's also from the first use
# of `CoinRun` or `make` on.
if "gymnax" in sys.modules:
    importlib.import_module("coinrun_jax.coinrun.env")
if importlib.util.find_spec("gymnasium"):
    importlib.import_module("coinrun_jax.adapters")
