"""From an `EnvConfig` to a gymnax environment and its params."""

from __future__ import annotations

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
    num_levels = config.num_levels or held_out - config.start_level
    if config.start_level + num_levels > held_out:
        raise ConfigError(
            f"env.start_level {config.start_level} + num_levels {num_levels} reaches into the "
            f"held-out levels, which begin at {held_out}"
        )
    try:
        placement = coinrun_jax.make_placement(config.placement, config.placement_probability)
        env, params = coinrun_jax.make(
            config.id,
            mode=config.mode,
            observation=config.observation,
            num_levels=num_levels,
            start_level=config.start_level,
            pool_size=config.pool_size,
        )
        return env, params.replace(placement=placement)
    except ValueError as error:
        raise ConfigError(f"env: {error}") from error
