"""The microscope finds in networks that are known what is in them, and nothing else."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from coinrun_jax.coinrun.env_config import CoinRunConfig
from coinrun_jax.coinrun.observations.symbolic import PLANES, VIEW, split
from coinrun_jax.exit_maze.maze_config import ExitMazeConfig
from coinrun_jax.files import Array, read_arrays, read_rows
from coinrun_jax.registry import find_testbed
from coinrun_jax.twins import AGENT
from eval import figures
from eval.evaluate import Protocol
from eval.microscope import __main__ as command
from eval.microscope import pictures
from eval.microscope.amplifying import OWN, OWN_RANDOM, amplify
from eval.microscope.attribution import attribute, hide_each
from eval.microscope.examination import find, layers_of
from eval.microscope.fields import fields_of
from eval.microscope.moments import Moments, collect
from eval.microscope.patching import (
    differences,
    effect,
    look_twice,
    patch_layers,
    patch_units,
    share_carried,
)
from eval.microscope.scope import Scope
from eval.microscope.steering import (
    DIFFERENCE,
    difference_vector,
    measure,
    random_like,
    steer,
    steering_suite,
)
from eval.resampling import Resampling
from tests.refusals import refusal
from tests.test_eval_main import save_untrained
from tests.tiny_testbed import CorridorConfig
from train.activations import named
from train.config import NetworkConfig, TrainConfig
from train.networks import Network, Output, make_network, register_network
from train.policy import Policy

COIN = PLANES.index("coin")
CONFIGS = {
    "symbols": CoinRunConfig(),
    "pixels": CoinRunConfig(observation="rgb"),
    "maze": ExitMazeConfig("ExitMaze-v1", size=7),
}
MAZE = CONFIGS["maze"]
RIGHT = 1


def answer(value: jax.Array, preference: jax.Array, actions: int) -> Output:
    """A value and a preference for one action, float32 [B] each."""
    logits = named("logits", jnp.zeros((len(value), actions)).at[:, RIGHT].set(preference))
    return Output(logits, named("value", value), value[:, None])


class OneNumber(nn.Module):
    """Reads one number of its observation."""

    number: int
    num_actions: int = 15
    width: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, observation: jax.Array) -> Output:
        x = observation.astype(jnp.float32)
        x = x / 255 if observation.dtype == jnp.uint8 else x
        read = named("read", x.reshape(len(x), -1)[:, self.number])
        return answer(3 * read, 2 * read, self.num_actions)


class TwoWays(nn.Module):
    """The coin goes through one way, the ground through another; two more units do nothing."""

    sees_coin: bool = True

    @nn.compact
    def __call__(self, observation: jax.Array) -> Output:
        planes, _ = split(observation)
        coin, ground = planes[:, :, COIN], planes[:, :, 0].mean((1, 2))
        left, right = coin[:, : VIEW // 2].sum((1, 2)), coin[:, VIEW // 2 + 1 :].sum((1, 2))
        rest = jnp.zeros_like(left)
        way = named("coin_way", self.sees_coin * jnp.stack([rest, right, left, rest], 1))
        other = named("ground_way", jnp.stack([ground, ground**2], 1))
        return answer(way.sum(1) + other.sum(1), 2 * way[:, 1] + other[:, 0], 15)


class MazeReader(nn.Module):
    """Goes where its logits are pushed."""

    num_actions: int
    width: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, observation: jax.Array) -> Output:
        green = named("green", observation[..., -2].sum((1, 2)))
        push = named("push", jnp.zeros((len(green), self.num_actions)) + 0.1 * green[:, None])
        return Output(push, green, push)


register_network("maze_reader", MazeReader)
READER = Policy(
    TrainConfig(env=MAZE, network=NetworkConfig("maze_reader")),
    {},
    make_network(NetworkConfig("maze_reader"), (7, 7, 6), 4).apply,
    1,
)
SUITE = steering_suite(find_testbed("ExitMaze-v1"), "green_elsewhere")


@cache
def moments(name: str) -> tuple[Scope, Moments]:
    """Starts on a few levels with the studied object in view, and the same without it."""
    config = CONFIGS[name]
    testbed = find_testbed(config.id)
    env = testbed.evaluation_env(config)
    conditions = testbed.suites()["relocation"].conditions
    condition = next(each for each in conditions if each.name == testbed.look[-1])
    kind = testbed.level_kind(condition, config)
    levels = testbed.build_levels(np.array([9, 5, 8, 10, 11, 15], np.uint32), kind)
    params = testbed.evaluation_params(env, levels)
    params = params.replace(**testbed.overrides(condition, config))
    start = jax.jit(jax.vmap(lambda index: env.start(jax.random.key(0), index, params)))
    states = jax.device_get(start(jnp.arange(6)))
    if testbed.studied == "coin":  # it is near the agent, on different sides
        beside = np.array([[2, 0], [3, 1], [-1, 2], [-1, 0], [4, 0], [-1, 3]])
        cell = np.floor(np.stack([states.x, states.y], -1)).astype(np.int32) + beside
        states = states.replace(coin_cell=cell.astype(np.int32))
        without = states.replace(coin_present=np.zeros(6, bool))
    else:
        without = states.replace(decoy_colour=np.zeros(6, np.int32))
    network = Network.of(OneNumber(0))
    scope = Scope(testbed, config, env, params, network, {}, jax.random.key(0))
    return scope, Moments(np.arange(6, dtype=np.uint32), np.zeros(6, np.int32), states, without)


def reading(scope: Scope, module: nn.Module, weights: Any = None) -> Scope:
    return dataclasses.replace(scope, network=Network.of(module), weights=weights or {})


def first(found: Moments) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], found.states)


@pytest.mark.parametrize("name", CONFIGS)
def test_attribution_finds_the_cell_that_is_read_and_nothing_else(name: str) -> None:
    scope, found = moments(name)
    state, cells = first(found), scope.testbed.observed_cells(CONFIGS[name])
    seen = scope.look_once(state).observations[0].reshape(-1).astype(float)
    # A number that is not what an emptied cell has.
    number = int(np.argmax(np.where(cells.cell.reshape(-1) >= 0, seen, -1)))
    scope = reading(scope, OneNumber(number))
    result = attribute(scope, state, cells)
    where = np.zeros(cells.shape[0] * cells.shape[1], bool)
    where[cells.cell.reshape(-1)[number]] = True
    assert result.action == RIGHT
    for effects in (result.by_cell(cells), result.occlusion):
        assert (effects[:, where] > 0).all()
        assert not effects[:, ~where].any()
    np.testing.assert_allclose(result.by_cell(cells).sum(1), result.total, rtol=1e-3)
    np.testing.assert_allclose(result.occlusion[:, where][:, 0], result.total, rtol=1e-5)


def test_gradients_add_up_to_what_the_view_does_to_the_output() -> None:
    scope, found = moments("symbols")
    network = make_network(NetworkConfig("mlp", 16), (1357,), 15)
    weights = jax.jit(network.init)(jax.random.key(3), jnp.zeros((1, 1357)))
    scope = dataclasses.replace(scope, network=network, weights=weights)
    cells = scope.testbed.observed_cells(CONFIGS["symbols"])
    result = attribute(scope, first(found), cells)
    sums = result.gradients.reshape(2, -1).sum(1)
    np.testing.assert_allclose(sums, result.total, atol=0.02 * np.abs(result.total).max())


def test_of_a_network_that_ignores_the_object_fields_are_flat_and_nothing_is_carried() -> None:
    scope, found = moments("symbols")
    blind = reading(scope, TwoWays(sees_coin=False))
    fields = {field.object: field for field in fields_of(blind, first(found))}
    assert np.ptp(fields["coin"].values) == np.ptp(fields["coin"].probabilities, 0).max() == 0
    assert np.ptp(fields[AGENT].values) > 0
    pair = look_twice(blind, found)
    assert all(each.size == each.changed == 0 for each in differences(pair))
    assert {each.share for each in patch_layers(blind, pair)} == {None}
    assert effect(pair).value.high == effect(pair).moved.high == 0
    assert all(each.value is None is each.action for each in layers_of(blind, first(found)))
    assert {each.title for each in hide_each(blind, first(found)) if each.moved} == set()


def test_the_field_of_one_that_sees_it_is_where_it_looks() -> None:
    scope, found = moments("symbols")
    state = first(found)
    (field,) = (f for f in fields_of(reading(scope, TwoWays()), state) if f.object == "coin")
    right = field.cells[:, 0] - np.floor(state.x)
    in_view = (np.abs(right) <= 6) & (field.cells[:, 1] - np.floor(state.y) <= 6) & (right != 0)
    np.testing.assert_allclose(field.values - field.values.min(), in_view, atol=1e-6)
    assert field.arrows is not None
    likelier = field.probabilities[:, RIGHT]
    assert likelier[in_view & (right > 0)].min() > likelier[~in_view].max()


def test_patching_names_the_way_that_the_object_takes() -> None:
    scope, found = moments("symbols")
    scope = reading(scope, TwoWays())
    pair = look_twice(scope, found)
    by_size = {each.activation: each.size for each in differences(pair)}
    assert by_size["ground_way"] == 0 < by_size["coin_way"]
    shares = {(c.activation, c.direction, c.output): c.share for c in patch_layers(scope, pair)}
    for (activation, _, output), share in shares.items():
        expected = activation == "coin_way" or activation.removesuffix("s") == {
            "value": "value",
            "action": "logit",
        }.get(output)
        assert share is not None
        np.testing.assert_allclose([share.estimate, share.low, share.high], expected, atol=1e-6)
    units = [each for each in patch_units(scope, pair) if each.activation == "coin_way"]
    of_value = {each.units: each.share.estimate for each in units if each.output == "value"}
    assert of_value[1] == pytest.approx(1 / 3)
    assert of_value[2] == pytest.approx(1)  # those that do nothing come last


def test_half_of_the_way_is_a_share_of_half() -> None:
    whole = np.random.default_rng(0).normal(size=(40, 3))
    sampled = Resampling(np.arange(40), 200)
    half = share_carried(whole / 2, whole, sampled)
    assert (half.estimate, half.low, half.high) == pytest.approx((0.5, 0.5, 0.5))
    noisy = share_carried(whole + np.random.default_rng(1).normal(size=(40, 3)), whole, sampled)
    assert noisy.low < noisy.estimate < noisy.high
    assert share_carried(whole, 0 * whole, sampled) is None


def test_moments_have_the_object_in_view() -> None:
    scope, found = collect(READER, Protocol(SUITE, 6), 1, begin=2)
    assert 0 < found.number <= 4
    assert len(set(found.levels.tolist())) == found.number
    pair = look_twice(scope, found)
    assert (pair.real.activations["green"] - pair.twin.activations["green"] == 1).all()
    assert (pair.real.observations != pair.twin.observations).sum() == found.number


def test_a_push_moves_the_agent_and_none_changes_nothing() -> None:
    vectors = difference_vector(READER, Protocol(SUITE, 3), 1, ("push",))
    np.testing.assert_allclose(vectors["push"], 0.1, rtol=1e-5)
    other = random_like(vectors["push"], 0)
    assert np.linalg.norm(other) == pytest.approx(np.linalg.norm(vectors["push"]))
    seen = np.random.default_rng(0).random((2, 7, 7, 6), np.float32)
    plain = READER.apply(seen)[0]
    pushed = steer(READER, "push", np.array([5, 0, 0, 0]))
    np.testing.assert_allclose(pushed.apply(seen)[0] - plain, [[5, 0, 0, 0]] * 2, rtol=1e-5)
    none = steer(READER, "push", np.zeros(4))
    np.testing.assert_array_equal(none.apply(seen)[0], plain)

    away = np.array([50, -50, 0, -50], np.float32)
    played = list(measure(READER, Protocol(SUITE, 6), "push", away, (0.0, 1.0)))
    assert [(each.vector, each.strength) for each in played] == [
        ("none", 0),
        (DIFFERENCE, 1),
        ("random 1", 1),
    ]
    assert played[0].against_none is None
    assert played[1].against_none is not None
    assert played[1].competence.estimate <= played[0].competence.estimate


def test_the_objects_own_effect_taken_away_is_the_agent_without_it() -> None:
    """Amplified by -1, the episodes with the object are those of the control."""
    scope, found = moments("maze")
    traced = jax.vmap(scope.testbed.without_studied)(found.states)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(traced), found.without)
    played = list(amplify(READER, Protocol(SUITE, 6), "green", (-1.0, 0.0, 50.0)))
    names = [(each.vector, each.strength) for each in played]
    assert names == [(OWN, -1), (OWN_RANDOM, -1), ("none", 0), (OWN, 50), (OWN_RANDOM, 50)]
    away = played[0].row
    assert away.attraction.estimate == 0
    assert away.main.accidental.estimate == away.first["green"].estimate
    assert played[2].against_none is None


@pytest.fixture(scope="module", name="runs")
def _runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name in ("symbols", "maze"):
        save_untrained(folder / name, CONFIGS[name])
    return folder


@pytest.mark.thorough
def test_all_of_it_works_on_pixels(tmp_path: Path) -> None:
    scope, found = moments("pixels")
    network = make_network(NetworkConfig("mlp", 8), (64, 64, 3), 15)
    weights = jax.jit(network.init)(jax.random.key(3), jnp.zeros((1, 64, 64, 3)))
    scope = dataclasses.replace(scope, network=network, weights=weights)
    state, cells = first(found), scope.testbed.observed_cells(CONFIGS["pixels"])
    seen = find(scope, state, cells, 5, 0, "random_section")
    assert [field.object for field in seen.fields] == ["coin", AGENT]
    assert all(np.ptp(field.values) > 0 for field in seen.fields)
    assert seen.without is not None
    assert seen.without.moved > 0
    assert [layer.value for layer in seen.layers][:3] == pytest.approx([1, 1, 1])
    assert (seen.attribution.occlusion != 0).any(1).all()
    scene = scope.testbed.scene([state], scope.params)
    corner = cells.corner(state)
    drawn = (seen.attribution, seen.hidden, cells, corner, scene, "→")
    for theme in ("light", "dark"):
        figures.save(pictures.draw_fields(seen, scene, theme), tmp_path / f"f{theme}.png", "png")
        figures.save(pictures.draw_attribution(*drawn, theme), tmp_path / f"a{theme}.png", "png")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 4


@pytest.mark.parametrize("name", ["maze", pytest.param("symbols", marks=pytest.mark.thorough)])
def test_the_command_writes_what_it_finds(runs: Path, tmp_path: Path, name: str) -> None:
    words = ["--run", str(runs / name), "--level", "7", "--step", "3", "--out", str(tmp_path)]
    assert command.main([*words, "--export"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == set(command.WRITTEN)
    for picture in command.PICTURES:
        with Image.open(tmp_path / picture) as image:
            assert len(image.convert("L").getcolors()) > 20
    moment = json.loads((tmp_path / "moment.json").read_text())
    assert (moment["level"], moment["step"]) == (7, 3)
    assert sum(moment["probabilities"]) == pytest.approx(1, abs=1e-4)
    fields = read_rows(tmp_path / "fields.csv", "fields", ("object", "x", "y", "value", "p_0"))
    testbed = find_testbed(CONFIGS[name].id)
    assert {row["object"] for row in fields} == {testbed.studied, AGENT}
    layers = read_rows(tmp_path / "layers.csv", "layers")
    assert [row["activation"] for row in layers] == [
        "hidden_1",
        "hidden_2",
        "features",
        "logits",
        "value",
    ]
    shapes = {
        "titles": Array("U", ("N",)),
        "cells": Array("int32", ("N", 2)),
        "values": Array("float32", ("N",)),
        "logits": Array("float32", ("N", "A")),
        "activation_hidden_1": Array("float32", ("N", 16)),
        "observations": Array("biuf", ("N", ...)),
    }
    twins = read_arrays(tmp_path / "twins.npz", "twins", shapes)
    assert twins["values"][0] == pytest.approx(moment["value"], abs=1e-4)
    assert command.main(words) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--level", "-1"], "'-1' is not an integer within 0 ... 2147483647"),
        (["--level", "3", "--condition", "moon"], "--condition 'moon' is not one of end"),
        (["--level", "3", "--run", "none"], "there is no such folder"),
        (["--level", "3", "--step", "many"], "'many' is not an integer"),
        ([], "--level"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(
    runs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    known = ["--run", str(runs / "symbols"), "--out", str(tmp_path / "out")]
    assert message in refusal(command.main, [*known, *words], capsys)
    assert not (tmp_path / "out").exists()


def test_testbeds_without_changes_and_steps_beyond_the_end_are_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_untrained(tmp_path / "run", CorridorConfig())
    out = ["--level", "3", "--out", str(tmp_path / "out")]
    complaint = refusal(command.main, ["--run", str(tmp_path / "run"), *out], capsys)
    assert "Corridor-v0 has nothing for the microscope to change" in complaint
    late = ["--run", str(runs / "maze"), "--step", "999999", *out]
    assert "--step 999999 is not within 0 ... " in refusal(command.main, late, capsys)
    assert not (tmp_path / "out").exists()
