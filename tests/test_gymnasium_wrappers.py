"""Which of Gymnasium's vector wrappers are right around ours, in which auto-reset mode."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import vector as wrappers
from gymnasium.wrappers.utils import RunningMeanStd

from coinrun_jax.adapters.gymnasium_vector import CoinRunVectorEnv
from tests.test_gymnasium import LEVELS, NEXT_STEP, NUM_ENVS, SAME_STEP, hasty

Steps = list[tuple[Any, ...]]


def play(envs: VectorEnv) -> Steps:
    """What a reset and 120 steps return, the reset as a step that pays nothing."""
    observation, infos = envs.reset(seed=0)
    nothing = np.zeros(envs.num_envs)
    steps: Steps = [(observation.copy(), nothing, nothing > 0, nothing > 0, infos)]
    for number in range(120):
        observation, reward, *ends, infos = envs.step(hasty(number, envs))
        steps.append((observation.copy(), reward.copy(), *ends, infos))
    return steps


@cache
def unwrapped(mode: AutoresetMode) -> Steps:
    steps = play(CoinRunVectorEnv(NUM_ENVS, autoreset_mode=mode, **LEVELS))
    assert (
        sum((terminated | truncated).sum() for _, _, terminated, truncated, _ in steps) > NUM_ENVS
    )
    return steps


def normalises_rewards(envs: VectorEnv, steps: Steps) -> bool:
    """Whether its running statistics are of every reward of the game, and of nothing else."""
    play(envs)
    next_step = envs.metadata["autoreset_mode"] == NEXT_STEP
    sums, ended, expected = np.zeros(NUM_ENVS), np.zeros(NUM_ENVS, bool), RunningMeanStd()
    for _, reward, terminated, truncated, _ in steps[1:]:
        following = sums * envs.gamma * ~terminated + reward  # as NormalizeReward has it
        sums = np.where(ended, sums, following)
        expected.update(sums[~ended])
        ended = (terminated | truncated) & next_step
    found = envs.return_rms
    return bool(
        np.allclose(
            [found.count, found.mean, found.var], [expected.count, expected.mean, expected.var]
        )
    )


def normalises_observations(envs: VectorEnv, steps: Steps) -> bool:
    play(envs)
    given = np.concatenate([observation for observation, *_ in steps])
    found = envs.obs_rms
    assert found.count == pytest.approx(len(given))
    return bool(
        np.allclose(found.mean, given.mean(0), atol=1e-4)
        and np.allclose(found.var, given.var(0), atol=1e-4)
    )


def counts_episodes(envs: VectorEnv, steps: Steps) -> bool:
    same_step, right = envs.metadata["autoreset_mode"] == SAME_STEP, True
    for _, _, terminated, truncated, infos in play(envs):
        if (done := terminated | truncated).any():
            own = infos["final_info"] if same_step else infos
            for counted, name in (("l", "episode_length"), ("r", "episode_return")):
                right &= np.array_equal(infos["episode"][counted][done], own[name][done])
    return right


def lists_infos(envs: VectorEnv, steps: Steps) -> bool:
    def listed(infos: dict[str, Any], index: int) -> dict[str, Any]:
        names = [name for name in infos if f"_{name}" in infos and infos[f"_{name}"][index]]
        return {
            name: listed(infos[name], index) if name == "final_info" else infos[name][index]
            for name in names
        }

    found = [infos for *_, infos in play(envs)]
    expected = [[listed(infos, i) for i in range(NUM_ENVS)] for *_, infos in steps]
    return data_equivalence(found, expected, exact=True)


def applies(func: Callable[[np.ndarray], np.ndarray], to: int) -> Callable[..., bool]:
    """Judges wrappers that apply a function to the observations (0) or the rewards (1)."""

    def judge(envs: VectorEnv, steps: Steps) -> bool:
        pairs = zip(play(envs)[to:], steps[to:], strict=True)  # a reset has no reward
        return all(np.array_equal(found[to], func(given[to])) for found, given in pairs)

    return judge


def half(array: np.ndarray) -> np.ndarray:
    return array / 2


def tall(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, 59, 23)


def clipped(array: np.ndarray) -> np.ndarray:
    return np.clip(array, 0, 1)


HALVED = gymnasium.spaces.Box(-0.5, 0.5, (1357,), np.float32)
FLAT = {"single_observation_space": HALVED}
WRAPPERS: list[tuple[str, dict[str, Any], Callable[..., bool], str]] = [
    # Its name, its arguments, who judges it, what it is in same-step mode.
    ("NormalizeReward", {}, normalises_rewards, "wrong"),
    ("RecordEpisodeStatistics", {}, counts_episodes, "wrong"),
    ("NormalizeObservation", {}, normalises_observations, "refused"),
    ("TransformObservation", {"func": half, **FLAT}, applies(half, 0), "refused"),
    ("FlattenObservation", {}, applies(np.asarray, 0), "refused"),
    ("ReshapeObservation", {"shape": (59, 23)}, applies(tall, 0), "refused"),
    ("DtypeObservation", {"dtype": np.float64}, applies(np.float64, 0), "refused"),
    ("RescaleObservation", {"min_obs": -0.5, "max_obs": 0.5}, applies(half, 0), "refused"),
    ("TransformReward", {"func": half}, applies(half, 1), "right"),
    ("ClipReward", {"min_reward": 0.0, "max_reward": 1.0}, applies(clipped, 1), "right"),
    ("DictInfoToList", {}, lists_infos, "right"),
]


@pytest.mark.parametrize("mode", [SAME_STEP, NEXT_STEP])
@pytest.mark.parametrize(("name", "kwargs", "judge", "in_same_step"), WRAPPERS)
def test_gymnasiums_vector_wrappers(
    name: str,
    kwargs: dict[str, Any],
    judge: Callable[..., bool],
    in_same_step: str,
    mode: AutoresetMode,
) -> None:
    """In next-step mode all are right; docs/gymnasium.md says which are not in same-step mode."""
    if name == "NormalizeReward" and gymnasium.__version__ < "1.3":
        pytest.skip("counts the steps that begin episodes, which only next-step mode has")
    envs = gymnasium.make_vec("CoinRun-v1", NUM_ENVS, autoreset_mode=mode, **LEVELS)
    try:
        wrapped = getattr(wrappers, name)(envs, **kwargs)
    except AssertionError:
        found = "refused"
    else:
        found = "right" if judge(wrapped, unwrapped(mode)) else "wrong"
    assert found == ("right" if mode == NEXT_STEP else in_same_step)
