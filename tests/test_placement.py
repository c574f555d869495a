"""The coin goes where its placement says, as often as it says, and nothing else moves."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax import generate_level, make_placement
from coinrun_jax.placement import CATALOGUE, draw_coin

NUMBER = 4000
LEVELS = jax.jit(jax.vmap(generate_level))(jnp.arange(NUMBER, dtype=jnp.uint32))
KEYS = jax.random.split(jax.random.key(0), NUMBER)
DRAW = jax.jit(jax.vmap(draw_coin, in_axes=(0, 0, None)))


def draw(*args, **kwargs):
    return jax.device_get(DRAW(KEYS, LEVELS, make_placement(*args, **kwargs)))


def test_end_is_where_procgen_puts_it():
    coins = draw("end")
    np.testing.assert_array_equal(coins.coin_cell, LEVELS.end_cell)
    assert not coins.moved.any()


def test_random_section_draws_every_section_alike():
    coins = draw("random_section")
    for number in range(1, 6):
        of_number = np.asarray(LEVELS.num_sections) == number
        cells = np.asarray(LEVELS.section_cell)[of_number, :number]
        hit = (cells == coins.coin_cell[of_number, None]).all(-1)
        assert (hit.sum(1) == 1).all()
        share = hit.mean(0)
        deviation = np.sqrt(1 / number * (1 - 1 / number) / of_number.sum())
        assert np.abs(share - 1 / number).max() <= 4 * deviation
    # procgenAISC's numbers (level_stats.json): in the first section in 56 % of levels.
    first = (coins.coin_cell == np.asarray(LEVELS.section_cell)[:, 0]).all(-1)
    assert first.mean() == pytest.approx(0.564, abs=0.03)


@pytest.mark.parametrize("probability", [0.0, 0.01, 0.3, 1.0])
def test_realised_frequency_is_the_probability(probability):
    moved = draw("random_section", probability).moved
    deviation = np.sqrt(probability * (1 - probability) / NUMBER)
    assert abs(moved.mean() - probability) <= 4 * deviation  # at 0 and 1: exactly


def test_same_key_gives_the_same_candidate_whatever_the_probability_and_presence():
    always = draw("random_section")
    rarely = draw("random_section", 0.1)
    absent = draw("random_section", present=False)
    np.testing.assert_array_equal(absent.coin_cell, always.coin_cell)
    np.testing.assert_array_equal(rarely.coin_cell[rarely.moved], always.coin_cell[rarely.moved])


def test_ghost_cell_is_where_the_coin_could_have_been_but_is_not():
    sometimes, always = draw("random_section", 0.5), draw("random_section")
    moved = sometimes.moved
    end = np.asarray(LEVELS.end_cell)
    np.testing.assert_array_equal(sometimes.ghost_cell[moved], end[moved])
    np.testing.assert_array_equal(sometimes.ghost_cell[~moved], always.coin_cell[~moved])
    absent = draw("random_section", present=False)
    np.testing.assert_array_equal(absent.ghost_cell, absent.coin_cell)


def test_mixture_follows_its_weights():
    coins = draw({"end": 3.0, "random_section": 1.0})
    assert coins.moved.mean() == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / NUMBER))


def test_each_environment_may_have_its_own_placement():
    placements = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), make_placement("end"), make_placement("random_section")
    )
    per_level = jax.tree.map(lambda leaf: leaf[jnp.arange(NUMBER) % 2], placements)
    moved = jax.vmap(draw_coin)(KEYS, LEVELS, per_level).moved
    np.testing.assert_array_equal(moved, np.arange(NUMBER) % 2 == 1)


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
    ],
)
def test_impossible_placements_are_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        make_placement(*arguments)


def test_catalogue_keeps_its_codes():
    assert list(CATALOGUE)[:2] == ["end", "random_section"]
