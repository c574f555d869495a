"""Devices: where the parts of a run lie, on jax's own engine.

A run uses every local device, and with several processes those of all of them. Several
seeds are divided among the devices where their number allows it, which needs no
communication; otherwise the environments of each are.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from coinrun_jax.checks import InputError
from train.config import TrainConfig
from train.ppo import ReturnScale, TrainState
from train.shards import WHOLE, Shards

AXIS = "devices"


def in_turn() -> bool:
    """Whether a device updates its seeds one after the other, and not side by side.

    A CPU's caches hold one agent better than several, and its matrix products gain nothing
    from a batch: four side by side took 1.45 times as long as one after another.
    """
    return jax.default_backend() == "cpu"


class Layout:
    """Where the parts of a `TrainState` lie.

    Raises:
      InputError: where the work cannot be divided equally.
    """

    def __init__(self, config: TrainConfig) -> None:
        count = jax.device_count()
        self.num_seeds = config.num_seeds
        self.mesh = Mesh(np.array(jax.devices()), (AXIS,)) if count > 1 else None
        self.divides_seeds = count > 1 and config.num_seeds % count == 0
        self.shards = WHOLE
        if count > 1 and not self.divides_seeds:
            _require_divisible(config, count)
            self.shards = Shards(count, AXIS)

    def specs(self) -> TrainState:
        """Partition specs of a state, by its fields."""
        each: Any = PartitionSpec(*(() if self.num_seeds == 1 else (None,)), AXIS)
        shared: Any = PartitionSpec()
        if self.divides_seeds:
            each = shared = PartitionSpec(AXIS)
        return TrainState(
            params=shared,
            opt_state=shared,
            env_state=each,
            env_params=shared,
            observation=each,
            return_scale=ReturnScale(each, shared, shared, shared),
            key=shared,
            update=shared,
        )

    def place(self, state: TrainState) -> TrainState:
        """A state that is whole on every host, put where its parts belong."""
        if self.mesh is None:
            return jax.device_put(state)

        def put(spec: PartitionSpec, part: Any) -> Any:
            sharding = NamedSharding(self.mesh, spec)  # type: ignore[arg-type]
            return jax.tree.map(
                lambda leaf: jax.make_array_from_callback(
                    np.shape(leaf), sharding, lambda index: np.asarray(leaf)[index]
                ),
                part,
            )

        is_spec = lambda node: isinstance(node, PartitionSpec)  # noqa: E731
        return jax.tree.map(put, self.specs(), state, is_leaf=is_spec)


def _require_divisible(config: TrainConfig, count: int) -> None:
    ppo = config.ppo
    minibatch = ppo.batch_size // ppo.num_minibatches
    for name, size in (("ppo.num_envs", ppo.num_envs), ("the minibatch", minibatch)):
        if size % count:
            raise InputError(f"{name} of {size} cannot be divided among {count} devices")
