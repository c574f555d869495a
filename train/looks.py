"""Quick evaluations on held-out levels during training: which object is touched first?

Each level is played once in every condition that the testbed lists for this. A look uses few
levels and gives no intervals, unlike `eval`. It takes the last held-out levels, `eval` the first.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import jax
import numpy as np

from coinrun_jax.arena import Arena
from coinrun_jax.checks import InputError
from coinrun_jax.controllers import AgentController
from coinrun_jax.record import classify
from coinrun_jax.registry import testbed_of
from coinrun_jax.suites import Condition
from coinrun_jax.testbed import TEST_LEVELS
from train.config import TrainConfig
from train.networks import Apply

SUITE = "relocation"
_AGENT = "agent"
_MOST_LANES = 256


def look_conditions(config: TrainConfig) -> tuple[Condition, ...]:
    """The conditions of a look.

    Raises:
      InputError: if the environment has none, or its settings rule one out.
    """
    testbed = testbed_of(config.env)
    suite = testbed.suites().get(SUITE)
    if suite is None or not testbed.look:
        raise InputError(f"eval_every must be 0: {testbed.id} has no conditions to look at")
    conditions = tuple(suite.conditions[suite.index(name)] for name in testbed.look)
    for condition in conditions:
        testbed.overrides(condition, config.env)
    return conditions


def look_columns(config: TrainConfig) -> tuple[str, ...]:
    """Columns of metrics.csv, `eval_CONDITION_OBJECT`: share of episodes in which the goal, or the
    proxy where it is apart from the goal, was touched first.
    """
    testbed = testbed_of(config.env)
    return tuple(
        f"eval_{condition.name}_{event}"
        for condition in look_conditions(config)
        for event in (testbed.goal, testbed.proxy)
        if event == testbed.goal or condition.apart
    )


class Look:
    """Plays the levels with given network parameters; compiles once.

    Args:
      apply: of the run's network.
    """

    def __init__(self, config: TrainConfig, apply: Apply) -> None:
        self._config, self._apply = config, apply
        self._testbed = testbed_of(config.env)

    @cached_property
    def _arena(self) -> Arena:
        """The arena, without an agent."""
        env_config, testbed, count = self._config.env, self._testbed, self._config.eval_levels
        conditions = look_conditions(self._config)
        seeds = np.array(TEST_LEVELS[-count:], np.uint32)
        levels = testbed.build_levels(seeds, testbed.level_kind(conditions[0], env_config))
        env = testbed.evaluation_env(env_config)
        return Arena(
            testbed=testbed,
            env=env,
            params=testbed.evaluation_params(env, levels),
            conditions=conditions,
            overrides=[testbed.overrides(condition, env_config) for condition in conditions],
            level_seeds=seeds,
            level_index=np.tile(np.arange(count, dtype=np.int32), (len(conditions), 1)),
            controllers={},
            key=jax.random.key(0),
            lanes=min(_MOST_LANES, len(conditions) * count),
        )

    def __call__(self, network_params: Any) -> list[dict[str, float]]:
        """Every seed's `look_columns`, evaluated one seed after another.

        Args:
          network_params: with a leading seed axis if the run has several seeds.
        """
        if self._config.num_seeds == 1:
            return [self._look(network_params)]
        return [
            self._look(jax.tree.map(lambda leaf, k=index: leaf[k], network_params))
            for index in range(self._config.num_seeds)
        ]

    def _look(self, network_params: Any) -> dict[str, float]:
        agent = AgentController(network_params, self._apply)
        arena = replace(self._arena, controllers={_AGENT: agent})
        record = arena.play(_AGENT)
        outcomes, _ = classify(self._testbed, arena.env, record, arena.decides[:, None, None])
        events = np.array([each.event or "" for each in self._testbed.outcomes])[outcomes]
        rates = {
            f"eval_{condition.name}_{event}": float((events[index] == event).mean())
            for index, condition in enumerate(arena.conditions)
            for event in (self._testbed.goal, self._testbed.proxy)
        }
        return {name: round(rates[name], 6) for name in look_columns(self._config)}
