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
NUM_LEVELS = 64
POOL_SIZE = 16  # of other environments
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def env():
    return CoinRun(num_levels=NUM_LEVELS, start_level=10**6)


@pytest.fixture(scope="module")
def params(env):
    return env.default_params


start = jax.jit(CoinRun().start)


@pytest.fixture(scope="module")
def state(params):
    return start(KEY, jnp.int32(0), params)


STEPS = 400
LIMIT = 150


def random_actions(env):
    """Mostly to the right: other play hardly meets anything."""
    actions = jax.random.randint(KEY, (STEPS, NUM_ENVS), 0, 3 * env.num_actions)
    return jnp.where(actions < env.num_actions, actions, 7 + actions % 2)


def play(env, params, action=None):
    """STEPS steps: stacked (observation, state, reward, terminated, truncated, info).

    Random play if no action is given.
    """
    actions = random_actions(env)
    if action is not None:
        actions = jnp.full_like(actions, action)
    return jax.device_get(_play(env, params, KEY, actions))


@partial(jax.jit, static_argnums=0)
def _play(env, params, key, actions):
    keys = jax.random.split(key, NUM_ENVS)
    state = jax.vmap(env.reset_state, in_axes=(0, None))(keys, params)

    def step(state, inputs):
        key, action = inputs
        out = jax.vmap(env.step, in_axes=(0, 0, 0, None))(
            jax.random.split(key, NUM_ENVS), state, action, params
        )
        return out[1], out

    return jax.lax.scan(step, state, (jax.random.split(key, STEPS), actions))[1]


@pytest.fixture(scope="module")
def episodes(env, params):
    return play(env, params.replace(max_steps_in_episode=np.int32(LIMIT)))


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
    late = info["episode_length"] >= LIMIT
    np.testing.assert_array_equal(truncated, late & ~died_or_won)
    np.testing.assert_array_equal(reward, np.where(outcome == Cause.COIN, 10.0, 0.0))


def test_who_dies_or_wins_in_the_step_of_the_limit_is_not_cut_short(env, params):
    """Of gymnax's six values an episode's end sets one of two, never both."""
    *_, terminated, _, info = play(env, params, Action.RIGHT_UP)
    first = terminated.argmax(0)
    is_coin = info["outcome"][first, np.arange(NUM_ENVS)] == Cause.COIN
    for won in (False, True):
        index = np.flatnonzero(terminated.any(0) & (is_coin == won))[0]
        step = first[index]
        limited = params.replace(max_steps_in_episode=np.int32(step + 1))
        *_, ended, truncated, info = play(env, limited, Action.RIGHT_UP)
        assert ended[step, index]
        assert not truncated[step, index]
        assert not (ended & truncated).any()
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


def test_vmap_equals_one_environment_at_a_time(env, params, episodes):
    """Each environment of a batch steps as it would alone, at an episode's end, too."""
    _, states, _, terminated, truncated, _ = episodes
    params = params.replace(max_steps_in_episode=np.int32(LIMIT))
    keys, actions = jax.random.split(KEY, STEPS), random_actions(env)
    later_ends = np.argwhere((terminated | truncated) & (np.arange(STEPS) > 0)[:, None])
    for step, index in (*later_ends[:2], (7, 3), (90, NUM_ENVS - 1)):
        before = jax.tree.map(operator.itemgetter((step - 1, index)), states)
        key = jax.random.split(keys[step], NUM_ENVS)[index]
        single = env.step(key, before, actions[step, index], params)
        for a, b in zip(jax.tree.leaves(single), jax.tree.leaves(episodes), strict=True):
            if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
                np.testing.assert_allclose(a, b[step, index], atol=1e-6)


@pytest.mark.thorough
def test_what_gpus_compute_otherwise_is_the_same_game(env, params, monkeypatch):
    """Loops are unrolled for them, and branches are replaced by choices."""

    def for_gpus(*args, default, cuda=None, **others):
        return (cuda or default)(*args)

    kinds = {"uniform": 2.0, "fraction": 1.0, "behind": 1.0, "off_path": 1.0, "random_section": 1.0}
    params = params.with_placement(kinds, 0.8).with_items(2, respawn=9)
    expected = play(env, params)
    monkeypatch.setattr(jax.lax, "platform_dependent", for_gpus)
    other = CoinRun(num_levels=1)  # whose step is traced anew
    jax.tree.map(np.testing.assert_array_equal, play(other, params), expected)


