"""Cutting rectangles of tiles and runs of bytes out of tables at traced positions.

With slices where they are cheap. On TPU, slices that begin at different positions become a loop
over environments; there, products with one-hot matrices select the same bytes, exactly, since
bfloat16 holds all of them and every sum has one term.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

LANES = 128  # of a TPU's registers: runs are selected in blocks of this many bytes
_STEP = 16  # bytes of the first shifts within a block


@partial(jax.jit, static_argnames=("height", "width"), inline=True)
def cut_rectangle(
    tables: jax.Array,
    index: jax.Array,
    row: jax.Array,
    column: jax.Array,
    height: int,
    width: int,
) -> jax.Array:
    """Rectangle of one of the tables.

    Args:
      tables: 8-bit integers [P, H, W].
      index: int32 [], which table.
      row, column: int32 [], of the rectangle's first cell; clamped so that all of it is inside.

    Returns:
      [height, width] of the tables' type.
    """
    corner = (jnp.asarray(each, jnp.int32) for each in (index, row, column))

    def slices(tables: jax.Array, *corner: jax.Array) -> jax.Array:
        size = (1, height, width)
        return lax.dynamic_slice(tables, corner, size, allow_negative_indices=False)[0]

    products = partial(rectangle_by_products, height=height, width=width)
    return lax.platform_dependent(tables, *corner, tpu=products, default=slices)


def rectangle_by_products(
    tables: jax.Array,
    index: jax.Array,
    row: jax.Array,
    column: jax.Array,
    height: int,
    width: int,
) -> jax.Array:
    """`cut_rectangle` on TPU."""
    _, rows, columns = tables.shape
    row, column = jnp.clip(row, 0, rows - height), jnp.clip(column, 0, columns - width)
    return block_by_products(tables[index], row, column, height, width)


@partial(jax.jit, static_argnames="width", inline=True)
def cut_rows(
    table: jax.Array | np.ndarray, row: jax.Array | np.ndarray, start: jax.Array | int, width: int
) -> jax.Array:
    """Bytes start ... start + width of rows of a table, all of them inside it.

    Args:
      table: uint8 [R, W].
      row: int32 [...].
      start: int32 [].

    Returns:
      [..., width].
    """
    start = jnp.asarray(start, jnp.int32)
    slices = partial(_rows_by_slices, width=width)
    products = partial(rows_by_products, width=width)
    return lax.platform_dependent(table, row, start, tpu=products, default=slices)


@partial(jax.jit, static_argnames=("height", "width"), inline=True)
def cut_block(
    table: jax.Array | np.ndarray, row: jax.Array, start: jax.Array, height: int, width: int
) -> jax.Array:
    """Bytes start ... start + width of consecutive rows of a table; [height, width].

    Args:
      table: uint8 [R, W].
      row: int32 [], the first one.
      start: int32 [].
    """

    def slices(table: jax.Array, row: jax.Array, start: jax.Array) -> jax.Array:
        return _rows_by_slices(table, row + np.arange(height, dtype=np.int32), start, width)

    products = partial(block_by_products, height=height, width=width)
    return lax.platform_dependent(table, row, start, tpu=products, default=slices)


def block_by_products(
    table: jax.Array, row: jax.Array, start: jax.Array, height: int, width: int
) -> jax.Array:
    """`cut_block` on TPU."""
    return _run(start, _run(row, table, height).T, width).T


def _rows_by_slices(table: jax.Array, row: jax.Array, start: jax.Array, width: int) -> jax.Array:
    first = (row * table.shape[1] + start)[..., None]
    dimensions = lax.GatherDimensionNumbers(
        offset_dims=(row.ndim,), collapsed_slice_dims=(), start_index_map=(0,)
    )
    return lax.gather(table.reshape(-1), first, dimensions, (width,), mode="promise_in_bounds")


def rows_by_products(table: jax.Array, row: jax.Array, start: jax.Array, width: int) -> jax.Array:
    """`cut_rows` on TPU."""
    columns = table.shape[1]
    wanted, shape = row.reshape(-1), (*row.shape, width)
    if width == columns:
        return _select(wanted, table).reshape(shape)
    if wanted.size <= -(-width // LANES):  # fewer than the blocks that hold a run
        return _run(start, _select(wanted, table).T, width).T.reshape(shape)
    return _select(wanted, _run(start, table.T, width).T).reshape(shape)


def _run(first: jax.Array, table: jax.Array, length: int) -> jax.Array:
    """Consecutive rows of a table; [length, W].

    From a long table, first select the blocks that hold them, then shift by the rest: by the
    higher half of the remaining bits, then by the lower half.
    """
    size, columns = table.shape
    if size <= 2 * LANES:
        return _select(first + np.arange(length, dtype=np.int32), table)
    blocks, taken = -(-size // LANES), -(-length // LANES) + 1
    padded = jnp.pad(table, ((0, blocks * LANES - size), (0, 0)))
    block = first // LANES + np.arange(taken, dtype=np.int32)
    near = _select(block, padded.reshape(blocks, -1)).reshape(taken * LANES, columns)
    digit = LANES // _STEP
    near = _shifted(near, first % LANES // _STEP, _STEP, digit, length + _STEP - 1)
    return _shifted(near, first % _STEP, 1, _STEP, length)


def _shifted(table: jax.Array, count: jax.Array, unit: int, most: int, length: int) -> jax.Array:
    """Rows of a table from count * unit on, for a count below `most`; [length, W]."""
    found = table[:length]
    for number in range(1, most):
        begin = number * unit
        found = jnp.where(count == number, table[begin : begin + length], found)
    return found


def _select(row: jax.Array, table: jax.Array) -> jax.Array:
    """Rows of a table, selected by a product, 0 for rows outside it; [N, W]."""
    is_row = row[:, None] == np.arange(table.shape[0], dtype=np.int32)
    return jnp.matmul(is_row.astype(jnp.bfloat16), table.astype(jnp.bfloat16)).astype(table.dtype)
