"""The networks: shapes, types, precision, and what the rollout keeps of pixels."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax.checks import InputError
from tests.runs import drawn_weights
from tests.test_ppo import Shown
from train.config import NetworkConfig, PPOConfig, load_config
from train.environment import make_environment, observation_space
from train.networks import MLP, Output, make_network, nothing_remembered, register_network
from train.ppo import Learner
from train.program import outline_learner

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
CONFIGS = Path(__file__).parent.parent / "configs"


def made(kind="impala", width=16, precision="float32", shape=(64, 64, 3)):
    network = make_network(NetworkConfig(kind, width, precision), shape, 15)
    return network, jax.jit(network.init)(jax.random.key(0), np.zeros((1, *shape), PIXELS.dtype))


def size_of_parameters(width):
    network = make_network(NetworkConfig("impala", width), (64, 64, 3), 15)
    params = jax.eval_shape(network.init, jax.random.key(0), PIXELS)
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_impala_is_the_papers():
    """3 blocks of 1 + 2 x 2 convolutions of 16, 32, 32 channels, 256 features, two heads."""
    channels = (3, 16, 32, 32)
    convolutions = sum(
        9 * before * after + after + 4 * (9 * after * after + after)
        for before, after in itertools.pairwise(channels)
    )
    dense = 8 * 8 * 32 * 256 + 256
    heads = 256 * 15 + 15 + 256 + 1
    assert size_of_parameters(16) == convolutions + dense + heads


def test_impala_starts_near_uniform_and_exposes_its_features():
    network, params = made(width=4)
    output = jax.jit(network.apply)(params, PIXELS)
    assert output.logits.shape == (3, 15)
    assert output.value.shape == (3,)
    assert output.features.shape == (3, 256)
    np.testing.assert_allclose(jax.nn.softmax(output.logits), 1 / 15, atol=0.01)


@pytest.mark.parametrize("side", [64, 52])
def test_patches_are_convolutions_that_do_not_overlap(side):
    """By a restatement with lax, also where the patches do not fill the image."""
    network, params = made("patches", 64, shape=(side, side, 3))
    seen = PIXELS[:, :side, :side]
    output = jax.jit(network.apply)(params, seen)
    x, layers = seen / np.float32(255), params["params"]
    for name, size in (("Dense_0", 4), ("Dense_1", 2)):
        kernel = layers[name]["kernel"].reshape(size, size, x.shape[-1], -1)
        pad = [(0, -x.shape[axis] % size) for axis in (1, 2)]
        x = jax.lax.conv_general_dilated(
            x, kernel, (size, size), pad, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.nn.relu(x + layers[name]["bias"])
    x = x.reshape(3, -1)
    for name in ("Dense_2", "Dense_3"):
        x = jax.nn.relu(x @ layers[name]["kernel"] + layers[name]["bias"])
    np.testing.assert_allclose(output.features, x, rtol=1e-4, atol=1e-4)
    assert output.features.shape == (3, 64)


def test_grey_patches_see_brightness_only():
    network, params = made("grey_patches", 64)
    seen = np.full((2, 64, 64, 3), 100.0, np.float32)
    seen[1] += [30, 0, -30 * 0.299 / 0.114]  # of the same luma
    features = jax.jit(network.apply)(params, seen / 255).features
    np.testing.assert_allclose(features[0], features[1], atol=1e-4)
    coloured, params = made("patches", 64)
    features = jax.jit(coloured.apply)(params, seen / 255).features
    assert np.abs(features[0] - features[1]).max() > 0.01


@pytest.mark.parametrize("kind", ["impala", "mlp"])
def test_bfloat16_computes_what_float32_does_roughly(kind):
    shape = (64, 64, 3) if kind == "impala" else (1188,)
    seen = PIXELS if kind == "impala" else np.random.default_rng(0).random((3, 1188), np.float32)
    full, params = made(kind, 4, shape=shape)
    half, _ = made(kind, 4, "bfloat16", shape=shape)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    a, b = jax.jit(full.apply)(params, seen), jax.jit(half.apply)(params, seen)
    assert {leaf.dtype for leaf in jax.tree.leaves(b)} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(a.features, b.features, atol=0.02 * np.abs(a.features).max())
    assert np.abs(np.asarray(a.features) - np.asarray(b.features)).max() > 0


@pytest.mark.parametrize("kind", ["mlp", "gru"])
def test_bytes_are_read_as_0_to_1(kind):
    network = make_network(NetworkConfig(kind, 8), (12,), 4)
    seen = np.random.default_rng(0).integers(0, 256, (3, 12), np.uint8)
    params = drawn_weights(network, (12,), 0.3)
    given = [seen, np.float32(seen) / np.float32(255)]
    if kind == "gru":
        given = [nothing_remembered(each, 8) for each in given]
    outputs = [jax.jit(network.apply)(params, each) for each in given]
    np.testing.assert_allclose(outputs[0].logits, outputs[1].logits, rtol=1e-5)


def test_width_scales_the_channels():
    assert 1.8 < size_of_parameters(32) / size_of_parameters(16) < 4


def test_impala_needs_pixels():
    with pytest.raises(InputError, match="images"):
        make_network(NetworkConfig("impala"), (1188,), 15)


@pytest.fixture(scope="module")
def small_paper_rgb():
    config = load_config(CONFIGS / "paper_rgb.yaml")
    config = dataclasses.replace(
        config,
        env=dataclasses.replace(config.env, pool_size=4),
        network=dataclasses.replace(config.network, width=4),
        ppo=dataclasses.replace(
            config.ppo, num_envs=4, num_steps=4, num_minibatches=2, num_epochs=1
        ),
    )
    learner = outline_learner(config)
    state = jax.eval_shape(learner.init, jax.random.key(0), learner.env_params)
    return config, learner, jax.jit(learner.update).lower(state)


def require_bytes_of_pixels(lowered):
    """The rollout's buffer [T, N, 64, 64, 3] exists as bytes and not as floats."""
    assert "tensor<4x4x64x64x3xui8>" in lowered.as_text()
    assert "tensor<4x4x64x64x3xf32>" not in lowered.as_text()


