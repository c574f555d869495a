"""Episodes made up for tests, by what they came to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eval.outcomes import OUTCOMES, Record
from eval.results import Evaluation, Played, Trained
from eval.suites import Suite

END_CELL, COIN_CELL = (20, 4), (9, 2)
STEPS = 50


def play(suite: Suite, outcomes: Sequence[Sequence[str]]) -> Played:
    """One policy's episodes: for each condition of the suite the outcome on every level."""
    codes = np.array([[OUTCOMES.index(name) for name in row] for row in outcomes], np.int8)
    codes = codes.reshape(len(suite.conditions), -1, 1)
    shape = codes.shape
    steps = np.full(shape, STEPS, np.int32)
    moved = np.array([condition.moved for condition in suite.conditions])[:, None, None, None]
    present = np.array([condition.present for condition in suite.conditions])[:, None, None]

    def when(name: str) -> np.ndarray:
        return np.where(codes == OUTCOMES.index(name), steps, 0)

    record = Record(
        coin_present=np.broadcast_to(present, shape),
        coin_cell=np.where(moved, COIN_CELL, END_CELL) + np.zeros((*shape, 1), int),
        coin_step=when("coin"),
        ghost_step=when("ghost"),
        end_step=when("end"),
        item_step=np.zeros(shape, np.int32),
        cause=np.zeros(shape, np.int32),
        steps=steps,
        total_reward=10.0 * (codes == OUTCOMES.index("coin")),
        coin_distance=np.full(shape, 2.0),
        x=np.full(shape, 9.5),
        y=np.full(shape, 2.5),
    )
    return Played(record, codes, steps)


def evaluation(suite: Suite, **outcomes: Sequence[Sequence[str]]) -> Evaluation:
    """Policies by name, the agent first."""
    played = {name: play(suite, rows) for name, rows in outcomes.items()}
    shape = next(iter(played.values())).outcome.shape[:2]
    return Evaluation(
        suite=suite,
        played=played,
        level_seeds=np.broadcast_to(np.arange(1000, 1000 + shape[1]), shape),
        end_cells=np.broadcast_to(END_CELL, (*shape, 2)),
        trained=Trained("runs/made-up", 3, "random_section", 0.25),
    )
