"""What an episode came to: the first of {coin, end, death, time-out}, and when.

With the coin taken away, touching its cell (the *ghost* cell) stands in for the coin.
Several may happen in the same step; then the first in the order of `OUTCOMES` counts. Where
the coin lies at the end, reaching it is "coin".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from numpy.typing import ArrayLike

DEATHS = ("death:saw", "death:enemy", "death:lava")
OUTCOMES = ("coin", "ghost", "end", *DEATHS, "timeout")
"""Names by code, in order of precedence within a step."""

_OF_CAUSE = {"saw": "death:saw", "enemy": "death:enemy", "lava": "death:lava"} | {
    "timeout": "timeout"
}


class Trace(struct.PyTreeNode):
    """What plays an episode again."""

    start_xy: jax.Array  # float32 [2], of the agent
    actions: jax.Array  # int8 [T], -1 after the last


class Record(struct.PyTreeNode):
    """One episode up to its measured outcome. Steps count from 1; 0 means never."""

    coin_present: jax.Array  # bool []
    coin_cell: jax.Array  # int32 [2], (x, y) where the coin is, or would be
    coin_step: jax.Array  # int32 [], first touch of the coin
    ghost_step: jax.Array  # int32 [], of the ghost cell where that is not the coin's
    end_step: jax.Array  # int32 [], of the end cell
    item_step: jax.Array  # int32 [], of a decoy or pickup
    cause: jax.Array  # int32 [], index into the environment's `outcomes`
    steps: jax.Array  # int32 [], played
    total_reward: jax.Array  # float32 []
    coin_distance: jax.Array  # float32 [], least distance to the coin's cell; tiles, larger axis
    x: jax.Array  # float32 [], of the agent at the last step
    y: jax.Array  # float32 []
    trace: Trace | None = None  # for those who ask for it


def start_record(state: Any, no_actions: jax.Array | None = None) -> Record:
    """The record of an episode that begins in `state`.

    Args:
      no_actions: of its trace, int8 [T]; None for no trace.
    """
    trace = None
    if no_actions is not None:
        trace = Trace(jnp.stack([state.x, state.y]), no_actions)
    never = jnp.int32(0)
    return Record(
        coin_present=state.coin_present,
        coin_cell=state.coin_cell,
        coin_step=never,
        ghost_step=never,
        end_step=never,
        item_step=never,
        cause=never,
        steps=never,
        total_reward=jnp.float32(0),
        coin_distance=_coin_distance(state),
        x=state.x,
        y=state.y,
        trace=trace,
    )


def note_action(record: Record, action: jax.Array) -> Record:
    """The record with the action that its next step takes, where it is traced."""
    if record.trace is None:
        return record
    actions = record.trace.actions.at[record.steps].set(action.astype(jnp.int8), mode="drop")
    return record.replace(trace=record.trace.replace(actions=actions))


def update_record(record: Record, state: Any, reward: jax.Array, info: dict[str, Any]) -> Record:
    """The record after one more step, which led to `state`."""
    return record.replace(
        coin_step=info["coin_step"],
        ghost_step=info["ghost_step"],
        end_step=info["end_step"],
        item_step=info["item_step"],
        cause=info["outcome"].astype(jnp.int32),
        steps=info["episode_length"],
        total_reward=record.total_reward + reward,
        coin_distance=jnp.minimum(record.coin_distance, _coin_distance(state)),
        x=state.x,
        y=state.y,
    )


def _coin_distance(state: Any) -> jax.Array:
    centre = state.coin_cell.astype(jnp.float32) + 0.5
    return jnp.maximum(jnp.abs(state.x - centre[0]), jnp.abs(state.y - centre[1]))


def is_decided(record: Record) -> jax.Array:
    """Whether nothing that may still happen changes the measured outcome. bool []."""
    touched = jnp.where(record.coin_present, record.coin_step, record.ghost_step)
    return (touched > 0) | (record.end_step > 0) | (record.cause > 0)


def classify(record: Record, causes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes of finished episodes.

    Args:
      record: fields of one shape [...] (numpy).
      causes: names of `record.cause`, the environment's `outcomes`; the first one means that
        the episode goes on.

    Returns:
      int8 [...], indices into `OUTCOMES`, and int32 [...], the step that decided.

    Raises:
      ValueError: if an episode is undecided, or ended by a cause without a name here.
    """
    never = np.iinfo(np.int32).max
    present = np.asarray(record.coin_present)

    def when(happened: ArrayLike, step: ArrayLike) -> np.ndarray:
        return np.where(np.asarray(happened) & (np.asarray(step) > 0), step, never)

    steps = {
        "coin": when(present, record.coin_step),
        "ghost": when(~present, record.ghost_step),
        "end": when(True, record.end_step),
    }
    for code, name in enumerate(causes):
        if name in _OF_CAUSE:
            steps[_OF_CAUSE[name]] = when(record.cause == code, record.steps)
    if missing := set(OUTCOMES) - set(steps):
        raise ValueError(f"the environment's outcomes {tuple(causes)} lack {sorted(missing)}")
    table = np.stack([steps[name] for name in OUTCOMES])
    first = table.min(0)
    if (first == never).any():
        raise ValueError(f"{(first == never).sum()} episodes are undecided")
    return table.argmin(0).astype(np.int8), first.astype(np.int32)
