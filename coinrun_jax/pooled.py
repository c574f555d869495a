"""A gymnax environment on a pool of levels: sets of seeds, resets, steps with auto-reset."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces

from coinrun_jax.checks import InputError, whole, whole_or_traced
from coinrun_jax.refresh import refresh_pool
from coinrun_jax.testbed import NUM_SEEDS

DEFAULT_POOL_SIZE = 1024
MAX_POOL_SIZE = 2**24

State = TypeVar("State", bound=Any)
Params = TypeVar("Params", bound=Any)

_KNOWN = np.array([False, True])
"""Looking a boolean up here computes it once: XLA on CPU would otherwise recompute it, with
everything it depends on, for every array that it selects."""


class Seeds(struct.PyTreeNode):
    """Levels that are rebuilt whenever an episode starts: only their seeds are stored."""

    seed: jax.Array  # uint32 [P]


class Pool(struct.PyTreeNode):
    """Levels that resets draw from. A pool of another class has these fields too."""

    levels: Any  # with `seed`, uint32 [P], and a leading level axis on every array
    drawable: jax.Array  # int32 [P], whose first `num_drawable` entries a reset may draw
    num_drawable: jax.Array  # int32 []


def make_pool(levels: Any) -> Pool:
    """A pool of P levels, all available to resets; can be traced."""
    number = levels.seed.shape[0]
    return Pool(levels, jnp.arange(number, dtype=jnp.int32), jnp.int32(number))


class PooledEnvironment(environment.Environment[State, Params], Generic[State, Params]):
    """Base of environments whose params hold a `pool` of levels built from seeds.

    A subclass defines `params_of`, `start`, `advance`, `observe`, `is_terminated`, `num_actions`
    and `observation_space`; overrides `pool_of` to build levels in advance; and adds its own
    arguments to `settings`. Its params have a `pool`, such as a `Pool`, and
    `max_steps_in_episode`; its states have `level_index` and `time`.

    Args:
      num_levels: size of the set of levels, 0 for all from start_level on. Level seeds are
        start_level ... start_level + num_levels - 1.
      start_level: first level seed.
      pool_size: most levels in the pool at a time. A larger set rotates through it: call
        `refresh` between updates.

    Raises:
      InputError: for arguments out of range.
    """

    events: ClassVar[tuple[str, ...]]
    outcomes: ClassVar[tuple[str, ...]]

    def __init__(
        self, num_levels: int = 0, start_level: int = 0, pool_size: int = DEFAULT_POOL_SIZE
    ) -> None:
        super().__init__()
        self.num_levels = whole("num_levels", num_levels, 0, NUM_SEEDS)
        self.start_level = whole("start_level", start_level, 0, NUM_SEEDS - 1)
        if self.start_level + self.num_levels > NUM_SEEDS:
            raise InputError(
                f"levels {start_level} ... {start_level} + {num_levels} are not within 0 ... 2^31"
            )
        pool_size = whole("pool_size", pool_size, 1, MAX_POOL_SIZE)
        self.pool_size = min(pool_size, self.num_levels or pool_size)
        self._default_params: Params | None = None

    # Defined by subclasses.

    @property
    def settings(self) -> tuple[Any, ...]:
        """All arguments, hashable."""
        return self.num_levels, self.start_level, self.pool_size

    def params_of(self, seeds: jax.Array) -> Params:
        """Default params on the levels with seeds uint32 [P]."""
        raise NotImplementedError

    def pool_of(self, seeds: jax.Array) -> Any:
        """A pool of the levels with seeds uint32 [P]; by default of the seeds alone."""
        return make_pool(Seeds(seeds))

    def start(self, key: jax.Array, index: jax.Array, params: Params) -> State:
        """The first state of an episode on an entry of the pool."""
        raise NotImplementedError

    def advance(
        self, state: State, action: jax.Array, params: Params
    ) -> tuple[State, jax.Array, jax.Array, dict[str, Any]]:
        """A step: the next state, its reward, whether it terminated, and `info`."""
        raise NotImplementedError

    # Derived from these.

    def action_space(self, params: Params | None = None) -> spaces.Discrete:
        return spaces.Discrete(self.num_actions)

    def is_truncated(self, state: State, params: Params) -> jax.Array:
        """Whether the time limit cut the episode short; termination takes precedence. bool []."""
        return (state.time >= params.max_steps_in_episode) & ~self.is_terminated(state, params)

    def __eq__(self, other: object) -> bool:
        """Environments with the same settings are equal, and share compiled programs."""
        return type(other) is type(self) and other.settings == self.settings

    def __hash__(self) -> int:
        return hash(self.settings)

    @property
    def takes_turns(self) -> bool:
        """Whether the set of levels is larger than the pool, so that `refresh` renews it."""
        return self.num_levels == 0 or self.num_levels > self.pool_size

    @property
    def default_params(self) -> Params:
        """Params with a pool that is built on first use."""
        if self._default_params is None:
            with jax.ensure_compile_time_eval():
                self._default_params = self.build_params()
        return self._default_params

    def build_params(self) -> Params:
        """`default_params`, rebuilt; can be traced."""
        if self.takes_turns:
            return self.params_of(self._draw_seeds(jax.random.key(self.start_level)))
        first, stop = self.start_level, self.start_level + self.num_levels
        return self.params_of(jnp.arange(first, stop, dtype=jnp.uint32))

    def _draw_seeds(self, key: jax.Array) -> jax.Array:
        size = self.num_levels or NUM_SEEDS - self.start_level
        offset = jax.random.randint(key, (self.pool_size,), 0, jnp.uint32(size), jnp.uint32)
        return jnp.uint32(self.start_level) + offset

    @partial(jax.jit, static_argnames="self")
    def refresh(self, key: jax.Array, state: State, params: Params) -> Params:
        """Renew the pool's levels, except those with running episodes.

        Does nothing if the whole set fits in the pool. Call it between updates, with the states
        of all environments that use these params (any batch shape). The new levels come from the
        environment's own set, so this is not for params on given levels.

        Raises:
          ValueError: if the pool is not of the environment's size.
        """
        if not self.takes_turns:
            return params
        if (size := params.pool.drawable.size) != self.pool_size:
            raise ValueError(
                f"the pool has {size} levels, not the environment's own {self.pool_size}: "
                "given levels are not renewed"
            )
        fresh = self.pool_of(self._draw_seeds(key))
        return params.replace(pool=refresh_pool(params.pool, fresh, state.level_index))

    def save_levels(self, params: Params) -> dict[str, jax.Array]:
        """Everything in the params that `refresh` changes, small enough for a checkpoint.

        Returns:
          `seed` uint32 [..., P] of the pool's levels, `drawable` and `num_drawable`.
        """
        pool = params.pool
        return {
            "seed": pool.levels.seed,
            "drawable": pool.drawable,
            "num_drawable": pool.num_drawable,
        }

    def load_levels(self, saved: dict[str, Any], params: Params) -> Params:
        """The params with the levels that `save_levels` saved, rebuilt from their seeds."""
        drawable, number = saved["drawable"], saved["num_drawable"]
        pool = self.pool_of(saved["seed"]).replace(drawable=drawable, num_drawable=number)
        return params.replace(pool=pool)

    def reset_env(self, key: jax.Array, params: Params) -> tuple[jax.Array, State]:
        state = self.reset_state(key, params)
        return self.observe(key, state, None, params), state

    def reset_state(self, key: jax.Array, params: Params) -> State:
        """The first state of an episode on a random entry of the pool, without observing it."""
        key_level, key_start = jax.random.split(key)
        pool = params.pool
        # Not randint, which hashes three times as much to remove a bias below 1e-6.
        draw = jax.random.bits(key_level, dtype=jnp.uint32) % pool.num_drawable.astype(jnp.uint32)
        return self.start(key_start, pool.drawable[draw], params)

    def reset_to_level(
        self, key: jax.Array, index: jax.Array | int, params: Params
    ) -> tuple[jax.Array, State]:
        """Start on a given entry of the pool; `key` draws what differs between its episodes.

        Raises:
          InputError: for an index outside the pool, unless jit traces it.
        """
        last = params.pool.drawable.shape[-1] - 1
        return self._reset_to_level(key, whole_or_traced("level index", index, 0, last), params)

    @partial(jax.jit, static_argnames="self")
    def _reset_to_level(
        self, key: jax.Array, index: jax.Array | int, params: Params
    ) -> tuple[jax.Array, State]:
        state = self.start(key, jnp.asarray(index, jnp.int32), params)
        return self.observe(key, state, None, params), state

    def step_env(
        self, key: jax.Array, state: State, action: jax.Array, params: Params
    ) -> tuple[jax.Array, State, jax.Array, jax.Array, dict[str, Any]]:
        """One step without auto-reset; gymnax's five values (truncation is separate)."""
        state, reward, terminated, info = self.advance(state, action, params)
        return self.observe(key, state, action, params), state, reward, terminated, info

    @partial(jax.jit, static_argnames="self")
    def step(
        self, key: jax.Array, state: State, action: jax.Array, params: Params | None = None
    ) -> tuple[jax.Array, State, jax.Array, jax.Array, jax.Array, dict[str, Any]]:
        """One step with auto-reset; gymnax's six values.

        Observes once, after choosing between the next state and a fresh one;
        `info["final_observation"]` costs nothing under jit unless it is read.
        """
        if params is None:
            params = self.default_params
        next_state, reward, terminated, info = self.advance(state, action, params)
        truncated = self.is_truncated(next_state, params)
        done = jnp.asarray(_KNOWN)[(terminated | truncated).astype(jnp.int32)]
        reset_state = self.reset_state(key, params)
        state = jax.tree.map(lambda new, old: jnp.where(done, new, old), reset_state, next_state)
        info |= {
            "terminated": terminated,
            "truncated": truncated,
            "final_state": next_state,
            "final_observation": self.observe(key, next_state, action, params),
        }
        return self.observe(key, state, None, params), state, reward, terminated, truncated, info
