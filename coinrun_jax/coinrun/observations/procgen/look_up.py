"""Look-ups with indices known to be in bounds, without the clipping that JAX adds by default.

A batch of tables is looked up as one, with all tables laid end to end: XLA on CPU turns gathers
with more than one index into slow loops.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap


@custom_vmap
def look_up(table: jax.Array, index: jax.Array) -> jax.Array:
    """table[index] for a table [N]; has the shape of the index."""
    dimensions = lax.GatherDimensionNumbers(
        offset_dims=(), collapsed_slice_dims=(0,), start_index_map=(0,)
    )
    return lax.gather(table, index[..., None], dimensions, (1,), mode="promise_in_bounds")


@custom_vmap
def rows_of(table: jax.Array, row: jax.Array) -> jax.Array:
    """table[row] for a table [rows, columns] and rows [N]; [N, columns]."""
    dimensions = lax.GatherDimensionNumbers(
        offset_dims=(row.ndim,), collapsed_slice_dims=(0,), start_index_map=(0,)
    )
    slices = (1, table.shape[1])
    return lax.gather(table, row[..., None], dimensions, slices, mode="promise_in_bounds")


def _in_batch(function: Any) -> Any:
    def rule(
        size: int, batched: list[bool], table: jax.Array, index: jax.Array
    ) -> tuple[jax.Array, bool]:
        if batched[0]:
            begin = table.shape[1] * jnp.arange(size, dtype=jnp.int32)
            index = jnp.expand_dims(begin, range(1, index.ndim + 1 - batched[1])) + index
            table = table.reshape(-1, *table.shape[2:])
        return function(table, index), True

    return rule


look_up.def_vmap(_in_batch(look_up))
rows_of.def_vmap(_in_batch(rows_of))
