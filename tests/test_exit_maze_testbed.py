"""The exit maze behind the contract: its settings, its suites, its levels, its pictures."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax.checks import InputError
from coinrun_jax.exit_maze.layouts import choose, layouts
from coinrun_jax.exit_maze.levels import generate_levels
from coinrun_jax.exit_maze.maze_suites import STRENGTHS
from coinrun_jax.registry import find_testbed
from coinrun_jax.testbed import TEST_LEVELS
from train.config import env_config

TESTBED = find_testbed("ExitMaze-v1")
SUITES = TESTBED.suites()
RELOCATION = SUITES["relocation"]


def config(**settings):
    return env_config({"id": "ExitMaze-v1", "size": 7, "pool_size": 16, **settings})


def of(name, suite=RELOCATION):
    return suite.conditions[suite.index(name)]


def test_settings_reach_the_environment():
    own = config(
        observation="uint8",
        colour_planes=2,
        exit_planes=0,
        num_levels=8,
        cues={"exit_green": 0.75, "exit_else": "blue"},
        reward={"exit": 2, "step": -0.01, "terminate_at_green": True},
    )
    assert own.p_apart == 0.25
    env = TESTBED.make_env(own)
    params = TESTBED.make_params(env, own)
    assert env.observation_space().shape == (7, 7, 2 + 6)
    assert params.pool.levels.seed.tolist() == list(range(8))
    assert params.cues.exit_green == np.float32(0.75)
    assert params.reward_exit == 2
    assert params.reward_step == np.float32(-0.01)
    assert params.terminate_at_decoy
    evaluated = TESTBED.evaluation_env(own)
    assert evaluated == TESTBED.evaluation_env(
        config(observation="uint8", colour_planes=2, exit_planes=0)
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 8}, "env.size 8 is not an odd number from 7 to 25"),
        ({"colour_planes": 65}, "env.colour_planes 65"),
        ({"cues": {"exit_green": 1.5}}, "env.cues.exit_green 1.5"),
        ({"cues": {"exit_else": "green"}}, "env.cues.exit_else 'green' is not one of none, red"),
        ({"cues": {"colour": "green"}}, "unknown setting 'env.cues.colour'"),
        ({"view": "above"}, "env.view 'above' is not one of agent, board"),
        ({"cues": {"decoy_place": "border"}, "reward": {"terminate_at_green": True}}, "border"),
    ],
)
def test_settings_that_cannot_be_are_one_line(settings, message):
    with pytest.raises(InputError, match=message) as error:
        config(**settings)
    assert "\n" not in str(error.value)


def test_what_is_like_training():
    green, mixed, blind = config(), config(cues={"exit_green": 0.4}), config(colour_planes=0)
    assert TESTBED.trained_condition(RELOCATION, green) == ("exit_green", True)
    assert TESTBED.trained_condition(RELOCATION, mixed) == ("green_elsewhere", True)
    strength = SUITES["cue_strength"]
    assert TESTBED.trained_condition(strength, green) == ("green_100", True)
    assert [c.position for c in strength.conditions] == list(STRENGTHS)
    shifted = {c.name for c in RELOCATION.conditions if TESTBED.is_shifted(c, green)}
    assert shifted == {c.name for c in RELOCATION.conditions} - {"exit_green"}
    assert "green_elsewhere" not in {
        c.name for c in RELOCATION.conditions if TESTBED.is_shifted(c, mixed)
    }
    assert [c.name for c in RELOCATION.conditions if TESTBED.is_shifted(c, blind)] == [
        "green_elsewhere_exit_closed"
    ]


def test_entries_of_a_users_suite():
    entry = {"name": "own", "like": "green_in_corridor", "exit_else": "blue"}
    condition, without_green, closed = TESTBED.condition(
        {**entry, "control": ["green", "exit"], "title": "a corridor green"}
    )
    assert condition.apart
    assert condition.plain
    assert condition.settings.decoy_place == "corridor"
    assert without_green.control.watched == "ghost"
    assert closed.control.takes == "exit"
    assert not closed.has_goal
    assert len(TESTBED.condition(entry)) == 1
    assert len(TESTBED.condition({**entry, "control": True})) == 2
    assert not TESTBED.condition({"name": "both", "like": "both_green"})[0].plain
    assert TESTBED.condition({"name": "usual"})[0].plain
    for wrong, message in (
        ({"place": "roof"}, "no 'place'; allowed: control, decoy_coloured"),
        ({"decoy_place": "roof"}, "decoy_place 'roof'"),
        ({"like": "home"}, "like 'home'"),
        ({"control": ["coin"]}, "control 'coin'"),
        ({"exit_green": "often"}, "exit_green 'often'"),
    ):
        with pytest.raises(InputError, match=message):
            TESTBED.condition({"name": "own", **wrong})


def test_held_out_levels_that_no_training_level_looks_like():
    seeds = choose(7, 64, unlike=3000)
    assert np.isin(seeds, TEST_LEVELS).all()
    known = layouts(generate_levels(jnp.arange(3000, dtype=jnp.uint32), 7)).tolist()
    assert not set(known) & set(layouts(generate_levels(jnp.asarray(seeds), 7)).tolist())
    first = np.array(TEST_LEVELS[: int(seeds[-1]) - TEST_LEVELS.start + 1], np.uint32)
    looks = layouts(generate_levels(jnp.asarray(first), 7)).tolist()
    assert [s for s, look in zip(first, looks, strict=True) if look not in set(known)] == list(
        seeds
    )
    levels, _, index = TESTBED.choose_levels(RELOCATION.conditions, config(), 5)
    assert levels.seed.tolist() == list(TEST_LEVELS[:5])
    assert index.shape == (len(RELOCATION.conditions), 5)


@pytest.fixture(scope="module")
def watched():
    """States of a few steps with a dead end green, and the params of that and of its control."""
    own = config()
    env = TESTBED.evaluation_env(own)
    levels = TESTBED.build_levels(np.arange(4, dtype=np.uint32), "7 x 7")
    params = TESTBED.evaluation_params(env, levels)
    shown = {
        name: params.replace(**TESTBED.overrides(of(name), own))
        for name in ("green_elsewhere", "green_elsewhere_control", "green_elsewhere_exit_closed")
    }
    _, state = env.reset_to_level(jax.random.key(0), 1, shown["green_elsewhere"])
    states = [state]
    for action in (0, 1, 2, 3, 1):
        _, state, *_ = env.step_env(jax.random.key(0), state, action, shown["green_elsewhere"])
        states.append(state)
    return jax.device_get(states), shown


def test_a_scene_is_a_board_and_the_agent_on_it(watched):
    states, shown = watched
    scene = TESTBED.scene(states, shown["green_elsewhere"])
    assert scene.board.shape == (7 * scene.tile, 7 * scene.tile, 3)
    (agent,) = scene.tracks
    assert agent.sprite == ["left", "left", "right", "up", "down", "right"]
    assert {scene.sprites[name].shape for name in agent.sprite} == {(scene.tile, scene.tile, 4)}
    assert agent.x.tolist() == [state.cell[1] + 0.5 for state in states]
    assert agent.y.tolist() == [6.5 - state.cell[0] for state in states]
    assert not scene.marks
    row, column = states[0].decoy_cell.tolist()
    middle = scene.tile // 2
    red, green, blue = scene.board[row * scene.tile + middle, column * scene.tile + middle].tolist()
    assert green > max(red, blue)
    control = TESTBED.scene(states[:1], shown["green_elsewhere_control"])
    assert control.marks == ((column, 6 - row),)
    closed = TESTBED.scene(states[:1], shown["green_elsewhere_exit_closed"])
    assert len(closed.marks) == 1


def test_a_map_shows_paths(watched):
    states, shown = watched
    empty = TESTBED.map([states[:1]], shown["green_elsewhere"])
    walked = TESTBED.map([states, states[:3]], shown["green_elsewhere"])
    assert empty.shape == walked.shape
    assert empty.dtype == np.uint8
    assert (walked != empty).any(-1).sum() > 50
