"""CoinRun as a gymnax environment."""

from __future__ import annotations

import operator
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import coinrun_jax
from coinrun_jax import Action, Cause, CoinRun, EnvParams

NUM_ENVS = 32


@pytest.fixture(scope="module")
def env():
    return CoinRun(num_levels=64)


@pytest.fixture(scope="module")
def params(env):
    return env.default_params


STEPS = 400


def play(env, params, action=None):
    """STEPS steps: stacked (observation, state, reward, terminated, truncated, info).

    Random play if no action is given, mostly to the right: other play hardly meets anything.
    """
    key = jax.random.key(0)
    actions = jax.random.randint(key, (STEPS, NUM_ENVS), 0, 3 * env.num_actions)
    actions = jnp.where(actions < env.num_actions, actions, 7 + actions % 2)
    if action is not None:
        actions = jnp.full_like(actions, action)
    return jax.device_get(_play(env, params, key, actions))


@partial(jax.jit, static_argnums=0)
def _play(env, params, key, actions):
    _, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key, NUM_ENVS), params)

    def step(state, inputs):
        key, action = inputs
        out = jax.vmap(env.step, in_axes=(0, 0, 0, None))(
            jax.random.split(key, NUM_ENVS), state, action, params
        )
        return out[1], out

    return jax.lax.scan(step, state, (jax.random.split(key, STEPS), actions))[1]


@pytest.fixture(scope="module")
def episodes(env, params):
    return play(env, params.replace(max_steps_in_episode=np.int32(150)))


def test_random_play_is_finite_and_inside_its_spaces(env, params, episodes):
    observation, state, reward, *_ = episodes
    space = env.observation_space(params)
    assert observation.shape[2:] == space.shape
    assert observation.dtype == space.dtype
    assert (observation >= space.low).all()
    assert (observation <= space.high).all()
    chex.assert_tree_all_finite((observation, state, reward))


def test_coin_and_death_terminate_and_the_limit_truncates(episodes):
    _, _, reward, terminated, truncated, info = episodes
    outcome = info["outcome"]
    for cause in Cause:
        assert (outcome == cause).any(), f"random play never met {cause.name}"
    died_or_won = (outcome != Cause.NONE) & (outcome != Cause.TIMEOUT)
    np.testing.assert_array_equal(terminated, died_or_won)
    late = info["episode_length"] >= 150
    np.testing.assert_array_equal(truncated, late & ~died_or_won)
    np.testing.assert_array_equal(reward, np.where(outcome == Cause.COIN, 10.0, 0.0))


@pytest.mark.parametrize("won", [False, True])
def test_who_dies_or_wins_in_the_step_of_the_limit_is_not_cut_short(env, params, won):
    """Of gymnax's six values an episode's end sets one of two, never both."""
    *_, terminated, _, info = play(env, params, Action.RIGHT_UP)
    first = terminated.argmax(0)
    is_coin = info["outcome"][first, np.arange(NUM_ENVS)] == Cause.COIN
    index = np.flatnonzero(terminated.any(0) & (is_coin == won))[0]
    step = first[index]

    limited = params.replace(max_steps_in_episode=np.int32(step + 1))
    *_, terminated, truncated, info = play(env, limited, Action.RIGHT_UP)
    assert terminated[step, index]
    assert not truncated[step, index]
    assert not (terminated & truncated).any()
    assert truncated[step].any()  # of those that neither died nor won
    np.testing.assert_array_equal(info["truncated"], truncated)


def test_finished_episodes_start_afresh(episodes):
    _, state, _, terminated, truncated, info = episodes
    done = terminated | truncated
    np.testing.assert_array_equal(state.time == 0, done)
    assert (state.x[done] == 1.5).all()
    assert (info["final_state"].time[done] > 0).all()
    assert len(np.unique(info["level_seed"])) > 30  # resets draw among all levels


def test_final_observation_is_of_the_state_before_the_reset(env, params, episodes):
    _, _, _, terminated, truncated, info = episodes
    step, index = np.argwhere(terminated | truncated)[0]
    final = jax.tree.map(lambda leaf: leaf[step, index], info["final_state"])
    expected = env.observe(jax.random.key(0), final, None, params)
    np.testing.assert_allclose(info["final_observation"][step, index], expected, atol=1e-6)


def test_vmap_equals_one_environment_at_a_time(env, params):
    key = jax.random.key(5)
    keys = jax.random.split(key, NUM_ENVS)
    _, states = jax.vmap(env.reset, in_axes=(0, None))(keys, params)
    actions = jnp.arange(NUM_ENVS) % env.num_actions
    together = jax.vmap(env.step, in_axes=(0, 0, 0, None))(keys, states, actions, params)
    for index in range(3):
        state = jax.tree.map(operator.itemgetter(index), states)
        single = env.step(keys[index], state, actions[index], params)
        for a, b in zip(jax.tree.leaves(single), jax.tree.leaves(together), strict=True):
            if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
                np.testing.assert_allclose(a, b[index], atol=1e-6)


