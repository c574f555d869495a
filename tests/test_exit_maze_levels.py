"""Levels of the exit maze: mazes, exits, starts and decoys by seed, against slow readings."""

from __future__ import annotations

import operator
from collections import Counter, deque
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coinrun_jax.exit_maze import PLACES, generate_level
from coinrun_jax.exit_maze.levels import build_pool, generate_levels
from coinrun_jax.exit_maze.maze import distances
from coinrun_jax.exit_maze.types import FAR

SIZES = (7, 9, 15, 25)
MOVES = ((0, -1), (0, 1), (-1, 0), (1, 0))


@cache
def batch(size, number):
    """Levels 0 ... number - 1, off the device."""
    return jax.device_get(generate_levels(jnp.arange(number, dtype=jnp.uint32), size))


def beside(cell):
    return [(cell[0] + dy, cell[1] + dx) for dy, dx in MOVES]


def search(walls, cell):
    """Steps from a cell to every cell that can be reached from it, by a queue."""
    steps, queue = {cell: 0}, deque([cell])
    while queue:
        here = queue.popleft()
        for there in beside(here):
            inside = min(there) >= 0 and max(there) < len(walls)
            if inside and not walls[there] and there not in steps:
                steps[there] = steps[here] + 1
                queue.append(there)
    return steps


def ways_out(walls, cell):
    return sum(not walls[there] for there in beside(cell))


