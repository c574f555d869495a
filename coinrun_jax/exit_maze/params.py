"""`EnvParams`: everything about the maze that may change without recompiling."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from flax import struct

from coinrun_jax.checks import InputError
from coinrun_jax.exit_maze.cues import Cues, make_condition, make_cues
from coinrun_jax.exit_maze.levels import build_pool
from coinrun_jax.exit_maze.types import Level, LevelPool

STEPS_PER_CELL = 4
"""The time limit is this many steps per cell of the board, walls included."""
_Float = float | np.float32 | jax.Array


class EnvParams(struct.PyTreeNode):
    """Traced settings of `ExitMaze`, as NumPy numbers, so that JAX always sees the same types.

    To give each environment of a batch its own cues, `vmap` over params whose cues have a batch
    axis, and keep the pool shared (`in_axes` None).
    """

    pool: LevelPool  # the levels that a reset draws from
    max_steps_in_episode: int | np.int32 | jax.Array
    cues: Cues = make_cues()
    reward_exit: _Float = np.float32(1)
    reward_green: _Float = np.float32(0)  # for the first touch of a green decoy
    reward_step: _Float = np.float32(0)  # for every step
    terminate_at_decoy: bool | np.bool_ | jax.Array = np.bool_(False)  # where it is green

    @classmethod
    def on_levels(cls, levels: Level) -> EnvParams:
        """Defaults on given levels: one `Level`, or a batch with a leading axis."""
        return cls(build_pool(levels), np.int32(STEPS_PER_CELL * levels.walls.shape[-1] ** 2))

    def with_levels(self, levels: Level) -> EnvParams:
        """Put given levels into the pool: one `Level`, or a batch, on boards of the same size.

        Raises:
          InputError: for boards of another size.
        """
        size, own = levels.walls.shape[-1], self.pool.levels.walls.shape[-1]
        if size != own:
            raise InputError(f"levels of size {size} do not fit boards of size {own}")
        return self.replace(pool=build_pool(levels))

    def with_cues(self, **kwargs: Any) -> EnvParams:
        """Change what is shown; arguments of `cues.make_cues`."""
        return self.replace(cues=make_cues(**kwargs))

    def with_condition(self, name: str, control: bool = False, **others: Any) -> EnvParams:
        """Show the exit as in a condition or its control; arguments of `cues.make_condition`."""
        return self.replace(cues=make_condition(name, control, **others))
