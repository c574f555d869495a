"""Dividing a batch of environments among devices, without a change in what is computed.

Every device runs the same update on its share of the environments. What the update needs
of all of them, it asks for here: a mean, a sum, a gather.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax


@dataclasses.dataclass(frozen=True)
class Shards:
    """Equal shares of a batch; one share, by default, which asks for no communication."""

    count: int = 1
    axis: str | None = None
    """Name of the mesh axis of `jax.shard_map` that the shares lie along."""

    def mean(self, tree: Any) -> Any:
        """Mean over the shares of what each has as a mean over its own."""
        return tree if self.axis is None else jax.lax.pmean(tree, self.axis)

    def sum(self, tree: Any) -> Any:
        """Sum over the shares."""
        return tree if self.axis is None else jax.lax.psum(tree, self.axis)

    def gather(self, tree: Any, axis: int = 0) -> Any:
        """All shares side by side along an array axis, the same on every device."""
        if self.axis is None:
            return tree
        return jax.lax.all_gather(tree, self.axis, axis=axis, tiled=True)

    def own(self, leaf: jax.Array) -> jax.Array:
        """This share of an array that is the same on every device, cut along axis 0."""
        if self.axis is None:
            return leaf
        size = leaf.shape[0] // self.count
        return jax.lax.dynamic_slice_in_dim(leaf, jax.lax.axis_index(self.axis) * size, size)


WHOLE = Shards()
"""One share: everything."""
