"""The Gymnasium environments: Gymnasium's checkers, its conventions, and the JAX game in them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.utils.passive_env_checker import env_render_passive_checker
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

import coinrun_jax
from coinrun_jax.adapters import episodes, torch_example
from coinrun_jax.adapters.gymnasium_env import CoinRunEnv
from coinrun_jax.adapters.gymnasium_vector import CoinRunVectorEnv

LEVELS = {"num_levels": 16, "start_level": 100}
NUM_ENVS = 6
SEED = 3
RIGHT_UP = int(coinrun_jax.Action.RIGHT_UP)
SAME_STEP, NEXT_STEP = AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP
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
    """Its pictures are another test's, where they do not cost a program more."""
    env = gymnasium.make("coinrun_jax:CoinRun-v1", render_size=64, **kwargs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped, skip_render_check="observation" not in kwargs)


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


def run(script: str, folder: Path) -> str:
    """What a script prints. Its children go with it: one that hangs would keep pytest waiting."""
    path = folder / "script.py"
    path.write_text(script)
    process = subprocess.Popen(
        [sys.executable, path],
        env={**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=300)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0
    return output


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_workers_that_start_clean_play_and_others_refuse(tmp_path: Path) -> None:
    """A fork of a process without JAX, and what it spawns; but not forks of it, which has JAX."""
    script = """
import gc, multiprocessing, os, sys, gymnasium
from gymnasium.utils.env_checker import data_equivalence

def make(mode, **kwargs):
    import coinrun_jax
    return gymnasium.make_vec("CoinRun-v1", 1, mode, kwargs, num_levels=16)

def play(envs):
    results = [envs.reset(seed=3)] + [envs.step([8]) for _ in range(60)]
    envs.close()
    return results

def forked():
    expected = play(make("sync"))
    assert data_equivalence(play(make("async", context="spawn")), expected, exact=True)
    print("equal", flush=True)  # else the forks below print it again

    try:
        make("async", context="fork")
    except RuntimeError as error:
        print(error, flush=True)
    gc.collect()
    assert not multiprocessing.active_children()

    env = gymnasium.make("CoinRun-v1", num_levels=16)
    later = lambda: gymnasium.make("CoinRun-v1", num_levels=16).reset()
    for use in (env.reset, later, lambda: gymnasium.make_vec("CoinRun-v1", 2, num_levels=16)):
        if not (pid := os.fork()):
            try:
                use()
            except RuntimeError as error:
                print(error, flush=True)
            os._exit(0)
        os.waitpid(pid, 0)

if __name__ == "__main__":
    assert "jax" not in sys.modules
    process = multiprocessing.get_context("fork").Process(target=forked)
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""
    first, *lines = run(script, tmp_path).splitlines()
    assert first == "equal"
    assert len(lines) == 4
    for line in lines:
        assert 'vector_kwargs={"context": "spawn"}' in line
        assert 'make_vec("CoinRun-v1", num_envs=N)' in line


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


@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP])
def test_time_limit_is_that_of_singles(mode: AutoresetMode) -> None:
    compiled = episodes.advance._cache_size()
    kwargs = {"max_episode_steps": 50, **LEVELS}
    ours = gymnasium.make_vec("CoinRun-v1", NUM_ENVS, autoreset_mode=mode, **kwargs)
    assert isinstance(ours, CoinRunVectorEnv)
    theirs = SyncVectorEnv([partial(CoinRunEnv, **kwargs)] * NUM_ENVS, autoreset_mode=mode)
    made = gymnasium.make_vec(  # with Gymnasium's TimeLimit, which the last test is about
        "CoinRun-v1", NUM_ENVS, "sync", {"autoreset_mode": mode}, **kwargs
    )
    assert_same(ours.reset(seed=SEED), theirs.reset(seed=SEED), "reset")
    made.reset(seed=SEED)
    ended = cut_short = 0
    for number in range(110):
        actions = hasty(number, ours)
        result = ours.step(actions)
        assert_same(result, theirs.step(actions), f"step {number}")
        observation, reward, terminated, truncated, infos = result
        other, *others, other_truncated, _ = made.step(actions)
        np.testing.assert_array_equal(observation, other)
        np.testing.assert_array_equal([reward, terminated], others)
        np.testing.assert_array_equal(truncated, other_truncated & ~terminated)
        own = infos if mode == NEXT_STEP else infos.get("final_info", infos)
        assert (own["episode_length"][truncated] == 50).all()
        assert (own["outcome"][truncated] == coinrun_jax.Cause.TIMEOUT).all()
        ended, cut_short = ended + terminated.sum(), cut_short + truncated.sum()
    assert ended
    assert cut_short
    again = CoinRunVectorEnv(NUM_ENVS, max_episode_steps=7, autoreset_mode=mode, **LEVELS)
    again.reset(seed=SEED)
    again.step(hasty(0, again))
    assert episodes.advance._cache_size() - compiled <= 2, "once for the batch, once for singles"


def first_ends() -> dict[int, tuple[int, int]]:
    """Of sub-environments, the number of steps of the first episode, and its cause of end."""
    envs = CoinRunVectorEnv(NUM_ENVS, **LEVELS)
    envs.reset(seed=SEED)
    found: dict[int, tuple[int, int]] = {}
    for number in range(150):
        *_, infos = envs.step(hasty(number, envs))
        for i in np.flatnonzero(infos.get("_final_info", [])):
            final = infos["final_info"]
            found.setdefault(int(i), (number + 1, int(final["outcome"][i])))
    return found


@pytest.mark.parametrize("with_coin", [True, False], ids=["coin", "death"])
def test_an_end_in_the_step_of_the_time_limit_is_no_time_out(with_coin: bool) -> None:
    index, limit = next(
        (i, steps)
        for i, (steps, cause) in first_ends().items()
        if (cause == coinrun_jax.Cause.COIN) == with_coin
    )
    kwargs = {"max_episode_steps": limit, **LEVELS}
    for mode in AutoresetMode:
        envs = CoinRunVectorEnv(NUM_ENVS, autoreset_mode=mode, **kwargs)
        envs.reset(seed=SEED)
        ended = np.zeros(NUM_ENVS, bool)
        for number in range(limit):
            if mode == AutoresetMode.DISABLED and ended.any():
                envs.reset(options={"reset_mask": ended})
            _, reward, terminated, truncated, _ = envs.step(hasty(number, envs))
            ended = terminated | truncated
            assert not (terminated & truncated).any()
        assert terminated[index]
        assert reward[index] == 10.0 * with_coin
        assert truncated.any(), "another one is cut short in the same step"

    actions = [int(hasty(number, envs)[index]) for number in range(limit)]
    single, made = CoinRunEnv(**kwargs), gymnasium.make("CoinRun-v1", **kwargs)
    for env in (single, made):
        env.reset(seed=SEED + index)
        *_, last = (env.step(action) for action in actions)
        # TimeLimit does not look whether an episode has ended: see docs/gymnasium.md.
        assert last[2:4] == (True, env is made)


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


@pytest.mark.thorough
def test_pixels_are_the_games() -> None:
    env = gymnasium.make(
        "CoinRun-v1", observation="rgb", render_mode="rgb_array", render_size=64, **LEVELS
    ).unwrapped
    observation, _ = env.reset(seed=0)
    assert observation.dtype == np.uint8
    assert observation.flags.writeable
    np.testing.assert_array_equal(observation, env.render())
    observation, *_ = env.step(RIGHT_UP)
    np.testing.assert_array_equal(observation, env.render())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env_render_passive_checker(env)


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


def test_human_window_is_gymnasiums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame = pytest.importorskip("pygame")
    env = gymnasium.make("CoinRun-v1", render_mode="human", render_size=64, **LEVELS)
    env.reset(seed=0)
    env.step(RIGHT_UP)
    assert pygame.display.get_surface().get_size() == (64, 64)
    env.close()


@pytest.mark.parametrize(
    ("kwargs", "fault"),
    [
        ({"num_envs": 0}, "num_envs 0 is not within 1 ... 1048576"),
        ({"num_envs": 2**20 + 1}, "num_envs 1048577"),
        ({"num_envs": 2.0}, "num_envs 2.0"),
        ({"num_envs": True}, "num_envs True"),
        ({"mode": "memory"}, "mode 'memory'"),
        ({"placement": "moon"}, "placement 'moon'"),
        ({"placement_probability": 2.0}, "placement probability 2.0"),
        ({"pool_size": 5, "num_envs": 4}, "pool_size 5"),
        ({"autoreset_mode": "never"}, "never"),
        ({"render_mode": "ascii"}, "render_mode 'ascii'"),
        ({"pool_size": 64.0}, "pool_size 64.0"),
        ({"pool_size": True}, "pool_size True"),
        ({"pool_size": 2**40}, "pool_size 1099511627776 is not within 1 ... 2097152"),
        ({"num_levels": 16.0}, "num_levels 16.0"),
        ({"start_level": [0]}, r"start_level \[0\]"),
        ({"observation": ["rgb"]}, "observation .*symbolic, symbolic_uint8, rgb"),
        ({"render_size": 5}, "render_size 5"),
        ({"render_size": 4097}, "render_size 4097 is not within 13 ... 4096"),
        ({"render_size": float("nan")}, "render_size nan"),
        ({"coin_present": "no"}, "coin_present 'no'"),
        ({"max_episode_steps": 0}, "max_episode_steps 0 is not within 1"),
        ({"max_episode_steps": -1}, "max_episode_steps -1"),
        ({"max_episode_steps": 12.0}, "max_episode_steps 12.0"),
        ({"max_episode_steps": True}, "max_episode_steps True"),
        ({"max_episode_steps": 2**31}, "max_episode_steps 2147483648"),
    ],
)
def test_impossible_arguments(kwargs: dict[str, Any], fault: str) -> None:
    levels = {} if "pool_size" in kwargs else LEVELS
    with pytest.raises(ValueError, match=fault) as error:
        CoinRunVectorEnv(**{**levels, **kwargs})
    assert "\n" not in str(error.value)


def test_impossible_calls() -> None:
    envs = CoinRunVectorEnv(NUM_ENVS, **LEVELS)
    with pytest.raises(ResetNeeded):
        envs.step(np.zeros(NUM_ENVS, int))
    last = 2**32 - NUM_ENVS  # whose sub-environments have seeds up to 2^32 - 1
    for seed in ([1, 2], -1, 1.0, True, float("nan"), "1", last + 1, [0.5] * NUM_ENVS):
        with pytest.raises(ValueError, match="seed"):
            envs.reset(seed=seed)
    single = CoinRunEnv(**LEVELS)
    for seed in ([1], -1, 1.0, True, 2**32):
        with pytest.raises(ValueError, match="seed"):
            single.reset(seed=seed)
    assert_same(single.reset(seed=np.int64(5)), single.reset(seed=5), "a seed of NumPy's")
    envs.reset(seed=last)
    envs.reset(seed=0)
    for actions in (np.zeros(3, int), np.zeros(NUM_ENVS), np.full(NUM_ENVS, 15)):
        with pytest.raises(ValueError, match="actions"):
            envs.step(actions)


def test_example_collects_with_time_outs_bootstrapped() -> None:
    """The loop of the PyTorch example, with a policy that needs no PyTorch."""
    envs = CoinRunVectorEnv(NUM_ENVS, max_episode_steps=40, **LEVELS)
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
