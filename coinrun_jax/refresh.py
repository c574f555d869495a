"""Renewing a pool of levels between updates; the same for every environment with a pool.

A pool is a pytree with `drawable` int32 [P], indices that a reset may draw, in its first
`num_drawable` int32 [].
"""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

Pool = TypeVar("Pool", bound=Any)


def refresh_pool(pool: Pool, fresh: Pool, in_use: jax.Array) -> Pool:
    """Replace every level that no running episode stands on.

    Resets then draw among the replaced ones only: a level that stays because an episode
    still runs on it must not be drawn more often than others for being long. If none could
    be replaced, all stay drawable.

    Args:
      pool: the pool in use, P levels; all leaves but `num_drawable` have the level axis in front.
      fresh: P newly built levels.
      in_use: int32 [...], the `level_index` of every running episode.
    """
    size = pool.drawable.shape[0]
    kept = jnp.zeros(size, bool).at[in_use.reshape(-1)].set(True)

    def choose(old: jax.Array, new: jax.Array) -> jax.Array:
        return jnp.where(kept.reshape((size,) + (1,) * (old.ndim - 1)), old, new)

    replaced = jax.tree.map(
        choose,
        pool.replace(drawable=kept, num_drawable=kept),
        fresh.replace(drawable=kept, num_drawable=kept),
    )
    order = jnp.argsort(kept, stable=True).astype(jnp.int32)
    number = jnp.where(kept.all(), size, jnp.sum(~kept, dtype=jnp.int32))
    return replaced.replace(drawable=order, num_drawable=number.astype(jnp.int32))
