"""`CoinRun`, a gymnax 1.x environment."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments import environment, spaces

from coinrun_jax.art.store import require_art
from coinrun_jax.checks import InputError, choice, whole, whole_or_traced
from coinrun_jax.coinrun import physics, placement
from coinrun_jax.coinrun.cues import NO_ITEMS, Cues, draw_themes, pressed
from coinrun_jax.coinrun.generator import MODES, generate_level
from coinrun_jax.coinrun.items import draw_items
from coinrun_jax.coinrun.observations import rgb, symbolic
from coinrun_jax.coinrun.observations.atlas import require_size
from coinrun_jax.coinrun.observations.procgen import pictures
from coinrun_jax.coinrun.observations.procgen.observe import observe as observe_procgen
from coinrun_jax.coinrun.observations.procgen.scene import TRAIL_SHAPE
from coinrun_jax.coinrun.params import EnvParams
from coinrun_jax.coinrun.placement import draw_coin, make_placement
from coinrun_jax.coinrun.pool import build_pool, level_of
from coinrun_jax.coinrun.types import (
    ENV_ID,
    NEVER,
    NUM_ACTIONS,
    NUM_SEEDS,
    Cause,
    EnvState,
    LevelPool,
)
from coinrun_jax.refresh import refresh_pool

OBSERVATIONS = ("symbolic", "rgb", "procgen")
ART = ("own", "procgen")
"""What pictures are drawn from: our own art, or the user's copy of Procgen's."""
DEFAULT_POOL_SIZE = 1024
MAX_POOL_SIZE = 2**24

_KNOWN = np.array([False, True])
"""Looking a boolean up here computes it once: XLA on CPU would otherwise compute it anew, with
all that it depends on, for every array that it chooses."""


class CoinRun(environment.Environment[EnvState, EnvParams]):
    """Procgen's CoinRun with the coin apart from the level.

    Reward 10 for the coin. Coin and death terminate, `max_steps_in_episode` truncates.
    15 actions, as in Procgen.

    Args:
      mode: "hard" or "easy".
      observation: "symbolic" (float32 [1357]), "rgb" (uint8 [64, 64, 3], our own art) or
        "procgen" (the same type, Procgen's own pixels; see `coinrun_jax.art`).
      num_levels: size of the set of levels, 0 for all from start_level on. As in Procgen,
        level seeds are start_level ... start_level + num_levels - 1.
      start_level: first level seed.
      pool_size: most levels held ready at a time. A larger set takes turns in the pool:
        call `refresh` between updates.

    Raises:
      ValueError: for arguments outside their range; for "procgen" without Procgen's pictures.
    """

    events = ("coin", "end", "ghost", "item")
    """Objects of `info["events"]`: the coin, the end of the level, the cell where a coin could have
    been, and decoys or pickups."""
    outcomes = tuple(cause.name.lower() for cause in Cause)
    """Names of `info["outcome"]`; the first one means that nothing has ended the episode but, with
    `terminate_at_end`, the end."""

    def __init__(
        self,
        mode: str = "hard",
        observation: str = "symbolic",
        num_levels: int = 0,
        start_level: int = 0,
        pool_size: int = DEFAULT_POOL_SIZE,
    ) -> None:
        super().__init__()
        choice("mode", mode, MODES)
        choice("observation", observation, OBSERVATIONS)
        num_levels = whole("num_levels", num_levels, 0, NUM_SEEDS)
        start_level = whole("start_level", start_level, 0, NUM_SEEDS - 1)
        if start_level + num_levels > NUM_SEEDS:
            raise InputError(
                f"levels {start_level} ... {start_level} + {num_levels} are not within 0 ... 2^31"
            )
        pool_size = whole("pool_size", pool_size, 1, MAX_POOL_SIZE)
        self.mode = mode
        self.observation = observation
        self.num_levels = num_levels
        self.start_level = start_level
        self.pool_size = min(pool_size, num_levels or pool_size)
        if observation == "procgen":
            require_art()
        self._default_params: EnvParams | None = None

    @property
    def _settings(self) -> tuple[str, str, int, int, int]:
        return self.mode, self.observation, self.num_levels, self.start_level, self.pool_size

    def __eq__(self, other: object) -> bool:
        """Environments of the same settings are the same, and share compiled programs."""
        return type(other) is type(self) and other._settings == self._settings

    def __hash__(self) -> int:
        return hash(self._settings)

    @property
    def name(self) -> str:
        return ENV_ID

    @property
    def num_actions(self) -> int:
        return NUM_ACTIONS

    @property
    def takes_turns(self) -> bool:
        """Whether the set of levels is larger than the pool, so that `refresh` renews it."""
        return self.num_levels == 0 or self.num_levels > self.pool_size

    @property
    def default_params(self) -> EnvParams:
        """Params with the coin at the end and a pool built on first use."""
        if self._default_params is None:
            with jax.ensure_compile_time_eval():
                self._default_params = self.build_params()
        return self._default_params

    def build_params(self) -> EnvParams:
        """`default_params`, built anew; can be traced."""
        if self.takes_turns:
            seeds = self._draw_seeds(jax.random.key(self.start_level))
        else:
            seeds = jnp.arange(
                self.start_level, self.start_level + self.num_levels, dtype=jnp.uint32
            )
        return EnvParams(
            pool=self._build_pool(seeds), placement=make_placement("end"), art=self._art()
        )

    def _art(self) -> pictures.Art | None:
        if self.observation != "procgen":
            return None
        return pictures.load() if self.mode == "hard" else pictures.load([0])

    def _draw_seeds(self, key: jax.Array) -> jax.Array:
        size = self.num_levels or NUM_SEEDS - self.start_level
        offset = jax.random.randint(key, (self.pool_size,), 0, jnp.uint32(size), jnp.uint32)
        return self.start_level + offset

    @partial(jax.jit, static_argnames="self")
    def _build_pool(self, seeds: jax.Array) -> LevelPool:
        return build_pool(jax.vmap(partial(generate_level, mode=self.mode))(seeds))

    @partial(jax.jit, static_argnames="self")
    def refresh(self, key: jax.Array, state: EnvState, params: EnvParams) -> EnvParams:
        """Renew the pool's levels but those that running episodes stand on.

        Does nothing where the whole set fits in the pool. Call it between updates, with the
        states of all environments that use these params (any batch shape). The new levels are
        of the environment's own set: not for params with levels that were given.

        Raises:
          ValueError: if the pool is not of the environment's size.
        """
        if not self.takes_turns:
            return params
        if (size := params.pool.drawable.size) != self.pool_size:
            raise ValueError(
                f"a pool of {size} levels is not the environment's own, of {self.pool_size}: "
                "levels that were given are not renewed"
            )
        fresh = self._build_pool(self._draw_seeds(key))
        return params.replace(pool=refresh_pool(params.pool, fresh, state.level_index))

    def save_levels(self, params: EnvParams) -> dict[str, jax.Array]:
        """All that `refresh` changes of the params, small enough for a checkpoint.

        Returns:
          `seed` uint32 [..., P] of the pool's levels, `drawable` and `num_drawable`.
        """
        pool = params.pool
        return {
            "seed": pool.levels.seed,
            "drawable": pool.drawable,
            "num_drawable": pool.num_drawable,
        }

    def load_levels(self, saved: dict[str, Any], params: EnvParams) -> EnvParams:
        """The params with the levels that `save_levels` saved, built again from their seeds."""
        drawable, number = saved["drawable"], saved["num_drawable"]
        pool = self._build_pool(saved["seed"]).replace(drawable=drawable, num_drawable=number)
        return params.replace(pool=pool)

    def reset_env(self, key: jax.Array, params: EnvParams) -> tuple[jax.Array, EnvState]:
        state = self._reset_state(key, params)
        return self.observe(key, state, None, params), state

    def _reset_state(self, key: jax.Array, params: EnvParams) -> EnvState:
        key_level, key_coin = jax.random.split(key)
        pool = params.pool
        # Not randint, which hashes three times as much to be free of a bias below 1e-6.
        draw = jax.random.bits(key_level, dtype=jnp.uint32) % pool.num_drawable.astype(jnp.uint32)
        index = pool.drawable[draw]
        return self._start(key_coin, index, params)

    def _start(self, key: jax.Array, index: jax.Array, params: EnvParams) -> EnvState:
        state = _start(key, index, params)
        if self.observation != "procgen":
            return state
        return state.replace(trail=jnp.zeros(TRAIL_SHAPE, jnp.float32))

    def reset_to_level(
        self, key: jax.Array, index: jax.Array | int, params: EnvParams
    ) -> tuple[jax.Array, EnvState]:
        """Start on a given entry of the pool; `key` places the coin.

        Raises:
          ValueError: for an index that is known, not traced, and not of the pool.
        """
        last = params.pool.drawable.shape[-1] - 1
        return self._reset_to_level(key, whole_or_traced("level index", index, 0, last), params)

    @partial(jax.jit, static_argnames="self")
    def _reset_to_level(
        self, key: jax.Array, index: jax.Array | int, params: EnvParams
    ) -> tuple[jax.Array, EnvState]:
        state = self._start(key, jnp.asarray(index, jnp.int32), params)
        return self.observe(key, state, None, params), state

    def step_env(
        self, key: jax.Array, state: EnvState, action: jax.Array, params: EnvParams
    ) -> tuple[jax.Array, EnvState, jax.Array, jax.Array, dict[str, Any]]:
        """One step without auto-reset; gymnax's five values (truncation is apart)."""
        state, reward, terminated, info = self._transition(state, action, params)
        return self.observe(key, state, action, params), state, reward, terminated, info

    @partial(jax.jit, static_argnames="self")
    def step(
        self,
        key: jax.Array,
        state: EnvState,
        action: jax.Array,
        params: EnvParams | None = None,
    ) -> tuple[jax.Array, EnvState, jax.Array, jax.Array, jax.Array, dict[str, Any]]:
        """One step with auto-reset; gymnax's six values.

        Observes once, after the choice between the next state and a fresh one;
        `info["final_observation"]` costs nothing under jit where nobody reads it.
        """
        if params is None:
            params = self.default_params
        next_state, reward, terminated, info = self._transition(state, action, params)
        truncated = self.is_truncated(next_state, params)
        done = jnp.asarray(_KNOWN)[(terminated | truncated).astype(jnp.int32)]
        reset_state = self._reset_state(key, params)
        state = jax.tree.map(lambda new, old: jnp.where(done, new, old), reset_state, next_state)
        info |= {
            "terminated": terminated,
            "truncated": truncated,
            "final_state": next_state,
            "final_observation": self.observe(key, next_state, action, params),
        }
        return self.observe(key, state, None, params), state, reward, terminated, truncated, info

    def _transition(
        self, state: EnvState, action: jax.Array, params: EnvParams
    ) -> tuple[EnvState, jax.Array, jax.Array, dict[str, Any]]:
        before = state
        action = jnp.asarray(action, jnp.int32)  # unsigned ones would wrap around
        state = physics.advance(state, pressed(action, params.cues), params.pool)
        state = _record_events(state, params)
        terminated = self.is_terminated(state, params)
        state, reward = _pay(before, state, params)
        steps = (state.coin_step, state.end_step, state.ghost_step, state.item_step)
        info = {
            "events": jnp.stack(steps),
            "outcome": state.cause,
            "episode_return": state.episode_return,
            "level_seed": params.pool.levels.seed[state.level_index],
            "episode_length": state.time,
            "coin_moved": state.coin_moved,
            "coin_step": state.coin_step,
            "end_step": state.end_step,
            "ghost_step": state.ghost_step,
            "item_step": state.item_step,
            "discount": 1.0 - terminated.astype(jnp.float32),
        }
        return state, reward, terminated, info

    def is_terminated(self, state: EnvState, params: EnvParams) -> jax.Array:
        died_or_won = (state.cause != Cause.NONE) & (state.cause != Cause.TIMEOUT)
        return died_or_won | (jnp.bool_(params.terminate_at_end) & (state.end_step > 0))

    def is_truncated(self, state: EnvState, params: EnvParams) -> jax.Array:
        """An episode that ends in the step of the limit is over, not cut short. bool []."""
        return super().is_truncated(state, params) & ~self.is_terminated(state, params)

    def discount(self, state: EnvState, params: EnvParams) -> jax.Array:
        """0 where the episode is over, else 1; float32 []."""
        return 1.0 - self.is_terminated(state, params).astype(jnp.float32)

    def observe(
        self,
        key: jax.Array,
        state: EnvState,
        action: jax.Array | None,
        params: EnvParams,
    ) -> jax.Array:
        """Observation of a state; draws nothing from `key`."""
        del key, action
        return self._observe(state, params)

    @partial(jax.jit, static_argnames="self", inline=True)
    def _observe(self, state: EnvState, params: EnvParams) -> jax.Array:
        """Inlined, so that programs are as without jit; a step that observes twice traces once."""
        if self.observation == "procgen":
            return _procgen_picture(state, params, rgb.SIZE)
        if self.observation == "rgb":
            return rgb.observe(state, params.pool, params.look, rgb.SIZE, *_shown(params))
        return symbolic.observe(state, params.pool, *_shown(params))

    def render(
        self, state: EnvState, params: EnvParams, size: int = 512, art: str | None = None
    ) -> jax.Array:
        """Picture of a state for people, whatever the observation; uint8 [size, size, 3].

        Args:
          state: of one environment.
          params: that it is played with.
          size: pixels, both ways.
          art: of ART; by default what the observation is drawn from, for symbols our own.

        Raises:
          ValueError: for a size that is not a whole number within 13 ... 4096, and for
            "procgen" without Procgen's pictures.
        """
        default = "procgen" if self.observation == "procgen" else "own"
        art = choice("art", art or default, ART)
        if art == "procgen" and params.art is None:
            params = params.replace(art=pictures.load())
        return self._render(state, params, require_size(size), art)

    @partial(jax.jit, static_argnames=("self", "size", "art"))
    def _render(self, state: EnvState, params: EnvParams, size: int, art: str) -> jax.Array:
        if art == "procgen":
            return _procgen_picture(state, params, size)
        return rgb.observe(state, params.pool, params.look, size, *_shown(params))

    def action_space(self, params: EnvParams | None = None) -> spaces.Discrete:
        return spaces.Discrete(NUM_ACTIONS)

    def observation_space(self, params: EnvParams | None = None) -> spaces.Box:
        if self.observation != "symbolic":
            return spaces.Box(0, 255, (rgb.SIZE, rgb.SIZE, 3), jnp.uint8)
        return spaces.Box(-1.0, 1.0, (symbolic.SIZE,), jnp.float32)


def _shown(params: EnvParams) -> tuple[Cues, jax.Array]:
    items = params.items
    return params.cues, jnp.where(items.number > 0, items.look, NO_ITEMS)


def _procgen_picture(state: EnvState, params: EnvParams, size: int) -> jax.Array:
    # Params without pictures: then each compiled program holds a copy of its own.
    art = pictures.load() if params.art is None else params.art
    return observe_procgen(state, params.pool, params.look, art, size, *_shown(params))


def _start(key: jax.Array, index: jax.Array, params: EnvParams) -> EnvState:
    level = level_of(params.pool, index)
    uniforms = jax.random.uniform(key, (placement.NUM_UNIFORMS + 1,), jnp.float32)
    coin = draw_coin(uniforms[:-1], index, params.pool, params.placement)
    item_cell, item_due = draw_items(key, coin, index, params.pool, params.items)
    no, never = jnp.bool_(False), jnp.int32(0)
    return EnvState(
        time=jnp.int32(0),
        level_index=index,
        x=coin.start_xy[0],
        y=coin.start_xy[1],
        vx=jnp.float32(0),
        vy=jnp.float32(0),
        on_crate=no,
        facing_right=jnp.bool_(True),
        walking=no,
        supported=jnp.bool_(True),
        entity_x=level.entity_xy[:, 0],
        entity_vx=level.entity_vx,
        coin_cell=coin.coin_cell,
        coin_present=coin.present,
        coin_moved=coin.moved,
        ghost_cell=coin.ghost_cell,
        coin_step=never,
        end_step=never,
        ghost_step=never,
        item_cell=item_cell,
        item_due=item_due,
        item_step=never,
        theme=draw_themes(uniforms[-1], coin.coin_cell, index, params.pool, params.cues),
        episode_return=jnp.float32(0),
        cause=jnp.int8(Cause.NONE),
    )


def _record_events(state: EnvState, params: EnvParams) -> EnvState:
    """First touches and the end of the episode, of the pose that a step arrived at."""
    end_cell = params.pool.levels.end_cell[state.level_index].astype(jnp.int32)

    def first(step: jax.Array, happens: jax.Array) -> jax.Array:
        return jnp.where((step == 0) & happens, state.time, step)

    at_coin = physics.touches(state.x, state.y, state.coin_cell) & state.coin_present
    death = physics.contact(state, params.pool)
    late = state.time >= params.max_steps_in_episode
    cause = jnp.where(
        at_coin,
        Cause.COIN,
        jnp.where(death != Cause.NONE, death, jnp.where(late, Cause.TIMEOUT, Cause.NONE)),
    )
    return state.replace(
        coin_step=first(state.coin_step, at_coin),
        end_step=first(state.end_step, physics.touches(state.x, state.y, end_cell)),
        ghost_step=first(state.ghost_step, physics.touches(state.x, state.y, state.ghost_cell)),
        cause=cause.astype(jnp.int8),
    )


def _pay(before: EnvState, state: EnvState, params: EnvParams) -> tuple[EnvState, jax.Array]:
    """Take the items that are touched, and pay for the step; the new state and float32 []."""
    reward, worth = params.reward, params.items.worth
    touched = jax.vmap(partial(physics.touches, state.x, state.y))(state.item_cell)
    taken = touched & (state.item_due <= state.time)
    due = jnp.where(taken, jnp.minimum(state.time + params.items.respawn, NEVER), state.item_due)
    at_end = (state.end_step == state.time) & (state.end_step > 0)
    paid = (
        jnp.where(state.cause == Cause.COIN, reward.coin, 0.0)
        + jnp.where(at_end, reward.end, 0.0)
        + reward.progress * (state.x - before.x)
        + reward.step
        + worth * jnp.sum(taken, dtype=jnp.int32)
    ).astype(jnp.float32)
    first = (state.item_step == 0) & taken.any()
    state = state.replace(
        item_due=due,
        item_step=jnp.where(first, state.time, state.item_step),
        episode_return=state.episode_return + paid,
    )
    return state, paid


def make(env_id: str = ENV_ID, **kwargs: Any) -> tuple[CoinRun, EnvParams]:
    """An environment and its default params, as `gymnax.make` gives them.

    Args:
      env_id: "CoinRun-v1".
      **kwargs: arguments of `CoinRun`.

    Raises:
      ValueError: for another id.
    """
    choice("environment", env_id, [ENV_ID])
    env = CoinRun(**kwargs)
    return env, env.default_params


if ENV_ID not in gymnax.registered_envs:
    gymnax.register(ENV_ID, CoinRun)
