"""`CoinRunEnv`: one CoinRun environment for Gymnasium, a batch of one without auto-reset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from coinrun_jax.adapters import is_forked, refuse_if_forked
from coinrun_jax.adapters.gymnasium_vector import (
    LARGEST_SEED,
    RENDER_MODES,
    STEPS_PER_SECOND,
    CoinRunVectorEnv,
    single_spaces,
)
from coinrun_jax.checks import whole


class CoinRunEnv(gymnasium.Env[np.ndarray, np.int64]):
    """CoinRun as a Gymnasium environment: what `gymnasium.make("CoinRun-v1")` returns.

    Observations are float32 or uint8 [1357], or uint8 [64, 64, 3]; `info` has the numbers that
    `CoinRunVectorEnv` documents. For speed use that class: here every step is a call.

    `gymnasium.make` does not pass on `max_episode_steps` but wraps the environment in a
    `TimeLimit`, which can only shorten episodes, and sets `truncated` at the limit even if the
    episode terminates in that step: check `terminated` first. The argument below does neither.

    Args:
      mode: "hard" or "easy".
      observation: "symbolic", "symbolic_uint8", "rgb", or "procgen" for Procgen's own pixels.
      num_levels: size of the set of levels, 0 for all.
      start_level: first level seed of the set.
      placement: a name in `placement.CATALOGUE` except "fixed", or relative weights by name.
      placement_probability: chance that an episode's coin follows it; else it is at the end.
      coin_present: False removes the coin.
      pool_size: most levels held at a time.
      render_mode: "rgb_array" to enable `render`; `gymnasium.make` derives "human" from it.
      render_size: height and width in pixels, at most 4096.
      max_episode_steps: steps until truncation; by default 1000, as in Procgen.

    Raises:
      ValueError: for arguments outside their range.
      RuntimeError: in a forked process, where JAX hangs, as soon as it is used.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - as Gymnasium's Env declares it
        "render_modes": list(RENDER_MODES),
        "render_fps": STEPS_PER_SECOND,
    }

    def __init__(
        self,
        mode: str = "hard",
        observation: str = "symbolic",
        num_levels: int = 0,
        start_level: int = 0,
        placement: str | Mapping[str, float] = "end",
        placement_probability: float = 1.0,
        coin_present: bool = True,
        pool_size: int | None = None,
        render_mode: str | None = None,
        render_size: int = 512,
        max_episode_steps: int | None = None,
    ) -> None:
        self.render_mode = render_mode
        if is_forked():
            # Gymnasium's workers report errors in commands to their parent, but not errors here.
            self.observation_space, self.action_space = single_spaces(observation, _RefusingBox)
            return
        self._unforked = CoinRunVectorEnv(
            num_envs=1,
            mode=mode,
            observation=observation,
            num_levels=num_levels,
            start_level=start_level,
            placement=placement,
            placement_probability=placement_probability,
            coin_present=coin_present,
            pool_size=pool_size,
            autoreset_mode=AutoresetMode.DISABLED,
            render_mode=render_mode,
            render_size=render_size,
            max_episode_steps=max_episode_steps,
        )
        self.observation_space = self._batch.single_observation_space
        self.action_space = self._batch.single_action_space

    @property
    def _batch(self) -> CoinRunVectorEnv:
        refuse_if_forked()
        return self._unforked

    def set_placement(
        self,
        placement: str | Mapping[str, float],
        probability: float = 1.0,
        coin_present: bool = True,
    ) -> None:
        """Change the coin's placement from the next episode on; recompiles nothing."""
        self._batch.set_placement(placement, probability, coin_present)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin the next episode, or the first one of a seed; there are no options.

        Raises:
          ValueError: for a seed that is not within 0 ... 2^32 - 1.
        """
        if seed is not None:
            seed = whole("seed", seed, 0, LARGEST_SEED)
        super().reset(seed=seed)
        observations, infos = self._batch.reset(seed=seed)
        return observations[0], _first(infos)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One step with an action 0 ... 14.

        Raises:
          ResetNeeded: before the first reset or after the end of an episode.
          ValueError: for another action.
        """
        observations, rewards, terminations, truncations, infos = self._batch.step(
            np.asarray(action)[None]
        )
        done = bool(terminations[0]), bool(truncations[0])
        return observations[0], float(rewards[0]), *done, _first(infos)

    def render(self) -> Any:
        """A picture, uint8 [render_size, render_size, 3]; None without a render mode."""
        frames = self._batch.render()
        return None if frames is None else frames[0]


class _RefusingBox(spaces.Box):
    """The observation space in a forked process.

    Comparing the spaces is the first command that `AsyncVectorEnv` gives its workers: an error
    there is raised by `make_vec`, before anything waits for JAX.
    """

    def __eq__(self, other: object) -> bool:
        refuse_if_forked()
        return super().__eq__(other)


def _first(infos: dict[str, Any]) -> dict[str, Any]:
    return {name: value[0].item() for name, value in infos.items() if not name.startswith("_")}
