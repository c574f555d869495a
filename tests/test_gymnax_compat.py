"""Code written for gymnax runs on CoinRun as it is, old API and new."""

from __future__ import annotations

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


def test_purejaxrl_style_training_loop_through_the_legacy_api(made):
    """The rollout of PureJaxRL's ppo.py: five values, LogWrapper's info, vmapped."""
    env, env_params = made
    env = LegacyStepAPIWrapper(LogWrapper(FlattenObservationWrapper(env)))
    num_envs, num_steps = 8, 120
    rng = jax.random.PRNGKey(0)
    obsv, env_state = jax.vmap(env.reset, in_axes=(0, None))(
        jax.random.split(rng, num_envs), env_params
    )

    def _env_step(runner_state, unused):
        env_state, _, rng = runner_state
        rng, _rng = jax.random.split(rng)
        action = jax.random.randint(_rng, (num_envs,), 7, 9)  # run or jump to the right
        rng_step = jax.random.split(_rng, num_envs)
        obsv, env_state, reward, done, info = jax.vmap(env.step, in_axes=(0, 0, 0, None))(
            rng_step, env_state, action, env_params
        )
        return (env_state, obsv, rng), (done, reward, info)

    runner = (env_state, obsv, rng)
    _, (done, _, info) = jax.jit(lambda runner: jax.lax.scan(_env_step, runner, None, num_steps))(
        runner
    )
    assert done.any()
    np.testing.assert_array_equal(info["returned_episode"], done)
    returns = info["returned_episode_returns"][info["returned_episode"]]
    assert set(np.unique(returns).tolist()) <= {0.0, 10.0}
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


def test_rollout_wrapper():
    """Of an environment that has its `reset` and `step` from where CoinRun has them."""
    testbed, config = find_testbed(CorridorConfig.id), CorridorConfig(num_levels=8)
    env = testbed.make_env(config)
    params = testbed.make_params(env, config)
    wrapper = RolloutWrapper(env=env, env_params=params, num_env_steps=60)
    keys = jax.random.split(jax.random.key(0), 8)
    obs, action, reward, _, done, cum_return = wrapper.batch_rollout(keys, None)
    assert obs.shape == (8, 60, *env.observation_space(params).shape)
    assert action.shape == reward.shape == done.shape == (8, 60)
    first_end = np.where(done.any(1), done.argmax(1), 59)
    expected = [reward[i, : first_end[i] + 1].sum() for i in range(8)]
    np.testing.assert_array_equal(cum_return[:, 0], expected)