def test_actions_beyond_8_do_nothing(env, params, state):
    results = [env.step(KEY, state, jnp.int32(a), params)[0] for a in (4, 9, 14)]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_one_trace_serves_all_params(env, params, state):
    step = jax.jit(chex.assert_max_traces(lambda *args: env.step(*args), n=1))
    levels = jax.device_get(params.pool.levels)
    variants = [
        params,
        params.with_placement("random_section", 0.3),
        params.with_placement({"end": 1.0, "random_section": 2.0}, present=False),
        params.with_levels(jax.tree.map(lambda leaf: leaf[::-1], levels)),
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

    assert size(env, params) == size(CoinRun(num_levels=NUM_LEVELS, start_level=10**6), params)
    assert len(traces) == 1
    others = [CoinRun("easy", num_levels=64), CoinRun(observation="rgb", num_levels=64)]
    others += [CoinRun(num_levels=65), CoinRun(num_levels=64, start_level=1), CoinRun()]
    assert all(env != other for other in others)


TWISTER = "1812433253"  # its multiplier


def test_step_builds_no_level(env, params, state):
    """No loop as long as the twister's seeding is in the program of a step."""
    assert TWISTER not in str(jax.make_jaxpr(env.step)(KEY, state, jnp.int32(0), params))
    assert TWISTER in str(jax.make_jaxpr(env.pool_of)(jnp.zeros(2, jnp.uint32)))


def test_levels_are_the_set_asked_for_and_not_rebuilt_inside_jit():
    settings = {"num_levels": POOL_SIZE, "start_level": 100}
    env = CoinRun(**settings)
    _, state = jax.eval_shape(env.reset, KEY)  # has no params yet
    assert TWISTER not in str(jax.make_jaxpr(env.step)(KEY, state, jnp.int32(0)))
    _, params = coinrun_jax.make(**settings)
    for each in (env.default_params, params):
        np.testing.assert_array_equal(each.pool.levels.seed, np.arange(100, 100 + POOL_SIZE))


def test_a_larger_set_takes_turns_within_its_range(state):
    env, params = coinrun_jax.make(num_levels=1000, start_level=500, pool_size=POOL_SIZE)
    in_use = np.array([3, 5, 3, 0], np.int32)
    states = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (4, *leaf.shape)), state)
    states = states.replace(level_index=in_use)
    renewed = env.refresh(jax.random.key(1), states, params)
    seeds = np.concatenate([params.pool.levels.seed, renewed.pool.levels.seed])
    assert ((seeds >= 500) & (seeds < 1500)).all()
    np.testing.assert_array_equal(renewed.pool.levels.seed[in_use], params.pool.levels.seed[in_use])
    # Resets draw the renewed levels only.
    drawable = renewed.pool.drawable[: renewed.pool.num_drawable]
    assert set(np.asarray(drawable).tolist()) == set(range(POOL_SIZE)) - set(in_use.tolist())


def test_all_levels_from_one_on_are_procgens():
    seeds = CoinRun(num_levels=0, start_level=2**30, pool_size=64)._draw_seeds(jax.random.key(0))
    assert np.logical_and(np.asarray(seeds) >= 2**30, np.asarray(seeds) < 2**31).all()


def test_levels_that_were_given_are_not_renewed(params, state):
    env = CoinRun(pool_size=16)
    with pytest.raises(
        ValueError, match=f"the pool has {NUM_LEVELS} levels, not the environment's own 16"
    ):
        env.refresh(jax.random.key(1), state, params)


def test_actions_are_integers_of_any_kind(env, params, state):
    @jax.jit
    def advanced(state, *actions):
        return [env.advance(state, action, params)[0].x for action in actions]

    moved = advanced(
        state.replace(x=jnp.float32(3.0)), np.uint8(Action.LEFT), np.uint32(Action.LEFT)
    )
    assert all(2.5 < x < 3 for x in moved)


def test_whole_sets_are_never_renewed(env, params, state):
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


def test_moving_the_coin_moves_nothing_else(params):
    key, index = jax.random.key(3), jnp.int32(7)
    at_end = start(key, index, params)
    moved = start(key, index, params.with_placement("random_section"))
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


@pytest.mark.thorough
def test_eyes_closed_right_and_jump_takes_the_coin_as_often_as_in_the_cpp():
    """REFERENCE: .60 of the coins at the end and .68 of the random-section cells."""
    number = 1000
    env = CoinRun(num_levels=number, start_level=10**6)

    @jax.jit
    def first_touches(params):
        keys = jax.random.split(KEY, number)
        state = jax.vmap(env.start, in_axes=(0, 0, None))(keys, jnp.arange(number), params)

        def step(carry, _):
            state, over = carry
            new, _, terminated, _ = jax.vmap(env.advance, in_axes=(0, None, None))(
                state, jnp.int32(Action.RIGHT_UP), params
            )
            state = jax.tree.map(
                lambda a, b: jnp.where(over.reshape(-1, *[1] * (a.ndim - 1)), b, a), new, state
            )
            return (state, over | terminated), None

        (state, _), _ = jax.lax.scan(step, (state, jnp.zeros(number, bool)), None, length=300)
        return jnp.mean(state.coin_step > 0), jnp.mean(state.ghost_step > 0)

    # The coin lies at the end, and at p = 0 the ghost cell is the random section's.
    coin_rate, cell_rate = first_touches(env.default_params.with_placement("random_section", 0.0))
    assert coin_rate == pytest.approx(0.60, abs=0.03)
    assert cell_rate == pytest.approx(0.68, abs=0.03)


def test_params_are_a_pytree_of_arrays(params):
    assert isinstance(params, EnvParams)
    assert all(hasattr(leaf, "shape") or np.isscalar(leaf) for leaf in jax.tree.leaves(params))
