"""`CoinRunVectorEnv`: a batch of CoinRun environments, NumPy in and out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from coinrun_jax.adapters import episodes as batch
from coinrun_jax.adapters import refuse_if_forked
from coinrun_jax.checks import choice, flag, whole
from coinrun_jax.coinrun.env import OBSERVATIONS, CoinRun
from coinrun_jax.coinrun.generator import MODES
from coinrun_jax.coinrun.observations.procgen import pictures
from coinrun_jax.coinrun.types import NEVER, NUM_SEEDS, EnvState
from coinrun_jax.pooled import DEFAULT_POOL_SIZE

STEPS_PER_SECOND = 15  # of Procgen's own interactive play
RENDER_MODES = ("rgb_array",)
LARGEST_SEED = 2**32 - 1
MOST_ENVS = 2**20
_RENDER_SIZES = (13, 4096)
_FINAL_CHUNK = 8  # final observations computed at a time: few episodes end in the same step


class CoinRunVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """CoinRun as a Gymnasium vector environment; one compiled program steps them all.

    Observations are float32 or uint8 [num_envs, 1357], or uint8 [num_envs, 64, 64, 3]; rewards
    float64, terminations and truncations bool, all [num_envs]. `infos` has `level_seed`,
    `coin_moved`, `outcome` (a code of `Cause`), `episode_length`, `episode_return`, `coin_step`,
    `end_step`, `ghost_step`, each [num_envs] with its mask, as in Gymnasium's own vector
    environments. With same-step auto-reset, those of an ended episode are in
    `infos["final_info"]`, and its last observation in `infos["final_obs"]`.

    After `reset(seed=s)`, sub-environment i plays what a single environment seeded with s + i
    plays, if the set of levels fits in `pool_size`. Of a larger set, `pool_size` levels are held
    at a time and renewed after as many episodes; seeds and actions then determine only the batch
    as a whole.

    Args:
      num_envs: number of sub-environments.
      mode: "hard" or "easy".
      observation: "symbolic", "symbolic_uint8", "rgb", or "procgen" for Procgen's own pixels.
      num_levels: size of the set of levels, 0 for all.
      start_level: first level seed of the set.
      placement: a name in `placement.CATALOGUE` except "fixed", or relative weights by name.
      placement_probability: chance that an episode's coin follows it; otherwise it is at the end.
      coin_present: False removes the coin.
      pool_size: most levels held at a time; 1024, or 2 * num_envs if that is more.
      autoreset_mode: a `gymnasium.vector.AutoresetMode` or its value: "SameStep", in which no
        step is spent on a reset, "NextStep" or "Disabled".
      render_mode: "rgb_array" to enable `render`.
      render_size: height and width in pixels, at most 4096.
      max_episode_steps: steps until truncation; by default 1000, as in Procgen.

    Raises:
      ValueError: for arguments outside their range.
      RuntimeError: in a forked process, where JAX hangs.
    """

    def __init__(
        self,
        num_envs: int = 1,
        mode: str = "hard",
        observation: str = "symbolic",
        num_levels: int = 0,
        start_level: int = 0,
        placement: str | Mapping[str, float] = "end",
        placement_probability: float = 1.0,
        coin_present: bool = True,
        pool_size: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        render_mode: str | None = None,
        render_size: int = 512,
        max_episode_steps: int | None = None,
    ) -> None:
        refuse_if_forked()
        self.num_envs = num_envs = whole("num_envs", num_envs, 1, MOST_ENVS)
        self.render_mode = render_mode
        if render_mode is not None:
            choice("render_mode", render_mode, RENDER_MODES)
        self._render_size = whole("render_size", render_size, *_RENDER_SIZES)
        self._autoreset = _autoreset_mode(autoreset_mode)
        self.metadata = {
            "autoreset_mode": self._autoreset,
            "render_modes": list(RENDER_MODES),
            "render_fps": STEPS_PER_SECOND,
        }
        # Steps read levels only from the pool: other sets of the same size recompile nothing.
        self._env = batch.shared_env(observation=choice("observation", observation, OBSERVATIONS))
        self._levels = _make_levels(mode, num_levels, start_level, pool_size, num_envs)
        self.single_observation_space, self.single_action_space = single_spaces(observation)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        # The pictures belong to the observation, the levels to another environment.
        art = pictures.load() if observation == "procgen" else None
        self._params = self._levels.default_params.replace(art=art)
        if max_episode_steps is not None:
            limit = whole("max_episode_steps", max_episode_steps, 1, NEVER - 1)
            self._params = self._params.replace(max_steps_in_episode=np.int32(limit))
        self.set_placement(placement, placement_probability, coin_present)
        self._episodes: batch.Episodes | None = None
        self._ended = np.zeros(num_envs, bool)

    def set_placement(
        self,
        placement: str | Mapping[str, float],
        probability: float = 1.0,
        coin_present: bool = True,
    ) -> None:
        """Change the coin's placement from the next episodes on; recompiles nothing.

        Raises:
          ValueError: for an unknown name or a probability outside [0, 1].
        """
        coin_present = flag("coin_present", coin_present)
        self._params = self._params.with_placement(placement, probability, coin_present)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin new episodes.

        Args:
          seed: s for seeds s, s + 1, ..., or a list with one per sub-environment, where None
            keeps the current one. Without seeds all keep theirs, or draw one if they have none.
          options: `reset_mask`, bool [num_envs], resets those sub-environments only.

        Raises:
          ValueError: for a list or a mask of another length, or for seeds that are not within
            0 ... 2^32 - 1.
        """
        refuse_if_forked()
        mask = self._reset_mask(options)
        seeds = self._seeds(seed)
        if self._episodes is None:
            drawn = self.np_random.integers(2**32, size=self.num_envs)
            seeds = [int(d) if s is None else s for s, d in zip(seeds, drawn, strict=True)]
        keys = jax.vmap(jax.random.key)(np.array([s or 0 for s in seeds], np.uint32))
        if self._episodes is None or (mask.all() and None not in seeds):
            self._begin(keys)
        else:
            self._go_on(keys, np.array([s is not None for s in seeds]) & mask, mask)
        assert self._episodes is not None
        self._ended &= ~mask
        state = self._episodes.state
        infos = _infos(jax.device_get(batch.describe(state, self._params)), mask)
        return np.array(batch.observe(self._env, state, self._params)), infos

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step of every sub-environment.

        Args:
          actions: int [num_envs], 0 ... 14.

        Raises:
          ResetNeeded: before the first reset, or, without auto-reset, after an episode's end.
          ValueError: for any other actions.
        """
        refuse_if_forked()
        if self._episodes is None:
            raise ResetNeeded("step() before the first reset()")
        if self._autoreset == AutoresetMode.DISABLED and self._ended.any():
            raise ResetNeeded(f"episodes of {np.flatnonzero(self._ended)} have ended: reset() them")
        self._renew_levels()
        same_step = self._autoreset == AutoresetMode.SAME_STEP
        self._episodes, result = batch.advance(
            self._env,
            self._episodes,
            self._checked(actions),
            np.zeros_like(self._ended) if same_step else self._ended,
            self._params,
            same_step,
        )
        final_state = result.final_state
        # Copies, since views of JAX's arrays are read-only.
        observation = np.array(result.observation)
        host = jax.device_get(result.replace(observation=None, final_state=None))
        self._ended = host.terminated | host.truncated
        if self._autoreset != AutoresetMode.DISABLED:
            self._episodes_begun += int(self._ended.sum())
        infos = _infos(host.info, np.ones(self.num_envs, bool))
        if same_step and self._ended.any():
            infos["final_obs"] = self._final_observations(final_state)
            infos["final_info"] = _infos(host.final_info, self._ended)
            infos["_final_obs"] = self._ended.copy()
            infos["_final_info"] = self._ended.copy()
        reward = host.reward.astype(np.float64)
        return observation, reward, np.array(host.terminated), np.array(host.truncated), infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        """A picture of every sub-environment; uint8 [render_size, render_size, 3] each."""
        refuse_if_forked()
        if self.render_mode is None:
            return None
        if self._episodes is None:
            raise ResetNeeded("render() before the first reset()")
        states = self._episodes.state
        return tuple(np.array(batch.pictures(self._env, states, self._params, self._render_size)))

    def _begin(self, keys: jax.Array) -> None:
        if self._levels.takes_turns:
            # Other seeds see other levels: only one level of the initial pool is kept.
            self._pool_key, self._episodes_begun = jax.random.fold_in(keys[0], 2**32 - 1), 0
            self._params = self._params.replace(pool=self._levels.default_params.pool)
            anywhere = batch.begin(self._env, keys, self._params).state
            self._refresh(jax.tree.map(jnp.zeros_like, anywhere))
        self._episodes = batch.begin(self._env, keys, self._params)

    def _go_on(self, keys: jax.Array, seeded: np.ndarray, mask: np.ndarray) -> None:
        self._renew_levels()
        episodes = batch.go_on(self._env, self._episodes, mask, self._params)
        self._episodes_begun += int(mask.sum())
        if seeded.any():
            first = batch.begin(self._env, keys, self._params)
            episodes = batch.choose(seeded, first, episodes)
        self._episodes = episodes

    def _renew_levels(self) -> None:
        if self._levels.takes_turns and self._episodes_begun >= self._levels.pool_size:
            assert self._episodes is not None
            self._refresh(self._episodes.state)

    _pool_key: jax.Array
    _episodes_begun = 0  # since the levels in the pool were renewed

    def _refresh(self, in_use: EnvState) -> None:
        self._pool_key, key = jax.random.split(self._pool_key)
        self._params = self._levels.refresh(key, in_use, self._params)
        self._episodes_begun = 0

    def _final_observations(self, final_state: EnvState) -> np.ndarray:
        """Object array [num_envs]: the last observation where an episode ended, else None."""
        found = np.full(self.num_envs, None, object)
        ended = np.flatnonzero(self._ended)
        width = min(_FINAL_CHUNK, self.num_envs)
        for at in range(0, len(ended), width):
            chunk = ended[at : at + width]
            states = batch.take(final_state, np.resize(chunk, width))
            images = np.array(batch.observe(self._env, states, self._params))
            for index, image in zip(chunk, images, strict=False):
                found[index] = image
        return found

    def _checked(self, actions: Any) -> np.ndarray:
        checked = np.asarray(actions)
        if checked.shape != (self.num_envs,) or checked.dtype.kind not in "iu":
            raise ValueError(
                f"actions are {checked.dtype} {list(checked.shape)}, not integers [{self.num_envs}]"
            )
        if checked.min() < 0 or checked.max() >= self._env.num_actions:
            raise ValueError(f"actions {checked} are not all in 0 ... {self._env.num_actions - 1}")
        return checked.astype(np.int32)

    def _reset_mask(self, options: Mapping[str, Any] | None) -> np.ndarray:
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return np.ones(self.num_envs, bool)
        if np.shape(mask) != (self.num_envs,) or np.asarray(mask).dtype != bool:
            raise ValueError(f"reset_mask is not bool [{self.num_envs}]: {mask!r}")
        if self._episodes is None and not np.all(mask):
            raise ValueError("reset_mask of the first reset() is not all True")
        return np.array(mask)

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        """One per sub-environment, None to keep the current; seeds `np_random` with the first."""
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, np.ndarray | jax.Array):
            seed = np.asarray(seed).tolist()
        seeds: list[int | None]
        if isinstance(seed, Sequence):
            seeds = [None if s is None else whole("seed", s, 0, LARGEST_SEED) for s in seed]
        else:
            first = whole("seed", seed, 0, LARGEST_SEED - self.num_envs + 1)
            seeds = [first + i for i in range(self.num_envs)]
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.num_envs} environments")
        given = [s for s in seeds if s is not None]
        if given:
            self._np_random, self._np_random_seed = seeding.np_random(given[0])
        return seeds


def single_spaces(
    observation: str, box: type[spaces.Box] = spaces.Box
) -> tuple[spaces.Box, spaces.Discrete]:
    """Spaces of one environment's observations and actions; computes nothing with JAX."""
    env = batch.shared_env(observation=observation)
    space = env.observation_space()
    dtype = np.dtype(space.dtype).type
    bounds = dtype(space.low), dtype(space.high)
    return box(*bounds, space.shape, dtype), spaces.Discrete(env.num_actions)