def test_actions_beyond_8_do_nothing(env, params):
    _, state = env.reset(jax.random.key(0), params)
    results = [env.step(jax.random.key(1), state, jnp.int32(a), params)[0] for a in (4, 9, 14)]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_one_trace_serves_all_params(params):
    env = CoinRun(num_levels=64)
    step = jax.jit(chex.assert_max_traces(lambda *args: env.step(*args), n=1))
    _, state = jax.eval_shape(env.reset, jax.random.key(0), params)
    variants = [
        params,
        params.with_placement("random_section", 0.3),
        params.with_placement({"end": 1.0, "random_section": 2.0}, present=False),
        params.with_levels(jax.tree.map(lambda leaf: leaf[::-1], params.pool.levels)),
    ]
    for variant in variants:
        jax.eval_shape(step, jax.random.key(1), state, jnp.int32(7), variant)


def test_a_reset_state_is_to_jax_what_a_stepped_one_is(env, params):
    """Else whatever is compiled for the one is compiled again for the other."""

    def types(state):
        return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), state)

    key = jax.random.key(0)
    _, reset = jax.eval_shape(env.reset, key, params)
    _, stepped, *_ = jax.eval_shape(env.step, key, reset, jnp.int32(0), params)
    assert types(reset) == types(stepped)


def test_equal_environments_share_a_program(env, params):
    traces = []

    @partial(jax.jit, static_argnums=0)
    def size(env, params):
        traces.append(env)
        return params.pool.levels.seed.size

    assert size(env, params) == size(CoinRun(num_levels=64), params)
    assert len(traces) == 1
    others = [CoinRun("easy", num_levels=64), CoinRun(observation="rgb", num_levels=64)]
    others += [CoinRun(num_levels=65), CoinRun(num_levels=64, start_level=1), CoinRun()]
    assert all(env != other for other in others)


def test_step_builds_no_level(env, params):
    """No loop as long as the twister's seeding is in the program of a step."""
    _, state = env.reset(jax.random.key(0), params)
    text = str(jax.make_jaxpr(env.step)(jax.random.key(0), state, jnp.int32(0), params))
    assert "1812433253" not in text  # the twister's multiplier
    pool = str(jax.make_jaxpr(env.pool_of)(jnp.zeros(2, jnp.uint32)))
    assert "1812433253" in pool


def test_default_params_are_not_rebuilt_inside_jit():
    env = CoinRun(num_levels=4)
    _, state = env.reset(jax.random.key(0))
    text = str(jax.make_jaxpr(env.step)(jax.random.key(0), state, jnp.int32(0)))
    assert "1812433253" not in text


def test_levels_are_the_set_asked_for():
    _, params = coinrun_jax.make(num_levels=5, start_level=100)
    np.testing.assert_array_equal(params.pool.levels.seed, [100, 101, 102, 103, 104])


def test_a_larger_set_takes_turns_within_its_range():
    env, params = coinrun_jax.make(num_levels=1000, start_level=500, pool_size=16)
    _, state = jax.vmap(env.reset, in_axes=(0, None))(
        jax.random.split(jax.random.key(0), 4), params
    )
    renewed = env.refresh(jax.random.key(1), state, params)
    seeds = np.concatenate([params.pool.levels.seed, renewed.pool.levels.seed])
    assert ((seeds >= 500) & (seeds < 1500)).all()
    in_use = np.unique(state.level_index)
    np.testing.assert_array_equal(renewed.pool.levels.seed[in_use], params.pool.levels.seed[in_use])
    # Resets draw the renewed levels only.
    drawable = renewed.pool.drawable[: renewed.pool.num_drawable]
    assert set(np.asarray(drawable).tolist()) == set(range(16)) - set(in_use.tolist())


def test_all_levels_from_one_on_are_procgens():
    seeds = CoinRun(num_levels=0, start_level=2**30, pool_size=64)._draw_seeds(jax.random.key(0))
    assert np.logical_and(np.asarray(seeds) >= 2**30, np.asarray(seeds) < 2**31).all()


def test_levels_that_were_given_are_not_renewed(params):
    env = CoinRun(pool_size=16)
    _, state = env.reset(jax.random.key(0), params)
    with pytest.raises(ValueError, match="64 levels is not the environment's own, of 16"):
        env.refresh(jax.random.key(1), state, params)


@pytest.mark.parametrize("action", [Action.LEFT, np.uint8(1), jnp.uint32(1)])
def test_actions_are_integers_of_any_kind(env, params, action):
    _, state = env.reset_to_level(jax.random.key(0), 0, params)
    state = state.replace(x=jnp.float32(3.0))
    after = env.step_env(jax.random.key(0), state, action, params)[1]
    assert 2.5 < after.x < 3


