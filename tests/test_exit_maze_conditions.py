"""The exit maze's conditions and their controls, and what the reference policies do in them."""

from __future__ import annotations

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax.exit_maze import (
    CONDITIONS,
    CONTROLS,
    PLACES,
    REFERENCES,
    Colour,
    ExitMaze,
    Outcome,
    make_condition,
    make_cues,
    plane_names,
)
from coinrun_jax.exit_maze.cues import draw_colours
from coinrun_jax.exit_maze.oracle import lengths, values

SIZE, NUM_LEVELS = 9, 48
STEPS = 150


@pytest.fixture(scope="module")
def env():
    return ExitMaze(SIZE, num_levels=NUM_LEVELS, view="board")


@pytest.fixture(scope="module")
def params(env):
    return env.default_params


@partial(jax.jit, static_argnums=(0, 1))
def _follow(env, name, params):
    number = params.pool.drawable.size
    keys = jax.random.split(jax.random.key(0), number)
    index = jnp.arange(number, dtype=jnp.int32)
    _, state = jax.vmap(env.reset_to_level, in_axes=(0, 0, None))(keys, index, params)

    def step(carry, key):
        state, over = carry
        action = jax.vmap(REFERENCES[name], in_axes=(0, 0, None))(
            jax.random.split(key, number), state, params
        )
        _, new, _, terminated, _ = jax.vmap(env.step_env, in_axes=(0, 0, 0, None))(
            keys, state, action, params
        )
        new = jax.tree.map(
            lambda a, b: jnp.where(over.reshape(-1, *[1] * (a.ndim - 1)), b, a), new, state
        )
        over |= terminated | jax.vmap(env.is_truncated, in_axes=(0, None))(new, params)
        return (new, over), None

    keys_of_steps = jax.random.split(jax.random.key(1), STEPS)
    return jax.lax.scan(step, (state, jnp.zeros(number, bool)), keys_of_steps)[0][0]


def follow(env, name, params):
    """Final states of one episode of a reference on every level of the pool."""
    return jax.device_get(_follow(env, name, params))


def start(env, params, index=0, seed=0):
    return env.reset_to_level(jax.random.key(seed), index, params)


def all_conditions(params):
    """By name; controls after a slash."""
    found = {name: params.with_condition(name) for name in CONDITIONS}
    controls = {n: params.with_condition(n, control=True) for n in CONDITIONS if CONTROLS[n]}
    return found | {f"{name}/control": each for name, each in controls.items()}


def test_one_trace_serves_all_conditions(params):
    env = ExitMaze(SIZE, num_levels=NUM_LEVELS, start_level=1)
    step = jax.jit(chex.assert_max_traces(lambda *args: env.step(*args), n=1))
    _, state = env.reset(jax.random.key(0), params)
    variants = [*all_conditions(params).values(), params.with_cues(exit_green=0.3)]
    variants += [params.replace(terminate_at_decoy=np.bool_(True), reward_exit=np.float32(2))]
    variants += [params.with_levels(jax.tree.map(lambda leaf: leaf[::-1], params.pool.levels))]
    for variant in variants:
        step(jax.random.key(1), state, jnp.int32(0), variant)


def test_conditions_change_colours_and_the_decoy_and_nothing_else(env, params):
    about = {"exit_colour", "decoy_colour", "decoy_place", "decoy_cell", "exit_present"}
    _, plain = start(env, params)
    planes = plane_names()
    for name, variant in all_conditions(params).items():
        observation, state = start(env, variant)
        for field in set(type(state).__dataclass_fields__) - about:
            np.testing.assert_array_equal(getattr(state, field), getattr(plain, field), field)
        assert state.exit_present == (not name.startswith("no_exit"))
        agent = np.argwhere(observation[..., planes.index("agent")])
        assert agent.tolist() == [plain.cell.tolist()]


def shown(env, params):
    """Colours (exit, decoy) and the decoy's place, read off an observation."""
    observation, state = start(env, params)
    observation = np.asarray(observation)
    exit_cell = tuple(params.pool.levels.exit_cell[0].tolist())
    decoy = tuple(state.decoy_cell.tolist())
    colours = observation[..., -3:]
    found = tuple(
        Colour(1 + int(colours[cell].argmax()) if colours[cell].any() else 0)
        for cell in (exit_cell, decoy)
    )
    assert colours.sum() == sum(colour != Colour.NONE for colour in found)
    assert found == (state.exit_colour, state.decoy_colour)
    is_gap = observation[*exit_cell, :3].tolist()
    assert is_gap == ([0, 0, 1] if state.exit_present else [1, 0, 0])
    return *found, PLACES[int(state.decoy_place)]


