"""The coin goes where its placement says, as often as it says, and nothing else moves."""

from __future__ import annotations

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax import TEST_LEVELS, EnvParams, generate_level, make_placement
from coinrun_jax.coinrun import placement, places
from coinrun_jax.coinrun.placement import BEHIND_BY, CATALOGUE, NUM_UNIFORMS, draw_coin
from coinrun_jax.coinrun.places import HIGH
from coinrun_jax.coinrun.pool import build_pool
from coinrun_jax.coinrun.types import MARGIN, Cell, Tile

NUMBER = 4_000
HELD_OUT = 800  # of these levels, the last ones
WHERE = {"fixed": {"cell": (9, 4)}}  # what a placement of that name needs


@pytest.fixture(scope="module", params=["hard", pytest.param("easy", marks=pytest.mark.thorough)])
def pool(request):
    return pool_of(request.param)


@cache
def pool_of(mode):
    seeds = np.r_[: NUMBER - HELD_OUT, TEST_LEVELS[:HELD_OUT]].astype(np.uint32)
    return build_pool(jax.jit(jax.vmap(partial(generate_level, mode=mode)))(seeds))


@cache
def uniforms():
    """What decides each coin, one row for a level."""
    return np.asarray(jax.random.uniform(jax.random.key(0), (NUMBER, NUM_UNIFORMS)))


def draw_each(uniforms, index, pool, placement):
    return jax.vmap(draw_coin, in_axes=(0, 0, None, None))(uniforms, index, pool, placement)


draw_all = jax.jit(draw_each)
EACH = np.arange(NUMBER, dtype=np.int32)
ONE = np.full(NUMBER, 5, np.int32)  # of the levels, again and again


def draw(kind="end", *args, pool=None, index=EACH, given=None, **kwargs):
    kwargs = {**WHERE.get(kind if isinstance(kind, str) else "", {}), **kwargs}
    given = uniforms() if given is None else given
    placement = make_placement(kind, *args, **kwargs)
    return jax.device_get(draw_all(given, index, pool or pool_of("hard"), placement))


def tile(pool, cells, below=0):
    rows, columns = cells[:, 1] - below + MARGIN, cells[:, 0] + MARGIN
    return np.asarray(pool.tiles)[np.arange(len(cells)), rows, columns]


def is_ground(tiles):
    return (tiles == Tile.SOLID) | (tiles == Tile.SURFACE)


def first_level():
    return jax.device_get(jax.tree.map(lambda leaf: leaf[0], pool_of("hard").levels))


@pytest.mark.parametrize("kind", CATALOGUE)
def test_the_coin_lies_in_a_free_cell_of_every_level_and_stands_where_it_should(pool, kind):
    coins = draw(kind, pool=pool)
    end = np.asarray(pool.levels.end_cell)
    x, y = coins.coin_cell.T
    if kind == "absent":
        assert not coins.present.any()
        assert not coins.moved.any()
        assert (coins.coin_cell == -1).all()
        assert (coins.ghost_cell == -1).all()
        return
    assert (tile(pool, coins.coin_cell) == Tile.EMPTY).all()
    assert ((x >= 1) & (x <= end[:, 0]) & (y >= 1)).all()
    below = tile(pool, coins.coin_cell, below=1)
    on_crate = below >= Tile.CRATE
    if kind == "uniform":
        assert (is_ground(below) | on_crate).all()
        assert on_crate.any()
    elif kind == "off_path":
        hangs = ~on_crate
        assert (tile(pool, coins.coin_cell, below=2)[on_crate] >= Tile.CRATE).all()
        assert is_ground(tile(pool, coins.coin_cell, below=HIGH + 1)[hangs]).all()
        for below in range(1, HIGH):
            assert not is_ground(tile(pool, coins.coin_cell, below=below)[hangs]).any()
    elif kind == "fixed":
        given = (coins.coin_cell == WHERE["fixed"]["cell"]).all(1)
        assert given.any()
        assert is_ground(below[~given]).all()
        wanted = np.tile(WHERE["fixed"]["cell"], (NUMBER, 1))
        np.testing.assert_array_equal(given, tile(pool, wanted) == Tile.EMPTY)
    else:
        assert is_ground(below).all()
    np.testing.assert_array_equal(coins.moved, (coins.coin_cell != end).any(1))
    assert coins.present.all()


def test_behind_is_left_of_where_the_agent_then_stands(pool):
    coins = draw("behind", pool=pool)
    start = np.floor(coins.start_xy).astype(int)
    assert (coins.coin_cell[:, 0] <= start[:, 0] - BEHIND_BY).all()
    assert (tile(pool, start) == Tile.EMPTY).all()
    assert is_ground(tile(pool, start, below=1)).all()
    np.testing.assert_allclose(coins.start_xy - start, [[0.5, 0.5787]] * NUMBER, atol=1e-5)
    assert len(np.unique(start[:, 0])) > 20
    for dx in (-2, -1, 0, 1, 2):
        beside = start + np.array([dx, 0])
        assert (tile(pool, beside) != Tile.SAW).all()
    stays = draw("behind", 0.0, pool=pool)
    np.testing.assert_array_equal(stays.start_xy, pool.levels.start_xy)


