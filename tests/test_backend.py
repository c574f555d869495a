"""This backend computes what jax says it does: compiled results equal those of single operations.

jax has had versions and backends that return wrong numbers under jit (jax-ml/jax#39103, #36958,
#40633). Whoever sees one of these tests fail should change the backend or the version of jax
before believing any result.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax import CoinRun, generate_level, make_placement
from coinrun_jax.coinrun.observations import symbolic
from coinrun_jax.coinrun.placement import NUM_UNIFORMS, draw_coin

pytestmark = pytest.mark.thorough
NUM_ENVS = 32
TOLERANCE = 1e-5  # a compiled multiply-add may round once where two operations round twice


def assert_same(compiled, single, tolerance=0.0):
    """Equal in everything that is counted, and within `tolerance` in what is measured."""
    leaves = zip(
        jax.tree_util.tree_leaves_with_path(compiled), jax.tree.leaves(single), strict=True
    )
    for (path, a), b in leaves:
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype, path
        if np.issubdtype(a.dtype, np.floating):
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance, err_msg=str(path))
        else:
            np.testing.assert_array_equal(a, b, err_msg=str(path))


@pytest.fixture(scope="module")
def env():
    return CoinRun(num_levels=NUM_ENVS, start_level=7000)


@pytest.fixture(scope="module")
def under_way(env):
    """States in the middle of episodes, on levels of their own, and what they do next."""
    params = env.default_params
    key = jax.random.key(0)
    actions = jax.random.randint(key, (60, NUM_ENVS), 0, 15)
    actions = jnp.where(actions < 9, actions, 8)  # mostly right and jump

    @jax.jit
    def play(params):
        keys = jax.random.split(key, NUM_ENVS)
        reset = jax.vmap(env.reset_to_level, in_axes=(0, 0, None))
        _, state = reset(keys, jnp.arange(NUM_ENVS), params)

        def step(state, action):
            state = jax.vmap(env.step, in_axes=(0, 0, 0, None))(keys, state, action, params)[1]
            return state, None

        return jax.lax.scan(step, state, actions[:-1])[0]

    return play(params), actions[-1]


def test_levels():
    seed = jnp.uint32(2**31 - 1)
    compiled = generate_level(seed)
    with jax.disable_jit():
        single = generate_level(seed)
    assert_same(compiled, single)


def test_physics_and_events(env, under_way):
    state, action = under_way
    params = env.default_params

    def step(state, action):
        return jax.vmap(env.step_env, in_axes=(None, 0, 0, None))(
            jax.random.key(0), state, action, params
        )[1:]

    compiled = jax.jit(step)(state, action)
    with jax.disable_jit():
        single = step(state, action)
    assert_same(compiled, single, TOLERANCE)


def test_symbolic_observation(env, under_way):
    state, _ = under_way

    def observe(state):
        return jax.vmap(symbolic.observe, in_axes=(0, None))(state, env.default_params.pool)

    compiled = jax.jit(observe)(state)
    with jax.disable_jit():
        single = observe(state)
    assert_same(compiled, single, TOLERANCE)


def test_placement(env):
    pool, index = env.default_params.pool, jnp.arange(NUM_ENVS)
    uniforms = jax.random.uniform(jax.random.key(1), (NUM_ENVS, NUM_UNIFORMS))
    mixture = {"end": 1.0, "random_section": 1.0, "uniform": 1.0, "behind": 1.0}
    placement = make_placement(mixture, 0.9)
    draw = jax.vmap(draw_coin, in_axes=(0, 0, None, None))
    compiled = jax.jit(draw)(uniforms, index, pool, placement)
    with jax.disable_jit():
        single = draw(uniforms, index, pool, placement)
    assert_same(compiled, single)
