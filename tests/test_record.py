"""Records: what happens first, and what counts when several things happen at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax.record import (
    Record,
    classify,
    deciding,
    is_decided,
    note_action,
    start_record,
    update_record,
)
from coinrun_jax.suites import Condition
from tests.made_up import ENV, MOVED, USUAL, WITHOUT_CHEESE, WITHOUT_CORNER, CheeseIsGoal

TESTBED = CheeseIsGoal()


def record(cause: str = "none", steps: int = 100, **events: int) -> Record:
    """One finished episode; objects not named were never touched."""
    return Record(
        events=np.array([[events.get(name, 0) for name in ENV.events]]),
        cause=np.array([ENV.outcomes.index(cause)]),
        steps=np.array([steps]),
        total_reward=np.array([0.0]),
        details={},
    )


def outcome(finished: Record, condition: Condition = MOVED) -> tuple[str, int]:
    decides = deciding(TESTBED, ENV.events, condition)
    code, step = classify(TESTBED, ENV, finished, decides)
    assert code.dtype == np.int8
    return TESTBED.outcomes[code[0]].name, int(step[0])


@pytest.mark.parametrize(
    ("condition", "objects"),
    [
        (USUAL, {"cheese", "corner"}),
        (MOVED, {"cheese", "corner"}),
        (WITHOUT_CHEESE, {"crumbs", "corner"}),
        (WITHOUT_CORNER, {"cheese", "corner"}),  # the empty cell has the object's own event
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_decides_an_episode(condition: Condition, objects: set[str]) -> None:
    decides = deciding(TESTBED, ENV.events, condition)
    assert {name for name, d in zip(ENV.events, decides, strict=True) if d} == objects


@pytest.mark.parametrize(
    ("cause", "expected"),
    [("trap", "death:trap"), ("cat", "death:cat"), ("timeout", "timeout")],
)
def test_cause_decides_where_nothing_was_touched(cause: str, expected: str) -> None:
    assert outcome(record(cause, 41)) == (expected, 41)


def test_the_first_event_decides() -> None:
    assert outcome(record(steps=30, cheese=30, corner=20)) == ("corner", 20)
    assert outcome(record(steps=30, cheese=30)) == ("cheese", 30)
    assert outcome(record("trap", 50, corner=49)) == ("corner", 49)
    assert outcome(record("trap", 50, crumbs=10, toy=5)) == ("death:trap", 50)


def test_order_within_a_step_is_that_of_the_testbeds_outcomes() -> None:
    assert outcome(record(steps=30, cheese=30, corner=30)) == ("cheese", 30)
    assert outcome(record("trap", 30, corner=30)) == ("corner", 30)
    assert outcome(record("timeout", 1000, corner=1000)) == ("corner", 1000)
    both = record("trap", 30, crumbs=30, corner=30)
    assert outcome(both, WITHOUT_CHEESE) == ("crumbs", 30)


def test_in_a_control_the_empty_cell_stands_for_the_object() -> None:
    assert outcome(record(steps=25, crumbs=25), WITHOUT_CHEESE) == ("crumbs", 25)
    assert outcome(record(steps=25, crumbs=25, corner=24), WITHOUT_CHEESE) == ("corner", 24)
    assert outcome(record("cat", 25), WITHOUT_CHEESE) == ("death:cat", 25)
    # What has been taken away decides nothing, even if an environment should say it was touched.
    assert outcome(record(steps=25, cheese=3, crumbs=25), WITHOUT_CHEESE) == ("crumbs", 25)


def test_many_episodes_of_several_conditions_at_once() -> None:
    conditions = (MOVED, WITHOUT_CHEESE)
    decides = np.stack([deciding(TESTBED, ENV.events, each) for each in conditions])
    events = np.zeros((2, 3, 1, len(ENV.events)), int)
    events[..., ENV.events.index("crumbs")] = 7
    events[:, 1, 0, ENV.events.index("corner")] = 6
    shape = (2, 3, 1)
    trapped = np.full(shape, ENV.outcomes.index("trap"))
    played = Record(events, trapped, np.full(shape, 9), np.zeros(shape), {})
    code, step = classify(TESTBED, ENV, played, decides[:, None, None])
    names = [[TESTBED.outcomes[c].name for c in row] for row in code[..., 0]]
    assert names == [["death:trap", "corner", "death:trap"], ["crumbs", "corner", "crumbs"]]
    assert step[..., 0].tolist() == [[9, 6, 9], [7, 6, 7]]


def test_undecided_episodes_and_unknown_causes_are_refused() -> None:
    with pytest.raises(ValueError, match="1 episodes are undecided"):
        outcome(record("none"))
    with pytest.raises(ValueError, match="1 episodes are undecided"):
        outcome(record("none", crumbs=5))
    another = SimpleNamespace(events=ENV.events, outcomes=("none", "trap", "timeout"))
    with pytest.raises(ValueError, match="not in"):
        classify(TESTBED, another, record("trap"), deciding(TESTBED, ENV.events, MOVED))


@pytest.mark.parametrize(
    ("condition", "finished", "decided"),
    [
        (MOVED, record("none"), False),
        (MOVED, record("none", crumbs=5, toy=6), False),
        (MOVED, record("none", cheese=5), True),
        (MOVED, record("none", corner=5), True),
        (MOVED, record("trap"), True),
        (MOVED, record("timeout"), True),
        (WITHOUT_CHEESE, record("none", crumbs=5), True),
        (WITHOUT_CHEESE, record("none"), False),
    ],
)
def test_is_decided(condition: Condition, finished: Record, decided: bool) -> None:
    found = is_decided(finished, jnp.asarray(deciding(TESTBED, ENV.events, condition)))
    assert found.tolist() == [decided]


class Remembers(CheeseIsGoal):
    """Keeps the largest x."""

    start_fields = ("x",)

    def details(self, before: dict[str, Any] | None, state: Any, params: Any) -> dict[str, Any]:
        return {"x": jnp.maximum(state.x, -jnp.inf if before is None else before["x"])}


def test_a_record_grows_step_by_step() -> None:
    testbed, no_actions = Remembers(), jnp.full(2, -1, jnp.int8)

    def state(x: float) -> SimpleNamespace:
        return SimpleNamespace(x=jnp.float32(x))

    grown = start_record(testbed, state(1.0), None, len(ENV.events), no_actions)
    assert not grown.events.any()
    assert grown.events.shape == (len(ENV.events),)
    for step, (x, reward) in enumerate([(5.0, 1.0), (3.0, 0.5), (4.0, 0.25)], start=1):
        grown = note_action(grown, jnp.int32(step))
        info = {
            "events": jnp.array([0, step, 0, 0]),
            "outcome": jnp.int32(step == 3),
            "episode_length": jnp.int32(step),
        }
        grown = update_record(testbed, grown, state(x), None, jnp.float32(reward), info)
    assert (int(grown.steps), int(grown.cause), float(grown.total_reward)) == (3, 1, 1.75)
    assert grown.events.tolist() == [0, 3, 0, 0]
    assert float(grown.details["x"]) == 5.0
    assert grown.trace is not None
    assert float(grown.trace.start["x"]) == 1.0
    assert grown.trace.actions.tolist() == [1, 2]  # of a third step there is no room
    untraced = start_record(testbed, state(1.0), None, len(ENV.events))
    assert note_action(untraced, jnp.int32(1)) is untraced