def test_uniform_draws_all_cells_alike():
    pool, draws = pool_of("hard"), draw("uniform", index=ONE)
    cells, counts = np.unique(draws.coin_cell, axis=0, return_counts=True)
    free = np.asarray(pool.tiles[5])[MARGIN:-MARGIN, MARGIN:-MARGIN] == Tile.EMPTY
    below = np.roll(np.asarray(pool.tiles[5])[MARGIN:-MARGIN, MARGIN:-MARGIN], 1, 0)
    wanted = np.argwhere((free & (is_ground(below) | (below >= Tile.CRATE))).T)
    is_end = (wanted == np.asarray(pool.levels.end_cell[5])).all(1)
    assert is_end.sum() == 1
    np.testing.assert_array_equal(cells, wanted[~is_end])
    share = 1 / len(cells)
    assert np.abs(counts / NUMBER - share).max() < 4 * np.sqrt(share * (1 - share) / NUMBER)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0, (0.8, 1.0), (0.0, 0.2)])
def test_fraction_is_that_share_of_the_way_or_the_next_cell_before(pool, fraction):
    coins = draw("fraction", fraction=fraction, pool=pool)
    low, high = fraction if isinstance(fraction, tuple) else (fraction, fraction)
    end = np.asarray(pool.levels.end_cell)[:, 0]
    x = coins.coin_cell[:, 0]
    assert (x <= 1.5 + high * (end - 1)).all()
    behind = 1 + low * (end - 1) - x
    assert (behind < 9).all()  # the widest pit
    assert (behind < 1).mean() > 0.8
    share = (x - 1) / (end - 1)
    assert share.mean() == pytest.approx((low + high) / 2, abs=0.05)
    assert coins.moved.all() if low < 1 else not coins.moved.any()


MOVED = [
    ("uniform", {}),
    ("fraction", {"fraction": (0.8, 1.0)}),
    ("fraction", {"fraction": (0.0, 1.0)}),
    ("random_section", {}),
    ("off_path", {}),
    ("behind", {}),
    ("fixed", {"cell": (30, 2)}),  # beyond the end of many levels
]


@cache
def cells_of(mode):
    """By kind, the marked cells [n, 2] of each held-out level, from the left, then from below."""
    pool = pool_of(mode)
    fields = (pool.levels, pool.tiles, pool.lane_edge, pool.lane_row)
    levels = jax.tree.map(lambda leaf: leaf[-HELD_OUT:], fields)
    marked = jax.device_get(mark(*levels))
    return {kind: [np.argwhere(level.T) for level in each] for kind, each in marked.items()}


@jax.jit
@jax.vmap
def mark(*level):
    terrain = places.survey(*level)
    return {kind: CATALOGUE[kind](terrain) for kind, _ in MOVED}


def drawn_with_the_end(kind, arguments, cells, uniform, end, start):
    """A candidate cell as one was drawn while the end was as good as any other."""
    if kind == "fixed":
        return cells[cells[:, 0] <= arguments["cell"][0]][-1]
    if kind == "fraction":
        low, high = np.float32(arguments["fraction"])
        aim = 1 + np.rint((low + uniform * (high - low)) * np.float32(end[0] - 1))
        return cells[cells[:, 0] <= aim][-1]
    if kind == "behind":
        cells = cells[cells[:, 0] <= np.floor(start[0]) - BEHIND_BY]
    return cells[int(uniform * np.float32(len(cells)))]


@pytest.mark.parametrize("mode", ["hard", pytest.param("easy", marks=pytest.mark.thorough)])
@pytest.mark.parametrize(("kind", "arguments"), MOVED)
def test_a_moved_coin_leaves_the_end_and_other_draws_are_as_they_were(mode, kind, arguments):
    pool = pool_of(mode)
    coins = draw(kind, pool=pool, **arguments)
    ends = np.asarray(pool.levels.end_cell, int)
    is_sent_there = (ends == arguments.get("cell", -1)).all(1)
    np.testing.assert_array_equal(coins.moved, ~is_sent_there)
    each = (ends, coins.coin_cell, coins.start_xy, uniforms()[:, 2])
    of_held_out = zip(cells_of(mode)[kind], *(leaf[-HELD_OUT:] for leaf in each), strict=True)
    redrawn = 0
    for cells, end, cell, start, uniform in of_held_out:
        expected = drawn_with_the_end(kind, arguments, cells, uniform, end, start)
        if kind == "fixed" and (cell == arguments["cell"]).all():
            expected = cell  # a free one, which another test sees to
        elif (expected == end).all():
            others = cells[(cells != end).any(1)]
            rest = float(uniform) * len(cells) % 1
            is_given = kind in ("fraction", "fixed")
            expected = others[-1 if is_given else int(rest * len(others))]
            redrawn += 1
        np.testing.assert_array_equal(cell, expected)
    assert (redrawn > 0) == (kind in ("uniform", "fraction", "fixed"))


