"""The compiled program of a run: K seeds on D devices, behind `init` and `update`."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from train import memory
from train.config import TrainConfig
from train.environment import make_environment, network_of, outline_environment, require_usable
from train.parallel import Layout, in_turn
from train.ppo import Learner, Metrics, TrainState
from train.shards import WHOLE, Shards


def outline_learner(config: TrainConfig, shards: Shards = WHOLE) -> Learner:
    """The learner of a config, with shapes for `env_params`: nothing is built or compiled.

    Raises:
      InputError: for settings that cannot be used, alone or together.
    """
    require_usable(config)
    env, shapes = outline_environment(config.env)
    network = network_of(config.network, config.env)
    return Learner(env, shapes, network, config.ppo, config.num_updates, shards)


def make_learner(config: TrainConfig) -> Learner:
    """The learner of a config, with the levels that it begins on.

    Raises:
      InputError: as `outline_learner`.
    """
    learner = outline_learner(config)
    learner.env_params = make_environment(config.env)[1]
    return learner


Update = Callable[..., tuple[TrainState, Metrics]]
SEEDS = "seeds"
"""Name of the axis that agents side by side lie along."""


def _over_seeds(update: Update) -> Update:
    """An update of every seed of a state."""
    if in_turn():
        return partial(jax.lax.map, update)
    return jax.vmap(partial(update, seeds=SEEDS), axis_name=SEEDS)


def _of_seed(index: int, *states: TrainState) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], [state.env_params for state in states])


class Program:
    """What a run computes. Trees have a leading seed axis [K] where there are several.

    Raises:
      InputError: for settings that do not fit together, the devices, or into memory.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.layout = Layout(config)
        self.learner = outline_learner(config, self.layout.shards)
        memory.require(self.learner, config, jax.device_count())
        self.compile_seconds = 0.0
        self._compiled: Any = None

    def init(self) -> TrainState:
        """The first state, whole on this host's first device."""
        return jax.jit(self._init)(make_environment(self.config.env)[1])

    def shapes(self) -> TrainState:
        """Of what `pack` gives: shapes and types; nothing is computed."""
        return jax.eval_shape(lambda params: self.pack(self._init(params)), self.learner.env_params)

    def _init(self, env_params: Any) -> TrainState:
        def init(seed: jax.Array) -> TrainState:
            return self.learner.init(jax.random.key(seed), env_params)

        seeds = jnp.asarray(np.array(self.config.seeds, np.uint32))
        return init(seeds[0]) if self.config.num_seeds == 1 else jax.vmap(init)(seeds)

    def pack(self, state: TrainState) -> TrainState:
        """The state as a checkpoint holds it: of the params only what `refresh` changes.

        So a checkpoint depends neither on the catalogue of placements nor on what a pool
        precomputes, and levels take a few bytes.
        """
        env = self.learner.env
        if not hasattr(env, "save_levels"):
            return state
        return state.replace(env_params=env.save_levels(state.env_params))

    def unpack(self, packed: TrainState, first: TrainState) -> TrainState:
        """The state that was packed.

        Args:
          packed: of numpy arrays.
          first: of `init`, whose params the run began with; numpy.
        """
        env = self.learner.env
        if not hasattr(env, "load_levels"):
            return packed
        if self.config.num_seeds == 1:
            params = env.load_levels(packed.env_params, first.env_params)
        else:
            parts = [
                jax.device_get(env.load_levels(*_of_seed(index, packed, first)))
                for index in range(self.config.num_seeds)
            ]
            params = jax.tree.map(lambda *leaves: np.stack(leaves), *parts)
        return packed.replace(env_params=jax.device_get(params))

    def compile(self, state: TrainState) -> None:
        """Compile `update` for states like this one.

        Raises:
          InputError: if the program needs more memory than there is.
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
