"""A config's environment, params and network, obtained through the testbed alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from coinrun_jax.checks import InputError
from coinrun_jax.registry import testbed_of
from coinrun_jax.testbed import EnvConfig, LevelsConfig
from train.config import NetworkConfig, TrainConfig
from train.looks import look_conditions
from train.networks import Network, has_memory, make_network


def require_usable(config: TrainConfig) -> None:
    """Refuse what the environment or network would refuse, before anything is built or compiled.

    Raises:
      InputError: for settings that cannot be used, alone or together.
    """
    for number, part in enumerate(config.parts):
        try:
            _require_usable(part)
            if number:
                _require_fit(part, config.parts[0])
        except InputError as error:
            if config.stages is None:
                raise
            raise InputError(f"stages[{number + 1}]: {error}") from error


def _require_fit(part: TrainConfig, first: TrainConfig) -> None:
    """Refuse a stage whose observations, actions, outcomes or events differ from the first's."""
    env, before = (testbed_of(each.env).make_env(each.env) for each in (part, first))
    for what, one, other in (
        ("observations of shape", observation_shape(part.env), observation_shape(first.env)),
        ("actions:", num_actions(part.env), num_actions(first.env)),
        ("outcomes", env.outcomes, before.outcomes),
        ("events", env.events, before.events),
    ):
        if one != other:
            raise InputError(
                f"its environment has {what} {one}, but the first stage has {what} {other}"
            )


def _require_usable(config: TrainConfig) -> None:
    testbed_of(config.env).require_usable(config.env)
    network_of(config.network, config.env)
    ppo = config.ppo
    if has_memory(config.network) and ppo.num_envs % ppo.num_minibatches:
        raise InputError(
            f"ppo.num_minibatches {ppo.num_minibatches} does not divide ppo.num_envs "
            f"{ppo.num_envs}, which network.kind {config.network.kind} requires"
        )
    if config.eval_every:
        look_conditions(config)
    env, num_envs = config.env, config.ppo.num_envs
    if isinstance(env, LevelsConfig) and env.pool_size < min(num_envs, len(env.training_levels)):
        # Running episodes would occupy nearly all of the pool, and resets draw from the rest.
        raise InputError(
            f"env.pool_size {env.pool_size} is below ppo.num_envs {num_envs}: levels with running "
            f"episodes cannot be renewed; give --env.pool-size {num_envs} or more"
        )


def with_pool_for(config: EnvConfig, num_envs: int) -> EnvConfig:
    """The settings with a level pool large enough for `num_envs` environments."""
    if not isinstance(config, LevelsConfig):
        return config
    return dataclasses.replace(config, pool_size=max(config.pool_size, num_envs))


def network_of(config: NetworkConfig, env: EnvConfig) -> Network:
    """The network of a config for an environment's observations and actions.

    Raises:
      InputError: if the network cannot read such observations.
    """
    return make_network(config, observation_shape(env), num_actions(env))


def observation_space(config: EnvConfig) -> Any:
    """The space of one observation, as gymnax describes it: `shape` and `dtype`."""
    return testbed_of(config).make_env(config).observation_space(None)


def observation_shape(config: EnvConfig) -> tuple[int, ...]:
    """Shape of one observation."""
    return tuple(observation_space(config).shape)


def num_actions(config: EnvConfig) -> int:
    """Number of discrete actions."""
    return int(testbed_of(config).make_env(config).action_space(None).n)


def make_environment(config: EnvConfig) -> tuple[Any, Any]:
    """The training environment and its params, never on held-out levels.

    Raises:
      InputError: for settings that the environment refuses.
    """
    testbed = testbed_of(config)
    env = testbed.make_env(config)
    return env, testbed.make_params(env, config)


def outline_environment(config: EnvConfig) -> tuple[Any, Any]:
    """`make_environment` with shapes for params: no level is built and nothing compiled."""
    testbed = testbed_of(config)
    env = testbed.make_env(config)
    return env, jax.eval_shape(lambda: testbed.make_params(env, config))
