"""Statistics: known numbers, coverage in simulation, and nothing where nothing can be said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.statistics import (
    ATTRACTION,
    SHARE,
    Bootstrap,
    Estimate,
    attraction,
    cohens_h,
    combined,
    detectable,
    difference,
    rate,
    share,
    wilson,
)


def indicators(*values: int) -> np.ndarray:
    """One run, one sample per level."""
    return np.array(values, bool)[None, :, None]


def test_wilson_known_numbers() -> None:
    # Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for successes, trials, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        interval = wilson(successes, trials)
        assert interval is not None
        assert interval.estimate == successes / trials
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=6e-5)


def test_wilson_at_its_ends_holds_the_estimate() -> None:
    for trials in (1, 7, 1000):
        none, all_ = wilson(0, trials), wilson(trials, trials)
        assert none is not None
        assert all_ is not None
        assert none.low == none.estimate == 0.0
        assert all_.high == all_.estimate == 1.0


def test_wilson_refuses_impossible_counts() -> None:
    with pytest.raises(ValueError, match="3 successes in 2 trials"):
        wilson(3, 2)
    assert wilson(0, 0) is None


def test_measures_by_hand() -> None:
    bootstrap = Bootstrap(num_levels=8)
    touched = indicators(1, 1, 1, 1, 1, 0, 0, 0)
    accidental = indicators(1, 1, 0, 0, 0, 0, 0, 0)
    pursued = attraction(touched, accidental, bootstrap)
    assert pursued is not None
    assert pursued.estimate == pytest.approx((5 / 8 - 2 / 8) / (1 - 2 / 8))
    assert pursued.low < pursued.estimate < pursued.high
    excess = difference(touched, accidental, bootstrap)
    assert excess is not None
    assert excess.estimate == pytest.approx(3 / 8)
    proxy = indicators(0, 0, 0, 0, 0, 1, 1, 0)
    misgeneralisation = share(proxy, touched | proxy, bootstrap)
    assert misgeneralisation == wilson(2, 7)


def test_what_is_not_identifiable_is_none() -> None:
    bootstrap = Bootstrap(num_levels=4)
    never, always = indicators(0, 0, 0, 0), indicators(1, 1, 1, 1)
    assert share(never, never, bootstrap) is None  # no competent episode
    assert attraction(always, always, bootstrap) is None  # a = 1
    nothing = np.zeros((1, 0, 1), bool)
    empty = Bootstrap(num_levels=0)
    assert rate(nothing, empty) is None
    assert attraction(nothing, nothing, empty) is None


def test_intervals_never_shrink_to_a_point() -> None:
    """A thousand equal pairs are not proof: the next one may differ."""
    bootstrap = Bootstrap(num_levels=1000)
    same = np.arange(1000)[None, :, None] % 3 > 0
    pursued = attraction(same, same, bootstrap)
    assert pursued is not None
    assert pursued.estimate == 0.0
    assert -0.03 < pursued.low < 0.0 < pursued.high < 0.03


def test_bootstrap_is_reproducible_and_seeded() -> None:
    rng = np.random.default_rng(0)
    touched, accidental = rng.random((2, 1, 200, 1)) < 0.5
    first, again, other = (
        attraction(touched, accidental, Bootstrap(200, seed)) for seed in (0, 0, 1)
    )
    assert first == again != other


def test_several_runs_widen_the_interval_by_how_much_they_differ() -> None:
    rng = np.random.default_rng(0)
    rates = np.array([0.2, 0.5, 0.8, 0.35, 0.65])
    touched = rng.random((5, 400, 1)) < rates[:, None, None]
    together = rate(touched, Bootstrap(num_levels=400))
    assert together is not None
    assert together.estimate == pytest.approx(touched.mean())
    assert together.low < 0.3
    assert together.high > 0.7


def test_runs_without_a_measure_are_left_out() -> None:
    proxy = np.array([[1, 1, 0, 0], [0, 0, 0, 0]], bool)[..., None]
    competent = np.array([[1, 1, 1, 1], [0, 0, 0, 0]], bool)[..., None]
    misgeneralisation = share(proxy, competent, Bootstrap(num_levels=4))
    assert misgeneralisation is not None
    assert misgeneralisation.estimate == 0.5


@st.composite
def pairs_of_indicators(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(st.tuples(*(st.integers(1, most) for most in (3, 12, 3))))
    size = int(np.prod(shape))
    bits = draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    codes = np.array(bits).reshape(shape)
    return codes & 1 > 0, codes & 2 > 0


@settings(max_examples=60, deadline=None)
@given(pairs_of_indicators())
def test_what_holds_for_any_episodes(pair: tuple[np.ndarray, np.ndarray]) -> None:
    touched, accidental = pair
    bootstrap = Bootstrap(touched.shape[1], resamples=100)
    found = attraction(touched, accidental, bootstrap)
    # Identifiable unless every run touches the empty cell in every episode.
    assert (found is None) == accidental.all((1, 2)).all()
    if found is not None:
        assert found.low <= found.estimate <= found.high <= 1
        known = ~accidental.all((1, 2))
        f, a = touched[known].mean((1, 2)), accidental[known].mean((1, 2))
        assert found.estimate == pytest.approx(np.mean((f - a) / (1 - a)))
    excess = difference(touched, accidental, bootstrap)
    assert excess is not None
    assert -1 <= excess.low <= excess.estimate <= excess.high <= 1
    part, rest = share(touched, touched | accidental, bootstrap), None
    if part is not None:
        rest = share(~touched, touched | accidental, bootstrap)
        assert rest is not None
        assert part.estimate + rest.estimate == pytest.approx(1)
        assert 0 <= part.low <= part.estimate <= part.high <= 1
    # Whatever is paired with it: the order of levels and samples is of no meaning.
    shuffled = attraction(touched[:, ::-1, ::-1], accidental[:, ::-1, ::-1], bootstrap)
    assert (found is None) == (shuffled is None)
    if found is not None and shuffled is not None:
        assert found.estimate == pytest.approx(shuffled.estimate)


def coverage(num_sets: int, truth: float, intervals: list[Estimate | None]) -> float:
    assert len(intervals) == num_sets
    known = [interval for interval in intervals if interval is not None]
    return float(np.mean([interval.low <= truth <= interval.high for interval in known]))


@pytest.mark.parametrize(("probability", "num_levels"), [(0.3, 60), (0.9, 200), (0.05, 300)])
def test_rates_cover_at_the_nominal_rate(probability: float, num_levels: int) -> None:
    rng = np.random.default_rng(1)
    bootstrap = Bootstrap(num_levels=num_levels)
    happened = rng.random((1000, 1, num_levels, 1)) < probability
    covered = coverage(1000, probability, [rate(one, bootstrap) for one in happened])
    assert 0.93 <= covered <= 0.975


@pytest.mark.parametrize(
    ("touched_rate", "accidental_rate", "tied"),
    [(0.9, 0.6, 0.5), (0.65, 0.62, 0.8), (0.5, 0.68, 0.7)],
)
def test_paired_measures_cover_at_the_nominal_rate(
    touched_rate: float, accidental_rate: float, tied: float
) -> None:
    num_levels, num_sets = 200, 500
    rng = np.random.default_rng(2)
    luck, other = rng.random((2, num_sets, 1, num_levels, 1))
    other = np.where(rng.random(luck.shape) < tied, luck, other)
    bootstrap = Bootstrap(num_levels, resamples=1000)
    pairs = list(zip(luck < touched_rate, other < accidental_rate, strict=True))
    truth = (touched_rate - accidental_rate) / (1 - accidental_rate)
    attractions = [attraction(c, a, bootstrap) for c, a in pairs]
    assert 0.92 <= coverage(num_sets, truth, attractions) <= 0.98
    differences = [difference(c, a, bootstrap) for c, a in pairs]
    assert 0.92 <= coverage(num_sets, touched_rate - accidental_rate, differences) <= 0.98


def draw_runs(rng: np.random.Generator, num_runs: int, num_levels: int) -> np.ndarray:
    """Runs of a recipe with a success rate of .6, which differ by far more than levels do."""
    abilities = rng.beta(6, 4, (num_runs, 1, 1))
    return rng.random((num_runs, num_levels, 1)) < abilities


# Two standard errors of 500 simulated intervals are .02.
@pytest.mark.parametrize("num_runs", [2, 3, 5])
def test_several_runs_cover_at_the_nominal_rate(num_runs: int) -> None:
    num_levels, num_sets = 1000, 500
    rng = np.random.default_rng(3)
    bootstrap = Bootstrap(num_levels, resamples=200)
    found = [rate(draw_runs(rng, num_runs, num_levels), bootstrap) for _ in range(num_sets)]
    assert 0.93 <= coverage(num_sets, 0.6, found) <= 0.975


@pytest.mark.parametrize("sizes", [(2, 2), (3, 3)])
def test_differences_of_recipes_cover_at_the_nominal_rate(sizes: tuple[int, int]) -> None:
    num_levels, num_sets = 1000, 500
    rng = np.random.default_rng(8)
    bootstrap = Bootstrap(num_levels, resamples=200)

    def found() -> Estimate | None:
        one, other = (draw_runs(rng, size, num_levels) for size in sizes)
        return bootstrap.compare(SHARE, (one, ~one), (other, ~other))

    assert 0.93 <= coverage(num_sets, 0.0, [found() for _ in range(num_sets)]) <= 0.985


def test_runs_that_are_alike_leave_the_interval_over_levels() -> None:
    one = np.arange(200)[None, :, None] % 3 > 0
    bootstrap = Bootstrap(num_levels=200)
    never = np.zeros_like(one)
    alone = attraction(one, never, bootstrap)
    together = attraction(*(np.repeat(each, 4, 0) for each in (one, never)), bootstrap)
    assert alone is not None
    assert together is not None
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high), abs=1e-6)


def test_intervals_stay_within_what_can_be() -> None:
    """Two runs as different as they come say nothing, and say no more than that."""
    touched = np.broadcast_to(np.array([True, False])[:, None, None], (2, 100, 1))
    never = np.zeros_like(touched)
    bootstrap = Bootstrap(num_levels=100)
    everything = rate(touched, bootstrap)
    assert everything == Estimate(0.5, 0.0, 1.0)
    assert difference(touched, never, bootstrap) == Estimate(0.5, -1.0, 1.0)
    pursued = attraction(touched, never, bootstrap)
    assert pursued is not None
    assert pursued.low < -1
    assert pursued.high == 1
    sides = (touched, ~touched), (~touched, touched)
    assert bootstrap.compare(SHARE, *sides) == Estimate(0.0, -1.0, 1.0)


def test_a_single_run_is_compared_over_levels_only() -> None:
    """How much runs differ is not known of one side, so that it is not counted for the other."""
    rng = np.random.default_rng(9)
    one, other = draw_runs(rng, 5, 400), draw_runs(rng, 1, 400)
    bootstrap = Bootstrap(num_levels=400)
    found = bootstrap.compare(SHARE, (one, ~one), (other, ~other))
    assert found is not None
    assert found.high - found.low < 0.15


def test_of_how_many_runs_a_measure_can_be_said() -> None:
    part = np.array([[1, 0], [0, 0], [0, 0]], bool)[..., None]
    rest = np.array([[0, 0], [1, 1], [0, 0]], bool)[..., None]
    assert SHARE.num_known(part, rest) == 2
    assert SHARE.num_known(part[:, :0], rest[:, :0]) == 0


def test_several_samples_of_a_level_are_not_independent_levels() -> None:
    rng = np.random.default_rng(4)
    levels = rng.random((1, 100, 1)) < 0.5
    repeated = np.broadcast_to(levels, (1, 100, 10))
    interval = rate(repeated, Bootstrap(num_levels=100))
    assert interval is not None
    assert interval.high - interval.low > 0.15  # ten times the episodes would give 0.06


def test_agents_are_compared_level_by_level() -> None:
    """Two agents that fail on the same levels differ by exactly what tells them apart."""
    rng = np.random.default_rng(5)
    hard = rng.random((1, 400, 1)) < 0.5
    better = ~hard | (rng.random(hard.shape) < 0.1)
    bootstrap = Bootstrap(num_levels=400)
    never = np.zeros_like(hard)
    paired = bootstrap.compare(ATTRACTION, (better, never), (~hard, never))
    shuffled = rng.permutation(~hard, axis=1)
    unpaired = bootstrap.compare(ATTRACTION, (better, never), (shuffled, never))
    assert paired is not None
    assert unpaired is not None
    assert paired.estimate == pytest.approx(unpaired.estimate)
    assert 0 < paired.low < paired.high
    assert paired.high - paired.low < 0.6 * (unpaired.high - unpaired.low)
    same = bootstrap.compare(ATTRACTION, (better, never), (better, never))
    assert same is not None
    assert same.low <= same.estimate == 0 <= same.high


def test_a_difference_that_was_never_seen_is_not_ruled_out() -> None:
    """As an interval of one rate does not shrink to a point, so does that of two."""
    always = np.ones((1, 200, 1), bool)
    found = Bootstrap(num_levels=200).compare(SHARE, (always, ~always), (always, ~always))
    assert found is not None
    assert found.low < -0.005
    assert found.high > 0.005


def test_recipes_differ_by_as_much_as_their_runs_let_one_say() -> None:
    rng = np.random.default_rng(6)
    rates = np.array([0.2, 0.8, 0.5])[:, None, None]
    one, other = (rng.random((3, 300, 1)) < rates for _ in range(2))
    bootstrap = Bootstrap(num_levels=300)
    nothing = np.zeros_like(one)
    several = bootstrap.compare(ATTRACTION, (one, nothing), (other, nothing))
    single = bootstrap.compare(ATTRACTION, (one[:1], nothing[:1]), (other[:1], nothing[:1]))
    assert several is not None
    assert single is not None
    assert several.high - several.low > 2 * (single.high - single.low)
    empty = np.zeros((1, 0, 1), bool)
    assert Bootstrap(num_levels=0).compare(ATTRACTION, (empty, empty), (empty, empty)) is None


@pytest.mark.parametrize("alike", [0.0, 1.0])
def test_recipes_are_known_by_their_runs_alone(alike: float) -> None:
    """The truth is inside as often as is said, whether or not runs share their luck."""
    num_runs, num_levels, num_sets = 3, 200, 300
    rng = np.random.default_rng(8)
    bootstrap = Bootstrap(num_levels)
    inside = 0
    for _ in range(num_sets):
        rates = 0.5 + 0.03 * rng.standard_normal((num_runs, 1))
        luck = rng.random((num_runs, num_levels))
        luck = np.where(rng.random((1, num_levels)) < alike, luck[:1], luck)
        happened = (luck < rates)[..., None]
        runs = [rate(happened[[run]], bootstrap) for run in range(num_runs)]
        found = combined([run for run in runs if run], SHARE)
        assert found is not None
        assert found.estimate == pytest.approx(happened.mean())
        inside += found.low <= 0.5 <= found.high
    assert inside / num_sets >= 0.93


def test_runs_alone_have_known_numbers() -> None:
    single = Estimate(0.3, 0.2, 0.5)
    assert combined([single], SHARE) == single
    assert combined([], SHARE) is None
    # Half width of t over .2 and .4: 12.706 * .1 = 1.2706, more than there is to a share.
    assert combined([Estimate(0.2, 0.1, 0.3), Estimate(0.4, 0.3, 0.5)], SHARE) == Estimate(
        pytest.approx(0.3), 0.0, 1.0
    )
    wide = combined([Estimate(0.2, 0.1, 0.3), Estimate(0.4, 0.3, 0.5)], ATTRACTION)
    assert wide is not None
    assert 0.3 - wide.low == pytest.approx(np.hypot(1.2706, 0.1), abs=1e-3)


def test_detectable_effects_are_pursuedfour_times_in_five() -> None:
    num_levels, num_sets = 300, 300
    rng = np.random.default_rng(7)
    bootstrap = Bootstrap(num_levels, resamples=500)

    def draw(shift: float) -> Estimate:
        luck = rng.random((1, num_levels, 1))
        changed = rng.random(luck.shape)
        accidental = luck < 0.5
        # Half of the levels are decided anew, so that pairs differ without any effect.
        touched = np.where(changed < 0.5, rng.random(luck.shape) < 0.5 + 2 * shift, accidental)
        found = difference(touched, accidental, bootstrap)
        assert found is not None
        return found

    sizes = [detectable(draw(0.0)) for _ in range(20)]
    least = float(np.mean([size for size in sizes if size is not None]))
    found = [draw(least).low > 0 for _ in range(num_sets)]
    assert 0.7 <= np.mean(found) <= 0.9


def test_no_impossible_effect_is_called_detectable() -> None:
    """Thirty levels whose object is nearly always touched by accident cannot show a pursuit."""
    accidental = np.arange(30)[None, :, None] > 1
    found = attraction(accidental, accidental, Bootstrap(num_levels=30))
    assert found is not None
    assert found.high - found.low > 1
    assert detectable(found) is None
    assert detectable(Estimate(0.0, -0.5, 0.5)) == pytest.approx(0.7147, abs=1e-4)


def test_cohens_h_known_numbers() -> None:
    assert cohens_h(0.5, 0.0) == pytest.approx(np.pi / 2)
    assert cohens_h(0.65, 0.45) == pytest.approx(0.404, abs=1e-3)  # Cohen (1988), section 6.2
    assert cohens_h(0.3, 0.7) == -cohens_h(0.7, 0.3)
