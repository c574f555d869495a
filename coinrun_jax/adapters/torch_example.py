"""PPO in PyTorch on the vector environment: `python -m coinrun_jax.adapters.torch_example`.

An example to start from: one file, without JAX. PyTorch is not a dependency of this project:
see pytorch.org for its installation. For speed, and for this project's measurements, use its own
learner (`python -m train`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv

from coinrun_jax.checks import InputError
from coinrun_jax.cli import Parser, command, integer
from coinrun_jax.coinrun.types import NUM_SEEDS, Cause

NUM_LEVELS = 500
MOST_ENVS = 4096  # 3 GB of observations between updates
NUM_STEPS = 128  # per environment between updates
GAMMA, LAMBDA = 0.99, 0.95
CLIP, ENTROPY, VALUE = 0.2, 0.01, 0.5
EPOCHS, MINIBATCHES = 3, 8
LEARNING_RATE = 5e-4
HIDDEN = 256

Act = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Observations [N, ...] -> actions, their log-probabilities, values of the observations; [N]."""


@dataclass(frozen=True)
class Rollout:
    """The data of `NUM_STEPS` steps."""

    data: dict[str, np.ndarray]  # observation, action, log_prob, value, advantage; [T, N, ...]
    outcomes: list[int]  # codes of `Cause`, of the episodes that ended
    observation: np.ndarray  # [N, ...], to continue from


def collect(envs: VectorEnv, observation: np.ndarray, act: Act, num_steps: int) -> Rollout:
    """Collect a rollout and estimate the advantage of each action (GAE)."""
    rows: dict[str, list[np.ndarray]] = {}
    outcomes: list[int] = []
    for _ in range(num_steps):
        action, log_prob, value = act(observation)
        following, reward, terminated, truncated, infos = envs.step(action)
        if truncated.any():  # the episode could have continued: bootstrap
            last = np.stack(list(infos["final_obs"][truncated]))
            reward[truncated] += GAMMA * act(last)[2] * ~terminated[truncated]
        done = terminated | truncated
        if done.any():
            outcomes += infos["final_info"]["outcome"][done].tolist()
        step = {"observation": observation, "action": action, "log_prob": log_prob}
        for name, array in {**step, "value": value, "reward": reward, "done": done}.items():
            rows.setdefault(name, []).append(array)
        observation = following
    data = {name: np.stack(arrays) for name, arrays in rows.items()}
    reward, goes_on = data.pop("reward"), ~data.pop("done")
    next_value, next_advantage = act(observation)[2], np.zeros_like(reward[0])
    advantage = np.zeros_like(reward)
    for t in reversed(range(num_steps)):
        surprise = reward[t] + GAMMA * goes_on[t] * next_value - data["value"][t]
        next_advantage = surprise + GAMMA * LAMBDA * goes_on[t] * next_advantage
        advantage[t], next_value = next_advantage, data["value"][t]
    return Rollout({**data, "advantage": advantage.astype(np.float32)}, outcomes, observation)


def train(envs: VectorEnv, updates: int, seed: int) -> list[float]:
    """Train an agent, printing a line per update.

    Returns:
      For every update, the share of its episodes that ended with the coin; NaN for none.
    """
    import torch
    from torch import nn

    torch.manual_seed(seed)
    inputs = int(np.prod(envs.single_observation_space.shape or ()))
    actions = int(envs.single_action_space.n)  # type: ignore[attr-defined]
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(inputs, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, actions + 1)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)

    def apply(observation: Any) -> tuple[Any, Any]:
        output = network(observation.float())
        return torch.distributions.Categorical(logits=output[:, :-1]), output[:, -1]

    @torch.no_grad()
    def act(observation: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        policy, value = apply(torch.from_numpy(observation))
        action = policy.sample()
        return action.numpy(), policy.log_prob(action).numpy(), value.numpy()

    def loss(batch: dict[str, Any]) -> Any:
        policy, value = apply(batch["observation"])
        advantage = batch["advantage"]
        target = advantage + batch["value"]
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        ratio = torch.exp(policy.log_prob(batch["action"]) - batch["log_prob"])
        gain = torch.min(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage)
        error = (value - target).square().mean()
        return VALUE * error - gain.mean() - ENTROPY * policy.entropy().mean()

    observation, _ = envs.reset(seed=seed)
    coin_shares, start = [], time.monotonic()
    for update in range(1, updates + 1):
        rollout = collect(envs, observation, act, NUM_STEPS)
        observation = rollout.observation
        data = {k: torch.from_numpy(v).flatten(0, 1) for k, v in rollout.data.items()}
        for _ in range(EPOCHS):
            for index in torch.randperm(len(data["action"])).chunk(MINIBATCHES):
                optimizer.zero_grad()
                loss({name: array[index] for name, array in data.items()}).backward()
                nn.utils.clip_grad_norm_(network.parameters(), 0.5)
                optimizer.step()
        got = [outcome == Cause.COIN for outcome in rollout.outcomes]
        coin_shares.append(float(np.mean(got)) if got else float("nan"))
        steps = update * NUM_STEPS * envs.num_envs
        speed = steps / (time.monotonic() - start)
        print(
            f"{steps:>9,} steps, {speed:,.0f}/s: {coin_shares[-1]:.2f} of {len(got)} episodes "
            "ended with the coin",
            flush=True,
        )
    return coin_shares


@command
def main(arguments: list[str] | None = None) -> int:
    """Train as the command line says; returns the exit status."""
    parser = Parser(prog="python -m coinrun_jax.adapters.torch_example", description=__doc__)
    parser.add_argument("--updates", type=integer(1, 1_000_000), default=60)
    parser.add_argument("--num-envs", type=integer(1, MOST_ENVS), default=64)
    parser.add_argument("--seed", type=integer(0, NUM_SEEDS - 1), default=0)
    args = parser.parse_args(arguments)
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise InputError("PyTorch is not installed: see pytorch.org") from error
    envs = gymnasium.make_vec("CoinRun-v1", args.num_envs, num_levels=NUM_LEVELS)
    try:
        train(envs, args.updates, args.seed)
    finally:
        envs.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
