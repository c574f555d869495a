"""Code written for gymnax runs on CoinRun as it is, old API and new."""

from __future__ import annotations

from functools import partial

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.experimental import RolloutWrapper
from gymnax.wrappers import FlattenObservationWrapper, LegacyStepAPIWrapper, LogWrapper

import coinrun_jax
from coinrun_jax.registry import find_testbed
from tests.tiny_testbed import CorridorConfig


@pytest.fixture(scope="module")
def made():
    return gymnax.make("CoinRun-v1", mode="easy", num_levels=8)


def test_registered_with_gymnax(made):
    env, params = made
    assert env == coinrun_jax.make(mode="easy", num_levels=8)[0]
    assert env.name == "CoinRun-v1"
    assert env.num_actions == env.action_space(params).n == 15


@pytest.fixture(scope="module")
def corridor():
    """An environment that has its `reset` and `step` from where CoinRun has them."""
    testbed, config = find_testbed(CorridorConfig.id), CorridorConfig(num_levels=8)
    env = testbed.make_env(config)
    return env, testbed.make_params(env, config)


def purejaxrl_rollout(env, env_params, num_envs=8, num_steps=120):
    """That of PureJaxRL's ppo.py: five values, LogWrapper's info, vmapped.

    Returns:
      Reward, `done` and info, [T, N].
    """
    env = LegacyStepAPIWrapper(LogWrapper(FlattenObservationWrapper(env)))
    rng = jax.random.PRNGKey(0)
    obsv, env_state = jax.vmap(env.reset, in_axes=(0, None))(
        jax.random.split(rng, num_envs), env_params
    )

    def _env_step(runner_state, unused):
        env_state, _, rng = runner_state
        rng, _rng = jax.random.split(rng)
        action = jax.random.randint(_rng, (num_envs,), 0, env.num_actions)
        rng_step = jax.random.split(_rng, num_envs)
        obsv, env_state, reward, done, info = jax.vmap(env.step, in_axes=(0, 0, 0, None))(
            rng_step, env_state, action, env_params
        )
        return (env_state, obsv, rng), (reward, done, info)

    return jax.lax.scan(_env_step, (env_state, obsv, rng), None, num_steps)[1]


def test_purejaxrl_style_training_loop_through_the_legacy_api(made, corridor):
    """Traced on CoinRun, run in the corridor."""
    expected = jax.eval_shape(partial(purejaxrl_rollout, made[0]), made[1])
    found = jax.jit(partial(purejaxrl_rollout, corridor[0]))(corridor[1])
    shapes = [
        jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), each[:2]) for each in (expected, found)
    ]
    assert shapes[0] == shapes[1]
    reward, done, info = found
    assert done.any()
    np.testing.assert_array_equal(info["returned_episode"], done)
    returns = info["returned_episode_returns"][info["returned_episode"]]
    assert reward.sum() == returns.sum() > 0
    assert (info["returned_episode_lengths"][info["returned_episode"]] > 0).all()


def test_log_wrapper_with_six_values(made):
    env, params = made
    env = LogWrapper(env)
    key = jax.random.key(0)
    _, state = jax.eval_shape(env.reset, key, params)
    _, after, reward, terminated, truncated, info = jax.eval_shape(
        env.step, key, state, jnp.int32(7), params
    )
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert terminated.dtype == truncated.dtype == bool
    assert info["returned_episode_returns"].dtype == reward.dtype == np.float32


def test_rollout_wrapper(corridor):
    env, params = corridor
    wrapper = RolloutWrapper(env=env, env_params=params, num_env_steps=60)
    keys = jax.random.split(jax.random.key(0), 8)
    obs, action, reward, _, done, cum_return = wrapper.batch_rollout(keys, None)
    assert obs.shape == (8, 60, *env.observation_space(params).shape)
    assert action.shape == reward.shape == done.shape == (8, 60)
    first_end = np.where(done.any(1), done.argmax(1), 59)
    expected = [reward[i, : first_end[i] + 1].sum() for i in range(8)]
    np.testing.assert_array_equal(cum_return[:, 0], expected)
