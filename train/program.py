"""The compiled program of a run: K seeds on D devices, behind `init` and `update`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from train.config import TrainConfig
from train.devices import memory
from train.devices.layout import ONE_SHARD, EnvShards, Layout
from train.environment import make_environment, network_of, outline_environment, require_usable
from train.ppo import Learner, Metrics, ReturnScale, TrainState

Update = Callable[..., tuple[TrainState, Metrics]]
SEEDS = "seeds"
"""Name of the `vmap` axis over seeds."""


def outline_learner(config: TrainConfig, shards: EnvShards = ONE_SHARD) -> Learner:
    """The learner of a config, with shapes for `env_params`: nothing is built or compiled.

    Raises:
      InputError: for settings that cannot be used, alone or together.
    """
    require_usable(config)
    env, shapes = outline_environment(config.env)
    network = network_of(config.network, config.env)
    return Learner(env, shapes, network, config.ppo, config.num_updates, shards)


def make_learner(config: TrainConfig) -> Learner:
    """The learner of a config, with its initial `env_params`.

    Raises:
      InputError: as `outline_learner`.
    """
    learner = outline_learner(config)
    learner.env_params = make_environment(config.env)[1]
    return learner


class Program:
    """What a run computes. Trees have a leading seed axis [K] if there are several seeds.

    Args:
      config: without stages.
      stage: index of the stage, from 0; each stage draws different random numbers.
      devices: by default all of jax's. A topology's devices can be compiled for but not run on,
        and their memory is not checked.

    Raises:
      InputError: for settings that are incompatible with each other or the devices, or do not
        fit in memory.
    """

    def __init__(
        self, config: TrainConfig, stage: int = 0, devices: Sequence[Any] | None = None
    ) -> None:
        self.config = config
        self._stage = stage
        self.layout = Layout(config, devices)
        self.learner = outline_learner(config, self.layout.shards)
        if devices is None:
            memory.require(self.learner, config, jax.device_count())
        self.compile_seconds = 0.0
        self._compiled: Any = None

    def init(self) -> TrainState:
        """The initial state, complete on this host's first device."""
        return jax.jit(self._init)(make_environment(self.config.env)[1])

    def shapes(self) -> TrainState:
        """Shapes and types of what `pack` returns; nothing is computed."""
        return jax.eval_shape(lambda params: self.pack(self._init(params)), self.learner.env_params)

    def initial_shapes(self) -> TrainState:
        """Shapes and types of what `init` returns; nothing is computed."""
        return jax.eval_shape(self._init, self.learner.env_params)

    def _init(self, env_params: Any) -> TrainState:
        def init(seed: jax.Array) -> TrainState:
            key = jax.random.key(seed)
            if self._stage:
                key = jax.random.fold_in(key, self._stage)
            return self.learner.init(key, env_params)

        seeds = jnp.asarray(np.array(self.config.seeds, np.uint32))
        return init(seeds[0]) if self.config.num_seeds == 1 else jax.vmap(init)(seeds)

    def pack(self, state: TrainState) -> TrainState:
        """The state as stored in checkpoints, with only those env params that `refresh` changes.

        This keeps checkpoints small and independent of the other params.
        """
        env = self.learner.env
        if not hasattr(env, "save_levels"):
            return state
        return state.replace(env_params=env.save_levels(state.env_params))

    def unpack(self, packed: TrainState, first: TrainState) -> TrainState:
        """Inverse of `pack`.

        Args:
          packed: numpy arrays.
          first: the run's initial state, numpy arrays; its params complete the packed ones.
        """
        env = self.learner.env
        if not hasattr(env, "load_levels"):
            return packed
        if self.config.num_seeds == 1:
            params = env.load_levels(packed.env_params, first.env_params)
            return packed.replace(env_params=jax.device_get(params))
        each = [
            jax.tree.map(lambda leaf, k=seed: leaf[k], (packed.env_params, first.env_params))
            for seed in range(self.config.num_seeds)
        ]
        params = [jax.device_get(env.load_levels(*pair)) for pair in each]
        return packed.replace(env_params=jax.tree.map(lambda *leaves: np.stack(leaves), *params))

    def place(self, state: TrainState) -> TrainState:
        """Shard a state, complete on every host, over the devices."""
        return self.layout.place(state, self.specs())

    def specs(self) -> TrainState:
        """How each field of a state is sharded."""
        per_env, shared = self.layout.per_env, self.layout.shared
        return TrainState(
            params=shared,
            opt_state=shared,
            env_state=per_env,
            env_params=shared,
            observation=per_env,
            return_scale=ReturnScale(per_env, shared, shared, shared),
            key=shared,
            update=shared,
        )

    def compile(self, state: TrainState) -> None:
        """Compile `update` for states like this one.

        Raises:
          InputError: if the program needs more memory than is available.
        """
        began = time.perf_counter()
        self._compiled = self.trace(state).lower().compile()
        self.compile_seconds = time.perf_counter() - began
        memory.require_compiled(self._compiled)

    def trace(self, state: TrainState) -> Any:
        """`update` over all seeds and devices, traced for states like this one."""
        update: Update = self.learner.update
        if self.config.num_seeds > 1 and self.layout.in_turn:
            update = partial(jax.lax.map, update)
        elif self.config.num_seeds > 1:
            update = jax.vmap(partial(update, seeds=SEEDS), axis_name=SEEDS)
        if self.layout.mesh is not None:
            specs = self.specs()
            update = jax.shard_map(
                update,
                mesh=self.layout.mesh,
                in_specs=(specs,),
                out_specs=(specs, self.layout.shared),
                check_vma=False,
            )
        return jax.jit(update, donate_argnums=0).trace(state)

    def update(self, state: TrainState) -> tuple[TrainState, Metrics]:
        """One update of every seed; donates `state`."""
        return self._compiled(state)

    @property
    def text(self) -> str:
        """The compiled program as XLA prints it."""
        return self._compiled.as_text()
