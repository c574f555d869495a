"""`CoinRun`, a gymnax 1.x environment."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments import spaces

from coinrun_jax.art.store import require_art
from coinrun_jax.checks import choice
from coinrun_jax.coinrun import physics, placement
from coinrun_jax.coinrun.cues import NO_ITEMS, Cues, draw_themes, pressed
from coinrun_jax.coinrun.generator import MODES, generate_levels
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
    Cause,
    EnvState,
    LevelPool,
)
from coinrun_jax.pooled import DEFAULT_POOL_SIZE, PooledEnvironment

OBSERVATIONS = (*symbolic.DTYPES, "rgb", "procgen")
ART = ("own", "procgen")
"""What pictures are drawn from: our own art, or the user's copy of Procgen's."""


class CoinRun(PooledEnvironment[EnvState, EnvParams]):
    """Procgen's CoinRun with the coin placed independently of the level.

    Reward 10 for the coin. Coin and death terminate, `max_steps_in_episode` truncates.
    15 actions, as in Procgen.

    Args:
      mode: "hard" or "easy".
      observation: "symbolic" (float32 [1357]), "symbolic_uint8" (the same, rounded to uint8),
        "rgb" (uint8 [64, 64, 3], our own art) or "procgen" (the same type, Procgen's own pixels;
        see `coinrun_jax.art`).
      num_levels: size of the set of levels, 0 for all from start_level on. As in Procgen,
        level seeds are start_level ... start_level + num_levels - 1.
      start_level: first level seed.
      pool_size: most levels in the pool at a time. A larger set rotates through it: call
        `refresh` between updates.

    Raises:
      ValueError: for arguments out of range; for "procgen" without Procgen's pictures.
    """

    events = ("coin", "end", "ghost", "item")
    """Objects of `info["events"]`: the coin, the end of the level, the cell where a coin could have
    been, and decoys or pickups."""
    outcomes = tuple(cause.name.lower() for cause in Cause)
    """Names of `info["outcome"]`; the first one means that nothing has ended the episode, except
    for the end with `terminate_at_end`."""

    def __init__(
        self,
        mode: str = "hard",
        observation: str = "symbolic",
        num_levels: int = 0,
        start_level: int = 0,
        pool_size: int = DEFAULT_POOL_SIZE,
    ) -> None:
        choice("mode", mode, MODES)
        choice("observation", observation, OBSERVATIONS)
        super().__init__(num_levels, start_level, pool_size)
        self.mode = mode
        self.observation = observation
        if observation == "procgen":
            require_art()

    @property
    def settings(self) -> tuple[Any, ...]:
        return self.mode, self.observation, *super().settings

    @property
    def name(self) -> str:
        return ENV_ID

    @property
    def num_actions(self) -> int:
        return NUM_ACTIONS

    def params_of(self, seeds: jax.Array) -> EnvParams:
        """Params with the coin at the end."""
        return EnvParams(pool=self.pool_of(seeds), placement=make_placement("end"), art=self._art())

    def _art(self) -> pictures.Art | None:
        if self.observation != "procgen":
            return None
        return pictures.load() if self.mode == "hard" else pictures.load([0])

    def pool_of(self, seeds: jax.Array) -> LevelPool:
        return build_pool(generate_levels(seeds, self.mode))

    def start(self, key: jax.Array, index: jax.Array, params: EnvParams) -> EnvState:
        state = _start(key, index, params)
        if self.observation != "procgen":
            return state
        return state.replace(trail=jnp.zeros(TRAIL_SHAPE, jnp.float32))

    def advance(
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

    def discount(self, state: EnvState, params: EnvParams) -> jax.Array:
        """0 if the episode has terminated, else 1; float32 []."""
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
        """Inlined: compiles as without jit, but a step that observes twice traces this once."""
        if self.observation == "procgen":
            return _procgen_picture(state, params, rgb.SIZE)
        if self.observation == "rgb":
            return rgb.observe(state, params.pool, params.look, rgb.SIZE, *_shown(params))
        dtype = symbolic.DTYPES[self.observation]
        return symbolic.observe(state, params.pool, *_shown(params), dtype=dtype)

    def render(
        self, state: EnvState, params: EnvParams, size: int = 512, art: str | None = None
    ) -> jax.Array:
        """Picture of a state for people, whatever the observation; uint8 [size, size, 3].

        Args:
          state: of one environment.
          params: of its episode.
          size: pixels, both ways.
          art: one of ART; by default that of the observation, "own" for symbolic ones.

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

    def observation_space(self, params: EnvParams | None = None) -> spaces.Box:
        if self.observation not in symbolic.DTYPES:
            return spaces.Box(0, 255, (rgb.SIZE, rgb.SIZE, 3), jnp.uint8)
        dtype = symbolic.DTYPES[self.observation]
        low, high = (0, 255) if dtype == np.uint8 else (-1.0, 1.0)
        return spaces.Box(low, high, (symbolic.SIZE,), dtype)


def _shown(params: EnvParams) -> tuple[Cues, jax.Array]:
    items = params.items
    return params.cues, jnp.where(items.number > 0, items.look, NO_ITEMS)


def _procgen_picture(state: EnvState, params: EnvParams, size: int) -> jax.Array:
    # If the params hold no pictures, each compiled program embeds its own copy.
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
    """Record first touches and the end of the episode, from the pose after a step."""
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
    """Collect touched items and compute the step's reward; the new state and float32 []."""
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
    """An environment and its default params, like `gymnax.make`.

    Args:
      env_id: "CoinRun-v1".
      **kwargs: arguments of `CoinRun`.

    Raises:
      ValueError: for an unknown id.
    """
    choice("environment", env_id, [ENV_ID])
    env = CoinRun(**kwargs)
    return env, env.default_params


if ENV_ID not in gymnax.registered_envs:
    gymnax.register(ENV_ID, CoinRun)