def test_a_coin_that_would_lie_at_the_end_is_drawn_among_all_others_alike():
    pool = pool_of("hard")
    upto = pool.places.upto[5, placement.lists().index(places.standing)]
    end_x = pool.levels.end_cell[5, 0]
    assert upto[end_x] == upto[end_x - 1] + 1 == upto[-1]  # the last of the cells
    number = int(upto[-1])
    given = np.random.default_rng(0).random((NUMBER, NUM_UNIFORMS), np.float32)
    given[:, 2] = (number - 1 + given[:, 2]) / number
    draws = draw("uniform", index=ONE, given=given)
    _, counts = np.unique(draws.coin_cell, axis=0, return_counts=True)
    assert draws.moved.all()
    assert len(counts) == number - 1
    share = 1 / len(counts)
    assert np.abs(counts / NUMBER - share).max() < 4 * np.sqrt(share * (1 - share) / NUMBER)


def test_marked_cells_are_looked_up_by_their_number_and_numbered():
    marked = np.random.default_rng(0).random((64, 64)) < 0.1
    table = jax.jit(places.tabulate)([jnp.asarray(marked)])
    table = jax.tree.map(lambda leaf: np.asarray(leaf)[None], table)
    zero = jnp.int32(0)
    expected = np.argwhere(marked.T)
    numbers = np.arange(len(expected))
    look_up = jax.jit(jax.vmap(places.look_up, (None, None, None, 0)))
    cells = look_up(table, zero, zero, numbers)
    np.testing.assert_array_equal(cells, expected)
    every = np.argwhere(np.ones_like(marked))
    number_of = jax.jit(jax.vmap(places.number_of, (None, None, None, 0)))
    found, known = jax.device_get(number_of(table, zero, zero, every))
    np.testing.assert_array_equal(known, marked[every[:, 1], every[:, 0]])
    np.testing.assert_array_equal(found[known], numbers)


def test_a_coin_with_nowhere_else_to_go_stays_at_the_end():
    level = first_level()
    x, y = level.end_cell
    grid = np.full_like(level.grid, Cell.SOLID)
    grid[y, x] = Cell.EMPTY
    nothing = np.zeros_like(level.entity_type)
    sections = np.full_like(level.section_cell, level.end_cell)
    pool = build_pool(level.replace(grid=grid, entity_type=nothing, section_cell=sections))
    draw_one = jax.jit(draw_coin)
    for kind in ("uniform", "fraction", "random_section"):
        given = np.full(NUM_UNIFORMS, 0.5, np.float32)
        coin = draw_one(given, np.int32(0), pool, make_placement(kind))
        np.testing.assert_array_equal(coin.coin_cell, level.end_cell, err_msg=kind)
        assert not coin.moved


def test_draws_are_the_same_with_64_bits():
    pool, kind = pool_of("hard"), "uniform,fraction,behind"
    expected = draw(kind)
    with jax.enable_x64(True):
        actual = jax.jit(draw_each)(uniforms(), EACH, pool, make_placement(kind))
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_no_placement_touches_the_layout():
    params = EnvParams(pool=pool_of("hard"), placement=make_placement("end"))
    for kind in CATALOGUE:
        moved = params.with_placement(kind, **WHERE.get(kind, {}))
        assert moved.pool is params.pool


def test_end_is_where_procgen_puts_it():
    coins = draw("end")
    np.testing.assert_array_equal(coins.coin_cell, pool_of("hard").levels.end_cell)
    assert not coins.moved.any()


def test_random_section_draws_every_section_alike():
    coins, levels = draw("random_section"), pool_of("hard").levels
    for number in range(1, 6):
        of_number = np.asarray(levels.num_sections) == number
        cells = np.asarray(levels.section_cell)[of_number, :number]
        hit = (cells == coins.coin_cell[of_number, None]).all(-1)
        assert (hit.sum(1) == 1).all()
        share = hit.mean(0)
        deviation = np.sqrt(1 / number * (1 - 1 / number) / of_number.sum())
        assert np.abs(share - 1 / number).max() <= 4 * deviation
    # procgenAISC's numbers (level_stats.json): in the first section in 56 % of levels.
    first = (coins.coin_cell == np.asarray(levels.section_cell)[:, 0]).all(-1)
    assert first.mean() == pytest.approx(0.564, abs=0.03)