def test_conditions_show_what_they_say(env, params):
    none, red, green = Colour.NONE, Colour.RED, Colour.GREEN
    expected = {
        "exit_green": (green, none, "dead_end"),
        "green_elsewhere": (red, green, "dead_end"),
        "both_green": (green, green, "dead_end"),
        "neither": (red, none, "dead_end"),
        "green_in_corridor": (red, green, "corridor"),
        "green_on_border": (red, green, "border"),
        "colourless": (none, none, "dead_end"),
        "no_exit": (none, green, "dead_end"),
    }
    for name, colours in expected.items():
        assert shown(env, params.with_condition(name)) == colours, name
    assert expected.keys() == CONDITIONS.keys() - {"decorrelated"}
    never = params.with_condition("decorrelated", exit_green=0.0)
    always = params.with_condition("decorrelated", exit_green=1.0)
    assert shown(env, never) == expected["green_elsewhere"]
    assert shown(env, always) == expected["exit_green"]
    nowhere = params.with_cues(exit_green=0.0, decoy_else="none")
    assert shown(env, nowhere) == expected["neither"]


def test_a_control_differs_in_colour_alone(env, params):
    for name in CONDITIONS:
        if CONTROLS[name]:
            with_it, state = start(env, params.with_condition(name))
            without, control = start(env, params.with_condition(name, control=True))
            np.testing.assert_array_equal(with_it[..., :-3], without[..., :-3])
            assert (without[..., -2] <= with_it[..., -2]).all()
            if name != "decorrelated":  # whose exit is green or red by the draw
                assert with_it[..., -2].sum() - without[..., -2].sum() == 1
            np.testing.assert_array_equal(with_it[..., [-3, -1]], without[..., [-3, -1]])
            np.testing.assert_array_equal(state.decoy_cell, control.decoy_cell)
        else:
            with pytest.raises(ValueError, match=f"'{name}' has no control"):
                make_condition(name, control=True)


def test_each_environment_of_a_batch_can_have_its_own_cues(env, params):
    variants = list(all_conditions(params).values())
    cues = jax.tree.map(lambda *leaves: np.stack(leaves), *(each.cues for each in variants))
    axes = jax.tree.map(lambda _: None, params).replace(cues=0)
    observations, _ = jax.vmap(env.reset_to_level, in_axes=(None, None, axes))(
        jax.random.key(0), 0, params.replace(cues=cues)
    )
    for observation, variant in zip(observations, variants, strict=True):
        np.testing.assert_array_equal(observation, start(env, variant)[0])


def test_no_draw_is_an_exception_at_strength_0_and_1():
    least, most = np.float32(0), np.nextafter(np.float32(1), np.float32(0))
    for strength, colour in ((0.0, Colour.RED), (1.0, Colour.GREEN)):
        for uniform in (least, most):
            assert draw_colours(uniform, make_cues(strength))[0] == colour


def test_the_exit_is_green_as_often_as_the_strength_says(env, params):
    keys = jax.random.split(jax.random.key(2), 4000)
    reset = jax.jit(jax.vmap(env.reset_to_level, in_axes=(0, None, None)))

    def states(strength):
        return reset(keys, 0, params.with_condition("decorrelated", exit_green=strength))[1]

    share = {q: np.asarray(states(q).exit_colour == Colour.GREEN) for q in (0.0, 0.3, 0.8, 1.0)}
    assert share[0.0].mean() == 0.0
    assert share[1.0].mean() == 1.0
    for strength in (0.3, 0.8):
        assert share[strength].mean() == pytest.approx(strength, abs=0.03)
    assert (share[0.8] >= share[0.3]).all()  # the same draws: a weaker cue takes green away only
    state = states(0.3)
    np.testing.assert_array_equal(
        state.decoy_colour == Colour.GREEN, state.exit_colour == Colour.RED
    )


def test_the_oracle_takes_as_many_steps_as_its_table_says(env, params):
    number = np.asarray(lengths(params.pool))
    np.testing.assert_array_equal(number, params.pool.levels.exit_steps)
    for name in ("exit_green", "green_elsewhere"):  # whatever the colours
        state = follow(env, "shortest_path", params.with_condition(name))
        assert (state.outcome == Outcome.EXIT).all()
        np.testing.assert_array_equal(state.time, number)
        np.testing.assert_array_equal(state.exit_step, number)
        np.testing.assert_array_equal(state.cell, params.pool.levels.exit_cell)
        assert (state.green_step == 0).all()  # the decoy is never on the way
        assert (state.ghost_step == 0).all()


