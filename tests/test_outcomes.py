"""Outcomes: what happens first, and what counts when several things happen at once."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax import CoinRun
from eval.outcomes import OUTCOMES, Record, classify, is_decided

CAUSES = CoinRun.outcomes


def record(cause: str = "none", present: bool = True, steps: int = 100, **events: int) -> Record:
    """One finished episode; events not named never happened."""
    values: dict[str, Any] = (
        dict.fromkeys(("coin_step", "ghost_step", "end_step", "item_step", "x", "y"), 0) | events
    )
    return Record(
        coin_present=np.array([present]),
        coin_cell=np.array([[3, 1]]),
        cause=np.array([CAUSES.index(cause)]),
        steps=np.array([steps]),
        total_reward=np.array([0.0]),
        coin_distance=np.array([0.0]),
        **{name: np.array([step]) for name, step in values.items()},
    )


def outcome(*arguments: Any, **events: Any) -> tuple[str, int]:
    code, step = classify(record(*arguments, **events), CAUSES)
    return OUTCOMES[code[0]], int(step[0])


@pytest.mark.parametrize(
    ("cause", "expected"),
    [("saw", "death:saw"), ("enemy", "death:enemy"), ("lava", "death:lava"), ("timeout",) * 2],
)
def test_cause_decides_where_nothing_was_touched(cause: str, expected: str) -> None:
    assert outcome(cause, steps=41) == (expected, 41)


def test_the_first_event_decides() -> None:
    assert outcome("coin", steps=30, coin_step=30, end_step=20) == ("end", 20)
    assert outcome("coin", steps=30, coin_step=30) == ("coin", 30)
    assert outcome("saw", steps=50, end_step=49) == ("end", 49)
    assert outcome("saw", steps=50, ghost_step=10) == ("death:saw", 50)


def test_order_within_a_step() -> None:
    assert outcome("coin", steps=30, coin_step=30, end_step=30) == ("coin", 30)
    assert outcome("saw", steps=30, end_step=30) == ("end", 30)
    assert outcome("timeout", steps=1000, end_step=1000) == ("end", 1000)
    assert outcome("saw", False, 30, end_step=30, ghost_step=30) == ("ghost", 30)


def test_without_the_coin_its_cell_stands_in() -> None:
    assert outcome("none", False, 25, ghost_step=25) == ("ghost", 25)
    assert outcome("none", False, 25, ghost_step=25, end_step=24) == ("end", 24)
    assert outcome("lava", False, 25) == ("death:lava", 25)


def test_undecided_episodes_and_unknown_causes_are_refused() -> None:
    with pytest.raises(ValueError, match="1 episodes are undecided"):
        classify(record("none"), CAUSES)
    with pytest.raises(ValueError, match="death:lava"):
        classify(record("saw"), ("none", "coin", "saw", "enemy", "timeout"))


@pytest.mark.parametrize(
    ("arguments", "events", "decided"),
    [
        (("none",), {}, False),
        (("none",), {"ghost_step": 5}, False),
        (("none",), {"coin_step": 5}, True),
        (("none",), {"end_step": 5}, True),
        (("saw",), {}, True),
        (("timeout",), {}, True),
        (("none", False), {"ghost_step": 5}, True),
        (("none", False), {}, False),
    ],
)
def test_is_decided(arguments: tuple, events: dict[str, int], decided: bool) -> None:
    finished = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), record(*arguments, **events))
    assert bool(is_decided(finished)) is decided
