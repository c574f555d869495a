"""Level seed s is Procgen's level s: recorded levels, exact statistics, bounds."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coinrun_jax import generate_level, level_to_arrays
from coinrun_jax.coinrun.types import MAX_SECTIONS, Cell, Entity

DATA = Path(__file__).parent / "data"
BATCH = 500  # one size for every test that can have it: one compilation
GENERATE = {
    mode: jax.jit(jax.vmap(partial(generate_level, mode=mode))) for mode in ("hard", "easy")
}


def generate(seeds, mode="hard"):
    """Levels of any number of seeds, in batches of one size."""
    seeds = np.asarray(seeds, np.uint32)
    padded = np.concatenate([seeds, np.zeros(-len(seeds) % BATCH, np.uint32)])
    parts = [jax.device_get(GENERATE[mode](part)) for part in padded.reshape(-1, BATCH)]
    whole = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    return jax.tree.map(lambda leaf: leaf[: len(seeds)], whole)


def one(levels, index):
    return jax.tree.map(lambda leaf: leaf[index], levels)


def test_recorded_levels_are_identical():
    recorded = dict(np.load(DATA / "levels.npz"))
    levels = generate(recorded["level_seed"])
    for i in range(len(recorded["level_seed"])):
        ours = level_to_arrays(one(levels, i))
        np.testing.assert_array_equal(ours["grid"], recorded["grid"][i])
        span = slice(*recorded["ent_off"][i : i + 2])
        used = levels.entity_type[i] != Entity.NONE
        np.testing.assert_array_equal(levels.entity_type[i][used], recorded["ent_type"][span])
        xy = np.stack([recorded["ent_x"][span], recorded["ent_y"][span]], -1)
        np.testing.assert_array_equal(levels.entity_xy[i][used], xy)
        np.testing.assert_array_equal(levels.entity_vx[i][used], recorded["ent_vx"][span])
        np.testing.assert_array_equal(levels.entity_theme[i][used], recorded["ent_theme"][span])
        assert ours["wall_theme"] == recorded["wall_theme"][i]
        assert ours["agent_theme"] == recorded["agent_theme"][i]
        assert ours["background_index"] == recorded["background_index"][i]
        assert ours["background_shift"] == recorded["bg_pct_x"][i]
        sections = recorded["section"][slice(*recorded["section_off"][i : i + 2])]
        assert levels.num_sections[i] == len(sections)
        np.testing.assert_array_equal(levels.section_cell[i][: len(sections)], sections[:, :2])


def runs(values):
    """(first, last) of the runs of True of length >= 2 at columns >= 6."""
    padded = np.concatenate([[False], values, [False]])
    starts = np.flatnonzero(~padded[:-1] & padded[1:])
    stops = np.flatnonzero(padded[:-1] & ~padded[1:]) - 1
    return [(a, b) for a, b in zip(starts, stops, strict=True) if b > a]


def level_statistics(levels, mode):
    """Histograms of `level_stats.json` that need the finished levels only."""
    counts = {}

    def count(name, values):
        counts.setdefault(name, Counter()).update(np.asarray(values).reshape(-1).tolist())

    grid, kind, theme = levels.grid, levels.entity_type, levels.entity_theme
    end_x, end_y = levels.end_cell.T
    number = {name: (kind == name).sum(1) for name in Entity}
    count("level/coin_x", end_x)
    count("level/coin_y", end_y)
    count("level/barriers", (grid == Cell.BARRIER).sum((1, 2)))
    count("level/crates", number[Entity.CRATE])
    count("level/saws_total", number[Entity.SAW])
    count("level/enemies_total", number[Entity.ENEMY])
    count("level/lava_cells", ((grid == Cell.LAVA) | (grid == Cell.LAVA_SURFACE)).sum((1, 2)))
    sign = np.sign(levels.entity_vx[kind == Entity.ENEMY]).astype(int)
    count("level/enemy_vx_sign", sign)
    count("theme/crate", theme[kind == Entity.CRATE])
    count("theme/enemy", theme[kind == Entity.ENEMY])
    count("theme/wall", levels.wall_theme)
    count("theme/agent", levels.agent_theme)
    count("theme/background", levels.background_index)

    for i in range(len(end_x)):
        column, row = levels.entity_xy[i].astype(int).T
        crates = kind[i] == Entity.CRATE
        cells = set(zip(column[crates].tolist(), row[crates].tolist(), strict=True))
        count("level/crate_dup", crates.sum() - len(cells))
        per_column = Counter(x for x, _ in cells)
        count("level/crate_column_height", list(per_column.values()))
        count("level/crate_columns_count", len(per_column))

        solid = (grid[i] == Cell.SOLID) | (grid[i] == Cell.SURFACE)
        height = np.argmin(solid, 0)  # rows of ground before the first free one
        at_row_1 = {name: np.zeros(64, bool) for name in (Entity.SAW, Entity.ENEMY)}
        for name, low in at_row_1.items():
            low[column[(kind[i] == name) & (row == 1)]] = True
        lava = np.isin(grid[i], (Cell.LAVA, Cell.LAVA_SURFACE))
        columns = np.arange(64)
        inside = (height == 1) & (columns >= 6) & (columns < end_x[i])
        hazards = (lava.any(0), at_row_1[Entity.SAW], at_row_1[Entity.ENEMY])
        pits = [pit for hazard in hazards for pit in runs(hazard & inside)]
        count("level/n_pits", len(pits))
        in_pit = np.zeros(64, bool)
        for first, last in pits:
            in_pit[first : last + 1] = True
            rim, rows = height[first - 1], lava[:, first].sum()
            count("level/pit_width", last - first + 1)
            count("level/pit_depth", rim - 1)
            if rows:
                count("level/lava_height", rows)
                count("level/lava_surface_below_rim", rim - 1 - rows)
            name = "lava" if rows else "saw" if at_row_1[Entity.SAW][first] else "enemy"
            count("level/pit_hazard", [name])
            platform = np.flatnonzero(grid[i, rim - 1, first : last + 1] == Cell.SURFACE)
            count("level/pit_platform_width", len(platform))
        for name, word in ((Entity.SAW, "saw"), (Entity.ENEMY, "enemy")):
            below = in_pit[column] & (row == 1) & (kind[i] == name)
            count(f"level/{word}_pit", below.sum())
            count(f"level/{word}_ground", ((kind[i] == name) & ~below).sum())
        ground = columns[1 : end_x[i]]
        ground = height[ground[~in_pit[ground]]]
        count("level/ground_height_all_columns", ground)
        neighbours = ~in_pit[1 : end_x[i] - 1] & ~in_pit[2 : end_x[i]]
        steps = np.diff(height[1 : end_x[i]])[neighbours]
        count("level/ground_height_step_between_columns", steps[steps != 0])
        count("level/height_max", height[1 : end_x[i]].max())
    return counts


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "number"), [("hard", 20_000), ("easy", 5_000)])
def test_statistics_of_the_named_seeds_are_exact(mode, number):
    recorded = json.loads((DATA / "level_stats.json").read_text())[mode]
    ours = level_statistics(generate(np.arange(number), mode), mode)
    compared = set(ours) & set(recorded)
    assert len(compared) >= 28
    for name in sorted(compared):
        counted = {str(key): count for key, count in ours[name].items()}
        assert counted == recorded[name], name


def test_vmap_equals_one_at_a_time():
    seeds = np.array([0, 39, 12345, 2**31 - 1], np.uint32)
    batch = generate(seeds)
    for i, seed in enumerate(seeds):
        single = generate_level(jnp.uint32(seed))
        for a, b in zip(jax.tree.leaves(single), jax.tree.leaves(one(batch, i)), strict=True):
            np.testing.assert_array_equal(a, b)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - BATCH), st.sampled_from(["hard", "easy"]))
def test_every_level_is_well_formed(first, mode):
    levels = generate(first + np.arange(BATCH, dtype=np.uint64), mode)
    rows = np.arange(BATCH)
    end_x, end_y = levels.end_cell.T.astype(int)
    assert (levels.grid[rows, end_y, end_x] == Cell.EMPTY).all()
    assert (levels.grid[rows, end_y - 1, end_x] == Cell.SURFACE).all()
    assert (levels.grid[rows, :, end_x + 1] == Cell.SOLID).all()  # a wall from bottom to top
    assert (levels.grid[:, [0, -1]][:, :, [0, -1]] == Cell.SOLID).all()  # corners
    assert (levels.num_sections >= 1).all()
    assert (levels.num_sections <= MAX_SECTIONS).all()
    barriers = (levels.grid == Cell.BARRIER).sum((1, 2))
    np.testing.assert_array_equal(barriers, levels.num_sections)  # one where each begins
    used = levels.entity_type != Entity.NONE
    column, row = np.moveaxis(levels.entity_xy.astype(int), -1, 0)
    assert (levels.grid[rows[:, None], row, column][used] == Cell.EMPTY).all()
    assert ((levels.entity_vx != 0) == (levels.entity_type == Entity.ENEMY)).all()
    assert (np.diff(used.astype(int), axis=1) <= 0).all()  # creation order without gaps
    for section in range(MAX_SECTIONS):
        there = section < levels.num_sections
        x, y = levels.section_cell[there, section].T.astype(int)
        assert (levels.grid[rows[there], y, x] != Cell.SOLID).all()
        assert (levels.grid[rows[there], y - 1, x] == Cell.SURFACE).all()


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="medium"):
        generate_level(0, mode="medium")
