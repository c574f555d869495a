"""How a run is sharded over the devices of all its processes.

Seeds are sharded if their number allows it, which needs no communication; otherwise the
environments of each seed are. Every device then runs the same update on its shard of the
environments, with the collectives defined here: a mean, a sum, a gather.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from coinrun_jax.checks import InputError
from train.config import TrainConfig
from train.networks import has_memory

AXIS = "devices"


@dataclasses.dataclass(frozen=True)
class EnvShards:
    """Equal shards of a batch of environments. A single shard needs no communication."""

    count: int = 1
    axis: str | None = None
    """Name of the mesh axis of `jax.shard_map` along which the shards lie."""

    def mean(self, tree: Any) -> Any:
        """Mean over shards of each shard's mean."""
        return tree if self.axis is None else jax.lax.pmean(tree, self.axis)

    def sum(self, tree: Any) -> Any:
        """Sum over all shards."""
        return tree if self.axis is None else jax.lax.psum(tree, self.axis)

    def gather(self, tree: Any, axis: int = 0) -> Any:
        """All shards, concatenated along an array axis, on every device."""
        if self.axis is None:
            return tree
        return jax.lax.all_gather(tree, self.axis, axis=axis, tiled=True)

    def own(self, leaf: jax.Array) -> jax.Array:
        """This device's shard, along axis 0, of an array that is the same on every device."""
        if self.axis is None:
            return leaf
        size = leaf.shape[0] // self.count
        return jax.lax.dynamic_slice_in_dim(leaf, jax.lax.axis_index(self.axis) * size, size)


ONE_SHARD = EnvShards()


def in_turn(platform: str | None = None) -> bool:
    """Whether a device updates its seeds one after another instead of side by side.

    Args:
      platform: of the devices; by default jax's.

    A CPU's caches hold one agent better than several, and its matrix products gain nothing
    from a batch: four side by side took 1.45 times as long as one after another.
    """
    return (platform or jax.default_backend()) == "cpu"


class Layout:
    """Which part of a run's state each device holds.

    Args:
      devices: by default all of jax's; those of a topology if the program is only compiled.

    Raises:
      InputError: if the work cannot be divided equally.
    """

    def __init__(self, config: TrainConfig, devices: Sequence[Any] | None = None) -> None:
        devices = jax.devices() if devices is None else devices
        count = len(devices)
        self.mesh = Mesh(np.array(devices), (AXIS,)) if count > 1 else None
        self.in_turn = in_turn(devices[0].platform)
        self.shards = ONE_SHARD
        self.per_env: Any = PartitionSpec(*(() if config.num_seeds == 1 else (None,)), AXIS)
        """Spec of arrays with an environment axis."""
        self.shared: Any = PartitionSpec()
        """Spec of all others."""
        if count > 1 and config.num_seeds % count == 0:
            self.per_env = self.shared = PartitionSpec(AXIS)  # by seeds
        elif count > 1:
            _require_divisible(config, count)
            self.shards = EnvShards(count, AXIS)

    def place(self, state: Any, specs: Any) -> Any:
        """Shard a state, complete on every host, over the devices.

        Args:
          specs: a tree of partition specs, each for a subtree of the state.
        """
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
        return jax.tree.map(put, specs, state, is_leaf=is_spec)


def _require_divisible(config: TrainConfig, count: int) -> None:
    ppo = config.ppo
    drawn = ppo.num_envs if has_memory(config.network) else ppo.batch_size
    minibatch = drawn // ppo.num_minibatches
    for name, size in (("ppo.num_envs", ppo.num_envs), ("the minibatch", minibatch)):
        if size % count:
            raise InputError(f"{name} of {size} cannot be divided among {count} devices")
