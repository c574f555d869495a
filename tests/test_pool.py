"""What the pool precomputes equals a slow reading of the level, and renewal keeps its promises."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax import generate_level
from coinrun_jax.coinrun.pool import build_pool, level_of
from coinrun_jax.coinrun.types import MARGIN, NUM_CRATE_THEMES, WORLD_SIZE, Cell, Entity, Tile
from coinrun_jax.refresh import refresh_pool

NUMBER = 200
TURNING = (Cell.SOLID, Cell.SURFACE, Cell.BARRIER)


@pytest.fixture(scope="module")
def levels():
    generate = jax.jit(jax.vmap(generate_level))
    return jax.device_get(generate(np.arange(NUMBER, dtype=np.uint32)))


@pytest.fixture(scope="module")
def pool(levels):
    return jax.device_get(build_pool(levels))


@pytest.fixture(scope="module")
def old_and_new(levels):
    """Two pools of 8 levels."""

    def pool_of(first):
        return build_pool(jax.tree.map(lambda leaf: leaf[first : first + 8], levels))

    return pool_of(0), pool_of(100)


refresh = jax.jit(refresh_pool)


def cell(level, column, row):
    """Grid code at a cell, which is solid outside the world."""
    inside = 0 <= column < WORLD_SIZE and 0 <= row < WORLD_SIZE
    return level.grid[row, column] if inside else Cell.SOLID


def entities(level, kind):
    """(slot, column, row) of the entities of a kind, in creation order."""
    slots = np.flatnonzero(level.entity_type == kind)
    return [(slot, *level.entity_xy[slot].astype(int).tolist()) for slot in slots]


def test_tiles_are_what_stands_still_in_each_cell(pool):
    tile_of = {
        Cell.SOLID: Tile.SOLID,
        Cell.SURFACE: Tile.SURFACE,
        Cell.LAVA: Tile.LAVA,
        Cell.LAVA_SURFACE: Tile.LAVA_SURFACE,
    }
    for index in range(NUMBER):
        level = level_of(pool, index)
        inside = np.full((WORLD_SIZE, WORLD_SIZE), Tile.EMPTY)
        for code, tile in tile_of.items():
            inside[level.grid == code] = tile
        expected = np.pad(inside, MARGIN, constant_values=Tile.SOLID)
        for _, column, row in entities(level, Entity.SAW):
            expected[row + MARGIN, column + MARGIN] = Tile.SAW
        for order, (slot, column, row) in enumerate(entities(level, Entity.CRATE)):
            code = Tile.CRATE + NUM_CRATE_THEMES * order + level.entity_theme[slot]
            expected[row + MARGIN, column + MARGIN] = code  # of coinciding ones the last
        np.testing.assert_array_equal(pool.tiles[index], expected)


def test_lanes_end_where_an_enemy_turns_around(pool):
    number, walled = 0, 0
    for index in range(NUMBER):
        level = level_of(pool, index)
        for slot, column, row in entities(level, Entity.ENEMY):
            left = right = column
            while cell(level, left - 1, row) not in TURNING:
                left -= 1
            while cell(level, right + 1, row) not in TURNING:
                right += 1
            np.testing.assert_array_equal(pool.lane_edge[index, :, slot], [left, right + 1])
            walls = [cell(level, x, row) == Cell.SOLID for x in (left - 1, right + 1)]
            np.testing.assert_array_equal(pool.lane_wall[index, :, slot], walls)
            number, walled = number + 1, walled + any(walls)
    assert number > 100
    assert walled > 50


def test_lanes_know_the_crates_in_them(pool):
    number = 0
    for index in range(NUMBER):
        level = level_of(pool, index)
        crates = {(column, row) for _, column, row in entities(level, Entity.CRATE)}
        for slot, _, row in entities(level, Entity.ENEMY):
            left, right = pool.lane_edge[index, :, slot].astype(int)
            expected = {column for column in range(left, right) if (column, row) in crates}
            found = set()
            for first, last in pool.lane_crates[index, :, :, slot]:
                if np.isfinite(first):
                    found |= set(range(int(first - 0.5), int(last + 0.5)))
            assert found == expected
            number += len(expected)
    assert number > 20


def test_a_single_level_is_a_pool_of_one(levels):
    pool = build_pool(jax.tree.map(lambda leaf: leaf[39], levels))
    assert pool.tiles.shape[0] == pool.num_drawable == 1
    assert level_of(pool, 0).seed == 39


def test_renewal_keeps_levels_in_use_and_draws_only_renewed_ones(old_and_new):
    old, new = old_and_new
    in_use = jnp.array([[3, 5], [3, 0]])  # any batch shape, with repetitions
    renewed = refresh(old, new, in_use)
    kept = [0, 3, 5]
    replaced = [1, 2, 4, 6, 7]
    seeds = np.arange(8) + 100 * np.isin(np.arange(8), replaced)
    np.testing.assert_array_equal(renewed.levels.seed, seeds)
    drawable = renewed.drawable[: renewed.num_drawable]
    np.testing.assert_array_equal(np.sort(drawable), replaced)
    for part, source, index in ((kept, old, 3), (replaced, new, 4)):
        assert index in part
        np.testing.assert_array_equal(renewed.tiles[index], source.tiles[index])
        np.testing.assert_array_equal(renewed.lane_edge[index], source.lane_edge[index])
        np.testing.assert_array_equal(renewed.levels.grid[index], source.levels.grid[index])


def test_renewal_without_running_episodes_replaces_everything(old_and_new):
    old, new = old_and_new
    renewed = refresh(old, new, jnp.zeros(0, jnp.int32))
    np.testing.assert_array_equal(renewed.levels.seed, new.levels.seed)
    assert renewed.num_drawable == 8


def test_renewal_with_every_level_in_use_keeps_them_drawable(old_and_new):
    old, new = old_and_new
    renewed = refresh(old, new, jnp.arange(8))
    np.testing.assert_array_equal(renewed.levels.seed, old.levels.seed)
    assert renewed.num_drawable == 8
    np.testing.assert_array_equal(np.sort(renewed.drawable), np.arange(8))
