"""The game for one player: one environment, a step and a picture at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.coinrun.env import CoinRun
from coinrun_jax.coinrun.observations.procgen import pictures
from coinrun_jax.coinrun.params import EnvParams
from coinrun_jax.coinrun.placement import make_placement
from coinrun_jax.coinrun.types import Action, EnvState
from coinrun_jax.play.recording import Episode, Setup


@dataclass(frozen=True)
class Scene:
    """A moment of an episode."""

    setup: Setup
    params: EnvParams
    state: EnvState

    @property
    def steps(self) -> int:
        return int(self.state.time)

    @property
    def coin_cell(self) -> tuple[int, int]:
        x, y = np.asarray(self.state.coin_cell)
        return int(x), int(y)


@partial(jax.jit, static_argnames="env")
def _start(env: CoinRun, key: jax.Array, params: EnvParams) -> EnvState:
    return env.start(key, jnp.int32(0), params)


@partial(jax.jit, static_argnames="env")
def _step(
    env: CoinRun, state: EnvState, action: jax.Array, params: EnvParams
) -> tuple[EnvState, jax.Array]:
    state, _, terminated, _ = env.advance(state, action, params)
    return state, terminated | env.is_truncated(state, params)


class Game:
    """CoinRun for one player.

    Args:
      mode: "hard" or "easy".
      art: of `env.ART`, the art to draw with.

    Raises:
      ValueError: for "procgen" without Procgen's pictures.
    """

    def __init__(self, mode: str, art: str = "own") -> None:
        self.mode = mode
        # Levels are built from seeds; the environment's own set is never built.
        observation = "procgen" if art == "procgen" else "symbolic"
        self._env = CoinRun(mode, observation, num_levels=1)
        self._art = pictures.load() if art == "procgen" else None

    def start(self, setup: Setup) -> Scene:
        """The first moment of an episode.

        Raises:
          ValueError: if the setup is of another mode, or its placement is unknown.
        """
        if setup.mode != self.mode:
            raise ValueError(f"a {setup.mode} level for a {self.mode} game")
        pool = self._env.pool_of(jnp.array([setup.level_seed], jnp.uint32))
        placement = make_placement(setup.placement)
        params = EnvParams(pool=pool, placement=placement, art=self._art)
        state = _start(self._env, jax.random.key(setup.coin_seed), params)
        return Scene(setup, params, state)

    def step(self, scene: Scene, action: int) -> tuple[Scene, str | None]:
        """The next moment, and the episode's outcome if it has ended."""
        state, ended = _step(self._env, scene.state, np.int32(action), scene.params)
        outcome = self._env.outcomes[int(state.cause)] if ended else None
        return Scene(scene.setup, scene.params, state), outcome

    def picture(self, scene: Scene, size: int) -> np.ndarray:
        """A picture for the player; uint8 [size, size, 3]."""
        return np.asarray(self._env.render(scene.state, scene.params, size))

    def compile(self, size: int) -> None:
        """Compile everything needed to play with pictures of this size."""
        scene = self.start(Setup(self.mode, 0, "end", 0))
        scene, _ = self.step(scene, Action.NOOP)
        self.picture(scene, size)

    def replay(self, episode: Episode) -> tuple[list[Scene], str | None]:
        """Every moment of a recorded episode, and how it differs from the recording, if it does.

        The coin must be in the same cell, and the episode must end in the same way and step.
        """
        scenes = [self.start(episode.setup)]
        if scenes[0].coin_cell != episode.coin_cell:
            return scenes, f"the coin is at {scenes[0].coin_cell}, not at {episode.coin_cell}"
        for action in episode.actions:
            scene, outcome = self.step(scenes[-1], action)
            scenes.append(scene)
            if outcome is not None:
                break
        came_to = (outcome or "none", len(scenes) - 1)
        if came_to != (episode.outcome, len(episode.actions)):
            recorded = f"{episode.outcome} after {len(episode.actions)} steps"
            return scenes, f"it ends with {came_to[0]} after {came_to[1]} steps, not {recorded}"
        return scenes, None
