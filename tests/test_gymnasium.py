"""The Gymnasium environments: Gymnasium's checkers, its conventions, and the JAX game in them."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.vector import (
    DictInfoToList,
    NormalizeObservation,
    RecordEpisodeStatistics,
)

import coinrun_jax
from coinrun_jax.adapters import torch_example
from coinrun_jax.adapters.gymnasium_env import CoinRunEnv
from coinrun_jax.adapters.gymnasium_vector import CoinRunVectorEnv

LEVELS = {"num_levels": 16, "start_level": 100}
NUM_ENVS = 6
RIGHT_UP = int(coinrun_jax.Action.RIGHT_UP)
OWN = [AutoresetMode.NEXT_STEP, pytest.param(AutoresetMode.SAME_STEP, marks=pytest.mark.thorough)]


def hasty(number: int, envs: VectorEnv) -> np.ndarray:
    """Actions that end episodes soon, by every cause."""
    actions = np.full(envs.num_envs, RIGHT_UP)
    actions[number % 5 == np.arange(envs.num_envs) % 5] = coinrun_jax.Action.RIGHT
    return actions


def assert_same(a: Any, b: Any, where: str) -> None:
    assert data_equivalence(a, b, exact=True), f"{where}: {a} != {b}"


@pytest.mark.parametrize(
    "kwargs",
    [LEVELS, pytest.param({"observation": "rgb", "pool_size": 16}, marks=pytest.mark.thorough)],
)
def test_single_passes_the_checker(kwargs: dict[str, Any]) -> None:
    env = gymnasium.make("coinrun_jax:CoinRun-v1", render_size=64, **kwargs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


def test_module_style_ids_in_a_fresh_process() -> None:
    code = """
import gymnasium, sys
assert "CoinRun-v1" not in gymnasium.registry
import coinrun_jax
assert gymnasium.spec("CoinRun-v1").vector_entry_point
assert not {"pygame", "torch", "coinrun_jax.adapters.gymnasium_env"} & sys.modules.keys()
assert gymnasium.envs.registration._find_spec("coinrun_jax:CoinRun-v1")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("mode", OWN)
def test_vector_is_gymnasiums_own_of_singles(mode: AutoresetMode) -> None:
    """Observations, rewards, ends, infos, final_obs, final_info, masks, dtypes: all equal."""
    ours = gymnasium.make_vec("CoinRun-v1", NUM_ENVS, autoreset_mode=mode, **LEVELS)
    theirs = SyncVectorEnv([lambda: CoinRunEnv(**LEVELS)] * NUM_ENVS, autoreset_mode=mode)
    assert isinstance(ours, CoinRunVectorEnv)
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"] == mode
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert_same(ours.reset(seed=3), theirs.reset(seed=3), "reset")
    episodes = 0
    for number in range(120):
        actions = hasty(number, ours)
        results = ours.step(actions), theirs.step(actions)
        assert_same(*results, f"step {number}")
        assert results[0][0] in ours.observation_space
        episodes += int((results[0][2] | results[0][3]).sum())
    assert episodes > NUM_ENVS
    assert_same(ours.reset(), theirs.reset(), "reset without seed")
    again = [9, None, 4, None, 2, 1]
    assert_same(ours.reset(seed=again), theirs.reset(seed=again), "reset of some seeds")


def test_reset_of_some_is_gymnasiums_own() -> None:
    mode = AutoresetMode.DISABLED
    ours = CoinRunVectorEnv(NUM_ENVS, autoreset_mode=mode, **LEVELS)
    theirs = SyncVectorEnv([lambda: CoinRunEnv(**LEVELS)] * NUM_ENVS, autoreset_mode=mode)
    ours.reset(seed=3)
    theirs.reset(seed=3)
    ended = np.zeros(NUM_ENVS, bool)
    number = 0
    while not ended.any():
        actions = hasty(number, ours)
        result = ours.step(actions)
        assert_same(result, theirs.step(actions), f"step {number}")
        ended = result[2] | result[3]
        number += 1
    with pytest.raises(ResetNeeded):
        ours.step(actions)
    observation, infos = ours.reset(options={"reset_mask": ended})
    expected, expected_infos = theirs.reset(options={"reset_mask": ended})
    assert_same(observation, expected, "masked reset")
    assert_same(infos, expected_infos, "infos of a masked reset")