class Pixels(Shown):
    """Whose observations are of the type and shape that CoinRun's have under paper_rgb."""

    def observe(self, key, state, action, params):
        return jnp.full((64, 64, 3), state.shown, jnp.uint8)


def test_the_rollout_keeps_bytes_of_pixels():
    space = observation_space(load_config(CONFIGS / "paper_rgb.yaml").env)
    assert (space.shape, space.dtype) == ((64, 64, 3), jnp.uint8)
    network = make_network(NetworkConfig("impala", 4), space.shape, Pixels.num_actions)
    ppo = PPOConfig(num_envs=4, num_steps=4, num_minibatches=2, num_epochs=1)
    learner = Learner(Pixels(), Pixels.Params(), network, ppo, 1)
    state = jax.eval_shape(learner.init, jax.random.key(0))
    assert state.observation.dtype == jnp.uint8
    require_bytes_of_pixels(jax.jit(learner.update).lower(state))


@pytest.mark.thorough
def test_paper_rgb_runs_small(small_paper_rgb):
    config, learner, lowered = small_paper_rgb
    require_bytes_of_pixels(lowered)
    params = make_environment(config.env)[1]
    _, metrics = lowered.compile()(jax.jit(learner.init)(jax.random.key(0), params))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(metrics))


def test_a_network_of_ones_own_is_found_by_its_kind():
    class Linear(nn.Module):
        num_actions: int
        width: int
        dtype: type = jnp.float32

        @nn.compact
        def __call__(self, observation):
            features = observation.reshape(observation.shape[0], -1)
            logits = nn.Dense(self.num_actions)(features)
            return Output(logits, nn.Dense(1)(features)[:, 0], features)

    register_network("linear", Linear)
    network, params = made("linear", shape=(5,))
    assert network.apply(params, jnp.ones((2, 5))).logits.shape == (2, 15)
    with pytest.raises(InputError, match="already registered"):
        register_network("linear", MLP)
    with pytest.raises(InputError, match=r"no_such.*mlp"):
        made("no_such", shape=(5,))
