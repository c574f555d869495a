"""Shifted levels without reward, for methods that adapt while they are tested.

An agent that adapts at test time meets levels that differ from those of its training, and is
not told what they pay. What it would have been paid is in `info`, to score it by.

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

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from coinrun_jax import TEST_LEVELS, CoinRun, EnvParams, EnvState
from coinrun_jax.checks import choice, whole
from coinrun_jax.coinrun.generator import MODES
from eval.catalogue import SUITES
from eval.levels import choose_levels
from eval.suites import Condition, Suite

_NOTHING: Mapping[str, Any] = {}


class UnrewardedCoinRun(CoinRun):
    """CoinRun that pays nothing.

    `info["true_reward"]` and `info["episode_return"]` hold what CoinRun would have paid. That
    an episode ends is not hidden.

    Args:
      mode, observation: as of `CoinRun`.
      params: the default ones.
    """

    def __init__(self, mode: str, observation: str, params: EnvParams) -> None:
        super().__init__(mode, observation, num_levels=1)
        self._default_params = params

    __eq__, __hash__ = object.__eq__, object.__hash__  # its levels are its own

    def step_env(
        self, key: jax.Array, state: EnvState, action: jax.Array, params: EnvParams
    ) -> tuple[jax.Array, EnvState, jax.Array, jax.Array, dict[str, Any]]:
        """One step without auto-reset; gymnax's five values."""
        seen, state, reward, terminated, info = super().step_env(key, state, action, params)
        return seen, state, jnp.zeros_like(reward), terminated, info | {"true_reward": reward}

    @partial(jax.jit, static_argnames="self")
    def step(
        self,
        key: jax.Array,
        state: EnvState,
        action: jax.Array,
        params: EnvParams | None = None,
    ) -> tuple[jax.Array, EnvState, jax.Array, jax.Array, jax.Array, dict[str, Any]]:
        """One step with auto-reset; gymnax's six values."""
        seen, state, reward, *ends, info = super().step(key, state, action, params)
        return seen, state, jnp.zeros_like(reward), *ends, info | {"true_reward": reward}


def shifted_stream(
    condition: str | Condition,
    mode: str = "hard",
    observation: str = "symbolic",
    num_levels: int = 1024,
    skip: int = 0,
    cues: Mapping[str, Any] = _NOTHING,
    items: Mapping[str, Any] = _NOTHING,
) -> tuple[UnrewardedCoinRun, EnvParams]:
    """An environment, and its params, that draws held-out levels and sets them up alike.

    Args:
      condition: of its own, or the name of one of those in `eval.catalogue`.
      mode: of the levels, where the condition does not say.
      observation: "symbolic" or "rgb".
      num_levels: that every reset draws from.
      skip: number of the first held-out levels to leave out, so that adapting on some and
        testing on others are kept apart.
      cues, items: of training, for what the condition leaves alone; arguments of
        `coinrun_jax.coinrun.cues.make_cues` and `coinrun_jax.coinrun.items.make_items`.

    Raises:
      InputError: for an unknown condition, for levels that there are not, and as `CoinRun`.
    """
    condition = replace(_find(condition), control_of=None)
    whole("num_levels", num_levels, 1, len(TEST_LEVELS))
    whole("skip", skip, 0, len(TEST_LEVELS) - num_levels)
    mode = condition.levels.mode or choice("mode", mode, MODES)
    settings = condition.settings(cues, items)
    CoinRun(mode, observation)  # raises for what there is not, before levels are built
    levels, index = choose_levels(Suite("stream", (condition,)), mode, skip + num_levels)
    chosen = jax.tree.map(lambda leaf: leaf[index[0, skip:]], levels)
    params = EnvParams.on_levels(chosen).replace(**settings)
    return UnrewardedCoinRun(mode, observation, params), params


def _find(condition: str | Condition) -> Condition:
    if isinstance(condition, Condition):
        return condition
    known = {each.name: each for each in SUITES["all"].conditions}
    return known[choice("condition", condition, known)]
