"""Looks at held-out levels during training: which object does the agent touch first?

Each level is played once in every condition that the testbed names. A look has few levels and no
intervals; `eval` measures. The levels are the last of the held-out ones, the first ones are
`eval`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
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
      InputError: if the environment has none, or they do not suit its settings.
    """
    testbed = testbed_of(config.env)
    suite = testbed.suites().get(SUITE)
    if not testbed.look or suite is None:
        raise InputError(f"eval_every {config.eval_every}: {testbed.id} has no conditions to look at")
    conditions = tuple(suite.conditions[suite.index(name)] for name in testbed.look)
    for condition in conditions:
        testbed.overrides(condition, config.env)
    return conditions


def look_columns(config: TrainConfig) -> tuple[str, ...]:
    """Columns of metrics.csv, such as `eval_CONDITION_OBJECT`: share of episodes in which the
    object was touched first. Of the proxy only where goal and proxy are apart.
    """
    return tuple(f"eval_{name}_{event}" for name, event in _shares(config))


def _shares(config: TrainConfig) -> list[tuple[str, str]]:
    testbed = testbed_of(config.env)
    return [
        (condition.name, event)
        for condition in look_conditions(config)
        for event in (testbed.goal, testbed.proxy)
        if event == testbed.goal or condition.apart
    ]


class Look:
    """Plays the levels with given parameters; compiles once.

    Args:
      config: of the run.
      env: the training environment.
      apply: of the run's network.
    """

    def __init__(self, config: TrainConfig, env: Any, apply: Apply) -> None:
        self._config, self._env, self._apply = config, env, apply
        self._testbed = testbed_of(config.env)

    @cached_property
    def _arena(self) -> Arena:
        """Without an agent."""
        config, testbed = self._config, self._testbed
        conditions, count = look_conditions(config), config.eval_levels
        seeds = np.array(TEST_LEVELS[-count:], np.uint32)
        levels = testbed.build_levels(seeds, testbed.level_kind(conditions[0], config.env))
        return Arena(
            testbed=testbed,
            env=self._env,
            params=testbed.make_params(self._env, config.env, levels),
            conditions=conditions,
            overrides=[testbed.overrides(condition, config.env) for condition in conditions],
            level_seeds=seeds,
            level_index=np.tile(np.arange(count, dtype=np.int32), (len(conditions), 1)),
            controllers={},
            key=jax.random.key(0),
            lanes=min(_MOST_LANES, len(conditions) * count),
        )

    def __call__(self, network_params: Any) -> list[dict[str, float]]:
        """`look_columns` of every seed, for its parameters, one seed after another.

        Args:
          network_params: with a leading seed axis where the run has several.
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
        outcomes, _ = classify(self._testbed, self._env, record, arena.decides[:, None, None])
        names = [condition.name for condition in arena.conditions]
        return {
            f"eval_{name}_{event}": round(float(self._share(outcomes[names.index(name)], event)), 6)
            for name, event in _shares(self._config)
        }

    def _share(self, outcomes: np.ndarray, event: str) -> float:
        """Of episodes in which an object was touched first."""
        first = [index for index, o in enumerate(self._testbed.outcomes) if o.event == event]
        return np.isin(outcomes, first).mean()