@pytest.mark.thorough
def test_vector_is_the_jax_environment() -> None:
    """The same keys: what `CoinRun.step` gives, final observations too."""
    envs = CoinRunVectorEnv(NUM_ENVS, placement="random_section", **LEVELS)
    params = envs._params
    env = envs._env
    keys = jax.vmap(jax.random.key)(jnp.arange(5, 5 + NUM_ENVS, dtype=jnp.uint32))
    number = jnp.zeros(NUM_ENVS, jnp.uint32)
    reset = jax.jit(jax.vmap(env.reset_env, in_axes=(0, None)))
    observation, state = reset(jax.vmap(jax.random.fold_in)(keys, number), params)
    step = jax.jit(jax.vmap(env.step, in_axes=(0, 0, 0, None)))
    # `CoinRun.reset_env` and `CoinRun.step` draw the next episode with the same key.
    given, infos = envs.reset(seed=5)
    np.testing.assert_array_equal(given, observation)
    ends = 0
    for time in range(80):
        actions = hasty(time, envs)
        given, reward, terminated, truncated, infos = envs.step(actions)
        next_keys = jax.vmap(jax.random.fold_in)(keys, number + 1)
        observation, state, *expected, info = step(next_keys, state, actions, params)
        done = np.asarray(expected[1] | expected[2])
        number += done
        np.testing.assert_array_equal(given, observation)
        np.testing.assert_array_equal([reward, terminated, truncated], expected)
        np.testing.assert_array_equal("final_obs" in infos, done.any())
        for i in np.flatnonzero(done):
            ends += 1
            np.testing.assert_array_equal(infos["final_obs"][i], info["final_observation"][i])
            for name in set(infos["final_info"]) & set(info):
                assert infos["final_info"][name][i] == info[name][i], name
    assert ends > NUM_ENVS


def test_pixels_are_the_games() -> None:
    env = CoinRunEnv(observation="rgb", pool_size=16, render_mode="rgb_array", render_size=64)
    observation, _ = env.reset(seed=0)
    assert observation.dtype == np.uint8
    assert observation.flags.writeable
    np.testing.assert_array_equal(observation, env.render())
    observation, *_ = env.step(RIGHT_UP)
    np.testing.assert_array_equal(observation, env.render())


def test_seeds_of_unlimited_levels() -> None:
    """The pool is renewed while playing, and the whole is determined by seeds and actions."""

    def play(envs: VectorEnv, seed: int) -> tuple[list[int], list[float]]:
        observation, infos = envs.reset(seed=seed)
        seeds, sums = list(infos["level_seed"]), [float(observation.sum())]
        for number in range(300):
            observation, _, terminated, truncated, infos = envs.step(hasty(number, envs))
            seeds += list(infos["level_seed"][terminated | truncated])
            sums.append(float(observation.sum()))
        return seeds, sums

    envs = CoinRunVectorEnv(NUM_ENVS, pool_size=16)
    first = play(envs, 1)
    assert len(set(first[0])) > 16, "more levels than fit into the pool"
    assert play(envs, 1) == first
    assert play(CoinRunVectorEnv(NUM_ENVS, pool_size=16), 1) == first
    assert not set(play(envs, 2)[0]) & set(first[0])


def test_levels_are_renewed_after_as_many_episodes_as_there_are() -> None:
    envs = CoinRunVectorEnv(NUM_ENVS, pool_size=16, autoreset_mode=AutoresetMode.DISABLED)
    envs.reset(seed=0)

    def held() -> list[int]:
        return envs._params.pool.levels.seed.tolist()

    first, episodes, number = held(), 0, 0
    while held() == first:
        *_, terminated, truncated, _ = envs.step(hasty(number, envs))
        assert (held() == first) == (episodes < 16), f"{episodes} episodes have ended"
        if (done := terminated | truncated).any():
            envs.reset(options={"reset_mask": done})
            episodes += done.sum()
        number += 1


def test_levels_and_placement_are_those_asked_for() -> None:
    envs = CoinRunVectorEnv(NUM_ENVS, placement="random_section", **LEVELS)
    infos = [envs.reset(seed=None if number else 0)[1] for number in range(20)]
    assert {int(seed) for info in infos for seed in info["level_seed"]} == set(range(100, 116))
    assert np.mean([info["coin_moved"] for info in infos]) > 0.9
    envs.set_placement("end")
    again = [envs.reset(seed=None if number else 0)[1] for number in range(20)]
    assert not np.any([info["coin_moved"] for info in again])
    for info, other in zip(infos, again, strict=True):
        np.testing.assert_array_equal(info["level_seed"], other["level_seed"])


