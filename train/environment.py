"""From an `EnvConfig` to a gymnax environment and its params."""

from __future__ import annotations

import dataclasses

import numpy as np

import coinrun_jax
from train.config import ConfigError, EnvConfig


def make_environment(
    config: EnvConfig,
) -> tuple[coinrun_jax.CoinRun, coinrun_jax.EnvParams]:
    """The training environment: never on the held-out levels `coinrun_jax.TEST_LEVELS`.

    Raises:
      ConfigError: for settings that the environment refuses.
    """
    held_out = coinrun_jax.TEST_LEVELS.start
    if config.start_level >= held_out:
        raise ConfigError(
            f"env.start_level {config.start_level} is a held-out level; they begin at {held_out}"
        )
    num_levels = config.num_levels or held_out - config.start_level
    if config.start_level + num_levels > held_out:
        raise ConfigError(
            f"env.start_level {config.start_level} + num_levels {num_levels} reaches into the "
            f"held-out levels, which begin at {held_out}"
        )
    try:
        env, params = coinrun_jax.make(
            config.id,
            mode=config.mode,
            observation=config.observation,
            num_levels=num_levels,
            start_level=config.start_level,
            pool_size=config.pool_size,
        )
        return env, _vary(params, config)
    except ValueError as error:
        raise ConfigError(f"env: {error}") from error


def _vary(params: coinrun_jax.EnvParams, config: EnvConfig) -> coinrun_jax.EnvParams:
    """The params with the config's placement, cues, items and reward."""
    reward = dataclasses.asdict(config.reward)
    terminate_at_end = reward.pop("terminate_at_end")
    params = params.with_placement(
        config.placement,
        config.placement_probability,
        fraction=config.placement_fraction,
        cell=config.placement_cell,
    )
    params = params.with_cues(**config.cues.arguments()).with_reward(**reward)
    params = params.with_items(**config.items.arguments())
    return params.replace(terminate_at_end=np.bool_(terminate_at_end))