@pytest.mark.parametrize("size", SIZES)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_level_is_a_perfect_maze_with_all_that_belongs_to_it(size, seed):
    level = jax.device_get(generate_level(seed, size))
    walls, rooms = level.walls, (size // 2) ** 2
    assert walls.shape == (size, size)
    assert not walls[1::2, 1::2].any()
    assert walls[[0, -1]].all()
    assert walls[:, [0, -1]].all()
    assert (~walls).sum() == 2 * rooms - 1  # as many passages as a tree has edges

    start, exit_cell = (tuple(c.tolist()) for c in (level.start_cell, level.exit_cell))
    steps = search(walls, start)
    assert len(steps) == 2 * rooms - 1  # and all connected: no cycle
    (door,) = [cell for cell in beside(exit_cell) if cell in steps]
    assert walls[exit_cell]
    assert door[0] % 2 == door[1] % 2 == start[0] % 2 == start[1] % 2 == 1
    assert door != start
    assert level.exit_steps == steps[door] + 1
    check_decoys(level, steps, start, door)
    assert level.seed == seed


def check_decoys(level, steps, start, door):
    walls = level.walls
    to_door = search(walls, door)
    dead_end, corridor, border = (tuple(cell.tolist()) for cell in level.decoy_cells)
    assert ways_out(walls, dead_end) == 1
    assert ways_out(walls, corridor) == 2
    for cell in (dead_end, corridor):  # never on the way from the start to the exit
        assert steps[cell] + to_door[cell] > steps[door]
        assert cell not in (start, door)
    (before,) = [cell for cell in beside(border) if cell in steps]
    assert walls[border]
    assert before != door
    into = [steps[dead_end], steps[corridor], steps[before] + 1]
    assert level.decoy_steps.tolist() == into
    others = [c for c in steps if ways_out(walls, c) == 1 and c not in (start, door)]
    assert level.num_dead_ends == len(others) + (ways_out(walls, start) == 1)
    closest = min(abs(steps[cell] - level.exit_steps) for cell in others)
    assert abs(into[0] - level.exit_steps) == closest


def test_every_spanning_tree_is_as_likely():
    """3 x 3 rooms have 192; chi-squared on 191 degrees of freedom: mean 191, deviation 19.5."""
    number = 192 * 40
    walls = batch(7, number).walls
    counts = Counter(row.tobytes() for row in walls.reshape(number, -1))
    assert len(counts) == 192
    assert sum((count - 40) ** 2 / 40 for count in counts.values()) < 191 + 4 * 19.5


def test_exits_and_starts_are_uniform():
    """Each within five deviations of its share."""
    number, size = 192 * 40, 7
    levels = batch(size, number)
    exits = Counter(map(tuple, levels.exit_cell.tolist()))
    assert len(exits) == 4 * (size // 2)
    assert all(abs(n - number / 12) < 5 * (number / 12) ** 0.5 for n in exits.values())
    # Of the starts those with the exit at a corner, whose other rooms are not all alike.
    starts = Counter(map(tuple, levels.start_cell[(levels.exit_cell == [0, 1]).all(1)].tolist()))
    assert len(starts) == 8
    share = sum(starts.values()) / 8
    assert all(abs(n - share) < 0.1 * share + 5 * share**0.5 for n in starts.values())


def test_a_decoy_is_about_as_far_as_the_exit():
    levels = batch(13, 300)
    off = np.abs(levels.decoy_steps - levels.exit_steps[:, None])
    assert (np.median(off, 0) <= [1, 0, 0]).all()
    assert (np.percentile(off, 90, axis=0) <= 3).all()


def test_no_decoy_is_where_the_agent_starts_or_the_exit():
    levels = batch(7, 192 * 40)
    for cell in (levels.start_cell, levels.exit_cell):
        assert (levels.decoy_cells != cell[:, None]).any(-1).all()
    assert (levels.decoy_steps > 0).all()
    assert (levels.decoy_steps < FAR).all()


def test_seeds_mean_the_same_mazes_for_ever():
    level = jax.device_get(generate_level(0, 7))
    board = np.where(level.walls, "#", ".")
    marks = {"E": level.exit_cell, "s": level.start_cell}
    marks |= dict(zip("dcb", level.decoy_cells, strict=True))
    for mark, cell in marks.items():
        board[tuple(cell)] = mark
    assert ["".join(row) for row in board] == [
        "#######",
        "#.#.#d#",
        "#.#.#.#",
        "#.#...E",
        "#.###.#",
        "#.c..s#",
        "###b###",
    ]


def test_vmap_equals_one_level_at_a_time():
    together = batch(13, 300)
    for seed in (0, 3, 299):
        alone = jax.device_get(generate_level(np.uint32(seed), 13))
        jax.tree.map(
            np.testing.assert_array_equal, alone, jax.tree.map(operator.itemgetter(seed), together)
        )


def test_levels_do_not_depend_on_flags_of_jax():
    expected = jax.device_get(generate_level(5, 9))
    with jax.enable_x64(True):
        found = jax.device_get(generate_level(5, 9))
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert jax.tree.map(lambda a: a.dtype, found) == jax.tree.map(lambda a: a.dtype, expected)
    with jax.default_prng_impl("rbg"):
        found = jax.device_get(generate_level(5, 9))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_tables_are_the_distances_to_exit_and_decoys():
    levels = jax.tree.map(lambda leaf: leaf[:3], batch(13, 300))
    pool = jax.device_get(build_pool(levels))
    for index in range(3):
        walls = levels.walls[index]
        tables = [pool.exit_distance[index], *pool.decoy_distance[index]]
        for cell, table in zip(
            [levels.exit_cell[index], *levels.decoy_cells[index]], tables, strict=True
        ):
            steps = search(walls, tuple(cell.tolist()))
            expected = np.full(walls.shape, FAR)
            for at, number in steps.items():
                expected[at] = number
            np.testing.assert_array_equal(table, expected)
        start = tuple(levels.start_cell[index])
        assert [int(table[start]) for table in tables] == [
            levels.exit_steps[index],
            *levels.decoy_steps[index],
        ]


def test_what_cannot_be_reached_is_far():
    walls = np.ones((5, 5), bool)
    walls[1, 1] = walls[3, 1:4] = False
    table = distances(jnp.asarray(walls), jnp.array([3, 3]))
    assert table[3].tolist() == [FAR, 2, 1, 0, FAR]
    assert table[1, 1] == FAR


def test_a_single_level_is_a_pool_of_one():
    pool = build_pool(generate_level(3, 7))
    assert pool.exit_distance.shape == (1, 7, 7)
    assert pool.decoy_distance.shape == (1, len(PLACES), 7, 7)


@pytest.mark.parametrize("size", [8, 5, 27, 0, -7])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(ValueError, match=rf"size {size} is not an odd number from 7 to 25"):
        generate_level(0, size)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, np.int64(-3)])
def test_impossible_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="level seed"):
        generate_level(seed, 7)
