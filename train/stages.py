"""The stages of a run: each a compiled program of its own, which goes on with what the one before
it has learned. A run without stages is a single one.
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
    """Of a run."""

    program: Program
    end: int
    """Its last update, counted from the beginning of the run."""


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
    """A stage's initial state, with what has been learned before; episodes begin anew.

    Args:
      learned: the last state of what came before.
      first: the stage's initial state.
      keep_optimizer: whether Adam's moments and the scale of rewards go on, too; schedules of the
        learning rate always begin anew.
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
