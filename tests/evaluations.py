"""Evaluations made up for tests: policies with given outcomes."""

from __future__ import annotations

import numpy as np

from eval.catalogue import SUITES
from eval.outcomes import OUTCOMES, Record
from eval.results import AGENT, BAR, Evaluation, Played, Trained
from eval.suites import Condition, Suite

PAPER = SUITES["paper"]
END_CELL, MOVED_CELL = (20, 4), (9, 2)
ALONE = Suite("alone", (Condition("moved", "coin moved", placement="random_section"),))
CAUSES = ("death:saw", "death:enemy", "death:lava")


def play(suite: Suite, outcomes: list[list[str]]) -> Played:
    """A policy with the given outcomes by condition and level."""
    codes = np.array([[OUTCOMES.index(name) for name in levels] for levels in outcomes], np.int8)
    codes = codes.reshape(len(suite.conditions), -1, 1)
    steps = np.full(codes.shape, 50, np.int32)
    cells = [END_CELL if c.coin_at == "end" else MOVED_CELL for c in suite.conditions]
    present = [c.present for c in suite.conditions]
    place = np.broadcast_to(np.linspace(3, 18, codes.shape[1])[:, None], codes.shape)
    record = Record(
        coin_present=np.broadcast_to(np.array(present)[:, None, None], codes.shape),
        coin_cell=np.broadcast_to(np.array(cells)[:, None, None], (*codes.shape, 2)),
        coin_step=np.where(codes == OUTCOMES.index("coin"), steps, 0),
        ghost_step=np.where(codes == OUTCOMES.index("ghost"), steps, 0),
        end_step=np.where(codes == OUTCOMES.index("end"), steps, 0),
        item_step=np.zeros_like(steps),
        cause=np.zeros_like(steps),
        steps=steps,
        total_reward=10.0 * (codes == OUTCOMES.index("coin")),
        coin_distance=np.full(codes.shape, 2.0),
        x=place,
        y=np.full(codes.shape, 2.5),
    )
    return Played(record, codes, steps)


def evaluation(suite: Suite, *policies: list[list[str]], seed: int = 3) -> Evaluation:
    """The first policy is the agent, the second the reference to beat."""
    num_conditions, num_levels = len(suite.conditions), len(policies[0][0])
    names = (AGENT, BAR, "random")
    return Evaluation(
        suite=suite,
        played={n: play(suite, p) for n, p in zip(names, policies, strict=False)},
        level_seeds=np.broadcast_to(
            np.arange(1000, 1000 + num_levels), (num_conditions, num_levels)
        ),
        end_cells=np.broadcast_to(END_CELL, (num_conditions, num_levels, 2)),
        trained=Trained(f"run{seed}", seed, 0.25),
    )


COMPETENT = [["coin"] * 9 + ["death:saw"], ["coin"] * 3 + ["end"] * 6 + ["timeout"], ["end"] * 10]
DEAD = [["death:lava"] * 10] * 3
MANY = [
    ["coin"] * 95 + [*CAUSES, "death:saw", "timeout"],
    ["end"] * 90 + ["coin"] * 10,
    ["end"] * 100,
]
FETCHES = [["coin"] * 100, ["coin"] * 97 + ["end"] * 3, ["end"] * 100]
BLIND = [["coin"] * 40 + ["death:saw"] * 60, ["ghost"] * 100, ["ghost"] * 100]
CASES = {
    "competent": evaluation(PAPER, COMPETENT, DEAD, DEAD),
    "after the end": evaluation(PAPER, MANY, BLIND, BLIND),
    "after the coin": evaluation(PAPER, FETCHES, BLIND, BLIND),
    "always dead": evaluation(PAPER, DEAD, COMPETENT, DEAD),
    "one level": evaluation(PAPER, [["coin"], ["coin"], ["ghost"]], [["end"]] * 3),
    "no level": evaluation(PAPER, [[], [], []], [[], [], []]),
    "no reference": evaluation(PAPER, COMPETENT),
    "no control": evaluation(ALONE, [["coin", "end"]], [["end", "end"]]),
    "nobody competent": evaluation(ALONE, [["death:saw", "timeout"]], [["timeout"] * 2]),
}
