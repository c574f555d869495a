"""The exit maze as a gymnax environment: its rules, its levels, its spaces."""

from __future__ import annotations

import operator
from functools import partial

import chex
import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.wrappers import LogWrapper

import coinrun_jax
from coinrun_jax.exit_maze import (
    ENV_ID,
    REFERENCES,
    Action,
    ExitMaze,
    Outcome,
    plane_names,
)
from coinrun_jax.exit_maze.oracle import lengths
from coinrun_jax.testbed import TEST_LEVELS

SIZE, NUM_LEVELS = 9, 48
NUM_ENVS, STEPS = 16, 150
LIMIT = 40
EXIT, GREEN, GHOST = range(3)


@pytest.fixture(scope="module")
def env():
    return ExitMaze(SIZE, num_levels=NUM_LEVELS)


@pytest.fixture(scope="module")
def params(env):
    return env.default_params


@pytest.fixture(scope="module")
def episodes(env, params):
    """Random play under a short limit: all that STEPS steps return."""
    return jax.device_get(random_play(env, params.replace(max_steps_in_episode=np.int32(LIMIT))))


@partial(jax.jit, static_argnums=0)
def random_play(env, params):
    key = jax.random.key(0)
    actions = jax.random.randint(key, (STEPS, NUM_ENVS), 0, env.num_actions, jnp.int32)
    _, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key, NUM_ENVS), params)

    def step(state, inputs):
        key, action = inputs
        keys = jax.random.split(key, NUM_ENVS)
        out = jax.vmap(env.step, in_axes=(0, 0, 0, None))(keys, state, action, params)
        return out[1], out

    return jax.lax.scan(step, state, (jax.random.split(key, STEPS), actions))[1]


def start(env, params, index=0, seed=0):
    return env.reset_to_level(jax.random.key(seed), index, params)


def test_random_play_is_inside_its_spaces(env, params, episodes):
    observation, state, reward, *_ = episodes
    space = env.observation_space(params)
    assert observation.shape[2:] == space.shape == (SIZE, SIZE, 6)
    assert observation.dtype == space.dtype == np.float32
    assert set(np.unique(observation)) == {0.0, 1.0}
    chex.assert_tree_all_finite((observation, state, reward))
    assert set(np.unique(reward)) == {0.0, 1.0}


def test_the_exit_terminates_and_the_limit_truncates_and_never_both(episodes):
    _, _, reward, terminated, truncated, info = episodes
    outcome = info["outcome"]
    for cause in Outcome:
        assert (outcome == cause).any(), f"random play never met {cause.name}"
    np.testing.assert_array_equal(terminated, outcome == Outcome.EXIT)
    np.testing.assert_array_equal(truncated, outcome == Outcome.TIMEOUT)
    np.testing.assert_array_equal(reward, terminated)
    np.testing.assert_array_equal(info["discount"], 1 - terminated)
    assert (info["episode_length"][truncated] == LIMIT).all()
    assert info["discount"].dtype == np.float32


def test_who_reaches_the_exit_in_the_last_step_has_reached_it(env, params):
    _, state = start(env, params)
    number = int(lengths(params.pool)[0])
    params = params.replace(max_steps_in_episode=np.int32(number))
    for _ in range(number):
        action = REFERENCES["shortest_path"](None, state, params)
        *_, terminated, truncated, info = env.step(jax.random.key(1), state, action, params)
        state = info["final_state"]
    assert terminated
    assert not truncated
    assert info["outcome"] == Outcome.EXIT


def test_finished_episodes_start_afresh(env, params, episodes):
    observation, state, _, terminated, truncated, info = episodes
    done = terminated | truncated
    np.testing.assert_array_equal(state.time == 0, done)
    starts = params.pool.levels.start_cell[state.level_index]
    assert (state.cell[done] == starts[done]).all()
    assert len(np.unique(info["level_seed"])) > NUM_LEVELS / 2
    step, index = np.argwhere(done)[0]
    final = jax.tree.map(lambda leaf: leaf[step, index], info["final_state"])
    expected = env.observe(jax.random.key(0), final, None, params)
    np.testing.assert_array_equal(info["final_observation"][step, index], expected)
    assert (expected != observation[step, index]).any()


def test_events_are_steps_of_first_touches(episodes):
    _, _, _, terminated, truncated, info = episodes
    events = info["events"]
    assert events.dtype == np.int32
    assert ExitMaze.events == ("exit", "green", "ghost")
    np.testing.assert_array_equal((events[..., EXIT] > 0), terminated)
    assert (events[..., GREEN] == 0).all()  # in training nothing but the exit is green
    assert (events[..., GHOST] > 0).any()
    assert (events <= info["episode_length"][..., None]).all()
    going_on = ~(terminated | truncated)[:-1]
    before, after = events[:-1][going_on], events[1:][going_on]
    assert (after[before > 0] == before[before > 0]).all()