def _autoreset_mode(mode: Any) -> AutoresetMode:
    name = mode.value if isinstance(mode, AutoresetMode) else mode
    return AutoresetMode(choice("autoreset_mode", name, [m.value for m in AutoresetMode]))


def _make_levels(
    mode: str, num_levels: int, start_level: int, pool_size: int | None, num_envs: int
) -> CoinRun:
    """The environment that draws levels; arguments are checked first, as True and 1 share one."""
    size = max(DEFAULT_POOL_SIZE, 2 * num_envs) if pool_size is None else pool_size
    levels = batch.shared_env(
        mode=choice("mode", mode, MODES),
        num_levels=whole("num_levels", num_levels, 0, NUM_SEEDS),
        start_level=whole("start_level", start_level, 0, NUM_SEEDS - 1),
        pool_size=whole("pool_size", size, 1, 2 * MOST_ENVS),
    )
    if levels.takes_turns and levels.pool_size < 2 * num_envs:
        raise ValueError(
            f"pool_size {pool_size} is not at least 2 * num_envs = {2 * num_envs}: levels "
            "in use by running episodes cannot be renewed"
        )
    return levels


def _infos(values: Mapping[str, np.ndarray], mask: np.ndarray) -> dict[str, Any]:
    """Gymnasium's format: every array with a mask of the environments it applies to."""
    wide = {"b": np.bool_, "f": np.float64, "i": np.int64, "u": np.int64}
    infos: dict[str, Any] = {}
    for name, value in values.items():
        value = value.astype(wide[value.dtype.kind])
        infos[name] = np.where(mask, value, value.dtype.type(0))
        infos[f"_{name}"] = mask.copy()
    return infos
