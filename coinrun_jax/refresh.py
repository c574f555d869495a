"""Renewing a pool of levels between updates, for any environment with a pool.

A pool is a pytree with `drawable` int32 [P], whose first `num_drawable` int32 [] entries are the
indices that a reset can draw.
"""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

Pool = TypeVar("Pool", bound=Any)


def refresh_pool(pool: Pool, fresh: Pool, in_use: jax.Array) -> Pool:
    """Replace every level without a running episode.

    Resets then draw only from the new levels: a level that stays because an episode is still
    running on it must not be drawn more often just because it is long. If none could be
    replaced, all remain drawable.

    Args:
      pool: the current one, P levels; all leaves but `num_drawable` have a leading level axis.
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
