"""From an `EnvConfig` to a gymnax environment and its params."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

import coinrun_jax
from coinrun_jax.checks import InputError
from coinrun_jax.coinrun.cues import make_cues
from coinrun_jax.coinrun.items import make_items
from coinrun_jax.coinrun.observations import rgb, symbolic
from coinrun_jax.coinrun.params import require_compatible
from coinrun_jax.coinrun.placement import make_placement
from coinrun_jax.coinrun.reward import make_reward
from coinrun_jax.coinrun.types import NUM_ACTIONS
from coinrun_jax.plugins import import_plugins
from train.config import EnvConfig, NetworkConfig, TrainConfig
from train.networks import Network, make_network

_SHAPES = {"symbolic": (symbolic.SIZE,), "rgb": (rgb.SIZE, rgb.SIZE, 3)}


def require_usable(config: TrainConfig) -> None:
    """Refuse what the environment or the network would, before anything is built or compiled.

    Raises:
      InputError: for settings that cannot be used, alone or together.
    """
    import_plugins(config.plugins)
    env, num_envs = config.env, config.ppo.num_envs
    settings_of(env)
    network_of(config.network, env)
    if env.pool_size < min(num_envs, _num_levels(env)):
        # Episodes would stand on nearly all of the pool, and the few others be all that is drawn.
        raise InputError(
            f"env.pool_size {env.pool_size} is below ppo.num_envs {num_envs}: levels that episodes "
            f"stand on cannot be renewed; give --env.pool-size {num_envs} or more"
        )


def _num_levels(config: EnvConfig) -> int:
    """Size of the training set of levels.

    Raises:
      InputError: where it reaches into the held-out ones.
    """
    held_out = coinrun_jax.TEST_LEVELS.start
    if config.start_level >= held_out:
        raise InputError(
            f"env.start_level {config.start_level} is a held-out level; they begin at {held_out}"
        )
    num_levels = config.num_levels or held_out - config.start_level
    if config.start_level + num_levels > held_out:
        raise InputError(
            f"env.start_level {config.start_level} + num_levels {num_levels} reaches into the "
            f"held-out levels, which begin at {held_out}"
        )
    return num_levels


def settings_of(config: EnvConfig) -> dict[str, Any]:
    """The fields of `EnvParams` that the config sets, by name.

    Raises:
      InputError: for settings that the environment refuses.
    """
    if config.id != coinrun_jax.ENV_ID:
        raise InputError(f"env.id {config.id!r} is not {coinrun_jax.ENV_ID!r}")
    _num_levels(config)
    reward = dataclasses.asdict(config.reward)
    terminate_at_end = reward.pop("terminate_at_end")
    try:
        settings: dict[str, Any] = {
            "placement": make_placement(
                config.placement,
                config.placement_probability,
                fraction=config.placement_fraction,
                cell=config.placement_cell,
            ),
            "cues": make_cues(**config.cues.arguments()),
            "items": make_items(coin_look=config.cues.coin_look, **config.items.arguments()),
            "reward": make_reward(**reward),
            "terminate_at_end": np.bool_(terminate_at_end),
        }
        require_compatible(settings["placement"], settings["items"], settings["cues"].coin_look)
        return settings
    except ValueError as error:
        raise InputError(f"env: {error}") from error


def network_of(config: NetworkConfig, env: EnvConfig) -> Network:
    """The network of a config for an environment's observations and actions."""
    return make_network(config, _SHAPES[env.observation], NUM_ACTIONS)


def observation_shape(config: EnvConfig) -> tuple[int, ...]:
    """Of one observation."""
    return _SHAPES[config.observation]


def _environment(config: EnvConfig) -> coinrun_jax.CoinRun:
    return coinrun_jax.CoinRun(
        mode=config.mode,
        observation=config.observation,
        num_levels=_num_levels(config),
        start_level=config.start_level,
        pool_size=config.pool_size,
    )


def make_environment(
    config: EnvConfig,
) -> tuple[coinrun_jax.CoinRun, coinrun_jax.EnvParams]:
    """The training environment: never on the held-out levels `coinrun_jax.TEST_LEVELS`.

    Raises:
      InputError: for settings that the environment refuses.
    """
    settings = settings_of(config)
    try:
        env = _environment(config)
        return env, env.default_params.with_settings(**settings)
    except ValueError as error:
        raise InputError(f"env: {error}") from error


def outline_environment(
    config: EnvConfig,
) -> tuple[coinrun_jax.CoinRun, coinrun_jax.EnvParams]:
    """As `make_environment`, with shapes for params: no level is built and nothing compiled."""
    settings = settings_of(config)
    env = _environment(config)
    return env, jax.eval_shape(lambda: env.build_params().replace(**settings))
