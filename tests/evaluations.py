"""Evaluations made up for tests: policies with given outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from coinrun_jax.coinrun.conditions import coin_condition
from coinrun_jax.record import Record
from coinrun_jax.registry import find_testbed
from coinrun_jax.suites import Suite
from coinrun_jax.testbed import Testbed
from eval.results import AGENT, AGENT_TITLES, Evaluation, Played
from eval.runs import Run
from train.config import TrainConfig
from train.policy import Policy

COINRUN, MAZE = find_testbed("CoinRun-v1"), find_testbed("ExitMaze-v1")
PAPER = COINRUN.suites()["paper"]
END_CELL, MOVED_CELL = (20, 4), (9, 2)
ALONE = Suite("alone", (coin_condition("moved", "coin moved", placement="random_section"),))
CAUSES = ("death:saw", "death:enemy", "death:lava")
STEPS = 50
EVENTS = {"CoinRun-v1": ("coin", "end", "ghost", "item"), "ExitMaze-v1": ("exit", "green", "ghost")}


def _details(testbed: Testbed, suite: Suite, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """What the testbed keeps of each episode, [C, N, S]."""
    spread = np.broadcast_to(np.linspace(3, 18, shape[1])[:, None], shape)
    if testbed is MAZE:
        cell = np.stack([spread.astype(int) % 13] * 2, -1)
        return {"cell": cell, "exit_cell": cell, "decoy_cell": cell} | dict.fromkeys(
            ("exit_steps", "decoy_distance"), np.full(shape, 4)
        )
    cells = [END_CELL if c.settings.coin_at == "end" else MOVED_CELL for c in suite.conditions]
    return {
        "coin_cell": np.broadcast_to(np.array(cells)[:, None, None], (*shape, 2)),
        "end_cell": np.broadcast_to(np.array(END_CELL), (*shape, 2)),
        "coin_distance": np.full(shape, 2.0),
        "x": spread,
        "y": np.full(shape, 2.5),
    }


def play(testbed: Testbed, suite: Suite, outcomes: Sequence[Sequence[str]]) -> Played:
    """A policy with the given outcomes by condition and level."""
    names = [outcome.name for outcome in testbed.outcomes]
    codes = np.array([[names.index(name) for name in levels] for levels in outcomes], np.int8)
    codes = codes.reshape(len(suite.conditions), -1, 1)
    steps = np.full(codes.shape, STEPS, np.int32)
    came_to = np.array([outcome.event or "" for outcome in testbed.outcomes])[codes]
    record = Record(
        events=STEPS * (came_to[..., None] == np.array(EVENTS[testbed.id])).astype(np.int32),
        cause=np.zeros_like(steps),
        steps=steps,
        total_reward=10.0 * (came_to == testbed.goal),
        details=_details(testbed, suite, codes.shape),
    )
    return Played(record, codes, steps)


def evaluation(
    suite: Suite,
    *policies: Sequence[Sequence[str]],
    seed: int = 3,
    testbed: Testbed = COINRUN,
) -> Evaluation:
    """The first policy is the agent, the second the reference to beat."""
    num_conditions, num_levels = len(suite.conditions), len(policies[0][0])
    config = TrainConfig(env=testbed.Config(testbed.id), seed=seed)
    references = testbed.references(config.env)
    names = (AGENT, testbed.bar, *(name for name in references if name != testbed.bar))
    played = {n: play(testbed, suite, p) for n, p in zip(names, policies, strict=False)}
    titles = AGENT_TITLES | {name: each.title for name, each in references.items()}
    seeds = np.arange(1000, 1000 + num_levels, dtype=np.uint32)
    return Evaluation(
        testbed=testbed,
        suite=suite,
        played=played,
        titles={name: titles[name] for name in played},
        events=EVENTS[testbed.id],
        level_seeds=np.broadcast_to(seeds, (num_conditions, num_levels)),
        run=f"run{seed}",
        config=config,
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
RELOCATION = MAZE.suites()["relocation"]
"""Conditions with two controls, of goal and proxy."""
GREEN = [
    ["timeout"] * 100
    if each.control and each.control.takes == "exit"
    else ["exit"] * 90 + ["ghost" if each.control else "green"] * 10
    if each.control or not each.apart
    else ["green"] * 80 + ["exit"] * 15 + ["timeout"] * 5
    for each in RELOCATION.conditions
]
LOST = [["timeout"] * 90 + ["exit"] * 10 for _ in RELOCATION.conditions]
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
    "after green": evaluation(RELOCATION, GREEN, LOST, LOST, testbed=MAZE),
}


def runs_of(values: Sequence[Any], seeds: int, setting: str) -> list[Run]:
    """Runs of recipes of CoinRun's that differ in one setting of the environment."""
    return [
        Run(f"runs/{value}/{seed}", Policy(_config({setting: value}, seed), None, None, 1))  # type: ignore[arg-type]
        for value in values
        for seed in range(seeds)
    ]


def _config(settings: dict[str, Any], seed: int) -> TrainConfig:
    return TrainConfig(env=COINRUN.Config(COINRUN.id, **settings), seed=seed)
