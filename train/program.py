"""The compiled program of a run: K seeds on D devices, behind `init` and `update`."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from train import memory
from train.config import ConfigError, TrainConfig
from train.environment import make_environment
from train.networks import make_network
from train.parallel import Layout, in_turn
from train.ppo import Learner, Metrics, TrainState
from train.shards import WHOLE, Shards


def make_learner(config: TrainConfig, shards: Shards = WHOLE) -> Learner:
    """The learner of a config.

    Raises:
      ConfigError: for settings that do not fit together.
    """
    env, env_params = make_environment(config.env)
    if env.takes_turns and env.pool_size < config.ppo.num_envs:
        # Episodes would stand on nearly all of the pool, and the few others be all that is drawn.
        raise ConfigError(
            f"env.pool_size {env.pool_size} is below ppo.num_envs {config.ppo.num_envs}: levels "
            f"that episodes stand on cannot be renewed; give --env.pool-size "
            f"{config.ppo.num_envs} or more"
        )
    shape = env.observation_space(env_params).shape
    network = make_network(config.network, shape, env.num_actions)
    return Learner(env, env_params, network, config.ppo, config.num_updates, shards)


Update = Callable[..., tuple[TrainState, Metrics]]
SEEDS = "seeds"
"""Name of the axis that agents side by side lie along."""


def _over_seeds(update: Update) -> Update:
    """An update of every seed of a state."""
    if in_turn():
        return partial(jax.lax.map, update)
    return jax.vmap(partial(update, seeds=SEEDS), axis_name=SEEDS)


class Program:
    """What a run computes. Trees have a leading seed axis [K] where there are several.

    Raises:
      ConfigError: for settings that do not fit together, the devices, or into memory.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.layout = Layout(config)
        self.learner = make_learner(config, self.layout.shards)
        memory.require(self.learner, config, jax.device_count())
        self.compile_seconds = 0.0
        self._compiled: Any = None

    def init(self) -> TrainState:
        """The first state, whole on this host's first device."""
        seeds = np.array(self.config.seeds, np.uint32)

        def init(seed: jax.Array) -> TrainState:
            return self.learner.init(jax.random.key(seed))

        if self.config.num_seeds == 1:
            return jax.jit(init)(seeds[0])
        return jax.jit(jax.vmap(init))(seeds)

    def compile(self, state: TrainState) -> None:
        """Compile `update` for states like this one.

        Raises:
          ConfigError: if the program needs more memory than there is.
        """
        began = time.perf_counter()
        self._compiled = self.lower(state).compile()
        self.compile_seconds = time.perf_counter() - began
        memory.require_compiled(self._compiled)

    def lower(self, state: TrainState) -> Any:
        """`update` as jax lowers it for states like this one."""
        update: Update = self.learner.update
        if self.config.num_seeds > 1:
            update = _over_seeds(update)
        if self.layout.mesh is None:
            return jax.jit(update, donate_argnums=0).lower(state)
        mesh, specs = self.layout.mesh, self.layout.specs()
        of_metrics = specs.update  # on every device, or divided with the seeds
        shared = jax.shard_map(
            update, mesh=mesh, in_specs=(specs,), out_specs=(specs, of_metrics), check_vma=False
        )
        return jax.jit(shared, donate_argnums=0).lower(state)

    def update(self, state: TrainState) -> tuple[TrainState, Metrics]:
        """One update of every seed; gives `state`'s memory away."""
        return self._compiled(state)

    @property
    def text(self) -> str:
        """The compiled program, as XLA prints it."""
        return self._compiled.as_text()
