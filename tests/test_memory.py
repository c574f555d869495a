"""Networks with a memory: what is seen once is known later, and an episode's end erases it."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from coinrun_jax.checks import InputError
from coinrun_jax.coinrun.env_config import CoinRunConfig
from coinrun_jax.controllers import AgentController, Remembered
from coinrun_jax.registry import find_testbed
from eval.evaluate import Protocol, make_arena
from eval.results import AGENT
from tests.runs import assert_same_policy, finish, launch, read_metrics
from tests.tiny_testbed import CorridorConfig
from train import run
from train.config import NetworkConfig, PPOConfig, TrainConfig, config_from_dict, save_config
from train.environment import network_of, observation_space, require_usable
from train.networks import Output, make_network, nothing_remembered
from train.policy import load_policy, save_policy

CHAIN = TrainConfig(
    env=config_from_dict({"env": {"id": "MemoryChain-bsuite"}}).env,
    network=NetworkConfig("gru", width=16),
    ppo=PPOConfig(
        num_envs=64, num_steps=24, num_minibatches=4, num_epochs=4, learning_rate=5e-3, gamma=0.9
    ),
    total_steps=64 * 24 * 12,
    checkpoint_every=100,
    keep_at="3072",
)
"""What is shown in the first step decides which action is right in the last one."""


def last_returns(folder) -> float:
    return float(np.mean([float(row["return"]) for row in read_metrics(folder)[-3:]]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory") / "gru"
    run.start(CHAIN, folder)
    return folder


def test_a_task_that_needs_a_memory_is_learned_with_one_only(trained, tmp_path):
    assert last_returns(trained) > 0.9
    assert load_policy(trained).config == CHAIN
    forgetful = dataclasses.replace(CHAIN, network=NetworkConfig("mlp", width=16))
    run.start(forgetful, tmp_path / "mlp")
    assert last_returns(tmp_path / "mlp") < 0.5


@pytest.mark.slow
def test_a_memory_learns_on_two_devices_as_on_one(trained, tmp_path):
    save_config(dataclasses.replace(CHAIN, total_steps=3072), tmp_path / "config.yaml")
    flags = "--xla_force_host_platform_device_count=2"
    words = ("--config", str(tmp_path / "config.yaml"), "--run-dir", str(tmp_path / "two"))
    assert "compiling for 2 x" in finish(launch(*words, XLA_FLAGS=flags))
    assert_same_policy(trained / "kept" / "3072", tmp_path / "two", atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.uint8])
def test_steps_one_by_one_are_the_steps_at_once(dtype):
    shape = (16, 16, 3) if dtype == jnp.uint8 else (5,)
    network = make_network(NetworkConfig("gru", width=16), shape, 4)
    seen = jax.random.randint(jax.random.key(0), (6, 3, *shape), 0, 9).astype(dtype)
    fresh = jax.random.bernoulli(jax.random.key(1), 0.3, (6, 3))
    params = jax.jit(network.init)(jax.random.key(2), seen[0])
    memory = jnp.ones((3, 16))
    unroll, apply = jax.jit(network.apply.unroll), jax.jit(network.apply)
    at_once = unroll(params, Remembered(seen, memory[None], fresh))
    for step in range(6):
        output = apply(params, Remembered(seen[step], memory, fresh[step]))
        memory = output.memory
        for name in ("logits", "value", "features", "memory"):
            both = getattr(at_once, name).reshape(6, 3, *getattr(output, name).shape[1:])
            np.testing.assert_allclose(both[step], getattr(output, name), atol=1e-6)


def test_an_episode_begins_without_a_memory():
    network = make_network(NetworkConfig("gru", width=8), (5,), 4)
    seen = jnp.ones((2, 5))
    params, apply = jax.jit(network.init)(jax.random.key(0), seen), jax.jit(network.apply)
    first = apply(params, nothing_remembered(seen, 8))
    again = apply(params, Remembered(seen, first.memory, jnp.array([True, False])))
    np.testing.assert_array_equal(again.memory[0], first.memory[0])
    assert (again.memory[1] != first.memory[1]).any()


@struct.dataclass
class Counts:
    """A network that counts its steps and sees nothing: two to the left, then all to the right."""

    memory: int = struct.field(pytree_node=False, default=1)

    def __call__(self, params, given):
        count = given.memory[:, 0]
        logits = 1e9 * jnp.stack([count < 2, count >= 2], -1)
        return Output(logits, count, given.memory, given.memory + 1)

    def __hash__(self):
        return 1


def test_evaluation_carries_the_memory_and_begins_each_episode_without():
    testbed, config = find_testbed("Corridor-v0"), CorridorConfig()
    agent = AgentController({}, Counts())
    protocol = Protocol(testbed.suites()["relocation"], num_levels=12, traced=True)
    arena = make_arena(config, {AGENT: agent, **blind(testbed, config)}, protocol)
    few = dataclasses.replace(arena, lanes=2)  # which play one episode after another
    actions = np.asarray(few.play(AGENT).trace.actions)
    taken = [row[row >= 0] for row in actions.reshape(-1, actions.shape[-1])]
    assert all((own == (np.arange(own.size) >= 2)).all() for own in taken)
    assert max(map(len, taken)) > 3


def test_minibatches_of_whole_environments_must_be_equal():
    ppo = dataclasses.replace(CHAIN.ppo, num_envs=6)
    with pytest.raises(InputError, match=r"does not divide ppo\.num_envs 6"):
        require_usable(dataclasses.replace(CHAIN, ppo=ppo))


def blind(testbed, config):
    return {name: each.controller for name, each in testbed.references(config).items()}


def test_a_policy_that_reads_pixels_loads(tmp_path):
    config = TrainConfig(env=CoinRunConfig(observation="rgb"), network=NetworkConfig("gru", 16))
    network, space = network_of(config.network, config.env), observation_space(config.env)
    seen = jnp.zeros((1, *space.shape), space.dtype)
    shapes = jax.eval_shape(network.init, jax.random.key(0), seen)
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    assert any("Conv" in name for name in params["params"]["encoder"])
    save_policy(tmp_path, params, config, 0)
    assert load_policy(tmp_path).has_memory
