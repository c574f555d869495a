"""One agent and the reference policies through one suite."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import numpy as np

import coinrun_jax
from eval.controllers import AgentController, Controller, references
from eval.outcomes import Record, classify
from eval.results import AGENT, Evaluation, Played
from eval.rollout import Arena
from eval.suites import Suite, stack_placements
from train.config import EnvConfig
from train.policy import Policy

Report = Callable[[str, int], None]
"""Told now and then: (policy, episodes taken up)."""


def make_arena(
    env_config: EnvConfig,
    controllers: Mapping[str, Controller],
    suite: Suite,
    num_levels: int,
    seed: int = 0,
) -> Arena:
    """The suite's conditions on the first `num_levels` held-out levels.

    No training run draws from these levels, and they are the same for all runs and seeds.
    """
    env = coinrun_jax.CoinRun(
        mode=env_config.mode,
        observation=env_config.observation,
        num_levels=num_levels,
        start_level=coinrun_jax.TEST_LEVELS.start,
        pool_size=num_levels,
    )
    return Arena(
        env=env,
        params=env.default_params,
        placements=stack_placements(suite.conditions),
        controllers=controllers,
        key=jax.random.key(seed),
        lanes=256 if jax.default_backend() == "cpu" else 8192,
    )


def play_all(arena: Arena, report: Report) -> dict[str, Record]:
    """The arena's policies, side by side: one alone leaves cores idle."""
    stop = threading.Event()

    def tell(policy: str, done: int) -> None:
        if stop.is_set():
            raise InterruptedError("another policy's play was ended")
        report(policy, done)

    arena.compile()
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        # The last reference takes longest: it is mostly lost.
        plays = {
            policy: executor.submit(arena.play, policy, partial(tell, policy))
            for policy in reversed(list(arena.controllers))
        }
        try:
            return {policy: plays[policy].result() for policy in arena.controllers}
        finally:
            stop.set()


def evaluate(
    policy: Policy,
    suite: Suite,
    num_levels: int,
    seed: int = 0,
    greedy: bool = False,
    report: Report = lambda policy, done: None,
) -> tuple[Evaluation, Arena]:
    """Play the agent and the references; also returns the arena, for replays."""
    agent = AgentController(policy.params, policy.network, greedy)
    controllers = {AGENT: agent, **references()}
    arena = make_arena(policy.env_config, controllers, suite, num_levels, seed)
    played = {
        name: Played(record, *classify(record, arena.env.outcomes))
        for name, record in play_all(arena, report).items()
    }
    trained = policy.config.env
    evaluation = Evaluation(
        suite=suite,
        played=played,
        level_seeds=np.asarray(arena.params.pool.levels.seed),
        end_cells=np.asarray(arena.params.pool.levels.end_cell),
        train_seed=policy.config.seed,
        p_train=0.0 if trained.placement == "end" else trained.placement_probability,
        seed=seed,
    )
    return evaluation, arena