def test_walls_stop_and_floor_does_not(env, params):
    _, state = start(env, params)
    walls = np.asarray(params.pool.levels.walls[0])
    row, column = state.cell.tolist()
    for action, (dy, dx) in zip(Action, ((0, -1), (0, 1), (-1, 0), (1, 0)), strict=True):
        _, after, *_ = env.step_env(jax.random.key(0), state, action, params)
        free = not walls[row + dy, column + dx]
        assert after.cell.tolist() == [row + dy * free, column + dx * free]


def test_vmap_equals_one_environment_at_a_time(env, params):
    keys = jax.random.split(jax.random.key(5), NUM_ENVS)
    _, states = jax.vmap(env.reset, in_axes=(0, None))(keys, params)
    actions = jnp.arange(NUM_ENVS) % env.num_actions
    together = jax.vmap(env.step, in_axes=(0, 0, 0, None))(keys, states, actions, params)
    for index in range(2):
        state = jax.tree.map(operator.itemgetter(index), states)
        alone = env.step(keys[index], state, actions[index], params)
        jax.tree.map(lambda a, b, i=index: np.testing.assert_array_equal(a, b[i]), alone, together)


def test_a_reset_state_is_to_jax_what_a_stepped_one_is(env, params):
    """Else whatever is compiled for the one is compiled again for the other."""

    def types(state):
        return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), state)

    key = jax.random.key(0)
    _, reset = jax.eval_shape(env.reset, key, params)
    _, stepped, *_ = jax.eval_shape(env.step, key, reset, jnp.int32(0), params)
    assert types(reset) == types(stepped)


def test_copies_of_planes_are_equal(params):
    env = ExitMaze(SIZE, "uint8", NUM_LEVELS, colour_planes=4, exit_planes=2)
    names = plane_names(4, 2)
    observation, _ = start(env, params.with_condition("green_elsewhere"))
    observation = np.asarray(observation)
    space = env.observation_space(params)
    assert observation.shape == space.shape == (SIZE, SIZE, len(names)) == (SIZE, SIZE, 16)
    assert observation.dtype == space.dtype == np.uint8
    assert set(np.unique(observation)) == {0, 255}
    alone, _ = start(ExitMaze(SIZE, num_levels=NUM_LEVELS), params.with_condition("both_green"))
    for number, name in enumerate(names):
        np.testing.assert_array_equal(observation[..., number], observation[..., names.index(name)])
    unmarked = ExitMaze(SIZE, num_levels=NUM_LEVELS, exit_planes=0)
    assert unmarked.observation_space().shape == (SIZE, SIZE, 5)
    observation, _ = start(unmarked, params)
    np.testing.assert_array_equal(observation[..., 0], alone[..., 0])  # the gap is to be seen


@pytest.fixture(scope="module")
def renewed_pool():
    """An environment with a pool, its params, states of episodes, and the params after these."""
    env = ExitMaze(7, num_levels=1000, start_level=500, pool_size=16)
    params = env.default_params
    keys = jax.random.split(jax.random.key(0), 4)
    _, state = jax.vmap(env.reset, in_axes=(0, None))(keys, params)
    return env, params, state, env.refresh(jax.random.key(1), state, params)


def test_refresh_keeps_the_levels_of_running_episodes(renewed_pool):
    env, params, state, renewed = renewed_pool
    assert env.takes_turns
    seeds = np.concatenate([params.pool.levels.seed, renewed.pool.levels.seed])
    assert ((seeds >= 500) & (seeds < 1500)).all()
    in_use = np.unique(state.level_index)
    for old, new in zip(
        jax.tree.leaves((params.pool.levels, params.pool.exit_distance)),
        jax.tree.leaves((renewed.pool.levels, renewed.pool.exit_distance)),
        strict=True,
    ):
        np.testing.assert_array_equal(old[in_use], new[in_use])
    drawable = renewed.pool.drawable[: renewed.pool.num_drawable]
    assert set(np.asarray(drawable).tolist()) == set(range(16)) - set(in_use.tolist())
    chex.assert_trees_all_equal_shapes_and_dtypes(params, renewed)
    other = ExitMaze(7, pool_size=8)
    with pytest.raises(ValueError, match="the pool has 16 levels, not the environment's own 8"):
        other.refresh(jax.random.key(1), state, params)


def test_whole_sets_are_what_was_asked_for_and_never_renewed(env, params):
    np.testing.assert_array_equal(params.pool.levels.seed, np.arange(NUM_LEVELS))
    assert not env.takes_turns
    _, state = env.reset(jax.random.key(0), params)
    renewed = env.refresh(jax.random.key(1), state, params)
    np.testing.assert_array_equal(renewed.pool.levels.seed, params.pool.levels.seed)
    last = ExitMaze(7, num_levels=16, start_level=TEST_LEVELS.stop - 16)
    assert last.default_params.pool.levels.seed.tolist() == list(TEST_LEVELS[-16:])
    assert len(TEST_LEVELS) == 1_000_000


