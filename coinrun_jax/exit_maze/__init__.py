"""The exit maze: its exit is green in training; in tests another cell can be green instead."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from coinrun_jax.exit_maze.cues import (
    COLOURS,
    CONDITIONS,
    CONTROLS,
    Cues,
    make_condition,
    make_cues,
)
from coinrun_jax.exit_maze.levels import generate_level
from coinrun_jax.exit_maze.observation import plane_names
from coinrun_jax.exit_maze.oracle import REFERENCES
from coinrun_jax.exit_maze.params import EnvParams
from coinrun_jax.exit_maze.types import (
    ENV_ID,
    PLACES,
    Action,
    Colour,
    EnvState,
    Level,
    LevelPool,
    Outcome,
)

if TYPE_CHECKING:
    from coinrun_jax.exit_maze.env import ExitMaze

__all__ = [
    "COLOURS",
    "CONDITIONS",
    "CONTROLS",
    "ENV_ID",
    "PLACES",
    "REFERENCES",
    "Action",
    "Colour",
    "Cues",
    "EnvParams",
    "EnvState",
    "ExitMaze",
    "Level",
    "LevelPool",
    "Outcome",
    "generate_level",
    "make_condition",
    "make_cues",
    "plane_names",
]


def __getattr__(name: str) -> Any:
    """Import `ExitMaze` on first use: importing gymnax starts jax's backend."""
    if name == "ExitMaze":
        return importlib.import_module("coinrun_jax.exit_maze.env").ExitMaze
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