def test_whole_sets_are_never_renewed(env, params):
    _, state = env.reset(jax.random.key(0), params)
    renewed = env.refresh(jax.random.key(1), state, params)
    np.testing.assert_array_equal(renewed.pool.levels.seed, params.pool.levels.seed)


def test_held_out_levels_are_a_million_and_the_last():
    assert len(coinrun_jax.TEST_LEVELS) == 1_000_000
    assert coinrun_jax.TEST_LEVELS.stop == 2**31


@pytest.mark.parametrize(
    "arguments",
    [
        {"mode": "medium"},
        {"observation": "smell"},
        {"num_levels": -1},
        {"start_level": -1},
        {"start_level": 2**31, "num_levels": 1},
        {"start_level": 2**31},
        {"pool_size": 0},
    ],
)
def test_impossible_environments_are_refused(arguments):
    with pytest.raises(ValueError, match=str(next(iter(arguments.values())))):
        CoinRun(**arguments)
    with pytest.raises(ValueError, match="CoinRun-v0"):
        coinrun_jax.make("CoinRun-v0")


def test_moving_the_coin_moves_nothing_else(env, params):
    key, index = jax.random.key(3), 7
    _, at_end = env.reset_to_level(key, index, params)
    _, moved = env.reset_to_level(key, index, params.with_placement("random_section"))
    about_coin = {"coin_cell", "ghost_cell", "coin_moved"}
    for name in type(at_end).__dataclass_fields__:
        if name not in about_coin:
            np.testing.assert_array_equal(getattr(at_end, name), getattr(moved, name))


def test_an_absent_coin_pays_nothing_and_its_cell_is_watched(env, params):
    params = params.with_placement("end", present=False)
    _, _, reward, _, _, info = play(env, params, Action.RIGHT_UP)
    assert (reward == 0).all()
    assert (info["end_step"] > 0).any()
    np.testing.assert_array_equal(info["end_step"], info["ghost_step"])
    assert (info["outcome"] != Cause.COIN).all()


def test_without_a_coin_or_a_place_for_it_the_end_is_the_end(env, params):
    params = params.with_placement("absent")
    _, _, reward, _, _, info = play(env, params, Action.RIGHT_UP)
    assert (reward == 0).all()
    assert (info["end_step"] > 0).any()
    assert (info["ghost_step"] == 0).all()


def test_reaching_the_empty_end_ends_an_episode_only_if_asked(env, params):
    params = params.with_placement("end", present=False)
    asked = params.replace(terminate_at_end=np.bool_(True))
    for wanted, variant in ((False, params), (True, asked)):
        *_, terminated, _, info = play(env, variant, Action.RIGHT_UP)
        reached = (info["end_step"] == info["episode_length"]) & (info["outcome"] == Cause.NONE)
        assert reached.any()
        assert (terminated[reached] == wanted).all()


def test_eyes_closed_right_and_jump_takes_the_coin_as_often_as_in_the_cpp():
    """REFERENCE: .60 of the coins at the end and .68 of the random-section cells."""
    number = 1000
    env = CoinRun(num_levels=number, start_level=10**6, pool_size=number)
    params = env.default_params

    @jax.jit
    def first_touches(variant):
        _, state = jax.vmap(env.reset_to_level, in_axes=(0, 0, None))(
            jax.random.split(jax.random.key(0), number), jnp.arange(number), variant
        )

        def step(carry, _):
            state, over = carry
            _, new, _, terminated, _ = jax.vmap(env.step_env, in_axes=(None, 0, None, None))(
                jax.random.key(0), state, jnp.int32(Action.RIGHT_UP), variant
            )
            state = jax.tree.map(
                lambda a, b: jnp.where(over.reshape(-1, *[1] * (a.ndim - 1)), b, a), new, state
            )
            return (state, over | terminated), None

        (state, _), _ = jax.lax.scan(step, (state, jnp.zeros(number, bool)), None, length=300)
        return jnp.mean(state.coin_step > 0), jnp.mean(state.ghost_step > 0)

    coin_rate, _ = first_touches(params.with_placement("end"))
    assert coin_rate == pytest.approx(0.60, abs=0.03)
    # The random section's cell while the coin lies at the end: the ghost cell at p = 0.
    _, cell_rate = first_touches(params.with_placement("random_section", 0.0))
    assert cell_rate == pytest.approx(0.68, abs=0.03)


def test_params_are_a_pytree_of_arrays(params):
    assert isinstance(params, EnvParams)
    assert all(hasattr(leaf, "shape") or np.isscalar(leaf) for leaf in jax.tree.leaves(params))
