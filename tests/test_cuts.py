"""What a TPU selects by products is what others slice."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import coinrun_jax
from coinrun_jax.coinrun import cuts

DRAWS = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("rows", "columns", "width", "wanted"),
    [(7, 1000, 192, 64), (300, 500, 195, 9), (7, 192, 192, 5), (60, 300, 129, 1)],
)
def test_runs_of_bytes(rows: int, columns: int, width: int, wanted: int) -> None:
    table = jnp.asarray(DRAWS.integers(0, 256, (rows, columns), np.uint8))
    for start in (0, columns - width, *DRAWS.integers(0, columns - width + 1, 3)):
        row = jnp.asarray(DRAWS.integers(0, rows, wanted), jnp.int32)
        for chosen in (row, row[0]):
            sliced = cuts.cut_rows(table, chosen, start, width)
            selected = cuts.rows_by_products(table, chosen, jnp.int32(start), width)
            np.testing.assert_array_equal(selected, sliced)
    np.testing.assert_array_equal(sliced, table[int(row[0]), start : start + width])


@pytest.mark.parametrize("corner", [(0, 0), (70, 65), (-3, 200), (31, 7)])
def test_rectangles_of_tiles_are_moved_inside(corner: tuple[int, int]) -> None:
    tables = jnp.asarray(DRAWS.integers(-128, 128, (3, 78, 78)), jnp.int8)
    place = [jnp.int32(each) for each in (2, *corner)]
    selected = cuts.rectangle_by_products(tables, *place, 13, 7)
    np.testing.assert_array_equal(selected, cuts.cut_rectangle(tables, *place, 13, 7))
    row, column = np.clip(corner, 0, (78 - 13, 78 - 7))
    np.testing.assert_array_equal(selected, tables[2, row : row + 13, column : column + 7])


@pytest.mark.parametrize("corner", [(0, 0), (935, 507), (333, 77), (128, 256)])
def test_blocks_of_a_table(corner: tuple[int, int]) -> None:
    table = jnp.asarray(DRAWS.integers(0, 256, (1000, 700), np.uint8))
    row, start = map(jnp.int32, corner)
    block = table[corner[0] : corner[0] + 65, corner[1] : corner[1] + 193]
    np.testing.assert_array_equal(cuts.cut_block(table, row, start, 65, 193), block)
    np.testing.assert_array_equal(cuts.block_by_products(table, row, start, 65, 193), block)


def test_for_a_tpu_no_environment_is_shown_a_slice_of_its_own() -> None:
    env, params = coinrun_jax.make("CoinRun-v1", num_levels=2)
    state = jax.eval_shape(env.start, jax.random.key(0), jnp.int32(0), params)
    many = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((3, *leaf.shape), leaf.dtype), state)
    traced = jax.jit(jax.vmap(lambda one: env.observe(None, one, None, params))).trace(many)

    def slices(platform: str) -> int:
        lowered = traced.lower(lowering_platforms=(platform,)).as_text()
        return lowered.count("slice_sizes = array<i64: 1, 13, 13>")

    assert slices("tpu") == 0 < slices("cuda")