def test_vector_wrappers() -> None:
    counted = RecordEpisodeStatistics(
        gymnasium.make_vec("CoinRun-v1", NUM_ENVS, autoreset_mode="NextStep", **LEVELS)
    )
    envs = NormalizeObservation(counted)
    envs.reset(seed=0)
    lengths, counted_lengths = [], []
    for number in range(120):
        _, _, terminated, truncated, infos = envs.step(hasty(number, envs))
        done = terminated | truncated
        lengths += list(infos["episode_length"][done])
        if done.any():
            counted_lengths += list(infos["episode"]["l"][done])
    assert len(lengths) > NUM_ENVS
    assert lengths == counted_lengths

    listed = DictInfoToList(CoinRunVectorEnv(NUM_ENVS, **LEVELS))
    listed.reset(seed=0)
    finals = []
    for number in range(60):
        *_, infos = listed.step(hasty(number, listed))
        finals += [info["final_info"] for info in infos if "final_info" in info]
    assert [f["episode_length"] for f in finals] == lengths[: len(finals)]


def test_human_window_is_gymnasiums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame = pytest.importorskip("pygame")
    env = gymnasium.make(
        "CoinRun-v1", observation="rgb", pool_size=16, render_mode="human", render_size=64
    )
    env.reset(seed=0)
    env.step(RIGHT_UP)
    assert pygame.display.get_surface().get_size() == (64, 64)
    env.close()


@pytest.mark.parametrize(
    ("kwargs", "fault"),
    [
        ({"num_envs": 0}, "num_envs 0"),
        ({"mode": "memory"}, "mode 'memory'"),
        ({"placement": "moon"}, "placement 'moon'"),
        ({"placement_probability": 2.0}, "placement probability 2.0"),
        ({"pool_size": 5, "num_envs": 4}, "pool_size 5"),
        ({"autoreset_mode": "never"}, "never"),
        ({"render_mode": "ascii"}, "render_mode 'ascii'"),
        ({"render_size": 5}, "render_size 5"),
    ],
)
def test_impossible_arguments(kwargs: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        CoinRunVectorEnv(**kwargs)


def test_impossible_calls() -> None:
    envs = CoinRunVectorEnv(NUM_ENVS, **LEVELS)
    with pytest.raises(ResetNeeded):
        envs.step(np.zeros(NUM_ENVS, int))
    for seed in ([1, 2], -1):
        with pytest.raises(ValueError, match="seeds"):
            envs.reset(seed=seed)
    envs.reset(seed=0)
    for actions in (np.zeros(3, int), np.zeros(NUM_ENVS), np.full(NUM_ENVS, 15)):
        with pytest.raises(ValueError, match="actions"):
            envs.step(actions)


def test_example_collects_with_time_outs_bootstrapped() -> None:
    """The loop of the PyTorch example, with a policy that needs no PyTorch."""
    envs = CoinRunVectorEnv(NUM_ENVS, **LEVELS)
    envs._params = envs._params.replace(max_steps_in_episode=np.int32(40))
    observation, _ = envs.reset(seed=0)
    number = 0

    def act(observation: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        nonlocal number
        number += 1
        ones = np.ones(len(observation), np.float32)
        return hasty(number, envs), 0 * ones, ones

    rollout = torch_example.collect(envs, observation, act, 60)
    shapes = {name: array.shape[:2] for name, array in rollout.data.items()}
    assert set(shapes.values()) == {(60, NUM_ENVS)}
    assert rollout.data["observation"].shape[2:] == envs.single_observation_space.shape
    assert coinrun_jax.Cause.TIMEOUT in rollout.outcomes
    # Of an end, the advantage is the reward less the expected 1; a time-out goes on at 1.
    last_steps = np.zeros((60, NUM_ENVS), bool)
    advantage = rollout.data["advantage"]
    for gain in (-1.0, 9.0, torch_example.GAMMA - 1):
        last_steps |= np.isclose(advantage, gain, rtol=0, atol=1e-6)
    assert last_steps.sum() >= len(rollout.outcomes)


def test_example_trains(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    torch_example.main(["--updates", "2", "--num-envs", str(NUM_ENVS)])
    assert len(capsys.readouterr().out.splitlines()) == 2