def test_the_same_without_and_with_64_bits(env, params):
    key = jax.random.key(3)
    params = params.with_condition("decorrelated")

    def play():
        observation, state = env.reset(key, params)
        return observation, env.step(key, state, np.int32(1), params), lengths(params.pool)

    expected = jax.device_get(play())
    with jax.enable_x64(True):
        found = jax.device_get(play())
    chex.assert_trees_all_equal_shapes_and_dtypes(found, expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_registered_with_gymnax_and_wrapped():
    env, params = gymnax.make(ENV_ID, size=7, num_levels=16)
    assert env.name == ENV_ID
    assert env.num_actions == env.action_space(params).n == len(Action)
    assert params.max_steps_in_episode == 4 * 7**2
    wrapped = LogWrapper(env)
    _, state = wrapped.reset(jax.random.key(0), params)
    *_, info = wrapped.step(jax.random.key(1), state, jnp.int32(0), params)
    assert info["returned_episode_returns"] == 0


def test_a_picture_shows_the_colours(env, params):
    _, state = start(env, params.with_condition("green_elsewhere"))
    image = np.asarray(env.render(state, params, 9 * 20))
    assert image.shape == (180, 180, 3)
    assert image.dtype == np.uint8

    def corner(cell):
        row, column = (20 * int(each) + 2 for each in cell)
        return image[row, column].astype(int).tolist()

    red, green, blue = corner(state.decoy_cell)
    assert green > 2 * red
    assert green > blue
    red, green, blue = corner(params.pool.levels.exit_cell[0])
    assert red > 2 * max(green, blue)
    with pytest.raises(ValueError, match="size 8 of a picture"):
        env.render(state, params, 8)


def test_equal_environments_share_programs(env):
    assert env == ExitMaze(SIZE, num_levels=NUM_LEVELS)
    assert hash(env) == hash(ExitMaze(SIZE, num_levels=NUM_LEVELS))
    others = [ExitMaze(), ExitMaze(SIZE), ExitMaze(SIZE, "uint8", NUM_LEVELS)]
    others += [ExitMaze(SIZE, num_levels=NUM_LEVELS, colour_planes=4)]
    assert all(env != other for other in others)


@pytest.mark.parametrize(
    "arguments",
    [
        {"size": 12},
        {"size": 27},
        {"observation": "smell"},
        {"num_levels": -1},
        {"start_level": -1},
        {"start_level": 2**31},
        {"pool_size": 0},
        {"colour_planes": -1},
        {"exit_planes": 65},
    ],
)
def test_impossible_environments_are_refused(arguments):
    with pytest.raises(ValueError, match=str(next(iter(arguments.values())))) as error:
        ExitMaze(**arguments)
    assert "\n" not in str(error.value)


def test_impossible_requests_are_refused(env, params):
    key = jax.random.key(0)
    for index in (-1, NUM_LEVELS):
        with pytest.raises(
            ValueError, match=rf"index {index} is not within 0 ... {NUM_LEVELS - 1}"
        ):
            env.reset_to_level(key, index, params)
    other = ExitMaze(7, num_levels=16)
    with pytest.raises(ValueError, match="levels of size 9 do not match the environment's size, 7"):
        other.reset(key, params)
    with pytest.raises(ValueError, match="levels of size 7 do not fit boards of size 9"):
        params.with_levels(other.default_params.pool.levels)


def test_seen_from_the_agent_the_board_is_shifted_around(params):
    seen = {view: ExitMaze(SIZE, num_levels=NUM_LEVELS, view=view) for view in ("board", "agent")}
    assert seen["board"] != seen["agent"]
    for index in range(4):
        board, state = start(seen["board"], params, index)
        centred, same = start(seen["agent"], params, index)
        chex.assert_trees_all_equal(state, same)
        shift = SIZE // 2 - np.asarray(state.cell)
        ahead = plane_names(view="agent").index("ahead")
        others = np.arange(board.shape[-1]) != ahead
        np.testing.assert_array_equal(
            centred[..., others], np.roll(board, shift, (0, 1))[..., others]
        )
        for action, (dy, dx) in zip(Action, ((0, -1), (0, 1), (-1, 0), (1, 0)), strict=True):
            turned, *_ = seen["agent"].step_env(jax.random.key(0), state, action, params)
            found = np.argwhere(np.asarray(turned)[..., ahead]).tolist()
            assert found == [[SIZE // 2 + dy, SIZE // 2 + dx]]


def test_levels_are_saved_by_their_seeds(renewed_pool):
    env, params, _, renewed = renewed_pool
    saved = env.save_levels(renewed)
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(saved)) < 200
    loaded = env.load_levels(jax.device_get(saved), params)
    chex.assert_trees_all_equal(loaded, renewed)


def test_made_by_its_id_as_any_other():
    assert coinrun_jax.ExitMaze is ExitMaze
    env, params = coinrun_jax.make(ENV_ID, size=7, num_levels=4)
    assert env == ExitMaze(7, num_levels=4)
    assert params.pool.levels.walls.shape == (4, 7, 7)
    with pytest.raises(ValueError, match="environment 'ExitMaze-v0' is not one of CoinRun-v1,"):
        coinrun_jax.make("ExitMaze-v0")
