"""Shifted levels without reward, for methods that adapt at test time.

The agent meets levels that differ from its training levels and receives no reward. The reward that
it would have received is in `info`, for scoring.

    import jax
    from eval.stream import shifted_stream

    env, params = shifted_stream("uniform", num_levels=8)
    key = jax.random.key(0)
    observation, state = env.reset(key, params)
    score = 0.0
    for step in range(20):
        action = jax.random.randint(jax.random.fold_in(key, step), (), 0, env.num_actions)
        observation, state, reward, terminated, truncated, info = env.step(
            jax.random.fold_in(key, step), state, action, params
        )
        assert reward == 0
        score += float(info["true_reward"])
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from coinrun_jax.checks import InputError, choice, shown, whole
from coinrun_jax.registry import DEFAULT, find_testbed
from coinrun_jax.settings import from_mapping
from coinrun_jax.suites import Condition
from coinrun_jax.testbed import TEST_LEVELS, EnvConfig, Testbed


class Unrewarded:
    """An environment with zero reward, otherwise the same as the one it wraps.

    `info["true_reward"]` and `info["episode_return"]` hold the true reward and return. Episode
    ends are not hidden.

    Args:
      env: a gymnax environment.
      params: its default params.
    """

    def __init__(self, env: Any, params: Any) -> None:
        self._env = env
        self.default_params = params

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._env, name)

    def reset(self, key: jax.Array, params: Any = None) -> tuple[jax.Array, Any]:
        """Start on one of the levels; gymnax's two values."""
        return self._env.reset(key, self.default_params if params is None else params)

    def step(
        self, key: jax.Array, state: Any, action: jax.Array, params: Any = None
    ) -> tuple[jax.Array, Any, jax.Array, jax.Array, jax.Array, dict[str, Any]]:
        """One step with auto-reset; gymnax's six values."""
        params = self.default_params if params is None else params
        seen, state, reward, *ends, info = self._env.step(key, state, action, params)
        return seen, state, jnp.zeros_like(reward), *ends, info | {"true_reward": reward}

    def step_env(
        self, key: jax.Array, state: Any, action: jax.Array, params: Any
    ) -> tuple[jax.Array, Any, jax.Array, jax.Array, dict[str, Any]]:
        """One step without auto-reset; gymnax's five values."""
        seen, state, reward, terminated, info = self._env.step_env(key, state, action, params)
        return seen, state, jnp.zeros_like(reward), terminated, info | {"true_reward": reward}


def shifted_stream(
    condition: str | Condition,
    num_levels: int = 1024,
    skip: int = 0,
    env: str | EnvConfig = DEFAULT,
    **settings: Any,
) -> tuple[Unrewarded, Any]:
    """An environment that draws held-out levels under one condition, and its params.

    Args:
      condition: one of your own, or the name of one in the testbed's suites.
      num_levels: number of levels that resets draw from.
      skip: number of held-out levels to skip, to keep adaptation and test levels apart.
      env: id of the testbed, or the config that an agent was trained with.
      **settings: of that config, as under `env:` in YAML, such as `observation="rgb"`; the
        condition overrides them.

    Raises:
      InputError: for an unknown condition, for more levels than there are, and for settings that
        cannot be used.
    """
    config = _config(env, settings)
    testbed = find_testbed(config.id)
    testbed.require_usable(config)
    whole("num_levels", num_levels, 1, len(TEST_LEVELS))
    whole("skip", skip, 0, len(TEST_LEVELS) - num_levels)
    own = replace(_find(testbed, condition), control=None)
    overrides = testbed.overrides(own, config)
    levels, _, index = testbed.choose_levels([own], config, skip + num_levels)
    chosen = jax.tree.map(lambda leaf: leaf[index[0, skip:]], levels)
    made = testbed.evaluation_env(config)
    params = testbed.evaluation_params(made, chosen).replace(**overrides)
    return Unrewarded(made, params), params


def _config(env: str | EnvConfig, settings: dict[str, Any]) -> EnvConfig:
    if isinstance(env, str):
        return from_mapping(find_testbed(env).Config, {"id": env, **settings}, "env")
    if not isinstance(env, EnvConfig):
        raise InputError(f"env {shown(env)} is neither an id nor a config")
    return replace(env, **settings)


def _find(testbed: Testbed, condition: str | Condition) -> Condition:
    if isinstance(condition, Condition):
        return condition
    suites = testbed.suites().values()
    known = {each.name: each for suite in suites for each in suite.conditions}
    return known[choice("condition", condition, known)]
