"""gymnax's own environments: they can be trained on, but have no goal, proxy or conditions."""

from __future__ import annotations

from functools import cache
from typing import Any

import gymnax
import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import spaces

from coinrun_jax.checks import InputError
from coinrun_jax.testbed import EnvConfig, Testbed

_OWN = ("CoinRun-v1", "ExitMaze-v1")


def plain_ids() -> set[str]:
    """Ids in gymnax's registry, except for this package's testbeds."""
    return set(gymnax.registered_envs) - set(_OWN)


class PlainState(struct.PyTreeNode):
    """A state with the length and return of its episode."""

    inner: Any
    length: jax.Array  # int32 []
    total_reward: jax.Array  # float32 []


class PlainEnv:
    """A gymnax environment whose `info` has the episode's length, return and outcome.

    Args:
      env, params: from `gymnax.make`.

    Raises:
      InputError: if its actions are continuous.
    """

    events = ()
    outcomes = ("none", "terminated", "timeout")

    def __init__(self, env: Any, params: Any) -> None:
        if not isinstance(env.action_space(params), spaces.Discrete):
            raise InputError(
                f"env.id {env.name} has continuous actions; PPO here needs discrete ones"
            )
        self._env = env
        self._observation_space = env.observation_space(params)
        self._action_space = env.action_space(params)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlainEnv) and other._env.name == self._env.name

    def __hash__(self) -> int:
        return hash(self._env.name)

    def observation_space(self, params: Any = None) -> Any:
        return self._observation_space

    def action_space(self, params: Any = None) -> Any:
        return self._action_space

    def reset(self, key: jax.Array, params: Any) -> tuple[jax.Array, PlainState]:
        observation, state = self._env.reset(key, params)
        return observation, PlainState(state, jnp.int32(0), jnp.float32(0))

    def step(
        self, key: jax.Array, state: PlainState, action: jax.Array, params: Any
    ) -> tuple[jax.Array, PlainState, jax.Array, jax.Array, jax.Array, dict[str, Any]]:
        """Gymnax's six values; `info` as in `coinrun_jax.testbed`, but without `final_state`."""
        observation, inner, reward, terminated, truncated, info = self._env.step(
            key, state.inner, action, params
        )
        reward = jnp.asarray(reward, jnp.float32)
        truncated &= ~terminated  # gymnax's own environments may set both
        done = terminated | truncated
        length, total = state.length + 1, state.total_reward + reward
        new = PlainState(inner, jnp.where(done, 0, length), jnp.where(done, 0.0, total))
        known = {
            "events": jnp.zeros(0, jnp.int32),
            "outcome": jnp.where(terminated, 1, jnp.where(truncated, 2, 0)),
            "episode_length": length,
            "episode_return": total,
            "final_observation": info["final_observation"],
        }
        return observation, new, reward, terminated, truncated, known


class PlainTestbed(Testbed):
    """An environment without events: it can be trained on, not evaluated."""

    def __init__(self, env_id: str) -> None:
        self.id = env_id  # type: ignore[misc]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlainTestbed) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def make_env(self, config: EnvConfig) -> PlainEnv:
        return PlainEnv(*_made(self.id))

    def make_params(self, env: PlainEnv, config: EnvConfig) -> Any:
        return _made(self.id)[1]


@cache
def _made(env_id: str) -> tuple[Any, Any]:
    return gymnax.make(env_id)