@pytest.mark.parametrize("kind", ["uniform", "random_section"])
@pytest.mark.parametrize("probability", [0.0, 0.03, 0.3, 1.0])
def test_that_share_of_coins_moves(kind, probability):
    moved = draw(kind, probability).moved
    deviation = np.sqrt(probability * (1 - probability) / NUMBER)
    assert abs(moved.mean() - probability) <= 4 * deviation  # at 0 and 1: exactly
    np.testing.assert_array_equal(moved, uniforms()[:, 0] < np.float32(probability))


def test_same_key_gives_the_same_candidate_whatever_the_probability_and_presence():
    always = draw("random_section")
    rarely = draw("random_section", 0.1)
    absent = draw("random_section", present=False)
    np.testing.assert_array_equal(absent.coin_cell, always.coin_cell)
    np.testing.assert_array_equal(rarely.coin_cell[rarely.moved], always.coin_cell[rarely.moved])


def test_ghost_cell_is_where_the_coin_could_have_been_but_is_not():
    sometimes, always = draw("random_section", 0.5), draw("random_section")
    moved = sometimes.moved
    end = np.asarray(pool_of("hard").levels.end_cell)
    np.testing.assert_array_equal(sometimes.ghost_cell[moved], end[moved])
    np.testing.assert_array_equal(sometimes.ghost_cell[~moved], always.coin_cell[~moved])
    assert (draw("end").ghost_cell == -1).all()  # nowhere else than where it is
    absent = draw("random_section", present=False)
    np.testing.assert_array_equal(absent.ghost_cell, absent.coin_cell)


def test_mixture_follows_its_weights():
    coins = draw("end:3, random_section")
    for name, leaf in vars(draw({"end": 3.0, "random_section": 1.0})).items():
        np.testing.assert_array_equal(leaf, getattr(coins, name))
    assert coins.moved.mean() == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / NUMBER))


def test_each_environment_may_have_its_own_placement():
    number, pool = 100, pool_of("hard")
    placements = jax.tree.map(
        lambda *leaves: np.stack(leaves), make_placement("end"), make_placement("random_section")
    )
    each = jax.tree.map(lambda leaf: leaf[np.arange(number) % 2], placements)
    draw_with_own = jax.jit(jax.vmap(draw_coin, in_axes=(0, 0, None, 0)))
    moved = draw_with_own(uniforms()[:number], EACH[:number], pool, each).moved
    np.testing.assert_array_equal(moved, np.arange(number) % 2 == 1)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("nowhere",), "nowhere"),
        (("end", 1.5), "1.5"),
        (("end", -0.1), "-0.1"),
        (("end", float("nan")), "nan"),
        (({"end": 0.0},), "weights"),
        (({"end": -1.0, "random_section": 2.0},), "weights"),
        (({"end": 1.0, "moon": 1.0},), "moon"),
        (("end:1,uniform:many",), "many"),
        (("fraction", 1.0, True, 1.2), "1.2"),
        (("fraction", 1.0, True, (0.6, 0.4)), "0.6"),
        (("fixed",), "needs a cell"),
        (("fixed", 1.0, True, 0.5, (0, 4)), "0, 4"),
    ],
)
def test_impossible_placements_are_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        make_placement(*arguments)


def test_catalogue_keeps_its_codes():
    assert list(CATALOGUE) == [
        *("end", "random_section", "uniform", "fraction", "off_path", "behind", "fixed", "absent")
    ]


def test_a_level_without_room_is_named():
    level = first_level()
    narrow = np.array(level.grid)
    narrow[:, 3:] = Cell.SOLID  # columns 1 and 2 are left
    params = EnvParams.on_levels(level.replace(grid=narrow))
    with pytest.raises(ValueError, match="'behind' finds no cell in 1 of 1 levels, such as seed 0"):
        params.with_placement("behind")


def test_a_placement_of_ones_own(monkeypatch):
    monkeypatch.setattr(placement, "CATALOGUE", dict(CATALOGUE))

    def under_the_sky(terrain):
        return (jnp.arange(64)[:, None] == 60) & (terrain.tiles == Tile.EMPTY)

    placement.register_placement("sky", under_the_sky)
    levels = jax.tree.map(lambda leaf: leaf[:9], jax.device_get(pool_of("hard").levels))
    params = EnvParams.on_levels(levels).with_placement({"sky": 1.0, "end": 1.0})
    coins = jax.jit(draw_each)(uniforms()[:64], EACH[:64] % 9, params.pool, params.placement)
    high = coins.coin_cell[:, 1] == 60
    np.testing.assert_array_equal(high, coins.moved)
    assert 10 < high.sum() < 54
    with pytest.raises(ValueError, match="sky"):
        placement.register_placement("sky", under_the_sky)
