"""Settings of the exit maze in a config, under `env:`."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np

from coinrun_jax.checks import InputError, real, whole
from coinrun_jax.exit_maze.maze import check_size
from coinrun_jax.exit_maze.observation import MAX_COPIES
from coinrun_jax.exit_maze.types import DEFAULT_SIZE, ENV_ID
from coinrun_jax.settings import require_types
from coinrun_jax.testbed import LevelsConfig


@dataclasses.dataclass(frozen=True)
class MazeCuesConfig:
    """What marks the exit."""

    exit_green: float = 1.0
    """Strength q of the cue: chance per episode that the exit is green."""
    exit_else: Literal["none", "red", "blue"] = "red"
    """The exit's colour in the other episodes."""
    decoy_with_green: Literal["none", "red", "green", "blue"] = "none"
    """Colour of the decoy, a cell off the way to the exit, when the exit is green."""
    decoy_else: Literal["none", "red", "green", "blue"] = "green"
    """Colour of the decoy otherwise; with green, every board has one green cell."""
    decoy_place: Literal["dead_end", "corridor", "border"] = "dead_end"

    def __post_init__(self) -> None:
        require_types(self, "env.cues")
        real("env.cues.exit_green", self.exit_green, 0, 1)

    def arguments(self) -> dict[str, Any]:
        """Arguments of `coinrun_jax.exit_maze.cues.make_cues`."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class MazeRewardConfig:
    """The rewards."""

    exit: float = 1.0
    green: float = 0.0
    """First touch of a green decoy."""
    step: float = 0.0
    """Every step."""
    terminate_at_green: bool = False
    """Whether a green decoy ends an episode."""

    def __post_init__(self) -> None:
        require_types(self, "env.reward")

    def arguments(self) -> dict[str, Any]:
        """Fields of `coinrun_jax.exit_maze.params.EnvParams`."""
        return {
            "reward_exit": np.float32(self.exit),
            "reward_green": np.float32(self.green),
            "reward_step": np.float32(self.step),
            "terminate_at_decoy": np.bool_(self.terminate_at_green),
        }


@dataclasses.dataclass(frozen=True)
class ExitMazeConfig(LevelsConfig):
    """The maze that an agent is trained in.

    Raises:
      InputError: for a value of another type, or out of range.
    """

    id: str = ENV_ID
    size: int = DEFAULT_SIZE
    """Height and width of the board in cells; odd."""
    view: Literal["agent", "board"] = "agent"
    """The board shifted to centre the agent, with the cell that it faces; or as it is."""
    observation: Literal["float", "uint8"] = "float"
    colour_planes: int = 1
    """Salience of colour: copies of its three planes; 0 for an agent that sees none."""
    exit_planes: int = 1
    """Salience of the exit: copies of its plane."""
    cues: MazeCuesConfig = dataclasses.field(default_factory=MazeCuesConfig)
    reward: MazeRewardConfig = dataclasses.field(default_factory=MazeRewardConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self.size, "env.size")
        for name in ("colour_planes", "exit_planes"):
            whole(f"env.{name}", getattr(self, name), 0, MAX_COPIES)
        if self.cues.decoy_place == "border" and self.reward.terminate_at_green:
            raise InputError(
                "env.reward.terminate_at_green: a decoy on the border is a wall and cannot end an "
                "episode"
            )

    @property
    def p_apart(self) -> float:
        """Share of training episodes in which a cell other than the exit is the green one."""
        return (1.0 - self.cues.exit_green) if self.cues.decoy_else == "green" else 0.0
