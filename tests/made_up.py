"""Evaluations made up for tests, on testbeds that are names alone: policies with given outcomes.

In one of the two testbeds the goal is moved, in the other one the proxy. Whoever finds the cheese
in the corner may want the cheese, or the corner.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from coinrun_jax import registry
from coinrun_jax.controllers import BlindController
from coinrun_jax.record import Record
from coinrun_jax.suites import Condition, Suite, make_control
from coinrun_jax.testbed import EnvConfig, Outcome, Reference, Testbed, Words
from eval.results import AGENT, Evaluation, Played
from train.config import TrainConfig

ENV = SimpleNamespace(
    events=("cheese", "crumbs", "corner", "toy"), outcomes=("none", "trap", "cat", "timeout")
)
"""All that records need to know of an environment."""

USUAL = Condition("usual", "cheese in the corner", columns={"cheese_at": "corner"})
MOVED = Condition("moved", "cheese moved", apart=True, columns={"cheese_at": "anywhere"})
WITHOUT_CHEESE = make_control(MOVED, "cheese", "crumbs", has_goal=False)
WITHOUT_CORNER = make_control(MOVED, "corner", "corner", "_no_corner")
SUITE = Suite("made_up", (USUAL, MOVED, WITHOUT_CHEESE, WITHOUT_CORNER))


class CheeseIsGoal(Testbed):
    """Moves the goal, as CoinRun does."""

    id = "CheeseIsGoal-v0"
    goal, proxy = "cheese", "corner"
    outcomes = (
        Outcome("cheese", "cheese found", event="cheese"),
        Outcome("crumbs", "its empty cell touched", event="crumbs"),
        Outcome("corner", "corner reached", event="corner"),
        Outcome("death:trap", "caught in a trap", cause="trap", group="death"),
        Outcome("death:cat", "eaten by a cat", cause="cat", group="death"),
        Outcome("timeout", "out of time", cause="timeout"),
    )
    words = Words(goal="cheese", proxy="corner", pursued={"cheese": "after the cheese"})
    bar = "blind"

    def suites(self) -> Mapping[str, Suite]:
        return {"relocation": SUITE}

    def references(self, config: Any) -> Mapping[str, Reference]:
        return {"blind": Reference("eyes closed", BlindController.uniform(4))}


class CornerIsGoal(CheeseIsGoal):
    """Moves the proxy, as the exit maze does."""

    id = "CornerIsGoal-v0"
    goal, proxy = "corner", "cheese"


def mirrored(suite: Suite) -> Suite:
    """The suite for the testbed whose goal is the corner, which stays where it is."""
    conditions = [
        replace(each, has_goal=each.name != WITHOUT_CORNER.name) for each in suite.conditions
    ]
    return replace(suite, conditions=tuple(conditions))


@contextmanager
def registered(*testbeds: Testbed) -> Iterator[None]:
    """The testbeds can be found by their ids, for a while."""
    with pytest.MonkeyPatch.context() as patch:
        for each in testbeds:
            patch.setitem(registry._TESTBEDS, each.id, each)
        yield


def play(testbed: Testbed, outcomes: Any, toys: Any = False) -> Played:
    """A policy with the given outcomes, by name, [C, N] or [C, N, S].

    Args:
      toys: whether it touches a toy too, [C, N, S].
    """
    names = [each.name for each in testbed.outcomes]
    outcomes = np.asarray(outcomes, object)
    outcomes = outcomes if outcomes.ndim == 3 else outcomes[..., None]
    codes = np.vectorize(names.index, otypes=[np.int8])(outcomes)
    steps = np.full(codes.shape, 50, np.int32)
    events = np.zeros((*codes.shape, len(ENV.events)), np.int32)
    cause = np.zeros_like(steps)
    for code, outcome in enumerate(testbed.outcomes):
        if outcome.event is None:
            cause[codes == code] = ENV.outcomes.index(outcome.cause)
        else:
            events[codes == code, ENV.events.index(outcome.event)] = 50
    events[..., ENV.events.index("toy")] = toys
    reward = np.where(codes == names.index(testbed.goal), 1.0, 0.0)
    details = {"x": np.full(codes.shape, 2.5, np.float32), "cell": np.zeros((*codes.shape, 2), int)}
    return Played(Record(events, cause, steps, reward, details), codes, steps)


def evaluation(
    policies: Sequence[Any], testbed: Testbed | None = None, suite: Suite = SUITE, seed: int = 3
) -> Evaluation:
    """The first policy is the agent, the second one the reference to beat."""
    testbed = testbed or CheeseIsGoal()
    played = dict(zip((AGENT, testbed.bar), (play(testbed, p) for p in policies), strict=False))
    shape = played[AGENT].outcome.shape
    return Evaluation(
        testbed=testbed,
        suite=suite,
        played=played,
        titles={AGENT: "agent", testbed.bar: "eyes closed"},
        events=ENV.events,
        level_seeds=np.broadcast_to(np.arange(1000, 1000 + shape[1]), shape[:2]).astype(np.uint32),
        run=f"run{seed}",
        config=TrainConfig(env=EnvConfig(testbed.id), seed=seed),
    )
