"""The record of an episode: which object was touched first, or what ended it, and when.

If several happen in the same step, the first in the order of the testbed's `outcomes` counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from coinrun_jax.suites import Condition
from coinrun_jax.testbed import Testbed


class Trace(struct.PyTreeNode):
    """Everything needed to replay an episode."""

    start: dict[str, jax.Array]  # the testbed's `start_fields` of the first state
    actions: jax.Array  # int8 [T], -1 after the last


class Record(struct.PyTreeNode):
    """One episode up to what decided it. Steps count from 1; 0 means never."""

    events: jax.Array  # int32 [K], first touch of each of the environment's `events`
    cause: jax.Array  # int32 [], index into the environment's `outcomes`
    steps: jax.Array  # int32 [], played
    total_reward: jax.Array  # float32 []
    details: dict[str, jax.Array]  # as the testbed keeps them
    trace: Trace | None = None  # if requested


def start_record(
    testbed: Testbed,
    state: Any,
    params: Any,
    num_events: int,
    no_actions: jax.Array | None = None,
) -> Record:
    """The record of an episode that begins in `state`.

    Args:
      num_events: K.
      no_actions: int8 [T], an empty trace; None for no trace.
    """
    trace = None
    if no_actions is not None:
        start = {name: getattr(state, name) for name in testbed.start_fields}
        trace = Trace(start, no_actions)
    return Record(
        events=jnp.zeros(num_events, jnp.int32),
        cause=jnp.int32(0),
        steps=jnp.int32(0),
        total_reward=jnp.float32(0),
        details=testbed.details(None, state, params),
        trace=trace,
    )


def note_action(record: Record, action: jax.Array) -> Record:
    """The record with the next step's action added to its trace, if it has one."""
    if record.trace is None:
        return record
    actions = record.trace.actions.at[record.steps].set(action.astype(jnp.int8), mode="drop")
    return record.replace(trace=record.trace.replace(actions=actions))


def update_record(
    testbed: Testbed,
    record: Record,
    state: Any,
    params: Any,
    reward: jax.Array,
    info: dict[str, Any],
) -> Record:
    """The record after one more step, which led to `state`."""
    return record.replace(
        events=info["events"],
        cause=info["outcome"].astype(jnp.int32),
        steps=info["episode_length"],
        total_reward=record.total_reward + reward,
        details=testbed.details(record.details, state, params),
    )


def deciding(testbed: Testbed, events: Sequence[str], condition: Condition) -> np.ndarray:
    """Which objects decide an episode of a condition when they are touched; bool [K].

    Goal and proxy do; in a control, the empty cell stands in for the object taken away.
    """
    names = {testbed.goal, testbed.proxy}
    if condition.control is not None:
        names = (names - {condition.control.takes}) | {condition.control.watched}
    return np.array([event in names for event in events], bool)


def is_decided(record: Record, decides: jax.Array) -> jax.Array:
    """Whether the outcome can no longer change. bool, with the record's axes.

    Args:
      decides: from `deciding`, bool [..., K].
    """
    return ((record.events > 0) & decides).any(-1) | (record.cause > 0)


def classify(
    testbed: Testbed, env: Any, record: Record, decides: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes of finished episodes.

    Args:
      record: numpy, fields with leading axes [...].
      decides: bool [K] or broadcastable to [..., K].

    Returns:
      int8 [...], indices into the testbed's `outcomes`, and int32 [...], the deciding step.

    Raises:
      ValueError: if an episode is undecided.
    """
    never = np.iinfo(np.int32).max
    touched = np.where((record.events > 0) & decides, record.events, never)
    table = []
    for outcome in testbed.outcomes:
        if outcome.event is not None:
            table.append(touched[..., env.events.index(outcome.event)])
        else:
            ended = np.asarray(record.cause) == env.outcomes.index(outcome.cause)
            table.append(np.where(ended, record.steps, never))
    steps = np.stack(table)
    first = steps.min(0)
    if (first == never).any():
        raise ValueError(f"{(first == never).sum()} episodes are undecided")
    return steps.argmin(0).astype(np.int8), first.astype(np.int32)
