"""The exit maze: a maze whose exit is always green, and what green is when it is not."""

from __future__ import annotations

import gymnax

from coinrun_jax.exit_maze.cues import (
    COLOURS,
    CONDITIONS,
    CONTROLS,
    Cues,
    make_condition,
    make_cues,
)
from coinrun_jax.exit_maze.env import TEST_LEVELS, ExitMaze
from coinrun_jax.exit_maze.levels import generate_level
from coinrun_jax.exit_maze.observation import plane_names
from coinrun_jax.exit_maze.oracle import REFERENCES
from coinrun_jax.exit_maze.params import EnvParams
from coinrun_jax.exit_maze.types import (
    PLACES,
    Action,
    Colour,
    EnvState,
    Level,
    LevelPool,
    Outcome,
)

__all__ = [
    "COLOURS",
    "CONDITIONS",
    "CONTROLS",
    "ENV_ID",
    "PLACES",
    "REFERENCES",
    "TEST_LEVELS",
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

ENV_ID = "ExitMaze-v1"
"""The version changes whenever an old policy would mean something else, and only then."""

if ENV_ID not in gymnax.registered_envs:
    gymnax.register(ENV_ID, ExitMaze)