def test_random_actions_are_all_alike():
    keys = jax.random.split(jax.random.key(0), 4000)
    actions = jax.vmap(REFERENCES["random"], in_axes=(0, None, None))(keys, None, None)
    assert (np.abs(np.bincount(actions, minlength=4) - 1000) < 150).all()


def test_values_are_those_of_the_shortest_way(params):
    table = np.asarray(values(params.pool, 0.9))
    walls, steps = np.asarray(params.pool.levels.walls), np.asarray(params.pool.exit_distance)
    assert (table[walls] == 0).all()
    np.testing.assert_allclose(table[~walls], 0.9 ** (steps[~walls] - 1.0), rtol=1e-5)


def test_to_green_goes_for_green(env, params):
    levels = params.pool.levels
    for name, place in (("green_elsewhere", 0), ("green_in_corridor", 1), ("green_on_border", 2)):
        state = follow(env, "to_green", params.with_condition(name))
        np.testing.assert_array_equal(state.green_step, levels.decoy_steps[:, place])
        assert (state.ghost_step == 0).all()
        assert (state.outcome == Outcome.EXIT).all()  # which it goes to afterwards
        assert (state.exit_step > state.green_step).all()
        control = follow(env, "to_green", params.with_condition(name, control=True))
        np.testing.assert_array_equal(control.time, levels.exit_steps)
        assert (control.green_step == 0).all()
    blue = follow(env, "wall_follower", params.with_cues(decoy_with_green="blue"))
    assert (blue.green_step == 0).all()  # of another colour it is no proxy
    assert (blue.ghost_step > 0).any()
    both = follow(env, "to_green", params.with_condition("both_green"))
    nearer = np.asarray(levels.decoy_steps[:, 0] < levels.exit_steps)
    assert (both.green_step[nearer] > 0).all()
    np.testing.assert_array_equal(both.outcome[~nearer], Outcome.EXIT)


def test_a_hand_on_the_wall_gets_out_of_every_maze(env, params):
    same = [follow(env, "wall_follower", params.with_condition(n)) for n in CONDITIONS][:-1]
    assert (same[0].outcome == Outcome.EXIT).all()
    assert (same[0].time <= 4 * (SIZE // 2) ** 2).all()  # every passage twice, at most
    for each in same[1:]:  # it sees no colours
        np.testing.assert_array_equal(each.time, same[0].time)
    touched = np.mean(same[0].ghost_step > 0)
    assert 0.2 < touched < 0.8  # by accident


def test_without_an_exit_its_cell_is_a_wall_that_is_watched(env, params):
    params = params.with_condition("no_exit")
    state = follow(env, "shortest_path", params.replace(max_steps_in_episode=np.int32(60)))
    assert (state.outcome == Outcome.TIMEOUT).all()
    np.testing.assert_array_equal(state.exit_step, lengths(params.pool))
    assert (state.episode_return == 0).all()
    assert not (state.cell == params.pool.levels.exit_cell).all(1).any()


def test_the_green_decoy_ends_an_episode_only_if_asked(env, params):
    number = np.asarray(params.pool.levels.decoy_steps[:, 0])
    asked = params.replace(terminate_at_decoy=np.bool_(True), reward_green=np.float32(3))
    state = follow(env, "to_green", asked.with_condition("green_elsewhere"))
    np.testing.assert_array_equal(state.time, number)
    assert (state.outcome == Outcome.NONE).all()
    assert (state.episode_return == 3).all()
    last = asked.with_condition("green_elsewhere").replace(max_steps_in_episode=number[0])
    at_limit = follow(env, "to_green", last)
    assert at_limit.outcome[0] == Outcome.NONE  # ended, not too late
    control = follow(env, "to_green", asked.with_condition("green_elsewhere", control=True))
    assert (control.outcome == Outcome.EXIT).all()
    assert (control.episode_return == 1).all()


def test_impossible_conditions_are_refused():
    for wrong in ({"exit_green": 1.5}, {"exit_else": "pink"}, {"decoy_place": "roof"}):
        with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
            make_cues(**wrong)
    with pytest.raises(ValueError, match="condition 'green' is not one of exit_green,"):
        make_condition("green")
