"""The stages of a run: each is its own compiled program and continues from what the previous one
learned. A run without stages is a single stage.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import optax

from train.config import TrainConfig
from train.environment import require_usable
from train.ppo import TrainState
from train.program import Program


@dataclass(frozen=True)
class Stage:
    """A stage of a run."""

    program: Program
    end: int
    """Its last update, counted from the start of the run."""


def make_stages(config: TrainConfig) -> tuple[Stage, ...]:
    """All stages of a run; nothing is compiled.

    Raises:
      InputError: for settings that cannot be used, or stages that do not fit each other.
    """
    require_usable(config)
    return tuple(
        Stage(Program(part, number), end)
        for number, (part, end) in enumerate(zip(config.parts, config.ends, strict=True))
    )


def carry_over(learned: TrainState, first: TrainState, keep_optimizer: bool) -> TrainState:
    """A stage's initial state with what was learned before; episodes start afresh.

    Args:
      learned: the final state of the previous stage or run.
      first: the stage's initial state.
      keep_optimizer: whether to keep Adam's moments and the reward scale too; learning-rate
        schedules always restart.
    """
    state = first.replace(params=learned.params)
    if not keep_optimizer:
        return state
    old, new = learned.return_scale, first.return_scale
    return state.replace(
        opt_state=jax.tree.map(
            lambda before, fresh: fresh if _is_schedule(before) else before,
            learned.opt_state,
            first.opt_state,
            is_leaf=_is_schedule,
        ),
        return_scale=new.replace(mean=old.mean, variance=old.variance, count=old.count),
    )


def _is_schedule(node: object) -> bool:
    return isinstance(node, optax.ScaleByScheduleState)
