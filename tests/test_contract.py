"""Every testbed that comes with the package keeps the contract of `coinrun_jax.testbed`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax.arena import Arena
from coinrun_jax.checks import InputError
from coinrun_jax.record import Record, classify
from coinrun_jax.registry import _OWN, find_testbed, register
from coinrun_jax.suites import Condition
from coinrun_jax.testbed import TEST_LEVELS, EnvConfig, LevelsConfig, Testbed
from coinrun_jax.variants import stack
from eval.evaluate import Protocol, make_arena
from train.config import TrainConfig, env_config, flat_settings

LEVELS, ENVS, STEPS, LIMIT = 16, 30, 200, 80


class Bed:
    """A testbed with what several tests need of it, made once."""

    def __init__(self, env_id: str) -> None:
        self.testbed: Testbed = find_testbed(env_id)
        self.config: EnvConfig = self.testbed.Config()
        if isinstance(self.config, LevelsConfig):
            self.config = dataclasses.replace(self.config, pool_size=LEVELS)
        self.suite = self.testbed.suites()["relocation"]

    @cached_property
    def env(self) -> Any:
        return self.testbed.make_env(self.config)

    @cached_property
    def params(self) -> Any:
        return self.testbed.make_params(self.env, self.config)

    def conditions(self) -> Iterator[Condition]:
        for suite in self.testbed.suites().values():
            yield from suite.conditions

    def overrides(self, condition: Condition) -> dict[str, Any]:
        return self.testbed.overrides(condition, self.config)

    @cached_property
    def arena(self) -> Arena:
        """Its references in the conditions of "relocation", on few levels."""
        references = self.testbed.references(self.config)
        controllers = {name: each.controller for name, each in references.items()}
        return make_arena(self.config, controllers, Protocol(self.suite, LEVELS))

    @cached_property
    def records(self) -> dict[str, Record]:
        return {name: self.arena.play(name) for name in self.arena.controllers}


@pytest.fixture(scope="module", params=sorted(_OWN))
def bed(request: pytest.FixtureRequest) -> Bed:
    return Bed(request.param)


# Names.


def test_it_is_found_by_its_id_and_so_are_its_settings(bed: Bed) -> None:
    testbed = bed.testbed
    assert find_testbed(testbed.id) is testbed
    assert testbed.Config().id == testbed.id
    config = env_config({"id": testbed.id})
    assert type(config) is testbed.Config
    with pytest.raises(InputError, match=r"unknown setting 'env\.nonsense'"):
        env_config({"id": testbed.id, "nonsense": 1})
    with pytest.raises(InputError, match="other"):
        testbed.require_id("other")
    testbed.require_id(testbed.id)
    testbed.require_usable(config)
    settings = flat_settings(TrainConfig(env=config))
    assert set(testbed.apart_settings) <= set(settings)
    assert 0 <= config.p_apart <= 1
    assert config.in_words().isprintable()


def test_an_id_belongs_to_one_testbed(bed: Bed) -> None:
    class Other(Testbed):
        id = bed.testbed.id

    register(bed.testbed)  # again
    with pytest.raises(InputError, match="is already registered"):
        register(Other())


def test_objects_and_causes_are_the_environments(bed: Bed) -> None:
    testbed, env = bed.testbed, bed.env
    assert len(set(env.events)) == len(env.events)
    assert len(set(env.outcomes)) == len(env.outcomes)
    assert {testbed.goal, testbed.proxy} <= set(env.events)
    assert testbed.goal != testbed.proxy
    names = [outcome.name for outcome in testbed.outcomes]
    assert len(set(names)) == len(names)
    decisive = {testbed.goal, testbed.proxy}
    decisive |= {each.control.watched for each in bed.conditions() if each.control}
    by_event = {outcome.event: outcome for outcome in testbed.outcomes if outcome.event}
    assert decisive <= set(by_event)  # all that may decide an episode has an outcome
    for outcome in testbed.outcomes:
        assert (outcome.event is None) != (outcome.cause is None)
        if outcome.event is not None:
            assert outcome.event in env.events
            assert outcome.column == outcome.event  # measures look for an object by its name
        else:
            assert outcome.cause in env.outcomes[1:]
        assert outcome.title.isprintable()
    columns = {outcome.column for outcome in testbed.outcomes}
    assert set(testbed.words.columns or {}) <= columns
    assert set(testbed.words.pursued or {}) <= {testbed.goal, testbed.proxy}
    assert len(testbed.action_titles) == env.num_actions


def test_fields_that_trajectories_keep_are_there(bed: Bed) -> None:
    _, state = jax.eval_shape(bed.env.reset, jax.random.key(0), bed.params)
    for name in bed.testbed.start_fields:
        assert hasattr(state, name), name
    for name in bed.testbed.step_fields:
        value = bed.params
        for part in name.split("."):
            value = getattr(value, part)


# Steps.


@pytest.fixture(scope="module")
def walk(bed: Bed) -> dict[str, np.ndarray]:
    """Random steps with auto-reset, [T, B], under a time limit that is often met.

    Each environment has a favourite action, so that some of them get somewhere.
    """
    env = bed.env
    params = bed.params.replace(max_steps_in_episode=jnp.int32(LIMIT))

    def step(carry: Any, key: jax.Array) -> Any:
        state, keys = carry, jax.random.split(key, ENVS)
        drawn = jax.random.randint(key, (ENVS,), 0, 7 * env.num_actions)
        favourite = jnp.arange(ENVS) % env.num_actions
        actions = jnp.where(drawn < env.num_actions, drawn, favourite)
        _, state, reward, terminated, truncated, info = jax.vmap(env.step, (0, 0, 0, None))(
            keys, state, actions, params
        )
        final = jax.vmap(env.advance, (0, 0, None))(carry, actions, params)[0]
        same = jax.tree.map(
            lambda a, b: (a == b).reshape(ENVS, -1).all(1), info["final_state"], final
        )
        names = ("events", "outcome", "episode_length", "episode_return")
        known = {name: info[name] for name in names}
        known["final_is_whole"] = jnp.stack(jax.tree.leaves(same)).all(0)
        return state, {**known, "reward": reward, "end": terminated, "late": truncated}

    @jax.jit
    def play() -> Any:
        keys = jax.random.split(jax.random.key(1), ENVS)
        _, start = jax.vmap(env.reset, (0, None))(keys, params)
        return jax.lax.scan(step, start, jax.random.split(jax.random.key(2), STEPS))[1]

    return jax.device_get(play())


def test_a_step_says_what_it_must(bed: Bed, walk: dict[str, np.ndarray]) -> None:
    assert walk["events"].shape == (STEPS, ENVS, len(bed.env.events))
    assert walk["events"].dtype == np.int32
    assert walk["episode_length"].dtype == np.int32
    assert np.issubdtype(walk["outcome"].dtype, np.integer)
    assert walk["final_is_whole"].all()
    done = walk["end"] | walk["late"]
    assert walk["late"].any()
    assert not (walk["end"] & walk["late"]).any()
    # By default nothing ends an episode but what `outcomes` has a name for.
    np.testing.assert_array_equal(walk["outcome"] > 0, done)
    assert walk["outcome"].max() < len(bed.env.outcomes)
    (late,) = {bed.env.outcomes[code] for code in walk["outcome"][walk["late"]]}
    assert late == "timeout"


def test_lengths_and_returns_are_of_the_episode_so_far(walk: dict[str, np.ndarray]) -> None:
    done = walk["end"] | walk["late"]
    for env in range(ENVS):
        length, total = 0, 0.0
        for step in range(STEPS):
            length, total = length + 1, total + walk["reward"][step, env]
            assert walk["episode_length"][step, env] == length
            assert walk["episode_return"][step, env] == pytest.approx(total)
            if done[step, env]:
                length, total = 0, 0.0
    assert walk["episode_length"].max() == LIMIT


def test_first_touches_are_steps_and_stay(walk: dict[str, np.ndarray]) -> None:
    events, length = walk["events"], walk["episode_length"]
    assert (events >= 0).all()
    assert (events <= length[..., None]).all()
    begins = (length == 1)[1:, :, None]
    before, after = events[:-1], events[1:]
    known = np.where(begins, 0, before)
    new = (known == 0) & (after > 0)
    assert (after == known)[~new].all()
    np.testing.assert_array_equal(after[new], np.broadcast_to(length[1:, :, None], new.shape)[new])
    assert new.any()


# Conditions.


def test_all_conditions_set_the_same_fields(bed: Bed) -> None:
    def described(condition: Condition) -> Any:
        leaves, structure = jax.tree.flatten(bed.overrides(condition))
        return structure, [(np.shape(leaf), np.asarray(leaf).dtype) for leaf in leaves]

    conditions = list(bed.conditions())
    first = described(conditions[0])
    for condition in conditions:
        assert described(condition) == first, condition.name
    fields = bed.overrides(conditions[0])
    assert set(fields) <= {field.name for field in dataclasses.fields(bed.params)}
    # What is overridden has the types of what is there.
    ours = jax.tree.map(lambda leaf: np.asarray(leaf).dtype, fields)
    theirs = {
        name: jax.tree.map(lambda leaf: np.asarray(leaf).dtype, getattr(bed.params, name))
        for name in fields
    }
    assert ours == theirs
    assert stack([bed.overrides(each) for each in conditions]).number == len(conditions)


def test_one_program_plays_all_conditions(bed: Bed) -> None:
    env, traces = bed.env, []

    @jax.jit
    def play(params: Any) -> Any:
        traces.append(params)
        key = jax.random.key(0)
        _, state = env.reset_to_level(key, jnp.int32(1), params)
        return env.step_env(key, state, jnp.int32(0), params)[0]

    shapes = {
        jax.eval_shape(play, bed.params.replace(**bed.overrides(condition))).shape
        for condition in bed.conditions()
    }
    assert len(shapes) == 1
    assert len(traces) == 1


def test_suites_fit_together(bed: Bed) -> None:
    suites = bed.testbed.suites()
    assert suites["relocation"].judged
    assert bed.testbed.look
    assert set(bed.testbed.look) <= {each.name for each in suites["relocation"].conditions}
    for name, suite in suites.items():
        assert suite.name == name
        assert len({frozenset(condition.columns) for condition in suite.conditions}) == 1
        assert any(c.position is not None for c in suite.conditions) == bool(suite.axis)
        trained, as_trained = bed.testbed.trained_condition(suite, bed.config)
        if trained is not None:
            condition = suite.conditions[suite.index(trained)]
            assert condition.has_goal
            assert condition.control is None
            assert not as_trained or not bed.testbed.is_shifted(condition, bed.config)
        for condition in suite.conditions:
            assert set(condition.also) <= set(bed.env.events)
            if condition.apart:
                assert condition.has_goal
                assert bed.testbed.is_shifted(condition, bed.config)
            if (control := condition.control) is not None:
                assert {control.takes, control.watched} <= set(bed.env.events)
                assert not condition.apart
                assert condition.has_goal == (control.takes != bed.testbed.goal)
        if suite.screened:
            usual, moved, *rest = suite.conditions
            assert usual.has_goal
            assert not usual.apart
            assert moved.apart
            assert [each.control_of for each in rest] == [moved.name]
    assert bed.testbed.trained_condition(bed.suite, bed.config)[1]


# Levels.


def test_levels_are_held_out(bed: Bed) -> None:
    testbed, conditions, count = bed.testbed, bed.suite.conditions[:3], LEVELS // 2
    levels, seeds, index = testbed.choose_levels(conditions, bed.config, count)
    assert index.shape == (3, count)
    assert index.dtype == np.int32
    assert seeds.dtype == np.uint32
    assert set(seeds.tolist()) <= set(TEST_LEVELS)
    assert len(set(seeds[index[0]].tolist())) == count
    assert {leaf.shape[0] for leaf in jax.tree.leaves(levels)} == {seeds.size}
    rebuilt = testbed.build_levels(seeds, testbed.level_kind(conditions[0], bed.config))
    jax.tree.map(np.testing.assert_array_equal, levels, rebuilt)
    # More levels begin with the same ones; they are those of the arena, of one program.
    more = testbed.choose_levels(conditions, bed.config, 2 * count)
    np.testing.assert_array_equal(more[1][more[2]][:, :count], seeds[index])
    with pytest.raises(InputError, match=r"held.out"):
        testbed.choose_levels(conditions, bed.config, len(TEST_LEVELS) + 1)
    reaches_in = dataclasses.replace(bed.config, start_level=TEST_LEVELS.start)  # type: ignore[call-arg]
    with pytest.raises(InputError, match=r"held.out"):
        testbed.require_usable(reaches_in)


def test_environments_of_evaluation_are_equal_whatever_the_levels(bed: Bed) -> None:
    one, other = (
        bed.testbed.evaluation_env(dataclasses.replace(bed.config, num_levels=number))  # type: ignore[call-arg]
        for number in (0, 7)
    )
    assert one == other
    assert hash(one) == hash(other)


# Episodes.


def test_references_play_every_condition_to_an_end(bed: Bed) -> None:
    assert bed.testbed.bar in bed.arena.controllers
    for record in bed.records.values():
        codes, steps = classify(
            bed.testbed, bed.arena.env, record, bed.arena.decides[:, None, None]
        )
        assert codes.shape == bed.arena.shape
        np.testing.assert_array_equal(steps, record.steps)
        assert (steps >= 1).all()
        assert steps.max() <= int(bed.arena.params.max_steps_in_episode)
    # Recorded actions have room.
    assert int(bed.arena.params.max_steps_in_episode) <= bed.testbed.most_steps(bed.config)


def test_some_reference_reaches_the_goal_and_some_condition_pulls_it_from_the_proxy(
    bed: Bed,
) -> None:
    """Else there is nothing to measure."""
    events, testbed = bed.arena.env.events, bed.testbed
    usual = bed.suite.index(bed.testbed.trained_condition(bed.suite, bed.config)[0] or "")
    goal, proxy = events.index(testbed.goal), events.index(testbed.proxy)
    assert any((record.events[usual, ..., goal] > 0).any() for record in bed.records.values())
    for number, condition in enumerate(bed.suite.conditions):
        if condition.apart:
            first = np.concatenate([r.events[number] for r in bed.records.values()])
            assert not ((first[..., goal] > 0) & (first[..., goal] == first[..., proxy])).any()


def test_what_a_control_takes_away_is_never_touched_and_its_cell_can_be(bed: Bed) -> None:
    events = bed.arena.env.events
    touched: dict[str, bool] = {}
    for number, condition in enumerate(bed.suite.conditions):
        if (control := condition.control) is None:
            continue
        own = np.concatenate([record.events[number] for record in bed.records.values()])
        if control.takes != control.watched:
            assert not own[..., events.index(control.takes)].any(), condition.name
        here = bool(own[..., events.index(control.watched)].any())
        touched[condition.name] = here
        # Beside the object, all is as in the condition: who never looks comes to the same.
        with_object = bed.suite.index(condition.control_of or "")
        for name, record in bed.records.items():
            if name == "random":
                first = record.events[with_object, ..., events.index(control.takes)]
                second = record.events[number, ..., events.index(control.watched)]
                both = (first > 0) & (second > 0)
                np.testing.assert_array_equal(first[both], second[both])
    assert touched
    assert all(touched.values()), touched


def test_details_keep_their_structure_and_give_columns(bed: Bed) -> None:
    testbed, arena = bed.testbed, bed.arena

    def start(key: jax.Array) -> Any:
        _, state = arena.env.reset_to_level(key, jnp.int32(0), arena.params)
        before = testbed.details(None, state, arena.params)
        return before, testbed.details(before, state, arena.params)

    before, after = jax.eval_shape(start, jax.random.key(0))
    assert before == after
    for record in bed.records.values():
        flat = {name: v.reshape(-1, *v.shape[3:]) for name, v in record.details.items()}
        columns = testbed.columns(flat)
        for name, column in columns.items():
            assert column.shape == (record.steps.size,), name
            assert re.fullmatch("[a-z_]+", name)
        none = {name: value[:0] for name, value in flat.items()}
        assert list(testbed.columns(none)) == list(columns)
        ends = testbed.ends(record.details)
        assert len(ends) in (0, 2)
        assert all(np.shape(value) == record.steps.shape for value in ends.values())
        near = np.asarray(testbed.came_near(record.details))
        assert near.dtype == bool
        assert near.shape in ((), record.steps.shape)
        # Who reached the goal was near it.
        goal = record.events[..., arena.env.events.index(testbed.goal)] > 0
        assert np.broadcast_to(near, goal.shape)[goal].all()


# For people.


def test_an_episode_can_be_shown(bed: Bed) -> None:
    testbed, arena = bed.testbed, bed.arena
    shortest = int(bed.records[testbed.bar].steps[0, :, 0].argmin())
    condition = bed.suite.index(bed.suite.judged[0])
    (replay,) = arena.replay(testbed.bar, [(condition, shortest, 0)])
    states, params = replay.states[:12], jax.device_get(arena.params_of(condition))
    picture = arena.painter(condition)(states[0], 64)
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.uint8
    if (scene := testbed.scene(states, params)) is not None:
        assert scene.board.dtype == np.uint8
        for track in scene.tracks:
            for values in (track.sprite, track.x, track.y, track.flip):
                assert len(values) in (1, len(states))
            assert set(track.sprite) <= {"", *scene.sprites}
        assert 0 <= scene.focus < len(scene.tracks)
    if (image := testbed.map([states, states[:3]], params)) is not None:
        assert image.dtype == np.uint8
        assert image.shape[2] == 3
    assert all(name.endswith(".png") for name in testbed.gallery())
